/* Runs the trainer on a trajectory and compares step by step. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <plumb/supervised.h>
#include <plumb/unpaired.h>

#include "algos/tasks.h"
#include "io/json.h"
#include "runtime/read.h"
#include "tests/trajectory.h"

void plumb_trajectory_compare(struct plumb_trajectory *g, const char *name, double value,
                              double f64, double distance)
{
    int i = 0;
    while (i < g->quantities && strcmp(g->quantity[i].name, name))
        i++;
    PLUMB_ASSERT(i < 64);
    struct quantity *q = &g->quantity[i];
    if (i == g->quantities) {
        g->quantities++;
        strncpy(q->name, name, sizeof q->name - 1);
    }
    const double error = fabs(value - f64);
    double bound = g->ref ? 1e-10 * fmax(1, fabs(f64)) : fmax(4 * distance, 1e-5 * fabs(f64));
    /* TRL's accuracies are means in float32 in its float64 runs, too. */
    if (strstr(name, "accurac")) bound = fmax(bound, plumb_dtype_eps(PLUMB_F32) * fabs(f64));
    q->compared++;
    if (!(error <= bound)) q->beyond = true;
    if (!(error <= q->worst_abs)) q->worst_abs = error;
    const double ratio = distance > 0 ? error / distance : error > 0 ? INFINITY : 0;
    if (!(ratio <= q->worst_ratio)) q->worst_ratio = ratio;
}

static double distance_of(const struct plumb_trajectory *g, const char *part, const char *quantity,
                          const char *kind)
{
    const cJSON *d = cJSON_GetObjectItem(cJSON_GetObjectItem(g->json, "f32_f64_distance"), part);
    if (quantity) d = cJSON_GetObjectItemCaseSensitive(d, quantity);
    d = cJSON_GetObjectItemCaseSensitive(d, kind);
    return cJSON_IsNumber(d) ? d->valuedouble : 0;
}

/* What the trainer logged for a step against steps_f64. */
static int metrics(void *self, int64_t step, const struct plumb_metric *m, int count)
{
    struct plumb_trajectory *g = self;
    if (!strcmp(m[0].name, "train_loss")) return PLUMB_OK; /* the line that closes a run */
    const cJSON *want = cJSON_GetArrayItem(cJSON_GetObjectItem(g->json, "steps_f64"),
                                           (int)step - 1);
    for (const cJSON *v = want ? want->child : NULL; v; v = v->next) {
        if (!cJSON_IsNumber(v) || !strcmp(v->string, "step") ||
            !strcmp(v->string, "param_l2_after") || !strcmp(v->string, "update_l2"))
            continue;
        int i = 0;
        while (i < count && strcmp(m[i].name, v->string))
            i++;
        if (i == count)
            return plumb_fail(PLUMB_ENUM, "step %lld logs no %s", (long long)step, v->string);
        plumb_trajectory_compare(g, v->string, m[i].value, v->valuedouble,
                                 distance_of(g, "steps", v->string, "max_abs"));
    }
    return PLUMB_OK;
}

static int before_step(void *self, const struct plumb_trainer *t)
{
    struct plumb_trajectory *g = self;
    const int64_t n = t->policy.elements;
    if (!g->before) g->before = malloc((size_t)n * sizeof *g->before);
    PLUMB_ASSERT(g->before);
    for (int64_t i = 0; i < n; i++)
        g->before[i] = plumb_tensor_get(t->policy.master, i);
    return PLUMB_OK;
}

static int after_step(void *self, const struct plumb_trainer *t)
{
    struct plumb_trajectory *g = self;
    const cJSON *want = cJSON_GetArrayItem(cJSON_GetObjectItem(g->json, "steps_f64"),
                                           (int)t->state.step - 1);
    double norm = 0, change = 0;
    for (int64_t i = 0; i < t->policy.elements; i++) {
        const double w = plumb_tensor_get(t->policy.master, i);
        norm += w * w;
        change += (w - g->before[i]) * (w - g->before[i]);
    }
    plumb_trajectory_compare(g, "param_l2_after", sqrt(norm),
                             cJSON_GetObjectItem(want, "param_l2_after")->valuedouble,
                             distance_of(g, "steps", "param_l2_after", "max_abs"));
    plumb_trajectory_compare(g, "update_l2", sqrt(change),
                             cJSON_GetObjectItem(want, "update_l2")->valuedouble,
                             distance_of(g, "steps", "update_l2", "max_abs"));
    return PLUMB_OK;
}

