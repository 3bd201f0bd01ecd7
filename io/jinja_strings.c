/* Methods of strings that look for parts and cut. Positions count characters. */
#include <string.h>

#include "io/jinja_run.h"
#include "io/utf8.h"

#define METHOD(name)                                                                               \
    static int name(struct plumb_jinja_run *r, struct plumb_jinja_value on,                        \
                    const struct plumb_jinja_args *args, struct plumb_jinja_value *out)

/* Bytes of the white space at p, 0 = none there; what Python's str.isspace says of it. */
static size_t space_at(const char *p, size_t n)
{
    int32_t c;
    const size_t size = plumb_utf8_next(p, n, &c);
    const bool is = (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
                    c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
                    c == 0x202F || c == 0x205F || c == 0x3000;
    return is ? size : 0;
}

static int make(struct plumb_jinja_run *r, const char *from, size_t n,
                struct plumb_jinja_value *out)
{
    return plumb_jinja_string(r->pool, from, n, out);
}

static int add(struct plumb_jinja_run *r, struct plumb_jinja_value row, const char *from, size_t n)
{
    struct plumb_jinja_value v;
    PLUMB_TRY(make(r, from, n, &v));
    return plumb_jinja_push(r->pool, row, v);
}

static int want_text(struct plumb_jinja_run *r, const char *method,
                     const struct plumb_jinja_value *v)
{
    return v->kind == PLUMB_JINJA_STRING
               ? PLUMB_OK
               : plumb_jinja_wrong(r, "%s wants a string, not a %s", method, plumb_jinja_type(*v));
}

/* Bytes of one of the characters of `set` (NULL = white space) at p, looking forth or back. */
static size_t strippable(const char *p, size_t n, bool back, const struct plumb_jinja_string *set)
{
    size_t size = 1;
    if (n == 0) return 0;
    while (back && size < n && size < 4 && ((unsigned char)p[n - size] & 0xC0) == 0x80)
        size++;
    const char *at = back ? p + n - size : p;
    if (!set) return space_at(at, back ? size : n);
    int32_t c;
    size = plumb_utf8_next(at, back ? size : n, &c);
    return memmem(set->at, set->n, at, size) ? size : 0;
}

static int stripped(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                    const struct plumb_jinja_args *args, bool left, bool right,
                    struct plumb_jinja_value *out)
{
    static const char *const names[] = { "chars", NULL };
    const struct plumb_jinja_value *v[1];
    const char *p = on.s->at;
    size_t n = on.s->n, cut;
    PLUMB_TRY(plumb_jinja_bind(r, "strip", args, names, 0, v));
    const bool given = v[0] && v[0]->kind != PLUMB_JINJA_NONE;
    if (given) PLUMB_TRY(want_text(r, "strip", v[0]));
    const struct plumb_jinja_string *set = given ? v[0]->s : NULL;
    while (left && (cut = strippable(p, n, false, set)) > 0)
        p += cut, n -= cut;
    while (right && (cut = strippable(p, n, true, set)) > 0)
        n -= cut;
    return make(r, p, n, out);
}

METHOD(strip) { return stripped(r, on, args, true, true, out); }
METHOD(lstrip) { return stripped(r, on, args, true, false, out); }
METHOD(rstrip) { return stripped(r, on, args, false, true, out); }

static int split_spaces(struct plumb_jinja_run *r, struct plumb_jinja_value on, int64_t most,
                        bool right, struct plumb_jinja_value out)
{
    const char *p = on.s->at;
    size_t n = on.s->n, cut;
    for (;;) {
        while ((cut = strippable(p, n, right, NULL)) > 0)
            p += right ? 0 : cut, n -= cut;
        if (n == 0) return PLUMB_OK;
        size_t word = 0;
        if (out.l->n == most) return add(r, out, p, n);
        while (word < n && !strippable(right ? p : p + word, n - word, right, NULL))
            word++;
        PLUMB_TRY(add(r, out, right ? p + n - word : p, word));
        p += right ? 0 : word, n -= word;
    }
}

static int split_at(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                    const struct plumb_jinja_string *by, int64_t most, bool right,
                    struct plumb_jinja_value out)
{
    const char *p = on.s->at;
    size_t n = on.s->n;
    while (out.l->n != most) {
        const char *found = right ? NULL : memmem(p, n, by->at, by->n);
        for (size_t i = n; right && !found && i >= by->n; i--)
            if (!memcmp(p + i - by->n, by->at, by->n)) found = p + i - by->n;
        if (!found) break;
        PLUMB_TRY(plumb_jinja_step(r, 1));
        const char *behind = found + by->n;
        PLUMB_TRY(right ? add(r, out, behind, (size_t)(p + n - behind))
                        : add(r, out, p, (size_t)(found - p)));
        n = right ? (size_t)(found - p) : n - (size_t)(behind - p);
        if (!right) p = behind;
    }
    return add(r, out, p, n);
}

static int parts(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                 const struct plumb_jinja_args *args, bool right, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "sep", "maxsplit", NULL };
    const struct plumb_jinja_value *v[2];
    int64_t most;
    PLUMB_TRY(plumb_jinja_bind(r, "split", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_want_int(r, "split", v[1], -1, &most));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 0, out));
    PLUMB_TRY(plumb_jinja_step(r, (int64_t)on.s->n));
    if (most < 0) most = INT64_MAX;
    if (!v[0] || v[0]->kind == PLUMB_JINJA_NONE) {
        PLUMB_TRY(split_spaces(r, on, most, right, *out));
    } else {
        PLUMB_TRY(want_text(r, "split", v[0]));
        if (v[0]->s->n == 0) return plumb_jinja_wrong(r, "split: an empty separator");
        PLUMB_TRY(split_at(r, on, v[0]->s, most, right, *out));
    }
    for (int64_t i = 0, k = out->l->n - 1; right && i < k; i++, k--) {
        const struct plumb_jinja_value swap = out->l->at[i];
        out->l->at[i] = out->l->at[k];
        out->l->at[k] = swap;
    }
    return PLUMB_OK;
}

