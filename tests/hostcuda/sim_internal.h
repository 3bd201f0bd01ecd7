/* What the sim_*.cpp files share. Kernels and callers never include it. */
#pragma once
#include <functional>
#include <vector>

#include "kernels/gpu.h"
#include "tests/hostcuda/sim_count.h"

namespace plumb_sim
{
/* ---- a block on its worker thread (sim_exec.cpp, sim_fiber.cpp, sim_warp.cpp) ---- */
enum { WARP_MASKS = 16 }; /* distinct masks one warp may use in one block */
enum { READY, WAIT_BAR, WAIT_COLL, DONE };
struct WarpLog;
struct Warp {
    Thread *th[32];
    unsigned alive;
    Coll coll[WARP_MASKS];
    int ncoll;
    WarpLog *log; /* traffic counter */
};
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
extern __thread Block *blk;
extern __thread const char *kernel_name;
const size_t STACK = 128 << 10;
void fiber_prepare(Thread &t);
void fiber_start(Block &b); /* runs the block; returns when no thread can go on */
void fiber_wait(int state, const char *what, const char *file, int line);
[[noreturn]] void fiber_exit();
void thread_exit(); /* what a thread's end means to its warp and block */

unsigned env(const char *name, unsigned otherwise);

/* sim_stream.cpp: runs f now, or with PLUMB_SIM_LAZY=1 puts it at the end of the stream; in a
 * stream that is being captured, at the end of the graph */
void enqueue(cudaStream_t s, std::function<void()> f);
void drain_all(bool blocking_only);
/* Calls that a capture forbids (allocation, waiting) start with this. */
cudaError_t not_while_capturing(const char *what);
/* sim_runtime.cpp */
cudaError_t set_error(cudaError_t e);
int current_device();

/* sim_pool.cpp: f(i) for i < n on the worker pool */
void parallel(unsigned long n, const std::function<void(unsigned long)> &f);

/* sim_memory.cpp, or sim_check.cpp in the checking build */
void *dev_alloc(size_t n);
void dev_free(void *p);
bool dev_owner(const void *p, int *device); /* whether p lies in device memory, and in whose */
/* false and a report when the bytes are not device memory */
bool dev_span(const char *what, const void *p, size_t n, bool write);
cudaError_t dev_copy(void *d, const void *s, size_t n, int kind);
cudaError_t dev_set(void *d, int v, size_t n);
char *check_shared(); /* dynamic shared memory of the checking build */
void check_launch();
void check_block(unsigned id, size_t shared_bytes);
void check_own(int i, void *p, size_t n); /* the executor's own memory: not a kernel's business */
void check_pending(void *p, size_t n);    /* cp.async: the bytes are undefined until the wait */
void check_where(const void *pc, char *out, size_t n);
void check_name(const void *function, char *out, size_t n); /* leaves `out` when unknown */
extern bool check_on;

/* sim_count.cpp */
extern bool count_on;
void count_launch(const char *name, const void *kernel);
void count_block();
void count_access(const Thread *t, const void *p, size_t n, int kind, bool shared, const void *pc);
void count_flush(Warp *w); /* the lanes of w are in step here */
void count_barrier();
void count_end();
size_t arena_offset(const void *p); /* of device memory in the checking build */
} // namespace plumb_sim
