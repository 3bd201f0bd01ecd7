/* Row work of the head on a device: the logits of a pair are read once into registers. A block
 * takes a pair; its number of threads follows from the vocabulary alone, and every sum has a fixed
 * order, so a pair's bits depend on nothing but its logits. */
#include <math.h>

#include "kernels/logit_shape.h"
#include "kernels/logprob/logprob_gpu.h"

/* A thread holds four times four neighbouring columns of a slab. */
enum { QUADS = 4, WIDTH = 4, HELD = QUADS * WIDTH, MOST_THREADS = 256, MOST_WARPS = 8 };

struct logprob_row_job {
    struct logprob_pairs p;
    float *tile; /* its column 0 is column `origin` of the vocabulary */
    int64_t stride, origin, slab;
    struct plumb_logit_shape f;
    struct logprob_stat *stat;
    struct logprob_terms *terms;
    float *logp, *lse, *entropy, *log_sum_sq, *mean_logit;
    int32_t *argmax;
    const int32_t *chosen; /* targets as they are after the chooser */
    const float *dlogp, *dlse, *dentropy, *dmean;
};

/* Largest of the columns seen, NaN passed over; -1 and -inf if there is nothing else. */
struct logprob_peak {
    float z;
    int32_t at;
};

struct logprob_sums {
    double exp, weighted, squares, total;
};

PLUMB_DEVICE float above_underflow(float d) { return d < -200.0f ? -200.0f : d; }

PLUMB_DEVICE float shaped(const struct plumb_logit_shape *f, float u)
{
    return f->capped ? f->out * tanhf(u * f->in) : u * f->in;
}

PLUMB_DEVICE float slope_at(const struct plumb_logit_shape *f, float z)
{
    const float c = z * f->back;
    return f->capped ? f->slope * (1.0f - c * c) : f->slope;
}

/* Column of this thread's quad q. */
PLUMB_DEVICE int column_of(int q) { return (q * (int)blockDim.x + (int)threadIdx.x) * WIDTH; }

/* z of this thread's columns below `width`; the others are left alone. */
PLUMB_DEVICE void read_z(float z[HELD], const float *u, int width,
                         const struct plumb_logit_shape *f)
{
    PLUMB_UNROLL for (int q = 0; q < QUADS; q++)
    {
        const int c = column_of(q);
        if (c + WIDTH <= width) {
            const plumb_vec<float> v = plumb_ld16(u + c);
            PLUMB_UNROLL for (int i = 0; i < WIDTH; i++) z[q * WIDTH + i] = shaped(f, v.v[i]);
        } else {
            PLUMB_UNROLL for (int i = 0; i < WIDTH; i++)
            {
                if (c + i < width) z[q * WIDTH + i] = shaped(f, u[c + i]);
            }
        }
    }
}

PLUMB_DEVICE struct logprob_peak higher(struct logprob_peak a, struct logprob_peak b)
{
    return b.z > a.z || (b.z == a.z && b.at >= 0 && (a.at < 0 || b.at < a.at)) ? b : a;
}

/* The block's peak, in every thread. `shared` has room for a peak a warp. */
PLUMB_DEVICE struct logprob_peak block_peak(struct logprob_peak mine, struct logprob_peak *shared)
{
    for (int d = 16; d; d /= 2) {
        const struct logprob_peak other = { __shfl_xor_sync(~0u, mine.z, d),
                                            __shfl_xor_sync(~0u, mine.at, d) };
        mine = higher(mine, other);
    }
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = mine;
    __syncthreads();
    mine = shared[0];
    for (unsigned w = 1; w < blockDim.x / 32; w++)
        mine = higher(mine, shared[w]);
    return mine;
}

PLUMB_DEVICE double warp_sum(double x)
{
    for (int d = 16; d; d /= 2)
        x += __shfl_xor_sync(~0u, x, d);
    return x;
}

