#include "io/json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses `text` and expects a fault at line:column whose text holds `what`. */
static void refuse(const char *text, size_t n, const char *place, const char *what)
{
    cJSON *v;
    plumb_errclear();
    const int rc = plumb_json_parse(text, n, "t.json", &v);
    char want[64];
    snprintf(want, sizeof want, "t.json:%s: ", place);
    cr_expect(rc == PLUMB_EFORMAT && v == NULL, "%.60s was taken (%d)", text, rc);
    cr_expect(strncmp(plumb_errmsg(), want, strlen(want)) == 0 && strstr(plumb_errmsg(), what),
              "%.60s: wanted %s... %s, got: %s", text, want, what, plumb_errmsg());
    cJSON_Delete(v);
}

#define REFUSE(text, place, what) refuse(text, sizeof text - 1, place, what)

static cJSON *take(const char *text)
{
    cJSON *v;
    cr_assert_eq(plumb_json_parse(text, strlen(text), "t.json", &v), PLUMB_OK, "%s: %s", text,
                 plumb_errmsg());
    return v;
}

Test(json, grammar_faults_carry_line_and_column)
{
    REFUSE("", "1:1", "the text ends");
    REFUSE("  \n ", "2:2", "the text ends");
    REFUSE("{\n  \"a\": tru\n}", "2:8", "a value should stand here");
    REFUSE("[1, 2", "1:1", "array without an end");
    REFUSE("{\"a\": 1", "1:1", "object without an end");
    REFUSE("[1 2]", "1:4", "a comma or ] should stand here");
    REFUSE("{\"a\" 1}", "1:6", "a colon should stand here");
    REFUSE("{a: 1}", "1:2", "a name in quotes");
    REFUSE("{\"a\": 1,}", "1:9", "a name in quotes");
    REFUSE("[1,]", "1:4", "a value should stand here");
    REFUSE("\"abc", "1:1", "string without an end");
    REFUSE("\"a\nb\"", "1:3", "control character");
    REFUSE("\"\\x\"", "1:2", "unknown escape");
    REFUSE("'a'", "1:1", "a value should stand here");
    REFUSE("{\"a\": 1} x", "1:10", "text after the end");
    REFUSE("[1]\n[2]", "2:1", "text after the end");
    REFUSE("nulls", "1:5", "text after the end");
}

Test(json, numbers_are_strict_and_finite)
{
    REFUSE("01", "1:1", "leading zero");
    REFUSE("-", "1:1", "a value should stand here");
    REFUSE("+1", "1:1", "a value should stand here");
    REFUSE("1.", "1:1", "after its point");
    REFUSE(".5", "1:1", "a value should stand here");
    REFUSE("1e", "1:1", "exponent");
    REFUSE("1e999", "1:1", "too large");
    REFUSE("[-1e999]", "1:2", "too large");
    REFUSE("NaN", "1:1", "a value should stand here");
    REFUSE("Infinity", "1:1", "a value should stand here");
    REFUSE("1111111111222222222233333333334444444444555555555566666666667777", "1:1",
           "63 characters");
    cJSON *v = take("[-0.5e-3, 1e300, 9007199254740992]");
    cr_expect_eq(cJSON_GetArrayItem(v, 0)->valuedouble, -0.5e-3);
    cr_expect_eq(cJSON_GetArrayItem(v, 1)->valuedouble, 1e300);
    cr_expect_eq(cJSON_GetArrayItem(v, 2)->valuedouble, 0x1p53);
    cJSON_Delete(v);
}

Test(json, invalid_utf8_is_placed_by_character)
{
    REFUSE("\"\xC3\xA4\xFF\"", "1:3", "invalid UTF-8");     /* the column counts characters */
    REFUSE("\"\xC0\xAF\"", "1:2", "invalid UTF-8");         /* overlong */
    REFUSE("\"\xED\xA0\x80\"", "1:2", "invalid UTF-8");     /* a surrogate */
    REFUSE("\"\xF4\x90\x80\x80\"", "1:2", "invalid UTF-8"); /* past U+10FFFF */
    REFUSE("\"\xE2\x82\"", "1:2", "invalid UTF-8");         /* cut short */
    REFUSE("\"\xE2\x82", "1:2", "invalid UTF-8");           /* cut by the end of the text */
    REFUSE("\"\\ud800\"", "1:2", "surrogate");
    REFUSE("\"\\udc00\"", "1:2", "surrogate");
    REFUSE("\"\\ud800\\u0041\"", "1:2", "surrogate");
    REFUSE("\"\\u12g4\"", "1:2", "hexadecimal");
    REFUSE("\"\\u0000\"", "1:2", "\\u0000");
    REFUSE("\"a\0b\"", "1:3", "control character");
    cJSON *v = take("\"\\ud83d\\ude00\\u00e4\xF0\x9F\x98\x80\"");
    cr_expect_str_eq(v->valuestring, "\xF0\x9F\x98\x80\xC3\xA4\xF0\x9F\x98\x80");
    cJSON_Delete(v);
}

