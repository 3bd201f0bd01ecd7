/* Cases of advantages by group. dim: G groups, largest, id of the formula, 1 = through an index,
 * 1 = groups of one keep their reward, 1 = all groups are the largest; of verdicts: G, K, 1 = win
 * rates. opt: epsilon, of the optimal value beta. */
#include <plumb/advantage.h>
#include <plumb/whiten.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) { #name, { 9, 8, ID }, { 1e-4 } },
#include <plumb/advantage.def>
#undef PLUMB_FORMULA
    { "interleaved groups", { 12, 9, PLUMB_ADVANTAGE_NORMALIZED, 1, 1 }, { 1e-6 } },
    { "a group beyond a warp", { 3, 150, PLUMB_ADVANTAGE_LEAVE_ONE_OUT, 1, 0, 1 } },
    { "groups of one", { 11, 1, PLUMB_ADVANTAGE_NORMALIZED, 0, 1 }, { 1e-6 } },
    { "no epsilon", { 6, 4, PLUMB_ADVANTAGE_NORMALIZED } },
    { "no groups", { 0, 4, PLUMB_ADVANTAGE_CENTRED } },
    { "64k groups of 16",
      { 1 << 16, 16, PLUMB_ADVANTAGE_NORMALIZED, 0, 0, 1 },
      { 1e-4 },
      .bench = true },
};

static const struct plumb_case verdict_cases[] = {
    { "verdicts", { 5, 4 }, { 1e-6 } },
    { "win rates", { 5, 7, 1 } },
    { "one response", { 3, 1 }, { 1e-6 } },
    { "a large group", { 2, 67 }, { 1e-6 } },
    { "no groups", { 0, 4 } },
    { "16k groups of 16", { 1 << 14, 16 }, { 1e-6 }, .bench = true },
};

static const struct plumb_case value_cases[] = {
    { "values", { 9, 8 }, { 0.5 } },
    { "interleaved, small beta", { 7, 40, 0, 1 }, { 0.01 } },
    { "16k groups of 64", { 1 << 14, 64, 0, 0, 0, 1 }, { 0.5 }, .bench = true },
};

/* Runs of responses, one of them empty, in order or dealt out over the groups. */
static int64_t groups(const struct plumb_case *c, struct plumb_case_mem *m, const int32_t **runs,
                      const int32_t **places)
{
    int32_t *offset = plumb_case_index(m, c->dim[0] + 1);
    for (int64_t i = 0; i < c->dim[0]; i++) {
        const uint64_t most = (uint64_t)c->dim[1];
        const int64_t n = c->dim[5] ? (int64_t)most : 1 + (int64_t)plumb_case_below(m, most);
        offset[i + 1] = offset[i] + (int32_t)(i == 2 && !c->bench ? 0 : n);
    }
    const int32_t N = offset[c->dim[0]];
    *runs = offset;
    if (!c->dim[3]) return N;
    int32_t *index = plumb_case_index(m, N);
    for (int32_t k = 0; k < N; k++) {
        const int32_t other = (int32_t)plumb_case_below(m, (uint64_t)k + 1);
        index[k] = index[other], index[other] = k; /* Fisher and Yates, inside out */
    }
    *places = index;
    return N;
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_advantage *a = args;
    *a = (struct plumb_advantage){ .struct_bytes = sizeof *a,
                                   .formula = (enum plumb_advantage_formula)c->dim[2],
                                   .G = c->dim[0],
                                   .keep_single = c->dim[4],
                                   .epsilon = c->opt[0] };
    a->N = groups(c, m, &a->offset, &a->index);
    double *reward = plumb_case_bytes(m, (size_t)a->N * sizeof *reward);
    for (int64_t i = 0; i < a->N; i++) /* ties and zeros among them */
        reward[i] = (double)plumb_case_below(m, 9) / 4 - 1;
    plumb_case_in_values(m, &a->reward, NULL, PLUMB_CASE_STAT, "reward", a->N, reward);
    if (!c->bench) {
        const double set[PLUMB_MOMENTS] = { (double)a->N, 0.25, 0.75 * (double)a->N,
                                            0.5 * (double)a->N };
        double *moments = plumb_case_device_bytes(m, sizeof set);
        for (int k = 0; k < PLUMB_MOMENTS; k++)
            moments[k] = set[k];
        a->moments = moments;
        plumb_case_in(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->N, 1, 40);
        plumb_case_out(m, &a->mean, NULL, PLUMB_CASE_STAT, "mean", a->G);
        plumb_case_out(m, &a->deviation, NULL, PLUMB_CASE_STAT, "deviation", a->G);
    }
    plumb_case_out(m, &a->advantage, NULL, PLUMB_CASE_STAT, "advantage", a->N);
}

/* Of the large cases: reads offsets and rewards, writes advantages. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : (double)c->dim[0] * (4.0 + 8.0 * (double)c->dim[1]);
}

static void verdict_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_verdicts *a = args;
    *a = (struct plumb_verdicts){ .struct_bytes = sizeof *a,
                                  .G = c->dim[0],
                                  .K = c->dim[1],
                                  .win_rate = c->dim[2],
                                  .epsilon = c->opt[0] };
    plumb_case_in(m, &a->score, NULL, PLUMB_CASE_STAT, "score", a->G * a->K * a->K, -1, 1);
    plumb_case_out(m, &a->advantage, NULL, PLUMB_CASE_STAT, "advantage", a->G * a->K);
}

static double verdict_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 4.0 * (double)(c->dim[0] * c->dim[1] * (c->dim[1] + 1));
}

static void value_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_optimal_value *a = args;
    *a = (struct plumb_optimal_value){ .struct_bytes = sizeof *a,
                                       .G = c->dim[0],
                                       .beta = c->opt[0] };
    a->N = groups(c, m, &a->offset, &a->index);
    plumb_case_in(m, &a->reward, NULL, PLUMB_CASE_STAT, "reward", a->N, -1, 1);
    plumb_case_out(m, &a->value, NULL, PLUMB_CASE_STAT, "value", a->G);
}

static double value_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 4.0 * (double)c->dim[0] * (double)(2 + c->dim[1]);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_advantage(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_advantage_ref(a, round); }
static int verdict_fwd(const struct plumb_device *d, const void *a) { return plumb_verdicts(d, a); }
static void verdict_ref(const void *a, enum plumb_dtype round) { plumb_verdicts_ref(a, round); }
static int value_fwd(const struct plumb_device *d, const void *a)
{
    return plumb_optimal_value(d, a);
}
static void value_ref(const void *a, enum plumb_dtype round) { plumb_optimal_value_ref(a, round); }

extern const struct plumb_op plumb_op_advantage[];
const struct plumb_op plumb_op_advantage[] = {
    { .name = "advantage",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_advantage),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { .name = "verdicts",
      .cases = verdict_cases,
      .case_count = sizeof verdict_cases / sizeof *verdict_cases,
      .args_bytes = sizeof(struct plumb_verdicts),
      .setup = verdict_setup,
      .fwd = verdict_fwd,
      .fwd_ref = verdict_ref,
      .bytes = verdict_bytes,
      .f32_only = true },
    { .name = "optimal_value",
      .cases = value_cases,
      .case_count = sizeof value_cases / sizeof *value_cases,
      .args_bytes = sizeof(struct plumb_optimal_value),
      .setup = value_setup,
      .fwd = value_fwd,
      .fwd_ref = value_ref,
      .bytes = value_bytes,
      .f32_only = true },
    { 0 },
};
