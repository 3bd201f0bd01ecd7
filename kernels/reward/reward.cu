/* Device code of the reward-model losses: a thread takes two pairs, whose four scores are one
 * access. */
#include <plumb/reward.h>

#include "kernels/gpu_sequence.h"
#include "kernels/reward/reward_shell.h"

enum { BLOCK = 256 };

struct reward_job {
    int loss;
    int64_t B;
    float center;
    double divisor;
    const float *score, *margin;
    float *losses, *dscore;
};

struct two {
    float v[2];
};

/* Elements i and i+1 of n: one access of 8 bytes where p + i is aligned; 0 beyond the end. */
PLUMB_DEVICE struct two load_two(const float *p, int64_t i, int64_t n)
{
    if (i + 2 <= n && reinterpret_cast<uintptr_t>(p + i) % 8 == 0) {
        const unsigned long long u = __ldcs(reinterpret_cast<const unsigned long long *>(p + i));
        return two{ { __uint_as_float((unsigned)u), __uint_as_float((unsigned)(u >> 32)) } };
    }
    return two{ { p[i], i + 1 < n ? p[i + 1] : 0.0f } };
}

PLUMB_DEVICE void store_two(float *p, int64_t i, int64_t n, const struct two *x)
{
    if (i + 2 <= n && reinterpret_cast<uintptr_t>(p + i) % 8 == 0) {
        const unsigned long long high = __float_as_uint(x->v[1]);
        *reinterpret_cast<unsigned long long *>(p + i) = high << 32 | __float_as_uint(x->v[0]);
        return;
    }
    p[i] = x->v[0];
    if (i + 1 < n) p[i + 1] = x->v[1];
}

__global__ void __launch_bounds__(BLOCK) reward_loss(const __grid_constant__ struct reward_job j)
{
    const int64_t i = 2 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x);
    if (i >= j.B) return;
    const plumb_vec<float> score = plumb_four_load(j.score, 2 * i, 2 * j.B);
    struct two margin = { { 0, 0 } }, loss;
    if (j.margin) margin = load_two(j.margin, i, j.B);
    plumb_vec<float> grad;
    PLUMB_UNROLL for (int k = 0; k < 2; k++)
    {
        const struct plumb_scores p = { score.v[2 * k], score.v[2 * k + 1], margin.v[k], j.center };
        const struct plumb_scores_result r = plumb_scores_shell(j.loss, &p, j.divisor);
        loss.v[k] = r.loss;
        grad.v[2 * k] = r.dchosen, grad.v[2 * k + 1] = r.drejected;
    }
    store_two(j.losses, i, j.B, &loss);
    if (j.dscore) plumb_four_store(j.dscore, 2 * i, 2 * j.B, grad);
}

static int reward(const struct plumb_device *dev, const struct plumb_reward *a)
{
    if (a->B == 0) return PLUMB_OK;
    const struct reward_job j = { (int)a->loss,
                                  a->B,
                                  (float)a->center_coefficient,
                                  a->divisor,
                                  (const float *)a->score.data,
                                  (const float *)a->margin.data,
                                  (float *)a->losses.data,
                                  (float *)a->dscore.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, 2 * BLOCK);
    return plumb_gpu_status(PLUMB_LAUNCH(reward_loss, blocks, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "reward");
}
PLUMB_GPU_OP(reward, plumb_reward);
