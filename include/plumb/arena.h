/* Memory by lifetime. A context takes three arenas at start-up: run (weights, optimizer), step
 * (activations, batch; reset every step) and scratch (marked and released inside one call).
 * Sizes come from a dry run: an arena in counting mode hands out no memory and only adds up, so
 * that the same code computes its own budget. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

struct plumb_arena {
    const char *name;
    char *base;             /* NULL while counting */
    size_t used, capacity;  /* bytes */
    size_t peak;            /* largest `used` so far, bytes */
    bool counting;
};

#define PLUMB_ARENA_ALIGN 64

/* Takes `bytes` (0 is allowed) from the system; fails with PLUMB_EMEM naming wanted and free
 * bytes. */
int plumb_arena_init(struct plumb_arena *a, const char *name, size_t bytes);
/* Starts an arena that only counts: pushes succeed with *out = NULL. */
void plumb_arena_init_counting(struct plumb_arena *a, const char *name);
void plumb_arena_release(struct plumb_arena *a); /* takes a zeroed one; leaves it zeroed */
/* *out = `bytes` bytes aligned to 64, contents undefined; valid until reset or release below the
 * mark. Fails with PLUMB_EMEM, naming the arena, when the capacity is exceeded. */
int plumb_arena_push(struct plumb_arena *a, size_t bytes, void **out);
/* A tensor of `count` elements; the same rules. */
int plumb_arena_tensor(struct plumb_arena *a, enum plumb_dtype t, int64_t count,
                       struct plumb_tensor *out);
size_t plumb_arena_mark(const struct plumb_arena *a);
void plumb_arena_reset(struct plumb_arena *a, size_t mark); /* mark 0 empties it */

PLUMB_END_C
