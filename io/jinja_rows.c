/* Filters of lists and dictionaries. */
#include <string.h>

#include "io/jinja_run.h"

/* A string in small letters, anything else as it is: what sorts without regard to case. */
static int folded(struct plumb_jinja_run *r, struct plumb_jinja_value v, bool exact,
                  struct plumb_jinja_value *out)
{
    *out = v;
    if (exact || v.kind != PLUMB_JINJA_STRING) return PLUMB_OK;
    return plumb_jinja_table_find(plumb_jinja_case_methods, "lower")
        ->call(r, v, &plumb_jinja_no_args, out);
}

/* The key that `attribute` names ("a.b", several by commas), or the item itself. */
static int key_of(struct plumb_jinja_run *r, struct plumb_jinja_value item,
                  const struct plumb_jinja_value *attribute, bool exact,
                  struct plumb_jinja_value *out)
{
    struct plumb_jinja_value path, key;
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 1, out));
    const bool text = attribute && attribute->kind == PLUMB_JINJA_STRING;
    for (const char *p = text ? attribute->s->at : ""; p;) {
        const char *comma = strchr(p, ',');
        key = item;
        path = attribute ? *attribute : plumb_jinja_none();
        if (text)
            PLUMB_TRY(
                plumb_jinja_string(r->pool, p, comma ? (size_t)(comma - p) : strlen(p), &path));
        if (path.kind != PLUMB_JINJA_NONE) PLUMB_TRY(plumb_jinja_path(r, item, path, &key));
        PLUMB_TRY(folded(r, key, exact, &key));
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, key));
        p = text && comma ? comma + 1 : NULL;
    }
    return PLUMB_OK;
}

/* Sorts items by keys, both lists of n; stable, by merging from `scratch` and back. */
struct order {
    struct plumb_jinja_value key, item;
};

static int merge_sort(struct plumb_jinja_run *r, struct order *at, struct order *scratch, int64_t n,
                      bool reverse)
{
    const int64_t half = n / 2;
    if (n < 2) return PLUMB_OK;
    PLUMB_TRY(merge_sort(r, at, scratch, half, reverse));
    PLUMB_TRY(merge_sort(r, at + half, scratch, n - half, reverse));
    memcpy(scratch, at, (size_t)n * sizeof *at);
    for (int64_t i = 0, a = 0, b = half; i < n; i++) {
        bool second = a == half;
        if (a < half && b < n)
            PLUMB_TRY(reverse ? plumb_jinja_less(r, scratch[a].key, scratch[b].key, &second)
                              : plumb_jinja_less(r, scratch[b].key, scratch[a].key, &second));
        at[i] = scratch[second ? b++ : a++];
    }
    return PLUMB_OK;
}

static int sort_by(struct plumb_jinja_run *r, struct plumb_jinja_value items,
                   const struct plumb_jinja_value *attribute, bool exact, bool reverse,
                   struct plumb_jinja_value *out)
{
    void *p;
    const int64_t n = items.l->n;
    PLUMB_TRY(plumb_jinja_take(r->pool, (size_t)(2 * n) * sizeof(struct order), &p));
    struct order *at = p;
    for (int64_t i = 0; i < n; i++) {
        at[i].item = items.l->at[i];
        PLUMB_TRY(key_of(r, at[i].item, attribute, exact, &at[i].key));
    }
    PLUMB_TRY(merge_sort(r, at, at + n, n, reverse));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, n, out));
    for (int64_t i = 0; i < n; i++)
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, at[i].item));
    return PLUMB_OK;
}

static int sort(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "reverse", "case_sensitive", "attribute", NULL };
    const struct plumb_jinja_value *v[3];
    PLUMB_TRY(plumb_jinja_bind(r, "sort", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_items(r, on, &on));
    return sort_by(r, on, v[2], plumb_jinja_want_bool(v[1], false),
                   plumb_jinja_want_bool(v[0], false), out);
}

static int pair_list(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     struct plumb_jinja_value *out)
{
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, on.d->n, out));
    for (int64_t i = 0; i < on.d->n; i++) {
        struct plumb_jinja_value pair;
        PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_TUPLE, 2, &pair));
        PLUMB_TRY(plumb_jinja_push(r->pool, pair, on.d->at[i].key));
        PLUMB_TRY(plumb_jinja_push(r->pool, pair, on.d->at[i].value));
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, pair));
    }
    return plumb_jinja_step(r, on.d->n);
}