/* The block's sums, in thread 0. */
PLUMB_DEVICE struct logprob_sums block_sums(const float mine[4], struct logprob_sums *shared)
{
    struct logprob_sums s = { warp_sum(mine[0]), warp_sum(mine[1]), warp_sum(mine[2]),
                              warp_sum(mine[3]) };
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = s;
    __syncthreads();
    if (threadIdx.x) return s;
    for (unsigned w = 1; w < blockDim.x / 32; w++) {
        s.exp += shared[w].exp;
        s.weighted += shared[w].weighted;
        s.squares += shared[w].squares;
        s.total += shared[w].total;
    }
    return s;
}

/* Moves sums relative to s->max to a new maximum `to` >= s->max. */
PLUMB_DEVICE void rebase(struct logprob_stat *s, float to)
{
    const double by = (double)s->max - (double)to, f = exp(by);
    const bool counted = s->max > -INFINITY; /* else nothing so far, or NaN, which stays */
    s->max = to;
    if (!counted) return;
    s->weighted = f * (s->weighted + by * s->sum);
    s->sum *= f;
    s->squares *= f * f;
}

PLUMB_DEVICE void merge(struct logprob_stat *s, struct logprob_peak peak,
                        const struct logprob_sums *part)
{
    struct logprob_stat t = { part->exp, part->weighted, part->squares, 0, peak.z, 0, 0, 0 };
    if (t.max > s->max) {
        s->argmax = peak.at;
        rebase(s, t.max);
    } else if (s->max > t.max)
        rebase(&t, s->max);
    s->sum += t.sum;
    s->weighted += t.weighted;
    s->squares += t.squares;
    s->total += part->total;
}

PLUMB_DEVICE void put(float *to, int64_t i, double v)
{
    if (to) to[i] = (float)v;
}

/* A pair without logits: zeros where it is skipped, NaN where its indices are no good. */
PLUMB_DEVICE void write_nothing(const struct logprob_row_job *j, int64_t i, int32_t why)
{
    const double v = why == LOGPROB_SKIPPED ? 0 : (double)NAN;
    put(j->logp, i, v);
    put(j->lse, i, v);
    put(j->entropy, i, v);
    put(j->log_sum_sq, i, v);
    put(j->mean_logit, i, v);
    if (j->argmax) j->argmax[i] = -1;
}

PLUMB_DEVICE void write_outputs(const struct logprob_row_job *j, int64_t i,
                                const struct logprob_stat *s)
{
    const double log_sum = s->max > -INFINITY ? log(s->sum) : (double)NAN;
    const double logp = (double)s->z_goal - (double)s->max - log_sum;
    const double entropy = log_sum - s->weighted / s->sum;
    put(j->logp, i, logp > 0 ? 0 : logp);
    put(j->lse, i, (double)s->max + log_sum);
    put(j->entropy, i, entropy < 0 ? 0 : entropy);
    put(j->log_sum_sq, i, log(s->squares) - 2 * log_sum);
    put(j->mean_logit, i, s->total / (double)j->p.vocab);
    if (j->argmax) j->argmax[i] = isnan(log_sum) ? -1 : s->argmax;
}

PLUMB_DEVICE struct logprob_stat read_stat(const struct logprob_stat *from)
{
    const plumb_vec<double> a = plumb_ld16(&from->sum), b = plumb_ld16(&from->squares);
    const plumb_vec<float> c = plumb_ld16(&from->max);
    return logprob_stat{
        a.v[0], a.v[1], b.v[0], b.v[1], c.v[0], c.v[1], __float_as_int(c.v[2]), 0
    };
}

PLUMB_DEVICE void keep_stat(struct logprob_stat *to, const struct logprob_stat *s)
{
    const plumb_vec<double> a = { { s->sum, s->weighted } }, b = { { s->squares, s->total } };
    const plumb_vec<float> c = { { s->max, s->z_goal, __int_as_float(s->argmax), 0 } };
    plumb_st16(&to->sum, a);
    plumb_st16(&to->squares, b);
    plumb_st16(&to->max, c);
}

