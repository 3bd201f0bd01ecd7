/* Opening and running a training command. */
#include "tools/session.h"

#include <math.h>
#include <plumb/device.h>
#include <plumb/log.h>
#include <plumb/rng.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "io/json.h"
#include "runtime/read.h"
#include "runtime/transfer.h"
#include "tools/dataset_cache.h"
#include "tools/dataset_files.h"
#include "tools/model_files.h"
#include "tools/signals.h"

int plumb_session_device(const struct plumb_train_config *c, struct plumb_device *dev,
                         enum plumb_dtype *compute)
{
    const char *name = c->device;
    if (!name || !strcmp(name, "auto")) name = plumb_device_have_cuda() ? "cuda" : "cpu";
    PLUMB_TRY(plumb_device_open(name, dev));
    if (dev->kind == PLUMB_DEV_REF) {
        *compute = PLUMB_F64;
        return PLUMB_OK;
    }
    if (c->dtype == PLUMB_PRECISION_F64)
        return plumb_fail(PLUMB_EUSAGE, "dtype float64 needs --device ref");
    const bool has_bf16 = dev->kind == PLUMB_DEV_CUDA || plumb_cpu_has_bf16();
    const bool mixed = c->bf16 == PLUMB_UNSET ? has_bf16 : c->bf16 == PLUMB_YES;
    *compute = mixed || c->dtype == PLUMB_PRECISION_BF16 ? PLUMB_BF16 : PLUMB_F32;
    return PLUMB_OK;
}

int plumb_session_dataset(struct plumb_session *s, const char *name, const char *split,
                          bool optional, struct plumb_dataset *out)
{
    struct plumb_dataset_files files = { 0 };
    struct plumb_dataset_cache cache;
    const struct plumb_train_config *c = s->wish.config;
    PLUMB_TRY(plumb_dataset_files_find(name, split, optional, &files));
    struct plumb_dataset_options o = {
        .paths = (const char *const *)files.path,
        .path_count = files.count,
        .use = s->wish.use,
        .format = c->dataset_format,
        .text = s->has_text ? &s->text : NULL,
        .chat = s->has_text ? &s->chat : NULL,
        .vocab_size = s->hf.config.model.vocab,
        .text_field = s->wish.text_field,
        .max_length = c->max_length == PLUMB_NONE_INT ? 0 : c->max_length,
        .keep_end = s->wish.keep_end,
        .train_on_prompt = s->wish.train_on_prompt,
        .assistant_only = s->wish.assistant_only,
        .skip_bad_rows = c->skip_bad_rows,
    };
    const char *tokenizer = c->tokenizer_name_or_path ? c->tokenizer_name_or_path
                                                      : c->model_name_or_path;
    int rc = PLUMB_OK;
    if (files.count > 0)
        rc = plumb_dataset_cache_find(&cache, c->dataset_cache, c->output_dir,
                                      c->dataset_memory_limit, s->has_text ? tokenizer : NULL, &o);
    if (files.count > 0 && !rc) rc = plumb_dataset_open(&o, out);
    plumb_dataset_files_release(&files);
    return rc;
}

/* Rows [first, first + count) of another set. */
struct part {
    const struct plumb_dataset *whole;
    int64_t first;
};

static int get_part(void *self, int64_t index, struct plumb_example *out)
{
    const struct part *p = self;
    return p->whole->get(p->whole->self, p->first + index, out);
}

