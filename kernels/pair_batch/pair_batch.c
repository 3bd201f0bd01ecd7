/* Checks the arguments of the batch statistics and picks the code that runs. */
#include <math.h>
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/pair_batch.h>

#include "kernels/op.h"

#define RUN(name, dev, a)                                                                          \
    do {                                                                                           \
        if ((dev)->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_##name##_cpu, a);            \
        if ((dev)->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, #name, a, sizeof *(a));   \
        plumb_##name##_ref(a, (dev)->round);                                                       \
        return PLUMB_OK;                                                                           \
    } while (0)

PLUMB_CPU_DECLARE(plumb_aot_cpu, plumb_aot);
PLUMB_CPU_DECLARE(plumb_dr_dpo_cpu, plumb_dr_dpo);
PLUMB_CPU_DECLARE(plumb_group_robust_cpu, plumb_group_robust);
PLUMB_CPU_DECLARE(plumb_beta_dpo_cpu, plumb_beta_dpo);
PLUMB_CPU_DECLARE(plumb_alpha_dpo_cpu, plumb_alpha_dpo);
PLUMB_CPU_DECLARE(plumb_leave_one_out_cpu, plumb_leave_one_out);

struct field {
    const char *name;
    const struct plumb_tensor *t;
};

static int check_fields(const char *op, const struct plumb_device *dev, const struct field *f,
                        size_t count)
{
    for (size_t i = 0; i < count; i++)
        PLUMB_TRY(plumb_check_tensor(op, dev, f[i].name, f[i].t, PLUMB_MASK_F32));
    return PLUMB_OK;
}
#define CHECK_FIELDS(op, dev, ...)                                                                 \
    check_fields(op, dev, (const struct field[]){ __VA_ARGS__ },                                   \
                 sizeof((const struct field[]){ __VA_ARGS__ }) / sizeof(struct field))

static int check_range(const char *op, const char *field, double value, double lo, double hi)
{
    if (value >= lo && value <= hi) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "%s: %s=%g, must be in [%g, %g]", op, field, value, lo, hi);
}

/* Ranks are 32-bit. */
static int check_pairs(const char *op, int64_t B)
{
    PLUMB_TRY(plumb_check_size(op, "B", B, 0));
    if (B > INT32_MAX / 2)
        return plumb_fail(PLUMB_EINVAL, "%s: B=%lld is too many", op, (long long)B);
    return PLUMB_OK;
}

/* The two arrays of values, unsorted and sorted, and theirs of ranks beside a spare one. */
size_t plumb_aot_workspace(const struct plumb_device *dev, const struct plumb_aot *a)
{
    (void)dev;
    return (size_t)a->B * (4 * sizeof(double) + 3 * sizeof(int32_t));
}

int plumb_aot(const struct plumb_device *dev, const struct plumb_aot *a)
{
    PLUMB_TRY(plumb_check_args("aot", dev, a, sizeof *a));
    PLUMB_TRY(check_pairs("aot", a->B));
    PLUMB_TRY(CHECK_FIELDS("aot", dev, { "logps", &a->logps }, { "gap", &a->gap }));
    PLUMB_TRY(plumb_check_optional("aot", dev, "ref_sum", &a->ref_sum, PLUMB_MASK_F32));
    if (a->rank) PLUMB_TRY(plumb_check_array("aot", dev, "rank", a->rank));
    if (a->B > 0) PLUMB_TRY(plumb_check_array("aot", dev, "work", a->work.data));
    RUN(aot, dev, a);
}

int plumb_dr_dpo(const struct plumb_device *dev, const struct plumb_dr_dpo *a)
{
    PLUMB_TRY(plumb_check_args("dr_dpo", dev, a, sizeof *a));
    PLUMB_TRY(check_pairs("dr_dpo", a->B));
    PLUMB_TRY(plumb_check_positive("dr_dpo", "beta_prime", a->beta_prime));
    PLUMB_TRY(CHECK_FIELDS("dr_dpo", dev, { "losses", &a->losses }, { "weight", &a->weight },
                           { "loss", &a->loss }));
    RUN(dr_dpo, dev, a);
}

int plumb_group_robust(const struct plumb_device *dev, const struct plumb_group_robust *a)
{
    const char *op = "group_robust";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(check_pairs(op, a->B));
    PLUMB_TRY(plumb_check_size(op, "G", a->G, 1));
    if (a->G > 1024)
        return plumb_fail(PLUMB_EINVAL, "%s: G=%lld, at most 1024", op, (long long)a->G);
    PLUMB_TRY(CHECK_FIELDS(op, dev, { "losses", &a->losses }, { "q", &a->q },
                           { "weight", &a->weight }, { "loss", &a->loss }));
    if (!isfinite(a->step)) return plumb_fail(PLUMB_EINVAL, "%s: step=%g", op, a->step);
    if (a->B > 0) PLUMB_TRY(plumb_check_array(op, dev, "group", a->group));
    for (int64_t i = 0; plumb_device_is_host(dev) && i < a->B; i++)
        if (a->group[i] < 0 || a->group[i] >= a->G)
            return plumb_fail(PLUMB_EINVAL, "%s: group[%lld]=%d, must be in [0, %lld)", op,
                              (long long)i, a->group[i], (long long)a->G);
    RUN(group_robust, dev, a);
}

size_t plumb_beta_dpo_workspace(const struct plumb_device *dev, const struct plumb_beta_dpo *a)
{
    (void)dev;
    return (size_t)a->B * (sizeof(double) + 2 * sizeof(int32_t));
}

int plumb_beta_dpo(const struct plumb_device *dev, const struct plumb_beta_dpo *a)
{
    const char *op = "beta_dpo";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(check_pairs(op, a->B));
    PLUMB_TRY(plumb_check_positive(op, "beta", a->beta));
    PLUMB_TRY(plumb_check_positive(op, "least", a->least));
    if (!isfinite(a->alpha)) return plumb_fail(PLUMB_EINVAL, "%s: alpha=%g", op, a->alpha);
    if (!(a->drop >= 0 && a->drop < 1))
        return plumb_fail(PLUMB_EINVAL, "%s: drop=%g, must be in [0, 1)", op, a->drop);
    PLUMB_TRY(check_range(op, "decay", a->decay, 0, 1));
    PLUMB_TRY(CHECK_FIELDS(op, dev, { "logps", &a->logps }, { "state", &a->state },
                           { "target", &a->target }, { "weight", &a->weight }));
    PLUMB_TRY(plumb_check_optional(op, dev, "ref_sum", &a->ref_sum, PLUMB_MASK_F32));
    if (a->B > 0) PLUMB_TRY(plumb_check_array(op, dev, "work", a->work.data));
    RUN(beta_dpo, dev, a);
}

int plumb_alpha_dpo(const struct plumb_device *dev, const struct plumb_alpha_dpo *a)
{
    const char *op = "alpha_dpo";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(check_pairs(op, a->B));
    if (a->means) PLUMB_TRY(plumb_check_runs(op, dev, a->offset, 2 * a->B));
    if (!isfinite(a->scale)) return plumb_fail(PLUMB_EINVAL, "%s: scale=%g", op, a->scale);
    PLUMB_TRY(check_range(op, "decay", a->decay, 0, 1));
    PLUMB_TRY(CHECK_FIELDS(op, dev, { "logps", &a->logps }, { "state", &a->state },
                           { "margin", &a->margin }));
    PLUMB_TRY(plumb_check_optional(op, dev, "ref_sum", &a->ref_sum, PLUMB_MASK_F32));
    RUN(alpha_dpo, dev, a);
}

int plumb_leave_one_out(const struct plumb_device *dev, const struct plumb_leave_one_out *a)
{
    const char *op = "leave_one_out";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size(op, "B", a->B, 0));
    PLUMB_TRY(plumb_check_size(op, "k", a->k, 1));
    PLUMB_TRY(CHECK_FIELDS(op, dev, { "x", &a->x }, { "y", &a->y }));
    RUN(leave_one_out, dev, a);
}
