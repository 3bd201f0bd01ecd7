/* Bodies of kernels/gpu_mma.h on the CPU. Products of bf16 and f16 are exact in f32; sums are f32,
 * k ascending (the order inside a tensor core is not specified). */
#pragma once

inline void plumb_cp_async16(void *dst, const void *src, bool keep = true, PLUMB_SITE)
{
    plumb_sim::copy_async(dst, src, 16, keep ? 0 : 16, f_, l_);
}
inline void plumb_cp_async_commit() { plumb_sim::copy_commit(); }
template <int N> inline void plumb_cp_async_wait() { plumb_sim::copy_wait(N); }

namespace plumb_sim
{
/* Lanes 0 to 8 * count - 1 give their row; every lane takes its two elements of each matrix. */
inline void ldmatrix(uint32_t *r, int count, const void *row, bool trans, const char *f, int l)
{
    plumb_vec<uint16_t> mine = {};
    if ((int)cur->lane < 8 * count) {
        if ((uintptr_t)row % 16) bad("%s:%d: ldmatrix row is not 16-byte aligned", f, l);
        mine = load(static_cast<const plumb_vec<uint16_t> *>(row));
    }
    int par;
    Coll *c = coll_begin(~0u, OP_LDMATRIX, &mine, sizeof mine, f, l, &par);
    coll_finish(c, coll_last(c));
    const int g = cur->lane / 4, t = cur->lane % 4 * 2;
    for (int i = 0; i < count; i++) {
        uint16_t e[2];
        for (int j = 0; j < 2; j++) {
            const int rr = trans ? t + j : g, cc = trans ? g : t + j;
            memcpy(&e[j], c->slot[par][8 * i + rr] + 2 * cc, 2);
        }
        r[i] = e[0] | (uint32_t)e[1] << 16;
    }
}

/* The warp's product, done by the last lane to arrive: a, b, c and d of every lane. */
template <class T> PLUMB_SIM_RAW void multiply_fragments(void *(*lanes)[4])
{
    float A[16][16], B[16][8], D[16][8];
    for (int l = 0; l < 32; l++) {
        const uint32_t *a = (const uint32_t *)lanes[l][0], *b = (const uint32_t *)lanes[l][1];
        const float *c = (const float *)lanes[l][2];
        const int g = l / 4, t = l % 4 * 2;
        for (int i = 0; i < 8; i++)
            A[g + 8 * (i / 2 % 2)][t + 8 * (i / 4) + i % 2] = T::of_bits(
                (uint16_t)(a[i / 2] >> 16 * (i % 2)));
        for (int i = 0; i < 4; i++)
            B[t + 8 * (i / 2) + i % 2][g] = T::of_bits((uint16_t)(b[i / 2] >> 16 * (i % 2)));
        for (int i = 0; i < 4; i++)
            D[g + 8 * (i / 2)][t + i % 2] = c[i];
    }
    for (int r = 0; r < 16; r++)
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++)
                D[r][j] += A[r][k] * B[k][j];
    for (int l = 0; l < 32; l++) {
        float *d = (float *)lanes[l][3];
        for (int i = 0; i < 4; i++)
            d[i] = D[l / 4 + 8 * (i / 2)][l % 4 * 2 + i % 2];
    }
}
template <class T>
inline void mma(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4],
                const char *f, int l)
{
    int par;
    Coll *q = coll_begin(~0u, OP_MMA, nullptr, 0, f, l, &par);
    void **mine = q->ptr[cur->lane];
    mine[0] = (void *)a, mine[1] = (void *)b, mine[2] = (void *)c, mine[3] = d;
    const bool last = coll_last(q);
    if (last && q->arrived != ~0u)
        bad("%s:%d: mma by %d lanes of 32", f, l, __builtin_popcount(q->arrived));
    else if (last)
        multiply_fragments<T>(q->ptr);
    coll_finish(q, last);
}
} // namespace plumb_sim

inline void plumb_ldmatrix_x4(uint32_t r[4], const void *row, PLUMB_SITE)
{
    plumb_sim::ldmatrix(r, 4, row, false, f_, l_);
}
inline void plumb_ldmatrix_x4_trans(uint32_t r[4], const void *row, PLUMB_SITE)
{
    plumb_sim::ldmatrix(r, 4, row, true, f_, l_);
}
inline void plumb_ldmatrix_x2(uint32_t r[2], const void *row, PLUMB_SITE)
{
    plumb_sim::ldmatrix(r, 2, row, false, f_, l_);
}
inline void plumb_ldmatrix_x2_trans(uint32_t r[2], const void *row, PLUMB_SITE)
{
    plumb_sim::ldmatrix(r, 2, row, true, f_, l_);
}
inline void plumb_mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4],
                           PLUMB_SITE)
{
    plumb_sim::mma<__nv_bfloat16>(d, a, b, c, f_, l_);
}
inline void plumb_mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4],
                          PLUMB_SITE)
{
    plumb_sim::mma<__half>(d, a, b, c, f_, l_);
}
