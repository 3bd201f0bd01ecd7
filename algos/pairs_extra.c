/* Weights and statistics of a micro-batch of pairs. */
#include "algos/pairs_extra.h"

#include <math.h>
#include <plumb/pair_batch.h>
#include <plumb/token_weight.h>

static bool has(const struct plumb_pairs *o, enum plumb_pairwise_loss loss)
{
    for (int64_t k = 0; k < o->loss.term_count; k++)
        if (o->terms[k].loss == loss) return true;
    return false;
}

bool plumb_pairs_are_one(const struct plumb_pairs *o)
{
    return has(o, PLUMB_PAIR_AOT) || has(o, PLUMB_PAIR_AOT_UNPAIRED);
}

int plumb_pairs_extra_init(struct plumb_pairs_extra *x, const struct plumb_pairs *o,
                           const struct plumb_model *m, int64_t pairs, int64_t targets,
                           struct plumb_arena *step)
{
    const enum plumb_dtype stat = m->prec.master;
    const struct plumb_aot sort = { .struct_bytes = sizeof sort, .B = pairs };
    *x = (struct plumb_pairs_extra){ .dev = &m->dev };
    if (!isnan(o->ld_alpha)) PLUMB_TRY(plumb_arena_tensor(step, stat, targets, &x->token_weight));
    if (o->use_weighting) {
        PLUMB_TRY(plumb_arena_tensor(step, stat, targets, &x->log_sum_sq));
        PLUMB_TRY(plumb_arena_tensor(step, stat, pairs, &x->weight));
    }
    if (has(o, PLUMB_PAIR_AOT)) PLUMB_TRY(plumb_arena_tensor(step, stat, pairs, &x->aot));
    if (has(o, PLUMB_PAIR_AOT_UNPAIRED))
        PLUMB_TRY(plumb_arena_tensor(step, stat, 2 * pairs, &x->aot_unpaired));
    if (!plumb_pairs_are_one(o)) return PLUMB_OK;
    x->work.dtype = stat;
    return plumb_arena_push_device(step, plumb_aot_workspace(&m->dev, &sort), &x->work.data);
}

int plumb_pairs_extra_tokens(const struct plumb_pairs_extra *x, const struct plumb_pairs *o,
                             int64_t pairs, const struct plumb_batch *b)
{
    if (isnan(o->ld_alpha)) return PLUMB_OK;
    const struct plumb_token_weight a = { .struct_bytes = sizeof a,
                                          .kind = PLUMB_WEIGHT_TAIL,
                                          .B = pairs,
                                          .offset = b->targets.offset,
                                          .ld_alpha = o->ld_alpha,
                                          .weight = x->token_weight };
    return plumb_token_weight(x->dev, &a);
}

void plumb_pairs_extra_set(const struct plumb_pairs_extra *x, struct plumb_pairwise *loss)
{
    loss->token_weight = x->token_weight;
    loss->weight = x->weight;
    loss->aot = x->aot;
    loss->aot_unpaired = x->aot_unpaired;
}

/* The sums are those that an evaluation of any loss leaves. */
static int sort_pairs(const struct plumb_pairs_extra *x, const struct plumb_pairwise *part)
{
    const struct plumb_pairwise_term any = { PLUMB_PAIR_SIGMOID, 1 };
    struct plumb_pairwise sums = *part;
    sums.dlogp = (struct plumb_tensor){ 0 };
    sums.terms = &any;
    sums.term_count = 1;
    PLUMB_TRY(plumb_pairwise(x->dev, &sums));
    struct plumb_aot a = { .struct_bytes = sizeof a,
                           .B = part->B,
                           .logps = part->logps,
                           .ref_sum = part->ref_sum,
                           .gap = part->aot,
                           .work = x->work };
    if (part->aot.data) PLUMB_TRY(plumb_aot(x->dev, &a));
    a.unpaired = true;
    a.gap = part->aot_unpaired;
    return part->aot_unpaired.data ? plumb_aot(x->dev, &a) : PLUMB_OK;
}

int plumb_pairs_extra_run(const struct plumb_pairs_extra *x, const struct plumb_pairwise *part)
{
    const struct plumb_wpo w = { .struct_bytes = sizeof w,
                                 .B = part->B,
                                 .offset = part->offset,
                                 .logp = part->logp,
                                 .log_sum_sq = x->log_sum_sq,
                                 .weight = part->weight };
    if (x->weight.data) PLUMB_TRY(plumb_wpo(x->dev, &w));
    return x->work.data ? sort_pairs(x, part) : PLUMB_OK;
}
