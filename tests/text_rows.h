/* Vectors of tokenizers: rows of JSON replayed against a struct plumb_text. For test programs only.
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "io/tokenizer.h"

/* The reader of JSON refuses \u0000, which some texts have: it is read as this character. */
#define TEXT_NUL "\xEF\xA3\xB7" /* U+F8F7, for private use */

/* What was replayed and what disagreed. */
struct text_tally {
    int64_t rows, checks, wrong;
};

static inline bool text_shared(char *out, size_t n, const char *below)
{
    const char *shared = getenv("PLUMB_SHARED"), *source = getenv("PLUMB_SOURCE");
    if (shared)
        snprintf(out, n, "%s/%s", shared, below);
    else
        snprintf(out, n, "%s/../shared/%s", source ? source : ".", below);
    return plumb_file_exists(out);
}

/* Loads a JSON file (plain or gzip) whose strings may hold U+0000. */
static inline int text_rows_load(const char *path, cJSON **out)
{
    char *text;
    size_t n;
    *out = NULL;
    PLUMB_TRY(plumb_file_read(path, 0, &text, &n));
    int rc = PLUMB_OK;
    if (strstr(text, TEXT_NUL) || strstr(text, "\\uf8f7"))
        rc = plumb_fail(PLUMB_EFORMAT, "\"%s\" uses U+F8F7, which stands for NUL here", path);
    for (size_t i = 0; i + 1 < n; i++) {
        if (text[i] != '\\') continue;
        if (!strncmp(text + i, "\\u0000", 6)) memcpy(text + i, "\\uf8f7", 6);
        i++;
    }
    if (!rc) rc = plumb_json_parse(text, n, path, out);
    free(text);
    return rc;
}

/* A string of such a file with its NULs; malloc'ed. */
static inline char *text_of(const cJSON *v, size_t *n)
{
    const char *s = v->valuestring;
    char *out = malloc(strlen(s) + 1), *to = out;
    if (!out) abort();
    while (*s)
        if (!strncmp(s, TEXT_NUL, 3)) {
            *to++ = 0;
            s += 3;
        } else {
            *to++ = *s++;
        }
    *to = 0;
    *n = (size_t)(to - out);
    return out;
}

static inline void text_complain(struct text_tally *tally, const char *label, const char *row,
                                 const char *field, const char *got, const char *wanted)
{
    if (tally->wrong++ < 20)
        printf("  %s: %s: %s\n    got    %.300s\n    wanted %.300s\n", label, row, field, got,
               wanted);
}

static inline void text_print_ids(char *out, size_t n, const int32_t *id, int64_t count)
{
    size_t at = 0;
    out[0] = 0;
    for (int64_t i = 0; i < count && at + 12 < n; i++)
        at += (size_t)snprintf(out + at, n - at, "%d ", id[i]);
}

static inline void text_check_ids(struct plumb_text *t, struct text_tally *tally, const char *label,
                                  const char *row, const char *field, const char *text, size_t n,
                                  bool add_special, const int32_t *wanted, int64_t count)
{
    struct plumb_idbuf got = { 0 };
    tally->checks++;
    if (t->encode(t->self, text, n, add_special, &got)) {
        text_complain(tally, label, row, field, plumb_errmsg(), "ids");
    } else if (got.n != count || (count && memcmp(got.id, wanted, (size_t)count * 4))) {
        char a[400], b[400];
        text_print_ids(a, sizeof a, got.id, got.n);
        text_print_ids(b, sizeof b, wanted, count);
        text_complain(tally, label, row, field, a, b);
    }
    plumb_idbuf_release(&got);
}

static inline void text_check_decoded(struct plumb_text *t, struct text_tally *tally,
                                      const char *label, const char *row, const char *field,
                                      const int32_t *id, int64_t count, bool skip, const char *text,
                                      size_t n)
{
    char *got = NULL;
    size_t got_n = 0;
    tally->checks++;
    if (t->decode(t->self, id, count, skip, &got, &got_n))
        text_complain(tally, label, row, field, plumb_errmsg(), text);
    else if (got_n != n || memcmp(got, text, n))
        text_complain(tally, label, row, field, got, text);
    free(got);
}

