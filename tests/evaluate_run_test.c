/* `plumb evaluate` as a user runs it: recorded sums, and identities between its results. */
#include <math.h>

#include "io/json.h"
#include "tests/shared.h"
#include "tests/tiny_run.h"

static struct program p;

static void write_file(const struct tiny *t, const char *name, const char *text)
{
    cr_assert_eq(plumb_file_write(tiny_path(t, name), text, strlen(text)), PLUMB_OK);
}

/* Results of an evaluation in float64 of `model` (a path) on a file of the test; the caller deletes
 * them. */
#define EVALUATE(t, model, data, ...)                                                              \
    evaluate(t, model, data, (const char *const[]){ __VA_ARGS__, NULL })
static cJSON *evaluate(const struct tiny *t, const char *model, const char *data,
                       const char *const *more)
{
    char rows[512], out[512];
    cJSON *json = NULL;
    snprintf(rows, sizeof rows, "%s", tiny_path(t, data));
    snprintf(out, sizeof out, "%s", tiny_path(t, "out.json"));
    struct arguments a = { .n = 0 };
    ADD(&a, "plumb", "evaluate", "--model_name_or_path", model, "--dataset_name", rows, "--output",
        out, "--device", "ref", "--quiet");
    for (; *more; more++)
        ADD(&a, *more);
    program_run(&p, a.v);
    cr_assert_eq(p.code, 0, "%s", p.err);
    cr_assert_eq(plumb_json_load(out, 0, &json), PLUMB_OK, "%s", plumb_errmsg());
    return json;
}

static double result(const cJSON *json, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(json, name);
    cr_assert(cJSON_IsNumber(v), "no %s in %s", name, p.out);
    return v->valuedouble;
}

/* Up to the rounding of sums in float64. */
static void expect_near(double a, double b, const char *what)
{
    cr_expect_float_eq(a, b, 1e-12 * fmax(1, fabs(b)), "%s: %.17g and %.17g", what, a, b);
}

/* Means over trained tokens, whatever the batches are, as the recorded sums have them. */
Test(evaluate_run, sft_gives_the_recorded_loss_and_entropy)
{
    char folder[1024], golden[1024];
    const char *const batch[] = { "1", "4" };
    struct tiny t;
    cJSON *json;
    if (!shared_path(folder, sizeof folder, "data/models/stories260K/hf")) return;
    if (!shared_path(golden, sizeof golden, "data/models/stories260K/golden.json")) return;
    tiny_init(&t);
    cr_assert_eq(plumb_json_load(golden, 0, &json), PLUMB_OK);
    FILE *f = fopen(tiny_path(&t, "a.jsonl"), "w");
    double sum = 0, entropy = 0, tokens = 0;
    const cJSON *s;
    cJSON_ArrayForEach(s, cJSON_GetObjectItem(json, "scored"))
    {
        const cJSON *ids = cJSON_GetObjectItem(s, "ids");
        char *text = cJSON_PrintUnformatted(ids);
        fprintf(f, "{\"input_ids\": %s}\n", text);
        cJSON_free(text);
        const double n = cJSON_GetArraySize(ids) - 1;
        sum -= cJSON_GetObjectItem(s, "sum_logprob")->valuedouble;
        entropy += n * cJSON_GetObjectItem(s, "mean_entropy")->valuedouble;
        tokens += n;
    }
    cr_assert_eq(fclose(f), 0);
    for (int i = 0; i < 2; i++) {
        cJSON *r = EVALUATE(&t, folder, "a.jsonl", "--per_device_eval_batch_size", batch[i]);
        expect_near(result(r, "eval_loss"), sum / tokens, "loss");
        expect_near(result(r, "eval_entropy"), entropy / tokens, "entropy");
        cr_expect_eq(result(r, "examples"), 6);
        cr_expect(strstr(p.out, "eval_mean_token_accuracy"), "%s", p.out);
        cJSON_Delete(r);
    }
    cJSON_Delete(json);
    tiny_release(&t);
}

