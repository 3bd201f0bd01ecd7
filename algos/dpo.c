/* Direct preference optimisation and its relatives: pairwise losses on log-ratios to a frozen
 * reference. */
#include <math.h>
#include <plumb/pairwise.h>

#include "algos/policy.h"
#include "algos/tasks.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

struct context {
    struct plumb_pairwise loss; /* for all pairs; the epilogue runs it on ranges */
    const int32_t *offset;      /* loss.offset, in host memory */
    const struct plumb_device *dev;
};

/* Targets [first, first + count) are those of a run of pairs. */
static int epilogue(void *ctx, int64_t first, int64_t count)
{
    const struct context *c = ctx;
    struct plumb_pairwise l = c->loss;
    int64_t i = 0, n = 0;
    while (i < l.B && c->offset[2 * i] < first)
        i++;
    while (i + n < l.B && c->offset[2 * (i + n) + 2] <= first + count)
        n++;
    l.B = n;
    l.offset += 2 * i;
    l.ref_sum = plumb_tensor_at(l.ref_sum, 2 * i);
    l.losses = plumb_tensor_at(l.losses, i);
    l.logps = plumb_tensor_at(l.logps, 2 * i);
    l.rewards = plumb_tensor_at(l.rewards, 2 * i);
    return plumb_pairwise(c->dev, &l);
}

static double weight(const struct plumb_task *t, const struct plumb_example *e)
{
    (void)t, (void)e;
    return 1;
}

/* The frozen model's sequence sums: given by the data, computed before, or by a pass now. */
static int reference_sums(const struct plumb_trainer *tr, const struct plumb_batch *b,
                          struct plumb_arena *step, const struct plumb_example *e, int64_t count,
                          struct plumb_tensor sums)
{
    bool known = true;
    for (int64_t i = 0; i < count; i++)
        known = known && e[i].has_ref_logps;
    if (!known) return plumb_pass_sums(&tr->ref, b, step, sums);
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
    struct plumb_tensor sums;
    PLUMB_TRY(plumb_batch_build(&t->batching, e, count, &tr->step, &batch, NULL));
    PLUMB_TRY(plumb_pass_sums_known(&tr->policy, &batch, &tr->step, &sums));
    for (int64_t i = 0; i < 2 * count; i++)
        e[i / 2].ref_logps[i % 2] = plumb_tensor_get(sums, i);
    return PLUMB_OK;
}

/* Per-pair and per-sequence results of a micro-batch. */
struct results {
    struct plumb_tensor ref_sum, losses, logps, rewards;
};

/* A micro-batch between launch and finish, in the step arena. */
struct work {
    struct plumb_batch batch;
    struct plumb_pass pass;
    struct results r, host;
    void *group;
};

static int push_results(struct work *w, enum plumb_dtype stat, int64_t pairs,
                        struct plumb_arena *step)
{
    struct results *r = &w->r, *h = &w->host;
    PLUMB_TRY(plumb_arena_tensor(step, stat, 2 * pairs, &r->ref_sum));
    PLUMB_TRY(plumb_arena_tensor(step, stat, pairs, &r->losses));
    PLUMB_TRY(plumb_arena_tensor(step, stat, 2 * pairs, &r->logps));
    PLUMB_TRY(plumb_arena_tensor(step, stat, 2 * pairs, &r->rewards));
    PLUMB_TRY(plumb_twin(step, r->ref_sum, 2 * pairs, &h->ref_sum));
    PLUMB_TRY(plumb_twin(step, r->losses, pairs, &h->losses));
    PLUMB_TRY(plumb_twin(step, r->logps, 2 * pairs, &h->logps));
    PLUMB_TRY(plumb_twin(step, r->rewards, 2 * pairs, &h->rewards));
    return plumb_arena_push(step, (size_t)(pairs + 1) * sizeof(int32_t), &w->group);
}

