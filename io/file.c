/* Files: whole reads, memory maps, and writes that appear whole or not at all. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define DEFAULT_LIMIT ((size_t)4 << 30)
#define READ_STEP ((size_t)1 << 20) /* gzread takes an unsigned int */
#define PACKED_FREE ((size_t)1 << 20)
#define PACKED_MOST 100 /* bytes from one of gzip */

/* Reads until the end into a growing buffer; one byte past `limit` is enough to refuse the file. */
static int read_all(gzFile z, const char *path, size_t guess, size_t limit, char **out, size_t *n)
{
    size_t room = guess < limit ? guess : limit, used = 0;
    char *buffer = malloc(room + 2); /* a NUL, and the byte that shows that more follows */
    int rc = PLUMB_OK;
    while (buffer) {
        const size_t want = room + 1 - used < READ_STEP ? room + 1 - used : READ_STEP;
        const int got = gzread(z, buffer + used, (unsigned)want);
        int code = Z_OK;
        const char *why = gzerror(z, &code);
        if (got < 0 || code < 0)
            PLUMB_TRYG(plumb_fail(PLUMB_EIO, "could not read \"%s\": %s", path,
                                  code == Z_ERRNO       ? strerror(errno)
                                  : code == Z_BUF_ERROR ? "the gzip data ends too early"
                                                        : why));
        if (got == 0) break;
        used += (size_t)got;
        if (used <= room) continue;
        if (room == limit)
            PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "\"%s\" holds more than %zu bytes", path, limit));
        room = room < limit / 2 ? 2 * room : limit;
        char *larger = realloc(buffer, room + 2);
        if (!larger) free(buffer);
        buffer = larger;
    }
    if (!buffer)
        return plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes for \"%s\"", room + 2, path);
    buffer[used] = 0;
    *out = buffer;
    *n = used;
    return PLUMB_OK;
out:
    free(buffer);
    return rc;
}

int plumb_file_read(const char *path, size_t limit, char **out, size_t *n)
{
    *out = NULL;
    *n = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return plumb_fail(PLUMB_EIO, "could not open \"%s\": %s", path, strerror(errno));
    struct stat st;
    const bool sized = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    gzFile z = gzdopen(fd, "rb");
    if (!z) {
        close(fd);
        return plumb_fail(PLUMB_EMEM, "could not allocate a buffer to read \"%s\"", path);
    }
    gzbuffer(z, 1 << 17);
    if (!limit) limit = DEFAULT_LIMIT;
    if (sized && !gzdirect(z) && (size_t)st.st_size < (limit - PACKED_FREE) / PACKED_MOST &&
        limit > PACKED_FREE)
        limit = PACKED_FREE + PACKED_MOST * (size_t)st.st_size;
    const int rc = read_all(z, path, sized && st.st_size > 0 ? (size_t)st.st_size : 1 << 16, limit,
                            out, n);
    gzclose(z);
    return rc;
}

int plumb_map_open(struct plumb_map *m, const char *path)
{
    *m = (struct plumb_map){ 0 };
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return plumb_fail(PLUMB_EIO, "could not open \"%s\": %s", path, strerror(errno));
    struct stat st;
    int rc = PLUMB_OK;
    if (fstat(fd, &st) != 0)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "could not read \"%s\": %s", path, strerror(errno)));
    if (!S_ISREG(st.st_mode))
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "could not read \"%s\": not a regular file", path));
    if (st.st_size == 0) goto out;
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not map the %lld bytes of \"%s\": %s",
                              (long long)st.st_size, path, strerror(errno)));
    *m = (struct plumb_map){ data, (size_t)st.st_size };
out:
    close(fd);
    return rc;
}

void plumb_map_release(struct plumb_map *m)
{
    if (m->data) munmap((void *)m->data, m->bytes);
    *m = (struct plumb_map){ 0 };
}

void plumb_map_forget(const void *data, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    const uintptr_t from = (at + page - 1) / page * page, to = (at + bytes) / page * page;
    if (data && from < to) madvise((void *)from, to - from, MADV_DONTNEED);
}

/* malloc'ed `path` + `suffix`, NULL without memory. */
static char *joined(const char *path, const char *suffix)
{
    const size_t n = strlen(path), s = strlen(suffix);
    char *r = malloc(n + s + 1);
    if (!r) return NULL;
    memcpy(r, path, n);
    memcpy(r + n, suffix, s + 1);
    return r;
}

int plumb_writer_open(struct plumb_writer *w, const char *path)
{
    *w = (struct plumb_writer){ .path = joined(path, ""), .temporary = joined(path, ".tmp") };
    int rc = PLUMB_OK;
    if (!w->path || !w->temporary)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a name for \"%s\"", path));
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "could not write \"%s\": it is a directory", path));
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) { /* a device or a pipe is not replaced */
        free(w->temporary);
        w->temporary = NULL;
    }
    w->f = fopen(w->temporary ? w->temporary : path, "wbe");
    if (!w->f)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "could not create \"%s\": %s",
                              w->temporary ? w->temporary : path, strerror(errno)));