/* Compares sums[first], sums[first + stride], ... with a recorded list; the f32 run beside it
 * gives the distance. */
static void compare_sums(struct plumb_trajectory *g, const cJSON *batch, const char *key,
                         struct plumb_tensor sums, int64_t first, int64_t stride)
{
    const cJSON *f64 = cJSON_GetObjectItem(cJSON_GetObjectItem(batch, "f64"), key);
    const cJSON *f32 = cJSON_GetObjectItem(cJSON_GetObjectItem(batch, "f32"), key);
    if (!f64 || !sums.data) return;
    double distance = 0;
    for (int i = 0; i < cJSON_GetArraySize(f64); i++)
        distance = fmax(distance, fabs(cJSON_GetArrayItem(f64, i)->valuedouble -
                                       cJSON_GetArrayItem(f32, i)->valuedouble));
    for (int i = 0; i < cJSON_GetArraySize(f64); i++)
        plumb_trajectory_compare(g, key, plumb_tensor_get(sums, first + i * stride),
                                 cJSON_GetArrayItem(f64, i)->valuedouble, distance);
}

static int after_micro(void *self, const struct plumb_trainer *t, const struct plumb_micro *m)
{
    (void)t;
    struct plumb_trajectory *g = self;
    const cJSON *batch = cJSON_GetArrayItem(cJSON_GetObjectItem(g->json, "batches"),
                                            (int)g->micro++);
    compare_sums(g, batch, "chosen_logps", m->logps, 0, 2);
    compare_sums(g, batch, "rejected_logps", m->logps, 1, 2);
    compare_sums(g, batch, "ref_chosen_logps", m->ref_logps, 0, 2);
    compare_sums(g, batch, "ref_rejected_logps", m->ref_logps, 1, 2);
    compare_sums(g, batch, "logps", m->logps, 0, 1);
    compare_sums(g, batch, "ref_logps", m->ref_logps, 0, 1);
    compare_sums(g, batch, "kl_logps", m->kl_logps, 0, 1);
    compare_sums(g, batch, "ref_kl_logps", m->ref_kl_logps, 0, 1);
    return PLUMB_OK;
}

/* Final weights: the norm of every tensor and the sampled elements, under Hugging Face's names. */
static int compare_final(struct plumb_trajectory *g, const struct plumb_trainer *t)
{
    const cJSON *final = cJSON_GetObjectItem(g->json, "final_f64");
    const cJSON *norms = cJSON_GetObjectItem(final, "l2_norm");
    for (const cJSON *v = norms ? norms->child : NULL; v; v = v->next) {
        const struct plumb_hf_tensor *h = plumb_hf_model_find(&g->hf, v->string);
        if (!h) return plumb_fail(PLUMB_ENUM, "the model has no tensor %s", v->string);
        double sum = 0;
        const int64_t columns = h->rank == 2 ? h->shape[1] : 1;
        for (int64_t i = 0; i < h->shape[0] * columns; i++) {
            const int64_t at = plumb_hf_place(h, i / columns, i % columns);
            const double w = plumb_tensor_get(t->policy.master, at);
            sum += w * w;
        }
        const double distance = distance_of(g, "final", NULL, "l2_norm_max_rel") *
                                fabs(v->valuedouble);
        plumb_trajectory_compare(g, "final norms", sqrt(sum), v->valuedouble, distance);
    }
    const cJSON *sampled = cJSON_GetObjectItem(final, "sampled");
    for (const cJSON *v = sampled ? sampled->child : NULL; v; v = v->next) {
        const struct plumb_hf_tensor *h = plumb_hf_model_find(&g->hf, v->string);
        if (!h) return plumb_fail(PLUMB_ENUM, "the model has no tensor %s", v->string);
        const cJSON *index = cJSON_GetObjectItem(v, "flat_index"),
                    *value = cJSON_GetObjectItem(v, "value");
        const int64_t columns = h->rank == 2 ? h->shape[1] : 1;
        for (int i = 0; i < cJSON_GetArraySize(index); i++) {
            const int64_t flat = (int64_t)cJSON_GetArrayItem(index, i)->valuedouble;
            const int64_t at = plumb_hf_place(h, flat / columns, flat % columns);
            plumb_trajectory_compare(g, "final samples", plumb_tensor_get(t->policy.master, at),
                                     cJSON_GetArrayItem(value, i)->valuedouble,
                                     distance_of(g, "final", NULL, "sampled_max_abs"));
        }
    }
    return PLUMB_OK;
}

