/* `plumb generate` as a user runs it. */
#include "io/json.h"
#include "tests/shared.h"
#include "tests/tiny_run.h"

static struct program p;

static void write_file(const struct tiny *t, const char *name, const char *text)
{
    cr_assert_eq(plumb_file_write(tiny_path(t, name), text, strlen(text)), PLUMB_OK);
}

static void generate(const struct tiny *t, const char *data, const char *out, const char *most)
{
    char paths[3][512];
    snprintf(paths[0], sizeof paths[0], "%s", tiny_path(t, "model"));
    snprintf(paths[1], sizeof paths[1], "%s", tiny_path(t, data));
    snprintf(paths[2], sizeof paths[2], "%s", tiny_path(t, out));
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", paths[0], "--dataset_name", paths[1],
                "--output", paths[2], "--max_new_tokens", most);
}

/* Row `index` of a JSONL file of the test; the caller deletes it. */
static cJSON *row_of(const struct tiny *t, const char *name, int index)
{
    char line[4096] = "";
    FILE *f = fopen(tiny_path(t, name), "r");
    cr_assert(f, "no %s", name);
    for (int i = 0; i <= index; i++)
        cr_assert(fgets(line, sizeof line, f), "%s has %d rows", name, i);
    fclose(f);
    cJSON *row = cJSON_Parse(line);
    cr_assert(row, "%s: %s", name, line);
    return row;
}

static int ids_of(const cJSON *row, const char *key, int out[64])
{
    const cJSON *list = cJSON_GetObjectItem(row, key), *v;
    int n = 0;
    cr_assert(cJSON_IsArray(list), "no %s", key);
    cJSON_ArrayForEach(v, list) out[n++] = v->valueint;
    return n;
}

/* The likeliest continuation of a continuation is the rest of it. */
Test(generate_run, completes_rows_and_passes_their_columns_on)
{
    struct tiny t;
    int whole[64], rest[64];
    tiny_init(&t);
    write_file(&t, "a.jsonl",
               "{\"answer\": \"x\", \"prompt_ids\": [3, 4, 5]}\n"
               "{\"answer\": 2.5, \"prompt_ids\": [9], \"completion_ids\": [1]}\n");
    generate(&t, "a.jsonl", "out.jsonl", "12");
    cr_assert_eq(p.code, 0, "%s", p.err);
    cJSON *a = row_of(&t, "out.jsonl", 0), *b = row_of(&t, "out.jsonl", 1);
    cr_expect_str_eq(cJSON_GetObjectItem(a, "answer")->valuestring, "x");
    cr_expect_eq(cJSON_GetObjectItem(b, "answer")->valuedouble, 2.5);
    cr_expect_null(cJSON_GetObjectItem(a, "completion"), "there is no tokenizer");
    cr_assert_eq(ids_of(a, "prompt_ids", whole), 3);
    cr_expect(whole[0] == 3 && whole[1] == 4 && whole[2] == 5);
    cr_assert_eq(ids_of(b, "completion_ids", whole), 12);
    cr_assert_eq(ids_of(a, "completion_ids", whole), 12);
    char more[256];
    snprintf(more, sizeof more, "{\"prompt_ids\": [3, 4, 5, %d, %d, %d]}\n", whole[0], whole[1],
             whole[2]);
    write_file(&t, "b.jsonl", more);
    generate(&t, "b.jsonl", "out2.jsonl", "9");
    cJSON *c = row_of(&t, "out2.jsonl", 0);
    cr_assert_eq(ids_of(c, "completion_ids", rest), 9);
    for (int i = 0; i < 9; i++)
        cr_expect(rest[i] == whole[3 + i] && rest[i] >= 0 && rest[i] < TINY_VOCAB);
    cJSON_Delete(a);
    cJSON_Delete(b);
    cJSON_Delete(c);
    tiny_release(&t);
}

Test(generate_run, stops_at_the_ids_of_the_generation_config_and_at_the_last_position)
{
    struct tiny t;
    int all[64], cut[64];
    char config[128];
    tiny_init(&t);
    write_file(&t, "a.jsonl", "{\"prompt_ids\": [3, 4, 5]}\n");
    generate(&t, "a.jsonl", "out.jsonl", "1000");
    cr_assert_eq(p.code, 0, "%s", p.err);
    cr_expect(strstr(p.err, "1 of the completions ended at the model's last position"), "%s",
              p.err);
    cJSON *row = row_of(&t, "out.jsonl", 0);
    cr_assert_eq(ids_of(row, "completion_ids", all), 30, "32 positions, and one id behind them");
    cJSON_Delete(row);
    snprintf(config, sizeof config, "{\"eos_token_id\": [%d, %d]}", TINY_VOCAB - 1, all[7]);
    write_file(&t, "model/generation_config.json", config);
    generate(&t, "a.jsonl", "out.jsonl", "1000");
    row = row_of(&t, "out.jsonl", 0);
    const int n = ids_of(row, "completion_ids", cut);
    cr_assert(n >= 1 && n <= 8);
    for (int i = 0; i < n; i++)
        cr_expect(cut[i] == all[i] && (i == n - 1) == (cut[i] == all[7] || cut[i] == 23));
    cr_expect_null(strstr(p.err, "last position"), "%s", p.err);
    cJSON_Delete(row);
    tiny_release(&t);
}

