/* Tiles of the attention in shared memory, and the two products made of them: on tensor cores for
 * bf16, by plain multiply-adds for f32. Fragments are those of mma.m16n8k16 for both: of every 16
 * rows and 8 columns, lane 4g+t holds (g + 8i, 2t + j) in [2i + j]. An element's sum never depends
 * on what stands beside it. */
#pragma once
#include "kernels/attention/attention_job.cuh"

/* A kernel's template parameter: the head size, rounded up to a multiple of 16, plus flags. */
enum attn_flag {
    ATTN_F32 = 1,
    ATTN_TWO = 2,   /* a warp takes 32 rows, not 16 */
    ATTN_HALF = 4,  /* a block makes half of an output's columns */
    ATTN_NARROW = 8 /* a tile has half the rows */
};

template <int F32> struct attn_elem {
    typedef __nv_bfloat16 T;
};
template <> struct attn_elem<ATTN_F32> {
    typedef float T;
};

template <int V> struct attn_shape {
    typedef typename attn_elem<V & ATTN_F32>::T T;
    enum {
        F32 = V & ATTN_F32,
        D = V & ~15,
        COLS = V & ATTN_HALF ? D / 2 : D,         /* of an output */
        CHUNK = F32 ? 4 : 8, CHUNKS = D / CHUNK,  /* elements of 16 bytes; such pieces of a row */
        FULL = F32 ? D <= 64 ? 64 : D <= 128 ? 32 : 16 : D <= 128 ? 64 : 32,
        TILE = V & ATTN_NARROW ? FULL / 2 : FULL, /* rows of a tile */
        MT = V & ATTN_TWO ? 2 : 1,                /* times 16 rows of a warp */
        WARPS = F32 && D > 128 ? 2 : 4,
        THREADS = 32 * WARPS,
        ROWS = 16 * MT * WARPS,                   /* rows of a block */
        AT_ONCE = F32 ? 1 : 2,                    /* loads of a thread: more would spill */
        NB = TILE / 8, OB = COLS / 8              /* column blocks of a score, of an output */
    };
};

/* Where a tile's row lies in a tensor, in one word of shared memory; row -1: nowhere, it reads as
 * zeros. */
PLUMB_DEVICE uint64_t attn_place(int32_t row, int32_t head)
{
    return (uint64_t)(uint32_t)row << 32 | (uint32_t)head;
}
PLUMB_DEVICE int32_t attn_row_of(uint64_t place) { return (int32_t)(place >> 32); }
PLUMB_DEVICE int32_t attn_head_of(uint64_t place) { return (int32_t)place; }

/* Elements from the tensor's first to the place's, in rows ld apart. */
PLUMB_DEVICE int64_t attn_offset(uint64_t place, int64_t ld, int K)
{
    return attn_row_of(place) * ld + attn_head_of(place) * K;
}

/* Element offset of a row's 16-byte piece. Pieces are permuted within a row so that neither the
 * eight rows of a matrix nor the fragments of a warp meet in a bank. */
template <int V> PLUMB_DEVICE int attn_turn(int row)
{
    return attn_shape<V>::CHUNKS % 8 ? row >> 1 & 3 : (row & 3) << 1 | (row >> 2 & 1);
}
template <int V> PLUMB_DEVICE int attn_at(int row, int chunk)
{
    typedef attn_shape<V> S;
    return row * S::D + (chunk ^ attn_turn<V>(row)) * S::CHUNK;
}

/* The `count` elements from `src` on and then zeros, where 16-byte accesses are not possible. */
template <class T> PLUMB_DEVICE void attn_load_any(T *dst, const T *src, int count)
{
    plumb_vec<T> x;
    PLUMB_UNROLL for (int e = 0; e < plumb_vec<T>::n; e++)
        if (e < count)
            x.v[e] = src[e];
        else
            plumb_narrow(&x.v[e], 0.0f);
    plumb_st16(dst, x);
}

/* Starts loading `rows` rows. */
template <int V>
PLUMB_DEVICE void attn_load(typename attn_shape<V>::T *to, const uint64_t *at, int rows,
                            const void *from, int64_t ld, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    typedef typename S::T T;
#pragma unroll S::AT_ONCE
    for (int i = threadIdx.x; i < rows * S::CHUNKS; i += S::THREADS) {
        const int r = i / S::CHUNKS, first = i % S::CHUNKS * S::CHUNK;
        const bool here = attn_row_of(at[r]) >= 0 && first < j->K;
        const T *src = (const T *)from + (here ? attn_offset(at[r], ld, j->K) + first : 0);
        T *dst = to + attn_at<V>(r, i % S::CHUNKS);
        if (j->wide)
            plumb_cp_async16(dst, src, here);
        else
            attn_load_any(dst, src, here ? j->K - first : 0);
    }
}

