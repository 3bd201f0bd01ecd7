/* Training on ranked lists, on a tiny model in float64. The values are those of the same losses,
 * written a second time on torch 2.15 around transformers 5.23's model on the same weights and ids.
 * Bound, as for TRL's trajectories: 1e-5 of a value. */
#include <math.h>
#include <plumb/listwise.h>

#include "tests/published.h"

static struct program p;
static struct tiny t;

static const char rows[] =
    "{\"prompt_ids\": [19, 18], \"completions_ids\": [[12, 20, 23], [21, 19, 3, 20, 23], [16, "
    "23]], \"scores\": [0.5, -1, 2]}\n"
    "{\"prompt_ids\": [18, 8, 7], \"completions_ids\": [[18, 18, 16, 13, 23], [8, 21, 23], [17, "
    "13, 23], [4, 23]], \"scores\": [1, 0.25, 0.25, 0]}\n"
    "{\"prompt_ids\": [22], \"completions_ids\": [[6, 23], [2, 10, 1, 9, 16, 23]], \"scores\": [0, "
    "1]}\n"
    "{\"prompt_ids\": [12, 4], \"completions_ids\": [[5, 23], [7, 9, 22, 14, 23], [14, 17, 13, "
    "23], [3, 3, 23], [1, 23]], \"scores\": [3, 1, 2, 0, -0.5]}\n"
    "{\"prompt_ids\": [18, 19, 14], \"completions_ids\": [[8, 11, 22, 1, 9, 23]], \"scores\": "
    "[1]}\n"
    "{\"prompt_ids\": [10, 4, 3], \"completions_ids\": [[21, 16, 3, 12, 23], [14, 23], [1, 10, "
    "23]], \"scores\": [0.75, 0.5, 0.875]}\n";

static void init(void)
{
    tiny_init(&t);
    cr_assert_eq(plumb_file_write(tiny_path(&t, "lists.jsonl"), rows, strlen(rows)), PLUMB_OK);
}
static void release(void) { tiny_release(&t); }
TestSuite(lists_run, .init = init, .fini = release, .timeout = 280);

/* A run of 4 steps of 2 rows, in order, at a rate that falls from 0.01; then the rows are
 * evaluated. */
