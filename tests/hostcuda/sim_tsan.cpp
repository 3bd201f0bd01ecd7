/* What clang's -fsanitize=thread calls in the kernels of the checking build. */
#include "tests/hostcuda/sim_internal.h"
#ifdef PLUMB_SIM_CHECK
#define PC __builtin_return_address(0)
using namespace plumb_sim;
extern "C" {
#define RW(n)                                                                                      \
    void __tsan_read##n(void *p) { plumb_sim::access(p, n, READ, PC); }                            \
    void __tsan_write##n(void *p) { plumb_sim::access(p, n, WRITE, PC); }                          \
    void __tsan_unaligned_read##n(void *p) { plumb_sim::access(p, n, READ_BYTES, PC); }            \
    void __tsan_unaligned_write##n(void *p) { plumb_sim::access(p, n, WRITE_BYTES, PC); }
RW(1) RW(2) RW(4) RW(8) RW(16) void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
void __tsan_ignore_thread_begin() {}
void __tsan_ignore_thread_end() {}
void __tsan_read_range(void *p, unsigned long n) { plumb_sim::access(p, n, READ_BYTES, PC); }
void __tsan_write_range(void *p, unsigned long n) { plumb_sim::access(p, n, WRITE_BYTES, PC); }
void *__tsan_memcpy(void *d, const void *s, unsigned long n)
{
    plumb_sim::access(s, n, READ_BYTES, PC), plumb_sim::access(d, n, WRITE_BYTES, PC);
    return memcpy(d, s, n);
}
void *__tsan_memmove(void *d, const void *s, unsigned long n)
{
    plumb_sim::access(s, n, READ_BYTES, PC), plumb_sim::access(d, n, WRITE_BYTES, PC);
    return memmove(d, s, n);
}
void *__tsan_memset(void *d, int v, unsigned long n)
{
    plumb_sim::access(d, n, WRITE_BYTES, PC);
    return memset(d, v, n);
}
/* std::atomic and __atomic_* in kernel files become these; kernels use atomicAdd and its kin */
#define ATOMICS(bits, T)                                                                           \
    T __tsan_atomic##bits##_load(const volatile T *p, int) { return __atomic_load_n(p, 5); }       \
    void __tsan_atomic##bits##_store(volatile T *p, T v, int) { __atomic_store_n(p, v, 5); }       \
    T __tsan_atomic##bits##_exchange(volatile T *p, T v, int)                                      \
    {                                                                                              \
        return __atomic_exchange_n(p, v, 5);                                                       \
    }                                                                                              \
    T __tsan_atomic##bits##_fetch_add(volatile T *p, T v, int)                                     \
    {                                                                                              \
        return __atomic_fetch_add(p, v, 5);                                                        \
    }                                                                                              \
    T __tsan_atomic##bits##_fetch_sub(volatile T *p, T v, int)                                     \
    {                                                                                              \
        return __atomic_fetch_sub(p, v, 5);                                                        \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile T *p, T *c, T v, int, int)          \
    {                                                                                              \
        return __atomic_compare_exchange_n(p, c, v, 0, 5, 5);                                      \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile T *p, T *c, T v, int, int)            \
    {                                                                                              \
        return __atomic_compare_exchange_n(p, c, v, 0, 5, 5);                                      \
    }
ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t) ATOMICS(64, uint64_t) void __tsan_atomic_thread_fence(int)
{
    __atomic_thread_fence(5);
}
void __tsan_atomic_signal_fence(int) {}
}
#endif
