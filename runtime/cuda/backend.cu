/* The table that a CUDA backend returns: its ops, devices, memory and copies. */
#include <plumb/backend.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gpu.h"
#include "kernels/matmul/matmul_gpu.h"

#ifndef PLUMB_BACKEND_NAME
#define PLUMB_BACKEND_NAME "cuda"
#endif

enum { MOST_OPS = 256 };
static struct plumb_gpu_entry *entries; /* zero before any constructor runs */

bool plumb_gpu_register(struct plumb_gpu_entry *e)
{
    e->next = entries;
    entries = e;
    return true;
}

static int status(cudaError_t e, const char *what) { return plumb_gpu_status(e, what); }

static int64_t run_captured(const struct plumb_device *dev, const void *args, plumb_gpu_call *call)
{
    const cudaStream_t stream = plumb_gpu_stream(dev);
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    PLUMB_TRY(status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture"));
    const int64_t rc = call(dev, args);
    const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
    if (rc < 0) return rc;
    PLUMB_TRY(status(ended, "an op in a captured stream"));
    PLUMB_TRY(status(cudaGraphInstantiate(&exec, graph, 0), "a graph of an op"));
    const cudaError_t launched = cudaGraphLaunch(exec, stream);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    PLUMB_TRY(status(launched, "the graph of an op"));
    return rc;
}

/* dev's GPU is the thread's current one for as long as this lives, whatever other devices the
 * program works with. */
struct current_device {
    int before, index, rc;
    explicit current_device(const struct plumb_device *dev) : before(0), index(dev->index)
    {
        rc = status(cudaGetDevice(&before), "the current device");
        if (!rc && before != index) rc = status(cudaSetDevice(index), "choosing a device");
    }
    ~current_device()
    {
        if (before != index) cudaSetDevice(before);
    }
};
#define ON_DEVICE(dev)                                                                             \
    const current_device here(dev);                                                                \
    if (here.rc) return here.rc

int64_t plumb_gpu_run(const struct plumb_device *dev, const void *args, plumb_gpu_call *call)
{
    static const bool graphs = getenv("PLUMB_CUDA_GRAPH") != NULL;
    ON_DEVICE(dev);
    return graphs ? run_captured(dev, args, call) : call(dev, args);
}

static int count_devices(int *devices)
{
    *devices = 0;
    return status(cudaGetDeviceCount(devices), "counting devices");
}

enum { MOST_OPEN = 64 };
static pthread_mutex_t slots = PTHREAD_MUTEX_INITIALIZER;
static struct plumb_gpu_state states[MOST_OPEN]; /* in use: those with a stream of copies */

/* A stream of copies in a free slot. */
static int take_state(struct plumb_device *dev)
{
    int rc = PLUMB_OK;
    pthread_mutex_lock(&slots);
    for (int i = 0; i < MOST_OPEN && !dev->state; i++)
        if (!states[i].copies) dev->state = &states[i];
    if (!dev->state)
        rc = plumb_fail(PLUMB_EMEM, "more than %d devices are open", MOST_OPEN);
    else
        rc = status(cudaStreamCreateWithFlags(&plumb_gpu_state(dev)->copies, cudaStreamNonBlocking),
                    "a stream");
    pthread_mutex_unlock(&slots);
    return rc;
}

static void close_device(struct plumb_device *dev)
{
    struct plumb_gpu_state *s = plumb_gpu_state(dev);
    const current_device here(dev);
    if (dev->stream || dev->adopted) cudaStreamSynchronize(plumb_gpu_stream(dev));
    if (s) {
        plumb_gpu_matmul_close(dev);
        if (s->arrived) cudaEventDestroy(s->arrived);
        if (s->copies) cudaStreamDestroy(s->copies);
        pthread_mutex_lock(&slots);
        *s = {};
        pthread_mutex_unlock(&slots);
    }
    if (dev->stream && !dev->adopted) cudaStreamDestroy(plumb_gpu_stream(dev));
    dev->stream = dev->state = NULL;
}

static int open_parts(struct plumb_device *dev)
{
    cudaStream_t stream = plumb_gpu_stream(dev);
    if (!dev->adopted)
        PLUMB_TRY(status(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream"));
    dev->stream = stream;
    PLUMB_TRY(take_state(dev));
    PLUMB_TRY(
        status(cudaEventCreateWithFlags(&plumb_gpu_state(dev)->arrived, cudaEventDisableTiming),
               "an event"));
    return plumb_gpu_matmul_open(dev);
}

static int open_device(int index, struct plumb_device *dev)
{
    dev->index = index;
    dev->state = NULL;
    if (!dev->adopted) dev->stream = NULL;
    ON_DEVICE(dev);
    const int rc = open_parts(dev);
    if (rc) close_device(dev);
    return rc;
}

static int describe(const struct plumb_device *dev, char *out, size_t n)
{
    cudaDeviceProp p;
    PLUMB_TRY(status(cudaGetDeviceProperties(&p, dev->index), "device properties"));
    snprintf(out, n, "%s (sm_%d%d, %d multiprocessors)", p.name, p.major, p.minor,
             p.multiProcessorCount);
    return PLUMB_OK;
}

static int memory(const struct plumb_device *dev, size_t *free_bytes, size_t *total)
{
    ON_DEVICE(dev);
    return status(cudaMemGetInfo(free_bytes, total), "free memory");
}

/* Blocks handed out here are looked up without asking the runtime, which takes its time. Where all
 * places are taken, the rest is not remembered. */
enum { REMEMBERED = 64 };
static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block {
    const char *at; /* NULL = free */
    size_t bytes;
    int index;
} blocks[REMEMBERED];

static struct block *block_of(const void *p)
{
    for (int i = 0; i < REMEMBERED; i++)
        if (blocks[i].at && (const char *)p >= blocks[i].at &&
            (const char *)p < blocks[i].at + blocks[i].bytes)
            return &blocks[i];
    return NULL;
}

static void remember(const void *p, size_t bytes, int index)
{
    pthread_mutex_lock(&blocks_lock);
    for (int i = 0; i < REMEMBERED; i++)
        if (!blocks[i].at) {
            blocks[i] = { (const char *)p, bytes, index };
            break;
        }
    pthread_mutex_unlock(&blocks_lock);
}

static void forget(const void *p)
{
    pthread_mutex_lock(&blocks_lock);
    struct block *b = block_of(p);
    if (b) *b = {};
    pthread_mutex_unlock(&blocks_lock);
}

static enum plumb_memory where(const void *p, int *index)
{
    cudaPointerAttributes known;
    pthread_mutex_lock(&blocks_lock);
    const struct block *b = block_of(p);
    if (b) *index = b->index;
    pthread_mutex_unlock(&blocks_lock);
    if (b) return PLUMB_MEMORY_DEVICE;
    *index = 0;
    if (cudaPointerGetAttributes(&known, p)) {
        cudaGetLastError(); /* nobody's memory: for the host to know */
        return PLUMB_MEMORY_HOST;
    }
    *index = known.device;
    return known.type == cudaMemoryTypeDevice         ? PLUMB_MEMORY_DEVICE
           : known.type == cudaMemoryTypeUnregistered ? PLUMB_MEMORY_HOST
                                                      : PLUMB_MEMORY_BOTH;
}

static int alloc(const struct plumb_device *dev, size_t bytes, bool pinned, void **out)
{
    *out = NULL;
    if (bytes == 0) return PLUMB_OK;
    ON_DEVICE(dev);
    const cudaError_t e = pinned ? cudaHostAlloc(out, bytes, cudaHostAllocDefault)
                                 : cudaMalloc(out, bytes);
    if (!e && !pinned) remember(*out, bytes, dev->index);
    if (e != cudaErrorMemoryAllocation) return status(e, "allocating");
    cudaGetLastError();
    size_t left = 0, total = 0;
    cudaMemGetInfo(&left, &total);
    return plumb_fail(PLUMB_EMEM, "device %s:%d: %.1f MiB of %s memory wanted, %.1f MiB free on it",
                      PLUMB_BACKEND_NAME, dev->index, (double)bytes / 1048576.0,
                      pinned ? "pinned host" : "device", (double)left / 1048576.0);
}

static int release(const struct plumb_device *dev, void *p, bool pinned)
{
    ON_DEVICE(dev);
    if (!pinned) forget(p);
    return status(pinned ? cudaFreeHost(p) : cudaFree(p), "freeing");
}

/* The stream of ops waits for the event as it is recorded now, so one event serves all copies. */
static int copy_ahead(const struct plumb_device *dev, void *dst, const void *src, size_t bytes)
{
    struct plumb_gpu_state *s = plumb_gpu_state(dev);
    PLUMB_TRY(status(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, s->copies), "copy"));
    PLUMB_TRY(status(cudaEventRecord(s->arrived, s->copies), "an event"));
    return status(cudaStreamWaitEvent(plumb_gpu_stream(dev), s->arrived, 0), "an event");
}

static int copy(const struct plumb_device *dev, void *dst, const void *src, size_t bytes,
                enum plumb_copy kind)
{
    ON_DEVICE(dev);
    if (kind == PLUMB_COPY_AHEAD) return copy_ahead(dev, dst, src, bytes);
    static const cudaMemcpyKind kinds[] = { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost,
                                            cudaMemcpyDeviceToDevice };
    return status(cudaMemcpyAsync(dst, src, bytes, kinds[kind], plumb_gpu_stream(dev)), "copy");
}

static int zero(const struct plumb_device *dev, void *p, size_t bytes)
{
    ON_DEVICE(dev);
    return status(cudaMemsetAsync(p, 0, bytes, plumb_gpu_stream(dev)), "clearing");
}

static int sync(const struct plumb_device *dev)
{
    ON_DEVICE(dev);
    return status(cudaStreamSynchronize(plumb_gpu_stream(dev)), "waiting for the device");
}

static int measure(const struct plumb_device *dev, int (*run)(void *ctx), void *ctx,
                   double *seconds)
{
    cudaEvent_t begin = NULL, end = NULL;
    float ms = 0;
    ON_DEVICE(dev);
    int rc = status(cudaEventCreate(&begin), "an event");
    if (!rc) rc = status(cudaEventCreate(&end), "an event");
    if (!rc) rc = status(cudaEventRecord(begin, plumb_gpu_stream(dev)), "an event");
    if (!rc) rc = run(ctx);
    if (!rc) rc = status(cudaEventRecord(end, plumb_gpu_stream(dev)), "an event");
    if (!rc) rc = status(cudaEventSynchronize(end), "waiting for the device");
    if (!rc) rc = status(cudaEventElapsedTime(&ms, begin, end), "an event");
    if (begin) cudaEventDestroy(begin);
    if (end) cudaEventDestroy(end);
    *seconds = 1e-3 * (double)ms;
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct plumb_backend_op *)a)->name,
                  ((const struct plumb_backend_op *)b)->name);
}

