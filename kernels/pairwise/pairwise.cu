/* Device code of the pairwise losses. A block owns four pairs: its warps sum the eight sequences,
 * four threads evaluate the formulas, all write the tokens' gradients. */
#include "kernels/pairwise/pairwise_shell.h"

#include "kernels/gpu_sequence.h"

enum { PAIRS = PLUMB_RUNS / 2 };

struct pairwise_job {
    struct plumb_run_sums in;
    struct plumb_pair_options options;
    float *losses, *dlogp;
};

__global__ void __launch_bounds__(PLUMB_RUNS_BLOCK)
    pairwise_loss(const __grid_constant__ struct pairwise_job j)
{
    __shared__ struct plumb_runs s;
    __shared__ struct plumb_pair pair[PAIRS];
    plumb_runs_sum(&s, &j.in);
    const int t = (int)threadIdx.x;
    const int64_t i = plumb_runs_first() / 2 + t;
    if (t < PAIRS && 2 * i < j.in.R) {
        const struct plumb_pair_result r = plumb_pair_shell(&j.options, i, &s.q[2 * t],
                                                            &s.q[2 * t + 1], &pair[t]);
        j.losses[i] = r.loss;
        s.up[2 * t] = r.upw, s.up[2 * t + 1] = r.upl;
    }
    plumb_runs_fill(&s, j.dlogp);
}

static int pairwise(const struct plumb_device *dev, const struct plumb_pairwise *a)
{
    if (a->B == 0) return PLUMB_OK;
    const struct pairwise_job j = {
        .in = { 2 * a->B, a->offset, (const float *)a->logp.data, (const float *)a->ref_logp.data,
                (const float *)a->ref_sum.data, (float *)a->logps.data, (float *)a->rewards.data,
                a->beta },
        .options = plumb_pair_options(a),
        .losses = (float *)a->losses.data,
        .dlogp = (float *)a->dlogp.data,
    };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, PAIRS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(pairwise_loss, blocks, PLUMB_RUNS_BLOCK, 0, plumb_gpu_stream(dev), j),
        "pairwise");
}
PLUMB_GPU_OP(pairwise, plumb_pairwise);
