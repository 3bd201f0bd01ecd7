/* A batch of pairs from the inputs of a golden case, and what the case expects of it:
 * kernels/pairwise/pairwise_golden.c, for the adapters of further members. */
#pragma once
#include <plumb/pairwise.h>

#include "tests/golden_run.h"

struct golden_pairs {
    int64_t B, M;
    const int32_t *offset;                          /* host */
    struct plumb_pairwise a;                        /* without terms */
    const double *losses, *logps, *rewards, *dlogp; /* host, of the last run */
};

/* Sums become sequences of the case's lengths whose first token carries the sum. Reads margins,
 * weights, targets and the options that name a field of the contract. */
struct golden_pairs golden_pairs_of(struct golden_run *r);
/* The sums `chosen` and `rejected` as (2B) values of the host, rows 2i chosen; NULL when absent. */
const double *golden_pairs_sums(struct golden_run *r, const char *chosen, const char *rejected);
/* False after a failure. */
bool golden_pairs_run(struct golden_run *r, struct golden_pairs *p,
                      const struct plumb_pairwise_term *terms, int64_t count);
void golden_pairs_term(struct plumb_pairwise_term *term, const char *name, double weight);
double golden_mean(const double *x, int64_t count);
/* Gradients of the sums of the last run. */
void golden_pairs_gradients(struct golden_run *r, const struct golden_pairs *p);
/* rewards/ and logps/; by_length: of mean log-probs. */
void golden_pairs_metrics(struct golden_run *r, const struct golden_pairs *p, bool by_length);
