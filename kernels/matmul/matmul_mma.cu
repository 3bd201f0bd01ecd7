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

/* What a thread moves of an operand at every step: every `down`-th chunk of a column of chunks. */
struct mma_share {
    const uint16_t *next; /* where its first chunk lies */
    int64_t until;        /* the first k for which that one is not whole */
    unsigned good;        /* bit i: chunk i is aligned, and inside the matrix but for k */
};

/* A chunk to shared memory that is not whole or not aligned: zeros outside the matrix. */
PLUMB_DEVICE void copy_piece(uint16_t *to, const struct mma_side *s, int64_t row, int64_t col)
{
    const int64_t left = row < s->rows ? s->cols - col : 0;
    const uint16_t *from = s->p + row * s->ld + col;
    plumb_vec<uint16_t> v;
    PLUMB_UNROLL for (int i = 0; i < CHUNK; i++) v.v[i] = i < left ? from[i] : (uint16_t)0;
    plumb_st16(to, v);
}

/* This thread's share of the tile of `edge` rows (columns) of C from e on. */
PLUMB_DEVICE struct mma_share share_of(const struct mma_side *s, bool along_k, int edge, int64_t e,
                                       int threads)
{
    const int chunks = along_k ? DEPTH / CHUNK : edge / CHUNK, count = edge * DEPTH / CHUNK;
    const int r = (int)threadIdx.x / chunks, c = (int)threadIdx.x % chunks * CHUNK;
    const int64_t row = (along_k ? e : 0) + r, col = (along_k ? 0 : e) + c;
    struct mma_share mine = { s->p + row * s->ld + col,
                              along_k ? s->cols - c - CHUNK + 1 : s->rows - r, 0 };
    for (int i = 0; i * threads < count && s->wide; i++)
        if (along_k ? row + i * (threads / chunks) < s->rows : col + CHUNK <= s->cols)
            mine.good |= 1u << i;
    return mine;
}

/* Its next DEPTH elements of k, from k on. */
PLUMB_DEVICE void fill(uint16_t *tile, struct mma_share *mine, const struct mma_side *s,
                       bool along_k, int edge, int64_t e, int64_t k, int threads)
{
    const int chunks = along_k ? DEPTH / CHUNK : edge / CHUNK, count = edge * DEPTH / CHUNK;
    const int down = threads / chunks, c = (int)threadIdx.x % chunks;
    PLUMB_UNROLL for (int i = 0; i * threads < count; i++)
    {
        const int r = (int)threadIdx.x / chunks + i * down;
        if (i * threads + (int)threadIdx.x >= count) break;
        uint16_t *to = tile + slot(r, c, along_k, edge);
        if ((mine->good >> i & 1) && k + (along_k ? 0 : i * down) < mine->until)
            plumb_cp_async16(to, mine->next + i * down * s->ld);
        else
            copy_piece(to, s, (along_k ? e : k) + r, (along_k ? k : e) + c * CHUNK);
    }
    mine->next += along_k ? (int64_t)DEPTH : DEPTH * s->ld;
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
__global__ void __launch_bounds__(mma_form<F>::threads, 2) matmul_mma(struct matmul_job j)
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
    struct mma_share of_a = share_of(&a, !ta, f::rows, m, f::threads);
    struct mma_share of_b = share_of(&b, tb, f::cols, n, f::threads);
    for (int64_t s = 1 - f::stages; s < steps; s++) {
        const int64_t ahead = s + f::stages - 1; /* the stage that its last readers have left */
        if (s >= 0) {
            plumb_cp_async_wait<f::stages - 2>();
            __syncthreads();
        }
        if (ahead < steps) {
            uint16_t *to = shared + ahead % f::stages * f::stage;
            fill(to, &of_a, &a, !ta, f::rows, m, ahead * DEPTH, f::threads);
            fill(to + f::rows * DEPTH, &of_b, &b, tb, f::cols, n, ahead * DEPTH, f::threads);
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
