/* Checks the arguments of the head and picks the code that runs it. */
#include <plumb/logprob.h>

#include <math.h>
#include <plumb/backend.h>

#include "kernels/logprob/logprob_plan.h"
#include "kernels/op.h"

static int check_sizes(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    PLUMB_TRY(plumb_check_args("logprob", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("logprob", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("logprob", "H", a->H, 1));
    PLUMB_TRY(plumb_check_size("logprob", "V", a->V, 1));
    PLUMB_TRY(plumb_check_size("logprob", "M", a->M, 0));
    int64_t x, w;
    if (__builtin_mul_overflow(a->N, a->H * 8, &x) || __builtin_mul_overflow(a->V, a->H * 8, &w) ||
        a->H > INT32_MAX || a->V > INT32_MAX || a->N > INT32_MAX || a->M > INT32_MAX)
        return plumb_fail(PLUMB_EINVAL, "logprob: N=%lld H=%lld V=%lld M=%lld: too large",
                          (long long)a->N, (long long)a->H, (long long)a->V, (long long)a->M);
    if (a->valid_vocab < 0 || a->valid_vocab > a->V)
        return plumb_fail(PLUMB_EINVAL, "logprob: valid_vocab=%lld, must be 0 to V=%lld",
                          (long long)a->valid_vocab, (long long)a->V);
    return PLUMB_OK;
}

static int check_options(const struct plumb_logprob *a)
{
    if (!isfinite(a->logit_scale) || a->logit_scale == 0)
        return plumb_fail(PLUMB_EINVAL, "logprob: logit_scale=%g, must be finite and not 0",
                          a->logit_scale);
    if (!isfinite(a->softcap) || a->softcap < 0)
        return plumb_fail(PLUMB_EINVAL, "logprob: softcap=%g, must be 0 (none) or above",
                          a->softcap);
    if (!isfinite(a->temperature) || !(a->temperature > 0))
        return plumb_fail(PLUMB_EINVAL, "logprob: temperature=%g, must be above 0", a->temperature);
    return PLUMB_OK;
}

static int check_target(const struct plumb_logprob *a, int64_t i)
{
    const int64_t vocab = a->valid_vocab ? a->valid_vocab : a->V;
    if (a->target[i] >= -1 && a->target[i] < vocab) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "logprob: target[%lld]=%d, must be -1 (skip) or 0 to %lld",
                      (long long)i, a->target[i], (long long)vocab - 1);
}

int plumb_logprob_check_chosen(const struct plumb_logprob *a, int64_t first, int64_t end)
{
    for (int64_t i = first; i < end; i++)
        PLUMB_TRY(check_target(a, i));
    return PLUMB_OK;
}

/* On a device the indices are out of reach: bad ones give NaN there. Targets that are still to be
 * chosen are nobody's fault. */
static int check_pairs(const struct plumb_device *dev, const struct plumb_logprob *a, bool chosen)
{
    PLUMB_TRY(plumb_check_array("logprob", dev, "row", a->row));
    PLUMB_TRY(plumb_check_array("logprob", dev, "target", a->target));
    if (dev->kind == PLUMB_DEV_CUDA) return PLUMB_OK;
    for (int64_t i = 0; i < a->M; i++) {
        if (a->row[i] < 0 || a->row[i] >= a->N)
            return plumb_fail(PLUMB_EINVAL, "logprob: row[%lld]=%d, must be 0 to %lld",
                              (long long)i, a->row[i], (long long)a->N - 1);
        if (chosen) PLUMB_TRY(check_target(a, i));
    }
    return PLUMB_OK;
}

static int check_inputs(const struct plumb_device *dev, const struct plumb_logprob *a, bool chosen)
{
    PLUMB_TRY(check_sizes(dev, a));
    PLUMB_TRY(check_options(a));
    if (!a->M) return PLUMB_OK;
    PLUMB_TRY(check_pairs(dev, a, chosen));
    const unsigned same = PLUMB_MASK(a->x.dtype);
    PLUMB_TRY(plumb_check_tensor("logprob", dev, "x", &a->x, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_tensor("logprob", dev, "w", &a->w, same));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "bias", &a->bias, PLUMB_MASK_F32 | same));
    return plumb_check_array("logprob", dev, "work", a->work.data);
}

