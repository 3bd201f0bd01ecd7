/* Device code of the norms, forward: a group is read once, into the registers of its team, with two
 * passes over them; f32 arithmetic. A block keeps w and b in shared memory through all of its
 * groups. Groups too wide for registers wait in shared memory, or are read again. */
#include "kernels/norm/norm_device.h"

/* s = x + delta, as it is stored: backward will see the rounded value. */
template <bool WHOLE>
PLUMB_DEVICE void add_delta(const struct plumb_norm *a, const struct norm_span *s, int64_t flat,
                            float v[NORM_HELD])
{
    float d[NORM_HELD];
    norm_take<WHOLE>(s, &a->delta, flat, d);
    PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++) v[j] += d[j];
    if (a->sum.dtype == PLUMB_BF16) {
        PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++)
            v[j] = __bfloat162float(__float2bfloat16_rn(v[j]));
    }
    norm_put<WHOLE>(s, &a->sum, flat, v);
}

PLUMB_DEVICE float sum_of(const float v[NORM_HELD])
{
    float t = 0;
    PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++) t += v[j];
    return t;
}

PLUMB_DEVICE float squares_of(const struct norm_span *s, const float v[NORM_HELD], float mean)
{
    float t = 0;
    PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++)
    {
        const float d = norm_has(s, j) ? v[j] - mean : 0.0f;
        t += d * d;
    }
    return t;
}

PLUMB_DEVICE void keep_statistics(const struct plumb_norm *a, int64_t i, float rstd, float mean)
{
    if (a->rstd.data) ((float *)a->rstd.data)[i] = rstd;
    if (a->mean.data) ((float *)a->mean.data)[i] = mean;
}

template <bool WHOLE>
__global__ void __launch_bounds__(PLUMB_NORM_TEAM, 2)
    norm_fwd_held(struct plumb_norm a, struct norm_plan p)
{
    PLUMB_DYN_SHARED(float, w);
    __shared__ struct norm_sums sums;
    float *b = a.b.data ? w + p.team * NORM_HELD : NULL, v[NORM_HELD];
    int turn = 0;
    const struct norm_span span = norm_span_of(&p, a.D);
    const float eps = (float)a.eps, width = (float)a.D;
    norm_share(&p, &a.w, a.D, (float)a.offset, w);
    if (b) norm_share(&p, &a.b, a.D, 0, b);
    __syncthreads();
    struct norm_place at = norm_first(&p, a.G);
    for (; norm_more(&p, &at); norm_next(&p, a.G, &at)) {
        struct norm_span s = span;
        if (!at.live) s.width = 0;
        norm_take<WHOLE>(&s, &a.x, at.n * a.ldx + at.g * a.D, v);
        if (a.delta.data) add_delta<WHOLE>(&a, &s, at.i * a.D, v);
        float mean = 0;
        if (a.kind == PLUMB_NORM_LAYER)
            mean = norm_team_sum(sum_of(v), p.team, &sums, &turn) / width;
        const float squares = norm_team_sum(squares_of(&s, v, mean), p.team, &sums, &turn);
        const float rstd = 1.0f / sqrtf(squares / width + eps);
        PLUMB_UNROLL for (int k = 0; k < NORM_QUADS; k++)
        {
            const struct plumb_quad wk = norm_shared_quad(&span, w, k);
            struct plumb_quad bk = {};
            if (b) bk = norm_shared_quad(&span, b, k);
            PLUMB_UNROLL for (int e = 0; e < 4; e++)
                v[4 * k + e] = (v[4 * k + e] - mean) * rstd * wk.v[e] + bk.v[e];
        }
        norm_put<WHOLE>(&s, &a.y, at.n * a.ldy + at.g * a.D, v);
        if (at.live && span.first == 0) keep_statistics(&a, at.i, rstd, mean);
    }
}

/* One piece of s, as norm_fwd_wide found it before. */
template <bool WHOLE>
PLUMB_DEVICE void again(const struct plumb_norm *a, const struct norm_span *s, const float *kept,
                        int64_t x, int64_t flat, int64_t c, float v[NORM_HELD])
{
    if (kept) {
        PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++)
            v[j] = kept[c + j * PLUMB_NORM_TEAM + threadIdx.x];
    } else if (a->delta.data) {
        norm_take<WHOLE>(s, &a->sum, flat + c, v);
    } else {
        norm_take<WHOLE>(s, &a->x, x + c, v);
    }
}

