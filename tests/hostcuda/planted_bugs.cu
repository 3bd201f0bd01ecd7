/* One planted fault per name, and `control`, which is clean. planted_bugs NAME must end with a
 * non-zero status in a sanitised or checking build, and with 0 for the control in all of them;
 * planted_bugs.cmake runs the lot. Without a name: prints the names. Work on created streams is
 * put off (PLUMB_SIM_LAZY=1), as late as CUDA allows. */
#include <cublasLt.h>

#include "tests/hostcuda/demo_kernels.h"
#include "tests/hostcuda/selftest.h"

struct arrays {
    Dev<float> small{ 100 }, big{ 8192 }; /* zeros */
    float *heap = (float *)calloc(64, sizeof(float));
    ~arrays() { free(heap); }
};
typedef cudaError_t plant(arrays &m);

/* ---- shared memory ---- */
static __global__ void clean(float *o)
{
    __shared__ float s[64];
    s[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    o[threadIdx.x] = s[63 - threadIdx.x];
}
static __global__ void shared_overrun(float *o)
{
    __shared__ float s[64];
    s[threadIdx.x + (threadIdx.x == 63)] = 1.0f;
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x];
}
static __global__ void dynamic_overrun(float *o)
{
    PLUMB_DYN_SHARED(float, s);
    s[threadIdx.x + (threadIdx.x == 63)] = 1.0f;
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x];
}
static __global__ void unset_shared(float *o)
{
    __shared__ float s[64];
    if (threadIdx.x < 63) s[threadIdx.x] = 1.0f;
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x];
}
static __global__ void race_shared(float *o)
{
    __shared__ float s[64];
    s[threadIdx.x] = (float)threadIdx.x;
    o[threadIdx.x] = s[63 - threadIdx.x];
}
static __global__ void race_warp(float *o) /* lacks __syncwarp */
{
    __shared__ float s[32];
    s[threadIdx.x] = (float)threadIdx.x;
    o[threadIdx.x] = s[threadIdx.x ^ 1];
}
static __global__ void shared_reuse(const float *x, float *o) /* no barrier between two uses of s */
{
    __shared__ float s[2];
    for (int r = 0; r < 2; r++) {
        const float v = warp_sum(x[r * 64 + threadIdx.x]);
        if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = v;
        __syncthreads();
        if (threadIdx.x == 0) o[r] = s[0] + s[1];
    }
}
static __global__ void tile_reuse(const float *A, const float *B, float *C, int n)
{
    PLUMB_DYN_SHARED(float, s);
    const int t = threadIdx.x, r = t / 16, c = t % 16;
    float acc = 0.0f;
    for (int k = 0; k < n; k += 16) {
        s[t] = A[r * n + k + c];
        s[256 + t] = B[(k + r) * 16 + c];
        __syncthreads();
        for (int i = 0; i < 16; i++)
            acc += s[r * 16 + i] * s[256 + i * 16 + c];
    }
    C[t] = acc;
}

/* ---- global memory ---- */
static __global__ void off_by_one(float *o, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) o[i] = 1.0f;
}
static __global__ void race_blocks(float *o) { o[threadIdx.x] = (float)blockIdx.x; }
static __global__ void plain_beside_atomic(float *o)
{
    if (threadIdx.x < 32)
        atomicAdd(o, 1.0f);
    else if (threadIdx.x == 32)
        *o += 1.0f;
}
static __global__ void wrong_stride(const float *x, float *o, int width, int ld)
{
    o[threadIdx.x] = x[(size_t)threadIdx.x * (ld + 1) + width - 1];
}
static __global__ void tail_left_out(const float *x, float *o, int n) /* a loop of whole vectors */
{
    for (int i = threadIdx.x; i < n / 4; i += blockDim.x)
        plumb_st16(o + 4 * i, plumb_ld16(x + 4 * i));
}
static __global__ void copy_all(const float *x, float *o, int n)
{
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        o[i] = x[i];
}
static __global__ void bad_mask(const float *x, float *o, int n) /* counts padding as a key */
{
    float m = -INFINITY;
    for (int i = threadIdx.x; i < 96; i += 32)
        m = fmaxf(m, i <= n ? x[i] : -INFINITY);
    o[threadIdx.x] = warp_max(m);
}
static __global__ void read_through_host_pointer(const float *const *table, float *o)
{
    o[threadIdx.x] = table[0][threadIdx.x];
}
static __global__ void misaligned_float4(float *o)
{
    const float4 v = *reinterpret_cast<float4 *>(o + 1);
    o[threadIdx.x + 8] = v.x + v.y + v.z + v.w;
}
static __global__ void misaligned_ld16(const float *x, float *o)
{
    const plumb_vec<float> v = plumb_ld16(x + 1);
    o[threadIdx.x] = v.v[0] + v.v[3];
}
static __global__ void wide_shift(float *o, int n) { o[threadIdx.x] = (float)(1 << (n + 31)); }

