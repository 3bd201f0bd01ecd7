/* Training on ranked lists: several scored completions of a prompt, under a listwise loss. */
#include <math.h>

#include "algos/policy.h"
#include "algos/tasks.h"
#include "runtime/read.h"
#include "runtime/transfer.h"

struct context {
    struct plumb_listwise loss;   /* for all lists; the epilogue runs it on ranges */
    const int32_t *list, *offset; /* the loss's, in host memory */
    const struct plumb_device *dev;
};

static int epilogue(void *ctx, int64_t first, int64_t count)
{
    const struct context *c = ctx;
    struct plumb_listwise l;
    PLUMB_TRY(plumb_listwise_part(&c->loss, c->list, c->offset, first, count, &l));
    return plumb_listwise(c->dev, &l);
}

static double pairs_of(const struct plumb_example *e)
{
    double n = 0;
    for (int64_t i = 0; i < e->candidates; i++)
        for (int64_t j = 0; j < e->candidates; j++)
            n += e->score[i] > e->score[j];
    return n;
}

/* A mean over lists, or over the pairs of all of them. */
static double weight(const struct plumb_task *t, const struct plumb_example *e)
{
    const struct plumb_ranking *o = t->options;
    return o->over_pairs ? pairs_of(e) : 1;
}

/* Results of a micro-batch: by candidate, then by list. */
struct results {
    struct plumb_tensor label, ref_sum, dscore, scores, logps;
    struct plumb_tensor losses, pairs, correct, top;
};
enum { RESULTS = sizeof(struct results) / sizeof(struct plumb_tensor) };
enum { LABEL, REF_SUM, DSCORE, OF_LISTS = 5 }; /* where what the host need not see stands */

/* A micro-batch between launch and finish, in the step arena. */
struct work {
    struct plumb_batch batch;
    struct plumb_pass pass;
    struct results r, host;
    struct plumb_tensor room; /* of the loss */
    void *list, *group;
};

static int push_results(struct work *w, const struct plumb_device *dev, enum plumb_dtype stat,
                        int64_t lists, int64_t candidates, struct plumb_arena *step)
{
    struct plumb_tensor *const r = &w->r.label, *const h = &w->host.label;
    const struct plumb_listwise l = { .C = candidates };
    for (int i = 0; i < RESULTS; i++) {
        const int64_t n = i < OF_LISTS ? candidates : lists;
        PLUMB_TRY(plumb_arena_tensor(step, stat, n, &r[i]));
        PLUMB_TRY(plumb_twin(step, r[i], n, &h[i]));
    }
    w->room.dtype = stat;
    PLUMB_TRY(plumb_arena_push_device(step, plumb_listwise_workspace(dev, &l), &w->room.data));
    PLUMB_TRY(plumb_arena_push(step, (size_t)(lists + 1) * sizeof(int32_t), &w->list));
    return plumb_arena_push(step, (size_t)(lists + 1) * sizeof(int32_t), &w->group);
}

static int plan(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *z, struct plumb_arena *step)
{
    struct work w;
    void *p;
    (void)t;
    PLUMB_TRY(plumb_arena_push(step, sizeof w, &p));
    PLUMB_TRY(plumb_batch_plan(z, step));
    PLUMB_TRY(push_results(&w, &tr->policy.dev, tr->policy.prec.master, z->sequences, z->sequences,
                           step));
    PLUMB_TRY(plumb_pass_sums_plan(&tr->policy, z->tokens, z->targets, step));
    return plumb_pass_init(&w.pass, &tr->policy, NULL, z->tokens, z->targets, tr->train != NULL,
                           step);
}

/* The lists' bounds, in candidates and in targets; the candidates' scores as labels. */
static int lay_out_lists(struct plumb_trainer *tr, const struct plumb_micro *m, struct work *w)
{
    const int32_t *offset = plumb_batch_host(&w->batch)->targets.offset;
    int32_t *list = w->list, *group = w->group;
    list[0] = 0, group[0] = offset[0];
    for (int64_t i = 0; i < m->count; i++) {
        list[i + 1] = list[i] + (int32_t)m->e[i].candidates;
        group[i + 1] = offset[list[i + 1]];
        for (int64_t k = 0; k < m->e[i].candidates; k++)
            plumb_tensor_set(w->host.label, list[i] + k, m->e[i].score[k]);
    }
    return plumb_twin_send(&tr->step, w->host.label, w->r.label, list[m->count]);
}

static int loss_context(const struct plumb_task *t, struct plumb_trainer *tr,
                        const struct plumb_micro *m, const struct work *w, struct context *c)
{
    const struct plumb_ranking *o = t->options;
    const struct plumb_pass *p = &w->pass;
    *c = (struct context){ .loss = o->loss,
                           .list = w->list,
                           .offset = plumb_batch_host(p->batch)->targets.offset,
                           .dev = &tr->policy.dev };
    struct plumb_listwise *l = &c->loss;
    l->L = m->count;
    l->C = c->list[m->count];
    l->offset = p->batch->targets.offset;
    l->logp = p->head.logp;
    if (!o->reference_free) l->ref_sum = w->r.ref_sum;
    l->label = w->r.label;
    l->divisor = m->divisor;
    l->losses = w->r.losses;
    l->scores = w->r.scores;
    l->logps = w->r.logps;
    l->pairs = w->r.pairs;
    l->correct = w->r.correct;
    l->top = w->r.top;
    l->dscore = w->r.dscore;
    l->dlogp = p->head.dlogp;
    l->work = w->room;
    return plumb_ints_send(&tr->step, w->list, m->count + 1, &l->list);
}

