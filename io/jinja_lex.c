/* Tokens of a template. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jinja_ast.h"
#include "io/utf8.h"

struct lexer {
    struct plumb_jinja_pool *pool;
    const char *name, *p, *end;
    int line;
    bool trim;     /* the next data loses its leading white space: -%} */
    bool newline;  /* the next data loses one newline: trim_blocks */
    bool at_start; /* the data that follows starts a line as far as lstrip_blocks looks */
    struct plumb_jinja_tokens *out;
};

static int fault(const struct lexer *l, const char *what)
{
    return plumb_fail(PLUMB_EFORMAT, "%s:%d: %s", l->name, l->line, what);
}

static int emit(struct lexer *l, enum plumb_jinja_token_kind kind, const char *op,
                struct plumb_jinja_value value)
{
    struct plumb_jinja_tokens *t = l->out;
    if (t->n == t->room) {
        const int64_t room = t->room ? 2 * t->room : 64;
        void *at;
        PLUMB_TRY(plumb_jinja_take(l->pool, (size_t)room * sizeof *t->at, &at));
        if (t->n) memcpy(at, t->at, (size_t)t->n * sizeof *t->at);
        t->at = at;
        t->room = room;
    }
    struct plumb_jinja_token *k = &t->at[t->n++];
    *k = (struct plumb_jinja_token){ .kind = kind, .line = l->line, .value = value };
    if (op) memcpy(k->text, op, strlen(op));
    return PLUMB_OK;
}

static bool starts(const struct lexer *l, const char *text)
{
    const size_t n = strlen(text);
    return (size_t)(l->end - l->p) >= n && !memcmp(l->p, text, n);
}

static void count_lines(struct lexer *l, const char *from, const char *to)
{
    for (; from < to; from++)
        l->line += *from == '\n';
}

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f'; }
static bool space(char c) { return blank(c) || c == '\n' || c == '\r'; }

/* Length of a name at p (letters, digits, _ and all beyond ASCII), 0 where none starts. */
static size_t name_length(const char *p, const char *end)
{
    const char *q = p;
    while (q < end && (isalnum((unsigned char)*q) || *q == '_' || (unsigned char)*q >= 0x80))
        q++;
    return q > p && !isdigit((unsigned char)*p) ? (size_t)(q - p) : 0;
}

static int number(struct lexer *l)
{
    char text[64];
    size_t n = 0;
    const char *p = l->p;
    int base = 10;
    bool real = false;
    if (*p == '0' && p + 1 < l->end && strchr("xXoObB", p[1])) {
        base = strchr("xX", p[1]) ? 16 : strchr("oO", p[1]) ? 8 : 2;
        p += 2;
    }
    const struct plumb_jinja_tokens *t = l->out;
    const bool after_dot = t->n && t->at[t->n - 1].kind == PLUMB_TOKEN_OPERATOR &&
                           !strcmp(t->at[t->n - 1].text, ".");
    for (; p < l->end && n < sizeof text - 2; p++) {
        if (*p == '_' && p + 1 < l->end && isalnum((unsigned char)p[1])) continue;
        const bool digit = base == 16 ? isxdigit((unsigned char)*p) : isdigit((unsigned char)*p);
        const bool dot = base == 10 && *p == '.' && !real && !after_dot && p + 1 < l->end &&
                         isdigit((unsigned char)p[1]);
        const bool power = base == 10 && (*p == 'e' || *p == 'E') && !after_dot && p + 1 < l->end &&
                           (isdigit((unsigned char)p[1]) ||
                            (strchr("+-", p[1]) && p + 2 < l->end && isdigit((unsigned char)p[2])));
        if (!digit && !dot && !power) break;
        real = real || dot || power;
        text[n++] = *p;
        if (power) text[n++] = *++p;
    }
    text[n] = 0;
    errno = 0;
    const struct plumb_jinja_value v = real ? plumb_jinja_float(strtod(text, NULL))
                                            : plumb_jinja_int(strtoll(text, NULL, base));
    if (n == 0 || n >= sizeof text - 2 || (!real && errno))
        return fault(l, "a number that is too large or no number");
    l->p = p;
    return emit(l, PLUMB_TOKEN_NUMBER, NULL, v);
}

