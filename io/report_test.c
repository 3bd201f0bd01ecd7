#include "io/report.h"

#include <criterion/criterion.h>
#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/report_chart.h"
#include "io/report_series.h"

static char metrics[64], page_path[80];
static char *page;

static void set_up(void)
{
    strncpy(metrics, "/tmp/plumb-report-XXXXXX", sizeof metrics - 1);
    const int fd = mkstemp(metrics);
    cr_assert(fd >= 0);
    close(fd);
    snprintf(page_path, sizeof page_path, "%s.html", metrics);
    plumb_log_threshold(PLUMB_LOG_WARN + 1);
}

static void tear_down(void)
{
    free(page);
    unlink(metrics);
    unlink(page_path);
}

TestSuite(report, .init = set_up, .fini = tear_down);

static void fill(const char *text)
{
    FILE *f = fopen(metrics, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static const char *write_page(const struct plumb_report *r)
{
    size_t n;
    cr_assert_eq(plumb_report_write(page_path, r), PLUMB_OK, "%s", plumb_errmsg());
    free(page);
    cr_assert_eq(plumb_file_read(page_path, 0, &page, &n), PLUMB_OK, "%s", plumb_errmsg());
    return page;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

/* The charts of `text` as "title: series, series; ...". */
static const char *charts_of(const char *text)
{
    static char out[1024];
    struct plumb_series_set s;
    struct plumb_chart *chart;
    int n;
    fill(text);
    cr_assert_eq(plumb_series_load(&s, metrics), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_charts_make(&s, &chart, &n), PLUMB_OK);
    out[0] = 0;
    for (int i = 0; i < n; i++) {
        strcat(strcat(out, chart[i].title), ":");
        for (int k = 0; k < chart[i].n; k++)
            strcat(strcat(out, " "), chart[i].series[k]->name);
        strcat(out, "; ");
    }
    free(chart);
    plumb_series_release(&s);
    return out;
}

Test(report, metrics_of_a_family_share_a_chart_in_page_order)
{
    const char *line = "\"epoch\": 1, \"tokens_per_second\": 5, \"loss\": 1, \"grad_norm\": 1, "
                       "\"rewards/chosen\": 1, \"rewards/rejected\": 1, \"rewards/accuracies\": 1, "
                       "\"logps/chosen\": 1, \"eval_loss\": 1, \"eval_rewards/chosen\": 1, "
                       "\"made_up\": 2, \"good_completions\": 0.5, \"note\": \"text\"}\n";
    char text[2048];
    snprintf(text, sizeof text, "{\"step\": 1, %s{\"step\": 2, %s", line, line);
    cr_expect_str_eq(charts_of(text),
                     "good completions: good_completions; loss: loss eval_loss; "
                     "accuracy: rewards/accuracies; "
                     "rewards: rewards/chosen rewards/rejected eval_rewards/chosen; "
                     "log-probabilities: logps/chosen; grad_norm: grad_norm; made_up: made_up; "
                     "tokens_per_second: tokens_per_second; ");
}

Test(report, lines_that_cannot_be_read_are_passed_over)
{
    cr_expect_str_eq(charts_of("{\"step\": 1, \"loss\": 1}\nrubbish\n{\"loss\": 4}\n"
                               "{\"step\": 2, \"loss\": null}\n{\"step\": 3, \"loss\": 1}\n{\"st"),
                     "loss: loss; ");
}

Test(report, a_page_needs_nothing_from_outside_and_runs_nothing)
{
    fill("{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"loss\": 2}\n");
    const struct plumb_report r = { .title = "a run", .metrics_path = metrics };
    const char *got = write_page(&r);
    cr_expect_eq(count(got, "<script"), 0);
    cr_expect_eq(count(got, "http://") + count(got, "https://"), 0);
    cr_expect_eq(count(got, "default-src 'none'"), 1);
    cr_expect_eq(count(got, "<svg"), 1);
    cr_expect_eq(count(got, "</svg>"), 1);
}

/* The numbers after each M or L of the first curve. */
static int points_of(const char *got, double *x, double *y, int most)
{
    const char *p = strstr(strstr(got, "class=\"curve"), " d=\"") + 4;
    int n = 0;
    for (; *p && *p != '"' && n < most; n++) {
        char *end;
        x[n] = strtod(p + 1, &end);
        y[n] = strtod(end, &end);
        p = end;
    }
    return n;
}

Test(report, curves_are_drawn_to_scale_inside_the_plot)
{
    double x[3], y[3];
    fill("{\"step\": 10, \"loss\": 0}\n{\"step\": 20, \"loss\": 2}\n{\"step\": 50, \"loss\": 1}\n");
    const struct plumb_report r = { .title = "", .metrics_path = metrics };
    const char *got = write_page(&r);
    cr_assert_eq(points_of(got, x, y, 3), 3);
    cr_expect_float_eq((x[1] - x[0]) / (x[2] - x[0]), 0.25, 1e-3);
    cr_expect_float_eq((y[0] - y[2]) / (y[0] - y[1]), 0.5, 1e-3);
    for (int i = 0; i < 3; i++)
        cr_expect(x[i] > 0 && x[i] < 560 && y[i] > 0 && y[i] < 250, "%g %g", x[i], y[i]);
}

Test(report, a_missing_number_breaks_the_curve)
{
    fill("{\"step\": 1, \"kl\": 1}\n{\"step\": 2, \"kl\": 2}\n{\"step\": 3, \"kl\": null}\n"
         "{\"step\": 4, \"kl\": 1}\n{\"step\": 5, \"kl\": 1}\n");
    const struct plumb_report r = { .title = "", .metrics_path = metrics };
    const char *got = write_page(&r), *d = strstr(strstr(got, "class=\"curve"), " d=\"");
    char path[256];
    snprintf(path, sizeof path, "%.*s", (int)strcspn(d + 4, "\""), d + 4);
    cr_expect(count(path, "M") == 2 && count(path, "L") == 2, "%s", path);
    cr_expect_eq(count(got, "nan"), 0);
    cr_expect_eq(count(got, "inf"), 0);
}

Test(report, long_curves_keep_their_peaks)
{
    char *text = calloc(5001, 40), *p = text;
    double x[400], y[400], top = 1e9;
    for (int i = 0; i < 5000; i++)
        p += sprintf(p, "{\"step\": %d, \"loss\": %d}\n", i, i == 3333 ? 1000 : i % 7);
    fill(text);
    free(text);
    const struct plumb_report r = { .title = "", .metrics_path = metrics };
    const int n = points_of(write_page(&r), x, y, 400);
    cr_assert(n > 100 && n <= 400);
    for (int i = 0; i < n; i++)
        top = fmin(top, y[i]);
    for (int i = 0; i < n; i++) {
        cr_expect(i == 0 || x[i] > x[i - 1]);
        cr_expect(y[i] == top || y[i] > top + 100, "the peak stands alone");
    }
}

Test(report, flat_and_huge_curves_stay_finite)
{
    fill("{\"step\": 1, \"a\": 0, \"b\": 1e300, \"c\": -1.7e308, \"d\": 3}\n"
         "{\"step\": 2, \"a\": 0, \"b\": -1e300, \"c\": 1.7e308, \"d\": 3}\n");
    const struct plumb_report r = { .title = "", .metrics_path = metrics };
    const char *got = write_page(&r);
    cr_expect_eq(count(got, "<svg"), 4);
    cr_expect_eq(count(got, "nan"), 0);
    cr_expect_eq(count(got, "inf"), 0);
}

Test(report, hostile_text_is_escaped_everywhere)
{
    const char *evil = "</td><script>alert('x')</script>\"&\x1b";
    fill("{\"step\": 1, \"<b>\\\"\": 1, \"once<i>\": 4}\n{\"step\": 2, \"<b>\\\"\": 2}\n");
    const struct plumb_report_field field = { evil, evil };
    const struct plumb_report_sample sample = { evil, evil, evil };
    const struct plumb_report r = { .title = evil,
                                    .metrics_path = metrics,
                                    .results = &field,
                                    .result_count = 1,
                                    .options = &field,
                                    .option_count = 1,
                                    .samples = &sample,
                                    .sample_count = 1 };
    const char *got = write_page(&r);
    cr_expect_eq(count(got, "<script"), 0);
    cr_expect_eq(count(got, "<i>"), 0);
    cr_expect_eq(count(got, "\x1b"), 0);
    /* title twice, two fields of two, three of the sample */
    cr_expect_eq(count(got, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"), 9);
    cr_expect(count(got, "&lt;b&gt;&quot;") >= 2);
}

Test(report, a_page_without_metrics_still_shows_its_samples)
{
    const struct plumb_report_sample sample = { NULL, "was", "is" };
    const struct plumb_report r = { .title = "t", .samples = &sample, .sample_count = 1 };
    const char *got = write_page(&r);
    cr_expect(count(got, "was") == 1 && count(got, "<svg") == 0);
}

Test(report, missing_metrics_and_a_full_disk_are_errors)
{
    const struct plumb_report r = { .title = "t", .metrics_path = "/nonexistent.jsonl" };
    cr_expect_eq(plumb_report_write(page_path, &r), PLUMB_EIO);
    cr_expect_not_null(strstr(plumb_errmsg(), "/nonexistent.jsonl"));
    const struct plumb_report empty = { .title = "t" };
    cr_expect_eq(plumb_report_write("/dev/full", &empty), PLUMB_EIO);
    cr_expect_not_null(strstr(plumb_errmsg(), "/dev/full"), "%s", plumb_errmsg());
}

Test(report, numbers_are_short)
{
    static const struct {
        double x;
        const char *want;
    } cases[] = { { 0.693147, "0.6931" }, { 12345, "12.35k" }, { -2e6, "-2M" }, { 9999, "9999" },
                  { 3.5e9, "3.5G" },      { 1e-6, "1e-06" },   { 0, "0" } };
    char got[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        plumb_html_number(got, sizeof got, cases[i].x);
        cr_expect_str_eq(got, cases[i].want);
    }
}
