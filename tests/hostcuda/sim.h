/* The CUDA device language on the CPU, included by kernels/gpu.h. README.md says how it works.
 * Three builds:
 *   plain          blocks are dealt to worker threads
 *   ASan + UBSan   one worker; exact bounds of global and shared memory, alignment
 *   PLUMB_SIM_CHECK  one worker; kernels compiled by clang -fsanitize=thread, whose access
 * callbacks land in sim_check.cpp (races, initialised bytes) and sim_count.cpp (traffic) */
#pragma once
#include <algorithm>
#include <cmath>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tuple>
#include <type_traits>

/* ---- keywords ---------------------------------------------------------------------------- */
#define __global__
#define __device__
#define __host__
#define __constant__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __forceinline__ inline
#define __noinline__
#define PLUMB_DEVICE static inline
#define PLUMB_UNROLL
#if defined(__SANITIZE_ADDRESS__)
#define PLUMB_SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLUMB_SIM_ASAN 1
#endif
#endif
/* __shared__: one instance per worker, shared by the fibers of the block that runs on it. */
#if defined(PLUMB_SIM_CHECK)
#define __shared__ static __attribute__((section("plumb_shared")))
#define PLUMB_SIM_RAW __attribute__((disable_sanitizer_instrumentation, noinline))
#elif defined(PLUMB_SIM_ASAN) /* a static has red zones, a thread_local has not */
#define __shared__ static
#define PLUMB_SIM_RAW inline
#else
#define __shared__ thread_local
#define PLUMB_SIM_RAW inline
#endif
#define PLUMB_DYN_SHARED(T, name) T *name = static_cast<T *>(plumb_sim::dyn_shared())

/* ---- executor (sim_exec.cpp) --------------------------------------------------------------- */
namespace plumb_sim
{
struct Warp;
struct Copy { /* a pending cp.async */
    void *dst;
    const void *src;
    unsigned n, zero;
    const void *pc;
    Copy *next;
};
struct Thread { /* one CUDA thread = one fiber */
    uint3 tid, bid;
    dim3 bdim, gdim;
    unsigned lin, lane; /* linear id in the block, lane in the warp */
    Warp *warp;
    void *sp; /* saved stack pointer */
    char *stack;
    int state;
    const char *wait_what, *wait_file;
    int wait_line;
    uint32_t wclk;    /* advances at every warp collective */
    uint32_t *bepoch; /* advances at every block barrier */
    Copy *copy_head, *copy_tail;
    int copy_groups;
};
extern __thread Thread *cur; /* the running CUDA thread; NULL in host code */
struct Coll {                /* a warp collective, keyed by its mask */
    unsigned mask, arrived, got[2];
    int op;
    const char *file;
    int line;
    uint64_t gen;
    alignas(16) unsigned char slot[2][32][32];
    void *ptr[32][4];
};
enum op { OP_SHFL = 1, OP_VOTE, OP_SYNCWARP, OP_REDUCE, OP_MATCH, OP_MMA, OP_LDMATRIX };
enum kind { READ, WRITE, ATOMIC, READ_BYTES, WRITE_BYTES }; /* _BYTES: alignment is free */
void *dyn_shared();
int barrier(int pred, int op, const char *file, int line); /* op: 0 or, 1 and, 2 count */
Coll *coll_begin(unsigned mask, int op, const void *v, size_t n, const char *f, int l, int *par);
bool coll_last(const Coll *c); /* true in the last lane to arrive; the others still wait */
void coll_finish(Coll *c, bool last);
unsigned live_mask();
void bad(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* report a kernel's error */
void access(const void *p, size_t n, int kind, const void *pc);       /* one counted access */
void copy_async(void *dst, const void *src, size_t n, size_t zero, const char *f, int l);
void copy_commit();
void copy_wait(int keep);
cudaError_t launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t shared,
                   cudaStream_t stream, void (*body)(void *), void (*release)(void *), void *arg);
int errors();
extern bool races_across_blocks; /* look for races between blocks too (true) */
void forgive();                  /* sets the error count back to 0 (tests of the checker) */

template <class... P> struct Call { /* a kernel and its arguments */
    void (*kernel)(P...);
    std::tuple<P...> a;
    template <size_t... I> PLUMB_SIM_RAW void go(std::index_sequence<I...>)
    {
        kernel(std::get<I>(a)...);
    }
    static PLUMB_SIM_RAW void run(void *p)
    {
        static_cast<Call *>(p)->go(std::index_sequence_for<P...>());
    }
    static PLUMB_SIM_RAW void release(void *p) { delete static_cast<Call *>(p); }
};
} // namespace plumb_sim
template <class... P, class... A>
inline cudaError_t plumb_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                                size_t shared_bytes, cudaStream_t stream, A &&...a)
{
    typedef plumb_sim::Call<P...> C;
    C *c = new C{ kernel, std::tuple<P...>(static_cast<P>(std::forward<A>(a))...) };
    return plumb_sim::launch(name, reinterpret_cast<const void *>(kernel), grid, block,
                             shared_bytes, stream, C::run, C::release, c);
}

