/* Options of commands: one row of a table gives an option's name, type, bounds, default, unit
 * and help; the command line, a YAML file, --help and the run's manifest all come from it. Names
 * are TRL's; dashes and underscores are alike. */
#pragma once
#include <cJSON.h>
#include <plumb/base.h>
#include <stdio.h>

enum plumb_option_type {
    PLUMB_OPT_BOOL,     /* bool: --x, --x true|false, --no_x */
    PLUMB_OPT_TRISTATE, /* enum plumb_tristate: as a bool, or None */
    PLUMB_OPT_INT,      /* int64_t; None = PLUMB_NONE_INT */
    PLUMB_OPT_FLOAT,    /* double; None = NaN */
    PLUMB_OPT_STRING,   /* const char *; None = NULL */
    PLUMB_OPT_CHOICE,   /* an enum from 0: the index in `choices` */
    PLUMB_OPT_STRINGS,  /* struct plumb_strings, each one of `choices` if there are any; None =
                         * empty */
    PLUMB_OPT_FLOATS,   /* struct plumb_floats; None = empty */
    PLUMB_OPT_DICT,     /* const char *: text of a JSON object; a nested map in YAML; None = NULL */
    PLUMB_OPT_FIXED     /* no field: accepted at the values in `choices` only (none listed: at any),
                         * which change nothing; `help` says why */
};

enum plumb_option_flag {
    PLUMB_OPT_NONE = 1,     /* None is allowed (always so for TRISTATE, STRINGS, FLOATS and DICT) */
    PLUMB_OPT_REQUIRED = 2, /* has no default */
    PLUMB_OPT_ABOVE_LO = 4, /* the bound itself is excluded */
    PLUMB_OPT_BELOW_HI = 8,
    PLUMB_OPT_BARE = 16 /* a string that may stand without a value, meaning "true" */
};

struct plumb_option {
    const char *name; /* with underscores */
    enum plumb_option_type type;
    unsigned flags;
    size_t offset;              /* in the group's struct */
    double lo, hi;              /* of INT, FLOAT and each of FLOATS */
    const char *fallback;       /* default as text; list items separated by commas; NULL = None */
    const char *unit;           /* NULL or "" = none */
    const char *help;           /* a phrase, no full stop */
    const char *const *choices; /* closed by NULL */
};

/* Rows of one struct, closed by a row without a name; `base` is the struct's offset in the
 * command's. */
struct plumb_option_group {
    const char *title;
    const struct plumb_option *rows;
    size_t base;
};
struct plumb_option_default {
    const char *name, *fallback; /* replaces the row's default for one command */
};

/* What a command takes: groups closed by one without rows, defaults (may be NULL) by one without
 * a name. */
struct plumb_option_set {
    const struct plumb_option_group *groups;
    const struct plumb_option_default *defaults;
    int positional_max; /* arguments without a name */
};

struct plumb_setting { /* one per row, in table order */
    const struct plumb_option *row;
    void *field;          /* in the config; NULL for FIXED */
    const char *fallback; /* the default for this command */
    enum { PLUMB_FROM_DEFAULT, PLUMB_FROM_FILE, PLUMB_FROM_COMMAND_LINE } origin;
    int line; /* PLUMB_FROM_FILE: its line */
};

struct plumb_options {
    struct plumb_setting *setting;
    int count;
    const char **positional; /* from argv */
    int positional_count;
    const char *file; /* of --config, or NULL */
    void **owned;     /* what config's strings and lists live in */
    int owned_count;
};

/* Fills *config (the command's struct) from defaults, the file of --config and the command line,
 * later ones winning; of an option given twice the last counts. config's strings live as long as
 * *o. Fails with PLUMB_EUSAGE: unknown option (naming the nearest), value of a wrong type or out
 * of bounds (naming them), a required one missing; for YAML with file:line. PLUMB_EIO when the
 * file cannot be read. *o needs no release after a failure. */
int plumb_options_parse(struct plumb_options *o, const struct plumb_option_set *set, void *config,
                        int argc, char **argv);
void plumb_options_release(struct plumb_options *o);
/* The setting of a row, or NULL. */
const struct plumb_setting *plumb_options_find(const struct plumb_options *o, const char *name);
/* The options and their values as JSON, for the manifest; the caller deletes it. FIXED rows are
 * left out. */
int plumb_options_json(const struct plumb_options *o, cJSON **out);
/* Every option with type, default, bounds, unit and help, by group. */
void plumb_options_help(FILE *out, const struct plumb_option_set *set);
/* The default of a row in a set; NULL = None. */
const char *plumb_option_fallback(const struct plumb_option_set *set,
                                  const struct plumb_option *row);
/* Words of `text` in lines of at most 88 columns, each behind `indent` spaces. */
void plumb_print_wrapped(FILE *out, int indent, const char *text);
