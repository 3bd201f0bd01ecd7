/* Device code of the classification losses. A block owns whole rows, some 4096 logits: it reads
 * them into shared memory, a thread turns a row into its gradients there, and all write them
 * back. */
#include <plumb/classify.h>

#include "kernels/classify/classify_eval.h"
#include "kernels/gpu.h"

enum { BLOCK = 256, TILE = 4096, ROWS_STEP = 8, PLACES = TILE + TILE / 32 };

struct classify_job {
    int loss, K, rows; /* of a block */
    int64_t N;
    double divisor;
    const float *logits;
    const int32_t *label;
    float *losses, *dlogits;
};

/* A row without a label is worked out like the others, which costs nothing, and set aside. */
PLUMB_DEVICE void one_row(const struct classify_job *j, float *tile, int64_t first, int row)
{
    const int label = j->label[first + row];
    const bool good = label >= 0 && label <= plumb_classes_most(j->loss, j->K);
    const float instead = label == -1 ? 0.0f : NAN;
    const struct plumb_classes p = { tile, good ? label : 0, j->K, { (int64_t)row * j->K, true } };
    const float loss = plumb_finite(plumb_classes_eval(j->loss, &p));
    j->losses[first + row] = good ? loss : instead;
    for (int k = 0; k < j->K; k++) {
        const float grad = plumb_saturate((double)*plumb_class(&p, k) / j->divisor);
        *plumb_class(&p, k) = good ? grad : instead;
    }
}

__global__ void __launch_bounds__(BLOCK)
    classify_loss(const __grid_constant__ struct classify_job j)
{
    __shared__ float tile[PLACES];
    const int64_t first = (int64_t)blockIdx.x * j.rows;
    const int rows = (int)(j.N - first < j.rows ? j.N - first : j.rows), count = rows * j.K;
    const int64_t base = first * j.K;
#pragma unroll 8
    for (int e = (int)threadIdx.x; e < count; e += BLOCK)
        tile[e + e / 32] = __ldcs(j.logits + base + e);
    __syncthreads();
    for (int row = (int)threadIdx.x; row < rows; row += BLOCK)
        one_row(&j, tile, first, row);
    __syncthreads();
    if (!j.dlogits) return;
    for (int e = (int)threadIdx.x; e < count; e += BLOCK)
        j.dlogits[base + e] = tile[e + e / 32];
}

static int classify(const struct plumb_device *dev, const struct plumb_classify *a)
{
    if (a->N == 0) return PLUMB_OK;
    const int rows = (int)(TILE / a->K / ROWS_STEP * ROWS_STEP); /* whole sectors */
    const struct classify_job j = { (int)a->loss,
                                    (int)a->K,
                                    rows,
                                    a->N,
                                    a->divisor,
                                    (const float *)a->logits.data,
                                    a->label,
                                    (float *)a->losses.data,
                                    (float *)a->dlogits.data };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->N, rows);
    return plumb_gpu_status(PLUMB_LAUNCH(classify_loss, blocks, BLOCK, 0, plumb_gpu_stream(dev), j),
                            "classify");
}
PLUMB_GPU_OP(classify, plumb_classify);
