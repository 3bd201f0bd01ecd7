/* Sizes of the divergences' chunks and the layout of their scratch. */
#include "kernels/distill/distill_plan.h"

enum {
    ALIGN = 64,
    /* Each chunk reads and writes all of dw once, so fewer rows than these would cost more than
     * their tiles save; see the head's plan. */
    TILE_BYTES = 72 << 20,
    LEAST = 192,
    MOST = 1024,
    ROW_STEP = 32,
    PAD = 32, /* rows of a tile are kept off each other's cache sets */
};

static size_t reserve(size_t *at, int64_t count, size_t bytes)
{
    const size_t here = *at;
    *at = (here + (size_t)count * bytes + ALIGN - 1) / ALIGN * ALIGN;
    return here;
}

struct plumb_distill_plan plumb_distill_plan(const struct plumb_distill *a)
{
    struct plumb_distill_plan p = { .vocab = a->valid_vocab ? a->valid_vocab : a->V };
    const bool listed = a->row != NULL;
    size_t at = 0;
    p.stride = p.vocab + PAD;
    p.rows = TILE_BYTES / (8 * p.stride) / ROW_STEP * ROW_STEP;
    p.rows = p.rows < LEAST ? LEAST : p.rows > MOST ? MOST : p.rows;
    if (p.rows > a->M) p.rows = a->M;
    p.z = reserve(&at, p.rows * p.stride, sizeof(float));
    p.y = reserve(&at, p.rows * p.stride, sizeof(float));
    p.x = reserve(&at, listed ? p.rows * a->policy.H : 0, plumb_dtype_bytes(a->policy.x.dtype));
    p.teacher_x = reserve(&at, listed ? p.rows * a->teacher.H : 0,
                          plumb_dtype_bytes(a->teacher.x.dtype));
    p.dx = reserve(&at, p.rows * a->policy.H, sizeof(float));
    p.bytes = at + ALIGN; /* the caller's block may start anywhere */
    return p;
}