/* ---- barriers and warp collectives ---- */
static __global__ void divergent_barrier(float *o)
{
    if (threadIdx.x < 32) {
        __syncthreads();
        o[threadIdx.x] = 1.0f;
    } else {
        o[threadIdx.x] = 2.0f;
        __syncthreads();
    }
}
static __global__ void uneven_trips(float *o)
{
    __shared__ float s;
    for (unsigned i = 0; i < 2 + threadIdx.x / 32; i++) {
        if (threadIdx.x == 0) s = 1.0f;
        __shfl_sync(threadIdx.x < 32 ? ~0u : 0xffffu, 1.0f, 0);
    }
    o[threadIdx.x] = s;
}
static __global__ void absent_source_lane(float *o)
{
    float v = (float)threadIdx.x;
    if (threadIdx.x < 16) v = __shfl_down_sync(0x0000ffffu, v, 8, 32);
    o[threadIdx.x] = v;
}
static __global__ void caller_not_in_mask(float *o)
{
    o[threadIdx.x] = __shfl_xor_sync(0x7fffffffu, 1.0f, 1);
}
static __global__ void stuck(float *o) /* lanes 8..31 of warp 1 go to the barrier */
{
    if (threadIdx.x < 40) __shfl_sync(~0u, 1.0f, 0);
    __syncthreads();
    o[threadIdx.x] = 1.0f;
}
static __global__ void early_exit(float *o) /* lane 31 has left, lane 30 reads it */
{
    if (threadIdx.x == 31) return;
    o[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1.0f, 1);
}

/* ---- asynchronous copies, matrices ---- */
static __global__ void no_copy_wait(const float *x, float *o)
{
    __shared__ __align__(16) float s[128];
    plumb_cp_async16(&s[threadIdx.x * 4], x + threadIdx.x * 4);
    plumb_cp_async_commit();
    __syncthreads();
    o[threadIdx.x] = s[threadIdx.x];
}
static __global__ void wait_too_few(const float *x, float *o) /* the newest group is in flight */
{
    __shared__ __align__(16) float s[2][128];
    for (int i = 0; i < 2; i++) {
        plumb_cp_async16(&s[i][threadIdx.x * 4], x + i * 128 + threadIdx.x * 4);
        plumb_cp_async_commit();
    }
    plumb_cp_async_wait<1>();
    __syncthreads();
    o[threadIdx.x] = s[1][threadIdx.x];
}
static __global__ void no_barrier_after_wait(const float *x, float *o)
{
    __shared__ __align__(16) float s[256];
    plumb_cp_async16(&s[threadIdx.x * 4], x + threadIdx.x * 4);
    plumb_cp_async_commit();
    plumb_cp_async_wait<0>();
    o[threadIdx.x] = s[255 - threadIdx.x];
}
static __global__ void misaligned_matrix_row(float *o)
{
    __shared__ __align__(16) uint16_t s[32 * 8 + 1];
    for (int i = threadIdx.x; i < 32 * 8 + 1; i += 32)
        s[i] = 0;
    __syncwarp();
    uint32_t r[4];
    plumb_ldmatrix_x4(r, &s[threadIdx.x * 8 + 1]);
    o[threadIdx.x] = (float)r[0];
}

/* ---- the faults, by name ---- */
#define SMALL m.small.d
#define BIG m.big.d
#define PLANT(name, ...)                                                                           \
    static cudaError_t plant_##name(arrays &m) { return PLUMB_LAUNCH(name, __VA_ARGS__); }
