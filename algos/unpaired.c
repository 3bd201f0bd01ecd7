/* Training on single completions with a label, against a number that the batch is judged by: the
 * policy's drift on mismatched completions (KTO), the running mean of all rewards (BCO), or
 * none. */
#include <math.h>
#include <plumb/unpaired.h>

#include "algos/policy.h"
#include "algos/tasks.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

struct context {
    struct plumb_unpaired loss;   /* for all rows; the epilogue runs it on ranges */
    struct plumb_bco_delta delta; /* brings loss.shift up to date before it; delta none: not */
    const int32_t *offset;        /* loss.offset, in host memory */
    const struct plumb_device *dev;
};

static int epilogue(void *ctx, int64_t first, int64_t count)
{
    const struct context *c = ctx;
    struct plumb_unpaired l;
    if (c->delta.delta.data) PLUMB_TRY(plumb_bco_delta(c->dev, &c->delta)); /* one range: all */
    PLUMB_TRY(plumb_unpaired_part(&c->loss, c->offset, first, count, &l));
    return plumb_unpaired(c->dev, &l);
}

static double weight(const struct plumb_task *t, const struct plumb_example *e)
{
    (void)t, (void)e;
    return 1;
}

static bool has_kl(const struct plumb_task *t)
{
    const struct plumb_ratings *o = t->options;
    return o->point == PLUMB_POINT_KL;
}

/* TRL's rule: rows in file order, in groups of the batch size; each takes the completion of the
 * row before it, the first that of the last, cut to max_length behind its own prompt. */
static int complete(const struct plumb_task *t, const struct plumb_trainer *tr,
                    const struct plumb_dataset *d, int64_t index, struct plumb_example *e)
{
    if (!has_kl(t)) e->kl_completion = (struct plumb_ids){ 0 };
    if (!has_kl(t) || e->kl_completion.n > 0) return PLUMB_OK;
    const int64_t batch = tr->config->per_device_train_batch_size;
    const int64_t first = index / batch * batch,
                  last = first + batch < d->count ? first + batch : d->count;
    struct plumb_example other;
    PLUMB_TRY(d->get(d->self, index > first ? index - 1 : last - 1, &other));
    e->kl_completion = other.completion[0];
    const int64_t left = tr->config->max_length - e->prompt.n;
    if (tr->config->max_length > 0 && e->kl_completion.n > left) e->kl_completion.n = left;
    return PLUMB_OK;
}

/* Per-row results of a micro-batch. */
struct results {
    struct plumb_tensor ref_sum, losses, logps, rewards, kl_logps, kl_ref, point;
};
enum { RESULTS = sizeof(struct results) / sizeof(struct plumb_tensor) };

/* A micro-batch between launch and finish, in the step arena. */
struct work {
    struct plumb_batch batch, mismatched;
    struct plumb_pass pass;
    struct results r, host;
    void *group, *label, *kl_offset;
};

/* All but the last, what the batch is judged by, hold a number a row. */
static int64_t count_of(int result, int64_t rows) { return result == RESULTS - 1 ? 1 : rows; }

static int push_results(struct work *w, enum plumb_dtype stat, int64_t rows,
                        struct plumb_arena *step)
{
    struct plumb_tensor *const r = &w->r.ref_sum, *const h = &w->host.ref_sum;
    for (int i = 0; i < RESULTS; i++) {
        PLUMB_TRY(plumb_arena_tensor(step, stat, count_of(i, rows), &r[i]));
        PLUMB_TRY(plumb_twin(step, r[i], count_of(i, rows), &h[i]));
    }
    void **const ints[] = { &w->group, &w->label, &w->kl_offset };
    for (int i = 0; i < 3; i++)
        PLUMB_TRY(plumb_arena_push(step, (size_t)(rows + 1) * sizeof(int32_t), ints[i]));
    return PLUMB_OK;
}

