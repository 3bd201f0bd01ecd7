/* Devices: opening them, their memory, and the choice of instruction set. */
#include <plumb/backend.h>
#include <plumb/device.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/backend.h"

const struct plumb_device plumb_cpu = { .kind = PLUMB_DEV_CPU };
const struct plumb_device plumb_ref = { .kind = PLUMB_DEV_REF };

static enum plumb_isa detect(void)
{
    enum plumb_isa best = PLUMB_ISA_BASE;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = PLUMB_ISA_AVX2;
    if (best == PLUMB_ISA_AVX2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        best = PLUMB_ISA_AVX512;
#endif
    const char *cap = getenv("PLUMB_ISA");
    if (cap && !strcmp(cap, "v2")) best = PLUMB_ISA_BASE;
    if (cap && !strcmp(cap, "v3") && best > PLUMB_ISA_AVX2) best = PLUMB_ISA_AVX2;
    return best;
}

enum plumb_isa plumb_cpu_isa(void)
{
    static int known = -1; /* every thread computes the same value */
    int isa = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (isa < 0) {
        isa = (int)detect();
        __atomic_store_n(&known, isa, __ATOMIC_RELAXED);
    }
    return (enum plumb_isa)isa;
}

const char *plumb_isa_name(enum plumb_isa isa)
{
    return isa == PLUMB_ISA_AVX512 ? "AVX-512" : isa == PLUMB_ISA_AVX2 ? "AVX2" : "baseline";
}

bool plumb_cpu_has_bf16(void)
{
#if defined(__x86_64__)
    return plumb_cpu_isa() == PLUMB_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

/* "cuda", "cuda:<index>", "cuda-sim" or "cuda-sim:<index>". */
static int cuda_index(const char *name, const char *backend, int *index)
{
    const char *rest = name + strlen(backend);
    char *end;
    *index = 0;
    if (*rest == 0) return PLUMB_OK;
    const long n = *rest == ':' ? strtol(rest + 1, &end, 10) : -1;
    if (n < 0 || n > 1023 || end == rest + 1 || *end)
        return plumb_fail(PLUMB_EUSAGE, "device \"%s\": after %s comes a colon and a number", name,
                          backend);
    *index = (int)n;
    return PLUMB_OK;
}

static int open_backend(const char *backend, int index, struct plumb_device *out)
{
    const struct plumb_backend *b;
    int devices = 0;
    PLUMB_TRY(plumb_backend_open(backend, &b));
    const int rc = b->count(&devices);
    if (rc)
        return plumb_fail_while(rc, "device %s cannot be used (--device cpu needs none)", backend);
    if (index >= devices)
        return plumb_fail(PLUMB_ENOTSUP, "device %s:%d: there %s %d", backend, index,
                          devices == 1 ? "is" : "are", devices);
    out->kind = PLUMB_DEV_CUDA;
    out->backend = b;
    return b->open(index, out);
}

/* out->stream and out->adopted are set. */
static int open_cuda(const char *name, struct plumb_device *out)
{
    const char *backend = strncmp(name, "cuda-sim", 8) ? "cuda" : "cuda-sim";
    int index;
    if (strncmp(name, "cuda", 4))
        return plumb_fail(PLUMB_EUSAGE, "device \"%s\": must be cpu, ref, cuda[:i] or cuda-sim[:i]",
                          name);
    PLUMB_TRY(cuda_index(name, backend, &index));
    return open_backend(backend, index, out);
}

int plumb_device_open(const char *name, struct plumb_device *out)
{
    *out = plumb_cpu;
    if (!strcmp(name, "cpu")) return PLUMB_OK;
    if (!strcmp(name, "ref")) {
        *out = plumb_ref;
        return PLUMB_OK;
    }
    return open_cuda(name, out);
}

void plumb_device_close(struct plumb_device *dev)
{
    if (dev->kind != PLUMB_DEV_CUDA || !dev->backend) return;
    dev->backend->close(dev);
    *dev = (struct plumb_device){ 0 };
}

/* Moves a device that has been opened into an object of its own. */
static int hand_out(struct plumb_device *dev, struct plumb_device **out)
{
    *out = malloc(sizeof *dev);
    if (!*out) {
        plumb_device_close(dev);
        return plumb_fail(PLUMB_EMEM, "no memory for a device");
    }
    **out = *dev;
    return PLUMB_OK;
}

int plumb_device_new(const char *name, struct plumb_device **out)
{
    struct plumb_device dev;
    if (!name || !out) return plumb_fail(PLUMB_EINVAL, "device: %s is NULL", name ? "out" : "name");
    *out = NULL;
    PLUMB_TRY(plumb_device_open(name, &dev));
    return hand_out(&dev, out);
}

int plumb_device_adopt(const char *name, void *stream, struct plumb_device **out)
{
    struct plumb_device dev = { .stream = stream, .adopted = true };
    if (!name || !out) return plumb_fail(PLUMB_EINVAL, "device: %s is NULL", name ? "out" : "name");
    *out = NULL;
    PLUMB_TRY(open_cuda(name, &dev));
    return hand_out(&dev, out);
}

void plumb_device_delete(struct plumb_device *dev)
{
    if (dev) plumb_device_close(dev);
    free(dev);
}

enum plumb_device_kind plumb_device_kind(const struct plumb_device *dev) { return dev->kind; }

bool plumb_device_have_cuda(void)
{
    const struct plumb_backend *b;
    int devices = 0;
    const bool have = !plumb_backend_open("cuda", &b) && !b->count(&devices) && devices > 0;
    plumb_errclear();
    return have;
}

void plumb_device_describe(const struct plumb_device *dev, char *out, size_t n)
{
    if (plumb_device_is_host(dev))
        snprintf(out, n, "%s",
                 dev->kind == PLUMB_DEV_REF ? "reference loops" : plumb_isa_name(plumb_cpu_isa()));
    else if (dev->backend->describe(dev, out, n))
        snprintf(out, n, "%s:%d", dev->backend->name, dev->index);
}

int plumb_device_memory(const struct plumb_device *dev, size_t *free_bytes, size_t *total)
{
    if (plumb_device_is_host(dev))
        return plumb_fail(PLUMB_EINVAL, "device memory: the host has none of its own");
    return dev->backend->memory(dev, free_bytes, total);
}

int plumb_device_alloc(const struct plumb_device *dev, size_t bytes, void **out)
{
    if (plumb_device_is_host(dev))
        return plumb_fail(PLUMB_EINVAL, "device memory: the host has none of its own");
    return dev->backend->alloc(dev, bytes, false, out);
}

void plumb_device_free(const struct plumb_device *dev, void *p)
{
    if (!plumb_device_is_host(dev) && p) dev->backend->free(dev, p, false);
}

int plumb_device_alloc_pinned(const struct plumb_device *dev, size_t bytes, void **out)
{
    if (plumb_device_is_host(dev))
        return plumb_fail(PLUMB_EINVAL, "pinned memory: the host has none of its own");
    return dev->backend->alloc(dev, bytes, true, out);
}

void plumb_device_free_pinned(const struct plumb_device *dev, void *p)
{
    if (!plumb_device_is_host(dev) && p) dev->backend->free(dev, p, true);
}

static int copy(const struct plumb_device *dev, void *dst, const void *src, size_t bytes,
                enum plumb_copy kind)
{
    if (bytes == 0 || dst == src) return PLUMB_OK;
    if (!plumb_device_is_host(dev)) return dev->backend->copy(dev, dst, src, bytes, kind);
    memmove(dst, src, bytes);
    return PLUMB_OK;
}

int plumb_device_upload(const struct plumb_device *dev, void *dst, const void *src, size_t bytes)
{
    return copy(dev, dst, src, bytes, PLUMB_COPY_UP);
}

int plumb_device_upload_ahead(const struct plumb_device *dev, void *dst, const void *src,
                              size_t bytes)
{
    return copy(dev, dst, src, bytes, PLUMB_COPY_AHEAD);
}

int plumb_device_download_later(const struct plumb_device *dev, void *dst, const void *src,
                                size_t bytes)
{
    return copy(dev, dst, src, bytes, PLUMB_COPY_DOWN);
}

int plumb_device_download(const struct plumb_device *dev, void *dst, const void *src, size_t bytes)
{
    PLUMB_TRY(copy(dev, dst, src, bytes, PLUMB_COPY_DOWN));
    return plumb_device_sync(dev);
}

int plumb_device_copy(const struct plumb_device *dev, void *dst, const void *src, size_t bytes)
{
    return copy(dev, dst, src, bytes, PLUMB_COPY_WITHIN);
}

int plumb_device_zero(const struct plumb_device *dev, void *p, size_t bytes)
{
    if (bytes == 0) return PLUMB_OK;
    if (!plumb_device_is_host(dev)) return dev->backend->zero(dev, p, bytes);
    memset(p, 0, bytes);
    return PLUMB_OK;
}

int plumb_device_sync(const struct plumb_device *dev)
{
    return plumb_device_is_host(dev) ? PLUMB_OK : dev->backend->sync(dev);
}

int plumb_device_time(const struct plumb_device *dev, int (*run)(void *ctx), void *ctx,
                      double *seconds)
{
    struct timespec a, b;
    if (!plumb_device_is_host(dev)) return dev->backend->time(dev, run, ctx, seconds);
    clock_gettime(CLOCK_MONOTONIC, &a);
    PLUMB_TRY(run(ctx));
    clock_gettime(CLOCK_MONOTONIC, &b);
    *seconds = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    return PLUMB_OK;
}