/* Thread 0: the pair's statistics with this slab's, and its outputs after the last, if the target
 * is known. */
PLUMB_DEVICE void finish_slab(const struct logprob_row_job *j, int64_t i, int32_t goal,
                              int64_t from, int width, struct logprob_peak peak,
                              const struct logprob_sums *sums)
{
    struct logprob_stat s = { 0, 0, 0, 0, -INFINITY, 0, -1, 0 };
    const int64_t t = goal - from;
    if (from > 0) s = read_stat(&j->stat[i]);
    merge(&s, peak, sums);
    if (t >= 0 && t < width)
        s.z_goal = shaped(&j->f, j->tile[i * j->stride + from - j->origin + t]);
    if (from + width < j->p.vocab || !j->p.target)
        keep_stat(&j->stat[i], &s);
    else
        write_outputs(j, i, &s);
}

static __global__ void __launch_bounds__(MOST_THREADS)
    logprob_stats_rows(struct logprob_row_job j, int64_t from)
{
    __shared__ struct logprob_peak peaks[MOST_WARPS];
    __shared__ struct logprob_sums sums[MOST_WARPS];
    __shared__ int32_t goal; /* read once: a sector for each warp would be felt */
    const int64_t i = blockIdx.x;
    const int width = (int)(j.p.vocab - from < j.slab ? j.p.vocab - from : j.slab);
    float z[HELD], part[4] = {};
    struct logprob_peak peak = { -INFINITY, -1 };
    if (threadIdx.x == 0) goal = j.p.goal[i];
    read_z(z, j.tile + i * j.stride + from - j.origin, width, &j.f);
    PLUMB_UNROLL for (int k = 0; k < HELD; k++)
    {
        const int c = column_of(k / WIDTH) + k % WIDTH;
        if (c < width && z[k] > peak.z) peak = logprob_peak{ z[k], (int32_t)(from + c) };
    }
    peak = block_peak(peak, peaks);
    if (goal < 0) {
        if (threadIdx.x == 0 && from + width == j.p.vocab) write_nothing(&j, i, goal);
        return;
    }
    const float base = peak.z > -INFINITY ? peak.z : 0.0f; /* -inf - -inf would be NaN */
    PLUMB_UNROLL for (int k = 0; k < HELD; k++)
    {
        if (column_of(k / WIDTH) + k % WIDTH >= width) continue;
        const float d = z[k] - base, e = expf(d);
        part[0] += e;
        part[1] += e * above_underflow(d);
        part[2] += e * e;
        part[3] += z[k];
    }
    const struct logprob_sums s = block_sums(part, sums);
    if (threadIdx.x == 0) finish_slab(&j, i, goal, from, width, peak, &s);
}

PLUMB_DEVICE float given(const float *p, int64_t i) { return p ? p[i] : 0.0f; }

/* A thread takes a pair. */
static __global__ void __launch_bounds__(MOST_THREADS) logprob_terms_of(struct logprob_row_job j)
{
    const int64_t i = (int64_t)blockIdx.x * MOST_THREADS + threadIdx.x;
    struct logprob_terms t = {};
    if (i >= j.p.rows) return;
    t.goal = j.p.goal[i];
    if (t.goal >= 0) {
        t.lse = j.lse[i];
        t.dlogp = given(j.dlogp, i);
        t.dentropy = given(j.dentropy, i);
        t.entropy = j.dentropy ? j.entropy[i] : 0.0f;
        t.along_p = given(j.dlse, i) - t.dlogp;
        t.uniform = (float)((double)given(j.dmean, i) / (double)j.p.vocab);
    }
    j.terms[i] = t;
}

