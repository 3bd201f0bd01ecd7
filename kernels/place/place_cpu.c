/* Native placing of rows. */
#include <plumb/place.h>
#include <string.h>

#include "kernels/op.h"

int PLUMB_CPU_FN(plumb_place_cpu)(const struct plumb_place *a)
{
    const size_t size = plumb_dtype_bytes(a->x.dtype), row = (size_t)a->D * size;
    const size_t ldx = a->ldx ? (size_t)a->ldx * size : row;
    const size_t ldy = a->ldy ? (size_t)a->ldy * size : row;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->N, a->D))
    for (int64_t n = 0; n < a->N; n++)
        memcpy((char *)a->y.data + (size_t)a->to[n] * ldy,
               (const char *)a->x.data + (size_t)n * ldx, row);
    return PLUMB_OK;
}
