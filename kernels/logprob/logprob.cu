/* The head on a device: chunks of pairs through matrix products and row kernels, all of them queued
 * on the device's stream. See logprob_gpu.h for the schedule. */
#include <plumb/sample.h>

#include "kernels/logprob/logprob_chunk.h"
#include "kernels/logprob/logprob_gpu.h"
#include "kernels/matmul/matmul_gpu.h"

/* A streamed chunk's tile, 2048 x 4096 logits, is 32 MiB, which the cache of a large GPU holds; its
 * products have 256 tiles of 128 x 256. A kept chunk reads and writes all of dw once, so it has as
 * many pairs as its budget allows. */
enum { SLAB = PLUMB_LOGPROB_SLAB, STREAMED = PLUMB_LOGPROB_STREAMED };
enum { COLUMNS = 64, LEAST_KEPT = 128, ALIGN = 256 };
/* An f32 product adds up in one chain, and rounding grows with its length: f32 gradients are added
 * slab by slab and, over pairs, 256 at a time. A bf16 gradient is rounded far more by itself. */
enum { DEPTH = 256 };

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
static int64_t most(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t round_up(int64_t x, int64_t to) { return plumb_ceil_div(x, to) * to; }

static size_t reserve(size_t *at, int64_t count, size_t bytes)
{
    const size_t here = *at;
    *at += (size_t)round_up(count * (int64_t)bytes, ALIGN);
    return here;
}

static bool wants_gradient(const struct plumb_logprob *a)
{
    return a->dx.data || a->dw.data || a->dbias.data;
}

struct logprob_sizes logprob_sizes_of(const struct plumb_logprob *a)
{
    struct logprob_sizes s = {};
    size_t at = 0;
    s.vocab = a->valid_vocab ? a->valid_vocab : a->V;
    s.slab = round_up(plumb_ceil_div(s.vocab, plumb_ceil_div(s.vocab, SLAB)), COLUMNS);
    s.tall = round_up(s.vocab, COLUMNS);
    s.width = round_up(a->H, 8);
    s.streamed = least(STREAMED, a->M);
    if (wants_gradient(a) || a->chooser) {
        const int64_t fit = PLUMB_LOGPROB_TILE_BYTES / (4 * s.tall) / LEAST_KEPT * LEAST_KEPT;
        s.kept = least(least(most(fit, LEAST_KEPT), PLUMB_LOGPROB_KEPT), a->M);
    }
    const int64_t pairs = most(s.streamed, s.kept);
    s.lse = reserve(&at, a->M, sizeof(float));
    s.entropy = reserve(&at, a->M, sizeof(float));
    s.goal = reserve(&at, pairs, sizeof(int32_t));
    s.link = reserve(&at, pairs, 2 * sizeof(int32_t));
    s.stat = reserve(&at, pairs, sizeof(struct logprob_stat));
    s.terms = reserve(&at, pairs, sizeof(struct logprob_terms));
    s.x = reserve(&at, pairs * s.width, plumb_gpu_bytes(a->x.dtype));
    s.dx = reserve(&at, a->dx.data ? pairs * s.width : 0, sizeof(float));
    s.tile = reserve(&at, most(s.streamed * s.slab, s.kept * s.tall), sizeof(float));
    s.bytes = at + ALIGN; /* the caller's block may start anywhere */
    return s;
}

static void begin(struct logprob_chunk *c, const struct plumb_device *dev,
                  const struct plumb_logprob *a)
{
    *c = logprob_chunk{ dev, *a, logprob_sizes_of(a), NULL, false, false, 0, 0 };
    const uintptr_t start = (uintptr_t)a->work.data;
    c->scratch = (char *)a->work.data + (ALIGN - start % ALIGN) % ALIGN;
    if (!a->lse.data) c->a.lse = plumb_tensor{ c->scratch + c->at.lse, PLUMB_F32 };
    if (!a->entropy.data) c->a.entropy = plumb_tensor{ c->scratch + c->at.entropy, PLUMB_F32 };
}

/* Takes the next pairs from `from` on; returns the first left over, or a status below 0. */
static int64_t take(struct logprob_chunk *c, int64_t from, int64_t end, bool kept)
{
    c->kept = kept;
    c->first = from;
    c->rows = least(end - from, kept ? c->at.kept : c->at.streamed);
    const int rc = logprob_gather(c);
    return rc ? rc : from + c->rows;
}

static struct plumb_tensor panel(const struct logprob_chunk *c)
{
    return plumb_tensor{ c->scratch + c->at.x, c->a.x.dtype };
}

/* The tile from column `from` on, as logits or as their gradient in the dtype of x. */
static struct plumb_tensor columns(const struct logprob_chunk *c, int64_t from,
                                   enum plumb_dtype type)
{
    const struct plumb_tensor t = { logprob_tile(c), type };
    return logprob_from(&t, c->kept ? from : 0);
}

/* u = x W^T + bias for a slab. The algorithm is that of a whole streamed chunk, so that neither the
 * number of pairs nor the kind of chunk changes a bit. */
static int make_logits(const struct logprob_chunk *c, int64_t from)
{
    const struct plumb_logprob *a = &c->a;
    struct plumb_matmul m = {}, like;
    m.M = c->rows, m.N = least(c->at.slab, c->at.vocab - from), m.K = a->H;
    m.a = panel(c), m.lda = c->at.width;
    m.b = logprob_from(&a->w, from * a->H), m.ldb = a->H, m.trans_b = true;
    m.c = columns(c, from, PLUMB_F32), m.ldc = logprob_stride(c);
    m.bias = logprob_from(&a->bias, from);
    m.batch_invariant = a->batch_invariant;
    like = m;
    like.M = STREAMED, like.ldc = c->at.slab;
    return plumb_gpu_matmul(c->dev, &m, &like);
}

static int forward(const struct logprob_chunk *c)
{
    for (int64_t from = 0; from < c->at.vocab; from += c->at.slab) {
        PLUMB_TRY(make_logits(c, from));
        PLUMB_TRY(logprob_stats(c, from));
    }
    return PLUMB_OK;
}

/* The gradient's columns from `from` on, and the elements between its rows. */
static struct plumb_tensor gradient(const struct logprob_chunk *c, int64_t from, int64_t *stride)
{
    *stride = logprob_stride(c) * (int64_t)(sizeof(float) / plumb_gpu_bytes(c->a.x.dtype));
    return columns(c, from, c->a.x.dtype);
}

/* dX += dZ W for columns [from, end). */
static int add_to_x(const struct logprob_chunk *c, int64_t from, int64_t end)
{
    struct plumb_matmul m = {}, like;
    m.M = c->rows, m.N = c->a.H, m.K = end - from;
    m.a = gradient(c, from, &m.lda);
    m.b = logprob_from(&c->a.w, from * c->a.H), m.ldb = c->a.H;
    m.c = plumb_tensor{ c->scratch + c->at.dx, PLUMB_F32 }, m.ldc = c->at.width;
    m.accumulate = from > 0;
    like = m;
    like.M = STREAMED;
    return plumb_gpu_matmul(c->dev, &m, &like);
}

/* dW += dZ^T x for columns [from, end). */
static int add_to_w(const struct logprob_chunk *c, int64_t from, int64_t end)
{
    const int64_t step = c->a.x.dtype == PLUMB_F32 ? (int64_t)DEPTH : c->rows;
    const struct plumb_tensor x = panel(c);
    struct plumb_matmul m = {};
    int64_t stride;
    const struct plumb_tensor dz = gradient(c, from, &stride);
    for (int64_t r = 0; r < c->rows; r += step) {
        m.M = end - from, m.N = c->a.H, m.K = least(step, c->rows - r);
        m.a = logprob_from(&dz, r * stride), m.lda = stride, m.trans_a = true;
        m.b = logprob_from(&x, r * c->at.width), m.ldb = c->at.width;
        m.c = logprob_from(&c->a.dw, from * c->a.H), m.ldc = c->a.H;
        m.accumulate = true;
        PLUMB_TRY(plumb_gpu_matmul(c->dev, &m, NULL));
    }
    return PLUMB_OK;
}

/* The gradient of columns [from, end), whose logits lie in the tile. */
static int back_through(const struct logprob_chunk *c, int64_t from, int64_t end)
{
    const struct plumb_logprob *a = &c->a;
    const int64_t step = a->x.dtype == PLUMB_F32 ? c->at.slab : end - from;
    PLUMB_TRY(logprob_grad(c, from, end));
    if (a->dbias.data) PLUMB_TRY(logprob_add_bias(c, from, end));
    for (int64_t at = from; at < end && a->dx.data; at += step)
        PLUMB_TRY(add_to_x(c, at, least(at + step, end)));
    return a->dw.data ? add_to_w(c, from, end) : PLUMB_OK;
}

static int backward(const struct logprob_chunk *c)
{
    const int64_t step = c->kept ? c->at.vocab : c->at.slab;
    PLUMB_TRY(logprob_find_terms(c));
    for (int64_t from = 0; from < c->at.vocab; from += step) {
        if (!c->kept) PLUMB_TRY(make_logits(c, from));
        PLUMB_TRY(back_through(c, from, least(from + step, c->at.vocab)));
    }
    return c->a.dx.data ? logprob_scatter(c) : PLUMB_OK;
}

static int zero_dx(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    const size_t bytes = (size_t)(a->N * a->H) * plumb_gpu_bytes(a->dx.dtype);
    if (!a->dx.data || !bytes) return PLUMB_OK;
    return plumb_gpu_status(cudaMemsetAsync(a->dx.data, 0, bytes, plumb_gpu_stream(dev)),
                            "logprob");
}

static int64_t logprob_workspace(const struct plumb_device *, const struct plumb_logprob *a)
{
    return (int64_t)logprob_sizes_of(a).bytes;
}
PLUMB_GPU_OP(logprob_workspace, plumb_logprob);

static int logprob_fwd(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    struct logprob_chunk c;
    begin(&c, dev, a);
    for (int64_t from = 0; from < a->M;) {
        from = take(&c, from, a->M, false);
        if (from < 0) return (int)from;
        PLUMB_TRY(forward(&c));
    }
    return PLUMB_OK;
}
PLUMB_GPU_OP(logprob_fwd, plumb_logprob);

static int logprob_bwd(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    struct logprob_chunk c;
    PLUMB_TRY(zero_dx(dev, a));
    if (!wants_gradient(a)) return PLUMB_OK;
    struct plumb_logprob b = *a;
    const bool lacks = !a->lse.data || (a->dentropy.data && !a->entropy.data);
    b.logp.data = b.log_sum_sq.data = b.mean_logit.data = NULL; /* forward's stay as they are */
    b.argmax = NULL;
    if (lacks) b.lse.data = NULL;
    if (lacks) b.entropy.data = NULL;
    begin(&c, dev, &b);
    for (int64_t from = 0; from < a->M;) {
        from = take(&c, from, a->M, false);
        if (from < 0) return (int)from;
        if (lacks) PLUMB_TRY(forward(&c));
        PLUMB_TRY(backward(&c));
    }
    return PLUMB_OK;
}
PLUMB_GPU_OP(logprob_bwd, plumb_logprob);

/* Groups from `g` on that go through the next chunk together: as many as fit a kept one, or, when
 * the first is too large for that, as many of its kind as fill a streamed one. */
static int64_t last_group(const struct logprob_chunk *c, int64_t g, bool *kept)
{
    const int32_t *group = c->a.group;
    int64_t sum = 0;
    for (int64_t k = g; k < c->a.groups; k++) {
        const int64_t pairs = group[k + 1] - group[k];
        const bool fits = pairs <= c->at.kept;
        if (k == g) *kept = fits;
        if (fits != *kept) return k;
        sum += pairs;
        if (k > g && sum > (*kept ? c->at.kept : c->at.streamed)) return k;
    }
    return c->a.groups;
}

/* Pairs [first, end), which no kept chunk holds: backward reads what forward stored. */
static int fused_range(struct logprob_chunk *c, int64_t first, int64_t end)
{
    const struct plumb_logprob *a = &c->a;
    for (int64_t from = first; from < end;) {
        from = take(c, from, end, false);
        if (from < 0) return (int)from;
        PLUMB_TRY(forward(c));
    }
    const bool whole = c->first == first;
    PLUMB_TRY(a->epilogue(a->epilogue_ctx, first, end - first));
    for (int64_t from = first; from < end && wants_gradient(a);) {
        from = whole ? end : take(c, from, end, false);
        if (from < 0) return (int)from;
        PLUMB_TRY(backward(c));
    }
    return PLUMB_OK;
}

static int logprob_fused(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    struct logprob_chunk c;
    begin(&c, dev, a);
    PLUMB_TRY(zero_dx(dev, a));
    for (int64_t g = 0, next; g < a->groups; g = next) {
        bool kept = true;
        next = last_group(&c, g, &kept);
        const int64_t first = a->group[g], end = a->group[next];
        if (first == end) continue;
        if (!kept) {
            PLUMB_TRY(fused_range(&c, first, end));
            continue;
        }
        const int64_t rc = take(&c, first, end, true);
        if (rc < 0) return (int)rc;
        PLUMB_TRY(forward(&c));
        PLUMB_TRY(a->epilogue(a->epilogue_ctx, first, end - first));
        PLUMB_TRY(backward(&c));
    }
    return PLUMB_OK;
}
PLUMB_GPU_OP(logprob_fused, plumb_logprob);

/* The kept logits of a chunk go to the chooser, which queues what writes the targets. */
static int logprob_choose(const struct plumb_device *dev, const struct plumb_logprob *a)
{
    struct logprob_chunk c;
    begin(&c, dev, a);
    c.choosing = true;
    for (int64_t from = 0; from < a->M;) {
        const int64_t first = from;
        from = take(&c, from, a->M, true);
        if (from < 0) return (int)from;
        PLUMB_TRY(forward(&c));
        PLUMB_TRY(logprob_shape(&c));
        const struct plumb_logits z = { logprob_tile(&c), c.rows, c.at.vocab, c.at.vocab,
                                        logprob_stride(&c) };
        PLUMB_TRY(a->chooser(a->chooser_ctx, &z, first));
        PLUMB_TRY(logprob_finish(&c));
    }
    return PLUMB_OK;
}
PLUMB_GPU_OP(logprob_choose, plumb_logprob);
