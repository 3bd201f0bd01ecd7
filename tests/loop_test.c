/* The training loop seen from outside: which rows a step takes, how much a run is, what is logged
 * and evaluated when, and what must change no number. */
#include <math.h>

#include "tests/runs.h"

static struct program p;
static struct tiny t;

static void init(void) { tiny_init(&t); }
static void release(void) { tiny_release(&t); }
TestSuite(loop, .init = init, .fini = release, .timeout = 280);

/* Lines of a metrics.jsonl. */
struct lines {
    cJSON *line[256];
    int n;
};

static void read_lines(struct lines *l, const char *out)
{
    char name[64];
    snprintf(name, sizeof name, "%s/metrics.jsonl", out);
    char *text = plain_metrics(&t, name);
    l->n = 0;
    for (const char *at = text; *at; at = strchr(at, '\n') + 1) {
        cr_assert(l->n < 256);
        l->line[l->n++] = cJSON_Parse(at);
    }
    free(text);
}

static void release_lines(struct lines *l)
{
    for (int i = 0; i < l->n; i++)
        cJSON_Delete(l->line[i]);
}

/* The value on the line of `step` that has the metric; NaN without. */
static double value(const struct lines *l, int step, const char *metric)
{
    for (int i = 0; i < l->n; i++) {
        const cJSON *m = cJSON_GetObjectItem(l->line[i], metric);
        if (m && (int)cJSON_GetObjectItem(l->line[i], "step")->valuedouble == step)
            return m->valuedouble;
    }
    return (double)NAN;
}

static int count(const struct lines *l, const char *metric)
{
    int n = 0;
    for (int i = 0; i < l->n; i++)
        n += cJSON_GetObjectItem(l->line[i], metric) != NULL;
    return n;
}

/* In float64, where another order of sums is far below any fault. */
static struct arguments exact(const char *command, const char *data, const char *out)
{
    struct arguments a = tiny_arguments(&t, command, data, out);
    ADD(&a, "--device", "ref", "--learning_rate", "0.01", "--logging_steps", "1");
    return a;
}

static void expect_close(const struct lines *a, const struct lines *b, const char *metric)
{
    cr_expect_eq(count(a, metric), count(b, metric), "%s", metric);
    cr_expect_gt(count(a, metric), 0, "%s", metric);
    for (int step = 1; step < 100; step++) {
        const double x = value(a, step, metric), y = value(b, step, metric);
        cr_expect((isnan(x) && isnan(y)) || fabs(x - y) <= 1e-10 * fmax(1, fabs(x)),
                  "%s of step %d: %.17g and %.17g", metric, step, x, y);
    }
}

/* 11 rows: the last step of an epoch has 3 of them, in micro-batches of 4, of 2 and 1, of 1. */
Test(loop, gradient_accumulation_is_the_larger_batch)
{
    static const struct {
        const char *command, *data;
    } cases[] = { { "dpo", "pairs.jsonl" }, { "sft", "texts.jsonl" }, { "reward", "pairs.jsonl" } };
    static const char *const batches[][2] = { { "4", "1" }, { "2", "2" }, { "1", "4" } };
    for (int i = 0; i < 3; i++) {
        struct lines whole, parts;
        for (int k = 0; k < 3; k++) {
            struct arguments a = exact(cases[i].command, cases[i].data, "a");
            ADD(&a, "--per_device_train_batch_size", batches[k][0], "--gradient_accumulation_steps",
                batches[k][1], "--num_train_epochs", "2", "--overwrite_output_dir");
            run_to_end(&p, &a);
            read_lines(k ? &parts : &whole, "a");
            if (k == 0) continue;
            cr_expect_eq(count(&parts, "loss"), 6);
            expect_close(&whole, &parts, "loss");
            expect_close(&whole, &parts, "grad_norm");
            expect_close(&whole, &parts, "num_tokens");
            release_lines(&parts);
        }
        release_lines(&whole);
    }
}

/* The numbers in a file of input_ids. */
static int64_t tokens_of_texts(void)
{
    int64_t n = 0;
    char *text = tiny_read(&t, "texts.jsonl", NULL);
    for (const char *c = text; *c; c++)
        n += *c == ',' || *c == '[';
    free(text);
    return n;
}

