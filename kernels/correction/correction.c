/* Checks the arguments of the correction weights, has the table of their modes and picks the code
 * that runs. */
#include <plumb/backend.h>
#include <plumb/correction.h>

#include <math.h>
#include <string.h>

#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_correction_cpu, plumb_correction);

static const struct {
    const char *name;
    enum plumb_correction_level level;
    enum plumb_correction_gate gate;
    enum plumb_correction_keep keep;
    bool clip, no_low;
} modes[] = {
    /* TRL's vllm_importance_sampling_mode */
    { "token_truncate", PLUMB_CORRECT_TOKENS, PLUMB_GATE_RATIO, PLUMB_KEEP_UNIT_RATIO, true,
      false },
    { "token_mask", PLUMB_CORRECT_TOKENS, PLUMB_GATE_RATIO, PLUMB_KEEP_UNIT_RATIO, false, false },
    { "sequence_truncate", PLUMB_CORRECT_ROW_SUMS, PLUMB_GATE_RATIO, PLUMB_KEEP_UNIT_RATIO, true,
      false },
    { "sequence_mask", PLUMB_CORRECT_ROW_SUMS, PLUMB_GATE_RATIO, PLUMB_KEEP_UNIT_RATIO, false,
      false },
    /* OpenRLHF */
    { "tis", PLUMB_CORRECT_TOKENS, PLUMB_GATE_RATIO, PLUMB_KEEP_UNIT_RATIO, true, false },
    { "icepop", PLUMB_CORRECT_TOKENS, PLUMB_GATE_RATIO, PLUMB_KEEP_UNIT_RATIO, false, false },
    { "seq_mask_tis", PLUMB_CORRECT_ROW_MEANS, PLUMB_GATE_RATIO, PLUMB_KEEP_TOKEN_RATIO, false,
      false },
    /* DeepSeek-V3.2 */
    { "off_policy_mask", PLUMB_CORRECT_ROW_MEANS, PLUMB_GATE_K1, PLUMB_KEEP_ONE, false, true },
};
enum { MODES = sizeof modes / sizeof *modes };

const char *plumb_correction_preset_name(int index)
{
    return index >= 0 && index < MODES ? modes[index].name : NULL;
}

int plumb_correction_preset(const char *mode, double low, double high, struct plumb_correction *a)
{
    for (int i = 0; mode && a && i < MODES; i++) {
        if (strcmp(modes[i].name, mode)) continue;
        a->level = modes[i].level, a->gate = modes[i].gate;
        a->keep = modes[i].keep, a->clip = modes[i].clip;
        a->low = modes[i].no_low ? -INFINITY : low, a->high = high;
        return PLUMB_OK;
    }
    if (!a) return plumb_fail(PLUMB_EINVAL, "correction: the struct is NULL");
    return plumb_fail(PLUMB_EINVAL, "correction: mode \"%s\" is none", mode ? mode : "(null)");
}

static int check_kind(const struct plumb_correction *a)
{
    const int kind[] = { (int)a->level, (int)a->gate, (int)a->keep };
    const int last[] = { PLUMB_CORRECT_ROW_SUMS, PLUMB_GATE_K3, PLUMB_KEEP_ONE };
    const char *const name[] = { "level", "gate", "keep" };
    for (int i = 0; i < 3; i++)
        if (kind[i] < 0 || kind[i] > last[i])
            return plumb_fail(PLUMB_EINVAL, "correction: %s=%d is none", name[i], kind[i]);
    if (a->clip && (a->gate != PLUMB_GATE_RATIO || a->keep != PLUMB_KEEP_UNIT_RATIO))
        return plumb_fail(PLUMB_EINVAL, "correction: clip wants gate RATIO and keep UNIT_RATIO");
    if (!(a->low <= a->high))
        return plumb_fail(PLUMB_EINVAL, "correction: low=%g is not at most high=%g", a->low,
                          a->high);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_correction *a)
{
    const char *op = "correction";
    PLUMB_TRY(plumb_check_args(op, dev, a, sizeof *a));
    PLUMB_TRY(check_kind(a));
    PLUMB_TRY(plumb_check_size(op, "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs(op, dev, a->offset, a->B));
    if (a->target) PLUMB_TRY(plumb_check_array(op, dev, "target", a->target));
    PLUMB_TRY(plumb_check_tensor(op, dev, "logp", &a->logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "sampler_logp", &a->sampler_logp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "advantage", &a->advantage, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional(op, dev, "weight", &a->weight, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_tensor(op, dev, "out", &a->out, PLUMB_MASK_F32));
    return plumb_check_optional(op, dev, "stats", &a->stats, PLUMB_MASK_F32);
}

int plumb_correction(const struct plumb_device *dev, const struct plumb_correction *a)
{
    PLUMB_TRY(check(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_correction_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "correction", a, sizeof *a);
    plumb_correction_ref(a, dev->round);
    return PLUMB_OK;
}
