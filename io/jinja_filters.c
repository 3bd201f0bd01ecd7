/* Filters of single values and texts, and tests. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jinja_run.h"
#include "io/utf8.h"

#define FILTER(name)                                                                               \
    static int name(struct plumb_jinja_run *r, struct plumb_jinja_value on,                        \
                    const struct plumb_jinja_args *args, struct plumb_jinja_value *out)

/* The filter of the name of a method: the value as text, then the method. */
static int by_method(struct plumb_jinja_run *r, const struct plumb_jinja_function *table,
                     const char *name, struct plumb_jinja_value on,
                     const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    PLUMB_TRY(plumb_jinja_str(r, on, &on));
    return plumb_jinja_table_find(table, name)->call(r, on, args, out);
}

FILTER(upper) { return by_method(r, plumb_jinja_case_methods, "upper", on, args, out); }
FILTER(lower) { return by_method(r, plumb_jinja_case_methods, "lower", on, args, out); }
FILTER(capitalize) { return by_method(r, plumb_jinja_case_methods, "capitalize", on, args, out); }
FILTER(trim) { return by_method(r, plumb_jinja_string_methods, "strip", on, args, out); }
FILTER(center) { return by_method(r, plumb_jinja_string_methods, "center", on, args, out); }

FILTER(string)
{
    (void)args;
    return plumb_jinja_str(r, on, out);
}

FILTER(safe)
{
    PLUMB_TRY(string(r, on, args, out));
    out->markup = true;
    return PLUMB_OK;
}

FILTER(escape)
{
    (void)args;
    return plumb_jinja_escape(r, on, out);
}

FILTER(forceescape)
{
    on.markup = false;
    return escape(r, on, args, out);
}

FILTER(pprint)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    (void)args;
    PLUMB_TRY(plumb_jinja_write_repr(r, &text, on));
    return plumb_jinja_written(&text, out);
}

FILTER(replace)
{
    static const char *const names[] = { "old", "new", "count", NULL };
    const struct plumb_jinja_value *v[3];
    struct plumb_jinja_value given[3];
    PLUMB_TRY(plumb_jinja_bind(r, "replace", args, names, 2, v));
    for (int i = 0; i < 2; i++)
        PLUMB_TRY(plumb_jinja_str(r, *v[i], &given[i]));
    const bool counted = v[2] && v[2]->kind != PLUMB_JINJA_NONE;
    if (counted) given[2] = *v[2];
    struct plumb_jinja_args all = plumb_jinja_no_args;
    all.at = given;
    all.n = counted ? 3 : 2;
    return by_method(r, plumb_jinja_string_methods, "replace", on, &all, out);
}

/* Words begin behind -, brackets and white space. */
FILTER(title)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    PLUMB_TRY(plumb_jinja_str(r, on, &on));
    const char *p = on.s->at, *end = p + on.s->n;
    while (p < end) {
        const char *q = p;
        struct plumb_jinja_value word;
        while (q < end && !strchr("-({[<", *q) && !isspace((unsigned char)*q))
            q++;
        PLUMB_TRY(plumb_jinja_string(r->pool, p, (size_t)(q - p), &word));
        PLUMB_TRY(capitalize(r, word, args, &word));
        PLUMB_TRY(plumb_jinja_write(&text, word.s->at, word.s->n));
        for (p = q; p < end && (strchr("-({[<", *p) || isspace((unsigned char)*p)); p++)
            PLUMB_TRY(plumb_jinja_write(&text, p, 1));
    }
    return plumb_jinja_written(&text, out);
}

FILTER(wordcount)
{
    int64_t n = 0;
    bool inside = false;
    (void)args;
    PLUMB_TRY(plumb_jinja_str(r, on, &on));
    for (size_t i = 0; i < on.s->n; i++) {
        const unsigned char c = (unsigned char)on.s->at[i];
        const bool word = isalnum(c) || c == '_' || c >= 0x80;
        n += word && !inside;
        inside = word;
    }
    *out = plumb_jinja_int(n);
    return PLUMB_OK;
}

