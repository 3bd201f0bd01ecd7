/* Hidden rows of the divergences on a device: gathered for the products, and the policy's gradients
 * written back, each row once. */
#include "kernels/distill/distill_gpu.h"

#include "kernels/gpu_columns.h"

enum { BLOCK = 256, WARPS = BLOCK / 32, QUAD = 4 };

struct distill_panel_job {
    const int32_t *row; /* of the chunk's first, or NULL */
    int64_t first, N, H, width;
    const void *whole; /* x of the head */
    void *panel, *dx;  /* gathered x; the op's dx */
    const float *sum;  /* dx of the rows */
    int32_t *good;
    bool wide; /* rows can be accessed in vectors */
};

PLUMB_DEVICE int64_t row_of(const struct distill_panel_job *j, int64_t i)
{
    const int64_t row = j->row ? j->row[i] : j->first + i;
    return row >= 0 && row < j->N ? row : -1;
}

/* A block copies a row, or writes zeros where its index is none. */
template <class T>
__global__ void __launch_bounds__(BLOCK)
    distill_gather_rows(const __grid_constant__ struct distill_panel_job j)
{
    const int64_t i = blockIdx.x, row = row_of(&j, i), step = j.wide ? (int)plumb_vec<T>::n : 1;
    const T *from = (const T *)j.whole + (row < 0 ? 0 : row) * j.H;
    T *to = (T *)j.panel + i * j.width;
    if (threadIdx.x == 0) j.good[i] = row >= 0;
    for (int64_t h = threadIdx.x * step; h < j.H; h += blockDim.x * step) {
        plumb_vec<T> v;
        PLUMB_UNROLL for (int k = 0; k < plumb_vec<T>::n; k++) plumb_narrow(&v.v[k], 0.0f);
        if (row >= 0 && j.wide) v = plumb_ldg16(from + h);
        if (row >= 0 && !j.wide) v.v[0] = from[h];
        if (j.wide)
            plumb_st16(to + h, v);
        else
            to[h] = v.v[0];
    }
}

/* A block writes a row. */
template <class T>
__global__ void __launch_bounds__(BLOCK)
    distill_scatter_rows(const __grid_constant__ struct distill_panel_job j)
{
    const int64_t i = blockIdx.x, row = row_of(&j, i), step = j.wide ? (int)QUAD : 1;
    if (row < 0) return;
    const float *from = j.sum + i * j.width;
    T *to = (T *)j.dx + row * j.H;
    for (int64_t h = threadIdx.x * step; h < j.H; h += blockDim.x * step) {
        if (j.wide)
            distill_put4(to + h, plumb_ld16(from + h));
        else
            plumb_narrow(to + h, from[h]);
    }
}

static struct distill_panel_job job_of(const struct distill_chunk *c,
                                       const struct plumb_distill_head *h, size_t panel,
                                       int64_t width)
{
    struct distill_panel_job j = {};
    j.row = c->a->row ? c->a->row + c->first : NULL;
    j.first = c->first, j.N = c->a->N, j.H = h->H, j.width = width;
    j.whole = h->x.data, j.panel = c->scratch + panel, j.dx = c->a->dx.data;
    j.sum = distill_tile(c, c->at.dx);
    j.good = reinterpret_cast<int32_t *>(c->scratch + c->at.good);
    return j;
}

/* Threads for a row in steps of `step` elements. */
static unsigned threads_of(int64_t H, int64_t step)
{
    const int64_t warps = plumb_ceil_div(H, 32 * step);
    return warps < WARPS ? (unsigned)warps * 32 : (unsigned)BLOCK;
}

template <class T>
static cudaError_t gather(const struct distill_chunk *c, struct distill_panel_job j)
{
    j.wide = plumb_aligned16((const T *)j.whole, j.H);
    return PLUMB_LAUNCH(distill_gather_rows<T>, (unsigned)c->rows,
                        threads_of(j.H, j.wide ? (int)plumb_vec<T>::n : 1), 0,
                        plumb_gpu_stream(c->dev), j);
}

static int gather_head(const struct distill_chunk *c, const struct plumb_distill_head *h,
                       size_t panel, int64_t width)
{
    const struct distill_panel_job j = job_of(c, h, panel, width);
    return plumb_gpu_status(
        h->x.dtype == PLUMB_BF16 ? gather<__nv_bfloat16>(c, j) : gather<float>(c, j), "distill");
}

int distill_gather(const struct distill_chunk *c)
{
    PLUMB_TRY(gather_head(c, &c->a->policy, c->at.x, c->at.width));
    return gather_head(c, &c->a->teacher, c->at.teacher_x, c->at.teacher_width);
}

template <class T> static cudaError_t scatter(const struct distill_chunk *c)
{
    struct distill_panel_job j = job_of(c, &c->a->policy, c->at.x, c->at.width);
    j.wide = j.H % QUAD == 0 && (uintptr_t)j.dx % (QUAD * sizeof(T)) == 0;
    return PLUMB_LAUNCH(distill_scatter_rows<T>, (unsigned)c->rows,
                        threads_of(j.H, j.wide ? (int)QUAD : 1), 0, plumb_gpu_stream(c->dev), j);
}

int distill_scatter(const struct distill_chunk *c)
{
    return plumb_gpu_status(
        c->a->dx.dtype == PLUMB_BF16 ? scatter<__nv_bfloat16>(c) : scatter<float>(c), "distill");
}

template <class T> static cudaError_t add_bias(const struct distill_chunk *c)
{
    const T *dz = reinterpret_cast<const T *>(distill_tile(c, c->at.z));
    const int64_t stride = c->at.tall * (int64_t)(sizeof(float) / sizeof(T));
    return PLUMB_LAUNCH(plumb_sum_columns<T>, (unsigned)plumb_ceil_div(c->at.vocab, 32),
                        32 * PLUMB_COLUMN_WARPS, 0, plumb_gpu_stream(c->dev),
                        (float *)c->a->dbias.data, dz, stride, c->rows, c->at.vocab);
}

int distill_add_bias(const struct distill_chunk *c)
{
    return plumb_gpu_status(c->a->policy.x.dtype == PLUMB_BF16 ? add_bias<__nv_bfloat16>(c)
                                                               : add_bias<float>(c),
                            "distill");
}
