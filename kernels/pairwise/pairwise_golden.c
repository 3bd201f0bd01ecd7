/* Adapters of golden/losses/pairwise: one formula, or a sum of two. */
#include "tests/golden_pairs.h"

#include <math.h>
#include <string.h>

/* ---- a batch ---- */

const double *golden_pairs_sums(struct golden_run *r, const char *chosen, const char *rejected)
{
    int64_t n, m;
    const double *w = golden_input(r, chosen, &n), *l = golden_input(r, rejected, &m);
    if (!w || !l || n != m) return NULL;
    double *sums = golden_alloc(r, (size_t)(2 * n) * sizeof *sums);
    for (int64_t i = 0; i < n; i++)
        sums[2 * i] = w[i], sums[2 * i + 1] = l[i];
    return sums;
}

/* Per-token values whose sums are `sums`. */
static struct plumb_tensor tokens(struct golden_run *r, const struct golden_pairs *p,
                                  const double *sums)
{
    double *x = golden_alloc(r, (size_t)p->M * sizeof *x);
    for (int64_t s = 0; sums && s < 2 * p->B; s++)
        if (p->offset[s + 1] > p->offset[s]) x[p->offset[s]] = sums[s];
    return golden_in(r, sums ? x : NULL, p->M);
}

static void fill_lengths(struct golden_run *r, struct golden_pairs *p)
{
    int64_t n = 0;
    const double *w = golden_input(r, "chosen_lengths", &n);
    const double *l = golden_input(r, "rejected_lengths", &p->B);
    int32_t *offset = golden_alloc(r, (size_t)(2 * p->B + 1) * sizeof *offset);
    for (int64_t i = 0; w && i < p->B; i++) {
        offset[2 * i + 1] = offset[2 * i] + (int32_t)w[i];
        offset[2 * i + 2] = offset[2 * i + 1] + (int32_t)l[i];
        p->a.chosen_tokens += w[i] / (double)p->B;
    }
    p->offset = offset, p->M = offset[2 * p->B];
}

static bool is_text(const char *s, const char *text) { return s && !strcmp(s, text); }

/* What a pair aims at, from whichever inputs the case has. */
static const double *targets(struct golden_run *r, int64_t B)
{
    int64_t n;
    const double *one = golden_input(r, "preference_gaps", &n);
    const double *w = golden_pairs_sums(r, "chosen_win_probs", "rejected_win_probs");
    const double *score = golden_pairs_sums(r, "chosen_rewards", "rejected_rewards");
    const double *pair = golden_input(r, "pair_probs", &n);
    const bool single = is_text(golden_option_text(r, "loss_type"), "sppo_single");
    if (w && !single) return w;
    if (!one) one = golden_input(r, "model_response_is_chosen", &n);
    if (!one && !score && !pair) return NULL;
    double *target = golden_alloc(r, (size_t)(2 * B) * sizeof *target);
    for (int64_t i = 0; i < B; i++) {
        target[2 * i] = one    ? one[i]
                        : pair ? pair[i]
                               : 1 / (1 + exp(score[2 * i + 1] - score[2 * i]));
        target[2 * i + 1] = 1 - target[2 * i];
    }
    return target;
}

static enum plumb_f_divergence divergence(struct golden_run *r)
{
    static const char *const names[] = { "reverse_kl", "forward_kl", "js_divergence",
                                         "alpha_divergence" };
    const char *name = golden_option_text(r, "f_divergence_type");
    for (int f = 0; name && f < 4; f++)
        if (!strcmp(names[f], name)) return (enum plumb_f_divergence)f;
    return name ? PLUMB_F_DIVERGENCES : PLUMB_F_REVERSE_KL;
}

