/* Decoders: pieces to text. Source: Hugging Face tokenizers 0.23, src/decoders. */
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "io/tok.h"
#include "io/utf8.h"

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

int plumb_tok_strings_end(struct plumb_tok_strings *list)
{
    PLUMB_TRY(plumb_tok_grow(&list->end, &list->capacity, list->n + 1, sizeof *list->end));
    list->end[list->n++] = list->text.n;
    return PLUMB_OK;
}

static const char *string_at(const struct plumb_tok_strings *list, size_t i, size_t *n)
{
    const size_t start = i ? list->end[i - 1] : 0;
    *n = list->end[i] - start;
    return *n ? list->text.data + start : "";
}

int plumb_tok_lossy(struct plumb_tok_bytes *out, const char *s, size_t n)
{
    while (n) {
        const size_t valid = plumb_utf8_valid(s, n);
        PLUMB_TRY(plumb_tok_bytes_put(out, s, valid));
        s += valid;
        n -= valid;
        if (!n) break;
        const size_t bad = plumb_utf8_bad(s, n);
        PLUMB_TRY(plumb_tok_bytes_put(out, replacement, 3));
        s += bad;
        n -= bad;
    }
    return PLUMB_OK;
}

/* Appends the bytes of a byte-level piece; a piece with any other character is taken as it is. */
static int unmap_piece(struct plumb_tok_bytes *out, const char *s, size_t n)
{
    const size_t mark = out->n;
    PLUMB_TRY(plumb_tok_grow(&out->data, &out->capacity, mark + n, 1));
    for (size_t i = 0; i < n;) {
        int32_t cp;
        i += plumb_utf8_next(s + i, n - i, &cp);
        const int byte = plumb_tok_unmap(cp);
        if (byte < 0) {
            out->n = mark;
            return plumb_tok_bytes_put(out, s, n);
        }
        out->data[out->n++] = (char)byte;
    }
    return PLUMB_OK;
}

static int decode_byte_level(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                             const struct plumb_tok_strings *in, struct plumb_tok_strings *out)
{
    (void)step;
    w->word.n = 0;
    for (size_t i = 0; i < in->n; i++) {
        size_t n;
        const char *s = string_at(in, i, &n);
        PLUMB_TRY(unmap_piece(&w->word, s, n));
    }
    PLUMB_TRY(plumb_tok_lossy(&out->text, w->word.data, w->word.n));
    return plumb_tok_strings_end(out);
}

/* The byte that a piece <0xNN> names, -1 = it is none. */
static int named_byte(const char *s, size_t n)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    if (n != 6 || memcmp(s, "<0x", 3) || s[5] != '>') return -1;
    const char *high = memchr(digits, s[3], 32), *low = memchr(digits, s[4], 32);
    return high && low ? (int)((high - digits) % 16 * 16 + (low - digits) % 16) : -1;
}

/* Ends a run of byte pieces: a string if it is UTF-8, else one U+FFFD for each byte. */
static int flush_bytes(struct plumb_tok_bytes *run, struct plumb_tok_strings *out)
{
    if (!run->n) return PLUMB_OK;
    if (plumb_utf8_valid(run->data, run->n) == run->n) {
        PLUMB_TRY(plumb_tok_bytes_put(&out->text, run->data, run->n));
        PLUMB_TRY(plumb_tok_strings_end(out));
    } else {
        for (size_t i = 0; i < run->n; i++) {
            PLUMB_TRY(plumb_tok_bytes_put(&out->text, replacement, 3));
            PLUMB_TRY(plumb_tok_strings_end(out));
        }
    }
    run->n = 0;
    return PLUMB_OK;
}

static int decode_byte_fallback(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                                const struct plumb_tok_strings *in, struct plumb_tok_strings *out)
{
    (void)step;
    w->word.n = 0;
    for (size_t i = 0; i < in->n; i++) {
        size_t n;
        const char *s = string_at(in, i, &n);
        const int byte = named_byte(s, n);
        if (byte >= 0) {
            PLUMB_TRY(plumb_tok_bytes_put(&w->word, &(char){ (char)byte }, 1));
            continue;
        }
        PLUMB_TRY(flush_bytes(&w->word, out));
        PLUMB_TRY(plumb_tok_bytes_put(&out->text, s, n));
        PLUMB_TRY(plumb_tok_strings_end(out));
    }
    return flush_bytes(&w->word, out);
}

static int decode_replace(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                          const struct plumb_tok_strings *in, struct plumb_tok_strings *out)
{
    for (size_t i = 0; i < in->n; i++) {
        size_t n;
        const char *s = string_at(in, i, &n);
        PLUMB_TRY(plumb_tok_replace(w, step, s, n, &out->text));
        PLUMB_TRY(plumb_tok_strings_end(out));
    }
    return PLUMB_OK;
}

static int decode_fuse(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                       const struct plumb_tok_strings *in, struct plumb_tok_strings *out)
{
    (void)w, (void)step;
    PLUMB_TRY(plumb_tok_bytes_put(&out->text, in->text.data, in->text.n));
    return plumb_tok_strings_end(out);
}

static int load_strip(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    PLUMB_TRY(plumb_tok_load_character(step, obj, "content", where));
    PLUMB_TRY(plumb_json_i64(obj, "start", where, &step->start));
    PLUMB_TRY(plumb_json_i64(obj, "stop", where, &step->stop));
    if (step->start < 0 || step->stop < 0)
        return plumb_fail(PLUMB_EFORMAT, "%s: a Strip wants counts >= 0", where);
    return PLUMB_OK;
}

