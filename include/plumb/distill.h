/* Divergence of a policy from a teacher over the whole vocabulary, from the hidden rows of both and
 * their heads, without ever storing an (N,V) matrix of logits. Formulas: distill.def.
 *   u = x W^T + bias;  z = cap(logit_scale * u) / temperature;  p = softmax(z); q the teacher's
 * dz_v = p_v (dp_v - sum_u p_u dp_u), dp = the derivative by p; then as in logprob.h. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Ids are fixed: a new formula takes the next number, none is reused. */
enum plumb_divergence {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_DIVERGENCE_##NAME = ID,
#include <plumb/distill.def>
#undef PLUMB_FORMULA
};

/* One of the two heads. */
struct plumb_distill_head {
    int64_t H;                     /* width */
    struct plumb_tensor x;         /* (N,H) in, f32 or bf16 */
    struct plumb_tensor w;         /* (V,H) in, dtype of x */
    struct plumb_tensor bias;      /* (V) in, f32 or dtype of w; absent = none */
    double logit_scale, softcap;   /* 1, 0 = none */
};

struct plumb_distill {
    size_t struct_bytes;
    enum plumb_divergence divergence;
    int64_t N, V, M;               /* hidden rows of each, vocabulary of both, rows compared */
    int64_t valid_vocab;           /* columns [valid_vocab, V) do not exist; 0 = V */
    const int32_t *row;            /* (M) in [0,N), ascending, none twice; NULL = rows 0 .. M-1 */
    struct plumb_distill_head policy, teacher; /* widths and dtypes may differ */
    double temperature;            /* 1: divides the logits of both */
    bool batch_invariant;          /* of the logits' products, as in matmul.h */
    struct plumb_tensor weight;    /* (M) in, f32: of a row; 0 = no loss, no gradient; absent = 1 */
    double divisor;                /* loss = sum of losses / divisor, gradients alike */
    struct plumb_tensor losses;    /* (M) out, f32 nats: weighted, not divided */
    struct plumb_tensor entropy;   /* (M) out, f32 nats: of the policy, 0 where weight is; absent =
                                    * not wanted (so below) */
    struct plumb_tensor dx;        /* (N,policy.H) out, f32 or bf16; rows not compared are set to
                                    * 0 */
    struct plumb_tensor dw;        /* (V,policy.H) += f32 */
    struct plumb_tensor dbias;     /* (V) += f32 */
    /* Read by the formulas that name them (kernels/distill/<name>.h). */
    double beta;                   /* jsd: the teacher's share of the mixture, in [0, 1]; at 0 and 1
                                    * forward_kl and reverse_kl (TRL) */
    double alpha;                  /* alpha: finite; at 1 and 0 forward_kl and reverse_kl */
    struct plumb_tensor work;      /* plumb_distill_workspace bytes: O(N) plus two tiles */
};
/* Chunk by chunk of rows: the logits of both, then losses and gradients from what lies in the
 * tiles: 2MV (H + teacher.H) flops for losses alone, 2MV (3H + teacher.H) with gradients. Finite
 * for finite logits (saturates). A row of NaN logits gives NaN. Losses have the same bits for any
 * number of threads, gradients on the cpu for one number of them (plumb/matmul.h). Fails:
 * PLUMB_EINVAL naming the argument; on cuda, where nobody can look, a row out of range has a NaN
 * loss and no gradient.
 * Sources: TRL GKDTrainer (arXiv:2306.13649); the schedule's idea: arXiv:2410.10989. */
int plumb_distill(const struct plumb_device *dev, const struct plumb_distill *a);
size_t plumb_distill_workspace(const struct plumb_device *dev, const struct plumb_distill *a);
void plumb_distill_ref(const struct plumb_distill *a, enum plumb_dtype round);
int plumb_distill_find(const char *name);
const char *plumb_distill_name(int id);

PLUMB_END_C
