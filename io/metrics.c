/* metrics.jsonl and the progress line. */
#include "io/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STEP_PREFIX "{\"step\": "
#define REDRAW_SECONDS 0.1

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool line_step(const char *line, size_t n, int64_t *step)
{
    const size_t prefix = sizeof STEP_PREFIX - 1;
    if (n < prefix + 2 || memcmp(line, STEP_PREFIX, prefix) != 0) return false;
    char *end;
    errno = 0;
    const long long value = strtoll(line + prefix, &end, 10);
    *step = value;
    return errno == 0 && end != line + prefix && (*end == ',' || *end == '}') && line[n - 2] == '}';
}

/* *keep = bytes of the leading lines that belong to steps up to resume_step. */
static int find_kept(FILE *f, const char *path, int64_t resume_step, int64_t *keep)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int64_t number = 0, step = 0;
    int rc = PLUMB_OK;
    *keep = 0;
    while ((n = getline(&line, &capacity, f)) > 0) {
        number++;
        if (line[n - 1] != '\n') break;
        if (!line_step(line, (size_t)n, &step)) {
            rc = plumb_fail(PLUMB_EFORMAT, "\"%s\":%" PRId64 ": not a line of metrics: \"%.40s\"",
                            path, number, line);
            break;
        }
        if (step > resume_step) break;
        *keep += n;
    }
    if (!rc && ferror(f))
        rc = plumb_fail(PLUMB_EIO, "could not read \"%s\": %s", path, strerror(errno));
    free(line);
    return rc;
}

/* One run at a time; the lock goes with the process. A device is nobody's. */
static int take(const struct plumb_metrics *m)
{
    struct stat st;
    if (fstat(m->fd, &st) != 0 || !S_ISREG(st.st_mode)) return PLUMB_OK;
    if (flock(m->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return PLUMB_OK;
    return plumb_fail(PLUMB_EIO, "another run is writing \"%s\"", m->path);
}

static int cut(struct plumb_metrics *m, int64_t bytes)
{
    m->bytes = bytes;
    if (ftruncate(m->fd, bytes) == 0 || errno == EINVAL) return PLUMB_OK; /* EINVAL: a device */
    return plumb_fail(PLUMB_EIO, "could not shorten \"%s\": %s", m->path, strerror(errno));
}

static int cut_beyond(struct plumb_metrics *m, int64_t resume_step)
{
    FILE *f = fopen(m->path, "r");
    if (!f) return plumb_fail(PLUMB_EIO, "could not read \"%s\": %s", m->path, strerror(errno));
    int64_t keep;
    const int rc = find_kept(f, m->path, resume_step, &keep);
    fclose(f);
    PLUMB_TRY(rc);
    return cut(m, keep);
}

int plumb_metrics_open(struct plumb_metrics *m, const char *path, int64_t resume_step)
{
    int rc = PLUMB_OK;
    *m = (struct plumb_metrics){ .path = strdup(path), .fd = -1, .first_step = -1 };
    if (!m->path) return plumb_fail(PLUMB_EMEM, "could not allocate the name of \"%s\"", path);
    m->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (m->fd < 0)
        PLUMB_TRYG(plumb_fail(PLUMB_EIO, "could not open \"%s\": %s", path, strerror(errno)));
    PLUMB_TRYG(take(m));
    PLUMB_TRYG(resume_step < 0 ? cut(m, 0) : cut_beyond(m, resume_step));
    if (isatty(STDERR_FILENO)) m->terminal = stderr;
out:
    if (rc) plumb_metrics_release(m);
    return rc;
}

static void put_json_text(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') fputc('\\', f);
        if ((unsigned char)*s < 0x20)
            fprintf(f, "\\u%04x", (unsigned)*s);
        else
            fputc(*s, f);
    }
    fputc('"', f);
}

/* The shortest form that reads back as the same double. */
static void put_number(FILE *f, double x)
{
    char text[32];
    if (!isfinite(x)) {
        fputs("null", f);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    fputs(text, f);
}

static int append_whole(struct plumb_metrics *m, const char *line, size_t n)
{
    size_t done = 0;
    while (done < n) {
        const ssize_t k = write(m->fd, line + done, n - done);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) {
            const int why = k < 0 ? errno : ENOSPC;
            if (done > 0 && ftruncate(m->fd, m->bytes) != 0)
                return plumb_fail(PLUMB_EIO, "could not write \"%s\" (its last line is torn): %s",
                                  m->path, strerror(why));
            return plumb_fail(PLUMB_EIO, "could not write \"%s\": %s", m->path, strerror(why));
        }
        done += (size_t)k;
    }
    m->bytes += (int64_t)n;
    return PLUMB_OK;
}

static int put_metrics(void *self, int64_t step, const struct plumb_metric *metric, int count)
{
    struct plumb_metrics *m = self;
    char *line = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&line, &n);
    if (!f) return plumb_fail(PLUMB_EMEM, "could not allocate a line of \"%s\"", m->path);
    fprintf(f, STEP_PREFIX "%" PRId64, step);
    for (int i = 0; i < count; i++) {
        fputs(", ", f);
        put_json_text(f, metric[i].name);
        fputs(": ", f);
        put_number(f, metric[i].value);
    }
    fputs("}\n", f);
    const bool whole = !ferror(f);
    int rc = fclose(f) == 0 && whole
                 ? PLUMB_OK
                 : plumb_fail(PLUMB_EMEM, "could not allocate a line of \"%s\"", m->path);
    if (!rc) rc = append_whole(m, line, n);
    free(line);
    return rc;
}

