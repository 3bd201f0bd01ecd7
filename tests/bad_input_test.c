/* Bad input through the binary: one clear message that names what is at fault, exit code 1, and an
 * output folder without a trace of a run. */
#include <math.h>
#include <zlib.h>

#include "tests/runs.h"

static struct program p;
static struct tiny t;

static void init(void) { tiny_init(&t); }
static void release(void) { tiny_release(&t); }
TestSuite(bad_input, .init = init, .fini = release, .timeout = 280);

static void put(const char *name, const char *text)
{
    cr_assert_eq(plumb_file_write(tiny_path(&t, name), text, strlen(text)), PLUMB_OK);
}

static int lines_with(const char *text, const char *start)
{
    int n = 0;
    for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        n += strncmp(at, start, strlen(start)) == 0;
    return n;
}

/* The folder of a run that never started: absent, or without model, metrics and checkpoints. */
static void expect_no_trace(const char *out)
{
    static const char *const names[] = { "model.safetensors", "config.json", "metrics.jsonl" };
    char name[64];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/%s", out, names[i]);
        cr_expect_not(tiny_exists(&t, name), "%s was written: %s", name, p.err);
    }
    cr_expect(last_step(&t, out) == -1 && !is_writing(&t, out));
}

/* The run fails with exit code `code` and one message that holds the texts. */
static void expect_refused(const struct arguments *a, int code, const char *first,
                           const char *second)
{
    char start[32];
    program_run(&p, a->v);
    snprintf(start, sizeof start, "plumb %s: ", a->v[1]);
    cr_expect_eq(p.code, code, "code %d: %s", p.code, p.err);
    cr_expect_eq(lines_with(p.err, start), 1, "%s", p.err);
    cr_expect(strstr(p.err, first), "no \"%s\" in: %s", first, p.err);
    cr_expect(strstr(p.err, second), "no \"%s\" in: %s", second, p.err);
    cr_expect_lt(strlen(p.err), 1200);
    expect_no_trace("out");
}

static void expect_bad_model(const char *first, const char *second)
{
    const struct arguments a = tiny_arguments(&t, "dpo", "pairs.jsonl", "out");
    expect_refused(&a, 1, first, second);
}

/* Rewrites the model's weights file: `edit` may change the header's text, `length` what it says of
 * its own length (0 = the truth). The data stay. */
static void change_weights(const char *from, const char *to, uint64_t length)
{
    size_t size;
    uint64_t header;
    char *file = tiny_read(&t, "model/model.safetensors", &size), *text;
    memcpy(&header, file, 8);
    text = calloc(header + 4096, 1);
    memcpy(text, file + 8, header);
    if (from) {
        char *at = strstr(text, from);
        cr_assert(at, "no %s in %s", from, text);
        memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
        memcpy(at, to, strlen(to));
    }
    const uint64_t own = strlen(text), said = length ? length : own;
    FILE *f = fopen(tiny_path(&t, "model/model.safetensors"), "wb");
    cr_assert(f && fwrite(&said, 8, 1, f) == 1 && fwrite(text, 1, own, f) == own);
    cr_assert_eq(fwrite(file + 8 + header, 1, size - 8 - header, f), size - 8 - header);
    fclose(f);
    free(text);
    free(file);
}

#define WEIGHTS "model/model.safetensors"
#define NORM "\"model.norm.weight\""

/* Where a tensor of the model begins, in bytes behind the header. */
static int64_t offset_of(const char *tensor)
{
    uint64_t header;
    char *file = tiny_read(&t, WEIGHTS, NULL);
    memcpy(&header, file, 8);
    cJSON *json = cJSON_ParseWithLength(file + 8, header);
    const cJSON *at = cJSON_GetObjectItem(cJSON_GetObjectItem(json, tensor), "data_offsets");
    const int64_t first = (int64_t)cJSON_GetArrayItem(at, 0)->valuedouble;
    cJSON_Delete(json);
    free(file);
    return first;
}

Test(bad_input, weights_cut_short)
{
    size_t whole;
    char *file = tiny_read(&t, WEIGHTS, &whole);
    for (size_t size = 0; size < whole; size += whole / 6) {
        plumb_file_write(tiny_path(&t, WEIGHTS), file, size);
        expect_bad_model(WEIGHTS, size ? "truncated" : "not safetensors");
    }
    free(file);
}

