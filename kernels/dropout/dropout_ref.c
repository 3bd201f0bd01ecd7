/* Oracle of dropout: plain loops in f64, each intermediate rounded to `round`. */
#include "kernels/dropout/dropout.h"

void plumb_dropout_ref(const struct plumb_dropout *a, enum plumb_dtype round)
{
    const double factor = plumb_dtype_round(round, a->scale / (1 - a->p));
    const uint32_t limit = plumb_dropout_limit(a);
    const uint64_t seed = plumb_dropout_seed(a);
    const int64_t ldx = a->ldx ? a->ldx : a->D, ldy = a->ldy ? a->ldy : a->D;
    for (int64_t n = 0; n < a->N; n++) {
        const double *x = (const double *)a->x.data + n * ldx;
        double *y = (double *)a->y.data + n * ldy;
        uint32_t word[4] = { 0 };
        for (int64_t d = 0; d < a->D; d++) {
            if (limit && d % 4 == 0)
                plumb_dropout_words(seed, a->stream, a->sample[n], a->position[n], d / 4, word);
            const double v = word[d % 4] >= limit ? plumb_dtype_round(round, x[d] * factor) : 0;
            y[d] = a->accumulate ? plumb_dtype_round(round, y[d] + v) : v;
        }
    }
}