/* What Python's own functions, which these filters are made of, take: text and nothing else. */
static int want_text(const struct plumb_jinja_run *r, const char *filter,
                     struct plumb_jinja_value on)
{
    if (on.kind == PLUMB_JINJA_STRING) return PLUMB_OK;
    return plumb_jinja_wrong(r, "%s wants text, got a %s", filter, plumb_jinja_type(on));
}

FILTER(truncate)
{
    static const char *const names[] = { "length", "killwords", "end", "leeway", NULL };
    const struct plumb_jinja_value *v[4];
    struct plumb_jinja_out text = { .pool = r->pool };
    struct plumb_jinja_value end, cut;
    int64_t length, leeway;
    PLUMB_TRY(plumb_jinja_bind(r, "truncate", args, names, 0, v));
    PLUMB_TRY(want_text(r, "truncate", on));
    PLUMB_TRY(plumb_jinja_want_int(r, "truncate", v[0], 255, &length));
    const bool given = v[3] && v[3]->kind != PLUMB_JINJA_NONE;
    PLUMB_TRY(plumb_jinja_want_int(r, "truncate", given ? v[3] : NULL, 5, &leeway));
    PLUMB_TRY(plumb_jinja_text(r->pool, "...", &end));
    if (v[2]) PLUMB_TRY(plumb_jinja_str(r, *v[2], &end));
    if (length < end.s->points || leeway < 0)
        return plumb_jinja_wrong(r, "truncate: no room for the end");
    *out = on;
    if (on.s->points <= length || on.s->points - length <= leeway) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_part(r, on, 0, length - end.s->points, &cut));
    size_t n = cut.s->n;
    for (size_t i = n; !plumb_jinja_want_bool(v[1], false) && i > 0; i--)
        if (cut.s->at[i - 1] == ' ') {
            n = i - 1;
            break;
        }
    PLUMB_TRY(plumb_jinja_write(&text, cut.s->at, n));
    PLUMB_TRY(plumb_jinja_write(&text, end.s->at, end.s->n));
    return plumb_jinja_written(&text, out);
}

FILTER(indent)
{
    static const char *const names[] = { "width", "first", "blank", NULL };
    const struct plumb_jinja_value *v[3];
    struct plumb_jinja_out text = { .pool = r->pool };
    struct plumb_jinja_value by, lines;
    int64_t width = 4;
    PLUMB_TRY(plumb_jinja_bind(r, "indent", args, names, 0, v));
    PLUMB_TRY(want_text(r, "indent", on));
    const bool named = v[0] && v[0]->kind == PLUMB_JINJA_STRING;
    if (!named) PLUMB_TRY(plumb_jinja_want_int(r, "indent", v[0], 4, &width));
    if (width > 100000) return plumb_jinja_wrong(r, "indent: the width is too large");
    struct plumb_jinja_value one;
    PLUMB_TRY(plumb_jinja_text(r->pool, " ", &one));
    PLUMB_TRY(plumb_jinja_binary(r, '*', one, plumb_jinja_int(width), &by));
    if (named) by = *v[0];
    PLUMB_TRY(plumb_jinja_write(&text, on.s->at, on.s->n));
    PLUMB_TRY(plumb_jinja_write_text(&text, "\n"));
    PLUMB_TRY(plumb_jinja_written(&text, &on));
    PLUMB_TRY(
        by_method(r, plumb_jinja_string_methods, "splitlines", on, &plumb_jinja_no_args, &lines));
    text = (struct plumb_jinja_out){ .pool = r->pool };
    for (int64_t i = 0; i < lines.l->n; i++) {
        const struct plumb_jinja_string *s = lines.l->at[i].s;
        const bool push = i ? s->n || plumb_jinja_want_bool(v[2], false)
                            : plumb_jinja_want_bool(v[1], false);
        if (i) PLUMB_TRY(plumb_jinja_write_text(&text, "\n"));
        if (push) PLUMB_TRY(plumb_jinja_write(&text, by.s->at, by.s->n));
        PLUMB_TRY(plumb_jinja_write(&text, s->at, s->n));
    }
    return plumb_jinja_written(&text, out);
}

