/* What the device code of the norms shares: groups held in the registers of a team, sums over a
 * team in an order that the width alone decides. */
#pragma once
#include "kernels/gpu_quad.h"
#include "kernels/norm/norm_blocks.h"

enum {
    NORM_HELD = PLUMB_NORM_HELD,
    NORM_QUADS = PLUMB_NORM_HELD / 4,
    NORM_PIECE = PLUMB_NORM_PIECE
};

/* How a kernel deals out the groups. */
struct norm_plan {
    int team, teams;            /* threads of a team, teams of a block */
    int64_t groups, per;        /* all; of a block */
    int64_t rows_on, groups_on; /* `teams` groups further on: rows, and groups in a row */
};

/* The columns of one thread: quads, dealt to the team in turn; those from `width` on are none. */
struct norm_span {
    int first, step, width;
};

PLUMB_DEVICE struct norm_span norm_span_of(const struct norm_plan *p, int64_t width)
{
    return norm_span{ (int)threadIdx.x % p->team * 4, p->team * 4,
                      width < NORM_PIECE ? (int)width : NORM_PIECE };
}

/* Group i is group g of row n; `live` while it is one of the block's. */
struct norm_place {
    int64_t i, n, g;
    bool live;
};

PLUMB_DEVICE struct norm_place norm_first(const struct norm_plan *p, int64_t G)
{
    const int64_t i = blockIdx.x * p->per + threadIdx.x / p->team, n = i / G;
    return norm_place{ i, n, i - n * G, false };
}

/* Whether some team of the block has a group left; the block's threads agree. */
PLUMB_DEVICE bool norm_more(const struct norm_plan *p, struct norm_place *at)
{
    const int64_t share = (blockIdx.x + 1) * p->per, end = share < p->groups ? share : p->groups;
    at->live = at->i < end;
    return at->i - threadIdx.x / p->team < end;
}

PLUMB_DEVICE void norm_next(const struct norm_plan *p, int64_t G, struct norm_place *at)
{
    at->i += p->teams;
    at->n += p->rows_on;
    at->g += p->groups_on;
    if (at->g >= G) at->g -= G, at->n++;
}

template <class T>
PLUMB_DEVICE void norm_take_quads(const struct norm_span *s, const T *p, bool whole,
                                  float v[NORM_HELD])
{
    struct plumb_quad_bits<T> bits[NORM_QUADS] = {};
    PLUMB_UNROLL for (int k = 0; k < NORM_QUADS; k++)
    {
        const int c = s->first + k * s->step;
        if (whole && c < s->width) bits[k] = plumb_ldcs4_bits(p + c);
    }
    PLUMB_UNROLL for (int k = 0; k < NORM_QUADS; k++)
    {
        const int c = s->first + k * s->step;
        const struct plumb_quad q = whole ? plumb_quad_wide(bits[k])
                                          : plumb_quad_load(p + c, false, s->width - c);
        PLUMB_UNROLL for (int e = 0; e < 4; e++) v[4 * k + e] = q.v[e];
    }
}

template <class T>
PLUMB_DEVICE void norm_put_quads(const struct norm_span *s, T *p, bool whole,
                                 const float v[NORM_HELD])
{
    PLUMB_UNROLL for (int k = 0; k < NORM_QUADS; k++)
    {
        const int c = s->first + k * s->step;
        const struct plumb_quad q = { { v[4 * k], v[4 * k + 1], v[4 * k + 2], v[4 * k + 3] } };
        if (!whole)
            plumb_quad_store(p + c, &q, false, s->width - c);
        else if (c < s->width)
            plumb_st4(p + c, &q);
    }
}

/* The thread's columns of a tensor from element `at` on; 0 where there are none. WHOLE: each quad
 * is one access. */
template <bool WHOLE>
PLUMB_DEVICE void norm_take(const struct norm_span *s, const struct plumb_tensor *t, int64_t at,
                            float v[NORM_HELD])
{
    if (t->dtype == PLUMB_BF16)
        norm_take_quads(s, (const __nv_bfloat16 *)t->data + at, WHOLE, v);
    else
        norm_take_quads(s, (const float *)t->data + at, WHOLE, v);
}