static int dictsort(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                    const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "case_sensitive", "by", "reverse", NULL };
    const struct plumb_jinja_value *v[3];
    PLUMB_TRY(plumb_jinja_bind(r, "dictsort", args, names, 0, v));
    if (on.kind != PLUMB_JINJA_DICT)
        return plumb_jinja_wrong(r, "dictsort of a %s", plumb_jinja_type(on));
    const bool value = v[1] && plumb_jinja_is_text(*v[1], "value");
    if (v[1] && !value && !plumb_jinja_is_text(*v[1], "key"))
        return plumb_jinja_wrong(r, "dictsort: by is \"key\" or \"value\"");
    const struct plumb_jinja_value part = plumb_jinja_int(value);
    PLUMB_TRY(pair_list(r, on, &on));
    return sort_by(r, on, &part, plumb_jinja_want_bool(v[0], false),
                   plumb_jinja_want_bool(v[2], false), out);
}

static int items(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                 const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    if (on.kind == PLUMB_JINJA_UNDEFINED)
        return plumb_jinja_row(r->pool, PLUMB_JINJA_STREAM, 0, out);
    if (on.kind != PLUMB_JINJA_DICT)
        return plumb_jinja_wrong(r, "items of a %s", plumb_jinja_type(on));
    PLUMB_TRY(pair_list(r, on, out));
    out->kind = PLUMB_JINJA_STREAM;
    return PLUMB_OK;
}

/* first, last, min and max share their answer to nothing: undefined. */
static int first(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                 const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    PLUMB_TRY(plumb_jinja_items(r, on, &on));
    *out = on.l->n ? on.l->at[0] : plumb_jinja_undefined("first");
    return PLUMB_OK;
}

static int last(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    if (on.kind == PLUMB_JINJA_STREAM) return plumb_jinja_wrong(r, "last of a generator");
    PLUMB_TRY(plumb_jinja_items(r, on, &on));
    *out = on.l->n ? on.l->at[on.l->n - 1] : plumb_jinja_undefined("last");
    return PLUMB_OK;
}

static int extreme(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                   const struct plumb_jinja_args *args, bool most, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "case_sensitive", "attribute", NULL };
    const struct plumb_jinja_value *v[2];
    struct plumb_jinja_value best, key;
    PLUMB_TRY(plumb_jinja_bind(r, most ? "max" : "min", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_items(r, on, &on));
    *out = plumb_jinja_undefined("item");
    for (int64_t i = 0; i < on.l->n; i++) {
        bool better = i == 0;
        PLUMB_TRY(key_of(r, on.l->at[i], v[1], plumb_jinja_want_bool(v[0], false), &key));
        key = key.l->at[0];
        if (i)
            PLUMB_TRY(most ? plumb_jinja_less(r, best, key, &better)
                           : plumb_jinja_less(r, key, best, &better));
        if (!better) continue;
        best = key;
        *out = on.l->at[i];
    }
    return PLUMB_OK;
}

static int most(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    return extreme(r, on, args, true, out);
}

static int least(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                 const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    return extreme(r, on, args, false, out);
}

static int length(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                  const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    int64_t n;
    PLUMB_TRY(plumb_jinja_length(r, on, &n));
    *out = plumb_jinja_int(n);
    return PLUMB_OK;
}

static int list(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    struct plumb_jinja_value from;
    PLUMB_TRY(plumb_jinja_items(r, on, &from));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, from.l->n, out));
    for (int64_t i = 0; i < from.l->n; i++)
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, from.l->at[i]));
    return plumb_jinja_step(r, from.l->n);
}

static int reverse(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                   const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    struct plumb_jinja_value from;
    (void)args;
    PLUMB_TRY(plumb_jinja_items(r, on, &from));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_STREAM, from.l->n, out));
    for (int64_t i = from.l->n - 1; i >= 0; i--) {
        const struct plumb_jinja_value v = from.l->at[i];
        if (on.kind == PLUMB_JINJA_STRING)
            PLUMB_TRY(plumb_jinja_write(&text, v.s->at, v.s->n));
        else
            PLUMB_TRY(plumb_jinja_push(r->pool, *out, v));
    }
    return on.kind == PLUMB_JINJA_STRING ? plumb_jinja_written(&text, out) : PLUMB_OK;
}

static int unique(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                  const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "case_sensitive", "attribute", NULL };
    const struct plumb_jinja_value *v[2];
    struct plumb_jinja_value seen, key;
    PLUMB_TRY(plumb_jinja_bind(r, "unique", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_items(r, on, &on));
    PLUMB_TRY(plumb_jinja_dict(r->pool, &seen));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_STREAM, 0, out));
    for (int64_t i = 0; i < on.l->n; i++) {
        PLUMB_TRY(key_of(r, on.l->at[i], v[1], plumb_jinja_want_bool(v[0], false), &key));
        if (plumb_jinja_find(seen.d, key.l->at[0])) continue;
        PLUMB_TRY(plumb_jinja_put(r->pool, seen.d, key.l->at[0], plumb_jinja_none()));
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, on.l->at[i]));
    }
    return PLUMB_OK;
}

