/* Writing and reading one checkpoint folder. */
#include "io/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "io/file.h"
#include "io/json.h"

#define FORMAT "plumb-checkpoint/1"
#define STATE "state.json"
#define PIECE ((size_t)1 << 20) /* bytes written and summed while they are in the cache */

static int no_memory(const char *what)
{
    return plumb_fail(PLUMB_EMEM, "could not allocate %s", what);
}

/* Plain file names only, so that a hostile index cannot lead out of its folder. */
static int check_name(const char *name)
{
    const char *p = name;
    while ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
           (*p && strchr("_-.", *p)))
        p++;
    if (p == name || *p || name[0] == '.')
        return plumb_fail(PLUMB_EFORMAT, "\"%.80s\" is not a name for a file of a checkpoint",
                          name);
    return PLUMB_OK;
}

int plumb_checkpoint_begin(struct plumb_checkpoint_writer *w, const char *output, int64_t step)
{
    char dir[4096], path[4096], name[64];
    *w = (struct plumb_checkpoint_writer){ .step = step };
    PLUMB_ASSERT(step >= 0);
    snprintf(name, sizeof name, "checkpoint-%lld", (long long)step);
    PLUMB_TRY(plumb_path_join(path, sizeof path - 4, output, name));
    snprintf(dir, sizeof dir, "%.4090s.tmp", path);
    PLUMB_TRY(plumb_folder_remove(dir));
    PLUMB_TRY(plumb_dir_make(dir));
    w->dir = strdup(dir);
    w->path = strdup(path);
    w->files = cJSON_CreateArray();
    if (w->dir && w->path && w->files) return PLUMB_OK;
    plumb_checkpoint_abort(w);
    return no_memory("a checkpoint's name");
}

/* Adds a row to the list; dtype NULL for files that are no arrays. */
static int list_file(struct plumb_checkpoint_writer *w, const char *file, const char *dtype,
                     size_t bytes, uLong crc)
{
    cJSON *e = cJSON_CreateObject();
    bool ok = cJSON_AddStringToObject(e, "file", file) &&
              (!dtype || cJSON_AddStringToObject(e, "dtype", dtype)) &&
              cJSON_AddNumberToObject(e, "bytes", (double)bytes) &&
              cJSON_AddNumberToObject(e, "crc32", (double)crc);
    if (ok && cJSON_AddItemToArray(w->files, e)) return PLUMB_OK;
    cJSON_Delete(e);
    return no_memory("a checkpoint's list of files");
}

static int put_bytes(struct plumb_checkpoint_writer *w, const char *file, const char *dtype,
                     const void *data, size_t bytes)
{
    char path[4096];
    struct plumb_writer f = { 0 };
    int rc = PLUMB_OK;
    uLong crc = 0;
    PLUMB_TRYG(check_name(file));
    PLUMB_TRYG(plumb_path_join(path, sizeof path, w->dir, file));
    PLUMB_TRYG(plumb_writer_open(&f, path));
    for (size_t at = 0; at < bytes; at += PIECE) {
        const size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        crc = crc32_z(crc, (const Bytef *)data + at, n);
        PLUMB_TRYG(plumb_writer_put(&f, (const char *)data + at, n));
    }
    PLUMB_TRYG(plumb_writer_commit(&f));
    PLUMB_TRYG(list_file(w, file, dtype, bytes, crc));
out:
    plumb_writer_abort(&f);
    return rc;
}

int plumb_checkpoint_put(struct plumb_checkpoint_writer *w, const char *name,
                         enum plumb_dtype dtype, int64_t count, const void *data)
{
    char file[256];
    PLUMB_ASSERT(count >= 0);
    if (snprintf(file, sizeof file, "%s.bin", name) >= (int)sizeof file)
        return plumb_fail(PLUMB_EINVAL, "\"%.40s...\" is too long for a file of a checkpoint",
                          name);
    return put_bytes(w, file, plumb_dtype_name(dtype), data,
                     (size_t)count * plumb_dtype_bytes(dtype));
}

/* CRC-32 of a mapped file, copied on the way unless `copy` is NULL, dropped from memory behind. */
static uLong sum(const struct plumb_map *m, char *copy)
{
    uLong crc = 0;
    for (size_t at = 0; at < m->bytes; at += PIECE) {
        const size_t n = m->bytes - at < PIECE ? m->bytes - at : PIECE;
        if (copy) memcpy(copy + at, m->data + at, n);
        crc = crc32_z(crc, (const Bytef *)(copy ? copy : m->data) + at, n);
        plumb_map_forget(m->data + at, n);
    }
    return crc;
}

