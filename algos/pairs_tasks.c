/* DPO, CPO, ORPO and TPO: what each makes of the trainer of pairs. */
#include "algos/tasks.h"

#include <math.h>

static void add_term(struct plumb_pairs *p, enum plumb_pairwise_loss loss, double weight)
{
    p->terms[p->loss.term_count++] = (struct plumb_pairwise_term){ loss, weight };
}

static struct plumb_pairs start(double beta, double label_smoothing)
{
    return (struct plumb_pairs){ .ld_alpha = NAN,
                                 .loss = { .struct_bytes = sizeof(struct plumb_pairwise),
                                           .beta = beta,
                                           .label_smoothing = label_smoothing } };
}

/* A divergence changes log-ratios: likelihoods have none. */
static bool is_likelihood(int id)
{
    return id == PLUMB_PAIR_SFT || id == PLUMB_PAIR_NLL || id == PLUMB_PAIR_NLL_NORM;
}

static int check_dpo(const struct plumb_dpo_config *c, int id)
{
    const char *name = plumb_pairwise_name(id);
    if (id == PLUMB_PAIR_EXO_PAIR && c->label_smoothing == 0)
        return plumb_fail(PLUMB_EUSAGE, "loss_type %s wants label_smoothing above 0", name);
    if (c->use_weighting && (id == PLUMB_PAIR_AOT || id == PLUMB_PAIR_AOT_UNPAIRED))
        return plumb_fail(PLUMB_EUSAGE,
                          "use_weighting: loss_type %s sorts pairs, no weight is one "
                          "pair's then",
                          name);
    if (c->f_divergence_type != PLUMB_F_REVERSE_KL && !is_likelihood(id) &&
        !plumb_pairwise_takes_divergence(id))
        return plumb_fail(PLUMB_EUSAGE,
                          "loss_type %s wants f_divergence_type reverse_kl: it is no loss of a "
                          "difference of log-ratios",
                          name);
    return PLUMB_OK;
}

int plumb_task_dpo(const struct plumb_dpo_config *c, struct plumb_pairs *p, struct plumb_task *out)
{
    const int64_t count = c->loss_type.count;
    *p = start(c->beta, c->label_smoothing);
    p->loss.discopop_tau = c->discopop_tau;
    p->loss.f_divergence = c->f_divergence_type;
    p->loss.f_alpha_divergence_coef = c->f_alpha_divergence_coef;
    p->ld_alpha = c->ld_alpha;
    p->use_weighting = c->use_weighting;
    if (count < 1 || count > 8)
        return plumb_fail(PLUMB_EUSAGE, "loss_type: %lld values, 1 to 8 are possible",
                          (long long)count);
    if (c->loss_weights.count > 0 && c->loss_weights.count != count)
        return plumb_fail(PLUMB_EUSAGE, "loss_weights: %lld values for %lld loss types",
                          (long long)c->loss_weights.count, (long long)count);
    for (int64_t i = 0; i < count; i++) {
        const int id = plumb_pairwise_find(c->loss_type.item[i]);
        if (id < 0)
            return plumb_fail(PLUMB_EUSAGE,
                              "loss_type: \"%s\" is unknown; `plumb losses` lists them",
                              c->loss_type.item[i]);
        PLUMB_TRY(check_dpo(c, id));
        add_term(p, (enum plumb_pairwise_loss)id,
                 c->loss_weights.count > 0 ? c->loss_weights.item[i] : 1);
    }
    *out = plumb_task_pairs("dpo", &c->train, p);
    return PLUMB_OK;
}

/* TRL's alphapo is its simpo with the likelihood left out. AlphaPO's reward (1 - e^(-alpha x)) /
 * alpha is a formula on mean log-probs; on sums it is the link of the alpha divergence with
 * coefficient 1 - alpha. */
struct plumb_task plumb_task_cpo(const struct plumb_cpo_config *c, struct plumb_pairs *p)
{
    static const enum plumb_pairwise_loss losses[] = {
        [PLUMB_CPO_SIGMOID] = PLUMB_PAIR_SIGMOID, [PLUMB_CPO_HINGE] = PLUMB_PAIR_HINGE,
        [PLUMB_CPO_IPO] = PLUMB_PAIR_IPO,         [PLUMB_CPO_SIMPO] = PLUMB_PAIR_SIMPO,
        [PLUMB_CPO_ALPHAPO] = PLUMB_PAIR_SIMPO,
    };
    const double nll = c->loss_type == PLUMB_CPO_ALPHAPO ? 0 : c->cpo_alpha;
    *p = start(c->beta, c->label_smoothing);
    p->loss.gamma = c->simpo_gamma;
    p->loss.alpha = p->reward_alpha = c->alpha;
    p->reference_free = p->nll_metric = true;
    p->means = c->loss_type >= PLUMB_CPO_IPO;
    p->likelihood = PLUMB_LIKELIHOOD_CHOSEN;
    p->likelihood_weight = nll;
    if (c->alpha != 0 && !p->means) {
        p->loss.f_divergence = PLUMB_F_ALPHA;
        p->loss.f_alpha_divergence_coef = 1 - c->alpha;
    }
    const bool shaped = c->alpha != 0 && losses[c->loss_type] == PLUMB_PAIR_SIMPO;
    add_term(p, shaped ? PLUMB_PAIR_ALPHAPO : losses[c->loss_type], 1);
    if (nll != 0) add_term(p, PLUMB_PAIR_SFT, nll);
    return plumb_task_pairs("cpo", &c->train, p);
}

struct plumb_task plumb_task_orpo(const struct plumb_orpo_config *c, struct plumb_pairs *p)
{
    *p = start(c->beta, 0);
    p->reference_free = p->means = p->nll_metric = p->log_odds = true;
    p->likelihood = PLUMB_LIKELIHOOD_WHOLE;
    p->likelihood_weight = 1;
    add_term(p, PLUMB_PAIR_ORPO, 1);
    add_term(p, PLUMB_PAIR_SFT, 1);
    return plumb_task_pairs("orpo", &c->train, p);
}

/* tpo-l is SimPO's form. */
struct plumb_task plumb_task_tpo(const struct plumb_tpo_config *c, struct plumb_pairs *p)
{
    static const enum plumb_pairwise_loss losses[] = {
        [PLUMB_TPO_SIGMOID] = PLUMB_PAIR_SIGMOID,
        [PLUMB_TPO_HINGE] = PLUMB_PAIR_HINGE,
        [PLUMB_TPO_IPO] = PLUMB_PAIR_IPO,
        [PLUMB_TPO_L] = PLUMB_PAIR_SIMPO,
    };
    *p = start(c->beta, c->label_smoothing);
    p->loss.gamma = c->tpo_l_gamma;
    p->reference_free = true;
    p->means = c->loss_type >= PLUMB_TPO_IPO;
    p->likelihood = PLUMB_LIKELIHOOD_THIRD;
    p->likelihood_weight = c->tpo_alpha;
    add_term(p, losses[c->loss_type], 1);
    return plumb_task_pairs("tpo", &c->train, p);
}
