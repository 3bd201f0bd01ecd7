/* Whole training runs on the CUDA code (device cuda-sim: the executor on the CPU; PLUMB_TEST_DEVICE
 * names another) beside the same runs in native code and in float64. Bound of every logged number,
 * as for TRL's trajectories: four times the native run's largest distance from float64, or 1e-5 of
 * its size. Builds that are slow (PLUMB_TEST_STEPS, sanitizers) run one model for fewer steps. */
#include <math.h>

#include "io/json.h"
#include "tests/runs.h"

static struct program p;
static struct tiny t;

static void init(void) { tiny_init(&t); }
static void release(void) { tiny_release(&t); }
TestSuite(device_run, .init = init, .fini = release, .timeout = 280);

static const char *device(void)
{
    const char *name = getenv("PLUMB_TEST_DEVICE");
    return name ? name : "cuda-sim";
}

/* Families that take different ways through the decoder. */
static const struct {
    const char *name, *config;
} models[] = {
    { "llama, grouped heads, biases",
      "{\"model_type\":\"llama\",\"vocab_size\":24,\"hidden_size\":16,\"intermediate_size\":20,"
      "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
      "\"max_position_embeddings\":64,\"attention_bias\":true,\"mlp_bias\":true}" },
    { "qwen3, q/k norms, tied",
      "{\"model_type\":\"qwen3\",\"vocab_size\":24,\"hidden_size\":12,\"intermediate_size\":20,"
      "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
      "\"head_dim\":8,\"max_position_embeddings\":64,\"tie_word_embeddings\":true}" },
    { "gpt2, LayerNorm, learned positions",
      "{\"model_type\":\"gpt2\",\"vocab_size\":24,\"n_embd\":16,\"n_layer\":1,\"n_head\":2,"
      "\"n_positions\":64}" },
    { "gpt_neox, parallel residual, partial rotary",
      "{\"model_type\":\"gpt_neox\",\"vocab_size\":24,\"hidden_size\":16,"
      "\"intermediate_size\":20,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
      "\"max_position_embeddings\":64,\"rotary_pct\":0.5}" },
};
static int model_count(void)
{
    return RUNS_SANITIZED || getenv("PLUMB_TEST_STEPS") ? 1 : (int)(sizeof models / sizeof *models);
}

static const char *steps(void)
{
    const char *given = getenv("PLUMB_TEST_STEPS");
    return given ? given : RUNS_SANITIZED ? "1" : "6";
}

static bool adapted, dropout; /* runs train adapters, their inputs masked */

/* Of one step in bfloat16 the native run's distance is a single draw of rounding, not the largest
 * of several; of adapters, whose first steps are as long as the rate however small their gradients,
 * it is chance: no yardsticks. Slow builds leave that comparison to the others. */
static bool measures(bool bf16) { return !bf16 || (strcmp(steps(), "1") != 0 && !adapted); }

/* The logged lines of a run of `command`. */
static cJSON *run(const char *command, const char *data, const char *dev, bool bf16,
                  const char *out)
{
    struct arguments a = tiny_arguments(&t, command, data, out);
    ADD(&a, "--device", dev, "--learning_rate", "0.01", "--logging_steps", "1", "--max_steps",
        steps(), "--gradient_accumulation_steps", "2", "--save_strategy", "no",
        "--overwrite_output_dir");
    if (strcmp(dev, "ref") != 0) ADD(&a, "--bf16", bf16 ? "true" : "false");
    if (!strcmp(command, "distill"))
        ADD(&a, "--teacher_model_name_or_path", tiny_kept(&t, "teacher"), "--beta", "0.5");
    if (adapted) ADD(&a, "--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear");
    if (adapted && dropout) ADD(&a, "--lora_dropout", "0.3", "--disable_dropout", "false");
    run_to_end(&p, &a);
    char name[64];
    snprintf(name, sizeof name, "%s/metrics.jsonl", out);
    char *text = tiny_read(&t, name, NULL);
    cJSON *lines = cJSON_CreateArray();
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
        *end = 0;
        cJSON_AddItemToArray(lines, cJSON_Parse(at));
    }
    free(text);
    return lines;
}

