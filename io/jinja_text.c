/* Values as text: str, repr and json.dumps of Python. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "io/jinja_run.h"
#include "io/utf8.h"

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One escape at p, which stands behind the backslash; returns the bytes read, 0 = none known. */
static size_t escape(const char *p, size_t n, int32_t *cp)
{
    static const char from[] = "ntr\\'\"abfv", to[] = "\n\t\r\\'\"\a\b\f\v";
    const char *k = *p ? strchr(from, *p) : NULL;
    const size_t digits = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
    size_t i = 0;
    *cp = 0;
    if (k) {
        *cp = to[k - from];
        return 1;
    }
    for (; i < 3 && !digits && i < n && p[i] >= '0' && p[i] <= '7'; i++)
        *cp = 8 * *cp + p[i] - '0';
    if (!digits) return i;
    if (n < 1 + digits) return 0;
    for (i = 1; i <= digits; i++) {
        if (hex_digit(p[i]) < 0 || *cp > 0x10FFFF) return 0;
        *cp = 16 * *cp + hex_digit(p[i]);
    }
    return *cp > 0x10FFFF || (*cp >= 0xD800 && *cp < 0xE000) ? 0 : i;
}

int plumb_jinja_unescape(struct plumb_jinja_pool *pool, const char *text, size_t n,
                         struct plumb_jinja_value *out)
{
    struct plumb_jinja_out o = { .pool = pool };
    for (size_t i = 0; i < n;) {
        const char *slash = memchr(text + i, '\\', n - i);
        const size_t plain = slash ? (size_t)(slash - text) - i : n - i;
        PLUMB_TRY(plumb_jinja_write(&o, text + i, plain));
        i += plain;
        if (i + 1 >= n) {
            PLUMB_TRY(plumb_jinja_write(&o, text + i, n - i));
            break;
        }
        int32_t cp;
        char bytes[4];
        const size_t used = escape(text + i + 1, n - i - 1, &cp);
        if (used)
            PLUMB_TRY(plumb_jinja_write(&o, bytes, plumb_utf8_put(bytes, cp)));
        else if (text[i + 1] != '\n')
            PLUMB_TRY(plumb_jinja_write(&o, text + i, 2));
        i += used ? 1 + used : 2;
    }
    return plumb_jinja_written(&o, out);
}

/* The shortest digits that read back as x, laid out as Python's repr does. */
int plumb_jinja_write_float(struct plumb_jinja_out *o, double x)
{
    char digits[32], text[64];
    if (isnan(x)) return plumb_jinja_write_text(o, "nan");
    if (isinf(x)) return plumb_jinja_write_text(o, x < 0 ? "-inf" : "inf");
    for (int precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, x);
        if (strtod(digits, NULL) == x) break;
    }
    char *e = strchr(digits, 'e');
    const long power = strtol(e + 1, NULL, 10);
    const int decimals = (int)(e - digits) - (x < 0 || signbit(x) ? 1 : 0) - 1;
    if (power < -4 || power >= 16) {
        *e = 0;
        snprintf(text, sizeof text, "%se%c%02ld", digits, power < 0 ? '-' : '+', labs(power));
    } else {
        const long behind = (decimals > 0 ? decimals - 1 : 0) - power;
        snprintf(text, sizeof text, "%.*f", behind > 1 ? (int)behind : 1, x);
    }
    return plumb_jinja_write_text(o, text);
}

/* Whether repr shows the character as it is. */
static bool printable(int32_t cp)
{
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    case UTF8PROC_CATEGORY_ZS: return cp == ' ';
    default: return true;
    }
}

