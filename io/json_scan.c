/* A strict scanner of JSON: grammar, UTF-8, depth and duplicate names, with line and column of a
 * fault. */
#include "io/json_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 100
#define MAX_NUMBER 63 /* characters: cJSON copies a number into 64 bytes */

struct name {
    const char *at; /* after the opening quote */
    uint64_t hash;  /* of the characters it stands for, escapes resolved */
};

struct scan {
    const char *text, *p, *end;
    const char *file;
    int64_t first_line;
    struct name *names; /* of all open objects, outermost first */
    size_t used, room;
};

static int fault(const struct scan *s, const char *at, const char *what)
{
    int64_t line = s->first_line, column = 1;
    for (const char *q = s->text; q < at; q++) {
        if (*q == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*q & 0xC0) !=
                   0x80) { /* a continuation byte is no new character */
            column++;
        }
    }
    return plumb_fail(PLUMB_EFORMAT, "%s:%lld:%lld: %s", s->file, (long long)line,
                      (long long)column, what);
}

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

/* The value of four hexadecimal digits, -1 if they are not. */
static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char c = p[i];
        const int d = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

/* An escape at *p (on the backslash): its character, *p after it; -1 and *why when wrong. */
static int32_t unescape(const char **p, const char *end, const char **why)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = *p + 1;
    const char *simple = at < end && *at ? strchr(from, *at) : NULL;
    if (simple) {
        *p = at + 1;
        return to[simple - from];
    }
    *why = "unknown escape in a string";
    if (at >= end || *at != 'u') return -1;
    int32_t c = hex4(at + 1, end);
    *why = "\\u wants four hexadecimal digits";
    if (c < 0) return -1;
    *why = "the character \\u0000 is not supported";
    if (c == 0) return -1;
    *p = at + 5;
    if (c < 0xD800 || c > 0xDFFF) return c;
    *why = "half of a surrogate pair";
    if (c > 0xDBFF || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u') return -1;
    const int low = hex4(*p + 2, end);
    if (low < 0xDC00 || low > 0xDFFF) return -1;
    *p += 6;
    return 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
}

/* A UTF-8 character at *p (RFC 3629: no overlong forms, no surrogates), *p after it; -1 when wrong.
 */
static int32_t utf8(const char **p, const char *end)
{
    const unsigned char *u = (const unsigned char *)*p;
    const int n = u[0] < 0x80   ? 1
                  : u[0] < 0xC2 ? 0
                  : u[0] < 0xE0 ? 2
                  : u[0] < 0xF0 ? 3
                  : u[0] < 0xF5 ? 4
                                : 0;
    static const int32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (n == 0 || end - *p < n) return -1;
    int32_t c = n == 1 ? u[0] : u[0] & (0x7F >> n);
    for (int i = 1; i < n; i++) {
        if ((u[i] & 0xC0) != 0x80) return -1;
        c = c << 6 | (u[i] & 0x3F);
    }
    if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return -1;
    *p += n;
    return c;
}

/* The next character of a string, -1 with *why when wrong. */
static int32_t character(const char **p, const char *end, const char **why)
{
    if (**p == '\\') return unescape(p, end, why);
    *why = "control character in a string";
    if ((unsigned char)**p < 0x20) return -1;
    *why = "invalid UTF-8";
    return utf8(p, end);
}

/* A string from its opening quote on; *hash of its characters (FNV-1a). */
static int string(struct scan *s, uint64_t *hash)
{
    const char *open = s->p++, *why = NULL;
    uint64_t h = 14695981039346656037u;
    while (s->p < s->end && *s->p != '"') {
        const char *at = s->p;
        const int32_t c = character(&s->p, s->end, &why);
        if (c < 0) return fault(s, at, why);
        h = (h ^ (uint64_t)c) * 1099511628211u;
    }
    if (s->p >= s->end) return fault(s, open, "string without an end");
    s->p++;
    *hash = h;
    return PLUMB_OK;
}

static void digits(struct scan *s)
{
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
}

