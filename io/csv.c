/* Records of CSV files, by RFC 4180. */
#include "io/csv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 65536
#define ROW_LIMIT ((size_t)8 << 20)
#define COLUMNS_MAX 10000 /* names are compared two by two */
#define COLUMN_LIMIT 4096

int plumb_csv_room(const struct plumb_csv *r, char **buffer, size_t *room, size_t used, size_t more)
{
    if (used + more <= *room) return PLUMB_OK;
    size_t wanted = *room ? *room : 4096;
    while (wanted < used + more)
        wanted *= 2;
    char *grown = realloc(*buffer, wanted);
    if (!grown)
        return plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes for a row of \"%s\"", wanted,
                          r->path);
    *buffer = grown;
    *room = wanted;
    return PLUMB_OK;
}

/* *c = the next byte, not taken; -1 at the end. */
static int peek(struct plumb_csv *r, int *c)
{
    if (r->at == r->end) {
        size_t n;
        const int rc = plumb_input_read(&r->in, r->chunk, CHUNK_BYTES, &n);
        r->finished = rc != PLUMB_OK;
        PLUMB_TRY(rc);
        r->at = 0;
        r->end = n;
    }
    *c = r->at < r->end ? (unsigned char)r->chunk[r->at] : -1;
    return PLUMB_OK;
}

static void take(struct plumb_csv *r)
{
    if (r->chunk[r->at++] == '\n') {
        r->line++;
        r->line_start = r->byte + 1;
    }
    r->byte++;
}

/* Keeps bytes up to the limit and one more, by which an overlong record is known. */
static int keep(struct plumb_csv *r, char c)
{
    if (r->cell_bytes > r->row_limit) return PLUMB_OK;
    PLUMB_TRY(plumb_csv_room(r, &r->cells, &r->cells_room, r->cell_bytes, 1));
    r->cells[r->cell_bytes++] = c;
    r->cell[r->count - 1].n++;
    return PLUMB_OK;
}

static int begin_cell(struct plumb_csv *r)
{
    if (r->count == r->cell_room) {
        const int room = r->cell_room ? 2 * r->cell_room : 16;
        struct plumb_csv_cell *grown = realloc(r->cell, (size_t)room * sizeof *grown);
        if (!grown)
            return plumb_fail(PLUMB_EMEM, "could not allocate %d cells of \"%s\"", room, r->path);
        r->cell = grown;
        r->cell_room = room;
    }
    r->cell[r->count++] = (struct plumb_csv_cell){ .at = r->cell_bytes,
                                                   .line = r->line,
                                                   .column = r->byte - r->line_start + 1 };
    return PLUMB_OK;
}

/* The first fault of a record; it is read to its end in any case, so that the next one is whole. */
struct fault {
    const char *what;
    int64_t line, column;
};

static void note(const struct plumb_csv *r, struct fault *f, const char *what)
{
    if (!f->what) *f = (struct fault){ what, r->line, r->byte - r->line_start + 1 };
}

/* What a quote opened, up to the one that closes it, which is taken. */
static int quoted(struct plumb_csv *r, struct fault *f)
{
    const struct fault open = { "a quoted cell that begins here has no end", r->line,
                                r->byte - r->line_start + 1 };
    int c;
    for (take(r);; take(r)) {
        PLUMB_TRY(peek(r, &c));
        if (c < 0) {
            if (!f->what) *f = open;
            r->finished = true;
            return PLUMB_OK;
        }
        if (c == '"') {
            take(r);
            PLUMB_TRY(peek(r, &c));
            if (c != '"') return PLUMB_OK;
        }
        PLUMB_TRY(keep(r, (char)c));
    }
}

/* One cell; *last = it ended with the line, which is taken, or with the file. */
static int read_cell(struct plumb_csv *r, struct fault *f, bool *last)
{
    int c;
    bool was_quoted = false;
    PLUMB_TRY(begin_cell(r));
    PLUMB_TRY(peek(r, &c));
    if (c == '"') {
        PLUMB_TRY(quoted(r, f));
        was_quoted = true;
    }
    for (;; take(r)) {
        PLUMB_TRY(peek(r, &c));
        if (c == '\r') { /* belongs to the line's end, or to the cell */
            take(r);
            PLUMB_TRY(peek(r, &c));
            if (c != '\n' && c >= 0) {
                if (was_quoted) note(r, f, "text stands behind a closing quote");
                PLUMB_TRY(keep(r, '\r'));
            }
        }
        *last = c < 0 || c == '\n';
        if (c >= 0 && (*last || c == ',')) take(r);
        if (*last || c == ',') return PLUMB_OK;
        if (c == '"')
            note(r, f,
                 was_quoted ? "a quote stands behind a closing quote"
                            : "a quote stands inside a cell that does not begin with one");
        else if (was_quoted)
            note(r, f, "text stands behind a closing quote");
        PLUMB_TRY(keep(r, (char)c));
    }
}

