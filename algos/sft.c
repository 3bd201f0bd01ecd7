/* Supervised fine-tuning: a likelihood loss on the trained tokens, divided by their number in
 * the whole step. */
#include <plumb/supervised.h>

#include "algos/policy.h"
#include "algos/tasks.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

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

/* Trained tokens of a row: those of the completion that are not left out, but for the first token
 * of a sequence, which has no prediction. */
static double weight(const struct plumb_task *t, const struct plumb_example *e)
{
    struct plumb_batch_size z = { 0 };
    plumb_batch_measure(&t->batching, e, &z);
    const bool unpredicted = e->prompt.n == 0 && (!e->trained || e->trained[0]);
    return (double)(unpredicted && z.targets > 0 ? z.targets - 1 : z.targets);
}

/* A micro-batch between launch and finish, in the step arena. */
struct work {
    struct plumb_batch batch;
    struct plumb_pass pass;
    struct plumb_tensor losses, host_losses;
    void *group;
};

static int push_results(struct work *w, enum plumb_dtype stat, int64_t targets,
                        struct plumb_arena *step)
{
    PLUMB_TRY(plumb_arena_push(step, (size_t)(targets + 1) * sizeof(int32_t), &w->group));
    PLUMB_TRY(plumb_arena_tensor(step, stat, targets, &w->losses));
    return plumb_twin(step, w->losses, targets, &w->host_losses);
}

static int plan(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *z, struct plumb_arena *step)
{
    (void)t;
    struct work w;
    void *p;
    PLUMB_TRY(plumb_arena_push(step, sizeof w, &p));
    PLUMB_TRY(plumb_batch_plan(z, step));
    PLUMB_TRY(push_results(&w, tr->policy.prec.master, z->targets, step));
    return plumb_pass_init(&w.pass, &tr->policy, NULL, z->tokens, z->targets, tr->train != NULL,
                           step);
}

static int micro(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                 void **work)
{
    const struct plumb_sft_config *c = t->options;
    PLUMB_TRY(plumb_arena_push(&tr->step, sizeof(struct work), work));
    struct work *w = *work;
    struct plumb_batch *b = &w->batch;
    PLUMB_TRY(plumb_batch_build(&t->batching, m->e, m->count, &tr->step, b, NULL));
    const int64_t M = b->targets.M;
    PLUMB_TRY(push_results(w, tr->policy.prec.master, M, &tr->step));
    PLUMB_TRY(plumb_pass_init(&w->pass, &tr->policy, b, b->N, M, m->train, &tr->step));
    for (int64_t i = 0; i <= M; i++)
        ((int32_t *)w->group)[i] = (int32_t)i; /* any token may end a chunk */
    struct context ctx = {
        .dev = &tr->policy.dev,
        .loss = { .struct_bytes = sizeof ctx.loss,
                  .loss = (enum plumb_supervised_loss)c->loss_type,
                  .logp = w->pass.head.logp,
                  .losses = w->losses,
                  .dlogp = w->pass.head.dlogp,
                  .divisor = m->divisor },
    };
    PLUMB_TRY(plumb_pass_run(&tr->policy, &w->pass, w->group, M, epilogue, &ctx));
    PLUMB_TRY(plumb_pass_fetch(&w->pass));
    return plumb_twin_fetch(&tr->step, w->losses, w->host_losses, M);
}

static int finish(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_micro *m,
                  void *work)
{
    (void)t;
    const struct work *w = work;
    const int64_t M = w->batch.targets.M;
    double sum = 0;
    for (int64_t i = 0; i < M; i++)
        sum += plumb_tensor_get(w->host_losses, i);
    m->loss = sum / m->divisor;
    plumb_tally_add(m->tally, "entropy", plumb_mean(w->pass.entropy, 0, M));
    plumb_tally_add(m->tally, "mean_token_accuracy", plumb_pass_accuracy(&w->pass, m->count, 1));
    return plumb_check_loss(tr, m, &w->pass, w->host_losses, M, 0);
}

struct plumb_task plumb_task_sft(const struct plumb_sft_config *c)
{
    return (struct plumb_task){
        .name = "sft",
        .weight = weight,
        .plan = plan,
        .micro = micro,
        .finish = finish,
        .options = c,
    };
}
