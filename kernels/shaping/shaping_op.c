/* Cases of shaped and mixed rewards. dim of mixing: N responses, K rewards, how they are combined,
 * 1 = some have no say, 1 = population, 1 = no weights; opt: caution. dim of shaping: R sequences,
 * longest, 1 = with kl, 1 = some unfinished, max_length, overlong_cache, 1 = no shaped; opt:
 * kl_coef, missing_eos_penalty. */
#include <plumb/shaping.h>

#include <math.h>

#include "kernels/op.h"

static const struct plumb_case mix_cases[] = {
    { "weighted sum", { 37, 3, PLUMB_MIX_SUM, 1 } },
    { "mean", { 37, 4, PLUMB_MIX_MEAN, 1, 0, 1 } },
    { "least", { 1030, 4, PLUMB_MIX_LEAST, 0, 0, 1 } },
    { "cautious", { 37, 5, PLUMB_MIX_CAUTIOUS, 0, 0, 1 }, { 0.5 } },
    { "cautious, population", { 37, 5, PLUMB_MIX_CAUTIOUS, 1, 1, 1 }, { 0.5 } },
    { "one member", { 9, 1, PLUMB_MIX_CAUTIOUS, 0, 0, 1 }, { 0.5 } },
    { "no responses", { 0, 2, PLUMB_MIX_SUM } },
    { "256k responses, three rewards", { 1 << 18, 3, PLUMB_MIX_SUM }, .bench = true },
};

static const struct plumb_case shape_cases[] = {
    { "KL penalty", { 9, 12, 1 }, { 0.05 } },
    { "unfinished", { 9, 12, 1, 1 }, { 0.05, 1 } },
    { "overlong", { 40, 30, 1, 0, 24, 8 }, { 0.1 } },
    { "scores alone", { 20, 9, 0, 1, 6, 6 }, { 0.1, 0.5 } },
    { "long sequences", { 5, 3000, 1 }, { 0.01 } },
    { "no sequences", { 0, 9, 1 }, { 0.1 } },
    { "4k sequences of 512 tokens", { 4096, 512, 1, 0, 0, 0, 1 }, { 0.05 }, .bench = true },
};

static void mix_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_reward_mix *a = args;
    *a = (struct plumb_reward_mix){ .struct_bytes = sizeof *a,
                                    .mix = (enum plumb_mix)c->dim[2],
                                    .N = c->dim[0],
                                    .K = c->dim[1],
                                    .caution = c->opt[0],
                                    .population = c->dim[4] };
    double *weight = plumb_case_bytes(m, (size_t)a->K * sizeof *weight);
    for (int64_t k = 0; k < a->K; k++)
        weight[k] = 1.25 - 0.5 * (double)k;
    if (!c->dim[5]) a->weight = weight;
    double *x = plumb_case_bytes(m, (size_t)(a->K * a->N) * sizeof *x);
    for (int64_t i = 0; i < a->K * a->N; i++) {
        x[i] = (double)plumb_case_below(m, 4001) / 1000 - 2;
        if (c->dim[3] && plumb_case_below(m, 4) == 0) x[i] = NAN;
    }
    plumb_case_in_values(m, &a->x, NULL, PLUMB_CASE_STAT, "x", a->K * a->N, x);
    plumb_case_out(m, &a->y, NULL, PLUMB_CASE_STAT, "y", a->N);
}

static double mix_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 4.0 * (double)(c->dim[0] * (c->dim[1] + 1));
}

static void shape_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_reward_shape *a = args;
    *a = (struct plumb_reward_shape){ .struct_bytes = sizeof *a,
                                      .R = c->dim[0],
                                      .kl_coef = c->opt[0],
                                      .missing_eos_penalty = c->opt[1],
                                      .max_length = c->dim[4],
                                      .overlong_cache = c->dim[5] };
    int32_t *offset = plumb_case_index(m, a->R + 1);
    for (int64_t r = 0; r < a->R; r++) /* one sequence is empty */
        offset[r + 1] = offset[r] +
                        (int32_t)(r == 2 ? 0 : 1 + plumb_case_below(m, (uint64_t)c->dim[1]));
    a->offset = offset;
    int32_t *finished = c->dim[3] ? plumb_case_index(m, a->R) : NULL;
    for (int64_t r = 0; finished && r < a->R; r++)
        finished[r] = (int32_t)plumb_case_below(m, 2);
    a->finished = finished;
    plumb_case_in(m, &a->score, NULL, PLUMB_CASE_STAT, "score", a->R, -2, 2);
    if (c->dim[2]) plumb_case_in(m, &a->kl, NULL, PLUMB_CASE_STAT, "kl", offset[a->R], -1, 2);
    plumb_case_out(m, &a->reward, NULL, PLUMB_CASE_STAT, "reward", offset[a->R]);
    if (!c->dim[6]) plumb_case_out(m, &a->shaped, NULL, PLUMB_CASE_STAT, "shaped", a->R);
}

/* Reads kl, writes rewards; half of the longest is the mean. */
static double shape_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 4.0 * (double)c->dim[0] * (double)(c->dim[1] + 1);
}

static int mix_fwd(const struct plumb_device *d, const void *a) { return plumb_reward_mix(d, a); }
static void mix_ref(const void *a, enum plumb_dtype round) { plumb_reward_mix_ref(a, round); }
static int shape_fwd(const struct plumb_device *d, const void *a)
{
    return plumb_reward_shape(d, a);
}
static void shape_ref(const void *a, enum plumb_dtype round) { plumb_reward_shape_ref(a, round); }

extern const struct plumb_op plumb_op_shaping[];
const struct plumb_op plumb_op_shaping[] = {
    { .name = "reward_mix",
      .cases = mix_cases,
      .case_count = sizeof mix_cases / sizeof *mix_cases,
      .args_bytes = sizeof(struct plumb_reward_mix),
      .setup = mix_setup,
      .fwd = mix_fwd,
      .fwd_ref = mix_ref,
      .bytes = mix_bytes,
      .f32_only = true },
    { .name = "reward_shape",
      .cases = shape_cases,
      .case_count = sizeof shape_cases / sizeof *shape_cases,
      .args_bytes = sizeof(struct plumb_reward_shape),
      .setup = shape_setup,
      .fwd = shape_fwd,
      .fwd_ref = shape_ref,
      .bytes = shape_bytes,
      .f32_only = true },
    { 0 },
};
