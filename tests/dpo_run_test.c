/* Losses over a micro-batch, divergences and weights of `plumb dpo`, on a tiny model in float64,
 * beside TRL 1.16's DPOTrainer (transformers 5.23, torch 2.15) on the same weights and ids, all
 * casts to float32 lifted: the head's, the norms', the rotations'. Bound, as for other TRL
 * trajectories: 1e-5 of a value. */
#include <math.h>

#include "tests/published.h"

static struct program p;
static struct tiny t;

/* Of the vocabulary's 24 ids 0 padded TRL's batches and 23 ended its texts. */
static const char rows[] =
    "{\"prompt_ids\": [19, 18], \"chosen_ids\": [12, 20, 23], \"rejected_ids\": [21, 19, 3, 20, "
    "23]}\n"
    "{\"prompt_ids\": [18, 8, 7], \"chosen_ids\": [18, 18, 16, 13, 23], \"rejected_ids\": [8, 21, "
    "23]}\n"
    "{\"prompt_ids\": [22], \"chosen_ids\": [6, 23], \"rejected_ids\": [2, 10, 1, 9, 16, 23]}\n"
    "{\"prompt_ids\": [12, 4], \"chosen_ids\": [5, 23], \"rejected_ids\": [7, 9, 22, 14, 23]}\n"
    "{\"prompt_ids\": [18, 19, 14], \"chosen_ids\": [8, 11, 22, 1, 9, 23], \"rejected_ids\": [22, "
    "6, 11, 18, 19, 23]}\n"
    "{\"prompt_ids\": [10, 4, 3], \"chosen_ids\": [21, 16, 3, 12, 23], \"rejected_ids\": [14, "
    "23]}\n";

static void init(void)
{
    tiny_init(&t);
    cr_assert_eq(plumb_file_write(tiny_path(&t, "rows.jsonl"), rows, strlen(rows)), PLUMB_OK);
}
static void release(void) { tiny_release(&t); }
TestSuite(dpo_run, .init = init, .fini = release, .timeout = 280);

/* A run of 4 steps of 3 rows, in order, at a rate that falls from 0.01; then rows.jsonl is
 * evaluated. */
