/* What GGUF's tables lead to: typed metadata, and numbers of quantised tensors. */
#include <stdlib.h>
#include <string.h>

#include "io/gguf_cursor.h"
#include "io/numbers.h"

static const struct {
    const char *name;
    size_t bytes;
} types[PLUMB_GGUF_TYPES] = {
    [PLUMB_GGUF_U8] = { "an 8-bit number", 1 },  [PLUMB_GGUF_I8] = { "an 8-bit number", 1 },
    [PLUMB_GGUF_U16] = { "a 16-bit number", 2 }, [PLUMB_GGUF_I16] = { "a 16-bit number", 2 },
    [PLUMB_GGUF_U32] = { "a 32-bit number", 4 }, [PLUMB_GGUF_I32] = { "a 32-bit number", 4 },
    [PLUMB_GGUF_F32] = { "a 32-bit float", 4 },  [PLUMB_GGUF_BOOL] = { "a truth value", 1 },
    [PLUMB_GGUF_STRING] = { "a string", 0 },     [PLUMB_GGUF_U64] = { "a 64-bit number", 8 },
    [PLUMB_GGUF_I64] = { "a 64-bit number", 8 }, [PLUMB_GGUF_F64] = { "a 64-bit float", 8 },
};

size_t plumb_gguf_value_bytes(enum plumb_gguf_type type) { return types[type].bytes; }

