/* The training loop of the offline trainers. */
#include "algos/trainer.h"

#include <math.h>
#include <plumb/log.h>
#include <plumb/rng.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "algos/pending.h"
#include "algos/policy.h"
#include "runtime/adapters.h"

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Counts steps as transformers does: batches of an epoch, the last one short, in groups of
 * accumulation. */
static int plan_length(struct plumb_trainer *t)
{
    const struct plumb_train_config *c = t->config;
    const int64_t batches = ceil_div(t->train->count, c->per_device_train_batch_size);
    t->steps_per_epoch = ceil_div(batches, c->gradient_accumulation_steps);
    t->total_steps = plumb_config_total_steps(c, t->train->count);
    return plumb_config_schedule(c, t->total_steps, &t->schedule);
}

int plumb_trainer_init(struct plumb_trainer *t, const struct plumb_train_config *config,
                       const struct plumb_task *task, const struct plumb_model_config *model,
                       const struct plumb_dataset *train, const struct plumb_dataset *eval,
                       const struct plumb_device *dev, enum plumb_dtype compute, int64_t precompute)
{
    *t = (struct plumb_trainer){ .config = config,
                                 .task = task,
                                 .train = train,
                                 .eval = eval,
                                 .order_epoch = -1,
                                 .precompute = precompute };
    t->eval_batch = config->per_device_eval_batch_size;
    if (train && train->count < 1)
        return plumb_fail(PLUMB_EFORMAT, "the training data has no rows");
    if (train) PLUMB_TRY(plan_length(t));
    PLUMB_TRY(plumb_trainer_lay_out(t, model, dev, compute));
    if (!train) return PLUMB_OK;
    t->optimizer.beta1 = config->adam_beta1;
    t->optimizer.beta2 = config->adam_beta2;
    t->optimizer.eps = config->adam_epsilon;
    t->optimizer.weight_decay = config->weight_decay;
    t->optimizer.max_grad_norm = config->max_grad_norm;
    t->optimizer.seed = (uint64_t)config->seed;
    return PLUMB_OK;
}

int plumb_trainer_weights_ready(struct plumb_trainer *t)
{
    PLUMB_TRY(plumb_model_refresh(&t->policy));
    if (t->task->teacher) return plumb_model_refresh(&t->ref);
    if (!t->ref.weights.data) return PLUMB_OK;
    if (t->ref.adapters.lora.rank > 0) return plumb_adapters_copy(&t->ref, &t->policy);
    return t->task->lora ? PLUMB_OK : plumb_model_copy(&t->ref, &t->policy);
}

void plumb_trainer_release(struct plumb_trainer *t)
{
    plumb_arena_release(&t->run);
    plumb_arena_release(&t->step);
}

/* order = the rows of an epoch as they are visited. */
static void order_rows(struct plumb_trainer *t, int64_t epoch)
{
    if (t->order_epoch == epoch) return;
    t->order_epoch = epoch;
    for (int64_t i = 0; i < t->train->count; i++)
        t->order[i] = i;
    if (t->config->train_sampling_strategy == PLUMB_SAMPLING_SEQUENTIAL) return;
    const int64_t seed = t->config->data_seed == PLUMB_NONE_INT ? t->config->seed
                                                                : t->config->data_seed;
    const struct plumb_rng_key key = { (uint64_t)seed, PLUMB_RNG_SHUFFLE, (uint64_t)epoch };
    for (int64_t i = t->train->count - 1; i > 0; i--) {
        const int64_t j = (int64_t)plumb_rng_below(&key, (uint64_t)i, (uint64_t)i + 1);
        const int64_t swap = t->order[i];
        t->order[i] = t->order[j];
        t->order[j] = swap;
    }
}

static int fetch(struct plumb_trainer *t, const struct plumb_dataset *d, int64_t index,
                 struct plumb_example *e)
{
    PLUMB_TRY(d->get(d->self, index, e));
    if (t->ref_logps) {
        const int64_t first = t->train && d != t->train ? t->train->count : 0;
        const double *known = t->ref_logps + 2 * (first + index);
        e->has_ref_logps = true;
        e->ref_logps[0] = known[0];
        e->ref_logps[1] = known[1];
    }
    return t->task->complete ? t->task->complete(t->task, t, d, index, e) : PLUMB_OK;
}