/* Faults of the data come before anything is generated, and leave what stood at --output. */
Test(generate_run, bad_rows_stop_it_and_leave_the_output_alone)
{
    static const struct {
        const char *rows, *says;
    } faults[] = {
        { "{\"prompt_ids\": [3]}\n{\"prompt_ids\": [24]}\n", "a.jsonl:2" },
        { "{\"prompt_ids\": [3]}\n{\"prompt_ids\": []}\n", "a.jsonl:2" },
        { "{\"prompt_ids\": [3]}\n{\"prompt_ids\": "
          "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
          "1,1,1,1,1,1,1,1,1]}\n",
          "33 tokens, the model 32 positions" },
        { "{\"prompt\": \"hello\"}\n", "there is no tokenizer" },
        { "{\"prompt_ids\": [3]}\n{\"prompt_ids\": [3\n", "a.jsonl:2" },
        { "", "no rows" },
    };
    struct tiny t;
    tiny_init(&t);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        write_file(&t, "a.jsonl", faults[i].rows);
        write_file(&t, "out.jsonl", "kept");
        generate(&t, "a.jsonl", "out.jsonl", "4");
        cr_expect_eq(p.code, 1, "fault %zu", i);
        cr_expect(strstr(p.err, faults[i].says), "%s", p.err);
        char *text = tiny_read(&t, "out.jsonl", NULL);
        cr_expect_str_eq(text, "kept");
        free(text);
    }
    cr_expect_not(tiny_exists(&t, "out.jsonl.tmp"));
    tiny_release(&t);
}

Test(generate_run, wrong_usage_says_what_is_missing)
{
    struct tiny t;
    tiny_init(&t);
    const char *const model = strdup(tiny_path(&t, "model"));
    const char *const reward = strdup(tiny_path(&t, "reward"));
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", model);
    cr_expect(p.code == 2 && strstr(p.err, "either --prompt or --dataset_name"), "%s", p.err);
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", model, "--prompt", "a", "--dataset_name",
                "b");
    cr_expect(p.code == 2 && strstr(p.err, "either --prompt or --dataset_name"), "%s", p.err);
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", model, "--dataset_name", "b");
    cr_expect(p.code == 2 && strstr(p.err, "wants --output"), "%s", p.err);
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", model, "--prompt", "a", "--top_p", "0.5");
    cr_expect(p.code == 2 && strstr(p.err, "want --do_sample true"), "%s", p.err);
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", model, "--prompt", "a",
                "--num_return_sequences", "2");
    cr_expect(p.code == 2 && strstr(p.err, "wants --do_sample true"), "%s", p.err);
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", model, "--prompt", "a");
    cr_expect(p.code == 1 && strstr(p.err, "no tokenizer"), "%s", p.err);
    tiny_model(reward, "{\"architectures\":[\"LlamaForSequenceClassification\"],\"num_labels\":1,"
                       "\"model_type\":\"llama\",\"vocab_size\":24,\"hidden_size\":8,"
                       "\"intermediate_size\":12,\"num_hidden_layers\":1,"
                       "\"num_attention_heads\":2,\"num_key_value_heads\":1,"
                       "\"max_position_embeddings\":32}");
    write_file(&t, "a.jsonl", "{\"prompt_ids\": [3]}\n");
    const char *const rows = strdup(tiny_path(&t, "a.jsonl"));
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", reward, "--dataset_name", rows, "--output",
                "/dev/null");
    cr_expect(p.code == 1 && strstr(p.err, "is a reward model"), "%s", p.err);
    tiny_release(&t);
}

