/* Reading safetensors files, alone or as shards of an index. */
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "io/json.h"
#include "io/numbers.h"
#include "io/pickle.h"

#define MAX_HEADER ((uint64_t)100 << 20) /* bytes; the published reader has the same bound */
#define MAX_SHARDS 10000

/* How `read` makes numbers of a dtype's bytes. */
enum kind { FLOAT, SIGNED, UNSIGNED, E4M3, E5M2, E8M0, NO_NUMBER };

static const struct dtype {
    const char *name;
    size_t bytes;
    enum kind kind;
    enum plumb_dtype as; /* of a FLOAT */
} dtypes[] = {
    { "F64", 8, FLOAT, PLUMB_F64 },
    { "F32", 4, FLOAT, PLUMB_F32 },
    { "F16", 2, FLOAT, PLUMB_F16 },
    { "BF16", 2, FLOAT, PLUMB_BF16 },
    { "F8_E4M3", 1, E4M3 },
    { "F8_E5M2", 1, E5M2 },
    { "F8_E8M0", 1, E8M0 },
    { "I64", 8, SIGNED },
    { "I32", 4, SIGNED },
    { "I16", 2, SIGNED },
    { "I8", 1, SIGNED },
    { "U64", 8, UNSIGNED },
    { "U32", 4, UNSIGNED },
    { "U16", 2, UNSIGNED },
    { "U8", 1, UNSIGNED },
    { "BOOL", 1, NO_NUMBER },
    { "C64", 8, NO_NUMBER },
};

struct shard {
    char *path;
    struct plumb_map map;
    cJSON *header; /* owns the names */
};

struct model {
    struct shard *shards;
    int count;
    struct plumb_weight *tensors;
    int64_t used, room;
    char *origin;
};

static const struct dtype *dtype_of(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
    return NULL;
}

/* An array of exactly or at most `n` whole numbers >= 0 at v; *count of them. */
static bool whole_numbers(const cJSON *v, int most, int64_t *out, int *count)
{
    if (!cJSON_IsArray(v)) return false;
    *count = 0;
    for (const cJSON *e = v->child; e; e = e->next) {
        if (!cJSON_IsNumber(e) || *count == most) return false;
        const double d = e->valuedouble;
        if (!(d >= 0 && d <= 0x1p53) || d != (double)(int64_t)d) return false;
        out[(*count)++] = (int64_t)d;
    }
    return true;
}

/* One row of the table; `data` are the bytes after the header. */
static int read_entry(const struct shard *s, const cJSON *e, const char *data, int64_t data_bytes,
                      struct plumb_weight *t)
{
    const char *file = s->path, *name = e->string, *dtype = NULL;
    *t = (struct plumb_weight){ .name = name, .count = 1 };
    if (!cJSON_IsObject(e))
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" is %s, not an object", file, name,
                          plumb_json_type(e));
    if (plumb_json_string(e, "dtype", name, &dtype) != PLUMB_OK)
        return plumb_fail_while(PLUMB_EFORMAT, "\"%s\": tensor", file);
    const struct dtype *type = dtype_of(dtype);
    if (!type)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" has the unknown dtype \"%s\"", file,
                          name, dtype);
    t->dtype = type->name;
    if (!whole_numbers(plumb_json_get(e, "shape"), PLUMB_WEIGHT_RANK, t->shape, &t->rank))
        return plumb_fail(PLUMB_EFORMAT,
                          "\"%s\": the shape of tensor \"%s\" is not a list of at most %d sizes",
                          file, name, PLUMB_WEIGHT_RANK);
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": the shape of tensor \"%s\" overflows", file,
                              name);
    int64_t at[2], want;
    int n;
    if (!whole_numbers(plumb_json_get(e, "data_offsets"), 2, at, &n) || n != 2 || at[0] > at[1])
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" has no valid data_offsets", file,
                          name);
    if (at[1] > data_bytes)
        return plumb_fail(PLUMB_EFORMAT,
                          "\"%s\": tensor \"%s\" ends at byte %lld of %lld: the file is truncated",
                          file, name, (long long)at[1], (long long)data_bytes);
    char shape[128];
    if (__builtin_mul_overflow(t->count, (int64_t)type->bytes, &want) || want != at[1] - at[0])
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" %s of %s does not fill %lld bytes",
                          file, name, plumb_shape_text(t->shape, t->rank, shape, sizeof shape),
                          dtype, (long long)(at[1] - at[0]));
    t->data = data + at[0];
    t->bytes = (size_t)want;
    return PLUMB_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct plumb_weight *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* empty ones before what they touch */
}

/* The tensors of one shard must tile its data. */
static int check_tiling(const struct shard *s, struct plumb_weight *t, int64_t n, const char *data,
                        const char *end)
{
    if (n) qsort(t, (size_t)n, sizeof *t, by_place);
    const char *at = data;
    for (int64_t i = 0; i < n; i++) {
        const char *begin = t[i].data;
        if (begin < at)
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensors \"%s\" and \"%s\" overlap", s->path,
                              t[i - 1].name, t[i].name);
        if (begin > at)
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": %lld bytes before tensor \"%s\" are unused",
                              s->path, (long long)(begin - at), t[i].name);
        at = begin + t[i].bytes;
    }
    if (at != end)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": %lld bytes follow the last tensor", s->path,
                          (long long)(end - at));
    return PLUMB_OK;
}

