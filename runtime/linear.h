/* y = x W^T + b on a model's flat parameters, with what its adapters add, and its gradients. */
#pragma once
#include "runtime/model.h"

struct plumb_linear {
    const struct plumb_model *m;
    const struct plumb_param *w, *b; /* b NULL = no bias */
    int64_t N;
    struct plumb_tensor x;      /* (N, w->cols) compute */
    struct plumb_tensor y;      /* (N, w->rows) */
    struct plumb_tensor dy, dx; /* backward: compute dtype; dx absent = not wanted */
    const struct plumb_batch *batch;
    const struct plumb_acts *a; /* scratch: of the bias gradient's column sums, of adapters */
};
int plumb_linear_fwd(const struct plumb_linear *l);
/* dW += dy^T x, db += sum dy, where they are trained; dx = dy W */
int plumb_linear_bwd(const struct plumb_linear *l);