static int check_outputs(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    if (a->M) PLUMB_TRY(plumb_check_tensor("logprob", dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "lse", &a->lse, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "entropy", &a->entropy, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "log_sum_sq", &a->log_sum_sq, PLUMB_MASK_F32));
    return plumb_check_optional("logprob", dev, "mean_logit", &a->mean_logit, PLUMB_MASK_F32);
}

static int check_gradients(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    PLUMB_TRY(plumb_check_optional("logprob", dev, "dlogp", &a->dlogp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "dlse", &a->dlse, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "dentropy", &a->dentropy, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "dmean", &a->dmean, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "dx", &a->dx, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "dw", &a->dw, PLUMB_MASK_F32));
    return plumb_check_optional("logprob", dev, "dbias", &a->dbias, PLUMB_MASK_F32);
}

static int check_groups(const struct plumb_logprob *a)
{
    PLUMB_TRY(plumb_check_size("logprob", "groups", a->groups, a->M ? 1 : 0));
    if (!a->groups) return PLUMB_OK;
    PLUMB_TRY(plumb_check_host_array("logprob", "group", a->group));
    if (!a->epilogue) return plumb_fail(PLUMB_EINVAL, "logprob: epilogue is missing");
    if (a->group[0] != 0)
        return plumb_fail(PLUMB_EINVAL, "logprob: group[0]=%d, must be 0", a->group[0]);
    for (int64_t g = 0; g < a->groups; g++)
        if (a->group[g + 1] < a->group[g])
            return plumb_fail(PLUMB_EINVAL, "logprob: group[%lld]=%d is below the one before, %d",
                              (long long)g + 1, a->group[g + 1], a->group[g]);
    if (a->group[a->groups] != a->M)
        return plumb_fail(PLUMB_EINVAL, "logprob: the last group ends at %d, M is %lld",
                          a->group[a->groups], (long long)a->M);
    return PLUMB_OK;
}

int plumb_logprob_fwd(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    PLUMB_TRY(check_inputs(dev, a, true));
    PLUMB_TRY(check_outputs(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return plumb_logprob_fwd_native(a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "logprob_fwd", a, sizeof *a);
    plumb_logprob_fwd_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_logprob_bwd(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    PLUMB_TRY(check_inputs(dev, a, true));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "lse", &a->lse, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("logprob", dev, "entropy", &a->entropy, PLUMB_MASK_F32));
    PLUMB_TRY(check_gradients(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return plumb_logprob_bwd_native(a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "logprob_bwd", a, sizeof *a);
    plumb_logprob_bwd_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_logprob_fused(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    PLUMB_TRY(check_inputs(dev, a, true));
    PLUMB_TRY(check_outputs(dev, a));
    PLUMB_TRY(check_gradients(dev, a));
    PLUMB_TRY(check_groups(a));
    if (dev->kind == PLUMB_DEV_CPU) return plumb_logprob_fused_native(a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "logprob_fused", a, sizeof *a);
    plumb_logprob_fwd_ref(a, dev->round);
    if (a->M) PLUMB_TRY(a->epilogue(a->epilogue_ctx, 0, a->M));
    plumb_logprob_bwd_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_logprob_choose(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    PLUMB_TRY(check_inputs(dev, a, false));
    PLUMB_TRY(check_outputs(dev, a));
    if (!a->chooser) return plumb_fail(PLUMB_EINVAL, "logprob: chooser is missing");
    if (dev->kind == PLUMB_DEV_CPU) return plumb_logprob_choose_native(a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "logprob_choose", a, sizeof *a);
    return plumb_logprob_choose_ref(a, dev->round);
}

size_t plumb_logprob_workspace(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    if (check_sizes(dev, a)) return 0; /* the op itself will say why */
    if (dev->kind == PLUMB_DEV_CPU) return plumb_logprob_plan(a).bytes;
    if (dev->kind == PLUMB_DEV_CUDA)
        return plumb_backend_size(dev, "logprob_workspace", a, sizeof *a);
    const int64_t rows = a->M < PLUMB_LOGPROB_REF_ROWS ? a->M : PLUMB_LOGPROB_REF_ROWS;
    const size_t for_chooser = a->chooser ? (size_t)(rows * a->V) * sizeof(float) : 0;
    return (size_t)(rows * (a->V + 2 * a->H)) * sizeof(double) + for_chooser;
}
