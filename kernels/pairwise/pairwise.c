/* Checks the arguments of the pairwise losses, knows their names and picks the code that runs. */
#define PLUMB_REAL_F64
#include "kernels/pairwise/pairwise_eval.h"

#include <plumb/backend.h>
#include <plumb/pairwise.h>

#include "kernels/formula.h"
#include "kernels/op.h"
#include "kernels/pairwise/divergence.h"
#include "kernels/sequence_part.h"

PLUMB_CPU_DECLARE(plumb_pairwise_cpu, plumb_pairwise);
PLUMB_CPU_DECLARE(plumb_pairwise_linked_cpu, plumb_pairwise);

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/pairwise.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_pairwise_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_pairwise_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }

bool plumb_pairwise_takes_divergence(int id) { return plumb_pair_takes_divergence(id); }

/* The tensor that a loss cannot do without, or NULL. */
static const struct plumb_tensor *needed(const struct plumb_pairwise *a, enum plumb_pairwise_loss l,
                                         const char **name)
{
    switch (l) {
    case PLUMB_PAIR_SPPO:
    case PLUMB_PAIR_IPO_SOFT:
    case PLUMB_PAIR_IPO_SOFT_NORM:
    case PLUMB_PAIR_SOFT_LABEL:
    case PLUMB_PAIR_SIGMOID_SCALED:
    case PLUMB_PAIR_SIGMOID_TIES:
    case PLUMB_PAIR_P3O:
    case PLUMB_PAIR_P3O_V1:
    case PLUMB_PAIR_P3O_V2:
    case PLUMB_PAIR_XPO: *name = "target"; return &a->target;
    case PLUMB_PAIR_INPO: *name = "anchor_sum"; return &a->anchor_sum;
    case PLUMB_PAIR_TDPO1:
    case PLUMB_PAIR_TDPO2:
    case PLUMB_PAIR_TIS_DPO: *name = "kl"; return &a->kl;
    case PLUMB_PAIR_AOT: *name = "aot"; return &a->aot;
    case PLUMB_PAIR_AOT_UNPAIRED: *name = "aot_unpaired"; return &a->aot_unpaired;
    default: return NULL;
    }
}

static struct plumb_pair equal_policies(const struct plumb_pairwise *a)
{
    return (struct plumb_pair){ .nw = 1,
                                .nl = 1,
                                .beta = a->beta,
                                .label_smoothing = a->label_smoothing,
                                .discopop_tau = a->discopop_tau,
                                .gamma = a->gamma,
                                .alpha = a->alpha,
                                .lambda = a->lambda,
                                .shift = a->shift,
                                .chosen_tokens = a->chosen_tokens };
}

/* A formula that has no finite value even at equal policies is undefined for these options. */
static int check_term(const struct plumb_device *dev, const struct plumb_pairwise *a, int64_t k)
{
    const char *name = plumb_pairwise_name((int)a->terms[k].loss);
    if (!name)
        return plumb_fail(PLUMB_EINVAL, "pairwise: terms[%lld].loss=%d is no loss", (long long)k,
                          (int)a->terms[k].loss);
    if (!isfinite(a->terms[k].weight))
        return plumb_fail(PLUMB_EINVAL, "pairwise: weight of loss \"%s\" is %g", name,
                          a->terms[k].weight);
    const char *field;
    const struct plumb_tensor *need = needed(a, a->terms[k].loss, &field);
    if (need && !need->data)
        return plumb_fail(PLUMB_EINVAL, "pairwise: %s is missing, which loss \"%s\" reads", field,
                          name);
    struct plumb_pair p = equal_policies(a);
    if (dev->kind != PLUMB_DEV_REF) {
        p.beta = (double)(float)p.beta;
        p.label_smoothing = (double)(float)p.label_smoothing;
        p.discopop_tau = (double)(float)p.discopop_tau;
        p.chosen_tokens = (double)(float)p.chosen_tokens;
        p.gamma = (double)(float)p.gamma;
    }
    struct plumb_pair_grad g = { 0 };
    if (isfinite(plumb_pair_eval((int)a->terms[k].loss, &p, &g)) && isfinite(g.dw) &&
        isfinite(g.dl))
        return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL,
                      "pairwise: loss \"%s\" is undefined for beta=%g, label_smoothing=%g, "
                      "discopop_tau=%g, chosen_tokens=%g, gamma=%g",
                      name, a->beta, a->label_smoothing, a->discopop_tau, a->chosen_tokens,
                      a->gamma);
}

