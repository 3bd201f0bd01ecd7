/* Bytes of a file: plain, gzip or zstd. */
#include "io/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define PACKED_BYTES ((size_t)1 << 17)

static int failed(const struct plumb_input *in, const char *why)
{
    return plumb_fail(PLUMB_EIO, "could not read \"%s\" behind byte %" PRId64 ": %s", in->path,
                      in->bytes, why);
}

/* A frame, or one of those that hold no data. */
static bool is_zstd(const unsigned char *b)
{
    static const unsigned char frame[] = { 0x28, 0xB5, 0x2F, 0xFD },
                               skipped[] = { 0x2A, 0x4D, 0x18 };
    return !memcmp(b, frame, 4) || ((b[0] & 0xF0) == 0x50 && !memcmp(b + 1, skipped, 3));
}

static int no_memory(const char *path)
{
    return plumb_fail(PLUMB_EMEM, "could not allocate a buffer for \"%s\"", path);
}

int plumb_input_open(struct plumb_input *in, const char *path)
{
    unsigned char first[4];
    *in = (struct plumb_input){ .path = path };
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return plumb_fail(PLUMB_EIO, "could not open \"%s\": %s", path, strerror(errno));
    if (pread(fd, first, 4, 0) == 4 && is_zstd(first)) { /* a pipe cannot be looked ahead into */
        in->fd = fd;
        in->zstd = ZSTD_createDCtx();
        in->packed = malloc(PACKED_BYTES);
        if (in->zstd && in->packed) return PLUMB_OK;
        close(fd);
        ZSTD_freeDCtx(in->zstd);
        free(in->packed);
        *in = (struct plumb_input){ 0 };
        return no_memory(path);
    }
    in->file = gzdopen(fd, "rb");
    if (in->file) return PLUMB_OK;
    close(fd);
    *in = (struct plumb_input){ 0 };
    return no_memory(path);
}

static int read_gzip(struct plumb_input *in, char *out, size_t room, size_t *n)
{
    int code = Z_OK;
    const int got = gzread(in->file, out, room < INT32_MAX ? (unsigned)room : INT32_MAX);
    const int error = errno;
    const char *why = gzerror(in->file, &code);
    if (got >= 0 && (got > 0 || code == Z_OK || code == Z_STREAM_END)) {
        *n = (size_t)got;
        return PLUMB_OK;
    }
    return failed(in, code == Z_ERRNO       ? strerror(error)
                      : code == Z_BUF_ERROR ? "gzip data ends too early"
                                            : why);
}

/* *n = 0 only at the end. */
static int read_zstd(struct plumb_input *in, char *out, size_t room, size_t *n)
{
    ZSTD_outBuffer to = { out, room, 0 };
    while (to.pos == 0) {
        if (in->at == in->end && !in->used_up) {
            const ssize_t got = read(in->fd, in->packed, PACKED_BYTES);
            if (got < 0) return failed(in, strerror(errno));
            in->at = 0;
            in->end = (size_t)got;
            in->used_up = got == 0;
        }
        if (in->used_up && !in->inside) break;
        ZSTD_inBuffer from = { in->packed, in->end, in->at };
        const size_t left = ZSTD_decompressStream(in->zstd, &to, &from);
        if (ZSTD_isError(left)) return failed(in, ZSTD_getErrorName(left));
        in->at = from.pos;
        in->inside = left > 0;
        if (in->used_up && in->inside && to.pos == 0) return failed(in, "zstd data ends too early");
    }
    *n = to.pos;
    return PLUMB_OK;
}

int plumb_input_read(struct plumb_input *in, char *out, size_t room, size_t *n)
{
    *n = 0;
    for (size_t got = 1; got > 0 && *n < room; *n += got, in->bytes += (int64_t)got)
        PLUMB_TRY(in->zstd ? read_zstd(in, out + *n, room - *n, &got)
                           : read_gzip(in, out + *n, room - *n, &got));
    return PLUMB_OK;
}

void plumb_input_release(struct plumb_input *in)
{
    if (in->file) gzclose(in->file);
    if (in->zstd) close(in->fd);
    ZSTD_freeDCtx(in->zstd);
    free(in->packed);
    *in = (struct plumb_input){ 0 };
}
