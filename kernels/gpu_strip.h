/* Passes of one warp over a run of tokens, in strips of 128: four neighbouring tokens a lane, of
 * any number of arrays that the run lies in, 16 bytes an access. Lanes lie at sectors of one of the
 * arrays; plumb_run_total adds up what the lanes have summed in an order of the run alone.
 *   const int skew = plumb_strip_skew(p, &run);
 *   for (int64_t at = -skew; at < run.tokens; at += 128) {
 *       const int64_t i = plumb_strip_lane(at);
 *       const plumb_vec<float> x = plumb_strip_load(p, i, &run, 0.0f);
 *       ... x.v[k] of those with plumb_strip_in(i + k, &run); plumb_strip_store(y, i, &run, ...) */
#pragma once
#include "kernels/gpu_sequence.h"

PLUMB_DEVICE int plumb_strip_skew(const float *p, const struct plumb_run *run)
{
    return run->tokens > 0 ? plumb_skew(p + run->first) : 0;
}

/* Where this lane's four tokens lie in the strip that begins at `at`; the warp is in step there. */
PLUMB_DEVICE int64_t plumb_strip_lane(int64_t at)
{
    __syncwarp();
    return at + 4 * (int64_t)(threadIdx.x % 32);
}

PLUMB_DEVICE bool plumb_strip_in(int64_t i, const struct plumb_run *run)
{
    return i >= 0 && i < run->tokens;
}

/* Elements i .. i+3 of the run; `absent` beyond its ends and where p is NULL. Neighbours in the
 * array may be among them. */
template <class T>
PLUMB_DEVICE plumb_vec<T> plumb_strip_load(const T *p, int64_t i, const struct plumb_run *run,
                                           T absent)
{
    plumb_vec<T> x = { { absent, absent, absent, absent } };
    if (!p) return x;
    p += run->first;
    if (run->first + i >= run->least && run->first + i + 4 <= run->most &&
        reinterpret_cast<uintptr_t>(p + i) % 16 == 0)
        return plumb_ld16(p + i);
    PLUMB_UNROLL for (int k = 0; k < 4; k++) if (plumb_strip_in(i + k, run)) x.v[k] = p[i + k];
    return x;
}

/* p NULL: nothing. */
PLUMB_DEVICE void plumb_strip_store(float *p, int64_t i, const struct plumb_run *run,
                                    const plumb_vec<float> &x)
{
    if (!p) return;
    p += run->first;
    if (i >= 0 && i + 4 <= run->tokens && reinterpret_cast<uintptr_t>(p + i) % 16 == 0)
        plumb_st16(p + i, x);
    else
        PLUMB_UNROLL for (int k = 0; k < 4; k++) if (plumb_strip_in(i + k, run)) p[i + k] = x.v[k];
}
