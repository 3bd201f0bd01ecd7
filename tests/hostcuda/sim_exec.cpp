/* sim_exec.cpp - runs a grid on the CPU. The threads of a block are fibers of one worker (an OS
 * thread); blocks are dealt to workers. A fiber runs until it meets a barrier or a warp collective.
 * Never compiled with -fsanitize=thread. */
#include "tests/hostcuda/sim_internal.h"
#include <atomic>
#include <mutex>
#include <random>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>
#ifdef PLUMB_SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__) && !defined(PLUMB_SIM_UCONTEXT)
#define PLUMB_SIM_UCONTEXT 1
#endif
#ifdef PLUMB_SIM_UCONTEXT
#include <ucontext.h>
#endif

#ifdef PLUMB_SIM_ASAN /* else clang 15 and newer run fibers 15 times slower */
extern "C" const char *__asan_default_options()
{
    return "detect_stack_use_after_return=0";
}
#endif

namespace plumb_sim {
enum { READY, WAIT_BAR, WAIT_COLL, DONE };
struct Block {
    std::vector<Thread> th;
    std::vector<Warp> warps;
    std::vector<Thread *> order;
    unsigned n, alive, arrived, pos;
    uint32_t epoch;
    int red[2], par;
    const char *bfile;
    int bline;
    void *main_sp;
    char *shared, *stacks;
    size_t shared_cap, nstacks;
    void (*body)(void *);
    void *arg;
    const void *main_bottom;
    size_t main_size;
    bool failed;
};
static const size_t STACK = 128 << 10;
__thread Thread *cur;
static __thread Block *blk;
static std::mutex err_mu, launch_mu;
static std::atomic<int> nerr{0};
static __thread const char *kernel_name;
static unsigned launch_id;

unsigned env(const char *name, unsigned otherwise)
{
    const char *e = getenv(name);
    return e ? (unsigned)strtoul(e, nullptr, 0) : otherwise;
}
void bad(const char *fmt, ...)
{
    if (nerr++ >= 10) return;
    std::lock_guard<std::mutex> g(err_mu);
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "[cuda-sim] ");
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    if (cur)
        fprintf(stderr, "  kernel %s block (%u,%u,%u) thread (%u,%u,%u)", kernel_name, cur->bid.x,
                cur->bid.y, cur->bid.z, cur->tid.x, cur->tid.y, cur->tid.z);
    fprintf(stderr, "\n");
}
/* A program whose kernels were at fault never exits with success. */
static struct AtExit {
    ~AtExit()
    {
        if (!nerr) return;
        fprintf(stderr, "[cuda-sim] %d error(s)\n", (int)nerr);
        fflush(nullptr);
        _exit(3);
    }
} at_exit;
int errors() { return nerr; }
void forgive() { nerr = 0; }