PLUMB_DEVICE struct logprob_terms read_terms(const struct logprob_terms *from)
{
    const plumb_vec<float> a = plumb_ld16(&from->lse), b = plumb_ld16(&from->uniform);
    return logprob_terms{
        a.v[0], a.v[1], a.v[2], a.v[3], b.v[0], b.v[1], __float_as_int(b.v[2]), 0
    };
}

PLUMB_DEVICE float gradient(const struct plumb_logit_shape *f, const struct logprob_terms *t,
                            float z, int64_t v)
{
    const float d = z - t->lse, p = expf(d);
    const float by_p = t->along_p - t->dentropy * (above_underflow(d) + t->entropy);
    const float g = p * by_p + t->uniform;
    return (v == t->goal ? g + t->dlogp : g) * slope_at(f, z);
}

/* Four elements, or the `left` that there are of them. */
template <class T> PLUMB_DEVICE void store_part(T *to, const float g[WIDTH], int left)
{
    if (left >= WIDTH) {
        logprob_put4(to, g);
        return;
    }
    PLUMB_UNROLL for (int n = 0; n < WIDTH; n++)
    {
        if (n < left) plumb_narrow(to + n, g[n]);
    }
}

/* In place: a bf16 gradient takes the first half of the row of logits. What a slab's gradient
 * overwrites are its own logits, which all threads have read by then, and those of slabs before. */
template <class T>
__global__ void __launch_bounds__(MOST_THREADS)
    logprob_grad_rows(struct logprob_row_job j, int64_t from, int64_t end)
{
    const int64_t i = blockIdx.x;
    const struct logprob_terms t = read_terms(&j.terms[i]);
    const bool alive = t.goal >= 0;
    float *u = j.tile + i * j.stride;
    T *dz = reinterpret_cast<T *>(u);
    for (; from < end; from += j.slab) {
        const int width = (int)(end - from < j.slab ? end - from : j.slab);
        const int64_t at = from - j.origin;
        float z[HELD];
        if (alive) read_z(z, u + at, width, &j.f);
        if (sizeof(T) < sizeof(float)) __syncthreads();
        PLUMB_UNROLL for (int q = 0; q < QUADS; q++)
        {
            const int c = column_of(q);
            float g[WIDTH] = {};
            PLUMB_UNROLL for (int n = 0; n < WIDTH; n++)
            {
                if (alive && c + n < width)
                    g[n] = gradient(&j.f, &t, z[q * WIDTH + n], from + c + n);
            }
            store_part(dz + at + c, g, width - c);
        }
    }
}

/* A row of products becomes logits, in place. */
static __global__ void __launch_bounds__(MOST_THREADS) logprob_shape_rows(struct logprob_row_job j)
{
    float *u = j.tile + blockIdx.x * j.stride;
    for (int64_t v = threadIdx.x * WIDTH; v < j.p.vocab; v += blockDim.x * WIDTH) {
        plumb_vec<float> z = plumb_ld16(u + v); /* rows of the tile end at a multiple of 64 */
        PLUMB_UNROLL for (int k = 0; k < WIDTH; k++)
        {
            if (v + k < j.p.vocab) z.v[k] = shaped(&j.f, z.v[k]);
        }
        plumb_st16(u + v, z);
    }
}

/* Outputs for the targets that have been chosen, a pair a thread. */
static __global__ void __launch_bounds__(MOST_THREADS) logprob_finish_rows(struct logprob_row_job j)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= j.p.rows) return;
    const int32_t target = j.chosen[i];
    int32_t goal = j.p.goal[i];
    if (goal >= 0) goal = target < -1 || target >= j.p.vocab ? (int32_t)LOGPROB_BAD : target;
    if (goal < 0) {
        write_nothing(&j, i, goal);
        return;
    }
    struct logprob_stat s = read_stat(&j.stat[i]);
    s.z_goal = j.tile[i * j.stride + goal];
    write_outputs(&j, i, &s);
}

