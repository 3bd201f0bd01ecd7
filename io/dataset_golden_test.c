/* Datasets against the ids that TRL 1.16.0 made of the same rows (golden/train). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/dataset.h"
#include "io/fake_text.h"
#include "io/json.h"
#include "io/jsonl.h"
#include "io/tokenizer.h"
#include "tests/shared.h"

#define PAIRS "data/preference/llms-from-scratch/instruction-data-with-preference.json"

static char made[64];
static const char *const made_path[] = { made };

static cJSON *load(const char *name)
{
    char path[512];
    cJSON *json;
    if (!shared_path(path, sizeof path, name)) return NULL;
    cr_assert_eq(plumb_json_load(path, 0, &json), PLUMB_OK, "%s", plumb_errmsg());
    return json;
}

static const char *field(const cJSON *row, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, key));
}

static void expect_ids(const cJSON *example, const char *key, const struct plumb_ids *got)
{
    const cJSON *want = cJSON_GetObjectItemCaseSensitive(example, key);
    cr_assert_eq(cJSON_GetArraySize(want), got->n, "%s: %d ids, got %d", key,
                 cJSON_GetArraySize(want), (int)got->n);
    int i = 0;
    for (const cJSON *v = want->child; v; v = v->next, i++)
        cr_assert_eq((int32_t)v->valuedouble, got->id[i], "%s[%d]", key, i);
}

/* Compares the examples of all batches, in order, with the set's. */
static void compare(const cJSON *golden, const struct plumb_dataset *set, const char *first,
                    const char *second)
{
    const cJSON *batch, *example;
    struct plumb_example e;
    int64_t n = 0;
    cJSON_ArrayForEach(batch, cJSON_GetObjectItem(golden, "batches"))
    {
        cJSON_ArrayForEach(example, cJSON_GetObjectItem(batch, "examples"))
        {
            cr_assert_eq(set->get(set->self, n++, &e), PLUMB_OK, "%s", plumb_errmsg());
            if (cJSON_GetObjectItem(example, "prompt_ids"))
                expect_ids(example, "prompt_ids", &e.prompt);
            expect_ids(example, first, &e.completion[0]);
            const cJSON *label = cJSON_GetObjectItem(example, "label");
            if (label) cr_assert_eq(e.label, cJSON_IsTrue(label));
            if (second) expect_ids(example, second, &e.completion[1]);
        }
    }
    cr_assert(n > 0 && n == set->count);
    fprintf(stderr, "%d golden examples\n", (int)n);
}

static int32_t max_length(const cJSON *golden)
{
    const cJSON *h = cJSON_GetObjectItem(golden, "hyperparameters");
    return (int32_t)cJSON_GetNumberValue(cJSON_GetObjectItem(h, "max_length"));
}

/* The first n characters, those outside the golden's tokenizer as spaces. */
static void add_cut(cJSON *row, const char *key, const char *value, size_t n)
{
    char text[64];
    size_t at = 0;
    for (const char *p = value; *p && at < n; p++)
        if (((unsigned char)*p & 0xC0) != 0x80) text[at++] = *p >= 32 && *p <= 125 ? *p : ' ';
    text[at] = 0;
    cJSON_AddStringToObject(row, key, text);
}

/* A row of a golden's data becomes a row of its trainer's dataset. */
typedef void make_row(const cJSON *from, int number, cJSON *to);

/* Opens a dataset made of the golden's rows. */
static void open_rows(const cJSON *golden, const cJSON *data, make_row *make,
                      const struct plumb_text *text, enum plumb_dataset_use use,
                      struct plumb_dataset *set)
{
    snprintf(made, sizeof made, "/tmp/plumb-golden-XXXXXX");
    const int fd = mkstemp(made);
    FILE *f = fdopen(fd, "w");
    cr_assert_not_null(f);
    const cJSON *number;
    cJSON_ArrayForEach(number, cJSON_GetObjectItem(cJSON_GetObjectItem(golden, "data"), "rows"))
    {
        cJSON *row = cJSON_CreateObject();
        make(cJSON_GetArrayItem(data, number->valueint), number->valueint, row);
        char *line = cJSON_PrintUnformatted(row);
        fprintf(f, "%s\n", line);
        free(line);
        cJSON_Delete(row);
    }
    fclose(f);
    const struct plumb_dataset_options o = { .paths = made_path,
                                             .path_count = 1,
                                             .text = text,
                                             .use = use,
                                             .max_length = max_length(golden) };
    cr_assert_eq(plumb_dataset_open(&o, set), PLUMB_OK, "%s", plumb_errmsg());
    unlink(made);
}

static void cut_pair(const cJSON *from, int number, cJSON *to)
{
    (void)number;
    add_cut(to, "prompt", field(from, "instruction"), 24);
    add_cut(to, "chosen", field(from, "chosen"), 36);
    add_cut(to, "rejected", field(from, "rejected"), 28);
}

