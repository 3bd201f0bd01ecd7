/* Oniguruma patterns on PCRE2: translation, compilation, the walk over matches. */
#include "io/tok_regex.h"

#include <stdlib.h>
#include <string.h>

#include "io/tok_table.h"
#include "io/utf8.h"

/* A backtracking stack of compiled code; what needs more is run by the interpreter. */
enum { STACK_FIRST = 32 << 10, STACK_LAST = 8 << 20, HEAP_KIB = 128 << 10 };
/* PCRE2 limits the steps of each place where a match may start, not of a call. So every place has
 * few, more than words take, and those that want more (a greedy run goes back over itself) share
 * an allowance that grows with the text. */
enum { PLACE_STEPS = 4096, MORE = 16, SHARED_STEPS = 10000000, STEPS_PER_BYTE = 256 };

/* What the engines read differently, as Oniguruma has it: outside and inside of [...]. Its \w
 * outside also takes the numbers of Latin-1. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define LATIN_NUMBERS "\\xb2\\xb3\\xb9\\xbc-\\xbe"
#define ALONE "[" WORD LATIN_NUMBERS "]"
static const struct {
    char letter;
    const char *alone, *within;
} escapes[] = {
    { 's', "\\p{White_Space}", "\\p{White_Space}" },
    { 'S', "\\P{White_Space}", "\\P{White_Space}" },
    { 'w', ALONE, WORD },
    { 'W', "[^" WORD LATIN_NUMBERS "]", NULL },
    { 'b', "(?:(?<=" ALONE ")(?!" ALONE ")|(?<!" ALONE ")(?=" ALONE "))", "\\x08" },
    { 'B', "(?:(?<=" ALONE ")(?=" ALONE ")|(?<!" ALONE ")(?!" ALONE "))", "B" },
    { 'h', "[0-9a-fA-F]", "0-9a-fA-F" },
    { 'H', "[^0-9a-fA-F]", NULL },
};
static const char *const sets[][2] = {
    { "[:alpha:]", "\\p{Alphabetic}" },  { "[:alnum:]", "\\p{Alphabetic}\\p{Nd}" },
    { "[:digit:]", "\\p{Nd}" },          { "[:punct:]", "\\p{P}\\p{S}" },
    { "[:space:]", "\\p{White_Space}" }, { "[:word:]", WORD },
    { "[:upper:]", "\\p{Uppercase}" },   { "[:lower:]", "\\p{Lowercase}" },
};

static int refuse(const char *where, const char *pattern, const char *what)
{
    return plumb_fail(PLUMB_ENOTSUP, "%s: regular expression \"%.400s\": %s", where, pattern, what);
}

/* Translates the escape at p (a backslash and what follows); *used is how much of p it took. */
static int translate_escape(struct plumb_tok_bytes *out, const char *p, bool within, size_t *used,
                            const char *where, const char *pattern)
{
    *used = p[1] ? 2 : 1;
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (escapes[i].letter != p[1]) continue;
        const char *text = within ? escapes[i].within : escapes[i].alone;
        if (!text) return refuse(where, pattern, "\\W and \\H within [...] are not supported");
        return plumb_tok_bytes_put(out, text, strlen(text));
    }
    if (p[1] && strchr("pPx", p[1]) && p[2] == '{' && strchr(p, '}'))
        *used = (size_t)(strchr(p, '}') + 1 - p);
    return plumb_tok_bytes_put(out, p, *used);
}

/* The set [:...:] at p; *used = 0 when it is none that is known. */
static int translate_set(struct plumb_tok_bytes *out, const char *p, size_t *used)
{
    *used = 0;
    for (size_t i = 0; i < sizeof sets / sizeof *sets && !*used; i++) {
        const size_t n = strlen(sets[i][0]);
        if (strncmp(p, sets[i][0], n)) continue;
        *used = n;
        return plumb_tok_bytes_put(out, sets[i][1], strlen(sets[i][1]));
    }
    return PLUMB_OK;
}

/* Why the pattern cannot be translated at p, NULL = it can. opening: right after the [ of a class.
 */
