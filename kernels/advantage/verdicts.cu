/* Device code of advantages from verdicts: a block owns a group, its warps take the matrix's rows
 * in turn. */
#include "kernels/advantage/members.h"

#include "kernels/gpu_sequence.h"

enum { WARPS = 8, BLOCK = 32 * WARPS, MOST = 1024 };

struct verdicts_job {
    struct plumb_verdicts a;
};

__global__ void __launch_bounds__(BLOCK)
    verdicts_matrix(const __grid_constant__ struct verdicts_job j)
{
    __shared__ double sums[MOST], squares[MOST];
    const int K = (int)j.a.K, warp = (int)(threadIdx.x / 32), lane = (int)(threadIdx.x % 32);
    const int64_t group = blockIdx.x;
    const float *score = (const float *)j.a.score.data + group * K * K;
    for (int row = warp; row < K; row += WARPS) {
        double sum = 0, square = 0;
        for (int c = lane; c < K; c += 32) {
            const double d = (double)__ldcs(score + (int64_t)row * K + c);
            sum += j.a.win_rate && c == row ? 0.0 : d;
            square += d * d;
        }
        sum = plumb_warp_sum(sum), square = plumb_warp_sum(square);
        if (lane == 0) sums[row] = sum, squares[row] = square;
    }
    __syncthreads();
    double total = 0;
    for (int row = lane; row < K; row += 32)
        total += squares[row];
    total = plumb_warp_sum(total);
    float *advantage = (float *)j.a.advantage.data + group * K;
    for (int row = (int)threadIdx.x; row < K; row += BLOCK)
        advantage[row] = plumb_saturate(plumb_verdict(&j.a, sums[row], total, (double)K) +
                                        0 * sums[row]);
}

static int verdicts(const struct plumb_device *dev, const struct plumb_verdicts *a)
{
    if (a->G == 0) return PLUMB_OK;
    const struct verdicts_job j = { *a };
    return plumb_gpu_status(
        PLUMB_LAUNCH(verdicts_matrix, (unsigned)a->G, BLOCK, 0, plumb_gpu_stream(dev), j),
        "verdicts");
}
PLUMB_GPU_OP(verdicts, plumb_verdicts);
