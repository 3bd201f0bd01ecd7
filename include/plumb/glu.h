/* The MLP's activation: y = act(gate) * up (arXiv:2002.05202), or y = act(x) for the kinds
 * without a gate. SiLU for SWIGLU; GELU by erf or by tanh (arXiv:1606.08415). */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_act_kind { /* of the MLP; the GLU kinds have a gate and an up projection */
    PLUMB_ACT_SWIGLU, PLUMB_ACT_GEGLU_TANH, PLUMB_ACT_GEGLU_ERF,
    PLUMB_ACT_GELU_TANH, PLUMB_ACT_GELU_ERF
};

struct plumb_glu {
    size_t struct_bytes;
    enum plumb_act_kind kind;
    int64_t N, F;              /* rows, width of y */
    struct plumb_tensor x;     /* (N,2F) in: gate then up; (N,F) for the GELU kinds */
    struct plumb_tensor y;     /* (N,F) out, dtype of x */
    struct plumb_tensor dy;    /* backward: (N,F) in */
    struct plumb_tensor dx;    /* backward: shape of x, out, dtype of x; may alias x. Recomputes
                                * the activation. */
};

bool plumb_act_is_gated(enum plumb_act_kind kind);
int plumb_glu_fwd(const struct plumb_device *dev, const struct plumb_glu *a);
int plumb_glu_bwd(const struct plumb_device *dev, const struct plumb_glu *a);
void plumb_glu_fwd_ref(const struct plumb_glu *a, enum plumb_dtype round);
void plumb_glu_bwd_ref(const struct plumb_glu *a, enum plumb_dtype round);

PLUMB_END_C
