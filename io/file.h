/* Files: whole reads (gzip unpacked), memory maps, and writes that appear whole or not at all. */
#pragma once
#include <plumb/base.h>
#include <stdio.h>

/* *out = malloc'ed contents + NUL, *n its length; gzip is recognised by its magic bytes. Fails over
 * `limit` bytes (0 = 4 GiB), and where gzip makes more than 1 MiB + 100 times its own bytes of
 * itself (text seldom reaches 30), so that a small hostile archive cannot fill the memory. *out is
 * NULL after a failure. Memory: at most three times the contents while they are read. */
int plumb_file_read(const char *path, size_t limit, char **out, size_t *n);

struct plumb_map {
    const char *data; /* read-only, private; NULL for an empty file */
    size_t bytes;
};
int plumb_map_open(struct plumb_map *m, const char *path);
void plumb_map_release(struct plumb_map *m); /* takes a zeroed one */
/* Drops the whole pages of a mapped range from memory; they come back from the file when used. */
void plumb_map_forget(const void *data, size_t bytes);

/* A file written as `<path>.tmp`; commit flushes to disk and renames, abort removes. Exactly one of
 * the two must be called (abort after a failed open or after commit does nothing). Every failure
 * (full disk) names the file and leaves what stood at `path`. Devices and pipes are written in
 * place. */
struct plumb_writer {
    FILE *f;
    char *path, *temporary;
    bool failed;
};
int plumb_writer_open(struct plumb_writer *w, const char *path);
int plumb_writer_put(struct plumb_writer *w, const void *data, size_t n);
int plumb_writer_commit(struct plumb_writer *w);
void plumb_writer_abort(struct plumb_writer *w); /* takes a zeroed one */
/* A small file at once, whole or not at all. */
int plumb_file_write(const char *path, const void *data, size_t n);
int plumb_file_copy(const char *from, const char *to); /* whole or not at all */
int plumb_dir_make(const char *path);                  /* mkdir -p */
/* Gives folder `from` the name `to`, durably. Where `to` exists, the two change names, in one step
 * where the file system can (else `to` is missing for a moment); `from` is then the older one. */
int plumb_dir_replace(const char *from, const char *to);
bool plumb_file_exists(const char *path);              /* anything: file, folder, device */
bool plumb_file_same(const char *a, const char *b);    /* both exist and are one file or folder */
int plumb_path_join(char *out, size_t n, const char *dir,
                    const char *name); /* fails when too long */
/* The first `length` bytes of a path and `end` behind them as one word of a shell, cut where `out`
 * ends. */
void plumb_shell_quote(char *out, size_t n, const char *path, size_t length, const char *end);
