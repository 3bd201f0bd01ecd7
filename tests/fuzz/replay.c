/* Runs a fuzz target on files and folders of files, where libFuzzer is not there. With --torture,
 * on each file again and again while allocation 1, 2, 3 ... fails, alone and with all behind it:
 * whatever comes of it is a fault with a text or the result as ever, and nothing is left open or
 * unfreed. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/heap.h"

static bool torture;
static int64_t files, failed, wrong;

static int open_files(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void complain(const char *path, int64_t k, bool all, const char *what)
{
    wrong++;
    fprintf(stderr, "%s: allocation %lld%s failed: %s\n", path, (long long)k,
            all ? " and all behind it" : "", what);
}

/* One run in which allocation k fails; false when there were fewer. */
static bool run_short(const char *path, const void *data, size_t n, int64_t k, bool all)
{
    const int64_t blocks = heap_blocks();
    const int fds = open_files();
    fuzz_record(true);
    heap_fail(k, all);
    LLVMFuzzerTestOneInput(data, n);
    const int64_t refused = heap_refused();
    heap_fail(0, false);
    const char *verdict = fuzz_verdict();
    failed += refused > 0;
    if (verdict) complain(path, k, all, verdict);
    if (heap_blocks() != blocks) complain(path, k, all, "memory is left over");
    if (open_files() != fds) complain(path, k, all, "a file is left open");
    return refused > 0;
}

static void run(const char *path, const void *data, size_t n)
{
    files++;
    fuzz_record(false);
    LLVMFuzzerTestOneInput(data, n);
    if (!torture) return;
    fuzz_record(false); /* the first run may have filled what libraries keep */
    LLVMFuzzerTestOneInput(data, n);
    for (int all = 0; all < 2; all++)
        for (int64_t k = 1; run_short(path, data, n, k, all); k++) {
        }
}

static int run_file(const char *path)
{
    struct plumb_map m;
    PLUMB_TRY(plumb_map_open(&m, path));
    void *copy = malloc(m.bytes ? m.bytes : 1); /* its end is the end of the input */
    if (copy && m.bytes) memcpy(copy, m.data, m.bytes);
    const size_t n = m.bytes;
    plumb_map_release(&m);
    if (!copy) return plumb_fail(PLUMB_EMEM, "could not allocate \"%s\"", path);
    run(path, copy, n);
    free(copy);
    return PLUMB_OK;
}

static int run_path(const char *path)
{
    struct stat st;
    struct dirent **list;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return run_file(path);
    const int n = scandir(path, &list, NULL, alphasort);
    if (n < 0) return plumb_fail(PLUMB_EIO, "could not read the folder \"%s\"", path);
    int rc = PLUMB_OK;
    for (int i = 0; i < n; i++) {
        char file[4096];
        if (!rc && list[i]->d_name[0] != '.')
            rc = plumb_path_join(file, sizeof file, path, list[i]->d_name);
        if (!rc && list[i]->d_name[0] != '.') rc = run_file(file);
        free(list[i]);
    }
    free(list);
    return rc;
}

int main(int argc, char **argv)
{
    int rc = PLUMB_OK, at = 1;
    torture = argc > 1 && strcmp(argv[1], "--torture") == 0;
    for (at += torture; at < argc && !rc; at++)
        rc = run_path(argv[at]);
    if (rc) fprintf(stderr, "%s\n", plumb_errmsg());
    if (!rc && !files) fprintf(stderr, "no input\n");
    printf("%lld inputs", (long long)files);
    if (torture) printf(", %lld allocations failed", (long long)failed);
    printf(", %lld faults\n", (long long)wrong);
    return rc || wrong || !files;
}