METHOD(split) { return parts(r, on, args, false, out); }
METHOD(rsplit) { return parts(r, on, args, true, out); }

/* Bytes of the line end at p, 0 = none. */
static size_t line_end(const char *p, size_t n)
{
    int32_t c;
    const size_t size = plumb_utf8_next(p, n, &c);
    if (c == '\r') return n > 1 && p[1] == '\n' ? 2 : 1;
    return (c >= 10 && c <= 12) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
                   c == 0x2029
               ? size
               : 0;
}

METHOD(splitlines)
{
    static const char *const names[] = { "keepends", NULL };
    const struct plumb_jinja_value *v[1];
    PLUMB_TRY(plumb_jinja_bind(r, "splitlines", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 0, out));
    const bool keep = plumb_jinja_want_bool(v[0], false);
    const char *first = on.s->at, *end = on.s->at + on.s->n;
    for (const char *p = first; p < end;) {
        const size_t cut = line_end(p, (size_t)(end - p));
        p += cut ? cut : 1;
        if (!cut && p < end) continue;
        PLUMB_TRY(add(r, *out, first, (size_t)(p - first) - (keep ? 0 : cut)));
        first = p;
    }
    return PLUMB_OK;
}

/* Where args' string is inside [start, end), in bytes of the whole, or NULL. */
static int sought(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                  const struct plumb_jinja_args *args, bool last, const char **found)
{
    static const char *const names[] = { "sub", "start", "end", NULL };
    const struct plumb_jinja_value *v[3];
    struct plumb_jinja_value range[3] = { plumb_jinja_none(), plumb_jinja_none(),
                                          plumb_jinja_none() },
                             part, before;
    PLUMB_TRY(plumb_jinja_bind(r, "find", args, names, 1, v));
    PLUMB_TRY(want_text(r, "find", v[0]));
    if (v[1]) range[0] = *v[1];
    if (v[2]) range[1] = *v[2];
    PLUMB_TRY(plumb_jinja_slice(r, on, range, &part));
    range[1] = range[0].kind == PLUMB_JINJA_NONE ? plumb_jinja_int(0) : range[0];
    range[0] = plumb_jinja_none();
    PLUMB_TRY(plumb_jinja_slice(r, on, range, &before));
    *found = NULL;
    const struct plumb_jinja_string *s = v[0]->s;
    for (size_t i = 0; i + s->n <= part.s->n && (last || !*found); i++)
        if (!memcmp(part.s->at + i, s->at, s->n) && ((unsigned char)part.s->at[i] & 0xC0) != 0x80)
            *found = on.s->at + before.s->n + i;
    return plumb_jinja_step(r, (int64_t)part.s->n / 16 + 1);
}

static int position(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                    const struct plumb_jinja_args *args, bool last, bool must,
                    struct plumb_jinja_value *out)
{
    const char *found;
    int64_t points = 0;
    PLUMB_TRY(sought(r, on, args, last, &found));
    for (const char *p = on.s->at; found && p < found; p++)
        points += ((unsigned char)*p & 0xC0) != 0x80;
    *out = plumb_jinja_int(found ? points : -1);
    return found || !must ? PLUMB_OK : plumb_jinja_wrong(r, "index: the substring is not there");
}

METHOD(find) { return position(r, on, args, false, false, out); }
METHOD(rfind) { return position(r, on, args, true, false, out); }
METHOD(index_of) { return position(r, on, args, false, true, out); }
METHOD(rindex_of) { return position(r, on, args, true, true, out); }