/* Tags and comments go, white space becomes single spaces, entities characters. */
FILTER(striptags)
{
    static const char *const entities[][2] = { { "&lt;", "<" },    { "&gt;", ">" },
                                               { "&#39;", "'" },   { "&#34;", "\"" },
                                               { "&quot;", "\"" }, { "&amp;", "&" } };
    struct plumb_jinja_out text = { .pool = r->pool };
    struct plumb_jinja_value words, space;
    (void)args;
    PLUMB_TRY(plumb_jinja_str(r, on, &on));
    for (const char *p = on.s->at, *end = p + on.s->n; p < end; p++) {
        const bool comment = end - p >= 4 && !memcmp(p, "<!--", 4);
        const char *close = *p != '<' ? NULL
                                      : memmem(p, (size_t)(end - p), comment ? "-->" : ">",
                                               comment ? 3 : 1);
        if (close)
            p = close + (comment ? 2 : 0);
        else
            PLUMB_TRY(plumb_jinja_write(&text, p, 1));
    }
    PLUMB_TRY(plumb_jinja_written(&text, &on));
    PLUMB_TRY(by_method(r, plumb_jinja_string_methods, "split", on, &plumb_jinja_no_args, &words));
    PLUMB_TRY(plumb_jinja_text(r->pool, " ", &space));
    struct plumb_jinja_args all = plumb_jinja_no_args;
    all.at = &words;
    all.n = 1;
    PLUMB_TRY(by_method(r, plumb_jinja_string_methods, "join", space, &all, out));
    for (int i = 0; i < 6; i++) {
        struct plumb_jinja_value pair[2];
        for (int k = 0; k < 2; k++)
            PLUMB_TRY(plumb_jinja_text(r->pool, entities[i][k], &pair[k]));
        all.at = pair;
        all.n = 2;
        PLUMB_TRY(by_method(r, plumb_jinja_string_methods, "replace", *out, &all, out));
    }
    return PLUMB_OK;
}

FILTER(urlencode)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    (void)args;
    if (plumb_jinja_is_row(on) || on.kind == PLUMB_JINJA_DICT)
        return plumb_jinja_wrong(r, "urlencode of a %s is not supported", plumb_jinja_type(on));
    PLUMB_TRY(plumb_jinja_str(r, on, &on));
    for (size_t i = 0; i < on.s->n; i++) {
        char hex[4];
        const unsigned char c = (unsigned char)on.s->at[i];
        const bool plain = isalnum(c) || strchr("_.-~/", c);
        snprintf(hex, sizeof hex, "%%%02X", c);
        PLUMB_TRY(plumb_jinja_write(&text, plain && c ? on.s->at + i : hex, plain && c ? 1 : 3));
    }
    return plumb_jinja_written(&text, out);
}

FILTER(format) { return plumb_jinja_format(r, on, args, out); }

FILTER(absolute)
{
    (void)args;
    if (on.kind == PLUMB_JINJA_FLOAT) {
        *out = plumb_jinja_float(fabs(on.f));
        return PLUMB_OK;
    }
    if (!plumb_jinja_is_number(on))
        return plumb_jinja_wrong(r, "abs of a %s", plumb_jinja_type(on));
    const int64_t i = plumb_jinja_integer(on);
    return plumb_jinja_binary(r, i < 0 ? '-' : '+', plumb_jinja_int(0), on, out);
}

