/* The pool of scratch blocks: ops allocate nothing per call, and a matmul has no workspace in
 * its contract. */
#include "kernels/matmul/matmul_library.h"

#include <pthread.h>

enum { SLOTS = 32 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct plumb_arena idle[SLOTS]; /* base NULL = empty slot */

/* The smallest block that fits; else the smallest of all, to be replaced; else NULL. */
static struct plumb_arena *choose(size_t bytes)
{
    struct plumb_arena *fits = NULL, *small = NULL;
    for (int i = 0; i < SLOTS; i++) {
        struct plumb_arena *s = &idle[i];
        if (!s->base) continue;
        if (s->capacity >= bytes && (!fits || s->capacity < fits->capacity)) fits = s;
        if (!small || s->capacity < small->capacity) small = s;
    }
    return fits ? fits : small;
}

int plumb_matmul_lease(size_t bytes, struct plumb_arena *out)
{
    *out = (struct plumb_arena){ 0 };
    pthread_mutex_lock(&lock);
    struct plumb_arena *s = choose(bytes);
    if (s) {
        *out = *s;
        *s = (struct plumb_arena){ 0 };
    }
    pthread_mutex_unlock(&lock);
    if (out->base && out->capacity >= bytes) return PLUMB_OK;
    plumb_arena_release(out);
    return plumb_arena_init(out, "matmul scratch", bytes);
}

void plumb_matmul_give_back(struct plumb_arena *lease)
{
    plumb_arena_empty(lease);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < SLOTS && lease->base; i++)
        if (!idle[i].base) {
            idle[i] = *lease;
            *lease = (struct plumb_arena){ 0 };
        }
    pthread_mutex_unlock(&lock);
    plumb_arena_release(lease);
}
