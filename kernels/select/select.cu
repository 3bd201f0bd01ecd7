/* Device code of the selections. For each digit, from the highest down: blocks count how often it
 * occurs among the tokens that are left, one block finds the digit at which the wanted count is
 * reached. Integers only, so the order of the additions does not matter. */
#include "kernels/select/select_shell.h"

#include "kernels/gpu_sequence.h"
#include "kernels/select/select_work.h"

enum { BLOCK = 512, BLOCKS = 132, BINS = PLUMB_SELECT_BINS, PICKERS = 1024 };

struct select_job {
    struct plumb_select_options options;
    const int32_t *target;
    const float *key, *weight;
    float *out, *count;
    struct plumb_select_work *work;
};

static const unsigned FULL = ~0u; /* all lanes of a warp */

__global__ void __launch_bounds__(PICKERS) select_begin(const __grid_constant__ struct select_job j)
{
    uint32_t *word = reinterpret_cast<uint32_t *>(j.work);
    for (size_t i = threadIdx.x; i < sizeof *j.work / sizeof *word; i += PICKERS)
        word[i] = 0;
}

/* The state as the kernels before have left it; every thread of the block calls it. */
PLUMB_DEVICE void state_of(const struct select_job *j, struct plumb_select_state *s)
{
    const uint32_t *from = reinterpret_cast<const uint32_t *>(&j->work->state);
    uint32_t *to = reinterpret_cast<uint32_t *>(s);
    for (size_t i = threadIdx.x; i < sizeof *s / sizeof *to; i += blockDim.x)
        to[i] = from[i];
    __syncthreads();
}

struct select_four {
    plumb_vec<float> key;
    plumb_vec<int32_t> target;
};

PLUMB_DEVICE struct select_four four_of(const struct select_job *j, int64_t i)
{
    struct select_four x = { { { 0, 0, 0, 0 } }, { { 0, 0, 0, 0 } } };
    x.key = plumb_four_load(j->key, i, j->options.M);
    if (j->target) x.target = plumb_four_load(j->target, i, j->options.M);
    PLUMB_UNROLL for (int k = 0; k < 4; k++) if (i + k >= j->options.M) x.target.v[k] = -1;
    return x;
}

/* Adds n of every thread to *to, by way of *shared, which is 0 before. */
PLUMB_DEVICE void add_count(int64_t *to, int n, int *shared)
{
    for (int d = 16; d > 0; d /= 2)
        n += __shfl_xor_sync(FULL, n, d);
    if (threadIdx.x % 32 == 0 && n > 0) atomicAdd(shared, n);
    __syncthreads();
    if (threadIdx.x == 0 && *shared > 0)
        atomicAdd(reinterpret_cast<unsigned long long *>(to), (unsigned long long)*shared);
}

/* A block takes every gridDim.x-th piece of 4 * BLOCK tokens. */
__global__ void __launch_bounds__(BLOCK)
    select_count(const __grid_constant__ struct select_job j, int stage)
{
    __shared__ uint32_t bin[BINS];
    __shared__ int tokens[2];
    __shared__ struct plumb_select_state s;
    if (threadIdx.x < 2) tokens[threadIdx.x] = 0;
    state_of(&j, &s);
    if (plumb_select_settled(stage, &s)) return;
    for (int i = (int)threadIdx.x; i < BINS; i += BLOCK)
        bin[i] = 0;
    __syncthreads();
    int counted = 0, nan = 0;
    const int64_t step = (int64_t)gridDim.x * 4 * BLOCK;
    for (int64_t i = 4 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x); i < j.options.M; i += step) {
        const struct select_four x = four_of(&j, i);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            uint32_t value;
            if (x.target.v[k] < 0) continue;
            counted++, nan += x.key.v[k] != x.key.v[k];
            if (plumb_select_match(&j.options, stage, &s, x.key.v[k], i + k, &value))
                atomicAdd(&bin[plumb_select_digit(value, stage)], 1u);
        }
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < BINS; i += BLOCK)
        if (bin[i] > 0) atomicAdd(&j.work->bin[i], bin[i]);
    if (stage > 0) return;
    add_count(&j.work->counted, counted, &tokens[0]);
    add_count(&j.work->nan, nan, &tokens[1]);
}

/* The sum of x over this thread and all later ones of the block. */
PLUMB_DEVICE int64_t sum_after(int64_t x)
{
    __shared__ int64_t of_warp[PICKERS / 32];
    const int lane = (int)(threadIdx.x % 32), warp = (int)(threadIdx.x / 32);
    for (int step = 1; step < 32; step *= 2) {
        const long long other = __shfl_down_sync(FULL, (long long)x, step);
        if (lane + step < 32) x += other;
    }
    if (lane == 0) of_warp[warp] = x;
    __syncthreads();
    for (int w = warp + 1; w < PICKERS / 32; w++)
        x += of_warp[w];
    return x;
}