/* The cells of the next record that is no empty line; *found = false at the end. */
static int read_record(struct plumb_csv *r, struct plumb_jsonl_row *row, struct fault *f,
                       bool *found)
{
    int c;
    bool last = false;
    *f = (struct fault){ 0 };
    for (;; take(r)) {
        PLUMB_TRY(peek(r, &c));
        if (c != '\n' && c != '\r') break;
    }
    *found = c >= 0;
    if (!*found) return PLUMB_OK;
    r->count = 0;
    r->cell_bytes = 0;
    row->line = r->line;
    row->byte = r->byte;
    row->column = r->byte - r->line_start + 1;
    while (!last) {
        PLUMB_TRY(read_cell(r, f, &last));
        if (r->count <= COLUMN_LIMIT) continue;
        r->finished = true;
        return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ": more than %d cells", r->path, row->line,
                          COLUMN_LIMIT);
    }
    return PLUMB_OK;
}

/* Whether the record as such is one. */
static int check_record(const struct plumb_csv *r, const struct plumb_jsonl_row *row,
                        const struct fault *f)
{
    if (f->what)
        return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ":%" PRId64 ": %s", r->path, f->line,
                          f->column, f->what);
    if (r->cell_bytes > r->row_limit)
        return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ": the row has more than %zu bytes", r->path,
                          row->line, r->row_limit);
    if (r->columns > 0 && r->count != r->columns)
        return plumb_fail(PLUMB_EFORMAT,
                          "%s:%" PRId64 ": the row has %d cells, the header %d columns", r->path,
                          row->line, r->count, r->columns);
    return PLUMB_OK;
}

static int header_fault(const struct plumb_csv *r, const char *fmt, ...) PLUMB_PRINTF(2, 3);
static int header_fault(const struct plumb_csv *r, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return plumb_fail(PLUMB_EFORMAT, "%s:1: the header %s", r->path, text);
}

/* Column k's name, from the record's cell; the empty one once at most. */
static int name_column(struct plumb_csv *r, int k)
{
    const struct plumb_csv_cell *cell = &r->cell[k];
    const char *at = r->cells + cell->at;
    if (memchr(at, 0, cell->n)) return header_fault(r, "has a NUL byte in name %d", k + 1);
    char *name = strndup(at, cell->n);
    if (!name)
        return plumb_fail(PLUMB_EMEM, "could not allocate the column names of \"%s\"", r->path);
    r->column[k].name = name;
    r->columns = k + 1;
    for (int i = 0; i < k; i++)
        if (strcmp(r->column[i].name, name) == 0)
            return header_fault(r, "has the column \"%s\" twice", name);
    return PLUMB_OK;
}

static int read_header(struct plumb_csv *r)
{
    struct plumb_jsonl_row row;
    struct fault f;
    bool found;
    int c;
    PLUMB_TRY(peek(r, &c));
    if (r->end >= 3 && memcmp(r->chunk, "\xef\xbb\xbf", 3) == 0) {
        r->at = 3;
        r->byte = r->line_start = 3;
    }
    PLUMB_TRY(read_record(r, &row, &f, &found));
    if (!found) return plumb_fail(PLUMB_EFORMAT, "\"%s\" is empty: it has no header", r->path);
    PLUMB_TRY(check_record(r, &row, &f));
    if (r->count > COLUMNS_MAX) return header_fault(r, "has more than %d names", COLUMNS_MAX);
    r->column = calloc((size_t)r->count, sizeof *r->column);
    if (!r->column)
        return plumb_fail(PLUMB_EMEM, "could not allocate the columns of \"%s\"", r->path);
    for (int k = 0; k < r->count; k++)
        PLUMB_TRY(name_column(r, k));
    const char *only = r->column[0].name;
    if (r->columns == 1 && strpbrk(only, ";\t|"))
        return header_fault(r, "is one column \"%.80s\": columns are separated by commas", only);
    plumb_csv_name_kinds(r);
    return PLUMB_OK;
}

int plumb_csv_open(struct plumb_csv *r, const char *path, size_t row_limit)
{
    int rc = PLUMB_OK;
    *r = (struct plumb_csv){ .path = path,
                             .row_limit = row_limit ? row_limit : ROW_LIMIT,
                             .line = 1 };
    r->chunk = malloc(CHUNK_BYTES);
    if (!r->chunk)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a buffer for \"%s\"", path));
    PLUMB_TRYG(plumb_csv_room(r, &r->cells, &r->cells_room, 0, 1)); /* cells may all be empty */
    PLUMB_TRYG(plumb_input_open(&r->in, path));
    PLUMB_TRYG(read_header(r));
out:
    if (rc) plumb_csv_release(r);
    return rc;
}

int plumb_csv_next(struct plumb_csv *r, struct plumb_jsonl_row *row, bool *found)
{
    struct fault f;
    *found = false;
    *row = (struct plumb_jsonl_row){ .index = r->rows };
    if (r->finished) return PLUMB_OK;
    PLUMB_TRY(read_record(r, row, &f, found));
    if (!*found) {
        r->finished = true;
        return PLUMB_OK;
    }
    *found = false;
    r->rows++;
    PLUMB_TRY(check_record(r, row, &f));
    PLUMB_TRY(plumb_csv_write_row(r));
    row->text = r->json;
    row->n = r->json_bytes;
    *found = true;
    return PLUMB_OK;
}

void plumb_csv_release(struct plumb_csv *r)
{
    for (int k = 0; k < r->columns; k++)
        free(r->column[k].name);
    plumb_input_release(&r->in);
    free(r->column);
    free(r->chunk);
    free(r->cell);
    free(r->cells);
    free(r->json);
    *r = (struct plumb_csv){ 0 };
}
