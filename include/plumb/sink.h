/* Where results go: metrics and samples of a run. io implements it, tools hand it over, algos
 * call it. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_INTERNAL

struct plumb_metric {
    const char *name; /* TRL's name: "loss", "rewards/chosen", ... */
    double value;
};

struct plumb_sink {
    void *self;
    /* One line of metrics.jsonl: `step` and the metrics in order. */
    int (*metrics)(void *self, int64_t step, const struct plumb_metric *m, int count);
    /* The progress line: done of total steps and a few metrics; ignored when not on a terminal. */
    void (*progress)(void *self, int64_t step, int64_t total, const struct plumb_metric *m,
                     int count);
};

PLUMB_END_INTERNAL