static const char *refusal(const char *p, bool within, bool opening)
{
    if (within && p[0] == '&' && p[1] == '&') return "intersections within [...] are not supported";
    if (within && p[0] == '[') return "sets within [...] are not supported";
    if (within || opening) return NULL;
    if (p[0] == '(' && p[1] == '?') {
        const size_t flags = strspn(p + 2, "imx-");
        if (memchr(p + 2, 'm', flags)) return "the option (?m) is not supported";
    }
    if (p[0] == '}' && p[1] == '+') return "a quantifier {...}+ is not supported";
    return NULL;
}

static int translate(struct plumb_tok_bytes *out, const char *pattern, const char *where)
{
    bool within = false, opening = false; /* inside of [...]; right behind its start */
    for (const char *p = pattern; *p;) {
        size_t used = 0;
        if (*p == '\\') {
            PLUMB_TRY(translate_escape(out, p, within, &used, where, pattern));
        } else if (within) {
            PLUMB_TRY(translate_set(out, p, &used));
        }
        if (used) {
            opening = false;
            p += used;
            continue;
        }
        const char *why = refusal(p, within, opening);
        if (why) return refuse(where, pattern, why);
        used = 1;
        if (!within && *p == '[') {
            within = opening = true;
            if (p[1] == '^') used = 2;
        } else {
            if (*p == ']' && !opening) within = false;
            opening = false;
        }
        PLUMB_TRY(plumb_tok_bytes_put(out, p, used));
        p += used;
    }
    return PLUMB_OK;
}

int plumb_regex_compile(struct plumb_regex **out, const char *pattern, const char *where)
{
    int rc = PLUMB_OK, error;
    size_t at;
    struct plumb_tok_bytes text = { 0 };
    struct plumb_regex *re = calloc(1, sizeof *re);
    if (!re) PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a regular expression"));
    PLUMB_TRYG(translate(&text, pattern, where));
    /* Ruby's ^ and $ match at every line. */
    re->code = pcre2_compile((PCRE2_SPTR)(text.data ? text.data : ""), text.n,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                             &error, &at, NULL);
    if (!re->code) {
        char why[200];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
        PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "%s: regular expression \"%.400s\": %s", where,
                              pattern, why));
    }
    pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE); /* where it fails, the interpreter works */
    *out = re;
    re = NULL;
out:
    plumb_regex_free(re);
    plumb_tok_bytes_release(&text);
    return rc;
}

void plumb_regex_free(struct plumb_regex *re)
{
    if (!re) return;
    pcre2_code_free(re->code);
    free(re);
}

static int scratch_prepare(struct plumb_regex_scratch *scratch)
{
    if (scratch->data) return PLUMB_OK;
    scratch->context = pcre2_match_context_create(NULL);
    scratch->stack = pcre2_jit_stack_create(STACK_FIRST, STACK_LAST, NULL);
    scratch->data = pcre2_match_data_create(1, NULL);
    if (!scratch->context || !scratch->stack || !scratch->data) {
        plumb_regex_scratch_release(scratch);
        return plumb_fail(PLUMB_EMEM, "could not allocate the memory of a regular expression");
    }
    pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    pcre2_set_heap_limit(scratch->context, HEAP_KIB);
    return PLUMB_OK;
}

void plumb_regex_scratch_release(struct plumb_regex_scratch *scratch)
{
    pcre2_match_data_free(scratch->data);
    pcre2_jit_stack_free(scratch->stack);
    pcre2_match_context_free(scratch->context);
    *scratch = (struct plumb_regex_scratch){ 0 };
}

/* Moves [low, high) to the next stretch of valid text when `from` has left it; false at the end.
 * At the very end of the text there is one more place for an empty match. */
