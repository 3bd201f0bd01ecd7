/* Python's two ways to fill in a string: "%s" % values and "{}".format(values). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jinja_run.h"

/* What stands between % and its letter, or behind the colon of {}. */
struct spec {
    bool left, plus, blank, zero, center, comma;
    int width, precision; /* precision -1 = none */
    char kind;
};

static int digits(const char **p, const char *end)
{
    int n = 0;
    while (*p < end && **p >= '0' && **p <= '9' && n < 10000)
        n = 10 * n + *(*p)++ - '0';
    return n;
}

/* Puts text into its field. */
static int field(struct plumb_jinja_run *r, struct plumb_jinja_out *o, const struct spec *s,
                 const char *text, size_t n, int64_t points, bool number)
{
    const int64_t pad = s->width > points ? s->width - points : 0;
    const int64_t before = s->left ? 0 : s->center ? pad / 2 : pad;
    const size_t sign = number && s->zero && n && strchr("+- ", text[0]) ? 1 : 0;
    PLUMB_TRY(plumb_jinja_step(r, pad));
    PLUMB_TRY(plumb_jinja_write(o, text, sign));
    for (int64_t i = 0; i < before; i++)
        PLUMB_TRY(plumb_jinja_write_text(o, number && s->zero ? "0" : " "));
    PLUMB_TRY(plumb_jinja_write(o, text + sign, n - sign));
    for (int64_t i = before; i < pad; i++)
        PLUMB_TRY(plumb_jinja_write_text(o, " "));
    return PLUMB_OK;
}

static void with_commas(char *text, size_t room)
{
    const char *dot = strchr(text, '.');
    size_t at = dot ? (size_t)(dot - text) : strlen(text), n = strlen(text);
    for (size_t k = 1; at > 1; at--, k++)
        if (k % 3 == 0 && text[at - 2] >= '0' && text[at - 2] <= '9' && n + 1 < room) {
            memmove(text + at, text + at - 1, n - at + 2);
            text[at - 1] = ',';
            n++;
        }
}

static int number(struct plumb_jinja_run *r, struct plumb_jinja_out *o, const struct spec *s,
                  struct plumb_jinja_value v)
{
    char text[512], plain[512];
    if (!plumb_jinja_is_number(v))
        return plumb_jinja_wrong(r, "a number is wanted, not a %s", plumb_jinja_type(v));
    const bool real = s->kind && strchr("eEfFgG%", s->kind);
    const double x = plumb_jinja_number(v);
    const int precision = s->precision < 0 ? 6 : s->precision > 100 ? 100 : s->precision;
    const char *sign = s->plus ? "+" : s->blank ? " " : "";
    if (real) {
        const char form[] = { '%', '.', '*', s->kind == '%' ? 'f' : s->kind, 0 };
        const double y = s->kind == '%' ? 100 * x : x;
        snprintf(plain, sizeof plain, form, precision, y);
        snprintf(text, sizeof text, "%.8s%.480s%s", y < 0 ? "" : sign, plain,
                 s->kind == '%' ? "%" : "");
    } else {
        const int64_t i = v.kind == PLUMB_JINJA_FLOAT ? (int64_t)x : plumb_jinja_integer(v);
        const bool base = s->kind && strchr("xXo", s->kind);
        const char form[] = { '%', 'l', 'l', base ? s->kind : 'd', 0 };
        const long long shown = base && i < 0 ? -(long long)i : (long long)i;
        snprintf(plain, sizeof plain, form, shown);
        snprintf(text, sizeof text, "%.8s%.480s", i < 0 ? base ? "-" : "" : sign, plain);
    }
    if (s->comma) with_commas(text, sizeof text);
    return field(r, o, s, text, strlen(text), (int64_t)strlen(text), true);
}

static int text_field(struct plumb_jinja_run *r, struct plumb_jinja_out *o, const struct spec *s,
                      struct plumb_jinja_value v)
{
    PLUMB_TRY(plumb_jinja_str(r, v, &v));
    if (s->precision >= 0 && s->precision < v.s->points)
        PLUMB_TRY(plumb_jinja_part(r, v, 0, s->precision, &v));
    return field(r, o, s, v.s->at, v.s->n, v.s->points, false);
}

/* Flags, width, precision and letter behind a %; *p ends behind them. */
static struct spec percent(const char **p, const char *end)
{
    struct spec s = { .precision = -1 };
    for (; *p < end && strchr("-+ 0#", **p) && **p; ++*p) {
        s.left = s.left || **p == '-';
        s.plus = s.plus || **p == '+';
        s.blank = s.blank || **p == ' ';
        s.zero = s.zero || **p == '0';
    }
    s.width = digits(p, end);
    if (*p < end && **p == '.') {
        ++*p;
        s.precision = digits(p, end);
    }
    if (*p < end) s.kind = *(*p)++;
    if (s.left) s.zero = false;
    return s;
}

static int one_percent(struct plumb_jinja_run *r, struct plumb_jinja_out *o, const struct spec *s,
                       struct plumb_jinja_value v)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    switch (s->kind) {
    case 's': return text_field(r, o, s, v);
    case 'r':
    case 'a':
        PLUMB_TRY(plumb_jinja_write_repr(r, &text, v));
        PLUMB_TRY(plumb_jinja_written(&text, &v));
        return text_field(r, o, s, v);
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G': return number(r, o, s, v);
    default: return plumb_jinja_wrong(r, "\"%%%c\" is no way to format", s->kind ? s->kind : ' ');
    }
}