/* Cuts the last test_split_size of the rows off for evaluation. */
static int split_rows(struct plumb_session *s, double fraction)
{
    const int64_t n = s->train.count, held = (int64_t)ceil(fraction * (double)n);
    if (held < 1 || held >= n)
        return plumb_fail(PLUMB_EUSAGE, "test_split_size: %lld of %lld rows", (long long)held,
                          (long long)n);
    struct part *parts = calloc(2, sizeof *parts);
    if (!parts) return plumb_fail(PLUMB_EMEM, "no memory to split the rows");
    s->whole = s->train;
    s->split = true;
    parts[0] = (struct part){ &s->whole, 0 };
    parts[1] = (struct part){ &s->whole, n - held };
    s->train.get = s->eval.get = get_part;
    s->train.self = &parts[0];
    s->eval.self = &parts[1];
    s->eval.type = s->train.type;
    s->train.count = n - held;
    s->eval.count = held;
    s->eval.content_hash = s->train.content_hash;
    return PLUMB_OK;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int open_data(struct plumb_session *s)
{
    const struct plumb_train_config *c = s->wish.config;
    PLUMB_TRY(plumb_session_dataset(s, c->dataset_name, c->dataset_train_split, false, &s->train));
    if (c->eval_dataset_name)
        PLUMB_TRY(
            plumb_session_dataset(s, c->eval_dataset_name, c->dataset_test_split, false, &s->eval));
    else if (c->test_split_size > 0)
        PLUMB_TRY(split_rows(s, c->test_split_size));
    else if (c->eval_strategy != PLUMB_INTERVAL_NO && is_folder(c->dataset_name))
        PLUMB_TRY(plumb_session_dataset(s, c->dataset_name, c->dataset_test_split, true, &s->eval));
    if (c->eval_strategy != PLUMB_INTERVAL_NO && s->eval.count == 0)
        return plumb_fail(PLUMB_EUSAGE, "eval_strategy asks for evaluation, but there are no rows "
                                        "for it: give --eval_dataset_name or --test_split_size");
    return PLUMB_OK;
}

int plumb_session_text(struct plumb_session *s)
{
    const struct plumb_train_config *c = s->wish.config;
    const char *path = c->tokenizer_name_or_path ? c->tokenizer_name_or_path
                                                 : c->model_name_or_path;
    const char *other = c->tokenizer_name_or_path;
    char file[4096];
    PLUMB_TRY(plumb_path_join(file, sizeof file, path, "tokenizer.json"));
    if (!other && plumb_peft_is(path)) { /* adapters have their own tokenizer, or their base's */
        if (plumb_file_exists(file))
            other = path;
        else
            path = s->hf.dir;
        PLUMB_TRY(plumb_path_join(file, sizeof file, path, "tokenizer.json"));
    }
    const int rc = plumb_tokenizer_open(&s->text, path);
    s->has_text = rc == PLUMB_OK;
    s->hf.tokenizer_dir = other;
    s->hf.chat_template = c->chat_template_path;
    /* A model without a tokenizer can still train on token ids; text then says what is missing. */
    if (rc && !c->tokenizer_name_or_path && !plumb_file_exists(file)) return PLUMB_OK;
    if (!rc) return plumb_chat_open(&s->chat, path, c->chat_template_path, &s->text);
    return rc;
}

/* The numbers of --initial_head. */
static int given_head(const struct plumb_session *s, struct plumb_tensor w, int64_t n)
{
    cJSON *json = NULL;
    PLUMB_TRY(plumb_json_load(s->wish.initial_head, 0, &json));
    const cJSON *list = json, *v;
    if (cJSON_IsObject(list)) list = cJSON_GetObjectItemCaseSensitive(json, "initial");
    while (list && cJSON_IsArray(list->child))
        list = list->child;
    int64_t i = 0;
    cJSON_ArrayForEach(v, list) if (i < n && cJSON_IsNumber(v))
        plumb_tensor_set(w, i++, v->valuedouble);
    const int size = cJSON_GetArraySize(list);
    cJSON_Delete(json);
    if (i == n && size == n) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT, "\"%s\" holds %d numbers for a head of %lld",
                      s->wish.initial_head, size, (long long)n);
}

/* A new scalar head: given values, or normal with transformers' standard deviation 0.02. */
static int fill_head(struct plumb_session *s)
{
    const struct plumb_model *m = &s->trainer.policy;
    const struct plumb_param *p = plumb_model_find(m, PLUMB_ROLE_SCORE, -1);
    const bool known = !s->hf.score_missing || s->peft.lora.given; /* adapters bring theirs */
    if (!p || (known && !s->wish.initial_head)) return PLUMB_OK;
    struct plumb_stage stage;
    PLUMB_TRY(plumb_stage_open(&stage, &m->dev, plumb_model_exact_weight(m, p), p->rows * p->cols,
                               false));
    int rc = s->wish.initial_head ? given_head(s, stage.host, stage.count) : PLUMB_OK;
    const struct plumb_rng_key key = { (uint64_t)s->wish.config->seed, PLUMB_RNG_INIT, 0 };
    for (int64_t i = 0; i < stage.count && !s->wish.initial_head; i++)
        plumb_tensor_set(stage.host, i, 0.02 * plumb_rng_normal(&key, (uint64_t)i));
    if (!rc) rc = plumb_stage_send(&stage);
    plumb_stage_release(&stage);
    return rc;
}

/* The teacher's files. A vocabulary padded to another length still has the same tokens: those of
 * both are compared. */
