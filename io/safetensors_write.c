/* Writing safetensors files, alone or as shards with an index. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/json.h"
#include "io/numbers.h"
#include "io/safetensors.h"

#define CHUNK 8192 /* numbers converted at a time */
#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"

/* The tensors [first, last) of a source, as one file. */
struct part {
    const struct plumb_weights *from;
    int64_t first, last;
    enum plumb_dtype dtype;
};

static const char *const names[] = {
    [PLUMB_F64] = "F64", [PLUMB_F32] = "F32", [PLUMB_BF16] = "BF16", [PLUMB_F16] = "F16"
};

enum plumb_dtype plumb_safetensors_keeps(const char *name)
{
    for (int t = PLUMB_F64; t <= PLUMB_F16; t++)
        if (strcmp(names[t], name) == 0) return (enum plumb_dtype)t;
    return PLUMB_F32;
}

static enum plumb_dtype dtype_of(const struct part *p, int64_t i)
{
    if (p->dtype != PLUMB_DTYPES) return p->dtype;
    return plumb_safetensors_keeps(p->from->tensor[i].dtype);
}

static int64_t stored_bytes(const struct part *p, int64_t i)
{
    return p->from->tensor[i].count * (int64_t)plumb_dtype_bytes(dtype_of(p, i));
}

/* {"dtype": ..., "shape": [...], "data_offsets": [...]}; NULL without memory. */
static cJSON *entry(const struct part *p, int64_t i, int64_t offset)
{
    const struct plumb_weight *t = &p->from->tensor[i];
    cJSON *e = cJSON_CreateObject();
    cJSON *shape = cJSON_AddArrayToObject(e, "shape");
    cJSON *at = cJSON_AddArrayToObject(e, "data_offsets");
    bool ok = cJSON_AddStringToObject(e, "dtype", names[dtype_of(p, i)]) && shape && at;
    for (int d = 0; d < t->rank && ok; d++)
        ok = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[d]));
    ok = ok && cJSON_AddItemToArray(at, cJSON_CreateNumber((double)offset)) &&
         cJSON_AddItemToArray(at, cJSON_CreateNumber((double)(offset + stored_bytes(p, i))));
    if (ok) return e;
    cJSON_Delete(e);
    return NULL;
}

/* The header's text, malloc'ed; NULL without memory. transformers asks for the metadata. */
static char *header_text(const struct part *p)
{
    cJSON *h = cJSON_CreateObject();
    cJSON *meta = cJSON_AddObjectToObject(h, "__metadata__");
    bool ok = meta && cJSON_AddStringToObject(meta, "format", "pt");
    int64_t offset = 0;
    for (int64_t i = p->first; i < p->last && ok; i++) {
        ok = cJSON_AddItemToObject(h, p->from->tensor[i].name, entry(p, i, offset));
        offset += stored_bytes(p, i);
    }
    char *text = ok ? cJSON_PrintUnformatted(h) : NULL;
    cJSON_Delete(h);
    return text;
}

static int put_header(struct plumb_writer *w, const struct part *p)
{
    char *text = header_text(p);
    if (!text) return plumb_fail(PLUMB_EMEM, "could not allocate the header of \"%s\"", w->path);
    const size_t n = strlen(text);
    const uint64_t padded = (n + 7) / 8 * 8; /* tensors start at multiples of 8 */
    int rc = plumb_writer_put(w, &padded, 8);
    if (rc == PLUMB_OK) rc = plumb_writer_put(w, text, n);
    if (rc == PLUMB_OK) rc = plumb_writer_put(w, "       ", padded - n);
    cJSON_free(text);
    return rc;
}

static int put_tensor(struct plumb_writer *w, const struct part *p, int64_t i, double *numbers,
                      char *bytes)
{
    const struct plumb_weight *t = &p->from->tensor[i];
    const enum plumb_dtype dtype = dtype_of(p, i);
    for (int64_t at = 0; at < t->count; at += CHUNK) {
        const int64_t n = t->count - at < CHUNK ? t->count - at : CHUNK;
        PLUMB_TRY(p->from->read(p->from, i, at, n, numbers));
        plumb_numbers_encode(dtype, numbers, n, bytes);
        PLUMB_TRY(plumb_writer_put(w, bytes, (size_t)n * plumb_dtype_bytes(dtype)));
    }
    return PLUMB_OK;
}