/* What a metric says of a run: its values' largest distance from those of `truth`, and their
 * largest size. */
struct distance {
    double most, scale;
    int values;
};

static bool of_cost(const char *name)
{
    return !strcmp(name, "tokens_per_second") || !strcmp(name, "step_time") ||
           !strcmp(name, "peak_rss_bytes");
}

static struct distance distance(const cJSON *lines, const cJSON *truth, const char *metric)
{
    struct distance d = { 0 };
    const int n = cJSON_GetArraySize(truth);
    cr_assert_eq(cJSON_GetArraySize(lines), n);
    for (int i = 0; i < n; i++) {
        const cJSON *a = cJSON_GetObjectItem(cJSON_GetArrayItem(lines, i), metric);
        const cJSON *b = cJSON_GetObjectItem(cJSON_GetArrayItem(truth, i), metric);
        cr_assert_eq(a != NULL, b != NULL, "%s on line %d", metric, i);
        if (!a) continue;
        d.most = fmax(d.most, fabs(a->valuedouble - b->valuedouble));
        d.scale = fmax(d.scale, fabs(b->valuedouble));
        d.values++;
    }
    return d;
}

static int compare(const char *what, const cJSON *tested, const cJSON *native, const cJSON *truth)
{
    int values = 0;
    const cJSON *m;
    cJSON_ArrayForEach(m, cJSON_GetArrayItem(truth, 0))
    {
        if (of_cost(m->string) || !cJSON_IsNumber(m)) continue;
        const struct distance d = distance(tested, truth, m->string),
                              yard = distance(native, truth, m->string);
        const double bound = fmax(4 * yard.most, 1e-5 * yard.scale);
        cr_expect_leq(d.most, bound, "%s: %s is %.3g from float64, native code %.3g", what,
                      m->string, d.most, yard.most);
        values += d.values;
    }
    return values;
}

static void check_model(const char *command, const char *data, int which, int *values)
{
    char what[128];
    tiny_model(tiny_path(&t, "model"), models[which].config);
    cJSON *truth = run(command, data, "ref", false, "out");
    for (int bf16 = 0; bf16 < 2; bf16++) {
        cJSON *native = run(command, data, "cpu", bf16, "out");
        cJSON *tested = run(command, data, device(), bf16, "first");
        snprintf(what, sizeof what, "%s, %s, %s", command, models[which].name,
                 bf16 ? "bfloat16" : "float32");
        if (measures(bf16)) *values += compare(what, tested, native, truth);
        cJSON_Delete(run(command, data, device(), bf16, "second"));
        if (adapted)
            same_bytes(&t, "first", "second", "adapter_model.safetensors");
        else
            same_run(&t, "first", "second");
        cJSON_Delete(native);
        cJSON_Delete(tested);
    }
    cJSON_Delete(truth);
}

Test(device_run, a_dpo_run_agrees_with_native_code_and_repeats_its_bits)
{
    int values = 0;
    for (int i = 0; i < model_count(); i++)
        check_model("dpo", "pairs.jsonl", i, &values);
    printf("device_run: dpo, %d models, %d values on %s\n", model_count(), values, device());
    cr_expect_gt(values, 0);
}

Test(device_run, the_other_trainers_agree_with_native_code_and_repeat_their_bits)
{
    int values = 0;
    check_model("sft", "texts.jsonl", 0, &values);
    check_model("kto", "rated.jsonl", 0, &values);
    check_model("bco", "rated.jsonl", 0, &values);
    check_model("listwise", "ranked.jsonl", 0, &values);
    check_model("reward", "pairs.jsonl", 0, &values);
    printf("device_run: sft, kto, bco, listwise, reward, %d values on %s\n", values, device());
    cr_expect_gt(values, 0);
}

Test(device_run, distillation_agrees_with_native_code_and_repeats_its_bits)
{
    int values = 0;
    tiny_model(tiny_path(&t, "teacher"), models[1].config);
    check_model("distill", "texts.jsonl", 0, &values);
    printf("device_run: distill, %d values on %s\n", values, device());
    cr_expect_gt(values, 0);
}

