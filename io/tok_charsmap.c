/* SentencePiece's table of characters and what they become: a trie of double arrays, then the
 * replacements. Source: Hugging Face spm_precompiled 0.1.4, github.com/s-yata/darts-clone. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "io/json.h"
#include "io/tok.h"
#include "io/utf8.h"

static int digit64(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* step->text = the table's bytes. */
static int from_base64(struct plumb_tok_step *step, const char *s, const char *where)
{
    const size_t n = strlen(s);
    uint32_t held = 0;
    int bits = 0;
    step->text = malloc(n / 4 * 3 + 4);
    if (!step->text) return plumb_fail(PLUMB_EMEM, "%s: could not allocate %zu bytes", where, n);
    for (; *s && *s != '='; s++) {
        const int d = digit64(*s);
        if (d < 0) return plumb_fail(PLUMB_EFORMAT, "%s: the charsmap is no base64", where);
        held = held << 6 | (uint32_t)d;
        bits += 6;
        if (bits >= 8) step->text[step->text_bytes++] = (char)(held >> (bits -= 8));
    }
    return PLUMB_OK;
}

static uint32_t unit_at(const struct plumb_tok_step *step, size_t i)
{
    uint32_t u;
    memcpy(&u, step->text + 4 + 4 * i, 4);
    return u;
}

static int check_charsmap(struct plumb_tok_step *step, const char *where)
{
    uint32_t bytes = 0;
    if (step->text_bytes >= 4) memcpy(&bytes, step->text, 4);
    if (step->text_bytes &&
        (step->text_bytes < 4 || bytes % 4 || bytes < 4 || bytes > step->text_bytes - 4))
        return plumb_fail(PLUMB_EFORMAT, "%s: the charsmap is cut short", where);
    step->start = (int64_t)bytes / 4; /* units; the replacements follow */
    return PLUMB_OK;
}

int plumb_tok_load_charsmap(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    const cJSON *map = plumb_json_get(obj, "precompiled_charsmap");
    const char *text;
    if (!map || cJSON_IsNull(map)) return PLUMB_OK;
    PLUMB_TRY(plumb_json_string(obj, "precompiled_charsmap", where, &text));
    PLUMB_TRY(from_base64(step, text, where));
    return check_charsmap(step, where);
}

int plumb_tok_take_charsmap(struct plumb_tok_step *step, const char *bytes, size_t n,
                            const char *where)
{
    if (!n) return PLUMB_OK;
    free(step->text);
    step->text = malloc(n);
    if (!step->text) return plumb_fail(PLUMB_EMEM, "%s: could not allocate %zu bytes", where, n);
    memcpy(step->text, bytes, n);
    step->text_bytes = n;
    return check_charsmap(step, where);
}

/* What stands for a beginning of s that the table knows, the shortest or the longest; NULL =
 * nothing. *length of s become *bytes. */
static const char *replacement(const struct plumb_tok_step *step, const char *s, size_t n,
                               bool longest, size_t *length, size_t *bytes)
{
    const size_t units = (size_t)step->start;
    const char *found = NULL;
    if (!units) return NULL;
    const char *const all = step->text + 4 + 4 * units;
    const size_t room = step->text_bytes - 4 - 4 * units;
    uint32_t u = unit_at(step, 0);
    size_t node = (u >> 10) << ((u & 0x200) >> 6);
    for (size_t i = 0; i < n && s[i] && (longest || !found); i++) {
        node ^= (unsigned char)s[i];
        if (node >= units) break;
        u = unit_at(step, node);
        if ((u & 0x800000FFu) != (unsigned char)s[i]) break;
        node ^= (u >> 10) << ((u & 0x200) >> 6);
        if (node >= units) break;
        if (!(u >> 8 & 1)) continue;
        const size_t at = unit_at(step, node) & 0x7FFFFFFF;
        if (at >= room) break;
        const char *end = memchr(all + at, 0, room - at);
        *bytes = end ? (size_t)(end - all) - at : room - at;
        *length = i + 1;
        found = all + at;
    }
    return found;
}

const char *plumb_tok_charsmap_longest(const struct plumb_tok_step *step, const char *s, size_t n,
                                       size_t *length, size_t *bytes)
{
    return replacement(step, s, n, true, length, bytes);
}

static int count_characters(const char *s, size_t n)
{
    int count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xC0) != 0x80;
    return count;
}

/* Notes what became of `length` bytes of the text, a character at a time. */
static int put_counted(struct plumb_tok_edit *e, const char *s, size_t length, const char *to,
                       size_t bytes)
{
    const int before = count_characters(s, length), after = count_characters(to, bytes);
    int at = 0;
    for (size_t i = 0, n; i < bytes; i += n, at++) {
        int32_t c;
        n = plumb_utf8_next(to + i, bytes - i, &c);
        PLUMB_TRY(plumb_tok_edit(e, to + i, n, at < before ? 0 : 1));
    }
    if (after < before) plumb_tok_edit_removes(e, before - after);
    return PLUMB_OK;
}

static int put(const struct plumb_tok_step *step, const char *s, size_t n, struct plumb_tok_edit *e,
               bool *known)
{
    size_t length, bytes;
    const char *r = replacement(step, s, n, false, &length, &bytes);
    *known = r != NULL;
    if (!r) return PLUMB_OK;
    return e->work->spans ? put_counted(e, s, n, r, bytes) : plumb_tok_bytes_put(e->out, r, bytes);
}

/* A character that stays. */
static int put_same(struct plumb_tok_edit *e, const char *s, size_t n)
{
    return e->work->spans ? plumb_tok_edit(e, s, n, 0) : plumb_tok_bytes_put(e->out, s, n);
}

/* Each grapheme of at most five bytes as a whole, else its characters. */
int plumb_tok_rewrite_charsmap(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                               const char *s, size_t n, struct plumb_tok_bytes *out)
{
    struct plumb_tok_edit e = { .work = w, .out = out, .at = s, .end = s + n };
    for (size_t i = 0, end; i < n; i = end) {
        int32_t before, c;
        utf8proc_int32_t state = 0;
        bool known = false;
        end = i + plumb_utf8_next(s + i, n - i, &before);
        for (size_t more; end < n; end += more, before = c) {
            more = plumb_utf8_next(s + end, n - end, &c);
            if (before < 0 || c < 0 || utf8proc_grapheme_break_stateful(before, c, &state)) break;
        }
        if (end - i < 6) PLUMB_TRY(put(step, s + i, end - i, &e, &known));
        for (size_t k = i, size; !known && k < end; k += size) {
            bool one;
            size = plumb_utf8_next(s + k, end - k, &c);
            PLUMB_TRY(put(step, s + k, size, &e, &one));
            if (!one) PLUMB_TRY(put_same(&e, s + k, size));
        }
    }
    return plumb_tok_edit_end(&e);
}
