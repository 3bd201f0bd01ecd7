/* Device code of the embedding, forward: a warp takes 512 columns of one row. All of its loads are
 * under way before the first store. */
#include <plumb/embed.h>

#include "kernels/gpu_quad.h"

enum { WARPS = 8, QUADS = 4, PIECE = 32 * 4 * QUADS };

struct embed_row_job {
    int64_t N, D, V, P;
    const int32_t *token, *position;
    const void *w, *wpos; /* wpos is w where there are no positions */
    void *y;
    float scale;
    bool narrow, whole; /* y is bf16; all rows start at whole quads */
};

PLUMB_DEVICE bool inside(int64_t id, int64_t end) { return id >= 0 && id < end; }

template <class W> __global__ void embed_rows(struct embed_row_job j)
{
    const int64_t n = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (n >= j.N) return;
    const int64_t token = j.token[n], position = j.P > 0 ? j.position[n] : 0;
    const bool known = inside(token, j.V) && (j.P == 0 || inside(position, j.P));
    const int64_t first = (int64_t)blockIdx.y * PIECE + threadIdx.x % 32 * 4;
    const W *w = (const W *)j.w + (known ? token * j.D : 0);
    const W *wpos = (const W *)j.wpos + (known ? position * j.D : 0);
    struct plumb_quad x[QUADS], p[QUADS];
    PLUMB_UNROLL for (int q = 0; q < QUADS; q++)
    {
        const int64_t d = first + q * 128, left = known ? j.D - d : 0;
        x[q] = plumb_quad_load(w + d, j.whole, left);
        if (j.P > 0) p[q] = plumb_quad_load(wpos + d, j.whole, left);
    }
    PLUMB_UNROLL for (int q = 0; q < QUADS; q++)
    {
        const int64_t d = first + q * 128, left = j.D - d;
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            const float e = j.scale * x[q].v[k], sum = j.P > 0 ? e + p[q].v[k] : e;
            x[q].v[k] = known ? sum : NAN;
        }
        if (j.narrow)
            plumb_quad_store((__nv_bfloat16 *)j.y + n * j.D + d, &x[q], j.whole, left);
        else
            plumb_quad_store((float *)j.y + n * j.D + d, &x[q], j.whole, left);
    }
}

template <class W> static int run(const struct plumb_device *dev, const struct plumb_embed *a)
{
    struct embed_row_job j = { a->N,
                               a->D,
                               a->V,
                               a->P,
                               a->token,
                               a->position,
                               a->w.data,
                               NULL,
                               a->y.data,
                               (float)a->scale,
                               a->y.dtype == PLUMB_BF16,
                               false };
    j.wpos = a->P > 0 ? a->wpos.data : a->w.data;
    j.whole = plumb_quads((const W *)j.w, j.D) && plumb_quads((const W *)j.wpos, j.D) &&
              (j.narrow ? plumb_quads((const __nv_bfloat16 *)j.y, j.D)
                        : plumb_quads((const float *)j.y, j.D));
    const dim3 grid((unsigned)plumb_ceil_div(a->N, WARPS), (unsigned)plumb_ceil_div(a->D, PIECE));
    return plumb_gpu_status(
        PLUMB_LAUNCH(embed_rows<W>, grid, 32 * WARPS, 0, plumb_gpu_stream(dev), j), "embed");
}

static int embed_fwd(const struct plumb_device *dev, const struct plumb_embed *a)
{
    if (a->N == 0) return PLUMB_OK;
    return a->w.dtype == PLUMB_BF16 ? run<__nv_bfloat16>(dev, a) : run<float>(dev, a);
}
PLUMB_GPU_OP(embed_fwd, plumb_embed);
