/* Packed matrices: layout, and blocks to numbers before a product. */
#include "runtime/packed.h"

#include <string.h>

#include "kernels/simd.h"

#define ALIGN 32                       /* elements between offsets, as in plumb_model_params */
enum { PIECE = 4 * PLUMB_QUANT_MOST }; /* numbers expanded at a time */

void plumb_packed_leave_out(const struct plumb_packed *k, struct plumb_param *params, int64_t count,
                            int64_t *elements)
{
    int64_t at = 0;
    for (int64_t i = 0, next = 0; i < count; i++) {
        struct plumb_param *p = &params[i];
        const bool packed = next < k->count && k->part[next].param == i;
        while (next < k->count && k->part[next].param == i)
            next++;
        p->offset = packed ? -1 : at;
        if (!packed) at += (p->rows * p->cols + ALIGN - 1) / ALIGN * ALIGN;
    }
    *elements = at;
}

int plumb_packed_init(struct plumb_model *m, const struct plumb_packed *k,
                      const struct plumb_param *params, struct plumb_arena *run)
{
    int64_t largest = 0;
    void *part;
    for (int64_t i = 0; i < k->count; i++) {
        const struct plumb_param *p = &params[k->part[i].param];
        if (p->rows * p->cols > largest) largest = p->rows * p->cols;
    }
    m->packed = *k;
    PLUMB_TRY(plumb_arena_push(run, (size_t)k->count * sizeof *k->part, &part));
    if (part) memcpy(part, k->part, (size_t)k->count * sizeof *k->part);
    m->packed.part = part;
    PLUMB_TRY(plumb_arena_push(run, (size_t)k->bytes, &m->blocks));
    return plumb_arena_tensor(run, m->prec.compute, largest, &m->expanded);
}

/* One row of `cols` numbers to element `at` of w. */
static void expand_row(enum plumb_quant type, const char *blocks, int64_t cols,
                       struct plumb_tensor w, int64_t at)
{
    const struct plumb_quant_format *f = plumb_quant_format(type);
    if (w.dtype == PLUMB_F32) {
        plumb_dequantize(type, blocks, cols, (float *)w.data + at);
        return;
    }
    float piece[PIECE];
    for (int64_t c = 0; c < cols; c += PIECE) {
        const int64_t n = cols - c < PIECE ? cols - c : PIECE;
        plumb_dequantize(type, blocks + c / f->numbers * f->bytes, n, piece);
        for (int64_t i = 0; i < n; i++)
            if (w.dtype == PLUMB_F64)
                ((double *)w.data)[at + c + i] = (double)piece[i];
            else
                ((uint16_t *)w.data)[at + c + i] = plumb_f32_to_bf16(piece[i]);
    }
}

int plumb_packed_weight(const struct plumb_model *m, const struct plumb_param *p,
                        struct plumb_tensor *w)
{
    const int64_t param = p - m->params;
    *w = plumb_model_weight(m, p);
    if (w->data || p->offset >= 0) return PLUMB_OK;
    *w = m->expanded;
    for (int64_t i = 0; i < m->packed.count; i++) {
        const struct plumb_packed_part *k = &m->packed.part[i];
        if (k->param != param) continue;
        const char *blocks = (const char *)m->blocks + k->offset;
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < k->rows; r++)
            expand_row(k->type, blocks + r * k->row_bytes, p->cols, *w, (k->first + r) * p->cols);
    }
    return PLUMB_OK;
}