static int write_part(const char *path, const struct part *p)
{
    PLUMB_ASSERT(p->dtype <= PLUMB_F16 || p->dtype == PLUMB_DTYPES);
    struct plumb_writer w = { 0 };
    int rc = PLUMB_OK;
    double *numbers = malloc(CHUNK * sizeof *numbers);
    char *bytes = malloc(CHUNK * sizeof *numbers);
    if (!numbers || !bytes)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a buffer to write \"%s\"", path));
    PLUMB_TRYG(plumb_writer_open(&w, path));
    PLUMB_TRYG(put_header(&w, p));
    for (int64_t i = p->first; i < p->last; i++)
        PLUMB_TRYG(put_tensor(&w, p, i, numbers, bytes));
    PLUMB_TRYG(plumb_writer_commit(&w));
out:
    plumb_writer_abort(&w);
    free(numbers);
    free(bytes);
    return rc;
}

int plumb_safetensors_write(const char *path, const struct plumb_weights *from,
                            enum plumb_dtype dtype)
{
    return write_part(path, &(struct part){ from, 0, from->count, dtype });
}

/* Moves p to the tensors after it that fit a shard, at least one; false at the end. */
static bool next_part(struct part *p, int64_t shard_bytes)
{
    p->first = p->last;
    int64_t bytes = 0;
    while (p->last < p->from->count &&
           (p->last == p->first || bytes + stored_bytes(p, p->last) <= shard_bytes))
        bytes += stored_bytes(p, p->last++);
    return p->last > p->first;
}

static void shard_name(char *out, size_t n, int shard, int shards)
{
    snprintf(out, n, "model-%05d-of-%05d.safetensors", shard, shards);
}

static int write_index(const char *path, struct part p, int64_t shard_bytes, int shards)
{
    cJSON *index = cJSON_CreateObject();
    cJSON *meta = cJSON_AddObjectToObject(index, "metadata");
    cJSON *map = cJSON_AddObjectToObject(index, "weight_map");
    char name[64];
    int64_t total = 0;
    bool ok = meta && map;
    for (int s = 1; next_part(&p, shard_bytes) && ok; s++) {
        shard_name(name, sizeof name, s, shards);
        for (int64_t i = p.first; i < p.last && ok; i++) {
            total += stored_bytes(&p, i);
            ok = cJSON_AddStringToObject(map, p.from->tensor[i].name, name);
        }
    }
    ok = ok && cJSON_AddNumberToObject(meta, "total_size", (double)total);
    char *text = ok ? cJSON_Print(index) : NULL;
    cJSON_Delete(index);
    if (!text) return plumb_fail(PLUMB_EMEM, "could not allocate the text of \"%s\"", path);
    const int rc = plumb_file_write(path, text, strlen(text));
    cJSON_free(text);
    return rc;
}

int plumb_safetensors_write_folder(const char *dir, const struct plumb_weights *from,
                                   enum plumb_dtype dtype, int64_t shard_bytes)
{
    char single[4096], index[4096], path[4096], name[64];
    if (shard_bytes <= 0) shard_bytes = INT64_C(5000000000);
    PLUMB_TRY(plumb_path_join(single, sizeof single, dir, SINGLE));
    PLUMB_TRY(plumb_path_join(index, sizeof index, dir, INDEX));
    const struct part start = { .from = from, .dtype = dtype };
    int shards = 0;
    for (struct part p = start; next_part(&p, shard_bytes);)
        shards++;
    if (shards <= 1) {
        PLUMB_TRY(plumb_safetensors_write(single, from, dtype));
        unlink(index);
        return PLUMB_OK;
    }
    struct part p = start;
    for (int s = 1; next_part(&p, shard_bytes); s++) {
        shard_name(name, sizeof name, s, shards);
        PLUMB_TRY(plumb_path_join(path, sizeof path, dir, name));
        PLUMB_TRY(write_part(path, &p));
    }
    PLUMB_TRY(write_index(index, start, shard_bytes, shards));
    unlink(single); /* readers prefer it to an index */
    return PLUMB_OK;
}
