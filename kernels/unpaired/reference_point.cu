/* Device code of the numbers that a batch of completions is judged against: KTO's reference point
 * and BCO's running mean. One block, whose warps take sequences in turn: the rows are one
 * micro-batch, most often already sums, so that a second block would find nothing to do. */
#include <plumb/unpaired.h>

#include "kernels/gpu_sequence.h"
#include "kernels/unpaired/moments.h"

enum { WARPS = 32 };

struct reference_sequences {
    int64_t B;
    const int32_t *offset;
    const float *logp, *ref_logp, *ref_sum;
};

/* Offsets of the sequences that the warps take next: read together. */
struct reference_tile {
    int32_t at[32 * WARPS + 1], least, most;
};

/* Sequences base .. base + 1023 into the tile, between barriers. */
PLUMB_DEVICE void read_tile(const struct reference_sequences *s, int64_t base,
                            struct reference_tile *tile)
{
    const int t = (int)threadIdx.x;
    __syncthreads();
    if (base + t <= s->B) tile->at[t] = s->offset[base + t];
    if (t == 0) tile->least = s->offset[0], tile->most = s->offset[s->B];
    if (t == 0 && base + 32 * WARPS <= s->B) tile->at[32 * WARPS] = s->offset[base + 32 * WARPS];
    __syncthreads();
}

/* Log-ratio of sequence `base + k`. */
PLUMB_DEVICE double ratio_of(const struct reference_sequences *s, int64_t base, int k,
                             const struct reference_tile *tile)
{
    const struct plumb_run run = plumb_run_of(tile->at[k], tile->at[k + 1], tile->least,
                                              tile->most);
    const double logp = plumb_run_sum(s->logp, &run);
    const double ref = s->ref_logp  ? plumb_run_sum(s->ref_logp, &run)
                       : s->ref_sum ? (double)s->ref_sum[base + k]
                                    : 0.0;
    return plumb_sequence_ratio(logp, ref, s->ref_sum != NULL);
}

struct kto_kl_job {
    struct reference_sequences s;
    float *kl;
};

__global__ void __launch_bounds__(32 * WARPS)
    kto_kl_mean(const __grid_constant__ struct kto_kl_job j)
{
    __shared__ struct reference_tile tile;
    __shared__ double part[WARPS];
    const int warp = (int)(threadIdx.x / 32), lane = (int)(threadIdx.x % 32);
    double sum = 0;
    for (int64_t base = 0; base < j.s.B; base += 32 * WARPS) {
        read_tile(&j.s, base, &tile);
        for (int k = warp; k < 32 * WARPS && base + k < j.s.B; k += WARPS)
            sum += ratio_of(&j.s, base, k, &tile);
    }
    if (lane == 0) part[warp] = sum;
    __syncthreads();
    if (warp > 0) return;
    const double mean = j.s.B > 0 ? plumb_warp_sum(part[lane]) / (double)j.s.B : 0.0;
    if (lane == 0) *j.kl = mean < 0 ? 0.0f : plumb_saturate(mean); /* NaN stays NaN */
}

static int kto_kl(const struct plumb_device *dev, const struct plumb_kto_kl *a)
{
    const struct kto_kl_job j = { { a->B, a->offset, (const float *)a->logp.data,
                                    (const float *)a->ref_logp.data,
                                    (const float *)a->ref_sum.data },
                                  (float *)a->kl.data };
    return plumb_gpu_status(PLUMB_LAUNCH(kto_kl_mean, 1, 32 * WARPS, 0, plumb_gpu_stream(dev), j),
                            "kto_kl");
}
PLUMB_GPU_OP(kto_kl, plumb_kto_kl);

struct bco_delta_job {
    struct reference_sequences s;
    double beta;
    const double *before;
    double *after;
    float *delta, *variance;
};

/* Warp w has completions w, w + 32, ...; the warps' moments are joined in their order. */
__global__ void __launch_bounds__(32 * WARPS)
    bco_delta_mean(const __grid_constant__ struct bco_delta_job j)
{
    __shared__ struct reference_tile tile;
    __shared__ struct plumb_moments part[WARPS];
    const int warp = (int)(threadIdx.x / 32), lane = (int)(threadIdx.x % 32);
    struct plumb_moments seen = { 0, 0, 0 };
    for (int64_t base = 0; base < j.s.B; base += 32 * WARPS) {
        read_tile(&j.s, base, &tile);
        for (int k = warp; k < 32 * WARPS && base + k < j.s.B; k += WARPS)
            plumb_moments_add(&seen, j.beta * ratio_of(&j.s, base, k, &tile));
    }
    if (lane == 0) part[warp] = seen;
    __syncthreads();
    if (threadIdx.x > 0) return;
    struct plumb_moments all = { j.before[0], j.before[1], j.before[2] };
    for (int w = 0; w < WARPS; w++)
        plumb_moments_join(&all, &part[w]);
    j.after[0] = all.count, j.after[1] = all.mean, j.after[2] = all.squares;
    *j.delta = plumb_saturate(all.mean);
    if (j.variance) *j.variance = plumb_saturate(plumb_moments_variance(&all));
}

static int bco_delta(const struct plumb_device *dev, const struct plumb_bco_delta *a)
{
    const struct bco_delta_job j = { { a->B, a->offset, (const float *)a->logp.data,
                                       (const float *)a->ref_logp.data,
                                       (const float *)a->ref_sum.data },
                                     a->beta,
                                     a->before,
                                     a->after,
                                     (float *)a->delta.data,
                                     (float *)a->variance.data };
    return plumb_gpu_status(
        PLUMB_LAUNCH(bco_delta_mean, 1, 32 * WARPS, 0, plumb_gpu_stream(dev), j), "bco_delta");
}
PLUMB_GPU_OP(bco_delta, plumb_bco_delta);
