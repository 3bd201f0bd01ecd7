/* Device code of the value loss: a warp owns a row. */
#include <plumb/value.h>

#include "kernels/gpu_strip.h"
#include "kernels/value_loss/value_loss_shell.h"

enum { WARPS = 8 };

struct value_job {
    int64_t B;
    bool means;
    float clip;
    double divisor;
    const int32_t *offset, *target;
    const float *value, *old, *returns, *weight;
    float *losses, *clipped, *dvalue;
};

PLUMB_DEVICE double row_tokens(const struct value_job *j, const struct plumb_run *run, int skew)
{
    if (!j->target || run->tokens < 0) return (double)run->tokens;
    double n = 0;
    for (int64_t at = -skew; at < run->tokens; at += 128) {
        const int64_t i = plumb_strip_lane(at);
        const plumb_vec<int32_t> target = plumb_strip_load(j->target, i, run, (int32_t)-1);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
            n += plumb_strip_in(i + k, run) && target.v[k] >= 0;
    }
    return plumb_warp_sum(n);
}

__global__ void __launch_bounds__(32 * WARPS) value_rows(const __grid_constant__ struct value_job j)
{
    const int64_t b = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (b >= j.B) return;
    const struct plumb_run run = plumb_run_of(j.offset[b], j.offset[b + 1], j.offset[0],
                                              j.offset[j.B]);
    const int skew = plumb_strip_skew(j.value, &run);
    const double tokens = row_tokens(&j, &run, skew);
    const double scale = plumb_value_scale(j.divisor, j.means, tokens);
    double sum[4] = { 0, 0, 0, 0 }, clipped = 0;
    for (int64_t at = -skew; at < run.tokens; at += 128) {
        const int64_t i = plumb_strip_lane(at);
        const plumb_vec<int32_t> target = plumb_strip_load(j.target, i, &run, (int32_t)0);
        const plumb_vec<float> v = plumb_strip_load(j.value, i, &run, 0.0f);
        const plumb_vec<float> old = plumb_strip_load(j.old, i, &run, 0.0f);
        const plumb_vec<float> g = plumb_strip_load(j.returns, i, &run, 0.0f);
        const plumb_vec<float> w = plumb_strip_load(j.weight, i, &run, 1.0f);
        plumb_vec<float> slope = { { 0, 0, 0, 0 } };
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            if (!plumb_strip_in(i + k, &run) || target.v[k] < 0) continue;
            const struct plumb_value_term e = plumb_value_term_of(v.v[k], old.v[k], g.v[k], j.clip,
                                                                  w.v[k]);
            sum[k] += e.loss, clipped += e.clipped;
            slope.v[k] = plumb_saturate(scale * e.dv);
        }
        plumb_strip_store(j.dvalue, i, &run, slope);
    }
    const double total = plumb_run_total(sum, skew), count = plumb_warp_sum(clipped);
    if (threadIdx.x % 32 != 0) return;
    j.losses[b] = run.tokens < 0 ? NAN : plumb_value_part(total, j.means, tokens);
    if (j.clipped) j.clipped[b] = run.tokens < 0 ? NAN : (float)count;
}

static int value_loss(const struct plumb_device *dev, const struct plumb_value_loss *a)
{
    if (a->B == 0) return PLUMB_OK;
    const struct value_job j = { a->B,
                                 a->aggregation == PLUMB_AGGREGATE_ROW_MEANS,
                                 (float)a->cliprange,
                                 a->divisor,
                                 a->offset,
                                 a->target,
                                 (const float *)a->value.data,
                                 a->cliprange > 0 ? (const float *)a->old_value.data : NULL,
                                 (const float *)a->returns.data,
                                 (const float *)a->weight.data,
                                 (float *)a->losses.data,
                                 (float *)a->clipped.data,
                                 (float *)a->dvalue.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, WARPS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(value_rows, blocks, 32 * WARPS, 0, plumb_gpu_stream(dev), j), "value_loss");
}
PLUMB_GPU_OP(value_loss, plumb_value_loss);
