/* gpu_mma.h - inline-PTX instructions as functions: cp.async, ldmatrix, mma.sync m16n8k16 (sm_80+).
 * Under nvcc each is one instruction; on the CPU each has a C++ body with the same fragment layout
 * (PTX ISA, "Matrix fragments for mma.m16n8k16"). A kernel never writes asm itself. */
#pragma once
#include "kernels/gpu.h"

#if defined(__CUDACC__)
PLUMB_DEVICE uint32_t plumb_shared_addr(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}
/* 16 bytes from global to shared memory; with keep = false the destination is zero-filled. */
PLUMB_DEVICE void plumb_cp_async16(void *dst, const void *src, bool keep = true)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(plumb_shared_addr(dst)),
                 "l"(src), "r"(keep ? 16 : 0) : "memory");
}
PLUMB_DEVICE void plumb_cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Waits until at most N of this thread's groups are unfinished. A barrier must follow. */
template <int N> PLUMB_DEVICE void plumb_cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
/* Four 8x8 matrices of 16-bit elements; lane 8i+r passes the address of row r of matrix i. */
PLUMB_DEVICE void plumb_ldmatrix_x4(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(plumb_shared_addr(row))
                 : "memory");
}
PLUMB_DEVICE void plumb_ldmatrix_x4_trans(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(plumb_shared_addr(row))
                 : "memory");
}
/* d (16x8 f32) = a (16x16 bf16, row) * b (16x8 bf16, column) + c; d may be c. */
PLUMB_DEVICE void plumb_mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2],
                                 const float c[4])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
                   "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}
#else
inline void plumb_cp_async16(void *dst, const void *src, bool keep = true, PLUMB_SITE)
{
    plumb_sim::copy_async(dst, src, 16, keep ? 0 : 16, f_, l_);
}
inline void plumb_cp_async_commit() { plumb_sim::copy_commit(); }
template <int N> inline void plumb_cp_async_wait() { plumb_sim::copy_wait(N); }

namespace plumb_sim {
/* Lane L receives, of matrix i, row L/4, elements 2(L%4) and 2(L%4)+1; transposed if asked. */
inline void ldmatrix(uint32_t r[4], const void *row, bool trans, const char *f, int l)
{
    if ((uintptr_t)row % 16) bad("%s:%d: ldmatrix row is not 16-byte aligned", f, l);
    const plumb_vec<uint16_t> mine = load(static_cast<const plumb_vec<uint16_t> *>(row));
    int par;
    Coll *c = coll_begin(~0u, OP_LDMATRIX, &mine, sizeof mine, f, l, &par);
    coll_finish(c, coll_last(c));
    const int g = cur->lane / 4, t = cur->lane % 4 * 2;
    for (int i = 0; i < 4; i++) {
        uint16_t e[2];
        for (int j = 0; j < 2; j++) {
            const int rr = trans ? t + j : g, cc = trans ? g : t + j;
            memcpy(&e[j], c->slot[par][8 * i + rr] + 2 * cc, 2);
        }
        r[i] = e[0] | (uint32_t)e[1] << 16;
    }
}
inline float bf16_at(uint32_t pair, int i)
{
    return plumb_bits<float>((i ? pair >> 16 : pair & 0xffff) << 16);
}
}
inline void plumb_ldmatrix_x4(uint32_t r[4], const void *row, PLUMB_SITE)
{
    plumb_sim::ldmatrix(r, row, false, f_, l_);
}
inline void plumb_ldmatrix_x4_trans(uint32_t r[4], const void *row, PLUMB_SITE)
{
    plumb_sim::ldmatrix(r, row, true, f_, l_);
}
/* Lane L = 4g+t holds A(g + 8(i%2), 2t + 8(i/2) + {0,1}) in a[i], B(2t + 8i + {0,1}, g) in b[i],
 * C(g + 8(i/2), 2t + i%2) in c[i]. Every product is exact in fp32; sums are fp32 in k order. */
inline void plumb_mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4],
                           PLUMB_SITE)
{
    struct { uint32_t a[4], b[2]; } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, other;
    int par;
    plumb_sim::Coll *q =
        plumb_sim::coll_begin(~0u, plumb_sim::OP_MMA, &mine, sizeof mine, f_, l_, &par);
    plumb_sim::coll_finish(q, plumb_sim::coll_last(q));
    const int g = plumb_sim::cur->lane / 4, t = plumb_sim::cur->lane % 4;
    float sum[4] = {c[0], c[1], c[2], c[3]};
    for (int k = 0; k < 16; k++) {
        const int half = k / 8, pair = k % 8 / 2, odd = k % 2;
        float av[2], bv[2];
        memcpy(&other, q->slot[par][4 * g + pair], sizeof other);      /* rows g and g+8 of A */
        av[0] = plumb_sim::bf16_at(other.a[2 * half], odd);
        av[1] = plumb_sim::bf16_at(other.a[2 * half + 1], odd);
        for (int j = 0; j < 2; j++) { /* columns 2t and 2t+1 of B */
            memcpy(&other, q->slot[par][4 * (2 * t + j) + pair], sizeof other);
            bv[j] = plumb_sim::bf16_at(other.b[half], odd);
        }
        for (int i = 0; i < 4; i++) sum[i] += av[i / 2] * bv[i % 2];
    }
    for (int i = 0; i < 4; i++) d[i] = sum[i];
}
#endif
