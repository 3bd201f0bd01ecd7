/* Losses on ranked lists: K candidates of one prompt with a label each, larger = better. List l is
 * the run [list[l], list[l+1]) of candidates, a candidate a run of tokens. Formulas: listwise.def;
 * values checked against golden/losses. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_listwise_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_LIST_##NAME = ID,
#include <plumb/listwise.def>
#undef PLUMB_FORMULA
};

/* A candidate's score is beta * (log-prob sum - ref) / tokens^length_penalty, or beta * score where
 * scores are given (a ranking loss for any model). Candidates of equal score or label are ordered
 * by index; equal labels make no pair. Cost: K^2 evaluations a list, no memory beyond `work`. */
struct plumb_listwise {
    size_t struct_bytes;
    enum plumb_listwise_loss loss;
    int64_t L, C;                /* lists; their candidates */
    const int32_t *list;         /* (L+1) candidate runs, from `first` to first + C */
    int64_t first;               /* the candidate that stands first in the arrays */
    struct plumb_tensor score;   /* (C) in, f32: scores; absent = from logp */
    const int32_t *offset;       /* (C+1) token runs of the candidates, with logp */
    struct plumb_tensor logp;    /* (offset[C]) in, f32: policy, per token, nats */
    struct plumb_tensor ref_logp, ref_sum; /* as in plumb_pairwise, by candidate */
    struct plumb_tensor label;   /* (C) in, f32: relevance or reward */
    const int32_t *mask;         /* (C) 0 = takes no part, at all; NULL = all do */
    struct plumb_tensor weight;  /* (L) in, f32: of each list; absent = 1 */
    double beta;                 /* > 0 */
    double length_penalty;       /* 0 = sums, 1 = means per token; 0 with score */
    double sft_weight;           /* of -log-prob of the best candidate, added to any formula; 0
                                  * with score */
    double sft_length_penalty;   /* of that term: 0 = its sum, 1 = its mean */
    double divisor;              /* lists of the whole step: loss = sum / divisor, gradients alike;
                                  * the number of pairs makes it a mean over pairs */
    /* Read by the formulas that name them (kernels/listwise/<name>.h). */
    double label_temperature;    /* > 0: what labels are divided by */
    double margin, lambda;
    int64_t top_k;               /* list_mle: stages that count; 0 = all */
    struct plumb_tensor losses;  /* (L) out, f32, weighted, not divided */
    struct plumb_tensor scores, logps; /* (C) out, f32: with logp; absent with score */
    struct plumb_tensor pairs, correct; /* (L) out, f32: pairs of unequal labels, those that the
                                         * scores order alike; absent = not wanted */
    struct plumb_tensor top;     /* (L) out, f32: 1 where the best score has the best label; absent
                                  * = not wanted */
    struct plumb_tensor dscore;  /* (C) out, f32: d loss / d score, with logp d loss / d log-prob
                                  * sum; absent = evaluation */
    struct plumb_tensor dlogp;   /* (offset[C]) out, f32: with logp, and dscore */
    struct plumb_tensor work;    /* plumb_listwise_workspace bytes */
};
/* Finite for all finite inputs (saturates); a NaN among a list's numbers makes all of the list NaN.
 * A list without candidates has loss 0. Deterministic; a list's bits depend on nothing but the
 * list. Fails: PLUMB_EINVAL naming the argument. */
int plumb_listwise(const struct plumb_device *dev, const struct plumb_listwise *a);
void plumb_listwise_ref(const struct plumb_listwise *a, enum plumb_dtype round);
/* For an epilogue of plumb_logprob_fused: *out = the lists of `a` whose tokens are [first,
 * first+count). `list` and `offset` are a->list and a->offset in host memory. The parts share
 * a->work. Fails: PLUMB_EINVAL when that is no run of whole lists. */
int plumb_listwise_part(const struct plumb_listwise *a, const int32_t *list, const int32_t *offset,
                        int64_t first, int64_t count, struct plumb_listwise *out);
/* Depends on C and the device alone. */
size_t plumb_listwise_workspace(const struct plumb_device *dev, const struct plumb_listwise *a);
int plumb_listwise_find(const char *name);
const char *plumb_listwise_name(int id);

PLUMB_END_C
