/* The rules of a segment forest, shared by the attention and by the check of a whole batch. */
#pragma once
#include <plumb/batch.h>

/* S is no negative number and the arrays are there; reads none of them. */
int plumb_forest_present(const char *op, const struct plumb_forest *f);
/* How segments lie in the rows: covering them in order of start, in that order with rows between
 * them that belong to none, or anywhere (a cache's pages, where whoever hands pages out sees to it
 * that they do not overlap). */
enum plumb_forest_rows { PLUMB_FOREST_WHOLE, PLUMB_FOREST_GAPS, PLUMB_FOREST_ANYWHERE };
/* As above, and segments lie inside [0, N) as `rows` says, lengths >= 1, parent -1 or an earlier
 * segment. */
int plumb_forest_check(const char *op, const struct plumb_forest *f, int64_t N,
                       enum plumb_forest_rows rows);
