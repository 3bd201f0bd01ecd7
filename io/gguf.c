/* Opening GGUF files: header, metadata, tensor table, and every check on them. */
#include "io/gguf.h"

#include <stdlib.h>
#include <string.h>

#include "io/gguf_cursor.h"

#define MAX_KEY 65535 /* bytes, as the specification says */
#define ALIGNMENT 32  /* where general.alignment is absent */

int plumb_gguf_take(struct plumb_gguf_cursor *c, void *out, size_t n, const char *what)
{
    if ((size_t)(c->end - c->at) < n)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" is truncated inside %s", c->path, what);
    memcpy(out, c->at, n);
    c->at += n;
    return PLUMB_OK;
}

int plumb_gguf_take_text(struct plumb_gguf_cursor *c, const char **out, size_t *n, const char *what)
{
    uint64_t length;
    PLUMB_TRY(plumb_gguf_take(c, &length, sizeof length, what));
    if (length > (uint64_t)(c->end - c->at))
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": %s of %llu bytes reaches past the file's end",
                          c->path, what, (unsigned long long)length);
    *out = c->at;
    *n = (size_t)length;
    c->at += length;
    return PLUMB_OK;
}

int plumb_gguf_take_name(struct plumb_gguf_cursor *c, size_t most, const char **out, size_t *n,
                         const char *what)
{
    PLUMB_TRY(plumb_gguf_take_text(c, out, n, what));
    if (*n == 0 || *n > most)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": %s has %zu bytes, must have 1 to %zu", c->path,
                          what, *n, most);
    for (size_t i = 0; i < *n; i++)
        if ((*out)[i] <= ' ' || (*out)[i] > '~')
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": %s holds the byte 0x%02x", c->path, what,
                              (unsigned char)(*out)[i]);
    return PLUMB_OK;
}

/* Steps over the elements of a value whose type and count are known. */
static int skip_elements(struct plumb_gguf_cursor *c, struct plumb_gguf_entry *e)
{
    const size_t left = (size_t)(c->end - c->at), each = plumb_gguf_value_bytes(e->type);
    const size_t least = each ? each : sizeof(uint64_t);
    e->data = c->at;
    if ((uint64_t)e->count > left / least)
        return plumb_fail(PLUMB_EFORMAT,
                          "\"%s\": \"%.*s\" has %llu elements, more than the file's %zu bytes hold",
                          c->path, (int)e->key_bytes, e->key, (unsigned long long)e->count, left);
    if (each) c->at += (size_t)e->count * each;
    for (int64_t i = 0; i < e->count && !each; i++) {
        const char *s;
        size_t n;
        PLUMB_TRY(plumb_gguf_take_text(c, &s, &n, "a string"));
        if (memchr(s, 0, n))
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": string %lld of \"%.*s\" holds a NUL byte",
                              c->path, (long long)i, (int)e->key_bytes, e->key);
    }
    e->bytes = (size_t)(c->at - e->data);
    return PLUMB_OK;
}

static int take_type(struct plumb_gguf_cursor *c, const struct plumb_gguf_entry *e, uint32_t *type)
{
    PLUMB_TRY(plumb_gguf_take(c, type, sizeof *type, "the type of a value"));
    if (*type < PLUMB_GGUF_TYPES) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT, "\"%s\": \"%.*s\" has the unknown value type %u", c->path,
                      (int)e->key_bytes, e->key, *type);
}

static int take_entry(struct plumb_gguf_cursor *c, struct plumb_gguf_entry *e)
{
    uint32_t type;
    uint64_t count = 1;
    *e = (struct plumb_gguf_entry){ 0 };
    PLUMB_TRY(plumb_gguf_take_name(c, MAX_KEY, &e->key, &e->key_bytes, "a key"));
    PLUMB_TRY(take_type(c, e, &type));
    e->array = type == PLUMB_GGUF_ARRAY;
    if (e->array) {
        PLUMB_TRY(take_type(c, e, &type));
        if (type == PLUMB_GGUF_ARRAY)
            return plumb_fail(PLUMB_ENOTSUP, "\"%s\": \"%.*s\" is an array of arrays", c->path,
                              (int)e->key_bytes, e->key);
        PLUMB_TRY(plumb_gguf_take(c, &count, sizeof count, "the length of an array"));
        if (count > INT64_MAX) count = INT64_MAX; /* refused below with the bytes that are there */
    }
    e->type = (enum plumb_gguf_type)type;
    e->count = (int64_t)count;
    return skip_elements(c, e);
}

static int compare_text(const char *a, size_t an, const char *b, size_t bn)
{
    const int order = memcmp(a, b, an < bn ? an : bn);
    return order ? order : (an > bn) - (an < bn);
}

static int by_key(const void *a, const void *b)
{
    const struct plumb_gguf_entry *x = a, *y = b;
    return compare_text(x->key, x->key_bytes, y->key, y->key_bytes);
}

