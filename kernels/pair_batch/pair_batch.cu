/* Device code of the batch statistics. A batch is some thousand pairs, so one block sees all of it
 * and its threads take pairs in turn; only the ranks, which hold each pair against all others, are
 * found by as many blocks as there are 256 pairs. Sums are in f64, in a fixed order. */
#include <plumb/pair_batch.h>

#include "kernels/gpu_sequence.h"
#include "kernels/pair_batch/batch.h"

enum { ALL = 1024, TILE = 256 };

PLUMB_DEVICE double at(const struct plumb_tensor *t, int64_t i)
{
    return t->data ? (double)static_cast<const float *>(t->data)[i] : 0.0;
}

PLUMB_DEVICE void put(const struct plumb_tensor *t, int64_t i, double x)
{
    static_cast<float *>(t->data)[i] = plumb_saturate_f32(x);
}

/* Sum over the block, in every thread; `part` has room for a number a warp. */
PLUMB_DEVICE double block_sum(double x, double *part)
{
    const int t = (int)threadIdx.x;
    x = plumb_warp_sum(x);
    __syncthreads();
    if (t % 32 == 0) part[t / 32] = x;
    __syncthreads();
    return plumb_warp_sum(t % 32 < (int)blockDim.x / 32 ? part[t % 32] : 0.0);
}

PLUMB_DEVICE double block_min(double x, double *part)
{
    const int t = (int)threadIdx.x;
    PLUMB_UNROLL for (int d = 16; d > 0; d /= 2) x = fmin(x, __shfl_xor_sync(0xffffffffu, x, d));
    __syncthreads();
    if (t % 32 == 0) part[t / 32] = x;
    __syncthreads();
    double all = part[0];
    for (int w = 1; w < (int)blockDim.x / 32; w++)
        all = fmin(all, part[w]);
    return all;
}

/* ---- ranks ---- */

/* How many of n keys come before that of item i; the block works through them in tiles. */
PLUMB_DEVICE int64_t rank_of(const double *key, int64_t n, int64_t i, double *tile)
{
    const double own = i < n ? key[i] : 0.0;
    int64_t rank = 0;
    for (int64_t first = 0; first < n; first += TILE) {
        const int t = (int)threadIdx.x, count = n - first < TILE ? (int)(n - first) : TILE;
        __syncthreads();
        if (t < count) tile[t] = key[first + t];
        __syncthreads();
        for (int k = 0; k < count; k++)
            rank += plumb_batch_before(tile[k], first + k, own, i);
    }
    return rank;
}

struct aot_job {
    struct plumb_aot a;
    double *key, *sorted; /* (2, B): x, y */
    int32_t *rank;        /* (2, B) */
};

__global__ void __launch_bounds__(TILE) aot_keys(const __grid_constant__ struct aot_job j)
{
    const int64_t i = (int64_t)blockIdx.x * TILE + threadIdx.x, B = j.a.B;
    if (i >= B) return;
    const double lw = at(&j.a.logps, 2 * i), ll = at(&j.a.logps, 2 * i + 1);
    const double rw = at(&j.a.ref_sum, 2 * i), rl = at(&j.a.ref_sum, 2 * i + 1);
    j.key[i] = plumb_aot_x(j.a.unpaired, lw, ll, rw);
    j.key[B + i] = plumb_aot_y(j.a.unpaired, ll, rw, rl);
}

__global__ void __launch_bounds__(TILE) aot_rank(const __grid_constant__ struct aot_job j)
{
    __shared__ double tile[TILE];
    const int64_t blocks = (j.a.B + TILE - 1) / TILE, B = j.a.B;
    const int64_t half = (int64_t)blockIdx.x < blocks ? 0 : 1; /* x, then y */
    const int64_t i = ((int64_t)blockIdx.x - half * blocks) * TILE + threadIdx.x;
    const int64_t rank = rank_of(j.key + half * B, B, i, tile);
    if (i >= B) return;
    j.sorted[half * B + rank] = j.key[half * B + i];
    j.rank[half * B + i] = (int32_t)rank;
}

__global__ void __launch_bounds__(TILE) aot_gap(const __grid_constant__ struct aot_job j)
{
    const int64_t i = (int64_t)blockIdx.x * TILE + threadIdx.x, B = j.a.B;
    if (i >= B) return;
    const int32_t rx = j.rank[i], ry = j.rank[B + i];
    const int64_t step = j.a.unpaired ? 2 : 1;
    put(&j.a.gap, step * i, j.sorted[rx] - j.sorted[B + rx]);
    if (j.a.unpaired) put(&j.a.gap, 2 * i + 1, j.sorted[ry] - j.sorted[B + ry]);
    if (!j.a.rank) return;
    j.a.rank[step * i] = rx;
    if (j.a.unpaired) j.a.rank[2 * i + 1] = ry;
}

