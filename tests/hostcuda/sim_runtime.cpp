/* Devices, errors, memory and kernel attributes of the CUDA runtime, on the CPU. PLUMB_SIM_DEVICES
 * is the device count; ranks that are threads of one process take a device each. */
#include "tests/hostcuda/sim_internal.h"

namespace plumb_sim
{
static __thread cudaError_t last_error;
static __thread int device;

cudaError_t set_error(cudaError_t e)
{
    if (e != cudaSuccess) last_error = e;
    return e;
}
int current_device() { return device; }
} // namespace plumb_sim
using namespace plumb_sim;

extern "C" {
/* ---- devices and errors ---------------------------------------------------------------------- */
cudaError_t cudaGetDeviceCount(int *n)
{
    return *n = (int)env("PLUMB_SIM_DEVICES", 1), cudaSuccess;
}
cudaError_t cudaSetDevice(int d)
{
    if (d < 0 || d >= (int)env("PLUMB_SIM_DEVICES", 1)) return set_error(cudaErrorInvalidDevice);
    return device = d, cudaSuccess;
}
cudaError_t cudaGetDevice(int *d) { return *d = device, cudaSuccess; }
cudaError_t cudaDeviceSynchronize()
{
    if (const cudaError_t e = not_while_capturing("waiting for the device")) return e;
    return drain_all(false), cudaPeekAtLastError();
}
cudaError_t cudaDeviceReset() { return drain_all(false), cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *v) { return *v = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *v) { return *v = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int *v, cudaDeviceAttr a, int)
{
    switch (a) {
    case cudaDevAttrMultiProcessorCount: *v = 4; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *v = 48 << 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = 227 << 10; break;
    case cudaDevAttrMaxThreadsPerBlock: *v = 1024; break;
    case cudaDevAttrWarpSize: *v = 32; break;
    case cudaDevAttrComputeCapabilityMajor: *v = 8; break;
    case cudaDevAttrComputeCapabilityMinor: *v = 0; break;
    case cudaDevAttrL2CacheSize: *v = 40 << 20; break;
    default: *v = 0;
    }
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int d)
{
    memset((void *)p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "cuda-sim %d (CPU)", d);
    p->major = 8, p->minor = 0, p->multiProcessorCount = 4, p->warpSize = 32;
    p->totalGlobalMem = (size_t)4 << 30, p->maxThreadsPerBlock = 1024;
    p->maxThreadsPerMultiProcessor = 2048, p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->sharedMemPerBlock = 48 << 10, p->sharedMemPerBlockOptin = 227 << 10;
    p->sharedMemPerMultiprocessor = 228 << 10, p->l2CacheSize = 40 << 20;
    p->memoryBusWidth = 5120;
    for (int i = 0; i < 3; i++)
        p->maxThreadsDim[i] = i == 2 ? 64 : 1024, p->maxGridSize[i] = i ? 65535 : 0x7fffffff;
    return cudaSuccess;
}
cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaGetLastError()
{
    const cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}
const char *cudaGetErrorName(cudaError_t e)
{
    switch (e) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    default: return "cudaError";
    }
}
const char *cudaGetErrorString(cudaError_t e) { return e ? cudaGetErrorName(e) : "no error"; }