static int number(struct scan *s)
{
    const char *start = s->p;
    if (*s->p == '-') s->p++;
    const char *whole = s->p;
    digits(s);
    if (s->p == whole) return fault(s, start, "a value should stand here");
    if (*whole == '0' && s->p - whole > 1) return fault(s, start, "number with a leading zero");
    if (s->p < s->end && *s->p == '.') {
        const char *fraction = ++s->p;
        digits(s);
        if (s->p == fraction) return fault(s, start, "number without digits after its point");
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) s->p++;
        const char *exponent = s->p;
        digits(s);
        if (s->p == exponent) return fault(s, start, "number without digits in its exponent");
    }
    if (s->p - start > MAX_NUMBER) return fault(s, start, "number of over 63 characters");
    char copy[MAX_NUMBER + 1] = { 0 };
    memcpy(copy, start, (size_t)(s->p - start));
    return isfinite(strtod(copy, NULL)) ? PLUMB_OK
                                        : fault(s, start, "number too large for a double");
}

static int by_hash(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Both point into strings already found valid, so they end at a quote. */
static bool same_name(const char *a, const char *b, const char *end)
{
    const char *why;
    while (*a != '"' && *b != '"')
        if (character(&a, end, &why) != character(&b, end, &why)) return false;
    return *a == *b;
}

/* Names of the object that starts at `base` of the stack: none may stand twice. */
static int check_names(struct scan *s, size_t base)
{
    if (s->used > base) qsort(s->names + base, s->used - base, sizeof *s->names, by_hash);
    for (size_t i = base + 1; i < s->used; i++)
        for (size_t j = i; j-- > base && s->names[j].hash == s->names[i].hash;)
            if (same_name(s->names[i].at, s->names[j].at, s->end))
                return fault(s, s->names[i].at - 1, "this name stands twice in its object");
    s->used = base;
    return PLUMB_OK;
}

static int name(struct scan *s)
{
    if (s->used == s->room) {
        const size_t room = s->room ? 2 * s->room : 64;
        struct name *larger = realloc(s->names, room * sizeof *larger);
        if (!larger)
            return plumb_fail(PLUMB_EMEM, "could not allocate the names of \"%s\"", s->file);
        s->names = larger;
        s->room = room;
    }
    struct name *n = &s->names[s->used];
    n->at = s->p + 1;
    PLUMB_TRY(string(s, &n->hash));
    s->used++;
    return PLUMB_OK;
}

static int value(struct scan *s, int depth);

/* An object or array from its opening bracket on. */
static int container(struct scan *s, int depth)
{
    const bool object = *s->p == '{';
    const char close = object ? '}' : ']', *open = s->p++;
    const size_t base = s->used;
    if (depth >= MAX_DEPTH) return fault(s, open, "nested deeper than 100");
    skip_space(s);
    bool more = s->p < s->end && *s->p != close;
    while (more) {
        if (object) {
            if (s->p >= s->end || *s->p != '"')
                return fault(s, s->p, "a name in quotes should stand here");
            PLUMB_TRY(name(s));
            skip_space(s);
            if (s->p >= s->end || *s->p != ':') return fault(s, s->p, "a colon should stand here");
            s->p++;
        }
        PLUMB_TRY(value(s, depth + 1));
        skip_space(s);
        more = s->p < s->end && *s->p == ',';
        if (more) s->p++;
        skip_space(s);
    }
    if (s->p >= s->end)
        return fault(s, open, object ? "object without an end" : "array without an end");
    if (*s->p != close)
        return fault(s, s->p,
                     object ? "a comma or } should stand here" : "a comma or ] should stand here");
    s->p++;
    return object ? check_names(s, base) : PLUMB_OK;
}

static int value(struct scan *s, int depth)
{
    static const char *const words[] = { "true", "false", "null" };
    uint64_t hash;
    skip_space(s);
    if (s->p >= s->end) return fault(s, s->p, "the text ends where a value should stand");
    if (*s->p == '{' || *s->p == '[') return container(s, depth);
    if (*s->p == '"') return string(s, &hash);
    for (int i = 0; i < 3; i++) {
        const size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->p) < n || memcmp(s->p, words[i], n) != 0) continue;
        s->p += n;
        return PLUMB_OK;
    }
    return number(s);
}

int plumb_json_scan(const char *text, size_t n, const char *file, int64_t first_line)
{
    struct scan s = { .text = text,
                      .p = text,
                      .end = text + n,
                      .file = file,
                      .first_line = first_line };
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        s.text = s.p = text + 3; /* a byte order mark */
    int rc = PLUMB_OK;
    PLUMB_TRYG(value(&s, 0));
    skip_space(&s);
    if (s.p < s.end) rc = fault(&s, s.p, "text after the end of the value");
out:
    free(s.names);
    return rc;
}