static int aot(const struct plumb_device *dev, const struct plumb_aot *a)
{
    if (a->B == 0) return PLUMB_OK;
    double *key = static_cast<double *>(a->work.data), *sorted = key + 2 * a->B;
    const struct aot_job j = { *a, key, sorted, reinterpret_cast<int32_t *>(sorted + 2 * a->B) };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, TILE);
    cudaError_t e = PLUMB_LAUNCH(aot_keys, blocks, TILE, 0, plumb_gpu_stream(dev), j);
    if (!e) e = PLUMB_LAUNCH(aot_rank, 2 * blocks, TILE, 0, plumb_gpu_stream(dev), j);
    if (!e) e = PLUMB_LAUNCH(aot_gap, blocks, TILE, 0, plumb_gpu_stream(dev), j);
    return plumb_gpu_status(e, "aot");
}
PLUMB_GPU_OP(aot, plumb_aot);

/* ---- weights from losses ---- */

__global__ void __launch_bounds__(ALL) dr_dpo_weights(const __grid_constant__ struct plumb_dr_dpo a)
{
    __shared__ double part[32];
    double least = (double)INFINITY, sum = 0;
    for (int64_t i = threadIdx.x; i < a.B; i += ALL)
        least = fmin(least, at(&a.losses, i));
    least = block_min(least, part);
    for (int64_t i = threadIdx.x; i < a.B; i += ALL)
        sum += exp((least - at(&a.losses, i)) / a.beta_prime);
    sum = block_sum(sum, part);
    for (int64_t i = threadIdx.x; i < a.B; i += ALL)
        put(&a.weight, i, (double)a.B * exp((least - at(&a.losses, i)) / a.beta_prime) / sum);
    if (threadIdx.x == 0)
        put(&a.loss, 0, a.B > 0 ? least - a.beta_prime * log(sum / (double)a.B) : 0.0);
}

static int dr_dpo(const struct plumb_device *dev, const struct plumb_dr_dpo *a)
{
    return plumb_gpu_status(PLUMB_LAUNCH(dr_dpo_weights, 1, ALL, 0, plumb_gpu_stream(dev), *a),
                            "dr_dpo");
}
PLUMB_GPU_OP(dr_dpo, plumb_dr_dpo);

/* A warp sums the losses of a group. */
PLUMB_DEVICE double group_mean(const struct plumb_group_robust *a, int g, int64_t *pairs)
{
    double sum = 0, count = 0;
    for (int64_t i = threadIdx.x % 32; i < a->B; i += 32)
        if (a->group[i] == g) sum += at(&a->losses, i), count += 1;
    sum = plumb_warp_sum(sum), count = plumb_warp_sum(count);
    *pairs = (int64_t)count;
    return count > 0 ? sum / count : 0.0;
}

enum { MOST_GROUPS = 1024 };

__global__ void __launch_bounds__(ALL)
    group_robust_weights(const __grid_constant__ struct plumb_group_robust a)
{
    __shared__ double mean[MOST_GROUPS], part[32];
    __shared__ float each[MOST_GROUPS]; /* weight of each pair of the group */
    const int t = (int)threadIdx.x, G = (int)a.G;
    double pairs = 0; /* of group t */
    for (int g = t / 32; g < G; g += ALL / 32) {
        int64_t count;
        const double m = group_mean(&a, g, &count);
        if (t % 32 == 0) mean[g] = m, each[g] = (float)count;
    }
    __syncthreads();
    const double own = t < G ? mean[t] : 0.0, x = a.step * own;
    if (t < G) pairs = (double)each[t];
    const double most = -block_min(t < G ? -x : (double)INFINITY, part);
    double q = t < G ? at(&a.q, t) * exp(x - most) : 0.0;
    q /= block_sum(q, part);
    const double loss = block_sum(q * own, part);
    if (t < G) {
        put(&a.q, t, q);
        each[t] = plumb_saturate_f32(q * (double)a.B / pairs);
    }
    if (t == 0) put(&a.loss, 0, loss);
    __syncthreads();
    for (int64_t i = t; i < a.B; i += ALL) {
        const int32_t g = a.group[i];
        static_cast<float *>(a.weight.data)[i] = 0 <= g && g < G ? each[g] : NAN;
    }
}

static int group_robust(const struct plumb_device *dev, const struct plumb_group_robust *a)
{
    return plumb_gpu_status(
        PLUMB_LAUNCH(group_robust_weights, 1, ALL, 0, plumb_gpu_stream(dev), *a), "group_robust");
}
PLUMB_GPU_OP(group_robust, plumb_group_robust);

/* ---- running moments ---- */

PLUMB_DEVICE double gap_of(const struct plumb_tensor *logps, const struct plumb_tensor *ref,
                           const int32_t *offset, int64_t i)
{
    const double w = at(logps, 2 * i) - at(ref, 2 * i);
    const double l = at(logps, 2 * i + 1) - at(ref, 2 * i + 1);
    if (!offset) return w - l;
    const int32_t nw = offset[2 * i + 1] - offset[2 * i];
    const int32_t nl = offset[2 * i + 2] - offset[2 * i + 1];
    return w / (nw > 1 ? nw : 1) - l / (nl > 1 ? nl : 1);
}

