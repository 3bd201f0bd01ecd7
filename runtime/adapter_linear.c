/* What adapters add to a linear layer, forward and backward. Without dropout the adapters on one
 * matrix read the same numbers, so their A are one product; with it each has a mask of its own. */
#include <plumb/dropout.h>
#include <plumb/matmul.h>

#include "runtime/adapters.h"

/* Adapters that share their input, and where their (N, width) products lie. */
struct block {
    const struct plumb_linear *l;
    const struct plumb_adapter *first; /* (count) */
    int64_t count, width, cols;        /* width = count * rank */
    bool masked;
};

static int multiply(const struct plumb_linear *l, struct plumb_matmul a)
{
    a.struct_bytes = sizeof a;
    return plumb_matmul(&l->m->dev, &a);
}

static struct plumb_tensor weights(const struct plumb_linear *l, int64_t offset)
{
    return plumb_tensor_at(l->m->adapters.flat.weights, offset);
}

static struct plumb_tensor grad(const struct plumb_linear *l, int64_t offset)
{
    return plumb_tensor_at(l->m->adapters.flat.grad, offset);
}

/* Adapters from *at on that form a block; *at moves behind them. */
static bool next_block(const struct plumb_linear *l, int64_t *at, struct block *b)
{
    const struct plumb_lora *o = &l->m->adapters.lora;
    const int64_t param = l->w - l->m->params;
    while (*at < o->count && o->adapter[*at].param < param)
        ++*at;
    const int64_t first = *at;
    const bool masked = o->dropout > 0 && l->a->backward;
    while (*at < o->count && o->adapter[*at].param == param && !(masked && *at > first))
        ++*at;
    *b = (struct block){ .l = l,
                         .first = o->adapter + first,
                         .count = *at - first,
                         .width = (*at - first) * o->rank,
                         .cols = l->w->cols,
                         .masked = masked };
    return b->count > 0;
}

/* y (+)= scale * mask(x); the mask is the block's where it has one and `masked` asks for it. */
static int scaled(const struct block *b, struct plumb_tensor x, struct plumb_tensor y,
                  int64_t width, double scale, bool masked, bool accumulate)
{
    const struct plumb_linear *l = b->l;
    const struct plumb_adapters *d = &l->m->adapters;
    const struct plumb_dropout a = { .struct_bytes = sizeof a,
                                     .N = l->N,
                                     .D = width,
                                     .x = x,
                                     .y = y,
                                     .p = masked ? d->lora.dropout : 0,
                                     .scale = scale,
                                     .accumulate = accumulate,
                                     .sample = l->batch->sample,
                                     .position = l->batch->position,
                                     .seed = d->seed,
                                     .step = d->step,
                                     .stream = b->first - d->lora.adapter };
    return plumb_dropout(&l->m->dev, &a);
}

static struct plumb_tensor input(const struct block *b)
{
    return b->masked ? b->l->a->masked : b->l->x;
}

/* low = scale * input A^T */
static int project(const struct block *b)
{
    const struct plumb_linear *l = b->l;
    const double scale = l->m->adapters.lora.scale;
    if (b->masked) PLUMB_TRY(scaled(b, l->x, l->a->masked, b->cols, 1, true, false));
    PLUMB_TRY(multiply(l, (struct plumb_matmul){ .M = l->N,
                                                 .N = b->width,
                                                 .K = b->cols,
                                                 .a = input(b),
                                                 .b = weights(l, b->first->a),
                                                 .trans_b = true,
                                                 .c = l->a->low,
                                                 .batch_invariant = l->m->batch_invariant }));
    return scale == 1 ? PLUMB_OK : scaled(b, l->a->low, l->a->low, b->width, scale, false, false);
}

int plumb_adapters_fwd(const struct plumb_linear *l)
{
    struct block b;
    for (int64_t at = 0; next_block(l, &at, &b);) {
        PLUMB_TRY(project(&b));
        for (int64_t j = 0; j < b.count; j++) {
            const int64_t rank = l->m->adapters.lora.rank;
            const struct plumb_matmul up = { .M = l->N,
                                             .N = b.first[j].rows,
                                             .K = rank,
                                             .a = plumb_tensor_at(l->a->low, j * rank),
                                             .lda = b.width,
                                             .b = weights(l, b.first[j].b),
                                             .trans_b = true,
                                             .c = plumb_tensor_at(l->y, b.first[j].first),
                                             .ldc = l->w->rows,
                                             .accumulate = true,
                                             .batch_invariant = l->m->batch_invariant };
            PLUMB_TRY(multiply(l, up));
        }
    }
    return PLUMB_OK;
}

/* dB += dy^T low and dlow = scale * dy B, of each adapter of the block. */
static int through_b(const struct block *b)
{
    const struct plumb_linear *l = b->l;
    const int64_t rank = l->m->adapters.lora.rank;
    for (int64_t j = 0; j < b->count; j++) {
        const struct plumb_adapter *a = &b->first[j];
        const struct plumb_tensor dy = plumb_tensor_at(l->dy, a->first);
        PLUMB_TRY(multiply(l, (struct plumb_matmul){ .M = a->rows,
                                                     .N = rank,
                                                     .K = l->N,
                                                     .a = dy,
                                                     .lda = l->w->rows,
                                                     .trans_a = true,
                                                     .b = plumb_tensor_at(l->a->low, j * rank),
                                                     .ldb = b->width,
                                                     .c = grad(l, a->b),
                                                     .accumulate = true }));
        PLUMB_TRY(multiply(l, (struct plumb_matmul){ .M = l->N,
                                                     .N = rank,
                                                     .K = a->rows,
                                                     .a = dy,
                                                     .lda = l->w->rows,
                                                     .b = weights(l, a->b),
                                                     .c = plumb_tensor_at(l->a->dlow, j * rank),
                                                     .ldc = b->width }));
    }
    const double scale = l->m->adapters.lora.scale;
    return scale == 1 ? PLUMB_OK : scaled(b, l->a->dlow, l->a->dlow, b->width, scale, false, false);
}

/* dA += dlow^T input, dx += mask(dlow A) */
static int through_a(const struct block *b)
{
    const struct plumb_linear *l = b->l;
    PLUMB_TRY(multiply(l, (struct plumb_matmul){ .M = b->width,
                                                 .N = b->cols,
                                                 .K = l->N,
                                                 .a = l->a->dlow,
                                                 .trans_a = true,
                                                 .b = input(b),
                                                 .c = grad(l, b->first->a),
                                                 .accumulate = true }));
    if (!l->dx.data) return PLUMB_OK;
    PLUMB_TRY(multiply(l, (struct plumb_matmul){ .M = l->N,
                                                 .N = b->cols,
                                                 .K = b->width,
                                                 .a = l->a->dlow,
                                                 .b = weights(l, b->first->a),
                                                 .c = b->masked ? l->a->masked : l->dx,
                                                 .accumulate = !b->masked }));
    return b->masked ? scaled(b, l->a->masked, l->dx, b->cols, 1, true, true) : PLUMB_OK;
}

int plumb_adapters_bwd(const struct plumb_linear *l)
{
    struct block b;
    for (int64_t at = 0; next_block(l, &at, &b);) {
        PLUMB_TRY(project(&b));
        PLUMB_TRY(through_b(&b));
        PLUMB_TRY(through_a(&b));
    }
    return PLUMB_OK;
}