static int fetch_results(const struct plumb_task *t, const struct work *w, int64_t rows,
                         struct plumb_arena *step)
{
    const struct plumb_ratings *o = t->options;
    const struct plumb_tensor *const r = &w->r.ref_sum, *const h = &w->host.ref_sum;
    for (int i = 0; i < RESULTS; i++) {
        const bool of_kl = &r[i] == &w->r.kl_logps || &r[i] == &w->r.kl_ref;
        if (of_kl && !has_kl(t)) continue;
        if (&r[i] == &w->r.point && o->point == PLUMB_POINT_NONE) continue;
        PLUMB_TRY(plumb_twin_fetch(step, r[i], h[i], count_of(i, rows)));
    }
    return PLUMB_OK;
}

static int plan(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *z, struct plumb_arena *step)
{
    struct work w;
    struct plumb_tensor known;
    void *p;
    PLUMB_TRY(plumb_arena_push(step, sizeof w, &p));
    PLUMB_TRY(plumb_batch_plan(z, step));
    if (has_kl(t)) PLUMB_TRY(plumb_batch_plan(z, step)); /* the mismatched */
    PLUMB_TRY(push_results(&w, tr->policy.prec.master, z->sequences, step));
    for (int i = 0; i < (has_kl(t) ? 2 : 1); i++) {
        PLUMB_TRY(plumb_twin(step, w.r.ref_sum, z->sequences, &known));
        PLUMB_TRY(plumb_pass_sums_plan(&tr->policy, z->tokens, z->targets, step));
    }
    return plumb_pass_init(&w.pass, &tr->policy, NULL, z->tokens, z->targets, tr->train != NULL,
                           step);
}

static bool all_known(const struct plumb_example *e, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!e[i].has_ref_logps) return false;
    return true;
}

/* sums = numbers that the host knows: ref_logps[which] of each row. */
static int send_known(const struct plumb_micro *m, int which, struct plumb_tensor sums,
                      struct plumb_arena *step)
{
    struct plumb_tensor host;
    PLUMB_TRY(plumb_twin(step, sums, m->count, &host));
    for (int64_t i = 0; i < m->count; i++)
        plumb_tensor_set(host, i, m->e[i].ref_logps[which]);
    return plumb_twin_send(step, host, sums, m->count);
}

/* r.point = how far the policy has drifted on the mismatched completions. */
static int drift(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                 struct work *w)
{
    struct plumb_batch *b = &w->mismatched;
    struct results *r = &w->r;
    const struct plumb_mark mark = plumb_arena_mark(&tr->step);
    struct plumb_batching side = t->batching;
    side.side = PLUMB_SIDE_KL;
    PLUMB_TRY(plumb_batch_build(&side, m->e, m->count, &tr->step, b, NULL));
    PLUMB_TRY(plumb_pass_sums(&tr->policy, b, &tr->step, r->kl_logps));
    if (tr->ref_logps) /* a column of the data has the rows' own sums only */
        PLUMB_TRY(send_known(m, 1, r->kl_ref, &tr->step));
    else
        PLUMB_TRY(plumb_pass_sums(&tr->ref, b, &tr->step, r->kl_ref));
    plumb_arena_reset_queued(&tr->step, mark);
    int32_t *offset = w->kl_offset;
    for (int64_t i = 0; i <= m->count; i++)
        offset[i] = (int32_t)i;
    struct plumb_kto_kl kl = { .struct_bytes = sizeof kl,
                               .B = m->count,
                               .logp = r->kl_logps,
                               .ref_sum = r->kl_ref,
                               .kl = r->point };
    PLUMB_TRY(plumb_ints_send(&tr->step, offset, m->count + 1, &kl.offset));
    return plumb_kto_kl(&tr->policy.dev, &kl);
}