static int write_quoted(struct plumb_jinja_out *o, const struct plumb_jinja_string *s)
{
    const char quote = memchr(s->at, '\'', s->n) && !memchr(s->at, '"', s->n) ? '"' : '\'';
    PLUMB_TRY(plumb_jinja_write(o, &quote, 1));
    for (size_t i = 0, n; i < s->n; i += n) {
        char text[16];
        int32_t cp;
        n = plumb_utf8_next(s->at + i, s->n - i, &cp);
        const char *known = cp && cp < 128 ? strchr("\nn\tt\rr\\\\", cp) : NULL;
        const bool pair = known && (known - "\nn\tt\rr\\\\") % 2 == 0;
        if (cp == quote || pair)
            snprintf(text, sizeof text, "\\%c", cp == quote ? quote : known[1]);
        else if (printable(cp)) {
            PLUMB_TRY(plumb_jinja_write(o, s->at + i, n));
            continue;
        } else
            snprintf(text, sizeof text,
                     cp < 256     ? "\\x%02x"
                     : cp < 65536 ? "\\u%04x"
                                  : "\\U%08x",
                     (unsigned)cp);
        PLUMB_TRY(plumb_jinja_write_text(o, text));
    }
    return plumb_jinja_write(o, &quote, 1);
}

static int write_row(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                     struct plumb_jinja_value v)
{
    const bool tuple = v.kind == PLUMB_JINJA_TUPLE;
    PLUMB_TRY(plumb_jinja_write_text(o, tuple ? "(" : "["));
    for (int64_t i = 0; i < v.l->n; i++) {
        if (i) PLUMB_TRY(plumb_jinja_write_text(o, ", "));
        PLUMB_TRY(plumb_jinja_write_repr(r, o, v.l->at[i]));
    }
    return plumb_jinja_write_text(o, !tuple ? "]" : v.l->n == 1 ? ",)" : ")");
}

static int write_dict(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                      const struct plumb_jinja_dict *d)
{
    PLUMB_TRY(plumb_jinja_write_text(o, "{"));
    for (int64_t i = 0; i < d->n; i++) {
        if (i) PLUMB_TRY(plumb_jinja_write_text(o, ", "));
        PLUMB_TRY(plumb_jinja_write_repr(r, o, d->at[i].key));
        PLUMB_TRY(plumb_jinja_write_text(o, ": "));
        PLUMB_TRY(plumb_jinja_write_repr(r, o, d->at[i].value));
    }
    return plumb_jinja_write_text(o, "}");
}

static int write_object(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                        const struct plumb_jinja_object *object)
{
    const bool names = object->class == &plumb_jinja_namespace;
    PLUMB_TRY(plumb_jinja_write_text(o, names ? "<Namespace " : "<"));
    PLUMB_TRY(names ? write_dict(r, o, object->data)
                    : plumb_jinja_write_text(o, object->class->name));
    return plumb_jinja_write_text(o, ">");
}

int plumb_jinja_write_repr(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                           struct plumb_jinja_value v)
{
    char text[32];
    PLUMB_TRY(plumb_jinja_step(r, 1));
    if (r->depth >= PLUMB_JINJA_DEPTH) return plumb_jinja_wrong(r, "a value nests too deep");
    r->depth++;
    int rc = PLUMB_OK;
    switch (v.kind) {
    case PLUMB_JINJA_UNDEFINED: rc = plumb_jinja_write_text(o, "Undefined"); break;
    case PLUMB_JINJA_NONE: rc = plumb_jinja_write_text(o, "None"); break;
    case PLUMB_JINJA_BOOL: rc = plumb_jinja_write_text(o, v.b ? "True" : "False"); break;
    case PLUMB_JINJA_INT:
        snprintf(text, sizeof text, "%lld", (long long)v.i);
        rc = plumb_jinja_write_text(o, text);
        break;
    case PLUMB_JINJA_FLOAT: rc = plumb_jinja_write_float(o, v.f); break;
    case PLUMB_JINJA_STRING:
        if (v.markup) rc = plumb_jinja_write_text(o, "Markup(");
        if (!rc) rc = write_quoted(o, v.s);
        if (!rc && v.markup) rc = plumb_jinja_write_text(o, ")");
        break;
    case PLUMB_JINJA_LIST:
    case PLUMB_JINJA_TUPLE: rc = write_row(r, o, v); break;
    case PLUMB_JINJA_STREAM: rc = plumb_jinja_write_text(o, "<generator object>"); break;
    case PLUMB_JINJA_DICT: rc = write_dict(r, o, v.d); break;
    case PLUMB_JINJA_OBJECT: rc = write_object(r, o, v.o); break;
    }
    r->depth--;
    return rc;
}

