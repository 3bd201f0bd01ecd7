/* Small kernels in plain CUDA, each typical of the engine: what the executor is tested with. */
#pragma once
#include "kernels/gpu_mma.h"

PLUMB_DEVICE float warp_max(float v)
{
    for (int o = 16; o; o >>= 1)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
    return v;
}
PLUMB_DEVICE float warp_sum(float v)
{
    for (int o = 16; o; o >>= 1)
        v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}

/* logp of one target per row and lse, fp32 logits: a block per row, one read, online (max, sum). */
struct logprob_args {
    const float *logits; /* (N,V), V a multiple of 4 */
    const int *target;   /* (N), in [0,V) */
    float *logp, *lse;   /* (N) out */
    int N, V;
};
template <int BLOCK>
__global__ void __launch_bounds__(BLOCK) logprob_f32(const __grid_constant__ logprob_args a)
{
    __shared__ float part_m[BLOCK / 32], part_s[BLOCK / 32];
    const float *row = a.logits + (size_t)blockIdx.x * a.V;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float m = -INFINITY, s = 0.0f;
    for (int i = threadIdx.x * 4; i < a.V; i += BLOCK * 4) {
        const plumb_vec<float> x = plumb_ldcs16(row + i);
        const float top = fmaxf(fmaxf(x.v[0], x.v[1]), fmaxf(x.v[2], x.v[3]));
        if (top > m) {
            s *= expf(m - top);
            m = top;
        }
        for (int k = 0; k < 4; k++)
            s += expf(x.v[k] - m);
    }
    const float wm = warp_max(m);
    s = warp_sum(m == -INFINITY ? 0.0f : s * expf(m - wm));
    if (lane == 0) part_m[warp] = wm, part_s[warp] = s;
    __syncthreads();
    if (warp == 0) {
        const float bm = lane < BLOCK / 32 ? part_m[lane] : -INFINITY;
        const float bs = lane < BLOCK / 32 ? part_s[lane] : 0.0f;
        const float top = warp_max(bm);
        const float sum = warp_sum(bm == -INFINITY ? 0.0f : bs * expf(bm - top));
        if (lane == 0) {
            const float z = top + logf(sum);
            a.lse[blockIdx.x] = z;
            a.logp[blockIdx.x] = row[a.target[blockIdx.x]] - z;
        }
    }
}

/* The same over bf16 logits in two reads, eight elements to a 16-byte load. */
template <int BLOCK>
__global__ void __launch_bounds__(BLOCK)
    logprob_bf16(const __nv_bfloat16 *logits, const int *target, float *logp, int V)
{
    __shared__ float red[BLOCK / 32 + 1];
    const __nv_bfloat16 *row = logits + (size_t)blockIdx.x * V;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float m = -INFINITY, s = 0.0f;
    for (int i = threadIdx.x * 8; i < V; i += BLOCK * 8) {
        const plumb_vec<__nv_bfloat16> x = plumb_ldg16(row + i);
        for (int k = 0; k < 8; k++)
            m = fmaxf(m, __bfloat162float(x.v[k]));
    }
    m = warp_max(m);
    if (lane == 0) red[warp] = m;
    __syncthreads();
    if (threadIdx.x == 0) {
        float t = red[0];
        for (int i = 1; i < BLOCK / 32; i++)
            t = fmaxf(t, red[i]);
        red[BLOCK / 32] = t;
    }
    __syncthreads();
    m = red[BLOCK / 32];
    for (int i = threadIdx.x * 8; i < V; i += BLOCK * 8) {
        const plumb_vec<__nv_bfloat16> x = plumb_ldg16(row + i);
        for (int k = 0; k < 8; k++)
            s += expf(__bfloat162float(x.v[k]) - m);
    }
    s = warp_sum(s);
    __syncthreads();
    if (lane == 0) red[warp] = s;
    __syncthreads();
    if (threadIdx.x == 0) {
        float t = 0.0f;
        for (int i = 0; i < BLOCK / 32; i++)
            t += red[i];
        logp[blockIdx.x] = __bfloat162float(row[target[blockIdx.x]]) - m - logf(t);
    }
}

/* y = x * w / sqrt(mean(x^2) + eps). One warp per row, 8 warps a block; x is read twice. */
struct rmsnorm_args {
    float *y, *rstd;    /* (N,D), (N) out */
    const float *x, *w; /* (N,D), (D) in */
    int N, D;
    float eps;
};
__global__ void rmsnorm_fwd(const __grid_constant__ rmsnorm_args a)
{
    const int n = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (n >= a.N) return; /* the whole warp leaves together */
    const float *x = a.x + (size_t)n * a.D;
    float ss = 0.0f;
    for (int d = lane; d < a.D; d += 32)
        ss += x[d] * x[d];
    const float r = rsqrtf(warp_sum(ss) / (float)a.D + a.eps);
    for (int d = lane; d < a.D; d += 32)
        a.y[(size_t)n * a.D + d] = x[d] * r * a.w[d];
    if (lane == 0) a.rstd[n] = r;
}