static int check_metadata(const struct shard *s, const cJSON *m)
{
    const cJSON *e = cJSON_IsObject(m) ? m->child : NULL;
    while (e && cJSON_IsString(e))
        e = e->next;
    if (cJSON_IsObject(m) && !e) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT, "\"%s\": __metadata__ is not an object of strings", s->path);
}

static int reserve(struct model *m, int64_t more)
{
    if (m->used + more <= m->room) return PLUMB_OK;
    const int64_t room = m->used + more;
    struct plumb_weight *larger = realloc(m->tensors, (size_t)room * sizeof *larger);
    if (!larger)
        return plumb_fail(PLUMB_EMEM, "could not allocate a table of %lld tensors",
                          (long long)room);
    m->tensors = larger;
    m->room = room;
    return PLUMB_OK;
}

/* Maps a file as the next shard and appends its tensors. */
static int add_shard(struct model *m, const char *path)
{
    struct shard *s = &m->shards[m->count++];
    s->path = strdup(path);
    if (!s->path) return plumb_fail(PLUMB_EMEM, "could not allocate a name for \"%s\"", path);
    PLUMB_TRY(plumb_map_open(&s->map, path));
    uint64_t header = 0;
    if (s->map.bytes < 8)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" is not safetensors: %zu bytes", path,
                          s->map.bytes);
    memcpy(&header, s->map.data, 8);
    if (header > MAX_HEADER)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" is not safetensors: header of %llu bytes", path,
                          (unsigned long long)header);
    if (header > s->map.bytes - 8)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" is truncated inside its header of %llu bytes",
                          path, (unsigned long long)header);
    const char *data = s->map.data + 8 + header, *end = s->map.data + s->map.bytes;
    PLUMB_TRY(plumb_json_parse(s->map.data + 8, header, path, &s->header));
    if (!cJSON_IsObject(s->header))
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": the header is not an object", path);
    PLUMB_TRY(reserve(m, cJSON_GetArraySize(s->header)));
    const int64_t first = m->used;
    for (const cJSON *e = s->header->child; e; e = e->next) {
        if (strcmp(e->string, "__metadata__") == 0) {
            PLUMB_TRY(check_metadata(s, e));
            continue;
        }
        PLUMB_TRY(read_entry(s, e, data, end - data, &m->tensors[m->used]));
        m->used++;
    }
    struct plumb_weight *mine = m->tensors ? m->tensors + first : NULL;
    return check_tiling(s, mine, m->used - first, data, end);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct plumb_weight *)a)->name, ((const struct plumb_weight *)b)->name);
}

static int sort_names(struct model *m)
{
    if (m->used) qsort(m->tensors, (size_t)m->used, sizeof *m->tensors, by_name);
    for (int64_t i = 1; i < m->used; i++)
        if (strcmp(m->tensors[i].name, m->tensors[i - 1].name) == 0)
            return plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" stands in two shards",
                              m->origin, m->tensors[i].name);
    return PLUMB_OK;
}

static bool holds(const struct shard *s, const void *data)
{
    return (const char *)data >= s->map.data && (const char *)data <= s->map.data + s->map.bytes;
}

/* Opens the shard `file` unless it is open already; *out is its number. */
static int shard_of(struct model *m, const char *dir, const char *file, int *out)
{
    char path[4096];
    if (!file[0] || file[0] == '.' || strchr(file, '/'))
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": the shard \"%s\" is not a plain file name",
                          m->origin, file);
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, file));
    for (*out = m->count; --*out >= 0;)
        if (strcmp(m->shards[*out].path, path) == 0) return PLUMB_OK;
    if (m->count == MAX_SHARDS)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" names more than %d shards", m->origin, MAX_SHARDS);
    *out = m->count;
    return add_shard(m, path);
}

/* Every tensor of the index must be in the shard it names; shards may hold more. */
static int open_index(struct model *m, const char *path)
{
    cJSON *index = NULL;
    char dir[4096];
    const char *slash = strrchr(path, '/');
    int rc = PLUMB_OK;
    PLUMB_TRYG(plumb_json_load(path, 0, &index));
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash + 1 - path) : 0, path);
    const cJSON *map = plumb_json_get(index, "weight_map");
    if (!cJSON_IsObject(map))
        PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "\"%s\": \"weight_map\" is %s, not an object", path,
                              plumb_json_type(map)));
    int shard;
    for (const cJSON *e = map->child; e; e = e->next) {
        if (!cJSON_IsString(e))
            PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "\"%s\": the shard of \"%s\" is %s", path,
                                  e->string, plumb_json_type(e)));
        PLUMB_TRYG(shard_of(m, dir, e->valuestring, &shard));
    }
    PLUMB_TRYG(sort_names(m));
    const struct plumb_weights found = { .tensor = m->tensors, .count = m->used };
    for (const cJSON *e = map->child; e; e = e->next) {
        PLUMB_TRYG(shard_of(m, dir, e->valuestring, &shard));
        const int64_t i = plumb_weights_find(&found, e->string);
        if (i < 0 || !holds(&m->shards[shard], m->tensors[i].data))
            PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "\"%s\": tensor \"%s\" is not in its shard \"%s\"",
                                  path, e->string, e->valuestring));
    }