static const struct published {
    const char *options[12];
    struct value values[20]; /* until one without a step */
} runs[] = {
    { { "--loss_type", "aot", "--beta", "0.5", "--label_smoothing", "0.1" },
      {
          { 1, "loss", 0.693147182 },
          { 1, "grad_norm", 2.21064625 },
          { 2, "loss", 0.804988146 },
          { 2, "grad_norm", 2.68343412 },
          { 4, "loss", 0.55891943 },
          { 4, "grad_norm", 1.7082271 },
          { 4, "rewards/chosen", 0.177270254 },
          { 4, "rewards/margins", 0.38641197 },
          { 4, "logps/rejected", -15.9818798 },
          { 4, "logits/rejected", -0.0273484135 },
          { 4, "entropy", 2.85462964 },
          { 4, "eval_loss", 0.434175846 },
          { 4, "eval_rewards/margins", 1.03530281 },
      } },
    { { "--loss_type", "aot_unpaired", "--beta", "0.5" },
      {
          { 1, "loss", 0.693147182 },
          { 1, "grad_norm", 2.76330782 },
          { 2, "loss", 0.823035419 },
          { 2, "grad_norm", 3.09735694 },
          { 4, "loss", 0.526312232 },
          { 4, "grad_norm", 2.26584069 },
          { 4, "rewards/chosen", 0.168254327 },
          { 4, "rewards/margins", 0.36885834 },
          { 4, "logps/rejected", -15.9648044 },
          { 4, "logits/rejected", -0.0242340407 },
          { 4, "entropy", 2.85582999 },
          { 4, "eval_loss", 0.328921638 },
          { 4, "eval_rewards/margins", 1.04830397 },
      } },
    { { "--loss_type", "aot,aot_unpaired,sigmoid", "--loss_weights", "1,0.5,0.25", "--beta", "0.5",
        "--gradient_accumulation_steps", "2" },
      {
          { 1, "loss", 1.21300757 },
          { 1, "grad_norm", 3.13100447 },
          { 2, "loss", 0.712989211 },
          { 2, "grad_norm", 1.87697416 },
          { 4, "loss", 0.378942817 },
          { 4, "grad_norm", 1.0754405 },
          { 4, "rewards/chosen", 0.585963203 },
          { 4, "rewards/margins", 1.46082923 },
          { 4, "logps/rejected", -18.5294245 },
          { 4, "logits/rejected", -0.0649097912 },
          { 4, "entropy", 2.8134933 },
          { 4, "eval_loss", 0.333696071 },
          { 4, "eval_rewards/margins", 1.60343751 },
      } },
    { { "--f_divergence_type", "js_divergence", "--beta", "0.5" },
      {
          { 1, "loss", 0.693147182 },
          { 1, "grad_norm", 1.38165391 },
          { 2, "loss", 0.754842341 },
          { 2, "grad_norm", 1.41055122 },
          { 4, "loss", 0.614462495 },
          { 4, "grad_norm", 1.31232362 },
          { 4, "rewards/chosen", 0.232273552 },
          { 4, "rewards/margins", 0.350347363 },
          { 4, "logps/rejected", -15.799744 },
          { 4, "logits/rejected", -0.0281682083 },
          { 4, "entropy", 2.85859644 },
          { 4, "eval_loss", 0.461254932 },
          { 4, "eval_rewards/margins", 1.0158584 },
      } },
    { { "--loss_type", "hinge", "--f_divergence_type", "forward_kl", "--beta", "0.2" },
      {
          { 1, "loss", 1 },
          { 1, "grad_norm", 2.21064625 },
          { 2, "loss", 1.09364164 },
          { 2, "grad_norm", 2.27272455 },
          { 4, "loss", 0.895193756 },
          { 4, "grad_norm", 2.03802775 },
          { 4, "rewards/chosen", 0.116810343 },
          { 4, "rewards/margins", 0.12814425 },
          { 4, "logps/rejected", -15.6202659 },
          { 4, "logits/rejected", -0.0314586639 },
          { 4, "entropy", 2.86045963 },
          { 4, "eval_loss", 0.481493113 },
          { 4, "eval_rewards/margins", 0.378472047 },
      } },
    { { "--loss_type", "ipo,sft", "--f_divergence_type", "alpha_divergence",
        "--f_alpha_divergence_coef", "0.3", "--beta", "0.5" },
      {
          { 1, "loss", 4.31634855 },
          { 1, "grad_norm", 7.72277932 },
          { 2, "loss", 4.61752844 },
          { 2, "grad_norm", 6.58107815 },
          { 4, "loss", 3.99275684 },
          { 4, "grad_norm", 4.33056868 },
          { 4, "rewards/chosen", 0.367424898 },
          { 4, "rewards/margins", 0.246363336 },
          { 4, "logps/rejected", -15.3214732 },
          { 4, "logits/rejected", -0.0366710554 },
          { 4, "entropy", 2.87576415 },
          { 4, "eval_loss", 3.40025729 },
          { 4, "eval_rewards/margins", 0.879317239 },
      } },
    { { "--ld_alpha", "0.25", "--beta", "0.5" },
      {
          { 1, "loss", 0.693147182 },
          { 1, "grad_norm", 2.32929786 },
          { 2, "loss", 0.797490001 },
          { 2, "grad_norm", 2.98230895 },
          { 4, "loss", 0.530825078 },
          { 4, "grad_norm", 1.97256652 },
          { 4, "rewards/chosen", 0.175827386 },
          { 4, "rewards/margins", 0.359387161 },
          { 4, "logps/rejected", -13.2090411 },
          { 4, "logits/rejected", -0.0236810859 },
          { 4, "entropy", 2.85711561 },
          { 4, "eval_loss", 0.374075888 },
          { 4, "eval_rewards/margins", 0.852077752 },
      } },
    { { "--loss_type", "aot", "--ld_alpha", "0", "--beta", "0.5" },
      {
          { 1, "loss", 0.693147182 },
          { 1, "grad_norm", 2.2928983 },
          { 2, "loss", 0.779315472 },
          { 2, "grad_norm", 2.91381073 },
          { 4, "loss", 0.509942353 },
          { 4, "grad_norm", 1.84801705 },
          { 4, "rewards/chosen", 0.240110821 },
          { 4, "rewards/margins", 0.415047618 },
          { 4, "logps/rejected", -12.2845701 },
          { 4, "logits/rejected", -0.0193942469 },
          { 4, "entropy", 2.85832466 },
          { 4, "eval_loss", 0.373418245 },
          { 4, "eval_rewards/margins", 0.844818496 },
      } },
    { { "--use_weighting", "true", "--beta", "0.5" },
      {
          { 1, "loss", 0.0824726149 },
          { 1, "grad_norm", 0.330341404 },
          { 2, "loss", 0.12000335 },
          { 2, "grad_norm", 0.481159452 },
          { 4, "loss", 0.0632870942 },
          { 4, "grad_norm", 0.277174989 },
          { 4, "rewards/chosen", 0.214017086 },
          { 4, "rewards/margins", 0.525799004 },
          { 4, "logps/rejected", -16.1871602 },
          { 4, "logits/rejected", -0.00972438899 },
          { 4, "entropy", 2.85431227 },
          { 4, "eval_loss", 0.037892401 },
          { 4, "eval_rewards/margins", 1.01434515 },
      } },
    { { "--loss_type", "ipo", "--use_weighting", "true", "--ld_alpha", "0.5", "--beta", "0.5",
        "--gradient_accumulation_steps", "2" },
      {
          { 1, "loss", 0.128614813 },
          { 1, "grad_norm", 0.469596362 },
          { 2, "loss", 0.0601072982 },
          { 2, "grad_norm", 0.312649757 },
          { 4, "loss", 0.014390992 },
          { 4, "grad_norm", 0.12387681 },
          { 4, "rewards/chosen", 0.587563711 },
          { 4, "rewards/margins", 1.12764103 },
          { 4, "logps/rejected", -15.1075783 },
          { 4, "logits/rejected", -0.0448529117 },
          { 4, "entropy", 2.83396242 },
          { 4, "eval_loss", 0.0104188118 },
          { 4, "eval_rewards/margins", 1.22810735 },
      } },
    { { "--loss_type", "exo_pair", "--label_smoothing", "0.125", "--beta", "0.5" },
      {
          { 1, "loss", 0.413339287 },
          { 1, "grad_norm", 2.68857437 },
          { 2, "loss", 0.543540001 },
          { 2, "grad_norm", 3.01424598 },
          { 4, "loss", 0.245594129 },
          { 4, "grad_norm", 2.10896226 },
          { 4, "rewards/chosen", 0.180659479 },
          { 4, "rewards/margins", 0.396584821 },
          { 4, "logps/rejected", -15.995447 },
          { 4, "logits/rejected", -0.0270095873 },
          { 4, "entropy", 2.85541048 },
          { 4, "eval_loss", 0.104182214 },
          { 4, "eval_rewards/margins", 1.03900745 },
      } },
};
enum { RUNS = sizeof runs / sizeof *runs };