/* ---- fibers ---------------------------------------------------------------------------------- */
#ifdef PLUMB_SIM_UCONTEXT
static void fiber_switch(void **save, void *to)
{
    ucontext_t me;
    *save = &me;
    swapcontext(&me, (ucontext_t *)to);
}
#else
extern "C" void plumb_sim_switch(void **save, void *to);
asm(R"(
.text
.globl plumb_sim_switch
.type plumb_sim_switch,@function
plumb_sim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size plumb_sim_switch,.-plumb_sim_switch
)");
static void fiber_switch(void **save, void *to) { plumb_sim_switch(save, to); }
#endif
static void finish_switch(void *fake, bool to_main)
{
    (void)fake, (void)to_main;
#ifdef PLUMB_SIM_ASAN
    const void *b;
    size_t s;
    __sanitizer_finish_switch_fiber(fake, &b, &s);
    if (!to_main && !blk->main_bottom) blk->main_bottom = b, blk->main_size = s;
#endif
}
static void switch_to(void **save, Thread *t, bool dying)       /* t NULL: back to run_block */
{
    void *fake = nullptr;
    const bool from_main = !cur;
#ifdef PLUMB_SIM_ASAN
    __sanitizer_start_switch_fiber(dying ? nullptr : &fake, t ? t->stack : blk->main_bottom,
                                   t ? STACK : blk->main_size);
#endif
    (void)dying;
    cur = t;
    fiber_switch(save, t ? t->sp : blk->main_sp);
    finish_switch(fake, from_main);
}
static void deadlock()
{
    bad("deadlock: no thread of the block can go on");
    int shown = 0;
    for (const Thread &t : blk->th)
        if (t.state != DONE && t.state != READY && shown++ < 4)
            fprintf(stderr, "    thread (%u,%u,%u) waits in %s at %s:%d\n", t.tid.x, t.tid.y,
                    t.tid.z, t.wait_what, t.wait_file, t.wait_line);
    fprintf(stderr, "    %u of %u threads have exited\n", blk->n - blk->alive, blk->n);
    blk->failed = true;
}
static void schedule(bool dying)                /* leave the running fiber, go on with another */
{
    Thread *me = cur;
    const unsigned n = blk->n;
    for (unsigned i = 1; i <= n; i++) {
        unsigned p = blk->pos + i;
        if (p >= n) p -= n;
        Thread *t = blk->order[p];
        if (t->state != READY) continue;
        if (t == me) return;
        blk->pos = p;
        switch_to(&me->sp, t, dying);
        return;
    }
    if (blk->alive) deadlock();
    switch_to(&me->sp, nullptr, dying);
}
static void wait(int state, const char *what, const char *file, int line)
{
    Thread *me = cur;
    me->state = state, me->wait_what = what, me->wait_file = file, me->wait_line = line;
    schedule(false);
}
static void release_barrier()
{
    Block *b = blk;
    if (count_on) {
        count_barrier();
        for (Warp &w : b->warps) count_flush(&w);
    }
    b->arrived = 0, b->epoch++, b->par ^= 1;
    for (Thread &t : b->th)
        if (t.state == WAIT_BAR) t.state = READY;
}
static void release_coll(Warp *w, Coll *c)
{
    const unsigned got = c->arrived;
    uint32_t clk = 0;
    if (count_on && got == w->alive) count_flush(w);
    c->got[c->gen & 1] = got, c->arrived = 0, c->gen++;
    for (int i = 0; i < 32; i++)
        if (got >> i & 1) clk = std::max(clk, w->th[i]->wclk);
    for (int i = 0; i < 32; i++)
        if (got >> i & 1) {
            w->th[i]->wclk = clk + 1;
            if (w->th[i]->state == WAIT_COLL) w->th[i]->state = READY;
        }
}
static void thread_exit()
{
    Thread *t = cur;
    Block *b = blk;
    Warp *w = t->warp;
    t->state = DONE;
    copy_wait(0);
    b->alive--, w->alive &= ~(1u << t->lane);
    if (count_on && !w->alive) count_flush(w);
    if (b->alive && b->arrived == b->alive) release_barrier();
    for (int i = 0; i < w->ncoll; i++) {
        Coll *c = &w->coll[i];
        if (c->arrived && c->arrived == (c->mask & w->alive)) release_coll(w, c);
    }
    schedule(true);
    abort();
}
static void fiber_main()
{
    finish_switch(nullptr, false);
    blk->body(blk->arg);
    thread_exit();
}
static void fiber_prepare(Thread &t)
{
#ifdef PLUMB_SIM_UCONTEXT
    ucontext_t *u = (ucontext_t *)(t.stack + STACK - ((sizeof(ucontext_t) + 63) & ~63));
    getcontext(u);
    u->uc_stack.ss_sp = t.stack + 4096, u->uc_stack.ss_size = (char *)u - t.stack - 4096;
    u->uc_link = nullptr;
    makecontext(u, fiber_main, 0);
    t.sp = u;
#else
    void **sp = (void **)(t.stack + STACK) - 2;
    *sp = (void *)fiber_main;
    t.sp = sp - 6;
#endif
}

/* ---- block- and warp-wide operations --------------------------------------------------------- */
int barrier(int pred, int op, const char *file, int line)
{
    Block *b = blk;
    const int par = b->par ^ 1;                 /* slot of the barrier being formed */
    if (b->arrived == 0)
        b->bfile = file, b->bline = line, b->red[par] = op == 1;
    else if (b->bline != line || strcmp(b->bfile, file))
        bad("divergent __syncthreads: %s:%d while others of the block wait at %s:%d", file, line,
            b->bfile, b->bline);
    if (op == 0) b->red[par] |= pred != 0;
    else if (op == 1) b->red[par] &= pred != 0;
    else b->red[par] += pred != 0;
    if (++b->arrived == b->alive) release_barrier();
    else wait(WAIT_BAR, "__syncthreads", file, line);
    return b->red[par];
}
static const char *const op_name[] = {"", "shuffle", "vote", "__syncwarp", "__reduce", "__match",
                                      "mma", "ldmatrix"};