template <bool WHOLE>
PLUMB_DEVICE void norm_put(const struct norm_span *s, const struct plumb_tensor *t, int64_t at,
                           const float v[NORM_HELD])
{
    if (t->dtype == PLUMB_BF16)
        norm_put_quads(s, (__nv_bfloat16 *)t->data + at, WHOLE, v);
    else
        norm_put_quads(s, (float *)t->data + at, WHOLE, v);
}

PLUMB_DEVICE bool norm_has(const struct norm_span *s, int j)
{
    return s->first + j / 4 * s->step + j % 4 < s->width;
}

/* A vector of weights for all teams of a block: `room` holds as many floats as a team's places.
 * A barrier must follow. */
PLUMB_DEVICE void norm_share(const struct norm_plan *p, const struct plumb_tensor *t, int64_t D,
                             float offset, float *room)
{
    const int places = p->team * NORM_HELD;
    for (int c = (int)threadIdx.x; c < places; c += (int)blockDim.x) {
        float v = 0;
        if (c < D && t->dtype == PLUMB_BF16) v = plumb_wide(((const __nv_bfloat16 *)t->data)[c]);
        if (c < D && t->dtype != PLUMB_BF16) v = ((const float *)t->data)[c];
        room[c] = v + offset;
    }
}

/* Quad k of the thread in such a room. */
PLUMB_DEVICE struct plumb_quad norm_shared_quad(const struct norm_span *s, const float *room, int k)
{
    return plumb_ld4(room + s->first + k * s->step);
}

/* Room for the sums of the warps; two turns, so that one barrier a sum is enough. */
struct norm_sums {
    float warp[2][PLUMB_NORM_TEAM / 32];
};

/* The sum of v over the team, in all of its threads the same. All threads of a block come here. */
PLUMB_DEVICE float norm_team_sum(float v, int team, struct norm_sums *s, int *turn)
{
    for (int m = (team < 32 ? team : 32) / 2; m > 0; m /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, m);
    if (team <= 32) return v;
    float *sums = s->warp[*turn];
    *turn ^= 1;
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = v;
    __syncthreads();
    const int warps = team / 32, first = (int)threadIdx.x / team * warps;
    v = 0;
    for (int w = 0; w < warps; w++)
        v += sums[first + w];
    return v;
}

/* ---- host ---- */

static inline bool norm_has_quads(const struct plumb_tensor *t, int64_t ld)
{
    if (!t->data) return true;
    return t->dtype == PLUMB_BF16 ? plumb_quads((const __nv_bfloat16 *)t->data, ld)
                                  : plumb_quads((const float *)t->data, ld);
}

/* Whether every quad of every tensor can be one access. */
static inline bool norm_is_whole(const struct plumb_norm *a)
{
    return a->D % 4 == 0 && norm_has_quads(&a->x, a->ldx) && norm_has_quads(&a->dx, a->ldx) &&
           norm_has_quads(&a->y, a->ldy) && norm_has_quads(&a->dy, a->ldy) &&
           norm_has_quads(&a->delta, 0) && norm_has_quads(&a->sum, 0) &&
           norm_has_quads(&a->dsum, 0) && norm_has_quads(&a->w, 0) && norm_has_quads(&a->b, 0) &&
           norm_has_quads(&a->work, 0);
}

static inline struct norm_plan norm_plan_of(const struct plumb_norm *a, int64_t per)
{
    const int teams = plumb_norm_teams(a->D);
    return norm_plan{ plumb_norm_team(a->D), teams, a->N * a->G, per, teams / a->G, teams % a->G };
}

/* The same call with both strides given. */
static inline struct plumb_norm norm_dense(const struct plumb_norm *a)
{
    struct plumb_norm b = *a;
    if (!b.ldx) b.ldx = a->G * a->D;
    if (!b.ldy) b.ldy = a->G * a->D;
    return b;
}
