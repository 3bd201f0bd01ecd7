/* Training on pairs of preferences: pairwise losses on log-probs, or on log-ratios to a frozen
 * reference, with a likelihood beside them where the method has one. */
#include <math.h>
#include <plumb/pairwise.h>
#include <plumb/reduce.h>
#include <plumb/supervised.h>

#include "algos/pairs_extra.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

struct context {
    struct plumb_pairwise loss;    /* for all pairs; the epilogue runs it on ranges */
    struct plumb_supervised third; /* for all tokens of third sequences, which follow the pairs' */
    const struct plumb_pairs_extra *extra;
    const int32_t *offset; /* loss.offset, in host memory */
    const struct plumb_device *dev;
};

static int pairs_epilogue(const struct context *c, int64_t i, int64_t n)
{
    struct plumb_pairwise l;
    const int64_t first = c->offset[2 * i], count = c->offset[2 * (i + n)] - first;
    PLUMB_TRY(plumb_pairwise_part(&c->loss, c->offset, first, count, &l));
    PLUMB_TRY(plumb_pairs_extra_run(c->extra, &l));
    return plumb_pairwise(c->dev, &l);
}

/* Targets [first, first + count) are those of a run of pairs and of tokens of third sequences. */
static int epilogue(void *ctx, int64_t first, int64_t count)
{
    const struct context *c = ctx;
    const int64_t B = c->loss.B, begin = c->offset[2 * B];
    int64_t i = 0, n = 0;
    while (i < B && c->offset[2 * i] < first)
        i++;
    while (i + n < B && c->offset[2 * (i + n) + 2] <= first + count)
        n++;
    if (n > 0) PLUMB_TRY(pairs_epilogue(c, i, n));
    const int64_t from = first > begin ? first : begin;
    struct plumb_supervised l = c->third;
    l.M = first + count - from;
    if (l.M <= 0) return PLUMB_OK;
    l.logp = plumb_tensor_at(l.logp, from);
    l.losses = plumb_tensor_at(l.losses, from);
    l.dlogp = plumb_tensor_at(l.dlogp, from);
    return plumb_supervised(c->dev, &l);
}

static double weight(const struct plumb_task *t, const struct plumb_example *e)
{
    (void)t, (void)e;
    return 1;
}

/* The frozen model's sequence sums: given by the data, computed before, or by a pass now. */
static int reference_sums(const struct plumb_trainer *tr, const struct plumb_batch *b,
                          struct plumb_arena *step, const struct plumb_example *e, int64_t count,
                          struct plumb_tensor weight, struct plumb_tensor sums)
{
    bool known = true;
    for (int64_t i = 0; i < count; i++)
        known = known && e[i].has_ref_logps;
    if (!known) return plumb_pass_sums_weighted(&tr->ref, b, step, weight, sums);
    struct plumb_tensor host;
    PLUMB_TRY(plumb_twin(step, sums, 2 * count, &host));
    for (int64_t i = 0; i < 2 * count; i++)
        plumb_tensor_set(host, i, e[i / 2].ref_logps[i % 2]);
    return plumb_twin_send(step, host, sums, 2 * count);
}

static int precompute(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_example *e,
                      int64_t count)
{
    struct plumb_batch batch;
    struct plumb_pairs_extra x;
    struct plumb_tensor sums, host;
    PLUMB_TRY(plumb_batch_build(&t->batching, e, count, &tr->step, &batch, NULL));
    PLUMB_TRY(
        plumb_pairs_extra_init(&x, t->options, &tr->policy, count, batch.targets.M, &tr->step));
    PLUMB_TRY(plumb_pairs_extra_tokens(&x, t->options, count, &batch));
    PLUMB_TRY(plumb_arena_tensor(&tr->step, tr->policy.prec.master, 2 * count, &sums));
    PLUMB_TRY(plumb_pass_sums_weighted(&tr->policy, &batch, &tr->step, x.token_weight, sums));
    PLUMB_TRY(plumb_twin_of(&tr->step, sums, 2 * count, &host));
    PLUMB_TRY(plumb_device_sync(&tr->policy.dev));
    for (int64_t i = 0; i < 2 * count; i++)
        e[i / 2].ref_logps[i % 2] = plumb_tensor_get(host, i);
    return PLUMB_OK;
}

/* Per-pair and per-sequence results of a micro-batch; third: negative log-probs of the third
 * sequences. */
struct results {
    struct plumb_tensor ref_sum, logps, rewards, losses, third;
};
enum { RESULTS = sizeof(struct results) / sizeof(struct plumb_tensor) };

/* The first three hold two numbers a pair. */
static int64_t count_of(int result, int64_t pairs) { return result < 3 ? 2 * pairs : pairs; }

