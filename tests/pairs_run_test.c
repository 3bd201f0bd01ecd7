/* The methods that train on pairs without a reference model, on a tiny model in float64, beside
 * TRL 1.16 (experimental CPOTrainer, ORPOTrainer and TPOTrainer, transformers 5.23, torch 2.15) on
 * the same weights and ids: the model in float64, log-probs and metrics as TRL rounds them to
 * float32. Not compared: logits/chosen and logits/rejected of cpo and orpo, which TRL takes over
 * padding and prompts too. Bound, as for other TRL trajectories: 1e-5 of a value. */
#include <math.h>

#include "tests/published.h"

static struct program p;
static struct tiny t;

/* Of the vocabulary's 24 ids 0 padded TRL's batches and 23 ended its texts. */
static const char rows[] =
    "{\"prompt_ids\": [19, 18], \"chosen_ids\": [12, 20, 23], \"rejected_ids\": [21, 19, 3, 20, "
    "23], \"reference_ids\": [16, 23]}\n"
    "{\"prompt_ids\": [18, 8, 7], \"chosen_ids\": [18, 18, 16, 13, 23], \"rejected_ids\": [8, 21, "
    "23], \"reference_ids\": [17, 13, 23]}\n"
    "{\"prompt_ids\": [22], \"chosen_ids\": [6, 23], \"rejected_ids\": [2, 10, 1, 9, 16, 23], "
    "\"reference_ids\": [13, 14, 13, 19, 15, 23]}\n"
    "{\"prompt_ids\": [12, 4], \"chosen_ids\": [5, 23], \"rejected_ids\": [7, 9, 22, 14, 23], "
    "\"reference_ids\": [14, 17, 13, 23]}\n"
    "{\"prompt_ids\": [18, 19, 14], \"chosen_ids\": [8, 11, 22, 1, 9, 23], \"rejected_ids\": [22, "
    "6, 11, 18, 19, 23], \"reference_ids\": [4, 21, 7, 21, 19, 23]}\n"
    "{\"prompt_ids\": [10, 4, 3], \"chosen_ids\": [21, 16, 3, 12, 23], \"rejected_ids\": [14, 23], "
    "\"reference_ids\": [1, 10, 23]}\n";

static void init(void)
{
    tiny_init(&t);
    cr_assert_eq(plumb_file_write(tiny_path(&t, "rows.jsonl"), rows, strlen(rows)), PLUMB_OK);
}
static void release(void) { tiny_release(&t); }
TestSuite(pairs_run, .init = init, .fini = release, .timeout = 280);

/* A run of 4 steps of 2 rows, in order, at a rate that falls from 0.01; then rows.jsonl is
 * evaluated. */
