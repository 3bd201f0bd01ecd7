/* Device code of sums over runs of a vector. A block streams the runs it owns through shared memory
 * in whole sectors, wherever they start; a run's elements are dealt to the threads by their place
 * in the run, so its bits depend on nothing but the run. f64 sums, rounded once. */
#include <math.h>
#include <plumb/reduce.h>

#include "kernels/gpu_sequence.h"
#include "kernels/reduce/reduce.h"

enum {
    BLOCK = 256,
    WARPS = BLOCK / 32,
    CHUNK = 4096, /* elements in shared memory at a time */
    VECTORS = CHUNK / 4 / BLOCK,
    RUNS = 16,     /* most runs of a block */
    SHARE = 16384, /* elements that a block is meant to have */
    SECTOR = 8     /* elements of 32 bytes */
};

struct segsum_job {
    struct plumb_segsum a;
    double discount, leap; /* leap = discount^BLOCK, how far apart a thread's elements are */
    int runs;              /* of a block */
};

/* discount^n. */
PLUMB_DEVICE double power(const struct segsum_job *j, int64_t n)
{
    return j->discount == 1 ? 1.0 : pow(j->discount, (double)n);
}

/* The runs of one block and the part of the vector that they cover. */
struct segsum_range {
    int64_t first; /* run */
    int count;
    int64_t begin, end; /* elements */
    bool good;          /* the offsets are in order and inside the vector */
};

/* Reads the block's offsets into `at`, with a barrier. */
PLUMB_DEVICE struct segsum_range read_range(const struct segsum_job *j, int32_t *at)
{
    struct segsum_range r;
    r.first = (int64_t)blockIdx.x * j->runs;
    const int64_t left = j->a.R - r.first;
    r.count = left < j->runs ? (int)left : j->runs;
    const int t = (int)threadIdx.x;
    if (t <= r.count) at[t] = j->a.offset[r.first + t];
    __syncthreads();
    const bool bad = t <= r.count && (at[t] < 0 || at[t] > j->a.M || (t > 0 && at[t] < at[t - 1]));
    r.good = !__syncthreads_or(bad);
    r.begin = at[0], r.end = at[r.count];
    return r;
}

/* Elements [base, base + CHUNK) of the block's range into `to`: whole sectors as vectors, what is
 * left at both ends by single elements. */
PLUMB_DEVICE void fill(const float *x, const struct segsum_range *r, int64_t base, bool aligned,
                       float *to)
{
    if (!aligned) {
        for (int i = (int)threadIdx.x; i < CHUNK; i += BLOCK)
            if (base + i >= r->begin && base + i < r->end) to[i] = x[base + i];
        return;
    }
    const int64_t head = (r->begin + SECTOR - 1) / SECTOR * SECTOR, tail = r->end / SECTOR * SECTOR;
    plumb_vec<float> v[VECTORS] = {}; /* all loads before the first store, which would wait */
    PLUMB_UNROLL for (int k = 0; k < VECTORS; k++)
    {
        const int64_t i = base + (k * BLOCK + (int)threadIdx.x) * 4;
        if (i >= head && i < tail) v[k] = plumb_ldcs16(x + i);
    }
    PLUMB_UNROLL for (int k = 0; k < VECTORS; k++)
    {
        const int64_t i = base + (k * BLOCK + (int)threadIdx.x) * 4;
        if (i >= head && i < tail) plumb_st16(to + (i - base), v[k]);
    }
    if (threadIdx.x >= SECTOR) return;
    const int64_t e = base + threadIdx.x, f = tail + threadIdx.x;
    if (e >= r->begin && e < head && e < r->end) to[e - base] = x[e];
    if (f >= head && f >= base && f < base + CHUNK && f < r->end) to[f - base] = x[f];
}

/* Walks the range; leaves the warps' shares of each run in `sums`. */
PLUMB_DEVICE void add_up(const struct segsum_job *j, const struct segsum_range *r,
                         const int32_t *at, bool aligned, float *stage, double (*sums)[WARPS + 1])
{
    const float *x = (const float *)j->a.x.data, *w = (const float *)j->a.weight.data;
    double sum = 0, weight = power(j, threadIdx.x);
    int run = 0;
    for (int64_t base = r->begin / SECTOR * SECTOR; run < r->count; base += CHUNK) {
        fill(x, r, base, aligned, stage);
        __syncthreads();
        while (run < r->count) {
            const int64_t begin = at[run], end = at[run + 1];
            const int64_t from = begin > base ? begin : base;
            const int64_t to = end < base + CHUNK ? end : base + CHUNK;
            const int64_t skip = (threadIdx.x - (from - begin)) & (BLOCK - 1);
            for (int64_t i = from + skip; i < to; i += BLOCK) {
                const double own = (double)stage[i - base];
                sum += weight * (w ? (double)w[i] * own : own);
                weight *= j->leap;
            }
            if (end > base + CHUNK) break;
            sum = plumb_warp_sum(sum);
            if (threadIdx.x % 32 == 0) sums[run][threadIdx.x / 32] = sum;
            sum = 0, weight = power(j, threadIdx.x);
            run++;
        }
        __syncthreads();
    }
}

