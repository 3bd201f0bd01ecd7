/* The pairwise losses against values of published implementations: golden/losses/pairwise. */
#include "tests/pairwise_batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/golden.h"

static void pack(struct plumb_golden *g, const cJSON *c, struct batch *b)
{
    int64_t n;
    const double *pw = plumb_golden_input(g, c, "policy_chosen_logps", &n);
    const double *pl = plumb_golden_input(g, c, "policy_rejected_logps", &n);
    const double *rw = plumb_golden_input(g, c, "ref_chosen_logps", &n);
    const double *rl = plumb_golden_input(g, c, "ref_rejected_logps", &n);
    const double *nw = plumb_golden_input(g, c, "chosen_lengths", &n);
    const double *nl = plumb_golden_input(g, c, "rejected_lengths", &n);
    *b = (struct batch){ .B = n };
    b->margin = plumb_golden_input(g, c, "margins", &n);
    b->weight = plumb_golden_input(g, c, "weights", &n);
    for (int64_t i = 0; i < b->B; i++) {
        append(b, 2 * i, nw[i], pw[i], rw ? rw[i] : 0);
        append(b, 2 * i + 1, nl[i], pl[i], rl ? rl[i] : 0);
    }
}

static void compare_metrics(struct plumb_golden *g, const cJSON *c, const struct batch *b,
                            enum plumb_dtype t)
{
    static const char *const names[6] = {
        "rewards/chosen", "rewards/rejected", "logps/chosen",
        "logps/rejected", "rewards/margins",  "rewards/accuracies"
    };
    double mean[6] = { 0 };
    for (int64_t i = 0; i < b->B; i++) {
        const double one[6] = { b->rewards[2 * i],
                                b->rewards[2 * i + 1],
                                b->logps[2 * i],
                                b->logps[2 * i + 1],
                                b->rewards[2 * i] - b->rewards[2 * i + 1],
                                b->rewards[2 * i] > b->rewards[2 * i + 1] };
        for (int k = 0; k < 6; k++)
            mean[k] += one[k] / (double)b->B;
    }
    for (int k = 0; k < 6; k++) {
        int64_t n;
        const double *expected = plumb_golden_expected(g, c, "metrics", names[k], &n);
        if (expected) plumb_golden_check(g, c, names[k], 0, t, mean[k], *expected);
    }
}

/* rows: `losses` are those of the pairs alone, without a further term. */
static void compare(struct plumb_golden *g, const cJSON *c, const struct batch *b,
                    enum plumb_dtype t, bool rows, bool metrics)
{
    int64_t n;
    const double *losses = plumb_golden_expected(g, c, NULL, "losses", &n); /* lists have none */
    const double *loss = plumb_golden_expected(g, c, NULL, "loss", &n);
    const double *dw = plumb_golden_expected(g, c, "grads", "policy_chosen_logps", &n);
    const double *dl = plumb_golden_expected(g, c, "grads", "policy_rejected_logps", &n);
    cr_assert(loss && dw && dl && n == b->B);
    const double *added = plumb_golden_input(g, c, "chosen_nll_loss", &n);
    double sum = added ? *added * (double)b->B : 0;
    for (int64_t i = 0; i < b->B; i++) {
        if (losses && rows) plumb_golden_check(g, c, "losses", i, t, b->losses[i], losses[i]);
        sum += b->losses[i];
        for (int32_t k = b->offset[2 * i]; k < b->offset[2 * i + 2]; k++)
            plumb_golden_check(g, c, "gradient", i, t, b->dlogp[k],
                               k < b->offset[2 * i + 1] ? dw[i] : dl[i]);
    }
    plumb_golden_check(g, c, "loss", 0, t, sum / (double)b->B, *loss);
    if (metrics) compare_metrics(g, c, b, t);
}

/* How a golden member is one of ours. */
struct member {
    const char *file, *loss; /* loss NULL: as the options say, a name or lists */
    const char *beta;        /* the option that is our beta; NULL = "beta" */
    const char *term;        /* a further term, with the option that is its weight */
    const char *weight;
    bool other_metrics; /* the published ones are of other quantities */
    bool one_row;       /* the published rows all hold the mean */
};

