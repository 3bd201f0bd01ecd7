/* Native embedding: rows are gathered in parallel; backward gives each thread columns of its own,
 * in which it adds the rows in index order. Compiled once per instruction set. */
#include <plumb/embed.h>

#include "kernels/op.h"
#include "kernels/simd.h"

static inline void gather(const void *w, bool w16, int64_t from, const void *p, int64_t pos,
                          void *y, bool y16, int64_t to, int64_t D, float scale)
{
    if (p) {
#pragma omp simd
        for (int64_t d = 0; d < D; d++)
            plumb_store(y, y16, to + d,
                        scale * plumb_load(w, w16, from + d) + plumb_load(p, w16, pos + d));
    } else {
#pragma omp simd
        for (int64_t d = 0; d < D; d++)
            plumb_store(y, y16, to + d, scale * plumb_load(w, w16, from + d));
    }
}

int PLUMB_CPU_FN(plumb_embed_fwd_cpu)(const struct plumb_embed *a)
{
    const bool w16 = a->w.dtype == PLUMB_BF16, y16 = a->y.dtype == PLUMB_BF16;
    const int64_t D = a->D;
    const void *w = a->w.data, *p = a->P > 0 ? a->wpos.data : NULL;
    void *y = a->y.data;
    const float scale = (float)a->scale;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->N, D))
    for (int64_t n = 0; n < a->N; n++) {
        const int64_t from = a->token[n] * D, pos = p ? a->position[n] * D : 0;
        if (w16 && y16)
            gather(w, true, from, p, pos, y, true, n * D, D, scale);
        else if (w16)
            gather(w, true, from, p, pos, y, false, n * D, D, scale);
        else if (y16)
            gather(w, false, from, p, pos, y, true, n * D, D, scale);
        else
            gather(w, false, from, p, pos, y, false, n * D, D, scale);
    }
    return PLUMB_OK;
}

static inline void add(float *restrict to, const void *dy, bool bf16, int64_t from, int64_t count,
                       float scale)
{
#pragma omp simd
    for (int64_t d = 0; d < count; d++)
        to[d] += scale * plumb_load(dy, bf16, from + d);
}

static inline void add_run(float *to, const struct plumb_tensor *dy, int64_t from, int64_t count,
                           float scale)
{
    if (dy->dtype == PLUMB_BF16)
        add(to, dy->data, true, from, count, scale);
    else
        add(to, dy->data, false, from, count, scale);
}

int PLUMB_CPU_FN(plumb_embed_bwd_cpu)(const struct plumb_embed *a)
{
    enum { COLUMNS = 16 }; /* a cache line of f32 */
    const int64_t D = a->D, runs = (D + COLUMNS - 1) / COLUMNS;
#pragma omp parallel
    {
        int64_t first = -1, last = -1; /* this thread's share of a static schedule is one range */
#pragma omp for schedule(static)
        for (int64_t r = 0; r < runs; r++) {
            if (first < 0) first = r * COLUMNS;
            last = (r + 1) * COLUMNS < D ? (r + 1) * COLUMNS : D;
        }
        for (int64_t n = 0; first >= 0 && n < a->N; n++) {
            add_run((float *)a->dw.data + a->token[n] * D + first, &a->dy, n * D + first,
                    last - first, (float)a->scale);
            if (a->P > 0)
                add_run((float *)a->dwpos.data + a->position[n] * D + first, &a->dy, n * D + first,
                        last - first, 1.0f);
        }
    }
    return PLUMB_OK;
}