Test(dataset_golden, pairs_of_the_character_tokenizer_are_trls)
{
    cJSON *golden = load("golden/train/dpo-sigmoid-tiny-qwen2.json"), *data = load(PAIRS);
    if (!golden || !data) return;
    struct fake_text fake = { .bos = true };
    const struct plumb_text text = fake_text(&fake);
    struct plumb_dataset set;
    open_rows(golden, data, cut_pair, &text, PLUMB_USE_PREFERENCE, &set);
    compare(golden, &set, "chosen_ids", "rejected_ids");
    plumb_dataset_release(&set);
    cJSON_Delete(golden);
    cJSON_Delete(data);
}

static void add_instruction(const cJSON *from, cJSON *to)
{
    char prompt[4096];
    const char *input = field(from, "input");
    snprintf(prompt, sizeof prompt, "### Instruction:\n%s\n\n%s%s%s### Response:\n",
             field(from, "instruction"), *input ? "### Input:\n" : "", input, *input ? "\n\n" : "");
    cJSON_AddStringToObject(to, "prompt", prompt);
}

static void instruction_pair(const cJSON *from, int number, cJSON *to)
{
    (void)number;
    add_instruction(from, to);
    cJSON_AddStringToObject(to, "chosen", field(from, "chosen"));
    cJSON_AddStringToObject(to, "rejected", field(from, "rejected"));
}

static void instruction_answer(const cJSON *from, int number, cJSON *to)
{
    (void)number;
    add_instruction(from, to);
    cJSON_AddStringToObject(to, "completion", field(from, "output"));
}

static void instruction_label(const cJSON *from, int number, cJSON *to)
{
    const bool good = number % 5 == 0 || number % 5 == 2 || number % 5 == 3;
    add_instruction(from, to);
    cJSON_AddStringToObject(to, "completion", field(from, good ? "chosen" : "rejected"));
    cJSON_AddBoolToObject(to, "label", good);
}

static void story(const cJSON *from, int number, cJSON *to)
{
    (void)number;
    cJSON_AddStringToObject(to, "text", field(from, "text"));
}

static void transcripts(const cJSON *from, int number, cJSON *to)
{
    (void)number;
    cJSON_AddStringToObject(to, "chosen", field(from, "chosen"));
    cJSON_AddStringToObject(to, "rejected", field(from, "rejected"));
}

/* All rows of a JSONL or JSON file as one array. */
static cJSON *load_rows(const char *name)
{
    char path[512];
    struct plumb_jsonl r;
    struct plumb_jsonl_row row;
    bool found;
    if (!shared_path(path, sizeof path, name)) return NULL;
    cJSON *rows = cJSON_CreateArray();
    cr_assert_eq(plumb_jsonl_open(&r, path, 0), PLUMB_OK, "%s", plumb_errmsg());
    while (plumb_jsonl_next(&r, &row, &found) == PLUMB_OK && found && row.index < 1100) {
        cJSON *one;
        cr_assert_eq(plumb_json_parse_at(row.text, row.n, path, row.line, &one), PLUMB_OK, "%s",
                     plumb_errmsg());
        cJSON_AddItemToArray(rows, one);
    }
    plumb_jsonl_release(&r);
    return rows;
}

Test(dataset_golden, rows_of_the_trained_tokenizer_are_trls)
{
    static const struct {
        const char *golden, *data;
        make_row *make;
        enum plumb_dataset_use use;
        enum plumb_dataset_type type;
        const char *first, *second;
    } cases[] = {
        { "golden/train/sft-text.json", "data/text/tinystories/tinystories.jsonl.gz", story,
          PLUMB_USE_SFT, PLUMB_DATA_LANGUAGE_MODELING, "completion_ids", NULL },
        { "golden/train/sft-prompt-completion.json",
          "data/preference/llms-from-scratch/instruction-data.json", instruction_answer,
          PLUMB_USE_SFT, PLUMB_DATA_PROMPT_COMPLETION, "completion_ids", NULL },
        { "golden/train/dpo-sigmoid.json", PAIRS, instruction_pair, PLUMB_USE_PREFERENCE,
          PLUMB_DATA_PREFERENCE, "chosen_ids", "rejected_ids" },
        { "golden/train/kto.json", PAIRS, instruction_label, PLUMB_USE_UNPAIRED,
          PLUMB_DATA_UNPAIRED, "completion_ids", NULL },
        { "golden/train/reward-model.json", "data/preference/hh-rlhf/helpful-base.test.jsonl.gz",
          transcripts, PLUMB_USE_REWARD, PLUMB_DATA_PREFERENCE, "chosen_ids", "rejected_ids" },
    };
    char folder[512];
    struct plumb_text text;
    if (!shared_path(folder, sizeof folder, "data/models/stories260K/hf")) return;
    cr_assert_eq(plumb_tokenizer_open(&text, folder), PLUMB_OK, "%s", plumb_errmsg());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *golden = load(cases[i].golden), *data = load_rows(cases[i].data);
        struct plumb_dataset set;
        if (!golden || !data) continue;
        fprintf(stderr, "%s: ", cases[i].golden);
        open_rows(golden, data, cases[i].make, &text, cases[i].use, &set);
        cr_assert_eq(set.type, cases[i].type);
        compare(golden, &set, cases[i].first, cases[i].second);
        plumb_dataset_release(&set);
        cJSON_Delete(golden);
        cJSON_Delete(data);
    }
    plumb_tokenizer_release(&text);
}
