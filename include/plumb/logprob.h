/* The head: log-probabilities of given tokens without ever storing an (N,V) matrix of logits.
 *   u = x W^T + bias;  z = cap(logit_scale * u) / temperature
 *   logp = z[t] - lse(z) over the valid vocabulary;  cap(a) = softcap * tanh(a / softcap)
 * One hidden row may serve several targets. Backward per logit (p = softmax):
 *   dz_v = dlogp (1[v=t] - p_v) + dlse p_v - dentropy p_v (ln p_v + entropy) + dmean / V
 * then through temperature, cap and scale. V is the valid vocabulary.
 * z-loss is dlse = 2 lambda lse. Label smoothing eps turns logp into (1 - eps) logp + eps *
 * (mean_logit - lse): of its upstream gradient g, dlogp = (1 - eps) g, dmean = eps g,
 * dlse = -eps g. Sources: arXiv:2410.10989, arXiv:2411.09009 (the same idea, other schedules). */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Called by the fused entry when the outputs of the pairs [first, first+count) are ready; must
 * fill dlogp (and the other gradients in use) of exactly those. A failure stops the op and is
 * passed on. */
typedef int plumb_logprob_epilogue(void *ctx, int64_t first, int64_t count);
/* Called by plumb_logprob_choose when the logits of the pairs [first, first + z->rows) are there
 * (plumb/sample.h; z, after cap, scale and temperature; row i of z is pair first + i): must write
 * target[first ..], -1 = none. A failure stops the op and is passed on. */
struct plumb_logits;
typedef int plumb_logprob_chooser(void *ctx, const struct plumb_logits *z, int64_t first);

struct plumb_logprob {
    size_t struct_bytes;
    int64_t N, H, V, M;            /* hidden rows, width, rows of w, pairs */
    int64_t valid_vocab;           /* columns [valid_vocab, V) do not exist; 0 = V */
    struct plumb_tensor x;         /* (N,H) in, f32 or bf16 */
    struct plumb_tensor w;         /* (V,H) in, dtype of x */
    struct plumb_tensor bias;      /* (V) in, f32 or dtype of w; absent = none */
    const int32_t *row;            /* (M) in [0,N), any order; equal rows share their logits when
                                    * adjacent (on cuda each pair has its own) */
    const int32_t *target;         /* (M) in [0,valid_vocab), or -1 = skip: outputs 0, gradients
                                    * unused */
    double logit_scale, softcap, temperature; /* 1, 0 = none, 1 */
    bool batch_invariant;          /* outputs of a pair have the same bits whatever else is asked
                                    * for; the cpu and ref always give them so, cuda without this
                                    * as far as one algorithm of its library does */
    struct plumb_tensor logp;      /* (M) out, f32 nats, <= 0; required */
    struct plumb_tensor lse;       /* (M) out, f32: log sum exp z; absent = not wanted (so below) */
    struct plumb_tensor entropy;   /* (M) out, f32 nats >= 0 */
    struct plumb_tensor log_sum_sq;/* (M) out, f32: ln sum_v p_v^2 */
    struct plumb_tensor mean_logit;/* (M) out, f32: mean of z over the valid vocabulary */
    int32_t *argmax;               /* (M) out: smallest id of the largest z; -1 where skipped;
                                    * NULL = not wanted */
    struct plumb_tensor dlogp, dlse, dentropy, dmean; /* (M) in, f32; absent = 0. Entries of
                                                       * skipped pairs are not read. */
    struct plumb_tensor dx;        /* (N,H) out, f32 or bf16; rows no pair names are set to 0;
                                    * absent = not wanted */
    struct plumb_tensor dw;        /* (V,H) += f32; absent = not wanted (frozen head) */
    struct plumb_tensor dbias;     /* (V) += f32; absent = not wanted */
    const int32_t *group;          /* fused: (groups+1) pair indices where chunks may be cut;
                                    * group[0] = 0, last = M; host memory on every device */
    int64_t groups;
    plumb_logprob_epilogue *epilogue; void *epilogue_ctx; /* fused */
    plumb_logprob_chooser *chooser; void *chooser_ctx;    /* choose; NULL for the other entries */
    struct plumb_tensor work;      /* scratch of plumb_logprob_workspace bytes: O(N + V) plus one
                                    * tile */
};

/* A row of NaN logits, or of nothing but -inf, gives NaN outputs and argmax -1, never a crash. Cost
 * 2NHV flops forward.
 * Fails: PLUMB_EINVAL naming the first row or target out of range; on cuda, where nobody can look,
 * such a pair has NaN outputs and no gradient. */
int plumb_logprob_fwd(const struct plumb_device *dev, const struct plumb_logprob *a);
/* Recomputes the logits: 2 + 4 NHV flops, 4 + 4 where it has to find lse or (with dentropy) entropy
 * itself: reads them as forward left them when both are given. */
int plumb_logprob_bwd(const struct plumb_device *dev, const struct plumb_logprob *a);
/* Forward, epilogue and backward chunk by chunk: 6NHV flops (three GEMMs) where a group fits a
 * chunk; a group that does not is done by forward, epilogue, recompute (8NHV). Pairs must be
 * ordered by row inside a group. A row shared by two chunks gets both gradients. Same results as
 * fwd + epilogue + bwd, to the bit for the outputs. */
int plumb_logprob_fused(const struct plumb_device *dev, const struct plumb_logprob *a);
/* Forward where the targets are chosen by the logits: `target` is the array that the chooser
 * writes. Each pair has its own row of logits. logp, lse, entropy and the other outputs have the
 * bits that plumb_logprob_fwd gives for the chosen targets. Scratch holds all logits of a chunk. */
int plumb_logprob_choose(const struct plumb_device *dev, const struct plumb_logprob *a);
/* Scratch for the sizes, dtypes and outputs set in `a` (pointers need not be). Serves all entries;
 * plumb_logprob_choose only where `chooser` is set. */
size_t plumb_logprob_workspace(const struct plumb_device *dev, const struct plumb_logprob *a);
void plumb_logprob_fwd_ref(const struct plumb_logprob *a, enum plumb_dtype round);
void plumb_logprob_bwd_ref(const struct plumb_logprob *a, enum plumb_dtype round);

PLUMB_END_C
