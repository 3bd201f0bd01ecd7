/* Token (and learned position) embedding: y[n] = scale * W[token[n]] + P[position[n]]. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

struct plumb_embed {
    size_t struct_bytes;
    int64_t N, D, V, P;          /* rows, width, vocabulary, positions (0 without a table) */
    const int32_t *token;        /* (N) in [0,V) */
    const int32_t *position;     /* (N) in [0,P); NULL when P = 0 */
    struct plumb_tensor w;       /* (V,D) in, f32 or bf16 */
    struct plumb_tensor wpos;    /* (P,D) in, dtype of w; absent when P = 0 */
    struct plumb_tensor y;       /* (N,D) out, f32 or bf16 */
    double scale;                /* 1 unless the model says otherwise */
    struct plumb_tensor dy;      /* backward: (N,D) in, f32 or bf16 */
    struct plumb_tensor dw;      /* backward: (V,D) += f32 */
    struct plumb_tensor dwpos;   /* backward: (P,D) += f32, absent when P = 0 */
    struct plumb_tensor work;    /* backward: plumb_embed_bwd_workspace bytes */
};

/* On cuda a row whose token or position is out of range becomes NaN; elsewhere that is a fault. */
int plumb_embed_fwd(const struct plumb_device *dev, const struct plumb_embed *a);
/* Rows of equal token are added in index order whatever the thread count. Cost: reads dy,
 * touches only the used rows. On cuda tokens and positions out of range are passed over. */
int plumb_embed_bwd(const struct plumb_device *dev, const struct plumb_embed *a);
/* Depends on N alone; 0 on cpu and ref. */
size_t plumb_embed_bwd_workspace(const struct plumb_device *dev, const struct plumb_embed *a);
void plumb_embed_fwd_ref(const struct plumb_embed *a, enum plumb_dtype round);
void plumb_embed_bwd_ref(const struct plumb_embed *a, enum plumb_dtype round);

PLUMB_END_C
