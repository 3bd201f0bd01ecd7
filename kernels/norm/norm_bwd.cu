/* Device code of the norms, backward: dx in one read of x and dy; each block adds up its share of
 * dw and db in registers and leaves it as a row of partials, which gpu_merge.h adds in order. */
#include "kernels/gpu_merge.h"
#include "kernels/norm/norm_device.h"

/* What is known of a group before its dx. */
struct norm_terms {
    float rstd, mean, sum, dot;
};

PLUMB_DEVICE struct norm_terms terms_of(const struct plumb_norm *a, int64_t i, bool live)
{
    struct norm_terms t = {};
    if (live) t.rstd = ((const float *)a->rstd.data)[i];
    if (live && a->mean.data) t.mean = ((const float *)a->mean.data)[i];
    return t;
}

/* Normalised values of one piece and dy. */
template <bool WHOLE>
PLUMB_DEVICE void normalised(const struct plumb_norm *a, const struct norm_span *s,
                             const struct norm_terms *t, int64_t x, int64_t y,
                             float xhat[NORM_HELD], float u[NORM_HELD])
{
    norm_take<WHOLE>(s, &a->x, x, xhat);
    norm_take<WHOLE>(s, &a->dy, y, u);
    PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++) xhat[j] = (xhat[j] - t->mean) * t->rstd;
}

/* dx from xhat and u = dy w. */
template <bool WHOLE>
PLUMB_DEVICE void finish(const struct plumb_norm *a, const struct norm_span *s,
                         const struct norm_terms *t, int64_t x, int64_t flat,
                         const float xhat[NORM_HELD], float u[NORM_HELD])
{
    float d[NORM_HELD] = {};
    if (a->dsum.data) norm_take<WHOLE>(s, &a->dsum, flat, d);
    PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++)
        u[j] = t->rstd * (u[j] - t->sum - xhat[j] * t->dot) + d[j];
    norm_put<WHOLE>(s, &a->dx, x, u);
}

/* Floats between the teams' rows in shared memory: quads of teams side by side lie in different
 * banks. */
static inline __host__ __device__ int norm_row_room(int team)
{
    return team * NORM_HELD + (team < 8 ? team * 4 : 0);
}

/* Adds the teams' sums in their order into the block's row of partials. */
PLUMB_DEVICE void leave(const struct norm_plan *p, const float v[NORM_HELD], float *room, int64_t D,
                        float *part)
{
    const int row = norm_row_room(p->team), thread = (int)threadIdx.x % p->team;
    float *mine = room + (int)threadIdx.x / p->team * row;
    __syncthreads(); /* the room may still be read for dw */
    PLUMB_UNROLL for (int k = 0; k < NORM_QUADS; k++)
    {
        const struct plumb_quad q = { { v[4 * k], v[4 * k + 1], v[4 * k + 2], v[4 * k + 3] } };
        plumb_st4(mine + (k * p->team + thread) * 4, &q);
    }
    __syncthreads();
    for (int c = (int)threadIdx.x; c < D; c += (int)blockDim.x) {
        float total = 0;
        for (int t = 0; t < p->teams; t++)
            total += room[t * row + c];
        part[c] = total;
    }
}

template <bool WHOLE>
__global__ void __launch_bounds__(PLUMB_NORM_TEAM)
    norm_bwd_held(struct plumb_norm a, struct norm_plan p, bool sums_rows)
{
    PLUMB_DYN_SHARED(float, room); /* for w, then for the teams' sums */
    __shared__ struct norm_sums sums;
    int turn = 0;
    const bool layer = a.kind == PLUMB_NORM_LAYER;
    const struct norm_span span = norm_span_of(&p, a.D);
    const float width = (float)a.D;
    float dw[NORM_HELD] = {}, db[NORM_HELD] = {}, xhat[NORM_HELD], u[NORM_HELD];
    norm_share(&p, &a.w, a.D, (float)a.offset, room);
    __syncthreads();
    struct norm_place at = norm_first(&p, a.G);
    for (; norm_more(&p, &at); norm_next(&p, a.G, &at)) {
        struct norm_span s = span;
        if (!at.live) s.width = 0;
        const int64_t x = at.n * a.ldx + at.g * a.D;
        struct norm_terms t = terms_of(&a, at.i, at.live);
        normalised<WHOLE>(&a, &s, &t, x, at.n * a.ldy + at.g * a.D, xhat, u);
        float dot = 0, sum = 0;
        PLUMB_UNROLL for (int k = 0; k < NORM_QUADS; k++)
        {
            const struct plumb_quad w = norm_shared_quad(&span, room, k);
            PLUMB_UNROLL for (int j = 4 * k; j < 4 * k + 4; j++)
            {
                dw[j] += u[j] * xhat[j];
                db[j] += u[j];
                u[j] *= w.v[j % 4];
                dot += u[j] * xhat[j];
                sum += u[j];
            }
        }
        t.dot = norm_team_sum(dot, p.team, &sums, &turn) / width;
        if (layer) t.sum = norm_team_sum(sum, p.team, &sums, &turn) / width;
        finish<WHOLE>(&a, &s, &t, x, at.i * a.D, xhat, u);
    }
    if (!sums_rows) return;
    float *part = (float *)a.work.data + blockIdx.x * a.D * (layer ? 2 : 1);
    leave(&p, dw, room, a.D, part);
    if (layer) leave(&p, db, room, a.D, part + a.D);
}

