/* Checkpoints of a training command: a model folder for transformers beside the state to go on. */
#include <plumb/log.h>
#include <stdio.h>
#include <string.h>

#include "io/checkpoint.h"
#include "io/file.h"
#include "runtime/transfer.h"
#include "tools/model_files.h"
#include "tools/session.h"
#include "tools/signals.h"

int plumb_session_save_model(struct plumb_session *s, const char *dir)
{
    if (s->task.lora) return plumb_session_write_adapters(s, dir);
    return plumb_model_write_files(&s->trainer.policy, &s->hf, dir);
}

/* A buffer of the trainer, brought to the host where it lies on a device. */
static int put_blob(const struct plumb_device *dev, struct plumb_checkpoint_writer *w,
                    const struct plumb_blob *b)
{
    struct plumb_stage stage;
    const struct plumb_tensor t = { b->data, b->dtype };
    int rc = plumb_stage_open(&stage, b->on_device ? dev : &plumb_cpu, t, b->count, true);
    if (!rc) rc = plumb_checkpoint_put(w, b->name, b->dtype, b->count, stage.host.data);
    plumb_stage_release(&stage);
    return rc;
}

static int get_blob(const struct plumb_device *dev, const struct plumb_checkpoint *c,
                    const struct plumb_blob *b)
{
    struct plumb_stage stage;
    const struct plumb_tensor t = { b->data, b->dtype };
    int rc = plumb_stage_open(&stage, b->on_device ? dev : &plumb_cpu, t, b->count, false);
    if (!rc) rc = plumb_checkpoint_get(c, b->name, b->dtype, b->count, stage.host.data);
    if (!rc) rc = plumb_stage_send(&stage);
    plumb_stage_release(&stage);
    return rc;
}

static int put_blobs(struct plumb_session *s, struct plumb_checkpoint_writer *w)
{
    struct plumb_blob blobs[PLUMB_TRAINER_BLOBS];
    const int n = plumb_trainer_blobs(&s->trainer, blobs);
    for (int i = 0; i < n; i++)
        PLUMB_TRY(put_blob(&s->dev, w, &blobs[i]));
    const struct plumb_flat trained = plumb_model_trained(&s->trainer.policy);
    const struct plumb_tensor weights = plumb_flat_exact(&trained);
    /* The float64 device trains numbers that no model folder holds. */
    if (weights.dtype == PLUMB_F64)
        return plumb_checkpoint_put(w, "weights", weights.dtype, trained.elements, weights.data);
    return PLUMB_OK;
}

static int copy_manifest(const struct plumb_session *s, const char *dir)
{
    char from[4096], to[4096];
    if (!s->wish.options) return PLUMB_OK;
    PLUMB_TRY(
        plumb_path_join(from, sizeof from, s->wish.config->output_dir, PLUMB_SESSION_MANIFEST));
    PLUMB_TRY(plumb_path_join(to, sizeof to, dir, PLUMB_SESSION_MANIFEST));
    return plumb_file_exists(from) ? plumb_file_copy(from, to) : PLUMB_OK;
}

static int save(void *self, const struct plumb_trainer *t)
{
    struct plumb_session *s = self;
    struct plumb_checkpoint_writer w = { 0 };
    char state[128], path[4096];
    int rc = PLUMB_OK;
    if (!s->wish.config->output_dir) return PLUMB_OK;
    PLUMB_TRY(plumb_metrics_flush(&s->metrics));
    PLUMB_TRY(plumb_checkpoint_begin(&w, s->wish.config->output_dir, t->state.step));
    PLUMB_TRYG(plumb_session_save_model(s, w.dir));
    PLUMB_TRYG(copy_manifest(s, w.dir));
    PLUMB_TRYG(put_blobs(s, &w));
    PLUMB_TRYG(plumb_checkpoint_add_rest(&w));
    snprintf(state, sizeof state, "{\"command\":\"%s\",\"step\":%lld,\"total_steps\":%lld}",
             s->wish.command, (long long)t->state.step, (long long)t->total_steps);
    PLUMB_TRYG(plumb_checkpoint_commit(&w, state));
    PLUMB_TRY(plumb_checkpoint_forget(s->wish.config->output_dir, t->state.step));
    const int64_t limit = s->wish.config->save_total_limit;
    if (limit == PLUMB_NONE_INT) return PLUMB_OK;
    snprintf(path, sizeof path, "%s/checkpoint-%lld", s->wish.config->output_dir,
             (long long)t->state.best_step);
    return plumb_checkpoint_prune(s->wish.config->output_dir, limit,
                                  t->state.best_step > 0 ? path : NULL);
out:
    plumb_checkpoint_abort(&w);
    return plumb_fail_while(rc, "saving a checkpoint at step %lld", (long long)t->state.step);
}