/* A block a group, in pieces that its team can hold. */
template <bool WHOLE>
__global__ void __launch_bounds__(PLUMB_NORM_TEAM)
    norm_fwd_wide(struct plumb_norm a, struct norm_plan p, bool keep)
{
    PLUMB_DYN_SHARED(float, room);
    __shared__ struct norm_sums sums;
    const float offset = (float)a.offset;
    float *kept = keep ? room : NULL, w[NORM_HELD], b[NORM_HELD] = {}, v[NORM_HELD];
    const int64_t i = blockIdx.x, n = i / a.G, g = i - n * a.G, x = n * a.ldx + g * a.D;
    const bool layer = a.kind == PLUMB_NORM_LAYER;
    int turn = 0;
    float first = 0, mean = 0;
    for (int64_t c = 0; c < a.D; c += NORM_PIECE) {
        const struct norm_span s = norm_span_of(&p, a.D - c);
        norm_take<WHOLE>(&s, &a.x, x + c, v);
        if (a.delta.data) add_delta<WHOLE>(&a, &s, i * a.D + c, v);
        first += layer ? sum_of(v) : squares_of(&s, v, 0);
        if (kept)
            PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++)
                kept[c + j * PLUMB_NORM_TEAM + threadIdx.x] = v[j];
    }
    float squares = norm_team_sum(first, p.team, &sums, &turn);
    if (layer) {
        mean = squares / (float)a.D;
        squares = 0;
        for (int64_t c = 0; c < a.D; c += NORM_PIECE) {
            const struct norm_span s = norm_span_of(&p, a.D - c);
            again<WHOLE>(&a, &s, kept, x, i * a.D, c, v);
            squares += squares_of(&s, v, mean);
        }
        squares = norm_team_sum(squares, p.team, &sums, &turn);
    }
    const float rstd = 1.0f / sqrtf(squares / (float)a.D + (float)a.eps);
    for (int64_t c = 0; c < a.D; c += NORM_PIECE) {
        const struct norm_span s = norm_span_of(&p, a.D - c);
        again<WHOLE>(&a, &s, kept, x, i * a.D, c, v);
        norm_take<WHOLE>(&s, &a.w, c, w);
        if (a.b.data) norm_take<WHOLE>(&s, &a.b, c, b);
        PLUMB_UNROLL for (int j = 0; j < NORM_HELD; j++)
            v[j] = (v[j] - mean) * rstd * (w[j] + offset) + b[j];
        norm_put<WHOLE>(&s, &a.y, n * a.ldy + g * a.D + c, v);
    }
    if (threadIdx.x == 0) keep_statistics(&a, i, rstd, mean);
}

/* Groups of a block: enough that w and b are a small part of what it reads, but where groups are
 * few one each, for the sake of latency. No result depends on it. */
static int64_t share(const struct plumb_norm *a)
{
    const int64_t teams = plumb_norm_teams(a->D);
    if (a->N * a->G <= 32 * teams) return teams;
    const int64_t least = a->kind == PLUMB_NORM_LAYER ? 32 : 16;
    return 4 * teams > least ? 4 * teams : least;
}

template <bool WHOLE>
static cudaError_t launch(const struct plumb_norm *a, const struct norm_plan *p, cudaStream_t s)
{
    const int threads = p->team * p->teams, vectors = a->b.data ? 2 : 1;
    const size_t weights = (size_t)(vectors * p->team * NORM_HELD) * sizeof(float);
    if (plumb_norm_is_held(a->D))
        return PLUMB_LAUNCH(norm_fwd_held<WHOLE>, (unsigned)plumb_ceil_div(p->groups, p->per),
                            threads, weights, s, *a, *p);
    const int64_t room = plumb_ceil_div(a->D, NORM_PIECE) * NORM_PIECE * (int64_t)sizeof(float);
    const bool keep = room <= 96 * 1024; /* what every device of sm_80 and later has */
    return PLUMB_LAUNCH(norm_fwd_wide<WHOLE>, (unsigned)p->groups, threads, keep ? (size_t)room : 0,
                        s, *a, *p, keep);
}

static int norm_fwd(const struct plumb_device *dev, const struct plumb_norm *args)
{
    if (args->N == 0) return PLUMB_OK;
    const struct plumb_norm a = norm_dense(args);
    const struct norm_plan p = norm_plan_of(&a, share(&a));
    const cudaStream_t stream = plumb_gpu_stream(dev);
    const cudaError_t e = norm_is_whole(&a) ? launch<true>(&a, &p, stream)
                                            : launch<false>(&a, &p, stream);
    return plumb_gpu_status(e, "norm");
}
PLUMB_GPU_OP(norm_fwd, plumb_norm);
