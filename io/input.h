/* Bytes of a file from front to end: plain, gzip or zstd, which its first bytes tell. Memory: the
 * packer's window, at most 128 MiB for zstd, whatever the file's size. */
#pragma once
#include <plumb/base.h>

struct plumb_input {
    const char *path; /* the caller's */
    void *file;       /* zlib's: plain or gzip */
    void *zstd;       /* libzstd's, and what is read ahead of it; NULL = none */
    char *packed;
    size_t at, end;       /* in packed */
    int fd;               /* of zstd */
    bool inside, used_up; /* a frame of zstd is not at its end; nothing follows in the file */
    int64_t bytes;        /* unpacked so far */
};

/* Fails with PLUMB_EIO when the file cannot be opened. */
int plumb_input_open(struct plumb_input *in, const char *path);
/* *n = bytes read, fewer than `room` only at the end. Fails with PLUMB_EIO, naming the file and the
 * byte, on packed data that are corrupt or cut short. */
int plumb_input_read(struct plumb_input *in, char *out, size_t room, size_t *n);
void plumb_input_release(struct plumb_input *in); /* takes a zeroed one; leaves it zeroed */
