/* Native dropout: a row at a time, masks of blocks of columns first, then one vectorised pass.
 * Compiled once per instruction set. */
#include "kernels/dropout/dropout.h"

#include "kernels/op.h"
#include "kernels/simd.h"

enum { BLOCK = 256 }; /* columns, a multiple of 4 */

struct job {
    const struct plumb_dropout *a;
    uint64_t seed;
    uint32_t limit;
    float factor;
};

/* keep[i] = the factor of column first + i. */
static inline void draw(const struct job *j, int64_t n, int64_t first, int64_t count, float *keep)
{
    const struct plumb_dropout *a = j->a;
    const int32_t sample = a->sample[n], position = a->position[n];
    const int64_t quads = (count + 3) / 4;
    uint32_t word[4][BLOCK / 4];
#pragma omp simd
    for (int64_t q = 0; q < quads; q++) {
        uint32_t w[4];
        plumb_dropout_words(j->seed, a->stream, sample, position, first / 4 + q, w);
        word[0][q] = w[0];
        word[1][q] = w[1];
        word[2][q] = w[2];
        word[3][q] = w[3];
    }
    for (int64_t i = 0; i < count; i++)
        keep[i] = word[i % 4][i / 4] >= j->limit ? j->factor : 0.0f;
}

/* A zero in keep gives 0 whatever x holds. */
static inline __attribute__((always_inline)) void span(const struct job *j, int64_t n,
                                                       int64_t first, int64_t count,
                                                       const float *keep, bool from, bool to)
{
    const struct plumb_dropout *a = j->a;
    const bool add = a->accumulate, mask = j->limit > 0;
    const int64_t x0 = n * a->ldx + first, y0 = n * a->ldy + first;
    const float factor = j->factor;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        const float k = mask ? keep[i] : factor;
        const float v = plumb_load(a->x.data, from, x0 + i) * k;
        const float kept = mask && k == 0.0f ? 0.0f : v;
        plumb_store(a->y.data, to, y0 + i, add ? plumb_load(a->y.data, to, y0 + i) + kept : kept);
    }
}

static void row(const struct job *j, int64_t n)
{
    const struct plumb_dropout *a = j->a;
    const bool from = a->x.dtype == PLUMB_BF16, to = a->y.dtype == PLUMB_BF16;
    float keep[BLOCK];
    for (int64_t d = 0; d < a->D; d += BLOCK) {
        const int64_t count = a->D - d < BLOCK ? a->D - d : BLOCK;
        if (j->limit) draw(j, n, d, count, keep);
        if (from && to)
            span(j, n, d, count, keep, true, true);
        else if (from)
            span(j, n, d, count, keep, true, false);
        else if (to)
            span(j, n, d, count, keep, false, true);
        else
            span(j, n, d, count, keep, false, false);
    }
}

int PLUMB_CPU_FN(plumb_dropout_cpu)(const struct plumb_dropout *a)
{
    const struct job j = { a, plumb_dropout_seed(a), plumb_dropout_limit(a),
                           (float)(a->scale / (1 - a->p)) };
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->N, a->D))
    for (int64_t n = 0; n < a->N; n++)
        row(&j, n);
    return PLUMB_OK;
}