static struct arguments arguments_of(const struct published *r, const char *out)
{
    struct arguments a = tiny_arguments(&t, "dpo", "rows.jsonl", out);
    ADD(&a, "--eval_dataset_name", tiny_kept(&t, "rows.jsonl"), "--per_device_train_batch_size",
        "3", "--per_device_eval_batch_size", "3", "--learning_rate", "0.01", "--max_steps", "4",
        "--logging_steps", "1", "--eval_strategy", "steps", "--eval_steps", "4",
        "--train_sampling_strategy", "sequential", "--save_strategy", "no",
        "--overwrite_output_dir");
    for (int i = 0; r->options[i]; i++)
        ADD(&a, r->options[i]);
    return a;
}

Test(dpo_run, losses_norms_and_metrics_are_trl_s)
{
    int compared = 0;
    for (size_t i = 0; i < RUNS; i++) {
        struct arguments a = arguments_of(&runs[i], "out");
        ADD(&a, "--device", "ref");
        run_to_end(&p, &a);
        compared += values_agree(&t, "out", runs[i].values, i);
    }
    printf("dpo_run: %d values of TRL compared\n", compared);
}

/* In f32, on the native code and, through the same option, on the device's. */
Test(dpo_run, other_devices_give_the_same_losses)
{
    static const char *const devices[] = { "cpu", "cuda-sim" };
    for (size_t i = 0; i < RUNS; i++)
        for (int d = 0; d < 2; d++) {
            struct arguments a = arguments_of(&runs[i], "out");
            ADD(&a, "--device", devices[d], "--bf16", "false");
            program_run(&p, a.v);
            if (p.code != 0 && d == 1 && strstr(p.err, "libplumb_cuda_sim")) continue;
            cr_assert_eq(p.code, 0, "%s", p.err);
            cJSON *lines = metrics_of(&t, "out");
            for (const struct value *v = runs[i].values; v->step; v++)
                if (!strcmp(v->metric, "loss"))
                    cr_expect_float_eq(metric_at(lines, v->step, "loss"), v->value, 2e-4,
                                       "run %zu on %s", i, devices[d]);
            cJSON_Delete(lines);
        }
}

