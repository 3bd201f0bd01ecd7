/* UTF-8 against the tables of the Unicode Standard, section 3.9. */
#include "io/utf8.h"

#include <criterion/criterion.h>
#include <string.h>

#include "io/tok.h"

Test(utf8, every_code_point_comes_back_and_surrogates_do_not)
{
    int64_t valid = 0;
    for (int32_t cp = 0; cp < 0x110000; cp++) {
        char s[4];
        int32_t back;
        const size_t n = plumb_utf8_put(s, cp);
        const bool surrogate = cp >= 0xD800 && cp < 0xE000;
        const size_t length = plumb_utf8_next(s, n, &back);
        if (surrogate ? back != -1 || length != 1 : back != cp || length != n)
            cr_assert(false, "U+%04X comes back as %d in %zu bytes", (unsigned)cp, back, length);
        valid += !surrogate && plumb_utf8_valid(s, n) == n;
    }
    cr_expect_eq(valid, 0x110000 - 0x800);
}

Test(utf8, a_cut_character_is_invalid_and_nothing_behind_it_is_read)
{
    const char whole[] = "\xF0\x9F\x98\x80";
    for (size_t n = 1; n < 4; n++) {
        char *cut = malloc(n); /* so that a sanitizer sees a read behind it */
        cr_assert_not_null(cut);
        memcpy(cut, whole, n);
        int32_t cp;
        cr_expect_eq(plumb_utf8_next(cut, n, &cp), 1u);
        cr_expect_eq(cp, -1);
        cr_expect_eq(plumb_utf8_bad(cut, n), n, "one replacement for a cut character");
        cr_expect_eq(plumb_utf8_valid(cut, n), 0u);
        free(cut);
    }
}

/* Table 3-7 of the standard gives what is well-formed; these are the neighbours that are not. */
Test(utf8, ill_formed_sequences_are_refused)
{
    static const char *const bad[] = {
        "\x80",         "\xBF",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xFE",         "\xFF"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t cp;
        cr_expect_eq(plumb_utf8_next(bad[i], strlen(bad[i]), &cp), 1u, "sequence %zu", i);
        cr_expect_eq(cp, -1, "sequence %zu", i);
    }
}

/* Table 3-8 and the text around it: one U+FFFD for each maximal subpart. */
Test(utf8, replacements_follow_maximal_subparts)
{
    static const char *const rows[][2] = {
        { "\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "????????A" },
        { "\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "????????A" },
        { "\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "?????A??B" },
        { "\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "????A" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct plumb_tok_bytes got = { 0 }, wanted = { 0 };
        cr_assert_eq(plumb_tok_lossy(&got, rows[i][0], strlen(rows[i][0])), PLUMB_OK);
        for (const char *s = rows[i][1]; *s; s++)
            cr_assert_eq(*s == '?' ? plumb_tok_bytes_put(&wanted, "\xEF\xBF\xBD", 3)
                                   : plumb_tok_bytes_put(&wanted, s, 1),
                         PLUMB_OK);
        cr_expect(got.n == wanted.n && !memcmp(got.data, wanted.data, got.n), "row %zu", i);
        plumb_tok_bytes_release(&got);
        plumb_tok_bytes_release(&wanted);
    }
}
