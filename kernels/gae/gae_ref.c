/* Oracle of advantage estimation: the recursion in f64, each step rounded to `round`. */
#include <plumb/gae.h>

static void one_sequence(const struct plumb_gae *a, int64_t r, enum plumb_dtype round)
{
    const double *reward = a->reward.data, *value = a->value.data, *baseline = a->baseline.data;
    double *advantage = a->advantage.data, *returns = a->returns.data;
    const double decay = plumb_dtype_round(round, a->gamma * a->lambda);
    double next = 0, later = 0;
    for (int64_t t = (int64_t)a->offset[r + 1] - 1; t >= a->offset[r]; t--) {
        const bool counts = !a->counted || a->counted[t] != 0;
        if (counts) {
            const double own = value ? value[t] : 0;
            const double ahead = plumb_dtype_round(round, reward[t] + a->gamma * next);
            const double delta = plumb_dtype_round(round, ahead - own);
            later = plumb_dtype_round(round, delta + decay * later);
            next = own;
        }
        const double base = baseline ? baseline[r] : 0;
        advantage[t] = counts ? plumb_dtype_round(round, later - base) : 0;
        if (returns) returns[t] = counts ? plumb_dtype_round(round, later + next) : 0;
    }
}

void plumb_gae_ref(const struct plumb_gae *a, enum plumb_dtype round)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < a->R; r++)
        one_sequence(a, r, round);
}
