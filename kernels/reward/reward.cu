/* Device code of the reward-model losses: a thread takes two pairs, whose four scores are one
 * access. */
#include "kernels/gpu_sequence.h"
#include "kernels/reward/reward_shell.h"

enum { BLOCK = 256 };

struct reward_job {
    int64_t B;
    struct plumb_scores_options options;
    const float *score, *margin, *weight, *target, *sign, *anchor;
    float *losses, *dscore, *danchor;
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

PLUMB_DEVICE struct two two_or(const float *p, int64_t i, int64_t n, float absent)
{
    return p ? load_two(p, i, n) : two{ { absent, absent } };
}

PLUMB_DEVICE plumb_vec<float> four_or_zero(const float *p, int64_t i, int64_t n)
{
    if (p) return plumb_four_load(p, i, n);
    return plumb_vec<float>{ { 0, 0, 0, 0 } };
}

__global__ void __launch_bounds__(BLOCK) reward_loss(const __grid_constant__ struct reward_job j)
{
    const int64_t i = 2 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x);
    if (i >= j.B) return;
    const plumb_vec<float> score = plumb_four_load(j.score, 2 * i, 2 * j.B);
    const plumb_vec<float> sign = four_or_zero(j.sign, 2 * i, 2 * j.B);
    const plumb_vec<float> anchor = four_or_zero(j.anchor, 2 * i, 2 * j.B);
    const struct two margin = two_or(j.margin, i, j.B, 0), weight = two_or(j.weight, i, j.B, 1);
    const struct two target = two_or(j.target, i, j.B, 0);
    struct two loss;
    plumb_vec<float> grad, other;
    PLUMB_UNROLL for (int k = 0; k < 2; k++)
    {
        struct plumb_scores p = { .chosen = score.v[2 * k],
                                  .rejected = score.v[2 * k + 1],
                                  .margin = margin.v[k],
                                  .target = target.v[k],
                                  .sign_chosen = sign.v[2 * k],
                                  .sign_rejected = sign.v[2 * k + 1],
                                  .anchor_chosen = anchor.v[2 * k],
                                  .anchor_rejected = anchor.v[2 * k + 1] };
        const struct plumb_scores_result r = plumb_scores_shell(&j.options, &p, weight.v[k]);
        loss.v[k] = r.loss;
        grad.v[2 * k] = r.dchosen, grad.v[2 * k + 1] = r.drejected;
        other.v[2 * k] = r.danchor_chosen, other.v[2 * k + 1] = r.danchor_rejected;
    }
    store_two(j.losses, i, j.B, &loss);
    if (j.dscore) plumb_four_store(j.dscore, 2 * i, 2 * j.B, grad);
    if (j.danchor) plumb_four_store(j.danchor, 2 * i, 2 * j.B, other);
}

static int reward(const struct plumb_device *dev, const struct plumb_reward *a)
{
    if (a->B == 0) return PLUMB_OK;
    const struct reward_job j = { .B = a->B,
                                  .options = plumb_scores_options(a),
                                  .score = (const float *)a->score.data,
                                  .margin = (const float *)a->margin.data,
                                  .weight = (const float *)a->weight.data,
                                  .target = (const float *)a->target.data,
                                  .sign = (const float *)a->sign.data,
                                  .anchor = (const float *)a->anchor.data,
                                  .losses = (float *)a->losses.data,
                                  .dscore = (float *)a->dscore.data,
                                  .danchor = (float *)a->danchor.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, 2 * BLOCK);
    return plumb_gpu_status(PLUMB_LAUNCH(reward_loss, blocks, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "reward");
}
PLUMB_GPU_OP(reward, plumb_reward);