#define threadIdx (plumb_sim::cur->tid)
#define blockIdx (plumb_sim::cur->bid)
#define blockDim (plumb_sim::cur->bdim)
#define gridDim (plumb_sim::cur->gdim)
static const int warpSize __attribute__((unused)) = 32;

/* ---- barriers and fences --------------------------------------------------------------------- */
#define PLUMB_SITE const char *f_ = __builtin_FILE(), int l_ = __builtin_LINE()
inline void __syncthreads(PLUMB_SITE) { plumb_sim::barrier(0, 0, f_, l_); }
inline int __syncthreads_or(int p, PLUMB_SITE) { return plumb_sim::barrier(p, 0, f_, l_); }
inline int __syncthreads_and(int p, PLUMB_SITE) { return plumb_sim::barrier(p, 1, f_, l_); }
inline int __syncthreads_count(int p, PLUMB_SITE) { return plumb_sim::barrier(p, 2, f_, l_); }
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() {}
inline void __threadfence_system() { __threadfence(); }
inline void __nanosleep(unsigned) {}

/* ---- warp collectives ------------------------------------------------------------------------ */
namespace plumb_sim
{
template <class T> inline T exchange(unsigned mask, T v, int src, const char *f, int l)
{
    static_assert(sizeof(T) <= 32, "shuffle type too large");
    int par;
    Coll *c = coll_begin(mask, OP_SHFL, &v, sizeof v, f, l, &par);
    coll_finish(c, coll_last(c));
    if (src != (int)cur->lane && !(c->got[par] >> src & 1))
        bad("%s:%d: shuffle reads lane %d, which took no part (mask %08x, present %08x)", f, l, src,
            mask, c->got[par]);
    T r;
    memcpy((void *)&r, c->slot[par][src], sizeof r);
    return r;
}
template <class T, class F> inline T reduce(unsigned mask, T v, int op, F fn, const char *f, int l)
{
    int par;
    Coll *c = coll_begin(mask, op, &v, sizeof v, f, l, &par);
    coll_finish(c, coll_last(c));
    T r{};
    bool first = true;
    for (int i = 0; i < 32; i++) {
        if (!(c->got[par] >> i & 1)) continue;
        T x;
        memcpy(&x, c->slot[par][i], sizeof x);
        r = first ? x : fn(r, x);
        first = false;
    }
    return r;
}
} // namespace plumb_sim
template <class T> inline T __shfl_sync(unsigned m, T v, int s, int w = 32, PLUMB_SITE)
{
    const int lane = plumb_sim::cur->lane;
    return plumb_sim::exchange(m, v, (lane & ~(w - 1)) | (s & (w - 1)), f_, l_);
}
template <class T> inline T __shfl_xor_sync(unsigned m, T v, int x, int w = 32, PLUMB_SITE)
{
    const int lane = plumb_sim::cur->lane, s = lane ^ x;
    return plumb_sim::exchange(m, v, (s & ~(w - 1)) > (lane & ~(w - 1)) ? lane : s, f_, l_);
}
template <class T> inline T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32, PLUMB_SITE)
{
    const int lane = plumb_sim::cur->lane;
    return plumb_sim::exchange(m, v, (lane & (w - 1)) + (int)d >= w ? lane : lane + (int)d, f_, l_);
}
template <class T> inline T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32, PLUMB_SITE)
{
    const int lane = plumb_sim::cur->lane;
    return plumb_sim::exchange(m, v, (lane & (w - 1)) < (int)d ? lane : lane - (int)d, f_, l_);
}
inline unsigned __ballot_sync(unsigned m, int p, PLUMB_SITE)
{
    return plumb_sim::reduce(
        m, p ? 1u << plumb_sim::cur->lane : 0u, plumb_sim::OP_VOTE,
        [](unsigned a, unsigned b) { return a | b; }, f_, l_);
}
inline int __any_sync(unsigned m, int p, PLUMB_SITE) { return __ballot_sync(m, p, f_, l_) != 0; }
inline int __all_sync(unsigned m, int p, PLUMB_SITE) { return __ballot_sync(m, !p, f_, l_) == 0; }
inline void __syncwarp(unsigned m = 0xffffffffu, PLUMB_SITE)
{
    int par;
    plumb_sim::Coll *c = plumb_sim::coll_begin(m, plumb_sim::OP_SYNCWARP, nullptr, 0, f_, l_, &par);
    plumb_sim::coll_finish(c, plumb_sim::coll_last(c));
}
inline unsigned __activemask() { return plumb_sim::live_mask(); }
template <class T> inline unsigned __match_any_sync(unsigned m, T v, PLUMB_SITE)
{
    int par;
    plumb_sim::Coll *c = plumb_sim::coll_begin(m, plumb_sim::OP_MATCH, &v, sizeof v, f_, l_, &par);
    plumb_sim::coll_finish(c, plumb_sim::coll_last(c));
    unsigned r = 0;
    for (int i = 0; i < 32; i++)
        if (c->got[par] >> i & 1 && !memcmp(c->slot[par][i], &v, sizeof v)) r |= 1u << i;
    return r;
}
#define PLUMB_REDUCE(name, expr)                                                                   \
    template <class T> inline T name(unsigned m, T v, PLUMB_SITE)                                  \
    {                                                                                              \
        return plumb_sim::reduce(                                                                  \
            m, v, plumb_sim::OP_REDUCE, [](T a, T b) { return T(expr); }, f_, l_);                 \
    }
