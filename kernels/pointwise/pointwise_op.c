/* Cases of the pointwise losses. dim: N scores, id of the formula, 1 = with weights (a third are
 * 0). */
#include <plumb/pointwise.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 37, ID, 1 } },
#include <plumb/pointwise.def>
#undef PLUMB_FORMULA
    { "no weights", { 20, PLUMB_POINTWISE_BCE } },
    { "several blocks, one score over", { 2049, PLUMB_POINTWISE_SQUARE, 1 } },
    { "no scores", { 0, PLUMB_POINTWISE_BCE, 1 } },
    { "1M scores", { 1 << 20, PLUMB_POINTWISE_BCE, 1 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_pointwise *a = args;
    *a = (struct plumb_pointwise){ .struct_bytes = sizeof *a,
                                   .loss = (enum plumb_pointwise_loss)c->dim[1],
                                   .N = c->dim[0],
                                   .pos_weight = 1.5,
                                   .divisor = 3.5 };
    plumb_case_in(m, &a->score, &a->dscore, PLUMB_CASE_STAT, "score", a->N, -4, 4);
    plumb_case_in(m, &a->target, NULL, PLUMB_CASE_STAT, "target", a->N, 0, 1);
    if (c->dim[2]) {
        double *weight = plumb_case_bytes(m, (size_t)a->N * sizeof *weight);
        for (int64_t n = 0; n < a->N; n++)
            weight[n] = (double)plumb_case_below(m, 3) / 2;
        plumb_case_in_values(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->N, weight);
    }
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->N);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads score, target and weight, writes a loss and a gradient. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : (double)c->dim[0] * (double)(16 + 4 * c->dim[2]);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_pointwise(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_pointwise_ref(a, round); }

extern const struct plumb_op plumb_op_pointwise[];
const struct plumb_op plumb_op_pointwise[] = {
    { .name = "pointwise",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_pointwise),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
