/* Indexes of sets: written, found, opened. */
#include "io/dataset_index.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <plumb/log.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "io/checkpoint.h"
#include "io/hash.h"
#include "io/json.h"

enum { PATH_BYTES = 4096 };

static const char *const names[] = { "ids", "masks", "rows", "spans", "scores" };
enum { STORES = 5 };

static struct plumb_store *store_of(struct plumb_dataset_self *d, int i)
{
    struct plumb_store *const stores[STORES] = { &d->ids, &d->masks, &d->rows, &d->spans,
                                                 &d->scores };
    return stores[i];
}

static const struct {
    const char *name;
    size_t offset;
} counts[] = {
    { "rows_read", offsetof(struct plumb_dataset_report, rows) },
    { "skipped", offsetof(struct plumb_dataset_report, skipped) },
    { "truncated", offsetof(struct plumb_dataset_report, truncated) },
    { "dropped_long", offsetof(struct plumb_dataset_report, dropped_long) },
    { "dropped_empty", offsetof(struct plumb_dataset_report, dropped_empty) },
    { "boundary", offsetof(struct plumb_dataset_report, boundary) },
    { "straddled", offsetof(struct plumb_dataset_report, straddled) },
};
enum { COUNTS = sizeof counts / sizeof *counts };

static int64_t *count_of(struct plumb_dataset_report *r, int i)
{
    return (int64_t *)(void *)((char *)r + counts[i].offset);
}

static int damaged(const struct plumb_dataset_self *d, const char *what)
{
    return plumb_fail(PLUMB_EFORMAT, "the index \"%s\" is damaged: %s", d->index.folder, what);
}

static bool is_inside(const struct plumb_span *s, int64_t n)
{
    return s->at >= 0 && s->n >= 0 && s->n <= n && s->at <= n - s->n;
}

/* Nothing that the arrays say leads out of them. */
static int check_arrays(const struct plumb_dataset_self *d)
{
    const int32_t *id = (const int32_t *)(const void *)d->ids.data;
    const struct plumb_row *row = (const struct plumb_row *)(const void *)d->rows.data;
    const struct plumb_span *span = (const struct plumb_span *)(const void *)d->spans.data;
    for (int64_t i = 0; i < d->ids.n; i++) {
        if (id[i] < 0 || id[i] >= d->id_limit) return damaged(d, "an id is none");
        if ((i & 0xFFFFF) == 0xFFFFF) plumb_store_forget(&d->ids);
    }
    plumb_store_forget(&d->ids);
    for (int64_t i = 0; i < d->rows.n; i++) {
        const struct plumb_row *r = &row[i];
        const struct plumb_span ranked = { r->first_candidate, r->candidates };
        const struct plumb_span mask = { r->mask - 1, r->completion[0].n };
        const bool sound = is_inside(&r->prompt, d->ids.n) && is_inside(&r->kl, d->ids.n) &&
                           is_inside(&r->completion[0], d->ids.n) &&
                           is_inside(&r->completion[1], d->ids.n) &&
                           is_inside(&r->completion[2], d->ids.n) && r->file >= 0 &&
                           r->file < d->path_count && is_inside(&ranked, d->spans.n) &&
                           (r->mask == 0 || is_inside(&mask, d->masks.n));
        if (!sound) return damaged(d, "a row leads out of it");
        if ((i & 0x3FFF) == 0x3FFF) plumb_store_forget(&d->rows);
    }
    plumb_store_forget(&d->rows);
    for (int64_t i = 0; i < d->spans.n; i++)
        if (!is_inside(&span[i], d->ids.n)) return damaged(d, "a candidate leads out of it");
    return PLUMB_OK;
}

static int read_hash(const struct plumb_dataset_self *d, const cJSON *json, const char *name,
                     uint64_t *out)
{
    const char *text = cJSON_GetStringValue(plumb_json_get(json, name));
    char *end = NULL;
    if (!text || strlen(text) != 16) return damaged(d, "a hash is missing");
    *out = strtoull(text, &end, 16);
    return *end ? damaged(d, "a hash is none") : PLUMB_OK;
}

static int read_text(const cJSON *json, const char *name, const char *where, char **out)
{
    const char *text;
    PLUMB_TRY(plumb_json_string(json, name, where, &text));
    *out = strdup(text);
    return *out ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "could not allocate \"%s\"", name);
}