__global__ void segsum_sums(struct segsum_job j, bool aligned)
{
    __shared__ __align__(16) float stage[CHUNK];
    __shared__ double sums[RUNS][WARPS + 1]; /* one more: runs side by side in different banks */
    __shared__ int32_t at[RUNS + 1];
    float *y = (float *)j.a.y.data;
    const struct segsum_range r = read_range(&j, at);
    const int run = (int)threadIdx.x;
    if (r.good) add_up(&j, &r, at, aligned, stage, sums);
    if (run >= r.count) return;
    double sum = r.good ? 0 : (double)NAN;
    for (int w = 0; r.good && w < WARPS; w++)
        sum += sums[run][w];
    y[r.first + run] = (float)plumb_segsum_scaled(&j.a, sum, at[run + 1] - at[run]);
}

/* The run that holds element i of the block's range. */
PLUMB_DEVICE int find(const int32_t *at, int count, int64_t i)
{
    int low = 0, high = count; /* at[low] <= i < at[high] */
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (at[middle] <= i)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The gradient of element i. */
PLUMB_DEVICE float spread(const struct segsum_job *j, const int32_t *at, const double *g, int count,
                          int64_t i)
{
    const int run = find(at, count, i);
    const float *w = (const float *)j->a.weight.data;
    const double own = power(j, i - at[run]) * g[run];
    return (float)(w ? own * (double)w[i] : own);
}

__global__ void segsum_spread(struct segsum_job j, bool aligned)
{
    __shared__ int32_t at[RUNS + 1];
    __shared__ double g[RUNS];
    float *dx = (float *)j.a.dx.data;
    const struct segsum_range r = read_range(&j, at);
    if (!r.good) return;
    if ((int)threadIdx.x < r.count) {
        const int32_t length = at[threadIdx.x + 1] - at[threadIdx.x];
        const float dy = ((const float *)j.a.dy.data)[r.first + threadIdx.x];
        g[threadIdx.x] = plumb_segsum_scaled(&j.a, (double)dy, length); /* empty: not written */
    }
    __syncthreads();
    const int64_t head = aligned ? (r.begin + SECTOR - 1) / SECTOR * SECTOR : r.end;
    const int64_t tail = aligned ? r.end / SECTOR * SECTOR : r.end;
    for (int64_t i = head + 4 * threadIdx.x; i < tail; i += 4 * BLOCK) {
        plumb_vec<float> v;
        PLUMB_UNROLL for (int k = 0; k < 4; k++) v.v[k] = spread(&j, at, g, r.count, i + k);
        plumb_st16(dx + i, v);
    }
    for (int64_t i = r.begin + threadIdx.x; i < head && i < r.end; i += BLOCK)
        dx[i] = spread(&j, at, g, r.count, i);
    for (int64_t i = (tail > head ? tail : head) + threadIdx.x; i < r.end; i += BLOCK)
        dx[i] = spread(&j, at, g, r.count, i);
}

static int run(const struct plumb_device *dev, const struct plumb_segsum *a, bool backward)
{
    if (a->R == 0) return PLUMB_OK;
    int64_t runs = SHARE / (a->M / a->R + 1);
    if (runs > RUNS) runs = RUNS;
    if (runs < 1) runs = 1;
    const double discount = plumb_segsum_discounts(a) ? a->discount : 1;
    const struct segsum_job j = { *a, discount, pow(discount, BLOCK), (int)runs };
    const bool aligned = plumb_aligned16((const float *)(backward ? a->dx.data : a->x.data), 0);
    const dim3 grid((unsigned)plumb_ceil_div(a->R, runs));
    return plumb_gpu_status(PLUMB_LAUNCH(backward ? segsum_spread : segsum_sums, grid, BLOCK, 0,
                                         plumb_gpu_stream(dev), j, aligned),
                            "segsum");
}

static int segsum_fwd(const struct plumb_device *dev, const struct plumb_segsum *a)
{
    return run(dev, a, false);
}
PLUMB_GPU_OP(segsum_fwd, plumb_segsum);

static int segsum_bwd(const struct plumb_device *dev, const struct plumb_segsum *a)
{
    return run(dev, a, true);
}
PLUMB_GPU_OP(segsum_bwd, plumb_segsum);
