#include "io/csv.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "io/json.h"
#include "io/rowfile.h"

static char path[64], packed[80];

static void make_place(void)
{
    strncpy(path, "/tmp/plumb-csv-XXXXXX.csv", sizeof path - 1);
    const int fd = mkstemps(path, 4);
    cr_assert(fd >= 0);
    close(fd);
}

static void drop_place(void)
{
    unlink(path);
    if (packed[0]) unlink(packed);
}

TestSuite(csv, .init = make_place, .fini = drop_place);

static void fill(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(name, "w");
    cr_assert(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

/* All rows joined as "line text|", then "!" and the fault if there is one. */
static const char *rows_of(const char *name)
{
    static char out[65536];
    struct plumb_rowfile r;
    struct plumb_jsonl_row row;
    bool found = true;
    size_t n = 0;
    out[0] = 0;
    int rc = plumb_rowfile_open(&r, name, 200);
    while (!rc && !(rc = plumb_rowfile_next(&r, &row, &found)) && found)
        n += (size_t)snprintf(out + n, sizeof out - n, "%d %.*s|", (int)row.line, (int)row.n,
                              row.text);
    if (rc) snprintf(out + n, sizeof out - n, "!%s", plumb_errmsg());
    plumb_rowfile_release(&r);
    return out;
}

static void expect_rows(const char *text, const char *want)
{
    fill(path, text, strlen(text));
    cr_expect_str_eq(rows_of(path), want);
}

Test(csv, records_are_objects_with_the_headers_names)
{
    expect_rows("prompt,completion\na,b\r\n\"c, \"\"d\"\"\",\"e\nf\"\ng,",
                "2 {\"prompt\":\"a\",\"completion\":\"b\"}|"
                "3 {\"prompt\":\"c, \\\"d\\\"\",\"completion\":\"e\\u000af\"}|"
                "5 {\"prompt\":\"g\",\"completion\":\"\"}|");
    expect_rows("\xef\xbb\xbf\"text\"\n\n\"\"\n\r\nb\\\n",
                "3 {\"text\":\"\"}|5 {\"text\":\"b\\\\\"}|");
    expect_rows("text,\"a\"\"b\"\n1,2\n", "2 {\"text\":\"1\",\"a\\\"b\":\"2\"}|");
    expect_rows(",text\n0,x\n", "2 {\"text\":\"x\"}|");
    expect_rows("text\n", "");
}

Test(csv, the_names_of_columns_say_what_cells_are)
{
    expect_rows("prompt,label,margin,input_ids\nx,True,-1.5e3,\"[1, 2]\"\ny,0,,\n",
                "2 {\"prompt\":\"x\",\"label\":true,\"margin\":-1.5e3,\"input_ids\":[1, 2]}|"
                "3 {\"prompt\":\"y\",\"label\":false,\"margin\":null,\"input_ids\":null}|");
    /* A score that looks like text and text that looks like a score. */
    expect_rows("text,note\n12,[1\n", "2 {\"text\":\"12\",\"note\":\"[1\"}|");
}

Test(csv, the_first_record_says_whether_a_column_of_text_holds_conversations)
{
    expect_rows(
        "prompt,chosen\n\"[{\"\"role\"\": \"\"user\"\"}]\",[1] is text\n[],\"{\"\"a\"\"}\"\n",
        "2 {\"prompt\":[{\"role\": \"user\"}],\"chosen\":\"[1] is text\"}|"
        "3 {\"prompt\":[],\"chosen\":\"{\\\"a\\\"}\"}|");
    static const char mixed[] = "prompt\n\"[{\"\"role\"\": 1}]\"\nhello\n";
    fill(path, mixed, sizeof mixed - 1);
    cr_expect(strstr(rows_of(path), ".csv:3:1: column \"prompt\" wants JSON"), "%s", rows_of(path));
    expect_rows("prompt\n[1]\n\"[{\"\"role\"\": 1}]\"\n",
                "2 {\"prompt\":\"[1]\"}|3 {\"prompt\":\"[{\\\"role\\\": 1}]\"}|");
}

static void expect_fault(const char *text, const char *what)
{
    fill(path, text, strlen(text));
    const char *got = rows_of(path);
    cr_expect(strchr(got, '!') && strstr(got, what), "%s gave: %s", text, got);
}

Test(csv, faults_name_line_and_column)
{
    expect_fault("", "is empty: it has no header");
    expect_fault("a,a\n", ":1: the header has the column \"a\" twice");
    expect_fault("prompt;chosen\n", ":1: the header is one column \"prompt;chosen\"");
    expect_fault("a,b\n1\n", ":2: the row has 1 cells, the header 2 columns");
    expect_fault("a,b\n1,2,3\n", ":2: the row has 3 cells");
    expect_fault("a,b\n1,x\"y\n", ":2:4: a quote stands inside a cell");
    expect_fault("a,b\n\"x\"y,1\n", ":2:4: text stands behind a closing quote");
    expect_fault("a,b\n1,\"x\n2,3\n", ":2:3: a quoted cell that begins here has no end");
    expect_fault("label\nyes\n", ":2:1: column \"label\" wants true or false");
    expect_fault("text,margin\na,1.5 \n", ":2:3: column \"margin\" wants a number");
    expect_fault("text,margin\na,0x10\n", "column \"margin\" wants a number");
    expect_fault("text,margin\na,nan\n", "column \"margin\" wants a number");
    expect_fault("messages\n\"[{]\"\n", ":2:1: column \"messages\" wants JSON, as its name says");
    expect_fault("text\n\xff\n", ":2:1: column \"text\" has invalid UTF-8");
    fill(path, "text\na\0b\n", 9);
    cr_expect(strstr(rows_of(path), ":2:1: column \"text\" has a NUL byte"), "%s", rows_of(path));
}

Test(csv, behind_a_bad_record_the_next_one_is_whole)
{
    struct plumb_csv r;
    struct plumb_jsonl_row row;
    bool found;
    char text[700];
    const int n = snprintf(text, sizeof text, "a,b\n\"x\"\"y\"z,1\nq\n%0300d,2\n3,4\n", 0);
    fill(path, text, (size_t)n);
    cr_assert_eq(plumb_csv_open(&r, path, 200), PLUMB_OK);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(plumb_csv_next(&r, &row, &found), PLUMB_EFORMAT);
        cr_expect(!r.finished && !found);
    }
    cr_expect(strstr(plumb_errmsg(), ":4: the row has more than 200 bytes"), "%s", plumb_errmsg());
    cr_assert_eq(plumb_csv_next(&r, &row, &found), PLUMB_OK);
    cr_expect(found && row.line == 5 && row.index == 3 && row.n == 17);
    plumb_csv_release(&r);
}

/* Random cells, written by the rules, come back. */
Test(csv, what_is_quoted_by_the_rules_comes_back)
{
    static const char alphabet[] = "ab,\"\n\r;x ";
    uint32_t state = 7;
    for (int round = 0; round < 300; round++) {
        char cell[2][20], text[256] = "note,extra\n", want[256];
        size_t n = strlen(text);
        for (int k = 0; k < 2; k++) {
            size_t length = 0;
            text[n++] = '"';
            for (int i = 0; i < 12; i++) {
                state = state * 1664525 + 1013904223;
                const char c = alphabet[(state >> 24) % (sizeof alphabet - 1)];
                if (c == '"') text[n++] = '"';
                text[n++] = cell[k][length++] = c;
            }
            cell[k][length] = 0;
            text[n++] = '"';
            text[n++] = k ? '\n' : ',';
        }
        fill(path, text, n);
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "note", cell[0]);
        cJSON_AddStringToObject(o, "extra", cell[1]);
        const char *got = rows_of(path) + 2;
        snprintf(want, sizeof want, "%.*s", (int)(strlen(got) - 1), got);
        cJSON *back = cJSON_Parse(want);
        cr_assert(cJSON_Compare(o, back, true), "%s gave %s", text, got);
        cJSON_Delete(o);
        cJSON_Delete(back);
    }
}