static int join(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "d", "attribute", NULL };
    const struct plumb_jinja_value *v[2];
    struct plumb_jinja_out text = { .pool = r->pool };
    PLUMB_TRY(plumb_jinja_bind(r, "join", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_items(r, on, &on));
    for (int64_t i = 0; i < on.l->n; i++) {
        struct plumb_jinja_value one = on.l->at[i];
        if (i && v[0]) PLUMB_TRY(plumb_jinja_write_str(r, &text, *v[0]));
        if (v[1] && v[1]->kind != PLUMB_JINJA_NONE)
            PLUMB_TRY(plumb_jinja_path(r, one, *v[1], &one));
        PLUMB_TRY(plumb_jinja_write_str(r, &text, one));
    }
    return plumb_jinja_written(&text, out);
}

static int sum(struct plumb_jinja_run *r, struct plumb_jinja_value on,
               const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "attribute", "start", NULL };
    const struct plumb_jinja_value *v[2];
    PLUMB_TRY(plumb_jinja_bind(r, "sum", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_items(r, on, &on));
    *out = v[1] ? *v[1] : plumb_jinja_int(0);
    for (int64_t i = 0; i < on.l->n; i++) {
        struct plumb_jinja_value one = on.l->at[i];
        if (v[0] && v[0]->kind != PLUMB_JINJA_NONE)
            PLUMB_TRY(plumb_jinja_path(r, one, *v[0], &one));
        PLUMB_TRY(plumb_jinja_binary(r, '+', *out, one, out));
    }
    return PLUMB_OK;
}

/* What map and select walk: nothing, for all that is false. */
static int walked(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                  struct plumb_jinja_value *out)
{
    return plumb_jinja_items(r, plumb_jinja_truth(on) ? on : plumb_jinja_undefined(NULL), out);
}

/* The rest of the arguments, behind the first n. */
static struct plumb_jinja_args behind(const struct plumb_jinja_args *args, int64_t n)
{
    const struct plumb_jinja_value *at = n ? args->at + n : args->at; /* NULL without arguments */
    return (struct plumb_jinja_args){ at, args->n - n, args->named };
}

static int map(struct plumb_jinja_run *r, struct plumb_jinja_value on,
               const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    const struct plumb_jinja_value *attribute = plumb_jinja_find_text(args->named, "attribute"),
                                   *other = plumb_jinja_find_text(args->named, "default");
    const struct plumb_jinja_function *f = NULL;
    const struct plumb_jinja_args rest = args->n ? behind(args, 1) : *args;
    if (args->n && args->at[0].kind == PLUMB_JINJA_STRING)
        f = plumb_jinja_filter_find(args->at[0].s->at);
    if (!f && (args->n || !attribute)) return plumb_jinja_wrong(r, "map wants a filter's name");
    PLUMB_TRY(walked(r, on, &on));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_STREAM, on.l->n, out));
    for (int64_t i = 0; i < on.l->n; i++) {
        struct plumb_jinja_value v;
        PLUMB_TRY(plumb_jinja_step(r, 1));
        PLUMB_TRY(plumb_jinja_look(r, on.l->at[i]));
        PLUMB_TRY(f ? f->call(r, on.l->at[i], &rest, &v)
                    : plumb_jinja_path(r, on.l->at[i], *attribute, &v));
        if (!f && other && v.kind == PLUMB_JINJA_UNDEFINED) v = *other;
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, v));
    }
    return PLUMB_OK;
}

/* select, reject and their attr forms: items of which a test holds (or not). */
static int choose(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                  const struct plumb_jinja_args *args, bool attribute, bool keep,
                  struct plumb_jinja_value *out)
{
    const struct plumb_jinja_function *test = NULL;
    if (args->n < attribute) return plumb_jinja_wrong(r, "an attribute's name is missing");
    const bool named = args->n > attribute;
    const struct plumb_jinja_args rest = behind(args, attribute + named);
    if (named && args->at[attribute].kind == PLUMB_JINJA_STRING)
        test = plumb_jinja_test_find(args->at[attribute].s->at);
    if (named && !test) return plumb_jinja_wrong(r, "select and reject want a test's name");
    PLUMB_TRY(walked(r, on, &on));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_STREAM, 0, out));
    for (int64_t i = 0; i < on.l->n; i++) {
        struct plumb_jinja_value v = on.l->at[i];
        PLUMB_TRY(plumb_jinja_step(r, 1));
        if (attribute) PLUMB_TRY(plumb_jinja_path(r, v, args->at[0], &v));
        PLUMB_TRY(plumb_jinja_look(r, v));
        if (test) PLUMB_TRY(test->call(r, v, &rest, &v));
        if (plumb_jinja_truth(v) == keep) PLUMB_TRY(plumb_jinja_push(r->pool, *out, on.l->at[i]));
    }
    return PLUMB_OK;
}