out:
    cJSON_Delete(index);
    return rc;
}

static void release(struct plumb_weights *w)
{
    struct model *m = w->self;
    for (int i = 0; i < m->count; i++) {
        plumb_map_release(&m->shards[i].map);
        cJSON_Delete(m->shards[i].header);
        free(m->shards[i].path);
    }
    free(m->shards);
    free(m->tensors);
    free(m->origin);
    free(m);
}

/* Whole numbers: exact in f64 up to 2^53. */
static int read_whole(const struct plumb_weights *w, const struct plumb_weight *t,
                      const struct dtype *type, const char *src, int64_t n, double *out)
{
    for (int64_t i = 0; i < n; i++, src += type->bytes) {
        uint64_t u = 0;
        memcpy(&u, src, type->bytes); /* little-endian */
        const int unused = 64 - 8 * (int)type->bytes;
        const int64_t s = (int64_t)(u << unused) >> unused; /* with its sign */
        const bool negative = type->kind == SIGNED && s < 0;
        if (negative) u = -(uint64_t)s;
        out[i] = negative ? -(double)u : (double)u;
        if (u > UINT64_C(1) << 53)
            return plumb_fail(PLUMB_ENUM,
                              "\"%s\": tensor \"%s\" of dtype %s holds a number over 2^53",
                              w->origin, t->name, t->dtype);
    }
    return PLUMB_OK;
}

static int read_numbers(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                        double *out)
{
    const struct plumb_weight *t = &w->tensor[index];
    const struct dtype *type = dtype_of(t->dtype);
    const char *src = (const char *)t->data + (size_t)first * type->bytes;
    PLUMB_ASSERT(first >= 0 && n >= 0 && first <= t->count - n);
    switch (type->kind) {
    case FLOAT: plumb_numbers_decode(type->as, src, n, out); return PLUMB_OK;
    case SIGNED:
    case UNSIGNED: return read_whole(w, t, type, src, n, out);
    case E4M3: plumb_numbers_of_f8(4, src, n, out); return PLUMB_OK;
    case E5M2: plumb_numbers_of_f8(5, src, n, out); return PLUMB_OK;
    case E8M0: plumb_numbers_of_f8(8, src, n, out); return PLUMB_OK;
    case NO_NUMBER: break;
    }
    return plumb_fail(PLUMB_ENOTSUP, "\"%s\": tensor \"%s\" of dtype %s holds no numbers",
                      w->origin, t->name, t->dtype);
}

/* The file that stands for a model folder. */
static int find_in_folder(const char *dir, char *out, size_t n)
{
    PLUMB_TRY(plumb_path_join(out, n, dir, "model.safetensors"));
    if (plumb_file_exists(out)) return PLUMB_OK;
    PLUMB_TRY(plumb_path_join(out, n, dir, "model.safetensors.index.json"));
    if (plumb_file_exists(out)) return PLUMB_OK;
    PLUMB_TRY(plumb_pickle_check(dir));
    return plumb_fail(PLUMB_EIO,
                      "the folder \"%s\" holds no model.safetensors and no "
                      "model.safetensors.index.json",
                      dir);
}

static bool ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), e = strlen(end);
    return n >= e && strcmp(path + n - e, end) == 0;
}

int plumb_safetensors_open(struct plumb_weights *w, const char *path)
{
    char file[4096];
    struct stat st;
    *w = (struct plumb_weights){ 0 };
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        PLUMB_TRY(find_in_folder(path, file, sizeof file));
        path = file;
    }
    PLUMB_TRY(plumb_pickle_check(path));
    const bool index = ends_in(path, ".index.json");
    struct model *m = calloc(1, sizeof *m);
    if (m) m->origin = strdup(path);
    if (m) m->shards = calloc(index ? MAX_SHARDS : 1, sizeof *m->shards);
    if (!m || !m->origin || !m->shards) {
        if (m) free(m->origin);
        if (m) free(m->shards);
        free(m);
        return plumb_fail(PLUMB_EMEM, "could not allocate the table of \"%s\"", path);
    }
    *w = (struct plumb_weights){ .origin = m->origin,
                                 .read = read_numbers,
                                 .release = release,
                                 .self = m };
    int rc = index ? open_index(m, path) : add_shard(m, path);
    if (rc == PLUMB_OK) rc = sort_names(m);
    w->tensor = m->tensors;
    w->count = m->used;
    if (rc) plumb_weights_release(w);
    return rc;
}
