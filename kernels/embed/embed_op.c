/* Cases of the embedding. dim: N rows, D width, V vocabulary, P positions, y in the dtype of
 * activations (else of the residual stream). opt: scale. */
#include <plumb/embed.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "odd width, repeated tokens", { 40, 37, 5 }, { 1 } },
    { "learned positions", { 12, 24, 9, 7 }, { 1 } },
    { "scaled", { 9, 33, 11 }, { 5.656854249492381 } },
    { "runs over several batches, several pieces of a row", { 200, 1040, 3 }, { 1 } },
    { "several tiles, ids of two digits", { 9000, 8, 700, 64 }, { 1 } },
    { "ids of three digits", { 50, 1, 300000 }, { 1 } },
    { "y as narrow as activations", { 300, 132, 40, 9, 1 }, { 1 } },
    { "one element", { 1, 1, 1 }, { 1 } },
    { "no rows", { 0, 16, 3 }, { 1 } },
    { "4k tokens of SmolLM2-135M", { 4096, 576, 49152 }, { 1 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_embed *a = args;
    *a = (struct plumb_embed){ .struct_bytes = sizeof *a,
                               .N = c->dim[0],
                               .D = c->dim[1],
                               .V = c->dim[2],
                               .P = c->dim[3],
                               .scale = c->opt[0] };
    int32_t *token = plumb_case_index(m, a->N),
            *position = a->P > 0 ? plumb_case_index(m, a->N) : NULL;
    for (int64_t n = 0; n < a->N; n++) {
        token[n] = (int32_t)plumb_case_below(m, (uint64_t)a->V);
        if (position) position[n] = (int32_t)plumb_case_below(m, (uint64_t)a->P);
    }
    a->token = token, a->position = position;
    plumb_case_in(m, &a->w, &a->dw, PLUMB_CASE_WEIGHT, "w", a->V * a->D, -1, 1);
    if (a->P > 0)
        plumb_case_in(m, &a->wpos, &a->dwpos, PLUMB_CASE_WEIGHT, "wpos", a->P * a->D, -1, 1);
    plumb_case_out(m, &a->y, &a->dy, c->dim[4] ? PLUMB_CASE_ACT : PLUMB_CASE_RESID, "y",
                   a->N * a->D);
}
static size_t workspace(const struct plumb_device *d, const void *a)
{
    return plumb_embed_bwd_workspace(d, a);
}

/* Forward reads the rows in use and writes y; backward reads dy and adds to f32 rows. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    const double n = (double)(c->dim[0] * c->dim[1]), tables = c->dim[3] > 0 ? 2 : 1;
    const double y = c->dim[4] ? (double)elem : 4;
    return backward ? n * (y + 8 * tables) : n * ((double)elem * tables + y);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_embed_fwd(d, a); }
static int bwd(const struct plumb_device *d, const void *a) { return plumb_embed_bwd(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_embed_fwd_ref(a, round); }
static void bwd_ref(const void *a, enum plumb_dtype round) { plumb_embed_bwd_ref(a, round); }

extern const struct plumb_op plumb_op_embed[];
const struct plumb_op plumb_op_embed[] = {
    { .name = "embed",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_embed),
      .setup = setup,
      .fwd = fwd,
      .bwd = bwd,
      .fwd_ref = fwd_ref,
      .bwd_ref = bwd_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_embed, work),
      .bytes = bytes },
    { 0 },
};