/* The policy's weights from a checkpoint folder. */
static int read_weights(struct plumb_session *s, const struct plumb_checkpoint *c)
{
    struct plumb_trainer *t = &s->trainer;
    const struct plumb_flat trained = plumb_model_trained(&t->policy);
    const struct plumb_tensor w = plumb_flat_exact(&trained);
    struct plumb_hf_model hf = { 0 };
    struct plumb_peft peft = { 0 };
    int rc = PLUMB_OK;
    if (plumb_checkpoint_has(c, "weights")) {
        PLUMB_TRYG(plumb_checkpoint_get(c, "weights", w.dtype, trained.elements, w.data));
    } else if (s->task.lora) {
        PLUMB_TRYG(plumb_peft_open(&peft, c->path, &s->hf));
        PLUMB_TRYG(plumb_session_read_adapters(s, &peft));
    } else {
        PLUMB_TRYG(plumb_hf_model_open(&hf, c->path, 0));
        if (hf.elements != s->hf.elements)
            PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "\"%s\" holds another model", c->path));
        PLUMB_TRYG(plumb_model_read_files(&t->policy, &hf, false));
    }
    PLUMB_TRYG(plumb_model_refresh(&t->policy));
out:
    plumb_peft_release(&peft);
    plumb_hf_model_release(&hf);
    return rc;
}

static int load_weights(void *self, struct plumb_trainer *t, int64_t step)
{
    struct plumb_session *s = self;
    struct plumb_checkpoint c = { 0 };
    char path[4096];
    (void)t;
    snprintf(path, sizeof path, "%s/checkpoint-%lld", s->wish.config->output_dir, (long long)step);
    int rc = plumb_checkpoint_open(&c, path);
    if (!rc) rc = plumb_checkpoint_verify_rest(&c);
    if (!rc) rc = read_weights(s, &c);
    plumb_checkpoint_release(&c);
    return rc;
}

struct plumb_trainer_hooks plumb_session_hooks(struct plumb_session *s)
{
    return (struct plumb_trainer_hooks){ .self = s,
                                         .save = save,
                                         .load_weights = load_weights,
                                         .stop = plumb_signals_came };
}

int plumb_session_find_checkpoint(const struct plumb_train_config *c, char *path, size_t n)
{
    path[0] = 0;
    if (!c->resume_from_checkpoint) return PLUMB_OK;
    if (!c->resume_from_checkpoint[0])
        return plumb_fail(PLUMB_EUSAGE, "resume_from_checkpoint: the path is empty");
    if (strcmp(c->resume_from_checkpoint, "true") != 0) {
        if (snprintf(path, n, "%s", c->resume_from_checkpoint) >= (int)n)
            return plumb_fail(PLUMB_EUSAGE, "resume_from_checkpoint: the path is too long");
        return PLUMB_OK;
    }
    PLUMB_TRY(plumb_checkpoint_last(c->output_dir, path, n));
    if (!path[0])
        plumb_log(PLUMB_LOG_WARN, "no checkpoint in \"%s\": starting anew", c->output_dir);
    return PLUMB_OK;
}

int plumb_session_restore(struct plumb_session *s, const char *path)
{
    struct plumb_checkpoint c = { 0 };
    struct plumb_blob blobs[PLUMB_TRAINER_BLOBS];
    int rc = PLUMB_OK;
    PLUMB_TRYG(plumb_checkpoint_open(&c, path));
    PLUMB_TRYG(plumb_checkpoint_verify_rest(&c));
    PLUMB_TRYG(read_weights(s, &c));
    const int n = plumb_trainer_blobs(&s->trainer, blobs);
    for (int i = 0; i < n; i++)
        PLUMB_TRYG(get_blob(&s->dev, &c, &blobs[i]));
    PLUMB_TRYG(plumb_trainer_restored(&s->trainer));
    if (c.step != s->trainer.state.step)
        PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "\"%s\" says step %lld, its state is of step %lld",
                              path, (long long)c.step, (long long)s->trainer.state.step));
    s->resumed = s->trainer.state.step;
    plumb_log(PLUMB_LOG_INFO, "going on from \"%s\"", path);
out:
    plumb_checkpoint_release(&c);
    return rc ? plumb_fail_while(rc, "resuming from \"%s\"", path) : PLUMB_OK;
}