/* Rows [first, first + count) of the current order, or of an evaluation set as it stands. */
static int fetch_range(struct plumb_trainer *t, const struct plumb_dataset *d, int64_t first,
                       int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t index = d == t->train ? t->order[first + i] : first + i;
        PLUMB_TRY(fetch(t, d, index, &t->window[i]));
    }
    return PLUMB_OK;
}

/* Fills ref_logps for `d`, whose rows start at `first` of the table. */
static int precompute_set(struct plumb_trainer *t, const struct plumb_dataset *d, int64_t first)
{
    for (int64_t at = 0; at < d->count; at += t->precompute) {
        const int64_t count = at + t->precompute < d->count ? t->precompute : d->count - at;
        if (t->hooks.stop && t->hooks.stop(t->hooks.self))
            return plumb_fail(PLUMB_EINTR, "stopped by a signal before step 1");
        for (int64_t i = 0; i < count; i++)
            PLUMB_TRY(fetch(t, d, at + i, &t->window[i]));
        plumb_arena_empty(&t->step); /* precompute waits for what it launches */
        PLUMB_TRY(t->task->precompute(t->task, t, t->window, count));
        for (int64_t i = 0; i < 2 * count; i++) {
            const struct plumb_example *e = &t->window[i / 2];
            if (!isfinite(e->ref_logps[i % 2]))
                return plumb_fail(PLUMB_ENUM, "the reference log-prob of data row %lld is %g",
                                  (long long)e->row, e->ref_logps[i % 2]);
            t->ref_logps[2 * (first + at) + i] = e->ref_logps[i % 2];
        }
    }
    return PLUMB_OK;
}

int plumb_trainer_precompute(struct plumb_trainer *t)
{
    if (!t->ref_logps) return PLUMB_OK;
    const int64_t rows = t->train ? t->train->count : 0;
    plumb_log(PLUMB_LOG_INFO, "computing reference log-probs of %lld rows",
              (long long)(t->train ? rows : t->eval->count));
    if (t->train) PLUMB_TRY(precompute_set(t, t->train, 0));
    return t->eval ? precompute_set(t, t->eval, rows) : PLUMB_OK;
}

/* The step's rows [*first, *last) in the epoch's order. */
static int find_rows(struct plumb_trainer *t, int64_t *first, int64_t *last)
{
    const int64_t rows = t->config->per_device_train_batch_size *
                         t->config->gradient_accumulation_steps;
    const int64_t epoch = t->state.step / t->steps_per_epoch, n = t->train->count;
    *first = (t->state.step % t->steps_per_epoch) * rows;
    *last = *first + rows < n ? *first + rows : n;
    /* What waits names its rows by the order that now goes. */
    if (epoch != t->order_epoch) PLUMB_TRY(plumb_pending_finish(t));
    order_rows(t, epoch);
    return PLUMB_OK;
}

/* Gradients of one optimizer step: its micro-batches, divided by what the whole step counts. */
static int accumulate(struct plumb_trainer *t, int64_t first, int64_t last)
{
    const int64_t batch = t->config->per_device_train_batch_size;
    double divisor = 0;
    for (int64_t i = first; i < last; i++) {
        struct plumb_example e;
        PLUMB_TRY(fetch(t, t->train, t->order[i], &e));
        divisor += t->task->weight(t->task, &e);
    }
    for (int64_t at = first; at < last; at += batch) {
        const int64_t count = at + batch < last ? batch : last - at;
        PLUMB_TRY(fetch_range(t, t->train, at, count));
        const struct plumb_micro m = { .e = t->window,
                                       .count = count,
                                       .step = t->state.step + 1,
                                       .divisor = divisor > 0 ? divisor : 1,
                                       .train = true,
                                       .tally = &t->state.tally };
        PLUMB_TRY(plumb_pending_micro(t, &m, NULL));
    }
    return PLUMB_OK;
}

