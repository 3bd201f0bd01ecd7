/* The parts of the option parser: settings, values, YAML. Used by tools/option*.c alone. */
#pragma once
#include "tools/options.h"

/* Keeps a copy of n bytes (data NULL: zeros) plus a NUL until plumb_options_release; NULL when
 * out of memory. */
void *plumb_options_keep(struct plumb_options *o, const void *data, size_t n);
/* Sets a row from words; `where` starts every message ("--beta", "run.yaml:3: beta"). No word at
 * all means a bare option. `json` is set for a DICT given as a map. */
int plumb_option_set_words(struct plumb_options *o, const struct plumb_setting *s,
                           const char *where, const char *const *word, int count);
/* Reads a file of `name: value` lines, of at most 1 MiB. Memory: at most 256 times the file, plus 8
 * MiB. */
int plumb_options_read_yaml(struct plumb_options *o, const char *path);
/* The setting of `name` (dashes alike). *negated is set where only the name behind no_ fits, and
 * then for switches alone. NULL when there is none. */
struct plumb_setting *plumb_option_lookup(struct plumb_options *o, const char *name, bool *negated);
/* The message for an unknown option, naming the nearest name. Returns PLUMB_EUSAGE. */
int plumb_option_unknown(const struct plumb_options *o, const char *where, const char *name);
/* The bounds of a number as text, "" when there are none. */
void plumb_option_bounds(const struct plumb_option *row, char *out, size_t n);
bool plumb_option_is_switch(const struct plumb_option *row); /* may be given without a value */
bool plumb_option_is_list(const struct plumb_option *row);
