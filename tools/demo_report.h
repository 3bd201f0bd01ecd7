/* What the demo found, on the terminal and as report.html. */
#pragma once
#include "tools/demo_watch.h"

struct plumb_demo_results {
    const struct plumb_demo_trial *trial; /* with the replies of before and after */
    const struct plumb_demo_watch *watch;
    int64_t good_before, good_after; /* of trial->pairs.count */
    double seconds;
};

/* The first few held-out orders with both answers, side by side with marks. */
void plumb_demo_print_samples(const struct plumb_demo_results *r);
/* Rates before and after. */
void plumb_demo_print_results(const struct plumb_demo_results *r);
/* Writes report.html with curves from `metrics` (metrics.jsonl) and the two commands. */
int plumb_demo_write_report(const struct plumb_demo_results *r, const char *path,
                            const char *metrics, const char *sft_command, const char *dpo_command);
