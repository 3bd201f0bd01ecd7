/* Rows of completions. */
#include "tools/generate_rows.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(void) { return plumb_fail(PLUMB_EMEM, "could not allocate completions"); }

static struct plumb_generate_row *row_at(const struct plumb_generate_rows *r, int64_t index)
{
    return &r->row[index % r->room];
}

static int make_room(struct plumb_generate_rows *r)
{
    if (r->count < r->room) return PLUMB_OK;
    const int64_t room = r->room ? 2 * r->room : 64;
    struct plumb_generate_row *grown = calloc((size_t)room, sizeof *grown);
    if (!grown) return no_memory();
    for (int64_t i = r->first; i < r->first + r->count; i++)
        grown[i % room] = *row_at(r, i);
    free(r->row);
    r->row = grown;
    r->room = room;
    return PLUMB_OK;
}

static void release_row(struct plumb_generate_row *row)
{
    for (int64_t k = 0; k < row->wanted; k++) {
        if (row->id) free(row->id[k]);
        if (row->logp) free(row->logp[k]);
    }
    free(row->prompt);
    free(row->id);
    free(row->logp);
    free(row->count);
    *row = (struct plumb_generate_row){ 0 };
}

int plumb_generate_rows_open(struct plumb_generate_rows *r, int64_t index, const int32_t *prompt,
                             int64_t n, int64_t samples, const int32_t **kept)
{
    PLUMB_TRY(make_room(r));
    PLUMB_ASSERT(index == r->first + r->count);
    struct plumb_generate_row *row = row_at(r, index);
    const size_t wanted = (size_t)samples;
    *row = (struct plumb_generate_row){ .wanted = samples,
                                        .n = n,
                                        .prompt = calloc((size_t)n + 1, sizeof *row->prompt),
                                        .id = calloc(wanted, sizeof *row->id),
                                        .logp = calloc(wanted, sizeof *row->logp),
                                        .count = calloc(wanted, sizeof *row->count) };
    r->count++;
    if (!row->prompt || !row->id || !row->logp || !row->count) return no_memory();
    memcpy(row->prompt, prompt, (size_t)n * sizeof *prompt);
    *kept = row->prompt;
    return PLUMB_OK;
}

/* *text = malloc'ed text of ids, without special tokens. */
static int decode(const struct plumb_text *t, const int32_t *id, int64_t n, char **text)
{
    size_t bytes;
    PLUMB_TRY(t->decode(t->self, id, n, true, text, &bytes));
    for (size_t i = 0; i < bytes; i++) /* what follows a NUL would be lost */
        if ((*text)[i] == 0) (*text)[i] = ' ';
    return PLUMB_OK;
}

int plumb_completion_text(const struct plumb_text *t, const int32_t *prompt, int64_t n,
                          const int32_t *id, int64_t count, char **prompt_text, char **text)
{
    char *whole = NULL;
    int rc = PLUMB_OK;
    *prompt_text = *text = NULL;
    int32_t *all = calloc((size_t)(n + count) + 1, sizeof *all);
    if (!all) return no_memory();
    memcpy(all, prompt, (size_t)n * sizeof *all);
    if (count > 0) memcpy(all + n, id, (size_t)count * sizeof *all);
    PLUMB_TRYG(decode(t, all, n, prompt_text));
    PLUMB_TRYG(decode(t, all, n + count, &whole));
    const size_t length = strlen(*prompt_text);
    if (strncmp(whole, *prompt_text, length) == 0) {
        *text = strdup(whole + length);
        if (!*text) rc = no_memory();
    } else {
        rc = decode(t, id, count, text);
    }
out:
    free(whole);
    free(all);
    return rc;
}

static int put(cJSON *row, const char *name, cJSON *value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(row, name);
    if (value && cJSON_AddItemToObject(row, name, value)) return PLUMB_OK;
    cJSON_Delete(value);
    return no_memory();
}

