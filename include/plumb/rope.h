/* Rotary positions (arXiv:2104.09864 eq. 15): pairs of the first R elements of each head turn by
 * angle pos * freq. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

enum plumb_rope_kind { PLUMB_ROPE_NONE, PLUMB_ROPE_HALF, PLUMB_ROPE_INTERLEAVED };

struct plumb_rope {
    size_t struct_bytes;
    enum plumb_rope_kind kind;     /* HALF: pairs (i, i+R/2); INTERLEAVED: (2i, 2i+1) */
    int64_t N, H, K, R;            /* rows, heads, head size, rotated part (even, <= K) */
    int64_t ld;                    /* elements between rows of x and y; 0 = H*K. Heads are dense
                                    * inside a row. */
    int64_t P;                     /* rows of the tables */
    const int32_t *position;       /* (N) in [0,P) */
    struct plumb_tensor cos, sin;  /* (P, R/2) in, f32: of pos * freq[i] */
    struct plumb_tensor x;         /* (N,H,K) in */
    struct plumb_tensor y;         /* (N,H,K) out, dtype of x; may alias x */
    bool inverse;                  /* turns back: the backward of the forward */
};

/* Rows keep their bits whatever N is. The backward is the same call on gradients with inverse =
 * true. */
int plumb_rope(const struct plumb_device *dev, const struct plumb_rope *a);
void plumb_rope_ref(const struct plumb_rope *a, enum plumb_dtype round);

PLUMB_END_C