/* Thread t owns bins 2t and 2t + 1; afterwards they are 0 again. */
__global__ void __launch_bounds__(PICKERS)
    select_pick(const __grid_constant__ struct select_job j, int stage)
{
    __shared__ int64_t want;
    struct plumb_select_state *s = &j.work->state;
    if (plumb_select_settled(stage, s)) return;
    uint32_t *bin = j.work->bin + 2 * threadIdx.x;
    const int64_t low = bin[0], high = bin[1], all = sum_after(low + high);
    bin[0] = bin[1] = 0;
    if (threadIdx.x == 0) {
        if (stage == 0) {
            s->counted = j.work->counted, s->nan = j.work->nan, j.work->next = ~0u;
            plumb_select_begin(&j.options, all, s);
        }
        want = s->none ? -1 : s->want;
    }
    __syncthreads();
    const int64_t above = all - low - high;
    if (want <= above || want > all) return;
    const bool upper = want <= above + high;
    plumb_select_settle(stage, 2 * threadIdx.x + upper, upper ? above : above + high,
                        upper ? high : low, s);
}

/* The smallest key above the last one selected. */
__global__ void __launch_bounds__(BLOCK) select_next(const __grid_constant__ struct select_job j)
{
    __shared__ struct plumb_select_state s;
    __shared__ uint32_t least;
    if (threadIdx.x == 0) least = ~0u;
    state_of(&j, &s);
    if (s.none) return;
    const uint32_t key = s.key;
    uint32_t next = ~0u;
    const int64_t step = (int64_t)gridDim.x * 4 * BLOCK;
    for (int64_t i = 4 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x); i < j.options.M; i += step) {
        const struct select_four x = four_of(&j, i);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            const uint32_t order = plumb_select_order(x.key.v[k]);
            if (x.target.v[k] >= 0 && order > key && order < next) next = order;
        }
    }
    for (int d = 16; d > 0; d /= 2) {
        const uint32_t other = __shfl_xor_sync(FULL, next, d);
        if (other < next) next = other;
    }
    if (threadIdx.x % 32 == 0 && next != ~0u) atomicMin(&least, next);
    __syncthreads();
    if (threadIdx.x == 0 && least != ~0u) atomicMin(&j.work->next, least);
}

__global__ void __launch_bounds__(BLOCK) select_write(const __grid_constant__ struct select_job j)
{
    __shared__ struct plumb_select_state s;
    state_of(&j, &s);
    if (threadIdx.x == 0) s.next = j.work->next;
    __syncthreads();
    const double threshold = plumb_select_threshold(&j.options, &s);
    const int64_t i = 4 * ((int64_t)blockIdx.x * BLOCK + threadIdx.x), M = j.options.M;
    if (i == 0 && j.count)
        *j.count = s.nan > 0 ? NAN : (float)plumb_select_count(&j.options, &s, threshold);
    if (i >= M) return;
    const struct select_four x = four_of(&j, i);
    plumb_vec<float> weight = { { 1, 1, 1, 1 } }, out;
    if (j.weight) weight = plumb_four_load(j.weight, i, M);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
        out.v[k] = x.target.v[k] < 0 ? 0
                                     : plumb_select_out(&j.options, &s, threshold, x.key.v[k],
                                                        i + k, weight.v[k]);
    plumb_four_store(j.out, i, M, out);
}

static int select_tokens(const struct plumb_device *dev, const struct plumb_select *a)
{
    const struct select_job j = { plumb_select_options(a),
                                  a->target,
                                  (const float *)a->key.data,
                                  (const float *)a->weight.data,
                                  (float *)a->out.data,
                                  (float *)a->count.data,
                                  (struct plumb_select_work *)a->work.data };
    const cudaStream_t stream = plumb_gpu_stream(dev);
    const int64_t pieces = plumb_ceil_div(a->M > 0 ? a->M : 1, 4 * BLOCK);
    const unsigned blocks = pieces < BLOCKS ? (unsigned)pieces : (unsigned)BLOCKS;
    const int stages = a->top ? PLUMB_SELECT_STAGES : PLUMB_SELECT_KEY_STAGES;
    cudaError_t e = PLUMB_LAUNCH(select_begin, 1, PICKERS, 0, stream, j);
    for (int stage = 0; !e && stage < stages; stage++) {
        e = PLUMB_LAUNCH(select_count, blocks, BLOCK, 0, stream, j, stage);
        if (!e) e = PLUMB_LAUNCH(select_pick, 1, PICKERS, 0, stream, j, stage);
    }
    if (!e && !a->top) e = PLUMB_LAUNCH(select_next, blocks, BLOCK, 0, stream, j);
    if (!e) e = PLUMB_LAUNCH(select_write, (unsigned)pieces, BLOCK, 0, stream, j);
    return plumb_gpu_status(e, "select");
}
PLUMB_GPU_OP(select_tokens, plumb_select);