/* A pair's log-prob is minus the loss of its completion, times its tokens. */
Test(evaluate_run, pairs_have_the_log_probs_of_their_completions)
{
    struct tiny t;
    tiny_init(&t);
    const char *const model = strdup(tiny_path(&t, "model"));
    write_file(&t, "pair.jsonl",
               "{\"prompt_ids\": [3, 4], \"chosen_ids\": [5, 6, 7], "
               "\"rejected_ids\": [8, 9]}\n");
    write_file(&t, "swapped.jsonl",
               "{\"prompt_ids\": [3, 4], \"chosen_ids\": [8, 9], "
               "\"rejected_ids\": [5, 6, 7]}\n");
    write_file(&t, "chosen.jsonl", "{\"prompt_ids\": [3, 4], \"completion_ids\": [5, 6, 7]}\n");
    write_file(&t, "rejected.jsonl", "{\"prompt_ids\": [3, 4], \"completion_ids\": [8, 9]}\n");
    cJSON *pair = EVALUATE(&t, model, "pair.jsonl", "--trainer", "dpo");
    cJSON *swapped = EVALUATE(&t, model, "swapped.jsonl", "--trainer", "dpo");
    cJSON *one = EVALUATE(&t, model, "chosen.jsonl", "--trainer", "sft");
    cJSON *other = EVALUATE(&t, model, "rejected.jsonl", "--trainer", "sft");
    const double chosen = result(one, "eval_loss"), rejected = result(other, "eval_loss");
    expect_near(result(pair, "eval_logps/chosen"), -3 * chosen, "chosen");
    expect_near(result(pair, "eval_logps/rejected"), -2 * rejected, "rejected");
    cr_expect_eq(result(pair, "eval_logps/accuracies"), -3 * chosen > -2 * rejected);
    cr_expect_eq(result(pair, "eval_mean_logps/accuracies"), chosen < rejected);
    cr_expect_eq(result(swapped, "eval_logps/accuracies"), -3 * chosen < -2 * rejected);
    cr_expect_eq(result(swapped, "eval_mean_logps/accuracies"), chosen > rejected);
    cr_expect_null(cJSON_GetObjectItem(pair, "eval_loss"), "there is no reference");
    cr_expect_null(strstr(p.out, "rewards"));
    cJSON_Delete(pair);
    cJSON_Delete(swapped);
    cJSON_Delete(one);
    cJSON_Delete(other);
    tiny_release(&t);
}

/* Rewards are beta times the log-ratio to the reference: a model of another shape, the same model,
 * or columns of the rows. */
Test(evaluate_run, rewards_are_log_ratios_to_the_reference)
{
    static const char *const sides[] = { "eval_logps/chosen", "eval_logps/rejected" };
    static const char *const rewards[] = { "eval_rewards/chosen", "eval_rewards/rejected" };
    struct tiny t;
    tiny_init(&t);
    const char *const model = strdup(tiny_path(&t, "model"));
    const char *const wide = strdup(tiny_path(&t, "wide"));
    tiny_model(wide, "{\"model_type\":\"gpt2\",\"vocab_size\":24,\"n_embd\":12,\"n_layer\":2,"
                     "\"n_head\":2,\"n_positions\":40}");
    cJSON *alone = EVALUATE(&t, model, "pairs.jsonl", "--trainer", "dpo");
    cJSON *ref = EVALUATE(&t, wide, "pairs.jsonl", "--trainer", "dpo");
    cJSON *both = EVALUATE(&t, model, "pairs.jsonl", "--trainer", "dpo", "--beta", "0.5",
                           "--ref_model_name_or_path", wide, "--per_device_eval_batch_size", "4");
    for (int i = 0; i < 2; i++) {
        expect_near(result(both, sides[i]), result(alone, sides[i]), sides[i]);
        expect_near(result(both, rewards[i]),
                    0.5 * (result(alone, sides[i]) - result(ref, sides[i])), rewards[i]);
    }
    cJSON *self = EVALUATE(&t, model, "pairs.jsonl", "--trainer", "dpo", "--ref_model_name_or_path",
                           model);
    expect_near(result(self, "eval_loss"), log(2), "loss of equal models");
    cr_expect_eq(result(self, "eval_rewards/margins"), 0);
    write_file(&t, "given.jsonl",
               "{\"prompt_ids\": [3], \"chosen_ids\": [5, 6], \"rejected_ids\": [8], "
               "\"ref_chosen_logps\": -2.5, \"ref_rejected_logps\": -7}\n");
    cJSON *given = EVALUATE(&t, model, "given.jsonl", "--trainer", "dpo");
    const double z = 0.1 * (result(given, sides[0]) + 2.5 - result(given, sides[1]) - 7);
    expect_near(result(given, "eval_rewards/margins"), z, "margin");
    expect_near(result(given, "eval_loss"), log1p(exp(-z)), "loss");
    cJSON *const all[] = { alone, ref, both, self, given };
    for (int i = 0; i < 5; i++)
        cJSON_Delete(all[i]);
    tiny_release(&t);
}

