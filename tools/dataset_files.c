/* Finds the files of a dataset. */
#include "tools/dataset_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"

#define PATH_MAX_BYTES 4096

void plumb_dataset_files_release(struct plumb_dataset_files *f)
{
    for (int i = 0; i < f->count; i++)
        free(f->path[i]);
    free(f->path);
    *f = (struct plumb_dataset_files){ 0 };
}

static int add(struct plumb_dataset_files *f, const char *path)
{
    char **grown = realloc(f->path, (size_t)(f->count + 1) * sizeof *grown);
    if (grown) f->path = grown;
    char *copy = grown ? strdup(path) : NULL;
    if (!copy) return plumb_fail(PLUMB_EMEM, "could not allocate the name \"%s\"", path);
    f->path[f->count++] = copy;
    return PLUMB_OK;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool belongs(const char *file, const char *split)
{
    const size_t n = strlen(split);
    return strncmp(file, split, n) == 0 && (file[n] == '.' || file[n] == '-') &&
           (ends_with(file, ".jsonl") || ends_with(file, ".json") || ends_with(file, ".jsonl.gz") ||
            ends_with(file, ".json.gz"));
}

/* Adds the split's files of one folder; a folder that does not exist has none. */
static int add_folder(struct plumb_dataset_files *f, const char *folder, const char *split)
{
    char path[PATH_MAX_BYTES];
    int rc = PLUMB_OK;
    DIR *d = opendir(folder);
    if (!d && (errno == ENOENT || errno == ENOTDIR)) return PLUMB_OK;
    if (!d) return plumb_fail(PLUMB_EIO, "could not open \"%s\": %s", folder, strerror(errno));
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        if (!belongs(e->d_name, split)) continue;
        PLUMB_TRYG(plumb_path_join(path, sizeof path, folder, e->d_name));
        PLUMB_TRYG(add(f, path));
    }
out:
    closedir(d);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int plumb_dataset_files_find(const char *name, const char *split, bool optional,
                             struct plumb_dataset_files *out)
{
    char data[PATH_MAX_BYTES];
    struct stat st;
    int rc = PLUMB_OK;
    *out = (struct plumb_dataset_files){ 0 };
    if (stat(name, &st) != 0)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO,
                              "could not open the dataset \"%s\": %s (nothing is downloaded)", name,
                              strerror(errno)));
    if (!S_ISDIR(st.st_mode)) return add(out, name);
    PLUMB_TRYG(add_folder(out, name, split));
    PLUMB_TRYG(plumb_path_join(data, sizeof data, name, "data"));
    PLUMB_TRYG(add_folder(out, data, split));
    if (out->count == 0 && !optional)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO,
                              "the folder \"%s\" has no file %s.jsonl, %s.json, %s-*.jsonl or the "
                              "like",
                              name, split, split, split));
    if (out->count) qsort(out->path, (size_t)out->count, sizeof *out->path, by_name);
out:
    if (rc) plumb_dataset_files_release(out);
    return rc;
}