/* A block's shared memory. Tiles come in pairs (keys and values, or queries and d_o): one is worked
 * with while the next one is on its way and the places of the one after are written, so that a
 * single barrier a tile is enough. */
template <int V> struct attn_shared {
    typename attn_shape<V>::T *own; /* the block's rows: of one or two tensors */
    typename attn_shape<V>::T *tile; /* two pairs */
    uint64_t *own_place, *place;     /* place: of three tiles */
};

template <int V> PLUMB_DEVICE struct attn_shared<V> attn_shared_at(void *base, int tensors)
{
    typedef attn_shape<V> S;
    typename S::T *const own = (typename S::T *)base;
    typename S::T *const tile = own + tensors * S::ROWS * S::D;
    uint64_t *const place = (uint64_t *)(void *)(tile + 4 * S::TILE * S::D);
    return { own, tile, place, place + S::ROWS };
}
template <int V> static size_t attn_shared_bytes(int tensors)
{
    typedef attn_shape<V> S;
    return (tensors * S::ROWS + 4 * S::TILE) * S::D * sizeof(typename S::T) +
           (S::ROWS + 3 * S::TILE) * sizeof(uint64_t);
}

/* The first of the i-th pair's two tiles; the second follows it. The places of the i-th. */
template <int V>
PLUMB_DEVICE typename attn_shape<V>::T *attn_tile(const struct attn_shared<V> *m, int i)
{
    typedef attn_shape<V> S;
    return m->tile + i % 2 * 2 * S::TILE * S::D;
}
template <int V> PLUMB_DEVICE int attn_slot(int i) { return i % 3 * attn_shape<V>::TILE; }

/* Starts loading the i-th pair, from x and y. */
template <int V>
PLUMB_DEVICE void attn_load_pair(const struct attn_shared<V> *m, int i, const void *x, int64_t ldx,
                                 const void *y, int64_t ldy, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    typename S::T *const to = attn_tile<V>(m, i);
    const uint64_t *const at = m->place + attn_slot<V>(i);
    attn_load<V>(to, at, S::TILE, x, ldx, j);
    attn_load<V>(to + S::TILE * S::D, at, S::TILE, y, ldy, j);
    plumb_cp_async_commit();
}

/* Waits for the pair that is on its way, and for all threads to be done with the one before. */
PLUMB_DEVICE void attn_await_pair()
{
    plumb_cp_async_wait<0>();
    __syncthreads();
}

/* The warp's rows of an output go from shared memory, where they begin at `from`, to a tensor. */
template <int V>
PLUMB_DEVICE void attn_store(const typename attn_shape<V>::T *from, const uint64_t *at,
                             int chunk0, void *to, int64_t ld, const struct attn_job *j)
{
    typedef attn_shape<V> S;
    typedef typename S::T T;
    enum { WIDTH = S::COLS / S::CHUNK };
    __syncwarp();
    for (int i = threadIdx.x % 32; i < 16 * S::MT * WIDTH; i += 32) {
        const int r = i / WIDTH, chunk = chunk0 + i % WIDTH, first = chunk * S::CHUNK;
        if (attn_row_of(at[r]) < 0 || first >= j->K) continue;
        T *dst = (T *)to + attn_offset(at[r], ld, j->K) + first;
        const plumb_vec<T> x = plumb_ld16(from + attn_at<V>(r, chunk));
        if (j->wide) {
            plumb_st16(dst, x);
            continue;
        }
        PLUMB_UNROLL for (int e = 0; e < S::CHUNK; e++)
            if (first + e < j->K) dst[e] = x.v[e];
    }
}

PLUMB_DEVICE uint32_t attn_pack(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return reinterpret_cast<const uint32_t &>(pair);
}

/* Puts two neighbours of a fragment at an even column; `p` is their place. */
PLUMB_DEVICE void attn_put(__nv_bfloat16 *p, float x, float y)
{
    *reinterpret_cast<uint32_t *>(p) = attn_pack(x, y);
}
PLUMB_DEVICE void attn_put(float *p, float x, float y)
{
    const uint64_t high = __float_as_uint(y);
    *reinterpret_cast<uint64_t *>(p) = high << 32 | __float_as_uint(x);
}