PLUMB_REDUCE(__reduce_add_sync, a + b)
PLUMB_REDUCE(__reduce_max_sync, a > b ? a : b)
PLUMB_REDUCE(__reduce_min_sync, a < b ? a : b)
PLUMB_REDUCE(__reduce_and_sync, a &b)
PLUMB_REDUCE(__reduce_or_sync, a | b)
PLUMB_REDUCE(__reduce_xor_sync, a ^ b)
#undef PLUMB_REDUCE

/* ---- atomics (right across workers) ---------------------------------------------------------- */
namespace plumb_sim
{
template <class T, class F> __attribute__((always_inline)) inline T rmw(T *p, F fn, const void *pc)
{
    typedef std::conditional_t<sizeof(T) == 8, uint64_t,
                               std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>
        U;
#ifdef PLUMB_SIM_CHECK
    access(p, sizeof(T), ATOMIC, pc);
#else
    (void)pc;
#endif
    U *u = reinterpret_cast<U *>(p), o = __atomic_load_n(u, __ATOMIC_RELAXED), n;
    T t;
    do {
        memcpy((void *)&t, &o, sizeof t);
        T r = fn(t);
        memcpy(&n, (void *)&r, sizeof n);
    } while (!__atomic_compare_exchange_n(u, &o, n, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return t;
}
} // namespace plumb_sim
#define PLUMB_ATOMIC(name, expr)                                                                   \
    template <class T> PLUMB_SIM_RAW T name(T *p, std::common_type_t<T> v)                         \
    {                                                                                              \
        return plumb_sim::rmw(                                                                     \
            p, [=](T o) { return T(expr); }, __builtin_return_address(0));                         \
    }
PLUMB_ATOMIC(atomicAdd, o + v)
PLUMB_ATOMIC(atomicSub, o - v)
PLUMB_ATOMIC(atomicMax, o > v ? o : v)
PLUMB_ATOMIC(atomicMin, o < v ? o : v)
PLUMB_ATOMIC(atomicExch, ((void)o, v))
PLUMB_ATOMIC(atomicOr, o | v)
PLUMB_ATOMIC(atomicAnd, o &v)
PLUMB_ATOMIC(atomicXor, o ^ v)
#undef PLUMB_ATOMIC
template <class T> PLUMB_SIM_RAW T atomicCAS(T *p, std::common_type_t<T> c, std::common_type_t<T> v)
{
    return plumb_sim::rmw(
        p, [=](T o) { return o == c ? T(v) : o; }, __builtin_return_address(0));
}

/* ---- loads and stores that are one access, whatever the compiler makes of the type ----------- */
namespace plumb_sim
{
inline void aligned(const void *p, size_t n, const char *f, int l)
{
    if (__builtin_expect((uintptr_t)p % n, 0))
        bad("%s:%d: misaligned access of %zu bytes", f, l, n);
}
template <class T> PLUMB_SIM_RAW T load(const T *p, PLUMB_SITE)
{
    aligned(p, alignof(T), f_, l_);
#ifdef PLUMB_SIM_CHECK
    access(p, sizeof(T), READ, __builtin_return_address(0));
#endif
    return *p;
}
template <class T> PLUMB_SIM_RAW void store(T *p, const T &x, PLUMB_SITE)
{
    aligned(p, alignof(T), f_, l_);
#ifdef PLUMB_SIM_CHECK
    access(p, sizeof(T), WRITE, __builtin_return_address(0));
#endif
    *p = x;
}
} // namespace plumb_sim
#define __ldg(p) plumb_sim::load(p)
#define __ldca(p) plumb_sim::load(p)
#define __ldcg(p) plumb_sim::load(p)
#define __ldcs(p) plumb_sim::load(p)
#define __stcg(p, x) plumb_sim::store(p, x)
#define __stcs(p, x) plumb_sim::store(p, x)
#define PLUMB_AS_VEC(p) plumb_sim::as_vec(p)
namespace plumb_sim
{
template <class T> inline const plumb_vec<T> *as_vec(const T *p)
{
    return reinterpret_cast<const plumb_vec<T> *>(p);
}
template <class T> inline plumb_vec<T> *as_vec(T *p) { return reinterpret_cast<plumb_vec<T> *>(p); }
} // namespace plumb_sim
#define plumb_ld16(p) plumb_sim::load(PLUMB_AS_VEC(p))
#define plumb_ldg16(p) plumb_sim::load(PLUMB_AS_VEC(p))
#define plumb_ldcs16(p) plumb_sim::load(PLUMB_AS_VEC(p))
#define plumb_st16(p, x) plumb_sim::store(PLUMB_AS_VEC(p), x)
#define plumb_stcs16(p, x) plumb_sim::store(PLUMB_AS_VEC(p), x)

#include <sim_coop.h>
#include <sim_math.h>
#include <sim_wmma.h>
