/* Memory by lifetime. A context takes three arenas at start-up: run (weights, optimizer), step
 * (activations, batch; reset every step) and scratch (marked and released inside one call).
 * Sizes come from a dry run: an arena in counting mode hands out no memory and only adds up, so
 * that the same code computes its own budget.
 * An arena of a device with memory of its own has two sides: tables and index arrays that the host
 * fills go to the host's side (pinned), tensors and what ops read and write to the device's. On
 * cpu and ref there is one side for all. What the host fills has a place of its own on the device,
 * the mirror of the host's side: nothing queued earlier uses it, so it can be sent at once. */
#pragma once
#include <plumb/backend.h>
PLUMB_BEGIN_INTERNAL

struct plumb_arena_side {
    char *base;             /* NULL while counting */
    size_t used, capacity;  /* bytes */
    size_t peak;            /* largest `used` so far, bytes */
};
struct plumb_arena {
    const char *name;
    char *base;
    size_t used, capacity, peak;    /* the host's side, as above */
    char *mirror;                   /* the host's side on the device; NULL on cpu and ref */
    struct plumb_arena_side device; /* zero on cpu and ref */
    struct plumb_device dev;        /* of kind cuda where the arena has two sides */
    bool counting;
};
struct plumb_mark {
    size_t host, device;
};

#define PLUMB_ARENA_ALIGN 64

/* Takes `bytes` (0 is allowed) from the system; fails with PLUMB_EMEM naming wanted and free
 * bytes. */
int plumb_arena_init(struct plumb_arena *a, const char *name, size_t bytes);
/* Starts an arena that only counts: pushes succeed with *out = NULL. */
void plumb_arena_init_counting(struct plumb_arena *a, const char *name);
/* The same on `dev` (cpu and ref: exactly the same). What a counting arena has found is its `peak`
 * and `device.peak`; `like` is such an arena, and the host's side is made `times` as large. */
void plumb_arena_init_counting_on(struct plumb_arena *a, const char *name,
                                  const struct plumb_device *dev);
int plumb_arena_init_like(struct plumb_arena *a, const struct plumb_arena *like, int64_t times);
void plumb_arena_release(struct plumb_arena *a); /* takes a zeroed one; leaves it zeroed */
/* *out = `bytes` bytes aligned to 64, contents undefined; valid until reset or release below the
 * mark. Fails with PLUMB_EMEM, naming the arena, when the capacity is exceeded. */
int plumb_arena_push(struct plumb_arena *a, size_t bytes, void **out);
/* The same in the device's memory, aligned to 256 there. */
int plumb_arena_push_device(struct plumb_arena *a, size_t bytes, void **out);
/* A tensor of `count` elements in the device's memory; the same rules. */
int plumb_arena_tensor(struct plumb_arena *a, enum plumb_dtype t, int64_t count,
                       struct plumb_tensor *out);
/* Where the device has `p` of the host's side: `p` itself on cpu and ref, NULL while counting. */
void *plumb_arena_mirror(const struct plumb_arena *a, void *p);
struct plumb_mark plumb_arena_mark(const struct plumb_arena *a);
void plumb_arena_reset(struct plumb_arena *a, struct plumb_mark mark);
/* The same while copies from or to the host's side may be under way: of two sides only the
 * device's goes back. */
void plumb_arena_reset_queued(struct plumb_arena *a, struct plumb_mark mark);
void plumb_arena_empty(struct plumb_arena *a);

PLUMB_END_INTERNAL
