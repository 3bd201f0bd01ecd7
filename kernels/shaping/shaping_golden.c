/* Adapters of golden/losses/advantages for what is put together from several ops: shaped rewards,
 * estimates per token, whitening over the batch. */
#include <math.h>
#include <plumb/advantage.h>
#include <plumb/gae.h>
#include <plumb/kl.h>
#include <plumb/reduce.h>
#include <plumb/shaping.h>
#include <plumb/whiten.h>
#include <string.h>

#include "tests/golden_run.h"

/* Zeroed memory of the device. */
static void *room(struct golden_run *r, size_t bytes)
{
    return (void *)golden_copy(r, golden_alloc(r, bytes), bytes);
}

static const int32_t *flags(struct golden_run *r, const double *mask, int64_t n)
{
    int32_t *out = golden_alloc(r, (size_t)n * sizeof *out);
    for (int64_t i = 0; i < n; i++)
        out[i] = mask[i] != 0;
    return golden_copy(r, out, (size_t)n * sizeof *out);
}

/* Whitens x in place by its own moments; `like` says how. */
static bool whiten(struct golden_run *r, const struct plumb_tensor *x, int64_t M,
                   const int32_t *counted, const struct plumb_whiten *like)
{
    struct plumb_moments m = { .struct_bytes = sizeof m,
                               .M = M,
                               .counted = counted,
                               .x = *x,
                               .moments = room(r, PLUMB_MOMENTS * sizeof(double)) };
    m.work.data = room(r, plumb_moments_workspace(r->dev, &m));
    struct plumb_whiten w = *like;
    w.struct_bytes = sizeof w;
    w.M = M, w.counted = counted, w.x = w.y = *x, w.moments = m.moments;
    return golden_ok(r, plumb_moments(r->dev, &m)) && golden_ok(r, plumb_whiten(r->dev, &w));
}

static const struct plumb_whiten masked = { .root_epsilon = 1e-8 };

static void masked_whiten(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    const double *x = golden_input(r, "values", &n), *mask = golden_input(r, "mask", &n);
    const struct plumb_tensor t = golden_in(r, x, n);
    struct plumb_whiten like = masked;
    like.keep_mean = golden_option(r, "shift_mean", 1) == 0;
    if (whiten(r, &t, n, flags(r, mask, n), &like))
        golden_values(r, NULL, "whitened", golden_read(r, &t, n), n);
}

static const int32_t *offsets(struct golden_run *r, const struct golden_rows *rows)
{
    return golden_copy(r, rows->offset, (size_t)(rows->B + 1) * sizeof *rows->offset);
}

/* Generalised advantages or returns to go, then whitened over the counted tokens. */
static void whitened_tokens(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    const struct golden_rows rows = golden_rows_of(r, "token_level_rewards", NULL);
    const int32_t *counted = flags(r, golden_input(r, "completion_mask", &n), rows.M);
    const struct plumb_gae a = {
        .struct_bytes = sizeof a,
        .R = rows.B,
        .offset = offsets(r, &rows),
        .counted = counted,
        .reward = golden_in(r, golden_packed(r, &rows, "token_level_rewards"), rows.M),
        .value = golden_in(r, golden_packed(r, &rows, "values"), rows.M),
        .gamma = golden_option(r, "gamma", 1),
        .lambda = golden_option(r, "lam", 1),
        .advantage = golden_out(r, rows.M),
        .returns = golden_out(r, rows.M),
    };
    if (!golden_ok(r, plumb_gae(r->dev, &a))) return;
    golden_packed_values(r, &rows, NULL, "returns", golden_read(r, &a.returns, rows.M));
    if (whiten(r, &a.advantage, rows.M, counted, &masked))
        golden_packed_values(r, &rows, NULL, "advantages", golden_read(r, &a.advantage, rows.M));
}

/* Packed runs of rows padded to T: of row b the first length[b] positions. */
static struct golden_rows rows_of_lengths(struct golden_run *r, const double *length, int64_t B,
                                          int64_t T)
{
    struct golden_rows rows = { .B = B, .T = T };
    rows.offset = golden_alloc(r, (size_t)(B + 1) * sizeof *rows.offset);
    rows.from = golden_alloc(r, (size_t)(B * T) * sizeof *rows.from);
    for (int64_t b = 0; b < B; b++) {
        for (int64_t t = 0; t < (int64_t)length[b]; t++)
            rows.from[rows.M++] = (int32_t)(b * T + t);
        rows.offset[b + 1] = (int32_t)rows.M;
    }
    return rows;
}

/* A sequence is its group's member in the order of the ids' groups, which lie side by side here but
 * for one case: the group's index. */
