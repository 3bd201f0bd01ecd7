/* Device code of the rotary positions. A thread turns the same few pairs in one head after the
 * other of a row, so that it reads their cosines and sines once; f32 arithmetic. */
#include <math.h>
#include <plumb/rope.h>

#include "kernels/gpu.h"
#include "kernels/gpu_quad.h"

enum {
    BLOCK = 64,    /* threads along rows and pairs */
    SPLIT = 8,     /* most threads that share the heads of a pair */
    ENOUGH = 8192, /* so many threads hide the latency of memory without sharing heads */
    AHEAD = 4      /* heads that a thread has in flight */
};

struct rope_job {
    struct plumb_rope a;
    int64_t ld, units; /* elements between rows; threads along a row */
};

/* One thread's place: row n, its u-th share of the pairs. */
struct rope_place {
    int64_t n, u;
};

PLUMB_DEVICE struct rope_place locate(const struct rope_job *j)
{
    const int64_t t = (int64_t)blockIdx.x * BLOCK + threadIdx.x, n = t / j->units;
    return rope_place{ n, t - n * j->units };
}

/* Where row n's cosines and sines start in the tables; negative for a position outside of them. */
PLUMB_DEVICE int64_t table_row(const struct plumb_rope *a, int64_t n)
{
    const int32_t p = a->position[n];
    return p >= 0 && p < a->P ? p * (a->R / 2) : -1;
}

/* `pairs` entries of both tables from `at`, as one access each; NaN where there is no such row. */
PLUMB_DEVICE void read_tables(const struct plumb_rope *a, int64_t at, int64_t i, int pairs,
                              float *c, float *s)
{
    const float *cosines = (const float *)a->cos.data + at + i,
                *sines = (const float *)a->sin.data + at + i;
    for (int k = 0; k < pairs; k++)
        c[k] = s[k] = NAN;
    if (at < 0) return;
    if (pairs == 4) {
        const plumb_vec<float> cv = plumb_ld16(cosines), sv = plumb_ld16(sines);
        for (int k = 0; k < pairs; k++)
            c[k] = cv.v[k], s[k] = sv.v[k];
    } else if (pairs == 2) {
        const unsigned long long cv = __ldg(reinterpret_cast<const unsigned long long *>(cosines)),
                                 sv = __ldg(reinterpret_cast<const unsigned long long *>(sines));
        for (int k = 0; k < pairs; k++) {
            c[k] = __uint_as_float((unsigned)(cv >> 32 * k));
            s[k] = __uint_as_float((unsigned)(sv >> 32 * k));
        }
    } else {
        c[0] = cosines[0], s[0] = sines[0];
    }
    if (!a->inverse) return;
    for (int k = 0; k < pairs; k++)
        s[k] = -s[k];
}

PLUMB_DEVICE void turn(float *u, float *v, float c, float s)
{
    const float was = *u;
    *u = was * c - *v * s;
    *v = *v * c + was * s;
}

/* Pairs (i, i + R/2), four a thread. */
template <class T> __global__ void rope_half(struct rope_job j)
{
    const struct plumb_rope *a = &j.a;
    const struct rope_place p = locate(&j);
    if (p.n >= a->N) return;
    const int64_t half = a->R / 2, at = p.n * j.ld + p.u * 4;
    const T *x = (const T *)a->x.data + at;
    T *y = (T *)a->y.data + at;
    float c[4], s[4];
    struct plumb_quad_bits<T> first[AHEAD] = {}, second[AHEAD] = {
    };
    read_tables(a, table_row(a, p.n), p.u * 4, 4, c, s);
    for (int64_t h0 = threadIdx.y; h0 < a->H; h0 += AHEAD * blockDim.y) {
        PLUMB_UNROLL for (int k = 0; k < AHEAD; k++)
        {
            const int64_t h = h0 + k * blockDim.y;
            if (h >= a->H) continue;
            first[k] = plumb_ldcs4_bits(x + h * a->K);
            second[k] = plumb_ldcs4_bits(x + h * a->K + half);
        }
        PLUMB_UNROLL for (int k = 0; k < AHEAD; k++)
        {
            const int64_t h = h0 + k * blockDim.y;
            if (h >= a->H) continue;
            struct plumb_quad u = plumb_quad_wide(first[k]), v = plumb_quad_wide(second[k]);
            PLUMB_UNROLL for (int e = 0; e < 4; e++) turn(&u.v[e], &v.v[e], c[e], s[e]);
            plumb_st4(y + h * a->K, &u);
            plumb_st4(y + h * a->K + half, &v);
        }
    }
    if (x == y) return;
    for (int64_t h = threadIdx.y; h < a->H; h += blockDim.y)
        for (int64_t d = a->R; d + p.u * 4 < a->K; d += 4 * j.units) {
            const struct plumb_quad q = plumb_ldcs4(x + h * a->K + d);
            plumb_st4(y + h * a->K + d, &q);
        }
}