Test(bad_input, weights_with_a_header_of_absurd_length)
{
    change_weights(NULL, NULL, (uint64_t)1 << 60);
    expect_bad_model(WEIGHTS, "header of 1152921504606846976 bytes");
}

Test(bad_input, weights_with_a_name_twice)
{
    change_weights(NORM, "\"lm_head.weight\"", 0);
    expect_bad_model(WEIGHTS ":1:", "this name stands twice");
}

Test(bad_input, weights_that_overlap)
{
    static const char *const norms[] = { "model.layers.0.input_layernorm.weight",
                                         "model.norm.weight" };
    char text[2][64];
    for (int i = 0; i < 2; i++) {
        const int first = (int)offset_of(norms[i]);
        snprintf(text[i], sizeof text[i], "\"data_offsets\":[%d,%d]", first, first + 8 * 4);
    }
    change_weights(text[1], text[0], 0);
    expect_bad_model(WEIGHTS, "overlap");
    change_weights("\"data_offsets\":[0,", "\"data_offsets\":[32,", 0);
    expect_bad_model(WEIGHTS, "does not fill");
}

Test(bad_input, weights_of_an_unknown_type)
{
    change_weights("\"F32\"", "\"F33\"", 0);
    expect_bad_model(WEIGHTS, "unknown dtype \"F33\"");
}

Test(bad_input, weights_that_are_integers)
{
    change_weights("\"F32\"", "\"I32\"", 0);
    expect_bad_model(WEIGHTS, "I32");
}

Test(bad_input, weights_without_a_tensor)
{
    change_weights(NORM, "\"model.nurm.weight\"", 0);
    expect_bad_model(WEIGHTS, "\"model.norm.weight\" is missing");
}

/* Overwrites one number of the data, which start behind the header. */
static void poke(int64_t element, float value)
{
    uint64_t header;
    const int fd = open(tiny_path(&t, WEIGHTS), O_RDWR);
    cr_assert(fd >= 0 && pread(fd, &header, 8, 0) == 8);
    const off_t at = (off_t)(8 + header + (uint64_t)element * 4);
    cr_assert_eq(pwrite(fd, &value, sizeof value, at), (ssize_t)sizeof value);
    close(fd);
}

Test(bad_input, weights_that_are_not_numbers)
{
    poke(9, NAN);
    expect_bad_model(WEIGHTS, "holds NaN at");
    poke(9, -INFINITY);
    expect_bad_model(WEIGHTS, "holds infinity at");
}

/* Fills the head with +-3e38. */
static void poke_head(void)
{
    const int64_t first = offset_of("lm_head.weight") / 4;
    for (int64_t i = 0; i < TINY_VOCAB * 8; i++)
        poke(first + i, i * i % 3 ? 3e38f : -3e38f);
}

static void change_config(const char *from, const char *to)
{
    char text[1024] = TINY_CONFIG;
    char *at = strstr(text, from);
    cr_assert(at, "%s", from);
    memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
    memcpy(at, to, strlen(to));
    put("model/config.json", text);
}

Test(bad_input, configs)
{
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        { "\"hidden_size\"", "\"hidden_sice\"", "hidden_size" },
        { "\"hidden_size\":8", "\"hidden_size\":9", "a width of 9" },
        { "\"hidden_size\":8", "\"hidden_size\":\"8\"", "hidden_size" },
        { "\"vocab_size\":24", "\"vocab_size\":25", "shape" },
        { "\"vocab_size\":24", "\"vocab_size\":1e300", "vocab_size" },
        { "\"num_hidden_layers\":1", "\"num_hidden_layers\":2", "is missing" },
        { "\"num_hidden_layers\":1", "\"num_hidden_layers\":0", "layers=0" },
        { "\"num_hidden_layers\":1", "\"num_hidden_layers\":9e15", "layers=9" },
        { "llama", "lama", "lama" },
        { "{", "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2},", "yarn" },
        { "{", "{\"hidden_size\":8,", "this name stands twice" },
        { "{", "[", "config.json:1:" },
        { "}", "", "config.json:1:" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        change_config(cases[i].from, cases[i].to);
        expect_bad_model("model", cases[i].says);
    }
}

