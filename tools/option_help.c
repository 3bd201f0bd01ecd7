/* --help from the option tables. */
#include <string.h>

#include "tools/option_value.h"

#define WIDTH 88

static const char *type_name(const struct plumb_option *row)
{
    switch (row->type) {
    case PLUMB_OPT_BOOL:
    case PLUMB_OPT_TRISTATE: return "BOOL";
    case PLUMB_OPT_INT: return "INT";
    case PLUMB_OPT_FLOAT: return "FLOAT";
    case PLUMB_OPT_STRING: return "TEXT";
    case PLUMB_OPT_CHOICE: return "NAME";
    case PLUMB_OPT_STRINGS: return "NAME...";
    case PLUMB_OPT_FLOATS: return "FLOAT...";
    default: return "JSON";
    }
}

void plumb_print_wrapped(FILE *out, int indent, const char *text)
{
    int column = 0;
    while (*text) {
        const int n = (int)strcspn(text, " ");
        if (column == 0 || column + 1 + n > WIDTH) {
            fprintf(out, "%s%*s", column ? "\n" : "", indent, "");
            column = indent;
        } else {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", n, text);
        column += n;
        text += n;
        while (*text == ' ')
            text++;
    }
    fputc('\n', out);
}

static void print_row(FILE *out, const struct plumb_option_set *set, const struct plumb_option *row)
{
    char line[1024], bounds[96];
    const char *fallback = plumb_option_fallback(set, row);
    plumb_option_bounds(row, bounds, sizeof bounds);
    size_t used = (size_t)snprintf(line, sizeof line, "%s%s%s%s", row->help,
                                   row->unit && row->unit[0] ? "; unit: " : "",
                                   row->unit ? row->unit : "", row->choices ? "; one of" : "");
    for (const char *const *c = row->choices; c && *c && used < sizeof line; c++)
        used += (size_t)snprintf(line + used, sizeof line - used, "%s %s",
                                 c == row->choices ? "" : ",", *c);
    fprintf(out, "  --%s %s", row->name, type_name(row));
    if (row->flags & PLUMB_OPT_REQUIRED)
        fputs("   required", out);
    else
        fprintf(out, "   default %s", fallback ? fallback : "None");
    fprintf(out, "%s%s\n", bounds[0] ? ", " : "", bounds);
    plumb_print_wrapped(out, 8, line);
}

/* Rows that say the same thing about any value stand together. */
static bool same_note(const struct plumb_option *a, const struct plumb_option *b)
{
    return a->name && b->name && a->type == PLUMB_OPT_FIXED && b->type == PLUMB_OPT_FIXED &&
           !a->choices && !b->choices && strcmp(a->help, b->help) == 0;
}

/* Prints the row and those behind it that say the same; returns the last one printed. */
static const struct plumb_option *print_fixed(FILE *out, const struct plumb_option *row)
{
    char line[1024];
    size_t used = (size_t)snprintf(line, sizeof line, "--%s", row->name);
    for (; same_note(row, row + 1) && used < sizeof line; row++)
        used += (size_t)snprintf(line + used, sizeof line - used, ", --%s", row[1].name);
    if (used < sizeof line)
        used += (size_t)snprintf(line + used, sizeof line - used, ": %s",
                                 row->choices ? "only" : "any value");
    for (const char *const *c = row->choices; c && *c && used < sizeof line; c++)
        used += (size_t)snprintf(line + used, sizeof line - used, "%s %s",
                                 c == row->choices ? "" : " or", *c);
    if (used < sizeof line) snprintf(line + used, sizeof line - used, "; %s", row->help);
    plumb_print_wrapped(out, 2, line);
    return row;
}

void plumb_options_help(FILE *out, const struct plumb_option_set *set)
{
    for (const struct plumb_option_group *g = set->groups; g->rows; g++) {
        fprintf(out, "\n%s\n", g->title);
        for (const struct plumb_option *r = g->rows; r->name; r++)
            if (r->type == PLUMB_OPT_FIXED)
                r = print_fixed(out, r);
            else
                print_row(out, set, r);
    }
    fputs("\n  --config FILE   options from a YAML file; the command line wins\n", out);
}