static int fetch_results(const struct plumb_task *t, const struct work *w, int64_t lists,
                         int64_t candidates, struct plumb_arena *step)
{
    const struct plumb_ranking *o = t->options;
    const struct plumb_tensor *const r = &w->r.label, *const h = &w->host.label;
    for (int i = 0; i < RESULTS; i++)
        if (i != LABEL && i != DSCORE && (i != REF_SUM || !o->reference_free))
            PLUMB_TRY(plumb_twin_fetch(step, r[i], h[i], i < OF_LISTS ? candidates : lists));
    return PLUMB_OK;
}

static int micro(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                 void **work)
{
    const struct plumb_ranking *o = t->options;
    PLUMB_TRY(plumb_arena_push(&tr->step, sizeof(struct work), work));
    struct work *w = *work;
    struct plumb_batch *b = &w->batch;
    struct context ctx;
    PLUMB_TRY(plumb_batch_build(&t->batching, m->e, m->count, &tr->step, b, NULL));
    const int64_t candidates = b->targets.R;
    PLUMB_TRY(
        push_results(w, &tr->policy.dev, tr->policy.prec.master, m->count, candidates, &tr->step));
    PLUMB_TRY(lay_out_lists(tr, m, w));
    if (!o->reference_free) PLUMB_TRY(plumb_pass_sums(&tr->ref, b, &tr->step, w->r.ref_sum));
    PLUMB_TRY(plumb_pass_init(&w->pass, &tr->policy, b, b->N, b->targets.M, m->train, &tr->step));
    PLUMB_TRY(loss_context(t, tr, m, w, &ctx));
    PLUMB_TRY(plumb_pass_run(&tr->policy, &w->pass, w->group, m->count, epilogue, &ctx));
    PLUMB_TRY(plumb_pass_fetch(&w->pass));
    return fetch_results(t, w, m->count, candidates, &tr->step);
}

/* chosen and rejected: the candidates of the largest and the least score in the data, the first of
 * equals. */
static void add_end_metrics(const struct plumb_micro *m, const struct work *w)
{
    const int32_t *list = w->list;
    double reward[2] = { 0 }, logp[2] = { 0 };
    for (int64_t i = 0; i < m->count; i++) {
        const struct plumb_example *e = &m->e[i];
        int64_t end[2] = { 0, 0 };
        for (int64_t k = 1; k < e->candidates; k++) {
            if (e->score[k] > e->score[end[0]]) end[0] = k;
            if (e->score[k] < e->score[end[1]]) end[1] = k;
        }
        for (int s = 0; s < 2; s++) {
            reward[s] += plumb_tensor_get(w->host.scores, list[i] + end[s]);
            logp[s] += plumb_tensor_get(w->host.logps, list[i] + end[s]);
        }
    }
    const double n = (double)m->count;
    plumb_tally_add(m->tally, "rewards/chosen", reward[0] / n);
    plumb_tally_add(m->tally, "rewards/rejected", reward[1] / n);
    plumb_tally_add(m->tally, "rewards/margins", (reward[0] - reward[1]) / n);
    plumb_tally_add(m->tally, "logps/chosen", logp[0] / n);
    plumb_tally_add(m->tally, "logps/rejected", logp[1] / n);
}

/* Of pairs of unequal scores, those that the policy orders alike; Kendall's tau counts the others
 * against them. A mean over no pair is NaN and is not counted. */
static void add_order_metrics(const struct plumb_micro *m, const struct work *w)
{
    double pairs = 0, correct = 0, top = 0;
    for (int64_t i = 0; i < m->count; i++) {
        pairs += plumb_tensor_get(w->host.pairs, i);
        correct += plumb_tensor_get(w->host.correct, i);
        top += plumb_tensor_get(w->host.top, i);
    }
    plumb_tally_weigh(m->tally, "rewards/accuracies", correct / pairs, pairs);
    plumb_tally_weigh(m->tally, "rewards/kendall_tau", 2 * correct / pairs - 1, pairs);
    plumb_tally_weigh(m->tally, "rewards/top_accuracies", top / (double)m->count, (double)m->count);
}

static int finish(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_micro *m,
                  void *work)
{
    const struct plumb_ranking *o = t->options;
    const struct work *w = work;
    m->loss = plumb_mean(w->host.losses, 0, m->count) * (double)m->count / m->divisor;
    m->logps = w->host.logps;
    if (!o->reference_free) m->ref_logps = w->host.ref_sum;
    add_end_metrics(m, w);
    add_order_metrics(m, w);
    plumb_tally_add(m->tally, "entropy",
                    plumb_mean(w->pass.entropy, 0, plumb_batch_host(&w->batch)->targets.M));
    return plumb_check_loss(tr, m, &w->pass, w->host.losses, m->count, 1);
}

struct plumb_task plumb_task_listwise(const struct plumb_listwise_config *c,
                                      struct plumb_ranking *o)
{
    *o = (struct plumb_ranking){ .loss = { .struct_bytes = sizeof o->loss,
                                           .loss = (enum plumb_listwise_loss)c->loss_type,
                                           .beta = c->beta,
                                           .length_penalty = c->length_penalty,
                                           .sft_weight = c->sft_weight,
                                           .sft_length_penalty = c->sft_length_penalty,
                                           .label_temperature = c->label_temperature,
                                           .margin = c->margin,
                                           .lambda = c->lambda,
                                           .top_k = c->top_k },
                                 .reference_free = c->reference_free == PLUMB_YES,
                                 .over_pairs = c->average == PLUMB_AVERAGE_PAIRS };
    return (struct plumb_task){
        .name = "listwise",
        .needs_ref = !o->reference_free,
        .batching = { .share_prompts = c->train.share_prompts },
        .weight = weight,
        .plan = plan,
        .micro = micro,
        .finish = finish,
        .options = o,
    };
}
