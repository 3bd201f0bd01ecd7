/* The loss goldens of the shared test data (schema plumb-loss-golden-1) as arrays. */
#pragma once
#include <cJSON.h>
#include <plumb/base.h>

struct plumb_golden {
    const char *member; /* "pairwise/dpo_sigmoid" */
    cJSON *root, *cases;
    int count, run; /* cases in the file; cases compared, counted by the test */
    double **arrays;
    int array_count;
    char *text;
};

/* Opens golden/losses/<member>.json; false = the shared folder is absent. A file that is missing or
 * malformed fails the test. */
bool plumb_golden_open(struct plumb_golden *g, const char *member);
/* Prints how many cases ran and releases everything. */
void plumb_golden_close(struct plumb_golden *g);
/* The same for root/<member>.json without Criterion: false after a line on stdout that says what is
 * wrong with the file. */
bool plumb_golden_load(struct plumb_golden *g, const char *root, const char *member);
void plumb_golden_release(struct plumb_golden *g);
const cJSON *plumb_golden_case(const struct plumb_golden *g, int index);
const char *plumb_golden_name(const cJSON *c);
/* A number among the options; `fallback` when it is absent or null. */
double plumb_golden_option(const cJSON *c, const char *name, double fallback);
/* inputs.<name>, expected.<name> or expected.<section>.<name> (sections "grads", "metrics"), nested
 * lists row by row; *count elements, valid until close. NULL when absent. */
const double *plumb_golden_input(struct plumb_golden *g, const cJSON *c, const char *name,
                                 int64_t *count);
const double *plumb_golden_expected(struct plumb_golden *g, const cJSON *c, const char *section,
                                    const char *name, int64_t *count);
/* Compares by the tolerances of golden/losses/README.md: f64 1e-12 + 1e-10 |x|, f32
 * 2e-5 max(1, |x|). A NaN is expected where the golden has one. */
void plumb_golden_check(const struct plumb_golden *g, const cJSON *c, const char *what, int64_t i,
                        enum plumb_dtype precision, double got, double expected);
