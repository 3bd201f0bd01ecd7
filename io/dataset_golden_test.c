/* Datasets against the ids that TRL 1.16.0 made of the same rows (golden/train). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/dataset.h"
#include "io/fake_text.h"
#include "io/json.h"
#include "tests/shared.h"

static char made[] = "/tmp/plumb-golden-XXXXXX";
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
            if (set->type != PLUMB_DATA_LANGUAGE_MODELING)
                expect_ids(example, "prompt_ids", &e.prompt);
            expect_ids(example, first, &e.completion[0]);
            if (second) expect_ids(example, second, &e.completion[1]);
        }
    }
    cr_assert(n > 0);
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

Test(dataset_golden, pairs_of_the_character_tokenizer_are_trls)
{
    cJSON *golden = load("golden/train/dpo-sigmoid-tiny-qwen2.json");
    cJSON *data = load("data/preference/llms-from-scratch/instruction-data-with-preference.json");
    if (!golden || !data) return;
    const int fd = mkstemp(made);
    FILE *f = fdopen(fd, "w");
    const cJSON *number;
    cJSON_ArrayForEach(number, cJSON_GetObjectItem(cJSON_GetObjectItem(golden, "data"), "rows"))
    {
        const cJSON *from = cJSON_GetArrayItem(data, (int)number->valuedouble);
        cJSON *row = cJSON_CreateObject();
        add_cut(row, "prompt", field(from, "instruction"), 24);
        add_cut(row, "chosen", field(from, "chosen"), 36);
        add_cut(row, "rejected", field(from, "rejected"), 28);
        char *line = cJSON_PrintUnformatted(row);
        fprintf(f, "%s\n", line);
        free(line);
        cJSON_Delete(row);
    }
    fclose(f);
    struct fake_text fake = { .bos = true };
    const struct plumb_text text = fake_text(&fake);
    const struct plumb_dataset_options o = { .paths = made_path,
                                             .path_count = 1,
                                             .text = &text,
                                             .use = PLUMB_USE_PREFERENCE,
                                             .max_length = max_length(golden) };
    struct plumb_dataset set;
    cr_assert_eq(plumb_dataset_open(&o, &set), PLUMB_OK, "%s", plumb_errmsg());
    compare(golden, &set, "chosen_ids", "rejected_ids");
    plumb_dataset_release(&set);
    unlink(made);
    cJSON_Delete(golden);
    cJSON_Delete(data);
}
