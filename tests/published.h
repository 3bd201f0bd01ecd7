/* Numbers that another trainer gives on a short run. */
#pragma once
#include "tests/runs.h"

struct value {
    int step;
    const char *metric;
    double value;
};

/* Compares the metrics of the run in `out` with values until one without a step, to the digits that
 * float32 logs keep; returns how many. */
static inline int values_agree(const struct tiny *t, const char *out, const struct value *v,
                               size_t run)
{
    int compared = 0;
    cJSON *lines = metrics_of(t, out);
    for (; v->step; v++, compared++) {
        const double got = metric_at(lines, v->step, v->metric);
        cr_expect(fabs(got - v->value) <= 1e-5 * fabs(v->value),
                  "run %zu, step %d: %s is %.9g, published %.9g", run, v->step, v->metric, got,
                  v->value);
    }
    cJSON_Delete(lines);
    return compared;
}

/* Both runs have the same losses at steps 1 to 4. */
static inline void losses_agree(const struct tiny *t, const char *a, const char *b, size_t run)
{
    cJSON *x = metrics_of(t, a), *y = metrics_of(t, b);
    for (int step = 1; step <= 4; step++)
        cr_expect_float_eq(metric_at(x, step, "loss"), metric_at(y, step, "loss"), 1e-11, "run %zu",
                           run);
    cJSON_Delete(x);
    cJSON_Delete(y);
}
