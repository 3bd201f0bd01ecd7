/* Metrics of a run between two log lines: means by name, in order of first use. */
#pragma once
#include <plumb/sink.h>

#define PLUMB_TALLY_MOST 48

/* Plain data: a checkpoint stores it as it is. */
struct plumb_tally {
    int64_t count;
    char name[PLUMB_TALLY_MOST][40];
    double sum[PLUMB_TALLY_MOST], weight[PLUMB_TALLY_MOST];
};

/* Adds a value with weight 1; a NaN is not counted (a mean over nothing). Names are cut at 39
 * bytes. */
void plumb_tally_add(struct plumb_tally *t, const char *name, double value);
void plumb_tally_weigh(struct plumb_tally *t, const char *name, double value, double weight);
/* Means so far into out (room for PLUMB_TALLY_MOST), names living in t; returns how many. */
int plumb_tally_means(const struct plumb_tally *t, struct plumb_metric *out);
/* Back to no values; the names and their order stay. */
void plumb_tally_reset(struct plumb_tally *t);
