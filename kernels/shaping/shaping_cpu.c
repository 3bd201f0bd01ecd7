/* Native shaped and mixed rewards: f64, rounded once. Compiled once per instruction set. */
#include "kernels/op.h"
#include "kernels/shaping/shape.h"

int PLUMB_CPU_FN(plumb_reward_mix_cpu)(const struct plumb_reward_mix *a)
{
    const float *x = a->x.data;
    float *y = a->y.data;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->N, a->K))
    for (int64_t n = 0; n < a->N; n++) {
        struct plumb_mix_sums s = { .least = (double)INFINITY };
        for (int64_t k = 0; k < a->K; k++) {
            const float v = x[k * a->N + n];
            if (v == v) plumb_mix_add(&s, (a->weight ? a->weight[k] : 1) * (double)v);
        }
        y[n] = plumb_saturate(plumb_mixed(a, &s));
    }
    return PLUMB_OK;
}

static void one_sequence(const struct plumb_reward_shape *a, int64_t r)
{
    const float *kl = a->kl.data;
    float *reward = a->reward.data, *shaped = a->shaped.data;
    const int32_t first = a->offset[r], end = a->offset[r + 1];
    const bool finished = !a->finished || a->finished[r] != 0;
    const double total = plumb_shape_total(a, (double)((const float *)a->score.data)[r], finished,
                                           end - first);
    double sum = 0;
    for (int32_t t = first; t < end; t++) {
        const double own = kl ? (double)kl[t] : 0, last = t == end - 1 ? total : 0;
        sum += own;
        if (reward) reward[t] = plumb_saturate(last - a->kl_coef * own);
    }
    if (shaped) shaped[r] = plumb_saturate(total - a->kl_coef * sum);
}

int PLUMB_CPU_FN(plumb_reward_shape_cpu)(const struct plumb_reward_shape *a)
{
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->R, 64))
    for (int64_t r = 0; r < a->R; r++)
        one_sequence(a, r);
    return PLUMB_OK;
}
