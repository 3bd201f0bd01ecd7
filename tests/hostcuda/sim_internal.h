/* sim_internal.h - what the sim_*.cpp files share. Kernels and callers never include it. */
#pragma once
#include "kernels/gpu.h"
#include "tests/hostcuda/sim_count.h"
#include <functional>

namespace plumb_sim {
enum { WARP_MASKS = 16 };           /* distinct masks one warp may use in one block */
struct WarpLog;
struct Warp {
    Thread *th[32];
    unsigned alive;
    Coll coll[WARP_MASKS];
    int ncoll;
    WarpLog *log;                   /* traffic counter */
};
unsigned env(const char *name, unsigned otherwise);

/* sim_runtime.cpp: runs f now, or with PLUMB_SIM_LAZY=1 puts it at the end of the stream */
void enqueue(cudaStream_t s, std::function<void()> f);
cudaError_t set_error(cudaError_t e);

/* sim_pool.cpp: f(i) for i < n on the worker pool */
void parallel(unsigned long n, const std::function<void(unsigned long)> &f);

/* sim_check.cpp */
void *dev_alloc(size_t n);
void dev_free(void *p);
bool dev_span(const char *what, const void *p, size_t n,
              bool write); /* false + report if not ours */
cudaError_t dev_copy(void *d, const void *s, size_t n, int kind);
cudaError_t dev_set(void *d, int v, size_t n);
char *check_shared();                           /* dynamic shared memory of the checking build */
void check_launch();
void check_block(unsigned id, size_t shared_bytes);
void check_own(int i, void *p, size_t n); /* the executor's own memory: not a kernel's business */
void check_pending(void *p, size_t n);    /* cp.async: the bytes are undefined until the wait */
void check_where(const void *pc, char *out, size_t n);
extern bool check_on;

/* sim_count.cpp */
extern bool count_on;
void count_launch(const char *name, dim3 grid, dim3 block);
void count_block();
void count_access(const Thread *t, const void *p, size_t n, int kind, bool shared, const void *pc);
void count_flush(Warp *w);                      /* the lanes of w are in step here */
void count_barrier();
void count_end();
size_t arena_offset(const void *p);             /* of device memory in the checking build */
}
