/* Checks the arguments of shaped and mixed rewards and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/shaping.h>

#include <math.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_reward_mix_cpu, plumb_reward_mix);
PLUMB_CPU_DECLARE(plumb_reward_shape_cpu, plumb_reward_shape);

int plumb_reward_mix(const struct plumb_device *dev, const struct plumb_reward_mix *a)
{
    const char *op = "reward_mix";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if ((int)a->mix < PLUMB_MIX_SUM || a->mix > PLUMB_MIX_CAUTIOUS)
        return plumb_fail(PLUMB_EINVAL, "reward_mix: mix=%d is none", (int)a->mix);
    PLUMB_TRY(plumb_check_size(op, "N", a->N, 0));
    if (a->K < 1 || a->K > PLUMB_MIX_MOST)
        return plumb_fail(PLUMB_EINVAL, "reward_mix: K=%lld, must be in [1, %d]", (long long)a->K,
                          PLUMB_MIX_MOST);
    if (a->weight) PLUMB_TRY(plumb_check_host_array(op, "weight", a->weight));
    for (int64_t k = 0; a->weight && k < a->K; k++)
        if (!isfinite(a->weight[k]))
            return plumb_fail(PLUMB_EINVAL, "reward_mix: weight[%lld]=%g", (long long)k,
                              a->weight[k]);
    if (!isfinite(a->caution))
        return plumb_fail(PLUMB_EINVAL, "reward_mix: caution=%g", a->caution);
    PLUMB_TRY(plumb_check_tensor(op, dev, "x", &a->x, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "y", &a->y, PLUMB_MASK_F32));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_reward_mix_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, op, a, sizeof *a);
    plumb_reward_mix_ref(a, dev->round);
    return PLUMB_OK;
}

static int check_options(const struct plumb_reward_shape *a)
{
    if (!isfinite(a->kl_coef))
        return plumb_fail(PLUMB_EINVAL, "reward_shape: kl_coef=%g", a->kl_coef);
    if (!(a->missing_eos_penalty >= 0 && isfinite(a->missing_eos_penalty)))
        return plumb_fail(PLUMB_EINVAL,
                          "reward_shape: missing_eos_penalty=%g, must be at least 0 and finite",
                          a->missing_eos_penalty);
    if (a->max_length < 0 || a->overlong_cache < 0 || a->overlong_cache > a->max_length)
        return plumb_fail(PLUMB_EINVAL,
                          "reward_shape: overlong_cache=%lld, must be in [0, max_length=%lld]",
                          (long long)a->overlong_cache, (long long)a->max_length);
    return PLUMB_OK;
}

int plumb_reward_shape(const struct plumb_device *dev, const struct plumb_reward_shape *a)
{
    const char *op = "reward_shape";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "R", a->R, 0));
    PLUMB_TRY(plumb_check_runs(op, dev, a->offset, a->R));
    PLUMB_TRY(plumb_check_tensor(op, dev, "score", &a->score, PLUMB_MASK_F32));
    if (a->finished) PLUMB_TRY(plumb_check_array(op, dev, "finished", a->finished));
    PLUMB_TRY(plumb_check_optional(op, dev, "kl", &a->kl, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "reward", &a->reward, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "shaped", &a->shaped, PLUMB_MASK_F32));
    PLUMB_TRY(check_options(a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_reward_shape_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, op, a, sizeof *a);
    plumb_reward_shape_ref(a, dev->round);
    return PLUMB_OK;
}
