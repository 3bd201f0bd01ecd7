/* Device code of the correction weights: a warp owns a row, whose statistic it sums first where
 * rows are the units. */
#include "kernels/correction/correction_shell.h"

#include "kernels/gpu_strip.h"

enum { WARPS = 8 };

struct correction_job {
    struct plumb_correction_options options;
    int64_t B;
    const int32_t *offset, *target;
    const float *logp, *sampler, *advantage, *weight;
    float *out, *stats;
};

struct correction_strip {
    plumb_vec<float> logp, sampler; /* the second with what stands for unknown ones */
    bool counts[4], known[4];
};

PLUMB_DEVICE void strip_of(const struct correction_job *j, int64_t i, const struct plumb_run *run,
                           struct correction_strip *s)
{
    const plumb_vec<int32_t> target = plumb_strip_load(j->target, i, run, (int32_t)0);
    s->logp = plumb_strip_load(j->logp, i, run, 0.0f);
    s->sampler = plumb_strip_load(j->sampler, i, run, 0.0f);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        s->counts[k] = plumb_strip_in(i + k, run) && target.v[k] >= 0;
        s->known[k] = s->sampler.v[k] == s->sampler.v[k];
        s->sampler.v[k] = plumb_correction_sampler(s->logp.v[k], s->sampler.v[k]);
    }
}

PLUMB_DEVICE struct plumb_correction_unit row_unit(const struct correction_job *j,
                                                   const struct plumb_run *run, int skew,
                                                   bool may_be_out)
{
    double lr[4] = { 0, 0, 0, 0 }, sum[4] = { 0, 0, 0, 0 }, tokens = 0;
    for (int64_t at = -skew; at < run->tokens; at += 128) {
        const int64_t i = plumb_strip_lane(at);
        struct correction_strip s;
        strip_of(j, i, run, &s);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            if (!s.counts[k]) continue;
            lr[k] += (double)plumb_finite(s.logp.v[k] - s.sampler.v[k]);
            sum[k] += (double)plumb_finite(
                plumb_correction_statistic(j->options.gate, s.logp.v[k], s.sampler.v[k]));
            tokens++;
        }
    }
    return plumb_correction_unit_of(&j->options, plumb_run_total(lr, skew),
                                    plumb_run_total(sum, skew), plumb_warp_sum(tokens), may_be_out);
}

PLUMB_DEVICE float warp_max(float x)
{
    PLUMB_UNROLL for (int d = 16; d > 0; d /= 2)
        x = plumb_max(x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}

struct correction_sums { /* of a lane */
    double lr[4], abs[4], sum[4], tokens, known, out;
    float most_abs, least, most;
};

PLUMB_DEVICE float one_token(const struct correction_job *j, const struct correction_strip *s,
                             int k, bool may_be_out, struct plumb_correction_unit u,
                             struct correction_sums *all)
{
    const float logp = s->logp.v[k], sampler = s->sampler.v[k], lr = plumb_finite(logp - sampler);
    if (j->options.level == PLUMB_CORRECT_TOKENS)
        u = plumb_correction_unit_of(
            &j->options, (double)lr,
            (double)plumb_finite(plumb_correction_statistic(j->options.gate, logp, sampler)), 1,
            may_be_out);
    const float w = plumb_correction_weight(&j->options, &u, logp, sampler);
    all->lr[k] += (double)lr, all->abs[k] += (double)plumb_abs(lr), all->sum[k] += (double)w;
    all->tokens++, all->known += s->known[k], all->out += u.out;
    all->most_abs = plumb_max(all->most_abs, plumb_abs(lr));
    all->least = plumb_min(all->least, w), all->most = plumb_max(all->most, w);
    return w;
}

PLUMB_DEVICE void row_report(const struct correction_job *j, int64_t b, bool good, int skew,
                             const struct plumb_correction_unit *u, const struct correction_sums *s)
{
    const bool own = j->options.level == PLUMB_CORRECT_TOKENS;
    const double tokens = plumb_warp_sum(s->tokens);
    const struct plumb_correction_totals all = { plumb_run_total(s->lr, skew),
                                                 plumb_run_total(s->abs, skew),
                                                 plumb_run_total(s->sum, skew),
                                                 warp_max(s->most_abs),
                                                 -warp_max(-s->least),
                                                 warp_max(s->most),
                                                 (int32_t)plumb_warp_sum(s->known),
                                                 (int32_t)plumb_warp_sum(s->out) };
    const int lane = (int)(threadIdx.x % 32);
    if (lane > 1 || !j->stats) return;
    float column[PLUMB_CORRECTION_STATS];
    plumb_correction_stats(&j->options, u, own, tokens, &all, column);
    plumb_vec<float> x;
    PLUMB_UNROLL for (int k = 0; k < 4; k++) x.v[k] = !good       ? NAN
                                                      : lane == 0 ? column[k]
                                                                  : column[k + 4];
    plumb_four_store(j->stats + b * PLUMB_CORRECTION_STATS, 4 * lane, PLUMB_CORRECTION_STATS, x);
}

__global__ void __launch_bounds__(32 * WARPS)
    correction_rows(const __grid_constant__ struct correction_job j)
{
    const int64_t b = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (b >= j.B) return;
    const struct plumb_run run = plumb_run_of(j.offset[b], j.offset[b + 1], j.offset[0],
                                              j.offset[j.B]);
    const int skew = plumb_strip_skew(j.logp, &run);
    const bool may_be_out = !j.advantage || j.advantage[b] < 0;
    struct plumb_correction_unit u = { 1, 1, false };
    if (j.options.level != PLUMB_CORRECT_TOKENS) u = row_unit(&j, &run, skew, may_be_out);
    struct correction_sums all = { { 0 }, { 0 }, { 0 }, 0, 0, 0, 0, INFINITY, -INFINITY };
    for (int64_t at = -skew; at < run.tokens; at += 128) {
        const int64_t i = plumb_strip_lane(at);
        struct correction_strip s;
        strip_of(&j, i, &run, &s);
        plumb_vec<float> w = plumb_strip_load(j.weight, i, &run, 1.0f);
        PLUMB_UNROLL for (int k = 0; k < 4; k++) if (s.counts[k])
            w.v[k] = plumb_finite(w.v[k] * one_token(&j, &s, k, may_be_out, u, &all));
        plumb_strip_store(j.out, i, &run, w);
    }
    row_report(&j, b, run.tokens >= 0, skew, &u, &all);
}

static int correction(const struct plumb_device *dev, const struct plumb_correction *a)
{
    if (a->B == 0) return PLUMB_OK;
    const struct correction_job j = { plumb_correction_options(a),
                                      a->B,
                                      a->offset,
                                      a->target,
                                      (const float *)a->logp.data,
                                      (const float *)a->sampler_logp.data,
                                      (const float *)a->advantage.data,
                                      (const float *)a->weight.data,
                                      (float *)a->out.data,
                                      (float *)a->stats.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, WARPS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(correction_rows, blocks, 32 * WARPS, 0, plumb_gpu_stream(dev), j),
        "correction");
}
PLUMB_GPU_OP(correction, plumb_correction);
