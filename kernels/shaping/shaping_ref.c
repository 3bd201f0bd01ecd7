/* Oracles of shaped and mixed rewards: plain loops in f64, each step rounded to `round`. */
#include <plumb/shaping.h>

#include "kernels/shaping/shape.h"

void plumb_reward_mix_ref(const struct plumb_reward_mix *a, enum plumb_dtype round)
{
    const double *x = a->x.data;
    double *y = a->y.data;
    for (int64_t n = 0; n < a->N; n++) {
        struct plumb_mix_sums s = { .least = INFINITY };
        for (int64_t k = 0; k < a->K; k++) {
            if (isnan(x[k * a->N + n])) continue;
            const double own = (a->weight ? a->weight[k] : 1) * x[k * a->N + n];
            s.n++;
            s.sum = plumb_dtype_round(round, s.sum + plumb_dtype_round(round, own));
            if (own < s.least) s.least = own;
        }
        for (int64_t k = 0; k < a->K; k++) {
            const double own = (a->weight ? a->weight[k] : 1) * x[k * a->N + n];
            const double far = plumb_dtype_round(round, own - s.sum / s.n);
            if (!isnan(x[k * a->N + n]))
                s.squares = plumb_dtype_round(round, s.squares + far * far);
        }
        s.mean = s.n > 0 ? plumb_dtype_round(round, s.sum / s.n) : 0;
        y[n] = plumb_dtype_round(round, plumb_mixed(a, &s));
    }
}

void plumb_reward_shape_ref(const struct plumb_reward_shape *a, enum plumb_dtype round)
{
    const double *score = a->score.data, *kl = a->kl.data;
    double *reward = a->reward.data, *shaped = a->shaped.data;
    for (int64_t r = 0; r < a->R; r++) {
        const int32_t first = a->offset[r], end = a->offset[r + 1];
        const double total = plumb_dtype_round(
            round, plumb_shape_total(a, score[r], !a->finished || a->finished[r], end - first));
        double sum = 0;
        for (int32_t t = first; t < end; t++) {
            const double penalty = kl ? plumb_dtype_round(round, a->kl_coef * kl[t]) : 0;
            if (kl) sum = plumb_dtype_round(round, sum + kl[t]);
            if (reward) reward[t] = plumb_dtype_round(round, (t == end - 1 ? total : 0) - penalty);
        }
        if (shaped) shaped[r] = plumb_dtype_round(round, total - a->kl_coef * sum);
    }
}