/* The reference's weighted sums, computed once before training, are those of each step. */
Test(dpo_run, precomputed_reference_sums_have_the_same_weights)
{
    for (size_t i = 0; i < RUNS; i++) {
        struct arguments a = arguments_of(&runs[i], "a"), b = arguments_of(&runs[i], "b");
        ADD(&a, "--device", "ref");
        ADD(&b, "--device", "ref", "--precompute_ref_log_probs", "true");
        run_to_end(&p, &a);
        run_to_end(&p, &b);
        losses_agree(&t, "a", "b", i);
    }
}

Test(dpo_run, a_loss_that_its_options_leave_undefined_is_refused_before_anything_is_read)
{
    static const struct {
        const char *option[4], *text;
    } wrong[] = {
        { { "--loss_type", "exo_pair" }, "loss_type exo_pair wants label_smoothing above 0" },
        { { "--loss_type", "nca_pair", "--f_divergence_type", "forward_kl" },
          "loss_type nca_pair wants f_divergence_type reverse_kl" },
        { { "--loss_type", "sigmoid,aot", "--f_divergence_type", "js_divergence" },
          "loss_type aot wants f_divergence_type reverse_kl" },
        { { "--loss_type", "aot", "--use_weighting", "true" },
          "use_weighting: loss_type aot sorts pairs" },
        { { "--f_divergence_type", "chi2" }, "want one of reverse_kl, forward_kl" },
        { { "--ld_alpha", "1.5" }, "--ld_alpha 1.5 is out of bounds" },
        { { "--label_smoothing", "0.5", "--loss_type", "robust" }, "is out of bounds" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct arguments a = tiny_arguments(&t, "dpo", "absent.jsonl", "out");
        for (int k = 0; k < 4 && wrong[i].option[k]; k++)
            ADD(&a, wrong[i].option[k]);
        program_run(&p, a.v);
        cr_expect(p.code == 2 && strstr(p.err, wrong[i].text), "%s: %d, %s", wrong[i].option[1],
                  p.code, p.err);
    }
}