static int fetch_results(const struct work *w, int64_t pairs, struct plumb_arena *step)
{
    PLUMB_TRY(plumb_twin_fetch(step, w->r.ref_sum, w->host.ref_sum, 2 * pairs));
    PLUMB_TRY(plumb_twin_fetch(step, w->r.losses, w->host.losses, pairs));
    PLUMB_TRY(plumb_twin_fetch(step, w->r.logps, w->host.logps, 2 * pairs));
    return plumb_twin_fetch(step, w->r.rewards, w->host.rewards, 2 * pairs);
}

static int plan(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *z, struct plumb_arena *step)
{
    (void)t;
    struct work w;
    struct plumb_tensor known;
    void *p;
    PLUMB_TRY(plumb_arena_push(step, sizeof w, &p));
    PLUMB_TRY(plumb_batch_plan(z, step));
    PLUMB_TRY(push_results(&w, tr->policy.prec.master, (z->sequences + 1) / 2, step));
    PLUMB_TRY(plumb_twin(step, w.r.ref_sum, z->sequences + 1, &known));
    PLUMB_TRY(plumb_pass_sums_plan(&tr->policy, z->tokens, z->targets, step));
    return plumb_pass_init(&w.pass, &tr->policy, NULL, z->tokens, z->targets, tr->train != NULL,
                           step);
}

static void add_metrics(const struct plumb_micro *m, const struct plumb_pass *p,
                        const struct results *r)
{
    const struct plumb_targets *g = &plumb_batch_host(p->batch)->targets;
    const char *const names[2][3] = { { "rewards/chosen", "logps/chosen", "logits/chosen" },
                                      { "rewards/rejected", "logps/rejected", "logits/rejected" } };
    const int64_t pairs = m->count;
    double reward[2] = { 0 }, logp[2] = { 0 }, logits[2] = { 0 }, tokens[2] = { 0 }, accurate = 0;
    for (int64_t s = 0; s < 2 * pairs; s++) {
        reward[s % 2] += plumb_tensor_get(r->rewards, s);
        logp[s % 2] += plumb_tensor_get(r->logps, s);
        for (int32_t i = g->offset[s]; i < g->offset[s + 1]; i++, tokens[s % 2]++)
            logits[s % 2] += plumb_tensor_get(p->mean_logit, i);
    }
    for (int64_t i = 0; i < pairs; i++)
        accurate += plumb_tensor_get(r->rewards, 2 * i) > plumb_tensor_get(r->rewards, 2 * i + 1);
    for (int s = 0; s < 2; s++) {
        plumb_tally_add(m->tally, names[s][0], reward[s] / (double)pairs);
        plumb_tally_add(m->tally, names[s][1], logp[s] / (double)pairs);
        plumb_tally_add(m->tally, names[s][2], logits[s] / tokens[s]);
    }
    plumb_tally_add(m->tally, "rewards/accuracies", accurate / (double)pairs);
    plumb_tally_add(m->tally, "rewards/margins", (reward[0] - reward[1]) / (double)pairs);
    plumb_tally_add(m->tally, "entropy", plumb_mean(p->entropy, 0, g->M));
    plumb_tally_add(m->tally, "mean_token_accuracy", plumb_pass_accuracy(p, 0, 2));
}

/* TRL's sft term is the mean over the chosen tokens of the micro-batch. */
static double chosen_tokens(const struct plumb_targets *g, int64_t pairs)
{
    double tokens = 0;
    for (int64_t i = 0; i < pairs; i++)
        tokens += g->offset[2 * i + 1] - g->offset[2 * i];
    return tokens > 1 ? tokens / (double)pairs : 1 / (double)pairs;
}

static struct context loss_context(const struct plumb_task *t, const struct plumb_trainer *tr,
                                   const struct plumb_micro *m, const struct plumb_pass *p,
                                   const struct results *r, const struct plumb_pairwise_term *terms)
{
    const struct plumb_dpo_task_options *o = t->options;
    return (struct context){
        .dev = &tr->policy.dev,
        .offset = plumb_batch_host(p->batch)->targets.offset,
        .loss = { .struct_bytes = sizeof(struct plumb_pairwise),
                  .B = m->count,
                  .offset = p->batch->targets.offset,
                  .logp = p->head.logp,
                  .ref_sum = r->ref_sum,
                  .terms = terms,
                  .term_count = o->terms.count,
                  .beta = o->config->beta,
                  .label_smoothing = o->config->label_smoothing,
                  .divisor = m->divisor,
                  .discopop_tau = o->config->discopop_tau,
                  .chosen_tokens = chosen_tokens(&plumb_batch_host(p->batch)->targets, m->count),
                  .losses = r->losses,
                  .logps = r->logps,
                  .rewards = r->rewards,
                  .dlogp = p->head.dlogp },
    };
}