Test(loop, an_epoch_takes_every_row_once_and_a_run_may_end_within_one)
{
    static const char *const orders[] = { "random", "sequential" };
    for (int i = 0; i < 2; i++) {
        struct arguments a = exact("sft", "texts.jsonl", "a");
        struct lines l;
        ADD(&a, "--gradient_accumulation_steps", "2", "--num_train_epochs", "2.5",
            "--train_sampling_strategy", orders[i], "--overwrite_output_dir");
        run_to_end(&p, &a);
        read_lines(&l, "a");
        const double epoch = (double)tokens_of_texts();
        cr_expect_eq(count(&l, "loss"), 8, "ceil(2.5 x 3 steps)");
        cr_expect_eq(value(&l, 3, "num_tokens"), epoch);
        cr_expect_eq(value(&l, 6, "num_tokens"), 2 * epoch);
        cr_expect_eq(value(&l, 3, "epoch"), 1);
        cr_expect_eq(value(&l, 8, "epoch"), 8.0 / 3);
        release_lines(&l);
    }
}

Test(loop, max_steps_go_beyond_the_epochs)
{
    struct arguments a = exact("sft", "texts.jsonl", "a");
    struct lines l;
    ADD(&a, "--max_steps", "40", "--num_train_epochs", "1");
    run_to_end(&p, &a);
    read_lines(&l, "a");
    cr_expect_eq(count(&l, "loss"), 40);
    cr_expect_eq(value(&l, 36, "num_tokens"), 6 * (double)tokens_of_texts());
    cr_expect_eq(value(&l, 40, "learning_rate"), 0.01 * 1 / 40, "%g",
                 value(&l, 40, "learning_rate"));
    release_lines(&l);
}

Test(loop, a_batch_larger_than_the_data_is_the_data)
{
    struct arguments a = exact("dpo", "pairs.jsonl", "a"), b = exact("dpo", "pairs.jsonl", "b");
    struct lines x, y;
    ADD(&a, "--per_device_train_batch_size", "11", "--max_steps", "3");
    ADD(&b, "--per_device_train_batch_size", "1048576", "--per_device_eval_batch_size", "1048576",
        "--max_steps", "3");
    run_to_end(&p, &a);
    run_to_end(&p, &b);
    read_lines(&x, "a");
    read_lines(&y, "b");
    cr_expect_eq(value(&y, 3, "epoch"), 3);
    expect_close(&x, &y, "loss");
    release_lines(&x);
    release_lines(&y);
}

/* A window of less than logging_steps at the end has no line, as in transformers; the closing line
 * has the mean over all steps. The last step is evaluated and saved in any case. */
Test(loop, the_last_step_is_evaluated_saved_and_summed_up)
{
    struct arguments a = exact("dpo", "pairs.jsonl", "a"), b = exact("dpo", "pairs.jsonl", "b");
    struct lines every, few;
    double sum = 0;
    ADD(&a, "--max_steps", "8");
    ADD(&b, "--max_steps", "8", "--logging_steps", "3", "--logging_first_step", "--eval_steps", "5",
        "--eval_strategy", "steps", "--eval_dataset_name", tiny_kept(&t, "held.jsonl"));
    run_to_end(&p, &a);
    run_to_end(&p, &b);
    read_lines(&every, "a");
    read_lines(&few, "b");
    for (int step = 1; step <= 8; step++)
        sum += value(&every, step, "loss");
    cr_expect(count(&few, "loss") == 3 && count(&every, "loss") == 8);
    cr_expect_float_eq(value(&few, 8, "train_loss"), sum / 8, 1e-14);
    cr_expect_float_eq(value(&few, 3, "loss"),
                       (value(&every, 2, "loss") + value(&every, 3, "loss")) / 2, 1e-14);
    cr_expect(count(&few, "eval_loss") == 2 && value(&few, 5, "eval_loss") > 0 &&
              value(&few, 8, "eval_loss") > 0);
    cr_expect_eq(last_step(&t, "b"), 8);
    release_lines(&every);
    release_lines(&few);
}

