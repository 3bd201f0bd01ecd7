/* Methods of strings that ask for or change the kind of characters. */
#include <string.h>
#include <utf8proc.h>

#include "io/jinja_run.h"
#include "io/utf8.h"

enum { UPPER, LOWER, TITLE, SWAP, CAPITAL, FOLD };

static bool is_upper(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LU ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_LT;
}
static bool is_lower(int32_t c) { return utf8proc_category(c) == UTF8PROC_CATEGORY_LL; }
static bool is_cased(int32_t c) { return is_upper(c) || is_lower(c); }
static bool is_letter(int32_t c)
{
    const utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
static bool is_digit(int32_t c) { return utf8proc_category(c) == UTF8PROC_CATEGORY_ND; }
static bool is_numeric(int32_t c)
{
    const utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

/* Full case folding of a character, 1 to 3 of them. */
static int folding(int32_t c, int32_t to[4])
{
    int state = 0;
    const utf8proc_ssize_t n = utf8proc_decompose_char(c, to, 4, UTF8PROC_CASEFOLD, &state);
    if (n >= 1 && n <= 4) return (int)n;
    to[0] = c;
    return 1;
}

/* Capitals: where folding takes a small letter apart ("ss" of sharp s), those of its parts. */
static int raised(int32_t c, bool title, int32_t to[4])
{
    const int n = is_lower(c) ? folding(c, to) : 1;
    if (n == 1) to[0] = title ? utf8proc_totitle(c) : utf8proc_toupper(c);
    for (int i = 0; n > 1 && i < (title ? 1 : n); i++)
        to[i] = utf8proc_toupper(to[i]);
    return n;
}

/* Small letters; the dotted capital I keeps its dot, a sigma at a word's end is the final one. */
static int lowered(int32_t c, bool ends_word, int32_t to[4])
{
    if (c == 0x130) {
        to[0] = 'i', to[1] = 0x307;
        return 2;
    }
    to[0] = c == 0x3A3 && ends_word ? 0x3C2 : utf8proc_tolower(c);
    return 1;
}

static bool cased_at(const struct plumb_jinja_string *s, size_t at)
{
    int32_t c;
    if (at >= s->n) return false;
    plumb_utf8_next(s->at + at, s->n - at, &c);
    return is_cased(c);
}

static int changed(struct plumb_jinja_run *r, struct plumb_jinja_value on, int how,
                   struct plumb_jinja_value *out)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    bool inside = false; /* a word, or behind the first character */
    PLUMB_TRY(plumb_jinja_step(r, 1 + (int64_t)on.s->n / 16));
    for (size_t i = 0, size; i < on.s->n; i += size) {
        int32_t c, to[4];
        char bytes[4];
        size = plumb_utf8_next(on.s->at + i, on.s->n - i, &c);
        const bool ends = inside && !cased_at(on.s, i + size);
        const bool up = how == UPPER || (how == SWAP && is_lower(c)) ||
                        ((how == TITLE || how == CAPITAL) && !inside);
        const bool down = how == LOWER || (how == SWAP && is_upper(c)) ||
                          ((how == TITLE || how == CAPITAL) && inside);
        to[0] = c;
        const int n = how == FOLD ? folding(c, to)
                      : up        ? raised(c, how == TITLE || how == CAPITAL, to)
                      : down      ? lowered(c, ends, to)
                                  : 1;
        for (int k = 0; k < n; k++)
            PLUMB_TRY(plumb_jinja_write(&text, bytes, plumb_utf8_put(bytes, to[k])));
        inside = how == CAPITAL || is_cased(c);
    }
    return plumb_jinja_written(&text, out);
}

#define CHANGE(name, how)                                                                          \
    static int name(struct plumb_jinja_run *r, struct plumb_jinja_value on,                        \
                    const struct plumb_jinja_args *args, struct plumb_jinja_value *out)            \
    {                                                                                              \
        (void)args;                                                                                \
        return changed(r, on, how, out);                                                           \
    }
CHANGE(upper, UPPER)
CHANGE(lower, LOWER)
CHANGE(title, TITLE)
CHANGE(swapcase, SWAP)
CHANGE(capitalize, CAPITAL)
CHANGE(casefold, FOLD)

/* Whether all characters are of a kind; `empty` = the answer for none. */
static int all(struct plumb_jinja_value on, bool (*kind)(int32_t c), bool empty,
               struct plumb_jinja_value *out)
{
    bool holds = on.s->n > 0 || empty;
    for (size_t i = 0, size; i < on.s->n && holds; i += size) {
        int32_t c;
        size = plumb_utf8_next(on.s->at + i, on.s->n - i, &c);
        holds = kind(c);
    }
    *out = plumb_jinja_bool(holds);
    return PLUMB_OK;
}

static bool is_alnum(int32_t c) { return is_letter(c) || is_numeric(c); }
static bool is_ascii(int32_t c) { return c < 128; }
static bool is_blank(int32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F) || c == 0x85 ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_ZS ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_ZL ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_ZP;
}
#define ASK(name, kind, empty)                                                                     \
    static int name(struct plumb_jinja_run *r, struct plumb_jinja_value on,                        \
                    const struct plumb_jinja_args *args, struct plumb_jinja_value *out)            \
    {                                                                                              \
        (void)r, (void)args;                                                                       \
        return all(on, kind, empty, out);                                                          \
    }
ASK(all_letters, is_letter, false)
ASK(all_alnum, is_alnum, false)
ASK(all_digits, is_digit, false)
ASK(all_numeric, is_numeric, false)
ASK(all_blank, is_blank, false)
ASK(all_ascii, is_ascii, true)

/* At least one cased character, and each of the wanted case. */
static int one_case(struct plumb_jinja_value on, bool (*other)(int32_t c),
                    struct plumb_jinja_value *out)
{
    bool some = false, none_other = true;
    for (size_t i = 0, size; i < on.s->n; i += size) {
        int32_t c;
        size = plumb_utf8_next(on.s->at + i, on.s->n - i, &c);
        some = some || is_cased(c);
        none_other = none_other && !other(c);
    }
    *out = plumb_jinja_bool(some && none_other);
    return PLUMB_OK;
}

static int all_upper(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)r, (void)args;
    return one_case(on, is_lower, out);
}

static int all_lower(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)r, (void)args;
    return one_case(on, is_upper, out);
}

static int istitle(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                   const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    bool inside = false, some = false, right = true;
    (void)r, (void)args;
    for (size_t i = 0, size; i < on.s->n; i += size) {
        int32_t c;
        size = plumb_utf8_next(on.s->at + i, on.s->n - i, &c);
        right = right && !(is_upper(c) && inside) && !(is_lower(c) && !inside);
        inside = is_cased(c);
        some = some || inside;
    }
    *out = plumb_jinja_bool(some && right);
    return PLUMB_OK;
}

const struct plumb_jinja_function plumb_jinja_case_methods[] = {
    { "upper", upper },
    { "lower", lower },
    { "title", title },
    { "swapcase", swapcase },
    { "capitalize", capitalize },
    { "casefold", casefold },
    { "isalpha", all_letters },
    { "isalnum", all_alnum },
    { "isdigit", all_digits },
    { "isdecimal", all_digits },
    { "isnumeric", all_numeric },
    { "isspace", all_blank },
    { "isascii", all_ascii },
    { "isupper", all_upper },
    { "islower", all_lower },
    { "istitle", istitle },
    { NULL, NULL },
};