#ifndef PLUMB_BACKEND_LINKED /* a backend linked into the program uses the program's own */
static const struct plumb_backend_host *host;

extern "C" int plumb_fail(int code, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return host->fail(code, text);
}

extern "C" void plumb_assert_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "plumb: %s:%d: broken invariant: %s\n", file, line, what);
    abort();
}

static bool set_host(const struct plumb_backend_host *h)
{
    host = h;
    return h->struct_bytes == sizeof *h;
}
#else
static bool set_host(const struct plumb_backend_host *h) { return h->struct_bytes == sizeof *h; }
#endif

extern "C" __attribute__((visibility("default"))) const struct plumb_backend *plumb_backend_v1(
    const struct plumb_backend_host *h)
{
    static struct plumb_backend_op ops[MOST_OPS];
    static struct plumb_backend table;
    if (!set_host(h)) {
        h->fail(PLUMB_ENOTSUP, "the backend was built for another version of plumb");
        return NULL;
    }
    int64_t n = 0;
    for (const struct plumb_gpu_entry *e = entries; e; e = e->next) {
        PLUMB_ASSERT(n < MOST_OPS);
        ops[n++] = e->op;
    }
    qsort(ops, (size_t)n, sizeof *ops, by_name);
    table.struct_bytes = sizeof table;
    table.abi = PLUMB_BACKEND_ABI;
    table.name = PLUMB_BACKEND_NAME;
    table.ops = ops;
    table.op_count = n;
    table.count = count_devices;
    table.open = open_device;
    table.close = close_device;
    table.describe = describe;
    table.memory = memory;
    table.alloc = alloc;
    table.free = release;
    table.copy = copy;
    table.zero = zero;
    table.sync = sync;
    table.time = measure;
    table.where = where;
    return &table;
}
