/* Adapters of golden/losses/advantages for whole responses: groups by id are runs of an index. */
#include <plumb/advantage.h>
#include <plumb/whiten.h>
#include <string.h>

#include "tests/golden_run.h"

struct runs {
    int64_t N, G;
    int32_t *offset, *index; /* host */
};

/* Groups in the order in which their ids appear. */
static struct runs runs_of(struct golden_run *r, const char *ids)
{
    struct runs g = { 0 };
    const double *id = golden_input(r, ids, &g.N);
    const size_t bytes = (size_t)g.N * sizeof(int32_t);
    int32_t *group = golden_alloc(r, bytes);
    g.offset = golden_alloc(r, bytes + sizeof(int32_t));
    g.index = golden_alloc(r, bytes);
    for (int64_t i = 0; i < g.N; i++) {
        int64_t first = 0;
        while (id[first] != id[i])
            first++;
        group[i] = first < i ? group[first] : (int32_t)g.G++;
    }
    for (int64_t k = 0; k < g.G; k++) {
        g.offset[k + 1] = g.offset[k];
        for (int32_t i = 0; i < g.N; i++)
            if (group[i] == k) g.index[g.offset[k + 1]++] = i;
    }
    return g;
}

/* Zeroed memory of the device. */
static void *room(struct golden_run *r, size_t bytes)
{
    return (void *)golden_copy(r, golden_alloc(r, bytes), bytes);
}

static const double *moments_of(struct golden_run *r, const struct plumb_tensor *x, int64_t M)
{
    struct plumb_moments a = { .struct_bytes = sizeof a,
                               .M = M,
                               .x = *x,
                               .moments = room(r, PLUMB_MOMENTS * sizeof(double)) };
    a.work.data = room(r, plumb_moments_workspace(r->dev, &a));
    return golden_ok(r, plumb_moments(r->dev, &a)) ? a.moments : NULL;
}

static struct plumb_advantage call_of(struct golden_run *r, const char *formula)
{
    int64_t n;
    const struct runs g = runs_of(r, "group_ids");
    struct plumb_advantage a = {
        .struct_bytes = sizeof a,
        .formula = (enum plumb_advantage_formula)plumb_advantage_find(formula),
        .N = g.N,
        .G = g.G,
        .offset = golden_copy(r, g.offset, (size_t)(g.G + 1) * sizeof *g.offset),
        .index = golden_copy(r, g.index, (size_t)g.N * sizeof *g.index),
        .reward = golden_in(r, golden_input(r, "rewards", &n), g.N),
        .weight = golden_in(r, golden_input(r, "lengths", &n), g.N),
        .keep_single = true,
        .epsilon = golden_option(r, "epsilon", 0),
        .advantage = golden_out(r, g.N),
    };
    a.moments = moments_of(r, &a.reward, g.N);
    return a;
}

static void report(struct golden_run *r, const struct plumb_advantage *a)
{
    if (!golden_ok(r, plumb_advantage(r->dev, a))) return;
    golden_values(r, NULL, "advantages", golden_read(r, &a->advantage, a->N), a->N);
}

/* `how` is the formula's name. */
static void group(struct golden_run *r, const void *how)
{
    const struct plumb_advantage a = call_of(r, how);
    report(r, &a);
}

/* verl's estimators divide by the deviation or not; `how` are both names. */
static void group_by_option(struct golden_run *r, const void *how)
{
    const char *const *names = how;
    const struct plumb_advantage a = call_of(r, names[golden_option(r, "norm_by_std", 1) != 0]);
    report(r, &a);
}

static void group_trl(struct golden_run *r, const void *how)
{
    (void)how;
    const char *scale = golden_option_text(r, "scale_rewards");
    struct plumb_advantage a = call_of(r, !strcmp(scale, "group")   ? "normalized"
                                          : !strcmp(scale, "batch") ? "normalized_batch"
                                                                    : "centred");
    a.keep_single = false;
    report(r, &a);
}

