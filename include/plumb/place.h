/* Rows go to places that a list gives: new keys and values into a cache. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

struct plumb_place {
    size_t struct_bytes;
    int64_t N, D, R;       /* rows of x, width, rows of y */
    int64_t ldx, ldy;      /* elements between rows; 0 = D */
    const int32_t *to;     /* (N) in [0,R), each place once: y[to[n]] = x[n]. On cuda, where nobody
                            * can look, a row whose place is out of range is left out. */
    struct plumb_tensor x; /* (N,D) in, f32 or bf16 */
    struct plumb_tensor y; /* (R,D) in/out, dtype of x; other rows stay; no alias of x */
};

/* Copies bits. Fails: PLUMB_EINVAL naming the first place out of range. */
int plumb_place(const struct plumb_device *dev, const struct plumb_place *a);
void plumb_place_ref(const struct plumb_place *a, enum plumb_dtype round);

PLUMB_END_C
