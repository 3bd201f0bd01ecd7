/* A trajectory's batches as a data set, and its hyperparameters as options. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "tests/trajectory.h"

static int ids(const cJSON *row, const char *key, struct plumb_ids *out)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(row, key);
    *out = (struct plumb_ids){ 0 };
    if (!list) return PLUMB_OK;
    const int n = cJSON_GetArraySize(list);
    int32_t *id = calloc((size_t)n + 1, sizeof *id);
    PLUMB_ASSERT(id);
    int i = 0;
    for (const cJSON *v = list->child; v; v = v->next)
        id[i++] = (int32_t)v->valuedouble;
    *out = (struct plumb_ids){ id, n };
    return PLUMB_OK;
}

static int example(const cJSON *row, struct plumb_example *e)
{
    const cJSON *number = cJSON_GetObjectItem(row, "row");
    *e = (struct plumb_example){ .row = cJSON_IsNumber(number) ? (int64_t)number->valuedouble
                                                               : -1 };
    PLUMB_TRY(ids(row, "prompt_ids", &e->prompt));
    PLUMB_TRY(ids(row, "completion_ids", &e->completion[0]));
    if (e->completion[0].n == 0) {
        PLUMB_TRY(ids(row, "chosen_ids", &e->completion[0]));
        PLUMB_TRY(ids(row, "rejected_ids", &e->completion[1]));
    }
    PLUMB_TRY(ids(row, "kl_completion_ids", &e->kl_completion));
    e->label = cJSON_IsTrue(cJSON_GetObjectItem(row, "label"));
    return PLUMB_OK;
}

static int get(void *self, int64_t index, struct plumb_example *out)
{
    *out = ((const struct plumb_example *)self)[index];
    return PLUMB_OK;
}

int plumb_trajectory_data(struct plumb_trajectory *g)
{
    const cJSON *batches = cJSON_GetObjectItem(g->json, "batches");
    const int64_t size = g->train.per_device_train_batch_size;
    g->examples = calloc((size_t)(cJSON_GetArraySize(batches) * size + 1), sizeof *g->examples);
    PLUMB_ASSERT(g->examples);
    int64_t n = 0;
    for (const cJSON *b = batches->child; b; b = b->next) {
        const cJSON *rows = cJSON_GetObjectItem(b, "examples");
        if (cJSON_GetArraySize(rows) != size)
            return plumb_fail(PLUMB_ENOTSUP, "a batch of %d rows where the batch size is %lld",
                              cJSON_GetArraySize(rows), (long long)size);
        for (const cJSON *row = rows->child; row; row = row->next)
            PLUMB_TRY(example(row, &g->examples[n++]));
    }
    g->data = (struct plumb_dataset){ .count = n, .get = get, .self = g->examples };
    return PLUMB_OK;
}

double plumb_trajectory_option(const struct plumb_trajectory *g, const char *key, double fallback)
{
    const cJSON *v = cJSON_GetObjectItem(cJSON_GetObjectItem(g->json, "hyperparameters"), key);
    return cJSON_IsNumber(v) ? v->valuedouble : fallback;
}

int plumb_trajectory_options(struct plumb_trajectory *g)
{
    const cJSON *h = cJSON_GetObjectItem(g->json, "hyperparameters");
    const char *scheduler = cJSON_GetStringValue(cJSON_GetObjectItem(h, "lr_scheduler_type"));
    struct plumb_train_config *c = &g->train;
    *c = (struct plumb_train_config){
        .train_sampling_strategy = PLUMB_SAMPLING_SEQUENTIAL,
        .share_prompts = true,
        .learning_rate = plumb_trajectory_option(g, "learning_rate", NAN),
        .warmup_steps = plumb_trajectory_option(g, "warmup_steps", 0),
        .adam_beta1 = plumb_trajectory_option(g, "adam_beta1", NAN),
        .adam_beta2 = plumb_trajectory_option(g, "adam_beta2", NAN),
        .adam_epsilon = plumb_trajectory_option(g, "adam_epsilon", NAN),
        .weight_decay = plumb_trajectory_option(g, "weight_decay", 0),
        .max_grad_norm = plumb_trajectory_option(g, "max_grad_norm", 0),
        .per_device_train_batch_size = (int64_t)plumb_trajectory_option(
            g, "per_device_train_batch_size", 0),
        .gradient_accumulation_steps = (int64_t)plumb_trajectory_option(
            g, "gradient_accumulation_steps", 1),
        .per_device_eval_batch_size = 8,
        .max_steps = (int64_t)plumb_trajectory_option(g, "max_steps", 0),
        .num_train_epochs = 1,
        .data_seed = PLUMB_NONE_INT,
        .logging_strategy = PLUMB_INTERVAL_STEPS,
        .logging_steps = 1,
        .eval_steps = NAN,
    };
    plumb_schedule_defaults(&c->schedule);
    static const char *const kinds[] = {
#define X(NAME, name) name,
        PLUMB_SCHEDULE_LIST(X)
#undef X
    };
    for (int i = 0; i < PLUMB_SCHEDULES; i++)
        if (scheduler && !strcmp(kinds[i], scheduler)) {
            c->schedule.kind = (enum plumb_schedule_kind)i;
            return PLUMB_OK;
        }
    return plumb_fail(PLUMB_ENOTSUP, "lr_scheduler_type %s", scheduler ? scheduler : "missing");
}