/* Several samples of each row, whatever the batch; more samples leave the first as they are. */
Test(generate_run, samples_do_not_depend_on_the_batch)
{
    static const char *const runs[][2] = { { "16", "3" }, { "3", "3" }, { "1", "2" } };
    struct tiny t;
    char paths[3][512], *text[3];
    tiny_init(&t);
    write_file(&t, "a.jsonl",
               "{\"prompt_ids\": [3, 4, 5]}\n{\"prompt_ids\": [9]}\n{\"prompt_ids\": [1, 2]}\n");
    snprintf(paths[0], sizeof paths[0], "%s", tiny_path(&t, "model"));
    snprintf(paths[1], sizeof paths[1], "%s", tiny_path(&t, "a.jsonl"));
    snprintf(paths[2], sizeof paths[2], "%s", tiny_path(&t, "out.jsonl"));
    for (int i = 0; i < 3; i++) {
        PROGRAM_RUN(&p, "generate", "--model_name_or_path", paths[0], "--dataset_name", paths[1],
                    "--output", paths[2], "--max_new_tokens", "9", "--do_sample", "true",
                    "--temperature", "2", "--seed", "7", "--batch_size", runs[i][0],
                    "--num_return_sequences", runs[i][1]);
        cr_assert_eq(p.code, 0, "%s", p.err);
        text[i] = tiny_read(&t, "out.jsonl", NULL);
    }
    cr_expect_str_eq(text[0], text[1]);
    cJSON *three = cJSON_Parse(text[0]), *two = cJSON_Parse(text[2]);
    const cJSON *a = cJSON_GetObjectItem(three, "completions_ids");
    const cJSON *b = cJSON_GetObjectItem(two, "completions_ids");
    const cJSON *logps = cJSON_GetObjectItem(three, "completions_logps");
    cr_assert(cJSON_GetArraySize(a) == 3 && cJSON_GetArraySize(b) == 2);
    for (int k = 0; k < 2; k++)
        cr_expect(cJSON_Compare(cJSON_GetArrayItem(a, k), cJSON_GetArrayItem(b, k), true));
    cr_expect_not(cJSON_Compare(cJSON_GetArrayItem(a, 0), cJSON_GetArrayItem(a, 1), true));
    const cJSON *logp;
    cr_assert_eq(cJSON_GetArraySize(cJSON_GetArrayItem(logps, 2)),
                 cJSON_GetArraySize(cJSON_GetArrayItem(a, 2)));
    cJSON_ArrayForEach(logp, cJSON_GetArrayItem(logps, 2)) cr_expect(logp->valuedouble <= 0);
    cJSON_Delete(three);
    cJSON_Delete(two);
    for (int i = 0; i < 3; i++)
        free(text[i]);
    tiny_release(&t);
}

/* The recorded text of a trained model, on both devices. */
Test(generate_run, prints_the_recorded_story)
{
    char folder[1024], golden[1024], most[16];
    cJSON *json;
    if (!shared_path(folder, sizeof folder, "data/models/stories260K/hf")) return;
    if (!shared_path(golden, sizeof golden, "data/models/stories260K/golden.json")) return;
    cr_assert_eq(plumb_json_load(golden, 0, &json), PLUMB_OK);
    const cJSON *run = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "greedy"), 3);
    const char *prompt = cJSON_GetObjectItem(run, "prompt")->valuestring;
    const char *text = cJSON_GetObjectItem(run, "text")->valuestring;
    const int n = cJSON_GetArraySize(cJSON_GetObjectItem(run, "ids")) -
                  cJSON_GetArraySize(cJSON_GetObjectItem(run, "prompt_ids"));
    snprintf(most, sizeof most, "%d", n);
    for (int ref = 0; ref < 2; ref++) {
        PROGRAM_RUN(&p, "generate", "--model_name_or_path", folder, "--prompt", prompt,
                    "--max_new_tokens", most, "--bf16", "false", "--device", ref ? "ref" : "cpu");
        cr_expect(p.code == 0 && p.err[0] == 0, "%s", p.err);
        const size_t size = strlen(text);
        cr_expect(strlen(p.out) == size + 1 && !memcmp(p.out, text, size) && p.out[size] == '\n',
                  "%s", p.out);
    }
    cJSON_Delete(json);
}

/* A row's prompt and completion together are the text, the space between them included. */
Test(generate_run, writes_texts_that_join)
{
    struct tiny t;
    char folder[1024], rows[512], out[512];
    if (!shared_path(folder, sizeof folder, "data/models/stories260K/hf")) return;
    tiny_init(&t);
    write_file(&t, "a.jsonl", "{\"prompt\": \"Once upon a time\", \"id\": 7}\n");
    snprintf(rows, sizeof rows, "%s", tiny_path(&t, "a.jsonl"));
    snprintf(out, sizeof out, "%s", tiny_path(&t, "out.jsonl"));
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", folder, "--dataset_name", rows, "--output",
                out, "--bf16", "false", "--max_new_tokens", "30");
    cr_assert_eq(p.code, 0, "%s", p.err);
    cJSON *row = row_of(&t, "out.jsonl", 0);
    char joined[512];
    snprintf(joined, sizeof joined, "%s%s\n", cJSON_GetObjectItem(row, "prompt")->valuestring,
             cJSON_GetObjectItem(row, "completion")->valuestring);
    cr_expect_eq(cJSON_GetObjectItem(row, "id")->valueint, 7);
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", folder, "--prompt", "Once upon a time",
                "--bf16", "false", "--max_new_tokens", "30");
    cr_expect_str_eq(p.out, joined);
    cJSON_Delete(row);
    tiny_release(&t);
}
