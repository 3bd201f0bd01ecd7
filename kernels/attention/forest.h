/* The rules of a segment forest, shared by the attention and by the check of a whole batch. */
#pragma once
#include <plumb/batch.h>

/* S is no negative number and the arrays are there; reads none of them. */
int plumb_forest_present(const char *op, const struct plumb_forest *f);
/* As above, and segments lie in order of start inside [0, N) without overlap, lengths >= 1, parent
 * -1 or an earlier segment. With `gaps`, rows between segments may belong to none of them (a KV
 * cache's spare rows); without, they cover [0, N). */
int plumb_forest_check(const char *op, const struct plumb_forest *f, int64_t N, bool gaps);