int plumb_jinja_format(struct plumb_jinja_run *r, struct plumb_jinja_value format,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    struct plumb_jinja_out o = { .pool = r->pool };
    int64_t used = 0;
    bool named = false;
    PLUMB_TRY(plumb_jinja_str(r, format, &format));
    for (const char *p = format.s->at, *end = p + format.s->n; p < end;) {
        const char *sign = memchr(p, '%', (size_t)(end - p));
        PLUMB_TRY(plumb_jinja_write(&o, p, (size_t)((sign ? sign : end) - p)));
        if (!sign) break;
        p = sign + 1;
        const struct plumb_jinja_value *v = NULL;
        if (p < end && *p == '(') {
            const char *close = memchr(p, ')', (size_t)(end - p));
            struct plumb_jinja_value key;
            if (!close) return plumb_jinja_wrong(r, "a name in a format is not closed");
            PLUMB_TRY(plumb_jinja_string(r->pool, p + 1, (size_t)(close - p - 1), &key));
            v = plumb_jinja_find(args->named, key);
            if (!v) return plumb_jinja_wrong(r, "the format wants \"%s\"", key.s->at);
            named = true;
            p = close + 1;
        }
        const struct spec s = percent(&p, end);
        if (s.kind == '%') {
            PLUMB_TRY(plumb_jinja_write_text(&o, "%"));
            continue;
        }
        if (!v && used == args->n) return plumb_jinja_wrong(r, "the format wants more values");
        PLUMB_TRY(one_percent(r, &o, &s, v ? *v : args->at[used++]));
    }
    if (!named && used < args->n && !args->named->n)
        return plumb_jinja_wrong(r, "the format does not use all values");
    return plumb_jinja_written(&o, out);
}

/* [<>^][+ ][0][width][,][.precision][kind] */
static struct spec braces(const char *p, const char *end)
{
    struct spec s = { .precision = -1 };
    bool aligned = false;
    for (; p < end && strchr("<>^+- 0", *p) && *p; p++) {
        aligned = aligned || strchr("<>^", *p);
        s.left = s.left || *p == '<';
        s.center = s.center || *p == '^';
        s.plus = s.plus || *p == '+';
        s.blank = s.blank || *p == ' ';
        s.zero = s.zero || *p == '0';
    }
    s.width = digits(&p, end);
    s.comma = p < end && *p == ',';
    p += s.comma;
    if (p < end && *p == '.') {
        p++;
        s.precision = digits(&p, end);
    }
    s.kind = p < end ? *p++ : 0;
    if (p < end) s.kind = '?';
    if (!aligned && !s.zero) s.left = true; /* texts; numbers are set right below */
    return s;
}

static int one_brace(struct plumb_jinja_run *r, struct plumb_jinja_out *o, const char *p,
                     const char *end, struct plumb_jinja_value v)
{
    struct spec s = braces(p, end);
    const bool numeric = v.kind == PLUMB_JINJA_INT || v.kind == PLUMB_JINJA_FLOAT;
    if (s.kind && !strchr("sdxXoeEfFgG%", s.kind))
        return plumb_jinja_wrong(r, "a format that is not known");
    if (s.kind == 's' || (!s.kind && !numeric)) return text_field(r, o, &s, v);
    if (s.left && !memchr(p, '<', (size_t)(end - p))) s.left = false;
    if (s.kind || (v.kind == PLUMB_JINJA_INT)) return number(r, o, &s, v);
    if (s.precision < 0) return text_field(r, o, &s, v);
    s.kind = 'g';
    return number(r, o, &s, v);
}

/* The value that {what} names: an index, a name, or the next. */
static int named_value(struct plumb_jinja_run *r, const struct plumb_jinja_args *args,
                       const char *p, size_t n, int64_t *next, struct plumb_jinja_value *out)
{
    struct plumb_jinja_value key;
    PLUMB_TRY(plumb_jinja_string(r->pool, p, n, &key));
    const bool index = n == 0 || strspn(key.s->at, "0123456789") == n;
    const int64_t i = n ? strtoll(key.s->at, NULL, 10) : (*next)++;
    const struct plumb_jinja_value *v = index ? (i < args->n ? &args->at[i] : NULL)
                                              : plumb_jinja_find(args->named, key);
    if (!v) return plumb_jinja_wrong(r, "format: \"%s\" is not given", key.s->at);
    *out = *v;
    return PLUMB_OK;
}

int plumb_jinja_braces(struct plumb_jinja_run *r, struct plumb_jinja_value format,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    struct plumb_jinja_out o = { .pool = r->pool };
    int64_t next = 0;
    for (const char *p = format.s->at, *end = p + format.s->n; p < end; p++) {
        struct plumb_jinja_value v;
        if ((*p == '{' || *p == '}') && p + 1 < end && p[1] == *p)
            p++;
        else if (*p == '}')
            return plumb_jinja_wrong(r, "format: a single }");
        else if (*p == '{') {
            const char *close = memchr(p, '}', (size_t)(end - p));
            if (!close) return plumb_jinja_wrong(r, "format: a { is not closed");
            const char *colon = memchr(p, ':', (size_t)(close - p));
            const char *stop = colon ? colon : close;
            PLUMB_TRY(named_value(r, args, p + 1, (size_t)(stop - p - 1), &next, &v));
            PLUMB_TRY(one_brace(r, &o, colon ? colon + 1 : close, close, v));
            p = close;
            continue;
        }
        PLUMB_TRY(plumb_jinja_write(&o, p, 1));
    }
    return plumb_jinja_written(&o, out);
}