static const struct computed {
    const char *options[8];
    struct value values[32]; /* until one without a step */
} runs[] = {
    { { NULL },
      {
          { 1, "loss", 2.48490665 },
          { 1, "grad_norm", 0.460336157 },
          { 1, "rewards/accuracies", 0 },
          { 1, "rewards/chosen", 0 },
          { 1, "logps/rejected", -13.8326321 },
          { 2, "loss", 2.73406497 },
          { 2, "grad_norm", 0.479058217 },
          { 2, "rewards/accuracies", 0.454545455 },
          { 2, "rewards/chosen", -0.00239923955 },
          { 2, "logps/rejected", -7.90159845 },
          { 3, "loss", 0.903690852 },
          { 3, "grad_norm", 0.191131722 },
          { 3, "rewards/accuracies", 0 },
          { 3, "rewards/chosen", -0.0052083122 },
          { 3, "logps/rejected", -16.0787158 },
          { 4, "loss", 2.3792648 },
          { 4, "grad_norm", 0.355027539 },
          { 4, "rewards/accuracies", 0.875 },
          { 4, "rewards/chosen", 0.047210148 },
          { 4, "logps/rejected", -15.3796113 },
          { 4, "eval_loss", 1.9842323 },
          { 4, "eval_rewards/accuracies", 0.727272727 },
      } },
    { { "--loss_type", "pair_logistic", "--beta", "0.5", "--gradient_accumulation_steps", "2" },
      {
          { 1, "loss", 3.29244911 },
          { 1, "grad_norm", 5.1578796 },
          { 1, "rewards/accuracies", 0 },
          { 2, "loss", 1.18008096 },
          { 2, "grad_norm", 2.94586577 },
          { 2, "rewards/accuracies", 0 },
          { 3, "loss", 2.42414825 },
          { 3, "grad_norm", 5.43232971 },
          { 3, "rewards/accuracies", 0.894736842 },
          { 4, "loss", 0.94994276 },
          { 4, "grad_norm", 2.56344796 },
          { 4, "rewards/accuracies", 0.666666667 },
          { 4, "eval_loss", 1.75027239 },
          { 4, "eval_rewards/accuracies", 0.863636364 },
      } },
    { { "--loss_type", "lambda_rank", "--beta", "1" },
      {
          { 1, "loss", 1.70676081 },
          { 1, "grad_norm", 10.0781674 },
          { 1, "rewards/accuracies", 0 },
          { 1, "rewards/chosen", 0 },
          { 1, "logps/rejected", -13.8326321 },
          { 2, "loss", 4.82741015 },
          { 2, "grad_norm", 32.4383379 },
          { 2, "rewards/accuracies", 0.545454545 },
          { 2, "rewards/chosen", -0.0574272806 },
          { 2, "logps/rejected", -7.92648948 },
          { 3, "loss", 0.206958202 },
          { 3, "grad_norm", 1.16735044 },
          { 3, "rewards/accuracies", 0 },
          { 3, "rewards/chosen", -0.129094824 },
          { 3, "logps/rejected", -16.1216077 },
          { 4, "loss", 0.345103997 },
          { 4, "grad_norm", 2.18598909 },
          { 4, "rewards/accuracies", 0.75 },
          { 4, "rewards/chosen", 0.983275262 },
          { 4, "logps/rejected", -15.1860987 },
          { 4, "eval_loss", 1.49438591 },
          { 4, "eval_rewards/accuracies", 0.727272727 },
      } },
    { { "--loss_type", "list_net", "--beta", "0.5" },
      {
          { 1, "loss", 1.24245332 },
          { 1, "grad_norm", 1.59407378 },
          { 1, "rewards/accuracies", 0 },
          { 1, "rewards/chosen", 0 },
          { 1, "logps/rejected", -13.8326321 },
          { 2, "loss", 1.14271052 },
          { 2, "grad_norm", 1.52932936 },
          { 2, "rewards/accuracies", 0.454545455 },
          { 2, "rewards/chosen", -0.0069219173 },
          { 2, "logps/rejected", -7.90810385 },
          { 3, "loss", 0.563432132 },
          { 3, "grad_norm", 0.308521595 },
          { 3, "rewards/accuracies", 0.333333333 },
          { 3, "rewards/chosen", -0.0519337004 },
          { 3, "logps/rejected", -16.0060586 },
          { 4, "loss", 1.00007917 },
          { 4, "grad_norm", 0.429981393 },
          { 4, "rewards/accuracies", 0.75 },
          { 4, "rewards/chosen", 0.488318535 },
          { 4, "logps/rejected", -15.2856667 },
          { 4, "eval_loss", 0.851452231 },
          { 4, "eval_rewards/accuracies", 0.636363636 },
      } },
    { { "--loss_type", "pair_hinge", "--beta", "0.3", "--margin", "0.7" },
      {
          { 1, "loss", 2.8 },
          { 1, "grad_norm", 8.42862973 },
          { 1, "rewards/accuracies", 0 },
          { 1, "rewards/chosen", 0 },
          { 1, "logps/rejected", -13.8326321 },
          { 2, "loss", 3.86089746 },
          { 2, "grad_norm", 9.18114042 },
          { 2, "rewards/accuracies", 0.363636364 },
          { 2, "rewards/chosen", -0.0142659264 },
          { 2, "logps/rejected", -7.87205512 },
          { 3, "loss", 1.19597653 },
          { 3, "grad_norm", 3.10892341 },
          { 3, "rewards/accuracies", 0 },
          { 3, "rewards/chosen", -0.0504174198 },
          { 3, "logps/rejected", -16.1108666 },
          { 4, "loss", 1.05760438 },
          { 4, "grad_norm", 5.32181579 },
          { 4, "rewards/accuracies", 1 },
          { 4, "rewards/chosen", 0.309722058 },
          { 4, "logps/rejected", -15.3153859 },
          { 4, "eval_loss", 1.64218879 },
          { 4, "eval_rewards/accuracies", 0.727272727 },
      } },
    { { "--loss_type", "pro" },
      {
          { 1, "loss", 7.12584352 },
          { 1, "grad_norm", 6.7587645 },
          { 1, "rewards/accuracies", 0.75 },
          { 1, "rewards/chosen", -2.84877622 },
          { 1, "logps/rejected", -13.8326321 },
          { 2, "loss", 12.3327375 },
          { 2, "grad_norm", 13.4148834 },
          { 2, "rewards/accuracies", 0.636363636 },
          { 2, "rewards/chosen", -3.54138426 },
          { 2, "logps/rejected", -7.83098077 },
          { 3, "loss", 2.24861031 },
          { 3, "grad_norm", 1.42967733 },
          { 3, "rewards/accuracies", 0.666666667 },
          { 3, "rewards/chosen", -3.88932295 },
          { 3, "logps/rejected", -15.835579 },
          { 4, "loss", 5.87884316 },
          { 4, "grad_norm", 4.52467365 },
          { 4, "rewards/accuracies", 0.75 },
          { 4, "rewards/chosen", -2.46954394 },
          { 4, "logps/rejected", -14.5488899 },
          { 4, "eval_loss", 6.27695635 },
          { 4, "eval_rewards/accuracies", 0.772727273 },
      } },
    { { "--loss_type", "rrhf" },
      {
          { 1, "loss", 10.0849112 },
          { 1, "grad_norm", 7.53979145 },
          { 1, "rewards/accuracies", 0.75 },
          { 1, "rewards/chosen", -2.84877622 },
          { 1, "logps/rejected", -13.8326321 },
          { 2, "loss", 14.7047441 },
          { 2, "grad_norm", 13.5466711 },
          { 2, "rewards/accuracies", 0.636363636 },
          { 2, "rewards/chosen", -3.52352892 },
          { 2, "logps/rejected", -7.76954835 },
          { 3, "loss", 17.9233191 },
          { 3, "grad_norm", 10.0701792 },
          { 3, "rewards/accuracies", 0.666666667 },
          { 3, "rewards/chosen", -3.88663276 },
          { 3, "logps/rejected", -15.9216144 },
          { 4, "loss", 8.67461317 },
          { 4, "grad_norm", 5.08517988 },
          { 4, "rewards/accuracies", 1 },
          { 4, "rewards/chosen", -2.51092083 },
          { 4, "logps/rejected", -14.3440567 },
          { 4, "eval_loss", 12.9853074 },
          { 4, "eval_rewards/accuracies", 0.909090909 },
      } },
};

