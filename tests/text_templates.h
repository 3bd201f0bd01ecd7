/* Goldens of the template language and of chat templates. For test programs only. */
#pragma once
#include <time.h>

#include "io/chat.h"
#include "io/jinja_run.h"
#include "tests/text_rows.h"

struct templates_tally {
    int64_t rows, wrong;
};

/* A JSON file as values, which may hold U+0000. */
static inline int templates_load(struct plumb_jinja_pool *pool, const char *path,
                                 struct plumb_jinja_value *out)
{
    char *text;
    size_t n;
    PLUMB_TRY(plumb_file_read(path, 0, &text, &n));
    const int rc = plumb_jinja_read_json(pool, text, n, out);
    free(text);
    return rc;
}

static inline const struct plumb_jinja_value *templates_get(struct plumb_jinja_value row,
                                                            const char *key)
{
    return row.kind == PLUMB_JINJA_DICT ? plumb_jinja_find_text(row.d, key) : NULL;
}

static inline const char *templates_text(struct plumb_jinja_value row, const char *key)
{
    const struct plumb_jinja_value *v = templates_get(row, key);
    return v && v->kind == PLUMB_JINJA_STRING ? v->s->at : "";
}

static inline int templates_json(struct plumb_jinja_pool *pool, struct plumb_jinja_value v,
                                 struct plumb_jinja_out *o)
{
    const struct plumb_jinja_json how = { .indent = -1, .between = ",", .colon = ":" };
    struct plumb_jinja_run r = { .pool = pool, .name = "json", .steps = INT64_MAX };
    *o = (struct plumb_jinja_out){ .pool = pool };
    return plumb_jinja_write_json(&r, o, &how, v, 0);
}

/* Whether what came out of a template is what the row wants: a text or an error. */
static inline bool templates_agree(struct plumb_jinja_value row, const char *text,
                                   const char *error, int rc, const struct plumb_jinja_text *got)
{
    const struct plumb_jinja_value *want = templates_get(row, text);
    if (rc) return templates_get(row, error) != NULL;
    return want && want->kind == PLUMB_JINJA_STRING && want->s->n == got->n &&
           !memcmp(want->s->at, got->text, got->n);
}