int plumb_checkpoint_add(struct plumb_checkpoint_writer *w, const char *file)
{
    char path[4096];
    struct plumb_map m;
    PLUMB_TRY(check_name(file));
    PLUMB_TRY(plumb_path_join(path, sizeof path, w->dir, file));
    PLUMB_TRY(plumb_map_open(&m, path));
    const int rc = list_file(w, file, NULL, m.bytes, sum(&m, NULL));
    plumb_map_release(&m);
    return rc;
}

static bool is_listed(const struct plumb_checkpoint_writer *w, const char *file)
{
    for (const cJSON *e = w->files->child; e; e = e->next)
        if (strcmp(plumb_json_get(e, "file")->valuestring, file) == 0) return true;
    return false;
}

int plumb_checkpoint_add_rest(struct plumb_checkpoint_writer *w)
{
    int rc = PLUMB_OK;
    DIR *d = opendir(w->dir);
    if (!d)
        return plumb_fail(PLUMB_EIO, "could not read the folder \"%s\": %s", w->dir,
                          strerror(errno));
    for (const struct dirent *e; rc == PLUMB_OK && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && !is_listed(w, e->d_name))
            rc = plumb_checkpoint_add(w, e->d_name);
    closedir(d);
    return rc;
}

static int write_index(struct plumb_checkpoint_writer *w)
{
    char path[4096];
    cJSON *index = cJSON_CreateObject();
    bool ok = cJSON_AddStringToObject(index, "format", FORMAT) &&
              cJSON_AddNumberToObject(index, "step", (double)w->step) &&
              cJSON_AddItemToObject(index, "files", w->files);
    if (ok) w->files = NULL; /* the index owns it */
    char *text = ok ? cJSON_Print(index) : NULL;
    cJSON_Delete(index);
    if (!text) return no_memory("a checkpoint's index");
    int rc = plumb_path_join(path, sizeof path, w->dir, PLUMB_CHECKPOINT_INDEX);
    if (rc == PLUMB_OK) rc = plumb_file_write(path, text, strlen(text));
    cJSON_free(text);
    return rc;
}

int plumb_checkpoint_commit(struct plumb_checkpoint_writer *w, const char *state)
{
    int rc = PLUMB_OK;
    PLUMB_TRYG(put_bytes(w, STATE, NULL, state, strlen(state)));
    PLUMB_TRYG(write_index(w));
    PLUMB_TRYG(plumb_dir_replace(w->dir, w->path));
out:
    plumb_checkpoint_abort(w); /* after a replacement, `dir` is the older checkpoint */
    return rc;
}

void plumb_checkpoint_abort(struct plumb_checkpoint_writer *w)
{
    if (w->dir) plumb_folder_remove(w->dir);
    free(w->dir);
    free(w->path);
    cJSON_Delete(w->files);
    *w = (struct plumb_checkpoint_writer){ 0 };
}

/* The listed row of a file, NULL without one. */
static const cJSON *row_of(const struct plumb_checkpoint *c, const char *file)
{
    const cJSON *files = plumb_json_get(c->index, "files");
    for (const cJSON *e = files ? files->child : NULL; e; e = e->next)
        if (strcmp(plumb_json_get(e, "file")->valuestring, file) == 0) return e;
    return NULL;
}

/* Opens a listed file and compares its size. */
static int map_row(const struct plumb_checkpoint *c, const cJSON *row, char *path, size_t n,
                   struct plumb_map *m)
{
    int64_t bytes;
    PLUMB_TRY(plumb_json_i64(row, "bytes", c->path, &bytes));
    PLUMB_TRY(plumb_path_join(path, n, c->path, plumb_json_get(row, "file")->valuestring));
    PLUMB_TRY(plumb_map_open(m, path));
    if ((int64_t)m->bytes == bytes) return PLUMB_OK;
    const int rc = plumb_fail(PLUMB_EFORMAT, "\"%s\" is damaged: %zu bytes instead of %lld", path,
                              m->bytes, (long long)bytes);
    plumb_map_release(m);
    return rc;
}

static int check_row(const struct plumb_checkpoint *c, const cJSON *row)
{
    char path[4096];
    const char *file;
    struct plumb_map m;
    PLUMB_TRY(plumb_json_string(row, "file", c->path, &file));
    PLUMB_TRY(check_name(file));
    PLUMB_TRY(map_row(c, row, path, sizeof path, &m));
    plumb_map_release(&m);
    return PLUMB_OK;
}