Test(json, a_name_twice_is_refused_however_it_is_written)
{
    REFUSE("{\"a\": 1, \"b\": 2, \"a\": 3}", "1:18", "twice");
    REFUSE("{\"a\": 1, \"\\u0061\": 3}", "1:10", "twice");
    REFUSE("[{\"x\": {\"\xC3\xA4\": 1,\n\"\\u00E4\": 2}}]", "2:1", "twice");
    REFUSE("{\"\": 1, \"\": 2}", "1:9", "twice");
    cJSON_Delete(take("{}"));
    cJSON_Delete(take("{\"a\": {\"a\": 1}, \"b\": {\"a\": 2}, \"A\": 3, \"aa\": 4}"));
}

Test(json, many_names_in_one_object_stay_quick)
{
    const int count = 200000;
    char *text = malloc((size_t)count * 16 + 64), *p = text;
    *p++ = '{';
    for (int i = 0; i < count; i++)
        p += sprintf(p, "\"k%d\":%d,", i, i);
    char place[32];
    snprintf(place, sizeof place, "1:%d", (int)(p - text) + 1);
    p += sprintf(p, "\"k77\":0}");
    refuse(text, (size_t)(p - text), place, "twice");
    free(text);
}

Test(json, depth_bombs_are_refused)
{
    char text[100001];
    memset(text, '[', sizeof text - 1);
    text[sizeof text - 1] = 0;
    refuse(text, sizeof text - 1, "1:101", "deeper than 100");
    memset(text + 100, ']', 100);
    cJSON *v;
    cr_expect_eq(plumb_json_parse(text, 200, "t.json", &v), PLUMB_OK, "%s", plumb_errmsg());
    cJSON_Delete(v);
}

Test(json, a_byte_order_mark_and_a_missing_nul_are_fine)
{
    const char text[] = { '\xEF', '\xBB', '\xBF', '[', '1', '2', ']', '3' };
    cJSON *v;
    cr_assert_eq(plumb_json_parse(text, 7, "t.json", &v), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(cJSON_GetArrayItem(v, 0)->valuedouble, 12);
    cJSON_Delete(v);
    REFUSE("\xEF\xBB\xBFx", "1:1", "a value should stand here");
}

Test(json, rows_of_a_file_count_from_their_own_line)
{
    cJSON *v;
    cr_expect_eq(plumb_json_parse_at("{\"a\" 1}", 7, "d.jsonl", 31, &v), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "d.jsonl:31:6: "), "%s", plumb_errmsg());
}

Test(json, typed_reads_name_the_key_and_what_stands_there)
{
    cJSON *v = take(
        "{\"i\": 3, \"f\": 2.5, \"s\": \"x\", \"b\": true, \"n\": null, \"big\": 1e18, \"o\": {}}");
    int64_t i = 0;
    double f = 0;
    bool b = false;
    const char *s = NULL;
    cr_expect(plumb_json_i64(v, "i", "c.json", &i) == PLUMB_OK && i == 3);
    cr_expect(plumb_json_i64_or(v, "n", "c.json", 7, &i) == PLUMB_OK && i == 7);
    cr_expect(plumb_json_i64_or(v, "none", "c.json", 8, &i) == PLUMB_OK && i == 8);
    cr_expect(plumb_json_f64_or(v, "f", "c.json", 1, &f) == PLUMB_OK && f == 2.5);
    cr_expect(plumb_json_bool_or(v, "b", "c.json", false, &b) == PLUMB_OK && b);
    cr_expect(plumb_json_string(v, "s", "c.json", &s) == PLUMB_OK && strcmp(s, "x") == 0);
    cr_expect_eq(plumb_json_i64(v, "f", "c.json", &i), PLUMB_EFORMAT);
    cr_expect_str_eq(plumb_errmsg(), "c.json: \"f\" wants an integer, got 2.5");
    cr_expect_eq(plumb_json_i64(v, "big", "c.json", &i), PLUMB_EFORMAT);
    cr_expect_eq(plumb_json_i64(v, "gone", "c.json", &i), PLUMB_EFORMAT);
    cr_expect_str_eq(plumb_errmsg(), "c.json: \"gone\" is missing: it wants an integer");
    cr_expect_eq(plumb_json_bool_or(v, "s", "c.json", true, &b), PLUMB_EFORMAT);
    cr_expect_str_eq(plumb_errmsg(), "c.json: \"s\" wants true or false, got \"x\"");
    cr_expect_eq(plumb_json_string(v, "o", "c.json", &s), PLUMB_EFORMAT);
    cr_expect_str_eq(plumb_errmsg(), "c.json: \"o\" wants a string, got an object");
    cJSON_Delete(v);
}

Test(json, a_missing_file_is_named)
{
    cJSON *v;
    cr_expect_eq(plumb_json_load("/nonexistent/config.json", 0, &v), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "/nonexistent/config.json"), "%s", plumb_errmsg());
}
