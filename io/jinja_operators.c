/* Operators, comparison, indexing and attributes, as Python defines them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jinja_run.h"
#include "io/utf8.h"

static int unfit(struct plumb_jinja_run *r, const char *op, struct plumb_jinja_value a,
                 struct plumb_jinja_value b)
{
    if (a.kind == PLUMB_JINJA_UNDEFINED || b.kind == PLUMB_JINJA_UNDEFINED) {
        const char *name = a.kind == PLUMB_JINJA_UNDEFINED ? a.name : b.name;
        return plumb_jinja_wrong(r, "\"%s\" is undefined", name ? name : "value");
    }
    return plumb_jinja_wrong(r, "\"%s\" does not go with %s and %s", op, plumb_jinja_type(a),
                             plumb_jinja_type(b));
}

static int repeated(struct plumb_jinja_run *r, struct plumb_jinja_value a, int64_t times,
                    struct plumb_jinja_value *out)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    if (a.kind != PLUMB_JINJA_STRING) PLUMB_TRY(plumb_jinja_row(r->pool, a.kind, 0, out));
    for (int64_t k = 0; k < times; k++) {
        PLUMB_TRY(plumb_jinja_step(r, 1));
        if (a.kind == PLUMB_JINJA_STRING) PLUMB_TRY(plumb_jinja_write(&text, a.s->at, a.s->n));
        for (int64_t i = 0; a.kind != PLUMB_JINJA_STRING && i < a.l->n; i++)
            PLUMB_TRY(plumb_jinja_push(r->pool, *out, a.l->at[i]));
        if (a.kind == PLUMB_JINJA_STRING ? a.s->n == 0 : a.l->n == 0) break;
    }
    return a.kind == PLUMB_JINJA_STRING ? plumb_jinja_written(&text, out) : PLUMB_OK;
}

static int joined(struct plumb_jinja_run *r, struct plumb_jinja_value a, struct plumb_jinja_value b,
                  struct plumb_jinja_value *out)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    if (a.kind == PLUMB_JINJA_STRING) {
        const bool markup = a.markup || b.markup;
        if (markup) PLUMB_TRY(plumb_jinja_escape(r, a, &a));
        if (markup) PLUMB_TRY(plumb_jinja_escape(r, b, &b));
        PLUMB_TRY(plumb_jinja_write(&text, a.s->at, a.s->n));
        PLUMB_TRY(plumb_jinja_write(&text, b.s->at, b.s->n));
        PLUMB_TRY(plumb_jinja_written(&text, out));
        out->markup = markup;
        return PLUMB_OK;
    }
    PLUMB_TRY(plumb_jinja_row(r->pool, a.kind, a.l->n + b.l->n, out));
    for (int64_t i = 0; i < a.l->n + b.l->n; i++)
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, i < a.l->n ? a.l->at[i] : b.l->at[i - a.l->n]));
    return plumb_jinja_step(r, a.l->n + b.l->n);
}

static int integers(struct plumb_jinja_run *r, char op, int64_t a, int64_t b,
                    struct plumb_jinja_value *out)
{
    int64_t x = 0;
    bool over = false;
    if (b == 0 && strchr("f%/", op)) return plumb_jinja_wrong(r, "division by zero");
    if (op == '/' || (op == 'p' && b < 0)) {
        if (op == 'p' && a == 0) return plumb_jinja_wrong(r, "division by zero");
        *out = plumb_jinja_float(op == '/' ? (double)a / (double)b : pow((double)a, (double)b));
        return PLUMB_OK;
    }
    if (op == '+') over = __builtin_add_overflow(a, b, &x);
    if (op == '-') over = __builtin_sub_overflow(a, b, &x);
    if (op == '*') over = __builtin_mul_overflow(a, b, &x);
    if (strchr("f%", op)) {
        over = a == INT64_MIN && b == -1;
        const int64_t q = over ? 0 : a / b, rest = over ? 0 : a % b;
        const bool down = rest != 0 && (rest < 0) != (b < 0);
        x = op == 'f' ? q - down : rest + (down ? b : 0);
    }
    if (op == 'p') {
        const bool unit = a >= -1 && a <= 1; /* whose powers never end the loop by growing */
        x = unit && b > 0 ? (a < 0 && b % 2 == 0 ? 1 : a) : 1;
        for (; !unit && b > 0 && !over; b--)
            over = __builtin_mul_overflow(x, a, &x);
    }
    if (over) return plumb_jinja_wrong(r, "an integer beyond 64 bits");
    *out = plumb_jinja_int(x);
    return PLUMB_OK;
}