static void rloo(struct golden_run *r, const void *how)
{
    (void)how;
    struct plumb_advantage a = call_of(r, "leave_one_out");
    a.keep_single = !strcmp(golden_option_text(r, "single"), "reward");
    if (golden_option(r, "normalize", 0) == 0) {
        report(r, &a);
        return;
    }
    if (!golden_ok(r, plumb_advantage(r->dev, &a))) return;
    const struct plumb_whiten w = { .struct_bytes = sizeof w,
                                    .M = a.N,
                                    .x = a.advantage,
                                    .moments = moments_of(r, &a.advantage, a.N),
                                    .epsilon = 1e-4,
                                    .y = a.advantage };
    if (!golden_ok(r, plumb_whiten(r->dev, &w))) return;
    golden_values(r, NULL, "advantages", golden_read(r, &w.y, a.N), a.N);
}

/* Groups of equal size, side by side. */
static const int32_t *even_runs(struct golden_run *r, int64_t G, int64_t size)
{
    int32_t *offset = golden_alloc(r, (size_t)(G + 1) * sizeof *offset);
    for (int64_t k = 0; k <= G; k++)
        offset[k] = (int32_t)(k * size);
    return golden_copy(r, offset, (size_t)(G + 1) * sizeof *offset);
}

static void p3o_pair(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    const double *reward = golden_input(r, "rewards", &n);
    const struct plumb_advantage a = { .struct_bytes = sizeof a,
                                       .formula = PLUMB_ADVANTAGE_CENTRED,
                                       .N = n,
                                       .G = n / 2,
                                       .offset = even_runs(r, n / 2, 2),
                                       .reward = golden_in(r, reward, n),
                                       .advantage = golden_out(r, n) };
    report(r, &a);
}

static void pairwise_group(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    const double *score = golden_input(r, "pair_scores", &n);
    const int64_t K = golden_input_rows(r, "pair_scores");
    const struct plumb_verdicts a = { .struct_bytes = sizeof a,
                                      .G = 1,
                                      .K = K,
                                      .epsilon = 1e-6,
                                      .score = golden_in(r, score, n),
                                      .advantage = golden_out(r, K) };
    if (!golden_ok(r, plumb_verdicts(r->dev, &a))) return;
    golden_values(r, NULL, "advantages", golden_read(r, &a.advantage, K), K);
}

static void optimal_value(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    const double *reward = golden_input(r, "rewards_per_prompt", &n);
    const int64_t G = golden_input_rows(r, "rewards_per_prompt");
    const struct plumb_optimal_value a = { .struct_bytes = sizeof a,
                                           .N = n,
                                           .G = G,
                                           .offset = even_runs(r, G, n / G),
                                           .beta = golden_option(r, "beta1", 1),
                                           .reward = golden_in(r, reward, n),
                                           .value = golden_out(r, G) };
    if (!golden_ok(r, plumb_optimal_value(r->dev, &a))) return;
    golden_values(r, NULL, "v_star", golden_read(r, &a.value, G), G);
}

static void adaptive_kl(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    const double *kl = golden_input(r, "kl", &n), *steps = golden_input(r, "num_steps", &n);
    double *out = golden_alloc(r, (size_t)n * sizeof *out);
    double coefficient = golden_option(r, "init_kl_coef", 0);
    for (int64_t i = 0; i < n; i++)
        out[i] = coefficient = plumb_adaptive_kl(coefficient, kl[i], golden_option(r, "target", 1),
                                                 golden_option(r, "horizon", 1), steps[i]);
    golden_values(r, NULL, "kl_coef", out, n);
}

static const char *const verl[2] = { "centred", "normalized" };
static const char *const pass_k[2] = { "pass_k", "pass_k_normalized" };
extern const struct golden_member golden_advantage[];
const struct golden_member golden_advantage[] = {
    { "advantages/gpg", group, "gpg" },
    { "advantages/opo", group, "opo" },
    { "advantages/group_normalize", group_trl, NULL },
    { "advantages/group_normalize_verl", group_by_option, verl },
    { "advantages/grpo_passk", group_by_option, pass_k },
    { "advantages/rloo_baseline", rloo, NULL },
    { "advantages/p3o_pair", p3o_pair, NULL },
    { "advantages/pairwise_group", pairwise_group, NULL },
    { "advantages/optimal_value", optimal_value, NULL },
    { "advantages/adaptive_kl", adaptive_kl, NULL },
    { 0 },
};
