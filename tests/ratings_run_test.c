/* Training on single rated completions, on a tiny model in float64. bco is held against the loss
 * and the running moments of TRL 0.24's BCOTrainer, the last release that has one, run in float64
 * around the same weights and ids (transformers 5.23, torch 2.15). Not compared: its logits/chosen
 * and logits/rejected, sums over the vocabulary and padding. Bound, as for other TRL trajectories:
 * 1e-5 of a value; of delta 1e-5 of the rewards, gains and losses, that it is the mean of. */
#include <math.h>

#include "tests/published.h"

static struct program p;
static struct tiny t;

static const char rows[] =
    "{\"prompt_ids\": [19, 18], \"completion_ids\": [12, 20, 23], \"label\": true}\n"
    "{\"prompt_ids\": [18, 8, 7], \"completion_ids\": [18, 18, 16, 13, 23], \"label\": false}\n"
    "{\"prompt_ids\": [22], \"completion_ids\": [6, 23], \"label\": true}\n"
    "{\"prompt_ids\": [12, 4], \"completion_ids\": [5, 23], \"label\": true}\n"
    "{\"prompt_ids\": [18, 19, 14], \"completion_ids\": [8, 11, 22, 1, 9, 23], \"label\": false}\n"
    "{\"prompt_ids\": [10, 4, 3], \"completion_ids\": [21, 16, 3, 12, 23], \"label\": true}\n";

static void init(void)
{
    tiny_init(&t);
    cr_assert_eq(plumb_file_write(tiny_path(&t, "rows.jsonl"), rows, strlen(rows)), PLUMB_OK);
}
static void release(void) { tiny_release(&t); }
TestSuite(ratings_run, .init = init, .fini = release, .timeout = 280);

/* A run of 4 steps of 2 rows, in order, at a rate that falls from 0.01; then the rows are
 * evaluated. */
static const struct published {
    const char *options[8];
    struct value values[32]; /* until one without a step */
} runs[] = {
    { { NULL },
      {
          { 1, "loss", 0.693147181 },
          { 1, "grad_norm", 0.410641483 },
          { 1, "delta", 0 },
          { 1, "rewards/chosen", 0 },
          { 1, "rewards/rejected", 0 },
          { 1, "logps/rejected", -13.7074484 },
          { 2, "loss", 0.690149314 },
          { 2, "grad_norm", 0.356064255 },
          { 2, "delta", 0.00605607592 },
          { 2, "rewards/chosen", 0.0121121516 },
          { 3, "loss", 0.67985788 },
          { 3, "grad_norm", 0.527063678 },
          { 3, "delta", -0.00611218112 },
          { 3, "rewards/chosen", -0.003541057 },
          { 3, "rewards/rejected", -0.0573563316 },
          { 3, "logps/rejected", -23.949943 },
          { 4, "loss", 0.598075357 },
          { 4, "grad_norm", 0.310998418 },
          { 4, "delta", 0.00111891632 },
          { 4, "rewards/chosen", 0.223082684 },
          { 4, "rewards/rejected", -0.177458268 },
          { 4, "logps/rejected", -15.4820311 },
          { 4, "eval_loss", 0.627677665 },
          { 4, "eval_delta", 0.00111891632 },
          { 4, "eval_rewards/chosen", 0.11594863 },
      } },
    { { "--beta", "0.8", "--gradient_accumulation_steps", "2" },
      {
          { 1, "loss", 0.693147181 },
          { 1, "grad_norm", 2.33284332 },
          { 1, "delta", 0 },
          { 1, "rewards/chosen", 0 },
          { 1, "rewards/rejected", 0 },
          { 1, "logps/rejected", -13.7074484 },
          { 2, "loss", 0.641990525 },
          { 2, "grad_norm", 4.12991363 },
          { 2, "delta", -0.0031070516 },
          { 2, "rewards/chosen", 0.0957610829 },
          { 2, "rewards/rejected", -0.114403393 },
          { 2, "logps/rejected", -23.5193839 },
          { 3, "loss", 0.344271037 },
          { 3, "grad_norm", 1.2264707 },
          { 3, "delta", 0.12877956 },
          { 3, "rewards/chosen", 1.03713895 },
          { 3, "rewards/rejected", -1.02843637 },
          { 3, "logps/rejected", -14.9929939 },
          { 4, "loss", 0.257130633 },
          { 4, "grad_norm", 1.71274218 },
          { 4, "delta", 0.109535344 },
          { 4, "rewards/chosen", 0.941233436 },
          { 4, "rewards/rejected", -1.69114743 },
          { 4, "logps/rejected", -25.490314 },
          { 4, "eval_loss", 0.234728267 },
          { 4, "eval_delta", 0.109535344 },
          { 4, "eval_rewards/chosen", 1.29409833 },
      } },
};

