/* report.html: one page that shows a run, without scripts and without anything from outside. */
#pragma once
#include <plumb/base.h>

struct plumb_report_field {
    const char *name, *value;
};

struct plumb_report_sample {
    const char *prompt;         /* or any heading; NULL = none */
    const char *before, *after; /* texts of the model before and after training; NULL = none */
};

/* Every text is UTF-8 and may be hostile: it is escaped. */
struct plumb_report {
    const char *title;        /* "dpo: stories260K on polite pairs" */
    const char *metrics_path; /* a metrics.jsonl; NULL = no curves */
    const struct plumb_report_field
        *results; /* shown large: {"good completions", "12 % to 87 %"} */
    int result_count;
    const struct plumb_report_field *options; /* the run's options */
    int option_count;
    const struct plumb_report_sample *samples;
    int sample_count;
};

/* Writes the page: results, a chart for every family of metrics (rewards/..., logps/..., loss and
 * eval_loss together), samples, last values, options. Lines of metrics that cannot be read are
 * passed over with a warning. Fails with PLUMB_EIO when a file cannot be read or written whole
 * (then nothing stands at `path` that did not before). Cost: memory for all metrics. */
int plumb_report_write(const char *path, const struct plumb_report *r);