/* A micro-batch between launch and finish, in the step arena. */
struct work {
    struct plumb_batch batch;
    struct plumb_pass pass;
    struct results r, host;
    struct plumb_pairs_extra extra;
    struct plumb_tensor token_losses; /* of third sequences, (targets) */
    void *group;
};

static int push_results(const struct plumb_task *t, struct work *w, enum plumb_dtype stat,
                        int64_t pairs, int64_t targets, struct plumb_arena *step)
{
    struct plumb_tensor *const r = &w->r.ref_sum, *const h = &w->host.ref_sum;
    for (int i = 0; i < RESULTS; i++) {
        PLUMB_TRY(plumb_arena_tensor(step, stat, count_of(i, pairs), &r[i]));
        PLUMB_TRY(plumb_twin(step, r[i], count_of(i, pairs), &h[i]));
    }
    const int64_t tokens = t->batching.third == PLUMB_THIRD_NONE ? 0 : targets;
    PLUMB_TRY(plumb_arena_tensor(step, stat, tokens, &w->token_losses));
    return plumb_arena_push(step, (size_t)(pairs + tokens + 1) * sizeof(int32_t), &w->group);
}

static int plan(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *z, struct plumb_arena *step)
{
    struct work w;
    struct plumb_tensor known;
    void *p;
    PLUMB_TRY(plumb_arena_push(step, sizeof w, &p));
    PLUMB_TRY(plumb_batch_plan(z, step));
    PLUMB_TRY(
        push_results(t, &w, tr->policy.prec.master, (z->sequences + 1) / 2, z->targets, step));
    PLUMB_TRY(plumb_pairs_extra_init(&w.extra, t->options, &tr->policy, (z->sequences + 1) / 2,
                                     z->targets, step));
    PLUMB_TRY(plumb_twin(step, w.r.ref_sum, z->sequences + 1, &known));
    PLUMB_TRY(plumb_pass_sums_plan(&tr->policy, z->tokens, z->targets, step));
    return plumb_pass_init(&w.pass, &tr->policy, NULL, z->tokens, z->targets, tr->train != NULL,
                           step);
}

/* Tokens of a micro-batch that the likelihood is a mean over; never 0. */
static double likelihood_tokens(const struct plumb_pairs *o, const struct plumb_targets *g,
                                int64_t pairs)
{
    double tokens = 0;
    if (o->likelihood != PLUMB_LIKELIHOOD_THIRD)
        for (int64_t i = 0; i < pairs; i++)
            tokens += g->offset[2 * i + 1] - g->offset[2 * i];
    if (o->likelihood != PLUMB_LIKELIHOOD_CHOSEN) tokens += g->M - g->offset[2 * pairs];
    return tokens > 1 ? tokens : 1;
}

static struct context loss_context(const struct plumb_task *t, const struct plumb_trainer *tr,
                                   const struct plumb_micro *m, const struct work *w)
{
    const struct plumb_pairs *o = t->options;
    const struct plumb_pass *p = &w->pass;
    const struct plumb_targets *g = &plumb_batch_host(p->batch)->targets;
    const double pairs = (double)m->count, tokens = likelihood_tokens(o, g, m->count);
    struct context c = { .loss = o->loss,
                         .extra = &w->extra,
                         .offset = g->offset,
                         .dev = &tr->policy.dev };
    c.loss.B = m->count;
    c.loss.offset = p->batch->targets.offset;
    c.loss.logp = p->head.logp;
    if (!o->reference_free) c.loss.ref_sum = w->r.ref_sum;
    c.loss.terms = o->terms;
    c.loss.divisor = m->divisor;
    c.loss.chosen_tokens = tokens / pairs;
    c.loss.losses = w->r.losses;
    c.loss.logps = w->r.logps;
    c.loss.rewards = w->r.rewards;
    c.loss.dlogp = p->head.dlogp;
    plumb_pairs_extra_set(&w->extra, &c.loss);
    if (t->batching.third != PLUMB_THIRD_NONE)
        c.third = (struct plumb_supervised){ .struct_bytes = sizeof c.third,
                                             .loss = PLUMB_SUPERVISED_NLL,
                                             .logp = p->head.logp,
                                             .losses = w->token_losses,
                                             .dlogp = p->head.dlogp,
                                             .divisor = m->divisor * tokens /
                                                        (pairs * o->likelihood_weight) };
    return c;
}

/* Where the head may cut its chunks: between pairs, unless their loss is one of all, and anywhere
 * in third sequences. */
static int64_t groups(const struct plumb_pairs *o, const struct plumb_targets *g, int64_t pairs,
                      int32_t *group)
{
    int64_t n = 0;
    for (int64_t i = 0; i <= pairs; i++)
        if (i == 0 || i == pairs || !plumb_pairs_are_one(o)) group[n++] = g->offset[2 * i];
    for (int32_t i = g->offset[2 * pairs]; i < g->M; i++)
        group[n++] = i + 1;
    return n - 1;
}