/* part = v, or += v after the first group of a block. */
template <bool WHOLE>
PLUMB_DEVICE void add_part(const struct norm_span *s, const struct plumb_tensor *work, int64_t at,
                           bool first, float v[NORM_HELD])
{
    float before[NORM_HELD] = {};
    if (!first) norm_take<WHOLE>(s, work, at, before);
    PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++) v[j] += before[j];
    norm_put<WHOLE>(s, work, at, v);
}

/* Groups in pieces that the block, one team, can hold; x and dy are read twice, partials gather in
 * the block's row of `work`. */
template <bool WHOLE>
__global__ void __launch_bounds__(PLUMB_NORM_TEAM)
    norm_bwd_wide(struct plumb_norm a, struct norm_plan p, bool sums_rows)
{
    __shared__ struct norm_sums sums;
    int turn = 0;
    const bool layer = a.kind == PLUMB_NORM_LAYER;
    const float offset = (float)a.offset, width = (float)a.D;
    const int64_t part = blockIdx.x * a.D * (layer ? 2 : 1);
    float w[NORM_HELD], dw[NORM_HELD], xhat[NORM_HELD], u[NORM_HELD];
    struct norm_place at = norm_first(&p, a.G);
    for (bool first = true; norm_more(&p, &at); norm_next(&p, a.G, &at), first = false) {
        const int64_t x = at.n * a.ldx + at.g * a.D, y = at.n * a.ldy + at.g * a.D;
        struct norm_terms t = terms_of(&a, at.i, true);
        float dot = 0, sum = 0;
        for (int64_t c = 0; c < a.D; c += NORM_PIECE) {
            const struct norm_span s = norm_span_of(&p, a.D - c);
            normalised<WHOLE>(&a, &s, &t, x + c, y + c, xhat, u);
            norm_take<WHOLE>(&s, &a.w, c, w);
            PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++)
            {
                const float grad = u[j] * (w[j] + offset);
                dw[j] = u[j] * xhat[j];
                dot += grad * xhat[j];
                sum += grad;
            }
            if (sums_rows) add_part<WHOLE>(&s, &a.work, part + c, first, dw);
            if (sums_rows && layer) add_part<WHOLE>(&s, &a.work, part + a.D + c, first, u);
        }
        t.dot = norm_team_sum(dot, p.team, &sums, &turn) / width;
        if (layer) t.sum = norm_team_sum(sum, p.team, &sums, &turn) / width;
        for (int64_t c = 0; c < a.D; c += NORM_PIECE) {
            const struct norm_span s = norm_span_of(&p, a.D - c);
            normalised<WHOLE>(&a, &s, &t, x + c, y + c, xhat, u);
            norm_take<WHOLE>(&s, &a.w, c, w);
            PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++) u[j] *= w[j] + offset;
            finish<WHOLE>(&a, &s, &t, x + c, at.i * a.D + c, xhat, u);
        }
    }
}

template <bool WHOLE>
static cudaError_t launch(const struct plumb_norm *a, const struct norm_plan *p, int64_t blocks,
                          bool sums_rows, cudaStream_t s)
{
    const int threads = p->team * p->teams;
    const size_t room = (size_t)(p->teams * norm_row_room(p->team)) * sizeof(float);
    if (plumb_norm_is_held(a->D))
        return PLUMB_LAUNCH(norm_bwd_held<WHOLE>, (unsigned)blocks, threads, room, s, *a, *p,
                            sums_rows);
    return PLUMB_LAUNCH(norm_bwd_wide<WHOLE>, (unsigned)blocks, threads, 0, s, *a, *p, sums_rows);
}

static int norm_bwd(const struct plumb_device *dev, const struct plumb_norm *args)
{
    if (args->N == 0) return PLUMB_OK;
    const struct plumb_norm a = norm_dense(args);
    const cudaStream_t stream = plumb_gpu_stream(dev);
    const struct norm_plan p = norm_plan_of(&a, plumb_ceil_div(a.N * a.G, plumb_norm_parts(&a)));
    const int64_t blocks = plumb_ceil_div(p.groups, p.per);
    const bool sums_rows = a.dw.data || a.db.data;
    const cudaError_t e = norm_is_whole(&a) ? launch<true>(&a, &p, blocks, sums_rows, stream)
                                            : launch<false>(&a, &p, blocks, sums_rows, stream);
    if (e || !sums_rows) return plumb_gpu_status(e, "norm");
    const struct plumb_merge m = { (const float *)a.work.data,
                                   blocks,
                                   a.D * (a.kind == PLUMB_NORM_LAYER ? 2 : 1),
                                   a.D,
                                   { (float *)a.dw.data, (float *)a.db.data } };
    return plumb_gpu_status(plumb_merge_launch(&m, stream), "norm");
}
PLUMB_GPU_OP(norm_bwd, plumb_norm);