int plumb_checkpoint_open(struct plumb_checkpoint *c, const char *path)
{
    char index[4096];
    const char *format = NULL;
    int rc = PLUMB_OK;
    *c = (struct plumb_checkpoint){ 0 };
    PLUMB_TRYG(plumb_path_join(index, sizeof index, path, PLUMB_CHECKPOINT_INDEX));
    if (!plumb_file_exists(index))
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "\"%s\" is not a finished checkpoint: it has no %s", path,
                              PLUMB_CHECKPOINT_INDEX));
    c->path = strdup(path);
    if (!c->path) PLUMB_TRYG(no_memory("a checkpoint's name"));
    PLUMB_TRYG(plumb_json_load(index, 0, &c->index));
    PLUMB_TRYG(plumb_json_string(c->index, "format", index, &format));
    if (strcmp(format, FORMAT) != 0)
        PLUMB_TRYG(
            plumb_fail(PLUMB_ENOTSUP, "%s: the format \"%.40s\" is not %s", index, format, FORMAT));
    PLUMB_TRYG(plumb_json_i64(c->index, "step", index, &c->step));
    const cJSON *files = plumb_json_get(c->index, "files");
    if (!cJSON_IsArray(files))
        PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "%s: \"files\" is %s", index, plumb_json_type(files)));
    for (const cJSON *e = files->child; e; e = e->next)
        PLUMB_TRYG(check_row(c, e));
out:
    if (rc) plumb_checkpoint_release(c);
    return rc;
}

void plumb_checkpoint_release(struct plumb_checkpoint *c)
{
    free(c->path);
    cJSON_Delete(c->index);
    *c = (struct plumb_checkpoint){ 0 };
}

/* Finds and maps a listed file. */
static int open_file(const struct plumb_checkpoint *c, const char *file, const cJSON **row,
                     char *path, size_t n, struct plumb_map *m)
{
    *row = row_of(c, file);
    if (*row) return map_row(c, *row, path, n, m);
    return plumb_fail(PLUMB_EFORMAT, "the checkpoint \"%s\" holds no \"%s\"", c->path, file);
}

/* Reads the file into `copy` (NULL = nowhere) and checks it. */
static int take(const struct plumb_checkpoint *c, const cJSON *row, const char *path,
                const struct plumb_map *m, void *copy)
{
    int64_t crc;
    PLUMB_TRY(plumb_json_i64(row, "crc32", c->path, &crc));
    if ((int64_t)sum(m, copy) == crc) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT, "\"%s\" is damaged: its checksum is wrong", path);
}

bool plumb_checkpoint_has(const struct plumb_checkpoint *c, const char *name)
{
    char file[256];
    snprintf(file, sizeof file, "%s.bin", name);
    return row_of(c, file) != NULL;
}

int plumb_checkpoint_get(const struct plumb_checkpoint *c, const char *name, enum plumb_dtype dtype,
                         int64_t count, void *out)
{
    char file[256], path[4096];
    const cJSON *row;
    const char *stored;
    struct plumb_map m;
    snprintf(file, sizeof file, "%s.bin", name);
    PLUMB_TRY(open_file(c, file, &row, path, sizeof path, &m));
    const size_t bytes = (size_t)count * plumb_dtype_bytes(dtype);
    int rc = PLUMB_OK;
    PLUMB_TRYG(plumb_json_string(row, "dtype", path, &stored));
    if (strcmp(stored, plumb_dtype_name(dtype)) != 0 || m.bytes != bytes)
        PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT,
                              "\"%s\" holds %zu bytes of %s, this run wants %zu of %s", path,
                              m.bytes, stored, bytes, plumb_dtype_name(dtype)));
    PLUMB_TRYG(take(c, row, path, &m, out));
out:
    plumb_map_release(&m);
    return rc;
}

int plumb_checkpoint_state(const struct plumb_checkpoint *c, char **text)
{
    char path[4096], *copy = NULL;
    const cJSON *row;
    struct plumb_map m;
    *text = NULL;
    PLUMB_TRY(open_file(c, STATE, &row, path, sizeof path, &m));
    int rc = PLUMB_OK;
    copy = calloc(m.bytes + 1, 1);
    if (!copy) PLUMB_TRYG(no_memory("a checkpoint's state"));
    PLUMB_TRYG(take(c, row, path, &m, copy));
    *text = copy;
    copy = NULL;
out:
    free(copy);
    plumb_map_release(&m);
    return rc;
}

int plumb_checkpoint_verify(const struct plumb_checkpoint *c, const char *file)
{
    char path[4096];
    const cJSON *row;
    struct plumb_map m;
    PLUMB_TRY(open_file(c, file, &row, path, sizeof path, &m));
    const int rc = take(c, row, path, &m, NULL);
    plumb_map_release(&m);
    return rc;
}

int plumb_checkpoint_verify_rest(const struct plumb_checkpoint *c)
{
    for (const cJSON *e = plumb_json_get(c->index, "files")->child; e; e = e->next)
        if (!plumb_json_get(e, "dtype"))
            PLUMB_TRY(plumb_checkpoint_verify(c, plumb_json_get(e, "file")->valuestring));
    return PLUMB_OK;
}