struct golden_pairs golden_pairs_of(struct golden_run *r)
{
    int64_t n;
    struct golden_pairs p = { 0 };
    struct plumb_pairwise *a = &p.a;
    fill_lengths(r, &p);
    *a = (struct plumb_pairwise){
        .struct_bytes = sizeof *a,
        .B = p.B,
        .offset = golden_copy(r, p.offset, (size_t)(2 * p.B + 1) * sizeof *p.offset),
        .beta = golden_option(r, "beta", 0.1),
        .label_smoothing = golden_option(r, "label_smoothing", 0),
        .divisor = (double)p.B,
        .discopop_tau = golden_option(r, "discopop_tau", 0.05),
        .shift = golden_option(r, "delta", 0),
        .gamma = golden_option(r, "simpo_gamma", golden_option(r, "delta", 0)),
        .alpha = golden_option(r, "alpha", 0),
        .lambda = golden_option(r, "dpop_lambda", golden_option(r, "lambda", 0)),
        .chosen_tokens = a->chosen_tokens,
        .f_divergence = divergence(r),
        .f_alpha_divergence_coef = golden_option(r, "f_alpha_divergence_coef", 0.5),
        .margin = golden_in(r, golden_input(r, "margins", &n), p.B),
        .target = golden_in(r, targets(r, p.B), 2 * p.B),
        .weight = golden_in(r, golden_input(r, "weights", &n), p.B),
        .losses = golden_out(r, p.B),
        .logps = golden_out(r, 2 * p.B),
        .rewards = golden_out(r, 2 * p.B),
        .dlogp = golden_out(r, p.M),
    };
    a->logp = tokens(r, &p, golden_pairs_sums(r, "policy_chosen_logps", "policy_rejected_logps"));
    a->ref_logp = tokens(r, &p, golden_pairs_sums(r, "ref_chosen_logps", "ref_rejected_logps"));
    return p;
}

bool golden_pairs_run(struct golden_run *r, struct golden_pairs *p,
                      const struct plumb_pairwise_term *terms, int64_t count)
{
    p->a.terms = terms, p->a.term_count = count;
    if (!golden_ok(r, plumb_pairwise(r->dev, &p->a))) return false;
    p->losses = golden_read(r, &p->a.losses, p->B);
    p->logps = golden_read(r, &p->a.logps, 2 * p->B);
    p->rewards = golden_read(r, &p->a.rewards, 2 * p->B);
    p->dlogp = golden_read(r, &p->a.dlogp, p->M);
    return true;
}

void golden_pairs_term(struct plumb_pairwise_term *term, const char *name, double weight)
{
    term->loss = (enum plumb_pairwise_loss)plumb_pairwise_find(name);
    term->weight = weight;
}

/* ---- what is expected of it ---- */

double golden_mean(const double *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i];
    return sum / (double)count;
}

void golden_pairs_gradients(struct golden_run *r, const struct golden_pairs *p)
{
    static const char *const names[2] = { "policy_chosen_logps", "policy_rejected_logps" };
    double *d = golden_alloc(r, (size_t)p->B * sizeof *d);
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < p->B; i++)
            d[i] = p->dlogp[p->offset[2 * i + side]];
        golden_values(r, "grads", names[side], d, p->B);
        for (int64_t i = 0; i < p->B; i++) /* every token's, not only the first's */
            d[i] = p->dlogp[p->offset[2 * i + side + 1] - 1];
        golden_values(r, "grads", names[side], d, p->B);
    }
}

/* What trainers without a reference call the reward: of a mean log-prob, AlphaPO's transformed. */
static double mean_reward(const struct plumb_pairwise *a, double m)
{
    return a->beta * (a->alpha != 0 ? -expm1(-a->alpha * m) / a->alpha : m);
}

void golden_pairs_metrics(struct golden_run *r, const struct golden_pairs *p, bool by_length)
{
    static const char *const names[2][2] = { { "logps/chosen", "rewards/chosen" },
                                             { "logps/rejected", "rewards/rejected" } };
    double logp[2] = { 0 }, reward[2] = { 0 }, accurate = 0;
    for (int64_t i = 0; i < p->B; i++) {
        double one[2];
        for (int side = 0; side < 2; side++) {
            const int64_t s = 2 * i + side;
            const double n = by_length ? p->offset[s + 1] - p->offset[s] : 1;
            one[side] = by_length ? mean_reward(&p->a, p->logps[s] / n) : p->rewards[s];
            logp[side] += p->logps[s] / n / (double)p->B;
            reward[side] += one[side] / (double)p->B;
        }
        accurate += one[0] > one[1];
    }
    for (int side = 0; side < 2; side++) {
        golden_value(r, "metrics", names[side][0], logp[side]);
        golden_value(r, "metrics", names[side][1], reward[side]);
    }
    golden_value(r, "metrics", "rewards/margins", reward[0] - reward[1]);
    golden_value(r, "metrics", "rewards/accuracies", accurate / (double)p->B);
}