static int sum_third(const struct plumb_trainer *tr, const struct work *w, int64_t pairs)
{
    const struct plumb_segsum s = { .struct_bytes = sizeof s,
                                    .M = w->batch.targets.M,
                                    .R = pairs,
                                    .offset = w->batch.targets.offset + 2 * pairs,
                                    .x = w->token_losses,
                                    .y = w->r.third };
    return plumb_segsum_fwd(&tr->policy.dev, &s);
}

static int fetch_results(const struct plumb_task *t, const struct work *w, int64_t pairs,
                         struct plumb_arena *step)
{
    const struct plumb_tensor *const r = &w->r.ref_sum, *const h = &w->host.ref_sum;
    const struct plumb_pairs *o = t->options;
    const int last = t->batching.third == PLUMB_THIRD_NONE ? RESULTS - 1 : RESULTS;
    for (int i = o->reference_free ? 1 : 0; i < last; i++)
        PLUMB_TRY(plumb_twin_fetch(step, r[i], h[i], count_of(i, pairs)));
    return PLUMB_OK;
}

static int micro(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                 void **work)
{
    const struct plumb_pairs *o = t->options;
    PLUMB_TRY(plumb_arena_push(&tr->step, sizeof(struct work), work));
    struct work *w = *work;
    struct plumb_batch *b = &w->batch;
    PLUMB_TRY(plumb_batch_build(&t->batching, m->e, m->count, &tr->step, b, NULL));
    PLUMB_TRY(push_results(t, w, tr->policy.prec.master, m->count, b->targets.M, &tr->step));
    PLUMB_TRY(plumb_pairs_extra_init(&w->extra, o, &tr->policy, m->count, b->targets.M, &tr->step));
    PLUMB_TRY(plumb_pairs_extra_tokens(&w->extra, o, m->count, b));
    if (!o->reference_free)
        PLUMB_TRY(
            reference_sums(tr, b, &tr->step, m->e, m->count, w->extra.token_weight, w->r.ref_sum));
    PLUMB_TRY(plumb_pass_init(&w->pass, &tr->policy, b, b->N, b->targets.M, m->train, &tr->step));
    w->pass.head.log_sum_sq = w->extra.log_sum_sq;
    const int64_t n = groups(o, &plumb_batch_host(b)->targets, m->count, w->group);
    struct context ctx = loss_context(t, tr, m, w);
    PLUMB_TRY(plumb_pass_run(&tr->policy, &w->pass, w->group, n, epilogue, &ctx));
    if (t->batching.third != PLUMB_THIRD_NONE) PLUMB_TRY(sum_third(tr, w, m->count));
    PLUMB_TRY(plumb_pass_fetch(&w->pass));
    return fetch_results(t, w, m->count, &tr->step);
}

/* A side as its method sees it: the log-prob's sum, or its mean over tokens. */
static double logp_of(const struct plumb_pairs *o, const struct plumb_targets *g,
                      const struct results *r, int64_t s)
{
    const int32_t tokens = g->offset[s + 1] - g->offset[s];
    return plumb_tensor_get(r->logps, s) / (o->means && tokens > 1 ? tokens : 1);
}

static double reward_of(const struct plumb_pairs *o, const struct results *r, int64_t s,
                        double logp)
{
    const double alpha = o->reward_alpha;
    if (!o->means && alpha == 0) return plumb_tensor_get(r->rewards, s);
    return o->loss.beta * (alpha != 0 ? -expm1(-alpha * logp) / alpha : logp);
}

static void add_side_metrics(const struct plumb_pairs *o, const struct plumb_micro *m,
                             const struct plumb_pass *p, const struct results *r)
{
    const struct plumb_targets *g = &plumb_batch_host(p->batch)->targets;
    const char *const names[2][3] = { { "rewards/chosen", "logps/chosen", "logits/chosen" },
                                      { "rewards/rejected", "logps/rejected", "logits/rejected" } };
    const double pairs = (double)m->count;
    double reward[2] = { 0 }, logp[2] = { 0 }, logits[2] = { 0 }, tokens[2] = { 0 }, accurate = 0;
    for (int64_t i = 0; i < m->count; i++) {
        double own[2];
        for (int side = 0; side < 2; side++) {
            const int64_t s = 2 * i + side;
            const double l = logp_of(o, g, r, s);
            own[side] = reward_of(o, r, s, l);
            reward[side] += own[side];
            logp[side] += l;
            for (int32_t k = g->offset[s]; k < g->offset[s + 1]; k++, tokens[side]++)
                logits[side] += plumb_tensor_get(p->mean_logit, k);
        }
        accurate += own[0] > own[1];
    }
    for (int s = 0; s < 2; s++) {
        plumb_tally_add(m->tally, names[s][0], reward[s] / pairs);
        plumb_tally_add(m->tally, names[s][1], logp[s] / pairs);
        plumb_tally_add(m->tally, names[s][2], logits[s] / tokens[s]);
    }
    plumb_tally_add(m->tally, "rewards/accuracies", accurate / pairs);
    plumb_tally_add(m->tally, "rewards/margins", (reward[0] - reward[1]) / pairs);
}