static int floats(struct plumb_jinja_run *r, char op, double a, double b,
                  struct plumb_jinja_value *out)
{
    if (b == 0 && strchr("f%/", op)) return plumb_jinja_wrong(r, "division by zero");
    const double rest = strchr("f%", op) ? fmod(a, b) : 0;
    const bool down = rest != 0 && (rest < 0) != (b < 0);
    double x = a + b;
    if (op == '-') x = a - b;
    if (op == '*') x = a * b;
    if (op == '/') x = a / b;
    if (op == 'f') x = floor((a - rest) / b + 0.5) - down;
    if (op == '%') x = down ? rest + b : rest == 0 ? copysign(0, b) : rest;
    if (op == 'p') {
        if (a == 0 && b < 0) return plumb_jinja_wrong(r, "division by zero");
        if (a < 0 && floor(b) != b) return plumb_jinja_wrong(r, "a complex number");
        x = pow(a, b);
    }
    if (isinf(x) && !isinf(a) && !isinf(b) && op == 'p')
        return plumb_jinja_wrong(r, "a number that is too large");
    *out = plumb_jinja_float(x);
    return PLUMB_OK;
}

int plumb_jinja_binary(struct plumb_jinja_run *r, char op, struct plumb_jinja_value a,
                       struct plumb_jinja_value b, struct plumb_jinja_value *out)
{
    const char text[] = { op == 'f'   ? '/'
                          : op == 'p' ? '*'
                                      : op,
                          op == 'f'   ? '/'
                          : op == 'p' ? '*'
                                      : 0,
                          0 };
    const bool row = a.kind == PLUMB_JINJA_LIST || a.kind == PLUMB_JINJA_TUPLE;
    if (plumb_jinja_is_number(a) && plumb_jinja_is_number(b))
        return a.kind == PLUMB_JINJA_FLOAT || b.kind == PLUMB_JINJA_FLOAT
                   ? floats(r, op, plumb_jinja_number(a), plumb_jinja_number(b), out)
                   : integers(r, op, plumb_jinja_integer(a), plumb_jinja_integer(b), out);
    if (op == '+' && a.kind == b.kind && (row || a.kind == PLUMB_JINJA_STRING))
        return joined(r, a, b, out);
    if (op == '%' && a.kind == PLUMB_JINJA_STRING) {
        struct plumb_jinja_args args = plumb_jinja_no_args;
        args.at = b.kind == PLUMB_JINJA_TUPLE ? b.l->at : &b;
        args.n = b.kind == PLUMB_JINJA_TUPLE ? b.l->n : 1;
        if (b.kind == PLUMB_JINJA_DICT) args.named = b.d;
        return plumb_jinja_format(r, a, &args, out);
    }
    const bool repeats = row || a.kind == PLUMB_JINJA_STRING;
    if (op == '*' && repeats && (b.kind == PLUMB_JINJA_INT || b.kind == PLUMB_JINJA_BOOL))
        return repeated(r, a, plumb_jinja_integer(b), out);
    const bool swapped = b.kind == PLUMB_JINJA_LIST || b.kind == PLUMB_JINJA_TUPLE ||
                         b.kind == PLUMB_JINJA_STRING;
    if (op == '*' && swapped && (a.kind == PLUMB_JINJA_INT || a.kind == PLUMB_JINJA_BOOL))
        return repeated(r, b, plumb_jinja_integer(a), out);
    return unfit(r, text, a, b);
}

