/* Finds the files of a dataset. */
#include "tools/dataset_files.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "io/rowfile.h"

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

static bool is_split(const char *file, const char *split)
{
    const size_t n = strlen(split);
    return strncmp(file, split, n) == 0 && (file[n] == '.' || file[n] == '-');
}

/* The names by which folders tell their splits apart. */
static bool is_any_split(const char *file)
{
    static const char *const splits[] = { "train", "test", "validation", "valid",
                                          "val",   "dev",  "eval",       "evaluation" };
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
        if (is_split(file, splits[i])) return true;
    return false;
}

/* What a folder and its folder `data` hold: files of the split, and all, when no split has a file.
 * Files of columns count where there are no rows: whoever opens them says how to convert them. */
struct holdings {
    struct plumb_dataset_files rows, columns, all_rows, all_columns;
    bool has_splits;
};

/* What Hugging Face writes beside rows. */
static bool is_about_rows(const char *file)
{
    static const char *const names[] = { "dataset_info.json", "dataset_infos.json",
                                         "dataset_dict.json", "state.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(file, names[i]) == 0) return true;
    return false;
}

static int take_file(struct holdings *h, const char *folder, const char *name, const char *split)
{
    char path[PATH_MAX_BYTES];
    const enum plumb_rowfile_kind kind = plumb_rowfile_kind(name);
    const bool rows = kind == PLUMB_ROWFILE_ROWS;
    if (kind == PLUMB_ROWFILE_UNKNOWN || name[0] == '.' || is_about_rows(name)) return PLUMB_OK;
    h->has_splits = h->has_splits || is_any_split(name);
    PLUMB_TRY(plumb_path_join(path, sizeof path, folder, name));
    if (is_split(name, split)) return add(rows ? &h->rows : &h->columns, path);
    return add(rows ? &h->all_rows : &h->all_columns, path);
}

/* A folder that does not exist has no files. */
static int look_into(struct holdings *h, const char *folder, const char *split)
{
    int rc = PLUMB_OK;
    DIR *d = opendir(folder);
    if (!d && (errno == ENOENT || errno == ENOTDIR)) return PLUMB_OK;
    if (!d) return plumb_fail(PLUMB_EIO, "could not open \"%s\": %s", folder, strerror(errno));
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        PLUMB_TRYG(take_file(h, folder, e->d_name, split));
out:
    closedir(d);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int find_in_folder(const char *name, const char *split, bool optional,
                          struct plumb_dataset_files *out)
{
    char data[PATH_MAX_BYTES];
    struct holdings h = { 0 };
    int rc = PLUMB_OK;
    PLUMB_TRYG(look_into(&h, name, split));
    PLUMB_TRYG(plumb_path_join(data, sizeof data, name, "data"));
    PLUMB_TRYG(look_into(&h, data, split));
    struct plumb_dataset_files *const choice[] = { &h.rows, &h.columns, &h.all_rows,
                                                   &h.all_columns };
    /* All files are one set where no split has a name; they are no set beside it. */
    for (int i = 0; i < (h.has_splits || optional ? 2 : 4) && out->count == 0; i++) {
        *out = *choice[i];
        *choice[i] = (struct plumb_dataset_files){ 0 };
    }
    if (out->count == 0 && !optional)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO,
                              "the folder \"%s\" has no file %s.jsonl, %s.json, %s.csv, "
                              "%s-*.jsonl or the like (.gz, .zst)",
                              name, split, split, split, split));
out:
    plumb_dataset_files_release(&h.rows);
    plumb_dataset_files_release(&h.columns);
    plumb_dataset_files_release(&h.all_rows);
    plumb_dataset_files_release(&h.all_columns);
    return rc;
}

static int find_by_pattern(const char *name, struct plumb_dataset_files *out)
{
    glob_t g = { 0 };
    struct stat st;
    int rc = PLUMB_OK;
    const int failed = glob(name, GLOB_NOSORT | GLOB_BRACE, NULL, &g);
    if (failed == GLOB_NOMATCH)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "no file matches the dataset \"%s\"", name));
    if (failed)
        PLUMB_TRYG(plumb_fail(failed == GLOB_NOSPACE ? PLUMB_EMEM : PLUMB_EIO,
                              "could not look for the files of \"%s\"", name));
    for (size_t i = 0; i < g.gl_pathc; i++) {
        if (stat(g.gl_pathv[i], &st) == 0 && S_ISDIR(st.st_mode))
            PLUMB_TRYG(plumb_fail(PLUMB_EUSAGE,
                                  "\"%s\" matches the folder \"%s\": give a pattern "
                                  "of files",
                                  name, g.gl_pathv[i]));
        PLUMB_TRYG(add(out, g.gl_pathv[i]));
    }
out:
    globfree(&g);
    return rc;
}

int plumb_dataset_files_find(const char *name, const char *split, bool optional,
                             struct plumb_dataset_files *out)
{
    struct stat st;
    int rc = PLUMB_OK;
    *out = (struct plumb_dataset_files){ 0 };
    const int missing = stat(name, &st) != 0 ? errno : 0;
    if (missing && strpbrk(name, "*?[{"))
        PLUMB_TRYG(find_by_pattern(name, out));
    else if (missing)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO,
                              "could not open the dataset \"%s\": %s (nothing is downloaded)", name,
                              strerror(missing)));
    else if (S_ISDIR(st.st_mode))
        PLUMB_TRYG(find_in_folder(name, split, optional, out));
    else
        PLUMB_TRYG(add(out, name));
    if (out->count) qsort(out->path, (size_t)out->count, sizeof *out->path, by_name);
out:
    if (rc) plumb_dataset_files_release(out);
    return rc;
}
