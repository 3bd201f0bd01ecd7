/* What the device code of losses shares: arrays read and written by fours, sums over runs of tokens
 * and values spread over them. A block owns PLUMB_RUNS neighbouring runs of a packed array, a warp
 * sums one, and all of the block writes their tokens.
 *   __shared__ struct plumb_runs s;
 *   plumb_runs_sum(&s, &job.in);                  sequences in s.q; logps and rewards written
 *   if (threadIdx.x < ...) s.up[...] = formula(s.q[...]);       by threads of the first warp
 *   plumb_runs_fill(&s, dlogp, job.in.token_weight);
 * A run's sum is in f64 and in an order of the run's own indices wherever it lies in memory. All
 * accesses are of 16 bytes and start at a sector, but for the ends of what a block owns. */
#pragma once
#include "kernels/gpu.h"
#include "kernels/sequence.h"

/* ---- elementwise ---- */

/* Elements i .. i+3 of n: one access where p + i is aligned; 0 beyond the end. */
template <class T> PLUMB_DEVICE plumb_vec<T> plumb_four_load(const T *p, int64_t i, int64_t n)
{
    if (i + 4 <= n && reinterpret_cast<uintptr_t>(p + i) % 16 == 0) return plumb_ldcs16(p + i);
    plumb_vec<T> x;
    PLUMB_UNROLL for (int k = 0; k < 4; k++) x.v[k] = i + k < n ? p[i + k] : 0;
    return x;
}

template <class T>
PLUMB_DEVICE void plumb_four_store(T *p, int64_t i, int64_t n, const plumb_vec<T> &x)
{
    if (i + 4 <= n && reinterpret_cast<uintptr_t>(p + i) % 16 == 0) {
        plumb_st16(p + i, x);
        return;
    }
    PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k < n) p[i + k] = x.v[k];
}

/* ---- one run, by one warp ---- */

/* Every lane gets the sum, the same bits. */
PLUMB_DEVICE double plumb_warp_sum(double x)
{
    PLUMB_UNROLL for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}

/* Tokens first .. first+tokens-1 of an array that holds tokens least .. most-1. */
struct plumb_run {
    int64_t first, tokens, least, most;
};

/* Bounds that lead out of the array make an empty run; its sum is NaN. */
PLUMB_DEVICE struct plumb_run plumb_run_of(int64_t begin, int64_t end, int64_t least, int64_t most)
{
    const bool good = 0 <= least && least <= begin && begin <= end && end <= most;
    return good ? plumb_run{ begin, end - begin, least, most } : plumb_run{ 0, -1, 0, 0 };
}

/* How many elements lie between p and the sector's border before it. */
PLUMB_DEVICE int plumb_skew(const float *p)
{
    return (int)(reinterpret_cast<uintptr_t>(p) / sizeof *p % 8);
}

/* Elements i .. i+3 of a run. Neighbours in the array are read, but not to be used: a whole vector
 * is one access where p + i is aligned (`wide`). */
PLUMB_DEVICE plumb_vec<float> plumb_run_four(const float *p, int64_t i, const struct plumb_run *run,
                                             bool wide)
{
    if (wide && run->first + i >= run->least && run->first + i + 4 <= run->most)
        return plumb_ldcs16(p + i);
    plumb_vec<float> x;
    PLUMB_UNROLL for (int k = 0; k < 4; k++) x.v[k] = i + k >= 0 && i + k < run->tokens ? p[i + k]
                                                                                        : 0.0f;
    return x;
}

/* Adds elements i .. i+3 of a run to four sums. */
PLUMB_DEVICE void plumb_run_edge(const float *p, int64_t i, const struct plumb_run *run,
                                 double sum[4])
{
    if (i >= run->tokens) return;
    const plumb_vec<float> x = plumb_run_four(p, i, run, true);
    PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k >= 0 && i + k < run->tokens)
        sum[k] += (double)x.v[k];
}

/* Element r of a run belongs to class r % 128. Lanes lie at sectors, so a lane's four sums are four
 * classes, moved round by the skew; they are moved back before they are added up, which makes the
 * order of all additions one of r alone. */
