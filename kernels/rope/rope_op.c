/* Cases of the rotary positions. dim: N rows, H heads, K head size, R rotated part, kind, elements
 * between rows, 1 = in place. */
#include <plumb/rope.h>

#include <math.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "half", { 5, 3, 16, 16, PLUMB_ROPE_HALF } },
    { "half, partial, odd head size", { 4, 2, 19, 6, PLUMB_ROPE_HALF } },
    { "half, wide", { 6, 2, 80, 80, PLUMB_ROPE_HALF } },
    { "interleaved", { 5, 2, 64, 64, PLUMB_ROPE_INTERLEAVED } },
    { "interleaved, partial", { 3, 4, 10, 4, PLUMB_ROPE_INTERLEAVED } },
    { "half, heads of SmolLM2", { 70, 5, 64, 64, PLUMB_ROPE_HALF } },
    { "half, partial, whole vectors", { 9, 3, 48, 16, PLUMB_ROPE_HALF } },
    { "interleaved, partial, whole vectors", { 33, 9, 32, 16, PLUMB_ROPE_INTERLEAVED } },
    { "enough rows for one thread a pair", { 1100, 2, 16, 16, PLUMB_ROPE_HALF } },
    { "half, rows apart", { 12, 2, 32, 32, PLUMB_ROPE_HALF, 8 } },
    { "half, rows apart, unaligned", { 12, 2, 32, 32, PLUMB_ROPE_HALF, 3 } },
    { "half, in place, partial, rows apart", { 12, 3, 32, 16, PLUMB_ROPE_HALF, 32, 1 } },
    { "interleaved, in place", { 5, 2, 16, 16, PLUMB_ROPE_INTERLEAVED, 0, 1 } },
    { "smallest", { 1, 1, 2, 2, PLUMB_ROPE_HALF } },
    { "no rows", { 0, 2, 8, 8, PLUMB_ROPE_HALF } },
    { "1k tokens of SmolLM2-135M", { 1024, 12, 64, 64, PLUMB_ROPE_HALF }, .bench = true },
};

/* The contract has no fields for gradients: its backward is a second call. */
struct args {
    struct plumb_rope rope;
    struct plumb_tensor dx, dy;
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct args *g = args;
    struct plumb_rope *a = &g->rope;
    *a = (struct plumb_rope){ .struct_bytes = sizeof *a,
                              .kind = (enum plumb_rope_kind)c->dim[4],
                              .N = c->dim[0],
                              .H = c->dim[1],
                              .K = c->dim[2],
                              .R = c->dim[3],
                              .P = 2 * c->dim[0] + 1 };
    if (c->dim[5]) a->ld = a->H * a->K + c->dim[5];
    const int64_t half = a->R / 2;
    double *cosines = plumb_case_bytes(m, (size_t)(a->P * half) * sizeof(double));
    double *sines = plumb_case_bytes(m, (size_t)(a->P * half) * sizeof(double));
    for (int64_t p = 0; p < a->P; p++)
        for (int64_t i = 0; i < half; i++) {
            const double angle = (double)p * pow(10000, -(double)i / (double)half);
            cosines[p * half + i] = cos(angle);
            sines[p * half + i] = sin(angle);
        }
    plumb_case_in_values(m, &a->cos, NULL, PLUMB_CASE_STAT, "cos", a->P * half, cosines);
    plumb_case_in_values(m, &a->sin, NULL, PLUMB_CASE_STAT, "sin", a->P * half, sines);
    int32_t *position = plumb_case_index(m, a->N);
    for (int64_t n = 0; n < a->N; n++)
        position[n] = (int32_t)plumb_case_below(m, (uint64_t)a->P);
    a->position = position;
    const int64_t count = a->N * (a->H * a->K + c->dim[5]);
    plumb_case_in(m, &a->x, &g->dx, PLUMB_CASE_ACT, "x", count, -3, 3);
    plumb_case_out(m, &a->y, &g->dy, PLUMB_CASE_ACT, "y", count);
    if (!c->dim[6]) return;
    plumb_case_alias(m, &a->y, &a->x);
    plumb_case_alias(m, &g->dx, &g->dy);
}

static struct plumb_rope backward_of(const struct args *g)
{
    struct plumb_rope b = g->rope;
    b.x = g->dy;
    b.y = g->dx;
    b.inverse = true;
    return b;
}

/* Reads x, its row of both tables and its position; writes y. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)backward;
    return 2.0 * (double)elem * (double)(c->dim[0] * c->dim[1] * c->dim[2]) +
           4.0 * (double)(c->dim[0] * (c->dim[3] + 1));
}

static int fwd(const struct plumb_device *d, const void *args)
{
    return plumb_rope(d, &((const struct args *)args)->rope);
}
static int bwd(const struct plumb_device *d, const void *args)
{
    const struct plumb_rope b = backward_of(args);
    return plumb_rope(d, &b);
}
static void fwd_ref(const void *args, enum plumb_dtype round)
{
    plumb_rope_ref(&((const struct args *)args)->rope, round);
}
static void bwd_ref(const void *args, enum plumb_dtype round)
{
    const struct plumb_rope b = backward_of(args);
    plumb_rope_ref(&b, round);
}

extern const struct plumb_op plumb_op_rope[];
const struct plumb_op plumb_op_rope[] = {
    { .name = "rope",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct args),
      .setup = setup,
      .fwd = fwd,
      .bwd = bwd,
      .fwd_ref = fwd_ref,
      .bwd_ref = bwd_ref,
      .bytes = bytes },
    { 0 },
};
