/* Sizes of the head's chunks, the layout of its scratch, and the runs of pairs. */
#include "kernels/logprob/logprob_plan.h"

enum {
    ALIGN = 64,
    /* Rows of a kept chunk: 256 of 32768 columns, where all of scratch is then a twentieth of what
     * the plain computation takes for 2048 rows; never fewer than 192, because each chunk reads and
     * writes all of dw once, which would cost more than they save. */
    TILE_BYTES = 32 << 20,
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

/* Buffers of a chunk of `rows` rows and `columns` logits each, from `at` on; returns their end. */
static size_t lay_out(struct plumb_logprob_layout *l, const struct plumb_logprob *a,
                      const struct plumb_logprob_plan *p, int64_t columns, size_t at)
{
    const size_t in = plumb_dtype_bytes(a->x.dtype);
    l->z = reserve(&at, l->rows * columns, sizeof(float));
    l->dz = reserve(&at, l->rows * p->dz_stride, in);
    l->x = reserve(&at, l->rows * a->H, in);
    l->dx = reserve(&at, l->rows * a->H, sizeof(float));
    return at;
}

struct plumb_logprob_plan plumb_logprob_plan(const struct plumb_logprob *a)
{
    struct plumb_logprob_plan p = { .vocab = a->valid_vocab ? a->valid_vocab : a->V };
    const int64_t in = (int64_t)plumb_dtype_bytes(a->x.dtype);
    p.slice = least(p.vocab, PLUMB_LOGPROB_SLICE);
    p.dz_stride = p.slice + PAD;
    const int64_t beside = p.dz_stride * in + a->H * (in + 4); /* bytes of a row in dz, x and dx */
    const int64_t fit = TILE_BYTES / (4 * p.vocab) / ROW_STEP * ROW_STEP;
    const int64_t kept = clamp(fit, LEAST_KEPT, MOST_KEPT);
    const int64_t all = kept * (4 * p.vocab + beside), row = 4 * p.slice + beside;
    p.kept.rows = least(kept, a->M);
    p.streamed.rows = least(clamp(all / row / ROW_STEP * ROW_STEP, kept, MOST_STREAMED), a->M);

    size_t at = 0;
    p.lse = reserve(&at, a->M, sizeof(float));
    p.entropy = reserve(&at, a->M, sizeof(float));
    p.runs = reserve(&at, p.streamed.rows, sizeof(struct plumb_logprob_run));
    p.stats = reserve(&at, p.streamed.rows, sizeof(struct plumb_logprob_stat));
    p.grads = reserve(&at, p.streamed.rows, sizeof(struct plumb_logprob_grad));
    const size_t one = lay_out(&p.kept, a, &p, p.vocab, at);
    const size_t other = lay_out(&p.streamed, a, &p, p.slice, at);
    p.bytes = (one > other ? one : other) + ALIGN; /* the caller's block may start anywhere */
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
