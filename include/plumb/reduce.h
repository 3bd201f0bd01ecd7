/* Sums in a fixed order: per segment, per column. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Sums or means of runs of a vector: y[r] = scale * sum (or mean) of discount^t w x at offset[r] +
 * t; an empty run gives 0. Backward: dx[offset[r] + t] = scale * discount^t * w * dy[r] (or that
 * over the length). With a discount: returns of segments, advantages of CPL (arXiv:2310.13639). */
struct plumb_segsum {
    size_t struct_bytes;
    int64_t M, R;
    const int32_t *offset;       /* (R+1) non-decreasing, offset[0] >= 0, offset[R] <= M */
    bool mean;
    double scale, discount;      /* 0 = 1, which keeps the bits of plain sums; discount in [0, 1] */
    struct plumb_tensor x, y;    /* (M) in, (R) out; f32 */
    struct plumb_tensor dy, dx;  /* (R) in, (M) out (entries outside the runs are not written);
                                  * f32 */
    struct plumb_tensor weight;  /* (M) in, f32: w; absent = 1 */
};
/* f64 accumulation, rounded once. */
int plumb_segsum_fwd(const struct plumb_device *dev, const struct plumb_segsum *a);
int plumb_segsum_bwd(const struct plumb_device *dev, const struct plumb_segsum *a);
void plumb_segsum_fwd_ref(const struct plumb_segsum *a, enum plumb_dtype round);
void plumb_segsum_bwd_ref(const struct plumb_segsum *a, enum plumb_dtype round);

/* y[d] += sum over rows of x[n][d]: gradient of a bias. Rows in fixed blocks merged in index
 * order. */
struct plumb_colsum {
    size_t struct_bytes;
    int64_t N, D, ldx;           /* ldx 0 = D */
    struct plumb_tensor x;       /* (N,D) in, f32 or bf16 */
    struct plumb_tensor y;       /* (D) +=, f32 */
    struct plumb_tensor work;    /* plumb_colsum_workspace bytes */
};
int plumb_colsum(const struct plumb_device *dev, const struct plumb_colsum *a);
size_t plumb_colsum_workspace(const struct plumb_device *dev, const struct plumb_colsum *a);
void plumb_colsum_ref(const struct plumb_colsum *a, enum plumb_dtype round);

PLUMB_END_C
