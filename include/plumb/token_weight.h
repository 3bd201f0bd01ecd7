/* Weights from the tokens of pairs: of each token, which plumb_pairwise reads as token_weight, and
 * of each pair. Sequence 2i is pair i's chosen side, as in plumb/pairwise.h. Values of ld_dpo and
 * wpo are in golden/losses. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_token_weighting { /* n = tokens of a side, m = of the pair's shorter side */
    PLUMB_WEIGHT_TAIL,   /* 1 for the first m tokens of a side, ld_alpha beyond */
    PLUMB_WEIGHT_TURNS,  /* gamma^j (1 - gamma^(T-j)) / (1 - gamma^T) in turn j of T */
    PLUMB_WEIGHT_SUBSET, /* 1 for m tokens of a side, drawn at random, 0 for all others */
    PLUMB_WEIGHT_KINDS
};

/* tail: 1 up to the length of the pair's shorter side, ld_alpha beyond. turns: gamma^j (1 -
 * gamma^(T-j)) / (1 - gamma^T) for a token of turn j of the T of its side. subset: 1 for a random
 * choice of as many tokens as the shorter side has, else 0.
 * Source: LD-DPO, arXiv:2409.06411; DMPO, arXiv:2406.14868; SamPO, arXiv:2406.10957. */
struct plumb_token_weight {
    size_t struct_bytes;
    enum plumb_token_weighting kind;
    int64_t B;                   /* pairs */
    const int32_t *offset;       /* (2B+1) token runs */
    const int32_t *turn;         /* turns: (offset[2B]) 0, 1, ... in order; each side's last token
                                  * has its last turn. NULL otherwise */
    double ld_alpha;             /* tail: TRL takes [0, 1] */
    double gamma;                /* turns: (0, 1], published 0.7; 1 is (T - j) / T */
    uint64_t seed, step;         /* subset: a draw for each pair and step */
    struct plumb_tensor weight;  /* (offset[2B]) out, f32 */
};
/* Deterministic. Fails: PLUMB_EINVAL naming the argument; on cuda, where nobody can look, a turn
 * out of order gives what the formula says. */
int plumb_token_weight(const struct plumb_device *dev, const struct plumb_token_weight *a);
void plumb_token_weight_ref(const struct plumb_token_weight *a, enum plumb_dtype round);

/* weight = w(chosen) w(rejected), w = e^(mean over tokens of (logp - log sum_v p_v^2)): how likely
 * the policy finds both sides beside what it would sample. No gradient; no bound, as in TRL.
 * Source: WPO, arXiv:2406.11827 eq. 2, TRL's use_weighting. */
struct plumb_wpo {
    size_t struct_bytes;
    int64_t B;                   /* pairs */
    const int32_t *offset;       /* (2B+1) */
    struct plumb_tensor logp;    /* (offset[2B]) in, f32: policy, nats */
    struct plumb_tensor log_sum_sq; /* (offset[2B]) in, f32: plumb_logprob's */
    struct plumb_tensor weight;  /* (B) out, f32; an empty side counts 1 */
};
int plumb_wpo(const struct plumb_device *dev, const struct plumb_wpo *a);
void plumb_wpo_ref(const struct plumb_wpo *a, enum plumb_dtype round);

PLUMB_END_C