/* Fragments of an output, each row times its factor, to the warp's rows in shared memory. */
template <int V>
PLUMB_DEVICE void attn_stage(typename attn_shape<V>::T *to, int chunk0,
                             float (*o)[attn_shape<V>::OB][4], float (*factor)[2])
{
    typedef attn_shape<V> S;
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    __syncwarp();
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int n = 0; n < S::OB; n++)
            PLUMB_UNROLL for (int i = 0; i < 2; i++) {
                const int column = 8 * n + 2 * t;
                const int at = attn_at<V>(16 * m + g + 8 * i, chunk0 + column / S::CHUNK);
                attn_put(to + at + column % S::CHUNK, o[m][n][2 * i] * factor[m][i],
                         o[m][n][2 * i + 1] * factor[m][i]);
            }
}

/* c += a b^T over the head size: a the warp's rows, b a tile. */
template <int V>
PLUMB_DEVICE void attn_mma_nt(float (*c)[attn_shape<V>::NB][4], const __nv_bfloat16 *a,
                              const __nv_bfloat16 *b)
{
    typedef attn_shape<V> S;
    const int lane = threadIdx.x % 32;
    PLUMB_UNROLL for (int k = 0; k < S::D / 16; k++) {
        uint32_t x[S::MT][4];
        PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
            plumb_ldmatrix_x4(x[m], a + attn_at<V>(16 * m + lane % 16, 2 * k + lane / 16));
        PLUMB_UNROLL for (int n = 0; n < S::NB; n += 2) {
            uint32_t y[4];
            const int row = 8 * n + lane / 16 * 8 + lane % 8;
            plumb_ldmatrix_x4(y, b + attn_at<V>(row, 2 * k + lane / 8 % 2));
            PLUMB_UNROLL for (int m = 0; m < S::MT; m++) {
                plumb_mma_bf16(c[m][n], x[m], y, c[m][n]);
                plumb_mma_bf16(c[m][n + 1], x[m], y + 2, c[m][n + 1]);
            }
        }
    }
}

template <int V>
PLUMB_DEVICE void attn_fma_nt(float (*c)[attn_shape<V>::NB][4], const float *a, const float *b)
{
    typedef attn_shape<V> S;
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int k = 0; k < S::CHUNKS; k++) {
        const plumb_vec<float> x[] = { plumb_ld16(a + attn_at<V>(g, k)),
                                       plumb_ld16(a + attn_at<V>(g + 8, k)) };
        PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
            PLUMB_UNROLL for (int j = 0; j < 2; j++) {
                const plumb_vec<float> y = plumb_ld16(b + attn_at<V>(8 * n + 2 * t + j, k));
                PLUMB_UNROLL for (int i = 0; i < 2; i++)
                    PLUMB_UNROLL for (int e = 0; e < 4; e++)
                        c[0][n][2 * i + j] = fmaf(x[i].v[e], y.v[e], c[0][n][2 * i + j]);
            }
    }
}

/* o += p b: p the warp's rows of a score, b a tile from column chunk0 on. */
template <int V>
PLUMB_DEVICE void attn_mma_nn(float (*o)[attn_shape<V>::OB][4],
                              float (*p)[attn_shape<V>::NB][4], const __nv_bfloat16 *b,
                              int chunk0)
{
    typedef attn_shape<V> S;
    const int lane = threadIdx.x % 32;
    PLUMB_UNROLL for (int k = 0; k < S::TILE / 16; k++) {
        uint32_t x[S::MT][4];
        PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
            PLUMB_UNROLL for (int i = 0; i < 4; i++) {
                const float *pair = &p[m][2 * k + i / 2][i % 2 * 2];
                x[m][i] = attn_pack(pair[0], pair[1]);
            }
        PLUMB_UNROLL for (int n = 0; n < S::OB; n += 2) {
            uint32_t y[4];
            plumb_ldmatrix_x4_trans(y, b + attn_at<V>(16 * k + lane % 16, chunk0 + n + lane / 16));
            PLUMB_UNROLL for (int m = 0; m < S::MT; m++) {
                plumb_mma_bf16(o[m][n], x[m], y, o[m][n]);
                plumb_mma_bf16(o[m][n + 1], x[m], y + 2, o[m][n + 1]);
            }
        }
    }
}