static cudaError_t plant_control(arrays &m) { return PLUMB_LAUNCH(clean, 1, 64, 0, 0, SMALL); }
PLANT(shared_overrun, 1, 64, 0, 0, SMALL)
PLANT(dynamic_overrun, 1, 64, 256, 0, SMALL)
PLANT(unset_shared, 1, 64, 0, 0, SMALL)
PLANT(race_shared, 1, 64, 0, 0, SMALL)
PLANT(race_warp, 1, 32, 0, 0, SMALL)
PLANT(shared_reuse, 1, 64, 0, 0, BIG, SMALL)
PLANT(tile_reuse, 1, 256, 2048, 0, BIG, BIG, BIG + 4096, 64)
PLANT(off_by_one, 2, 64, 0, 0, SMALL, 100)
PLANT(race_blocks, 3, 64, 0, 0, SMALL)
PLANT(plain_beside_atomic, 1, 64, 0, 0, SMALL)
PLANT(wrong_stride, 1, 64, 0, 0, BIG, SMALL, 128, 128)
PLANT(misaligned_float4, 1, 32, 0, 0, SMALL)
PLANT(misaligned_ld16, 1, 32, 0, 0, BIG, SMALL)
PLANT(wide_shift, 1, 32, 0, 0, SMALL, 5)
PLANT(divergent_barrier, 1, 64, 0, 0, SMALL)
PLANT(uneven_trips, 1, 64, 0, 0, SMALL)
PLANT(absent_source_lane, 1, 32, 0, 0, SMALL)
PLANT(caller_not_in_mask, 1, 32, 0, 0, SMALL)
PLANT(stuck, 1, 64, 0, 0, SMALL)
PLANT(early_exit, 1, 32, 0, 0, SMALL)
PLANT(no_copy_wait, 1, 32, 0, 0, BIG, SMALL)
PLANT(wait_too_few, 1, 32, 0, 0, BIG, SMALL)
PLANT(no_barrier_after_wait, 1, 64, 0, 0, BIG, SMALL)
PLANT(misaligned_matrix_row, 1, 32, 0, 0, SMALL)

static cudaError_t plant_tail_left_out(arrays &m)
{
    Dev<float> out(99); /* the last three elements are never written, but read by the next kernel */
    PLUMB_LAUNCH(tail_left_out, 1, 32, 0, 0, BIG, out.d, 99);
    return PLUMB_LAUNCH(copy_all, 1, 32, 0, 0, out.d, SMALL, 99);
}
static cudaError_t plant_bad_mask(arrays &m)
{
    Dev<float> keys(65); /* 64 keys, and the padding of a batch, which nobody wrote */
    cudaMemset(keys.d, 0, 64 * sizeof(float));
    return PLUMB_LAUNCH(bad_mask, 1, 32, 0, 0, keys.d, SMALL, 64);
}
static cudaError_t plant_host_pointer(arrays &m)
{
    return PLUMB_LAUNCH(race_blocks, 1, 64, 0, 0, m.heap);
}
static cudaError_t plant_host_table(arrays &m)
{
    const float *table[1] = { BIG };
    return PLUMB_LAUNCH(read_through_host_pointer, 1, 64, 0, 0, table, SMALL);
}
static cudaError_t plant_host_writes_device(arrays &m)
{
    SMALL[3] = 1.0f;
    return cudaSuccess;
}
static cudaError_t plant_copy_too_long(arrays &m)
{
    static float host[128];
    return cudaMemcpy(host, SMALL, 101 * sizeof(float), cudaMemcpyDeviceToHost);
}
static cudaError_t plant_use_after_free(arrays &)
{
    float *p;
    cudaMalloc(&p, 64 * sizeof(float));
    cudaFree(p);
    return PLUMB_LAUNCH(clean, 1, 64, 0, 0, p);
}
static cudaError_t plant_double_free(arrays &)
{
    float *p;
    cudaMalloc(&p, 64 * sizeof(float));
    cudaFree(p);
    return cudaFree(p);
}
static cudaError_t plant_unset_device_memory(arrays &m)
{
    Dev<float> x(128);
    return PLUMB_LAUNCH(shared_reuse, 1, 32, 0, 0, x.d, SMALL);
}
static cudaError_t plant_block_too_large(arrays &m)
{
    PLUMB_LAUNCH(clean, dim3(1), dim3(32, 64), 0, 0, SMALL);
    return cudaSuccess;
}
static cudaError_t plant_wrong_leading_dimension(arrays &m)
{
    const float one = 1, zero = 0;
    cublasLtMatmulDesc_t d;
    cublasLtMatrixLayout_t l, wide; /* row 7 of `wide` would end at element 120 of 100 */
    cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatrixLayoutCreate(&l, CUDA_R_32F, 8, 8, 8);
    cublasLtMatrixLayoutCreate(&wide, CUDA_R_32F, 8, 8, 16);
    cublasLtMatmul(nullptr, d, &one, BIG, l, SMALL, wide, &zero, BIG + 1024, l, BIG + 1024, l,
                   nullptr, nullptr, 0, 0);
    cublasLtMatrixLayoutDestroy(l), cublasLtMatrixLayoutDestroy(wide);
    cublasLtMatmulDescDestroy(d);
    return cudaSuccess;
}
/* The second stream reads what the first one is still to write. */
static cudaError_t plant_missing_event(arrays &)
{
    cudaStream_t a, b;
    Dev<float> x(64), y(64);
    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
    PLUMB_LAUNCH(clean, 1, 64, 0, a, x.d);
    PLUMB_LAUNCH(tail_left_out, 1, 32, 0, b, x.d, y.d, 64);
    cudaStreamSynchronize(b), cudaStreamSynchronize(a);
    y.down();
    cudaStreamDestroy(a), cudaStreamDestroy(b);
    return y.h[5] == 58.0f ? cudaSuccess : cudaErrorInvalidValue;
}
/* The result is read on the host before its stream was waited for. */
static cudaError_t plant_read_too_early(arrays &)
{
    cudaStream_t a;
    Dev<float> x(64);
    float *host;
    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaMallocHost(&host, x.bytes());
    memset(host, 0, x.bytes());
    PLUMB_LAUNCH(clean, 1, 64, 0, a, x.d);
    cudaMemcpyAsync(host, x.d, x.bytes(), cudaMemcpyDeviceToHost, a);
    const bool right = host[5] == 58.0f;
    cudaStreamSynchronize(a), cudaStreamDestroy(a);
    cudaFreeHost(host);
    return right ? cudaSuccess : cudaErrorInvalidValue;
}
/* An op that allocates cannot be captured. */
static cudaError_t plant_allocation_in_capture(arrays &)
{
    cudaStream_t a;
    cudaGraph_t graph;
    float *p = nullptr;
    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal);
    cudaMalloc(&p, 64);
    const cudaError_t e = cudaStreamEndCapture(a, &graph);
    cudaStreamDestroy(a);
    return e;
}

