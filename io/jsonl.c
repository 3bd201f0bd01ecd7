/* Rows of JSON Lines files and JSON arrays, plain, gzip or zstd. */
#include "io/jsonl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 65536
#define ROW_LIMIT ((size_t)8 << 20)

/* *more = false at the end of the file. */
static int refill(struct plumb_jsonl *r, bool *more)
{
    *more = r->at < r->end;
    if (*more) return PLUMB_OK;
    size_t n;
    const int rc = plumb_input_read(&r->in, r->chunk, CHUNK_BYTES, &n);
    if (rc) {
        r->finished = true;
        return rc;
    }
    r->at = 0;
    r->end = n;
    *more = n > 0;
    return PLUMB_OK;
}

static void take(struct plumb_jsonl *r)
{
    if (r->chunk[r->at++] == '\n') {
        r->line++;
        r->line_start = r->byte + 1;
    }
    r->byte++;
}

static bool is_space(int c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* *c = the next byte that is no white space, not taken; -1 at the end. */
static int peek(struct plumb_jsonl *r, int *c)
{
    bool more;
    for (;; take(r)) {
        PLUMB_TRY(refill(r, &more));
        *c = more ? (unsigned char)r->chunk[r->at] : -1;
        if (!is_space(*c)) return PLUMB_OK;
    }
}

/* Keeps bytes up to the limit and one more, by which an overlong row is known. */
static int keep(struct plumb_jsonl *r, const char *bytes, size_t n)
{
    const size_t room = r->row_limit + 1 - r->row_bytes;
    if (n > room) n = room;
    if (r->row_bytes + n > r->row_capacity) {
        size_t wanted = r->row_capacity ? r->row_capacity : CHUNK_BYTES;
        while (wanted < r->row_bytes + n)
            wanted *= 2;
        char *grown = realloc(r->row, wanted);
        if (!grown)
            return plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes for a row of \"%s\"",
                              wanted, r->path);
        r->row = grown;
        r->row_capacity = wanted;
    }
    memcpy(r->row + r->row_bytes, bytes, n);
    r->row_bytes += n;
    return PLUMB_OK;
}

static int keep_line(struct plumb_jsonl *r)
{
    bool more;
    for (;;) {
        PLUMB_TRY(refill(r, &more));
        if (!more) return PLUMB_OK;
        const char *from = r->chunk + r->at, *newline = memchr(from, '\n', r->end - r->at);
        const size_t n = newline ? (size_t)(newline - from) : r->end - r->at;
        PLUMB_TRY(keep(r, from, n));
        r->at += n;
        r->byte += (int64_t)n;
        if (newline) return PLUMB_OK;
    }
}

/* Up to the comma or bracket behind the element, which is not taken. */
static int keep_element(struct plumb_jsonl *r)
{
    bool more, quoted = false, escaped = false;
    int64_t depth = 0;
    for (;; take(r)) {
        PLUMB_TRY(refill(r, &more));
        if (!more) return PLUMB_OK;
        const char c = r->chunk[r->at];
        if (quoted) {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            if (depth <= 0 && (c == ',' || c == ']')) return PLUMB_OK;
            quoted = c == '"';
            depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        }
        PLUMB_TRY(keep(r, &c, 1));
    }
}

static int broken_array(struct plumb_jsonl *r, const char *what)
{
    r->finished = true;
    return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ": %s", r->path, r->line, what);
}

/* Behind an element: a comma that more must follow, or the bracket and then nothing. */
static int end_element(struct plumb_jsonl *r)
{
    int c;
    PLUMB_TRY(peek(r, &c));
    if (c == ',') {
        take(r);
        PLUMB_TRY(peek(r, &c));
        return c == ']' ? broken_array(r, "the array ends behind a comma") : PLUMB_OK;
    }
    if (c != ']') return broken_array(r, "the file ends inside its array");
    take(r);
    PLUMB_TRY(peek(r, &c));
    if (c >= 0) return broken_array(r, "text stands behind the array");
    r->finished = true;
    return PLUMB_OK;
}

static int first_byte(struct plumb_jsonl *r)
{
    bool more;
    int c;
    PLUMB_TRY(refill(r, &more));
    if (more && r->end >= 3 && memcmp(r->chunk, "\xef\xbb\xbf", 3) == 0) {
        r->at = 3;
        r->byte = r->line_start = 3;
    }
    PLUMB_TRY(peek(r, &c));
    r->array = c == '[';
    if (!r->array) return PLUMB_OK;
    take(r);
    PLUMB_TRY(peek(r, &c));
    return c == ']' ? end_element(r) : PLUMB_OK;
}

int plumb_jsonl_open(struct plumb_jsonl *r, const char *path, size_t row_limit)
{
    int rc = PLUMB_OK;
    *r = (struct plumb_jsonl){ .path = path,
                               .row_limit = row_limit ? row_limit : ROW_LIMIT,
                               .line = 1 };
    r->chunk = malloc(CHUNK_BYTES);
    if (!r->chunk)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a buffer for \"%s\"", path));
    PLUMB_TRYG(plumb_input_open(&r->in, path));
    PLUMB_TRYG(first_byte(r));
out:
    if (rc) plumb_jsonl_release(r);
    return rc;
}

static void trim_end(struct plumb_jsonl *r)
{
    while (r->row_bytes > 0 && is_space(r->row[r->row_bytes - 1]))
        r->row_bytes--;
}

int plumb_jsonl_next(struct plumb_jsonl *r, struct plumb_jsonl_row *row, bool *found)
{
    int c;
    *found = false;
    if (r->finished) return PLUMB_OK;
    PLUMB_TRY(peek(r, &c));
    if (c < 0 && !r->array) {
        r->finished = true;
        return PLUMB_OK;
    }
    *row = (struct plumb_jsonl_row){ .index = r->rows++,
                                     .line = r->line,
                                     .byte = r->byte,
                                     .column = r->byte - r->line_start + 1 };
    r->row_bytes = 0;
    PLUMB_TRY(r->array ? keep_element(r) : keep_line(r));
    if (r->array) PLUMB_TRY(end_element(r));
    if (r->row_bytes > r->row_limit)
        return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ": the row has more than %zu bytes", r->path,
                          row->line, r->row_limit);
    trim_end(r);
    if (r->row_bytes == 0)
        return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ": an element of the array is missing",
                          r->path, row->line);
    row->text = r->row;
    row->n = r->row_bytes;
    *found = true;
    return PLUMB_OK;
}

void plumb_jsonl_release(struct plumb_jsonl *r)
{
    plumb_input_release(&r->in);
    free(r->chunk);
    free(r->row);
    *r = (struct plumb_jsonl){ 0 };
}
