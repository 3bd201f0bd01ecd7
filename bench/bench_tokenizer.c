/* Text to ids on one thread: megabytes a second of processor time, for the first pass over the
 * texts (nothing cached) and the best of all. bench/peers/tokenize.py measures Hugging Face's
 * tokenizers in the same way.
 * Usage: bench_tokenizer TOKENIZER FILE.jsonl[.gz] COLUMN [passes]. */
#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/json.h"
#include "io/jsonl.h"
#include "io/tokenizer.h"

struct texts {
    char **text;
    size_t *bytes;
    int64_t n, capacity, total;
};

static void must(int rc)
{
    if (!rc) return;
    fprintf(stderr, "bench_tokenizer: %s\n", plumb_errmsg());
    exit(1);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int push(struct texts *t, const char *s)
{
    if (t->n == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 1024;
        char **text = realloc(t->text, (size_t)t->capacity * sizeof *text);
        if (text) t->text = text;
        size_t *bytes = realloc(t->bytes, (size_t)t->capacity * sizeof *bytes);
        if (bytes) t->bytes = bytes;
        if (!text || !bytes) return plumb_fail(PLUMB_EMEM, "no memory for the texts");
    }
    char *copy = strdup(s);
    if (!copy) return plumb_fail(PLUMB_EMEM, "no memory for the texts");
    t->bytes[t->n] = strlen(s);
    t->total += (int64_t)t->bytes[t->n];
    t->text[t->n++] = copy;
    return PLUMB_OK;
}

static int read_texts(const char *path, const char *column, struct texts *t)
{
    struct plumb_jsonl r;
    struct plumb_jsonl_row row;
    bool found = true;
    PLUMB_TRY(plumb_jsonl_open(&r, path, 0));
    int rc = PLUMB_OK;
    while (!rc && !(rc = plumb_jsonl_next(&r, &row, &found)) && found) {
        cJSON *json = NULL;
        rc = plumb_json_parse_at(row.text, row.n, path, row.line, &json);
        const cJSON *v = plumb_json_get(json, column);
        if (!rc && !cJSON_IsString(v))
            rc = plumb_fail(PLUMB_EFORMAT, "%s: no text in \"%s\"", path, column);
        if (!rc) rc = push(t, v->valuestring);
        cJSON_Delete(json);
    }
    plumb_jsonl_release(&r);
    return rc;
}

/* Encodes all texts; *ids = how many ids they have. */
static double pass(struct plumb_text *t, const struct texts *all, int64_t *ids)
{
    struct plumb_idbuf out = { 0 };
    const double start = seconds();
    *ids = 0;
    for (int64_t i = 0; i < all->n; i++) {
        out.n = 0;
        must(t->encode(t->self, all->text[i], all->bytes[i], false, &out));
        *ids += out.n;
    }
    const double took = seconds() - start;
    plumb_idbuf_release(&out);
    return took;
}

int main(int argc, char **argv)
{
    struct plumb_text t;
    struct texts all = { 0 };
    int64_t ids;
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: bench_tokenizer TOKENIZER FILE.jsonl COLUMN [passes]\n");
        return 2;
    }
    const long passes = argc > 4 ? strtol(argv[4], NULL, 10) : 9;
    must(plumb_tokenizer_open(&t, argv[1]));
    must(read_texts(argv[2], argv[3], &all));
    const double first = pass(&t, &all, &ids);
    double best = first;
    for (long i = 1; i < passes; i++) {
        const double took = pass(&t, &all, &ids);
        best = took < best ? took : best;
    }
    const double megabytes = 1e-6 * (double)all.total;
    printf("plumb: %.2f MB, %lld ids; first pass %.1f MB/s, best of %ld %.1f MB/s\n", megabytes,
           (long long)ids, megabytes / first, passes, megabytes / best);
    for (int64_t i = 0; i < all.n; i++)
        free(all.text[i]);
    free(all.text);
    free(all.bytes);
    plumb_tokenizer_release(&t);
    return 0;
}