#define REWARD_CONFIG                                                                              \
    "{\"architectures\":[\"LlamaForSequenceClassification\"],\"num_labels\":1,"                    \
    "\"model_type\":\"llama\",\"vocab_size\":24,\"hidden_size\":8,\"intermediate_size\":12,"       \
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"                 \
    "\"max_position_embeddings\":32}"

/* pairs.jsonl with the sides the other way round. */
static void swap_pairs(const struct tiny *t, const char *name)
{
    char line[4096];
    FILE *from = fopen(tiny_path(t, "pairs.jsonl"), "r"), *to = fopen(tiny_path(t, name), "w");
    cr_assert(from && to);
    while (fgets(line, sizeof line, from)) {
        cJSON *row = cJSON_Parse(line);
        cJSON *chosen = cJSON_DetachItemFromObject(row, "chosen_ids");
        cJSON *rejected = cJSON_DetachItemFromObject(row, "rejected_ids");
        cJSON_AddItemToObject(row, "chosen_ids", rejected);
        cJSON_AddItemToObject(row, "rejected_ids", chosen);
        char *text = cJSON_PrintUnformatted(row);
        fprintf(to, "%s\n", text);
        cJSON_free(text);
        cJSON_Delete(row);
    }
    cr_assert(fclose(from) == 0 && fclose(to) == 0);
}

/* Swapping the sides turns margins and accuracy around. */
Test(evaluate_run, a_reward_model_prefers_one_side)
{
    struct tiny t;
    tiny_init(&t);
    const char *const reward = strdup(tiny_path(&t, "reward"));
    const char *const rows = strdup(tiny_path(&t, "pairs.jsonl"));
    tiny_model(reward, REWARD_CONFIG);
    swap_pairs(&t, "swapped.jsonl");
    cJSON *a = EVALUATE(&t, reward, "pairs.jsonl", "--trainer", "reward");
    cJSON *b = EVALUATE(&t, reward, "swapped.jsonl", "--trainer", "reward",
                        "--per_device_eval_batch_size", "3");
    cr_expect(fabs(result(a, "eval_margin")) > 1e-3);
    expect_near(result(a, "eval_margin"), -result(b, "eval_margin"), "margin");
    expect_near(result(a, "eval_accuracy"), 1 - result(b, "eval_accuracy"), "accuracy");
    PROGRAM_RUN(&p, "evaluate", "--model_name_or_path", reward, "--dataset_name", rows, "--trainer",
                "dpo");
    cr_expect(p.code == 1 && strstr(p.err, "is a reward model"), "%s", p.err);
    cJSON_Delete(a);
    cJSON_Delete(b);
    tiny_release(&t);
}

Test(evaluate_run, says_what_is_wrong)
{
    struct tiny t;
    tiny_init(&t);
    const char *const model = strdup(tiny_path(&t, "model"));
    const char *const pairs = strdup(tiny_path(&t, "pairs.jsonl"));
    const char *const texts = strdup(tiny_path(&t, "texts.jsonl"));
    PROGRAM_RUN(&p, "evaluate", "--model_name_or_path", model, "--dataset_name", texts, "--beta",
                "0.3");
    cr_expect(p.code == 2 && strstr(p.err, "--beta means nothing to --trainer sft"), "%s", p.err);
    PROGRAM_RUN(&p, "evaluate", "--model_name_or_path", model);
    cr_expect(p.code == 2 && strstr(p.err, "dataset_name"), "%s", p.err);
    PROGRAM_RUN(&p, "evaluate", "--model_name_or_path", model, "--dataset_name", texts, "--trainer",
                "dpo");
    cr_expect(p.code == 1 && strstr(p.err, "do not fit"), "%s", p.err);
    PROGRAM_RUN(&p, "evaluate", "--model_name_or_path", model, "--dataset_name", pairs, "--trainer",
                "reward");
    cr_expect(p.code == 1 && strstr(p.err, "score.weight"), "%s", p.err);
    PROGRAM_RUN(&p, "evaluate", "--model_name_or_path", model, "--dataset_name", pairs, "--trainer",
                "dpo", "--ref_model_name_or_path", "/no/such/model");
    cr_expect(p.code == 1 && strstr(p.err, "/no/such/model"), "%s", p.err);
    PROGRAM_RUN(&p, "evaluate", "--model_name_or_path", model, "--dataset_name", pairs, "--trainer",
                "dpo", "--output", "/dev/full");
    cr_expect(p.code == 1 && strstr(p.err, "/dev/full"), "%s", p.err);
    tiny_release(&t);
}
