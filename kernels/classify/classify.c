/* Checks the arguments of the classification losses, knows their names and picks the code that
 * runs. */
#include "kernels/classify/classify_eval.h"

#include <plumb/backend.h>
#include <plumb/classify.h>
#include <plumb/device.h>

#include "kernels/formula.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_classify_cpu, plumb_classify);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/classify.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_classify_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_classify_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check_labels(const struct plumb_device *dev, const struct plumb_classify *a)
{
    const int most = plumb_classes_most((int)a->loss, (int)a->K);
    if (a->N > 0) PLUMB_TRY(plumb_check_array("classify", dev, "label", a->label));
    for (int64_t n = 0; plumb_device_is_host(dev) && n < a->N; n++)
        if (a->label[n] < -1 || a->label[n] > most)
            return plumb_fail(PLUMB_EINVAL, "classify: label[%lld]=%d, must be -1 or in [0, %d]",
                              (long long)n, a->label[n], most);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_classify *a)
{
    const char *op = "classify";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if (!plumb_classify_name((int)a->loss))
        return plumb_fail(PLUMB_EINVAL, "classify: loss=%d is no loss", (int)a->loss);
    PLUMB_TRY(plumb_check_size(op, "N", a->N, 0));
    if (a->K < 1 || a->K > PLUMB_CLASSES)
        return plumb_fail(PLUMB_EINVAL, "classify: K=%lld, must be in [1, %d]", (long long)a->K,
                          PLUMB_CLASSES);
    PLUMB_TRY(plumb_check_tensor(op, dev, "logits", &a->logits, PLUMB_MASK_F32));
    PLUMB_TRY(check_labels(dev, a));
    PLUMB_TRY(plumb_check_tensor(op, dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "dlogits", &a->dlogits, PLUMB_MASK_F32));
    return plumb_check_positive(op, "divisor", a->divisor);
}

int plumb_classify(const struct plumb_device *dev, const struct plumb_classify *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_classify_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "classify", a, sizeof *a);
    plumb_classify_ref(a, dev->round);
    return PLUMB_OK;
}