static int64_t add_term(struct plumb_pairwise_term *terms, int64_t count, const char *name,
                        double weight)
{
    const int id = plumb_pairwise_find(name);
    cr_assert(id >= 0, "%s", name);
    terms[count] = (struct plumb_pairwise_term){ (enum plumb_pairwise_loss)id, weight };
    return count + 1;
}

/* The online trainers' ipo is on sums. */
static const char *name_of(const struct member *m, const char *name)
{
    return !strcmp(m->file, "xpo") && !strcmp(name, "ipo") ? "ipo_sum" : name;
}

static int64_t terms_of(const cJSON *c, const struct member *m, struct plumb_pairwise_term *terms)
{
    const cJSON *options = cJSON_GetObjectItem(c, "options");
    const cJSON *types = cJSON_GetObjectItem(options, "loss_type");
    const cJSON *weights = cJSON_GetObjectItem(options, "loss_weights");
    int64_t count = 0;
    if (m->loss || cJSON_IsString(types))
        count = add_term(terms, count, m->loss ? m->loss : name_of(m, types->valuestring), 1);
    else
        for (int k = 0; k < cJSON_GetArraySize(types); k++)
            count = add_term(terms, count, cJSON_GetArrayItem(types, k)->valuestring,
                             cJSON_GetArrayItem(weights, k)->valuedouble);
    if (m->term) count = add_term(terms, count, m->term, plumb_golden_option(c, m->weight, 0));
    return count;
}

/* What a pair aims at, from whichever inputs the member has. */
static void fill_targets(struct plumb_golden *g, const cJSON *c, const struct member *m,
                         struct batch *b, double *target)
{
    int64_t n;
    const double *w = plumb_golden_input(g, c, "chosen_win_probs", &n);
    const double *l = plumb_golden_input(g, c, "rejected_win_probs", &n);
    const double *gap = plumb_golden_input(g, c, "preference_gaps", &n);
    const double *own = plumb_golden_input(g, c, "model_response_is_chosen", &n);
    const double *high = plumb_golden_input(g, c, "chosen_rewards", &n);
    const double *low = plumb_golden_input(g, c, "rejected_rewards", &n);
    const double *pair = plumb_golden_input(g, c, "pair_probs", &n);
    const cJSON *type = cJSON_GetObjectItem(cJSON_GetObjectItem(c, "options"), "loss_type");
    const bool single = cJSON_IsString(type) && !strcmp(type->valuestring, "sppo_single");
    for (int64_t i = 0; i < b->B; i++) {
        if (w && l) target[2 * i] = w[i], target[2 * i + 1] = l[i];
        if (single && pair) target[2 * i] = pair[i], target[2 * i + 1] = 1 - pair[i];
        if (gap) target[2 * i] = gap[i];
        if (own) target[2 * i] = own[i];
        if (high && low && m->loss) target[2 * i] = 1 / (1 + exp(low[i] - high[i]));
    }
    b->target = w || gap || own || high || pair ? target : NULL;
}

/* WPO's weight: how likely both sides are, beside what the policy would sample. */
static void fill_weights(struct plumb_golden *g, const cJSON *c, struct batch *b, double *weight)
{
    int64_t n;
    const double *w = plumb_golden_input(g, c, "policy_chosen_log_sum_sq_probs", &n);
    const double *l = plumb_golden_input(g, c, "policy_rejected_log_sum_sq_probs", &n);
    if (!w || !l) return;
    for (int64_t i = 0; i < b->B; i++) {
        const int32_t *o = b->offset + 2 * i;
        weight[i] = exp((b->logp[o[0]] - w[i]) / (o[1] - o[0]) +
                        (b->logp[o[1]] - l[i]) / (o[2] - o[1]));
    }
    b->weight = weight;
}

