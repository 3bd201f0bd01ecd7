/* Device code of advantage estimation: a warp owns a sequence and walks it from its end in tiles of
 * 128 tokens, each in four groups of 32. Groups are cut from the sequence's start, so the order in
 * which tokens are combined depends on nothing but its length. Memory is read and written in whole
 * sectors wherever the sequence lies: a window of shared memory holds the tile from the sector that
 * it starts in, and the first sector of the tile before as its tail. */
#include <plumb/gae.h>

#include "kernels/gpu_sequence.h"

enum {
    WARPS = 8,
    BLOCK = 32 * WARPS,
    TILE = 128,
    SECTOR = 8, /* elements of 32 bytes */
    WINDOW = TILE + SECTOR
};

struct gae_job {
    int64_t R;
    const int32_t *offset, *counted;
    const float *reward, *value, *baseline;
    double gamma, decay;
    float *advantage, *returns;
};

/* One array of a sequence. Element t of it lies at hold[t - 128 tile + skew]. */
struct gae_window {
    float hold[WINDOW];
};

struct gae_windows {
    struct gae_window reward, value, counted, advantage, returns;
};

/* Where the sequence starts in an array, and how far behind a sector's border. */
struct gae_array {
    const float *p;
    int skew;
};

PLUMB_DEVICE struct gae_array array_of(const void *base, const struct plumb_run *run)
{
    const float *p = (const float *)base + run->first;
    return gae_array{ p, plumb_skew(p) };
}

/* Elements t .. t+3 of a sequence; what lies outside it is never used. */
PLUMB_DEVICE plumb_vec<float> read_four(const struct gae_array *a, int64_t t,
                                        const struct plumb_run *run)
{
    plumb_vec<float> x = { { 0, 0, 0, 0 } };
    if (t + 4 <= 0 || t >= run->tokens) return x;
    if (run->first + t >= run->least && run->first + t + 4 <= run->most)
        return plumb_ldcs16(a->p + t);
    PLUMB_UNROLL for (int k = 0; k < 4; k++) if (t + k >= 0 && t + k < run->tokens)
        x.v[k] = a->p[t + k];
    return x;
}

PLUMB_DEVICE plumb_vec<float> read_tile(const struct gae_array *a, int64_t tile,
                                        const struct plumb_run *run)
{
    return read_four(a, tile * TILE - a->skew + 4 * (int)(threadIdx.x % 32), run);
}

/* What no tile writes of a window is moved beside the rest, so it must hold something. */
PLUMB_DEVICE void clear(struct gae_window *w)
{
    const plumb_vec<float> none = { { 0, 0, 0, 0 } };
    for (int at = 4 * (int)(threadIdx.x % 32); at < WINDOW; at += TILE)
        plumb_st16(w->hold + at, none);
}

/* The sector behind the last tile. */
PLUMB_DEVICE void read_tail(const struct gae_array *a, int64_t tiles, const struct plumb_run *run,
                            struct gae_window *w)
{
    const int lane = (int)(threadIdx.x % 32);
    if (lane < 2)
        plumb_st16(w->hold + TILE + 4 * lane, read_four(a, tiles * TILE - a->skew + 4 * lane, run));
}

/* The tile's first sector becomes the tail of the tile before. */
PLUMB_DEVICE void move_back(struct gae_window *w)
{
    const int lane = (int)(threadIdx.x % 32);
    if (lane < 2) plumb_st16(w->hold + TILE + 4 * lane, plumb_ld16(w->hold + 4 * lane));
}

/* A sector that is not all of the sequence's, `sector` elements behind that in which it starts. */
PLUMB_DEVICE void write_end(const struct gae_window *w, const struct gae_array *a, int64_t sector,
                            int64_t start, int low, const struct plumb_run *run)
{
    const int lane = (int)(threadIdx.x % 32);
    const int64_t first = sector - a->skew, t = first + lane;
    if (first - start < low || first - start >= WINDOW) return;
    const float x = w->hold[first - start + (lane < SECTOR ? lane : 0)];
    if (lane < SECTOR && t >= 0 && t < run->tokens) const_cast<float *>(a->p)[t] = x;
}

