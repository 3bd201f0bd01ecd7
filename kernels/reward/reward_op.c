/* Cases of the reward-model losses. dim: B pairs, id of the formula, 1 = with margin and weight,
 * 1 = with target, sign and anchor. opt: center_coefficient, square_coefficient. */
#include <plumb/reward.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 9, ID, 1, 1 }, { 0.01, 0.02 } },
#include <plumb/reward.def>
#undef PLUMB_FORMULA
    { "plain", { 33, PLUMB_REWARD_BRADLEY_TERRY } },
    { "no margins", { 7, PLUMB_REWARD_GAP, 0, 1 } },
    { "several blocks, one pair over", { 1025, PLUMB_REWARD_BRADLEY_TERRY, 1 }, { 0.5 } },
    { "several blocks of ties", { 1027, PLUMB_REWARD_RAO_KUPPER, 1, 1 } },
    { "no pairs", { 0, PLUMB_REWARD_BRADLEY_TERRY } },
    { "1M pairs", { 1 << 20, PLUMB_REWARD_BRADLEY_TERRY, 1 }, { 0.01 }, .bench = true },
};

/* Sides or outcomes: -1, 1, and with `three` 0 as well. */
static void sides(struct plumb_case_mem *m, struct plumb_tensor *t, const char *name, int64_t count,
                  bool three)
{
    double *v = plumb_case_bytes(m, (size_t)count * sizeof *v);
    for (int64_t i = 0; i < count; i++)
        v[i] = three ? (double)plumb_case_below(m, 3) - 1 : plumb_case_below(m, 2) ? 1 : -1;
    plumb_case_in_values(m, t, NULL, PLUMB_CASE_STAT, name, count, v);
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_reward *a = args;
    *a = (struct plumb_reward){ .struct_bytes = sizeof *a,
                                .loss = (enum plumb_reward_loss)c->dim[1],
                                .B = c->dim[0],
                                .center_coefficient = c->opt[0],
                                .square_coefficient = c->opt[1],
                                .divisor = 3.5,
                                .ties = 1.5,
                                .floor = 0.25,
                                .lapse = 0.125,
                                .bias = 0.5 };
    plumb_case_in(m, &a->score, &a->dscore, PLUMB_CASE_STAT, "score", 2 * a->B, -5, 5);
    if (c->dim[2]) {
        plumb_case_in(m, &a->margin, NULL, PLUMB_CASE_STAT, "margin", a->B, 0, 2);
        plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->B, 0, 2);
    }
    if (c->dim[3]) {
        if (a->loss == PLUMB_REWARD_BRADLEY_TERRY_SOFT)
            plumb_case_in(m, &a->target, NULL, PLUMB_CASE_STAT, "target", a->B, 0, 1);
        else
            sides(m, &a->target, "target", a->B, true);
        sides(m, &a->sign, "sign", 2 * a->B, false);
        plumb_case_in(m, &a->anchor, &a->danchor, PLUMB_CASE_STAT, "anchor", 2 * a->B, -5, 5);
    }
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->B);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads two scores with margin and weight, target, signs and anchors; writes a loss and the
 * gradients. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    const double each = 20.0 + (c->dim[2] ? 8 : 0) + (c->dim[3] ? 28 : 0);
    return backward ? 0 : each * (double)c->dim[0];
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_reward(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_reward_ref(a, round); }

extern const struct plumb_op plumb_op_reward[];
const struct plumb_op plumb_op_reward[] = {
    { .name = "reward",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_reward),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
