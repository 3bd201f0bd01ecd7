/* Advantages per token: generalised advantage estimation, discounted returns. All are constants of
 * the losses that read them. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Over the counted tokens of each sequence, from its end:
 *   delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lambda A_{t+1};  returns A_t + V_t
 * where V and A are 0 behind the last. Tokens outside the runs are not written.
 * Without values and with lambda 1, A is the discounted return to go (REINFORCE++; with a baseline,
 * ReMax: arXiv:2310.10505). Macro actions (MA-RLHF, arXiv:2410.02743): plumb_segsum sums or means
 * rewards and values over macros, this op runs over macros, plumb_segsum_bwd spreads A to tokens.
 * Source: arXiv:1506.02438 eq. 16. Values: golden/losses/advantages. */
struct plumb_gae {
    size_t struct_bytes;
    int64_t R;                   /* sequences */
    const int32_t *offset;       /* (R+1) token runs */
    const int32_t *counted;      /* (offset[R]) 0 = no step of time: skipped whatever it holds,
                                  * gets 0; NULL = all count */
    struct plumb_tensor reward;  /* (offset[R]) in, f32 */
    struct plumb_tensor value;   /* (offset[R]) in, f32; absent = 0 */
    struct plumb_tensor baseline;/* (R) in, f32: taken from a sequence's advantages, not from its
                                  * returns; absent = 0 */
    double gamma, lambda;        /* in [0, 1] */
    struct plumb_tensor advantage; /* (offset[R]) out, f32 */
    struct plumb_tensor returns; /* (offset[R]) out, f32; absent = not wanted. No output shares
                                  * memory with an input */
};
/* f64 within a sequence, rounded once; bits depend on the sequence alone. Fails: PLUMB_EINVAL
 * naming the argument. */
int plumb_gae(const struct plumb_device *dev, const struct plumb_gae *a);
void plumb_gae_ref(const struct plumb_gae *a, enum plumb_dtype round);

PLUMB_END_C
