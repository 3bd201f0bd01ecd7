/* What the two kernels of the attention's backward share. */
#pragma once
#include "kernels/attention/attention_rows.cuh"

/* Rows of a block: of queries times heads of a group for dq, of keys for dk and dv. */
static inline int attn_query_step(const struct attn_job *j, bool f32)
{
    return f32 ? j->K <= 128 ? 64 : 32 : j->K <= 64 ? 128 : 64;
}
static inline int attn_key_step(const struct attn_job *j, bool f32)
{
    return f32 && j->K > 128 ? 32 : 64;
}

/* dq, and delta for the second; then dk and dv. */
int plumb_attention_dq_launch(const struct plumb_device *dev, const struct plumb_attention *a,
                              const struct attn_job *j);
int plumb_attention_dkv_launch(const struct plumb_device *dev, const struct plumb_attention *a,
                               const struct attn_job *j);

/* The gradient of a scaled product: s is the score, or tanh where capped, p its probability, dp
 * the probability's gradient. */
PLUMB_DEVICE float attn_slope(const struct attn_job *j, float s, float p, float dp, float delta)
{
    const float g = p * (dp - delta);
    return j->capped ? g * (1.0f - s * s) : g;
}
