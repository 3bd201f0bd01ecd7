/* The divergences on a device: chunks of rows through matrix products and row kernels, all of them
 * queued on the device's stream. */
#include "kernels/distill/distill_gpu.h"
#include "kernels/matmul/matmul_gpu.h"

/* Both tiles of a chunk share 1 GiB: each chunk reads and writes all of dw once. f32 gradients are
 * added slab by slab and, over rows, 256 at a time, because an f32 product adds up in one chain. */
enum { TILE_BYTES = 1 << 30, MOST = 4096, LEAST = 128, COLUMNS = 64, ALIGN = 256 };
enum { SLAB = 4096, DEPTH = 256 };

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
static int64_t most(int64_t x, int64_t y) { return x > y ? x : y; }
static int64_t round_up(int64_t x, int64_t to) { return plumb_ceil_div(x, to) * to; }

static size_t reserve(size_t *at, int64_t count, size_t bytes)
{
    const size_t here = *at;
    *at += (size_t)round_up(count * (int64_t)bytes, ALIGN);
    return here;
}

static struct distill_sizes sizes_of(const struct plumb_distill *a)
{
    struct distill_sizes s = {};
    size_t at = 0;
    s.vocab = a->valid_vocab ? a->valid_vocab : a->V;
    s.tall = round_up(s.vocab, COLUMNS);
    s.width = round_up(a->policy.H, 8), s.teacher_width = round_up(a->teacher.H, 8);
    s.rows = least(most(TILE_BYTES / (8 * s.tall) / LEAST * LEAST, LEAST), MOST);
    const int64_t rows = least(s.rows, a->M);
    s.good = reserve(&at, rows, sizeof(int32_t));
    s.x = reserve(&at, rows * s.width, plumb_gpu_bytes(a->policy.x.dtype));
    s.teacher_x = reserve(&at, rows * s.teacher_width, plumb_gpu_bytes(a->teacher.x.dtype));
    s.dx = reserve(&at, a->dx.data ? rows * s.width : 0, sizeof(float));
    s.z = reserve(&at, rows * s.tall, sizeof(float));
    s.y = reserve(&at, rows * s.tall, sizeof(float));
    s.bytes = at + ALIGN; /* the caller's block may start anywhere */
    return s;
}

static struct plumb_tensor part(const struct plumb_tensor *t, int64_t i)
{
    char *p = static_cast<char *>(t->data);
    return plumb_tensor{ p ? p + i * (int64_t)plumb_gpu_bytes(t->dtype) : NULL, t->dtype };
}

/* u = x W^T + bias, by the algorithm of a whole chunk: the number of rows changes no bit. */
static int make_logits(const struct distill_chunk *c, const struct plumb_distill_head *h,
                       size_t panel, int64_t width, size_t tile)
{
    struct plumb_matmul m = {}, like;
    m.M = c->rows, m.N = c->at.vocab, m.K = h->H;
    m.a = plumb_tensor{ c->scratch + panel, h->x.dtype }, m.lda = width;
    m.b = h->w, m.ldb = h->H, m.trans_b = true;
    m.c = plumb_tensor{ c->scratch + tile, PLUMB_F32 }, m.ldc = c->at.tall;
    m.bias = h->bias;
    m.batch_invariant = c->a->batch_invariant;
    like = m;
    like.M = c->at.rows;
    return plumb_gpu_matmul(c->dev, &m, &like);
}

/* The gradient, and the elements between its rows. */
static struct plumb_tensor gradient(const struct distill_chunk *c, int64_t *stride)
{
    const enum plumb_dtype type = c->a->policy.x.dtype;
    *stride = c->at.tall * (int64_t)(sizeof(float) / plumb_gpu_bytes(type));
    return plumb_tensor{ c->scratch + c->at.z, type };
}