const struct plumb_gguf_entry *plumb_gguf_find(const struct plumb_gguf *g, const char *key)
{
    const size_t n = strlen(key);
    int64_t low = 0, high = g->entries;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const struct plumb_gguf_entry *e = &g->entry[middle];
        int order = memcmp(e->key, key, e->key_bytes < n ? e->key_bytes : n);
        if (order == 0) order = (e->key_bytes > n) - (e->key_bytes < n);
        if (order == 0) return e;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int wrong(const struct plumb_gguf *g, const char *key, const char *wants,
                 const struct plumb_gguf_entry *e)
{
    return plumb_fail(PLUMB_EFORMAT, "\"%s\": \"%s\" wants %s, got %s%s", g->path, key, wants,
                      !e         ? "nothing"
                      : e->array ? "an array, each "
                                 : "",
                      e ? types[e->type].name : "");
}

/* Element i of a value of whole numbers; false where there is none in the range of int64. */
static bool whole(const struct plumb_gguf_entry *e, int64_t i, int64_t *out)
{
    const char *p = e->data + (size_t)i * types[e->type].bytes;
    uint64_t u = 0;
    memcpy(&u, p, types[e->type].bytes); /* little-endian */
    switch (e->type) {
    case PLUMB_GGUF_U8:
    case PLUMB_GGUF_U16:
    case PLUMB_GGUF_U32: *out = (int64_t)u; return true;
    case PLUMB_GGUF_I8: *out = (int8_t)u; return true;
    case PLUMB_GGUF_I16: *out = (int16_t)u; return true;
    case PLUMB_GGUF_I32: *out = (int32_t)u; return true;
    case PLUMB_GGUF_U64:
    case PLUMB_GGUF_I64: *out = (int64_t)u; return e->type == PLUMB_GGUF_I64 || u <= INT64_MAX;
    default: return false;
    }
}

int plumb_gguf_i64(const struct plumb_gguf *g, const char *key, int64_t *out)
{
    const struct plumb_gguf_entry *e = plumb_gguf_find(g, key);
    if (!e || e->array || e->type == PLUMB_GGUF_STRING || !whole(e, 0, out))
        return wrong(g, key, "a whole number", e);
    return PLUMB_OK;
}

int plumb_gguf_i64_or(const struct plumb_gguf *g, const char *key, int64_t fallback, int64_t *out)
{
    *out = fallback;
    return plumb_gguf_find(g, key) ? plumb_gguf_i64(g, key, out) : PLUMB_OK;
}

int plumb_gguf_f64_or(const struct plumb_gguf *g, const char *key, double fallback, double *out)
{
    const struct plumb_gguf_entry *e = plumb_gguf_find(g, key);
    int64_t number;
    *out = fallback;
    if (!e) return PLUMB_OK;
    if (e->array || e->type == PLUMB_GGUF_STRING) return wrong(g, key, "a number", e);
    if (e->type == PLUMB_GGUF_F32 || e->type == PLUMB_GGUF_F64)
        plumb_numbers_decode(e->type == PLUMB_GGUF_F32 ? PLUMB_F32 : PLUMB_F64, e->data, 1, out);
    else if (whole(e, 0, &number))
        *out = (double)number;
    else
        return wrong(g, key, "a number", e);
    return PLUMB_OK;
}

int plumb_gguf_bool_or(const struct plumb_gguf *g, const char *key, bool fallback, bool *out)
{
    const struct plumb_gguf_entry *e = plumb_gguf_find(g, key);
    *out = fallback;
    if (!e) return PLUMB_OK;
    if (e->array || e->type != PLUMB_GGUF_BOOL || (unsigned char)*e->data > 1)
        return wrong(g, key, "true or false", e);
    *out = *e->data == 1;
    return PLUMB_OK;
}

/* The string at *at, which moves behind it; opening the file has checked all lengths. */
static const char *next_string(const char **at, size_t *n)
{
    uint64_t length;
    memcpy(&length, *at, sizeof length);
    const char *s = *at + sizeof length;
    *n = (size_t)length;
    *at = s + length;
    return s;
}

int plumb_gguf_string(const struct plumb_gguf *g, const char *key, const char **out, size_t *n)
{
    const struct plumb_gguf_entry *e = plumb_gguf_find(g, key);
    if (!e || e->array || e->type != PLUMB_GGUF_STRING) return wrong(g, key, "a string", e);
    const char *at = e->data;
    *out = next_string(&at, n);
    return PLUMB_OK;
}

int plumb_gguf_copy_string(const struct plumb_gguf *g, const char *key, char **out)
{
    const char *s;
    size_t n;
    *out = NULL;
    if (!plumb_gguf_find(g, key)) return PLUMB_OK;
    PLUMB_TRY(plumb_gguf_string(g, key, &s, &n));
    *out = strndup(s, n);
    return *out ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes", n + 1);
}

int plumb_gguf_strings(const struct plumb_gguf *g, const char *key, const char *const **out,
                       int64_t *n)
{
    const struct plumb_gguf_entry *e = plumb_gguf_find(g, key);
    *out = NULL;
    *n = 0;
    if (!e) return PLUMB_OK;
    if (!e->array || e->type != PLUMB_GGUF_STRING) return wrong(g, key, "an array of strings", e);
    size_t bytes = 0, length;
    const char *at = e->data;
    for (int64_t i = 0; i < e->count; i++) {
        next_string(&at, &length);
        bytes += length + 1;
    }
    const size_t table = (size_t)(e->count + 1) * sizeof(char *);
    const char **list = malloc(table + bytes);
    if (!list) return plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes of strings", bytes);
    char *to = (char *)list + table;
    at = e->data;
    for (int64_t i = 0; i < e->count; i++) {
        const char *s = next_string(&at, &length);
        list[i] = memcpy(to, s, length);
        to[length] = 0;
        to += length + 1;
    }
    *out = list;
    *n = e->count;
    return PLUMB_OK;
}

int plumb_gguf_i32s(const struct plumb_gguf *g, const char *key, int32_t **out, int64_t *n)
{
    const struct plumb_gguf_entry *e = plumb_gguf_find(g, key);
    *out = NULL;
    *n = 0;
    if (!e) return PLUMB_OK;
    if (!e->array || e->type == PLUMB_GGUF_STRING) return wrong(g, key, "an array of numbers", e);
    int32_t *list = malloc((size_t)(e->count + 1) * sizeof *list);
    if (!list)
        return plumb_fail(PLUMB_EMEM, "could not allocate %lld numbers", (long long)e->count);
    for (int64_t i = 0; i < e->count; i++) {
        int64_t number;
        if (!whole(e, i, &number) || number < INT32_MIN || number > INT32_MAX) {
            free(list);
            return wrong(g, key, "an array of 32-bit numbers", e);
        }
        list[i] = (int32_t)number;
    }
    *out = list;
    *n = e->count;
    return PLUMB_OK;
}

int plumb_gguf_f32s(const struct plumb_gguf *g, const char *key, float **out, int64_t *n)
{
    const struct plumb_gguf_entry *e = plumb_gguf_find(g, key);
    *out = NULL;
    *n = 0;
    if (!e) return PLUMB_OK;
    if (!e->array || e->type != PLUMB_GGUF_F32) return wrong(g, key, "an array of floats", e);
    *out = malloc((size_t)(e->count + 1) * sizeof **out);
    if (!*out)
        return plumb_fail(PLUMB_EMEM, "could not allocate %lld numbers", (long long)e->count);
    memcpy(*out, e->data, (size_t)e->count * sizeof **out);
    *n = e->count;
    return PLUMB_OK;
}

/* Numbered as in files; numbers without a name were withdrawn. What is neither plain nor in blocks
 * that plumb/quant.h knows has its name alone. */
static const struct plumb_gguf_format formats[] = {
    [0] = { "F32", 1, 4, PLUMB_QUANT_NONE, PLUMB_F32 },
    [1] = { "F16", 1, 2, PLUMB_QUANT_NONE, PLUMB_F16 },
    [2] = { "Q4_0", 32, 18, PLUMB_Q4_0 },
    [3] = { "Q4_1", 32, 20, PLUMB_Q4_1 },
    [6] = { "Q5_0", 32, 22, PLUMB_Q5_0 },
    [7] = { "Q5_1", 32, 24, PLUMB_Q5_1 },
    [8] = { "Q8_0", 32, 34, PLUMB_Q8_0 },
    [9] = { "Q8_1" },
    [10] = { "Q2_K", 256, 84, PLUMB_Q2_K },
    [11] = { "Q3_K", 256, 110, PLUMB_Q3_K },
    [12] = { "Q4_K", 256, 144, PLUMB_Q4_K },
    [13] = { "Q5_K", 256, 176, PLUMB_Q5_K },
    [14] = { "Q6_K", 256, 210, PLUMB_Q6_K },
    [15] = { "Q8_K" },
    [16] = { "IQ2_XXS" },
    [17] = { "IQ2_XS" },
    [18] = { "IQ3_XXS" },
    [19] = { "IQ1_S" },
    [20] = { "IQ4_NL" },
    [21] = { "IQ3_S" },
    [22] = { "IQ2_S" },
    [23] = { "IQ4_XS" },
    [24] = { "I8" },
    [25] = { "I16" },
    [26] = { "I32" },
    [27] = { "I64" },
    [28] = { "F64", 1, 8, PLUMB_QUANT_NONE, PLUMB_F64 },
    [29] = { "IQ1_M" },
    [30] = { "BF16", 1, 2, PLUMB_QUANT_NONE, PLUMB_BF16 },
    [34] = { "TQ1_0" },
    [35] = { "TQ2_0" },
    [39] = { "MXFP4" },
};
enum { FORMATS = sizeof formats / sizeof *formats };

const struct plumb_gguf_format *plumb_gguf_format(uint32_t type)
{
    return type < FORMATS && formats[type].name ? &formats[type] : NULL;
}

/* Numbers [skip, skip + take) of the blocks from `data`. */
static void read_blocks(const struct plumb_gguf_format *f, const unsigned char *data, int64_t skip,
                        int64_t take, double *out)
{
    float block[PLUMB_QUANT_MOST];
    while (take > 0) {
        const int64_t n = f->per - skip < take ? f->per - skip : take;
        plumb_dequantize(f->quant, data, f->per, block);
        for (int64_t i = 0; i < n; i++)
            out[i] = (double)block[skip + i];
        data += f->bytes, out += n, take -= n, skip = 0;
    }
}

void plumb_gguf_read(const struct plumb_gguf_tensor *t, int64_t first, int64_t n, double *out)
{
    const struct plumb_gguf_format *f = t->format;
    const unsigned char *data = (const unsigned char *)t->data + first / f->per * f->bytes;
    PLUMB_ASSERT(first >= 0 && n >= 0 && first <= t->count - n);
    if (f->quant == PLUMB_QUANT_NONE)
        plumb_numbers_decode(f->plain, data, n, out);
    else
        read_blocks(f, data, first % f->per, n, out);
}