static const struct published {
    const char *command;
    const char *options[12];
    struct value values[40]; /* until one without a step */
} runs[] = {
    { "cpo",
      { NULL },
      {
          { 1, "loss", 3.88695383 },
          { 1, "grad_norm", 2.66798887 },
          { 1, "rewards/chosen", -1.32523715 },
          { 1, "rewards/margins", 0.287843704 },
          { 1, "logps/rejected", -16.1308079 },
          { 1, "nll_loss", 3.31309271 },
          { 2, "loss", 3.58290815 },
          { 2, "grad_norm", 4.00418853 },
          { 4, "loss", 3.30523515 },
          { 4, "grad_norm", 1.81863454 },
          { 4, "rewards/chosen", -1.13032258 },
          { 4, "rewards/margins", 0.52848953 },
          { 4, "logps/rejected", -16.5881214 },
          { 4, "nll_loss", 2.82580662 },
          { 4, "eval_loss", 3.57605801 },
          { 4, "eval_rewards/accuracies", 0.666666687 },
      } },
    { "cpo",
      { "--loss_type", "hinge", "--gradient_accumulation_steps", "2" },
      {
          { 1, "loss", 3.68665195 },
          { 1, "grad_norm", 2.51955397 },
          { 1, "rewards/chosen", -0.997424126 },
          { 1, "rewards/margins", 0.781089008 },
          { 1, "logps/rejected", -17.7851295 },
          { 1, "nll_loss", 3.33057404 },
          { 2, "loss", 4.93354607 },
          { 2, "grad_norm", 3.18793692 },
          { 4, "loss", 4.55125809 },
          { 4, "grad_norm", 3.12720827 },
          { 4, "rewards/chosen", -1.76999652 },
          { 4, "rewards/margins", -0.333082795 },
          { 4, "logps/rejected", -14.3691368 },
          { 4, "nll_loss", 3.21817541 },
          { 4, "eval_loss", 3.47896437 },
          { 4, "eval_rewards/accuracies", 0.666666687 },
      } },
    { "cpo",
      { "--loss_type", "ipo", "--beta", "0.3" },
      {
          { 1, "loss", 5.54337549 },
          { 1, "grad_norm", 12.969115 },
          { 1, "rewards/chosen", -1.05108821 },
          { 1, "rewards/margins", 0.179938748 },
          { 1, "logps/rejected", -4.10342312 },
          { 1, "nll_loss", 3.31309271 },
          { 2, "loss", 5.45016718 },
          { 2, "grad_norm", 15.8620935 },
          { 4, "loss", 3.49808884 },
          { 4, "grad_norm", 4.81547144 },
          { 4, "rewards/chosen", -0.910013199 },
          { 4, "rewards/margins", 0.383073181 },
          { 4, "logps/rejected", -4.31028795 },
          { 4, "nll_loss", 2.91607928 },
          { 4, "eval_loss", 4.4081077 },
          { 4, "eval_rewards/accuracies", 0.833333313 },
      } },
    { "cpo",
      { "--loss_type", "simpo", "--beta", "2", "--cpo_alpha", "0.5", "--simpo_gamma", "0.8",
        "--label_smoothing", "0.1" },
      {
          { 1, "loss", 2.66620445 },
          { 1, "grad_norm", 4.82129321 },
          { 1, "rewards/chosen", -7.0072546 },
          { 1, "rewards/margins", 1.19959164 },
          { 1, "logps/rejected", -4.10342312 },
          { 1, "nll_loss", 3.31309271 },
          { 2, "loss", 2.5276742 },
          { 2, "grad_norm", 5.92862738 },
          { 4, "loss", 1.90099061 },
          { 4, "grad_norm", 1.65741887 },
          { 4, "rewards/chosen", -6.05270004 },
          { 4, "rewards/margins", 2.5039947 },
          { 4, "logps/rejected", -4.27834749 },
          { 4, "nll_loss", 2.90973878 },
          { 4, "eval_loss", 2.22191661 },
          { 4, "eval_rewards/accuracies", 0.833333313 },
      } },
    { "cpo",
      { "--loss_type", "alphapo", "--alpha", "0.25", "--beta", "1.5" },
      {
          { 1, "loss", 1.21609128 },
          { 1, "grad_norm", 10.2430721 },
          { 1, "rewards/chosen", -8.66860008 },
          { 1, "rewards/margins", 2.11016107 },
          { 1, "logps/rejected", -4.10342312 },
          { 1, "nll_loss", 0 },
          { 2, "loss", 0.642257333 },
          { 2, "grad_norm", 6.87107645 },
          { 4, "loss", 0.0665991232 },
          { 4, "grad_norm", 0.845500925 },
          { 4, "rewards/chosen", -6.99175739 },
          { 4, "rewards/margins", 4.67580557 },
          { 4, "logps/rejected", -4.31593227 },
          { 4, "nll_loss", 0 },
          { 4, "eval_loss", 0.495289656 },
          { 4, "eval_rewards/accuracies", 0.833333313 },
      } },
    { "cpo",
      { "--alpha", "0.1" },
      {
          { 1, "loss", 3.7357657 },
          { 1, "grad_norm", 3.43438277 },
          { 1, "rewards/chosen", -2.76697493 },
          { 1, "rewards/margins", 1.4745177 },
          { 1, "logps/rejected", -16.1308079 },
          { 1, "nll_loss", 3.31309271 },
          { 2, "loss", 3.34218645 },
          { 2, "grad_norm", 3.89033876 },
          { 4, "loss", 3.04515505 },
          { 4, "grad_norm", 2.02945716 },
          { 4, "rewards/chosen", -2.1211729 },
          { 4, "rewards/margins", 2.45622969 },
          { 4, "logps/rejected", -16.7963791 },
          { 4, "nll_loss", 2.84035659 },
          { 4, "eval_loss", 3.83364711 },
          { 4, "eval_rewards/accuracies", 0.666666687 },
      } },
    { "orpo",
      { "--beta", "0.7" },
      {
          { 1, "loss", 3.68074322 },
          { 1, "grad_norm", 3.15717253 },
          { 1, "rewards/chosen", -2.45253897 },
          { 1, "rewards/margins", 0.419857085 },
          { 1, "logps/rejected", -4.10342312 },
          { 1, "nll_loss", 3.29112959 },
          { 1, "log_odds_ratio", -0.556590736 },
          { 1, "log_odds_chosen", 0.622847199 },
          { 2, "loss", 3.72570562 },
          { 2, "grad_norm", 4.35693645 },
          { 4, "loss", 3.07247782 },
          { 4, "grad_norm", 1.89179211 },
          { 4, "rewards/chosen", -2.10770082 },
          { 4, "rewards/margins", 0.86232543 },
          { 4, "logps/rejected", -4.24289465 },
          { 4, "nll_loss", 2.86128068 },
          { 4, "log_odds_ratio", -0.301710367 },
          { 4, "log_odds_chosen", 1.27490819 },
          { 4, "eval_loss", 3.3051269 },
          { 4, "eval_rewards/accuracies", 0.833333313 },
      } },
    { "orpo",
      { "--gradient_accumulation_steps", "3" },
      {
          { 1, "loss", 3.33034968 },
          { 1, "grad_norm", 1.40353051 },
          { 1, "rewards/chosen", -0.341633558 },
          { 1, "rewards/margins", 0.0446995236 },
          { 1, "logps/rejected", -3.8633306 },
          { 1, "nll_loss", 3.27253151 },
          { 1, "log_odds_ratio", -0.578180015 },
          { 1, "log_odds_chosen", 0.462085336 },
          { 2, "loss", 3.07535577 },
          { 2, "grad_norm", 1.24418007 },
          { 4, "loss", 2.79942822 },
          { 4, "grad_norm", 1.20193062 },
          { 4, "rewards/chosen", -0.284789741 },
          { 4, "rewards/margins", 0.0880220309 },
          { 4, "logps/rejected", -3.7281177 },
          { 4, "nll_loss", 2.76011825 },
          { 4, "log_odds_ratio", -0.393103272 },
          { 4, "log_odds_chosen", 0.920024097 },
          { 4, "eval_loss", 2.74698034 },
          { 4, "eval_rewards/accuracies", 0.833333313 },
      } },
    { "tpo",
      { NULL },
      {
          { 1, "loss", 4.03869963 },
          { 1, "grad_norm", 2.28215673 },
          { 1, "rewards/chosen", -0.132523712 },
          { 1, "rewards/margins", 0.0287843716 },
          { 1, "logps/rejected", -16.1308084 },
          { 1, "entropy", 2.86043808 },
          { 1, "mean_token_accuracy", 0.125 },
          { 1, "logits/rejected", -0.221889858 },
          { 2, "loss", 4.53820896 },
          { 2, "grad_norm", 2.0857319 },
          { 4, "loss", 3.50192308 },
          { 4, "grad_norm", 1.99498473 },
          { 4, "rewards/chosen", -0.128895591 },
          { 4, "rewards/margins", 0.0315458576 },
          { 4, "logps/rejected", -16.0441449 },
          { 4, "entropy", 2.89690851 },
          { 4, "mean_token_accuracy", 0.25 },
          { 4, "logits/rejected", -0.213326281 },
          { 4, "eval_loss", 3.98500687 },
          { 4, "eval_rewards/accuracies", 0.5 },
      } },
    { "tpo",
      { "--loss_type", "hinge", "--beta", "0.1", "--tpo_alpha", "0.5" },
      {
          { 1, "loss", 2.3920033 },
          { 1, "grad_norm", 1.7377731 },
          { 1, "rewards/chosen", -1.32523712 },
          { 1, "rewards/margins", 0.287843716 },
          { 1, "logps/rejected", -16.1308084 },
          { 1, "entropy", 2.86043808 },
          { 1, "mean_token_accuracy", 0.125 },
          { 1, "logits/rejected", -0.221889858 },
          { 2, "loss", 1.94747114 },
          { 2, "grad_norm", 1.03591153 },
          { 4, "loss", 1.93874371 },
          { 4, "grad_norm", 1.50744543 },
          { 4, "rewards/chosen", -1.18486975 },
          { 4, "rewards/margins", 0.547578446 },
          { 4, "logps/rejected", -17.324482 },
          { 4, "entropy", 2.84561501 },
          { 4, "mean_token_accuracy", 0.125 },
          { 4, "logits/rejected", -0.210659247 },
          { 4, "eval_loss", 2.34074782 },
          { 4, "eval_rewards/accuracies", 0.666666667 },
      } },
    { "tpo",
      { "--loss_type", "ipo", "--beta", "0.3", "--gradient_accumulation_steps", "2" },
      {
          { 1, "loss", 5.89105558 },
          { 1, "grad_norm", 8.70693024 },
          { 1, "rewards/chosen", -1.02775235 },
          { 1, "rewards/margins", 0.11663032 },
          { 1, "logps/rejected", -3.81460889 },
          { 1, "entropy", 2.85517623 },
          { 1, "mean_token_accuracy", 0.0625 },
          { 1, "logits/rejected", -0.0952340722 },
          { 2, "loss", 6.73179054 },
          { 2, "grad_norm", 9.91258704 },
          { 4, "loss", 5.90234184 },
          { 4, "grad_norm", 7.81412306 },
          { 4, "rewards/chosen", -1.01587504 },
          { 4, "rewards/margins", 0.155309399 },
          { 4, "logps/rejected", -3.90394812 },
          { 4, "entropy", 2.85899895 },
          { 4, "mean_token_accuracy", 0.0909090936 },
          { 4, "logits/rejected", -0.0640621046 },
          { 4, "eval_loss", 4.56177079 },
          { 4, "eval_rewards/accuracies", 0.833333333 },
      } },
    { "tpo",
      { "--loss_type", "tpo-l", "--beta", "2", "--tpo_l_gamma", "0.8", "--label_smoothing", "0.1" },
      {
          { 1, "loss", 4.36935186 },
          { 1, "grad_norm", 4.56874265 },
          { 1, "rewards/chosen", -7.00725438 },
          { 1, "rewards/margins", 1.1995917 },
          { 1, "logps/rejected", -4.10342304 },
          { 1, "entropy", 2.86043808 },
          { 1, "mean_token_accuracy", 0.125 },
          { 1, "logits/rejected", -0.221889858 },
          { 2, "loss", 4.79825783 },
          { 2, "grad_norm", 4.74150316 },
          { 4, "loss", 3.46738648 },
          { 4, "grad_norm", 2.30737389 },
          { 4, "rewards/chosen", -6.24567331 },
          { 4, "rewards/margins", 2.18841745 },
          { 4, "logps/rejected", -4.21704538 },
          { 4, "entropy", 2.87841567 },
          { 4, "mean_token_accuracy", 0.125 },
          { 4, "logits/rejected", -0.236848857 },
          { 4, "eval_loss", 4.17295958 },
          { 4, "eval_rewards/accuracies", 0.833333333 },
      } },
    { "tpo",
      { "--loss_type", "tpo-l", "--beta", "2", "--tpo_alpha", "0" },
      {
          { 1, "loss", 0.836197197 },           { 1, "grad_norm", 4.27450771 },
          { 1, "rewards/chosen", -7.00725438 }, { 1, "rewards/margins", 1.1995917 },
          { 1, "logps/rejected", -4.10342304 }, { 1, "entropy", 2.8653161 },
          { 1, "mean_token_accuracy", 0.125 },  { 1, "logits/rejected", -0.221889858 },
          { 2, "loss", 0.749134362 },           { 2, "grad_norm", 4.5348021 },
          { 4, "loss", 0.204869851 },           { 4, "grad_norm", 1.1518009 },
          { 4, "rewards/chosen", -6.12168372 }, { 4, "rewards/margins", 2.60008312 },
          { 4, "logps/rejected", -4.36088342 }, { 4, "entropy", 2.84511738 },
          { 4, "mean_token_accuracy", 0.125 },  { 4, "logits/rejected", -0.234754742 },
          { 4, "eval_loss", 0.486149165 },      { 4, "eval_rewards/accuracies", 0.833333333 },
      } },
};