/* dX = dZ W. */
static int make_dx(const struct distill_chunk *c)
{
    const struct plumb_distill_head *h = &c->a->policy;
    const int64_t step = h->x.dtype == PLUMB_F32 ? (int64_t)SLAB : c->at.vocab;
    int64_t stride;
    const struct plumb_tensor dz = gradient(c, &stride);
    for (int64_t from = 0; from < c->at.vocab; from += step) {
        struct plumb_matmul m = {}, like;
        m.M = c->rows, m.N = h->H, m.K = least(step, c->at.vocab - from);
        m.a = part(&dz, from), m.lda = stride;
        m.b = part(&h->w, from * h->H), m.ldb = h->H;
        m.c = plumb_tensor{ c->scratch + c->at.dx, PLUMB_F32 }, m.ldc = c->at.width;
        m.accumulate = from > 0;
        like = m;
        like.M = c->at.rows;
        PLUMB_TRY(plumb_gpu_matmul(c->dev, &m, &like));
    }
    return distill_scatter(c);
}

/* dW += dZ^T x. */
static int add_to_w(const struct distill_chunk *c)
{
    const struct plumb_distill_head *h = &c->a->policy;
    const int64_t step = h->x.dtype == PLUMB_F32 ? (int64_t)DEPTH : c->rows;
    const struct plumb_tensor x = { c->scratch + c->at.x, h->x.dtype };
    int64_t stride;
    const struct plumb_tensor dz = gradient(c, &stride);
    for (int64_t r = 0; r < c->rows; r += step) {
        struct plumb_matmul m = {};
        m.M = c->at.vocab, m.N = h->H, m.K = least(step, c->rows - r);
        m.a = part(&dz, r * stride), m.lda = stride, m.trans_a = true;
        m.b = part(&x, r * c->at.width), m.ldb = c->at.width;
        m.c = c->a->dw, m.ldc = h->H;
        m.accumulate = true;
        PLUMB_TRY(plumb_gpu_matmul(c->dev, &m, NULL));
    }
    return PLUMB_OK;
}

static int one_chunk(const struct distill_chunk *c)
{
    const struct plumb_distill *a = c->a;
    PLUMB_TRY(distill_gather(c));
    PLUMB_TRY(make_logits(c, &a->policy, c->at.x, c->at.width, c->at.z));
    PLUMB_TRY(make_logits(c, &a->teacher, c->at.teacher_x, c->at.teacher_width, c->at.y));
    PLUMB_TRY(distill_measure(c));
    if (a->dbias.data) PLUMB_TRY(distill_add_bias(c));
    if (a->dw.data) PLUMB_TRY(add_to_w(c));
    return a->dx.data ? make_dx(c) : PLUMB_OK;
}

static int zero_dx(const struct plumb_device *dev, const struct plumb_distill *a)
{
    const size_t bytes = (size_t)(a->N * a->policy.H) * plumb_gpu_bytes(a->dx.dtype);
    if (!a->dx.data || !bytes) return PLUMB_OK;
    return plumb_gpu_status(cudaMemsetAsync(a->dx.data, 0, bytes, plumb_gpu_stream(dev)),
                            "distill");
}

static int64_t distill_workspace(const struct plumb_device *, const struct plumb_distill *a)
{
    return (int64_t)sizes_of(a).bytes;
}
PLUMB_GPU_OP(distill_workspace, plumb_distill);

static int distill(const struct plumb_device *dev, const struct plumb_distill *a)
{
    struct distill_chunk c = { dev, a, sizes_of(a), NULL, false, 0, 0 };
    const uintptr_t start = (uintptr_t)a->work.data;
    c.scratch = (char *)a->work.data + (ALIGN - start % ALIGN) % ALIGN;
    c.gradient = a->dx.data || a->dw.data || a->dbias.data;
    PLUMB_TRY(zero_dx(dev, a));
    for (; c.first < a->M; c.first += c.rows) {
        c.rows = least(c.at.rows, a->M - c.first);
        PLUMB_TRY(one_chunk(&c));
    }
    return PLUMB_OK;
}
PLUMB_GPU_OP(distill, plumb_distill);
