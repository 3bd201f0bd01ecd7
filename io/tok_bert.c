/* Normalizers by kind of character: BERT's, small letters, marks, ends. Source: Hugging Face
 * tokenizers 0.23, src/normalizers/{bert,strip,utils}.rs. */
#include <string.h>
#include <utf8proc.h>

#include "io/json.h"
#include "io/tok.h"
#include "io/utf8.h"

int plumb_tok_load_bert(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    static const char *const keys[] = { "clean_text", "handle_chinese_chars", "lowercase" };
    static const int flags[] = { PLUMB_BERT_CLEAN, PLUMB_BERT_CHINESE, PLUMB_BERT_LOWER };
    bool on, lower = true;
    for (int i = 0; i < 3; i++) {
        PLUMB_TRY(plumb_json_bool_or(obj, keys[i], where, true, &on));
        if (on) step->choice |= flags[i];
        lower = on;
    }
    PLUMB_TRY(plumb_json_bool_or(obj, "strip_accents", where, lower, &on));
    if (on) step->choice |= PLUMB_BERT_ACCENTS;
    return PLUMB_OK;
}

static bool is_control(int32_t c)
{
    const utf8proc_category_t k = utf8proc_category(c);
    return c != '\t' && c != '\n' && c != '\r' &&
           (k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO);
}

static bool is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

static bool is_chinese(int32_t c)
{
    static const int32_t range[][2] = { { 0x4E00, 0x9FFF },   { 0x3400, 0x4DBF },
                                        { 0x20000, 0x2A6DF }, { 0x2A700, 0x2B73F },
                                        { 0x2B740, 0x2B81F }, { 0x2B920, 0x2CEAF },
                                        { 0xF900, 0xFAFF },   { 0x2F800, 0x2FA1F } };
    for (int i = 0; i < 8; i++)
        if (c >= range[i][0] && c <= range[i][1]) return true;
    return false;
}

/* Appends what one character becomes in the first pass: cleaned, and apart where Chinese. */
static int put_clean(struct plumb_tok_work *w, struct plumb_tok_bytes *out, int choice, int32_t c,
                     const char *s, size_t n)
{
    const bool clean = choice & PLUMB_BERT_CLEAN;
    if (clean && (c == 0 || c == 0xFFFD || is_control(c))) return PLUMB_OK;
    if (clean && is_space(c)) return plumb_tok_put_for(w, out, " ", 1, s, 1);
    const bool apart = (choice & PLUMB_BERT_CHINESE) && is_chinese(c);
    if (apart) PLUMB_TRY(plumb_tok_put_for(w, out, " ", 1, s, 1));
    PLUMB_TRY(plumb_tok_put(w, out, s, n));
    return apart ? plumb_tok_put_for(w, out, " ", 1, s, 1) : PLUMB_OK;
}

/* And in the last: without marks, in small letters. */
static int put_letter(struct plumb_tok_work *w, struct plumb_tok_bytes *out, int choice, int32_t c,
                      const char *s, size_t n)
{
    const utf8proc_category_t k = c < 0x80 ? UTF8PROC_CATEGORY_LO : utf8proc_category(c);
    char bytes[4];
    const bool mark = k == UTF8PROC_CATEGORY_MN ||
                      ((choice & PLUMB_BERT_MARKS) &&
                       (k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME));
    if ((choice & (PLUMB_BERT_ACCENTS | PLUMB_BERT_MARKS)) && mark) return PLUMB_OK;
    if (!(choice & PLUMB_BERT_LOWER) || c < 0) return plumb_tok_put(w, out, s, n);
    if (c == 0x130) return plumb_tok_put_for(w, out, "i\xCC\x87", 3, s, 1);
    return plumb_tok_put_for(w, out, bytes, plumb_utf8_put(bytes, utf8proc_tolower(c)), s, 1);
}

/* *from = the text without its accents, `clean` where they stay. */
static int strip_accents(struct plumb_tok_work *w, int choice, const struct plumb_tok_bytes *clean,
                         const struct plumb_tok_bytes **from)
{
    struct plumb_tok_bytes *form = &w->spelling;
    *from = clean;
    if (!(choice & PLUMB_BERT_ACCENTS) || !clean->n) return PLUMB_OK;
    form->n = 0;
    const size_t valid = plumb_utf8_valid(clean->data, clean->n);
    PLUMB_TRY(
        plumb_tok_normal_form(w, clean->data, valid, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, form));
    *from = form;
    return plumb_tok_put(w, form, clean->data + valid, clean->n - valid);
}

int plumb_tok_rewrite_bert(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                           const char *s, size_t n, struct plumb_tok_bytes *out)
{
    const int choice = step->choice;
    struct plumb_tok_bytes *clean = &w->word;
    const struct plumb_tok_bytes *from;
    int32_t c;
    clean->n = 0;
    for (size_t i = 0, size; i < n; i += size) {
        size = plumb_utf8_next(s + i, n - i, &c);
        PLUMB_TRY(put_clean(w, clean, choice, c, s + i, size));
        if (!clean->n) w->headless = true;
    }
    const struct plumb_tok_place before = plumb_tok_enter(w, clean);
    int rc = strip_accents(w, choice, clean, &from);
    plumb_tok_enter(w, from);
    for (size_t i = 0, size; !rc && i < from->n; i += size) {
        size = plumb_utf8_next(from->data + i, from->n - i, &c);
        rc = put_letter(w, out, choice, c, from->data + i, size);
        if (!out->n) w->headless = true;
    }
    w->place = before;
    return rc;
}

int plumb_tok_load_strip(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    bool left, right;
    PLUMB_TRY(plumb_json_bool_or(obj, "strip_left", where, true, &left));
    PLUMB_TRY(plumb_json_bool_or(obj, "strip_right", where, true, &right));
    step->choice = left | right << 1;
    return PLUMB_OK;
}

int plumb_tok_rewrite_strip(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                            const char *s, size_t n, struct plumb_tok_bytes *out)
{
    size_t first = 0, last = 0;
    bool seen = false;
    for (size_t i = 0, size; i < n; i += size) {
        int32_t c;
        size = plumb_utf8_next(s + i, n - i, &c);
        if (is_space(c)) continue;
        if (!seen) first = i;
        seen = true;
        last = i + size;
    }
    if (!(step->choice & 1)) first = 0;
    if (!(step->choice & 2)) last = n;
    if (!seen) first = last = 0;
    if (first) w->headless = true;
    return plumb_tok_put(w, out, s + first, last - first);
}
