/* Progress of the demo's stages. */
#include "tools/demo_watch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

double plumb_demo_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The value of a metric, or `other`. */
static double value_of(const struct plumb_metric *m, int count, const char *name, double other)
{
    for (int i = 0; i < count; i++)
        if (strcmp(m[i].name, name) == 0) return m[i].value;
    return other;
}

/* Into the joint file, where steps and tokens are counted through. The stages' losses measure
 * different things: SFT's is called sft_loss. */
static int join(struct plumb_demo_watch *w, int64_t step, const struct plumb_metric *m, int count)
{
    const struct plumb_sink out = plumb_metrics_sink(&w->metrics);
    struct plumb_metric renamed[PLUMB_TALLY_MOST + 8];
    const bool dpo = w->plain.get != NULL;
    for (int i = 0; i < count; i++) {
        renamed[i] = m[i];
        if (!dpo && strcmp(m[i].name, "loss") == 0) renamed[i].name = "sft_loss";
        if (strcmp(m[i].name, "num_tokens") == 0) renamed[i].value += (double)w->tokens;
    }
    return out.metrics(out.self, w->shift + step, renamed, count);
}

/* Answers to the first few held-out orders with the weights of now; one line. */
static int try_out(struct plumb_demo_watch *w, int64_t step)
{
    struct plumb_trainer *t = &w->session->trainer;
    int64_t good;
    const double start = plumb_demo_clock();
    PLUMB_TRY(
        plumb_demo_trial_run(w->trial, plumb_model_exact(&t->policy), w->prompts, NULL, &good));
    t->log_seconds += plumb_demo_clock() - start; /* this was no training */
    const double share = (double)good / (double)w->prompts;
    PLUMB_TRY(join(w, step, &(struct plumb_metric){ "good_completions", share }, 1));
    if (w->quiet) return PLUMB_OK;
    if (w->plain.get)
        printf("  %5lld  %6.3f  %13.2f  %15.1f %%  %11lld\n", (long long)step, w->loss, w->margin,
               100 * w->accuracy, (long long)good);
    else
        printf("  %5lld  %6.3f  %12.1f %%  %11lld\n", (long long)step, w->loss,
               100 * w->token_accuracy, (long long)good);
    fflush(stdout);
    return PLUMB_OK;
}

/* A step may have several lines; the last that matters here has SFT's loss, or DPO's evaluation. */
static int metrics(void *self, int64_t step, const struct plumb_metric *m, int count)
{
    struct plumb_demo_watch *w = self;
    PLUMB_TRY(w->inner.metrics(w->inner.self, step, m, count));
    PLUMB_TRY(join(w, step, m, count));
    w->loss = value_of(m, count, "loss", w->loss);
    w->token_accuracy = value_of(m, count, "mean_token_accuracy", w->token_accuracy);
    w->margin = value_of(m, count, "rewards/margins", w->margin);
    w->accuracy = value_of(m, count, "eval_rewards/accuracies", w->accuracy);
    const bool last = !isnan(value_of(m, count, w->plain.get ? "eval_loss" : "loss", NAN));
    return last && step % w->every == 0 ? try_out(w, step) : PLUMB_OK;
}

static void start(struct plumb_demo_watch *w, struct plumb_session *s)
{
    w->session = s;
    w->inner = s->trainer.sink;
    s->metrics.terminal = NULL; /* our lines take the progress line's place */
    s->trainer.sink = (struct plumb_sink){ .self = w, .metrics = metrics };
}

static int opened_sft(void *self, struct plumb_session *s)
{
    struct plumb_demo_watch *w = self;
    start(w, s);
    if (!w->quiet)
        printf("\n   step    loss  token accuracy  good of %lld\n", (long long)w->prompts);
    return PLUMB_OK;
}

static int trained_sft(void *self, struct plumb_session *s)
{
    struct plumb_demo_watch *w = self;
    w->shift = s->trainer.state.step;
    w->tokens = s->trainer.state.num_tokens;
    return PLUMB_OK;
}

/* A pair with a reference that finds both answers equally probable: its "reward" is then the
 * model's own log-probability. */
static int get_plain(void *self, int64_t index, struct plumb_example *out)
{
    const struct plumb_dataset *pairs = self;
    PLUMB_TRY(pairs->get(pairs->self, index, out));
    out->has_ref_logps = true;
    out->ref_logps[0] = out->ref_logps[1] = 0;
    return PLUMB_OK;
}

static int preferred(struct plumb_demo_watch *w, double *share)
{
    struct plumb_tally tally;
    struct plumb_metric m[PLUMB_TALLY_MOST];
    PLUMB_TRY(plumb_trainer_evaluate(&w->session->trainer, &w->plain, &tally));
    *share = value_of(m, plumb_tally_means(&tally, m), "eval_rewards/accuracies", 0);
    return PLUMB_OK;
}

static int opened_dpo(void *self, struct plumb_session *s)
{
    struct plumb_demo_watch *w = self;
    start(w, s);
    w->plain = s->eval;
    w->plain.get = get_plain;
    w->plain.self = &s->eval;
    if (!w->quiet)
        printf("\n   step    loss  reward margin  held-out accuracy  good of %lld\n",
               (long long)w->prompts);
    return preferred(w, &w->preferred_before);
}

static int trained_dpo(void *self, struct plumb_session *s)
{
    (void)s;
    struct plumb_demo_watch *w = self;
    return preferred(w, &w->preferred_after);
}

struct plumb_session_watch plumb_demo_watch_sft(struct plumb_demo_watch *w)
{
    return (struct plumb_session_watch){ w, opened_sft, trained_sft };
}

struct plumb_session_watch plumb_demo_watch_dpo(struct plumb_demo_watch *w)
{
    return (struct plumb_session_watch){ w, opened_dpo, trained_dpo };
}
