/* Device code of the unpaired losses. A block owns eight completions:
 * a warp sums each, eight threads evaluate the formula, all write the tokens' gradients. */
#include "kernels/unpaired/unpaired_shell.h"

#include "kernels/gpu_sequence.h"

struct unpaired_job {
    struct plumb_run_sums in;
    struct plumb_completion_options options;
    float *losses, *dlogp, *dvalue;
};

__global__ void __launch_bounds__(PLUMB_RUNS_BLOCK)
    unpaired_loss(const __grid_constant__ struct unpaired_job j)
{
    __shared__ struct plumb_runs s;
    __shared__ struct plumb_completion completion[PLUMB_RUNS];
    plumb_runs_sum(&s, &j.in);
    const int t = (int)threadIdx.x;
    const int64_t i = plumb_runs_first() + t;
    if (t < PLUMB_RUNS && i < j.in.R) {
        const struct plumb_completion_result r = plumb_completion_shell(&j.options, i, &s.q[t],
                                                                        &completion[t]);
        j.losses[i] = r.loss;
        if (j.dvalue) j.dvalue[i] = r.dvalue;
        s.up[t] = r.up;
    }
    plumb_runs_fill(&s, j.dlogp);
}

static int unpaired(const struct plumb_device *dev, const struct plumb_unpaired *a)
{
    if (a->B == 0) return PLUMB_OK;
    const struct unpaired_job j = {
        .in = { a->B, a->offset, (const float *)a->logp.data, (const float *)a->ref_logp.data,
                (const float *)a->ref_sum.data, (float *)a->logps.data, (float *)a->rewards.data,
                a->beta },
        .options = plumb_completion_options(a),
        .losses = (float *)a->losses.data,
        .dlogp = (float *)a->dlogp.data,
        .dvalue = (float *)a->dvalue.data,
    };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, PLUMB_RUNS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(unpaired_loss, blocks, PLUMB_RUNS_BLOCK, 0, plumb_gpu_stream(dev), j),
        "unpaired");
}
PLUMB_GPU_OP(unpaired, plumb_unpaired);