static struct arguments arguments_of(const struct published *r, const char *out)
{
    struct arguments a = tiny_arguments(&t, r->command, "rows.jsonl", out);
    ADD(&a, "--eval_dataset_name", tiny_kept(&t, "rows.jsonl"), "--per_device_eval_batch_size", "2",
        "--learning_rate", "0.01", "--max_steps", "4", "--logging_steps", "1", "--eval_strategy",
        "steps", "--eval_steps", "4", "--train_sampling_strategy", "sequential", "--save_strategy",
        "no", "--overwrite_output_dir");
    for (int i = 0; r->options[i]; i++)
        ADD(&a, r->options[i]);
    return a;
}

Test(pairs_run, losses_norms_and_metrics_are_trl_s)
{
    int compared = 0;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct arguments a = arguments_of(&runs[i], "out");
        ADD(&a, "--device", "ref");
        run_to_end(&p, &a);
        compared += values_agree(&t, "out", runs[i].values, i);
    }
    printf("pairs_run: %d values of TRL compared\n", compared);
}

/* A prompt computed once serves its pair's log-probs and, in orpo, its own likelihood. */
Test(pairs_run, sharing_prompts_changes_no_loss)
{
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct arguments a = arguments_of(&runs[i], "a"), b = arguments_of(&runs[i], "b");
        ADD(&a, "--device", "ref");
        ADD(&b, "--device", "ref", "--share_prompts", "false");
        run_to_end(&p, &a);
        run_to_end(&p, &b);
        losses_agree(&t, "a", "b", i);
        cJSON *x = metrics_of(&t, "a"), *y = metrics_of(&t, "b");
        cr_expect_float_eq(metric_at(x, 4, "grad_norm"), metric_at(y, 4, "grad_norm"), 1e-11,
                           "run %zu", i);
        cJSON_Delete(x);
        cJSON_Delete(y);
    }
}