static int take_metadata(struct plumb_gguf *g, struct plumb_gguf_cursor *c, uint64_t count)
{
    if (count > (uint64_t)(c->end - c->at) / 13) /* a key of one byte and a value of one byte */
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" cannot hold %llu keys", g->path,
                          (unsigned long long)count);
    g->entry = calloc(count + 1, sizeof *g->entry);
    if (!g->entry)
        return plumb_fail(PLUMB_EMEM, "could not allocate a table of %llu keys",
                          (unsigned long long)count);
    for (; g->entries < (int64_t)count; g->entries++)
        PLUMB_TRY(take_entry(c, &g->entry[g->entries]));
    qsort(g->entry, (size_t)count, sizeof *g->entry, by_key);
    for (int64_t i = 1; i < g->entries; i++)
        if (by_key(&g->entry[i - 1], &g->entry[i]) == 0)
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": the key \"%.*s\" stands twice", g->path,
                              (int)g->entry[i].key_bytes, g->entry[i].key);
    return PLUMB_OK;
}

/* Sizes as stored, the contiguous one first, into t->shape the other way round. */
static int take_shape(struct plumb_gguf_cursor *c, struct plumb_gguf_tensor *t)
{
    uint32_t rank;
    PLUMB_TRY(plumb_gguf_take(c, &rank, sizeof rank, "a tensor's rank"));
    if (rank < 1 || rank > PLUMB_GGUF_RANK)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" has rank %u, must be 1 to %d",
                          c->path, t->name, rank, PLUMB_GGUF_RANK);
    t->rank = (int)rank;
    t->count = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        uint64_t size;
        PLUMB_TRY(plumb_gguf_take(c, &size, sizeof size, "a tensor's shape"));
        t->shape[i] = (int64_t)size;
        if (size < 1 || size > INT64_MAX ||
            __builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": a size of %llu in tensor \"%s\"%s", c->path,
                              (unsigned long long)size, t->name, size < 1 ? "" : " overflows");
    }
    return PLUMB_OK;
}

static int take_format(struct plumb_gguf_cursor *c, struct plumb_gguf_tensor *t)
{
    uint32_t type;
    PLUMB_TRY(plumb_gguf_take(c, &type, sizeof type, "a tensor's type"));
    const struct plumb_gguf_format *f = plumb_gguf_format(type);
    if (!f)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" has the unknown type %u", c->path,
                          t->name, type);
    if (!f->per)
        return plumb_fail(
            PLUMB_ENOTSUP,
            "\"%s\": tensor \"%s\" of type %s is not supported (F32, F16, BF16, Q4_0, "
            "Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K are)",
            c->path, t->name, f->name);
    const int64_t row = t->shape[t->rank - 1];
    int64_t bytes;
    if (row % f->per)
        return plumb_fail(PLUMB_EFORMAT,
                          "\"%s\": rows of tensor \"%s\" hold %lld numbers, not a multiple of %s's "
                          "block of %lld",
                          c->path, t->name, (long long)row, f->name, (long long)f->per);
    if (__builtin_mul_overflow(t->count / f->per, f->bytes, &bytes))
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": the shape of tensor \"%s\" overflows", c->path,
                          t->name);
    t->type = f->name;
    t->format = f;
    t->bytes = (size_t)bytes;
    return PLUMB_OK;
}

/* A row of the table; the tensor's data is set to its offset, to be moved when the data begins. */
static int take_tensor(struct plumb_gguf_cursor *c, struct plumb_gguf_tensor *t, uint64_t *offset)
{
    const char *name;
    size_t n;
    *t = (struct plumb_gguf_tensor){ 0 };
    PLUMB_TRY(plumb_gguf_take_name(c, sizeof t->name - 1, &name, &n, "a tensor's name"));
    memcpy(t->name, name, n);
    PLUMB_TRY(take_shape(c, t));
    PLUMB_TRY(take_format(c, t));
    return plumb_gguf_take(c, offset, sizeof *offset, "a tensor's offset");
}

/* Gives every tensor its bytes in the data section, which is `n` bytes from `data`. */
static int place(const struct plumb_gguf *g, const uint64_t *offset, uint64_t alignment,
                 const char *data, size_t n)
{
    for (int64_t i = 0; i < g->tensors; i++) {
        struct plumb_gguf_tensor *t = &g->tensor[i];
        if (offset[i] % alignment)
            return plumb_fail(
                PLUMB_EFORMAT, "\"%s\": tensor \"%s\" begins at byte %llu, not a multiple of %llu",
                g->path, t->name, (unsigned long long)offset[i], (unsigned long long)alignment);
        if (offset[i] > n || t->bytes > n - offset[i])
            return plumb_fail(PLUMB_EFORMAT,
                              "\"%s\": tensor \"%s\" of %zu bytes at %llu reaches past the file's "
                              "end",
                              g->path, t->name, t->bytes, (unsigned long long)offset[i]);
        t->data = data + offset[i];
    }
    return PLUMB_OK;
}

