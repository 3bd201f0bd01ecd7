/* One case of a loss golden on one device: what an adapter reads, lays out and reports. An op's
 * adapters are kernels/<op>/<op>_golden.c, which defines `const struct golden_member
 * golden_<op>[]`, closed by a row without a name; nothing else names them. Every value of the
 * case's `expected` must be reported or waived. */
#pragma once
#include <plumb/backend.h>
#include <plumb/device.h>

#include "tests/golden.h"

struct golden_run {
    struct plumb_golden *file;
    const cJSON *at; /* the case */
    const struct plumb_device *dev;
    enum plumb_dtype t; /* of what a contract calls f32: f64 on ref */
    double worst;       /* largest error, relative to values above 1 */
    int64_t compared, wrong;
    struct golden_scratch *scratch; /* of the case */
    char reported[24][48];          /* values that were reported or waived: "grads/logps" */
    int report_count;
};

struct golden_member {
    const char *name; /* "pairwise/dpo_sigmoid" */
    void (*run)(struct golden_run *r, const void *how);
    const void *how; /* the adapter's own */
};

/* Arrays of the case, nested lists row by row; NULL when absent. Everything returned here and
 * below lives as long as the case. */
const double *golden_input(struct golden_run *r, const char *name, int64_t *count);
/* Outer length of a nested list; 0 when absent. */
int64_t golden_input_rows(struct golden_run *r, const char *name);
double golden_option(struct golden_run *r, const char *name, double fallback); /* booleans 0, 1 */
/* A list of `count` numbers; without it the run fails and gives zeros. */
const double *golden_option_list(struct golden_run *r, const char *name, int count);
/* NULL when the option is absent or no text. */
const char *golden_option_text(struct golden_run *r, const char *name);

/* Zeroed memory of the host. */
void *golden_alloc(struct golden_run *r, size_t bytes);
/* Tensors on the device: with values, or full of NaN; NULL values = an absent tensor. */
struct plumb_tensor golden_in(struct golden_run *r, const double *values, int64_t count);
struct plumb_tensor golden_out(struct golden_run *r, int64_t count);
/* Bytes on the device: `p` itself where the device is the host. */
const void *golden_copy(struct golden_run *r, const void *p, size_t bytes);
/* The tensor's values after the op. */
const double *golden_read(struct golden_run *r, const struct plumb_tensor *t, int64_t count);
/* Whether an op's status is OK; counts a failure otherwise. */
bool golden_ok(struct golden_run *r, int status);

/* Reports `got` for expected.<name> or expected.<section>.<name> ("grads", "metrics"); a name that
 * the case lacks is passed over. */
void golden_values(struct golden_run *r, const char *section, const char *name, const double *got,
                   int64_t count);
static inline void golden_value(struct golden_run *r, const char *section, const char *name,
                                double got)
{
    golden_values(r, section, name, &got, 1);
}
/* Says that the value is none of ours: a statistic of the published trainer, not of the loss. */
void golden_waive(struct golden_run *r, const char *section, const char *name);

/* A padded (B,T) array as packed runs of its counted tokens: row b's are [offset[b], offset[b+1]),
 * token m was at from[m]. */
struct golden_rows {
    int64_t B, T, M;
    int32_t *offset; /* host; golden_copy them for the op */
    int32_t *from;
};
/* The layout of the array `name` under the mask (NULL or absent = everything counts). */
struct golden_rows golden_rows_of(struct golden_run *r, const char *name, const char *mask);
/* Input `name`, packed (a (B) input is spread over its row's tokens), as doubles; NULL when
 * absent. */
const double *golden_packed(struct golden_run *r, const struct golden_rows *rows, const char *name);
/* Reports packed values for a padded expectation; padding is 0. */
void golden_packed_values(struct golden_run *r, const struct golden_rows *rows, const char *section,
                          const char *name, const double *got);
/* As above, for expectations that f64 found as a difference of terms of sizes `terms` (M): an error
 * of four roundings of a term is the expectation's own. */
void golden_packed_differences(struct golden_run *r, const struct golden_rows *rows,
                               const char *section, const char *name, const double *got,
                               const double *terms);

/* The program's: counts what was left unreported as failed and releases the case. */
void golden_finish(struct golden_run *r);