static void put_duration(FILE *f, double seconds)
{
    const int64_t s = (int64_t)seconds;
    if (s >= 3600)
        fprintf(f, "%" PRId64 ":%02d:%02d", s / 3600, (int)(s / 60 % 60), (int)(s % 60));
    else
        fprintf(f, "%02d:%02d", (int)(s / 60), (int)(s % 60));
}

static void put_progress_metric(FILE *f, const struct plumb_metric *metric)
{
    if (strcmp(metric->name, "tokens_per_second") != 0)
        fprintf(f, "  %s %.4g", metric->name, metric->value);
    else if (metric->value >= 1e4)
        fprintf(f, "  %.1fk tok/s", metric->value / 1e3);
    else
        fprintf(f, "  %.0f tok/s", metric->value);
}

/* Cut to the terminal's width: a line that wraps cannot be drawn over. */
static void draw(struct plumb_metrics *m, const char *line)
{
    struct winsize w = { 0 };
    int width = 79;
    if (ioctl(fileno(m->terminal), TIOCGWINSZ, &w) == 0 && w.ws_col > 1) width = w.ws_col - 1;
    fprintf(m->terminal, "\r%.*s\033[K", width, line);
    fflush(m->terminal);
    m->line_open = true;
}

static void show_progress(void *self, int64_t step, int64_t total,
                          const struct plumb_metric *metric, int count)
{
    struct plumb_metrics *m = self;
    if (!m->terminal) return;
    const double now = seconds_now();
    if (m->first_step < 0) {
        m->first_step = step;
        m->first_seconds = now;
    } else if (step < total && now - m->shown_seconds < REDRAW_SECONDS) {
        return;
    }
    m->shown_seconds = now;
    char *line = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&line, &n);
    if (!f) return;
    fprintf(f, "step %" PRId64 "/%" PRId64, step, total);
    for (int i = 0; i < count; i++)
        put_progress_metric(f, &metric[i]);
    if (step > m->first_step && step < total) {
        const double a_step = (now - m->first_seconds) / (double)(step - m->first_step);
        fputs("  left ", f);
        put_duration(f, a_step * (double)(total - step));
    }
    if (fclose(f) == 0) draw(m, line);
    free(line);
}

struct plumb_sink plumb_metrics_sink(struct plumb_metrics *m)
{
    return (struct plumb_sink){ .self = m, .metrics = put_metrics, .progress = show_progress };
}

int plumb_metrics_flush(struct plumb_metrics *m)
{
    if (!m->path || fsync(m->fd) == 0 || errno == EINVAL) return PLUMB_OK; /* EINVAL: a pipe */
    return plumb_fail(PLUMB_EIO, "could not write \"%s\": %s", m->path, strerror(errno));
}

void plumb_metrics_release(struct plumb_metrics *m)
{
    if (m->line_open) {
        fputc('\n', m->terminal);
        fflush(m->terminal);
    }
    if (m->path && m->fd >= 0) close(m->fd);
    free(m->path);
    *m = (struct plumb_metrics){ 0 };
}