static int decode_strip(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                        const struct plumb_tok_strings *in, struct plumb_tok_strings *out)
{
    (void)w;
    const size_t k = step->text_bytes;
    for (size_t i = 0; i < in->n; i++) {
        size_t n;
        const char *s = string_at(in, i, &n);
        for (int64_t c = 0; c < step->start && n >= k && !memcmp(s, step->text, k); c++) {
            s += k;
            n -= k;
        }
        for (int64_t c = 0; c < step->stop && n >= k && !memcmp(s + n - k, step->text, k); c++)
            n -= k;
        PLUMB_TRY(plumb_tok_bytes_put(&out->text, s, n));
        PLUMB_TRY(plumb_tok_strings_end(out));
    }
    return PLUMB_OK;
}

/* Spaces for the replaced character, nothing for those of the first piece when the pre-tokenizer
 * put one there. */
static int decode_metaspace(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                            const struct plumb_tok_strings *in, struct plumb_tok_strings *out)
{
    (void)w;
    const size_t k = step->text_bytes;
    for (size_t i = 0; i < in->n; i++) {
        size_t n;
        const char *s = string_at(in, i, &n), *at;
        const bool drops = i == 0 && step->choice != PLUMB_TOK_NEVER;
        for (; n && (at = memmem(s, n, step->text, k)); s = at + k) {
            PLUMB_TRY(plumb_tok_bytes_put(&out->text, s, (size_t)(at - s)));
            if (!drops) PLUMB_TRY(plumb_tok_bytes_put(&out->text, " ", 1));
            n -= (size_t)(at - s) + k;
        }
        PLUMB_TRY(plumb_tok_bytes_put(&out->text, s, n));
        PLUMB_TRY(plumb_tok_strings_end(out));
    }
    return PLUMB_OK;
}

static int load_wordpiece(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    const char *prefix = "##";
    if (plumb_json_get(obj, "prefix")) PLUMB_TRY(plumb_json_string(obj, "prefix", where, &prefix));
    PLUMB_TRY(plumb_json_bool_or(obj, "cleanup", where, true, &step->maps));
    return plumb_tok_copy(&step->text, &step->text_bytes, prefix);
}

/* Spaces that English does not write: before marks and within contractions. */
static int clean_up(struct plumb_tok_bytes *out, const char *s, size_t n)
{
    static const char *const pairs[][2] = {
        { " .", "." },   { " ?", "?" },     { " !", "!" },    { " ,", "," },
        { " ' ", "'" },  { " n't", "n't" }, { " 'm", "'m" },  { " do not", " don't" },
        { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" }
    };
    for (size_t i = 0; i < n;) {
        size_t k = 0;
        while (k < 11 &&
               (n - i < strlen(pairs[k][0]) || memcmp(s + i, pairs[k][0], strlen(pairs[k][0]))))
            k++;
        PLUMB_TRY(k < 11 ? plumb_tok_bytes_put(out, pairs[k][1], strlen(pairs[k][1]))
                         : plumb_tok_bytes_put(out, s + i, 1));
        i += k < 11 ? strlen(pairs[k][0]) : 1;
    }
    return PLUMB_OK;
}

static int decode_wordpiece(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                            const struct plumb_tok_strings *in, struct plumb_tok_strings *out)
{
    const size_t k = step->text_bytes;
    for (size_t i = 0; i < in->n; i++) {
        size_t n;
        const char *s = string_at(in, i, &n);
        const bool goes_on = i && n >= k && !memcmp(s, step->text, k);
        w->word.n = 0;
        if (i && !goes_on) PLUMB_TRY(plumb_tok_bytes_put(&w->word, " ", 1));
        PLUMB_TRY(plumb_tok_bytes_put(&w->word, s + (goes_on ? k : 0), n - (goes_on ? k : 0)));
        PLUMB_TRY(step->maps ? clean_up(&out->text, w->word.data, w->word.n)
                             : plumb_tok_bytes_put(&out->text, w->word.data, w->word.n));
        PLUMB_TRY(plumb_tok_strings_end(out));
    }
    return PLUMB_OK;
}

const struct plumb_tok_kind plumb_tok_decoders[] = {
    { "ByteFallback", .decode = decode_byte_fallback },
    { "ByteLevel", .decode = decode_byte_level },
    { "Fuse", .decode = decode_fuse },
    { "Metaspace", .load = plumb_tok_load_metaspace, .decode = decode_metaspace },
    { "Replace", .load = plumb_tok_load_replace, .decode = decode_replace },
    { "Strip", .load = load_strip, .decode = decode_strip },
    { "WordPiece", .load = load_wordpiece, .decode = decode_wordpiece },
    { NULL },
};

/* Without a decoder the published library parts the pieces by spaces. */
static int join_with_spaces(const struct plumb_tok_strings *in, struct plumb_tok_strings *out)
{
    for (size_t i = 0; i < in->n; i++) {
        size_t n;
        const char *s = string_at(in, i, &n);
        if (i) PLUMB_TRY(plumb_tok_bytes_put(&out->text, " ", 1));
        PLUMB_TRY(plumb_tok_bytes_put(&out->text, s, n));
    }
    return plumb_tok_strings_end(out);
}

int plumb_tok_decode(struct plumb_tok_work *w, const struct plumb_tok_strings **list)
{
    const struct plumb_tok_steps *steps = &w->tok->decoders;
    struct plumb_tok_strings *in = &w->strings[0], *out = &w->strings[1];
    w->valid = true; /* pieces are, and bytes that are not become U+FFFD */
    const bool joins = !w->tok->has_decoder;
    for (int i = 0; i < steps->n + joins; i++) {
        out->n = out->text.n = 0;
        PLUMB_TRY(joins ? join_with_spaces(in, out)
                        : steps->step[i].kind->decode(w, &steps->step[i], in, out));
        struct plumb_tok_strings *swap = in;
        in = out;
        out = swap;
    }
    *list = in;
    return PLUMB_OK;
}
