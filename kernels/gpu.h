/* All that a kernel includes. One .cu source, two executors: nvcc compiles it for a GPU; a C++
 * compiler builds the same file for the executor in tests/hostcuda, which runs each block as
 * fibers on the CPU. docs/cuda.md says how a kernel is written.
 *   PLUMB_LAUNCH(kernel, grid, block, shared_bytes, stream, args...)  instead of <<<>>>; a
 *       template kernel with a comma in its name goes in parentheses
 *   PLUMB_DYN_SHARED(T, name)   declares T *name, the block's dynamic shared memory
 *   plumb_ld16, ldg16, ldcs16, st16, stcs16   one 16-byte access
 *   PLUMB_GPU_OP(entry, args)   makes `static int entry(dev, const struct args *)` callable */
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <plumb/backend.h>
#include <stddef.h>
#include <stdint.h>
#include <utility>

/* 16 bytes of T in registers: 4 floats, 8 bf16. */
template <class T> struct alignas(16) plumb_vec {
    enum { n = 16 / sizeof(T) };
    T v[n];
};

#define PLUMB_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                               \
    plumb_launch(#kernel, kernel, grid, block, shared_bytes, stream, __VA_ARGS__)

#if defined(__CUDACC__)
#include <cooperative_groups.h>
#include <mma.h>
#define PLUMB_DEVICE static __device__ __forceinline__
#define PLUMB_UNROLL _Pragma("unroll")
#define PLUMB_DYN_SHARED(T, name)                                                                  \
    extern __shared__ __align__(16) unsigned char plumb_dyn_shared[];                              \
    T *name = reinterpret_cast<T *>(plumb_dyn_shared)

/* Raises the dynamic shared memory limit when more than the default 48 KiB is asked for. */
template <class... P, class... A>
inline cudaError_t plumb_launch(const char *, void (*kernel)(P...), dim3 grid, dim3 block,
                                size_t shared_bytes, cudaStream_t stream, A &&...a)
{
    if (shared_bytes > 48 * 1024) {
        const cudaError_t e = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   (int)shared_bytes);
        if (e) return e;
    }
    kernel<<<grid, block, shared_bytes, stream>>>(static_cast<P>(std::forward<A>(a))...);
    return cudaGetLastError();
}

template <class T> PLUMB_DEVICE plumb_vec<T> plumb_vec_of(uint4 u)
{
    return reinterpret_cast<const plumb_vec<T> &>(u);
}
template <class T> PLUMB_DEVICE plumb_vec<T> plumb_ld16(const T *p)
{
    return plumb_vec_of<T>(*reinterpret_cast<const uint4 *>(p));
}
template <class T> PLUMB_DEVICE plumb_vec<T> plumb_ldg16(const T *p)
{
    return plumb_vec_of<T>(__ldg(reinterpret_cast<const uint4 *>(p)));
}
template <class T> PLUMB_DEVICE plumb_vec<T> plumb_ldcs16(const T *p)
{
    return plumb_vec_of<T>(__ldcs(reinterpret_cast<const uint4 *>(p)));
}
template <class T> PLUMB_DEVICE void plumb_st16(T *p, const plumb_vec<T> &x)
{
    *reinterpret_cast<uint4 *>(p) = reinterpret_cast<const uint4 &>(x);
}
template <class T> PLUMB_DEVICE void plumb_stcs16(T *p, const plumb_vec<T> &x)
{
    __stcs(reinterpret_cast<uint4 *>(p), reinterpret_cast<const uint4 &>(x));
}
#else
#include <sim.h>
#endif

/* Storage types to and from the float that all arithmetic is done in. */
PLUMB_DEVICE float plumb_wide(float x) { return x; }
PLUMB_DEVICE float plumb_wide(__nv_bfloat16 x) { return __bfloat162float(x); }
PLUMB_DEVICE void plumb_narrow(float *to, float x) { *to = x; }
PLUMB_DEVICE void plumb_narrow(__nv_bfloat16 *to, float x) { *to = __float2bfloat16_rn(x); }

static inline cudaStream_t plumb_gpu_stream(const struct plumb_device *dev)
{
    return static_cast<cudaStream_t>(dev->stream);
}

/* What an opened device keeps: dev->state. */
struct plumb_gpu_state {
    void *products;      /* kernels/matmul's */
    cudaStream_t copies; /* uploads that need not wait for the ops queued before them */
    cudaEvent_t arrived; /* of the last of those */
};
static inline struct plumb_gpu_state *plumb_gpu_state(const struct plumb_device *dev)
{
    return static_cast<struct plumb_gpu_state *>(dev->state);
}

/* A status from what the runtime said about a launch of `op`. */
static inline int plumb_gpu_status(cudaError_t e, const char *op)
{
    if (e == cudaSuccess) return PLUMB_OK;
    return plumb_fail(e == cudaErrorMemoryAllocation ? PLUMB_EMEM : PLUMB_EIO, "%s: CUDA: %s", op,
                      cudaGetErrorString(e));
}

/* Bytes of an element; the backend does not link the library's own table. */
static inline size_t plumb_gpu_bytes(enum plumb_dtype t) { return t == PLUMB_BF16 ? 2 : 4; }

/* Whether 16-byte accesses are possible: from `p` on, in rows `ld` elements apart. */
template <class T> static inline bool plumb_aligned16(const T *p, int64_t ld)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0 && ld % plumb_vec<T>::n == 0;
}

static inline int64_t plumb_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* The backend's entries register themselves, so that a new op edits no list. */
struct plumb_gpu_entry {
    struct plumb_backend_op op;
    struct plumb_gpu_entry *next;
};
bool plumb_gpu_register(struct plumb_gpu_entry *e);
typedef int64_t plumb_gpu_call(const struct plumb_device *dev, const void *args);
/* Runs an entry; with PLUMB_CUDA_GRAPH=1 as a captured graph, which an op that allocates or waits
 * cannot become. */
int64_t plumb_gpu_run(const struct plumb_device *dev, const void *args, plumb_gpu_call *call);

#define PLUMB_GPU_ENTRY_(entry, args)                                                              \
    static int64_t entry##_call(const struct plumb_device *dev, const void *a)                     \
    {                                                                                              \
        return (int64_t)entry(dev, static_cast<const struct args *>(a));                           \
    }                                                                                              \
    static int64_t entry##_run(const struct plumb_device *dev, const void *a)                      \
    {                                                                                              \
        return plumb_gpu_run(dev, a, entry##_call);                                                \
    }                                                                                              \
    static struct plumb_gpu_entry entry##_row = { { #entry, sizeof(struct args), entry##_run },    \
                                                  NULL };                                          \
    extern const bool entry##_registered;                                                          \
    const bool entry##_registered = plumb_gpu_register(&entry##_row)
#define PLUMB_GPU_OP(entry, args) PLUMB_GPU_ENTRY_(entry, args)
