/* Checks the arguments of the policy losses, knows their names and picks the code that runs. */
#include <plumb/backend.h>
#include <plumb/policy.h>

#include <math.h>

#include "kernels/formula.h"
#include "kernels/op.h"
#include "kernels/sequence_part.h"

PLUMB_CPU_DECLARE(plumb_policy_cpu, plumb_policy);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/policy.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_policy_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_policy_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

static int check_inputs(const struct plumb_device *dev, const struct plumb_policy *a)
{
    const char *const name[] = { "old_logp",      "advantage", "token_advantage",
                                 "sampler_ratio", "weight",    "mark",
                                 "row_weight",    "entropy",   "entropy_weight",
                                 "entropy_count" };
    const struct plumb_tensor *const t[] = { &a->old_logp,      &a->advantage, &a->token_advantage,
                                             &a->sampler_ratio, &a->weight,    &a->mark,
                                             &a->row_weight,    &a->entropy,   &a->entropy_weight,
                                             &a->entropy_count };
    PLUMB_TRY(plumb_check_tensor("policy", dev, "logp", &a->logp, PLUMB_MASK_F32));
    if (a->beta != 0)
        PLUMB_TRY(plumb_check_tensor("policy", dev, "ref_logp", &a->ref_logp, PLUMB_MASK_F32));
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        PLUMB_TRY(plumb_check_optional("policy", dev, name[i], t[i], PLUMB_MASK_F32));
    if (!a->advantage.data == !a->token_advantage.data)
        return plumb_fail(PLUMB_EINVAL, "policy: %s of advantage and token_advantage %s given",
                          a->advantage.data ? "both" : "none", a->advantage.data ? "are" : "is");
    return PLUMB_OK;
}