static struct plumb_tensor centred(struct golden_run *r, int64_t N)
{
    int64_t n;
    const double *id = golden_input(r, "group_ids", &n);
    int32_t *offset = golden_alloc(r, (size_t)(N + 1) * sizeof *offset), G = 0, at = 0;
    int32_t *index = golden_alloc(r, (size_t)N * sizeof *index);
    for (int64_t i = 0; i < N; i++) {
        int64_t first = 0;
        while (id[first] != id[i])
            first++;
        if (first < i) continue; /* the first of a group collects it */
        for (int64_t k = i; k < N; k++)
            if (id[k] == id[i]) index[at++] = (int32_t)k;
        offset[++G] = at;
    }
    const struct plumb_advantage a = {
        .struct_bytes = sizeof a,
        .formula = PLUMB_ADVANTAGE_CENTRED,
        .N = N,
        .G = G,
        .offset = golden_copy(r, offset, (size_t)(N + 1) * sizeof *offset),
        .index = golden_copy(r, index, (size_t)N * sizeof *index),
        .reward = golden_in(r, golden_input(r, "rewards", &n), N),
        .keep_single = true,
        .advantage = golden_out(r, N),
    };
    golden_ok(r, plumb_advantage(r->dev, &a));
    return a.advantage;
}

/* Centred rewards, spread over tokens, whitened over all of them. */
static void reinforce_plus_plus_baseline(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t N, T = 0;
    const double *length = golden_input(r, "lengths", &N);
    for (int64_t i = 0; i < N; i++)
        T = (int64_t)fmax((double)T, length[i]);
    const struct golden_rows rows = rows_of_lengths(r, length, N, T);
    const struct plumb_segsum s = { .struct_bytes = sizeof s,
                                    .M = rows.M,
                                    .R = N,
                                    .offset = offsets(r, &rows),
                                    .dy = centred(r, N),
                                    .dx = golden_out(r, rows.M) };
    if (!golden_ok(r, plumb_segsum_bwd(r->dev, &s))) return;
    if (whiten(r, &s.dx, rows.M, NULL, &masked))
        golden_packed_values(r, &rows, NULL, "advantages", golden_read(r, &s.dx, rows.M));
}

/* The divergence of each token by the estimator of this name. */
static struct plumb_tensor divergence(struct golden_run *r, const char *estimator,
                                      const double *logp, const double *ref, int64_t M)
{
    const struct plumb_kl a = { .struct_bytes = sizeof a,
                                .estimator = (enum plumb_kl_estimator)plumb_kl_find(estimator),
                                .M = M,
                                .logp = golden_in(r, logp, M),
                                .ref_logp = golden_in(r, ref, M),
                                .divisor = 1,
                                .kl = golden_out(r, M) };
    golden_ok(r, plumb_kl(r->dev, &a));
    return a.kl;
}

static struct plumb_tensor shaped(struct golden_run *r, const struct golden_rows *rows,
                                  const struct plumb_tensor *kl)
{
    int64_t n;
    const struct plumb_reward_shape a = {
        .struct_bytes = sizeof a,
        .R = rows->B,
        .offset = offsets(r, rows),
        .score = golden_in(r, golden_input(r, "scores", &n), rows->B),
        .kl = *kl,
        .kl_coef = golden_option(r, "kl_coef", 0),
        .reward = golden_out(r, rows->M),
    };
    golden_ok(r, plumb_reward_shape(r->dev, &a));
    return a.reward;
}

static void token_reward_kl(struct golden_run *r, const void *how)
{
    (void)how;
    const struct golden_rows rows = golden_rows_of(r, "logps", "completion_mask");
    const double *logp = golden_packed(r, &rows, "logps");
    const double *ref = golden_packed(r, &rows, "ref_logps");
    const struct plumb_tensor kl = divergence(r, "k1", logp, ref, rows.M);
    const struct plumb_tensor reward = shaped(r, &rows, &kl);
    golden_packed_values(r, &rows, NULL, "token_level_rewards", golden_read(r, &reward, rows.M));
}

/* TRL's PPO: a row has one position behind its response, where the score falls and nothing
 * diverges, unless the response fills it; the advantages leave it out. */
