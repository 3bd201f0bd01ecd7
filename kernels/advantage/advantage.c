/* Checks the arguments of advantages by group, knows the formulas' names and picks the code that
 * runs. */
#include <plumb/advantage.h>
#include <plumb/backend.h>
#include <plumb/device.h>

#include <math.h>

#include "kernels/formula.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_advantage_cpu, plumb_advantage);
PLUMB_CPU_DECLARE(plumb_verdicts_cpu, plumb_verdicts);
PLUMB_CPU_DECLARE(plumb_optimal_value_cpu, plumb_optimal_value);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/advantage.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas, MOST_VERDICTS = 1024 };

int plumb_advantage_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_advantage_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check_groups(const char *op, const struct plumb_device *dev, int64_t N, int64_t G,
                        const int32_t *offset, const int32_t *index)
{
    PLUMB_TRY(plumb_check_size(op, "N", N, 0));
    PLUMB_TRY(plumb_check_size(op, "G", G, 0));
    PLUMB_TRY(plumb_check_runs(op, dev, offset, G));
    if (index) PLUMB_TRY(plumb_check_array(op, dev, "index", index));
    if (!plumb_device_is_host(dev) || G == 0) return PLUMB_OK;
    if (!index && offset[G] > N)
        return plumb_fail(PLUMB_EINVAL, "%s: offset[%lld]=%d is past N=%lld", op, (long long)G,
                          offset[G], (long long)N);
    for (int32_t k = offset[0]; index && k < offset[G]; k++)
        if (index[k] < 0 || index[k] >= N)
            return plumb_fail(PLUMB_EINVAL, "%s: index[%d]=%d, must be in [0, %lld)", op, k,
                              index[k], (long long)N);
    return PLUMB_OK;
}

static int check_epsilon(const char *op, double epsilon)
{
    if (epsilon >= 0 && isfinite(epsilon)) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "%s: epsilon=%g, must be at least 0 and finite", op, epsilon);
}

static int check(const struct plumb_device *dev, const struct plumb_advantage *a)
{
    const char *op = "advantage";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    if (!plumb_advantage_name((int)a->formula))
        return plumb_fail(PLUMB_EINVAL, "advantage: formula=%d is none", (int)a->formula);
    PLUMB_TRY(check_groups(op, dev, a->N, a->G, a->offset, a->index));
    PLUMB_TRY(plumb_check_tensor(op, dev, "reward", &a->reward, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "advantage", &a->advantage, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "mean", &a->mean, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "deviation", &a->deviation, PLUMB_MASK_F32));
    const bool batch = a->formula == PLUMB_ADVANTAGE_NORMALIZED_BATCH ||
                       a->formula == PLUMB_ADVANTAGE_GPG;
    if (a->moments) PLUMB_TRY(plumb_check_array(op, dev, "moments", a->moments));
    if (batch && !a->moments)
        return plumb_fail(PLUMB_EINVAL, "advantage: moments is missing, which \"%s\" reads",
                          plumb_advantage_name((int)a->formula));
    if (a->index && a->advantage.data == a->reward.data)
        return plumb_fail(PLUMB_EINVAL, "advantage: with index, advantage cannot be reward");
    return check_epsilon(op, a->epsilon);
}

int plumb_advantage(const struct plumb_device *dev, const struct plumb_advantage *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_advantage_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "advantage", a, sizeof *a);
    plumb_advantage_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_verdicts(const struct plumb_device *dev, const struct plumb_verdicts *a)
{
    const char *op = "verdicts";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "G", a->G, 0));
    if (a->K < 1 || a->K > MOST_VERDICTS)
        return plumb_fail(PLUMB_EINVAL, "verdicts: K=%lld, must be in [1, %d]", (long long)a->K,
                          MOST_VERDICTS);
    PLUMB_TRY(plumb_check_tensor(op, dev, "score", &a->score, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "advantage", &a->advantage, PLUMB_MASK_F32));
    PLUMB_TRY(check_epsilon(op, a->epsilon));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_verdicts_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, op, a, sizeof *a);
    plumb_verdicts_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_optimal_value(const struct plumb_device *dev, const struct plumb_optimal_value *a)
{
    const char *op = "optimal_value";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(check_groups(op, dev, a->N, a->G, a->offset, a->index));
    PLUMB_TRY(plumb_check_tensor(op, dev, "reward", &a->reward, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "value", &a->value, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_positive(op, "beta", a->beta));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_optimal_value_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, op, a, sizeof *a);
    plumb_optimal_value_ref(a, dev->round);
    return PLUMB_OK;
}