/* The numbers of a JSON array; malloc'ed. */
static inline int32_t *text_ids_of(const cJSON *array, int64_t *count)
{
    *count = cJSON_GetArraySize(array);
    int32_t *id = malloc(((size_t)*count + 1) * sizeof *id);
    if (!id) abort();
    int64_t i = 0;
    for (const cJSON *v = array ? array->child : NULL; v; v = v->next)
        id[i++] = v->valueint;
    return id;
}

/* Spans in characters, as "from-to" in text; an end inside a character counts it. */
static inline void text_print_spans(char *out, size_t n, const char *text, size_t text_n,
                                    const struct plumb_textspans *spans)
{
    size_t at = 0;
    out[0] = 0;
    for (int64_t i = 0; i < spans->n && at + 24 < n; i++) {
        int64_t place[2] = { spans->at[i].from, spans->at[i].to }, points[2] = { 0, 0 };
        for (int k = 0; k < 2; k++)
            for (int64_t b = 0; b < place[k] && b < (int64_t)text_n; b++)
                points[k] += ((unsigned char)text[b] & 0xC0) != 0x80;
        at += (size_t)snprintf(out + at, n - at, "%lld-%lld ", (long long)points[0],
                               (long long)points[1]);
    }
}

/* Where tokens stand, as the published library tells it. */
static inline void text_check_spans(struct plumb_text *t, struct text_tally *tally,
                                    const char *label, const char *row, const char *text, size_t n,
                                    const cJSON *wanted)
{
    enum { SHOWN = 1 << 20 };
    struct plumb_idbuf ids = { 0 };
    struct plumb_textspans spans = { .trim = true };
    char *a = calloc(2, SHOWN), *b = a + SHOWN;
    size_t at = 0;
    if (!a) abort();
    for (const cJSON *v = wanted->child; v && at + 24 < SHOWN; v = v->next)
        at += (size_t)snprintf(b + at, SHOWN - at, "%d-%d ", v->child->valueint,
                               v->child->next->valueint);
    tally->checks++;
    if (t->encode_spans(t->self, text, n, false, &ids, &spans)) {
        text_complain(tally, label, row, "offsets", plumb_errmsg(), "spans");
    } else {
        text_print_spans(a, SHOWN, text, n, &spans);
        if (strcmp(a, b)) {
            size_t same = 0;
            while (a[same] && a[same] == b[same])
                same++;
            while (same && a[same - 1] != ' ')
                same--;
            text_complain(tally, label, row, "offsets", a + same, b + same);
        }
    }
    plumb_textspans_release(&spans);
    plumb_idbuf_release(&ids);
    free(a);
}

/* Replays one row: of ids, ids_plain, offsets, decoded and decoded_skip what it has. */
static inline void text_check_row(struct plumb_text *t, const cJSON *row, const char *label,
                                  struct text_tally *tally)
{
    const cJSON *name = plumb_json_get(row, "name");
    const char *called = name ? name->valuestring : "row";
    size_t n;
    int64_t count;
    char *text = text_of(plumb_json_get(row, "text"), &n);
    int32_t *id = text_ids_of(plumb_json_get(row, "ids"), &count);
    text_check_ids(t, tally, label, called, "ids", text, n, true, id, count);
    const cJSON *plain = plumb_json_get(row, "ids_plain");
    if (plain) {
        int64_t plain_count;
        int32_t *plain_id = text_ids_of(plain, &plain_count);
        text_check_ids(t, tally, label, called, "ids_plain", text, n, false, plain_id, plain_count);
        free(plain_id);
    }
    const cJSON *offsets = plumb_json_get(row, "offsets");
    if (cJSON_IsArray(offsets))
        text_check_spans(t, tally, label, called, text, n, offsets);
    for (int skip = 0; skip < 2; skip++) {
        const char *field = skip ? "decoded_skip" : "decoded";
        const cJSON *v = plumb_json_get(row, field);
        if (!cJSON_IsString(v)) continue;
        size_t decoded_n;
        char *decoded = text_of(v, &decoded_n);
        text_check_decoded(t, tally, label, called, field, id, count, skip, decoded, decoded_n);
        free(decoded);
    }
    tally->rows++;
    free(text);
    free(id);
}
