/* Sizes of the head's chunks, the layout of its scratch, and the runs of pairs. */
#include "kernels/logprob/logprob_plan.h"

enum {
    ALIGN = 64,
    /* Rows of a kept chunk: the tile of 36 MiB is 192 rows of 49152 columns. Each chunk reads and
     * writes all of dw once, so fewer rows would cost more than they save. */
    TILE_BYTES = 36 << 20,
    LEAST_KEPT = 192,
    MOST_KEPT = 1024,
    MOST_STREAMED = 1024, /* products gain nothing beyond */
    ROW_STEP = 32,
    /* Rows of dz are kept off each other's cache sets; the library also has better code for the
     * products with a strided dz than for those with a dense one. */
    PAD = 32,
};

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
static int64_t clamp(int64_t x, int64_t lo, int64_t hi) { return x < lo ? lo : least(x, hi); }

static size_t reserve(size_t *at, int64_t count, size_t bytes)
{
    const size_t here = *at;
    *at = (here + (size_t)count * bytes + ALIGN - 1) / ALIGN * ALIGN;
    return here;
}

struct plumb_logprob_plan plumb_logprob_plan(const struct plumb_logprob *a)
{
    struct plumb_logprob_plan p = { .vocab = a->valid_vocab ? a->valid_vocab : a->V };
    const int64_t in = (int64_t)plumb_dtype_bytes(a->x.dtype), H = a->H;
    p.slice = least(p.vocab, PLUMB_LOGPROB_SLICE);
    p.dz_stride = p.slice + PAD;
    const int64_t beside = p.dz_stride * in + H * (in + 4); /* bytes of a row in dz, x and dx */
    const int64_t kept = TILE_BYTES / (4 * p.vocab) / ROW_STEP * ROW_STEP;
    p.kept = clamp(kept, LEAST_KEPT, MOST_KEPT);
    const int64_t all = p.kept * (4 * p.vocab + beside), row = 4 * p.slice + beside;
    p.streamed = clamp(all / row / ROW_STEP * ROW_STEP, p.kept, MOST_STREAMED);
    p.kept = least(p.kept, a->M);
    p.streamed = least(p.streamed, a->M);

    size_t at = 0;
    const int64_t tile = p.kept * p.vocab, slice = p.streamed * p.slice;
    p.z = reserve(&at, tile > slice ? tile : slice, sizeof(float));
    p.dz = reserve(&at, p.streamed * p.dz_stride, (size_t)in);
    p.x = reserve(&at, p.streamed * H, (size_t)in);
    p.dx = reserve(&at, p.streamed * H, sizeof(float));
    p.runs = reserve(&at, p.streamed, sizeof(struct plumb_logprob_run));
    p.stats = reserve(&at, p.streamed, sizeof(struct plumb_logprob_stat));
    p.grads = reserve(&at, p.streamed, sizeof(struct plumb_logprob_grad));
    p.lse = reserve(&at, a->M, sizeof(float));
    p.entropy = reserve(&at, a->M, sizeof(float));
    p.bytes = at + ALIGN; /* the caller's block may start anywhere */
    return p;
}

int64_t plumb_logprob_runs(const struct plumb_logprob *a, int64_t from, int64_t end,
                           struct plumb_logprob_run *runs, int64_t capacity, int64_t *count)
{
    int64_t n = 0;
    while (from < end) {
        int64_t next = from;
        bool wanted = false;
        for (; next < end && a->row[next] == a->row[from]; next++)
            wanted |= a->target[next] >= 0;
        if (wanted && n == capacity) break;
        if (wanted && runs) runs[n] = (struct plumb_logprob_run){ from, next, a->row[from] };
        n += wanted;
        from = next;
    }
    *count = n;
    return from;
}
