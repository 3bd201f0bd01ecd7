/* Templates: read once, rendered with data. */
#include "io/jinja.h"

#include <stdlib.h>
#include <string.h>

#include "io/jinja_run.h"
#include "io/utf8.h"

#define MEMORY ((size_t)256 << 20)
#define STEPS 50000000 /* some seconds at most */

struct plumb_jinja {
    struct plumb_jinja_pool pool;
    char *name;
    struct plumb_node *body;
};

static int read_template(struct plumb_jinja *t, const char *text, size_t n)
{
    struct plumb_jinja_tokens tokens = { 0 };
    PLUMB_TRY(plumb_jinja_lex(&t->pool, text, n, t->name, &tokens));
    struct plumb_jinja_value seen;
    PLUMB_TRY(plumb_jinja_dict(&t->pool, &seen));
    struct plumb_parser p = { .pool = &t->pool, .name = t->name, .t = tokens.at, .seen = seen.d };
    return plumb_jinja_parse_body(&p, NULL, &t->body);
}

int plumb_jinja_open(const char *text, size_t n, const char *name, struct plumb_jinja **out)
{
    *out = NULL;
    struct plumb_jinja *t = calloc(1, sizeof *t);
    if (!t || !(t->name = strdup(name))) {
        free(t);
        return plumb_fail(PLUMB_EMEM, "%s: could not allocate a template", name);
    }
    t->pool.limit = MEMORY;
    const int rc = read_template(t, text, n);
    if (rc)
        plumb_jinja_release(t);
    else
        *out = t;
    return rc;
}

void plumb_jinja_release(struct plumb_jinja *t)
{
    if (!t) return;
    plumb_jinja_pool_release(&t->pool);
    free(t->name);
    free(t);
}

static int run(const struct plumb_jinja *t, struct plumb_jinja_run *r, const char *json,
               size_t bytes)
{
    struct plumb_jinja_value data, spans;
    struct plumb_jinja_scope *globals, *variables;
    PLUMB_TRY(plumb_jinja_read_json(r->pool, json, bytes, &data));
    if (data.kind != PLUMB_JINJA_DICT)
        return plumb_fail(PLUMB_EFORMAT, "%s: a template's data is an object", r->name);
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 0, &spans));
    PLUMB_TRY(plumb_jinja_open_scope(r, NULL, &globals));
    PLUMB_TRY(plumb_jinja_globals(r->pool, globals->names));
    PLUMB_TRY(plumb_jinja_open_scope(r, globals, &variables));
    for (int64_t i = 0; i < data.d->n; i++)
        PLUMB_TRY(
            plumb_jinja_put(r->pool, variables->names, data.d->at[i].key, data.d->at[i].value));
    PLUMB_TRY(plumb_jinja_open_scope(r, variables, &r->scope));
    r->spans = spans.l;
    return plumb_jinja_do(r, t->body);
}

static int hand_over(const struct plumb_jinja_run *r, struct plumb_jinja_text *out)
{
    const int64_t n = r->spans->n;
    out->text = malloc(r->out->n + 1);
    out->span = malloc((size_t)(n + 1) * sizeof *out->span);
    if (!out->text || !out->span)
        return plumb_fail(PLUMB_EMEM, "%s: could not allocate its text", r->name);
    if (r->out->n) memcpy(out->text, r->out->at, r->out->n);
    out->text[r->out->n] = 0;
    out->n = r->out->n;
    for (int64_t i = 0; i < n; i++)
        out->span[i] = r->spans->at[i].i;
    out->spans = n / 2;
    return PLUMB_OK;
}

int plumb_jinja_render(const struct plumb_jinja *t, const char *json, size_t json_bytes,
                       int64_t now, struct plumb_jinja_text *out)
{
    struct plumb_jinja_pool pool = { .limit = MEMORY };
    struct plumb_jinja_out text = { .pool = &pool };
    struct plumb_jinja_run r = { .pool = &pool,
                                 .name = t->name,
                                 .steps = STEPS,
                                 .out = &text,
                                 .now = now };
    *out = (struct plumb_jinja_text){ 0 };
    if (plumb_utf8_valid(json, json_bytes) != json_bytes)
        return plumb_fail(PLUMB_EFORMAT, "%s: the template's data is not UTF-8", t->name);
    int rc = run(t, &r, json, json_bytes);
    if (!rc) rc = hand_over(&r, out);
    plumb_jinja_pool_release(&pool);
    return rc;
}

void plumb_jinja_text_release(struct plumb_jinja_text *out)
{
    free(out->text);
    free(out->span);
    *out = (struct plumb_jinja_text){ 0 };
}
