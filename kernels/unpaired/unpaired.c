/* Checks the arguments of the unpaired losses, knows their names and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/unpaired.h>

#include <math.h>

#include "kernels/formula.h"
#include "kernels/op.h"
#include "kernels/sequence_part.h"

PLUMB_CPU_DECLARE(plumb_unpaired_cpu, plumb_unpaired);
PLUMB_CPU_DECLARE(plumb_kto_kl_cpu, plumb_kto_kl);
PLUMB_CPU_DECLARE(plumb_bco_delta_cpu, plumb_bco_delta);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/unpaired.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_unpaired_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_unpaired_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check_sequences(const char *op, const struct plumb_device *dev,
                           const struct plumb_tensor *logp, const struct plumb_tensor *ref_logp,
                           const struct plumb_tensor *ref_sum)
{
    PLUMB_TRY(plumb_check_tensor(op, dev, "logp", logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "ref_logp", ref_logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "ref_sum", ref_sum, PLUMB_MASK_F32));
    if (!ref_logp->data || !ref_sum->data) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "%s: ref_logp and ref_sum are both given", op);
}

static bool reads_label(enum plumb_unpaired_loss loss)
{
    return loss == PLUMB_UNPAIRED_KTO || loss == PLUMB_UNPAIRED_APO_ZERO_UNPAIRED ||
           loss == PLUMB_UNPAIRED_BCO || loss == PLUMB_UNPAIRED_NPO || loss == PLUMB_UNPAIRED_NFT;
}

static bool reads_target(enum plumb_unpaired_loss loss)
{
    return loss == PLUMB_UNPAIRED_A_STAR_PO || loss == PLUMB_UNPAIRED_RESIDUAL ||
           loss == PLUMB_UNPAIRED_SIGNED_NLL || loss == PLUMB_UNPAIRED_A_LOL ||
           loss == PLUMB_UNPAIRED_NFT;
}

static int check_labels(const struct plumb_device *dev, const struct plumb_unpaired *a)
{
    const char *name = plumb_unpaired_name((int)a->loss);
    if (a->B > 0 && !a->label && reads_label(a->loss))
        return plumb_fail(PLUMB_EINVAL, "unpaired: label is missing, which loss \"%s\" reads",
                          name);
    for (int64_t i = 0; a->label && plumb_device_is_host(dev) && i < a->B; i++)
        if (a->label[i] != 0 && a->label[i] != 1)
            return plumb_fail(PLUMB_EINVAL, "unpaired: label[%lld]=%d, must be 0 or 1",
                              (long long)i, a->label[i]);
    if (a->B > 0 && !a->target.data && reads_target(a->loss))
        return plumb_fail(PLUMB_EINVAL, "unpaired: target is missing, which loss \"%s\" reads",
                          name);
    return PLUMB_OK;
}

static int check_options(const struct plumb_unpaired *a)
{
    const char *const name[] = { "desirable_weight", "undesirable_weight", "lambda", "clip",
                                 "clamp_negative" };
    const double value[] = { a->desirable_weight, a->undesirable_weight, a->lambda, a->clip,
                             a->clamp_negative };
    PLUMB_TRY(plumb_check_positive("unpaired", "beta", a->beta));
    PLUMB_TRY(plumb_check_positive("unpaired", "divisor", a->divisor));
    for (int i = 0; i < 5; i++)
        if (!(value[i] >= 0 && isfinite(value[i])))
            return plumb_fail(PLUMB_EINVAL, "unpaired: %s=%g, must be at least 0 and finite",
                              name[i], value[i]);
    if (a->loss != PLUMB_UNPAIRED_NFT) return PLUMB_OK;
    if (!((float)a->clamp_negative > 0))
        return plumb_fail(PLUMB_EINVAL, "unpaired: clamp_negative=%g, loss \"nft\" takes its log",
                          a->clamp_negative);
    if (a->normalize != 0 && a->normalize != 1 && a->normalize != 2)
        return plumb_fail(PLUMB_EINVAL, "unpaired: normalize=%g, must be 0, 1 or 2", a->normalize);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_unpaired *a)
{
    const char *op = "unpaired";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if (!plumb_unpaired_name((int)a->loss))
        return plumb_fail(PLUMB_EINVAL, "unpaired: loss=%d is no loss", (int)a->loss);
    PLUMB_TRY(plumb_check_size(op, "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs(op, dev, a->offset, a->B));
    PLUMB_TRY(check_sequences(op, dev, &a->logp, &a->ref_logp, &a->ref_sum));
    PLUMB_TRY(plumb_check_optional(op, dev, "kl", &a->kl, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "shift", &a->shift, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "target", &a->target, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "value", &a->value, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(check_labels(dev, a));
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "logps", &a->logps, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "rewards", &a->rewards, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dlogp", &a->dlogp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dvalue", &a->dvalue, PLUMB_MASK_F32));
    return check_options(a);
}

int plumb_unpaired(const struct plumb_device *dev, const struct plumb_unpaired *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_unpaired_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "unpaired", a, sizeof *a);
    plumb_unpaired_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_unpaired_part(const struct plumb_unpaired *a, const int32_t *offset, int64_t first,
                        int64_t count, struct plumb_unpaired *out)
{
    struct plumb_sequence_part p = { 0 };
    if (!a || !out) return plumb_fail(PLUMB_EINVAL, "unpaired: %s is NULL", a ? "out" : "a");
    PLUMB_TRY(plumb_sequence_part_of("unpaired", offset, a->B, 1, first, count, &p));
    *out = *a;
    out->B = p.count;
    out->offset = a->offset ? a->offset + p.first : NULL;
    out->label = a->label ? a->label + p.first : NULL;
    struct plumb_tensor *const of_each[] = { &out->ref_sum, &out->losses, &out->logps,
                                             &out->rewards, &out->target, &out->value,
                                             &out->weight,  &out->dvalue };
    for (size_t i = 0; i < sizeof of_each / sizeof *of_each; i++)
        *of_each[i] = plumb_part_at(*of_each[i], p.first);
    return PLUMB_OK;
}

int plumb_kto_kl(const struct plumb_device *dev, const struct plumb_kto_kl *a)
{
    PLUMB_TRY(plumb_check_args("kto_kl", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("kto_kl", "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs("kto_kl", dev, a->offset, a->B));
    PLUMB_TRY(check_sequences("kto_kl", dev, &a->logp, &a->ref_logp, &a->ref_sum));
    PLUMB_TRY(plumb_check_tensor("kto_kl", dev, "kl", &a->kl, PLUMB_MASK_F32));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_kto_kl_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "kto_kl", a, sizeof *a);
    plumb_kto_kl_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_bco_delta(const struct plumb_device *dev, const struct plumb_bco_delta *a)
{
    const char *op = "bco_delta";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs(op, dev, a->offset, a->B));
    PLUMB_TRY(check_sequences(op, dev, &a->logp, &a->ref_logp, &a->ref_sum));
    PLUMB_TRY(plumb_check_positive(op, "beta", a->beta));
    PLUMB_TRY(plumb_check_array(op, dev, "before", a->before));
    PLUMB_TRY(plumb_check_array(op, dev, "after", a->after));
    PLUMB_TRY(plumb_check_tensor(op, dev, "delta", &a->delta, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "variance", &a->variance, PLUMB_MASK_F32));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_bco_delta_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "bco_delta", a, sizeof *a);
    plumb_bco_delta_ref(a, dev->round);
    return PLUMB_OK;
}