static int open_teacher(struct plumb_session *s)
{
    const char *path = s->wish.teacher;
    if (!path) return PLUMB_OK;
    PLUMB_TRY(plumb_hf_model_open(&s->teacher, path, 0));
    s->task.teacher = &s->teacher.config.model;
    const int64_t theirs = s->teacher.config.model.vocab, ours = s->hf.config.model.vocab;
    if (theirs != ours)
        plumb_log(PLUMB_LOG_WARN,
                  "\"%s\" has %lld tokens, the model %lld: the first %lld are compared", path,
                  (long long)theirs, (long long)ours, (long long)(theirs < ours ? theirs : ours));
    return PLUMB_OK;
}

int plumb_session_open(struct plumb_session *s, const struct plumb_session_wish *wish)
{
    const struct plumb_train_config *c = wish->config;
    char checkpoint[4096];
    *s = (struct plumb_session){ .wish = *wish, .task = *wish->task, .resumed = -1 };
    if (c->quiet) plumb_log_threshold(PLUMB_LOG_WARN);
    PLUMB_TRY(plumb_session_device(c, &s->dev, &s->compute));
    PLUMB_TRY(plumb_session_open_model(s));
    if (!c->disable_dropout) PLUMB_TRY(plumb_hf_config_check_dropout(&s->hf.config));
    PLUMB_TRY(open_teacher(s));
    PLUMB_TRY(plumb_session_text(s));
    PLUMB_TRY(plumb_session_find_checkpoint(c, checkpoint, sizeof checkpoint));
    PLUMB_TRY(plumb_session_check_output(s, checkpoint));
    PLUMB_TRY(open_data(s));
    if (checkpoint[0]) PLUMB_TRY(plumb_session_check_manifest(s, checkpoint));
    PLUMB_TRY(plumb_trainer_init(&s->trainer, c, &s->task, &s->hf.config.model, &s->train,
                                 s->eval.count > 0 ? &s->eval : NULL, &s->dev, s->compute,
                                 wish->precompute));
    PLUMB_TRY(plumb_model_read_files(&s->trainer.policy, &s->hf, wish->num_labels > 0));
    if (wish->teacher) PLUMB_TRY(plumb_model_read_files(&s->trainer.ref, &s->teacher, false));
    PLUMB_TRY(plumb_session_start_adapters(s));
    PLUMB_TRY(fill_head(s));
    PLUMB_TRY(plumb_trainer_weights_ready(&s->trainer));
    if (checkpoint[0]) PLUMB_TRY(plumb_session_restore(s, checkpoint));
    plumb_signals_catch();
    PLUMB_TRY(plumb_session_open_output(s));
    plumb_weights_release(&s->teacher.weights);
    plumb_weights_release(&s->hf.weights); /* read and hashed; its pages would stay resident */
    s->trainer.hooks = plumb_session_hooks(s);
    s->trainer.sink = s->metrics.path ? plumb_metrics_sink(&s->metrics) : (struct plumb_sink){ 0 };
    return PLUMB_OK;
}

int plumb_session_train(struct plumb_session *s)
{
    if (s->resumed < 0) PLUMB_TRY(plumb_trainer_precompute(&s->trainer));
    PLUMB_TRY(plumb_trainer_run(&s->trainer));
    if (s->trainer.stopped) {
        plumb_log(PLUMB_LOG_WARN, "stopped at step %lld of %lld; --resume_from_checkpoint goes on",
                  (long long)s->trainer.state.step, (long long)s->trainer.total_steps);
        return plumb_fail(PLUMB_EINTR, "stopped by a signal after a checkpoint");
    }
    if (!s->wish.config->output_dir) return PLUMB_OK;
    PLUMB_TRY(plumb_session_save_model(s, s->wish.config->output_dir));
    plumb_log(PLUMB_LOG_INFO, "wrote the model to \"%s\"", s->wish.config->output_dir);
    return PLUMB_OK;
}

void plumb_session_release(struct plumb_session *s)
{
    plumb_trainer_release(&s->trainer);
    plumb_metrics_release(&s->metrics);
    if (s->split) {
        free(s->train.self);
        plumb_dataset_release(&s->whole);
    } else {
        plumb_dataset_release(&s->train);
        plumb_dataset_release(&s->eval);
    }
    plumb_chat_release(&s->chat);
    if (s->has_text) plumb_tokenizer_release(&s->text);
    plumb_peft_release(&s->peft);
    plumb_hf_packed_release(&s->packed);
    plumb_hf_model_release(&s->teacher);
    plumb_hf_model_release(&s->hf);
    plumb_device_close(&s->dev);
    *s = (struct plumb_session){ 0 };
}