Coll *coll_begin(unsigned mask, int op, const void *v, size_t n, const char *f, int l, int *par)
{
    Thread *t = cur;
    Warp *w = t->warp;
    if (!(mask >> t->lane & 1))
        bad("%s:%d: %s: mask %08x does not contain the calling lane %u", f, l, op_name[op], mask,
            t->lane);
    Coll *c = nullptr;
    for (int i = 0; i < w->ncoll; i++)
        if (w->coll[i].mask == mask) c = &w->coll[i];
    if (!c) {
        if (w->ncoll == WARP_MASKS) {
            bad("%s:%d: more than %d different masks in one warp", f, l, WARP_MASKS);
            abort();
        }
        c = &w->coll[w->ncoll++];
        memset((void *)c, 0, offsetof(Coll, slot));
        c->mask = mask;
    }
    if (!c->arrived) c->op = op, c->file = f, c->line = l;
    else if (c->op != op || c->line != l)
        bad("%s:%d: %s meets %s of %s:%d under the same mask %08x", f, l, op_name[op],
            op_name[c->op], c->file, c->line, mask);
    *par = c->gen & 1;
    if (n) memcpy(c->slot[*par][t->lane], v, n);
    c->arrived |= 1u << t->lane;
    return c;
}
bool coll_last(const Coll *c) { return c->arrived == (c->mask & cur->warp->alive); }
void coll_finish(Coll *c, bool last)
{
    if (last) release_coll(cur->warp, c);
    else wait(WAIT_COLL, op_name[c->op], c->file, c->line);
}
unsigned live_mask() { return cur->warp->alive; }
void *dyn_shared() { return blk->shared; }

/* cp.async: the copy is done as late as the program allows, at the wait, and until then the
 * destination holds NaN and counts as uninitialised: a missing wait cannot pass unseen. */
void copy_async(void *dst, const void *src, size_t n, size_t zero, const char *f, int l)
{
    if (n != 4 && n != 8 && n != 16) bad("%s:%d: cp.async of %zu bytes", f, l, n);
    if ((uintptr_t)dst % n || (zero < n && (uintptr_t)src % n))
        bad("%s:%d: cp.async is misaligned", f, l);
    Thread *t = cur;
    if (zero < n) access(src, n - zero, READ, __builtin_return_address(0));
    access(dst, n, WRITE, __builtin_return_address(0));
    memset(dst, 0xff, n);
    check_pending(dst, n);
    Copy *c = new Copy{dst, src, (unsigned)n, (unsigned)zero, __builtin_return_address(0), nullptr};
    (t->copy_tail ? t->copy_tail->next : t->copy_head) = c;
    t->copy_tail = c;
}
void copy_commit()                              /* an empty Copy ends a group */
{
    Thread *t = cur;
    Copy *c = new Copy{nullptr, nullptr, 0, 0, nullptr, nullptr};
    (t->copy_tail ? t->copy_tail->next : t->copy_head) = c;
    t->copy_tail = c;
    t->copy_groups++;
}
void copy_wait(int keep)
{
    Thread *t = cur;
    while (t->copy_head && (t->copy_groups > keep || t->state == DONE)) {
        Copy *c = t->copy_head;
        t->copy_head = c->next;
        if (!c->next) t->copy_tail = nullptr;
        if (c->n) {
            if (c->zero < c->n) memcpy(c->dst, c->src, c->n - c->zero);
            memset((char *)c->dst + c->n - c->zero, 0, c->zero);
            const bool count = count_on;
            count_on = false;                   /* counted when it was issued */
            access(c->dst, c->n, WRITE, c->pc);
            count_on = count;
        } else
            t->copy_groups--;
        delete c;
    }
}