METHOD(count)
{
    static const char *const names[] = { "sub", NULL };
    const struct plumb_jinja_value *v[1];
    int64_t n = 0;
    PLUMB_TRY(plumb_jinja_bind(r, "count", args, names, 1, v));
    PLUMB_TRY(want_text(r, "count", v[0]));
    PLUMB_TRY(plumb_jinja_step(r, (int64_t)on.s->n / 16 + 1));
    const char *p = on.s->at, *end = p + on.s->n;
    if (v[0]->s->n == 0) n = on.s->points + 1;
    while (v[0]->s->n && (p = memmem(p, (size_t)(end - p), v[0]->s->at, v[0]->s->n)))
        n++, p += v[0]->s->n;
    *out = plumb_jinja_int(n);
    return PLUMB_OK;
}

METHOD(replace)
{
    static const char *const names[] = { "old", "new", "count", NULL };
    const struct plumb_jinja_value *v[3];
    struct plumb_jinja_out text = { .pool = r->pool };
    int64_t left;
    if (args->named->n) return plumb_jinja_wrong(r, "replace takes no names");
    PLUMB_TRY(plumb_jinja_bind(r, "replace", args, names, 2, v));
    PLUMB_TRY(want_text(r, "replace", v[0]));
    PLUMB_TRY(want_text(r, "replace", v[1]));
    PLUMB_TRY(plumb_jinja_want_int(r, "replace", v[2], -1, &left));
    PLUMB_TRY(plumb_jinja_step(r, (int64_t)on.s->n / 16 + 1));
    const struct plumb_jinja_string *old = v[0]->s, *by = v[1]->s;
    const char *p = on.s->at, *end = p + on.s->n;
    for (; left != 0; left--) {
        const char *found = old->n ? memmem(p, (size_t)(end - p), old->at, old->n) : p;
        if (!found) break;
        PLUMB_TRY(plumb_jinja_step(r, 1));
        PLUMB_TRY(plumb_jinja_write(&text, p, (size_t)(found - p)));
        PLUMB_TRY(plumb_jinja_write(&text, by->at, by->n));
        p = found + old->n;
        if (old->n) continue;
        if (p == end) break;
        int32_t c;
        const size_t size = plumb_utf8_next(p, (size_t)(end - p), &c);
        PLUMB_TRY(plumb_jinja_write(&text, p, size));
        p += size;
    }
    PLUMB_TRY(plumb_jinja_write(&text, p, (size_t)(end - p)));
    return plumb_jinja_written(&text, out);
}

static bool has(struct plumb_jinja_value on, struct plumb_jinja_value part, bool at_end)
{
    const size_t n = part.s->n;
    return n <= on.s->n && !memcmp(on.s->at + (at_end ? on.s->n - n : 0), part.s->at, n);
}

static int edge(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                const struct plumb_jinja_args *args, bool at_end, struct plumb_jinja_value *out)
{
    bool holds = false;
    if (args->n < 1 || args->n > 3) return plumb_jinja_wrong(r, "startswith wants a string");
    struct plumb_jinja_value range[3] = { plumb_jinja_none(), plumb_jinja_none(),
                                          plumb_jinja_none() };
    for (int64_t i = 1; i < args->n; i++)
        range[i - 1] = args->at[i];
    if (args->n > 1) PLUMB_TRY(plumb_jinja_slice(r, on, range, &on));
    const bool tuple = args->at[0].kind == PLUMB_JINJA_TUPLE;
    for (int64_t i = 0; i < (tuple ? args->at[0].l->n : 1); i++) {
        const struct plumb_jinja_value *part = tuple ? &args->at[0].l->at[i] : args->at;
        PLUMB_TRY(want_text(r, at_end ? "endswith" : "startswith", part));
        holds = holds || has(on, *part, at_end);
    }
    *out = plumb_jinja_bool(holds);
    return PLUMB_OK;
}

METHOD(startswith) { return edge(r, on, args, false, out); }
METHOD(endswith) { return edge(r, on, args, true, out); }

static int without(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                   const struct plumb_jinja_args *args, bool at_end, struct plumb_jinja_value *out)
{
    if (args->n != 1) return plumb_jinja_wrong(r, "removeprefix wants a string");
    PLUMB_TRY(want_text(r, "removeprefix", args->at));
    const size_t n = has(on, args->at[0], at_end) ? args->at[0].s->n : 0;
    return make(r, on.s->at + (at_end ? 0 : n), on.s->n - n, out);
}

METHOD(removeprefix) { return without(r, on, args, false, out); }
METHOD(removesuffix) { return without(r, on, args, true, out); }

