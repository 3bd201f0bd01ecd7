/* Hidden rows of the head's pairs on a device: gathered for the products, and their gradients
 * added up again, without atomics: the first pair of a chunk that names a row adds for all of
 * them. */
#include "kernels/gpu_columns.h"
#include "kernels/logprob/logprob_gpu.h"

enum { WARPS = 8, BLOCK = 32 * WARPS, QUAD = 4 };

struct logprob_panel_job {
    struct logprob_pairs p;
    int64_t H, width; /* elements of a row, and between rows of the panels */
    const void *x;    /* the op's */
    void *panel, *dx; /* gathered x; the op's dx */
    const float *sum; /* dx of the pairs */
    int32_t *link;    /* of pair i: the next pair of its row or -1, and whether it is the first */
    bool wide;        /* rows of x and dx can be accessed in vectors */
};

/* The target where the pair counts: it is not skipped and its indices lie inside the arrays. */
PLUMB_DEVICE int32_t goal_of(const struct logprob_pairs *p, int64_t i)
{
    const int32_t row = p->row[i], target = p->target ? p->target[i] : 0;
    if (row < 0 || row >= p->N || target < -1 || target >= p->vocab) return LOGPROB_BAD;
    return target;
}

/* A block copies a row, or writes zeros where the pair does not count. */
template <class T> __global__ void logprob_gather_rows(struct logprob_panel_job j)
{
    const int64_t i = blockIdx.x, step = j.wide ? (int)plumb_vec<T>::n : 1;
    const int32_t goal = goal_of(&j.p, i);
    const T *from = (const T *)j.x + (goal >= 0 ? j.p.row[i] : 0) * j.H;
    T *to = (T *)j.panel + i * j.width;
    if (threadIdx.x == 0) j.p.goal[i] = goal;
    for (int64_t h = threadIdx.x * step; h < j.H; h += blockDim.x * step) {
        plumb_vec<T> v;
        PLUMB_UNROLL for (int k = 0; k < plumb_vec<T>::n; k++) plumb_narrow(&v.v[k], 0.0f);
        if (goal >= 0 && j.wide) v = plumb_ldg16(from + h);
        if (goal >= 0 && !j.wide) v.v[0] = from[h];
        if (j.wide)
            plumb_st16(to + h, v);
        else
            to[h] = v.v[0];
    }
}

/* A warp takes a pair and looks at all others of the chunk. */
static __global__ void __launch_bounds__(BLOCK) logprob_link_pairs(struct logprob_panel_job j)
{
    const int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (i >= j.p.rows) return;
    const bool alive = j.p.goal[i] >= 0;
    const int32_t mine = j.p.row[i], none = (int32_t)j.p.rows;
    int32_t next = none;
    bool first = alive;
    for (int64_t k = threadIdx.x % 32; k < j.p.rows && alive; k += 32) {
        if (j.p.row[k] != mine || k == i || j.p.goal[k] < 0) continue;
        if (k < i) first = false;
        if (k > i && k < next) next = (int32_t)k;
    }
    for (int d = 16; d; d /= 2) {
        const int32_t other = __shfl_xor_sync(~0u, next, d);
        next = other < next ? other : next;
    }
    first = __all_sync(~0u, first);
    if (threadIdx.x % 32) return;
    j.link[2 * i] = next == none ? -1 : next;
    j.link[2 * i + 1] = first;
}

/* A block adds the rows of all pairs that share its pair's hidden row, in f32 and in order. */
template <class T>
__global__ void __launch_bounds__(BLOCK) logprob_scatter_rows(struct logprob_panel_job j)
{
    const int64_t i = blockIdx.x, step = j.wide ? (int)QUAD : 1;
    if (!j.link[2 * i + 1]) return;
    T *to = (T *)j.dx + j.p.row[i] * j.H;
    for (int64_t h = threadIdx.x * step; h < j.H; h += blockDim.x * step) {
        float sum[QUAD] = {}, old[QUAD];
        for (int64_t k = i; k >= 0; k = j.link[2 * k]) {
            const float *from = j.sum + k * j.width + h;
            if (j.wide)
                logprob_get4(old, from);
            else
                old[0] = from[0];
            PLUMB_UNROLL for (int n = 0; n < QUAD; n++)
            {
                if (n < step) sum[n] += old[n];
            }
        }
        if (!j.wide) {
            plumb_narrow(to + h, plumb_wide(to[h]) + sum[0]);
            continue;
        }
        logprob_get4(old, to + h);
        PLUMB_UNROLL for (int n = 0; n < QUAD; n++) old[n] += sum[n];
        logprob_put4(to + h, old);
    }
}