static struct arguments arguments_of(const char *command, const char *out)
{
    struct arguments a = tiny_arguments(&t, command, "rows.jsonl", out);
    ADD(&a, "--eval_dataset_name", tiny_kept(&t, "rows.jsonl"), "--per_device_eval_batch_size", "2",
        "--learning_rate", "0.01", "--max_steps", "4", "--logging_steps", "1", "--eval_strategy",
        "steps", "--eval_steps", "4", "--save_strategy", "no", "--overwrite_output_dir");
    return a;
}

Test(ratings_run, bco_is_trl_s)
{
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct arguments a = arguments_of("bco", "out");
        for (int k = 0; runs[i].options[k]; k++)
            ADD(&a, runs[i].options[k]);
        ADD(&a, "--device", "ref");
        run_to_end(&p, &a);
        cJSON *lines = metrics_of(&t, "out");
        for (const struct value *v = runs[i].values; v->step; v++) {
            const double got = metric_at(lines, v->step, v->metric);
            const double chosen = metric_at(lines, v->step, "rewards/chosen");
            const bool is_mean = !strcmp(v->metric, "delta");
            cr_expect(fabs(got - v->value) <=
                          1e-5 * (is_mean ? fmax(fabs(v->value), chosen) : fabs(v->value)),
                      "run %zu, step %d: %s is %.9g, TRL's %.9g", i, v->step, v->metric, got,
                      v->value);
        }
        cJSON_Delete(lines);
    }
}

/* The rows are learnt by heart. */
static void expect_learnt(const char *command, const char *loss)
{
    struct arguments a = arguments_of(command, "out");
    ADD(&a, "--bf16", "false", "--max_steps", "60", "--eval_steps", "60", "--learning_rate", "0.02",
        "--lr_scheduler_type", "constant", "--beta", "0.5");
    if (loss) ADD(&a, "--loss_type", loss);
    run_to_end(&p, &a);
    cJSON *lines = metrics_of(&t, "out");
    cr_expect(metric_at(lines, 60, "eval_loss") < 0.5 * metric_at(lines, 1, "loss"),
              "%s: the loss goes from %g to %g", command, metric_at(lines, 1, "loss"),
              metric_at(lines, 60, "eval_loss"));
    cr_expect(metric_at(lines, 60, "eval_rewards/chosen") >
                  metric_at(lines, 60, "eval_rewards/rejected") + 1,
              "%s", command);
    cJSON_Delete(lines);
}

Test(ratings_run, good_completions_gain_and_bad_ones_lose)
{
    expect_learnt("bco", NULL);
    expect_learnt("kto", "kto");
    expect_learnt("kto", "apo_zero_unpaired");
}

/* The chunk that holds all rows, the rows' neighbours, and the order of the file. */
Test(ratings_run, what_a_method_needs_of_its_batch)
{
    struct arguments alone = arguments_of("kto", "out");
    ADD(&alone, "--per_device_train_batch_size", "1", "--train_sampling_strategy", "random",
        "--loss_type", "apo_zero_unpaired", "--device", "ref");
    run_to_end(&p, &alone);
    cJSON *lines = metrics_of(&t, "out");
    cr_expect_eq(metric_at(lines, 1, "kl"), 0);
    cr_expect_eq(metric_at(lines, 1, "loss"), 0.5);
    cJSON_Delete(lines);
    struct arguments kto = arguments_of("kto", "out");
    ADD(&kto, "--per_device_train_batch_size", "1");
    program_run(&p, kto.v);
    cr_expect(p.code == 2 && strstr(p.err, "kto wants 2 or more"), "%d, %s", p.code, p.err);
    struct arguments mode = arguments_of("bco", "out");
    ADD(&mode, "--truncation_mode", "keep_end");
    program_run(&p, mode.v);
    cr_expect(p.code == 2 && strstr(p.err, "a completion is cut at its end"), "%d, %s", p.code,
              p.err);
}
