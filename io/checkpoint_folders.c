/* The checkpoints of an output folder: which is the last, which go. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/checkpoint.h"
#include "io/file.h"

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int plumb_folder_remove(const char *path)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT) return PLUMB_OK;
    return plumb_fail(PLUMB_EIO, "could not remove \"%s\": %s", path, strerror(errno));
}

/* The step of "checkpoint-<digits>" (*unfinished: with ".tmp" behind), -1 for other names. */
static int64_t step_of(const char *name, bool *unfinished)
{
    static const char start[] = "checkpoint-";
    if (strncmp(name, start, sizeof start - 1) != 0) return -1;
    const char *p = name + sizeof start - 1;
    int64_t step = 0;
    int digits = 0;
    for (; *p >= '0' && *p <= '9' && digits < 18; p++, digits++)
        step = step * 10 + (*p - '0');
    *unfinished = strcmp(p, ".tmp") == 0;
    return digits > 0 && (!*p || *unfinished) ? step : -1;
}

struct found {
    char *path;
    int64_t step;
    bool unfinished;
};

static int by_step(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return (x->step > y->step) - (x->step < y->step);
}

static void release(struct found *list, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        free(list[i].path);
    free(list);
}

/* One entry of the output folder, if it is a checkpoint: appended to *list. */
static int add(const char *output, const char *name, struct found **list, int64_t *n)
{
    char path[4096], index[4096];
    struct stat st;
    struct found f = { 0 };
    f.step = step_of(name, &f.unfinished);
    if (f.step < 0) return PLUMB_OK;
    PLUMB_TRY(plumb_path_join(path, sizeof path, output, name));
    if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return PLUMB_OK;
    PLUMB_TRY(plumb_path_join(index, sizeof index, path, PLUMB_CHECKPOINT_INDEX));
    if (!f.unfinished && !plumb_file_exists(index)) return PLUMB_OK; /* someone else's */
    struct found *larger = realloc(*list, (size_t)(*n + 1) * sizeof *larger);
    if (larger) *list = larger;
    f.path = strdup(path);
    if (!larger || !f.path) {
        free(f.path);
        return plumb_fail(PLUMB_EMEM, "could not allocate the list of checkpoints");
    }
    larger[(*n)++] = f;
    return PLUMB_OK;
}

/* All checkpoints of a folder by step, unfinished ones too; none when there is no folder. */
static int list_all(const char *output, struct found **list, int64_t *n)
{
    *list = NULL;
    *n = 0;
    DIR *d = opendir(output);
    if (!d && errno == ENOENT) return PLUMB_OK;
    if (!d)
        return plumb_fail(PLUMB_EIO, "could not read the folder \"%s\": %s", output,
                          strerror(errno));
    int rc = PLUMB_OK;
    for (struct dirent *e; rc == PLUMB_OK && (e = readdir(d));)
        rc = add(output, e->d_name, list, n);
    closedir(d);
    if (rc) {
        release(*list, *n);
        return rc;
    }
    if (*n) qsort(*list, (size_t)*n, sizeof **list, by_step);
    return PLUMB_OK;
}

int plumb_checkpoint_last(const char *output, char *path, size_t n)
{
    struct found *list;
    int64_t count;
    PLUMB_TRY(list_all(output, &list, &count));
    path[0] = 0;
    int64_t i = count - 1;
    while (i >= 0 && list[i].unfinished)
        i--;
    const int wrote = i < 0 ? 0 : snprintf(path, n, "%s", list[i].path);
    release(list, count);
    if (wrote >= (int)n)
        return plumb_fail(PLUMB_EINVAL, "the path of the last checkpoint in \"%s\" is too long",
                          output);
    return PLUMB_OK;
}

/* Renames first: half a removal must not look like a checkpoint. */
static int discard(const struct found *f)
{
    char gone[4096];
    if (f->unfinished) return plumb_folder_remove(f->path);
    snprintf(gone, sizeof gone, "%.4090s.tmp", f->path);
    PLUMB_TRY(plumb_folder_remove(gone));
    if (rename(f->path, gone) != 0)
        return plumb_fail(PLUMB_EIO, "could not rename \"%s\": %s", f->path, strerror(errno));
    return plumb_folder_remove(gone);
}

int plumb_checkpoint_prune(const char *output, int64_t keep, const char *except)
{
    struct found *list;
    int64_t count, finished = 0, last = -1;
    PLUMB_TRY(list_all(output, &list, &count));
    for (int64_t i = 0; i < count; i++) {
        if (list[i].unfinished) continue;
        finished++;
        last = i;
    }
    int rc = PLUMB_OK;
    for (int64_t i = 0; i < count && rc == PLUMB_OK; i++) {
        const bool old = keep > 0 && finished > keep && !list[i].unfinished && i != last;
        if (!list[i].unfinished && (!old || (except && plumb_file_same(list[i].path, except))))
            continue;
        finished -= old;
        rc = discard(&list[i]);
    }
    release(list, count);
    return rc;
}

int plumb_checkpoint_forget(const char *output, int64_t step)
{
    struct found *list;
    int64_t count;
    int rc = PLUMB_OK;
    PLUMB_TRY(list_all(output, &list, &count));
    for (int64_t i = 0; i < count && rc == PLUMB_OK; i++)
        if (list[i].unfinished || list[i].step > step) rc = discard(&list[i]);
    release(list, count);
    return rc;
}
