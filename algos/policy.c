/* Passes of a language model over a batch, and the metrics that every likelihood trainer logs. */
#include "algos/policy.h"

#include <math.h>
#include <plumb/reduce.h>

#include "algos/pending.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

int plumb_pass_init(struct plumb_pass *p, const struct plumb_model *m,
                    const struct plumb_batch *batch, int64_t tokens, int64_t targets, bool backward,
                    struct plumb_arena *step)
{
    p->batch = batch;
    p->step = step;
    PLUMB_TRY(plumb_acts_init(&p->acts, m, tokens, tokens, backward, step));
    PLUMB_TRY(plumb_head_init(&p->head, m, tokens, targets, backward, step));
    PLUMB_TRY(plumb_twin(step, p->head.entropy, targets, &p->entropy));
    PLUMB_TRY(plumb_twin(step, p->head.mean_logit, targets, &p->mean_logit));
    const struct plumb_tensor argmax = { p->head.argmax, PLUMB_I32 };
    return plumb_twin(step, argmax, targets, &p->argmax);
}

int plumb_pass_fetch(struct plumb_pass *p)
{
    const int64_t M = p->batch->targets.M;
    const struct plumb_tensor argmax = { p->head.argmax, PLUMB_I32 };
    PLUMB_TRY(plumb_twin_fetch(p->step, p->head.entropy, p->entropy, M));
    PLUMB_TRY(plumb_twin_fetch(p->step, p->head.mean_logit, p->mean_logit, M));
    return plumb_twin_fetch(p->step, argmax, p->argmax, M);
}

int plumb_pass_run(const struct plumb_model *m, struct plumb_pass *p, const int32_t *group,
                   int64_t groups, plumb_logprob_epilogue *epilogue, void *ctx)
{
    PLUMB_TRY(plumb_model_forward(m, p->batch, &p->acts));
    struct plumb_logprob l = plumb_head_args(m, p->batch, &p->acts, &p->head);
    if (!p->acts.backward) {
        PLUMB_TRY(plumb_logprob_fwd(&m->dev, &l));
        return epilogue ? epilogue(ctx, 0, l.M) : PLUMB_OK;
    }
    l.group = group;
    l.groups = groups;
    l.epilogue = epilogue;
    l.epilogue_ctx = ctx;
    PLUMB_TRY(plumb_logprob_fused(&m->dev, &l));
    return plumb_model_backward(m, p->batch, &p->acts);
}

int plumb_pass_sums_plan(const struct plumb_model *m, int64_t tokens, int64_t targets,
                         struct plumb_arena *step)
{
    struct plumb_pass p;
    const struct plumb_mark mark = plumb_arena_mark(step);
    const int rc = plumb_pass_init(&p, m, NULL, tokens, targets, false, step);
    plumb_arena_reset_queued(step, mark);
    return rc;
}

int plumb_pass_sums_weighted(const struct plumb_model *m, const struct plumb_batch *batch,
                             struct plumb_arena *step, struct plumb_tensor weight,
                             struct plumb_tensor sums)
{
    struct plumb_pass p;
    const struct plumb_mark mark = plumb_arena_mark(step);
    PLUMB_TRY(plumb_pass_init(&p, m, batch, batch->N, batch->targets.M, false, step));
    PLUMB_TRY(plumb_pass_run(m, &p, NULL, 0, NULL, NULL));
    const struct plumb_segsum s = { .struct_bytes = sizeof s,
                                    .M = batch->targets.M,
                                    .R = batch->targets.R,
                                    .offset = batch->targets.offset,
                                    .x = p.head.logp,
                                    .y = sums,
                                    .weight = weight };
    const int rc = plumb_segsum_fwd(&m->dev, &s);
    plumb_arena_reset_queued(step, mark);
    return rc;
}

int plumb_pass_sums(const struct plumb_model *m, const struct plumb_batch *batch,
                    struct plumb_arena *step, struct plumb_tensor sums)
{
    return plumb_pass_sums_weighted(m, batch, step, (struct plumb_tensor){ 0 }, sums);
}

