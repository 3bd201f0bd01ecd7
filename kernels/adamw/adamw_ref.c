/* Oracle of the optimizer's step: arXiv:1711.05101 algorithm 2, line by line in f64. Weights are
 * f64 here, so nothing is rounded at random. */
#include <plumb/optim.h>

#include <math.h>

void plumb_adamw_ref(const struct plumb_adamw *a, enum plumb_dtype round)
{
#define R(x) plumb_dtype_round(round, x)
    const double *grad = a->grad.data;
    double *m = a->m.data, *v = a->v.data, *w = a->w.data, *copy = a->copy.data;
    const double b1 = R(a->beta1), b2 = R(a->beta2);
    const double step = R(a->lr / (1 - pow(a->beta1, (double)a->step)));
    const double root = R(sqrt(1 - pow(a->beta2, (double)a->step)));
    if (a->norm && !isfinite(*a->norm)) return;
    const double clip = a->norm ? plumb_clip_factor(*a->norm, a->max_grad_norm) : 1;
    const double scale = R(a->grad_scale * clip);
    for (int64_t i = 0; i < a->count; i++) {
        const double g = R(scale * grad[i]);
        m[i] = R(R(b1 * m[i]) + R(R(1 - a->beta1) * g));
        v[i] = R(R(b2 * v[i]) + R(R(1 - a->beta2) * R(g * g)));
        const double denominator = R(R(R(sqrt(v[i])) / root) + R(a->eps));
        if (a->decay && a->decay[i / 32]) w[i] = R(w[i] * R(1 - a->lr * a->weight_decay));
        w[i] = R(w[i] - R(R(step * m[i]) / denominator));
        if (copy) copy[i] = w[i];
    }
#undef R
}