static int train_step(struct plumb_trainer *t)
{
    int64_t first, last;
    PLUMB_TRY(find_rows(t, &first, &last));
    PLUMB_TRY(plumb_model_zero_grad(&t->policy));
    t->policy.adapters.step = t->state.step + 1;
    PLUMB_TRY(accumulate(t, first, last));
    PLUMB_TRY(plumb_pending_step(t, plumb_schedule_lr(&t->schedule, t->state.step), first, last));
    t->state.step++;
    return PLUMB_OK;
}

/* Whether what happens every `every` steps (or every epoch) happens after this step. An epoch that
 * the run's end cuts short ends there. */
static bool due(const struct plumb_trainer *t, enum plumb_interval how, double every)
{
    const int64_t step = t->state.step;
    if (how == PLUMB_INTERVAL_NO) return false;
    if (how == PLUMB_INTERVAL_EPOCH)
        return step % t->steps_per_epoch == 0 || step == t->total_steps;
    return step % plumb_config_steps(every, t->total_steps) == 0;
}

static bool save_due(const struct plumb_trainer *t)
{
    const enum plumb_interval how = t->config->save_strategy;
    return due(t, how, t->config->save_steps) ||
           (how != PLUMB_INTERVAL_NO && t->state.step == t->total_steps);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Time and memory since the last line; these fields differ from run to run. */
static int cost_metrics(struct plumb_trainer *t, struct plumb_metric *m)
{
    struct rusage usage;
    const double seconds = now() - t->log_seconds;
    const double tokens = (double)(t->state.num_tokens - t->log_tokens);
    getrusage(RUSAGE_SELF, &usage);
    t->log_seconds = now();
    t->log_tokens = t->state.num_tokens;
    m[0] = (struct plumb_metric){ "tokens_per_second", tokens / seconds };
    m[1] = (struct plumb_metric){ "step_time", seconds / (double)t->state.loss_steps };
    m[2] = (struct plumb_metric){ "peak_rss_bytes", 1024.0 * (double)usage.ru_maxrss };
    return 3;
}

static double learning_rate_used(const struct plumb_trainer *t)
{
    return plumb_schedule_lr(&t->schedule, t->state.step - 1);
}

static int log_line(struct plumb_trainer *t)
{
    struct plumb_train_state *s = &t->state;
    struct plumb_metric m[PLUMB_TALLY_MOST + 8];
    int n = 0;
    m[n++] = (struct plumb_metric){ "loss", s->loss_sum / (double)s->loss_steps };
    m[n++] = (struct plumb_metric){ "grad_norm", s->grad_norm };
    m[n++] = (struct plumb_metric){ "learning_rate", learning_rate_used(t) };
    m[n++] = (struct plumb_metric){ "epoch", (double)s->step / (double)t->steps_per_epoch };
    m[n++] = (struct plumb_metric){ "num_tokens", (double)s->num_tokens };
    n += plumb_tally_means(&s->tally, m + n);
    n += cost_metrics(t, m + n);
    if (t->sink.metrics) PLUMB_TRY(t->sink.metrics(t->sink.self, s->step, m, n));
    s->loss_sum = 0;
    s->loss_steps = 0;
    plumb_tally_reset(&s->tally);
    return PLUMB_OK;
}

int plumb_trainer_evaluate(struct plumb_trainer *t, const struct plumb_dataset *d,
                           struct plumb_tally *out)
{
    struct plumb_tally all = { 0 };
    struct plumb_metric means[PLUMB_TALLY_MOST];
    double loss = 0, weight = 0;
    for (int64_t at = 0; at < d->count; at += t->eval_batch) {
        const int64_t count = at + t->eval_batch < d->count ? t->eval_batch : d->count - at;
        for (int64_t i = 0; i < count; i++)
            PLUMB_TRY(fetch(t, d, at + i, &t->window[i]));
        double own = 0;
        for (int64_t i = 0; i < count; i++)
            own += t->task->weight(t->task, &t->window[i]);
        struct plumb_tally batch = { 0 };
        const struct plumb_micro *done, m = { .e = t->window,
                                              .count = count,
                                              .step = t->state.step,
                                              .divisor = own > 0 ? own : 1,
                                              .tally = t->train ? &all : &batch };
        PLUMB_TRY(plumb_pending_micro(t, &m, &done));
        PLUMB_TRY(plumb_pending_finish(t));
        const int n = plumb_tally_means(&batch, means);
        for (int i = 0; i < n; i++)
            plumb_tally_weigh(&all, means[i].name, means[i].value, own);
        loss += done->loss * (t->train ? (double)count : own);
        weight += t->train ? (double)count : own;
    }
    const int n = plumb_tally_means(&all, means);
    *out = (struct plumb_tally){ 0 };
    plumb_tally_add(out, "eval_loss", loss / weight);
    for (int i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "eval_%s", means[i].name);
        plumb_tally_add(out, name, means[i].value);
    }
    return PLUMB_OK;
}

