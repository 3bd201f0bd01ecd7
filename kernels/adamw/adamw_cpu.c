/* Native step of the optimizer: one pass over gradient, moments and weights, f32 arithmetic.
 * Compiled once per instruction set. */
#include <plumb/optim.h>

#include <math.h>

#include "kernels/adamw/adamw.h"
#include "kernels/op.h"
#include "kernels/simd.h"

enum {
    RUN = 32,
    BLOCK = 512
}; /* elements that share a decay byte; runs a thread takes at a time */

/* Elements [from, to) with one decay; bf16 and copy are constants after inlining. */
static inline __attribute__((always_inline)) void run(const struct plumb_adamw *a,
                                                      const struct plumb_adamw_constants *k,
                                                      float scale, int64_t from, int64_t to,
                                                      float shrink, bool bf16, bool copy)
{
    const struct plumb_adamw_constants c = *k;
    const float *grad = a->grad.data;
    float *m = a->m.data, *v = a->v.data;
    uint16_t *narrow = a->copy.data;
#pragma omp simd
    for (int64_t i = from; i < to; i++) {
        const float w = plumb_adamw_element(&c, scale * grad[i], &m[i], &v[i],
                                            plumb_load(a->w.data, bf16, i), shrink);
        if (bf16)
            ((uint16_t *)a->w.data)[i] = plumb_adamw_round(
                w, plumb_philox_word(&c.key, (uint64_t)(a->first + i)));
        else
            ((float *)a->w.data)[i] = w;
        if (copy) narrow[i] = plumb_f32_to_bf16(w);
    }
}

int PLUMB_CPU_FN(plumb_adamw_cpu)(const struct plumb_adamw *a)
{
    const struct plumb_adamw_constants c = plumb_adamw_prepare(a);
    const float scale = plumb_adamw_scale(a->grad_scale, a->norm, a->max_grad_norm);
    const bool bf16 = a->w.dtype == PLUMB_BF16, copy = a->copy.data != NULL;
    if (isnan(scale)) return PLUMB_OK;
    const int64_t runs = (a->count + RUN - 1) / RUN;
#pragma omp parallel for schedule(static, BLOCK) if (runs > BLOCK)
    for (int64_t r = 0; r < runs; r++) {
        const int64_t from = r * RUN, to = r == runs - 1 ? a->count : from + RUN;
        const float shrink = a->decay && a->decay[r] ? c.shrink : 0.0f;
        if (bf16)
            run(a, &c, scale, from, to, shrink, true, false);
        else if (copy)
            run(a, &c, scale, from, to, shrink, false, true);
        else
            run(a, &c, scale, from, to, shrink, false, false);
    }
    return PLUMB_OK;
}