static int by_place(const void *a, const void *b)
{
    const char *x = ((const struct plumb_gguf_tensor *)a)->data;
    const char *y = ((const struct plumb_gguf_tensor *)b)->data;
    return (x > y) - (x < y);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct plumb_gguf_tensor *)a)->name,
                  ((const struct plumb_gguf_tensor *)b)->name);
}

/* No two tensors share bytes or a name; leaves them sorted by name. */
static int check_apart(const struct plumb_gguf *g)
{
    struct plumb_gguf_tensor *t = g->tensor;
    qsort(t, (size_t)g->tensors, sizeof *t, by_place);
    for (int64_t i = 1; i < g->tensors; i++)
        if ((const char *)t[i - 1].data + t[i - 1].bytes > (const char *)t[i].data)
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensors \"%s\" and \"%s\" overlap", g->path,
                              t[i - 1].name, t[i].name);
    qsort(t, (size_t)g->tensors, sizeof *t, by_name);
    for (int64_t i = 1; i < g->tensors; i++)
        if (strcmp(t[i - 1].name, t[i].name) == 0)
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" stands twice", g->path,
                              t[i].name);
    return PLUMB_OK;
}

static int take_tensors(struct plumb_gguf *g, struct plumb_gguf_cursor *c, uint64_t count)
{
    int rc = PLUMB_OK;
    int64_t alignment;
    PLUMB_TRY(plumb_gguf_i64_or(g, "general.alignment", ALIGNMENT, &alignment));
    if (alignment < 8 || alignment > 1 << 24 || alignment % 8)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": \"general.alignment\" is %lld", g->path,
                          (long long)alignment);
    if (count > (uint64_t)(c->end - c->at) / 33) /* a name of one byte, one size, type, offset */
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" cannot hold %llu tensors", g->path,
                          (unsigned long long)count);
    g->tensor = calloc(count + 1, sizeof *g->tensor);
    uint64_t *offset = calloc(count + 1, sizeof *offset);
    if (!g->tensor || !offset)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a table of %llu tensors",
                              (unsigned long long)count));
    for (; g->tensors < (int64_t)count; g->tensors++)
        PLUMB_TRYG(take_tensor(c, &g->tensor[g->tensors], &offset[g->tensors]));
    const size_t head = (size_t)(c->at - g->map.data), step = (size_t)alignment;
    const size_t start = (head + step - 1) / step * step;
    const size_t n = start < g->map.bytes ? g->map.bytes - start : 0;
    PLUMB_TRYG(place(g, offset, (uint64_t)alignment, c->end - n, n));
    PLUMB_TRYG(check_apart(g));
out:
    free(offset);
    return rc;
}

static int take_file(struct plumb_gguf *g)
{
    uint32_t version;
    uint64_t tensors, keys;
    if (g->map.bytes < 24 || memcmp(g->map.data, "GGUF", 4))
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" is not GGUF", g->path);
    struct plumb_gguf_cursor c = { g->path, g->map.data + 4, g->map.data + g->map.bytes };
    PLUMB_TRY(plumb_gguf_take(&c, &version, sizeof version, "its header"));
    if (version < 2 || version > 3)
        return plumb_fail(PLUMB_ENOTSUP, "\"%s\" is GGUF version %u%s; 2 and 3 are supported",
                          g->path, version < 1 << 16 ? version : __builtin_bswap32(version),
                          version < 1 << 16 ? "" : ", big-endian");
    PLUMB_TRY(plumb_gguf_take(&c, &tensors, sizeof tensors, "its header"));
    PLUMB_TRY(plumb_gguf_take(&c, &keys, sizeof keys, "its header"));
    PLUMB_TRY(take_metadata(g, &c, keys));
    return take_tensors(g, &c, tensors);
}

int plumb_gguf_open(struct plumb_gguf *g, const char *path)
{
    int rc = PLUMB_OK;
    *g = (struct plumb_gguf){ .path = strdup(path) };
    if (!g->path) return plumb_fail(PLUMB_EMEM, "could not allocate a name for \"%s\"", path);
    PLUMB_TRYG(plumb_map_open(&g->map, path));
    PLUMB_TRYG(take_file(g));
out:
    if (rc) plumb_gguf_release(g);
    return rc;
}

void plumb_gguf_release(struct plumb_gguf *g)
{
    plumb_map_release(&g->map);
    free(g->entry);
    free(g->tensor);
    free(g->path);
    *g = (struct plumb_gguf){ 0 };
}

int64_t plumb_gguf_tensor_find(const struct plumb_gguf *g, const char *name)
{
    int64_t low = 0, high = g->tensors;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int order = strcmp(g->tensor[middle].name, name);
        if (order == 0) return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}
