/* bf16 products by mma.sync m16n8k16 with f32 sums. An element is one chain of instructions over k
 * in steps of 16, whatever the tile, so its bits depend on its row of A and column of B alone. */
#include "kernels/gpu_mma.h"
#include "kernels/matmul/matmul_tile.h"

/* A form of the kernel: which operands are transposed, and SHORT tiles for few rows. */
enum { TRANS_A = 1, TRANS_B = 2, SHORT = 4 };
/* DEPTH elements of k a stage; operands move in chunks of 16 bytes. */
enum { DEPTH = 32, CHUNK = 8 };

/* Tile of C, warps along rows and columns, stages of the pipeline. */
template <int F> struct mma_form {
    static constexpr int rows = F & SHORT ? 16 : 128, cols = F & SHORT ? 64 : 128;
    static constexpr int down = F & SHORT ? 1 : 2, across = 4, threads = 32 * down * across;
    static constexpr int high = rows / down / 16;  /* fragments of A of a warp */
    static constexpr int wide = cols / across / 8; /* fragments of B */
    static constexpr int stages = F & SHORT ? 8 : 4, stage = (rows + cols) * DEPTH;
    static constexpr int bytes = 2 * stages * stage;
};

/* One operand: `along_k` when its stored rows run along k. */
struct mma_side {
    const uint16_t *p;
    int64_t ld, rows, cols; /* as stored */
    bool wide;
};

/* Where chunk c of row r of a tile lies. The eight rows of a column of chunks, which ldmatrix reads
 * at once, are in eight different bank groups, and so are eight neighbouring chunks. */
PLUMB_DEVICE int slot(int r, int c, bool along_k, int edge)
{
    return along_k ? r * DEPTH + (c ^ (r >> 1 & 3)) * CHUNK : r * edge + (c ^ (r & 7)) * CHUNK;
}

/* A chunk to shared memory, zeros outside the matrix: asynchronously where it is whole and
 * aligned. */
PLUMB_DEVICE void copy_chunk(uint16_t *to, const struct mma_side *s, int64_t row, int64_t col)
{
    const int64_t left = row < s->rows ? s->cols - col : 0;
    const uint16_t *from = s->p + row * s->ld + col;
    if (s->wide && (left >= CHUNK || left <= 0)) {
        plumb_cp_async16(to, left > 0 ? from : s->p, left > 0);
        return;
    }
    plumb_vec<uint16_t> v;
    PLUMB_UNROLL for (int i = 0; i < CHUNK; i++) v.v[i] = i < left ? from[i] : (uint16_t)0;
    plumb_st16(to, v);
}

/* The tile of `edge` rows (columns) of C from e on, DEPTH elements of k from k on. */
PLUMB_DEVICE void fill(uint16_t *tile, const struct mma_side *s, bool along_k, int edge, int64_t e,
                       int64_t k, int threads)
{
    const int chunks = along_k ? DEPTH / CHUNK : edge / CHUNK, count = edge * DEPTH / CHUNK;
    PLUMB_UNROLL for (int i = 0; i < count; i += threads)
    {
        const int at = i + (int)threadIdx.x, r = at / chunks, c = at % chunks;
        if (at >= count) break;
        copy_chunk(tile + slot(r, c, along_k, edge), s, (along_k ? e : k) + r,
                   (along_k ? k : e) + c * CHUNK);
    }
}

/* Fragment of A: rows m .. m+15 of the tile, elements k .. k+15. */
template <int F> PLUMB_DEVICE void take_a(uint32_t a[4], const uint16_t *tile, int m, int k)
{
    const int lane = (int)threadIdx.x % 32, i = lane / 8, r = lane % 8, edge = mma_form<F>::rows;
    if (F & TRANS_A)
        plumb_ldmatrix_x4_trans(a, tile + slot(k + i / 2 * 8 + r, m / 8 + i % 2, false, edge));
    else
        plumb_ldmatrix_x4(a, tile + slot(m + i % 2 * 8 + r, k / 8 + i / 2, true, edge));
}

/* Fragments of B for columns n .. n+7 and n+8 .. n+15. */
template <int F> PLUMB_DEVICE void take_b(uint32_t b[4], const uint16_t *tile, int n, int k)
{
    const int lane = (int)threadIdx.x % 32, i = lane / 8, r = lane % 8, edge = mma_form<F>::cols;
    if (F & TRANS_B)
        plumb_ldmatrix_x4(b, tile + slot(n + i / 2 * 8 + r, k / 8 + i % 2, true, edge));
    else
        plumb_ldmatrix_x4_trans(b, tile + slot(k + i % 2 * 8 + r, n / 8 + i / 2, false, edge));
}

