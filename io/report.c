/* Writes report.html. */
#include "io/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/file.h"
#include "io/report_chart.h"
#include "io/report_series.h"

/* Eight colours that differ in hue and lightness on either ground. */
static const char style[] =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1a1d23;--dim:#5b6472;"
    "--line:#e3e6eb;--axis:#9aa3b0;--c0:#2463d6;--c1:#d9620b;--c2:#14884f;--c3:#c2266b;"
    "--c4:#7a46c9;--c5:#0b8793;--c6:#8a6116;--c7:#5f6b7a}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14161a;--card:#1d2026;--ink:#e8eaee;"
    "--dim:#9ba4b2;--line:#2e333c;--axis:#667080;--c0:#77a7ff;--c1:#ffa057;--c2:#4fcf90;"
    "--c3:#ff86b3;--c4:#b99bff;--c5:#4fd0dd;--c6:#d9b36a;--c7:#aab4c3}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;padding:28px 24px 48px;max-width:1240px;"
    "background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:25px;margin:0 0 2px}h2{font-size:18px;margin:34px 0 12px}p{margin:0;"
    "color:var(--dim)}.card{background:var(--card);border:1px solid var(--line);"
    "border-radius:10px;padding:14px 16px;margin:0}\n"
    ".grid2{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));"
    "gap:16px}.tiles{display:flex;flex-wrap:wrap;gap:16px;margin-top:20px}"
    ".tiles .card{flex:1 1 180px}.tiles b{display:block;font-size:22px}\n"
    "figcaption{display:flex;flex-wrap:wrap;gap:2px 18px;align-items:baseline;"
    "justify-content:space-between;margin-bottom:6px}.legend{display:flex;flex-wrap:wrap;"
    "gap:0 14px;font-size:13px;color:var(--dim)}.legend em{font-style:normal;color:var(--ink);"
    "font-variant-numeric:tabular-nums}.legend i{display:inline-block;width:16px;"
    "border-top:3px solid;margin-right:5px;vertical-align:middle}.legend i.eval{"
    "border-top-style:dashed}\n"
    "figure{display:flex;flex-direction:column}svg{display:block;width:100%;height:auto;"
    "margin-top:auto}.grid{stroke:var(--line)}.axis{stroke:var(--axis)}"
    ".tick,.label{fill:var(--dim);font-size:12px;font-variant-numeric:tabular-nums}"
    ".curve{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}"
    ".curve.eval{stroke-dasharray:6 4;stroke-linecap:butt}\n"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:4px 12px 4px 0;"
    "border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}tr:first-child td{"
    "border-top:0}td:first-child{color:var(--dim)}\n"
    ".sample{margin-bottom:16px}.sample h3{font-size:14px;margin:0 0 8px;white-space:pre-wrap;"
    "overflow-wrap:anywhere}.text{white-space:pre-wrap;overflow-wrap:anywhere}.sides{display:grid;"
    "grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:16px}"
    ".sides small{color:var(--dim)}details{margin-top:34px}summary{cursor:pointer;font-size:18px;"
    "font-weight:600;margin-bottom:12px}\n";

static void put_head(FILE *f, const struct plumb_report *r, const struct plumb_series_set *s)
{
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" "
          "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>",
          f);
    plumb_html_text(f, r->title);
    fprintf(f, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>", style);
    plumb_html_text(f, r->title);
    fputs("</h1>\n", f);
    if (s->lines)
        fprintf(f, "<p>%" PRId64 " steps, %" PRId64 " logged lines &middot; Plumb %s</p>\n",
                s->last_step, s->lines, PLUMB_VERSION);
}

static void put_results(FILE *f, const struct plumb_report *r)
{
    if (!r->result_count) return;
    fputs("<div class=\"tiles\">\n", f);
    for (int i = 0; i < r->result_count; i++) {
        fputs("<div class=\"card\"><b>", f);
        plumb_html_text(f, r->results[i].value);
        fputs("</b><p>", f);
        plumb_html_text(f, r->results[i].name);
        fputs("</p></div>\n", f);
    }
    fputs("</div>\n", f);
}