PLUMB_DEVICE struct plumb_batch_moments moments(int64_t B, const struct plumb_tensor *logps,
                                                const struct plumb_tensor *ref,
                                                const int32_t *offset, double decay,
                                                const struct plumb_tensor *state, double *part)
{
    double sum = 0, squares = 0;
    for (int64_t i = threadIdx.x; i < B; i += ALL)
        sum += gap_of(logps, ref, offset, i);
    const double mean = block_sum(sum, part) / (double)B;
    for (int64_t i = threadIdx.x; i < B; i += ALL) {
        const double d = gap_of(logps, ref, offset, i) - mean;
        squares += d * d;
    }
    squares = block_sum(squares, part);
    const struct plumb_batch_moments to = plumb_batch_moments_of(at(state, 0), at(state, 1), decay,
                                                                 B, mean, squares);
    __syncthreads(); /* all have read the state */
    if (threadIdx.x == 0) put(state, 0, to.m), put(state, 1, to.s);
    return to;
}

__global__ void __launch_bounds__(ALL)
    beta_dpo_choice(const __grid_constant__ struct plumb_beta_dpo a)
{
    __shared__ double part[32], tile[TILE];
    const struct plumb_batch_moments to = moments(a.B, &a.logps, &a.ref_sum, NULL, a.decay,
                                                  &a.state, part);
    const struct plumb_rng_key key = { a.seed, PLUMB_RNG_SUBSET, a.step };
    const int64_t keep = plumb_batch_kept(a.B, a.drop);
    double *draw = static_cast<double *>(a.work.data), sum = 0;
    for (int64_t i = threadIdx.x; i < a.B; i += ALL)
        draw[i] = plumb_batch_draw(&key, i,
                                   plumb_batch_score(to, gap_of(&a.logps, &a.ref_sum, NULL, i)));
    __syncthreads();
    for (int64_t first = 0; first < a.B; first += ALL) {
        const int64_t i = first + threadIdx.x;
        const int64_t rank = rank_of(draw, a.B, i, tile);
        if (i >= a.B) continue;
        put(&a.weight, i, rank < keep ? 1 : 0);
        if (rank < keep) sum += gap_of(&a.logps, &a.ref_sum, NULL, i);
    }
    sum = block_sum(sum, part);
    const double beta = a.beta * (1 + a.alpha * (sum / (double)keep - to.m));
    for (int64_t i = threadIdx.x; i < a.B; i += ALL) {
        put(&a.target, 2 * i, (beta < a.least ? a.least : beta) / a.beta);
        put(&a.target, 2 * i + 1, 0);
    }
}

static int beta_dpo(const struct plumb_device *dev, const struct plumb_beta_dpo *a)
{
    if (a->B == 0) return PLUMB_OK;
    return plumb_gpu_status(PLUMB_LAUNCH(beta_dpo_choice, 1, ALL, 0, plumb_gpu_stream(dev), *a),
                            "beta_dpo");
}
PLUMB_GPU_OP(beta_dpo, plumb_beta_dpo);

__global__ void __launch_bounds__(ALL)
    alpha_dpo_margins(const __grid_constant__ struct plumb_alpha_dpo a)
{
    __shared__ double part[32];
    const int32_t *offset = a.means ? a.offset : NULL;
    const struct plumb_batch_moments to = moments(a.B, &a.logps, &a.ref_sum, offset, a.decay,
                                                  &a.state, part);
    for (int64_t i = threadIdx.x; i < a.B; i += ALL)
        put(&a.margin, i, a.scale * plumb_batch_score(to, gap_of(&a.logps, &a.ref_sum, offset, i)));
}

static int alpha_dpo(const struct plumb_device *dev, const struct plumb_alpha_dpo *a)
{
    if (a->B == 0) return PLUMB_OK;
    return plumb_gpu_status(PLUMB_LAUNCH(alpha_dpo_margins, 1, ALL, 0, plumb_gpu_stream(dev), *a),
                            "alpha_dpo");
}
PLUMB_GPU_OP(alpha_dpo, plumb_alpha_dpo);

/* ---- samples of a prompt ---- */

/* A thread owns a prompt, since y may be x. */
__global__ void __launch_bounds__(TILE)
    leave_one_out_rows(const __grid_constant__ struct plumb_leave_one_out a)
{
    const int64_t b = (int64_t)blockIdx.x * TILE + threadIdx.x;
    if (b >= a.B) return;
    double sum = 0;
    for (int64_t i = b * a.k; i < (b + 1) * a.k; i++)
        sum += at(&a.x, i);
    for (int64_t i = b * a.k; i < (b + 1) * a.k; i++) {
        const double x = at(&a.x, i);
        put(&a.y, i, a.k > 1 ? x - (sum - x) / (double)(a.k - 1) : x);
    }
}

static int leave_one_out(const struct plumb_device *dev, const struct plumb_leave_one_out *a)
{
    if (a->B == 0) return PLUMB_OK;
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, TILE);
    return plumb_gpu_status(
        PLUMB_LAUNCH(leave_one_out_rows, blocks, TILE, 0, plumb_gpu_stream(dev), *a),
        "leave_one_out");
}
PLUMB_GPU_OP(leave_one_out, plumb_leave_one_out);
