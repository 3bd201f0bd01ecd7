/* Cases of token weights. dim: B pairs, kind (or -), longest completion. */
#include <plumb/token_weight.h>

#include "kernels/op.h"

static const struct plumb_case token_weight_cases[] = {
    { "tail", { 9, PLUMB_WEIGHT_TAIL, 20 } },
    { "tail, long", { 3, PLUMB_WEIGHT_TAIL, 3000 } },
    { "turns", { 9, PLUMB_WEIGHT_TURNS, 30 }, { 0.7 } },
    { "turns without discount", { 5, PLUMB_WEIGHT_TURNS, 30 }, { 1 } },
    { "subset", { 9, PLUMB_WEIGHT_SUBSET, 70 } },
    { "subset, long", { 3, PLUMB_WEIGHT_SUBSET, 2000 } },
    { "no pairs", { 0, PLUMB_WEIGHT_TAIL, 5 } },
    { "4k pairs of 512 tokens", { 4096, PLUMB_WEIGHT_TAIL, 512 }, .bench = true },
    { "4k pairs, drawn", { 4096, PLUMB_WEIGHT_SUBSET, 512 }, .bench = true },
};

/* One sequence is empty. */
static int32_t *lengths(const struct plumb_case *c, struct plumb_case_mem *m)
{
    int32_t *offset = plumb_case_index(m, 2 * c->dim[0] + 1);
    for (int64_t r = 0; r < 2 * c->dim[0]; r++)
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 3 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[2]));
    return offset;
}

static void token_weight_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_token_weight *a = args;
    *a = (struct plumb_token_weight){ .struct_bytes = sizeof *a,
                                      .kind = (enum plumb_token_weighting)c->dim[1],
                                      .B = c->dim[0],
                                      .offset = lengths(c, m),
                                      .ld_alpha = 0.3,
                                      .gamma = c->opt[0],
                                      .seed = 3,
                                      .step = 11 };
    const int64_t M = a->offset[2 * a->B];
    if (a->kind == PLUMB_WEIGHT_TURNS) {
        int32_t *turn = plumb_case_index(m, M);
        for (int64_t s = 0; s < 2 * a->B; s++)
            for (int32_t t = a->offset[s] + 1; t < a->offset[s + 1]; t++)
                turn[t] = turn[t - 1] + (plumb_case_below(m, 4) == 0);
        a->turn = turn;
    }
    plumb_case_out(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", M);
}

/* Writes the weights; half of the longest length is the mean. */
static double token_weight_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 4.0 * (double)c->dim[0] * (double)(c->dim[2] + 1);
}

static const struct plumb_case wpo_cases[] = {
    { "short", { 9, 0, 20 } },
    { "long", { 3, 0, 3000 } },
    { "many", { 150, 0, 3 } },
    { "no pairs", { 0, 0, 5 } },
    { "4k pairs of 512 tokens", { 4096, 0, 512 }, .bench = true },
};

static void wpo_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_wpo *a = args;
    *a = (struct plumb_wpo){ .struct_bytes = sizeof *a, .B = c->dim[0], .offset = lengths(c, m) };
    const int64_t M = a->offset[2 * a->B];
    plumb_case_in(m, &a->logp, NULL, PLUMB_CASE_STAT, "logp", M, -4, 0);
    plumb_case_in(m, &a->log_sum_sq, NULL, PLUMB_CASE_STAT, "log_sum_sq", M, -4, 0);
    plumb_case_out(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->B);
}

static double wpo_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    return 2 * token_weight_bytes(c, elem, backward);
}

#define CALLS(name)                                                                                \
    static int name##_fwd(const struct plumb_device *d, const void *a)                             \
    {                                                                                              \
        return plumb_##name(d, a);                                                                 \
    }                                                                                              \
    static void name##_fwd_ref(const void *a, enum plumb_dtype round)                              \
    {                                                                                              \
        plumb_##name##_ref(a, round);                                                              \
    }
CALLS(token_weight)
CALLS(wpo)

#define OP(op)                                                                                     \
    {                                                                                              \
        .name = #op, .cases = op##_cases, .case_count = sizeof op##_cases / sizeof *op##_cases,    \
        .args_bytes = sizeof(struct plumb_##op), .setup = op##_setup, .fwd = op##_fwd,             \
        .fwd_ref = op##_fwd_ref, .bytes = op##_bytes, .f32_only = true                             \
    }

extern const struct plumb_op plumb_op_token_weight[];
const struct plumb_op plumb_op_token_weight[] = {
    OP(token_weight),
    OP(wpo),
    { 0 },
};
