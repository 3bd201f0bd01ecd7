/* Runs of the binary that are compared, stopped and gone on with. */
#pragma once
#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <time.h>

#include "io/json.h"
#include "tests/tiny_run.h"

#if defined(__SANITIZE_ADDRESS__)
enum { RUNS_SANITIZED = 1 };
#else
enum { RUNS_SANITIZED = 0 };
#endif

static inline double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void nap(double seconds)
{
    const struct timespec t = { (time_t)seconds,
                                (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&t, NULL);
}

/* Metrics without the fields of time and memory, one line per line; malloc'ed. */
static inline char *plain_metrics(const struct tiny *t, const char *name)
{
    static const char *const differ[] = { "tokens_per_second", "step_time", "peak_rss_bytes" };
    char *text = tiny_read(t, name, NULL), *all = NULL;
    size_t n;
    FILE *f = open_memstream(&all, &n);
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        cr_assert(end, "%s: the last line is torn: %s", name, line);
        *end = 0;
        cJSON *json = cJSON_Parse(line);
        cr_assert(json, "%s: %s", name, line);
        for (int i = 0; i < 3; i++)
            cJSON_DeleteItemFromObject(json, differ[i]);
        char *rest = cJSON_PrintUnformatted(json);
        fprintf(f, "%s\n", rest);
        cJSON_free(rest);
        cJSON_Delete(json);
    }
    fclose(f);
    free(text);
    return all;
}

static inline void same_bytes(const struct tiny *t, const char *a, const char *b, const char *file)
{
    char x[256], y[256];
    size_t m, n;
    snprintf(x, sizeof x, "%s/%s", a, file);
    snprintf(y, sizeof y, "%s/%s", b, file);
    char *p = tiny_read(t, x, &m), *q = tiny_read(t, y, &n);
    cr_expect(m == n && memcmp(p, q, m) == 0, "%s and %s differ", x, y);
    free(p);
    free(q);
}

/* The step of a folder's last checkpoint, -1 without one. */
static inline int64_t last_step(const struct tiny *t, const char *out)
{
    char path[512];
    cr_assert_eq(plumb_checkpoint_last(tiny_path(t, out), path, sizeof path), PLUMB_OK);
    return path[0] ? strtoll(strrchr(path, '-') + 1, NULL, 10) : -1;
}

/* Folders `a` and `b` hold runs with the same weights, optimizer, place and metrics. */
static inline void same_run(const struct tiny *t, const char *a, const char *b)
{
    static const char *const files[] = { "adam_m.bin", "adam_v.bin", "state.bin",
                                         "model.safetensors" };
    char x[128], y[128];
    same_bytes(t, a, b, "model.safetensors");
    same_bytes(t, a, b, "config.json");
    const int64_t step = last_step(t, a);
    cr_expect_eq(last_step(t, b), step);
    for (size_t i = 0; i < sizeof files / sizeof *files && step >= 0; i++) {
        snprintf(x, sizeof x, "%s/checkpoint-%d", a, (int)step);
        snprintf(y, sizeof y, "%s/checkpoint-%d", b, (int)step);
        same_bytes(t, x, y, files[i]);
    }
    snprintf(x, sizeof x, "%s/metrics.jsonl", a);
    snprintf(y, sizeof y, "%s/metrics.jsonl", b);
    char *p = plain_metrics(t, x), *q = plain_metrics(t, y);
    cr_expect_str_eq(p, q);
    free(p);
    free(q);
}

static inline void run_to_end(struct program *p, const struct arguments *a)
{
    program_run(p, a->v);
    cr_assert_eq(p->code, 0, "%s", p->err);
}

/* The binary in the background, its standard error in `err`. */
static inline pid_t start(const struct arguments *a, const char *err)
{
    char path[1024];
    const char *build = getenv("PLUMB_BUILD");
    snprintf(path, sizeof path, "%s/plumb", build ? build : "build");
    const pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child == 0) {
        dup2(open("/dev/null", O_RDWR), 1);
        dup2(open(err, O_WRONLY | O_CREAT | O_TRUNC, 0666), 2);
        execv(path, (char *const *)a->v);
        _exit(127);
    }
    return child;
}

static inline bool ended(pid_t child, int *code)
{
    int status;
    const pid_t got = waitpid(child, &status, WNOHANG);
    cr_assert(got == child || got == 0);
    if (got) *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return got == child;
}

static inline int wait_code(pid_t child)
{
    int code;
    while (!ended(child, &code))
        nap(0.0005);
    return code;
}

/* Whether the folder has an entry whose name ends in ".tmp". */
static inline bool is_writing(const struct tiny *t, const char *out)
{
    bool found = false;
    DIR *d = opendir(tiny_path(t, out));
    for (const struct dirent *e; d && !found && (e = readdir(d)) != NULL;)
        found = strlen(e->d_name) > 4 && !strcmp(e->d_name + strlen(e->d_name) - 4, ".tmp");
    if (d) closedir(d);
    return found;
}

/* Metrics of a run, an array with an object a line. */
static inline cJSON *metrics_of(const struct tiny *t, const char *out)
{
    char name[64];
    snprintf(name, sizeof name, "%s/metrics.jsonl", out);
    char *text = plain_metrics(t, name);
    cJSON *lines = cJSON_CreateArray();
    for (const char *at = text; *at; at = strchr(at, '\n') + 1)
        cJSON_AddItemToArray(lines, cJSON_Parse(at));
    free(text);
    return lines;
}

/* The value on the line of `step` that has the metric; NaN without. */
static inline double metric_at(const cJSON *lines, int step, const char *metric)
{
    const cJSON *line;
    cJSON_ArrayForEach(line, lines)
    {
        const cJSON *m = cJSON_GetObjectItemCaseSensitive(line, metric);
        if (m && (int)cJSON_GetObjectItem(line, "step")->valuedouble == step) return m->valuedouble;
    }
    return (double)NAN;
}
