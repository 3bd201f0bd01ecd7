/* The optimizer's ops on flat buffers: AdamW (arXiv:1711.05101 algorithm 2, as
 * torch.optim.AdamW), gradient norm, cast. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* One step over `count` elements:
 *   g = s grad, s = grad_scale * plumb_clip_factor(*norm, max_grad_norm)
 *   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *   w = w (1 - lr*weight_decay) - lr/(1-b1^t) * m / (sqrt(v / (1-b2^t)) + eps)
 * Elements with decay[i/32] clear take no weight decay. A norm that is not finite leaves w, m, v
 * and copy as they are: the host need not wait for the norm before it asks for the step. */
struct plumb_adamw {
    size_t struct_bytes;
    int64_t count;
    struct plumb_tensor grad;    /* in, f32 */
    struct plumb_tensor m, v;    /* in/out, f32 */
    struct plumb_tensor w;       /* in/out: the f32 master; or bf16 without one (stochastic
                                  * rounding) */
    struct plumb_tensor copy;    /* out: w rounded to nearest bf16; absent = none */
    const uint8_t *decay;        /* (ceil(count/32)) 1 = decays, one byte per run of 32 elements;
                                  * NULL = nothing decays */
    double lr, beta1, beta2, eps, weight_decay;
    double grad_scale;           /* of the gradient, clipping aside; finite */
    const double *norm;          /* in, one number in the device's memory: the L2 norm that is
                                  * clipped; NULL = no clipping */
    double max_grad_norm;        /* with norm; <= 0 = no clipping */
    int64_t step;                /* t, from 1 */
    uint64_t seed;               /* of stochastic rounding: Philox(seed, PLUMB_RNG_ROUND, step,
                                  * element) */
    int64_t first;               /* index of element 0 in the whole buffer, for the rounding's
                                  * key */
};
int plumb_adamw(const struct plumb_device *dev, const struct plumb_adamw *a);
void plumb_adamw_ref(const struct plumb_adamw *a, enum plumb_dtype round);

/* *norm = L2 norm of x, in f64; its bits depend on x alone: cpu and cuda give the same. *first_bad
 * = index of the first element that is not finite, or -1. */
struct plumb_gradnorm {
    size_t struct_bytes;
    int64_t count;
    struct plumb_tensor x;       /* in, f32 */
    double *norm;                /* out, one number in the device's memory */
    int64_t *first_bad;          /* out, likewise; may be NULL */
    struct plumb_tensor work;    /* plumb_gradnorm_workspace bytes */
};
int plumb_gradnorm(const struct plumb_device *dev, const struct plumb_gradnorm *a);
size_t plumb_gradnorm_workspace(const struct plumb_device *dev, const struct plumb_gradnorm *a);
void plumb_gradnorm_ref(const struct plumb_gradnorm *a, enum plumb_dtype round);
/* Factor of clipping to max_norm: min(1, max_norm / (norm + 1e-6)), as
 * torch.nn.utils.clip_grad_norm_; 1 if max_norm <= 0. */
double plumb_clip_factor(double norm, double max_norm);

/* y = x in y's dtype (nearest even), or y += x with accumulate. f64, f32, bf16, f16 in any pair;
 * no alias unless equal. */
struct plumb_cast {
    size_t struct_bytes;
    int64_t count;
    struct plumb_tensor x, y;
    bool accumulate;
};
int plumb_cast(const struct plumb_device *dev, const struct plumb_cast *a);
void plumb_cast_ref(const struct plumb_cast *a, enum plumb_dtype round);

PLUMB_END_C
