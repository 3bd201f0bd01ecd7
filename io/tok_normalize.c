/* Normalizers: text to text. Source: Hugging Face tokenizers 0.23, src/normalizers. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "io/json.h"
#include "io/tok.h"
#include "io/utf8.h"

/* A code point and its place before sorting, for runs of combining marks too long for insertion. */
struct mark {
    int32_t cp;
    int order;
    size_t place;
};
enum { INSERTED = 32 };

/* With spans a code point carries this bit where it is not the first of its character. */
#define CONTINUES (1 << 30)

static int class_of(int32_t cp)
{
    cp &= ~CONTINUES;
    return cp < 0x300 ? 0 : utf8proc_get_property(cp)->combining_class;
}

static int by_class(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

static int sort_long(int32_t *cp, size_t n)
{
    struct mark *run = malloc(n * sizeof *run);
    if (!run) return plumb_fail(PLUMB_EMEM, "could not allocate %zu combining marks", n);
    for (size_t i = 0; i < n; i++)
        run[i] = (struct mark){ cp[i], class_of(cp[i]), i };
    qsort(run, n, sizeof *run, by_class);
    for (size_t i = 0; i < n; i++)
        cp[i] = run[i].cp;
    free(run);
    return PLUMB_OK;
}

/* Canonical order. utf8proc's own exchanges neighbours: a hostile run of a million marks would
 * keep it busy for hours. */
static int order_marks(int32_t *cp, size_t n)
{
    for (size_t i = 0, end; i < n; i = end + (end == i)) {
        for (end = i; end < n && class_of(cp[end]);)
            end++;
        if (end - i > INSERTED) {
            PLUMB_TRY(sort_long(cp + i, end - i));
            continue;
        }
        for (size_t j = i + 1; j < end; j++)
            for (size_t k = j; k > i && class_of(cp[k - 1]) > class_of(cp[k]); k--) {
                const int32_t swap = cp[k];
                cp[k] = cp[k - 1];
                cp[k - 1] = swap;
            }
    }
    return PLUMB_OK;
}

/* Whether two code points are one in composed form, then *first. */
static bool compose_two(int32_t *first, int32_t second)
{
    int32_t two[2] = { *first, second };
    if (utf8proc_normalize_utf32(two, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE) != 1) return false;
    *first = two[0];
    return true;
}

/* Composes as utf8proc does and keeps account of how many characters each result stands for. */
static size_t compose_counted(int32_t *code, int32_t *change, size_t n)
{
    size_t out = 0, starter = SIZE_MAX;
    int last = -1; /* class of the last mark that stayed behind the starter */
    for (size_t i = 0; i < n; i++) {
        const int class = class_of(code[i]);
        const bool open = starter != SIZE_MAX && (last < 0 || last < class);
        if (open && compose_two(&code[starter], code[i])) {
            change[starter] += change[i] - 1;
            continue;
        }
        if (class == 0) {
            starter = out;
            last = -1;
        } else if (starter != SIZE_MAX) {
            last = class;
        }
        code[out] = code[i];
        change[out++] = change[i];
    }
    return out;
}

/* Writes w->code, which stands for the n bytes at s, with its origins. */
static int put_counted(struct plumb_tok_work *w, const char *s, size_t n, size_t count,
                       bool composes, struct plumb_tok_bytes *out)
{
    struct plumb_tok_edit e = { .work = w, .out = out, .at = s, .end = s + n };
    PLUMB_TRY(plumb_tok_grow(&w->change, &w->change_capacity, count, sizeof *w->change));
    for (size_t i = 0; i < count; i++) {
        w->change[i] = w->code[i] & CONTINUES ? 1 : 0;
        w->code[i] &= ~CONTINUES;
    }
    if (composes) count = compose_counted(w->code, w->change, count);
    for (size_t i = 0; i < count; i++) {
        char bytes[4];
        const size_t length = plumb_utf8_put(bytes, w->code[i]);
        PLUMB_TRY(plumb_tok_edit(&e, bytes, length, w->change[i]));
    }
    return plumb_tok_edit_end(&e);
}

/* Appends the decomposition of valid UTF-8 to w->code, in canonical order. */
static int decompose(struct plumb_tok_work *w, const char *s, size_t n, int options,
                     size_t *count_out)
{
    enum { LONGEST_DECOMPOSITION = 18 };
    size_t count = 0;
    for (size_t i = 0; i < n;) {
        int32_t c;
        int boundary = 0;
        i += plumb_utf8_next(s + i, n - i, &c);
        PLUMB_TRY(plumb_tok_grow(&w->code, &w->code_capacity, count + LONGEST_DECOMPOSITION,
                                 sizeof *w->code));
        const utf8proc_ssize_t k = utf8proc_decompose_char(
            c, w->code + count, LONGEST_DECOMPOSITION,
            (utf8proc_option_t)(options & ~UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE, &boundary);
        PLUMB_ASSERT(k > 0 && k <= LONGEST_DECOMPOSITION);
        for (utf8proc_ssize_t j = 1; w->spans && j < k; j++)
            w->code[count + (size_t)j] |= CONTINUES;
        count += (size_t)k;
    }
    *count_out = count;
    return order_marks(w->code, count);
}

int plumb_tok_normal_form(struct plumb_tok_work *w, const char *s, size_t n, int options,
                          struct plumb_tok_bytes *out)
{
    const bool composes = options & UTF8PROC_COMPOSE;
    size_t count;
    PLUMB_TRY(decompose(w, s, n, options, &count));
    if (w->spans) return put_counted(w, s, n, count, composes, out);
    utf8proc_ssize_t length = (utf8proc_ssize_t)count;
    if (composes) length = utf8proc_normalize_utf32(w->code, length, (utf8proc_option_t)options);
    PLUMB_ASSERT(length >= 0);
    PLUMB_TRY(plumb_tok_grow(&out->data, &out->capacity, out->n + 4 * (size_t)length, 1));
    for (utf8proc_ssize_t i = 0; i < length; i++)
        out->n += plumb_utf8_put(out->data + out->n, w->code[i]);
    return PLUMB_OK;
}

/* Unicode normal forms. Characters below a bound are their own normal form and never join the one
 * before them, so only stretches around higher ones are looked at: each starts one character early,
 * as that one may take a mark. */
static int rewrite_form(struct plumb_tok_work *w, const struct plumb_tok_step *step, const char *s,
                        size_t n, struct plumb_tok_bytes *out)
{
    const int32_t bound = step->choice == (UTF8PROC_STABLE | UTF8PROC_COMPOSE) ? 0x300 : 0x80;
    size_t done = 0, base = 0;
    for (size_t i = 0; i < n;) {
        int32_t cp;
        const size_t length = plumb_utf8_next(s + i, n - i, &cp);
        if (cp < bound) {
            base = cp < 0 ? i + 1 : i; /* invalid bytes stay as they are and take no mark */
            i += length;
            continue;
        }
        size_t end = i + length, more;
        while (end < n && (more = plumb_utf8_next(s + end, n - end, &cp), cp >= bound))
            end += more;
        PLUMB_TRY(plumb_tok_put(w, out, s + done, base - done));
        PLUMB_TRY(plumb_tok_normal_form(w, s + base, end - base, step->choice, out));
        i = done = base = end;
    }
    return plumb_tok_put(w, out, s + done, n - done);
}

static int load_prepend(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    const char *text;
    PLUMB_TRY(plumb_json_string(obj, "prepend", where, &text));
    return plumb_tok_copy(&step->content, &step->content_bytes, text);
}

static int rewrite_prepend(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                           const char *s, size_t n, struct plumb_tok_bytes *out)
{
    if (n) PLUMB_TRY(plumb_tok_put_for(w, out, step->content, step->content_bytes, s, 1));
    return plumb_tok_put(w, out, s, n);
}

const struct plumb_tok_kind plumb_tok_normalizers[] = {
    { "BertNormalizer", .load = plumb_tok_load_bert, .rewrite = plumb_tok_rewrite_bert },
    { "Lowercase", .choice = PLUMB_BERT_LOWER, .rewrite = plumb_tok_rewrite_bert },
    { "NFC", .choice = UTF8PROC_STABLE | UTF8PROC_COMPOSE, .rewrite = rewrite_form },
    { "NFD", .choice = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, .rewrite = rewrite_form },
    { "NFKC", .choice = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
      .rewrite = rewrite_form },
    { "NFKD", .choice = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
      .rewrite = rewrite_form },
    { "Precompiled", .load = plumb_tok_load_charsmap, .rewrite = plumb_tok_rewrite_charsmap },
    { "Prepend", .load = load_prepend, .rewrite = rewrite_prepend },
    { "Replace", .load = plumb_tok_load_replace, .rewrite = plumb_tok_replace },
    { "Strip", .load = plumb_tok_load_strip, .rewrite = plumb_tok_rewrite_strip },
    { "StripAccents", .choice = PLUMB_BERT_MARKS, .rewrite = plumb_tok_rewrite_bert },
    { NULL },
};

int plumb_tok_normalize(struct plumb_tok_work *w, const char *s, size_t n, const char **out,
                        size_t *out_n)
{
    const struct plumb_tok_steps *steps = &w->tok->normalizers;
    for (int i = 0; i < steps->n; i++) {
        struct plumb_tok_bytes *to = &w->rewritten[i & 1];
        to->n = 0;
        PLUMB_TRY(steps->step[i].kind->rewrite(w, &steps->step[i], s, n, to));
        s = to->data ? to->data : "";
        if (w->spans) plumb_tok_enter(w, to);
        n = to->n;
        PLUMB_TRY(plumb_tok_check_size(w, n));
    }
    *out = s;
    *out_n = n;
    return PLUMB_OK;
}
