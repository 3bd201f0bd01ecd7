/* Distillation: a divergence from a teacher over the whole vocabulary at every trained token,
 * divided by their number in the whole step. */
#include <plumb/distill.h>

#include "algos/policy.h"
#include "algos/tasks.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

/* Trained tokens of a row: all but the first of a text, or those of the completion. */
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
    struct plumb_pass pass; /* the policy's, without a head of its own */
    struct plumb_acts teacher;
    struct plumb_tensor losses, entropy, host_losses, host_entropy;
    struct plumb_tensor scratch;
};

static struct plumb_distill_head head_of(const struct plumb_model *m, struct plumb_tensor hidden)
{
    return (struct plumb_distill_head){ .H = m->config.width,
                                        .x = hidden,
                                        .w = plumb_model_weight(m, plumb_model_head(m)),
                                        .bias = plumb_model_weight(m, plumb_model_head_bias(m)),
                                        .logit_scale = m->config.logit_scale,
                                        .softcap = m->config.final_softcap };
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The op's arguments for N tokens and M targets; gradients where the policy's pass keeps them. */
static struct plumb_distill call_of(const struct plumb_task *t, const struct plumb_trainer *tr,
                                    const struct work *w, int64_t N, int64_t M, double divisor)
{
    const struct plumb_distill_config *c = t->options;
    struct plumb_distill d = {
        .struct_bytes = sizeof d,
        .divergence = (enum plumb_divergence)c->loss_type,
        .N = N,
        .V = least(tr->policy.config.vocab, tr->ref.config.vocab),
        .M = M,
        .row = w->batch.targets.row,
        .policy = head_of(&tr->policy, w->pass.acts.hidden),
        .teacher = head_of(&tr->ref, w->teacher.hidden),
        .temperature = c->temperature,
        .batch_invariant = tr->policy.batch_invariant,
        .divisor = divisor,
        .losses = w->losses,
        .entropy = w->entropy,
        .beta = c->beta,
        .alpha = c->alpha,
        .work = w->scratch,
    };
    if (!w->pass.acts.backward) return d;
    d.dx = w->pass.acts.dhidden;
    d.dw = plumb_model_grad(&tr->policy, plumb_model_head(&tr->policy));
    d.dbias = plumb_model_grad(&tr->policy, plumb_model_head_bias(&tr->policy));
    return d;
}

/* All that a micro-batch of this size needs beside its batch. */
static int push(const struct plumb_task *t, const struct plumb_trainer *tr, int64_t tokens,
                int64_t targets, bool backward, struct plumb_arena *step, struct work *w)
{
    const enum plumb_dtype stat = tr->policy.prec.master;
    PLUMB_TRY(plumb_arena_tensor(step, stat, targets, &w->losses));
    PLUMB_TRY(plumb_arena_tensor(step, stat, targets, &w->entropy));
    PLUMB_TRY(plumb_twin(step, w->losses, targets, &w->host_losses));
    PLUMB_TRY(plumb_twin(step, w->entropy, targets, &w->host_entropy));
    PLUMB_TRY(plumb_acts_init(&w->pass.acts, &tr->policy, tokens, tokens, backward, step));
    PLUMB_TRY(plumb_acts_init(&w->teacher, &tr->ref, tokens, tokens, false, step));
    /* Only presence and dtypes count for the size; on a counting arena there are no addresses
     * yet. */
    static char present;
    const int32_t listed = 0;
    struct plumb_distill d = call_of(t, tr, w, tokens, targets, 1);
    d.row = &listed;
    if (backward) d.dx.data = d.dw.data = &present;
    w->scratch.dtype = stat;
    return plumb_arena_push_device(step, plumb_distill_workspace(&tr->policy.dev, &d),
                                   &w->scratch.data);
}

static int plan(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *z, struct plumb_arena *step)
{
    struct work w = { 0 };
    void *p;
    PLUMB_TRY(plumb_arena_push(step, sizeof w, &p));
    PLUMB_TRY(plumb_batch_plan(z, step));
    return push(t, tr, z->tokens, z->targets, tr->train != NULL, step, &w);
}

static int micro(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                 void **work)
{
    PLUMB_TRY(plumb_arena_push(&tr->step, sizeof(struct work), work));
    struct work *w = *work;
    struct plumb_batch *b = &w->batch;
    *w = (struct work){ 0 };
    PLUMB_TRY(plumb_batch_build(&t->batching, m->e, m->count, &tr->step, b, NULL));
    const int64_t M = b->targets.M;
    PLUMB_TRY(push(t, tr, b->N, M, m->train, &tr->step, w));
    w->pass.batch = b, w->pass.step = &tr->step;
    PLUMB_TRY(plumb_model_forward(&tr->ref, b, &w->teacher));
    PLUMB_TRY(plumb_model_forward(&tr->policy, b, &w->pass.acts));
    const struct plumb_distill d = call_of(t, tr, w, b->N, M, m->divisor);
    PLUMB_TRY(plumb_distill(&tr->policy.dev, &d));
    if (m->train) PLUMB_TRY(plumb_model_backward(&tr->policy, b, &w->pass.acts));
    PLUMB_TRY(plumb_twin_fetch(&tr->step, w->entropy, w->host_entropy, M));
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
    plumb_tally_add(m->tally, "entropy", plumb_mean(w->host_entropy, 0, M));
    return plumb_check_loss(tr, m, &w->pass, w->host_losses, M, 0);
}

struct plumb_task plumb_task_distill(const struct plumb_distill_config *c)
{
    return (struct plumb_task){
        .name = "distill",
        .needs_ref = true,
        .weight = weight,
        .plan = plan,
        .micro = micro,
        .finish = finish,
        .options = c,
    };
}