Test(bad_input, folders_and_files_that_are_not_there)
{
    struct arguments a = tiny_arguments(&t, "dpo", "nothing.jsonl", "out");
    expect_refused(&a, 1, "nothing.jsonl", "No such file");
    struct arguments b = tiny_arguments(&t, "dpo", "pairs.jsonl", "out");
    ADD(&b, "--model_name_or_path", "/no/such/model");
    expect_refused(&b, 1, "/no/such/model", "No such file");
    struct arguments c = tiny_arguments(&t, "dpo", "pairs.jsonl", "out");
    ADD(&c, "--resume_from_checkpoint", "/no/such/checkpoint");
    expect_refused(&c, 1, "/no/such/checkpoint", "not a finished checkpoint");
    struct arguments d = tiny_arguments(&t, "dpo", "pairs.jsonl", "out");
    ADD(&d, "--eval_strategy", "epoch");
    expect_refused(&d, 2, "eval_strategy", "there are no rows for it");
    put("file", "");
    struct arguments e = tiny_arguments(&t, "dpo", "pairs.jsonl", "file");
    expect_refused(&e, 1, "/file", "Not a directory");
}

#define GOOD "{\"prompt_ids\": [1, 2], \"chosen_ids\": [3, 4], \"rejected_ids\": [5, 6]}\n"

static void expect_bad_rows(const char *first, const char *second)
{
    const struct arguments a = tiny_arguments(&t, "dpo", "bad.jsonl", "out");
    expect_refused(&a, 1, first, second);
}