static int select_items(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                        const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    return choose(r, on, args, false, true, out);
}

static int reject(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                  const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    return choose(r, on, args, false, false, out);
}

static int selectattr(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                      const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    return choose(r, on, args, true, true, out);
}

static int rejectattr(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                      const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    return choose(r, on, args, true, false, out);
}

/* Whether Python can tell which of two such values is less. */
static bool orders(struct plumb_jinja_value v)
{
    return plumb_jinja_is_number(v) || v.kind == PLUMB_JINJA_STRING || v.kind == PLUMB_JINJA_LIST ||
           v.kind == PLUMB_JINJA_TUPLE;
}

static int groupby(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                   const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "attribute", "default", "case_sensitive", NULL };
    const struct plumb_jinja_value *v[3];
    struct plumb_jinja_value sorted, group, before = plumb_jinja_none(), key, shown;
    PLUMB_TRY(plumb_jinja_bind(r, "groupby", args, names, 1, v));
    const bool exact = plumb_jinja_want_bool(v[2], false);
    PLUMB_TRY(plumb_jinja_items(r, on, &on));
    PLUMB_TRY(sort_by(r, on, v[0], exact, false, &sorted));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 0, out));
    for (int64_t i = 0; i < sorted.l->n; i++) {
        PLUMB_TRY(key_of(r, sorted.l->at[i], v[0], exact, &key));
        const struct plumb_jinja_value bare = key.l->at[0];
        if (sorted.l->n > 1 && !orders(bare))
            return plumb_jinja_wrong(r, "groupby: a %s has no order", plumb_jinja_type(bare));
        bool same = false;
        if (i) PLUMB_TRY(plumb_jinja_same(r, key, before, &same));
        if (!same) {
            struct plumb_jinja_value pair;
            PLUMB_TRY(plumb_jinja_path(r, sorted.l->at[i], *v[0], &shown));
            if (shown.kind == PLUMB_JINJA_UNDEFINED && v[1]) shown = *v[1];
            PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 0, &group));
            PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_TUPLE, 2, &pair));
            PLUMB_TRY(plumb_jinja_push(r->pool, pair, shown));
            PLUMB_TRY(plumb_jinja_push(r->pool, pair, group));
            PLUMB_TRY(plumb_jinja_push(r->pool, *out, pair));
        }
        before = key;
        PLUMB_TRY(plumb_jinja_push(r->pool, group, sorted.l->at[i]));
    }
    return PLUMB_OK;
}

/* Rows of `count` items, the last one filled up where something is given for it. */
static int batch(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                 const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "linecount", "fill_with", NULL };
    const struct plumb_jinja_value *v[2];
    struct plumb_jinja_value row;
    int64_t count;
    PLUMB_TRY(plumb_jinja_bind(r, "batch", args, names, 1, v));
    PLUMB_TRY(plumb_jinja_want_int(r, "batch", v[0], 1, &count));
    if (count < 1) return plumb_jinja_wrong(r, "batch wants a count");
    PLUMB_TRY(plumb_jinja_items(r, on, &on));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_STREAM, 0, out));
    for (int64_t i = 0; i < on.l->n; i++) {
        if (i % count == 0) {
            PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 0, &row));
            PLUMB_TRY(plumb_jinja_push(r->pool, *out, row));
        }
        PLUMB_TRY(plumb_jinja_push(r->pool, row, on.l->at[i]));
    }
    const bool fill = on.l->n && v[1] && v[1]->kind != PLUMB_JINJA_NONE;
    for (int64_t i = on.l->n; fill && i % count; i++) {
        PLUMB_TRY(plumb_jinja_step(r, 1));
        PLUMB_TRY(plumb_jinja_push(r->pool, row, *v[1]));
    }
    return PLUMB_OK;
}

const struct plumb_jinja_function plumb_jinja_row_filters[] = {
    { "sort", sort },
    { "dictsort", dictsort },
    { "items", items },
    { "first", first },
    { "last", last },
    { "max", most },
    { "min", least },
    { "length", length },
    { "count", length },
    { "list", list },
    { "reverse", reverse },
    { "unique", unique },
    { "join", join },
    { "sum", sum },
    { "map", map },
    { "select", select_items },
    { "reject", reject },
    { "selectattr", selectattr },
    { "rejectattr", rejectattr },
    { "groupby", groupby },
    { "batch", batch },
    { NULL, NULL },
};
