/* Device code of the losses by token. A block owns eight completions, a warp runs one: lane l takes
 * its tokens by fours, and the sum has the order of plumb_run_sum. */
#include "kernels/tokenwise/tokenwise_shell.h"

#include "kernels/gpu_sequence.h"

struct tokenwise_job {
    struct plumb_run_sums in; /* R, offset, logp and ref_logp */
    struct plumb_graded_options options;
    double divisor;
    const int32_t *label;
    const float *target, *weight;
    float *losses, *dlogp;
};

/* A lane's four of elements base .. base+127 of a run; what else lies in the run's first and last
 * sector is read along with it. */
PLUMB_DEVICE plumb_vec<float> run_load(const float *p, int64_t base, const struct plumb_run *run,
                                       bool wide)
{
    const int lane = (int)(threadIdx.x % 32);
    const plumb_vec<float> none = { { 0, 0, 0, 0 } };
    return base + lane / 2 * 8 < run->tokens ? plumb_run_four(p, base + 4 * lane, run, wide) : none;
}

/* Slot `slot` of lane `from`. */
PLUMB_DEVICE float slot_of(const plumb_vec<float> &x, int from, int slot)
{
    float v[4];
    PLUMB_UNROLL for (int k = 0; k < 4; k++) v[k] = __shfl_sync(0xffffffffu, x.v[k], from);
    return slot < 2 ? slot < 1 ? v[0] : v[1] : slot < 3 ? v[2] : v[3];
}

/* The run's elements of the sector that begins at element `from` of the 128 from base on: one a
 * lane, all in one access. */
PLUMB_DEVICE void store_sector(float *p, int64_t base, int from, int64_t tokens,
                               const plumb_vec<float> &x)
{
    const int lane = (int)(threadIdx.x % 32);
    const int64_t i = base + from + lane;
    const float v = slot_of(x, from / 4 + lane / 4 % 2, lane % 4);
    if (lane < 8 && i >= 0 && i < tokens) p[i] = v;
}

/* Elements base .. base+127 of a run, four a lane, base at a sector: whole sectors as vectors. */
PLUMB_DEVICE void run_store(float *p, int64_t base, int64_t tokens, const plumb_vec<float> &x)
{
    const int sector = (int)(threadIdx.x % 32) / 2 * 8;
    const int64_t left = tokens - base;
    if (base + sector >= 0 && sector + 8 <= left)
        plumb_st16(p + base + 4 * (int)(threadIdx.x % 32), x);
    if (base < 0) store_sector(p, base, 0, tokens, x);
    if (left < 128 && left % 8 > 0 && (base >= 0 || left > 8))
        store_sector(p, base, (int)left / 8 * 8, tokens, x);
}

/* Loss of a run, in every lane. */
PLUMB_DEVICE double run_loss(const struct tokenwise_job *j, const struct plumb_run *run,
                             const struct plumb_graded_row *row)
{
    if (run->tokens <= 0) return run->tokens < 0 ? (double)NAN : 0.0;
    const float *logp = j->in.logp + run->first;
    float *dlogp = j->dlogp ? j->dlogp + run->first : NULL;
    const float *other = j->in.ref_logp ? j->in.ref_logp + run->first : NULL;
    const int skew = plumb_skew(logp);
    const bool whole = dlogp && plumb_skew(dlogp) == skew;
    double sum[4] = { 0, 0, 0, 0 };
#pragma unroll 1
    for (int64_t base = -skew; base < run->tokens; base += 128) {
        const int64_t i = base + 4 * (int)(threadIdx.x % 32);
        const plumb_vec<float> lp = run_load(logp, base, run, true);
        plumb_vec<float> ref = { { 0, 0, 0, 0 } }, grad;
        if (other) ref = run_load(other, base, run, (plumb_skew(other) - skew) % 4 == 0);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            const bool mine = i + k >= 0 && i + k < run->tokens;
            const struct plumb_graded_result r = plumb_graded_shell(&j->options, row, lp.v[k],
                                                                    ref.v[k]);
            grad.v[k] = r.grad;
            sum[k] += mine ? r.loss : 0.0;
            if (dlogp && !whole && mine) dlogp[i + k] = r.grad;
        }
        if (whole) run_store(dlogp, base, run->tokens, grad);
    }
    return plumb_run_total(sum, skew);
}

/* A label that is none makes its row NaN. */
__global__ void __launch_bounds__(PLUMB_RUNS_BLOCK)
    tokenwise_loss(const __grid_constant__ struct tokenwise_job j)
{
    __shared__ struct plumb_runs s;
    __shared__ struct plumb_graded_row row[PLUMB_RUNS];
    const int t = (int)threadIdx.x, warp = t / 32;
    const int64_t i = plumb_runs_first() + t;
    if (t < PLUMB_RUNS) {
        const bool there = i < j.in.R;
        const int32_t label = there && j.label ? j.label[i] : 0;
        const double weight = there && j.weight ? (double)j.weight[i] : 1.0;
        row[t].desirable = label == 1;
        row[t].target = there && j.target ? j.target[i] : 0.0f;
        row[t].weight = label == 0 || label == 1 ? weight : (double)NAN;
        row[t].scale = row[t].weight / j.divisor;
    }
    plumb_runs_bounds(&s, &j.in);
    const struct plumb_run run = plumb_run_of(s.bound[warp], s.bound[warp + 1],
                                              s.bound[PLUMB_RUNS_LEAST], s.bound[PLUMB_RUNS_MOST]);
    const struct plumb_graded_row mine = row[warp];
    const double loss = run_loss(&j, &run, &mine);
    if (t % 32 == 0) s.up[warp] = plumb_saturate(loss);
    __syncthreads();
    if (t < PLUMB_RUNS && i < j.in.R) j.losses[i] = s.up[t];
}

static int tokenwise(const struct plumb_device *dev, const struct plumb_tokenwise *a)
{
    if (a->B == 0) return PLUMB_OK;
    const struct tokenwise_job j = {
        .in = { .R = a->B,
                .offset = a->offset,
                .logp = (const float *)a->logp.data,
                .ref_logp = (const float *)a->ref_logp.data },
        .options = plumb_graded_options(a),
        .divisor = a->divisor,
        .label = a->label,
        .target = (const float *)a->target.data,
        .weight = (const float *)a->weight.data,
        .losses = (float *)a->losses.data,
        .dlogp = (float *)a->dlogp.data,
    };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, PLUMB_RUNS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(tokenwise_loss, blocks, PLUMB_RUNS_BLOCK, 0, plumb_gpu_stream(dev), j),
        "tokenwise");
}
PLUMB_GPU_OP(tokenwise, plumb_tokenwise);
