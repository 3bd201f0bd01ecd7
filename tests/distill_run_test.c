/* Whole runs of `plumb distill` on a tiny model and teachers of other shapes. */
#include <math.h>

#include "io/json.h"
#include "tests/runs.h"

static struct program p;
static struct tiny t;

#define TEACHER                                                                                    \
    "{\"model_type\":\"qwen3\",\"vocab_size\":%d,\"hidden_size\":12,\"intermediate_size\":20,"     \
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,"                 \
    "\"head_dim\":8,\"max_position_embeddings\":64,\"tie_word_embeddings\":true}"

static void teacher(int vocab)
{
    char config[512];
    snprintf(config, sizeof config, TEACHER, vocab);
    tiny_model(tiny_path(&t, "teacher"), config);
}

static void init(void)
{
    tiny_init(&t);
    teacher(TINY_VOCAB);
}
static void release(void) { tiny_release(&t); }
TestSuite(distill_run, .init = init, .fini = release, .timeout = 120);

/* The numbers of `name` in the log of a run into `out`, NaN for lines without. */
static int logged(const char *out, const char *name, double *values)
{
    char file[64];
    int n = 0;
    snprintf(file, sizeof file, "%s/metrics.jsonl", out);
    char *text = tiny_read(&t, file, NULL);
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
        *end = 0;
        cJSON *line = cJSON_Parse(at);
        const cJSON *v = cJSON_GetObjectItem(line, name);
        if (v && n < 64) values[n++] = v->valuedouble;
        cJSON_Delete(line);
    }
    free(text);
    return n;
}

static struct arguments arguments(const char *device, const char *from, const char *data,
                                  const char *out)
{
    struct arguments a = tiny_arguments(&t, "distill", data, out);
    ADD(&a, "--device", device, "--teacher_model_name_or_path", tiny_kept(&t, from),
        "--logging_steps", "1", "--save_strategy", "no", "--overwrite_output_dir");
    return a;
}

Test(distill_run, a_model_that_is_its_own_teacher_learns_nothing)
{
    double loss[64];
    struct arguments a = arguments("ref", "model", "texts.jsonl", "out");
    ADD(&a, "--learning_rate", "0.01", "--max_steps", "4", "--beta", "0.5");
    run_to_end(&p, &a);
    const int n = logged("out", "loss", loss);
    cr_assert_gt(n, 3);
    for (int i = 0; i < n; i++)
        cr_expect(fabs(loss[i]) < 1e-12, "step %d: %g", i, loss[i]);
}

Test(distill_run, every_divergence_from_a_teacher_of_another_shape_falls)
{
    static const char *const ways[][4] = { { "--beta", "0", "--loss_type", "jsd" },
                                           { "--beta", "1", "--temperature", "2" },
                                           { "--beta", "0.5", "--loss_type", "jsd" },
                                           { "--loss_type", "alpha", "--alpha", "0.5" } };
    for (int i = 0; i < 4; i++) {
        double loss[64], entropy[64];
        struct arguments a = arguments("cpu", "teacher", "texts.jsonl", "out");
        ADD(&a, "--bf16", "false", "--learning_rate", "0.02", "--max_steps", "40", ways[i][0],
            ways[i][1], ways[i][2], ways[i][3]);
        run_to_end(&p, &a);
        const int n = logged("out", "loss", loss);
        cr_assert_eq(n, 40);
        cr_expect_lt(loss[n - 1] + loss[n - 2] + loss[n - 3], 0.7 * (loss[0] + loss[1] + loss[2]),
                     "%s %s: %g to %g", ways[i][0], ways[i][1], loss[0], loss[n - 1]);
        cr_assert_gt(logged("out", "entropy", entropy), 0);
        cr_expect(entropy[0] > 0 && entropy[0] < log(TINY_VOCAB));
    }
}

/* The divisor is the step's: micro-batches change nothing. */
Test(distill_run, accumulation_is_the_larger_batch)
{
    double whole[64], parts[64];
    struct arguments a = arguments("ref", "teacher", "rated.jsonl", "out"), b = a;
    ADD(&a, "--learning_rate", "0.01", "--max_steps", "5", "--per_device_train_batch_size", "4");
    ADD(&b, "--learning_rate", "0.01", "--max_steps", "5", "--per_device_train_batch_size", "1",
        "--gradient_accumulation_steps", "4");
    run_to_end(&p, &a);
    const int n = logged("out", "loss", whole);
    run_to_end(&p, &b);
    cr_assert_eq(logged("out", "loss", parts), n);
    for (int i = 0; i < n; i++)
        cr_expect_float_eq(whole[i], parts[i], 1e-10);
}

/* The teacher is read again: it is no part of a checkpoint. */
Test(distill_run, a_resumed_run_has_the_bits_of_a_whole_one)
{
    size_t n, m;
    struct arguments a = arguments("cpu", "teacher", "texts.jsonl", "a");
    struct arguments b = arguments("cpu", "teacher", "texts.jsonl", "b");
    ADD(&a, "--learning_rate", "0.01", "--max_steps", "6", "--save_strategy", "steps",
        "--save_steps", "3");
    ADD(&b, "--learning_rate", "0.01", "--max_steps", "6", "--save_strategy", "steps",
        "--save_steps", "3", "--resume_from_checkpoint", tiny_kept(&t, "a/checkpoint-3"));
    run_to_end(&p, &a);
    run_to_end(&p, &b);
    char *whole = tiny_read(&t, "a/model.safetensors", &n);
    char *resumed = tiny_read(&t, "b/model.safetensors", &m);
    cr_expect(n == m && !memcmp(whole, resumed, n));
    free(whole), free(resumed);
}

Test(distill_run, a_padded_vocabulary_is_compared_as_far_as_both_reach)
{
    double loss[64];
    teacher(TINY_VOCAB + 8);
    struct arguments a = arguments("cpu", "teacher", "texts.jsonl", "out");
    ADD(&a, "--bf16", "false", "--max_steps", "2");
    run_to_end(&p, &a);
    cr_expect(strstr(p.err, "the first 24 are compared"), "%s", p.err);
    cr_expect_gt(logged("out", "loss", loss), 0);
    cr_expect(isfinite(loss[0]) && loss[0] > 0);
}

Test(distill_run, a_missing_teacher_is_named)
{
    struct arguments a = tiny_arguments(&t, "distill", "texts.jsonl", "out");
    program_run(&p, a.v);
    cr_expect_neq(p.code, 0);
    cr_expect(strstr(p.err, "teacher_model_name_or_path"), "%s", p.err);
}
