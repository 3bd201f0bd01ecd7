/* Token weights as plain loops, for what the including file calls `value`: float on the CPU, double
 * in the oracle. STORE makes one of a result. */
#pragma once
#include "kernels/token_weight/weighting.h"

static void one_side(const struct plumb_token_weight *a, int64_t s, enum plumb_dtype round)
{
    const int32_t *o = a->offset + (s & ~(int64_t)1);
    const int64_t nw = o[1] - o[0], nl = o[2] - o[1], m = nw < nl ? nw : nl;
    const int64_t first = a->offset[s], n = a->offset[s + 1] - first;
    value *weight = (value *)a->weight.data + first;
    int64_t want = m;
    for (int64_t k = 0; k < n; k++) {
        double w = 1;
        if (a->kind == PLUMB_WEIGHT_TAIL && k >= m) w = a->ld_alpha;
        if (a->kind == PLUMB_WEIGHT_TURNS)
            w = plumb_turn_weight(a->gamma, a->turn[first + k], a->turn[first + n - 1] + 1);
        if (a->kind == PLUMB_WEIGHT_SUBSET) {
            const bool taken = plumb_token_taken(plumb_token_word(a->seed, a->step, s, k), n - k,
                                                 want);
            w = taken;
            want -= taken;
        }
        weight[k] = STORE(w, round);
    }
}

static void token_weights(const struct plumb_token_weight *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < 2 * a->B; s++)
        one_side(a, s, round);
}

static double mean_of(const struct plumb_wpo *a, int64_t s)
{
    const value *logp = a->logp.data, *sq = a->log_sum_sq.data;
    const int32_t n = a->offset[s + 1] - a->offset[s];
    double sum[2] = { 0 };
    for (int32_t t = a->offset[s]; t < a->offset[s + 1]; t++)
        sum[0] += (double)logp[t], sum[1] += (double)sq[t];
    return n > 0 ? (sum[0] - sum[1]) / n : 0;
}

static void wpo(const struct plumb_wpo *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->B; i++)
        ((value *)a->weight.data)[i] = STORE(
            plumb_wpo_weight(mean_of(a, 2 * i), mean_of(a, 2 * i + 1)), round);
}
