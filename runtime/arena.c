/* Arenas: one allocation a side, a bump pointer inside. */
#include <plumb/arena.h>
#include <plumb/device.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t rounded(size_t bytes)
{
    return (bytes + PLUMB_ARENA_ALIGN - 1) / PLUMB_ARENA_ALIGN * PLUMB_ARENA_ALIGN;
}

static double mib(size_t bytes) { return (double)bytes / 1048576.0; }

/* What this process can have at most: what is free, and no more than a control group allows (of
 * whose use the larger part is file cache that gives way). */
static size_t system_free(void)
{
    char line[128];
    unsigned long long kib, sum = 0, limit;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1 ||
            sscanf(line, "SwapFree: %llu", &kib) == 1)
            sum += 1024 * kib;
    if (f) fclose(f);
    if (sum == 0) sum = (size_t)sysconf(_SC_AVPHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    f = fopen("/sys/fs/cgroup/memory.max", "re");
    if (f && fscanf(f, "%llu", &limit) == 1 && limit < sum) sum = limit;
    if (f) fclose(f);
    return (size_t)sum;
}

int plumb_arena_init(struct plumb_arena *a, const char *name, size_t bytes)
{
    *a = (struct plumb_arena){ .name = name };
    if (bytes == 0) return PLUMB_OK;
    const size_t want = rounded(bytes), free_bytes = system_free();
    /* The kernel would hand out more than there is, and end the process when it is used. */
    void *p = want > free_bytes ? MAP_FAILED
                                : mmap(NULL, want, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
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

void plumb_arena_init_counting_on(struct plumb_arena *a, const char *name,
                                  const struct plumb_device *dev)
{
    plumb_arena_init_counting(a, name);
    a->dev = *dev;
}

int plumb_arena_init_like(struct plumb_arena *a, const struct plumb_arena *like, int64_t times)
{
    const struct plumb_arena want = *like; /* `a` may be `like` */
    if (plumb_device_is_host(&want.dev)) return plumb_arena_init(a, want.name, want.peak);
    *a = (struct plumb_arena){ .name = want.name, .dev = want.dev };
    void *host = NULL, *mirror = NULL, *device = NULL;
    const size_t host_bytes = (size_t)times * rounded(want.peak);
    int rc = plumb_device_alloc_pinned(&a->dev, host_bytes, &host);
    if (!rc) rc = plumb_device_alloc(&a->dev, host_bytes, &mirror);
    if (!rc) rc = plumb_device_alloc(&a->dev, want.device.peak, &device);
    a->base = host;
    a->mirror = mirror;
    a->capacity = host_bytes;
    a->device = (struct plumb_arena_side){ .base = device, .capacity = want.device.peak };
    return rc ? plumb_fail_while(rc, "the %s arena", a->name) : PLUMB_OK;
}

void plumb_arena_release(struct plumb_arena *a)
{
    if (!plumb_device_is_host(&a->dev)) {
        plumb_device_free_pinned(&a->dev, a->base);
        plumb_device_free(&a->dev, a->mirror);
        plumb_device_free(&a->dev, a->device.base);
    } else if (a->base)
        munmap(a->base, a->capacity);
    *a = (struct plumb_arena){ 0 };
}

static int full(const struct plumb_arena *a, size_t want, size_t used, size_t capacity)
{
    return plumb_fail(PLUMB_EMEM, "%s arena is full: %.1f MiB wanted, %.1f of %.1f MiB in use",
                      a->name, mib(want), mib(used), mib(capacity));
}

static int absurd(const struct plumb_arena *a, size_t bytes)
{
    return plumb_fail(PLUMB_EMEM, "%s arena: a block of %zu bytes is absurd", a->name, bytes);
}

int plumb_arena_push(struct plumb_arena *a, size_t bytes, void **out)
{
    *out = NULL;
    if (bytes > SIZE_MAX / 2) return absurd(a, bytes);
    const size_t want = rounded(bytes);
    if (!a->counting && a->used + want > a->capacity) return full(a, want, a->used, a->capacity);
    if (!a->counting && a->base) *out = a->base + a->used;
    a->used += want;
    if (a->used > a->peak) a->peak = a->used;
    return PLUMB_OK;
}

int plumb_arena_push_device(struct plumb_arena *a, size_t bytes, void **out)
{
    if (plumb_device_is_host(&a->dev)) return plumb_arena_push(a, bytes, out);
    struct plumb_arena_side *d = &a->device;
    *out = NULL;
    if (bytes > SIZE_MAX / 2) return absurd(a, bytes);
    const size_t want = (bytes + 255) / 256 * 256;
    if (!a->counting && d->used + want > d->capacity) return full(a, want, d->used, d->capacity);
    if (!a->counting && d->base) *out = d->base + d->used;
    d->used += want;
    if (d->used > d->peak) d->peak = d->used;
    return PLUMB_OK;
}

int plumb_arena_tensor(struct plumb_arena *a, enum plumb_dtype t, int64_t count,
                       struct plumb_tensor *out)
{
    PLUMB_ASSERT(count >= 0);
    *out = (struct plumb_tensor){ NULL, t };
    return plumb_arena_push_device(a, (size_t)count * plumb_dtype_bytes(t), &out->data);
}

void *plumb_arena_mirror(const struct plumb_arena *a, void *p)
{
    if (plumb_device_is_host(&a->dev)) return p;
    if (!a->mirror) return NULL;
    const size_t at = (size_t)((char *)p - a->base);
    PLUMB_ASSERT(at < a->used);
    return a->mirror + at;
}

struct plumb_mark plumb_arena_mark(const struct plumb_arena *a)
{
    return (struct plumb_mark){ a->used, a->device.used };
}

void plumb_arena_reset(struct plumb_arena *a, struct plumb_mark mark)
{
    PLUMB_ASSERT(mark.host <= a->used && mark.device <= a->device.used);
    a->used = mark.host;
    a->device.used = mark.device;
}

void plumb_arena_reset_queued(struct plumb_arena *a, struct plumb_mark mark)
{
    if (!plumb_device_is_host(&a->dev)) mark.host = a->used;
    plumb_arena_reset(a, mark);
}

void plumb_arena_empty(struct plumb_arena *a) { plumb_arena_reset(a, (struct plumb_mark){ 0 }); }