/* ---- memory ---------------------------------------------------------------------------------- */
cudaError_t cudaMalloc(void **p, size_t n)
{
    *p = nullptr;
    if (const cudaError_t e = not_while_capturing("cudaMalloc")) return e;
    *p = dev_alloc(n);
    return *p ? cudaSuccess : set_error(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void *p)
{
    if (const cudaError_t e = not_while_capturing("cudaFree")) return e;
    drain_all(false);
    if (p) dev_free(p);
    return cudaSuccess;
}
cudaError_t cudaMallocAsync(void **p, size_t n, cudaStream_t) { return cudaMalloc(p, n); }
cudaError_t cudaFreeAsync(void *p, cudaStream_t s)
{
    enqueue(s, [=] {
        if (p) dev_free(p);
    });
    return cudaSuccess;
}
cudaError_t cudaMallocHost(void **p, size_t n)
{
    if (const cudaError_t e = not_while_capturing("cudaMallocHost")) return e;
    return posix_memalign(p, 4096, n ? n : 1) ? set_error(cudaErrorMemoryAllocation) : cudaSuccess;
}
cudaError_t cudaHostAlloc(void **p, size_t n, unsigned) { return cudaMallocHost(p, n); }
cudaError_t cudaFreeHost(void *p)
{
    if (const cudaError_t e = not_while_capturing("cudaFreeHost")) return e;
    drain_all(false);
    free(p);
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *avail, size_t *total)
{
    return *avail = *total = (size_t)4 << 30, cudaSuccess;
}
/* Pinned memory is as any of the host's here. PLUMB_SIM_MANAGED=1: a machine whose GPU reaches all
 * memory of the host. */
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *a, const void *p)
{
    *a = {};
    if (dev_owner(p, &a->device))
        a->type = cudaMemoryTypeDevice, a->devicePointer = (void *)p;
    else
        a->type = env("PLUMB_SIM_MANAGED", 0) ? cudaMemoryTypeManaged : cudaMemoryTypeUnregistered,
        a->hostPointer = (void *)p;
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *d, const void *s, size_t n, cudaMemcpyKind k, cudaStream_t st)
{
    enqueue(st, [=] { set_error(dev_copy(d, s, n, k)); });
    return cudaPeekAtLastError();
}
cudaError_t cudaMemcpy(void *d, const void *s, size_t n, cudaMemcpyKind k)
{
    return cudaMemcpyAsync(d, s, n, k, nullptr);
}
cudaError_t cudaMemcpy2DAsync(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h,
                              cudaMemcpyKind k, cudaStream_t st)
{
    enqueue(st, [=] {
        for (size_t i = 0; i < h; i++)
            set_error(dev_copy((char *)d + i * dp, (const char *)s + i * sp, w, k));
    });
    return cudaPeekAtLastError();
}
cudaError_t cudaMemcpy2D(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h,
                         cudaMemcpyKind k)
{
    return cudaMemcpy2DAsync(d, dp, s, sp, w, h, k, nullptr);
}
cudaError_t cudaMemsetAsync(void *d, int v, size_t n, cudaStream_t st)
{
    enqueue(st, [=] { set_error(dev_set(d, v, n)); });
    return cudaPeekAtLastError();
}
cudaError_t cudaMemset(void *d, int v, size_t n) { return cudaMemsetAsync(d, v, n, nullptr); }
cudaError_t cudaMemcpyToSymbol(const void *sym, const void *s, size_t n, size_t off, cudaMemcpyKind)
{
    drain_all(true);
    memcpy((char *)sym + off, s, n);
    return cudaSuccess;
}
cudaError_t cudaMemcpyFromSymbol(void *d, const void *sym, size_t n, size_t off, cudaMemcpyKind)
{
    drain_all(true);
    memcpy(d, (const char *)sym + off, n);
    return cudaSuccess;
}

/* ---- kernels --------------------------------------------------------------------------------- */
cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute a, int v)
{
    return a == cudaFuncAttributeMaxDynamicSharedMemorySize && v > 227 << 10
               ? set_error(cudaErrorInvalidValue)
               : cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, const void *)
{
    memset((void *)a, 0, sizeof *a);
    a->maxThreadsPerBlock = 1024;
    return cudaSuccess;
}
/* By threads and dynamic shared memory only: registers are not known here. */
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *, int threads,
                                                          size_t shared)
{
    if (threads < 1 || threads > 1024) return set_error(cudaErrorInvalidValue);
    *n = std::min(2048 / ((threads + 31) / 32 * 32), (int)((228 << 10) / (shared + 1024)));
    return cudaSuccess;
}
}