static int micro(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                 void **work)
{
    const struct plumb_dpo_task_options *o = t->options;
    PLUMB_TRY(plumb_arena_push(&tr->step, sizeof(struct work), work));
    struct work *w = *work;
    struct plumb_batch *b = &w->batch;
    PLUMB_TRY(plumb_batch_build(&t->batching, m->e, m->count, &tr->step, b, NULL));
    PLUMB_TRY(push_results(w, tr->policy.prec.master, m->count, &tr->step));
    PLUMB_TRY(reference_sums(tr, b, &tr->step, m->e, m->count, w->r.ref_sum));
    PLUMB_TRY(
        plumb_pass_init(&w->pass, &tr->policy, b, b->N, b->targets.M, m->train, &tr->step));
    for (int64_t i = 0; i <= m->count; i++)
        ((int32_t *)w->group)[i] = plumb_batch_host(b)->targets.offset[2 * i];
    struct plumb_pairwise_term terms[8];
    for (int64_t i = 0; i < o->terms.count; i++)
        terms[i] = (struct plumb_pairwise_term){ (enum plumb_pairwise_loss)o->terms.ids[i],
                                                 o->terms.weights[i] };
    struct context ctx = loss_context(t, tr, m, &w->pass, &w->r, terms);
    PLUMB_TRY(plumb_pass_run(&tr->policy, &w->pass, w->group, m->count, epilogue, &ctx));
    PLUMB_TRY(plumb_pass_fetch(&w->pass));
    return fetch_results(w, m->count, &tr->step);
}

static int finish(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_micro *m,
                  void *work)
{
    (void)t;
    struct work *w = work;
    m->loss = plumb_mean(w->host.losses, 0, m->count) * (double)m->count / m->divisor;
    m->logps = w->host.logps;
    m->ref_logps = w->host.ref_sum;
    add_metrics(m, &w->pass, &w->host);
    return plumb_check_loss(tr, m, &w->pass, w->host.losses, m->count, 2);
}

int plumb_task_dpo(const struct plumb_dpo_config *c, struct plumb_dpo_task_options *o,
                   struct plumb_task *out)
{
    *o = (struct plumb_dpo_task_options){ .config = c, .terms = { .count = c->loss_type.count } };
    if (o->terms.count < 1 || o->terms.count > 8)
        return plumb_fail(PLUMB_EUSAGE, "loss_type: %lld values, 1 to 8 are possible",
                          (long long)o->terms.count);
    if (c->loss_weights.count > 0 && c->loss_weights.count != o->terms.count)
        return plumb_fail(PLUMB_EUSAGE, "loss_weights: %lld values for %lld loss types",
                          (long long)c->loss_weights.count, (long long)o->terms.count);
    for (int64_t i = 0; i < o->terms.count; i++) {
        o->terms.ids[i] = plumb_pairwise_find(c->loss_type.item[i]);
        o->terms.weights[i] = c->loss_weights.count > 0 ? c->loss_weights.item[i] : 1;
        if (o->terms.ids[i] < 0)
            return plumb_fail(PLUMB_EUSAGE,
                              "loss_type: \"%s\" is unknown; `plumb losses` lists them",
                              c->loss_type.item[i]);
    }
    *out = (struct plumb_task){
        .name = "dpo",
        .needs_ref = true,
        .batching = { .share_prompts = c->train.share_prompts },
        .weight = weight,
        .plan = plan,
        .micro = micro,
        .finish = finish,
        .precompute = precompute,
        .options = o,
    };
    return PLUMB_OK;
}
