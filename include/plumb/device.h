/* Devices by name, and bytes moved to and from them. On cpu and ref the same calls are plain
 * memory, so callers need no second path. Work on a device is ordered: a copy sees what earlier
 * ops wrote. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* A device of its own by name: "cpu", "ref", "cuda[:<index>]" or "cuda-sim[:<index>]" (the CUDA
 * sources run on the CPU). A cuda device needs its backend, libplumb_cuda.so or
 * libplumb_cuda_sim.so, which is looked for in $PLUMB_BACKENDS, beside the program, in ../lib from
 * there, beside libplumb.so and where the system's linker looks. Fails with PLUMB_ENOTSUP saying
 * what is missing, PLUMB_EUSAGE for an unknown name. End it with plumb_device_delete. */
int plumb_device_new(const char *name, struct plumb_device **out);
/* The same for a cuda device on a stream that the caller has and keeps (a cudaStream_t, NULL = the
 * default stream): ops are queued there, between the caller's own work. Memory may be the caller's,
 * too: any of that device. */
int plumb_device_adopt(const char *name, void *stream, struct plumb_device **out);
/* Waits for what is queued, then ends the device; NULL is fine. An adopted stream lives on. */
void plumb_device_delete(struct plumb_device *dev);
enum plumb_device_kind plumb_device_kind(const struct plumb_device *dev);
/* Whether a device of kind cuda could be opened. Never fails. */
bool plumb_device_have_cuda(void);
/* One line for people: the name of a GPU, or the instruction set in use. */
void plumb_device_describe(const struct plumb_device *dev, char *out, size_t n);

/* Free and total bytes of a cuda device's memory. */
int plumb_device_memory(const struct plumb_device *dev, size_t *free_bytes, size_t *total);
/* Memory of a cuda device, aligned to 256 bytes; host memory that it copies without a detour
 * (`pinned`). Fails with PLUMB_EMEM. Not inside a step. */
int plumb_device_alloc(const struct plumb_device *dev, size_t bytes, void **out);
void plumb_device_free(const struct plumb_device *dev, void *p);
int plumb_device_alloc_pinned(const struct plumb_device *dev, size_t bytes, void **out);
void plumb_device_free_pinned(const struct plumb_device *dev, void *p);

/* Copies in the order of the stream. `upload` from pinned memory returns before it is done, so
 * `src` must stay as it is until the next sync; `download` is complete when it returns;
 * `download_later` fills pinned memory by the next sync. Copies of 0 bytes are fine. */
int plumb_device_upload(const struct plumb_device *dev, void *dst, const void *src, size_t bytes);
/* An upload that overlaps the ops queued before it, whose results nobody may need at `dst`; what
 * is queued later waits for it. */
int plumb_device_upload_ahead(const struct plumb_device *dev, void *dst, const void *src,
                              size_t bytes);
int plumb_device_download(const struct plumb_device *dev, void *dst, const void *src,
                          size_t bytes);
int plumb_device_download_later(const struct plumb_device *dev, void *dst, const void *src,
                                size_t bytes);
int plumb_device_copy(const struct plumb_device *dev, void *dst, const void *src, size_t bytes);
int plumb_device_zero(const struct plumb_device *dev, void *p, size_t bytes);
/* *seconds = what `run` takes: on cuda the device's time for what it queues, else the clock's.
 * Waits for the end. */
int plumb_device_time(const struct plumb_device *dev, int (*run)(void *ctx), void *ctx,
                      double *seconds);
/* Waits for everything; a fault of an op that ran meanwhile is reported here. */
int plumb_device_sync(const struct plumb_device *dev);

PLUMB_END_C
