/* Native advantages by group: statistics in f64, formulas in f32, groups in parallel. Compiled once
 * per instruction set. */
#include "kernels/advantage/advantage_eval.h"

#include "kernels/advantage/members.h"
#include "kernels/op.h"

static int64_t at(const int32_t *index, int64_t place) { return index ? index[place] : place; }

static struct plumb_group group_of(const struct plumb_advantage *a, int64_t first, int64_t end)
{
    const float *reward = a->reward.data, *weight = a->weight.data;
    struct plumb_group g = { .n = (double)(end - first),
                             .top = -(double)INFINITY,
                             .second = -(double)INFINITY };
    for (int64_t k = first; k < end; k++) {
        const double r = (double)reward[at(a->index, k)];
        const double w = weight ? (double)weight[at(a->index, k)] : 1;
        g.mean += r, g.weights += w, g.weighted += w * r;
        plumb_group_top(&g, r);
    }
    if (end > first) g.mean /= g.n;
    for (int64_t k = first; k < end; k++) {
        const double far = (double)reward[at(a->index, k)] - g.mean;
        g.squares += far * far;
    }
    return g;
}

int PLUMB_CPU_FN(plumb_advantage_cpu)(const struct plumb_advantage *a)
{
    const float *reward = a->reward.data;
    float *advantage = a->advantage.data, *mean = a->mean.data, *deviation = a->deviation.data;
    const struct plumb_group_batch b = plumb_group_batch(a, a->moments);
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->G, 16))
    for (int64_t i = 0; i < a->G; i++) {
        const struct plumb_group g = group_of(a, a->offset[i], a->offset[i + 1]);
        if (mean) mean[i] = plumb_saturate(g.mean);
        if (deviation) deviation[i] = plumb_saturate(plumb_spread(g.squares, g.n));
        for (int64_t k = a->offset[i]; k < a->offset[i + 1]; k++) {
            const int64_t own = at(a->index, k);
            const struct plumb_member p = plumb_member_of(&g, &b, (double)reward[own]);
            struct plumb_member_grad none;
            advantage[own] = plumb_finite(plumb_member_eval((int)a->formula, &p, &none));
        }
    }
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_verdicts_cpu)(const struct plumb_verdicts *a)
{
    float *advantage = a->advantage.data;
#pragma omp parallel for schedule(static) if (plumb_worth_threads(a->G, a->K * a->K))
    for (int64_t i = 0; i < a->G; i++) {
        const float *score = (const float *)a->score.data + i * a->K * a->K;
        double squares = 0;
        for (int64_t k = 0; k < a->K * a->K; k++)
            squares += (double)score[k] * (double)score[k];
        for (int64_t k = 0; k < a->K; k++) {
            double sum = 0;
            for (int64_t j = 0; j < a->K; j++)
                if (!a->win_rate || j != k) sum += (double)score[k * a->K + j];
            advantage[i * a->K + k] = plumb_saturate(plumb_verdict(a, sum, squares, (double)a->K) +
                                                     0 * sum);
        }
    }
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_optimal_value_cpu)(const struct plumb_optimal_value *a)
{
    const float *reward = a->reward.data;
    float *value = a->value.data;
    for (int64_t i = 0; i < a->G; i++) {
        const int64_t first = a->offset[i], end = a->offset[i + 1];
        double top = -(double)INFINITY, sum = 0;
        for (int64_t k = first; k < end; k++)
            top = fmax(top, (double)reward[at(a->index, k)]);
        for (int64_t k = first; k < end; k++)
            sum += exp(((double)reward[at(a->index, k)] - top) / a->beta);
        value[i] = end > first ? plumb_saturate(top + a->beta * log(sum / (double)(end - first)))
                               : 0;
    }
    return PLUMB_OK;
}
