/* Checks the arguments of the losses by token, knows their names and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/tokenwise.h>

#include <math.h>

#include "kernels/formula.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_tokenwise_cpu, plumb_tokenwise);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/tokenwise.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_tokenwise_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_tokenwise_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check_rows(const struct plumb_device *dev, const struct plumb_tokenwise *a)
{
    const char *name = plumb_tokenwise_name((int)a->loss);
    if (a->B > 0 && (a->label || a->loss != PLUMB_TOKENWISE_A_LOL_SEQ))
        PLUMB_TRY(plumb_check_array("tokenwise", dev, "label", a->label));
    if (a->B > 0 && !a->target.data && a->loss != PLUMB_TOKENWISE_UNLIKELIHOOD)
        return plumb_fail(PLUMB_EINVAL, "tokenwise: target is missing, which loss \"%s\" reads",
                          name);
    for (int64_t i = 0; a->label && plumb_device_is_host(dev) && i < a->B; i++)
        if (a->label[i] != 0 && a->label[i] != 1)
            return plumb_fail(PLUMB_EINVAL, "tokenwise: label[%lld]=%d, must be 0 or 1",
                              (long long)i, a->label[i]);
    return PLUMB_OK;
}

static int check_options(const struct plumb_tokenwise *a)
{
    const char *const name[] = { "undesirable_weight", "clip", "clamp_negative" };
    const double value[] = { a->undesirable_weight, a->clip, a->clamp_negative };
    PLUMB_TRY(plumb_check_positive("tokenwise", "divisor", a->divisor));
    for (int i = 0; i < 3; i++)
        if (!(value[i] >= 0 && isfinite(value[i])))
            return plumb_fail(PLUMB_EINVAL, "tokenwise: %s=%g, must be at least 0 and finite",
                              name[i], value[i]);
    if (a->loss != PLUMB_TOKENWISE_NFT_TOKEN) return PLUMB_OK;
    if (!((float)a->clamp_negative > 0))
        return plumb_fail(PLUMB_EINVAL,
                          "tokenwise: clamp_negative=%g, loss \"nft_token\" takes its log",
                          a->clamp_negative);
    if (a->normalize != 0 && a->normalize != 1 && a->normalize != 2)
        return plumb_fail(PLUMB_EINVAL, "tokenwise: normalize=%g, must be 0, 1 or 2", a->normalize);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_tokenwise *a)
{
    const char *op = "tokenwise";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if (!plumb_tokenwise_name((int)a->loss))
        return plumb_fail(PLUMB_EINVAL, "tokenwise: loss=%d is no loss", (int)a->loss);
    PLUMB_TRY(plumb_check_size(op, "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs(op, dev, a->offset, a->B));
    PLUMB_TRY(plumb_check_tensor(op, dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "ref_logp", &a->ref_logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "target", &a->target, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dlogp", &a->dlogp, PLUMB_MASK_F32));
    PLUMB_TRY(check_rows(dev, a));
    return check_options(a);
}

int plumb_tokenwise(const struct plumb_device *dev, const struct plumb_tokenwise *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_tokenwise_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "tokenwise", a, sizeof *a);
    plumb_tokenwise_ref(a, dev->round);
    return PLUMB_OK;
}
