/* What an index is made of, as one text: any difference makes another index. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/chat.h"
#include "io/dataset_index.h"
#include "io/hash.h"
#include "io/tokenizer.h"

#define LAYOUT 1 /* counted up when the arrays change their meaning */

static void put(char *out, size_t n, const char *key, int64_t value)
{
    const size_t at = strlen(out);
    snprintf(out + at, n - at, " %s=%" PRId64, key, value);
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    return text ? plumb_hash(plumb_hash(h, "+", 1), text, strlen(text)) : plumb_hash(h, "-", 1);
}

/* A template that asks for the time makes other rows in every run. */
static uint64_t hash_chat(const struct plumb_chat *c)
{
    static const char clock[] = "strftime_now";
    uint64_t h = PLUMB_HASH_START;
    if (!c) return 0;
    h = hash_text(hash_text(hash_text(h, c->plain.text), c->with_tools.text), c->tokens);
    const bool timed = (c->plain.text && strstr(c->plain.text, clock)) ||
                       (c->with_tools.text && strstr(c->with_tools.text, clock));
    return timed ? plumb_hash(h, &c->now, sizeof c->now) : h;
}

static int find_file(const char *path, struct stat *st)
{
    if (stat(path, st) == 0) return PLUMB_OK;
    return plumb_fail(PLUMB_EIO, "could not open \"%s\": %s", path, strerror(errno));
}

static int64_t time_of(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* Size, time and contents of the files, in their order. */
static int hash_files(struct plumb_dataset_self *d, uint64_t *out, bool *files)
{
    uint64_t h = PLUMB_HASH_START;
    struct stat st;
    free(d->index.time);
    d->index.time = calloc((size_t)d->path_count, sizeof *d->index.time);
    if (!d->index.time) return plumb_fail(PLUMB_EMEM, "could not allocate the times of files");
    for (int i = 0; i < d->path_count; i++) {
        PLUMB_TRY(find_file(d->paths[i], &st));
        *files = S_ISREG(st.st_mode);
        if (!*files) return PLUMB_OK;
        const int64_t facts[2] = { st.st_size, d->index.time[i] = time_of(&st) };
        h = plumb_hash(h, facts, sizeof facts);
        PLUMB_TRY(plumb_hash_file(&h, d->paths[i]));
    }
    *out = h;
    return PLUMB_OK;
}

int plumb_index_check_files(const struct plumb_dataset_self *d)
{
    struct stat st;
    for (int i = 0; i < d->path_count; i++) {
        PLUMB_TRY(find_file(d->paths[i], &st));
        if (time_of(&st) != d->index.time[i])
            return plumb_fail(PLUMB_EIO, "\"%s\" changed while it was read", d->paths[i]);
    }
    return PLUMB_OK;
}

int plumb_index_key(struct plumb_dataset_self *d, bool *files)
{
    const struct plumb_dataset_options *o = &d->o;
    char key[1024] = "", path[4096], name[24];
    uint64_t h = 0;
    *files = true;
    if (d->index.key) return PLUMB_OK;
    PLUMB_TRY(hash_files(d, &h, files));
    if (!*files) return PLUMB_OK;
    snprintf(key, sizeof key, "layout=%d program=%s files=%d:%016" PRIx64, LAYOUT,
             o->program ? o->program : PLUMB_VERSION, d->path_count, h);
    h = 0;
    if (o->text && o->text_path) PLUMB_TRY(plumb_tokenizer_hash(o->text_path, &h));
    snprintf(key + strlen(key), sizeof key - strlen(key),
             " tokenizer=%016" PRIx64 " chat=%016" PRIx64, h, hash_chat(o->chat));
    snprintf(key + strlen(key), sizeof key - strlen(key), " text_field=%016" PRIx64,
             hash_text(PLUMB_HASH_START, o->text_field));
    put(key, sizeof key, "row_bytes", sizeof(struct plumb_row));
    put(key, sizeof key, "ids", d->id_limit);
    put(key, sizeof key, "use", o->use);
    put(key, sizeof key, "format", o->format);
    put(key, sizeof key, "max_length", o->max_length);
    put(key, sizeof key, "keep_end", o->keep_end);
    put(key, sizeof key, "train_on_prompt", o->train_on_prompt);
    put(key, sizeof key, "assistant_only", o->assistant_only);
    put(key, sizeof key, "skip_bad_rows", o->skip_bad_rows);
    snprintf(name, sizeof name, "%016" PRIx64, hash_text(PLUMB_HASH_START, key));
    PLUMB_TRY(plumb_path_join(path, sizeof path, o->cache, name));
    d->index.key = strdup(key);
    d->index.folder = strdup(path);
    if (d->index.key && d->index.folder) return PLUMB_OK;
    return plumb_fail(PLUMB_EMEM, "could not allocate the name of an index");
}
