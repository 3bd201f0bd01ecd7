/* Inverted dropout (Srivastava et al., JMLR 15, 2014; scaled as torch.nn.Dropout) and a factor:
 *   y[n][d] = scale * x[n][d] * keep / (1 - p),  keep = 1 with probability 1 - p, else 0.
 * keep is a function of (seed, step, stream, sample[n], position[n], d) alone: a row has the same
 * mask wherever it stands in whatever batch, and again in backward, which is this op on the
 * gradient. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

struct plumb_dropout {
    size_t struct_bytes;
    int64_t N, D, ldx, ldy;      /* ld: elements between rows, 0 = D */
    struct plumb_tensor x, y;    /* (N,D) in, out; f32 or bf16; y may be x */
    double p;                    /* in [0, 1); 0 = keep all */
    double scale;                /* finite */
    bool accumulate;             /* y += instead of y =; y is not x then */
    const int32_t *sample, *position; /* (N) whose row it is, and where there; NULL where p = 0 */
    uint64_t seed;
    int64_t step, stream;        /* stream: which of several masks of a row, in [0, 2^24) */
};
int plumb_dropout(const struct plumb_device *dev, const struct plumb_dropout *a);
void plumb_dropout_ref(const struct plumb_dropout *a, enum plumb_dtype round);

PLUMB_END_C
