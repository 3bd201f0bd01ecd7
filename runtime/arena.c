/* Arenas: one system allocation each, a bump pointer inside. */
#include <plumb/arena.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t rounded(size_t bytes)
{
    return (bytes + PLUMB_ARENA_ALIGN - 1) / PLUMB_ARENA_ALIGN * PLUMB_ARENA_ALIGN;
}

static double mib(size_t bytes) { return (double)bytes / 1048576.0; }

int plumb_arena_init(struct plumb_arena *a, const char *name, size_t bytes)
{
    *a = (struct plumb_arena){ .name = name };
    if (bytes == 0) return PLUMB_OK;
    const size_t want = rounded(bytes);
    const size_t free_bytes = (size_t)sysconf(_SC_AVPHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    void *p = mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        return plumb_fail(PLUMB_EMEM,
                          "could not allocate the %s arena: %.1f MiB wanted, %.1f MiB free", name,
                          mib(want), mib(free_bytes));
    a->base = p;
    a->capacity = want;
    return PLUMB_OK;
}

void plumb_arena_init_counting(struct plumb_arena *a, const char *name)
{
    *a = (struct plumb_arena){ .name = name, .counting = true };
}

void plumb_arena_release(struct plumb_arena *a)
{
    if (a->base) munmap(a->base, a->capacity);
    *a = (struct plumb_arena){ 0 };
}

int plumb_arena_push(struct plumb_arena *a, size_t bytes, void **out)
{
    *out = NULL;
    if (bytes > SIZE_MAX / 2)
        return plumb_fail(PLUMB_EMEM, "%s arena: a block of %zu bytes is absurd", a->name, bytes);
    const size_t want = rounded(bytes);
    if (!a->counting && a->used + want > a->capacity)
        return plumb_fail(PLUMB_EMEM, "%s arena is full: %.1f MiB wanted, %.1f of %.1f MiB in use",
                          a->name, mib(want), mib(a->used), mib(a->capacity));
    if (!a->counting && a->base) *out = a->base + a->used;
    a->used += want;
    if (a->used > a->peak) a->peak = a->used;
    return PLUMB_OK;
}

int plumb_arena_tensor(struct plumb_arena *a, enum plumb_dtype t, int64_t count,
                       struct plumb_tensor *out)
{
    PLUMB_ASSERT(count >= 0);
    *out = (struct plumb_tensor){ NULL, t };
    return plumb_arena_push(a, (size_t)count * plumb_dtype_bytes(t), &out->data);
}

size_t plumb_arena_mark(const struct plumb_arena *a) { return a->used; }

void plumb_arena_reset(struct plumb_arena *a, size_t mark)
{
    PLUMB_ASSERT(mark <= a->used);
    a->used = mark;
}