static struct plumb_pairwise arguments(const cJSON *c, const struct member *m,
                                       const struct batch *b)
{
    struct plumb_pairwise a = with(NULL, 0, plumb_golden_option(c, m->beta ? m->beta : "beta", 0.1),
                                   plumb_golden_option(c, "label_smoothing", 0), (double)b->B);
    a.discopop_tau = plumb_golden_option(c, "discopop_tau", 0.05);
    a.shift = plumb_golden_option(c, "delta", 0);
    a.gamma = plumb_golden_option(c, "simpo_gamma", a.shift);
    a.alpha = plumb_golden_option(c, "alpha", 0);
    a.lambda = plumb_golden_option(c, "dpop_lambda", plumb_golden_option(c, "lambda", 0));
    a.chosen_tokens = 0;
    for (int64_t i = 0; i < b->B; i++)
        a.chosen_tokens += (b->offset[2 * i + 1] - b->offset[2 * i]) / (double)b->B;
    return a;
}

static void check_member(const struct member *m)
{
    struct plumb_golden g;
    char path[64] = "pairwise/";
    cr_assert(strlen(m->file) < sizeof path - 10);
    memcpy(path + 9, m->file, strlen(m->file) + 1);
    if (!plumb_golden_open(&g, path)) return;
    struct batch *b = malloc(sizeof *b);
    double target[2 * MAX_PAIRS] = { 0 }, weight[MAX_PAIRS];
    for (int i = 0; i < g.count; i++) {
        const cJSON *c = plumb_golden_case(&g, i);
        struct plumb_pairwise_term terms[8];
        pack(&g, c, b);
        fill_targets(&g, c, m, b, target);
        fill_weights(&g, c, b, weight);
        struct plumb_pairwise a = arguments(c, m, b);
        a.terms = terms, a.term_count = terms_of(c, m, terms);
        const bool rows = a.term_count == 1 || terms[1].weight == 0;
        run(&plumb_ref, a, b);
        compare(&g, c, b, PLUMB_F64, rows && !m->one_row, !m->other_metrics);
        run(plumb_test_device(), a, b);
        compare(&g, c, b, PLUMB_F32, rows && !m->one_row, !m->other_metrics);
        g.run++;
    }
    cr_expect(g.run == g.count, "only %d of %d cases of %s ran", g.run, g.count, m->file);
    free(b);
    plumb_golden_close(&g);
}

static const struct member members[] = {
    { "dpo_sigmoid", "sigmoid" },
    { "cdpo", "sigmoid" },
    { "dpo_hinge", "hinge" },
    { "dpo_ipo", "ipo" },
    { "dpo_ipo_sum", "ipo_sum" },
    { "robust", "robust" },
    { "exo_pair", "exo_pair" },
    { "nca_pair", "nca_pair" },
    { "bco_pair", "bco_pair" },
    { "bco_pair_delta", "bco_pair" },
    { "sppo_hard", "sppo_hard" },
    { "apo_zero", "apo_zero" },
    { "apo_down", "apo_down" },
    { "discopop", "discopop" },
    { "sigmoid_norm", "sigmoid_norm" },
    { "sft", "sft", .one_row = true },
    { "loss_list", NULL },
    { "cal_dpo", "cal_dpo" },
    { "npo", "npo" },
    { "simper", "simper" },
    { "sppo", "sppo" },
    { "online_ipo_soft", "ipo_soft", .beta = "tau" },
    { "dpop", "dpop" },
    { "r_dpo", "r_dpo" },
    { "dpo_margin", "sigmoid_margin" },
    { "dpo_weighted", NULL },
    { "wpo", NULL },
    { "dno_soft", "soft_label", .beta = "eta" },
    { "rpo", "sigmoid", .term = "nll_norm", .weight = "eta" },
    { "cpo_sigmoid", NULL, .term = "sft", .weight = "cpo_alpha" },
    { "cpo_hinge", NULL, .term = "sft", .weight = "cpo_alpha" },
    { "cpo_ipo", NULL, .term = "sft", .weight = "cpo_alpha", .other_metrics = true },
    { "simpo", NULL, .term = "sft", .weight = "cpo_alpha", .other_metrics = true },
    { "alphapo", "alphapo", .term = "sft", .weight = "cpo_alpha", .other_metrics = true },
    { "orpo", "orpo", .other_metrics = true },
    { "xpo", NULL, .term = "xpo", .weight = "alpha" },
    { "slic_hf", "slic_hf" },
};

Test(pairwise_golden, agrees_with_published_implementations)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        check_member(&members[i]);
}
