/* Oracles of advantages by group: plain loops in f64, sums rounded to `round`; for a yardstick the
 * formula runs in plain f32. */
#define PLUMB_REAL_F64
#include "kernels/advantage/advantage_eval.h"

#include "kernels/advantage/advantage_plain.h"
#include "kernels/advantage/members.h"

static int64_t at(const int32_t *index, int64_t place) { return index ? index[place] : place; }

static struct plumb_group group_of(const struct plumb_advantage *a, int64_t first, int64_t end,
                                   enum plumb_dtype round)
{
    const double *reward = a->reward.data, *weight = a->weight.data;
    struct plumb_group g = { .n = (double)(end - first), .top = -INFINITY, .second = -INFINITY };
    for (int64_t k = first; k < end; k++) {
        const double r = reward[at(a->index, k)], w = weight ? weight[at(a->index, k)] : 1;
        g.mean = plumb_dtype_round(round, g.mean + r);
        g.weights = plumb_dtype_round(round, g.weights + w);
        g.weighted = plumb_dtype_round(round, g.weighted + plumb_dtype_round(round, w * r));
        plumb_group_top(&g, r);
    }
    if (end > first) g.mean = plumb_dtype_round(round, g.mean / g.n);
    for (int64_t k = first; k < end; k++) {
        const double far = plumb_dtype_round(round, reward[at(a->index, k)] - g.mean);
        g.squares = plumb_dtype_round(round, g.squares + far * far);
    }
    return g;
}

void plumb_advantage_ref(const struct plumb_advantage *a, enum plumb_dtype round)
{
    const double *reward = a->reward.data;
    double *advantage = a->advantage.data, *mean = a->mean.data, *deviation = a->deviation.data;
    const struct plumb_group_batch b = plumb_group_batch(a, a->moments);
    for (int64_t i = 0; i < a->G; i++) {
        const struct plumb_group g = group_of(a, a->offset[i], a->offset[i + 1], round);
        if (mean) mean[i] = g.mean;
        if (deviation) deviation[i] = plumb_dtype_round(round, plumb_spread(g.squares, g.n));
        for (int64_t k = a->offset[i]; k < a->offset[i + 1]; k++) {
            const struct plumb_member p = plumb_member_of(&g, &b, reward[at(a->index, k)]);
            struct plumb_member_grad none;
            advantage[at(a->index, k)] = round == PLUMB_F64
                                             ? plumb_member_eval((int)a->formula, &p, &none)
                                             : plumb_member_plain((int)a->formula,
                                                                  (const double *)&p,
                                                                  (double *)&none);
        }
    }
}

void plumb_verdicts_ref(const struct plumb_verdicts *a, enum plumb_dtype round)
{
    double *advantage = a->advantage.data;
    const double K = (double)a->K;
    for (int64_t i = 0; i < a->G; i++) {
        const double *score = (const double *)a->score.data + i * a->K * a->K;
        double squares = 0;
        for (int64_t k = 0; k < a->K * a->K; k++)
            squares = plumb_dtype_round(round, squares + score[k] * score[k]);
        for (int64_t k = 0; k < a->K; k++) {
            double sum = 0;
            for (int64_t j = 0; j < a->K; j++)
                if (!a->win_rate || j != k)
                    sum = plumb_dtype_round(round, sum + score[k * a->K + j]);
            advantage[i * a->K + k] = plumb_dtype_round(round, plumb_verdict(a, sum, squares, K) +
                                                                   0 * sum);
        }
    }
}

void plumb_optimal_value_ref(const struct plumb_optimal_value *a, enum plumb_dtype round)
{
    const double *reward = a->reward.data;
    double *value = a->value.data;
    for (int64_t i = 0; i < a->G; i++) {
        double top = -INFINITY, sum = 0;
        for (int64_t k = a->offset[i]; k < a->offset[i + 1]; k++)
            top = fmax(top, reward[at(a->index, k)]);
        for (int64_t k = a->offset[i]; k < a->offset[i + 1]; k++) {
            const double below = plumb_dtype_round(round, reward[at(a->index, k)] - top);
            const double e = plumb_dtype_round(round, exp(below / a->beta));
            sum = plumb_dtype_round(round, sum + e);
        }
        const double n = a->offset[i + 1] - a->offset[i];
        value[i] = n > 0 ? plumb_dtype_round(round, top + a->beta * log(sum / n)) : 0;
    }
}

double plumb_adaptive_kl(double coefficient, double kl, double target, double horizon, double steps)
{
    const double error = fmin(fmax(kl / target - 1, -0.2), 0.2);
    return coefficient * (1 + error * steps / horizon);
}
