/* Instructions that need inline PTX, as functions: cp.async, ldmatrix, mma.sync m16n8k16 (sm_80 and
 * newer). A kernel never writes asm itself: it includes this, and the CPU executor has a body in
 * C++ with the same fragment layout for each (PTX ISA, "Matrix fragments for mma.m16n8k16").
 *   plumb_cp_async16(dst, src, keep)   16 bytes from global to shared memory; keep false: zeros
 *   plumb_cp_async_commit()            closes a group of copies of this thread
 *   plumb_cp_async_wait<N>()           at most N groups are unfinished; a barrier must follow
 *   plumb_ldmatrix_x4, _x2, _trans     8x8 matrices of 16-bit elements, fragments of A or B
 *   plumb_mma_bf16, plumb_mma_f16      d (16x8 f32) = a (16x16, row) * b (16x8, column) + c
 * Lane L = 4g+t holds A(g + 8(i%2), 2t + 8(i/2) + {0,1}) in a[i], B(2t + 8i + {0,1}, g) in b[i] and
 * C(g + 8(i/2), 2t + i%2) in c[i]; d may be c. */
#pragma once
#include "kernels/gpu.h"

#if defined(__CUDACC__)
PLUMB_DEVICE uint32_t plumb_shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}
PLUMB_DEVICE void plumb_cp_async16(void *dst, const void *src, bool keep = true)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(plumb_shared_address(dst)),
                 "l"(src), "r"(keep ? 16 : 0)
                 : "memory");
}
PLUMB_DEVICE void plumb_cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> PLUMB_DEVICE void plumb_cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
/* Of matrix i, lane 8i+r passes the address of row r; lane 4g+t receives row g, elements 2t and
 * 2t+1, of matrix i in r[i]. */
PLUMB_DEVICE void plumb_ldmatrix_x4(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(plumb_shared_address(row))
                 : "memory");
}
/* The same, every matrix transposed. */
PLUMB_DEVICE void plumb_ldmatrix_x4_trans(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(plumb_shared_address(row))
                 : "memory");
}
/* Two matrices: lanes 0 to 15 pass addresses, the others any valid one. */
PLUMB_DEVICE void plumb_ldmatrix_x2(uint32_t r[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(plumb_shared_address(row))
                 : "memory");
}
PLUMB_DEVICE void plumb_ldmatrix_x2_trans(uint32_t r[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(plumb_shared_address(row))
                 : "memory");
}
PLUMB_DEVICE void plumb_mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2],
                                 const float c[4])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]),
                   "f"(c[1]), "f"(c[2]), "f"(c[3]));
}
PLUMB_DEVICE void plumb_mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2],
                                const float c[4])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]),
                   "f"(c[1]), "f"(c[2]), "f"(c[3]));
}
#else
#include <sim_mma.h>
#endif
