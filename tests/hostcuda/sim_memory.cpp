/* Device memory of the plain and the sanitised build: the host's, filled with NaN. */
#include "tests/hostcuda/sim_internal.h"
#ifndef PLUMB_SIM_CHECK
#include <map>
#include <mutex>

namespace plumb_sim
{
bool races_across_blocks = true, check_on = true;
void check_launch() {}
void check_block(unsigned, size_t) {}
void check_own(int, void *, size_t) {}
void check_pending(void *, size_t) {}
void check_where(const void *, char *out, size_t n) { snprintf(out, n, "?"); }
void check_name(const void *, char *, size_t) {}
char *check_shared() { return nullptr; }
size_t arena_offset(const void *) { return 0; }
void access(const void *p, size_t n, int kind, const void *)
{
    if ((uintptr_t)p % n && (n & (n - 1)) == 0) bad("misaligned access of %zu bytes at %p", n, p);
    (void)kind;
}
struct Allocation {
    size_t bytes;
    int device;
};
static std::map<const char *, Allocation> live;
static std::mutex mu;
void *dev_alloc(size_t n) /* aligned as cudaMalloc's, NaN-filled, exact for ASan */
{
    void *p = nullptr;
    if (posix_memalign(&p, 256, n ? n : 1)) return nullptr;
    memset(p, 0xff, n);
    std::lock_guard<std::mutex> g(mu);
    live[(char *)p] = { n, current_device() };
    return p;
}
void dev_free(void *p)
{
    std::lock_guard<std::mutex> g(mu);
    live.erase((char *)p);
    free(p);
}
bool dev_owner(const void *p, int *device)
{
    std::lock_guard<std::mutex> g(mu);
    auto i = live.upper_bound((const char *)p);
    if (i == live.begin()) return false;
    --i;
    *device = i->second.device;
    return (const char *)p < i->first + (i->second.bytes ? i->second.bytes : 1);
}
bool dev_span(const char *, const void *p, size_t n, bool)
{
#ifdef PLUMB_SIM_ASAN /* touch both ends: ASan names the allocation */
    if (n) (void)*(const volatile char *)p, (void)((const volatile char *)p)[n - 1];
#else
    (void)p, (void)n;
#endif
    return true;
}
cudaError_t dev_copy(void *d, const void *s, size_t n, int)
{
    return memmove(d, s, n), cudaSuccess;
}
cudaError_t dev_set(void *d, int v, size_t n) { return memset(d, v, n), cudaSuccess; }
} // namespace plumb_sim
#endif
