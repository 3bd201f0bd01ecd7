/* Device code of the embedding, backward. Rows are sorted by id with a stable radix sort, so that
 * those of one id stand together in index order; then each (id, 128 columns) has one warp that adds
 * them. No atomics on floats: the sums have one order. */
#include <plumb/embed.h>

#include "kernels/embed/embed_sort.h"
#include "kernels/gpu_quad.h"

enum {
    TILE = PLUMB_EMBED_TILE,
    BINS = PLUMB_EMBED_BINS,
    THREADS = BINS, /* of a tile: each also owns a bin */
    WARPS = THREADS / 32,
    ITEMS = TILE / THREADS,
    AHEAD = 8 /* rows under way at a time in a run */
};

static const unsigned FULL = ~0u; /* all lanes of a warp */

/* Rows in some order with their keys: the id, or `end` where it is out of range. */
struct embed_list {
    uint32_t *key, *row;
};

struct embed_pass {
    int64_t N, end;
    const int32_t *id; /* of the first pass, whose rows are in index order; then NULL */
    struct embed_list from, to;
    int32_t *count; /* (tiles, BINS): how often a digit occurs in a tile */
    int shift;      /* of the digit */
};

PLUMB_DEVICE uint32_t key_at(const struct embed_pass *p, int64_t i)
{
    if (!p->id) return p->from.key[i];
    const int64_t id = p->id[i];
    return (uint32_t)(id >= 0 && id < p->end ? id : p->end);
}

PLUMB_DEVICE uint32_t digit_of(const struct embed_pass *p, uint32_t key)
{
    return key >> p->shift & (BINS - 1);
}

/* A block counts one tile. */
__global__ void embed_count(struct embed_pass p)
{
    __shared__ int32_t count[BINS];
    const int64_t first = (int64_t)blockIdx.x * TILE;
    count[threadIdx.x] = 0;
    __syncthreads();
    for (int k = 0; k < ITEMS; k++) {
        const int64_t i = first + k * THREADS + threadIdx.x;
        if (i < p.N) atomicAdd(&count[digit_of(&p, key_at(&p, i))], 1);
    }
    __syncthreads();
    p.count[(int64_t)blockIdx.x * BINS + threadIdx.x] = count[threadIdx.x];
}

/* The sum of x over all earlier threads of the block. */
PLUMB_DEVICE int32_t sum_before(int32_t x)
{
    __shared__ int32_t of_warp[WARPS];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int32_t sum = x, earlier = 0;
    for (unsigned step = 1; step < 32; step *= 2) {
        const int32_t other = __shfl_up_sync(FULL, sum, step);
        if (lane >= step) sum += other;
    }
    if (lane == 31) of_warp[warp] = sum;
    __syncthreads();
    for (unsigned w = 0; w < warp; w++)
        earlier += of_warp[w];
    return earlier + sum - x;
}

/* Where bin `threadIdx.x` of this tile starts: after all smaller bins and after the same bin of
 * all earlier tiles. */
PLUMB_DEVICE int32_t bin_start(const int32_t *count)
{
    int32_t all = 0, earlier = 0;
    for (int64_t t = 0; t < gridDim.x; t++) {
        const int32_t n = count[t * BINS + threadIdx.x];
        if (t < blockIdx.x) earlier += n;
        all += n;
    }
    return sum_before(all) + earlier;
}

/* A block moves one tile to its places. Its warps own neighbouring runs of 32 * ITEMS rows; a row's
 * rank in its bin counts earlier rounds of its warp and lower lanes, then earlier warps. */
__global__ void embed_place(struct embed_pass p)
{
    __shared__ int32_t seen[WARPS][BINS];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int64_t first = (int64_t)blockIdx.x * TILE + warp * (32 * ITEMS) + lane;
    uint32_t key[ITEMS];
    int32_t rank[ITEMS];
    for (int w = 0; w < WARPS; w++)
        seen[w][threadIdx.x] = 0;
    __syncthreads();
    PLUMB_UNROLL for (int k = 0; k < ITEMS; k++)
    {
        const bool live = first + k * 32 < p.N;
        key[k] = live ? key_at(&p, first + k * 32) : 0;
        const uint32_t digit = live ? digit_of(&p, key[k]) : (uint32_t)BINS;
        const unsigned peers = __match_any_sync(FULL, digit), lower = peers & ((1u << lane) - 1);
        rank[k] = live ? seen[warp][digit] + __popc(lower) : 0;
        __syncwarp();
        if (live && !lower) seen[warp][digit] += __popc(peers);
        __syncwarp();
    }
    __syncthreads();
    int32_t next = bin_start(p.count);
    for (int w = 0; w < WARPS; w++) {
        const int32_t n = seen[w][threadIdx.x];
        seen[w][threadIdx.x] = next;
        next += n;
    }
    __syncthreads();
    PLUMB_UNROLL for (int k = 0; k < ITEMS; k++)
    {
        const int64_t i = first + k * 32;
        if (i >= p.N) continue;
        const int32_t at = seen[warp][digit_of(&p, key[k])] + rank[k];
        p.to.key[at] = key[k];
        p.to.row[at] = p.id ? (uint32_t)i : p.from.row[i];
    }
}

struct embed_sums {
    int64_t N, D, end;
    struct embed_list sorted;
    const void *dy;
    float *dw;
    float scale;
    bool whole; /* all rows start at whole quads */
};

PLUMB_DEVICE void add_scaled(struct plumb_quad *sum, float scale, const struct plumb_quad *x)
{
    PLUMB_UNROLL for (int k = 0; k < 4; k++) sum->v[k] += scale * x->v[k];
}