/* The same with the row kept in registers: one read. D = 32 * 4 * VECS at most, D % 4 == 0. */
template <int VECS> __global__ void rmsnorm_fwd_regs(const __grid_constant__ rmsnorm_args a)
{
    const int n = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (n >= a.N) return;
    plumb_vec<float> x[VECS];
    float ss = 0.0f;
    PLUMB_UNROLL
    for (int i = 0; i < VECS; i++) {
        const int d = (i * 32 + lane) * 4;
        if (d >= a.D) continue;
        x[i] = plumb_ldcs16(a.x + (size_t)n * a.D + d);
        for (int k = 0; k < 4; k++)
            ss += x[i].v[k] * x[i].v[k];
    }
    const float r = rsqrtf(warp_sum(ss) / (float)a.D + a.eps);
    PLUMB_UNROLL
    for (int i = 0; i < VECS; i++) {
        const int d = (i * 32 + lane) * 4;
        if (d >= a.D) continue;
        const plumb_vec<float> w = plumb_ldg16(a.w + d);
        for (int k = 0; k < 4; k++)
            x[i].v[k] *= r * w.v[k];
        plumb_st16(a.y + (size_t)n * a.D + d, x[i]);
    }
    if (lane == 0) a.rstd[n] = r;
}

/* Sum of n floats: block partials in shared memory, one float per block out. Cooperative groups. */
template <int BLOCK> __global__ void block_sum(const float *x, float *partial, size_t n)
{
    namespace cg = cooperative_groups;
    const cg::thread_block block = cg::this_thread_block();
    const cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
    __shared__ float red[BLOCK / 32];
    float s = 0.0f;
    for (size_t i = blockIdx.x * (size_t)BLOCK + threadIdx.x; i < n; i += (size_t)gridDim.x * BLOCK)
        s += x[i];
    for (int o = 16; o; o >>= 1)
        s += warp.shfl_down(s, o);
    if (warp.thread_rank() == 0) red[warp.meta_group_rank()] = s;
    block.sync();
    if (block.thread_rank() == 0) {
        float t = 0.0f;
        for (int i = 0; i < BLOCK / 32; i++)
            t += red[i];
        partial[blockIdx.x] = t;
    }
}

/* A[t] = d[t] + gamma lambda A[t+1], one row per block: a reverse scan of affine maps by
 * shuffles. */
template <int BLOCK>
__global__ void gae(const float *reward, const float *value, float *adv, int T, float gamma,
                    float lambda)
{
    __shared__ float map_a[BLOCK / 32], map_b[BLOCK / 32];
    const float *r = reward + (size_t)blockIdx.x * T, *v = value + (size_t)blockIdx.x * (T + 1);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float carry = 0.0f;
    for (int base = (T - 1) / BLOCK * BLOCK; base >= 0; base -= BLOCK) {
        const int t = base + (BLOCK - 1 - (int)threadIdx.x); /* thread 0 has the last step */
        float a = 1.0f, b = 0.0f;                            /* y = a * next + b */
        if (t < T) a = gamma * lambda, b = r[t] + gamma * v[t + 1] - v[t];
        for (int o = 1; o < 32; o <<= 1) {
            const float pa = __shfl_up_sync(0xffffffffu, a, o),
                        pb = __shfl_up_sync(0xffffffffu, b, o);
            if (lane >= o) b = a * pb + b, a = a * pa;
        }
        if (lane == 31) map_a[warp] = a, map_b[warp] = b;
        __syncthreads();
        float c = carry;
        for (int i = 0; i < warp; i++)
            c = map_a[i] * c + map_b[i];
        if (t < T) adv[(size_t)blockIdx.x * T + t] = a * c + b;
        for (int i = 0; i < BLOCK / 32; i++)
            carry = map_a[i] * carry + map_b[i];
        __syncthreads();
    }
}

/* Masked sum and count, one atomic a block. */
__global__ void masked_sum(const float *x, const unsigned char *mask, float *sum, int *count,
                           size_t n)
{
    __shared__ float block_s;
    __shared__ int block_c;
    float s = 0.0f;
    int c = 0;
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        if (mask[i]) s += x[i], c++;
    s = warp_sum(s);
    c = __reduce_add_sync(0xffffffffu, c);
    if (threadIdx.x == 0) block_s = 0.0f, block_c = 0;
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        atomicAdd(&block_s, s);
        atomicAdd(&block_c, c);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicAdd(sum, block_s);
        atomicAdd(count, block_c);
    }
}