template <int F>
PLUMB_DEVICE void multiply(float (*sum)[mma_form<F>::wide][4], const uint16_t *x, const uint16_t *y,
                           int m, int n)
{
    PLUMB_UNROLL for (int k = 0; k < DEPTH; k += 16)
    {
        uint32_t a[mma_form<F>::high][4], b[mma_form<F>::wide / 2][4];
        PLUMB_UNROLL for (int i = 0; i < mma_form<F>::high; i++) take_a<F>(a[i], x, m + 16 * i, k);
        PLUMB_UNROLL for (int i = 0; i < mma_form<F>::wide / 2; i++)
            take_b<F>(b[i], y, n + 16 * i, k);
        PLUMB_UNROLL for (int i = 0; i < mma_form<F>::high; i++)
            PLUMB_UNROLL for (int c = 0; c < mma_form<F>::wide; c++)
                plumb_mma_bf16(sum[i][c], a[i], &b[c / 2][c % 2 * 2], sum[i][c]);
    }
}

/* Lane 4g+t holds columns 2t and 2t+1 of rows g and g+8 of each fragment. */
template <int F>
PLUMB_DEVICE void put(const struct matmul_job *j, const float (*sum)[mma_form<F>::wide][4],
                      int64_t m, int64_t n)
{
    const int lane = (int)threadIdx.x % 32;
    PLUMB_UNROLL for (int i = 0; i < mma_form<F>::high; i++)
        PLUMB_UNROLL for (int c = 0; c < mma_form<F>::wide; c++)
            PLUMB_UNROLL for (int half = 0; half < 2; half++)
                matmul_put_pair(j, sum[i][c][2 * half], sum[i][c][2 * half + 1],
                                m + 16 * i + 8 * half + lane / 4, n + 8 * c + lane % 4 * 2);
}

/* A block makes one tile of C; the next stages of A and B are under way while it multiplies. */
template <int F>
__global__ void __launch_bounds__(mma_form<F>::threads) matmul_mma(struct matmul_job j)
{
    typedef struct mma_form<F> f;
    PLUMB_DYN_SHARED(uint16_t, shared);
    const bool ta = F & TRANS_A, tb = F & TRANS_B;
    const struct mma_side a = { (const uint16_t *)j.a, j.lda, ta ? j.K : j.M, ta ? j.M : j.K,
                                j.wide_a };
    const struct mma_side b = { (const uint16_t *)j.b, j.ldb, tb ? j.N : j.K, tb ? j.K : j.N,
                                j.wide_b };
    const int warp = (int)threadIdx.x / 32;
    const int row = warp / f::across * 16 * f::high, col = warp % f::across * 8 * f::wide;
    const int64_t steps = (j.K + DEPTH - 1) / DEPTH;
    float sum[f::high][f::wide][4] = {};
    int64_t m, n;
    matmul_tile_at(&j, f::rows, f::cols, &m, &n);
    for (int64_t s = 1 - f::stages; s < steps; s++) {
        const int64_t ahead = s + f::stages - 1; /* the stage that its last readers have left */
        if (s >= 0) {
            plumb_cp_async_wait<f::stages - 2>();
            __syncthreads();
        }
        if (ahead < steps) {
            uint16_t *to = shared + ahead % f::stages * f::stage;
            fill(to, &a, !ta, f::rows, m, ahead * DEPTH, f::threads);
            fill(to + f::rows * DEPTH, &b, tb, f::cols, n, ahead * DEPTH, f::threads);
        }
        plumb_cp_async_commit();
        if (s < 0) continue;
        const uint16_t *x = shared + s % f::stages * f::stage;
        multiply<F>(sum, x, x + f::rows * DEPTH, row, col);
    }
    put<F>(&j, sum, m + row, n + col);
}

template <int F> static cudaError_t launch(const struct matmul_job *j, cudaStream_t stream)
{
    return PLUMB_LAUNCH(matmul_mma<F>, matmul_tiles(j, mma_form<F>::rows, mma_form<F>::cols),
                        mma_form<F>::threads, mma_form<F>::bytes, stream, *j);
}

/* Few rows against a weight matrix, as in sampling: more and smaller tiles read it in parallel. */
enum { FEW = 64 };

cudaError_t matmul_mma_launch(const struct matmul_job *j, cudaStream_t stream)
{
    if (!j->trans_a && j->trans_b)
        return j->M <= FEW ? launch<TRANS_B | SHORT>(j, stream) : launch<TRANS_B>(j, stream);
    if (j->trans_a) return j->trans_b ? launch<3>(j, stream) : launch<TRANS_A>(j, stream);
    return launch<0>(j, stream);
}