/* Adds the run of rows that starts `first` lanes into the batch at `at` to the row of its key.
 * Lanes hold the keys and rows of a batch; a run may go on in the next. */
template <class G>
PLUMB_DEVICE void add_run(const struct embed_sums *s, int64_t at, int first, uint32_t key,
                          uint32_t row, int64_t d)
{
    const uint32_t own = __shfl_sync(FULL, key, first);
    const int64_t left = s->D - d;
    float *to = s->dw + own * s->D + d;
    struct plumb_quad sum = plumb_quad_load(to, s->whole, left);
    for (;;) {
        const int count = __popc(__ballot_sync(FULL, key == own) >> first);
        for (int r = 0; r < count; r += AHEAD) {
            struct plumb_quad x[AHEAD];
            PLUMB_UNROLL for (int u = 0; u < AHEAD; u++)
            {
                const int64_t n = __shfl_sync(FULL, row, (first + r + u) % 32);
                x[u] = plumb_quad_stream((const G *)s->dy + n * s->D + d, s->whole,
                                         r + u < count ? left : 0);
            }
            PLUMB_UNROLL for (int u = 0; u < AHEAD; u++)
            {
                if (r + u < count) add_scaled(&sum, s->scale, &x[u]);
            }
        }
        if (first + count < 32) break;
        at += 32, first = 0;
        const int64_t i = at + threadIdx.x % 32;
        key = i < s->N ? s->sorted.key[i] : ~0u;
        row = i < s->N ? s->sorted.row[i] : 0;
    }
    plumb_quad_store(to, &sum, s->whole, left);
}

/* A warp owns the runs that start in 32 sorted rows, in 128 columns; the warps of a block stand
 * side by side in the columns. */
template <class G> __global__ void embed_add(struct embed_sums s)
{
    const int64_t warp = (int64_t)blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int64_t at = (int64_t)blockIdx.x * 32, i = at + lane;
    if (warp * 128 >= s.D) return;
    const uint32_t key = i < s.N ? s.sorted.key[i] : ~0u, row = i < s.N ? s.sorted.row[i] : 0;
    uint32_t before = __shfl_up_sync(FULL, key, 1);
    if (lane == 0) before = at > 0 ? s.sorted.key[at - 1] : ~0u;
    unsigned heads = __ballot_sync(FULL, key != before && key < s.end);
    for (; heads; heads &= heads - 1)
        add_run<G>(&s, at, __ffs((int)heads) - 1, key, row, warp * 128 + lane * 4);
}

/* Sorts the rows by id; the sorted list is one of the two in `work`. */
static cudaError_t sort_rows(cudaStream_t stream, const int32_t *id, int64_t N, int64_t end,
                             void *work, struct embed_list *sorted)
{
    uint32_t *w = (uint32_t *)work;
    const unsigned tiles = (unsigned)plumb_embed_tiles(N);
    const struct embed_list lists[2] = { { w, w + N }, { w + 2 * N, w + 3 * N } };
    struct embed_pass p = { N, end, id, lists[1], lists[0], (int32_t *)(w + 4 * N), 0 };
    for (int k = 0; k == 0 || end >> p.shift > 0; k++) {
        cudaError_t e = PLUMB_LAUNCH(embed_count, tiles, THREADS, 0, stream, p);
        if (!e) e = PLUMB_LAUNCH(embed_place, tiles, THREADS, 0, stream, p);
        if (e) return e;
        *sorted = p.to;
        p.id = NULL;
        p.from = lists[k % 2];
        p.to = lists[(k + 1) % 2];
        p.shift += PLUMB_EMBED_DIGIT;
    }
    return cudaSuccess;
}

/* dw[id[n]] += scale * dy[n] over the ids in [0, end). */
static int add_rows(const struct plumb_device *dev, const struct plumb_embed *a, const int32_t *id,
                    int64_t end, float *dw, float scale)
{
    const bool narrow = a->dy.dtype == PLUMB_BF16;
    struct embed_sums s = { a->N, a->D, end, {}, a->dy.data, dw, scale, false };
    s.whole = plumb_quads(dw, a->D) && (narrow ? plumb_quads((const __nv_bfloat16 *)s.dy, a->D)
                                               : plumb_quads((const float *)s.dy, a->D));
    const cudaStream_t stream = plumb_gpu_stream(dev);
    cudaError_t e = sort_rows(stream, id, a->N, end, a->work.data, &s.sorted);
    const int64_t groups = plumb_ceil_div(a->D, 128), warps = groups < 8 ? groups : 8;
    const dim3 grid((unsigned)plumb_ceil_div(a->N, 32), (unsigned)plumb_ceil_div(groups, warps));
    const unsigned threads = (unsigned)(32 * warps);
    if (!e)
        e = narrow ? PLUMB_LAUNCH(embed_add<__nv_bfloat16>, grid, threads, 0, stream, s)
                   : PLUMB_LAUNCH(embed_add<float>, grid, threads, 0, stream, s);
    return plumb_gpu_status(e, "embed");
}

static int embed_bwd(const struct plumb_device *dev, const struct plumb_embed *a)
{
    if (a->N == 0) return PLUMB_OK;
    PLUMB_TRY(add_rows(dev, a, a->token, a->V, (float *)a->dw.data, (float)a->scale));
    if (a->P == 0) return PLUMB_OK;
    return add_rows(dev, a, a->position, a->P, (float *)a->dwpos.data, 1.0f);
}
PLUMB_GPU_OP(embed_bwd, plumb_embed);
