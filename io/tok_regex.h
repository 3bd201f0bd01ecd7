/* Regular expressions of tokenizer files: written for Oniguruma (Ruby syntax), run by PCRE2. */
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <plumb/base.h>

struct plumb_regex {
    pcre2_code *code;
};
struct plumb_regex_scratch {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};
/* A walk over all matches in s; zero-initialise but for s, n and valid. */
struct plumb_regex_walk {
    const char *s;
    size_t n;
    bool valid; /* s is known to be UTF-8 */
    size_t from, low, high, last_end;
    bool started, matched;
    uint64_t steps; /* spent on places that took many */
};

/* Fails naming `where`, the pattern and the reason. What means different things to the two engines
 * is translated (\s, \w, \h) or refused (intersections and sets within a class, (?m), possessive
 * intervals). */
int plumb_regex_compile(struct plumb_regex **out, const char *pattern, const char *where);
void plumb_regex_free(struct plumb_regex *re); /* takes NULL */
/* The next match [*start, *end) as Oniguruma's scan finds it (an empty match right after a match
 * does not count); *found tells. Bytes that are not UTF-8 match nothing. Fails where the pattern
 * needs too much backtracking: the work of a walk is at most linear in n. */
int plumb_regex_next(const struct plumb_regex *re, struct plumb_regex_scratch *scratch,
                     struct plumb_regex_walk *walk, size_t *start, size_t *end, bool *found);
void plumb_regex_scratch_release(struct plumb_regex_scratch *scratch);