PLUMB_DEVICE double plumb_run_total(const double sum[4], int skew)
{
    const int lane = (int)(threadIdx.x % 32);
    double total = 0;
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        const int from = (k + skew) % 4;
        const double slot = from < 2 ? from < 1 ? sum[0] : sum[1] : from < 3 ? sum[2] : sum[3];
        total += __shfl_sync(0xffffffffu, slot, (lane + (k + skew) / 4) % 32);
    }
    return plumb_warp_sum(total);
}

/* Sum of x over a run, in every lane; all lanes of a warp call it together. */
PLUMB_DEVICE double plumb_run_sum(const float *x, const struct plumb_run *run)
{
    if (run->tokens <= 0) return run->tokens < 0 ? (double)NAN : 0.0;
    const int lane = (int)(threadIdx.x % 32);
    const float *p = x + run->first;
    const int skew = plumb_skew(p);
    double sum[4] = { 0, 0, 0, 0 };
    plumb_run_edge(p, 4 * lane - skew, run, sum);
    int64_t row = 128 - skew;
#pragma unroll 4
    for (; row + 128 <= run->tokens; row += 128) {
        const plumb_vec<float> v = plumb_ldcs16(p + row + 4 * lane);
        PLUMB_UNROLL for (int k = 0; k < 4; k++) sum[k] += (double)v.v[k];
    }
    plumb_run_edge(p, row + 4 * lane, run, sum);
    return plumb_run_total(sum, skew);
}

/* The same with each element times its weight; a call of its own, so that those who have no
 * weights do not pay for its registers. */
#ifdef __NVCC__
static __device__ __noinline__
#else
PLUMB_DEVICE
#endif
    double
    plumb_run_dot(const float *x, const float *weight, int64_t first, int64_t tokens, int64_t least,
                  int64_t most)
{
    const struct plumb_run run = { first, tokens, least, most };
    if (tokens <= 0) return tokens < 0 ? (double)NAN : 0.0;
    const float *p = x + first, *q = weight + first;
    const int skew = plumb_skew(p);
    const bool alike = (plumb_skew(q) - skew) % 4 == 0;
    double sum[4] = { 0, 0, 0, 0 };
#pragma unroll 1
    for (int64_t i = 4 * (int)(threadIdx.x % 32) - skew; i < tokens; i += 128) {
        const plumb_vec<float> v = plumb_run_four(p, i, &run, true);
        const plumb_vec<float> w = plumb_run_four(q, i, &run, alike);
        PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k >= 0 && i + k < tokens)
            sum[k] += (double)v.v[k] * (double)w.v[k];
    }
    return plumb_run_total(sum, skew);
}

/* ---- neighbouring runs, by one block ---- */

enum { PLUMB_RUNS = 8, PLUMB_RUNS_BLOCK = 32 * PLUMB_RUNS };
enum { PLUMB_RUNS_LEAST = PLUMB_RUNS + 1, PLUMB_RUNS_MOST, PLUMB_RUNS_BOUNDS };

struct plumb_run_sums {    /* the part of a job that all losses on sequences have */
    int64_t R;             /* runs in all */
    const int32_t *offset; /* (R+1) */
    const float *logp, *ref_logp, *ref_sum; /* the last two may be NULL */
    float *logps, *rewards;                 /* (R) */
    double beta;
    const float *token_weight = NULL; /* of logp and ref_logp; NULL = 1 */
};

struct plumb_runs {                   /* in shared memory */
    int32_t bound[PLUMB_RUNS_BOUNDS]; /* of the runs, then of the array */
    struct plumb_sequence q[PLUMB_RUNS];
    float up[PLUMB_RUNS]; /* the value that fills a run */
};

/* The first of the block's runs; those past the last of all are empty. */
PLUMB_DEVICE int64_t plumb_runs_first() { return (int64_t)blockIdx.x * PLUMB_RUNS; }

