/* Backends: found, opened once, checked, and called by the names of their entries. */
#include <dlfcn.h>
#include <plumb/backend.h>
#include <plumb/device.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/backend.h"

enum { BACKENDS = 2 };
static const char *const names[BACKENDS] = { "cuda", "cuda-sim" };
static const char *const files[BACKENDS] = { "libplumb_cuda.so", "libplumb_cuda_sim.so" };
static const struct plumb_backend *opened[BACKENDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int fail_text(int code, const char *text) { return plumb_fail(code, "%s", text); }
static const struct plumb_backend_host host = { sizeof host, fail_text };

static int check(const struct plumb_backend *b, const char *from)
{
    if (!b) return PLUMB_EINVAL; /* its own text stands */
    if (b->abi != PLUMB_BACKEND_ABI || b->struct_bytes != sizeof *b)
        return plumb_fail(PLUMB_ENOTSUP, "%s was built for another version of plumb", from);
    for (int64_t i = 1; i < b->op_count; i++)
        if (strcmp(b->ops[i - 1].name, b->ops[i].name) >= 0)
            return plumb_fail(PLUMB_EINVAL, "%s: entries \"%s\" and \"%s\" are out of order", from,
                              b->ops[i - 1].name, b->ops[i].name);
    return PLUMB_OK;
}

/* Opens `dir`/`file`, or `file` where the linker looks; NULL when it is not there. */
static void *open_in(const char *dir, const char *up, const char *file)
{
    char path[4096];
    if (!dir) return dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (snprintf(path, sizeof path, "%s%s/%s", dir, up, file) >= (int)sizeof path) return NULL;
    return access(path, R_OK) ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void *find_library(const char *file)
{
    const char *chosen = getenv("PLUMB_BACKENDS");
    if (chosen) return open_in(chosen, "", file);
    char self[4096];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = NULL;
    if (n > 0) {
        self[n] = 0;
        slash = strrchr(self, '/');
    }
    void *library = NULL;
    if (slash) {
        *slash = 0;
        library = open_in(self, "", file);
        if (!library) library = open_in(self, "/..", file); /* tests lie one folder below */
        if (!library) library = open_in(self, "/../lib", file);
    }
    return library ? library : open_in(NULL, "", file);
}

static int load(int which, const struct plumb_backend **out)
{
    const char *file = files[which];
    dlerror();
    void *library = find_library(file);
    if (!library) {
        const char *why = dlerror();
        return plumb_fail(PLUMB_ENOTSUP, "device %s: cannot open %s: %s", names[which], file,
                          why ? why : "it is not beside the program, nor where libraries are");
    }
    plumb_backend_v1_fn *v1;
    void *symbol = dlsym(library, "plumb_backend_v1");
    memcpy(&v1, &symbol, sizeof v1);
    if (!v1)
        return plumb_fail(PLUMB_ENOTSUP, "device %s: %s is no backend of plumb", names[which],
                          file);
    const struct plumb_backend *b = v1(&host);
    PLUMB_TRY(check(b, file));
    *out = b;
    return PLUMB_OK;
}

int plumb_backend_open(const char *name, const struct plumb_backend **out)
{
    int which = 0;
    while (which < BACKENDS && strcmp(names[which], name))
        which++;
    PLUMB_ASSERT(which < BACKENDS);
    pthread_mutex_lock(&lock);
    int rc = PLUMB_OK;
    *out = opened[which];
    if (!*out) rc = load(which, out);
    if (!rc) __atomic_store_n(&opened[which], *out, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    return rc;
}

int plumb_backend_link(plumb_backend_v1_fn *v1)
{
    const struct plumb_backend *b = v1(&host);
    PLUMB_TRY(check(b, "the linked backend"));
    for (int i = 0; i < BACKENDS; i++)
        if (!strcmp(names[i], b->name)) {
            opened[i] = b;
            return PLUMB_OK;
        }
    return plumb_fail(PLUMB_EINVAL, "the linked backend is called \"%s\"", b->name);
}

static int by_name(const void *key, const void *op)
{
    return strcmp(key, ((const struct plumb_backend_op *)op)->name);
}

static const struct plumb_backend_op *find(const struct plumb_device *dev, const char *name)
{
    const struct plumb_backend *b = dev->backend;
    return b ? bsearch(name, b->ops, (size_t)b->op_count, sizeof *b->ops, by_name) : NULL;
}

int plumb_backend_run(const struct plumb_device *dev, const char *name, const void *args,
                      size_t args_bytes)
{
    const struct plumb_backend_op *op = find(dev, name);
    if (!op)
        return plumb_fail(PLUMB_ENOTSUP, "%s: device %s has no code for it", name,
                          dev->backend ? dev->backend->name : "without a backend");
    if (op->args_bytes != args_bytes)
        return plumb_fail(PLUMB_EINVAL,
                          "%s: device %s was built with a struct of %zu bytes, this is one of %zu",
                          name, dev->backend->name, op->args_bytes, args_bytes);
    return (int)op->run(dev, args);
}

static int elsewhere(const char *op, const char *field, const char *where, int index,
                     const struct plumb_device *dev)
{
    char place[64] = "host memory";
    if (where) snprintf(place, sizeof place, "the memory of %s:%d", where, index);
    if (plumb_device_is_host(dev))
        return plumb_fail(PLUMB_EINVAL, "%s: %s lies in %s, the call is for the host", op, field,
                          place);
    return plumb_fail(PLUMB_EINVAL, "%s: %s lies in %s, the call is for %s:%d", op, field, place,
                      dev->backend->name, dev->index);
}

int plumb_backend_reaches(const struct plumb_device *dev, const char *op, const char *field,
                          const void *p)
{
    int index = 0;
    if (!plumb_device_is_host(dev)) {
        const struct plumb_backend *b = dev->backend;
        const enum plumb_memory m = b->where(p, &index);
        if (m == PLUMB_MEMORY_BOTH || (m == PLUMB_MEMORY_DEVICE && index == dev->index))
            return PLUMB_OK;
        return elsewhere(op, field, m == PLUMB_MEMORY_HOST ? NULL : b->name, index, dev);
    }
    for (int i = 0; i < BACKENDS; i++) {
        const struct plumb_backend *b = __atomic_load_n(&opened[i], __ATOMIC_ACQUIRE);
        if (b && b->where(p, &index) == PLUMB_MEMORY_DEVICE)
            return elsewhere(op, field, b->name, index, dev);
    }
    return PLUMB_OK;
}

size_t plumb_backend_size(const struct plumb_device *dev, const char *name, const void *args,
                          size_t args_bytes)
{
    const struct plumb_backend_op *op = find(dev, name);
    return op && op->args_bytes == args_bytes ? (size_t)op->run(dev, args) : 0;
}