static struct logprob_panel_job job_of(const struct logprob_chunk *c)
{
    struct logprob_panel_job j = {};
    j.p = logprob_pairs_of(c);
    j.H = c->a.H, j.width = c->at.width;
    j.x = c->a.x.data, j.panel = c->scratch + c->at.x, j.dx = c->a.dx.data;
    j.sum = reinterpret_cast<const float *>(c->scratch + c->at.dx);
    j.link = reinterpret_cast<int32_t *>(c->scratch + c->at.link);
    return j;
}

/* Threads for a row in steps of `step` elements. */
static unsigned threads_of(int64_t H, int64_t step)
{
    const int64_t warps = plumb_ceil_div(H, 32 * step);
    return warps < WARPS ? (unsigned)warps * 32 : (unsigned)BLOCK;
}

template <class T> static cudaError_t gather(const struct logprob_chunk *c)
{
    struct logprob_panel_job j = job_of(c);
    j.wide = plumb_aligned16((const T *)j.x, j.H);
    return PLUMB_LAUNCH(logprob_gather_rows<T>, (unsigned)c->rows,
                        threads_of(j.H, j.wide ? (int)plumb_vec<T>::n : 1), 0,
                        plumb_gpu_stream(c->dev), j);
}

int logprob_gather(const struct logprob_chunk *c)
{
    return plumb_gpu_status(
        c->a.x.dtype == PLUMB_BF16 ? gather<__nv_bfloat16>(c) : gather<float>(c), "logprob");
}

template <class T> static cudaError_t scatter(const struct logprob_chunk *c)
{
    struct logprob_panel_job j = job_of(c);
    cudaStream_t stream = plumb_gpu_stream(c->dev);
    const unsigned blocks = (unsigned)plumb_ceil_div(c->rows, WARPS);
    j.wide = j.H % QUAD == 0 && (uintptr_t)j.dx % (QUAD * sizeof(T)) == 0;
    const cudaError_t e = PLUMB_LAUNCH(logprob_link_pairs, blocks, BLOCK, 0, stream, j);
    if (e) return e;
    return PLUMB_LAUNCH(logprob_scatter_rows<T>, (unsigned)c->rows,
                        threads_of(j.H, j.wide ? (int)QUAD : 1), 0, stream, j);
}

int logprob_scatter(const struct logprob_chunk *c)
{
    return plumb_gpu_status(
        c->a.dx.dtype == PLUMB_BF16 ? scatter<__nv_bfloat16>(c) : scatter<float>(c), "logprob");
}

template <class T>
static cudaError_t add_bias(const struct logprob_chunk *c, int64_t from, int64_t end)
{
    float *dbias = static_cast<float *>(c->a.dbias.data) + from;
    const T *dz = reinterpret_cast<const T *>(logprob_tile(c)) + (c->kept ? from : 0);
    const int64_t stride = logprob_stride(c) * (int64_t)(sizeof(float) / sizeof(T));
    return PLUMB_LAUNCH(plumb_sum_columns<T>, (unsigned)plumb_ceil_div(end - from, 32),
                        32 * PLUMB_COLUMN_WARPS, 0, plumb_gpu_stream(c->dev), dbias, dz, stride,
                        c->rows, end - from);
}

int logprob_add_bias(const struct logprob_chunk *c, int64_t from, int64_t end)
{
    return plumb_gpu_status(c->a.x.dtype == PLUMB_BF16 ? add_bias<__nv_bfloat16>(c, from, end)
                                                       : add_bias<float>(c, from, end),
                            "logprob");
}
