/* Reward model: a scalar head on the last token of each transcript, Bradley-Terry on the pair. */
#include <math.h>
#include <plumb/optim.h>
#include <plumb/reward.h>

#include "algos/policy.h"
#include "algos/tasks.h"
#include "runtime/read.h"

static double weight(const struct plumb_task *t, const struct plumb_example *e)
{
    (void)t, (void)e;
    return 1;
}

/* Per-pair and per-sequence tensors of a micro-batch, in the step arena. */
struct results {
    struct plumb_tensor scores, dscores, narrow, margin, losses, panel, dpanel;
};

static int push_results(struct results *r, const struct plumb_model *m, int64_t pairs,
                        struct plumb_arena *step)
{
    const enum plumb_dtype stat = m->prec.master, compute = m->prec.compute;
    PLUMB_TRY(plumb_arena_tensor(step, stat, 2 * pairs, &r->scores));
    PLUMB_TRY(plumb_arena_tensor(step, stat, 2 * pairs, &r->dscores));
    PLUMB_TRY(plumb_arena_tensor(step, compute, 2 * pairs, &r->narrow));
    PLUMB_TRY(plumb_arena_tensor(step, stat, pairs, &r->margin));
    PLUMB_TRY(plumb_arena_tensor(step, stat, pairs, &r->losses));
    PLUMB_TRY(plumb_arena_tensor(step, compute, 2 * pairs * m->config.width, &r->panel));
    return plumb_arena_tensor(step, stat, 2 * pairs * m->config.width, &r->dpanel);
}

static int plan(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *z, struct plumb_arena *step)
{
    (void)t;
    struct results r;
    struct plumb_acts acts;
    void *arrays;
    PLUMB_TRY(plumb_arena_push(step, plumb_batch_bytes(z), &arrays));
    PLUMB_TRY(push_results(&r, &tr->policy, (z->sequences + 1) / 2, step));
    return plumb_acts_init(&acts, &tr->policy, z->tokens, z->tokens, tr->train != NULL, step);
}

static void add_metrics(const struct plumb_micro *m, const struct results *r)
{
    double least = INFINITY, most = -INFINITY, sum = 0, accurate = 0, margin = 0;
    for (int64_t i = 0; i < m->count; i++) {
        const double c = plumb_tensor_get(r->scores, 2 * i),
                     j = plumb_tensor_get(r->scores, 2 * i + 1);
        least = fmin(least, fmin(c, j));
        most = fmax(most, fmax(c, j));
        sum += c + j;
        margin += c - j;
        accurate += c > j;
    }
    const double n = (double)m->count;
    plumb_tally_add(m->tally, "min_reward", least);
    plumb_tally_add(m->tally, "mean_reward", sum / (2 * n));
    plumb_tally_add(m->tally, "max_reward", most);
    plumb_tally_add(m->tally, "accuracy", accurate / n);
    plumb_tally_add(m->tally, "margin", margin / n);
}

static int loss(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_micro *m, struct results *r)
{
    const struct plumb_reward_config *c = t->options;
    for (int64_t i = 0; i < m->count; i++)
        plumb_tensor_set(r->margin, i, m->e[i].margin);
    struct plumb_reward l = {
        .struct_bytes = sizeof l,
        .loss = PLUMB_REWARD_BRADLEY_TERRY,
        .B = m->count,
        .score = r->scores,
        .margin = r->margin,
        .center_coefficient = isnan(c->center_rewards_coefficient) ? 0
                                                                   : c->center_rewards_coefficient,
        .divisor = m->divisor,
        .losses = r->losses,
    };
    if (m->train) l.dscore = r->dscores;
    return plumb_reward(&tr->policy.dev, &l);
}

static int micro(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_micro *m)
{
    const struct plumb_model *model = &tr->policy;
    struct plumb_batch batch;
    struct plumb_pass p = { .batch = &batch };
    struct results r;
    const int32_t *last;
    PLUMB_TRY(plumb_batch_build(&t->batching, m->e, m->count, &tr->step, &batch, &last));
    PLUMB_TRY(push_results(&r, model, m->count, &tr->step));
    PLUMB_TRY(plumb_acts_init(&p.acts, model, batch.N, batch.N, m->train, &tr->step));
    PLUMB_TRY(plumb_model_forward(model, &batch, &p.acts));
    const struct plumb_score s = { .B = 2 * m->count,
                                   .rows = last,
                                   .scores = r.scores,
                                   .dscores = r.narrow,
                                   .panel = r.panel,
                                   .dpanel = r.dpanel };
    PLUMB_TRY(plumb_score_fwd(model, &p.acts, &s));
    PLUMB_TRY(loss(t, tr, m, &r));
    m->loss = plumb_mean(r.losses, 0, m->count) * (double)m->count / m->divisor;
    add_metrics(m, &r);
    PLUMB_TRY(plumb_check_loss(tr, m, &p, r.losses, m->count, 2));
    if (!m->train) return PLUMB_OK;
    const struct plumb_cast narrow = { .struct_bytes = sizeof narrow,
                                       .count = 2 * m->count,
                                       .x = r.dscores,
                                       .y = r.narrow };
    PLUMB_TRY(plumb_cast(&model->dev, &narrow));
    PLUMB_TRY(plumb_score_bwd(model, &batch, &p.acts, &s));
    return plumb_model_backward(model, &batch, &p.acts);
}

struct plumb_task plumb_task_reward(const struct plumb_reward_config *c)
{
    return (struct plumb_task){
        .name = "reward",
        .batching = { .no_targets = true, .share_prompts = c->train.share_prompts },
        .weight = weight,
        .plan = plan,
        .micro = micro,
        .options = c,
    };
}
