/* A row of products becomes logits, on the CPU. */
#pragma once
#include "kernels/logit_shape.h"
#include "kernels/simd.h"

static inline void plumb_logit_row(float *z, int64_t n, const struct plumb_logit_shape *f)
{
    const float in = f->in, out = f->out;
    if (f->capped) {
#pragma omp simd
        for (int64_t v = 0; v < n; v++)
            z[v] = out * plumb_tanhf(z[v] * in);
    } else if (in != 1) {
#pragma omp simd
        for (int64_t v = 0; v < n; v++)
            z[v] *= in;
    }
}