static int put_charts(FILE *f, const struct plumb_series_set *s)
{
    struct plumb_chart *chart;
    int n;
    PLUMB_TRY(plumb_charts_make(s, &chart, &n));
    if (n) fputs("<h2>Curves</h2>\n<div class=\"grid2\">\n", f);
    for (int i = 0; i < n; i++)
        plumb_html_chart(f, &chart[i]);
    if (n) fputs("</div>\n", f);
    free(chart);
    return PLUMB_OK;
}

static void put_side(FILE *f, const char *name, const char *text)
{
    if (!text) return;
    fprintf(f, "<div><small>%s</small><div class=\"text\">", name);
    plumb_html_text(f, text);
    fputs("</div></div>\n", f);
}

static void put_samples(FILE *f, const struct plumb_report *r)
{
    if (r->sample_count) fputs("<h2>Samples</h2>\n", f);
    for (int i = 0; i < r->sample_count; i++) {
        const struct plumb_report_sample *s = &r->samples[i];
        fputs("<div class=\"card sample\">", f);
        if (s->prompt) {
            fputs("<h3>", f);
            plumb_html_text(f, s->prompt);
            fputs("</h3>", f);
        }
        fputs("<div class=\"sides\">\n", f);
        put_side(f, "before", s->before);
        put_side(f, "after", s->after);
        fputs("</div></div>\n", f);
    }
}

static void put_row(FILE *f, const char *name, const char *value)
{
    fputs("<tr><td>", f);
    plumb_html_text(f, name);
    fputs("</td><td>", f);
    plumb_html_text(f, value);
    fputs("</td></tr>\n", f);
}

/* What was logged once has no curve. */
static void put_single_values(FILE *f, const struct plumb_series_set *s)
{
    int n = 0;
    char number[32];
    for (int i = 0; i < s->n; i++) {
        if (s->series[i].n != 1) continue;
        if (n++ == 0) fputs("<h2>Logged once</h2>\n<div class=\"card\"><table>\n", f);
        plumb_html_number(number, sizeof number, s->series[i].value[0]);
        put_row(f, s->series[i].name, number);
    }
    if (n) fputs("</table></div>\n", f);
}

static void put_options(FILE *f, const struct plumb_report *r)
{
    if (!r->option_count) return;
    fputs("<details open><summary>Options</summary><div class=\"card\"><table>\n", f);
    for (int i = 0; i < r->option_count; i++)
        put_row(f, r->options[i].name, r->options[i].value);
    fputs("</table></div></details>\n", f);
}

static int put_page(FILE *f, const struct plumb_report *r, const struct plumb_series_set *s)
{
    put_head(f, r, s);
    put_results(f, r);
    PLUMB_TRY(put_charts(f, s));
    put_samples(f, r);
    put_single_values(f, s);
    put_options(f, r);
    fputs("</body>\n</html>\n", f);
    return PLUMB_OK;
}

int plumb_report_write(const char *path, const struct plumb_report *r)
{
    struct plumb_series_set series = { 0 };
    char *page = NULL;
    size_t n = 0;
    int rc = PLUMB_OK;
    if (r->metrics_path) PLUMB_TRY(plumb_series_load(&series, r->metrics_path));
    FILE *f = open_memstream(&page, &n);
    if (!f) PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate the page of \"%s\"", path));
    rc = put_page(f, r, &series);
    const bool whole = !ferror(f);
    if ((fclose(f) != 0 || !whole) && !rc)
        rc = plumb_fail(PLUMB_EMEM, "could not allocate the page of \"%s\"", path);
    if (!rc) rc = plumb_file_write(path, page, n);
out:
    free(page);
    plumb_series_release(&series);
    return rc;
}