static int precompute(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_example *e,
                      int64_t count)
{
    for (int side = 0; side < (has_kl(t) ? 2 : 1); side++) {
        struct plumb_batching o = t->batching;
        o.side = side == 0 ? PLUMB_SIDE_COMPLETIONS : PLUMB_SIDE_KL;
        struct plumb_batch b;
        struct plumb_tensor sums;
        plumb_arena_empty(&tr->step);
        PLUMB_TRY(plumb_batch_build(&o, e, count, &tr->step, &b, NULL));
        PLUMB_TRY(plumb_pass_sums_known(&tr->policy, &b, &tr->step, &sums));
        for (int64_t i = 0; i < count; i++)
            e[i].ref_logps[side] = plumb_tensor_get(sums, i);
    }
    return PLUMB_OK;
}

/* KTO's means are of its batches' means, BCO's of its rows, as in TRL; the margin is always of
 * batches. */
static void add_metrics(const struct plumb_task *t, const struct plumb_micro *m,
                        const struct plumb_pass *p, const struct results *r)
{
    const struct plumb_ratings *o = t->options;
    const struct plumb_targets *g = &plumb_batch_host(p->batch)->targets;
    const char *const names[2][3] = { { "rewards/rejected", "logps/rejected", "logits/rejected" },
                                      { "rewards/chosen", "logps/chosen", "logits/chosen" } };
    double reward[2] = { 0 }, logp[2] = { 0 }, logits[2] = { 0 }, tokens[2] = { 0 },
           rows[2] = { 0 };
    for (int64_t s = 0; s < m->count; s++) {
        const int side = m->e[s].label ? 1 : 0;
        rows[side]++;
        reward[side] += plumb_tensor_get(r->rewards, s);
        logp[side] += plumb_tensor_get(r->logps, s);
        for (int32_t i = g->offset[s]; i < g->offset[s + 1]; i++, tokens[side]++)
            logits[side] += plumb_tensor_get(p->mean_logit, i);
    }
    for (int s = 1; s >= 0; s--) { /* a mean over nothing is NaN and is not counted */
        const double share = o->point == PLUMB_POINT_DELTA ? rows[s] : 1;
        plumb_tally_weigh(m->tally, names[s][0], reward[s] / rows[s], share);
        plumb_tally_weigh(m->tally, names[s][1], logp[s] / rows[s], share);
        plumb_tally_weigh(m->tally, names[s][2], logits[s] / tokens[s], share);
    }
    plumb_tally_add(m->tally, "rewards/margins", reward[1] / rows[1] - reward[0] / rows[0]);
    plumb_tally_add(m->tally, o->point == PLUMB_POINT_DELTA ? "delta" : "kl",
                    o->point == PLUMB_POINT_NONE ? 0 : plumb_tensor_get(r->point, 0));
    plumb_tally_add(m->tally, "entropy", plumb_mean(p->entropy, 0, g->M));
}

static struct context loss_context(const struct plumb_task *t, const struct plumb_trainer *tr,
                                   const struct plumb_micro *m, const struct work *w)
{
    const struct plumb_ratings *o = t->options;
    const struct plumb_pass *p = &w->pass;
    const struct results *r = &w->r;
    struct context c = { .loss = o->loss,
                         .offset = plumb_batch_host(p->batch)->targets.offset,
                         .dev = &tr->policy.dev };
    c.loss.B = m->count;
    c.loss.offset = p->batch->targets.offset;
    c.loss.logp = p->head.logp;
    c.loss.ref_sum = r->ref_sum;
    c.loss.divisor = m->divisor;
    c.loss.losses = r->losses;
    c.loss.logps = r->logps;
    c.loss.rewards = r->rewards;
    c.loss.dlogp = p->head.dlogp;
    if (o->point == PLUMB_POINT_KL) c.loss.kl = r->point;
    if (o->point != PLUMB_POINT_DELTA) return c;
    c.loss.shift = r->point;
    c.delta = (struct plumb_bco_delta){ .struct_bytes = sizeof c.delta,
                                        .B = m->train ? m->count : 0, /* else as it stands */
                                        .offset = c.loss.offset,
                                        .logp = p->head.logp,
                                        .ref_sum = r->ref_sum,
                                        .beta = o->loss.beta,
                                        .before = tr->task_state,
                                        .after = tr->task_state,
                                        .delta = r->point };
    return c;
}

