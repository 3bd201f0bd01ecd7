/* Fibers: the threads of a block take turns on one worker. A fiber runs until it meets a barrier or
 * a warp collective. Never compiled with -fsanitize=thread. */
#include "tests/hostcuda/sim_internal.h"
#ifdef PLUMB_SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__) && !defined(PLUMB_SIM_UCONTEXT)
#define PLUMB_SIM_UCONTEXT 1
#endif
#ifdef PLUMB_SIM_UCONTEXT
#include <ucontext.h>
#endif

#ifdef PLUMB_SIM_ASAN /* else clang 15 and newer run fibers 15 times slower */
extern "C" const char *__asan_default_options();
extern "C" const char *__asan_default_options() { return "detect_stack_use_after_return=0"; }
#endif

namespace plumb_sim
{
__thread Thread *cur;
__thread Block *blk;

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
.hidden plumb_sim_switch
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

static void switch_to(void **save, Thread *t, bool dying) /* t NULL: back to fiber_start */
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

static void schedule(bool dying) /* leave the running fiber, go on with another */
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

void fiber_wait(int state, const char *what, const char *file, int line)
{
    Thread *me = cur;
    me->state = state, me->wait_what = what, me->wait_file = file, me->wait_line = line;
    schedule(false);
}

void fiber_exit()
{
    schedule(true);
    abort();
}

static void fiber_main()
{
    finish_switch(nullptr, false);
    blk->body(blk->arg);
    thread_exit();
    fiber_exit();
}

void fiber_prepare(Thread &t)
{
#ifdef PLUMB_SIM_UCONTEXT
    ucontext_t *u = (ucontext_t *)(t.stack + STACK - ((sizeof(ucontext_t) + 63) & ~63));
    getcontext(u);
    u->uc_stack.ss_sp = t.stack + 4096, u->uc_stack.ss_size = (char *)u - t.stack - 4096;
    u->uc_link = nullptr;
    makecontext(u, fiber_main, 0);
    t.sp = u;
#else
    /* stacks that began at the same place of a page would fight for the same lines of the cache */
    void **sp = (void **)(t.stack + STACK - t.lin * 9 % 61 * 128) - 2;
    *sp = (void *)fiber_main;
    t.sp = sp - 6;
#endif
}

void fiber_start(Block &b)
{
    switch_to(&b.main_sp, b.order[0], false);
    cur = nullptr;
}
} // namespace plumb_sim
