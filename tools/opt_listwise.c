/* Options of `plumb listwise`, for which TRL has no trainer: names are those of its relatives. */
#include "tools/option_rows.h"
#include "tools/train_options.h"

#define C plumb_listwise_config

static const char *const losses[] = {
#define PLUMB_FORMULA(ID, NAME, name, source) #name,
#include <plumb/listwise.def>
#undef PLUMB_FORMULA
    NULL
};

static const struct plumb_option rows[] = {
    R_CHOICE(C, "loss_type", loss_type, "list_mle", "loss of a list", losses),
    R_FLOAT(C, beta, PLUMB_OPT_NONE | PLUMB_OPT_ABOVE_LO, 0, 1e3, NULL, "1/nat",
            "scale of the log-ratios to the reference model, which makes them scores; None = 0.05, "
            "for pro, rrhf and sppo_k 1"),
    R_TRISTATE(C, reference_free,
               "scores of log-probs instead of log-ratios; None = true for pro and rrhf"),
    R_FLOAT(C, length_penalty, PLUMB_OPT_NONE, 0, 10, NULL, "",
            "exponent of a completion's length that its score is divided by: 0 = sums, 1 = means "
            "over tokens; None = 1 for pro and rrhf, else 0"),
    R_FLOAT(C, sft_weight, PLUMB_OPT_NONE, 0, 1e6, NULL, "",
            "of the likelihood of the best completion; None = 0.05 for pro, 1 for rrhf, else 0"),
    R_FLOAT(C, sft_length_penalty, 0, 0, 10, "0", "",
            "the same exponent for that likelihood: 0 = its sum, 1 = its mean"),
    R_CHOICE(C, "average", average, "lists",
             "what the loss is a mean over; pairs of unequal scores: pair_logistic, "
             "pair_logistic_gap and pair_hinge",
             R_LIST(PLUMB_AVERAGE_NAMES)),
    R_FLOAT(C, label_temperature, PLUMB_OPT_NONE | PLUMB_OPT_ABOVE_LO, 0, 1e6, NULL, "",
            "what the data's scores are divided by; list_net, nca, sppo_k; None = 1, for sppo_k "
            "0.001"),
    R_FLOAT(C, margin, 0, -1e6, 1e6, "1", "nats", "that scores shall differ by; pair_hinge"),
    R_FLOAT(C, lambda, 0, 0, 1e6, "1", "",
            "weight of the ranking beside the likelihood, rrhf; bias of the loser's score, cpl"),
    R_INT(C, top_k, 0, 0, 1 << 20, "0", "places", "first places that count, 0 = all; list_mle"),
    R_END,
};

static const struct plumb_option_group groups[] = {
    { "Listwise preference optimization", rows, 0 },
    PLUMB_TRAIN_GROUPS(C),
    { NULL },
};
static const struct plumb_option_default defaults[] = { { "learning_rate", "1e-6" }, { NULL } };
const struct plumb_option_set plumb_listwise_options = { groups, defaults, 0 };