static struct arguments arguments_of(const char *out)
{
    struct arguments a = tiny_arguments(&t, "listwise", "lists.jsonl", out);
    ADD(&a, "--eval_dataset_name", tiny_kept(&t, "lists.jsonl"), "--per_device_eval_batch_size",
        "2", "--learning_rate", "0.01", "--max_steps", "4", "--logging_steps", "1",
        "--eval_strategy", "steps", "--eval_steps", "4", "--train_sampling_strategy", "sequential",
        "--save_strategy", "no", "--overwrite_output_dir");
    return a;
}

static void run(const struct computed *r, const char *out, bool share)
{
    struct arguments a = arguments_of(out);
    for (int i = 0; r->options[i]; i++)
        ADD(&a, r->options[i]);
    ADD(&a, "--device", "ref", "--share_prompts", share ? "true" : "false");
    run_to_end(&p, &a);
}

Test(lists_run, losses_norms_and_metrics_are_those_of_another_program)
{
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        run(&runs[i], "out", true);
        values_agree(&t, "out", runs[i].values, i);
    }
}

/* A prompt computed once serves all its candidates. */
Test(lists_run, sharing_prompts_changes_no_loss)
{
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        run(&runs[i], "a", true);
        run(&runs[i], "b", false);
        losses_agree(&t, "a", "b", i);
    }
}

/* What a loss promises at its end: the order of all, or that the best come first. Those that aim at
 * scores or shares of a soft-max only have to fall. */