static int string(struct lexer *l)
{
    const char quote = *l->p, *first = l->p + 1, *q = first;
    struct plumb_jinja_value v;
    while (q < l->end && *q != quote)
        q += *q == '\\' ? 2 : 1;
    if (q >= l->end) return fault(l, "a string is not closed");
    PLUMB_TRY(plumb_jinja_unescape(l->pool, first, (size_t)(q - first), &v));
    PLUMB_TRY(emit(l, PLUMB_TOKEN_STRING, NULL, v));
    count_lines(l, l->p, q);
    l->p = q + 1;
    return PLUMB_OK;
}

static int operation(struct lexer *l, char *open, int *depth)
{
    static const char *const two[] = { "**", "//", "==", "!=", "<=", ">=" };
    char op[3] = { *l->p, 0, 0 };
    for (int i = 0; i < 6; i++)
        if (starts(l, two[i])) memcpy(op, two[i], 3);
    if (!strchr("+-*/%~[](){}<>=.:|,;!", op[0]) || (op[0] == '!' && !op[1])) {
        char text[64];
        snprintf(text, sizeof text, "unexpected character \"%c\"", isprint(op[0]) ? op[0] : '?');
        return fault(l, text);
    }
    if (strchr("([{", op[0])) {
        if (*depth == PLUMB_JINJA_DEPTH) return fault(l, "brackets nest too deep");
        open[(*depth)++] = op[0] == '(' ? ')' : op[0] == '[' ? ']' : '}';
    }
    if (strchr(")]}", op[0]) && (*depth == 0 || open[--*depth] != op[0]))
        return fault(l, "a bracket that closes none");
    l->p += op[1] ? 2 : 1;
    return emit(l, PLUMB_TOKEN_OPERATOR, op, plumb_jinja_none());
}

/* The tokens up to the closing tag, `-` and `+` before it included. */
static int inside(struct lexer *l, const char *close)
{
    char open[PLUMB_JINJA_DEPTH];
    int depth = 0;
    const bool block = close[0] == '%';
    for (;;) {
        while (l->p < l->end && space(*l->p))
            l->line += *l->p++ == '\n';
        if (l->p == l->end) return fault(l, "a tag is not closed");
        const bool sign = depth == 0 && (*l->p == '-' || (block && *l->p == '+'));
        const char *at = l->p + sign;
        if (depth == 0 && l->end - at >= 2 && !memcmp(at, close, 2)) {
            l->trim = sign && *l->p == '-';
            l->newline = block && !(sign && *l->p == '+');
            l->p = at + 2;
            return emit(l, block ? PLUMB_TOKEN_BLOCK_END : PLUMB_TOKEN_PRINT_END, NULL,
                        plumb_jinja_none());
        }
        const size_t n = name_length(l->p, l->end);
        struct plumb_jinja_value v;
        if (n) {
            PLUMB_TRY(plumb_jinja_string(l->pool, l->p, n, &v));
            PLUMB_TRY(emit(l, PLUMB_TOKEN_NAME, NULL, v));
            l->p += n;
        } else if (isdigit((unsigned char)*l->p))
            PLUMB_TRY(number(l));
        else if (*l->p == '\'' || *l->p == '"')
            PLUMB_TRY(string(l));
        else
            PLUMB_TRY(operation(l, open, &depth));
    }
}

/* Text up to a tag at `to`, which strips it (`minus`) or, alone on a line, the line (`lstrip`). */
static int data(struct lexer *l, const char *to, bool minus, bool lstrip)
{
    const char *from = l->p, *first = from, *last = to;
    if (l->trim)
        while (first < last && space(*first))
            first++;
    else if (l->newline && first < last && *first == '\n')
        first++;
    l->trim = l->newline = false;
    if (minus) {
        while (last > first && space(last[-1]))
            last--;
    } else if (lstrip) {
        const char *q = last;
        while (q > from && blank(q[-1]))
            q--;
        const bool line_start = q == from ? l->at_start : q[-1] == '\n';
        if (line_start && q >= first) last = q;
        if (line_start && q < first) last = first;
    }
    struct plumb_jinja_value v;
    if (last > first) {
        PLUMB_TRY(plumb_jinja_string(l->pool, first, (size_t)(last - first), &v));
        PLUMB_TRY(emit(l, PLUMB_TOKEN_DATA, NULL, v));
    }
    count_lines(l, from, to);
    l->at_start = false;
    return PLUMB_OK;
}

