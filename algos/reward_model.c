/* Reward model: a scalar head on the last token of each transcript, Bradley-Terry on the pair. */
#include <math.h>
#include <plumb/optim.h>
#include <plumb/reward.h>

#include "algos/policy.h"
#include "algos/tasks.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

static double weight(const struct plumb_task *t, const struct plumb_example *e)
{
    (void)t, (void)e;
    return 1;
}

/* A micro-batch between launch and finish, in the step arena: per-pair and per-sequence tensors;
 * the last three also on the host. */
struct work {
    struct plumb_batch batch;
    struct plumb_pass pass;
    struct plumb_tensor dscores, narrow, panel, dpanel;
    struct plumb_tensor scores, margin, losses;
    struct plumb_tensor host_scores, host_margin, host_losses;
};

static int push_results(struct work *w, const struct plumb_model *m, int64_t pairs,
                        struct plumb_arena *step)
{
    const enum plumb_dtype stat = m->prec.master, compute = m->prec.compute;
    PLUMB_TRY(plumb_arena_tensor(step, stat, 2 * pairs, &w->scores));
    PLUMB_TRY(plumb_arena_tensor(step, stat, 2 * pairs, &w->dscores));
    PLUMB_TRY(plumb_arena_tensor(step, compute, 2 * pairs, &w->narrow));
    PLUMB_TRY(plumb_arena_tensor(step, stat, pairs, &w->margin));
    PLUMB_TRY(plumb_arena_tensor(step, stat, pairs, &w->losses));
    PLUMB_TRY(plumb_arena_tensor(step, compute, 2 * pairs * m->config.width, &w->panel));
    PLUMB_TRY(plumb_arena_tensor(step, stat, 2 * pairs * m->config.width, &w->dpanel));
    PLUMB_TRY(plumb_twin(step, w->scores, 2 * pairs, &w->host_scores));
    PLUMB_TRY(plumb_twin(step, w->margin, pairs, &w->host_margin));
    return plumb_twin(step, w->losses, pairs, &w->host_losses);
}

static int plan(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *z, struct plumb_arena *step)
{
    (void)t;
    struct work w;
    void *p;
    PLUMB_TRY(plumb_arena_push(step, sizeof w, &p));
    PLUMB_TRY(plumb_batch_plan(z, step));
    PLUMB_TRY(push_results(&w, &tr->policy, (z->sequences + 1) / 2, step));
    return plumb_acts_init(&w.pass.acts, &tr->policy, z->tokens, z->tokens, tr->train != NULL,
                           step);
}

static void add_metrics(const struct plumb_micro *m, const struct work *w)
{
    double least = INFINITY, most = -INFINITY, sum = 0, accurate = 0, margin = 0;
    for (int64_t i = 0; i < m->count; i++) {
        const double c = plumb_tensor_get(w->host_scores, 2 * i),
                     j = plumb_tensor_get(w->host_scores, 2 * i + 1);
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

static int loss(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                const struct work *w)
{
    const struct plumb_reward_config *c = t->options;
    for (int64_t i = 0; i < m->count; i++)
        plumb_tensor_set(w->host_margin, i, m->e[i].margin);
    PLUMB_TRY(plumb_twin_send(&tr->step, w->host_margin, w->margin, m->count));
    struct plumb_reward l = {
        .struct_bytes = sizeof l,
        .loss = PLUMB_REWARD_BRADLEY_TERRY,
        .B = m->count,
        .score = w->scores,
        .margin = w->margin,
        .center_coefficient = isnan(c->center_rewards_coefficient) ? 0
                                                                   : c->center_rewards_coefficient,
        .divisor = m->divisor,
        .losses = w->losses,
    };
    if (m->train) l.dscore = w->dscores;
    return plumb_reward(&tr->policy.dev, &l);
}

static int micro(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                 void **work)
{
    const struct plumb_model *model = &tr->policy;
    const int32_t *last;
    PLUMB_TRY(plumb_arena_push(&tr->step, sizeof(struct work), work));
    struct work *w = *work;
    struct plumb_batch *b = &w->batch;
    PLUMB_TRY(plumb_batch_build(&t->batching, m->e, m->count, &tr->step, b, &last));
    w->pass = (struct plumb_pass){ .batch = b };
    PLUMB_TRY(push_results(w, model, m->count, &tr->step));
    PLUMB_TRY(plumb_acts_init(&w->pass.acts, model, b->N, b->N, m->train, &tr->step));
    PLUMB_TRY(plumb_model_forward(model, b, &w->pass.acts));
    const struct plumb_score s = { .B = 2 * m->count,
                                   .rows = last,
                                   .scores = w->scores,
                                   .dscores = w->narrow,
                                   .panel = w->panel,
                                   .dpanel = w->dpanel };
    PLUMB_TRY(plumb_score_fwd(model, &w->pass.acts, &s));
    PLUMB_TRY(loss(t, tr, m, w));
    PLUMB_TRY(plumb_twin_fetch(&tr->step, w->scores, w->host_scores, 2 * m->count));
    PLUMB_TRY(plumb_twin_fetch(&tr->step, w->losses, w->host_losses, m->count));
    if (!m->train) return PLUMB_OK;
    const struct plumb_cast narrow = { .struct_bytes = sizeof narrow,
                                       .count = 2 * m->count,
                                       .x = w->dscores,
                                       .y = w->narrow };
    PLUMB_TRY(plumb_cast(&model->dev, &narrow));
    PLUMB_TRY(plumb_score_bwd(model, b, &w->pass.acts, &s));
    return plumb_model_backward(model, b, &w->pass.acts);
}

static int finish(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_micro *m,
                  void *work)
{
    (void)t;
    const struct work *w = work;
    m->loss = plumb_mean(w->host_losses, 0, m->count) * (double)m->count / m->divisor;
    add_metrics(m, w);
    return plumb_check_loss(tr, m, &w->pass, w->host_losses, m->count, 2);
}

struct plumb_task plumb_task_reward(const struct plumb_reward_config *c)
{
    return (struct plumb_task){
        .name = "reward",
        .batching = { .no_targets = true, .share_prompts = c->train.share_prompts },
        .weight = weight,
        .plan = plan,
        .micro = micro,
        .finish = finish,
        .options = c,
    };
}
