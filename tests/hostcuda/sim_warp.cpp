/* What the threads of a block or warp do together: barriers, collectives, asynchronous copies. */
#include "tests/hostcuda/sim_internal.h"

namespace plumb_sim
{
static void release_barrier()
{
    Block *b = blk;
    if (count_on) {
        count_barrier();
        for (Warp &w : b->warps)
            count_flush(&w);
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

void thread_exit()
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
}

int barrier(int pred, int op, const char *file, int line)
{
    Block *b = blk;
    const int par = b->par ^ 1; /* slot of the barrier being formed */
    if (b->arrived == 0)
        b->bfile = file, b->bline = line, b->red[par] = op == 1;
    else if (b->bline != line || (b->bfile != file && strcmp(b->bfile, file)))
        bad("divergent __syncthreads: %s:%d while others of the block wait at %s:%d", file, line,
            b->bfile, b->bline);
    if (op == 0)
        b->red[par] |= pred != 0;
    else if (op == 1)
        b->red[par] &= pred != 0;
    else
        b->red[par] += pred != 0;
    if (++b->arrived == b->alive)
        release_barrier();
    else
        fiber_wait(WAIT_BAR, "__syncthreads", file, line);
    return b->red[par];
}

static const char *const op_name[] = { "",         "shuffle", "vote", "__syncwarp",
                                       "__reduce", "__match", "mma",  "ldmatrix" };

/* The warp's collective under `mask`, made when it is the first. */
static Coll *coll_of(Warp *w, unsigned mask, const char *f, int l)
{
    for (int i = 0; i < w->ncoll; i++)
        if (w->coll[i].mask == mask) return &w->coll[i];
    if (w->ncoll == WARP_MASKS) {
        bad("%s:%d: more than %d different masks in one warp", f, l, WARP_MASKS);
        abort();
    }
    Coll *c = &w->coll[w->ncoll++];
    memset((void *)c, 0, offsetof(Coll, slot));
    c->mask = mask;
    return c;
}

Coll *coll_begin(unsigned mask, int op, const void *v, size_t n, const char *f, int l, int *par)
{
    Thread *t = cur;
    if (!(mask >> t->lane & 1))
        bad("%s:%d: %s: mask %08x does not contain the calling lane %u", f, l, op_name[op], mask,
            t->lane);
    Coll *c = coll_of(t->warp, mask, f, l);
    if (!c->arrived)
        c->op = op, c->file = f, c->line = l;
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
    if (last)
        release_coll(cur->warp, c);
    else
        fiber_wait(WAIT_COLL, op_name[c->op], c->file, c->line);
}

unsigned live_mask() { return cur->warp->alive; }
void *dyn_shared() { return blk->shared; }

/* cp.async: the copy is done as late as the program allows, at the wait, and until then the
 * destination holds NaN and counts as uninitialised: a missing wait cannot pass unseen. */
static void push_copy(Thread *t, const Copy &what)
{
    Copy *c = new Copy(what);
    (t->copy_tail ? t->copy_tail->next : t->copy_head) = c;
    t->copy_tail = c;
}

void copy_async(void *dst, const void *src, size_t n, size_t zero, const char *f, int l)
{
    const void *pc = __builtin_return_address(0);
    if (n != 4 && n != 8 && n != 16) bad("%s:%d: cp.async of %zu bytes", f, l, n);
    if ((uintptr_t)dst % n || (zero < n && (uintptr_t)src % n))
        bad("%s:%d: cp.async is misaligned", f, l);
    if (zero < n) access(src, n - zero, READ, pc);
    access(dst, n, WRITE, pc);
    memset(dst, 0xff, n);
    check_pending(dst, n);
    push_copy(cur, Copy{ dst, src, (unsigned)n, (unsigned)zero, pc, nullptr });
}

void copy_commit() /* an empty Copy ends a group */
{
    push_copy(cur, Copy{ nullptr, nullptr, 0, 0, nullptr, nullptr });
    cur->copy_groups++;
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
            count_on = false; /* counted when it was issued */
            access(c->dst, c->n, WRITE, c->pc);
            count_on = count;
        } else
            t->copy_groups--;
        delete c;
    }
}
} // namespace plumb_sim