out:
    if (rc) {
        free(w->path);
        free(w->temporary);
        *w = (struct plumb_writer){ 0 };
    }
    return rc;
}

int plumb_writer_put(struct plumb_writer *w, const void *data, size_t n)
{
    if (n == 0 || fwrite(data, 1, n, w->f) == n) return PLUMB_OK;
    w->failed = true;
    return plumb_fail(PLUMB_EIO, "could not write \"%s\": %s", w->path, strerror(errno));
}

/* Makes the rename itself survive a power cut. Some file systems refuse to sync a directory:
 * harmless. */
static void sync_parent(const char *path)
{
    char *dir = joined(path, "");
    if (!dir) return;
    char *slash = strrchr(dir, '/');
    if (slash) slash[slash == dir] = 0;
    const int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(dir);
}

int plumb_writer_commit(struct plumb_writer *w)
{
    int rc = PLUMB_OK;
    if (w->failed)
        PLUMB_TRYG(
            plumb_fail(PLUMB_EIO, "could not write \"%s\": an earlier write failed", w->path));
    if (fflush(w->f) != 0 || (w->temporary && fsync(fileno(w->f)) != 0))
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "could not write \"%s\": %s", w->path, strerror(errno)));
    const int closed = fclose(w->f);
    w->f = NULL;
    if (closed != 0)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "could not write \"%s\": %s", w->path, strerror(errno)));
    if (!w->temporary) goto out;
    if (rename(w->temporary, w->path) != 0)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "could not rename \"%s\" to \"%s\": %s", w->temporary,
                              w->path, strerror(errno)));
    sync_parent(w->path);
    free(w->temporary);
    w->temporary = NULL;
out:
    plumb_writer_abort(w);
    return rc;
}

void plumb_writer_abort(struct plumb_writer *w)
{
    if (w->f) fclose(w->f);
    if (w->temporary) unlink(w->temporary);
    free(w->path);
    free(w->temporary);
    *w = (struct plumb_writer){ 0 };
}

int plumb_file_write(const char *path, const void *data, size_t n)
{
    struct plumb_writer w = { 0 };
    int rc = PLUMB_OK;
    PLUMB_TRYG(plumb_writer_open(&w, path));
    PLUMB_TRYG(plumb_writer_put(&w, data, n));
    PLUMB_TRYG(plumb_writer_commit(&w));
out:
    plumb_writer_abort(&w);
    return rc;
}

int plumb_file_copy(const char *from, const char *to)
{
    struct plumb_map m;
    PLUMB_TRY(plumb_map_open(&m, from));
    const int rc = plumb_file_write(to, m.data, m.bytes);
    plumb_map_release(&m);
    return rc;
}

int plumb_dir_make(const char *path)
{
    char *dir = joined(path, "/");
    if (!dir) return plumb_fail(PLUMB_EMEM, "could not allocate a name for \"%s\"", path);
    int rc = PLUMB_OK;
    for (char *p = dir + 1; *p && rc == PLUMB_OK; p++) {
        if (*p != '/' || p[-1] == '/') continue;
        *p = 0;
        struct stat st;
        if (mkdir(dir, 0777) != 0 &&
            (errno != EEXIST || stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)))
            rc = plumb_fail(PLUMB_EIO, "could not create the folder \"%s\": %s", dir,
                            strerror(errno == EEXIST ? ENOTDIR : errno));
        *p = '/';
    }
    free(dir);
    return rc;
}

/* Two names change places: at once, or by way of a third where the file system cannot. */
static int exchange(const char *a, const char *b)
{
    if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    char *aside = joined(a, ".old");
    const bool done = aside && rename(b, aside) == 0 && rename(a, b) == 0 && rename(aside, a) == 0;
    free(aside);
    return done ? 0 : -1;
}

int plumb_dir_replace(const char *from, const char *to)
{
    if ((plumb_file_exists(to) ? exchange(from, to) : rename(from, to)) != 0)
        return plumb_fail(PLUMB_EIO, "could not rename \"%s\" to \"%s\": %s", from, to,
                          strerror(errno));
    sync_parent(to);
    return PLUMB_OK;
}

bool plumb_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool plumb_file_same(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int plumb_path_join(char *out, size_t n, const char *dir, const char *name)
{
    const size_t d = strlen(dir);
    const char *slash = d == 0 || dir[d - 1] == '/' ? "" : "/";
    const int wrote = snprintf(out, n, "%s%s%s", dir, slash, name);
    if (wrote >= 0 && (size_t)wrote < n) return PLUMB_OK;
    if (n) out[0] = 0;
    return plumb_fail(PLUMB_EINVAL, "the path \"%s%s%s\" is longer than %zu bytes", dir, slash,
                      name, n);
}

void plumb_shell_quote(char *out, size_t n, const char *path, size_t length, const char *end)
{
    size_t at = 0;
    out[at++] = '\'';
    for (size_t i = 0; i < length && at + 16 < n; i++) {
        if (path[i] == '\'')
            at += (size_t)snprintf(out + at, n - at, "'\\''");
        else
            out[at++] = path[i];
    }
    snprintf(out + at, n - at, "%s'", end);
}