static void ppo_trl(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t B, n;
    const double *length = golden_input(r, "lengths", &B);
    golden_input(r, "logps", &n);
    double *longer = golden_alloc(r, (size_t)B * sizeof *longer);
    for (int64_t b = 0; b < B; b++)
        longer[b] = fmin(length[b] + 1, (double)(n / B));
    const struct golden_rows rows = rows_of_lengths(r, longer, B, n / B);
    double *logp = (double *)golden_packed(r, &rows, "logps");
    double *ref = (double *)golden_packed(r, &rows, "ref_logps");
    double *response = golden_alloc(r, (size_t)rows.M * sizeof *response);
    for (int64_t m = 0; m < rows.M; m++) {
        response[m] = (double)(rows.from[m] % rows.T) < length[rows.from[m] / rows.T];
        if (response[m] == 0) logp[m] = ref[m] = 0;
    }
    const struct plumb_tensor kl = divergence(r, golden_option_text(r, "kl_estimator"), logp, ref,
                                              rows.M);
    const struct plumb_tensor reward = shaped(r, &rows, &kl);
    const struct plumb_whiten scale = { .root_epsilon = 1e-8, .keep_mean = true };
    if (golden_option(r, "whiten_rewards", 0) != 0 && !whiten(r, &reward, rows.M, NULL, &scale))
        return;
    golden_packed_values(r, &rows, NULL, "token_level_rewards", golden_read(r, &reward, rows.M));
    const struct plumb_gae a = { .struct_bytes = sizeof a,
                                 .R = rows.B,
                                 .offset = offsets(r, &rows),
                                 .reward = reward,
                                 .value = golden_in(r, golden_packed(r, &rows, "values"), rows.M),
                                 .gamma = golden_option(r, "gamma", 1),
                                 .lambda = golden_option(r, "lam", 1),
                                 .advantage = golden_out(r, rows.M),
                                 .returns = golden_out(r, rows.M) };
    if (!golden_ok(r, plumb_gae(r->dev, &a))) return;
    golden_packed_values(r, &rows, NULL, "returns", golden_read(r, &a.returns, rows.M));
    if (whiten(r, &a.advantage, rows.M, flags(r, response, rows.M), &masked))
        golden_packed_values(r, &rows, NULL, "advantages", golden_read(r, &a.advantage, rows.M));
}

static struct plumb_tensor normalized(struct golden_run *r, const struct plumb_tensor *reward,
                                      int64_t N, double epsilon)
{
    const int64_t size = (int64_t)golden_option(r, "num_generations", 1);
    int32_t *offset = golden_alloc(r, (size_t)(N / size + 1) * sizeof *offset);
    for (int64_t g = 0; g <= N / size; g++)
        offset[g] = (int32_t)(g * size);
    const struct plumb_advantage a = {
        .struct_bytes = sizeof a,
        .formula = PLUMB_ADVANTAGE_NORMALIZED,
        .N = N,
        .G = N / size,
        .offset = golden_copy(r, offset, (size_t)(N / size + 1) * sizeof *offset),
        .reward = *reward,
        .epsilon = epsilon,
        .advantage = golden_out(r, N),
    };
    golden_ok(r, plumb_advantage(r->dev, &a));
    return a.advantage;
}

/* x (N,K) row by row; its transpose's row k as advantages, or as it is. */
static void columns(struct golden_run *r, const double *x, int64_t N, int64_t K, bool normalize,
                    double *out)
{
    for (int64_t k = 0; k < K; k++) {
        for (int64_t n = 0; n < N; n++)
            out[k * N + n] = x[n * K + k];
        if (!normalize) continue;
        const struct plumb_tensor reward = golden_in(r, out + k * N, N);
        const struct plumb_tensor a = normalized(r, &reward, N, 1e-4);
        memcpy(out + k * N, golden_read(r, &a, N), (size_t)N * sizeof *out);
    }
}

static double *weights(struct golden_run *r, int64_t K)
{
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(r->at, "options");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(options, "reward_weights");
    double *out = golden_alloc(r, (size_t)K * sizeof *out);
    for (int k = 0; k < K; k++)
        out[k] = cJSON_GetNumberValue(cJSON_GetArrayItem(list, k));
    return out;
}

static void multi_reward_group(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    const double *x = golden_input(r, "rewards_per_func", &n);
    const int64_t N = golden_input_rows(r, "rewards_per_func"), K = n / N;
    const bool first = !strcmp(golden_option_text(r, "multi_objective_aggregation"),
                               "normalize_then_sum");
    double *rows = golden_alloc(r, (size_t)n * sizeof *rows);
    columns(r, x, N, K, first, rows);
    const struct plumb_reward_mix mix = { .struct_bytes = sizeof mix,
                                          .mix = PLUMB_MIX_SUM,
                                          .N = N,
                                          .K = K,
                                          .weight = weights(r, K),
                                          .x = golden_in(r, rows, n),
                                          .y = golden_out(r, N) };
    if (!golden_ok(r, plumb_reward_mix(r->dev, &mix))) return;
    const struct plumb_whiten batch = { .epsilon = 1e-4 };
    const struct plumb_tensor out = first ? mix.y : normalized(r, &mix.y, N, 1e-4);
    if (first && !whiten(r, &out, N, NULL, &batch)) return;
    golden_values(r, NULL, "advantages", golden_read(r, &out, N), N);
}

extern const struct golden_member golden_shaping[];
const struct golden_member golden_shaping[] = {
    { "advantages/masked_whiten", masked_whiten, NULL },
    { "advantages/gae_whitened", whitened_tokens, NULL },
    { "advantages/reinforce_plus_plus", whitened_tokens, NULL },
    { "advantages/reinforce_plus_plus_baseline", reinforce_plus_plus_baseline, NULL },
    { "advantages/token_reward_kl", token_reward_kl, NULL },
    { "advantages/ppo_trl", ppo_trl, NULL },
    { "advantages/multi_reward_group", multi_reward_group, NULL },
    { 0 },
};
