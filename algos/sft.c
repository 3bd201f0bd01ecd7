/* Supervised fine-tuning: a likelihood loss on the trained tokens, divided by their number in
 * the whole step. */
#include <plumb/supervised.h>

#include "algos/policy.h"
#include "algos/tasks.h"
#include "runtime/read.h"

struct context {
    struct plumb_supervised loss; /* for all targets; the epilogue runs it on ranges */
    const struct plumb_device *dev;
};

static int epilogue(void *ctx, int64_t first, int64_t count)
{
    const struct context *c = ctx;
    struct plumb_supervised l = c->loss;
    l.M = count;
    l.logp = plumb_tensor_at(l.logp, first);
    l.losses = plumb_tensor_at(l.losses, first);
    l.dlogp = plumb_tensor_at(l.dlogp, first);
    return plumb_supervised(c->dev, &l);
}

/* Trained tokens of a row: all but the first of a text, or those of the completion. */
static double weight(const struct plumb_task *t, const struct plumb_example *e)
{
    struct plumb_batch_size z = { 0 };
    plumb_batch_measure(&t->batching, e, &z);
    return (double)(e->prompt.n == 0 && z.targets > 0 ? z.targets - 1 : z.targets);
}

static int plan(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *z, struct plumb_arena *step)
{
    (void)t;
    struct plumb_pass p;
    struct plumb_tensor losses;
    void *group;
    PLUMB_TRY(plumb_arena_push(step, plumb_batch_bytes(z), &group));
    PLUMB_TRY(plumb_arena_push(step, (size_t)(z->targets + 1) * sizeof(int32_t), &group));
    PLUMB_TRY(plumb_arena_tensor(step, tr->policy.prec.master, z->targets, &losses));
    return plumb_pass_init(&p, &tr->policy, NULL, z->tokens, z->targets, tr->train != NULL, step);
}

static int micro(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_micro *m)
{
    const struct plumb_sft_config *c = t->options;
    struct plumb_batch batch;
    struct plumb_pass p;
    struct plumb_tensor losses;
    void *group;
    PLUMB_TRY(plumb_batch_build(&t->batching, m->e, m->count, &tr->step, &batch, NULL));
    const int64_t M = batch.targets.M;
    PLUMB_TRY(plumb_arena_push(&tr->step, (size_t)(M + 1) * sizeof(int32_t), &group));
    PLUMB_TRY(plumb_arena_tensor(&tr->step, tr->policy.prec.master, M, &losses));
    PLUMB_TRY(plumb_pass_init(&p, &tr->policy, &batch, batch.N, M, m->train, &tr->step));
    for (int64_t i = 0; i <= M; i++)
        ((int32_t *)group)[i] = (int32_t)i; /* any token may end a chunk */
    struct context ctx = {
        .dev = &tr->policy.dev,
        .loss = { .struct_bytes = sizeof ctx.loss,
                  .loss = (enum plumb_supervised_loss)c->loss_type,
                  .logp = p.head.logp,
                  .losses = losses,
                  .dlogp = p.head.dlogp,
                  .divisor = m->divisor },
    };
    PLUMB_TRY(plumb_pass_run(&tr->policy, &p, group, M, epilogue, &ctx));
    double sum = 0;
    for (int64_t i = 0; i < M; i++)
        sum += plumb_tensor_get(losses, i);
    m->loss = sum / m->divisor;
    plumb_tally_add(m->tally, "entropy", plumb_mean(p.head.entropy, 0, M));
    plumb_tally_add(m->tally, "mean_token_accuracy", plumb_pass_accuracy(&p, 0, 1));
    return plumb_check_loss(tr, m, &p, losses, M, 0);
}

struct plumb_task plumb_task_sft(const struct plumb_sft_config *c)
{
    return (struct plumb_task){
        .name = "sft",
        .weight = weight,
        .plan = plan,
        .micro = micro,
        .options = c,
    };
}
