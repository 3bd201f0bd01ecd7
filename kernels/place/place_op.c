/* Cases of the placing of rows. dim: N rows, D width, R rows of y, elements between rows of x and
 * of y beyond D. */
#include <plumb/place.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "a few rows", { 5, 24, 40 } },
    { "odd width, rows apart", { 9, 37, 11, 6, 2 } },
    { "one row of one element", { 1, 1, 1 } },
    { "all rows", { 300, 64, 300 } },
    { "no rows", { 0, 8, 4 } },
    { "keys of a prompt of 4096 tokens", { 4096, 192, 65536, 768, 0 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_place *a = args;
    const int64_t *d = c->dim;
    *a = (struct plumb_place){ .struct_bytes = sizeof *a,
                               .N = d[0],
                               .D = d[1],
                               .R = d[2],
                               .ldx = d[1] + d[3],
                               .ldy = d[1] + d[4] };
    int32_t *to = plumb_case_index(m, a->N), *place = plumb_case_bytes(m, (size_t)a->R * 4);
    for (int64_t r = 0; r < a->R; r++) {
        const int64_t other = (int64_t)plumb_case_below(m, (uint64_t)r + 1);
        place[r] = place[other];
        place[other] = (int32_t)r;
    }
    for (int64_t n = 0; n < a->N; n++)
        to[n] = place[n];
    a->to = to;
    plumb_case_in(m, &a->x, NULL, PLUMB_CASE_ACT, "x", a->N * a->ldx, -4, 4);
    plumb_case_inout(m, &a->y, PLUMB_CASE_ACT, "y", a->R * a->ldy, -4, 4);
}

static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    return backward ? 0 : (double)c->dim[0] * (4 + 2 * (double)(c->dim[1] * (int64_t)elem));
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_place(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_place_ref(a, round); }

extern const struct plumb_op plumb_op_place[];
const struct plumb_op plumb_op_place[] = {
    { .name = "place",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_place),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes },
    { 0 },
};