/* ---- grid ------------------------------------------------------------------------------------ */
static void reserve_stacks(Block &b, unsigned n)
{
    if (b.nstacks >= n) return;
    if (b.stacks) munmap(b.stacks, b.nstacks * STACK);
    b.stacks = (char *)mmap(nullptr, n * STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b.stacks == MAP_FAILED) abort();
    b.nstacks = n;
    for (unsigned i = 0; i < n; i++) mprotect(b.stacks + i * STACK, 4096, PROT_NONE);
}
static void reserve_shared(Block &b, size_t bytes)
{
#if defined(PLUMB_SIM_CHECK)
    b.shared = check_shared();
#elif defined(PLUMB_SIM_ASAN)
    free(b.shared);                             /* exact size: red zones on both sides */
    b.shared = nullptr;
    if (bytes && posix_memalign((void **)&b.shared, 128, bytes)) abort();
#else
    if (b.shared_cap < bytes) {
        free(b.shared);
        b.shared = (char *)aligned_alloc(256, (bytes + 255) / 256 * 256);
        b.shared_cap = bytes;
    }
#endif
    if (bytes) memset(b.shared, 0xff, bytes);   /* NaN everywhere */
}
static void run_block(Block &b, dim3 g, dim3 bd, unsigned long id, size_t shared, unsigned order,
                      unsigned seed)
{
    blk = &b;
    const unsigned n = bd.x * bd.y * bd.z, nw = (n + 31) / 32;
    reserve_stacks(b, n);
    reserve_shared(b, shared);
    check_own(0, b.stacks, b.nstacks * STACK);      /* each host thread that launches has its own */
    b.th.resize(n), b.warps.resize(nw), b.order.resize(n);
    check_own(1, b.th.data(), n * sizeof(Thread));
    check_own(2, b.warps.data(), nw * sizeof(Warp));
    b.n = b.alive = n, b.arrived = 0, b.pos = 0, b.epoch = 1, b.par = 0, b.failed = false;
    check_block((unsigned)id, shared);
    if (count_on) count_block();
    for (Warp &w : b.warps) w.alive = 0, w.ncoll = 0;
    const uint3 bid = {(unsigned)(id % g.x), (unsigned)(id / g.x % g.y),
                       (unsigned)(id / g.x / g.y)};
    for (unsigned i = 0; i < n; i++) {
        Thread &t = b.th[i];
        t.tid = {i % bd.x, i / bd.x % bd.y, i / bd.x / bd.y};
        t.bid = bid, t.bdim = bd, t.gdim = g;
        t.lin = i, t.lane = i & 31, t.warp = &b.warps[i / 32], t.blk = &b;
        t.bepoch = &b.epoch, t.state = READY, t.wclk = 1;
        t.copy_head = t.copy_tail = nullptr, t.copy_groups = 0;
        t.warp->alive |= 1u << t.lane, t.warp->th[t.lane] = &t;
        t.stack = b.stacks + i * STACK;
#ifdef PLUMB_SIM_ASAN
        __asan_unpoison_memory_region(t.stack + 4096, STACK - 4096);
#endif
        fiber_prepare(t);
        b.order[i] = &t;
    }
    if (order == 1) std::reverse(b.order.begin(), b.order.end());
    if (order == 2)
        std::shuffle(b.order.begin(), b.order.end(), std::mt19937(seed * 1000003u + (unsigned)id));
    switch_to(&b.main_sp, b.order[0], false);
    cur = nullptr;
}
static void run_grid(const char *name, dim3 g, dim3 bd, size_t shared, void (*body)(void *),
                     void *arg)
{
    static const unsigned order = env("PLUMB_SIM_ORDER", 0);     /* 0 up, 1 down, 2 shuffled */
    static const unsigned seed = env("PLUMB_SIM_SEED", 1);
    std::lock_guard<std::mutex> one(launch_mu);
    const unsigned long nb = (unsigned long)g.x * g.y * g.z;
    std::vector<unsigned> blocks;
    launch_id++;
    if (order) {
        blocks.resize(nb);
        for (unsigned long i = 0; i < nb; i++) blocks[i] = (unsigned)i;
        if (order == 1) std::reverse(blocks.begin(), blocks.end());
        else std::shuffle(blocks.begin(), blocks.end(), std::mt19937(seed + launch_id));
    }
    check_launch();
    check_own(3, &cur, sizeof cur);
    if (count_on) count_launch(name, g, bd);
    std::atomic<bool> failed{false};
    parallel(nb, [&](unsigned long i) {
        static thread_local Block b;
        if (failed) return;
        kernel_name = name;
        b.body = body, b.arg = arg, b.main_bottom = nullptr;
        run_block(b, g, bd, blocks.empty() ? i : blocks[i], shared, order, seed);
        if (b.failed) failed = true;
    });
    if (count_on) count_end();
    if (failed) set_error(cudaErrorLaunchFailure);
}
cudaError_t launch(const char *name, dim3 g, dim3 bd, size_t shared, cudaStream_t stream,
                   void (*body)(void *), void (*release)(void *), void *arg)
{
    const unsigned n = bd.x * bd.y * bd.z;
    if (!n || n > 1024 || bd.x > 1024 || bd.y > 1024 || bd.z > 64 || !g.x || !g.y || !g.z ||
        g.y > 65535 || g.z > 65535 || shared > 227 * 1024) {
        bad("%s: invalid launch: grid (%u,%u,%u) block (%u,%u,%u) shared %zu", name, g.x, g.y, g.z,
            bd.x, bd.y, bd.z, shared);
        release(arg);
        return set_error(cudaErrorInvalidConfiguration);
    }
    enqueue(stream, [=] {
        run_grid(name, g, bd, shared, body, arg);
        release(arg);
    });
    return cudaSuccess;
}
}