static int check_tensors(const struct plumb_device *dev, const struct plumb_pairwise *a)
{
    const struct {
        const char *name;
        const struct plumb_tensor *t;
        bool required;
    } all[] = { { "logp", &a->logp, true },
                { "ref_logp", &a->ref_logp, false },
                { "ref_sum", &a->ref_sum, false },
                { "margin", &a->margin, false },
                { "target", &a->target, false },
                { "weight", &a->weight, false },
                { "token_weight", &a->token_weight, false },
                { "anchor_sum", &a->anchor_sum, false },
                { "kl", &a->kl, false },
                { "aot", &a->aot, false },
                { "aot_unpaired", &a->aot_unpaired, false },
                { "losses", &a->losses, true },
                { "logps", &a->logps, true },
                { "rewards", &a->rewards, true },
                { "dlogp", &a->dlogp, false },
                { "dkl", &a->dkl, false } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        PLUMB_TRY((all[i].required ? plumb_check_tensor : plumb_check_optional)(
            "pairwise", dev, all[i].name, all[i].t, PLUMB_MASK_F32));
    if (a->ref_logp.data && a->ref_sum.data)
        return plumb_fail(PLUMB_EINVAL, "pairwise: ref_logp and ref_sum are both given");
    return PLUMB_OK;
}

static int check_options(const struct plumb_pairwise *a)
{
    const char *const name[] = {
        "discopop_tau",           "gamma", "alpha", "lambda", "shift", "chosen_tokens",
        "f_alpha_divergence_coef"
    };
    const double value[] = {
        a->discopop_tau,           a->gamma, a->alpha, a->lambda, a->shift, a->chosen_tokens,
        a->f_alpha_divergence_coef
    };
    if ((int)a->f_divergence < 0 || a->f_divergence >= PLUMB_F_DIVERGENCES)
        return plumb_fail(PLUMB_EINVAL, "pairwise: f_divergence=%d is no divergence",
                          (int)a->f_divergence);
    for (int i = 0; i < 7; i++)
        if (!isfinite(value[i]))
            return plumb_fail(PLUMB_EINVAL, "pairwise: %s=%g", name[i], value[i]);
    if (a->discopop_tau < 0 || a->chosen_tokens < 0)
        return plumb_fail(PLUMB_EINVAL,
                          "pairwise: discopop_tau=%g, chosen_tokens=%g, none is "
                          "below 0",
                          a->discopop_tau, a->chosen_tokens);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_pairwise *a)
{
    PLUMB_TRY(plumb_check_args("pairwise", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("pairwise", "B", a->B, 0));
    PLUMB_TRY(plumb_check_runs("pairwise", dev, a->offset, 2 * a->B));
    PLUMB_TRY(check_tensors(dev, a));
    PLUMB_TRY(plumb_check_positive("pairwise", "beta", a->beta));
    PLUMB_TRY(plumb_check_positive("pairwise", "divisor", a->divisor));
    PLUMB_TRY(check_options(a));
    if (!(a->label_smoothing >= 0 && a->label_smoothing <= 0.5))
        return plumb_fail(PLUMB_EINVAL, "pairwise: label_smoothing=%g, must be in [0, 0.5]",
                          a->label_smoothing);
    PLUMB_TRY(plumb_check_host_array("pairwise", "terms", a->terms));
    if (a->term_count < 1 || a->term_count > 8)
        return plumb_fail(PLUMB_EINVAL, "pairwise: term_count=%lld, must be in [1, 8]",
                          (long long)a->term_count);
    for (int64_t k = 0; k < a->term_count; k++)
        PLUMB_TRY(check_term(dev, a, k));
    return PLUMB_OK;
}

int plumb_pairwise(const struct plumb_device *dev, const struct plumb_pairwise *a)
{
    PLUMB_TRY(check(dev, a));
    const bool linked = a->f_divergence != PLUMB_F_REVERSE_KL;
    if (dev->kind == PLUMB_DEV_CPU)
        return linked ? PLUMB_CPU_CALL(plumb_pairwise_linked_cpu, a)
                      : PLUMB_CPU_CALL(plumb_pairwise_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA)
        return plumb_backend_run(dev, linked ? "pairwise_linked" : "pairwise", a, sizeof *a);
    plumb_pairwise_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_pairwise_part(const struct plumb_pairwise *a, const int32_t *offset, int64_t first,
                        int64_t count, struct plumb_pairwise *out)
{
    struct plumb_sequence_part p = { 0 };
    if (!a || !out) return plumb_fail(PLUMB_EINVAL, "pairwise: %s is NULL", a ? "out" : "a");
    PLUMB_TRY(plumb_sequence_part_of("pairwise", offset, a->B, 2, first, count, &p));
    *out = *a;
    out->B = p.count;
    out->offset = a->offset ? a->offset + 2 * p.first : NULL;
    struct plumb_tensor *const of_pairs[] = { &out->losses, &out->margin, &out->weight, &out->aot };
    struct plumb_tensor *const of_sides[] = { &out->ref_sum,      &out->logps,     &out->rewards,
                                              &out->target,       &out->kl,        &out->dkl,
                                              &out->aot_unpaired, &out->anchor_sum };
    for (size_t i = 0; i < sizeof of_pairs / sizeof *of_pairs; i++)
        *of_pairs[i] = plumb_part_at(*of_pairs[i], p.first);
    for (size_t i = 0; i < sizeof of_sides / sizeof *of_sides; i++)
        *of_sides[i] = plumb_part_at(*of_sides[i], 2 * p.first);
    return PLUMB_OK;
}
