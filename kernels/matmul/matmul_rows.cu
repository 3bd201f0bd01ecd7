/* Our own product, which needs no library: whatever M is, an element's sum over k runs from 0 to K
 * in one chain, so a row keeps its bits for every M and every place in A. f32 by fused
 * multiply-adds here; bf16 by tensor cores in matmul_mma.cu. */
#include "kernels/matmul/matmul_gpu.h"
#include "kernels/matmul/matmul_tile.h"

/* A block of 256 threads makes 128 x 128 elements, a thread 8 x 8 of them in four 4 x 4 squares.
 * Rows of the tiles in shared memory are 132 floats apart: then neither turning an operand that
 * lies along k nor reading it meets a bank twice. */
enum { BLOCK = 256, EDGE = 128, HALF = 64, DEPTH = 16, PITCH = EDGE + 4, QUADS = 2, UNIT = 8 };
enum { SHARED_BYTES = 4 * DEPTH * PITCH * (int)sizeof(float) }; /* two tiles of each operand */

/* One operand of C's tile: `along_k` when its stored rows run along k. */
struct fma_side {
    const float *p;
    int64_t ld, from, end, K; /* first row (column) of C in the tile, and all of them */
    bool along_k, wide;
};

/* Four elements of a stored row, zeros outside the matrix. */
PLUMB_DEVICE void read_quad(float out[4], const struct fma_side *s, int64_t row, int64_t col,
                            int64_t rows, int64_t cols)
{
    const float *p = s->p + row * s->ld + col;
    if (s->wide && row < rows && col + 4 <= cols) {
        const plumb_vec<float> v = plumb_ld16(p);
        PLUMB_UNROLL for (int i = 0; i < 4; i++) out[i] = v.v[i];
        return;
    }
    PLUMB_UNROLL for (int i = 0; i < 4; i++) out[i] = row < rows && col + i < cols ? p[i] : 0.0f;
}

/* This thread's share of the tile at k, to registers. Along k, two threads read 32 bytes of a
 * stored row; else a warp reads 512. */
PLUMB_DEVICE void fetch(float q[QUADS][4], const struct fma_side *s, int64_t k)
{
    const int t = (int)threadIdx.x;
    PLUMB_UNROLL for (int i = 0; i < QUADS; i++)
    {
        if (s->along_k)
            read_quad(q[i], s, s->from + t / 2, k + 4 * (t % 2 + 2 * i), s->end, s->K);
        else
            read_quad(q[i], s, k + t / 32 + 8 * i, s->from + 4 * (t % 32), s->K, s->end);
    }
}

/* From registers to tile[k][row or column of C]. */
PLUMB_DEVICE void place(float (*tile)[PITCH], const float q[QUADS][4], const struct fma_side *s)
{
    const int t = (int)threadIdx.x;
    PLUMB_UNROLL for (int i = 0; i < QUADS; i++)
    {
        if (s->along_k) {
            PLUMB_UNROLL for (int e = 0; e < 4; e++) tile[4 * (t % 2 + 2 * i) + e][t / 2] = q[i][e];
        } else {
            const plumb_vec<float> v = { { q[i][0], q[i][1], q[i][2], q[i][3] } };
            plumb_st16(&tile[t / 32 + 8 * i][4 * (t % 32)], v);
        }
    }
}

/* Eight elements: four at `at`, four half a tile further. */
PLUMB_DEVICE void take(float out[UNIT], const float *row, int at)
{
    const plumb_vec<float> lo = plumb_ld16(row + at), hi = plumb_ld16(row + HALF + at);
    PLUMB_UNROLL for (int i = 0; i < 4; i++) out[i] = lo.v[i], out[4 + i] = hi.v[i];
}

PLUMB_DEVICE void multiply(float sum[UNIT][UNIT], const float (*x)[PITCH], const float (*y)[PITCH])
{
    const int row = (int)threadIdx.x / 16 * 4, col = (int)threadIdx.x % 16 * 4;
    PLUMB_UNROLL for (int k = 0; k < DEPTH; k++)
    {
        float p[UNIT], q[UNIT];
        take(p, x[k], row);
        take(q, y[k], col);
        PLUMB_UNROLL for (int i = 0; i < UNIT; i++) PLUMB_UNROLL for (int n = 0; n < UNIT; n++)
            sum[i][n] = fmaf(p[i], q[n], sum[i][n]);
    }
}

static __global__ void __launch_bounds__(BLOCK) matmul_rows_f32(struct matmul_job j)
{
    PLUMB_DYN_SHARED(float, shared);
    float(*x)[DEPTH][PITCH] = (float(*)[DEPTH][PITCH])shared, (*y)[DEPTH][PITCH] = x + 2;
    int64_t m, n;
    matmul_tile_at(&j, EDGE, EDGE, &m, &n);
    const struct fma_side a = { (const float *)j.a, j.lda, m, j.M, j.K, !j.trans_a, j.wide_a };
    const struct fma_side b = { (const float *)j.b, j.ldb, n, j.N, j.K, j.trans_b, j.wide_b };
    float sum[UNIT][UNIT] = {}, p[QUADS][4], q[QUADS][4];
    fetch(p, &a, 0);
    fetch(q, &b, 0);
    for (int64_t k = 0, now = 0; k < j.K; k += DEPTH, now ^= 1) {
        place(x[now], p, &a);
        place(y[now], q, &b);
        __syncthreads();
        if (k + DEPTH < j.K) {
            fetch(p, &a, k + DEPTH);
            fetch(q, &b, k + DEPTH);
        }
        multiply(sum, x[now], y[now]);
    }
    const int row = (int)threadIdx.x / 16 * 4, col = (int)threadIdx.x % 16 * 4;
    PLUMB_UNROLL for (int i = 0; i < UNIT; i++) PLUMB_UNROLL for (int c = 0; c < UNIT; c += 2)
        matmul_put_pair(&j, sum[i][c], sum[i][c + 1], m + row + i % 4 + i / 4 * HALF,
                        n + col + c % 4 + c / 4 * HALF);
}

template <class T> static bool wide(const struct plumb_tensor *t, int64_t ld)
{
    return plumb_aligned16((const T *)t->data, ld);
}

int plumb_gpu_matmul_rows(const struct plumb_device *dev, const struct plumb_matmul *a)
{
    const bool narrow = a->a.dtype == PLUMB_BF16;
    const size_t pair = 2 * plumb_gpu_bytes(a->c.dtype);
    const struct matmul_job j = {
        a->M,
        a->N,
        a->K,
        a->lda,
        a->ldb,
        a->ldc,
        a->a.data,
        a->b.data,
        a->bias.data,
        a->c.data,
        a->trans_a,
        a->trans_b,
        a->accumulate,
        narrow ? wide<uint16_t>(&a->a, a->lda) : wide<float>(&a->a, a->lda),
        narrow ? wide<uint16_t>(&a->b, a->ldb) : wide<float>(&a->b, a->ldb),
        a->c.dtype == PLUMB_BF16,
        a->bias.dtype == PLUMB_BF16,
        (uintptr_t)a->c.data % pair == 0 && a->ldc % 2 == 0
    };
    cudaStream_t stream = plumb_gpu_stream(dev);
    const cudaError_t e = narrow ? matmul_mma_launch(&j, stream)
                                 : PLUMB_LAUNCH(matmul_rows_f32, matmul_tiles(&j, EDGE, EDGE),
                                                BLOCK, SHARED_BYTES, stream, j);
    return plumb_gpu_status(e, "matmul");
}
