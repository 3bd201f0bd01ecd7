/* SIGINT and SIGTERM ask a run to save and stop; a second one ends the process at once. */
#pragma once
#include <stdbool.h>

/* From now on the first SIGINT or SIGTERM only sets a flag. */
void plumb_signals_catch(void);
/* Whether one came. Takes a pointer, unused, so that it can serve as the stop hook of a trainer. */
bool plumb_signals_came(void *unused);
