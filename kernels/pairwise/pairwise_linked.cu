/* Device code of the pairwise losses under an f-divergence: formulas in f64. */
#define PLUMB_PAIR_LINKED
#include "kernels/pairwise/pairwise_gpu.h"

__global__ void __launch_bounds__(PLUMB_RUNS_BLOCK, 2)
    pairwise_linked_loss(const __grid_constant__ struct pairwise_job j)
{
    __shared__ struct plumb_runs s;
    __shared__ struct plumb_pair_room room[PLUMB_PAIR_BLOCK];
    plumb_pair_block(&j, &s, room);
}

static int pairwise_linked(const struct plumb_device *dev, const struct plumb_pairwise *a)
{
    if (a->B == 0) return PLUMB_OK;
    return plumb_gpu_status(PLUMB_LAUNCH(pairwise_linked_loss, plumb_pair_blocks(a),
                                         PLUMB_RUNS_BLOCK, 0, plumb_gpu_stream(dev),
                                         plumb_pair_job(a)),
                            "pairwise");
}
PLUMB_GPU_OP(pairwise_linked, plumb_pairwise);