/* ---- formulas ---- */

/* How a golden member is one of ours. */
struct how {
    const char *loss; /* NULL: as the options say, a name or lists */
    const char *beta; /* the option that is our beta; NULL = "beta" */
    const char *term; /* a further term, with the option that is its weight */
    const char *weight;
    const char *metric; /* the further term's: its mean, times the weight with `share` */
    const char *share;  /* the first term's */
    bool alone;         /* the published rows are without the further term */
    bool one_row;       /* the published rows all hold the mean */
    bool by_length;     /* metrics are of mean log-probs */
};

/* The online trainers' ipo is on sums. */
static const char *name_of(const struct how *h, const char *name)
{
    return is_text(h->term, "xpo") && is_text(name, "ipo") ? "ipo_sum" : name;
}

static int64_t terms_of(struct golden_run *r, const struct how *h,
                        struct plumb_pairwise_term *terms)
{
    const cJSON *options = cJSON_GetObjectItem(r->at, "options");
    const cJSON *types = cJSON_GetObjectItem(options, "loss_type");
    const cJSON *weights = cJSON_GetObjectItem(options, "loss_weights");
    const char *one = h->loss ? h->loss : golden_option_text(r, "loss_type");
    int64_t count = 0;
    if (one)
        golden_pairs_term(&terms[count++], name_of(h, one), 1);
    else
        for (; count < cJSON_GetArraySize(types); count++)
            golden_pairs_term(&terms[count], cJSON_GetArrayItem(types, (int)count)->valuestring,
                              cJSON_GetArrayItem(weights, (int)count)->valuedouble);
    if (h->term) golden_pairs_term(&terms[count++], h->term, golden_option(r, h->weight, 0));
    return count;
}

/* The terms by themselves: rows of the first, metrics of both. */
static bool report_terms(struct golden_run *r, const struct how *h, struct golden_pairs *p,
                         const struct plumb_pairwise_term *terms)
{
    if (!h->term) return true;
    if (!golden_pairs_run(r, p, terms, 1)) return false;
    if (h->alone) golden_values(r, NULL, "losses", p->losses, p->B);
    if (h->share) golden_value(r, "metrics", h->share, golden_mean(p->losses, p->B));
    struct plumb_pairwise_term further = terms[1];
    if (!h->share) further.weight = 1;
    if (!golden_pairs_run(r, p, &further, 1)) return false;
    if (h->metric) /* a term that does not count is not computed */
        golden_value(r, "metrics", h->metric,
                     terms[1].weight != 0 ? golden_mean(p->losses, p->B) : 0);
    return true;
}

static void report_rows(struct golden_run *r, const struct how *h, const struct golden_pairs *p)
{
    double *rows = golden_alloc(r, (size_t)p->B * sizeof *rows);
    if (h->alone) return;
    for (int64_t i = 0; i < p->B; i++)
        rows[i] = h->one_row ? golden_mean(p->losses, p->B) : p->losses[i];
    golden_values(r, NULL, "losses", rows, p->B);
}

static void formula(struct golden_run *r, const void *how)
{
    const struct how *h = how;
    struct plumb_pairwise_term terms[8];
    struct golden_pairs p = golden_pairs_of(r);
    if (h->beta) p.a.beta = golden_option(r, h->beta, 0);
    const int64_t count = terms_of(r, h, terms);
    if (!report_terms(r, h, &p, terms) || !golden_pairs_run(r, &p, terms, count)) return;
    report_rows(r, h, &p);
    golden_value(r, NULL, "loss", golden_mean(p.losses, p.B));
    golden_pairs_gradients(r, &p);
    golden_pairs_metrics(r, &p, h->by_length);
}