PLUMB_DEVICE void plumb_runs_bounds(struct plumb_runs *s, const struct plumb_run_sums *a)
{
    const int t = (int)threadIdx.x;
    const int64_t r = t == PLUMB_RUNS_LEAST ? 0 : plumb_runs_first() + t;
    if (t < PLUMB_RUNS_BOUNDS) s->bound[t] = a->offset[t == PLUMB_RUNS_MOST || r > a->R ? a->R : r];
    if (t < PLUMB_RUNS) s->up[t] = 0;
    __syncthreads();
}

/* s->q in the first warp; logps and rewards in memory. */
PLUMB_DEVICE void plumb_runs_sum(struct plumb_runs *s, const struct plumb_run_sums *a)
{
    plumb_runs_bounds(s, a);
    const int t = (int)threadIdx.x, warp = t / 32;
    const struct plumb_run run = plumb_run_of(
        s->bound[warp], s->bound[warp + 1], s->bound[PLUMB_RUNS_LEAST], s->bound[PLUMB_RUNS_MOST]);
    double logp, ref = 0;
    if (a->token_weight) {
        logp = plumb_run_dot(a->logp, a->token_weight, run.first, run.tokens, run.least, run.most);
        if (a->ref_logp)
            ref = plumb_run_dot(a->ref_logp, a->token_weight, run.first, run.tokens, run.least,
                                run.most);
    } else {
        logp = plumb_run_sum(a->logp, &run);
        if (a->ref_logp) ref = plumb_run_sum(a->ref_logp, &run);
    }
    if (t % 32 == 0) s->q[warp] = plumb_sequence{ logp, ref, run.tokens };
    __syncthreads();
    const int64_t r = plumb_runs_first() + t;
    if (t < PLUMB_RUNS && r < a->R) {
        const double base = a->ref_sum ? (double)a->ref_sum[r] : s->q[t].ratio;
        const double ratio = plumb_sequence_ratio(s->q[t].logp, base, a->ref_sum != NULL);
        s->q[t].ratio = ratio;
        a->logps[r] = plumb_saturate_f32(s->q[t].logp);
        a->rewards[r] = plumb_saturate_f32(a->beta * ratio);
    }
    if (warp == 0) __syncwarp();
}

/* y = s->up over the tokens of the block's runs, times a token's weight if there are weights; y
 * NULL: nothing. */
PLUMB_DEVICE void plumb_runs_fill(const struct plumb_runs *s, float *y,
                                  const float *token_weight = NULL)
{
    __syncthreads();
    if (!y) return;
    const int64_t least = s->bound[PLUMB_RUNS_LEAST] > 0 ? s->bound[PLUMB_RUNS_LEAST] : 0;
    const int64_t begin = s->bound[0] > least ? s->bound[0] : least;
    const int64_t end = s->bound[PLUMB_RUNS] < s->bound[PLUMB_RUNS_MOST]
                            ? s->bound[PLUMB_RUNS]
                            : s->bound[PLUMB_RUNS_MOST];
    const int64_t n = end - begin;
    float *p = y + begin;
    const float *weight = token_weight ? token_weight + begin : NULL;
    const struct plumb_run all = { begin, n, begin, end };
    const bool alike = weight && (plumb_skew(weight) - plumb_skew(p)) % 4 == 0;
    int r = 0;
    for (int64_t i = 4 * (int)threadIdx.x - plumb_skew(p); i < n; i += 4 * PLUMB_RUNS_BLOCK) {
        plumb_vec<float> x;
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            while (r < PLUMB_RUNS - 1 && begin + i + k >= s->bound[r + 1])
                r++;
            x.v[k] = s->up[r];
        }
        if (weight) {
            const plumb_vec<float> w = plumb_run_four(weight, i, &all, alike);
            PLUMB_UNROLL for (int k = 0; k < 4; k++)
                x.v[k] = plumb_saturate_f32((double)x.v[k] * (double)w.v[k]);
        }
        if (i >= 0 && i + 4 <= n)
            plumb_st16(p + i, x);
        else
            PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k >= 0 && i + k < n) p[i + k] = x.v[k];
    }
}