/* A vector of a sector that is all of the sequence's. */
PLUMB_DEVICE void write_four(const struct gae_window *w, const struct gae_array *a, int at,
                             int64_t start, const struct plumb_run *run)
{
    const int64_t sector = start + at / SECTOR * SECTOR;
    if (sector >= 0 && sector + SECTOR <= run->tokens)
        plumb_st16(const_cast<float *>(a->p) + start + at, plumb_ld16(w->hold + at));
}

/* Writes what the window holds but for its first sector, which the tile before completes: whole
 * sectors as vectors, the sequence's ends element by element. Lanes of the tail take the banks of
 * those of the first sector. */
PLUMB_DEVICE void write_back(const struct gae_window *w, const struct gae_array *a, int64_t tile,
                             const struct plumb_run *run)
{
    const int lane = (int)(threadIdx.x % 32), low = tile > 0 ? SECTOR : 0;
    const int64_t start = tile * TILE - a->skew; /* the token of the window's first element */
    const int64_t tail = (run->tokens + a->skew) / SECTOR * SECTOR;
    write_four(w, a, 4 * lane < low ? TILE + 4 * lane : 4 * lane, start, run);
    if (low == 0 && lane < 2) write_four(w, a, TILE + 4 * lane, start, run);
    if (a->skew > 0) write_end(w, a, 0, start, low, run);
    if (tail > 0 || a->skew == 0) write_end(w, a, tail, start, low, run);
}

/* What is known of the tokens behind a group: V and A of the next counted one. */
struct gae_state {
    double next, later;
};

/* A of a group's tokens, one a lane; `counts` is false past the end. */
PLUMB_DEVICE double scan(const struct gae_job *j, bool counts, float reward, float value,
                         struct gae_state *s)
{
    const unsigned all = 0xffffffffu;
    const int lane = (int)(threadIdx.x % 32);
    const unsigned counted = __ballot_sync(all, counts);
    const unsigned behind = lane < 31 ? counted >> (lane + 1) : 0;
    const int from = behind ? lane + __ffs((int)behind) : lane;
    const float shifted = __shfl_sync(all, value, from);
    const double next = behind ? (double)shifted : s->next;
    /* A of the lane from A behind the lanes that are put together: sum + factor A */
    double sum = counts ? (double)reward + j->gamma * next - (double)value : 0.0;
    double factor = counts ? j->decay : 1.0;
    PLUMB_UNROLL for (int d = 1; d < 32; d *= 2)
    {
        const double other = __shfl_down_sync(all, sum, d),
                     times = __shfl_down_sync(all, factor, d);
        if (lane + d < 32) sum += factor * other, factor *= times;
    }
    const double later = sum + factor * s->later;
    const int first = counted ? __ffs((int)counted) - 1 : 0;
    const double first_value = (double)__shfl_sync(all, value, first);
    const double first_later = __shfl_sync(all, later, first);
    if (counted) s->next = first_value, s->later = first_later;
    return later;
}

struct gae_arrays {
    struct gae_array reward, value, counted, advantage, returns;
};

PLUMB_DEVICE void one_tile(const struct gae_job *j, const struct gae_arrays *a,
                           struct gae_windows *w, int64_t left, double base, struct gae_state *s)
{
    const int lane = (int)(threadIdx.x % 32);
#pragma unroll 1
    for (int g = TILE / 32 - 1; g >= 0; g--) {
        const int e = 32 * g + lane;
        const bool inside = e < left;
        const bool counts = inside && (!j->counted ||
                                       __float_as_int(w->counted.hold[e + a->counted.skew]) != 0);
        const float reward = inside ? w->reward.hold[e + a->reward.skew] : 0.0f;
        const float value = inside && j->value ? w->value.hold[e + a->value.skew] : 0.0f;
        const double later = scan(j, counts, reward, value, s);
        w->advantage.hold[e + a->advantage.skew] = counts ? plumb_saturate(later - base) : 0.0f;
        w->returns.hold[e + a->returns.skew] = counts ? plumb_saturate(later + (double)value)
                                                      : 0.0f;
    }
}

