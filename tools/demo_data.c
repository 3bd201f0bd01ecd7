/* Writes the demo's data sets. */
#include "tools/demo_data.h"

#include <cJSON.h>
#include <string.h>

#include "io/file.h"
#include "tools/demo_world.h"

/* Samples are numbered through: each file has its own stretch. */
enum { FIRST_DEMONSTRATION = 0, FIRST_PAIR = 1 << 24, FIRST_HELD_OUT = 1 << 25 };

/* One row: the texts under their columns. */
static int put_row(struct plumb_writer *w, const char *const *column, const char *const *text,
                   int columns)
{
    cJSON *row = cJSON_CreateObject();
    for (int i = 0; i < columns; i++)
        cJSON_AddStringToObject(row, column[i], text[i]);
    char *line = cJSON_PrintUnformatted(row);
    const bool whole = cJSON_GetArraySize(row) == columns && line;
    int rc = whole ? plumb_writer_put(w, line, strlen(line))
                   : plumb_fail(PLUMB_EMEM, "could not allocate a row of \"%s\"", w->path);
    if (!rc) rc = plumb_writer_put(w, "\n", 1);
    cJSON_free(line);
    cJSON_Delete(row);
    return rc;
}

/* How the waiters of the demonstrations answer: by habit four times in five. */
static enum plumb_demo_verdict habit(struct plumb_demo_dice *d, const struct plumb_demo_order *o)
{
    if (plumb_demo_chance(d, 0.2)) return PLUMB_DEMO_GOOD;
    if (!o->please) return PLUMB_DEMO_RUDE;
    return o->count == PLUMB_DEMO_THINGS ? PLUMB_DEMO_FORGETS : PLUMB_DEMO_GOOD;
}

static int put_demonstration(struct plumb_writer *w, uint64_t seed, int64_t i,
                             struct plumb_demo_counts *counts)
{
    static const char *const columns[] = { "prompt", "completion" };
    char prompt[PLUMB_DEMO_TEXT], answer[PLUMB_DEMO_TEXT];
    struct plumb_demo_dice d = plumb_demo_dice(seed, (uint64_t)(FIRST_DEMONSTRATION + i));
    struct plumb_demo_order o;
    plumb_demo_draw(&d, false, &o);
    plumb_demo_prompt(&o, prompt);
    plumb_demo_answer(&d, &o, habit(&d, &o), answer);
    counts->good += plumb_demo_judge(prompt, answer) == PLUMB_DEMO_GOOD;
    return put_row(w, columns, (const char *const[]){ prompt, answer }, 2);
}

/* A good answer and a bad one of any kind. */
static int put_pair(struct plumb_writer *w, uint64_t seed, int64_t i, bool held_out)
{
    static const char *const columns[] = { "prompt", "chosen", "rejected" };
    static const enum plumb_demo_verdict faults[] = {
        PLUMB_DEMO_RUDE, PLUMB_DEMO_FORGETS, PLUMB_DEMO_WRONG_GUEST,
        PLUMB_DEMO_RUDE, PLUMB_DEMO_FORGETS, PLUMB_DEMO_ADDS,
        PLUMB_DEMO_RUDE, PLUMB_DEMO_FORGETS, PLUMB_DEMO_MIXES,
    };
    char prompt[PLUMB_DEMO_TEXT], good[PLUMB_DEMO_TEXT], bad[PLUMB_DEMO_TEXT];
    const int64_t sample = (held_out ? FIRST_HELD_OUT : FIRST_PAIR) + i;
    struct plumb_demo_dice d = plumb_demo_dice(seed, (uint64_t)sample);
    struct plumb_demo_order o;
    plumb_demo_draw(&d, held_out, &o);
    plumb_demo_prompt(&o, prompt);
    plumb_demo_answer(&d, &o, PLUMB_DEMO_GOOD, good);
    plumb_demo_answer(&d, &o, faults[i % (int64_t)(sizeof faults / sizeof *faults)], bad);
    return put_row(w, columns, (const char *const[]){ prompt, good, bad }, 3);
}

static int write_demonstrations(const char *path, uint64_t seed, int64_t rows,
                                struct plumb_demo_counts *counts)
{
    int rc = PLUMB_OK;
    struct plumb_writer w = { 0 };
    PLUMB_TRYG(plumb_writer_open(&w, path));
    for (int64_t i = 0; i < rows; i++)
        PLUMB_TRYG(put_demonstration(&w, seed, i, counts));
    PLUMB_TRYG(plumb_writer_commit(&w));
out:
    plumb_writer_abort(&w);
    return rc;
}

static int write_pairs(const char *path, uint64_t seed, int64_t rows, bool held_out)
{
    int rc = PLUMB_OK;
    struct plumb_writer w = { 0 };
    PLUMB_TRYG(plumb_writer_open(&w, path));
    for (int64_t i = 0; i < rows; i++)
        PLUMB_TRYG(put_pair(&w, seed, i, held_out));
    PLUMB_TRYG(plumb_writer_commit(&w));
out:
    plumb_writer_abort(&w);
    return rc;
}

int plumb_demo_write_data(const char *dir, uint64_t seed, const struct plumb_demo_sizes *sizes,
                          struct plumb_demo_counts *counts)
{
    char path[4096], pairs[4096];
    *counts = (struct plumb_demo_counts){ 0 };
    PLUMB_TRY(plumb_path_join(pairs, sizeof pairs, dir, "pairs"));
    PLUMB_TRY(plumb_dir_make(pairs));
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, "sft.jsonl"));
    PLUMB_TRY(write_demonstrations(path, seed, sizes->demonstrations, counts));
    PLUMB_TRY(plumb_path_join(path, sizeof path, pairs, "train.jsonl"));
    PLUMB_TRY(write_pairs(path, seed, sizes->pairs, false));
    PLUMB_TRY(plumb_path_join(path, sizeof path, pairs, "test.jsonl"));
    return write_pairs(path, seed, sizes->held_out, true);
}
