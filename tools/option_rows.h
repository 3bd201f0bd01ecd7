/* Shorthand for rows of option tables: R_FLOAT(struct, field, flags, lo, hi, default, unit,
 * help). The row's name is the field's, and a field of another type than the row's does not
 * compile. */
#pragma once
#include <math.h>

#include "algos/config.h"
#include "tools/options.h"

/* clang-format off */
#define R_AT(S, f, T) \
    (offsetof(struct S, f) + 0 * sizeof(char[_Generic(((struct S *)NULL)->f, T: 1, default: -1)]))
#define R_BOOL(S, f, def, text) \
    { #f, PLUMB_OPT_BOOL, 0, R_AT(S, f, bool), .fallback = def, .help = text }
#define R_TRISTATE(S, f, text) \
    { #f, PLUMB_OPT_TRISTATE, 0, R_AT(S, f, enum plumb_tristate), .help = text }
#define R_INT(S, f, flags, lo, hi, def, unit, text) \
    { #f, PLUMB_OPT_INT, flags, R_AT(S, f, int64_t), lo, hi, def, unit, text }
#define R_FLOAT(S, f, flags, lo, hi, def, unit, text) \
    { #f, PLUMB_OPT_FLOAT, flags, R_AT(S, f, double), lo, hi, def, unit, text }
#define R_TEXT(S, f, flags, def, text) \
    { #f, PLUMB_OPT_STRING, flags, R_AT(S, f, const char *), .fallback = def, .help = text }
#define R_DICT(S, f, text) \
    { #f, PLUMB_OPT_DICT, 0, R_AT(S, f, const char *), .help = text }
/* `field` may be an enum or an int, whose size is the same. */
#define R_CHOICE(S, name, field, def, text, list) \
    { name, PLUMB_OPT_CHOICE, 0, offsetof(struct S, field) + \
      0 * sizeof(char[sizeof((struct S *)NULL)->field == sizeof(int) ? 1 : -1]), \
      .fallback = def, .help = text, .choices = list }
#define R_NAMES(S, f, def, text, list) \
    { #f, PLUMB_OPT_STRINGS, 0, R_AT(S, f, struct plumb_strings), \
      .fallback = def, .help = text, .choices = list }
#define R_FLOATS(S, f, lo, hi, def, unit, text) \
    { #f, PLUMB_OPT_FLOATS, 0, R_AT(S, f, struct plumb_floats), lo, hi, def, unit, text }
#define R_LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })
/* Options of TRL that this program cannot honour: the values that change nothing, and why no
 * other. */
#define R_ONLY(name, why, ...) \
    { #name, PLUMB_OPT_FIXED, .help = why, .choices = R_LIST(__VA_ARGS__) }
#define R_ANY(name, why) { #name, PLUMB_OPT_FIXED, .help = why }
#define R_END { NULL }
/* clang-format on */
