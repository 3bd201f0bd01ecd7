/* Pairwise preference losses on the log-probs of chosen and rejected completions. Sequence 2i is
 * pair i's chosen side, 2i+1 its rejected side; a sequence is a run of tokens. Formulas:
 * pairwise.def; values checked against golden/losses. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Ids are fixed: a new formula takes the next number, none is reused. */
enum plumb_pairwise_loss {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_PAIR_##NAME = ID,
#include <plumb/pairwise.def>
#undef PLUMB_FORMULA
};

/* What a log-ratio u becomes in the losses that f-DPO (arXiv:2309.16240) covers: h(u), with TRL
 * 1.16's constants. Those are the losses of a difference of two log-ratios alone, where the
 * partition function cancels: sigmoid, hinge, ipo, robust, exo_pair, discopop, sigmoid_norm,
 * sigmoid_clipped; all others keep u. */
enum plumb_f_divergence {
    PLUMB_F_REVERSE_KL, /* u */
    PLUMB_F_FORWARD_KL, /* 1 - e^-u */
    PLUMB_F_JS,         /* log 2 + log s(u) */
    PLUMB_F_ALPHA,      /* (e^((a-1)u) - 1) / (a-1), u at a = 1; the exponent stops at 80 */
    PLUMB_F_EXP_LINEAR, /* e^u + u (arXiv:2407.13399, recalled), the exponent stops at 80 */
    PLUMB_F_DIVERGENCES
};

struct plumb_pairwise_term {
    enum plumb_pairwise_loss loss;
    double weight;               /* loss_weights */
};

struct plumb_pairwise {
    size_t struct_bytes;
    int64_t B;                   /* pairs */
    const int32_t *offset;       /* (2B+1) token runs of the sequences */
    struct plumb_tensor logp;    /* (offset[2B]) in, f32: policy, per token, nats */
    struct plumb_tensor ref_logp;/* (offset[2B]) in, f32: reference, per token; or absent with
                                  * ref_sum */
    struct plumb_tensor ref_sum; /* (2B) in, f32: reference, per sequence (the policy's sum is
                                  * then rounded to f32 too, so that equal policies differ by
                                  * 0); absent = from ref_logp; both absent = 0 */
    const struct plumb_pairwise_term *terms; /* summed; host memory */
    int64_t term_count;          /* 1 .. 8 */
    double beta, label_smoothing; /* > 0; in [0, 0.5], below 0.5 for robust */
    double divisor;              /* global pair count of the step: loss = sum / divisor,
                                  * gradients alike */
    struct plumb_tensor losses;  /* (B) out, f32: weighted sum of the terms, not divided */
    struct plumb_tensor logps;   /* (2B) out, f32: sequence sums; rows 2i chosen */
    struct plumb_tensor rewards; /* (2B) out, f32: beta * (logp - ref) */
    struct plumb_tensor dlogp;   /* (offset[2B]) out, f32: d loss / d logp per token; absent =
                                  * evaluation */
    /* Read by the formulas that name them (kernels/pairwise/<name>.h, `plumb losses`); 0 and
     * absent = 0. */
    double discopop_tau;         /* > 0 for discopop; TRL: 0.05 */
    double gamma;                /* margin of all pairs, or as the formula says */
    double alpha, lambda;        /* strength of a transform, of a further term, of a side */
    double shift;                /* reward of bco_pair's boundary: the caller's running mean */
    double chosen_tokens;        /* > 0 for sft: chosen tokens / pairs, of all that one mean
                                  * covers */
    struct plumb_tensor margin;  /* (B) in, f32: of each pair */
    struct plumb_tensor target;  /* (2B) in, f32: what each side aims at; rows 2i chosen */
    struct plumb_tensor anchor_sum; /* (2B) in, f32: log-prob sums of a second frozen policy */
    struct plumb_tensor kl;      /* (2B) in, f32: KL of each sequence's positions, nats */
    struct plumb_tensor dkl;     /* (2B) out, f32: d loss / d kl; absent = not wanted */
    struct plumb_tensor aot;     /* (B) in, f32: sorted differences, from plumb_aot */
    struct plumb_tensor aot_unpaired; /* (2B) in, f32: the same of the two sides apart */
    /* Of every loss. */
    enum plumb_f_divergence f_divergence;
    double f_alpha_divergence_coef; /* a of PLUMB_F_ALPHA; TRL: 0.5 */
    struct plumb_tensor weight;  /* (B) in, f32: of each pair, times its loss and gradients;
                                  * absent = 1 */
    struct plumb_tensor token_weight; /* (offset[2B]) in, f32: of each token, in the sums of policy
                                  * and reference and in its gradient; absent = 1. ref_sum is
                                  * then of weighted tokens too. Lengths stay counts of tokens. */
};
/* Finite for all finite inputs (saturates). Deterministic. Fails: PLUMB_EINVAL naming the option
 * out of range. */
int plumb_pairwise(const struct plumb_device *dev, const struct plumb_pairwise *a);
void plumb_pairwise_ref(const struct plumb_pairwise *a, enum plumb_dtype round);
/* For an epilogue of plumb_logprob_fused: *out = the pairs of `a` whose tokens are [first,
 * first+count), for the next call of plumb_pairwise. `offset` is a->offset in host memory (on cpu
 * and ref the same). Fails: PLUMB_EINVAL when that is no run of whole pairs. */
int plumb_pairwise_part(const struct plumb_pairwise *a, const int32_t *offset, int64_t first,
                        int64_t count, struct plumb_pairwise *out);
/* TRL's loss_type name to id, or -1; id to name, or NULL. */
int plumb_pairwise_find(const char *name);
const char *plumb_pairwise_name(int id);
/* Whether f_divergence changes the loss. */
bool plumb_pairwise_takes_divergence(int id);

PLUMB_END_C
