/* `plumb demo` as a newcomer runs it, shortened: what it prints, writes and refuses. */
#include "io/file.h"
#include "io/json.h"
#include "io/jsonl.h"
#include "tests/program.h"

static struct program p;

static char *new_folder(char *path)
{
    memcpy(path, "/tmp/plumb_demo_XXXXXX", 23);
    cr_assert(mkdtemp(path));
    return path;
}

static void remove_folder(const char *path)
{
    char command[256];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    cr_expect_eq(system(command), 0);
}

static void name_in(char out[256], const char *dir, const char *name)
{
    cr_assert_eq(plumb_path_join(out, 256, dir, name), PLUMB_OK);
}

static char *read_text(const char *dir, const char *name)
{
    char path[256], *text;
    size_t n;
    name_in(path, dir, name);
    cr_assert_eq(plumb_file_read(path, 0, &text, &n), PLUMB_OK, "%s", plumb_errmsg());
    return text;
}

/* The numbers behind a label of the printed results: before and after. */
static void printed(const char *label, double out[2])
{
    const char *at = strstr(p.out, label);
    cr_assert(at, "%s is missing in:\n%s", label, p.out);
    cr_assert_eq(sscanf(at + strlen(label), "%lf %% %lf", &out[0], &out[1]), 2, "%s", at);
}

/* metrics.jsonl without the fields that time and memory make. */
static char *numbers(const char *dir, const char *name)
{
    char path[256], *text = NULL;
    size_t n;
    struct plumb_jsonl r;
    struct plumb_jsonl_row row;
    bool found;
    FILE *out = open_memstream(&text, &n);
    name_in(path, dir, name);
    cr_assert_eq(plumb_jsonl_open(&r, path, 0), PLUMB_OK);
    while (plumb_jsonl_next(&r, &row, &found) == PLUMB_OK && found) {
        cJSON *line;
        cr_assert_eq(plumb_json_parse(row.text, row.n, name, &line), PLUMB_OK);
        for (const cJSON *v = line->child; v; v = v->next)
            if (!strstr(v->string, "per_second") && !strstr(v->string, "step_time") &&
                !strstr(v->string, "runtime") && !strstr(v->string, "rss"))
                fprintf(out, "%s %.17g, ", v->string, v->valuedouble);
        fputc('\n', out);
        cJSON_Delete(line);
    }
    plumb_jsonl_release(&r);
    fclose(out);
    return text;
}

Test(demo, aligns_a_model_and_shows_it_with_the_same_numbers_each_time, .timeout = 240)
{
    static const char *const files[] = {
        "sft/config.json",       "sft/model.safetensors",   "sft/tokenizer.json",
        "dpo/config.json",       "dpo/model.safetensors",   "dpo/tokenizer.json",
        "dpo/metrics.jsonl",     "data/sft.jsonl",          "data/pairs/train.jsonl",
        "data/pairs/test.jsonl", "start/model.safetensors",
    };
    char dir[32], path[256];
    double preferred[2];
    PROGRAM_RUN(&p, "demo", "--quick", "--output_dir", new_folder(dir));
    cr_assert_eq(p.code, 0, "%s", p.err);
    cr_expect_str_eq(p.err, "");
    cr_expect(strstr(p.out, "\n1. plumb sft --") && strstr(p.out, "\n2. plumb dpo --"), "%s",
              p.out);
    printed("good answer more probable than the bad", preferred);
    cr_expect(preferred[1] > preferred[0], "from %g to %g", preferred[0], preferred[1]);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        name_in(path, dir, files[i]);
        cr_expect(plumb_file_exists(path), "%s", path);
    }
    char *page = read_text(dir, "report.html");
    static const char *const charts[] = { "good completions", "sft_loss", "rewards", "accuracy" };
    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++) {
        char caption[64];
        snprintf(caption, sizeof caption, "<figcaption><b>%s</b>", charts[i]);
        cr_expect(strstr(page, caption), "no chart of %s", charts[i]);
    }
    cr_expect(strstr(page, "<path class=\"curve\"") && strstr(page, "Guest "));
    free(page);

    static const char *const logs[] = { "metrics.jsonl", "sft/metrics.jsonl", "dpo/metrics.jsonl" };
    char *first[3];
    for (int i = 0; i < 3; i++)
        first[i] = numbers(dir, logs[i]);
    PROGRAM_RUN(&p, "demo", "--quick", "--quiet", "--output_dir", dir);
    cr_assert_eq(p.code, 0, "%s", p.err);
    for (int i = 0; i < 3; i++) {
        char *again = numbers(dir, logs[i]);
        cr_expect(strlen(again) > 1000, "%s", again);
        cr_expect_str_eq(first[i], again, "%s", logs[i]);
        free(first[i]);
        free(again);
    }
    remove_folder(dir);
}

Test(demo, leaves_folders_alone_that_it_did_not_make)
{
    char dir[32], path[256];
    name_in(path, new_folder(dir), "precious");
    cr_assert_eq(plumb_file_write(path, "mine", 4), PLUMB_OK);
    PROGRAM_RUN(&p, "demo", "--quick", "--output_dir", dir);
    cr_expect_eq(p.code, 1);
    cr_expect(strstr(p.err, dir) && strstr(p.err, "no folder of an earlier demo"), "%s", p.err);
    cr_expect_str_eq(p.out, "");
    name_in(path, dir, "demo.json");
    cr_assert_eq(plumb_file_write(path, "{\"made_by\": \"me\"}", 17), PLUMB_OK);
    PROGRAM_RUN(&p, "demo", "--quick", "--output_dir", dir);
    cr_expect_eq(p.code, 1, "%s", p.out);
    name_in(path, dir, "data");
    cr_expect(!plumb_file_exists(path));
    name_in(path, dir, "precious"); /* a file in a folder's place */
    PROGRAM_RUN(&p, "demo", "--quick", "--output_dir", path);
    cr_expect(p.code == 1 && strstr(p.err, path), "%s", p.err);
    remove_folder(dir);
    PROGRAM_RUN(&p, "demo", "--outputdir", "x");
    cr_expect(p.code == 2 && strstr(p.err, "output_dir"), "%s", p.err);
}