int plumb_jinja_write_str(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                          struct plumb_jinja_value v)
{
    if (v.kind == PLUMB_JINJA_UNDEFINED) return PLUMB_OK;
    if (v.kind == PLUMB_JINJA_STRING) return plumb_jinja_write(o, v.s->at, v.s->n);
    return plumb_jinja_write_repr(r, o, v);
}

int plumb_jinja_str(struct plumb_jinja_run *r, struct plumb_jinja_value v,
                    struct plumb_jinja_value *out)
{
    struct plumb_jinja_out o = { .pool = r->pool };
    *out = v;
    if (v.kind == PLUMB_JINJA_STRING) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_write_str(r, &o, v));
    return plumb_jinja_written(&o, out);
}

int plumb_jinja_escape(struct plumb_jinja_run *r, struct plumb_jinja_value v,
                       struct plumb_jinja_value *out)
{
    static const struct {
        char from;
        const char *to;
    } table[] = { { '&', "&amp;" },
                  { '<', "&lt;" },
                  { '>', "&gt;" },
                  { '\'', "&#39;" },
                  { '"', "&#34;" } };
    struct plumb_jinja_out o = { .pool = r->pool };
    *out = v;
    if (v.markup) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_str(r, v, &v));
    for (size_t i = 0; i < v.s->n; i++) {
        const char *to = NULL;
        for (int k = 0; k < 5; k++)
            if (v.s->at[i] == table[k].from) to = table[k].to;
        PLUMB_TRY(to ? plumb_jinja_write_text(&o, to) : plumb_jinja_write(&o, v.s->at + i, 1));
    }
    PLUMB_TRY(plumb_jinja_written(&o, out));
    out->markup = true;
    return PLUMB_OK;
}

static int json_string(struct plumb_jinja_out *o, const struct plumb_jinja_json *how,
                       const struct plumb_jinja_string *s)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    PLUMB_TRY(plumb_jinja_write_text(o, "\""));
    for (size_t i = 0, n; i < s->n; i += n) {
        char text[16];
        int32_t cp;
        n = plumb_utf8_next(s->at + i, s->n - i, &cp);
        const char *known = cp && cp < 128 ? strchr(from, cp) : NULL;
        if (known)
            snprintf(text, sizeof text, "\\%c", to[known - from]);
        else if (cp >= 32 && (cp < 127 || !how->ascii)) {
            PLUMB_TRY(plumb_jinja_write(o, s->at + i, n));
            continue;
        } else if (cp < 65536)
            snprintf(text, sizeof text, "\\u%04x", (unsigned)cp);
        else
            snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + ((unsigned)cp - 65536) / 1024,
                     0xDC00 + (unsigned)cp % 1024);
        PLUMB_TRY(plumb_jinja_write_text(o, text));
    }
    return plumb_jinja_write_text(o, "\"");
}

static int json_line(struct plumb_jinja_out *o, const struct plumb_jinja_json *how, int level)
{
    if (how->indent < 0) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_write_text(o, "\n"));
    for (int64_t i = 0; i < how->indent * level; i++)
        PLUMB_TRY(plumb_jinja_write_text(o, " "));
    return PLUMB_OK;
}

static int json_key(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                    const struct plumb_jinja_json *how, struct plumb_jinja_value k)
{
    if (k.kind == PLUMB_JINJA_STRING) return json_string(o, how, k.s);
    if (k.kind != PLUMB_JINJA_NONE && !plumb_jinja_is_number(k))
        return plumb_jinja_wrong(r, "a %s cannot be a key in JSON", plumb_jinja_type(k));
    PLUMB_TRY(plumb_jinja_write_text(o, "\""));
    PLUMB_TRY(plumb_jinja_write_json(r, o, how, k, 0));
    return plumb_jinja_write_text(o, "\"");
}