FILTER(round_to)
{
    static const char *const names[] = { "precision", "method", NULL };
    const struct plumb_jinja_value *v[2];
    char text[512];
    int64_t digits;
    PLUMB_TRY(plumb_jinja_bind(r, "round", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_want_int(r, "round", v[0], 0, &digits));
    if (!plumb_jinja_is_number(on))
        return plumb_jinja_wrong(r, "round of a %s", plumb_jinja_type(on));
    const double x = plumb_jinja_number(on), scale = pow(10, (double)digits);
    const bool up = v[1] && plumb_jinja_is_text(*v[1], "ceil");
    const bool down = v[1] && plumb_jinja_is_text(*v[1], "floor");
    if (v[1] && !up && !down && !plumb_jinja_is_text(*v[1], "common"))
        return plumb_jinja_wrong(r, "round: the method is common, ceil or floor");
    double y = up ? ceil(x * scale) / scale : floor(x * scale) / scale;
    if (!up && !down && digits >= 0) {
        snprintf(text, sizeof text, "%.*f", digits < 100 ? (int)digits : 100, x);
        y = strtod(text, NULL); /* printf rounds the exact value, as Python does */
    } else if (!up && !down) {
        y = rint(x * scale) / scale;
    }
    *out = on.kind == PLUMB_JINJA_FLOAT || up || down ? plumb_jinja_float(y)
                                                      : plumb_jinja_int((int64_t)y);
    return PLUMB_OK;
}

/* Python's int(text, base), where it has a value. */
static bool read_int(const struct plumb_jinja_string *s, int base, int64_t *out)
{
    char text[72];
    size_t n = 0;
    const char *p = s->at, *end = p + s->n;
    while (p < end && isspace((unsigned char)*p))
        p++;
    while (end > p && isspace((unsigned char)end[-1]))
        end--;
    for (const char *q = p; q < end && n < sizeof text - 1; q++) {
        const bool between = q > p && q + 1 < end && isalnum((unsigned char)q[-1]) &&
                             isalnum((unsigned char)q[1]);
        if (*q == '_' && between) continue;
        if (isspace((unsigned char)*q)) return false;
        text[n++] = *q;
    }
    text[n] = 0;
    char *stop;
    *out = strtoll(text, &stop, base);
    return n > 0 && *stop == 0 && (size_t)(stop - text) == n;
}

static bool read_float(const struct plumb_jinja_string *s, double *out)
{
    char *stop;
    const char *p = s->at;
    while (isspace((unsigned char)*p))
        p++;
    if (!*p || strpbrk(p, "xX(")) return false;
    *out = strtod(p, &stop);
    if (stop == p) return false;
    while (isspace((unsigned char)*stop))
        stop++;
    return stop == s->at + s->n;
}

FILTER(integer)
{
    static const char *const names[] = { "default", "base", NULL };
    const struct plumb_jinja_value *v[2];
    int64_t base, i = 0;
    double f = 0;
    PLUMB_TRY(plumb_jinja_bind(r, "int", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_want_int(r, "int", v[1], 10, &base));
    if (on.kind == PLUMB_JINJA_UNDEFINED)
        return plumb_jinja_wrong(r, "\"%s\" is undefined", on.name ? on.name : "value");
    *out = v[0] ? *v[0] : plumb_jinja_int(0);
    bool known = on.kind == PLUMB_JINJA_STRING && read_int(on.s, (int)base, &i);
    if (!known && on.kind == PLUMB_JINJA_STRING) known = read_float(on.s, &f);
    if (plumb_jinja_is_number(on)) {
        known = true;
        f = on.kind == PLUMB_JINJA_FLOAT ? on.f : 0;
        if (on.kind != PLUMB_JINJA_FLOAT) i = plumb_jinja_integer(on);
    }
    if (f != 0 && (!isfinite(f) || fabs(f) >= 9.2e18)) known = false;
    if (known) *out = plumb_jinja_int(f != 0 ? (int64_t)f : i);
    return PLUMB_OK;
}

FILTER(floating)
{
    static const char *const names[] = { "default", NULL };
    const struct plumb_jinja_value *v[1];
    double f;
    PLUMB_TRY(plumb_jinja_bind(r, "float", args, names, 0, v));
    if (on.kind == PLUMB_JINJA_UNDEFINED)
        return plumb_jinja_wrong(r, "\"%s\" is undefined", on.name ? on.name : "value");
    *out = v[0] ? *v[0] : plumb_jinja_float(0);
    if (plumb_jinja_is_number(on)) *out = plumb_jinja_float(plumb_jinja_number(on));
    if (on.kind == PLUMB_JINJA_STRING && read_float(on.s, &f)) *out = plumb_jinja_float(f);
    return PLUMB_OK;
}

FILTER(otherwise)
{
    static const char *const names[] = { "default_value", "boolean", NULL };
    const struct plumb_jinja_value *v[2];
    PLUMB_TRY(plumb_jinja_bind(r, "default", args, names, 0, v));
    const bool lacking = on.kind == PLUMB_JINJA_UNDEFINED ||
                         (plumb_jinja_want_bool(v[1], false) && !plumb_jinja_truth(on));
    *out = on;
    if (!lacking) return PLUMB_OK;
    if (!v[0]) return plumb_jinja_text(r->pool, "", out);
    *out = *v[0];
    return PLUMB_OK;
}

FILTER(attr)
{
    static const char *const names[] = { "name", NULL };
    const struct plumb_jinja_value *v[1];
    PLUMB_TRY(plumb_jinja_bind(r, "attr", args, names, 1, v));
    if (v[0]->kind != PLUMB_JINJA_STRING) return plumb_jinja_wrong(r, "attr wants a name");
    if (on.kind != PLUMB_JINJA_DICT) return plumb_jinja_attr(r, on, v[0]->s->at, out);
    struct plumb_jinja_value empty; /* attributes of a dictionary are its methods, not its keys */
    PLUMB_TRY(plumb_jinja_attr(r, on, v[0]->s->at, out));
    PLUMB_TRY(plumb_jinja_dict(r->pool, &empty));
    if (out->kind != PLUMB_JINJA_OBJECT) *out = plumb_jinja_undefined(v[0]->s->at);
    return PLUMB_OK;
}

FILTER(tojson)
{
    static const char *const names[] = { "ensure_ascii", "indent", "separators", "sort_keys",
                                         NULL };
    const struct plumb_jinja_value *v[4];
    struct plumb_jinja_out text = { .pool = r->pool };
    struct plumb_jinja_json how = { .indent = -1, .between = ", ", .colon = ": " };
    PLUMB_TRY(plumb_jinja_bind(r, "tojson", args, names, 0, v));
    how.ascii = plumb_jinja_want_bool(v[0], false);
    how.sorted = plumb_jinja_want_bool(v[3], false);
    if (v[1] && v[1]->kind != PLUMB_JINJA_NONE) {
        PLUMB_TRY(plumb_jinja_want_int(r, "tojson", v[1], 0, &how.indent));
        if (how.indent < 0) how.indent = 0;
        if (how.indent > 1000) return plumb_jinja_wrong(r, "tojson: the indent is too large");
        how.between = ",";
    }
    if (v[2] && v[2]->kind != PLUMB_JINJA_NONE) {
        if ((v[2]->kind != PLUMB_JINJA_TUPLE && v[2]->kind != PLUMB_JINJA_LIST) ||
            v[2]->l->n != 2 || v[2]->l->at[0].kind != PLUMB_JINJA_STRING ||
            v[2]->l->at[1].kind != PLUMB_JINJA_STRING)
            return plumb_jinja_wrong(r, "tojson: separators are two strings");
        how.between = v[2]->l->at[0].s->at;
        how.colon = v[2]->l->at[1].s->at;
    }
    PLUMB_TRY(plumb_jinja_write_json(r, &text, &how, on, 0));
    return plumb_jinja_written(&text, out);
}

const struct plumb_jinja_function plumb_jinja_text_filters[] = {
    { "upper", upper },
    { "lower", lower },
    { "capitalize", capitalize },
    { "trim", trim },
    { "center", center },
    { "string", string },
    { "safe", safe },
    { "escape", escape },
    { "e", escape },
    { "forceescape", forceescape },
    { "pprint", pprint },
    { "replace", replace },
    { "title", title },
    { "wordcount", wordcount },
    { "truncate", truncate },
    { "indent", indent },
    { "striptags", striptags },
    { "urlencode", urlencode },
    { "format", format },
    { "abs", absolute },
    { "round", round_to },
    { "int", integer },
    { "float", floating },
    { "default", otherwise },
    { "d", otherwise },
    { "attr", attr },
    { "tojson", tojson },
    { NULL, NULL },
};

const struct plumb_jinja_function *plumb_jinja_filter_find(const char *name)
{
    const struct plumb_jinja_function *f = plumb_jinja_table_find(plumb_jinja_text_filters, name);
    return f ? f : plumb_jinja_table_find(plumb_jinja_row_filters, name);
}
