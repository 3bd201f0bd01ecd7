/* Native advantage estimation: a sequence's recursion in f64, sequences in parallel. Compiled once
 * per instruction set. */
#include <plumb/gae.h>

#include "kernels/op.h"
#include "kernels/scalar.h"

static void one_sequence(const struct plumb_gae *a, int64_t r)
{
    const float *reward = a->reward.data, *value = a->value.data, *baseline = a->baseline.data;
    float *advantage = a->advantage.data, *returns = a->returns.data;
    const double base = baseline ? (double)baseline[r] : 0;
    double next = 0, later = 0; /* V and A of the next counted token */
    for (int64_t t = (int64_t)a->offset[r + 1] - 1; t >= a->offset[r]; t--) {
        const bool counts = !a->counted || a->counted[t] != 0;
        if (counts) {
            const double own = value ? (double)value[t] : 0;
            later = (double)reward[t] + a->gamma * next - own + a->gamma * a->lambda * later;
            next = own;
        }
        advantage[t] = counts ? plumb_saturate(later - base) : 0;
        if (returns) returns[t] = counts ? plumb_saturate(later + next) : 0;
    }
}

int PLUMB_CPU_FN(plumb_gae_cpu)(const struct plumb_gae *a)
{
#pragma omp parallel for schedule(dynamic, 8) if (plumb_worth_threads(a->R, 64))
    for (int64_t r = 0; r < a->R; r++)
        one_sequence(a, r);
    return PLUMB_OK;
}