static int micro(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                 void **work)
{
    const struct plumb_ratings *o = t->options;
    PLUMB_TRY(plumb_arena_push(&tr->step, sizeof(struct work), work));
    struct work *w = *work;
    struct plumb_batch *b = &w->batch;
    PLUMB_TRY(plumb_batch_build(&t->batching, m->e, m->count, &tr->step, b, NULL));
    PLUMB_TRY(push_results(w, tr->policy.prec.master, m->count, &tr->step));
    if (has_kl(t)) PLUMB_TRY(drift(t, tr, m, w));
    if (all_known(m->e, m->count))
        PLUMB_TRY(send_known(m, 0, w->r.ref_sum, &tr->step));
    else
        PLUMB_TRY(plumb_pass_sums(&tr->ref, b, &tr->step, w->r.ref_sum));
    int32_t *group = w->group, *label = w->label;
    const int64_t groups = o->point == PLUMB_POINT_DELTA ? 1 : m->count; /* 1: all or none */
    for (int64_t i = 0; i <= groups; i++)
        group[i] = plumb_batch_host(b)->targets.offset[i * (m->count / groups)];
    for (int64_t i = 0; i < m->count; i++)
        label[i] = m->e[i].label;
    const int32_t *labels;
    PLUMB_TRY(plumb_ints_send(&tr->step, label, m->count, &labels));
    PLUMB_TRY(plumb_pass_init(&w->pass, &tr->policy, b, b->N, b->targets.M, m->train, &tr->step));
    struct context ctx = loss_context(t, tr, m, w);
    ctx.loss.label = labels;
    PLUMB_TRY(plumb_pass_run(&tr->policy, &w->pass, group, groups, epilogue, &ctx));
    PLUMB_TRY(plumb_pass_fetch(&w->pass));
    return fetch_results(t, w, m->count, &tr->step);
}

static int finish(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_micro *m,
                  void *work)
{
    const struct work *w = work;
    const struct results *r = &w->host;
    m->loss = plumb_mean(r->losses, 0, m->count) * (double)m->count / m->divisor;
    m->logps = r->logps;
    m->ref_logps = r->ref_sum;
    if (has_kl(t)) m->kl_logps = r->kl_logps;
    if (has_kl(t)) m->ref_kl_logps = r->kl_ref;
    add_metrics(t, m, &w->pass, r);
    return plumb_check_loss(tr, m, &w->pass, r->losses, m->count, 1);
}

static struct plumb_task task(const char *name, const struct plumb_ratings *o)
{
    return (struct plumb_task){
        .name = name,
        .needs_ref = true,
        .weight = weight,
        .complete = complete,
        .plan = plan,
        .micro = micro,
        .finish = finish,
        .precompute = precompute,
        .state_count = o->point == PLUMB_POINT_DELTA ? 3 : 0,
        .options = o,
    };
}

struct plumb_task plumb_task_kto(const struct plumb_kto_config *c, struct plumb_ratings *o)
{
    *o = (struct plumb_ratings){ .loss = { .struct_bytes = sizeof o->loss,
                                           .loss = (enum plumb_unpaired_loss)c->loss_type,
                                           .beta = c->beta,
                                           .desirable_weight = c->desirable_weight,
                                           .undesirable_weight = c->undesirable_weight } };
    o->point = c->loss_type == PLUMB_UNPAIRED_KTO ? PLUMB_POINT_KL : PLUMB_POINT_NONE;
    return task("kto", o);
}

struct plumb_task plumb_task_bco(const struct plumb_bco_config *c, struct plumb_ratings *o)
{
    *o = (struct plumb_ratings){
        .loss = { .struct_bytes = sizeof o->loss, .loss = PLUMB_UNPAIRED_BCO, .beta = c->beta },
        .point = PLUMB_POINT_DELTA
    };
    return task("bco", o);
}
