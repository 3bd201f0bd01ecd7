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

struct Fragments {
    uint32_t a[4], b[2];
};
/* The 16 elements along k of rows g and g+8 of A and of columns 2t and 2t+1 of B, as seen by lane
 * 4g+t: `pair` counts pairs of k, which lie in the four lanes of a row or column. */
template <class T> inline void gather(const Coll *q, int par, float av[2][16], float bv[2][16])
{
    const int g = cur->lane / 4, t = cur->lane % 4;
    for (int k = 0; k < 16; k++) {
        const int high = k / 8, pair = k % 8 / 2, shift = 16 * (k % 2);
        Fragments other;
        memcpy(&other, q->slot[par][4 * g + pair], sizeof other);
        for (int i = 0; i < 2; i++)
            av[i][k] = T::of_bits((uint16_t)(other.a[2 * high + i] >> shift));
        for (int j = 0; j < 2; j++) {
            memcpy(&other, q->slot[par][4 * (2 * t + j) + pair], sizeof other);
            bv[j][k] = T::of_bits((uint16_t)(other.b[high] >> shift));
        }
    }
}
template <class T>
inline void mma(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4],
                const char *f, int l)
{
    const Fragments mine = { { a[0], a[1], a[2], a[3] }, { b[0], b[1] } };
    float av[2][16], bv[2][16];
    int par;
    Coll *q = coll_begin(~0u, OP_MMA, &mine, sizeof mine, f, l, &par);
    coll_finish(q, coll_last(q));
    gather<T>(q, par, av, bv);
    for (int i = 0; i < 4; i++) {
        float sum = c[i];
        for (int k = 0; k < 16; k++)
            sum += av[i / 2][k] * bv[i % 2][k];
        d[i] = sum;
    }
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
