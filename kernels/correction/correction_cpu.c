/* Native correction weights: statistics in f32, sums of a row in f64 in the order of its tokens,
 * rows in parallel. Compiled once per instruction set. */
#include "kernels/correction/correction_shell.h"
#include "kernels/op.h"

struct token {
    float logp, sampler;
    bool counts, known;
};

static struct token token_of(const struct plumb_correction *a, int64_t t)
{
    const float logp = ((const float *)a->logp.data)[t];
    const float sampler = ((const float *)a->sampler_logp.data)[t];
    return (struct token){ logp, plumb_correction_sampler(logp, sampler),
                           !a->target || a->target[t] >= 0, sampler == sampler };
}

static struct plumb_correction_unit row_unit(const struct plumb_correction *a,
                                             const struct plumb_correction_options *o, int64_t b,
                                             bool may_be_out)
{
    double lr = 0, sum = 0, tokens = 0;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++) {
        const struct token x = token_of(a, t);
        if (!x.counts) continue;
        lr += (double)plumb_finite(x.logp - x.sampler);
        sum += (double)plumb_finite(plumb_correction_statistic(o->gate, x.logp, x.sampler));
        tokens++;
    }
    return plumb_correction_unit_of(o, lr, sum, tokens, may_be_out);
}

static void count(const struct token *x, bool out, float weight,
                  struct plumb_correction_totals *all)
{
    const float lr = plumb_finite(x->logp - x->sampler);
    all->known += x->known, all->out += out;
    all->lr += (double)lr, all->abs += (double)plumb_abs(lr), all->sum += (double)weight;
    all->most_abs = plumb_max(all->most_abs, plumb_abs(lr));
    all->least = plumb_min(all->least, weight), all->most = plumb_max(all->most, weight);
}

static void one_row(const struct plumb_correction *a, const struct plumb_correction_options *o,
                    int64_t b)
{
    const bool own = o->level == PLUMB_CORRECT_TOKENS;
    const bool may_be_out = !a->advantage.data || ((const float *)a->advantage.data)[b] < 0;
    struct plumb_correction_unit u = { 1, 1, false };
    if (!own) u = row_unit(a, o, b, may_be_out);
    struct plumb_correction_totals all = { .least = INFINITY, .most = -INFINITY };
    const float *weight = a->weight.data;
    float *out = a->out.data, tokens = 0;
    for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++) {
        const struct token x = token_of(a, t);
        const float given = weight ? weight[t] : 1;
        if (!x.counts) {
            out[t] = given;
            continue;
        }
        if (own)
            u = plumb_correction_unit_of(
                o, (double)plumb_finite(x.logp - x.sampler),
                (double)plumb_finite(plumb_correction_statistic(o->gate, x.logp, x.sampler)), 1,
                may_be_out);
        const float w = plumb_correction_weight(o, &u, x.logp, x.sampler);
        count(&x, u.out, w, &all);
        out[t] = plumb_finite(given * w);
        tokens++;
    }
    if (a->stats.data)
        plumb_correction_stats(o, &u, own, (double)tokens, &all,
                               (float *)a->stats.data + b * PLUMB_CORRECTION_STATS);
}

int PLUMB_CPU_FN(plumb_correction_cpu)(const struct plumb_correction *a)
{
    const struct plumb_correction_options o = plumb_correction_options(a);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < a->B; b++)
        one_row(a, &o, b);
    return PLUMB_OK;
}