static const struct {
    const char *name;
    plant *run;
} plants[] = {
#define ROW(name)                                                                                  \
    {                                                                                              \
#name, plant_##name                                                                        \
    }
    ROW(control),
    ROW(shared_overrun),
    ROW(dynamic_overrun),
    ROW(unset_shared),
    ROW(race_shared),
    ROW(race_warp),
    ROW(shared_reuse),
    ROW(tile_reuse),
    ROW(off_by_one),
    ROW(race_blocks),
    ROW(plain_beside_atomic),
    ROW(wrong_stride),
    ROW(tail_left_out),
    ROW(bad_mask),
    ROW(misaligned_float4),
    ROW(misaligned_ld16),
    ROW(wide_shift),
    ROW(divergent_barrier),
    ROW(uneven_trips),
    ROW(absent_source_lane),
    ROW(caller_not_in_mask),
    ROW(stuck),
    ROW(early_exit),
    ROW(no_copy_wait),
    ROW(wait_too_few),
    ROW(no_barrier_after_wait),
    ROW(misaligned_matrix_row),
    ROW(host_pointer),
    ROW(host_table),
    ROW(host_writes_device),
    ROW(copy_too_long),
    ROW(use_after_free),
    ROW(double_free),
    ROW(unset_device_memory),
    ROW(block_too_large),
    ROW(wrong_leading_dimension),
    ROW(missing_event),
    ROW(read_too_early),
    ROW(allocation_in_capture),
};

int main(int argc, char **argv)
{
    for (const auto &p : plants) {
        if (argc < 2) printf("%s\n", p.name);
        if (argc < 2 || strcmp(argv[1], p.name)) continue;
        arrays m;
        m.small.zero(), m.big.zero();
        const cudaError_t e = p.run(m);
        printf("%s: %s\n", p.name, cudaGetErrorString(e));
        return e != cudaSuccess;
    }
    return argc < 2 ? 0 : 99;
}
