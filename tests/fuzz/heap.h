/* Memory in the replay programs: counted, and refused when asked. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From now on allocation `k` (from 1) fails, with `all` those behind it too; 0 = none. */
void heap_fail(int64_t k, bool all);
/* How many were refused since. */
int64_t heap_refused(void);
/* Blocks in use, -1 where they are not counted (AddressSanitizer finds leaks itself). */
int64_t heap_blocks(void);
/* The most bytes in use since the last call, above those in use then; -1 where not counted. */
int64_t heap_peak(void);