static int check_outputs(const struct plumb_device *dev, const struct plumb_policy *a)
{
    PLUMB_TRY(plumb_check_tensor("policy", dev, "losses", &a->losses, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("policy", dev, "bonus", &a->bonus, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("policy", dev, "stats", &a->stats, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("policy", dev, "dlogp", &a->dlogp, PLUMB_MASK_F32));
    PLUMB_TRY(plumb_check_optional("policy", dev, "dentropy", &a->dentropy, PLUMB_MASK_F32));
    if (!a->entropy.data && (a->bonus.data || a->dentropy.data))
        return plumb_fail(PLUMB_EINVAL, "policy: %s is wanted, but entropy is missing",
                          a->bonus.data ? "bonus" : "dentropy");
    return PLUMB_OK;
}

/* One option: value within [least, most], or only above `least`. */
struct option {
    const char *name;
    double value, least, most;
    bool above;
};

static int check_options(const struct option *o, int count)
{
    for (int i = 0; i < count; i++) {
        const double v = o[i].value;
        if (isfinite(v) && v <= o[i].most && (o[i].above ? v > o[i].least : v >= o[i].least))
            continue;
        return plumb_fail(PLUMB_EINVAL, "policy: %s=%g, must be %s %g and %s %g", o[i].name, v,
                          o[i].above ? "above" : "at least", o[i].least,
                          isinf(o[i].most) ? "below" : "at most", o[i].most);
    }
    return PLUMB_OK;
}
#define CHECK(list) check_options(list, (int)(sizeof(list) / sizeof *(list)))

static int check_formula(const struct plumb_policy *a)
{
    const double any = INFINITY;
    const struct option clip[] = { { "ratio_low", a->ratio_low, 0, any, false },
                                   { "ratio_high", a->ratio_high, a->ratio_low, any, false },
                                   { "cap", a->cap, 0, any, false } };
    const struct option dppo[] = { { "ratio_low", a->ratio_low, 0, any, false },
                                   { "ratio_high", a->ratio_high, 0, any, false },
                                   { "cap", a->cap, 0, any, false } };
    const struct option sapo[] = { { "tau_positive", a->tau_positive, 0, any, true },
                                   { "tau_negative", a->tau_negative, 0, any, true } };
    const struct option vespo[] = { { "k_positive", a->k_positive, 0, any, false },
                                    { "k_negative", a->k_negative, 0, any, false },
                                    { "lambda_positive", a->lambda_positive, 0, any, false },
                                    { "lambda_negative", a->lambda_negative, 0, any, false } };
    const struct option coef[] = { { "coef", a->coef, 0, any, a->loss == PLUMB_POLICY_CRITIQUE } };
    switch (a->loss) {
    case PLUMB_POLICY_CLIP:
    case PLUMB_POLICY_CISPO: return CHECK(clip);
    case PLUMB_POLICY_DPPO_TV:
    case PLUMB_POLICY_DPPO_KL: return CHECK(dppo);
    case PLUMB_POLICY_SAPO: return CHECK(sapo);
    case PLUMB_POLICY_VESPO: return CHECK(vespo);
    default: return CHECK(coef);
    }
}

static int check_common(const struct plumb_policy *a)
{
    const double any = INFINITY;
    const struct option common[] = {
        { "divisor", a->divisor, 0, any, false },
        { "log_ratio_clamp", a->log_ratio_clamp, 0, any, false },
        { "log_ratio_low", a->log_ratio_low, 0, any, false },
        { "log_ratio_high", a->log_ratio_high, 0, any, false },
        { "row_ratio_max", a->row_ratio_max, 0, any, false },
        { "beta", a->beta, -any, any, false },
        { "kl_clamp", a->kl_clamp, 0, any, false },
        { "entropy_coef", a->entropy_coef, -any, any, false },
        { "entropy_divisor", a->entropy_divisor, 0, any, false },
    };
    PLUMB_TRY(CHECK(common));
    if (a->beta != 0 && !plumb_kl_name((int)a->estimator))
        return plumb_fail(PLUMB_EINVAL, "policy: estimator=%d is no estimator", (int)a->estimator);
    return check_formula(a);
}

static int check_kind(const struct plumb_policy *a)
{
    if (!plumb_policy_name((int)a->loss))
        return plumb_fail(PLUMB_EINVAL, "policy: loss=%d is no loss", (int)a->loss);
    if ((int)a->level < 0 || a->level > PLUMB_LEVEL_MEAN_TOKEN)
        return plumb_fail(PLUMB_EINVAL, "policy: level=%d is no level", (int)a->level);
    if ((int)a->aggregation < 0 || a->aggregation > PLUMB_AGGREGATE_ROWS)
        return plumb_fail(PLUMB_EINVAL, "policy: aggregation=%d is none", (int)a->aggregation);
    if (a->aggregation != PLUMB_AGGREGATE_ROWS) return PLUMB_OK;
    if (a->level != PLUMB_LEVEL_MEAN && a->level != PLUMB_LEVEL_SUM)
        return plumb_fail(PLUMB_EINVAL, "policy: aggregation ROWS wants level MEAN or SUM, not %d",
                          (int)a->level);
    const bool sampler = a->sampler_ratio.data && a->loss != PLUMB_POLICY_VESPO;
    if (sampler || a->weight.data || a->mark.data)
        return plumb_fail(PLUMB_EINVAL, "policy: aggregation ROWS has no terms of tokens for %s",
                          sampler          ? "sampler_ratio"
                          : a->weight.data ? "weight"
                                           : "mark");
    return PLUMB_OK;
}

int plumb_policy(const struct plumb_device *dev, const struct plumb_policy *a)
{
    PLUMB_TRY(plumb_check_args("policy", dev, a, sizeof *a));
    PLUMB_TRY(check_kind(a));
    PLUMB_TRY(plumb_check_size("policy", "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs("policy", dev, a->offset, a->B));
    if (a->target) PLUMB_TRY(plumb_check_array("policy", dev, "target", a->target));
    PLUMB_TRY(check_common(a));
    PLUMB_TRY(check_inputs(dev, a));
    PLUMB_TRY(check_outputs(dev, a));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_policy_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "policy", a, sizeof *a);
    plumb_policy_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_policy_part(const struct plumb_policy *a, const int32_t *offset, int64_t first,
                      int64_t count, struct plumb_policy *out)
{
    struct plumb_sequence_part p = { 0 };
    if (!a || !out) return plumb_fail(PLUMB_EINVAL, "policy: %s is NULL", a ? "out" : "a");
    PLUMB_TRY(plumb_sequence_part_of("policy", offset, a->B, 1, first, count, &p));
    *out = *a;
    out->B = p.count;
    out->offset = a->offset ? a->offset + p.first : NULL;
    struct plumb_tensor *const of_each[] = { &out->advantage, &out->row_weight, &out->losses,
                                             &out->bonus };
    for (size_t i = 0; i < sizeof of_each / sizeof *of_each; i++)
        *of_each[i] = plumb_part_at(*of_each[i], p.first);
    out->stats = plumb_part_at(a->stats, p.first * PLUMB_POLICY_STATS);
    return PLUMB_OK;
}