static int partition_at(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                        const struct plumb_jinja_args *args, bool last,
                        struct plumb_jinja_value *out)
{
    const char *found;
    if (args->n != 1) return plumb_jinja_wrong(r, "partition wants a string");
    PLUMB_TRY(sought(r, on, args, last, &found));
    const size_t by = args->at[0].s->n, n = on.s->n;
    if (by == 0) return plumb_jinja_wrong(r, "partition: an empty separator");
    const size_t at = found ? (size_t)(found - on.s->at) : last ? 0 : n;
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_TUPLE, 3, out));
    PLUMB_TRY(add(r, *out, on.s->at, at));
    PLUMB_TRY(add(r, *out, on.s->at + at, found ? by : 0));
    return add(r, *out, on.s->at + at + (found ? by : 0), n - at - (found ? by : 0));
}

METHOD(partition) { return partition_at(r, on, args, false, out); }
METHOD(rpartition) { return partition_at(r, on, args, true, out); }

/* The string in a field of `width`, `left` of what is missing before it. */
static int padded(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                  const struct plumb_jinja_args *args, int side, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "width", "fillchar", NULL };
    const struct plumb_jinja_value *v[2];
    struct plumb_jinja_out text = { .pool = r->pool };
    int64_t width;
    PLUMB_TRY(plumb_jinja_bind(r, "just", args, names, side == 2 ? 0 : 1, v));
    PLUMB_TRY(plumb_jinja_want_int(r, "just", v[0], 80, &width));
    if (v[1]) PLUMB_TRY(want_text(r, "just", v[1]));
    if (v[1] && v[1]->s->points != 1) return plumb_jinja_wrong(r, "just: one character fills");
    const int64_t pad = width > on.s->points ? width - on.s->points : 0;
    const int64_t left = side == 0 ? 0 : side == 1 ? pad : pad / 2 + (pad & width & 1);
    PLUMB_TRY(plumb_jinja_step(r, pad));
    for (int64_t i = 0; i <= pad; i++) {
        if (i == left) PLUMB_TRY(plumb_jinja_write(&text, on.s->at, on.s->n));
        if (i == pad) break;
        PLUMB_TRY(v[1] ? plumb_jinja_write(&text, v[1]->s->at, v[1]->s->n)
                       : plumb_jinja_write_text(&text, " "));
    }
    return plumb_jinja_written(&text, out);
}

METHOD(ljust) { return padded(r, on, args, 0, out); }
METHOD(rjust) { return padded(r, on, args, 1, out); }
METHOD(center) { return padded(r, on, args, 2, out); }

METHOD(zfill)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    int64_t width;
    if (args->n != 1) return plumb_jinja_wrong(r, "zfill wants a width");
    PLUMB_TRY(plumb_jinja_want_int(r, "zfill", args->at, 0, &width));
    const size_t sign = on.s->n && strchr("+-", on.s->at[0]) && on.s->at[0];
    PLUMB_TRY(plumb_jinja_write(&text, on.s->at, sign));
    for (int64_t i = on.s->points; i < width; i++) {
        PLUMB_TRY(plumb_jinja_step(r, 1));
        PLUMB_TRY(plumb_jinja_write_text(&text, "0"));
    }
    PLUMB_TRY(plumb_jinja_write(&text, on.s->at + sign, on.s->n - sign));
    return plumb_jinja_written(&text, out);
}

METHOD(join)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    struct plumb_jinja_value items;
    if (args->n != 1) return plumb_jinja_wrong(r, "join wants a list");
    PLUMB_TRY(plumb_jinja_items(r, args->at[0], &items));
    for (int64_t i = 0; i < items.l->n; i++) {
        if (i) PLUMB_TRY(plumb_jinja_write(&text, on.s->at, on.s->n));
        PLUMB_TRY(want_text(r, "join", &items.l->at[i]));
        PLUMB_TRY(plumb_jinja_write(&text, items.l->at[i].s->at, items.l->at[i].s->n));
    }
    return plumb_jinja_written(&text, out);
}

METHOD(format) { return plumb_jinja_braces(r, on, args, out); }

const struct plumb_jinja_function plumb_jinja_string_methods[] = {
    { "strip", strip },
    { "lstrip", lstrip },
    { "rstrip", rstrip },
    { "split", split },
    { "rsplit", rsplit },
    { "splitlines", splitlines },
    { "find", find },
    { "rfind", rfind },
    { "index", index_of },
    { "rindex", rindex_of },
    { "count", count },
    { "replace", replace },
    { "startswith", startswith },
    { "endswith", endswith },
    { "removeprefix", removeprefix },
    { "removesuffix", removesuffix },
    { "partition", partition },
    { "rpartition", rpartition },
    { "ljust", ljust },
    { "rjust", rjust },
    { "center", center },
    { "zfill", zfill },
    { "join", join },
    { "format", format },
    { NULL, NULL },
};
