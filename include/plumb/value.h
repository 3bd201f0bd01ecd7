/* The value function's loss: squared error of predicted values, clipped about the values that the
 * advantages were taken with (arXiv:1707.06347, arXiv:2005.12729). Values of
 * golden/losses/policy/value_clip and ppo. */
#pragma once
#include <plumb/policy.h>
PLUMB_BEGIN_C

/* (1/2) max((V - G)^2, (clip(V, V_old - cliprange, V_old + cliprange) - G)^2) per token. */
struct plumb_value_loss {
    size_t struct_bytes;
    enum plumb_policy_aggregation aggregation; /* TOKENS or ROW_MEANS */
    int64_t B;                      /* rows */
    const int32_t *offset;          /* (B+1) token runs of the rows; M = offset[B] */
    const int32_t *target;          /* (M) -1 = the token counts nowhere; NULL = all count */
    struct plumb_tensor value;      /* (M) in, f32: V */
    struct plumb_tensor old_value;  /* (M) in, f32: V_old, constant; read when cliprange is not 0 */
    struct plumb_tensor returns;    /* (M) in, f32: G, constant */
    struct plumb_tensor weight;     /* (M) in, f32; absent = 1 */
    double cliprange;               /* >= 0; 0 = none (TRL: 0.2, verl: 0.5) */
    double divisor;                 /* >= 0: a count of the step; 0 = nothing counts, no gradient */
    struct plumb_tensor losses;     /* (B) out, f32: parts of the rows; loss = sum / divisor */
    struct plumb_tensor clipped;    /* (B) out, f32: tokens whose clipped error is the larger (over
                                     * all counted: val/clipfrac); absent = not wanted */
    struct plumb_tensor dvalue;     /* (M) out, f32: d loss / d V; absent = evaluation */
};
/* A row's results do not depend on the others. Finite for all finite inputs (saturates). Fails:
 * PLUMB_EINVAL naming the argument. */
int plumb_value_loss(const struct plumb_device *dev, const struct plumb_value_loss *a);
void plumb_value_loss_ref(const struct plumb_value_loss *a, enum plumb_dtype round);

PLUMB_END_C