/* y = x transposed, 32x32 tiles; PAD = 1 avoids bank conflicts, NAIVE reads columns directly. */
template <int PAD> __global__ void transpose(const float *x, float *y, int rows, int cols)
{
    __shared__ float tile[32][32 + PAD];
    const int c = blockIdx.x * 32 + threadIdx.x, r0 = blockIdx.y * 32;
    for (int r = threadIdx.y; r < 32; r += 8)
        tile[r][threadIdx.x] = x[(size_t)(r0 + r) * cols + c];
    __syncthreads();
    for (int r = threadIdx.y; r < 32; r += 8)
        y[(size_t)(blockIdx.x * 32 + r) * rows + r0 + threadIdx.x] = tile[threadIdx.x][r];
}
__global__ void transpose_naive(const float *x, float *y, int rows, int cols)
{
    const int r = blockIdx.x * 32 + threadIdx.x, c = blockIdx.y * 8 + threadIdx.y;
    y[(size_t)c * rows + r] = x[(size_t)r * cols + c];
}

/* C = A (MxK) B (KxN), fp32, 16x16 threads, tiles in dynamic shared memory. */
__global__ void gemm_tiled(const float *A, const float *B, float *C, int N, int K)
{
    PLUMB_DYN_SHARED(float, s);
    float *sa = s, *sb = s + 256;
    const int tx = threadIdx.x, ty = threadIdx.y, r = blockIdx.y * 16 + ty,
              c = blockIdx.x * 16 + tx;
    float acc = 0.0f;
    for (int k = 0; k < K; k += 16) {
        sa[ty * 16 + tx] = A[(size_t)r * K + k + tx];
        sb[ty * 16 + tx] = B[(size_t)(k + ty) * N + c];
        __syncthreads();
        for (int i = 0; i < 16; i++)
            acc = fmaf(sa[ty * 16 + i], sb[i * 16 + tx], acc);
        __syncthreads();
    }
    C[(size_t)r * N + c] = acc;
}

/* bf16 C = alpha A (MxK, row) B (NxK, row)^T by wmma, a warp per 16x16 tile. */
__global__ void gemm_wmma(const __nv_bfloat16 *A, const __nv_bfloat16 *B, float *C, int N, int K,
                          float alpha)
{
    using namespace nvcuda;
    const int tm = blockIdx.y * blockDim.y + threadIdx.y, tn = blockIdx.x;
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major> a;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, wmma::col_major> b;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc;
    wmma::fill_fragment(acc, 0.0f);
    for (int k = 0; k < K; k += 16) {
        wmma::load_matrix_sync(a, A + (size_t)tm * 16 * K + k, K);
        wmma::load_matrix_sync(b, B + (size_t)tn * 16 * K + k, K);
        wmma::mma_sync(acc, a, b, acc);
    }
    for (int i = 0; i < acc.num_elements; i++)
        acc.x[i] *= alpha;
    wmma::store_matrix_sync(C + (size_t)tm * 16 * N + tn * 16, acc, N, wmma::mem_row_major);
}

/* The same by mma.sync: a warp per 16x16 tile, cp.async in two stages, ldmatrix. Rows of a stage
 * are padded to 24 elements (48 bytes) so that the 8 rows of an ldmatrix lie in different banks. */
__global__ void gemm_mma(const __nv_bfloat16 *A, const __nv_bfloat16 *B, float *C, int N, int K)
{
    __shared__ __align__(16) __nv_bfloat16 sa[2][16][24], sb[2][16][24];
    const int lane = threadIdx.x, row = lane / 2, col = lane % 2 * 8;
    const __nv_bfloat16 *ga = A + ((size_t)blockIdx.y * 16 + row) * K + col;
    const __nv_bfloat16 *gb = B + ((size_t)blockIdx.x * 16 + row) * K + col;
    float acc[2][4] = {};
    plumb_cp_async16(&sa[0][row][col], ga);
    plumb_cp_async16(&sb[0][row][col], gb);
    plumb_cp_async_commit();
    for (int k = 0; k < K; k += 16) {
        const int now = k / 16 % 2;
        if (k + 16 < K) {
            plumb_cp_async16(&sa[now ^ 1][row][col], ga + k + 16);
            plumb_cp_async16(&sb[now ^ 1][row][col], gb + k + 16);
        }
        plumb_cp_async_commit();
        plumb_cp_async_wait<1>();
        __syncwarp();
        uint32_t a[4], b[4];
        plumb_ldmatrix_x4(a, &sa[now][lane % 16][lane / 16 * 8]);
        plumb_ldmatrix_x4(b, &sb[now][lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8]);
        plumb_mma_bf16(acc[0], a, b, acc[0]);
        plumb_mma_bf16(acc[1], a, b + 2, acc[1]);
        __syncwarp();
    }
    const int g = lane / 4, t = lane % 4 * 2;
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < 4; i++)
            C[((size_t)blockIdx.y * 16 + g + i / 2 * 8) * N + blockIdx.x * 16 + j * 8 + t + i % 2] =
                acc[j][i];
}
