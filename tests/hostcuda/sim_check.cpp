/* Device memory of the checking build (PLUMB_SIM_CHECK), and a checker in the manner of
 * compute-sanitizer. Kernels are compiled by clang with -fsanitize=thread for its calls to
 * __tsan_read/write; libtsan is not linked, sim_tsan.cpp passes the calls on to access(). It knows
 * CUDA's rules: two accesses to one byte, one of them a non-atomic write, by threads of one block
 * must be parted by a barrier (or, within a warp, by a warp collective); by threads of two blocks
 * they are never ordered within a launch. The verdict does not depend on the order in which the
 * threads happened to run. */
#include "tests/hostcuda/sim_internal.h"
#ifdef PLUMB_SIM_CHECK
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

extern "C" char __start_plumb_shared[] __attribute__((weak)),
    __stop_plumb_shared[] __attribute__((weak));
extern "C" char __executable_start[], _end[];

namespace plumb_sim
{
bool races_across_blocks = true, check_on = true;
struct Cell { /* what is known of one byte */
    uint32_t wlaunch, wblock, wepoch, wclk, rlaunch, rblock, repoch, rclk;
    uint16_t wthread, rthread;
    uint8_t init, watomic, rmany; /* rmany: read by 1 several lanes, 2 several warps */
};
static const uint32_t MANY = 0xffffffff;
static const size_t ARENA = (size_t)4 << 30, SHARED = 228 << 10;
static char *arena;
static Cell *arena_cell;
static size_t top;
static std::map<char *, size_t> live, dead;
static std::mutex mu;
static char dyn[SHARED] __attribute__((aligned(256)));
static Cell dyn_cell[SHARED], *static_cell;
static size_t static_n, dyn_n;
static const char *own0[4], *own1[4];
static uint32_t launch_no;
static unsigned block_no;
static struct Env {
    Env() { check_on = env("PLUMB_SIM_RACES", 1); }
} env_read;

static void *reserve(size_t n)
{
    return mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                0);
}
static void setup()
{
    if (arena) return;
    arena = (char *)reserve(ARENA);
    arena_cell = (Cell *)reserve(ARENA * sizeof(Cell));
    if ((void *)arena == MAP_FAILED || (void *)arena_cell == MAP_FAILED) abort();
}
static bool in_arena(const void *p)
{
    return arena && (char *)p >= arena && (char *)p < arena + ARENA;
}
size_t arena_offset(const void *p) { return (char *)p - arena; }
void *dev_alloc(size_t n) /* addresses are never used twice */
{
    std::lock_guard<std::mutex> g(mu);
    setup();
    top = (top + 255) / 256 * 256 + 256;
    if (top + n > ARENA) return nullptr;
    char *p = arena + top;
    memset(p, 0xff, n);
    top += n, live[p] = n;
    return p;
}
void dev_free(void *p)
{
    std::lock_guard<std::mutex> g(mu);
    auto i = live.find((char *)p);
    if (i == live.end()) {
        bad("cudaFree of %p, which is not allocated", p);
        return;
    }
    const size_t page = 4096, from = ((size_t)i->first + page - 1) / page * page;
    const size_t to = ((size_t)i->first + i->second) / page * page;
    if (to > from) { /* the address stays dead, the memory goes back */
        madvise((void *)from, to - from, MADV_DONTNEED);
        const size_t cells = ((size_t)(arena_cell + (from - (size_t)arena)) + page - 1) / page *
                             page;
        const size_t end = (size_t)(arena_cell + (to - (size_t)arena)) / page * page;
        madvise((void *)cells, end - cells, MADV_DONTNEED);
    }
    dead[i->first] = i->second;
    live.erase(i);
}
bool dev_owner(const void *p, int *device) /* one device here */
{
    return *device = 0, in_arena(p);
}
static const char *owner(const void *p, size_t n) /* NULL: inside one live allocation */
{
    std::lock_guard<std::mutex> g(mu);
    auto i = live.upper_bound((char *)p);
    if (i != live.begin()) {
        --i;
        if ((char *)p + n <= i->first + i->second) return nullptr;
    }
    auto d = dead.upper_bound((char *)p);
    if (d != dead.begin()) {
        --d;
        if ((char *)p < d->first + d->second) return "freed device memory";
    }
    return "outside every device allocation";
}
bool dev_span(const char *what, const void *p, size_t n, bool write)
{
    if (!n) return true;
    if (!in_arena(p)) {
        bad("%s: %p is not device memory", what, p);
        return false;
    }
    if (const char *o = owner(p, n)) {
        bad("%s: %zu bytes at %p reach %s", what, n, p, o);
        return false;
    }
    if (!check_on) return true;
    Cell *c = arena_cell + ((char *)p - arena);
    size_t unset = 0;
    for (size_t i = 0; i < n; i++) {
        if (write)
            c[i].init = 1;
        else
            unset += !c[i].init;
    }
    if (unset && strncmp(what, "cudaMemcpy", 10))
        bad("%s: %zu of %zu bytes at %p are uninitialised", what, unset, n, p);
    return true;
}
cudaError_t dev_copy(void *d, const void *s, size_t n, int kind)
{
    const bool to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice ||
                    (kind == cudaMemcpyDefault && in_arena(d));
    const bool from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice ||
                      (kind == cudaMemcpyDefault && in_arena(s));
    if (from && !dev_span("cudaMemcpy from device", s, n, false)) return cudaErrorInvalidValue;
    if (to && !dev_span("cudaMemcpy to device", d, n, true)) return cudaErrorInvalidValue;
    if (to && from && check_on)
        for (size_t i = 0; i < n; i++)
            arena_cell[(char *)d - arena + i].init = arena_cell[(char *)s - arena + i].init;
    memmove(d, s, n);
    return cudaSuccess;
}
cudaError_t dev_set(void *d, int v, size_t n)
{
    if (!dev_span("cudaMemset", d, n, true)) return cudaErrorInvalidValue;
    memset(d, v, n);
    return cudaSuccess;
}
char *check_shared() { return dyn; }
void check_own(int i, void *p, size_t n) { own0[i] = (char *)p, own1[i] = own0[i] + n; }
void check_launch()
{
    setup();
    launch_no++;
    static_n = __stop_plumb_shared - __start_plumb_shared;
    if (static_n && !static_cell) static_cell = (Cell *)calloc(static_n, sizeof(Cell));
}
void check_block(unsigned id, size_t n)
{
    block_no = id, dyn_n = n;
    memset((void *)dyn_cell, 0, n * sizeof(Cell));
    if (!static_n) return;
    memset((void *)static_cell, 0, static_n * sizeof(Cell));
    memset(__start_plumb_shared, 0xff, static_n);
}
/* What addr2line says of an address of this program, line by line; NULL if there is none. */
static FILE *ask_addr2line(const char *options, size_t address)
{
    char cmd[400], exe[200] = "";
    if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0) return nullptr;
    const size_t base = (size_t)__executable_start > 0x10000000 ? (size_t)__executable_start : 0;
    snprintf(cmd, sizeof cmd, "addr2line %s -e %s 0x%zx 2>/dev/null", options, exe, address - base);
    return popen(cmd, "r");
}
void check_where(const void *pc, char *out, size_t n) /* file:line of an instruction */
{
    char line[300];
    snprintf(out, n, "pc %p", pc);
    FILE *f = ask_addr2line("-s -i", (size_t)pc - 1);
    if (!f) return;
    while (fgets(line, sizeof line, f)) { /* innermost first; the wrappers are of no interest */
        line[strcspn(line, "\n(")] = 0;
        snprintf(out, n, "%s", line);
        if (strncmp(line, "sim", 3) && strncmp(line, "gpu", 3)) break;
    }
    pclose(f);
}
/* Puts `now` where `was` stands in `text`, which does not become longer. */
static void rename_type(char *text, const char *was, const char *now)
{
    for (char *at; (at = strstr(text, was));) {
        memcpy(at, now, strlen(now));
        memmove(at + strlen(now), at + strlen(was), strlen(at + strlen(was)) + 1);
    }
}
void check_name(const void *function, char *out, size_t n) /* without types and arguments */
{
    char line[300];
    FILE *f = ask_addr2line("-f -C", (size_t)function);
    if (!f) return;
    if (fgets(line, sizeof line, f) && line[0] != '?') {
        line[strcspn(line, "\n(")] = 0;
        rename_type(line, "plumb_float16<plumb_bf16_format>", "bf16");
        rename_type(line, "plumb_float16<plumb_f16_format>", "f16");
        rename_type(line, " >", ">");
        const char *name = strncmp(line, "void ", 5) ? line : line + 5;
        snprintf(out, n, "%s", name);
    }
    pclose(f);
}
static std::map<const void *, int> said;
static void report(const char *what, const void *p, size_t n, bool w, const void *pc, const Cell *c,
                   bool vs_write)
{
    (void)p;
    if (said[pc]++) return;
    char at[300];
    check_where(pc, at, sizeof at);
    if (c)
        bad("%s: %s of %zu bytes at %s races with the %s of block %u thread %u;", what,
            w ? "write" : "read", n, at, vs_write ? "write" : "read",
            vs_write            ? c->wblock
            : c->rblock == MANY ? 0
                                : c->rblock,
            vs_write ? c->wthread : c->rthread);
    else
        bad("%s: %s of %zu bytes at %s;", what, w ? "write" : "read", n, at);
}
static Cell *cell_of(const char *a, size_t n, bool *shared, const char **wrong)
{
    *shared = true, *wrong = nullptr;
    if (a >= dyn && a < dyn + SHARED) {
        if (a + n > dyn + dyn_n) *wrong = "dynamic shared memory out of bounds";
        return dyn_cell + (a - dyn);
    }
    if (static_n && a >= __start_plumb_shared && a + n <= __stop_plumb_shared)
        return static_cell + (a - __start_plumb_shared);
    *shared = false;
    if (in_arena(a)) {
        *wrong = owner(a, n);
        return arena_cell + (a - arena);
    }
    if (a < __executable_start || a >= _end) *wrong = "kernel touches host memory";
    return nullptr; /* constants, __device__ variables */
}
void check_pending(void *p, size_t n)
{
    bool shared;
    const char *wrong;
    Cell *c = cell_of((char *)p, n, &shared, &wrong);
    for (size_t i = 0; c && !wrong && i < n; i++)
        c[i].init = 0;
}
static void check_byte(Cell *c, const Thread *t, const void *p, size_t n, bool w, bool at,
                       bool shared, const void *pc)
{
    const uint32_t ep = *t->bepoch, thr = t->lin, warp = thr >> 5;
    const char *race = shared ? "shared-memory race" : "global-memory race";
    if (!c->init && (!w || at)) {
        report(shared ? "uninitialised shared memory" : "uninitialised device memory", p, n, w, pc,
               nullptr, false);
        c->init = 1;
    }
    if (c->wlaunch == launch_no && !(at && c->watomic) &&
        !(c->wblock == block_no && c->wthread == thr)) {
        const bool ordered = c->wblock == block_no
                                 ? c->wepoch < ep || (c->wthread >> 5 == warp && c->wclk < t->wclk)
                                 : !races_across_blocks;
        if (!ordered) report(race, p, n, w, pc, c, true);
    }
    if (w && c->rlaunch == launch_no &&
        !(c->rblock == block_no && c->rthread == thr && !c->rmany)) {
        const bool ordered = c->rblock == block_no
                                 ? c->repoch < ep || (c->rmany != 2 && c->rthread >> 5 == warp &&
                                                      c->rclk < t->wclk)
                                 : !races_across_blocks;
        if (!ordered) report(race, p, n, w, pc, c, false);
    }
    if (w) {
        c->init = 1, c->wlaunch = launch_no, c->wblock = block_no, c->wepoch = ep,
        c->wclk = t->wclk;
        c->wthread = (uint16_t)thr, c->watomic = at, c->rlaunch = 0, c->rmany = 0;
    } else if (c->rlaunch != launch_no || (c->rblock == block_no && c->repoch < ep)) {
        c->rlaunch = launch_no, c->rblock = block_no, c->repoch = ep, c->rclk = t->wclk;
        c->rthread = (uint16_t)thr, c->rmany = 0;
    } else if (c->rblock != block_no) {
        c->rblock = MANY;
    } else {
        if (c->rthread != thr) c->rmany = c->rmany == 2 || c->rthread >> 5 != warp ? 2 : 1;
        if (c->rclk < t->wclk) c->rclk = t->wclk;
    }
}
static void check_access(Thread *t, const void *p, size_t n, int kind, const void *pc)
{
    const char *a = (const char *)p, *wrong;
    const bool w = kind != READ && kind != READ_BYTES;
    bool shared;
    for (int i = 0; i < 4; i++)
        if (a >= own0[i] && a < own1[i]) return;
    Cell *c = cell_of(a, n, &shared, &wrong);
    if (wrong) {
        report(wrong, p, n, w, pc, nullptr, false);
        return;
    }
    if (!c) return;
    if (kind < READ_BYTES && (n & (n - 1)) == 0 && (uintptr_t)p % n)
        report("misaligned access", p, n, w, pc, nullptr, false);
    if (count_on) count_access(t, p, n, kind, shared, pc);
    if (!check_on) return;
    for (size_t i = 0; i < n; i++)
        check_byte(c + i, t, p, n, w, kind == ATOMIC, shared, pc);
}
void access(const void *p, size_t n, int kind, const void *pc)
{
    static bool inside; /* the checker may share instrumented templates with the kernels */
    const bool w = kind != READ && kind != READ_BYTES;
    if (inside) return;
    if (cur) {
        inside = true;
        check_access(cur, p, n, kind, pc);
        inside = false;
    } else if (in_arena(p))
        report("host code touches device memory", p, n, w, pc, nullptr, false);
}
} // namespace plumb_sim
#endif
