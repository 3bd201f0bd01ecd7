/* Linear layers on flat parameters. */
#include "runtime/linear.h"

#include <plumb/matmul.h>
#include <plumb/reduce.h>

#include "runtime/adapters.h"
#include "runtime/packed.h"

int plumb_linear_fwd(const struct plumb_linear *l)
{
    const struct plumb_model *m = l->m;
    struct plumb_tensor w;
    PLUMB_TRY(plumb_packed_weight(m, l->w, &w));
    const struct plumb_matmul a = {
        .struct_bytes = sizeof a,
        .M = l->N,
        .N = l->w->rows,
        .K = l->w->cols,
        .a = l->x,
        .c = l->y,
        .b = w,
        .trans_b = true,
        .bias = plumb_model_weight(m, l->b),
        .batch_invariant = m->batch_invariant,
    };
    PLUMB_TRY(plumb_matmul(&m->dev, &a));
    return plumb_adapters_fwd(l);
}

static int parameters(const struct plumb_linear *l)
{
    const struct plumb_model *m = l->m;
    const struct plumb_matmul dw = {
        .struct_bytes = sizeof dw,
        .M = l->w->rows,
        .N = l->w->cols,
        .K = l->N,
        .a = l->dy,
        .trans_a = true,
        .b = l->x,
        .c = plumb_model_grad(m, l->w),
        .accumulate = true,
    };
    if (dw.c.data) PLUMB_TRY(plumb_matmul(&m->dev, &dw));
    const struct plumb_colsum db = { .struct_bytes = sizeof db,
                                     .N = l->N,
                                     .D = l->w->rows,
                                     .x = l->dy,
                                     .y = plumb_model_grad(m, l->b),
                                     .work = l->a->work };
    return db.y.data ? plumb_colsum(&m->dev, &db) : PLUMB_OK;
}

int plumb_linear_bwd(const struct plumb_linear *l)
{
    const struct plumb_model *m = l->m;
    struct plumb_tensor w;
    PLUMB_TRY(parameters(l));
    if (!l->dx.data) return plumb_adapters_bwd(l);
    PLUMB_TRY(plumb_packed_weight(m, l->w, &w));
    const struct plumb_matmul dx = {
        .struct_bytes = sizeof dx,
        .M = l->N,
        .N = l->w->cols,
        .K = l->w->rows,
        .a = l->dy,
        .b = w,
        .c = l->dx,
    };
    PLUMB_TRY(plumb_matmul(&m->dev, &dx));
    return plumb_adapters_bwd(l);
}