template <int V>
PLUMB_DEVICE void attn_fma_nn(float (*o)[attn_shape<V>::OB][4],
                              float (*p)[attn_shape<V>::NB][4], const float *b, int chunk0)
{
    typedef attn_shape<V> S;
    const int lane = threadIdx.x % 32, t = lane % 4;
    /* attn_at(k, 2c + t / 2) + t % 2 * 2, cut into what a lane and what a step decides: turns are
     * even in rows 0 to 3 of 8 and odd in the others. */
    const float *const even = b + chunk0 * S::CHUNK + t * 2, *const odd = even + 4 - t / 2 * 8;
    PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
        PLUMB_UNROLL for (int k = 0; k < 8; k++) {
            const int from = (lane & ~3) | k / 2; /* the lane that holds column k of the block */
            const float x0 = __shfl_sync(~0u, p[0][n][k % 2], from);
            const float x1 = __shfl_sync(~0u, p[0][n][2 + k % 2], from);
            PLUMB_UNROLL for (int c = 0; c < S::OB; c++) {
                const float *at = (k < 4 ? even : odd) + attn_at<V>(8 * n + k, 2 * c) - k / 4 * 4;
                const float2 y = *reinterpret_cast<const float2 *>(at);
                o[0][c][0] = fmaf(x0, y.x, o[0][c][0]);
                o[0][c][1] = fmaf(x0, y.y, o[0][c][1]);
                o[0][c][2] = fmaf(x1, y.x, o[0][c][2]);
                o[0][c][3] = fmaf(x1, y.y, o[0][c][3]);
            }
        }
}

template <int V>
PLUMB_DEVICE void attn_score(float (*c)[attn_shape<V>::NB][4],
                             const typename attn_shape<V>::T *a,
                             const typename attn_shape<V>::T *b)
{
    typedef attn_shape<V> S;
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++)
                c[m][n][e] = 0;
    if constexpr (S::F32)
        attn_fma_nt<V>(c, a, b);
    else
        attn_mma_nt<V>(c, a, b);
}

template <int V>
PLUMB_DEVICE void attn_add(float (*o)[attn_shape<V>::OB][4],
                           float (*p)[attn_shape<V>::NB][4],
                           const typename attn_shape<V>::T *b, int chunk0)
{
    if constexpr (attn_shape<V>::F32)
        attn_fma_nn<V>(o, p, b, chunk0);
    else
        attn_mma_nn<V>(o, p, b, chunk0);
}

template <int V> PLUMB_DEVICE void attn_clear(float (*o)[attn_shape<V>::OB][4])
{
    typedef attn_shape<V> S;
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int n = 0; n < S::OB; n++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++)
                o[m][n][e] = 0;
}

/* e^x in f32. In bf16 2^x in one instruction; results below the normal numbers are 0. */
template <int V> PLUMB_DEVICE float attn_power(float x)
{
    if constexpr (attn_shape<V>::F32) return expf(x);
#if defined(__CUDACC__)
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

/* The power of s * factor - base. In f32 the product is rounded first: a score that equals its
 * base gives exactly 1 in the forward and in the backward. */
template <int V> PLUMB_DEVICE float attn_weight(float s, float factor, float base)
{
    return attn_power<V>(attn_shape<V>::F32 ? __fmul_rn(s, factor) - base
                                            : fmaf(s, factor, -base));
}

template <int V>
PLUMB_DEVICE void attn_cap(float (*s)[attn_shape<V>::NB][4], const struct attn_job *j)
{
    typedef attn_shape<V> S;
    if (!j->capped) return;
    PLUMB_UNROLL for (int m = 0; m < S::MT; m++)
        PLUMB_UNROLL for (int n = 0; n < S::NB; n++)
            PLUMB_UNROLL for (int e = 0; e < 4; e++)
                s[m][n][e] = tanhf(s[m][n][e] * j->in);
}

/* The row of path position pos as segment s sees it. */
PLUMB_DEVICE int32_t attn_row_at(const struct plumb_attention_node *node, int32_t s, int32_t pos)
{
    while (pos < node[s].low)
        s = node[s].up;
    return pos + node[s].shift;
}

/* The place of a segment's r-th row of queries times heads of a group. */
PLUMB_DEVICE uint64_t attn_query_place(const struct attn_job *j,
                                       const struct plumb_attention_node *n, int32_t hk, int32_t r)
{
    const int32_t query = r / j->G;
    return attn_place(r < n->q_rows ? n->q_row + query : -1, hk * j->G + r - query * j->G);
}