/* The windows' inputs of a tile, on their way. */
struct gae_ahead {
    plumb_vec<float> reward, value, counted;
};

PLUMB_DEVICE struct gae_ahead look_ahead(const struct gae_job *j, const struct gae_arrays *a,
                                         int64_t tile, const struct plumb_run *run)
{
    struct gae_ahead x = {};
    if (tile < 0) return x;
    x.reward = read_tile(&a->reward, tile, run);
    if (j->value) x.value = read_tile(&a->value, tile, run);
    if (j->counted) x.counted = read_tile(&a->counted, tile, run);
    return x;
}

PLUMB_DEVICE void one_run(const struct gae_job *j, const struct plumb_run *run, double base,
                          struct gae_windows *w)
{
    const int lane = (int)(threadIdx.x % 32);
    const struct gae_arrays a = { array_of(j->reward, run), array_of(j->value, run),
                                  array_of(j->counted, run), array_of(j->advantage, run),
                                  array_of(j->returns, run) };
    const int64_t tiles = (run->tokens + TILE - 1) / TILE;
    struct gae_state state = { 0, 0 };
    clear(&w->advantage), clear(&w->returns), clear(&w->value), clear(&w->counted);
    __syncwarp();
    struct gae_ahead x = look_ahead(j, &a, tiles - 1, run);
    read_tail(&a.reward, tiles, run, &w->reward);
    if (j->value) read_tail(&a.value, tiles, run, &w->value);
    if (j->counted) read_tail(&a.counted, tiles, run, &w->counted);
    for (int64_t tile = tiles - 1; tile >= 0; tile--) {
        plumb_st16(w->reward.hold + 4 * lane, x.reward);
        plumb_st16(w->value.hold + 4 * lane, x.value);
        plumb_st16(w->counted.hold + 4 * lane, x.counted);
        __syncwarp();
        x = look_ahead(j, &a, tile - 1, run);
        one_tile(j, &a, w, run->tokens - tile * TILE, base, &state);
        __syncwarp();
        write_back(&w->advantage, &a.advantage, tile, run);
        if (j->returns) write_back(&w->returns, &a.returns, tile, run);
        __syncwarp();
        move_back(&w->reward), move_back(&w->value), move_back(&w->counted);
        move_back(&w->advantage), move_back(&w->returns);
        __syncwarp();
    }
}

enum { LEAST = WARPS + 1, MOST, BOUNDS };

/* A sequence whose bounds lead out of the array is left alone. */
__global__ void __launch_bounds__(BLOCK) gae_runs(const __grid_constant__ struct gae_job j)
{
    __shared__ __align__(16) struct gae_windows windows[WARPS];
    __shared__ int32_t bound[BOUNDS];
    const int t = (int)threadIdx.x, warp = t / 32;
    const int64_t first = (int64_t)blockIdx.x * WARPS, r = first + warp;
    const int64_t at = t == LEAST ? 0 : t == MOST || first + t > j.R ? j.R : first + t;
    if (t < BOUNDS) bound[t] = j.offset[at];
    __syncthreads();
    if (r >= j.R) return;
    const struct plumb_run run = plumb_run_of(bound[warp], bound[warp + 1], bound[LEAST],
                                              bound[MOST]);
    const double base = j.baseline ? (double)j.baseline[r] : 0.0;
    one_run(&j, &run, base, &windows[warp]);
}

static int gae(const struct plumb_device *dev, const struct plumb_gae *a)
{
    if (a->R == 0) return PLUMB_OK;
    const struct gae_job j = { a->R,
                               a->offset,
                               a->counted,
                               (const float *)a->reward.data,
                               (const float *)a->value.data,
                               (const float *)a->baseline.data,
                               a->gamma,
                               a->gamma * a->lambda,
                               (float *)a->advantage.data,
                               (float *)a->returns.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->R, WARPS);
    return plumb_gpu_status(PLUMB_LAUNCH(gae_runs, blocks, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "gae");
}
PLUMB_GPU_OP(gae, plumb_gae);