static int by_key(const void *a, const void *b)
{
    const struct plumb_jinja_entry *x = a, *y = b;
    if (x->key.kind != PLUMB_JINJA_STRING || y->key.kind != PLUMB_JINJA_STRING) {
        const double p = plumb_jinja_number(x->key), q = plumb_jinja_number(y->key);
        return (p > q) - (p < q);
    }
    const size_t n = x->key.s->n < y->key.s->n ? x->key.s->n : y->key.s->n;
    const int c = memcmp(x->key.s->at, y->key.s->at, n);
    return c ? c : (x->key.s->n > y->key.s->n) - (x->key.s->n < y->key.s->n);
}

/* *d = a copy in the order of its keys, which must be of one kind. */
static int sorted(struct plumb_jinja_run *r, struct plumb_jinja_dict *d)
{
    void *at;
    const size_t bytes = (size_t)d->n * sizeof *d->at;
    for (int64_t i = 0; i < d->n; i++)
        if ((d->at[i].key.kind == PLUMB_JINJA_STRING) !=
                (d->at[0].key.kind == PLUMB_JINJA_STRING) ||
            (d->n > 1 && d->at[i].key.kind != PLUMB_JINJA_STRING &&
             !plumb_jinja_is_number(d->at[i].key)))
            return plumb_jinja_wrong(r, "keys of several kinds cannot be sorted");
    PLUMB_TRY(plumb_jinja_take(r->pool, bytes, &at));
    if (bytes) memcpy(at, d->at, bytes);
    d->at = at;
    qsort(d->at, (size_t)d->n, sizeof *d->at, by_key);
    return PLUMB_OK;
}

static int json_parts(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                      const struct plumb_jinja_json *how, struct plumb_jinja_value v, int level)
{
    const bool dict = v.kind == PLUMB_JINJA_DICT;
    const int64_t n = dict ? v.d->n : v.l->n;
    struct plumb_jinja_dict d = { 0 };
    if (dict) d = *v.d;
    if (dict && how->sorted) PLUMB_TRY(sorted(r, &d));
    if (n == 0) return plumb_jinja_write_text(o, dict ? "{}" : "[]");
    PLUMB_TRY(plumb_jinja_write_text(o, dict ? "{" : "["));
    for (int64_t i = 0; i < n; i++) {
        if (i) PLUMB_TRY(plumb_jinja_write_text(o, how->between));
        PLUMB_TRY(json_line(o, how, level + 1));
        if (dict) {
            PLUMB_TRY(json_key(r, o, how, d.at[i].key));
            PLUMB_TRY(plumb_jinja_write_text(o, how->colon));
        }
        PLUMB_TRY(plumb_jinja_write_json(r, o, how, dict ? d.at[i].value : v.l->at[i], level + 1));
    }
    PLUMB_TRY(json_line(o, how, level));
    return plumb_jinja_write_text(o, dict ? "}" : "]");
}

int plumb_jinja_write_json(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                           const struct plumb_jinja_json *how, struct plumb_jinja_value v,
                           int level)
{
    PLUMB_TRY(plumb_jinja_step(r, 1));
    if (level > PLUMB_JINJA_DEPTH) return plumb_jinja_wrong(r, "a value nests too deep");
    switch (v.kind) {
    case PLUMB_JINJA_NONE: return plumb_jinja_write_text(o, "null");
    case PLUMB_JINJA_BOOL: return plumb_jinja_write_text(o, v.b ? "true" : "false");
    case PLUMB_JINJA_INT: return plumb_jinja_write_repr(r, o, v);
    case PLUMB_JINJA_FLOAT:
        if (isfinite(v.f)) return plumb_jinja_write_float(o, v.f);
        return plumb_jinja_write_text(o, isnan(v.f) ? "NaN" : v.f > 0 ? "Infinity" : "-Infinity");
    case PLUMB_JINJA_STRING: return json_string(o, how, v.s);
    case PLUMB_JINJA_LIST:
    case PLUMB_JINJA_TUPLE:
    case PLUMB_JINJA_DICT: return json_parts(r, o, how, v, level);
    default: return plumb_jinja_wrong(r, "a %s is nothing for JSON", plumb_jinja_type(v));
    }
}
