/* Rows of a dataset file of any form. */
#include "io/rowfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

/* The length of a name without .gz or .zst. */
static size_t unpacked_length(const char *name)
{
    const size_t n = strlen(name);
    if (n > 3 && strcmp(name + n - 3, ".gz") == 0) return n - 3;
    return n > 4 && strcmp(name + n - 4, ".zst") == 0 ? n - 4 : n;
}

static bool ends_with(const char *name, size_t n, const char *end)
{
    const size_t m = strlen(end);
    return n > m && memcmp(name + n - m, end, m) == 0;
}

enum plumb_rowfile_kind plumb_rowfile_kind(const char *name)
{
    static const char *const rows[] = { ".jsonl", ".json", ".csv" };
    const size_t n = unpacked_length(name);
    for (int i = 0; i < 3; i++)
        if (ends_with(name, n, rows[i])) return PLUMB_ROWFILE_ROWS;
    return ends_with(name, n, ".parquet") || ends_with(name, n, ".arrow") ? PLUMB_ROWFILE_COLUMNS
                                                                          : PLUMB_ROWFILE_UNKNOWN;
}

static int refuse_columns(const char *path, bool parquet)
{
    char from[512], to[512];
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    const bool named = dot && (!slash || dot > slash);
    plumb_shell_quote(from, sizeof from, path, strlen(path), "");
    plumb_shell_quote(to, sizeof to, path, named ? (size_t)(dot - path) : strlen(path), ".jsonl");
    return plumb_fail(
        PLUMB_ENOTSUP,
        "\"%s\" is %s, which is not read here. With Hugging Face datasets this converts it: "
        "python3 "
        "-c 'import sys, datasets; datasets.Dataset.%s(sys.argv[1]).to_json(sys.argv[2])' %s %s",
        path, parquet ? "Parquet" : "Arrow", parquet ? "from_parquet" : "from_file", from, to);
}

/* Files of columns are refused by what they begin with, too. */
static int check_form(const char *path)
{
    char first[6] = "";
    const bool by_name = plumb_rowfile_kind(path) == PLUMB_ROWFILE_COLUMNS;
    struct stat st;
    ssize_t got = 0;
    /* A pipe is opened once, by its reader, who also says why if a file cannot be. */
    const int fd = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC)
                                                               : -1;
    if (fd >= 0) {
        got = pread(fd, first, sizeof first, 0);
        close(fd);
    }
    const bool parquet = got == 6 && memcmp(first, "PAR1", 4) == 0;
    const bool arrow = got == 6 && memcmp(first, "ARROW1", 6) == 0;
    if (!by_name && !parquet && !arrow) return PLUMB_OK;
    return refuse_columns(path, parquet ||
                                    (!arrow && ends_with(path, unpacked_length(path), ".parquet")));
}

int plumb_rowfile_open(struct plumb_rowfile *r, const char *path, size_t row_limit)
{
    *r = (struct plumb_rowfile){ .path = path,
                                 .is_csv = ends_with(path, unpacked_length(path), ".csv") };
    PLUMB_TRY(check_form(path));
    return r->is_csv ? plumb_csv_open(&r->csv, path, row_limit)
                     : plumb_jsonl_open(&r->lines, path, row_limit);
}

int plumb_rowfile_next(struct plumb_rowfile *r, struct plumb_jsonl_row *row, bool *found)
{
    const int rc = r->is_csv ? plumb_csv_next(&r->csv, row, found)
                             : plumb_jsonl_next(&r->lines, row, found);
    r->rows = r->is_csv ? r->csv.rows : r->lines.rows;
    r->finished = r->is_csv ? r->csv.finished : r->lines.finished;
    return rc;
}

void plumb_rowfile_release(struct plumb_rowfile *r)
{
    plumb_csv_release(&r->csv);
    plumb_jsonl_release(&r->lines);
    *r = (struct plumb_rowfile){ 0 };
}
