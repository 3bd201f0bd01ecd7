/* Cases of the likelihood losses. dim: M tokens, id of the formula, 1 = with targets (a third are
 * skipped), 1 = with weights. */
#include <plumb/supervised.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 37, ID, 1, 1 } },
#include <plumb/supervised.def>
#undef PLUMB_FORMULA
    { "all tokens, no weights", { 20, PLUMB_SUPERVISED_NLL } },
    { "several blocks, no targets", { 2049, PLUMB_SUPERVISED_DFT, 0, 1 } },
    { "several blocks, one token over", { 1025, PLUMB_SUPERVISED_NLL, 1 } },
    { "several blocks of rewards", { 1030, PLUMB_SUPERVISED_AWR, 1 } },
    { "no tokens", { 0, PLUMB_SUPERVISED_NLL, 1, 1 } },
    { "1M tokens", { 1 << 20, PLUMB_SUPERVISED_NLL, 1 }, .bench = true },
};

/* Losses whose gradient is not the derivative of their value: finite differences do not apply. */
static bool stops_gradient(enum plumb_supervised_loss loss) { return loss == PLUMB_SUPERVISED_DFT; }

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_supervised *a = args;
    *a = (struct plumb_supervised){ .struct_bytes = sizeof *a,
                                    .loss = (enum plumb_supervised_loss)c->dim[1],
                                    .M = c->dim[0],
                                    .divisor = 3.5,
                                    .beta = 0.75,
                                    .max_weight = 2 };
    int32_t *target = c->dim[2] ? plumb_case_index(m, a->M) : NULL;
    for (int64_t i = 0; target && i < a->M; i++)
        target[i] = (int32_t)plumb_case_below(m, 3) - 1;
    a->target = target;
    if (stops_gradient(a->loss)) {
        plumb_case_in(m, &a->logp, NULL, PLUMB_CASE_STAT, "logp", a->M, -4, 0);
        plumb_case_out(m, &a->dlogp, NULL, PLUMB_CASE_STAT, "dlogp", a->M);
    } else {
        plumb_case_in(m, &a->logp, &a->dlogp, PLUMB_CASE_STAT, "logp", a->M, -4, 0);
    }
    if (c->dim[3]) plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->M, -1, 2);
    if (a->loss == PLUMB_SUPERVISED_AWR) {
        plumb_case_in(m, &a->reward, NULL, PLUMB_CASE_STAT, "reward", a->M, -2, 2);
        plumb_case_in(m, &a->value, NULL, PLUMB_CASE_STAT, "value", a->M, -1, 1);
    }
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->M);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads logp, target and weight, writes a loss and a gradient. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : (double)c->dim[0] * (double)(12 + 4 * c->dim[2] + 4 * c->dim[3]);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_supervised(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_supervised_ref(a, round); }

extern const struct plumb_op plumb_op_supervised[];
const struct plumb_op plumb_op_supervised[] = {
    { .name = "supervised",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_supervised),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