/* The pairs of a few rows are learnt by heart. */
Test(pairs_run, training_prefers_the_chosen_side)
{
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct arguments a = arguments_of(&runs[i], "out");
        ADD(&a, "--bf16", "false", "--max_steps", "60", "--eval_steps", "60", "--learning_rate",
            "0.02", "--lr_scheduler_type", "constant");
        run_to_end(&p, &a);
        cJSON *lines = metrics_of(&t, "out");
        cr_expect_eq(metric_at(lines, 60, "eval_rewards/accuracies"), 1, "run %zu", i);
        cr_expect(metric_at(lines, 60, "eval_loss") < 0.5 * metric_at(lines, 1, "loss"),
                  "run %zu: the loss goes from %g to %g", i, metric_at(lines, 1, "loss"),
                  metric_at(lines, 60, "eval_loss"));
        cJSON_Delete(lines);
    }
}

Test(pairs_run, a_wrong_option_is_named)
{
    static const struct {
        const char *command, *option, *value, *text;
    } wrong[] = {
        { "cpo", "--loss_type", "ipso",
          "--loss_type cannot be \"ipso\", want one of sigmoid, hinge" },
        { "cpo", "--ref_model", "x", "unknown option --ref_model" },
        { "cpo", "--precompute_ref_log_probs", "true", "unknown option" },
        { "cpo", "--cpo_alpha", "-1", "--cpo_alpha -1 is out of bounds" },
        { "cpo", "--label_smoothing", "0.7", "--label_smoothing 0.7 is out of bounds" },
        { "tpo", "--loss_type", "simpo", "want one of sigmoid, hinge, ipo, tpo-l" },
        { "tpo", "--tpo_l_alpha", "1", "unknown option --tpo_l_alpha" },
        { "orpo", "--beta", "0", "--beta 0 is out of bounds" },
        { "orpo", "--loss_type", "sigmoid", "unknown option --loss_type" },
        { "orpo", "--max_completion_length", "5", "for encoder-decoder models" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct arguments a = tiny_arguments(&t, wrong[i].command, "rows.jsonl", "out");
        ADD(&a, wrong[i].option, wrong[i].value);
        program_run(&p, a.v);
        cr_expect(p.code == 2 && strstr(p.err, wrong[i].text), "%s %s: %d, %s", wrong[i].option,
                  wrong[i].value, p.code, p.err);
    }
    struct arguments a = tiny_arguments(&t, "cpo", "rows.jsonl", "out");
    ADD(&a, "--loss_type", "ipo", "--label_smoothing", "0.1");
    program_run(&p, a.v);
    cr_expect(p.code == 2 && strstr(p.err, "label_smoothing 0.1: loss_type ipo has none"), "%s",
              p.err);
    struct arguments c = tiny_arguments(&t, "cpo", "rows.jsonl", "out");
    ADD(&c, "--loss_type", "ipo", "--alpha", "0.1");
    program_run(&p, c.v);
    cr_expect(p.code == 2 && strstr(p.err, "alpha 0.1: loss_type ipo takes log-probs"), "%s",
              p.err);
    struct arguments b = tiny_arguments(&t, "tpo", "pairs.jsonl", "out");
    program_run(&p, b.v);
    cr_expect(p.code == 1 && strstr(p.err, "wanted chosen, rejected and reference"), "%s", p.err);
}
