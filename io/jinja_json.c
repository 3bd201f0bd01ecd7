/* JSON as values of templates. The text was checked by plumb_json_scan, or is rejected here: what
 * this reads may hold U+0000, which C strings cannot. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/jinja_run.h"
#include "io/utf8.h"

struct reader {
    struct plumb_jinja_pool *pool;
    const char *p, *end;
    int depth;
};

static int wrong(void) { return plumb_fail(PLUMB_EFORMAT, "the template's data is no JSON"); }

static void blanks(struct reader *j)
{
    while (j->p < j->end && strchr(" \t\r\n", *j->p) && *j->p)
        j->p++;
}

static bool skip(struct reader *j, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n)) return false;
    j->p += n;
    return true;
}

static int unit(struct reader *j, int32_t *out)
{
    char hex[5] = { 0 }, *stop;
    if (j->end - j->p < 4) return wrong();
    memcpy(hex, j->p, 4);
    *out = (int32_t)strtol(hex, &stop, 16);
    j->p += 4;
    return stop == hex + 4 ? PLUMB_OK : wrong();
}

static int escaped(struct reader *j, struct plumb_jinja_out *o)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char bytes[4];
    int32_t cp = 0, low = 0;
    if (j->p == j->end) return wrong();
    const char c = *j->p++;
    const char *known = c ? strchr(from, c) : NULL;
    if (known) return plumb_jinja_write(o, &to[known - from], 1);
    if (c != 'u') return wrong();
    PLUMB_TRY(unit(j, &cp));
    if (cp >= 0xD800 && cp < 0xDC00 && skip(j, "\\u")) {
        PLUMB_TRY(unit(j, &low));
        if (low < 0xDC00 || low > 0xDFFF) return wrong();
        cp = 0x10000 + (cp - 0xD800) * 1024 + (low - 0xDC00);
    }
    if (cp >= 0xD800 && cp < 0xE000) cp = 0xFFFD; /* half a pair is no character */
    return plumb_jinja_write(o, bytes, plumb_utf8_put(bytes, cp));
}

static int string(struct reader *j, struct plumb_jinja_value *out)
{
    struct plumb_jinja_out o = { .pool = j->pool };
    for (j->p++; j->p < j->end && *j->p != '"';) {
        const char *q = j->p;
        while (q < j->end && *q != '"' && *q != '\\')
            q++;
        PLUMB_TRY(plumb_jinja_write(&o, j->p, (size_t)(q - j->p)));
        j->p = q;
        if (q == j->end || *q == '"') continue;
        j->p++;
        PLUMB_TRY(escaped(j, &o));
    }
    if (j->p == j->end) return wrong();
    j->p++;
    return plumb_jinja_written(&o, out);
}

static int number(struct reader *j, struct plumb_jinja_value *out)
{
    char text[64], *stop;
    size_t n = 0;
    while (j->p < j->end && n < sizeof text - 1 && strchr("+-.0123456789eE", *j->p) && *j->p)
        text[n++] = *j->p++;
    text[n] = 0;
    errno = 0;
    const bool real = strpbrk(text, ".eE") != NULL;
    *out = real ? plumb_jinja_float(strtod(text, &stop))
                : plumb_jinja_int(strtoll(text, &stop, 10));
    if (!real && errno) *out = plumb_jinja_float(strtod(text, &stop));
    return n && stop == text + n ? PLUMB_OK : wrong();
}

static int value(struct reader *j, struct plumb_jinja_value *out);

static int members(struct reader *j, bool dict, struct plumb_jinja_value *out)
{
    const char *const close = dict ? "}" : "]";
    PLUMB_TRY(dict ? plumb_jinja_dict(j->pool, out)
                   : plumb_jinja_row(j->pool, PLUMB_JINJA_LIST, 0, out));
    if (++j->depth > PLUMB_JINJA_DEPTH) return wrong();
    j->p++;
    blanks(j);
    for (bool first = true; !skip(j, close); first = false) {
        struct plumb_jinja_value key = { 0 }, v;
        if (!first && !skip(j, ",")) return wrong();
        blanks(j);
        if (dict) {
            if (j->p == j->end || *j->p != '"') return wrong();
            PLUMB_TRY(string(j, &key));
            blanks(j);
            if (!skip(j, ":")) return wrong();
        }
        PLUMB_TRY(value(j, &v));
        PLUMB_TRY(dict ? plumb_jinja_put(j->pool, out->d, key, v)
                       : plumb_jinja_push(j->pool, *out, v));
        blanks(j);
    }
    j->depth--;
    return PLUMB_OK;
}

static int value(struct reader *j, struct plumb_jinja_value *out)
{
    blanks(j);
    *out = plumb_jinja_none();
    if (j->p == j->end) return wrong();
    if (*j->p == '{' || *j->p == '[') return members(j, *j->p == '{', out);
    if (*j->p == '"') return string(j, out);
    if (skip(j, "null")) return PLUMB_OK;
    *out = plumb_jinja_bool(true);
    if (skip(j, "true")) return PLUMB_OK;
    *out = plumb_jinja_bool(false);
    if (skip(j, "false")) return PLUMB_OK;
    return number(j, out);
}

int plumb_jinja_read_json(struct plumb_jinja_pool *pool, const char *text, size_t n,
                          struct plumb_jinja_value *out)
{
    struct reader j = { .pool = pool, .p = text, .end = text + n };
    PLUMB_TRY(value(&j, out));
    blanks(&j);
    return j.p == j.end ? PLUMB_OK : wrong();
}