static inline int64_t templates_points(const char *text, int64_t bytes)
{
    int64_t n = 0;
    for (int64_t i = 0; i < bytes; i++)
        n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

/* Spans of the assistant's text, in characters, where the row has them. */
static inline bool templates_spans(struct plumb_jinja_value row, const struct plumb_jinja_text *got)
{
    const struct plumb_jinja_value *want = templates_get(row, "assistant_spans");
    if (!want || want->kind != PLUMB_JINJA_LIST || !got->text) return true;
    bool same = want->l->n == got->spans;
    for (int64_t i = 0; same && i < 2 * got->spans; i++)
        same = want->l->at[i / 2].l->at[i % 2].i == templates_points(got->text, got->span[i]);
    return same;
}

static inline void templates_judge(struct templates_tally *t, bool good, const char *name,
                                   const char *detail)
{
    t->rows++;
    t->wrong += !good;
    if (!good) printf("%s %s: disagrees: %s\n", name, detail, plumb_errmsg());
}

/* Rows `name, template, context, expected | error`. */
static inline int templates_language(const char *path, int64_t now, struct templates_tally *t)
{
    struct plumb_jinja_pool pool = { .limit = (size_t)1 << 30 };
    struct plumb_jinja_value rows;
    int rc = templates_load(&pool, path, &rows);
    for (int64_t i = 0; !rc && i < rows.l->n; i++) {
        const struct plumb_jinja_value row = rows.l->at[i];
        const struct plumb_jinja_value *text = templates_get(row, "template"),
                                       *context = templates_get(row, "context");
        struct plumb_jinja_out json;
        struct plumb_jinja *parsed;
        struct plumb_jinja_text got = { 0 };
        if (!text || !context || templates_json(&pool, *context, &json)) {
            rc = plumb_fail(PLUMB_EFORMAT, "%s: row %lld is malformed", path, (long long)i);
            break;
        }
        int drawn = plumb_jinja_open(text->s->at, text->s->n, "template", &parsed);
        if (!drawn) drawn = plumb_jinja_render(parsed, json.at, json.n, now, &got);
        templates_judge(t, templates_agree(row, "expected", "error", drawn, &got), path,
                        templates_text(row, "name"));
        plumb_jinja_text_release(&got);
        plumb_jinja_release(parsed);
    }
    plumb_jinja_pool_release(&pool);
    return rc;
}

/* The case's own variables and those of all cases, as transformers passes them. */
static inline int templates_context(struct plumb_jinja_pool *pool, struct plumb_jinja_value cases,
                                    struct plumb_jinja_value one, struct plumb_jinja_out *json)
{
    static const char *const tokens[] = { "bos_token", "eos_token", "unk_token" };
    struct plumb_jinja_value all;
    const struct plumb_jinja_value *more = templates_get(one, "variables");
    PLUMB_TRY(plumb_jinja_dict(pool, &all));
    for (int i = 0; i < 3; i++)
        if (templates_get(cases, tokens[i]))
            PLUMB_TRY(
                plumb_jinja_put_text(pool, all.d, tokens[i], *templates_get(cases, tokens[i])));
    for (int k = 0; k < 2; k++) {
        const struct plumb_jinja_value *from = k ? more : &one;
        for (int64_t i = 0; from && from->kind == PLUMB_JINJA_DICT && i < from->d->n; i++)
            PLUMB_TRY(plumb_jinja_put(pool, all.d, from->d->at[i].key, from->d->at[i].value));
    }
    return templates_json(pool, all, json);
}

/* `now` of the cases ("2024-07-26 12:00:00") as seconds. */
static inline int64_t templates_now(struct plumb_jinja_value cases)
{
    struct tm tm = { 0 };
    return strptime(templates_text(cases, "now"), "%Y-%m-%d %H:%M:%S", &tm) ? timegm(&tm)
                                                                            : 1721995200;
}

/* One row of chat-templates: a template of a folder beside golden/ with one case. */
static inline int templates_row(struct plumb_jinja_pool *pool, const char *root,
                                struct plumb_jinja_value cases, struct plumb_jinja_value row,
                                struct templates_tally *t)
{
    char path[4500], detail[300];
    const char *name = templates_text(row, "template");
    const struct plumb_jinja_value *all = templates_get(cases, "cases");
    const struct plumb_jinja_value *one = all ? templates_get(*all, templates_text(row, "case"))
                                              : NULL;
    struct plumb_jinja_out json;
    struct plumb_jinja *parsed = NULL;
    struct plumb_jinja_text got = { 0 }, plain = { 0 };
    char *text;
    size_t n;
    if (!one) return plumb_fail(PLUMB_EFORMAT, "%s: a case is missing", name);
    snprintf(path, sizeof path, "%s/%s", root, name);
    PLUMB_TRY(plumb_file_read(path, 0, &text, &n));
    int rc = plumb_jinja_open(text, n, name, &parsed);
    free(text);
    const struct plumb_jinja_value *go_on = templates_get(*one, "continue_final_message");
    const int64_t now = templates_now(cases);
    int made = templates_context(pool, cases, *one, &json);
    if (!rc && !made)
        rc = plumb_chat_render(parsed, json.at, json.n, go_on && plumb_jinja_truth(*go_on), now,
                               &got);
    bool good = !made && templates_agree(row, "expected", "error", rc, &got) &&
                templates_spans(row, &got);
    /* What a rendering gives without tools and documents counts as well. */
    if (!good && parsed && !made) {
        const int bare = plumb_jinja_render(parsed, json.at, json.n, now, &plain);
        good = templates_agree(row, "plain_expected", "plain_error", rc, &got) ||
               templates_agree(row, "expected", "error", bare, &plain);
    }
    snprintf(detail, sizeof detail, "%.200s", templates_text(row, "case"));
    templates_judge(t, good, name, detail);
    plumb_jinja_text_release(&got);
    plumb_jinja_text_release(&plain);
    plumb_jinja_release(parsed);
    return PLUMB_OK;
}

/* ROOT/golden/cases.json and renderings.json. */
static inline int templates_chat(const char *root, struct templates_tally *t)
{
    char path[4500];
    struct plumb_jinja_pool pool = { .limit = (size_t)1 << 30 };
    struct plumb_jinja_value cases, rows = { 0 };
    snprintf(path, sizeof path, "%s/golden/cases.json", root);
    int rc = templates_load(&pool, path, &cases);
    snprintf(path, sizeof path, "%s/golden/renderings.json", root);
    if (!rc) rc = templates_load(&pool, path, &rows);
    for (int64_t i = 0; !rc && i < rows.l->n; i++)
        rc = templates_row(&pool, root, cases, rows.l->at[i], t);
    plumb_jinja_pool_release(&pool);
    return rc;
}