int plumb_jinja_less(struct plumb_jinja_run *r, struct plumb_jinja_value a,
                     struct plumb_jinja_value b, bool *out)
{
    PLUMB_TRY(plumb_jinja_step(r, 1));
    if (plumb_jinja_is_number(a) && plumb_jinja_is_number(b)) {
        *out = a.kind == PLUMB_JINJA_FLOAT || b.kind == PLUMB_JINJA_FLOAT
                   ? plumb_jinja_number(a) < plumb_jinja_number(b)
                   : plumb_jinja_integer(a) < plumb_jinja_integer(b);
        return PLUMB_OK;
    }
    if (a.kind == b.kind && a.kind == PLUMB_JINJA_STRING) { /* UTF-8 sorts as code points do */
        const size_t n = a.s->n < b.s->n ? a.s->n : b.s->n;
        PLUMB_TRY(plumb_jinja_step(r, (int64_t)(n / 64)));
        const int c = memcmp(a.s->at, b.s->at, n);
        *out = c ? c < 0 : a.s->n < b.s->n;
        return PLUMB_OK;
    }
    if (a.kind == b.kind && (a.kind == PLUMB_JINJA_LIST || a.kind == PLUMB_JINJA_TUPLE)) {
        for (int64_t i = 0; i < a.l->n && i < b.l->n; i++) {
            bool same;
            PLUMB_TRY(plumb_jinja_same(r, a.l->at[i], b.l->at[i], &same));
            if (!same) return plumb_jinja_less(r, a.l->at[i], b.l->at[i], out);
        }
        *out = a.l->n < b.l->n;
        return PLUMB_OK;
    }
    return unfit(r, "<", a, b);
}

int plumb_jinja_compare(struct plumb_jinja_run *r, char op, struct plumb_jinja_value a,
                        struct plumb_jinja_value b, bool *out)
{
    *out = false;
    if (op == '=' || op == '!') {
        PLUMB_TRY(plumb_jinja_same(r, a, b, out));
        *out = *out == (op == '=');
        return PLUMB_OK;
    }
    if (op == 'i' || op == 'n') {
        PLUMB_TRY(plumb_jinja_contains(r, b, a, out));
        *out = *out == (op == 'i');
        return PLUMB_OK;
    }
    const bool numbers = plumb_jinja_is_number(a) && plumb_jinja_is_number(b);
    if (numbers && (isnan(plumb_jinja_number(a)) || isnan(plumb_jinja_number(b)))) return PLUMB_OK;
    PLUMB_TRY(op == '<' || op == 'g' ? plumb_jinja_less(r, a, b, out)
                                     : plumb_jinja_less(r, b, a, out));
    if (op == 'l' || op == 'g') *out = !*out;
    return PLUMB_OK;
}

int plumb_jinja_contains(struct plumb_jinja_run *r, struct plumb_jinja_value in,
                         struct plumb_jinja_value v, bool *out)
{
    *out = false;
    if (in.kind == PLUMB_JINJA_STRING) {
        if (v.kind != PLUMB_JINJA_STRING) return unfit(r, "in", v, in);
        PLUMB_TRY(plumb_jinja_step(r, 1 + (int64_t)in.s->n / 64));
        *out = memmem(in.s->at, in.s->n, v.s->at, v.s->n) != NULL;
        return PLUMB_OK;
    }
    if (in.kind == PLUMB_JINJA_DICT) {
        if (!plumb_jinja_hashable(v)) return unfit(r, "in", v, in);
        PLUMB_TRY(plumb_jinja_step(r, plumb_jinja_weight(v)));
        *out = plumb_jinja_find(in.d, v) != NULL;
        return PLUMB_OK;
    }
    PLUMB_TRY(plumb_jinja_items(r, in, &in));
    for (int64_t i = 0; i < in.l->n && !*out; i++) {
        PLUMB_TRY(plumb_jinja_same(r, in.l->at[i], v, out));
    }
    return PLUMB_OK;
}

