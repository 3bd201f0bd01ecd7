/* golden_train [DIR] [--device cpu|ref] [--file NAME]: replays every training trajectory of a
 * folder (schema plumb-trajectory/1) and compares losses, norms, metrics, log-probs and final
 * weights with its float64 run. Bound on cpu: the larger of four times the recorded
 * float32-to-float64 distance and 1e-5 of the value; on ref: 1e-10. Exit status 1 on any
 * deviation beyond it. */
#include "tests/trajectory.h"

#include <dirent.h>
#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The .json files of a folder, sorted; returns how many. */
static int list(const char *dir, char **names, int most)
{
    DIR *d = opendir(dir);
    if (!d) return -1;
    int n = 0;
    for (const struct dirent *e; (e = readdir(d)) && n < most;) {
        const size_t length = strlen(e->d_name);
        if (length > 5 && !strcmp(e->d_name + length - 5, ".json")) names[n++] = strdup(e->d_name);
    }
    closedir(d);
    qsort(names, (size_t)n, sizeof *names, by_name);
    return n;
}

/* Replays what the folder holds on one device; returns how many deviated or failed, -1 when
 * nothing ran. */
static int replay_all(const char *dir, char *const *names, int n, const char *only, bool ref)
{
    int replayed = 0, failed = 0, skipped = 0;
    for (int i = 0; i < n; i++) {
        if (only && strcmp(only, names[i])) continue;
        const int rc = plumb_trajectory_replay(dir, names[i], ref);
        if (rc == PLUMB_ENOTSUP)
            printf("%s\n  skipped: %s\n", names[i], plumb_errmsg()), skipped++;
        else if (rc != PLUMB_OK)
            printf("%s\n  FAILED: %s\n", names[i], plumb_errmsg()), failed++;
        else
            replayed++;
    }
    printf("golden_train on %s: %d trajectories agree, %d failed, %d skipped\n\n",
           ref ? "ref" : "cpu", replayed, failed, skipped);
    return replayed + failed > 0 ? failed : -1;
}

static int usage(void)
{
    fprintf(stderr, "usage: golden_train [DIR] [--device cpu|ref] [--file NAME.json]\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *device = NULL, *only = NULL, *shared = getenv("PLUMB_SHARED"),
               *source = getenv("PLUMB_SOURCE");
    char dir[4096];
    snprintf(dir, sizeof dir, "%s%s/golden/train",
             shared   ? shared
             : source ? source
                      : ".",
             shared ? "" : "/../shared");
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--device") && i + 1 < argc)
            device = argv[++i];
        else if (!strcmp(argv[i], "--file") && i + 1 < argc)
            only = argv[++i];
        else if (argv[i][0] != '-')
            snprintf(dir, sizeof dir, "%s", argv[i]);
        else
            return usage();
    }
    if (device && strcmp(device, "cpu") && strcmp(device, "ref")) return usage();
    char *names[256];
    const int n = list(dir, names, 256);
    if (n < 0) {
        const char *required = getenv("PLUMB_REQUIRE_SHARED");
        printf("golden_train: no folder \"%s\": skipped\n", dir);
        return required && required[0] == '1';
    }
    plumb_log_threshold(PLUMB_LOG_WARN);
    int bad = 0;
    if (!device || !strcmp(device, "cpu")) bad |= replay_all(dir, names, n, only, false) != 0;
    if (!device || !strcmp(device, "ref")) bad |= replay_all(dir, names, n, only, true) != 0;
    for (int i = 0; i < n; i++)
        free(names[i]);
    return bad;
}