/* {# ... #} */
static int comment(struct lexer *l)
{
    const char *q = l->p + 2;
    while (q + 1 < l->end && memcmp(q, "#}", 2))
        q++;
    if (q + 1 >= l->end) return fault(l, "a comment is not closed");
    count_lines(l, l->p, q);
    l->trim = q[-1] == '-' && q > l->p + 2;
    l->newline = !(q[-1] == '+' && q > l->p + 2);
    l->p = q + 2;
    return PLUMB_OK;
}

/* Past `{% raw %}` at p: its end, or NULL when this is another tag. */
static const char *tag_end(const struct lexer *l, const char *p, const char *name, bool *minus,
                           bool *plus)
{
    p += 2;
    if (p < l->end && (*p == '-' || *p == '+')) p++;
    while (p < l->end && space(*p))
        p++;
    const size_t n = strlen(name);
    if ((size_t)(l->end - p) < n || memcmp(p, name, n)) return NULL;
    p += n;
    while (p < l->end && space(*p))
        p++;
    *minus = p < l->end && *p == '-';
    *plus = p < l->end && *p == '+';
    p += *minus || *plus;
    return l->end - p >= 2 && !memcmp(p, "%}", 2) ? p + 2 : NULL;
}

/* Text between {% raw %} (which ends at `from`) and {% endraw %}, as it is. */
static int raw(struct lexer *l, const char *from, bool minus)
{
    bool end_minus, end_plus;
    count_lines(l, l->p, from);
    l->p = from;
    l->trim = minus;
    l->newline = true;
    for (const char *q = from; q + 1 < l->end; q++) {
        const char *after = memcmp(q, "{%", 2) ? NULL
                                               : tag_end(l, q, "endraw", &end_minus, &end_plus);
        if (!after) continue;
        const bool strip = q + 2 < l->end && q[2] == '-', keep = q + 2 < l->end && q[2] == '+';
        PLUMB_TRY(data(l, q, strip, !keep));
        l->p = after;
        l->trim = end_minus;
        l->newline = !end_plus;
        return PLUMB_OK;
    }
    return fault(l, "{% raw %} is not closed");
}

static int tag(struct lexer *l)
{
    const bool print = l->p[1] == '{';
    bool minus, plus;
    const char *after = l->p[1] == '%' ? tag_end(l, l->p, "raw", &minus, &plus) : NULL;
    if (after) return raw(l, after, minus);
    if (l->p[1] == '#') return comment(l);
    PLUMB_TRY(emit(l, print ? PLUMB_TOKEN_PRINT : PLUMB_TOKEN_BLOCK, NULL, plumb_jinja_none()));
    l->p += 2;
    if (l->p < l->end && (*l->p == '-' || *l->p == '+')) l->p++;
    return inside(l, print ? "}}" : "%}");
}

/* Newlines become \n, and one at the end goes. */
static int normalized(struct plumb_jinja_pool *pool, const char *text, size_t n, const char **out,
                      size_t *count)
{
    void *p;
    PLUMB_TRY(plumb_jinja_take(pool, n + 1, &p));
    char *to = p;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\r' && i + 1 < n && text[i + 1] == '\n') continue;
        *to++ = text[i] == '\r' ? '\n' : text[i];
    }
    if (to > (char *)p && to[-1] == '\n') to--;
    *out = p;
    *count = (size_t)(to - (char *)p);
    return PLUMB_OK;
}

int plumb_jinja_lex(struct plumb_jinja_pool *pool, const char *text, size_t n, const char *name,
                    struct plumb_jinja_tokens *out)
{
    const char *clean;
    size_t count;
    if (plumb_utf8_valid(text, n) != n)
        return plumb_fail(PLUMB_EFORMAT, "%s: the template is not UTF-8", name);
    PLUMB_TRY(normalized(pool, text, n, &clean, &count));
    struct lexer l = { .pool = pool,
                       .name = name,
                       .p = clean,
                       .end = clean + count,
                       .line = 1,
                       .at_start = true,
                       .out = out };
    for (const char *q = clean; q <= l.end; q++) {
        const bool opens = q + 1 < l.end && *q == '{' && strchr("{%#", q[1]);
        if (!opens && q < l.end) continue;
        const bool minus = opens && q + 2 < l.end && q[2] == '-';
        const bool plus = opens && q + 2 < l.end && q[2] == '+';
        PLUMB_TRY(data(&l, q, minus, opens && q[1] != '{' && !plus));
        l.p = q;
        if (!opens) break;
        PLUMB_TRY(tag(&l));
        q = l.p - 1;
    }
    return emit(&l, PLUMB_TOKEN_END, NULL, plumb_jinja_none());
}