int plumb_jinja_items(struct plumb_jinja_run *r, struct plumb_jinja_value v,
                      struct plumb_jinja_value *out)
{
    *out = v;
    if (plumb_jinja_is_row(v)) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 0, out));
    if (v.kind == PLUMB_JINJA_DICT)
        for (int64_t i = 0; i < v.d->n; i++)
            PLUMB_TRY(plumb_jinja_push(r->pool, *out, v.d->at[i].key));
    else if (v.kind == PLUMB_JINJA_STRING)
        for (size_t i = 0, n; i < v.s->n; i += n) {
            struct plumb_jinja_value c;
            int32_t cp;
            n = plumb_utf8_next(v.s->at + i, v.s->n - i, &cp);
            PLUMB_TRY(plumb_jinja_string(r->pool, v.s->at + i, n, &c));
            PLUMB_TRY(plumb_jinja_push(r->pool, *out, c));
        }
    else if (v.kind != PLUMB_JINJA_UNDEFINED)
        return plumb_jinja_wrong(r, "a %s has no items", plumb_jinja_type(v));
    return plumb_jinja_step(r, out->l->n);
}

int plumb_jinja_length(struct plumb_jinja_run *r, struct plumb_jinja_value v, int64_t *out)
{
    switch (v.kind) {
    case PLUMB_JINJA_UNDEFINED: *out = 0; return PLUMB_OK;
    case PLUMB_JINJA_STRING: *out = v.s->points; return PLUMB_OK;
    case PLUMB_JINJA_LIST:
    case PLUMB_JINJA_TUPLE: *out = v.l->n; return PLUMB_OK;
    case PLUMB_JINJA_DICT: *out = v.d->n; return PLUMB_OK;
    default: return plumb_jinja_wrong(r, "a %s has no length", plumb_jinja_type(v));
    }
}

int plumb_jinja_part(struct plumb_jinja_run *r, struct plumb_jinja_value s, int64_t first,
                     int64_t last, struct plumb_jinja_value *out)
{
    size_t from = 0, to;
    int32_t cp;
    if (last < first) last = first;
    if (s.s->points == (int64_t)s.s->n)
        return plumb_jinja_string(r->pool, s.s->at + first, (size_t)(last - first), out);
    PLUMB_TRY(plumb_jinja_step(r, last / 16));
    for (int64_t i = 0; i < first; i++)
        from += plumb_utf8_next(s.s->at + from, s.s->n - from, &cp);
    to = from;
    for (int64_t i = first; i < last; i++)
        to += plumb_utf8_next(s.s->at + to, s.s->n - to, &cp);
    return plumb_jinja_string(r->pool, s.s->at + from, to - from, out);
}