/* Remembers the best evaluation. */
static int keep_best(struct plumb_trainer *t, const struct plumb_metric *m, int n)
{
    const char *wanted = t->config->metric_for_best_model ? t->config->metric_for_best_model
                                                          : "loss";
    const size_t length = strlen(wanted);
    const bool is_loss = length >= 4 && !strcmp(wanted + length - 4, "loss");
    const bool greater = t->config->greater_is_better == PLUMB_UNSET ? !is_loss
                                                                     : t->config->greater_is_better;
    for (int i = 0; i < n; i++) {
        if (strcmp(m[i].name, wanted) && strcmp(m[i].name + strlen("eval_"), wanted)) continue;
        const double v = m[i].value, best = t->state.best_metric;
        if (t->state.best_step > 0 && !(greater ? v > best : v < best)) return PLUMB_OK;
        t->state.best_metric = v;
        t->state.best_step = t->state.step;
        return PLUMB_OK;
    }
    return plumb_fail(PLUMB_EUSAGE, "metric_for_best_model: evaluation has no metric \"%s\"",
                      wanted);
}

static int evaluate_and_log(struct plumb_trainer *t)
{
    struct plumb_tally tally;
    PLUMB_TRY(plumb_trainer_evaluate(t, t->eval, &tally));
    struct plumb_metric m[PLUMB_TALLY_MOST + 1];
    const int n = plumb_tally_means(&tally, m);
    /* Steps without a checkpoint cannot be gone back to. */
    if ((t->config->load_best_model_at_end || t->config->metric_for_best_model) && save_due(t))
        PLUMB_TRY(keep_best(t, m, n));
    return t->sink.metrics ? t->sink.metrics(t->sink.self, t->state.step, m, n) : PLUMB_OK;
}

static void progress(struct plumb_trainer *t)
{
    const struct plumb_metric m[] = { { "loss", t->step_loss },
                                      { "grad_norm", t->state.grad_norm },
                                      { "num_tokens", (double)t->state.num_tokens } };
    if (t->sink.progress) t->sink.progress(t->sink.self, t->state.step, t->total_steps, m, 3);
}

/* Stands before the last checkpoint, so that a resumed run has it once. */
static int log_whole(struct plumb_trainer *t)
{
    const struct plumb_train_state *s = &t->state;
    const struct plumb_metric m[] = { { "train_loss", s->loss_total / (double)s->step },
                                      { "epoch", (double)s->step / (double)t->steps_per_epoch },
                                      { "num_tokens", (double)s->num_tokens } };
    return t->sink.metrics ? t->sink.metrics(t->sink.self, s->step, m, 3) : PLUMB_OK;
}

static bool log_due(const struct plumb_trainer *t)
{
    const struct plumb_train_config *c = t->config;
    return due(t, c->logging_strategy, c->logging_steps) ||
           (t->state.step == 1 && c->logging_first_step);
}

static bool eval_due(const struct plumb_trainer *t)
{
    const struct plumb_train_config *c = t->config;
    const double every = isnan(c->eval_steps) ? c->logging_steps : c->eval_steps;
    const bool last = t->state.step == t->total_steps;
    return t->eval &&
           (due(t, c->eval_strategy, every) || (last && c->eval_strategy != PLUMB_INTERVAL_NO));
}