Test(bad_input, rows)
{
    static const struct {
        const char *text, *where, *says;
    } cases[] = {
        { "", "bad.jsonl", "empty" },
        { "\n\n", "bad.jsonl", "empty" },
        { GOOD "{\"prompt_ids\": [1], \"chosen_ids\": [3]}\n", "bad.jsonl:2", "rejected_ids" },
        { GOOD GOOD "{\"prompt_ids\": [1], \"chosen_ids\": [24], \"rejected_ids\": [3]}\n",
          "bad.jsonl:3", "24" },
        { "{\"prompt_ids\": [1], \"chosen_ids\": [-1], \"rejected_ids\": [3]}\n", "bad.jsonl:1",
          "-1" },
        { "{\"prompt_ids\": [1], \"chosen_ids\": [1.5], \"rejected_ids\": [3]}\n", "bad.jsonl:1",
          "1.5" },
        { "{\"prompt_ids\": [1], \"chosen_ids\": \"x\", \"rejected_ids\": [3]}\n", "bad.jsonl:1",
          "chosen_ids" },
        { GOOD "{\"prompt_ids\": [1], \"chosen_ids\": [3]", "bad.jsonl:2:", "without an end" },
        { GOOD "[1, 2]\n", "bad.jsonl:2", "wants an object" },
        { GOOD "{\"prompt_ids\": [1], \"a\": \"\xff\xfe\"}\n", "bad.jsonl:2:", "UTF-8" },
        { GOOD "{\"prompt_ids\": [1], \"prompt_ids\": [1]}\n", "bad.jsonl:2:21", "twice" },
        { GOOD "{\"prompt_ids\": [1e999]}\n", "bad.jsonl:2:17", "too large" },
        { "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n", "bad.jsonl",
          "tokenizer" },
        { "{\"text\": 1}\n", "bad.jsonl:1", "do not fit" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put("bad.jsonl", cases[i].text);
        expect_bad_rows(cases[i].where, cases[i].says);
    }
}

Test(bad_input, rows_nested_deeply)
{
    char *text = malloc(400001);
    memset(text, '[', 400000);
    memcpy(text, "{\"prompt_ids\": ", 15);
    text[400000] = 0;
    put("bad.jsonl", text);
    expect_bad_rows("bad.jsonl:1:", "nest");
    free(text);
}

Test(bad_input, rows_of_ten_megabytes)
{
    const size_t n = (size_t)10 << 20;
    char *text = malloc(n + 200);
    memset(text, 'x', n);
    text[n] = 0;
    put("bad.jsonl", text);
    expect_bad_rows("bad.jsonl:1", "the row has more than 8388608 bytes");
    /* A right one below the limit is cut to max_length and trained on. */
    char *at = stpcpy(text, GOOD "{\"prompt_ids\": [1], \"rejected_ids\": [2], "
                                 "\"chosen_ids\": [7");
    while (at < text + n / 10 * 7)
        at = stpcpy(at, ", 8");
    stpcpy(at, "]}\n");
    put("bad.jsonl", text);
    struct arguments a = tiny_arguments(&t, "dpo", "bad.jsonl", "out");
    ADD(&a, "--max_length", "32", "--max_steps", "1");
    run_to_end(&p, &a);
    free(text);
}

Test(bad_input, rows_in_a_broken_archive)
{
    gzFile z = gzopen(tiny_path(&t, "bad.jsonl"), "wb");
    for (int i = 0; i < 200; i++)
        gzputs(z, GOOD);
    cr_assert_eq(gzclose(z), Z_OK);
    struct stat st;
    stat(tiny_path(&t, "bad.jsonl"), &st);
    cr_assert_eq(truncate(tiny_path(&t, "bad.jsonl"), st.st_size / 2), 0);
    expect_bad_rows("bad.jsonl", "gzip data ends too early");
}

Test(bad_input, rows_that_are_all_dropped)
{
    struct arguments a = tiny_arguments(&t, "reward", "pairs.jsonl", "out");
    ADD(&a, "--max_length", "2");
    put("pairs.jsonl", GOOD GOOD);
    expect_refused(&a, 1, "pairs.jsonl", "leaves no example of 2 rows");
    struct arguments b = tiny_arguments(&t, "dpo", "pairs.jsonl", "out");
    put("pairs.jsonl", "{}\n[]\n");
    ADD(&b, "--skip_bad_rows");
    expect_refused(&b, 1, "pairs.jsonl:1", "do not fit");
}

Test(bad_input, rows_longer_than_the_model_has_positions)
{
    char text[1024] = "{\"prompt_ids\": [1], \"rejected_ids\": [2], \"chosen_ids\": [7";
    for (int i = 0; i < 40; i++)
        strcat(text, ", 8");
    put("bad.jsonl", strcat(text, "]}\n"));
    expect_bad_rows("sequences of 42 tokens", "32 positions: lower --max_length");
}

/* KTO joins a prompt with the completion of another row; that must be cut like any other. */
Test(bad_input, mismatched_completions_beyond_the_positions)
{
    char text[2048] = "{\"completion_ids\": [3], \"label\": true, \"prompt_ids\": [1";
    for (int i = 0; i < 29; i++)
        strcat(text, ", 8");
    strcat(text, "]}\n{\"prompt_ids\": [1], \"label\": false, \"completion_ids\": [7");
    for (int i = 0; i < 29; i++)
        strcat(text, ", 8");
    put("bad.jsonl", strcat(text, "]}\n"));
    struct arguments a = tiny_arguments(&t, "kto", "bad.jsonl", "out");
    expect_refused(&a, 1, "sequences of 60 tokens", "lower --max_length");
    ADD(&a, "--max_length", "32", "--max_steps", "2", "--logging_steps", "1");
    run_to_end(&p, &a);
}

Test(bad_input, heads_of_a_reward_model)
{
    static const char *const heads[] = { "", "{}", "[1, 2]", "{\"initial\": [1, 2, \"x\"]}" };
    struct arguments a = tiny_arguments(&t, "reward", "pairs.jsonl", "out");
    ADD(&a, "--initial_head", tiny_kept(&t, "head.json"));
    for (int i = 0; i < 4; i++) {
        put("head.json", heads[i]);
        expect_refused(&a, 1, "head.json", i ? "for a head of 8" : ":1:1: the text ends");
    }
}

/* Steps of the lines in metrics.jsonl, of which each must be below `before`. */
static int steps_logged(int before)
{
    int n = 0;
    char *text = plain_metrics(&t, "out/metrics.jsonl");
    for (const char *at = text; (at = strstr(at, "{\"step\":")) != NULL; at++, n++)
        cr_expect_lt(strtol(at + 8, NULL, 10), before);
    free(text);
    return n;
}

static int step_in(const char *text)
{
    const char *at = strstr(text, "step ");
    cr_assert(at, "no step in: %s", text);
    return (int)strtol(at + 5, NULL, 10);
}

/* Weight decay times rate of 500 multiplies the weights by -499 in each step. */
Test(bad_input, a_rate_that_turns_the_loss_into_no_number)
{
    static const struct {
        const char *command, *data;
    } cases[] = { { "dpo", "pairs.jsonl" },
                  { "sft", "texts.jsonl" },
                  { "kto", "rated.jsonl" },
                  { "reward", "pairs.jsonl" } };
    for (int i = 0; i < 4; i++) {
        struct arguments a = tiny_arguments(&t, cases[i].command, cases[i].data, "out");
        ADD(&a, "--learning_rate", "1", "--weight_decay", "500", "--lr_scheduler_type", "constant",
            "--logging_steps", "1", "--max_steps", "100", "--bf16", "false");
        program_run(&p, a.v);
        cr_expect_eq(p.code, 1, "%s: %s", cases[i].command, p.err);
        cr_expect(strstr(p.err, "not finite"), "%s: %s", cases[i].command, p.err);
        cr_expect(strstr(p.err, "data row"), "%s: %s", cases[i].command, p.err);
        const int step = step_in(p.err);
        cr_expect(step > 1 && steps_logged(step) == step - 1, "%s: %s", cases[i].command, p.err);
        cr_expect_not(tiny_exists(&t, "out/model.safetensors"));
        plumb_folder_remove(tiny_path(&t, "out"));
    }
}

/* What a diverging run saved last can be loaded: weights beyond all numbers are not saved. */
Test(bad_input, a_rate_that_turns_weights_into_no_numbers)
{
    struct arguments a = tiny_arguments(&t, "sft", "texts.jsonl", "out");
    ADD(&a, "--learning_rate", "1", "--weight_decay", "1000", "--lr_scheduler_type", "constant",
        "--save_steps", "1", "--save_total_limit", "1", "--max_steps", "100", "--bf16", "false");
    program_run(&p, a.v);
    cr_expect(p.code == 1 && strstr(p.err, "not finite"), "%s", p.err);
    cr_expect(last_step(&t, "out") > 0 && !is_writing(&t, "out"));
    ADD(&a, "--resume_from_checkpoint");
    char *first = strdup(p.err);
    program_run(&p, a.v);
    cr_expect(p.code == 1 && strcmp(p.err, first) == 0, "%s and then %s", first, p.err);
    free(first);
}

Test(bad_input, options_under_which_kto_has_no_reference_point)
{
    struct arguments a = tiny_arguments(&t, "kto", "rated.jsonl", "out"), b = a;
    ADD(&a, "--per_device_train_batch_size", "1");
    expect_refused(&a, 2, "per_device_train_batch_size 1", "kto wants 2 or more");
    ADD(&b, "--train_sampling_strategy", "random");
    expect_refused(&b, 2, "train_sampling_strategy", "sequential");
}

Test(bad_input, weights_so_large_that_the_first_loss_is_no_number)
{
    poke_head();
    struct arguments a = tiny_arguments(&t, "dpo", "pairs.jsonl", "out");
    ADD(&a, "--bf16", "false");
    program_run(&p, a.v);
    cr_expect(p.code == 1 && strstr(p.err, "step 1: the loss is"), "%s", p.err);
    cr_expect(strstr(p.err, "at data row ") && strstr(p.err, "not finite"), "%s", p.err);
    cr_expect_eq(steps_logged(1), 0);
    cr_expect_not(tiny_exists(&t, "out/model.safetensors"));
    /* Nothing of a run is there, so the next one needs no leave to overwrite. */
    tiny_model(tiny_path(&t, "model"), TINY_CONFIG);
    run_to_end(&p, &a);
    ADD(&a, "--overwrite_output_dir", "--precompute_ref_log_probs");
    poke_head();
    program_run(&p, a.v);
    cr_expect(p.code == 1 && strstr(p.err, "reference log-prob of data row 0"), "%s", p.err);
}

/* Bytes wanted and free before step 0. The sanitizers' own memory is beyond any limit. */
Test(bad_input, a_batch_too_large_for_the_memory)
{
    struct rlimit whole;
    if (RUNS_SANITIZED) return;
    tiny_rows(&t, "many.jsonl", TINY_TEXTS, 30000);
    struct arguments a = tiny_arguments(&t, "sft", "many.jsonl", "out");
    ADD(&a, "--per_device_train_batch_size", "1048576", "--gradient_checkpointing", "false");
    cr_assert_eq(getrlimit(RLIMIT_AS, &whole), 0);
    const struct rlimit limit = { (rlim_t)300 << 20, whole.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    expect_refused(&a, 1, "could not allocate the step arena", "MiB wanted");
    cr_assert_eq(setrlimit(RLIMIT_AS, &whole), 0);
}