int plumb_jinja_slice(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                      const struct plumb_jinja_value part[3], struct plumb_jinja_value *out)
{
    int64_t n, at[3] = { 0, 0, 1 };
    bool given[3];
    if (on.kind != PLUMB_JINJA_STRING && on.kind != PLUMB_JINJA_LIST &&
        on.kind != PLUMB_JINJA_TUPLE)
        return plumb_jinja_wrong(r, "a %s cannot be sliced", plumb_jinja_type(on));
    PLUMB_TRY(plumb_jinja_length(r, on, &n));
    for (int i = 0; i < 3; i++) {
        given[i] = part[i].kind == PLUMB_JINJA_INT || part[i].kind == PLUMB_JINJA_BOOL;
        if (given[i]) at[i] = plumb_jinja_integer(part[i]);
        if (!given[i] && part[i].kind != PLUMB_JINJA_NONE)
            return plumb_jinja_wrong(r, "a slice wants integers");
    }
    const int64_t step = at[2];
    if (step == 0) return plumb_jinja_wrong(r, "a slice of step 0");
    for (int i = 0; i < 2; i++) {
        if (!given[i]) {
            at[i] = (i == 0) == (step > 0) ? 0 : n;
            if (step < 0) at[i] = i == 0 ? n - 1 : -1;
            continue;
        }
        if (at[i] < 0) at[i] = at[i] < -n ? -1 : at[i] + n;
        if (at[i] < 0) at[i] = step > 0 ? 0 : -1;
        if (at[i] > n - (step < 0)) at[i] = n - (step < 0);
    }
    if (on.kind == PLUMB_JINJA_STRING && step == 1)
        return plumb_jinja_part(r, on, at[0], at[1], out);
    struct plumb_jinja_value items = on, chosen;
    if (on.kind == PLUMB_JINJA_STRING) PLUMB_TRY(plumb_jinja_items(r, on, &items));
    PLUMB_TRY(plumb_jinja_row(r->pool, items.kind, 0, &chosen));
    for (int64_t i = at[0]; step > 0 ? i < at[1] : i > at[1]; i += step) {
        PLUMB_TRY(plumb_jinja_push(r->pool, chosen, items.l->at[i]));
        if (step > INT32_MAX || step < -INT32_MAX) break;
    }
    *out = chosen;
    if (on.kind != PLUMB_JINJA_STRING) return plumb_jinja_step(r, chosen.l->n);
    struct plumb_jinja_out text = { .pool = r->pool };
    for (int64_t i = 0; i < chosen.l->n; i++)
        PLUMB_TRY(plumb_jinja_write(&text, chosen.l->at[i].s->at, chosen.l->at[i].s->n));
    return plumb_jinja_written(&text, out);
}

int plumb_jinja_item(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     struct plumb_jinja_value index, struct plumb_jinja_value *out)
{
    const char *name = index.kind == PLUMB_JINJA_STRING ? index.s->at : "item";
    PLUMB_TRY(plumb_jinja_step(r, 1));
    *out = plumb_jinja_undefined(name);
    if (on.kind == PLUMB_JINJA_UNDEFINED) return unfit(r, "[]", on, index);
    if (on.kind == PLUMB_JINJA_DICT) {
        PLUMB_TRY(plumb_jinja_step(r, plumb_jinja_weight(index)));
        const struct plumb_jinja_value *v = plumb_jinja_find(on.d, index);
        if (v) *out = *v;
        if (v) return PLUMB_OK;
    }
    const bool whole = index.kind == PLUMB_JINJA_INT || index.kind == PLUMB_JINJA_BOOL;
    int64_t n, i = whole ? plumb_jinja_integer(index) : 0;
    if (whole && (on.kind == PLUMB_JINJA_STRING || on.kind == PLUMB_JINJA_LIST ||
                  on.kind == PLUMB_JINJA_TUPLE)) {
        PLUMB_TRY(plumb_jinja_length(r, on, &n));
        if (i < 0) i += n;
        if (i < 0 || i >= n) return PLUMB_OK;
        if (on.kind == PLUMB_JINJA_STRING) return plumb_jinja_part(r, on, i, i + 1, out);
        *out = on.l->at[i];
        return PLUMB_OK;
    }
    return index.kind == PLUMB_JINJA_STRING ? plumb_jinja_attr(r, on, name, out) : PLUMB_OK;
}

int plumb_jinja_path(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     struct plumb_jinja_value path, struct plumb_jinja_value *out)
{
    *out = on;
    if (path.kind != PLUMB_JINJA_STRING) return plumb_jinja_item(r, on, path, out);
    for (const char *p = path.s->at; p;) {
        const char *dot = strchr(p, '.');
        const size_t n = dot ? (size_t)(dot - p) : strlen(p);
        struct plumb_jinja_value key;
        PLUMB_TRY(plumb_jinja_string(r->pool, p, n, &key));
        if (n && n < 18 && strspn(p, "0123456789") >= n)
            key = plumb_jinja_int(strtoll(p, NULL, 10));
        PLUMB_TRY(plumb_jinja_item(r, *out, key, out));
        p = dot ? dot + 1 : NULL;
    }
    return PLUMB_OK;
}
