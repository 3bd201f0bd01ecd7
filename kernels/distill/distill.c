/* Checks the arguments of the divergences, knows their names and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/distill.h>

#include <math.h>
#include <stdio.h>

#include "kernels/distill/distill_plan.h"
#include "kernels/formula.h"
#include "kernels/op.h"

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/distill.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_distill_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_distill_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check_sizes(const struct plumb_device *dev, const struct plumb_distill *a)
{
    const char *op = "distill";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "N", a->N, 0));
    PLUMB_TRY(plumb_check_size(op, "V", a->V, 1));
    PLUMB_TRY(plumb_check_size(op, "M", a->M, 0));
    PLUMB_TRY(plumb_check_size(op, "policy.H", a->policy.H, 1));
    PLUMB_TRY(plumb_check_size(op, "teacher.H", a->teacher.H, 1));
    const int64_t H = a->policy.H > a->teacher.H ? a->policy.H : a->teacher.H;
    if (H > INT32_MAX || a->V > INT32_MAX || a->N > INT32_MAX)
        return plumb_fail(PLUMB_EINVAL, "distill: N=%lld V=%lld H=%lld: too large", (long long)a->N,
                          (long long)a->V, (long long)H);
    if (a->M > a->N)
        return plumb_fail(PLUMB_EINVAL, "distill: M=%lld, there are N=%lld rows", (long long)a->M,
                          (long long)a->N);
    if (a->valid_vocab < 0 || a->valid_vocab > a->V)
        return plumb_fail(PLUMB_EINVAL, "distill: valid_vocab=%lld, must be 0 to V=%lld",
                          (long long)a->valid_vocab, (long long)a->V);
    return PLUMB_OK;
}

static int check_options(const struct plumb_distill *a)
{
    if (!plumb_distill_name((int)a->divergence))
        return plumb_fail(PLUMB_EINVAL, "distill: divergence=%d is none", (int)a->divergence);
    PLUMB_TRY(plumb_check_positive("distill", "temperature", a->temperature));
    PLUMB_TRY(plumb_check_positive("distill", "divisor", a->divisor));
    if (a->divergence == PLUMB_DIVERGENCE_JSD && !(a->beta >= 0 && a->beta <= 1))
        return plumb_fail(PLUMB_EINVAL, "distill: beta=%g, must be in [0, 1]", a->beta);
    if (!isfinite(a->alpha)) return plumb_fail(PLUMB_EINVAL, "distill: alpha=%g", a->alpha);
    return PLUMB_OK;
}

static int check_head(const struct plumb_device *dev, const struct plumb_distill_head *h,
                      const char *name)
{
    const unsigned same = PLUMB_MASK(h->x.dtype);
    char field[32];
    if (!isfinite(h->logit_scale) || h->logit_scale == 0)
        return plumb_fail(PLUMB_EINVAL, "distill: %s.logit_scale=%g, must be finite and not 0",
                          name, h->logit_scale);
    if (!isfinite(h->softcap) || h->softcap < 0)
        return plumb_fail(PLUMB_EINVAL, "distill: %s.softcap=%g, must be 0 (none) or above", name,
                          h->softcap);
    snprintf(field, sizeof field, "%s.x", name);
    PLUMB_TRY(plumb_check_tensor("distill", dev, field, &h->x, PLUMB_MASK_FLOATS));
    snprintf(field, sizeof field, "%s.w", name);
    PLUMB_TRY(plumb_check_tensor("distill", dev, field, &h->w, same));
    snprintf(field, sizeof field, "%s.bias", name);
    return plumb_check_optional("distill", dev, field, &h->bias, PLUMB_MASK_F32 | same);
}

static int check_rows(const struct plumb_device *dev, const struct plumb_distill *a)
{
    if (!a->row) return PLUMB_OK;
    PLUMB_TRY(plumb_check_array("distill", dev, "row", a->row));
    if (dev->kind == PLUMB_DEV_CUDA) return PLUMB_OK;
    for (int64_t i = 0; i < a->M; i++)
        if (a->row[i] < (i ? a->row[i - 1] + 1 : 0) || a->row[i] >= a->N)
            return plumb_fail(
                PLUMB_EINVAL,
                "distill: row[%lld]=%d, must be above the one before and below N=%lld",
                (long long)i, a->row[i], (long long)a->N);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_distill *a)
{
    const char *op = "distill";
    PLUMB_TRY(check_sizes(dev, a));
    PLUMB_TRY(check_options(a));
    if (a->M) {
        PLUMB_TRY(check_head(dev, &a->policy, "policy"));
        PLUMB_TRY(check_head(dev, &a->teacher, "teacher"));
        PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
        PLUMB_TRY(plumb_check_array(op, dev, "work", a->work.data));
    }
    PLUMB_TRY(check_rows(dev, a));
    PLUMB_TRY(plumb_check_optional(op, dev, "entropy", &a->entropy, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dx", &a->dx, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_optional(op, dev, "dw", &a->dw, PLUMB_MASK_F32));
    return plumb_check_optional(op, dev, "dbias", &a->dbias, PLUMB_MASK_F32);
}

int plumb_distill(const struct plumb_device *dev, const struct plumb_distill *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return plumb_distill_native(a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "distill", a, sizeof *a);
    plumb_distill_ref(a, dev->round);
    return PLUMB_OK;
}

size_t plumb_distill_workspace(const struct plumb_device *dev, const struct plumb_distill *a)
{
    if (check_sizes(dev, a)) return 0; /* the op itself will say why */
    if (dev->kind == PLUMB_DEV_CPU) return plumb_distill_plan(a).bytes;
    if (dev->kind == PLUMB_DEV_CUDA)
        return plumb_backend_size(dev, "distill_workspace", a, sizeof *a);
    return 3 * (size_t)a->V * sizeof(double);
}