/* What index.json says beside the arrays. */
static int read_facts(struct plumb_dataset_self *d, const cJSON *json, const char *path)
{
    int64_t type, format, talks, n = 0;
    for (int i = 0; i < COUNTS; i++)
        PLUMB_TRY(plumb_json_i64(json, counts[i].name, path, count_of(&d->report, i)));
    PLUMB_TRY(plumb_json_i64(json, "type", path, &type));
    PLUMB_TRY(plumb_json_i64(json, "format", path, &format));
    PLUMB_TRY(plumb_json_i64(json, "talks", path, &talks));
    if (type < 0 || type > PLUMB_DATA_RANKED || format < PLUMB_FORMAT_TRL ||
        format > PLUMB_FORMAT_ALPACA)
        return damaged(d, "an unknown type or format");
    d->type = (enum plumb_dataset_type)type;
    d->format = (enum plumb_dataset_format)format;
    d->talks = talks != 0;
    PLUMB_TRY(read_text(json, "used", path, &d->used_names));
    PLUMB_TRY(read_text(json, "ignored", path, &d->ignored_names));
    const cJSON *v;
    cJSON_ArrayForEach(v, plumb_json_get(json, "messages"))
    {
        if (n == PLUMB_DATASET_MESSAGES || !cJSON_IsString(v)) break;
        d->report.messages[n++] = strdup(v->valuestring);
    }
    return read_hash(d, json, "content_hash", &d->index.content_hash);
}

static int open_arrays(struct plumb_dataset_self *d, const cJSON *json)
{
    char path[PATH_BYTES];
    for (int i = 0; i < STORES; i++) {
        struct plumb_store *s = store_of(d, i);
        const cJSON *own = plumb_json_get(json, names[i]);
        int64_t n;
        uint64_t hash;
        PLUMB_TRY(plumb_path_join(path, sizeof path, d->index.folder, names[i]));
        PLUMB_TRY(plumb_json_i64(own, "count", path, &n));
        PLUMB_TRY(read_hash(d, own, "hash", &hash));
        PLUMB_TRY(plumb_store_open(s, path, n));
        if (plumb_store_hash(s) != hash) return damaged(d, "an array is not what was written");
    }
    if (d->spans.n != d->scores.n) return damaged(d, "candidates and scores differ in number");
    return check_arrays(d);
}

/* A hash of what an object says, as compact text; 0 without memory. */
static uint64_t hash_facts(const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    const uint64_t h = text ? plumb_hash(PLUMB_HASH_START, text, strlen(text)) : 0;
    cJSON_free(text);
    return h;
}

static int check_facts(const struct plumb_dataset_self *d, cJSON *json)
{
    uint64_t wanted;
    PLUMB_TRY(read_hash(d, json, "check", &wanted));
    cJSON_DeleteItemFromObjectCaseSensitive(json, "check");
    return hash_facts(json) == wanted ? PLUMB_OK : damaged(d, "index.json is not what was written");
}

/* Leaves the set as it was before anything was read. */
static void empty(struct plumb_dataset_self *d)
{
    for (int i = 0; i < STORES; i++) {
        const size_t bytes = store_of(d, i)->bytes;
        plumb_store_release(store_of(d, i));
        store_of(d, i)->bytes = bytes;
    }
    for (int i = 0; i < PLUMB_DATASET_MESSAGES; i++)
        free(d->report.messages[i]);
    free(d->used_names);
    free(d->ignored_names);
    d->used_names = d->ignored_names = NULL;
    d->report = (struct plumb_dataset_report){ 0 };
    d->format = PLUMB_FORMAT_AUTO;
    d->talks = false;
}

static int open_index(struct plumb_dataset_self *d, bool *found)
{
    char path[PATH_BYTES];
    cJSON *json = NULL;
    *found = false;
    PLUMB_TRY(plumb_path_join(path, sizeof path, d->index.folder, "index.json"));
    if (!plumb_file_exists(path)) return PLUMB_OK;
    int rc = plumb_json_load(path, (size_t)64 << 20, &json);
    const char *key = cJSON_GetStringValue(plumb_json_get(json, "key"));
    const bool same = key && strcmp(key, d->index.key) == 0;
    if (!rc && same) rc = check_facts(d, json);
    if (!rc && same) rc = read_facts(d, json, path);
    if (!rc && same) rc = open_arrays(d, json);
    cJSON_Delete(json);
    *found = same && !rc;
    if (*found) {
        d->index.from_file = true;
        plumb_log(PLUMB_LOG_INFO, "rows come from the index \"%s\"", d->index.folder);
        return PLUMB_OK;
    }
    empty(d);
    if (rc == PLUMB_EMEM) return rc;
    if (rc) plumb_log(PLUMB_LOG_WARN, "%s: it is made anew", plumb_errmsg());
    plumb_errclear();
    return PLUMB_OK;
}

int plumb_index_find(struct plumb_dataset_self *d, bool *found)
{
    bool files;
    *found = false;
    if (!plumb_file_exists(d->o.cache)) return PLUMB_OK;
    PLUMB_TRY(plumb_index_key(d, &files));
    return files ? open_index(d, found) : PLUMB_OK;
}

