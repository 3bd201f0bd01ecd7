/* Runs a grid on the CPU: blocks are dealt to workers, and each block's threads run as fibers. */
#include "tests/hostcuda/sim_internal.h"
#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef PLUMB_SIM_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace plumb_sim
{
__thread const char *kernel_name;
static std::mutex err_mu, launch_mu;
static std::atomic<int> nerr{ 0 };
static unsigned launch_id;

unsigned env(const char *name, unsigned otherwise)
{
    const char *e = getenv(name);
    return e ? (unsigned)strtoul(e, nullptr, 0) : otherwise;
}

void bad(const char *fmt, ...)
{
    if (nerr++ >= 40) return;
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

static void reserve_stacks(Block &b, unsigned n)
{
    if (b.nstacks >= n) return;
    if (b.stacks) munmap(b.stacks, b.nstacks * STACK);
    b.stacks = (char *)mmap(nullptr, n * STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b.stacks == MAP_FAILED) abort();
    b.nstacks = n;
    for (unsigned i = 0; i < n; i++)
        mprotect(b.stacks + i * STACK, 4096, PROT_NONE);
}

static void reserve_shared(Block &b, size_t bytes)
{
#if defined(PLUMB_SIM_CHECK)
    b.shared = check_shared();
#elif defined(PLUMB_SIM_ASAN)
    free(b.shared); /* exact size: red zones on both sides */
    b.shared = nullptr;
    if (bytes && posix_memalign((void **)&b.shared, 128, bytes)) abort();
#else
    if (b.shared_cap < bytes) {
        free(b.shared);
        b.shared = (char *)aligned_alloc(256, (bytes + 255) / 256 * 256);
        b.shared_cap = bytes;
    }
#endif
    if (bytes) memset(b.shared, 0xff, bytes); /* NaN everywhere */
}

static void make_thread(Block &b, unsigned i, uint3 bid, dim3 bd, dim3 g)
{
    Thread &t = b.th[i];
    t.tid = { i % bd.x, i / bd.x % bd.y, i / bd.x / bd.y };
    t.bid = bid, t.bdim = bd, t.gdim = g;
    t.lin = i, t.lane = i & 31, t.warp = &b.warps[i / 32];
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

static void run_block(Block &b, dim3 g, dim3 bd, unsigned long id, size_t shared, unsigned order,
                      unsigned seed)
{
    blk = &b;
    const unsigned n = bd.x * bd.y * bd.z, nw = (n + 31) / 32;
    reserve_stacks(b, n);
    reserve_shared(b, shared);
    check_own(0, b.stacks, b.nstacks * STACK); /* each host thread that launches has its own */
    b.th.resize(n), b.warps.resize(nw), b.order.resize(n);
    check_own(1, b.th.data(), n * sizeof(Thread));
    check_own(2, b.warps.data(), nw * sizeof(Warp));
    b.n = b.alive = n, b.arrived = 0, b.pos = 0, b.epoch = 1, b.par = 0, b.failed = false;
    check_block((unsigned)id, shared);
    if (count_on) count_block();
    for (Warp &w : b.warps)
        w.alive = 0, w.ncoll = 0;
    const uint3 bid = { (unsigned)(id % g.x), (unsigned)(id / g.x % g.y),
                        (unsigned)(id / g.x / g.y) };
    for (unsigned i = 0; i < n; i++)
        make_thread(b, i, bid, bd, g);
    if (order == 1) std::reverse(b.order.begin(), b.order.end());
    if (order == 2)
        std::shuffle(b.order.begin(), b.order.end(), std::mt19937(seed * 1000003u + (unsigned)id));
    fiber_start(b);
}

/* The order of the blocks: ascending (empty), descending or shuffled. */
static std::vector<unsigned> block_order(unsigned long count, unsigned order, unsigned seed)
{
    std::vector<unsigned> blocks;
    launch_id++;
    if (!order) return blocks;
    for (unsigned long i = 0; i < count; i++)
        blocks.push_back((unsigned)i);
    if (order == 1)
        std::reverse(blocks.begin(), blocks.end());
    else
        std::shuffle(blocks.begin(), blocks.end(), std::mt19937(seed + launch_id));
    return blocks;
}

static void run_grid(const char *name, const void *kernel, dim3 g, dim3 bd, size_t shared,
                     void (*body)(void *), void *arg)
{
    static const unsigned order = env("PLUMB_SIM_ORDER", 0); /* 0 up, 1 down, 2 shuffled */
    static const unsigned seed = env("PLUMB_SIM_SEED", 1);
    std::lock_guard<std::mutex> one(launch_mu);
    const unsigned long nb = (unsigned long)g.x * g.y * g.z;
    const std::vector<unsigned> blocks = block_order(nb, order, seed);
    const int before = nerr;
    check_launch();
    check_own(3, &cur, sizeof cur);
    if (count_on) count_launch(name, kernel);
    std::atomic<bool> failed{ false };
    parallel(nb, [&](unsigned long i) {
        static thread_local Block b;
        if (failed) return;
        kernel_name = name;
        b.body = body, b.arg = arg, b.main_bottom = nullptr;
        run_block(b, g, bd, blocks.empty() ? i : blocks[i], shared, order, seed);
        if (b.failed) failed = true;
    });
    if (count_on) count_end();
    if (failed || nerr > before) set_error(cudaErrorLaunchFailure);
}

cudaError_t launch(const char *name, const void *kernel, dim3 g, dim3 bd, size_t shared,
                   cudaStream_t stream, void (*body)(void *), void (*release)(void *), void *arg)
{
    const unsigned n = bd.x * bd.y * bd.z;
    const std::shared_ptr<void> kept(arg, release); /* a graph may run it more than once */
    if (!n || n > 1024 || bd.x > 1024 || bd.y > 1024 || bd.z > 64 || !g.x || !g.y || !g.z ||
        g.x > 0x7fffffff || g.y > 65535 || g.z > 65535 || shared > 227 * 1024) {
        bad("%s: invalid launch: grid (%u,%u,%u) block (%u,%u,%u) shared %zu", name, g.x, g.y, g.z,
            bd.x, bd.y, bd.z, shared);
        return set_error(cudaErrorInvalidConfiguration);
    }
    enqueue(stream, [=] { run_grid(name, kernel, g, bd, shared, body, kept.get()); });
    return cudaSuccess;
}
} // namespace plumb_sim
