/* RMSNorm (arXiv:1910.07467 eq. 4) and LayerNorm (arXiv:1607.06450 eq. 4), with the residual
 * addition before it:
 *   s = x + delta;  y = (s - mean(s)) * rstd * (w + offset) + b     mean and b only for LayerNorm
 * A row may hold G groups normalised one by one with the same w (q/k norm of heads). */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_norm_kind { PLUMB_NORM_RMS, PLUMB_NORM_LAYER };

struct plumb_norm {
    size_t struct_bytes;
    enum plumb_norm_kind kind;
    int64_t N, G, D;            /* rows, groups a row (1 = plain), width of a group */
    int64_t ldx, ldy;           /* elements between rows of x/dx and of y/dy; 0 = G*D */
    double eps, offset;
    struct plumb_tensor x;      /* (N,G,D) in */
    struct plumb_tensor delta;  /* (N,G*D) in, dense, any float dtype; absent = no residual
                                 * addition */
    struct plumb_tensor sum;    /* (N,G*D) out, dense: s, dtype of x; absent without delta; may
                                 * alias x */
    struct plumb_tensor w, b;   /* (D) in; b absent for RMSNorm */
    struct plumb_tensor y;      /* (N,G,D) out, any float dtype; may alias x when delta is absent */
    struct plumb_tensor rstd, mean; /* (N*G) out and in for backward, f32; mean absent for
                                     * RMSNorm; rstd absent at inference */
    /* backward: x must hold s (pass `sum` as x); delta, sum, y are not read */
    struct plumb_tensor dy;     /* (N,G,D) in, layout of y */
    struct plumb_tensor dsum;   /* (N,G*D) in, dense: gradient that reaches s from elsewhere;
                                 * absent = 0 */
    struct plumb_tensor dx;     /* (N,G,D) out, layout of x: d/ds + dsum; may alias dsum, or dy
                                 * when the layouts agree */
    struct plumb_tensor dw, db; /* (D) += f32; absent = not wanted */
    struct plumb_tensor work;   /* backward scratch, plumb_norm_bwd_workspace bytes */
};

/* Statistics are f32, two-pass. A row's bits depend on nothing but the row. */
int plumb_norm_fwd(const struct plumb_device *dev, const struct plumb_norm *a);
/* dw and db are summed over rows in fixed blocks, merged in index order: independent of the
 * thread count. */
int plumb_norm_bwd(const struct plumb_device *dev, const struct plumb_norm *a);
size_t plumb_norm_bwd_workspace(const struct plumb_device *dev, const struct plumb_norm *a);
void plumb_norm_fwd_ref(const struct plumb_norm *a, enum plumb_dtype round);
void plumb_norm_bwd_ref(const struct plumb_norm *a, enum plumb_dtype round);

PLUMB_END_C