/* The likelihood comes from another pass; the odds are the trainer's own metrics. */
static void orpo(struct golden_run *r, const void *how)
{
    int64_t n;
    struct plumb_pairwise_term term;
    struct golden_pairs p = golden_pairs_of(r);
    const double nll = *golden_input(r, "chosen_nll_loss", &n);
    double odds = 0;
    golden_pairs_term(&term, how, 1);
    if (!golden_pairs_run(r, &p, &term, 1)) return;
    for (int64_t s = 0; s < 2 * p.B; s++) {
        const double m = p.logps[s] / (p.offset[s + 1] - p.offset[s]);
        odds += (s % 2 ? -1 : 1) * (m - log(-expm1(m))) / (double)p.B;
    }
    golden_values(r, NULL, "losses", p.losses, p.B);
    golden_value(r, NULL, "loss", nll + golden_mean(p.losses, p.B));
    golden_pairs_gradients(r, &p);
    golden_value(r, "grads", "chosen_nll_loss", 1);
    golden_pairs_metrics(r, &p, true);
    golden_value(r, "metrics", "nll_loss", nll);
    golden_value(r, "metrics", "log_odds_ratio", -golden_mean(p.losses, p.B) / p.a.beta);
    golden_value(r, "metrics", "log_odds_chosen", odds);
}

#define FORMULA(member, name, ...)                                                                 \
    {                                                                                              \
        "pairwise/" member, formula, &(const struct how) { .loss = name, __VA_ARGS__ }             \
    }
#define CPO .term = "sft", .weight = "cpo_alpha", .metric = "nll_loss", .alone = true

extern const struct golden_member golden_pairwise[];
const struct golden_member golden_pairwise[] = {
    FORMULA("dpo_sigmoid", "sigmoid"),
    FORMULA("cdpo", "sigmoid"),
    FORMULA("dpo_hinge", "hinge"),
    FORMULA("dpo_ipo", "ipo"),
    FORMULA("dpo_ipo_sum", "ipo_sum"),
    FORMULA("robust", "robust"),
    FORMULA("exo_pair", "exo_pair"),
    FORMULA("nca_pair", "nca_pair"),
    FORMULA("bco_pair", "bco_pair"),
    FORMULA("bco_pair_delta", "bco_pair"),
    FORMULA("sppo_hard", "sppo_hard"),
    FORMULA("apo_zero", "apo_zero"),
    FORMULA("apo_down", "apo_down"),
    FORMULA("discopop", "discopop"),
    FORMULA("sigmoid_norm", "sigmoid_norm"),
    FORMULA("sft", "sft", .one_row = true),
    FORMULA("loss_list", NULL),
    FORMULA("cal_dpo", "cal_dpo"),
    FORMULA("npo", "npo"),
    FORMULA("simper", "simper"),
    FORMULA("sppo", "sppo"),
    FORMULA("online_ipo_soft", "ipo_soft", .beta = "tau"),
    FORMULA("dpop", "dpop"),
    FORMULA("r_dpo", "r_dpo"),
    FORMULA("dpo_margin", "sigmoid_margin"),
    FORMULA("dpo_weighted", NULL),
    FORMULA("dno_soft", "soft_label", .beta = "eta"),
    FORMULA("f_dpo_forward_kl", "sigmoid"),
    FORMULA("f_dpo_js_divergence", "sigmoid"),
    FORMULA("f_dpo_alpha_divergence", "sigmoid"),
    FORMULA("f_dpo_other_losses", NULL),
    FORMULA("rpo", "sigmoid", .term = "nll_norm", .weight = "eta"),
    FORMULA("cpo_sigmoid", NULL, CPO),
    FORMULA("cpo_hinge", NULL, CPO),
    FORMULA("cpo_ipo", NULL, CPO, .by_length = true),
    FORMULA("simpo", NULL, CPO, .by_length = true),
    FORMULA("alphapo", "alphapo", CPO, .by_length = true),
    { "pairwise/orpo", orpo, "orpo" },
    FORMULA("xpo", NULL, .term = "xpo", .weight = "alpha", .metric = "loss/xpo",
            .share = "loss/dpo"),
    FORMULA("slic_hf", "slic_hf"),
    { 0 },
};
