/* Oracle of the placing of rows. */
#include <plumb/place.h>

void plumb_place_ref(const struct plumb_place *a, enum plumb_dtype round)
{
    const int64_t ldx = a->ldx ? a->ldx : a->D, ldy = a->ldy ? a->ldy : a->D;
    const double *x = a->x.data;
    double *y = a->y.data;
    for (int64_t n = 0; n < a->N; n++)
        for (int64_t d = 0; d < a->D; d++)
            y[a->to[n] * ldy + d] = plumb_dtype_round(round, x[n * ldx + d]);
}
