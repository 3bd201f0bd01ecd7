/* The output folder of a training command: whose run it holds, its manifest and its metrics. */
#include <plumb/log.h>
#include <stdio.h>
#include <sys/stat.h>

#include "io/checkpoint.h"
#include "io/file.h"
#include "tools/manifest.h"
#include "tools/session.h"

static int is_parent(const char *folder, const char *of, bool *yes)
{
    char path[4096];
    PLUMB_TRY(plumb_path_join(path, sizeof path, of, ".."));
    *yes = plumb_file_same(path, folder);
    return PLUMB_OK;
}

/* A run that was killed before its first line of metrics is none worth keeping. */
static int holds_run(const char *folder, bool *yes)
{
    char metrics[4096], checkpoint[4096];
    struct stat st;
    PLUMB_TRY(plumb_path_join(metrics, sizeof metrics, folder, "metrics.jsonl"));
    PLUMB_TRY(plumb_checkpoint_last(folder, checkpoint, sizeof checkpoint));
    *yes = checkpoint[0] || (stat(metrics, &st) == 0 && st.st_size > 0);
    return PLUMB_OK;
}

/* Overwriting must not reach what the run itself starts from. */
static int check_model(const struct plumb_train_config *c)
{
    const char *model = c->model_name_or_path;
    char index[4096];
    bool inside;
    if (plumb_file_same(model, c->output_dir))
        return plumb_fail(PLUMB_EUSAGE,
                          "output_dir \"%s\" is the model's own folder, whose weights the run "
                          "would replace",
                          c->output_dir);
    PLUMB_TRY(plumb_path_join(index, sizeof index, model, PLUMB_CHECKPOINT_INDEX));
    PLUMB_TRY(is_parent(c->output_dir, model, &inside));
    if (inside && plumb_file_exists(index) && c->overwrite_output_dir)
        return plumb_fail(PLUMB_EUSAGE,
                          "overwrite_output_dir would remove the model, the checkpoint \"%s\"",
                          model);
    return PLUMB_OK;
}

int plumb_session_check_output(struct plumb_session *s, const char *checkpoint)
{
    const struct plumb_train_config *c = s->wish.config;
    bool occupied;
    if (!c->output_dir) return PLUMB_OK;
    PLUMB_TRY(check_model(c));
    if (checkpoint[0]) PLUMB_TRY(is_parent(c->output_dir, checkpoint, &s->goes_on));
    PLUMB_TRY(holds_run(c->output_dir, &occupied));
    /* Asked to go on where no checkpoint is, a run starts anew. */
    const bool own = s->goes_on || (c->resume_from_checkpoint && !checkpoint[0]);
    if (!occupied || own || c->overwrite_output_dir) return PLUMB_OK;
    return plumb_fail(PLUMB_EUSAGE,
                      "\"%s\" holds a run already: --resume_from_checkpoint goes on with it, "
                      "--overwrite_output_dir replaces it",
                      c->output_dir);
}

static struct plumb_manifest manifest_of(const struct plumb_session *s)
{
    return (struct plumb_manifest){
        .command = s->wish.command,
        .options = s->wish.options,
        .model_hash = plumb_manifest_hash_weights(&s->hf.weights),
        .dataset_hash = s->train.content_hash,
        .eval_dataset_hash = s->eval.count > 0 ? s->eval.content_hash : 0,
        .keeps_eval = s->wish.precompute > 0,
    };
}

int plumb_session_check_manifest(const struct plumb_session *s, const char *checkpoint)
{
    char path[4096];
    PLUMB_TRY(plumb_path_join(path, sizeof path, checkpoint, PLUMB_SESSION_MANIFEST));
    if (!s->wish.options || !plumb_file_exists(path)) return PLUMB_OK;
    const struct plumb_manifest m = manifest_of(s);
    return plumb_manifest_compare(&m, path);
}

int plumb_session_open_output(struct plumb_session *s)
{
    const struct plumb_train_config *c = s->wish.config;
    char path[4096];
    if (!c->output_dir) return PLUMB_OK;
    PLUMB_TRY(plumb_dir_make(c->output_dir));
    PLUMB_TRY(plumb_path_join(path, sizeof path, c->output_dir, "metrics.jsonl"));
    PLUMB_TRY(plumb_metrics_open(&s->metrics, path, s->goes_on ? s->resumed : -1));
    PLUMB_TRY(plumb_checkpoint_forget(c->output_dir, s->goes_on ? INT64_MAX : -1));
    if (!s->wish.options) return PLUMB_OK;
    const struct plumb_manifest m = manifest_of(s);
    PLUMB_TRY(plumb_path_join(path, sizeof path, c->output_dir, PLUMB_SESSION_MANIFEST));
    return plumb_manifest_write(&m, path);
}
