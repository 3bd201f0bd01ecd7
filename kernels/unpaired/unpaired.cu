/* Device code of the unpaired losses. A block owns eight completions:
 * a warp sums each, eight threads evaluate the formula, all write the tokens' gradients. */
#include "kernels/unpaired/unpaired_shell.h"

#include "kernels/gpu_sequence.h"

struct unpaired_job {
    struct plumb_run_sums in;
    struct plumb_completion_options options;
    const int32_t *label;
    const float *kl;
    float *losses, *dlogp;
};

/* A label that is none makes its row NaN. */
__global__ void __launch_bounds__(PLUMB_RUNS_BLOCK)
    unpaired_loss(const __grid_constant__ struct unpaired_job j)
{
    __shared__ struct plumb_runs s;
    plumb_runs_sum(&s, &j.in);
    const int t = (int)threadIdx.x;
    const int64_t i = plumb_runs_first() + t;
    if (t < PLUMB_RUNS && i < j.in.R) {
        const int32_t label = j.label[i];
        if (label != 0 && label != 1) s.q[t].ratio = NAN;
        const float kl = j.kl ? *j.kl : 0.0f;
        const struct plumb_completion_result r = plumb_completion_shell(&j.options, &s.q[t],
                                                                        label == 1, kl);
        j.losses[i] = r.loss;
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
        .label = a->label,
        .kl = (const float *)a->kl.data,
        .losses = (float *)a->losses.data,
        .dlogp = (float *)a->dlogp.data,
    };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, PLUMB_RUNS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(unpaired_loss, blocks, PLUMB_RUNS_BLOCK, 0, plumb_gpu_stream(dev), j),
        "unpaired");
}
PLUMB_GPU_OP(unpaired, plumb_unpaired);