/* Also with a batch of one in training, for which the memory is planned apart. */
Test(loop, the_size_of_evaluation_batches_changes_no_loss)
{
    static const char *const sizes[] = { "1", "3", "64" };
    static const struct {
        const char *command, *data;
    } cases[] = { { "dpo", "pairs.jsonl" }, { "reward", "pairs.jsonl" } };
    for (int i = 0; i < 2; i++) {
        struct lines one, more;
        for (int k = 0; k < 3; k++) {
            struct arguments a = exact(cases[i].command, cases[i].data, "a");
            ADD(&a, "--per_device_eval_batch_size", sizes[k], "--per_device_train_batch_size", "1",
                "--eval_strategy", "steps", "--eval_steps", "2", "--max_steps", "4",
                "--overwrite_output_dir", "--test_split_size", "0.6");
            run_to_end(&p, &a);
            read_lines(k ? &more : &one, "a");
            if (k == 0) continue;
            expect_close(&one, &more, "eval_loss");
            release_lines(&more);
        }
        release_lines(&one);
    }
}

/* The reference's log-probs have the same bits now and before, alone and packed. */
Test(loop, precomputing_the_reference_changes_no_bit)
{
    static const char *const commands[][2] = { { "dpo", "pairs.jsonl" }, { "kto", "rated.jsonl" } };
    static const char *const precisions[][2] = { { "--bf16", "false" }, { "--bf16", "true" } };
    for (int i = 0; i < 4; i++) {
        const char *const *c = commands[i / 2], *const *o = precisions[i % 2];
        struct arguments a = tiny_arguments(&t, c[0], c[1], "a");
        ADD(&a, o[0], o[1], "--learning_rate", "0.01", "--logging_steps", "1", "--max_steps", "7",
            "--test_split_size", "0.4", "--eval_strategy", "epoch", "--overwrite_output_dir");
        struct arguments b = a;
        b.v[7] = tiny_kept(&t, "b");
        ADD(&b, "--precompute_ref_log_probs", "--precompute_ref_batch_size", "64");
        run_to_end(&p, &a);
        run_to_end(&p, &b);
        same_bytes(&t, "a", "b", "model.safetensors");
        char *x = plain_metrics(&t, "a/metrics.jsonl"), *y = plain_metrics(&t, "b/metrics.jsonl");
        cr_expect_str_eq(x, y);
        free(x);
        free(y);
    }
}

Test(loop, recomputing_activations_changes_no_bit)
{
    static const char *const switches[] = { "true", "false" };
    static const char *const outs[] = { "a", "b" };
    for (int i = 0; i < 2; i++) {
        struct arguments a = tiny_arguments(&t, "dpo", "pairs.jsonl", outs[i]);
        ADD(&a, "--gradient_checkpointing", switches[i], "--learning_rate", "0.01", "--max_steps",
            "5", "--logging_steps", "1");
        run_to_end(&p, &a);
    }
    same_run(&t, "a", "b");
}

Test(loop, a_folder_brings_its_evaluation_rows)
{
    struct arguments a = exact("dpo", "data", "a"), b = exact("dpo", "data/train.jsonl", "b");
    struct lines x, y;
    cr_assert_eq(plumb_dir_make(tiny_path(&t, "data")), PLUMB_OK);
    tiny_rows(&t, "data/train.jsonl", TINY_PAIRS, 7);
    tiny_rows(&t, "data/test.jsonl", TINY_PAIRS, 3);
    ADD(&a, "--max_steps", "3", "--eval_strategy", "steps");
    ADD(&b, "--max_steps", "3", "--eval_strategy", "steps", "--eval_dataset_name",
        tiny_kept(&t, "data/test.jsonl"));
    run_to_end(&p, &a);
    run_to_end(&p, &b);
    read_lines(&x, "a");
    read_lines(&y, "b");
    cr_expect_eq(count(&x, "eval_loss"), 3);
    expect_close(&x, &y, "eval_loss");
    expect_close(&x, &y, "loss");
    release_lines(&x);
    release_lines(&y);
}