static int put_texts(const struct plumb_generate_rows *r, const struct plumb_generate_row *g,
                     cJSON *row)
{
    cJSON *texts = g->wanted > 1 ? cJSON_CreateArray() : NULL;
    if (g->wanted > 1) PLUMB_TRY(put(row, "completions", texts));
    for (int64_t k = 0; k < g->wanted; k++) {
        char *prompt, *text;
        int rc = plumb_completion_text(r->text, g->prompt, g->n, g->id[k], g->count[k], &prompt,
                                       &text);
        if (!rc && k == 0 && !plumb_json_get(row, "prompt"))
            rc = put(row, "prompt", cJSON_CreateString(prompt));
        if (!rc && texts && !cJSON_AddItemToArray(texts, cJSON_CreateString(text)))
            rc = no_memory();
        if (!rc && !texts) rc = put(row, "completion", cJSON_CreateString(text));
        free(prompt);
        free(text);
        PLUMB_TRY(rc);
    }
    return PLUMB_OK;
}

/* One completion as itself, several as a list. */
static int put_lists(const struct plumb_generate_row *g, cJSON *row)
{
    PLUMB_TRY(put(row, "prompt_ids", cJSON_CreateIntArray(g->prompt, (int)g->n)));
    if (g->wanted == 1) {
        PLUMB_TRY(put(row, "completion_ids", cJSON_CreateIntArray(g->id[0], (int)g->count[0])));
        return put(row, "completion_logps", cJSON_CreateDoubleArray(g->logp[0], (int)g->count[0]));
    }
    cJSON *ids = cJSON_CreateArray(), *logps = cJSON_CreateArray();
    for (int64_t k = 0; k < g->wanted; k++) {
        cJSON_AddItemToArray(ids, cJSON_CreateIntArray(g->id[k], (int)g->count[k]));
        cJSON_AddItemToArray(logps, cJSON_CreateDoubleArray(g->logp[k], (int)g->count[k]));
    }
    const int rc = put(row, "completions_ids", ids), other = put(row, "completions_logps", logps);
    return rc ? rc : other;
}

static int write_row(const struct plumb_generate_rows *r, int64_t index)
{
    const struct plumb_generate_row *g = row_at(r, index);
    cJSON *row = NULL;
    char *line = NULL;
    int rc = PLUMB_OK;
    PLUMB_TRYG(plumb_row_walk_to(r->walk, r->set, index, &row));
    if (r->text) PLUMB_TRYG(put_texts(r, g, row));
    PLUMB_TRYG(put_lists(g, row));
    line = cJSON_PrintUnformatted(row);
    if (!line) PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a row of \"%s\"", r->path));
    PLUMB_TRYG(plumb_writer_put(r->writer, line, strlen(line)));
    rc = plumb_writer_put(r->writer, "\n", 1);
out:
    cJSON_free(line);
    cJSON_Delete(row);
    return rc;
}

int plumb_generate_rows_take(struct plumb_generate_rows *r, const struct plumb_completion *c)
{
    struct plumb_generate_row *row = row_at(r, c->prompt.index);
    const size_t n = (size_t)c->count;
    int32_t *id = row->id[c->sample] = calloc(n + 1, sizeof *id);
    double *logp = row->logp[c->sample] = calloc(n + 1, sizeof *logp);
    if (!id || !logp) return no_memory();
    if (n > 0) {
        memcpy(id, c->id, n * sizeof *id);
        memcpy(logp, c->logp, n * sizeof *logp);
    }
    row->count[c->sample] = c->count;
    row->done++;
    while (r->count > 0 && row_at(r, r->first)->done == row_at(r, r->first)->wanted) {
        PLUMB_TRY(write_row(r, r->first));
        release_row(row_at(r, r->first));
        r->first++;
        r->count--;
    }
    return PLUMB_OK;
}

void plumb_generate_rows_release(struct plumb_generate_rows *r)
{
    for (int64_t i = r->first; i < r->first + r->count; i++)
        release_row(row_at(r, i));
    free(r->row);
    *r = (struct plumb_generate_rows){ 0 };
}
