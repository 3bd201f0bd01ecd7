/* Device code of KTO's reference point: one block, whose warps take sequences in turn. The rows are
 * one micro-batch, most often already sums, so that a second block would find nothing to do. */
#include <plumb/unpaired.h>

#include "kernels/gpu_sequence.h"

enum { WARPS = 32 };

struct kto_kl_job {
    int64_t B;
    const int32_t *offset;
    const float *logp, *ref_logp, *ref_sum;
    float *kl;
};

PLUMB_DEVICE double ratio_of(const struct kto_kl_job *j, int64_t r, int32_t least, int32_t most)
{
    const struct plumb_run run = plumb_run_of(j->offset[r], j->offset[r + 1], least, most);
    const double logp = plumb_run_sum(j->logp, &run);
    const double base = j->ref_logp  ? plumb_run_sum(j->ref_logp, &run)
                        : j->ref_sum ? (double)j->ref_sum[r]
                                     : 0.0;
    return plumb_sequence_ratio(logp, base, j->ref_sum != NULL);
}

__global__ void __launch_bounds__(32 * WARPS)
    kto_kl_mean(const __grid_constant__ struct kto_kl_job j)
{
    __shared__ double part[WARPS];
    const int warp = (int)(threadIdx.x / 32), lane = (int)(threadIdx.x % 32);
    const int32_t least = j.B > 0 ? j.offset[0] : 0, most = j.B > 0 ? j.offset[j.B] : 0;
    double sum = 0;
    for (int64_t r = warp; r < j.B; r += WARPS)
        sum += ratio_of(&j, r, least, most);
    if (lane == 0) part[warp] = sum;
    __syncthreads();
    if (warp > 0) return;
    const double mean = j.B > 0 ? plumb_warp_sum(part[lane]) / (double)j.B : 0.0;
    if (lane == 0) *j.kl = mean < 0 ? 0.0f : plumb_saturate(mean); /* NaN stays NaN */
}

static int kto_kl(const struct plumb_device *dev, const struct plumb_kto_kl *a)
{
    const struct kto_kl_job j = { a->B,
                                  a->offset,
                                  (const float *)a->logp.data,
                                  (const float *)a->ref_logp.data,
                                  (const float *)a->ref_sum.data,
                                  (float *)a->kl.data };
    return plumb_gpu_status(PLUMB_LAUNCH(kto_kl_mean, 1, 32 * WARPS, 0, plumb_gpu_stream(dev), j),
                            "kto_kl");
}
PLUMB_GPU_OP(kto_kl, plumb_kto_kl);
