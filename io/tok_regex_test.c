/* Patterns written for Oniguruma. What its classes hold was taken from its manual (doc/RE, "\w",
 * "\h", POSIX brackets in Unicode) and from Hugging Face tokenizers 0.23.3, which runs it. */
#include "io/tok_regex.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* The matches of a pattern, each in brackets, what lies between without. */
static void expect(const char *pattern, const char *text, size_t n, const char *wanted)
{
    char got[400];
    size_t at = 0, done = 0, start, end;
    struct plumb_regex *re = NULL;
    struct plumb_regex_scratch scratch = { 0 };
    struct plumb_regex_walk walk = { .s = text, .n = n };
    cr_assert_eq(plumb_regex_compile(&re, pattern, "test"), PLUMB_OK, "%s", plumb_errmsg());
    for (bool found;;) {
        cr_assert_eq(plumb_regex_next(re, &scratch, &walk, &start, &end, &found), PLUMB_OK);
        if (!found) break;
        cr_assert(start >= done && end >= start && end <= n);
        at += (size_t)snprintf(got + at, sizeof got - at, "%.*s[%.*s]", (int)(start - done),
                               text + done, (int)(end - start), text + start);
        done = end;
    }
    snprintf(got + at, sizeof got - at, "%.*s", (int)(n - done), text + done);
    cr_expect_str_eq(got, wanted, "\"%s\" on \"%s\": got %s", pattern, text, got);
    plumb_regex_free(re);
    plumb_regex_scratch_release(&scratch);
}

static void expect_text(const char *pattern, const char *text, const char *wanted)
{
    expect(pattern, text, strlen(text), wanted);
}

Test(tok_regex, classes_hold_what_oniguruma_says)
{
    expect_text("\\s",
                "a\xC2\x85"
                "b\xE1\xA0\x8E"
                "c\xE3\x80\x80", /* U+0085, U+180E, U+3000 */
                "a[\xC2\x85]b\xE1\xA0\x8E"
                "c[\xE3\x80\x80]");
    expect_text("\\w+", "a_\xC2\xBD b-c", "[a_\xC2\xBD] [b]-[c]");
    expect_text("[^\\w\\s]+", "a\xC2\xBD!", "a[\xC2\xBD!]");
    expect_text("\\W+", "a\xC2\xBD!? b", "a\xC2\xBD[!? ]b");
    expect_text("\\h+", "0fg Z", "[0f]g Z");
    expect_text("[[:punct:]]+",
                "a-+\xE2\x96\x81"
                "b",
                "a[-+\xE2\x96\x81]b");
    expect_text("\\d+", "1\xD9\xA1\xC2\xBD", "[1\xD9\xA1]\xC2\xBD");
    expect_text("(?i:'s)", "'S'\xC5\xBF", "['S]['\xC5\xBF]");
}

Test(tok_regex, lines_and_ends_are_rubys)
{
    expect_text("^.", "ab\ncd", "[a]b\n[c]d");
    expect_text(".$", "ab\ncd", "a[b]\nc[d]");
    expect_text("a.b", "a\nb", "a\nb");
}

Test(tok_regex, an_empty_match_counts_but_not_right_after_a_match)
{
    expect_text("x*", "axxb", "[]a[xx]b[]");
    expect_text("(?=b)", "abab", "a[]ba[]b");
    expect_text("\\b", "ab c", "[]ab[] []c[]");
}

Test(tok_regex, bytes_that_are_no_text_match_nothing)
{
    expect("[^a]+",
           "b\xFF"
           "c\xF0\x9F"
           "a",
           6,
           "[b]\xFF[c]\xF0\x9F"
           "a");
    expect(".", "\xFF", 1, "\xFF");
}

Test(tok_regex, what_cannot_be_translated_is_refused_and_named)
{
    static const char *const refused[][2] = {
        { "[a&&b]", "intersections" },
        { "[a[bc]]", "sets within" },
        { "(?m:a.b)", "(?m)" },
        { "a{1,2}+", "{...}+" },
        { "[\\W]", "\\W" },
        { "[[:graph:]]", "sets within" },
        { "(", "parenthesis" },
        { "[", "missing" },
        { "\\p{Nonsense}", "unknown" },
        { "a**", "quantifier" },
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct plumb_regex *re = NULL;
        cr_expect_neq(plumb_regex_compile(&re, refused[i][0], "here"), PLUMB_OK, "%s",
                      refused[i][0]);
        cr_expect(strstr(plumb_errmsg(), refused[i][1]) && strstr(plumb_errmsg(), "here") &&
                      strstr(plumb_errmsg(), refused[i][0]),
                  "message was: %s", plumb_errmsg());
        cr_expect_null(re);
    }
}

Test(tok_regex, a_pattern_that_backtracks_without_end_is_an_error)
{
    char text[41];
    size_t start, end;
    bool found;
    struct plumb_regex *re = NULL;
    struct plumb_regex_scratch scratch = { 0 };
    memset(text, 'a', 40);
    text[40] = '!';
    struct plumb_regex_walk walk = { .s = text, .n = 41 };
    cr_assert_eq(plumb_regex_compile(&re, "(?:a|aa|aaa)+(?<=b)", "here"), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect_eq(plumb_regex_next(re, &scratch, &walk, &start, &end, &found), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "gave up"), "message was: %s", plumb_errmsg());
    plumb_regex_free(re);
    plumb_regex_scratch_release(&scratch);
}