Test(device_run, cpo_orpo_and_tpo_agree_with_native_code_and_repeat_their_bits)
{
    int values = 0;
    check_model("cpo", "pairs.jsonl", 1, &values);
    check_model("orpo", "pairs.jsonl", 0, &values);
    check_model("tpo", "triples.jsonl", 0, &values);
    printf("device_run: cpo, orpo, tpo, %d values on %s\n", values, device());
    cr_expect_gt(values, 0);
}

Test(device_run, adapters_agree_with_native_code_and_repeat_their_bits)
{
    int values = 0;
    adapted = true;
    for (int i = 0; i < model_count(); i++) {
        dropout = i != 2; /* GPT-2 would have one of its own */
        check_model("dpo", "pairs.jsonl", i, &values);
    }
    dropout = true;
    check_model("reward", "pairs.jsonl", 0, &values);
    printf("device_run: adapters, %d values on %s\n", values, device());
    cr_expect_gt(values, 0);
}

/* Results wait until a line is due, copies of the next batches go ahead: the bits must be those of
 * a run that looks at every step. */
Test(device_run, looking_at_results_late_changes_none)
{
    static const char *const names[] = { "every", "last", "put_off" };
    for (int i = 0; i < 3; i++) {
        struct arguments a = tiny_arguments(&t, "dpo", "pairs.jsonl", names[i]);
        ADD(&a, "--logging_steps", i ? "40" : "1", "--device", device(), "--learning_rate", "0.01",
            "--max_steps", "40", "--bf16", "false");
        if (i == 2) setenv("PLUMB_SIM_LAZY", "1", 1); /* ops run when they are waited for */
        run_to_end(&p, &a);
    }
    same_bytes(&t, "every", "last", "model.safetensors");
    same_bytes(&t, "every", "put_off", "model.safetensors");
}

static struct arguments stopping(const char *out)
{
    struct arguments a = tiny_arguments(&t, "dpo", "pairs.jsonl", out);
    ADD(&a, "--device", device(), "--learning_rate", "0.02", "--logging_steps", "1", "--save_steps",
        "3", "--max_steps", "8", "--bf16", "true", "--eval_strategy", "steps", "--eval_steps", "4",
        "--eval_dataset_name", tiny_kept(&t, "held.jsonl"));
    return a;
}

Test(device_run, a_run_that_goes_on_from_a_checkpoint_is_the_same_to_the_bit)
{
    struct arguments whole = stopping("whole"), part = stopping("part");
    run_to_end(&p, &whole);
    run_to_end(&p, &part);
    ADD(&part, "--resume_from_checkpoint", tiny_kept(&t, "part/checkpoint-3"));
    run_to_end(&p, &part);
    same_run(&t, "whole", "part");
}

/* Every weight becomes 1e18: finite, but the products of queries and keys are not. */
static void inflate_weights(void)
{
    const float huge = 1e18f;
    uint64_t header;
    FILE *f = fopen(tiny_path(&t, "model/model.safetensors"), "r+b");
    cr_assert(f && fread(&header, sizeof header, 1, f) == 1 && !fseek(f, 0, SEEK_END));
    const long first = (long)(sizeof header + header), end = ftell(f);
    fseek(f, first, SEEK_SET);
    for (long at = first; at < end; at += (long)sizeof huge)
        cr_assert_eq(fwrite(&huge, sizeof huge, 1, f), 1);
    fclose(f);
}

Test(device_run, a_loss_that_is_no_number_is_traced_as_on_the_cpu)
{
    char *err[2];
    inflate_weights();
    for (int i = 0; i < 2; i++) {
        struct arguments a = tiny_arguments(&t, "dpo", "pairs.jsonl", i ? "there" : "here");
        ADD(&a, "--device", i ? device() : "cpu", "--bf16", "false", "--logging_steps", "1");
        program_run(&p, a.v);
        cr_expect_eq(p.code, 1);
        err[i] = strdup(p.err);
    }
    cr_expect(strstr(err[0], "the residual stream is not finite"), "%s", err[0]);
    cr_expect_str_eq(err[0], err[1]);
    free(err[0]);
    free(err[1]);
}
