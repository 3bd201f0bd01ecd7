/* Cases of the reward-model losses. dim: B pairs, id of the formula, 1 = with margin. opt:
 * center_coefficient. */
#include <plumb/reward.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 9, ID, 1 }, { 0.01 } },
#include <plumb/reward.def>
#undef PLUMB_FORMULA
    { "plain", { 33, PLUMB_REWARD_BRADLEY_TERRY } },
    { "several blocks, one pair over", { 1025, PLUMB_REWARD_BRADLEY_TERRY, 1 }, { 0.5 } },
    { "no pairs", { 0, PLUMB_REWARD_BRADLEY_TERRY } },
    { "1M pairs", { 1 << 20, PLUMB_REWARD_BRADLEY_TERRY, 1 }, { 0.01 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_reward *a = args;
    *a = (struct plumb_reward){ .struct_bytes = sizeof *a,
                                .loss = (enum plumb_reward_loss)c->dim[1],
                                .B = c->dim[0],
                                .center_coefficient = c->opt[0],
                                .divisor = 3.5 };
    plumb_case_in(m, &a->score, &a->dscore, PLUMB_CASE_STAT, "score", 2 * a->B, -5, 5);
    if (c->dim[2]) plumb_case_in(m, &a->margin, NULL, PLUMB_CASE_STAT, "margin", a->B, 0, 2);
    plumb_case_out(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->B);
    plumb_case_objective(m, &a->losses, 1 / a->divisor);
}

/* Reads two scores and a margin, writes a loss and two gradients. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : (c->dim[2] ? 24.0 : 20.0) * (double)c->dim[0];
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
