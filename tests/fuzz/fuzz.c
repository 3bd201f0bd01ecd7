/* What the fuzz targets share. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/checkpoint.h"

enum { EVENTS = 1 << 16 };
static char folder[64];
/* Hashes of what was read, in order. Static: a record must not take memory while that fails. */
static struct {
    uint64_t event[EVENTS];
    int64_t n, at;
    bool compare, parted, fault;
} record;

struct fuzz_part fuzz_cut(struct fuzz_part *rest)
{
    const char *end = rest->n ? memchr(rest->at, 0xFF, rest->n) : NULL;
    const struct fuzz_part part = { rest->at, end ? (size_t)(end - rest->at) : rest->n };
    rest->at += part.n + (end != NULL);
    rest->n -= part.n + (end != NULL);
    return part;
}

static void remove_folder(void) { plumb_folder_remove(folder); }

static void keep_message(void *ctx, enum plumb_log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    fuzz_note_text(text);
}

const char *fuzz_folder(void)
{
    if (folder[0]) return folder;
    snprintf(folder, sizeof folder, "%s/plumb-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    PLUMB_ASSERT(mkdtemp(folder));
    atexit(remove_folder);
    plumb_log_receiver(keep_message, NULL);
    return folder;
}

const char *fuzz_file(const char *name, struct fuzz_part content)
{
    static char paths[4][128];
    static int at;
    char *path = paths[at = (at + 1) % 4];
    snprintf(path, sizeof paths[0], "%s/%s", fuzz_folder(), name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    PLUMB_ASSERT(fd >= 0);
    for (size_t done = 0; done < content.n;) {
        const ssize_t n = write(fd, content.at + done, content.n - done);
        PLUMB_ASSERT(n > 0);
        done += (size_t)n;
    }
    close(fd);
    return path;
}

static void keep_event(uint64_t hash, bool fault)
{
    if (!record.compare) {
        if (record.n < EVENTS) record.event[record.n++] = hash;
        return;
    }
    if (record.parted || record.at == EVENTS) return;
    if (record.at < record.n && record.event[record.at] == hash) {
        record.at++;
        return;
    }
    record.parted = true;
    record.fault = fault;
}

static uint64_t hash_of(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

bool fuzz_good(int rc)
{
    const char *text = plumb_errmsg();
    PLUMB_ASSERT(rc == PLUMB_OK || (rc < 0 && *text));
    keep_event(rc ? hash_of((uint64_t)-rc, text, strlen(text)) : 0, rc != PLUMB_OK);
    plumb_errclear();
    return rc == PLUMB_OK;
}

void fuzz_note(const void *data, size_t n) { keep_event(hash_of(n + 1000, data, n), false); }

void fuzz_note_text(const char *text)
{
    if (text) fuzz_note(text, strlen(text));
}

void fuzz_note_json(const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    keep_event(text ? hash_of(1, text, strlen(text)) : 1, !text);
    cJSON_free(text);
}

void fuzz_record(bool again)
{
    record.compare = again;
    record.at = 0;
    record.parted = record.fault = false;
    if (!again) record.n = 0;
}

const char *fuzz_verdict(void)
{
    if (!record.compare) return NULL;
    if (record.parted) return record.fault ? NULL : "something else was read, and no fault told";
    return record.at == record.n ? NULL : "less was read, and no fault told";
}
