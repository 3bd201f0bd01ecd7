#include "io/jsonl.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static char path[64];

static void make_place(void)
{
    strncpy(path, "/tmp/plumb-jsonl-XXXXXX", sizeof path - 1);
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
}

static void drop_place(void) { unlink(path); }

TestSuite(jsonl, .init = make_place, .fini = drop_place);

static void fill(const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    cr_assert(f && fwrite(text, 1, n, f) == n && fclose(f) == 0);
}

static void fill_gzip(const char *text)
{
    gzFile f = gzopen(path, "wb");
    cr_assert(f && gzputs(f, text) > 0 && gzclose(f) == Z_OK);
}

/* All rows joined as "line:column text|", then "!" and the fault if there is one. */
static const char *rows(size_t limit)
{
    static char out[65536];
    struct plumb_jsonl r;
    struct plumb_jsonl_row row;
    bool found = true;
    size_t n = 0;
    out[0] = 0;
    int rc = plumb_jsonl_open(&r, path, limit);
    while (!rc && !(rc = plumb_jsonl_next(&r, &row, &found)) && found)
        n += (size_t)snprintf(out + n, sizeof out - n, "%d:%d %.*s|", (int)row.line,
                              (int)row.column, (int)row.n, row.text);
    if (rc) snprintf(out + n, sizeof out - n, "!%s", plumb_errmsg());
    plumb_jsonl_release(&r);
    return out;
}

static void expect_rows(const char *text, const char *want)
{
    fill(text, strlen(text));
    cr_expect_str_eq(rows(0), want);
    if (!*text) return;
    fill_gzip(text);
    cr_expect_str_eq(rows(0), want);
}

Test(jsonl, lines_and_arrays_give_rows_with_their_places)
{
    expect_rows("{\"a\": 1}\n\n  {\"a\": 2} \r\n{\"a\": 3}",
                "1:1 {\"a\": 1}|3:3 {\"a\": 2}|4:1 {\"a\": 3}|");
    expect_rows("\xef\xbb\xbf{}\n", "1:1 {}|");
    expect_rows(" [\n {\"a\": [1,\n2]}, {\"b\": \"],\\\"}\\\\\"},\n3 ] \n",
                "2:2 {\"a\": [1,\n2]}|3:6 {\"b\": \"],\\\"}\\\\\"}|4:1 3|");
    expect_rows("[]", "");
    expect_rows("", "");
    expect_rows(" \n\n", "");
}

static void expect_fault(const char *text, const char *what)
{
    fill(text, strlen(text));
    const char *got = rows(100);
    cr_expect(strchr(got, '!') && strstr(got, what), "%s gave: %s", text, got);
}

Test(jsonl, broken_arrays_name_their_line)
{
    expect_fault("[{},\n{}", ":2: the file ends inside its array");
    expect_fault("[", ":1: the file ends inside its array");
    expect_fault("[{},\n]", ":2: the array ends behind a comma");
    expect_fault("[{}]\n]", ":2: text stands behind the array");
    expect_fault("[{}, ,{}]", ":1: an element of the array is missing");
    expect_fault("[\"\\", "the file ends inside its array");
}

Test(jsonl, an_overlong_row_is_passed_over_with_its_line_named)
{
    static char text[300];
    for (int array = 0; array < 2; array++) {
        snprintf(text, sizeof text, "%s1%s\n\"%0150d\"%s\n2\n%s", array ? "[" : "",
                 array ? "," : "", 7, array ? "," : "", array ? "]" : "");
        fill(text, strlen(text));
        struct plumb_jsonl r;
        struct plumb_jsonl_row row;
        bool found;
        cr_assert_eq(plumb_jsonl_open(&r, path, 100), PLUMB_OK);
        cr_assert_eq(plumb_jsonl_next(&r, &row, &found), PLUMB_OK);
        cr_assert_eq(plumb_jsonl_next(&r, &row, &found), PLUMB_EFORMAT);
        cr_expect_not_null(strstr(plumb_errmsg(), ":2: the row has more than 100 bytes"));
        cr_assert(!r.finished);
        cr_assert_eq(plumb_jsonl_next(&r, &row, &found), PLUMB_OK, "%s", plumb_errmsg());
        cr_expect(found && row.n == 1 && row.text[0] == '2' && row.line == 3 && row.index == 2);
        cr_assert_eq(plumb_jsonl_next(&r, &row, &found), PLUMB_OK);
        cr_expect(!found);
        plumb_jsonl_release(&r);
    }
}

Test(jsonl, rows_longer_than_the_read_buffer_come_whole)
{
    const size_t n = 1 << 20;
    char *text = malloc(n + 3);
    memset(text, 'x', n);
    text[0] = text[n - 1] = '"';
    memcpy(text + n, "\n1", 3);
    fill(text, n + 2);
    struct plumb_jsonl r;
    struct plumb_jsonl_row row;
    bool found;
    cr_assert_eq(plumb_jsonl_open(&r, path, 0), PLUMB_OK);
    cr_assert_eq(plumb_jsonl_next(&r, &row, &found), PLUMB_OK);
    cr_expect(found && row.n == n && memcmp(row.text, text, n) == 0);
    cr_assert_eq(plumb_jsonl_next(&r, &row, &found), PLUMB_OK);
    cr_expect(found && row.byte == (int64_t)n + 1 && row.line == 2);
    plumb_jsonl_release(&r);
    free(text);
}

Test(jsonl, nul_bytes_do_not_end_the_file)
{
    fill("{}\n\0\n{}\n", 8);
    struct plumb_jsonl r;
    struct plumb_jsonl_row row;
    bool found;
    cr_assert_eq(plumb_jsonl_open(&r, path, 0), PLUMB_OK);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(plumb_jsonl_next(&r, &row, &found), PLUMB_OK);
        cr_assert(found);
    }
    cr_expect_eq(row.line, 3);
    plumb_jsonl_release(&r);
}

Test(jsonl, a_truncated_or_corrupt_gzip_is_an_error_not_an_end)
{
    static char text[20000];
    uint32_t state = 1;
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        state = state * 1664525 + 1013904223;
        text[i] = i % 80 == 79 ? '\n' : (char)('!' + (state >> 24) % 90);
    }
    fill_gzip(text);
    char packed[20000];
    FILE *f = fopen(path, "r");
    const size_t n = fread(packed, 1, sizeof packed, f);
    fclose(f);
    fill(packed, n / 2);
    const char *got = rows(0);
    cr_expect_not_null(strstr(got, "!could not read"), "%s", got + strlen(got) - 100);
    packed[n - 5] ^= 1; /* in the checksum */
    fill(packed, n);
    cr_expect_not_null(strstr(rows(0), "!could not read"));
}

Test(jsonl, folders_and_missing_files_are_named)
{
    struct plumb_jsonl r;
    cr_expect_eq(plumb_jsonl_open(&r, "/nonexistent.jsonl", 0), PLUMB_EIO);
    cr_expect_not_null(strstr(plumb_errmsg(), "\"/nonexistent.jsonl\": No such file"), "%s",
                       plumb_errmsg());
    cr_expect_eq(plumb_jsonl_open(&r, "/tmp", 0), PLUMB_EIO);
    cr_expect_not_null(strstr(plumb_errmsg(), "Is a directory"), "%s", plumb_errmsg());
    plumb_jsonl_release(&r);
}