int plumb_pass_sums_known(const struct plumb_model *m, const struct plumb_batch *batch,
                          struct plumb_arena *step, struct plumb_tensor *host_sums)
{
    struct plumb_tensor sums;
    PLUMB_TRY(plumb_arena_tensor(step, m->prec.master, batch->targets.R, &sums));
    PLUMB_TRY(plumb_pass_sums(m, batch, step, sums));
    PLUMB_TRY(plumb_twin_of(step, sums, batch->targets.R, host_sums));
    return plumb_device_sync(&m->dev);
}

double plumb_mean(struct plumb_tensor t, int64_t first, int64_t last)
{
    double sum = 0;
    for (int64_t i = first; i < last; i++)
        sum += plumb_tensor_get(t, i);
    return last > first ? sum / (double)(last - first) : (double)NAN;
}

double plumb_pass_accuracy(const struct plumb_pass *p, int64_t last, int64_t stride)
{
    const struct plumb_targets *g = &plumb_batch_host(p->batch)->targets;
    const int32_t *argmax = p->argmax.data;
    int64_t right = 0, all = 0;
    for (int64_t r = 0; r < last; r += stride)
        for (int32_t i = g->offset[r]; i < g->offset[r + 1]; i++, all++)
            right += argmax[i] == g->target[i];
    return all ? (double)right / (double)all : (double)NAN;
}

/* The index of the first value that is not finite, or -1. */
static int64_t first_bad(struct plumb_tensor t, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(plumb_tensor_get(t, i))) return i;
    return -1;
}

/* Names the first weight that is not finite, NULL without one. */
static const char *bad_weight(const struct plumb_model *m)
{
    static _Thread_local char text[160];
    const struct plumb_flat f = plumb_model_trained(m);
    struct plumb_stage exact = { 0 };
    int64_t w = -1;
    if (!plumb_stage_open(&exact, &m->dev, plumb_flat_exact(&f), f.elements, true))
        w = first_bad(exact.host, f.elements);
    plumb_stage_release(&exact);
    return w < 0 ? NULL : plumb_model_owner(m, w, text, sizeof text);
}

int plumb_check_weights(const struct plumb_trainer *t)
{
    const char *bad = bad_weight(&t->policy);
    return bad ? plumb_fail(PLUMB_ENUM, "after step %lld: %s", (long long)t->state.step, bad)
               : PLUMB_OK;
}

static bool all_finite(const struct plumb_device *dev, struct plumb_tensor t, int64_t n)
{
    struct plumb_stage s = { 0 };
    const bool finite = plumb_stage_open(&s, dev, t, n, true) || first_bad(s.host, n) < 0;
    plumb_stage_release(&s);
    return finite;
}

/* Names the earliest tensor of the pass that is not finite. */
static const char *culprit(const struct plumb_trainer *t, const struct plumb_pass *p)
{
    const struct plumb_model *m = &t->policy;
    const char *bad = bad_weight(m);
    if (bad) return bad;
    if (!plumb_pending_has_activations(t))
        return "the weights are finite (logging_steps 1 names the tensor)";
    if (!all_finite(&m->dev, p->acts.r_final, p->batch->N * m->config.width))
        return "the residual stream is not finite";
    if (p->head.logp.data && !all_finite(&m->dev, p->head.logp, p->batch->targets.M))
        return "the log-probs are not finite";
    return "the loss itself overflowed";
}

int plumb_check_loss(const struct plumb_trainer *t, const struct plumb_micro *m,
                     const struct plumb_pass *p, struct plumb_tensor losses, int64_t count,
                     int64_t sequences_per_loss)
{
    if (isfinite(m->loss)) return PLUMB_OK;
    const int64_t bad = first_bad(losses, count) > 0 ? first_bad(losses, count) : 0;
    int64_t sequence = bad * sequences_per_loss;
    if (sequences_per_loss == 0)
        while (plumb_batch_host(p->batch)->targets.offset[sequence + 1] <= bad)
            sequence++;
    return plumb_fail(PLUMB_ENUM, "%s %lld: the loss is %g at data row %lld: %s",
                      m->train ? "step" : "evaluation after step", (long long)m->step, m->loss,
                      (long long)p->batch->example[sequence], culprit(t, p));
}