/* One process at a time writes into a cache. The lock is gone with its holder, whatever ends it. */
static int lock(struct plumb_dataset_self *d)
{
    char path[PATH_BYTES];
    PLUMB_TRY(plumb_dir_make(d->o.cache));
    PLUMB_TRY(plumb_path_join(path, sizeof path, d->o.cache, "lock"));
    d->index.lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (d->index.lock < 0)
        return plumb_fail(PLUMB_EIO, "could not create \"%s\": %s", path, strerror(errno));
    d->index.locked = true;
    if (flock(d->index.lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return PLUMB_OK; /* or a file system without locks */
    plumb_log(PLUMB_LOG_INFO, "waiting for another process, which writes into \"%s\"", d->o.cache);
    while (flock(d->index.lock, LOCK_EX) != 0)
        if (errno != EINTR)
            return plumb_fail(PLUMB_EIO, "could not lock \"%s\": %s", path, strerror(errno));
    return PLUMB_OK;
}

int plumb_index_begin(struct plumb_dataset_self *d, bool *found)
{
    char path[PATH_BYTES];
    bool files;
    *found = false;
    PLUMB_TRY(plumb_index_key(d, &files));
    if (!files)
        return plumb_fail(PLUMB_EUSAGE,
                          "dataset_cache: the rows of a pipe cannot be kept in an index");
    PLUMB_TRY(lock(d));
    if (d->report.rows == 0 && d->rows.n == 0) PLUMB_TRY(open_index(d, found));
    if (*found) return PLUMB_OK;
    if (snprintf(path, sizeof path, "%s.part", d->index.folder) >= (int)sizeof path)
        return plumb_fail(PLUMB_EINVAL, "the path \"%.80s...\" is too long", d->index.folder);
    d->index.building = strdup(path);
    if (!d->index.building) return plumb_fail(PLUMB_EMEM, "could not allocate a path");
    PLUMB_TRY(plumb_folder_remove(path)); /* of a process that was killed */
    PLUMB_TRY(plumb_dir_make(path));
    for (int i = 0; i < STORES; i++) {
        PLUMB_TRY(plumb_path_join(path, sizeof path, d->index.building, names[i]));
        PLUMB_TRY(plumb_store_spill(store_of(d, i), path));
    }
    plumb_log(PLUMB_LOG_INFO, "writing the index \"%s\"", d->index.folder);
    return PLUMB_OK;
}

static void put_hash(cJSON *o, const char *name, uint64_t hash)
{
    char text[24];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    cJSON_AddStringToObject(o, name, text);
}

static cJSON *describe(struct plumb_dataset_self *d)
{
    cJSON *o = cJSON_CreateObject(), *messages = cJSON_AddArrayToObject(o, "messages");
    cJSON_AddStringToObject(o, "key", d->index.key);
    put_hash(o, "content_hash", d->index.content_hash);
    cJSON_AddNumberToObject(o, "type", d->type);
    cJSON_AddNumberToObject(o, "format", d->format);
    cJSON_AddNumberToObject(o, "talks", d->talks);
    cJSON_AddStringToObject(o, "used", d->used_names);
    cJSON_AddStringToObject(o, "ignored", d->ignored_names);
    for (int i = 0; i < COUNTS; i++)
        cJSON_AddNumberToObject(o, counts[i].name, (double)*count_of(&d->report, i));
    for (int i = 0; i < PLUMB_DATASET_MESSAGES && d->report.messages[i]; i++)
        cJSON_AddItemToArray(messages, cJSON_CreateString(d->report.messages[i]));
    for (int i = 0; i < STORES; i++) {
        cJSON *own = cJSON_AddObjectToObject(o, names[i]);
        cJSON_AddNumberToObject(own, "count", (double)store_of(d, i)->n);
        put_hash(own, "hash", plumb_store_hash(store_of(d, i)));
    }
    return o;
}

int plumb_index_commit(struct plumb_dataset_self *d)
{
    char path[PATH_BYTES];
    if (!d->index.building) return PLUMB_OK;
    PLUMB_TRY(plumb_index_check_files(d));
    PLUMB_TRY(plumb_path_join(path, sizeof path, d->index.building, "index.json"));
    cJSON *json = describe(d);
    put_hash(json, "check", hash_facts(json));
    char *text = cJSON_Print(json);
    cJSON_Delete(json);
    if (!text) return plumb_fail(PLUMB_EMEM, "could not allocate \"%s\"", path);
    const int rc = plumb_file_write(path, text, strlen(text));
    cJSON_free(text);
    PLUMB_TRY(rc);
    PLUMB_TRY(plumb_folder_remove(d->index.folder)); /* a damaged one */
    PLUMB_TRY(plumb_dir_replace(d->index.building, d->index.folder));
    free(d->index.building);
    d->index.building = NULL;
    return PLUMB_OK;
}

void plumb_index_release(struct plumb_dataset_self *d)
{
    if (d->index.building) plumb_folder_remove(d->index.building);
    if (d->index.locked) close(d->index.lock);
    free(d->index.building);
    free(d->index.folder);
    free(d->index.key);
    free(d->index.time);
    d->index = (struct plumb_index){ 0 };
}