/* log(1 - e^x), x < 0. */
static double log1mexp(double x) { return x > -M_LN2 ? log(-expm1(x)) : log1p(-exp(x)); }

/* ORPO's log odds ratio of a pair, kept below certainty as its formula does. */
static double log_odds(const struct plumb_pairs *o, const struct plumb_targets *g,
                       const struct results *r, int64_t i)
{
    const double w = fmin(logp_of(o, g, r, 2 * i), -1e-30),
                 l = fmin(logp_of(o, g, r, 2 * i + 1), -1e-30);
    return w - l - (log1mexp(w) - log1mexp(l));
}

static void add_method_metrics(const struct plumb_pairs *o, const struct plumb_micro *m,
                               const struct plumb_targets *g, const struct results *r)
{
    double ratio = 0, odds = 0, nll = 0;
    for (int64_t i = 0; i < m->count; i++) {
        nll -= plumb_tensor_get(r->logps, 2 * i);
        if (o->likelihood == PLUMB_LIKELIHOOD_WHOLE) nll += plumb_tensor_get(r->third, i);
        if (!o->log_odds) continue;
        const double z = log_odds(o, g, r, i);
        odds += z;
        ratio -= z > 0 ? log1p(exp(-z)) : log1p(exp(z)) - z;
    }
    if (o->nll_metric)
        plumb_tally_add(m->tally, "nll_loss",
                        o->likelihood_weight != 0 ? nll / likelihood_tokens(o, g, m->count) : 0);
    if (!o->log_odds) return;
    plumb_tally_add(m->tally, "log_odds_ratio", ratio / (double)m->count);
    plumb_tally_add(m->tally, "log_odds_chosen", odds / (double)m->count);
}

/* Gives each pair its share of the third sequences' likelihood. */
static void add_third(const struct plumb_task *t, const struct plumb_targets *g, int64_t pairs,
                      struct results *r)
{
    const struct plumb_pairs *o = t->options;
    const double each = o->likelihood_weight * (double)pairs / likelihood_tokens(o, g, pairs);
    for (int64_t i = 0; i < pairs && t->batching.third != PLUMB_THIRD_NONE; i++)
        plumb_tensor_set(r->losses, i,
                         plumb_tensor_get(r->losses, i) + each * plumb_tensor_get(r->third, i));
}

static int finish(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_micro *m,
                  void *work)
{
    const struct plumb_pairs *o = t->options;
    struct work *w = work;
    const struct plumb_targets *g = &plumb_batch_host(&w->batch)->targets;
    const int64_t sequences = 2 * m->count;
    add_third(t, g, m->count, &w->host);
    m->loss = plumb_mean(w->host.losses, 0, m->count) * (double)m->count / m->divisor;
    m->logps = w->host.logps;
    if (!o->reference_free) m->ref_logps = w->host.ref_sum;
    add_side_metrics(o, m, &w->pass, &w->host);
    add_method_metrics(o, m, g, &w->host);
    const bool prompts = t->batching.third == PLUMB_THIRD_PROMPT;
    plumb_tally_add(m->tally, "entropy",
                    plumb_mean(w->pass.entropy, 0, prompts ? g->offset[sequences] : g->M));
    plumb_tally_add(m->tally, "mean_token_accuracy", plumb_pass_accuracy(&w->pass, sequences, 2));
    return plumb_check_loss(tr, m, &w->pass, w->host.losses, m->count, 2);
}

struct plumb_task plumb_task_pairs(const char *name, const struct plumb_train_config *c,
                                   const struct plumb_pairs *o)
{
    static const enum plumb_batch_third third[] = {
        [PLUMB_LIKELIHOOD_CHOSEN] = PLUMB_THIRD_NONE,
        [PLUMB_LIKELIHOOD_WHOLE] = PLUMB_THIRD_PROMPT,
        [PLUMB_LIKELIHOOD_THIRD] = PLUMB_THIRD_COMPLETION,
    };
    return (struct plumb_task){
        .name = name,
        .needs_ref = !o->reference_free,
        .batching = { .share_prompts = c->share_prompts,
                      .third = o->likelihood_weight != 0 ? third[o->likelihood]
                                                         : PLUMB_THIRD_NONE },
        .weight = weight,
        .plan = plan,
        .micro = micro,
        .finish = finish,
        .precompute = o->reference_free ? NULL : precompute,
        .options = o,
    };
}
