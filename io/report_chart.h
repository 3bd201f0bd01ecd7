/* Pieces of the report's page. */
#pragma once
#include <stdio.h>

#include "io/report_series.h"

/* Text for HTML content and quoted attributes. */
void plumb_html_text(FILE *f, const char *text);
/* A card with title, legend and line chart (SVG). */
void plumb_html_chart(FILE *f, const struct plumb_chart *chart);
/* A number for people: 4 significant digits, thousands as k, M, G. */
void plumb_html_number(char *out, size_t n, double x);
