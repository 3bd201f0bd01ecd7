/* metrics.jsonl and the progress line: the sink of a training run. One JSON object per line,
 * "step" first, then the metrics in the caller's order; numbers that are not finite become null. */
#pragma once
#include <plumb/sink.h>

#include <stdio.h>

struct plumb_metrics {
    char *path; /* NULL = closed */
    int fd;
    int64_t bytes;      /* length of the file's whole lines */
    FILE *terminal;     /* where the progress line goes; NULL = nowhere */
    int64_t first_step; /* of the progress line, and the clock then; -1 before it */
    double first_seconds, shown_seconds;
    bool line_open; /* a progress line stands on the terminal */
};

/* Opens `path` for appending. resume_step -1 starts an empty file; otherwise lines of steps
 * beyond resume_step, and a line that a killed run left unfinished, are cut off. A line that is
 * not a metrics line fails with PLUMB_EFORMAT, a file that another run has open with PLUMB_EIO;
 * both leave it as it was. The progress line goes to standard error when that is a terminal. */
int plumb_metrics_open(struct plumb_metrics *m, const char *path, int64_t resume_step);
/* The run's sink; `m` must outlive it. A line that cannot be written whole (full disk) fails
 * with PLUMB_EIO naming the file, and no part of it stays. */
struct plumb_sink plumb_metrics_sink(struct plumb_metrics *m);
/* Makes the lines so far survive a power cut. */
int plumb_metrics_flush(struct plumb_metrics *m);
void plumb_metrics_release(struct plumb_metrics *m); /* takes a zeroed one; leaves it zeroed */