static bool stretch(struct plumb_regex_walk *walk)
{
    if (walk->started && walk->from < walk->high) return true;
    if (walk->started && walk->from == walk->n && walk->high == walk->n) return true;
    if (walk->started && walk->from >= walk->n) return false;
    walk->started = true;
    walk->matched = false;
    size_t valid = 0;
    if (walk->valid) {
        valid = walk->n - walk->from;
    } else {
        while (walk->from < walk->n &&
               !(valid = plumb_utf8_valid(walk->s + walk->from, walk->n - walk->from)))
            walk->from++;
    }
    walk->low = walk->from;
    walk->high = walk->from + valid;
    return valid > 0;
}

static int attempt(const struct plumb_regex *re, struct plumb_regex_scratch *scratch,
                   const struct plumb_regex_walk *walk, size_t from, uint32_t options,
                   uint64_t steps)
{
    PCRE2_SPTR s = (PCRE2_SPTR)(walk->s + walk->low);
    const size_t n = walk->high - walk->low;
    options |= PCRE2_NO_UTF_CHECK;
    pcre2_set_match_limit(scratch->context, (uint32_t)steps);
    int rc = pcre2_match(re->code, s, n, from, options, scratch->data, scratch->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(re->code, s, n, from, options | PCRE2_NO_JIT, scratch->data,
                         scratch->context);
    return rc;
}

/* A match that starts at `from`, with as many steps as it needs and the walk has left. */
static int match_at(const struct plumb_regex *re, struct plumb_regex_scratch *scratch,
                    struct plumb_regex_walk *walk, size_t from)
{
    uint64_t steps = PLACE_STEPS;
    for (;;) {
        const int rc = attempt(re, scratch, walk, from, PCRE2_ANCHORED, steps);
        if (rc != PCRE2_ERROR_MATCHLIMIT || steps > UINT32_MAX / MORE) return rc;
        steps *= MORE;
        walk->steps += steps;
        if (walk->steps > SHARED_STEPS + STEPS_PER_BYTE * (uint64_t)walk->n) return rc;
    }
}

static int match(const struct plumb_regex *re, struct plumb_regex_scratch *scratch,
                 struct plumb_regex_walk *walk)
{
    const size_t n = walk->high - walk->low;
    int rc = attempt(re, scratch, walk, walk->from - walk->low, 0, PLACE_STEPS);
    if (rc != PCRE2_ERROR_MATCHLIMIT) return rc;
    /* Which place took too many is not told: one after the other. */
    for (size_t from = walk->from - walk->low;;) {
        int32_t cp;
        const uint64_t before = walk->steps;
        rc = match_at(re, scratch, walk, from);
        if (rc != PCRE2_ERROR_NOMATCH || from == n) return rc;
        from += plumb_utf8_next(walk->s + walk->low + from, n - from, &cp);
        if (walk->steps == before) continue;
        rc = attempt(re, scratch, walk, from, 0, PLACE_STEPS); /* that was the place */
        if (rc != PCRE2_ERROR_MATCHLIMIT) return rc;
    }
}

int plumb_regex_next(const struct plumb_regex *re, struct plumb_regex_scratch *scratch,
                     struct plumb_regex_walk *walk, size_t *start, size_t *end, bool *found)
{
    *found = false;
    PLUMB_TRY(scratch_prepare(scratch));
    while (stretch(walk)) {
        const int rc = match(re, scratch, walk);
        if (rc == PCRE2_ERROR_NOMATCH) {
            walk->from = walk->high + (walk->high == walk->n);
            continue;
        }
        if (rc < 0) {
            char why[200];
            pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
            return plumb_fail(PLUMB_EFORMAT, "a regular expression of the tokenizer gave up: %s",
                              why);
        }
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(scratch->data);
        *start = walk->low + at[0];
        *end = walk->low + at[1];
        if (*start > *end) *start = *end; /* \\K in a lookbehind */
        if (*start >= *end && walk->matched && walk->last_end == *end) {
            const size_t left = walk->high - walk->from;
            int32_t cp;
            walk->from += left ? plumb_utf8_next(walk->s + walk->from, left, &cp) : 1;
            continue;
        }
        walk->from = walk->last_end = *end;
        walk->matched = *found = true;
        return PLUMB_OK;
    }
    return PLUMB_OK;
}