static float *pairs_from(const struct plumb_tensor *t, int64_t first)
{
    return static_cast<float *>(logprob_from(t, first).data);
}

static struct logprob_row_job job_of(const struct logprob_chunk *c, int64_t from)
{
    const struct plumb_logprob *a = &c->a;
    const int64_t i = c->first;
    struct logprob_row_job j = {};
    j.p = logprob_pairs_of(c);
    j.tile = logprob_tile(c), j.stride = logprob_stride(c), j.origin = c->kept ? 0 : from;
    j.slab = c->at.slab, j.f = plumb_logit_shape(a->logit_scale, a->softcap, a->temperature);
    j.stat = reinterpret_cast<struct logprob_stat *>(c->scratch + c->at.stat);
    j.terms = reinterpret_cast<struct logprob_terms *>(c->scratch + c->at.terms);
    j.logp = pairs_from(&a->logp, i), j.lse = pairs_from(&a->lse, i);
    j.entropy = pairs_from(&a->entropy, i), j.log_sum_sq = pairs_from(&a->log_sum_sq, i);
    j.mean_logit = pairs_from(&a->mean_logit, i), j.argmax = a->argmax ? a->argmax + i : NULL;
    j.chosen = a->target + i;
    j.dlogp = pairs_from(&a->dlogp, i), j.dlse = pairs_from(&a->dlse, i);
    j.dentropy = pairs_from(&a->dentropy, i), j.dmean = pairs_from(&a->dmean, i);
    return j;
}

/* Whole warps that hold a slab. */
static unsigned threads_of(const struct logprob_chunk *c)
{
    return (unsigned)(plumb_ceil_div(c->at.slab, HELD * 32) * 32);
}

int logprob_stats(const struct logprob_chunk *c, int64_t from)
{
    return plumb_gpu_status(PLUMB_LAUNCH(logprob_stats_rows, (unsigned)c->rows, threads_of(c), 0,
                                         plumb_gpu_stream(c->dev), job_of(c, from), from),
                            "logprob");
}

int logprob_shape(const struct logprob_chunk *c)
{
    const struct logprob_row_job j = job_of(c, 0);
    if (!j.f.capped && j.f.in == 1) return PLUMB_OK;
    return plumb_gpu_status(PLUMB_LAUNCH(logprob_shape_rows, (unsigned)c->rows, MOST_THREADS, 0,
                                         plumb_gpu_stream(c->dev), j),
                            "logprob");
}

int logprob_finish(const struct logprob_chunk *c)
{
    const unsigned blocks = (unsigned)plumb_ceil_div(c->rows, MOST_THREADS);
    return plumb_gpu_status(PLUMB_LAUNCH(logprob_finish_rows, blocks, MOST_THREADS, 0,
                                         plumb_gpu_stream(c->dev), job_of(c, 0)),
                            "logprob");
}

int logprob_find_terms(const struct logprob_chunk *c)
{
    const unsigned blocks = (unsigned)plumb_ceil_div(c->rows, MOST_THREADS);
    return plumb_gpu_status(PLUMB_LAUNCH(logprob_terms_of, blocks, MOST_THREADS, 0,
                                         plumb_gpu_stream(c->dev), job_of(c, 0)),
                            "logprob");
}

int logprob_grad(const struct logprob_chunk *c, int64_t from, int64_t end)
{
    const struct logprob_row_job j = job_of(c, from);
    const unsigned rows = (unsigned)c->rows, threads = threads_of(c);
    cudaStream_t stream = plumb_gpu_stream(c->dev);
    const cudaError_t e = c->a.x.dtype == PLUMB_BF16
                              ? PLUMB_LAUNCH(logprob_grad_rows<__nv_bfloat16>, rows, threads, 0,
                                             stream, j, from, end)
                              : PLUMB_LAUNCH(logprob_grad_rows<float>, rows, threads, 0, stream, j,
                                             from, end);
    return plumb_gpu_status(e, "logprob");
}