static bool orders(int loss)
{
    return loss == PLUMB_LIST_PAIR_LOGISTIC || loss == PLUMB_LIST_PAIR_LOGISTIC_GAP ||
           loss == PLUMB_LIST_PAIR_HINGE || loss == PLUMB_LIST_LIST_MLE || loss == PLUMB_LIST_CPL ||
           loss == PLUMB_LIST_RRHF || loss == PLUMB_LIST_PRO;
}

static bool puts_the_best_first(int loss)
{
    return orders(loss) || loss == PLUMB_LIST_BEST_SOFTMAX || loss == PLUMB_LIST_BEST_LOGISTIC ||
           loss == PLUMB_LIST_LAMBDA_RANK || loss == PLUMB_LIST_LAMBDA_NDCG ||
           loss == PLUMB_LIST_EXPECTED_LABEL;
}

Test(lists_run, every_loss_learns_its_ranking)
{
    for (int id = 0; plumb_listwise_name(id); id++) {
        const char *name = plumb_listwise_name(id);
        struct arguments a = arguments_of("out");
        ADD(&a, "--bf16", "false", "--max_steps", "80", "--eval_steps", "80", "--learning_rate",
            "0.02", "--lr_scheduler_type", "constant", "--loss_type", name, "--beta", "1");
        if (id == PLUMB_LIST_SPPO_K) ADD(&a, "--label_temperature", "1");
        run_to_end(&p, &a);
        cJSON *lines = metrics_of(&t, "out");
        const double tau = metric_at(lines, 80, "eval_rewards/kendall_tau");
        const double top = metric_at(lines, 80, "eval_rewards/top_accuracies");
        cr_expect(!orders(id) || tau == 1, "%s: tau is %g", name, tau);
        cr_expect(!puts_the_best_first(id) || top == 1, "%s: the best is first in %g", name, top);
        cr_expect(metric_at(lines, 80, "eval_rewards/margins") > 0, "%s", name);
        cJSON_Delete(lines);
    }
}

/* A list of three pairs and one of one, at ln 2 a pair: their mean over lists would be 2 ln 2. */
Test(lists_run, a_mean_over_pairs_counts_pairs)
{
    static const char three[] =
        "{\"prompt_ids\": [5], \"completions_ids\": [[6, 23], [7, 23], [8, 23]], \"scores\": "
        "[1, 2, 3]}\n{\"prompt_ids\": [5], \"completions_ids\": [[6, 23], [7, 23]], \"scores\": "
        "[1, 2]}\n";
    cr_assert_eq(plumb_file_write(tiny_path(&t, "lists.jsonl"), three, strlen(three)), PLUMB_OK);
    struct arguments a = arguments_of("out");
    ADD(&a, "--device", "ref", "--loss_type", "pair_logistic", "--average", "pairs",
        "--gradient_accumulation_steps", "2", "--per_device_train_batch_size", "1");
    run_to_end(&p, &a);
    cJSON *lines = metrics_of(&t, "out");
    cr_expect_float_eq(metric_at(lines, 1, "loss"), log(2), 1e-15);
    cJSON_Delete(lines);
}

Test(lists_run, a_wrong_option_is_named)
{
    static const struct {
        const char *option, *value, *text;
    } wrong[] = {
        { "--loss_type", "listmle", "--loss_type cannot be \"listmle\"" },
        { "--beta", "0", "--beta 0 is out of bounds" },
        { "--average", "pairs", "average pairs: loss_type list_mle is no sum over pairs" },
        { "--top_k", "-1", "--top_k -1 is out of bounds" },
        { "--precompute_ref_log_probs", "true", "unknown option" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct arguments a = arguments_of("out");
        ADD(&a, wrong[i].option, wrong[i].value);
        program_run(&p, a.v);
        cr_expect(p.code == 2 && strstr(p.err, wrong[i].text), "%s: %d, %s", wrong[i].option,
                  p.code, p.err);
    }
    struct arguments a = tiny_arguments(&t, "listwise", "pairs.jsonl", "out");
    program_run(&p, a.v);
    cr_expect(p.code == 1 && strstr(p.err, "wanted prompt, completions and scores"), "%s", p.err);
}