/* What follows a step: log, evaluate, save; sets t->stopped. */
static int after_step(struct plumb_trainer *t)
{
    const struct plumb_train_config *c = t->config;
    const bool last = t->state.step == t->total_steps;
    t->stopped = !last && t->hooks.stop && t->hooks.stop(t->hooks.self);
    const bool save = save_due(t) || t->stopped;
    if (last || save || log_due(t) || eval_due(t) || t->hooks.after_step)
        PLUMB_TRY(plumb_pending_finish(t));
    progress(t);
    if (t->hooks.after_step) PLUMB_TRY(t->hooks.after_step(t->hooks.self, t));
    if (log_due(t)) PLUMB_TRY(log_line(t));
    const double begun = now();
    if (eval_due(t)) PLUMB_TRY(evaluate_and_log(t));
    if (last && c->logging_strategy != PLUMB_INTERVAL_NO) PLUMB_TRY(log_whole(t));
    if (save || last) PLUMB_TRY(plumb_check_weights(t)); /* what is kept can be gone on from */
    if (save && t->hooks.save) PLUMB_TRY(t->hooks.save(t->hooks.self, t));
    t->log_seconds += now() - begun; /* tokens_per_second and step_time are those of training */
    return PLUMB_OK;
}

int plumb_trainer_run(struct plumb_trainer *t)
{
    t->log_seconds = now();
    t->log_tokens = t->state.num_tokens;
    while (t->state.step < t->total_steps && !t->stopped) {
        if (t->hooks.before_step) PLUMB_TRY(t->hooks.before_step(t->hooks.self, t));
        PLUMB_TRY(train_step(t));
        PLUMB_TRY(after_step(t));
    }
    const int64_t best = t->state.best_step;
    if (t->stopped || !t->config->load_best_model_at_end || best == 0 || best == t->state.step)
        return PLUMB_OK;
    plumb_log(PLUMB_LOG_INFO, "loading the best model, of step %lld", (long long)best);
    return t->hooks.load_weights ? t->hooks.load_weights(t->hooks.self, t, best) : PLUMB_OK;
}

int plumb_trainer_blobs(struct plumb_trainer *t, struct plumb_blob out[PLUMB_TRAINER_BLOBS])
{
    const enum plumb_dtype d = t->policy.prec.master;
    const int64_t rows = t->train->count + (t->eval ? t->eval->count : 0);
    const int64_t words = (int64_t)(sizeof t->state / sizeof(int32_t));
    const int64_t elements = plumb_model_trained(&t->policy).elements;
    out[0] = (struct plumb_blob){ "adam_m", t->optimizer.m.data, d, elements, true };
    out[1] = (struct plumb_blob){ "adam_v", t->optimizer.v.data, d, elements, true };
    out[2] = (struct plumb_blob){ "state", &t->state, PLUMB_I32, words, false };
    int n = 3;
    if (t->ref_logps)
        out[n++] = (struct plumb_blob){ "ref_logps", t->ref_logps, PLUMB_F64, 2 * rows, false };
    if (t->task->state_count > 0)
        out[n++] = (struct plumb_blob){ "task_state", t->task_state, PLUMB_F64,
                                        t->task->state_count, true };
    return n;
}

int plumb_trainer_restored(const struct plumb_trainer *t)
{
    const struct plumb_train_state *s = &t->state;
    bool sound = s->step > 0 && s->num_tokens >= 0 && s->loss_steps >= 0 &&
                 s->loss_steps <= s->step && s->best_step >= 0 && s->best_step <= s->step &&
                 s->tally.count >= 0 && s->tally.count <= PLUMB_TALLY_MOST;
    for (int64_t i = 0; sound && i < s->tally.count; i++)
        sound = memchr(s->tally.name[i], 0, sizeof s->tally.name[i]) != NULL;
    return sound ? PLUMB_OK
                 : plumb_fail(PLUMB_EFORMAT, "the state of step %lld is not one of this program",
                              (long long)s->step);
}
