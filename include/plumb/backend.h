/* What a device is, and what a backend is: a shared library with one function, plumb_backend_v1,
 * that returns the table below. The program opens it when a device is asked for, so it starts
 * without a driver. Not installed: a backend belongs to the library it was built with. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_INTERNAL

struct plumb_backend;
struct plumb_device {
    enum plumb_device_kind kind;
    int index;
    void *stream;           /* ops of a cuda device run in its order; NULL on cpu and ref */
    enum plumb_dtype round; /* ref: every intermediate is rounded to it; 0 = float64 as it is */
    const struct plumb_backend *backend; /* the code of a cuda device; NULL on cpu and ref */
    void *state;                         /* the backend's own; NULL on cpu and ref */
    bool adopted;      /* the stream is the caller's */
    void *reserved[2]; /* programs hold copies of plumb_cpu and plumb_ref of this size */
};

/* Devices by value, for the engine: as plumb_device_new of device.h, and leaving a closed cuda
 * device zeroed; takes any. */
int plumb_device_open(const char *name, struct plumb_device *out);
void plumb_device_close(struct plumb_device *dev);
static inline bool plumb_device_is_host(const struct plumb_device *dev)
{
    return dev->kind != PLUMB_DEV_CUDA;
}

enum { PLUMB_BACKEND_ABI = 3 };

/* What the program lends to a backend. */
struct plumb_backend_host {
    size_t struct_bytes;
    int (*fail)(int code, const char *text); /* plumb_fail with a finished text */
};

/* One entry: an op on the contract's argument struct (returns a status), or the bytes of scratch
 * that it wants (returns them). */
struct plumb_backend_op {
    const char *name;  /* "norm_fwd", "norm_bwd_workspace" */
    size_t args_bytes; /* sizeof the struct that the entry was built with */
    int64_t (*run)(const struct plumb_device *dev, const void *args);
};

/* AHEAD: up as well, but beside the work that is queued; what is queued later waits for it. */
enum plumb_copy { PLUMB_COPY_UP, PLUMB_COPY_DOWN, PLUMB_COPY_WITHIN, PLUMB_COPY_AHEAD };

/* Host memory that a device reaches too (pinned, managed) is BOTH. */
enum plumb_memory { PLUMB_MEMORY_HOST, PLUMB_MEMORY_DEVICE, PLUMB_MEMORY_BOTH };

struct plumb_backend {
    size_t struct_bytes;
    int abi;
    const char *name;                   /* "cuda", "cuda-sim" */
    const struct plumb_backend_op *ops; /* sorted by name */
    int64_t op_count;
    int (*count)(int *devices);
    /* sets index and state, and a stream of its own unless dev->adopted */
    int (*open)(int index, struct plumb_device *dev);
    void (*close)(struct plumb_device *dev);
    int (*describe)(const struct plumb_device *dev, char *out, size_t n);
    int (*memory)(const struct plumb_device *dev, size_t *free_bytes, size_t *total);
    int (*alloc)(const struct plumb_device *dev, size_t bytes, bool pinned, void **out);
    int (*free)(const struct plumb_device *dev, void *p, bool pinned);
    int (*copy)(const struct plumb_device *dev, void *dst, const void *src, size_t bytes,
                enum plumb_copy kind); /* queued; not waited for */
    int (*zero)(const struct plumb_device *dev, void *p, size_t bytes);
    int (*sync)(const struct plumb_device *dev);
    enum plumb_memory (*where)(const void *p, int *index); /* index of the device that holds it */
    /* seconds that the device spends on what `run` queues, by events around it */
    int (*time)(const struct plumb_device *dev, int (*run)(void *ctx), void *ctx, double *seconds);
};

typedef const struct plumb_backend *plumb_backend_v1_fn(const struct plumb_backend_host *host);
/* The one exported function of a backend. */
const struct plumb_backend *plumb_backend_v1(const struct plumb_backend_host *host);
/* Puts a backend that is linked into the program in the place of its shared library (checking
 * builds, which cannot be opened at run time). */
int plumb_backend_link(plumb_backend_v1_fn *v1);

/* Runs entry `name` of the device's backend on `args`. Fails with PLUMB_ENOTSUP when the backend
 * has no such entry, PLUMB_EINVAL when it was built with another struct. */
int plumb_backend_run(const struct plumb_device *dev, const char *name, const void *args,
                      size_t args_bytes);
/* Fails with PLUMB_EINVAL, "<op>: <field> lies in ...", when ops of `dev` cannot follow p. Device
 * memory is known to a host's op only where the program has opened a backend. */
int plumb_backend_reaches(const struct plumb_device *dev, const char *op, const char *field,
                          const void *p);
/* Bytes of scratch by entry `name`; 0 when there is no such entry. */
size_t plumb_backend_size(const struct plumb_device *dev, const char *name, const void *args,
                          size_t args_bytes);

PLUMB_END_INTERNAL