/* The recorded scalar head goes where the score parameter lies. */
static int fill_head(const struct plumb_trajectory *g, struct plumb_trainer *t)
{
    const cJSON *head = cJSON_GetObjectItem(cJSON_GetObjectItem(g->json, "model"), "head");
    const struct plumb_param *p = plumb_model_find(&t->policy, PLUMB_ROLE_SCORE, -1);
    if (!p) return PLUMB_OK;

    const cJSON *values = cJSON_GetObjectItem(head, "initial");
    while (values && cJSON_IsArray(values->child))
        values = values->child;
    if (cJSON_GetArraySize(values) != p->rows * p->cols)
        return plumb_fail(PLUMB_ENUM, "model.head has no values");
    for (int i = 0; i < cJSON_GetArraySize(values); i++)
        plumb_tensor_set(t->policy.master, p->offset + i,
                         cJSON_GetArrayItem(values, i)->valuedouble);
    return PLUMB_OK;
}

static int train(struct plumb_trajectory *g, const struct plumb_task *task)
{
    int rc = PLUMB_OK;
    struct plumb_trainer t = { 0 };
    const struct plumb_device *dev = g->ref ? &plumb_ref : &plumb_cpu;
    PLUMB_TRYG(plumb_trainer_init(&t, &g->train, task, &g->hf.config.model, &g->data, NULL, dev,
                                  g->ref ? PLUMB_F64 : PLUMB_F32, false));
    PLUMB_TRYG(plumb_hf_model_read(&g->hf, t.policy.master.dtype, t.policy.master.data, true));
    PLUMB_TRYG(fill_head(g, &t));
    PLUMB_TRYG(plumb_trainer_weights_ready(&t));
    t.sink = (struct plumb_sink){ .self = g, .metrics = metrics };
    t.hooks = (struct plumb_trainer_hooks){ .self = g,
                                            .before_step = before_step,
                                            .after_step = after_step,
                                            .after_micro = after_micro };
    PLUMB_TRYG(plumb_trainer_run(&t));
    PLUMB_TRYG(compare_final(g, &t));
out:
    plumb_trainer_release(&t);
    return rc;
}

/* loss_type is one name or a list, loss_weights then a list or null. */
static void read_losses(const cJSON *h, const char *types[8], double weights[8],
                        struct plumb_dpo_config *c)
{
    const cJSON *type = cJSON_GetObjectItem(h, "loss_type");
    const cJSON *weight = cJSON_GetObjectItem(h, "loss_weights");
    const int count = cJSON_IsArray(type) ? cJSON_GetArraySize(type) : 1;
    for (int i = 0; i < count && i < 8; i++)
        types[i] = cJSON_GetStringValue(cJSON_IsArray(type) ? cJSON_GetArrayItem(type, i) : type);
    for (int i = 0; i < cJSON_GetArraySize(weight) && i < 8; i++)
        weights[i] = cJSON_GetNumberValue(cJSON_GetArrayItem(weight, i));
    c->loss_type = (struct plumb_strings){ types, count };
    c->loss_weights = (struct plumb_floats){ weights, cJSON_GetArraySize(weight) };
}

