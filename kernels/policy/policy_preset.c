/* The loss types of other systems as formula, level, aggregation and divisor: one table. */
#include <plumb/policy.h>

#include <string.h>

enum divisor { ROWS, ROWS_WITH_TOKENS, TOKENS, STEP_TOKENS, ROWS_BY_LENGTH };

static const struct {
    const char *name;
    enum plumb_policy_loss loss;
    enum plumb_policy_level level;
    enum plumb_policy_aggregation aggregation;
    enum divisor divisor;
} types[] = {
    /* TRL's loss_type */
    { "grpo", PLUMB_POLICY_CLIP, PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_ROW_MEANS, ROWS },
    { "bnpo", PLUMB_POLICY_CLIP, PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS, TOKENS },
    { "dr_grpo", PLUMB_POLICY_CLIP, PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS, ROWS_BY_LENGTH },
    { "dapo", PLUMB_POLICY_CLIP, PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS, STEP_TOKENS },
    { "cispo", PLUMB_POLICY_CISPO, PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS, STEP_TOKENS },
    { "sapo", PLUMB_POLICY_SAPO, PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_ROW_MEANS, ROWS },
    { "luspo", PLUMB_POLICY_CLIP, PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS, ROWS },
    { "vespo", PLUMB_POLICY_VESPO, PLUMB_LEVEL_SUM, PLUMB_AGGREGATE_TOKENS, STEP_TOKENS },
    /* trainers and papers */
    { "ppo", PLUMB_POLICY_CLIP, PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS, TOKENS },
    { "gspo", PLUMB_POLICY_CLIP, PLUMB_LEVEL_MEAN, PLUMB_AGGREGATE_ROW_MEANS, ROWS },
    { "gspo_token", PLUMB_POLICY_CLIP, PLUMB_LEVEL_MEAN_TOKEN, PLUMB_AGGREGATE_ROW_MEANS,
      ROWS_WITH_TOKENS },
    { "gmpo", PLUMB_POLICY_RATIO, PLUMB_LEVEL_MEAN, PLUMB_AGGREGATE_ROWS, ROWS },
    { "rloo", PLUMB_POLICY_CLIP, PLUMB_LEVEL_SUM, PLUMB_AGGREGATE_ROWS, ROWS },
    { "reinforce", PLUMB_POLICY_REINFORCE, PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS, TOKENS },
};
enum { TYPES = sizeof types / sizeof *types };

const char *plumb_policy_preset_name(int index)
{
    return index >= 0 && index < TYPES ? types[index].name : NULL;
}

static double divisor_of(enum divisor kind, const struct plumb_policy_counts *n)
{
    switch (kind) {
    case ROWS: return (double)n->rows;
    case ROWS_WITH_TOKENS: return (double)n->rows_with_tokens;
    case TOKENS: return (double)n->tokens;
    case STEP_TOKENS: return (double)n->step_tokens;
    case ROWS_BY_LENGTH: return (double)n->rows * (double)n->max_completion_length;
    }
    return 0;
}

static void set_options(const char *type, double epsilon, double epsilon_high, double delta,
                        struct plumb_policy *a)
{
    a->ratio_low = 1 - epsilon, a->ratio_high = 1 + epsilon_high, a->cap = delta;
    if (a->loss == PLUMB_POLICY_CISPO) a->ratio_low = 0, a->ratio_high = epsilon_high;
    if (a->loss == PLUMB_POLICY_SAPO) a->tau_positive = 1, a->tau_negative = 1.05;
    if (a->loss == PLUMB_POLICY_VESPO) {
        a->k_positive = 2, a->lambda_positive = 3;
        a->k_negative = 3, a->lambda_negative = 2;
        a->log_ratio_clamp = 20;
    }
    if (!strcmp(type, "gmpo")) a->log_ratio_low = epsilon, a->log_ratio_high = epsilon_high;
    if (!strcmp(type, "gspo_token")) a->row_ratio_max = 10;
}

int plumb_policy_preset(const char *loss_type, const struct plumb_policy_counts *counts,
                        double epsilon, double epsilon_high, double delta, struct plumb_policy *a)
{
    if (!counts || !a)
        return plumb_fail(PLUMB_EINVAL, "policy: %s is NULL", counts ? "the struct" : "counts");
    for (int i = 0; loss_type && i < TYPES; i++) {
        if (strcmp(types[i].name, loss_type)) continue;
        a->loss = types[i].loss, a->level = types[i].level;
        a->aggregation = types[i].aggregation;
        a->divisor = divisor_of(types[i].divisor, counts);
        set_options(loss_type, epsilon, epsilon_high, delta, a);
        return PLUMB_OK;
    }
    return plumb_fail(PLUMB_EINVAL, "policy: loss_type \"%s\" is none",
                      loss_type ? loss_type : "(null)");
}
