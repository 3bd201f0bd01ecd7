/* The curves of a metrics.jsonl, sorted into charts. */
#pragma once
#include <plumb/base.h>

#define PLUMB_CHART_SERIES 8

struct plumb_series {
    char *name;
    int64_t n, capacity;
    double *step, *value; /* (n); value NaN where the file has null */
};

struct plumb_series_set {
    struct plumb_series *series;
    int n, capacity;
    int64_t lines, last_step;
};

/* Series of one family: same unit, shown together. */
struct plumb_chart {
    char title[80];
    const char *unit; /* "" = none */
    int rank;         /* place on the page */
    int n;
    const struct plumb_series *series[PLUMB_CHART_SERIES];
};

/* Reads the numbers of every line under their names, in order of first appearance. */
int plumb_series_load(struct plumb_series_set *s, const char *path);
void plumb_series_release(struct plumb_series_set *s); /* takes a zeroed one */
/* *out = malloc'ed charts of all series of at least two points, in page order. */
int plumb_charts_make(const struct plumb_series_set *s, struct plumb_chart **out, int *count);