/* Picks the task by the file's algorithm and runs it. */
static int run_algorithm(struct plumb_trajectory *g)
{
    const char *algorithm = cJSON_GetStringValue(cJSON_GetObjectItem(g->json, "algorithm"));
    const cJSON *h = cJSON_GetObjectItem(g->json, "hyperparameters");
    if (algorithm && !strcmp(algorithm, "sft")) {
        const struct plumb_sft_config c = { .train = g->train,
                                            .loss_type = plumb_supervised_find("nll") };
        const struct plumb_task task = plumb_task_sft(&c);
        return train(g, &task);
    }
    if (algorithm && !strcmp(algorithm, "dpo")) {
        const char *types[8];
        double weights[8];
        struct plumb_dpo_config c = {
            .train = g->train,
            .beta = plumb_trajectory_option(g, "beta", 0.1),
            .label_smoothing = plumb_trajectory_option(g, "label_smoothing", 0),
            .discopop_tau = plumb_trajectory_option(g, "discopop_tau", 0.05),
            .ld_alpha = plumb_trajectory_option(g, "ld_alpha", NAN)
        };
        read_losses(h, types, weights, &c);
        struct plumb_pairs o;
        struct plumb_task task;
        PLUMB_TRY(plumb_task_dpo(&c, &o, &task));
        return train(g, &task);
    }
    if (algorithm && !strcmp(algorithm, "kto")) {
        const struct plumb_kto_config c = {
            .train = g->train,
            .loss_type = plumb_unpaired_find("kto"),
            .beta = plumb_trajectory_option(g, "beta", 0.1),
            .desirable_weight = plumb_trajectory_option(g, "desirable_weight", 1),
            .undesirable_weight = plumb_trajectory_option(g, "undesirable_weight", 1)
        };
        struct plumb_ratings o;
        const struct plumb_task task = plumb_task_kto(&c, &o);
        return train(g, &task);
    }
    if (algorithm && !strcmp(algorithm, "reward")) {
        const struct plumb_reward_config c = { .train = g->train,
                                               .center_rewards_coefficient = NAN };
        const struct plumb_task task = plumb_task_reward(&c);
        return train(g, &task);
    }
    return plumb_fail(PLUMB_ENOTSUP, "the algorithm %s is not built yet",
                      algorithm ? algorithm : "(none named)");
}

static int print(const struct plumb_trajectory *g)
{
    int beyond = 0;
    printf("%s\n", g->name);
    for (int i = 0; i < g->quantities; i++) {
        const struct quantity *q = &g->quantity[i];
        printf("  %-24s %5lld values, largest deviation %9.2e", q->name, (long long)q->compared,
               q->worst_abs);
        if (isfinite(q->worst_ratio))
            printf(" = %.2f x the float32-float64 distance", q->worst_ratio);
        printf("%s\n", q->beyond ? "  BEYOND THE BOUND" : "");
        beyond += q->beyond;
    }
    return beyond ? plumb_fail(PLUMB_ENUM, "%d quantities deviate", beyond) : PLUMB_OK;
}

int plumb_trajectory_replay(const char *dir, const char *name, bool ref)
{
    int rc = PLUMB_OK;
    struct plumb_trajectory *g = calloc(1, sizeof *g);
    PLUMB_ASSERT(g);
    char path[4096];
    g->name = name;
    g->ref = ref;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    PLUMB_TRYG(plumb_json_load(path, 0, &g->json));
    const cJSON *model = cJSON_GetObjectItem(g->json, "model");
    const char *folder = cJSON_GetStringValue(cJSON_GetObjectItem(model, "folder"));
    snprintf(path, sizeof path, "%s/../../%s", dir, folder ? folder : "");
    PLUMB_TRYG(plumb_trajectory_options(g));
    PLUMB_TRYG(plumb_trajectory_data(g));
    PLUMB_TRYG(plumb_hf_model_open(&g->hf, path, cJSON_GetObjectItem(model, "head") ? 1 : 0));
    PLUMB_TRYG(run_algorithm(g));
    PLUMB_TRYG(print(g));
out:
    for (int64_t i = 0; g->examples && i < g->data.count; i++) {
        const struct plumb_example *e = &g->examples[i];
        const int32_t *const lists[] = { e->prompt.id, e->completion[0].id, e->completion[1].id,
                                         e->kl_completion.id };
        for (int k = 0; k < 4; k++)
            free((void *)(uintptr_t)lists[k]);
    }
    free(g->examples);
    free(g->before);
    plumb_hf_model_release(&g->hf);
    cJSON_Delete(g->json);
    free(g);
    return rc;
}