static void pack_zstd(const char *text, size_t n, size_t kept)
{
    char out[4096];
    const size_t size = ZSTD_compress(out, sizeof out, text, n, 3);
    cr_assert(!ZSTD_isError(size));
    fill(packed, out, kept < size ? kept : size);
}

Test(csv, packed_files_are_read_by_what_they_hold)
{
    static const char text[] = "text\nhello\n";
    snprintf(packed, sizeof packed, "%s.zst", path);
    pack_zstd(text, sizeof text - 1, 4096);
    cr_expect_str_eq(rows_of(packed), "2 {\"text\":\"hello\"}|");
    pack_zstd(text, sizeof text - 1, 12);
    cr_expect(strstr(rows_of(packed), "zstd data ends too early"), "%s", rows_of(packed));
    unlink(packed);
    snprintf(packed, sizeof packed, "%s.gz", path);
    gzFile f = gzopen(packed, "wb");
    cr_assert(f && gzputs(f, text) > 0 && gzclose(f) == Z_OK);
    cr_expect_str_eq(rows_of(packed), "2 {\"text\":\"hello\"}|");
}

Test(csv, zstd_frames_one_behind_another_are_one_file)
{
    char out[4096];
    size_t n = 0;
    static const char *const parts[] = { "{\"a\": 1}\n{\"a\"", "", ": 2}\n" };
    static const unsigned char skipped[] = { 0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 'x', 'y', 'z' };
    snprintf(packed, sizeof packed, "%.*s.jsonl", (int)strlen(path) - 4, path);
    memcpy(out, skipped, sizeof skipped);
    n = sizeof skipped;
    for (int i = 0; i < 3; i++)
        n += ZSTD_compress(out + n, sizeof out - n, parts[i], strlen(parts[i]), 3);
    fill(packed, out, n);
    cr_expect_str_eq(rows_of(packed), "1 {\"a\": 1}|2 {\"a\": 2}|");
    out[sizeof skipped + 4] |= 0x08; /* a bit that no frame has */
    fill(packed, out, n);
    cr_expect(strstr(rows_of(packed), "!could not read"), "%s", rows_of(packed));
}

Test(csv, files_of_columns_are_refused_with_the_command_that_converts_them)
{
    snprintf(packed, sizeof packed, "%s.it's.parquet", path);
    fill(packed, "PAR1....", 8);
    const char *got = rows_of(packed);
    cr_expect(strstr(got, "is Parquet, which is not read here"), "%s", got);
    cr_expect(strstr(got, "from_parquet(sys.argv[1])") && strstr(got, ".it'\\''s.parquet'") &&
                  strstr(got, ".it'\\''s.jsonl'"),
              "%s", got);
    unlink(packed);
    fill(path, "ARROW1\0\0", 8);
    cr_expect(strstr(rows_of(path), "is Arrow") && strstr(rows_of(path), "from_file"), "%s",
              rows_of(path));
}