/* Pairs (2i, 2i + 1), 16 bytes a thread. */
template <class T> __global__ void rope_interleaved(struct rope_job j)
{
    enum { WIDTH = plumb_vec<T>::n };
    const struct plumb_rope *a = &j.a;
    const struct rope_place p = locate(&j);
    if (p.n >= a->N) return;
    const int64_t at = p.n * j.ld + p.u * WIDTH;
    float c[WIDTH / 2], s[WIDTH / 2];
    plumb_vec<T> r[AHEAD];
    read_tables(a, table_row(a, p.n), p.u * (WIDTH / 2), WIDTH / 2, c, s);
    for (int64_t h0 = threadIdx.y; h0 < a->H; h0 += AHEAD * blockDim.y) {
        PLUMB_UNROLL for (int k = 0; k < AHEAD; k++)
        {
            const int64_t h = h0 + k * blockDim.y;
            if (h < a->H) r[k] = plumb_ldcs16((const T *)a->x.data + at + h * a->K);
        }
        PLUMB_UNROLL for (int k = 0; k < AHEAD; k++)
        {
            const int64_t h = h0 + k * blockDim.y;
            if (h >= a->H) continue;
            PLUMB_UNROLL for (int e = 0; e < WIDTH / 2; e++)
            {
                float u = plumb_wide(r[k].v[2 * e]), v = plumb_wide(r[k].v[2 * e + 1]);
                turn(&u, &v, c[e], s[e]);
                plumb_narrow(&r[k].v[2 * e], u);
                plumb_narrow(&r[k].v[2 * e + 1], v);
            }
            plumb_st16((T *)a->y.data + at + h * a->K, r[k]);
        }
    }
    if (a->x.data == a->y.data) return;
    for (int64_t h = threadIdx.y; h < a->H; h += blockDim.y)
        for (int64_t d = a->R; d + p.u * WIDTH < a->K; d += WIDTH * j.units)
            plumb_st16((T *)a->y.data + at + h * a->K + d,
                       plumb_ldcs16((const T *)a->x.data + at + h * a->K + d));
}

/* Any size and alignment: a pair a thread. */
template <class T> __global__ void rope_any(struct rope_job j)
{
    const struct plumb_rope *a = &j.a;
    const struct rope_place p = locate(&j);
    if (p.n >= a->N) return;
    const int64_t half = a->R / 2;
    const int64_t first = a->kind == PLUMB_ROPE_HALF ? p.u : 2 * p.u;
    const int64_t second = a->kind == PLUMB_ROPE_HALF ? p.u + half : 2 * p.u + 1;
    float c, s;
    read_tables(a, table_row(a, p.n), p.u, 1, &c, &s);
    for (int64_t h = threadIdx.y; h < a->H; h += blockDim.y) {
        const T *x = (const T *)a->x.data + p.n * j.ld + h * a->K;
        T *y = (T *)a->y.data + p.n * j.ld + h * a->K;
        float u = plumb_wide(x[first]), v = plumb_wide(x[second]);
        turn(&u, &v, c, s);
        plumb_narrow(&y[first], u);
        plumb_narrow(&y[second], v);
        for (int64_t d = a->R + p.u; x != y && d < a->K; d += half)
            y[d] = x[d];
    }
}

/* Pairs a thread takes at a time: 4 or 2 where its accesses are aligned, else 1. */
template <class T> static int pairs_at_once(const struct plumb_rope *a, int64_t ld)
{
    const T *x = (const T *)a->x.data, *y = (const T *)a->y.data;
    const float *cosines = (const float *)a->cos.data, *sines = (const float *)a->sin.data;
    if (!plumb_aligned16(cosines, 0) || !plumb_aligned16(sines, 0)) return 1;
    if (a->kind == PLUMB_ROPE_HALF) {
        const bool fits = a->R % 8 == 0 && a->K % 4 == 0 && plumb_quads(x, ld) &&
                          plumb_quads(y, ld);
        return fits ? 4 : 1;
    }
    const int width = plumb_vec<T>::n;
    const bool fits = a->R % width == 0 && a->K % width == 0 && plumb_aligned16(x, ld) &&
                      plumb_aligned16(y, ld);
    return fits ? width / 2 : 1;
}

template <class T> static int run(const struct plumb_device *dev, const struct plumb_rope *a)
{
    const int64_t ld = a->ld ? a->ld : a->H * a->K;
    const int pairs = pairs_at_once<T>(a, ld);
    const struct rope_job j = { *a, ld, a->R / 2 / pairs };
    const int64_t threads = a->N * j.units;
    int64_t split = ENOUGH / threads; /* few rows: threads share the heads */
    if (split > SPLIT) split = SPLIT;
    if (split > a->H) split = a->H;
    if (split < 1) split = 1;
    void (*const kernel)(struct rope_job) = pairs == 1                   ? rope_any<T>
                                            : a->kind == PLUMB_ROPE_HALF ? rope_half<T>
                                                                         : rope_interleaved<T>;
    const dim3 grid((unsigned)plumb_ceil_div(threads, BLOCK)), block(BLOCK, (unsigned)split);
    return plumb_gpu_status(PLUMB_LAUNCH(kernel, grid, block, 0, plumb_gpu_stream(dev), j), "rope");
}

static int rope(const struct plumb_device *dev, const struct plumb_rope *a)
{
    if (a->N == 0) return PLUMB_OK;
    return a->x.dtype == PLUMB_BF16 ? run<__nv_bfloat16>(dev, a) : run<float>(dev, a);
}
PLUMB_GPU_OP(rope, plumb_rope);
