/* Checks the arguments of the embedding and picks the code that runs it. */
#include <plumb/backend.h>
#include <plumb/embed.h>

#include <math.h>

#include "kernels/embed/embed_sort.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_embed_fwd_cpu, plumb_embed);
PLUMB_CPU_DECLARE(plumb_embed_bwd_cpu, plumb_embed);

/* Ids that lie on a device are not read here: there each row checks its own. */
static int check_ids(const struct plumb_device *dev, const char *field, const int32_t *id,
                     int64_t N, const char *limit, int64_t end)
{
    if (N > 0) PLUMB_TRY(plumb_check_array("embed", dev, field, id));
    if (dev->kind == PLUMB_DEV_CUDA) return PLUMB_OK;
    for (int64_t n = 0; n < N; n++)
        if (id[n] < 0 || id[n] >= end)
            return plumb_fail(PLUMB_EINVAL, "embed: %s[%lld]=%d, must be in [0,%s=%lld)", field,
                              (long long)n, id[n], limit, (long long)end);
    return PLUMB_OK;
}

static int check(const struct plumb_device *dev, const struct plumb_embed *a, bool backward)
{
    PLUMB_TRY(plumb_check_args("embed", dev, a, sizeof *a));
    PLUMB_TRY(plumb_check_size("embed", "N", a->N, 0));
    PLUMB_TRY(plumb_check_size("embed", "D", a->D, 1));
    PLUMB_TRY(plumb_check_size("embed", "V", a->V, 1));
    PLUMB_TRY(plumb_check_size("embed", "P", a->P, 0));
    if (!isfinite(a->scale))
        return plumb_fail(PLUMB_EINVAL, "embed: scale=%g, must be finite", a->scale);
    PLUMB_TRY(check_ids(dev, "token", a->token, a->N, "V", a->V));
    if (a->P > 0) PLUMB_TRY(check_ids(dev, "position", a->position, a->N, "P", a->P));
    if (!backward) {
        PLUMB_TRY(plumb_check_tensor("embed", dev, "w", &a->w, PLUMB_MASK_FLOATS));
        if (a->P > 0)
            PLUMB_TRY(plumb_check_tensor("embed", dev, "wpos", &a->wpos, PLUMB_MASK(a->w.dtype)));
        return plumb_check_tensor("embed", dev, "y", &a->y, PLUMB_MASK_FLOATS);
    }
    PLUMB_TRY(plumb_check_tensor("embed", dev, "dy", &a->dy, PLUMB_MASK_FLOATS));
    PLUMB_TRY(plumb_check_tensor("embed", dev, "dw", &a->dw, PLUMB_MASK_F32));
    if (a->P > 0) PLUMB_TRY(plumb_check_tensor("embed", dev, "dwpos", &a->dwpos, PLUMB_MASK_F32));
    if (dev->kind != PLUMB_DEV_CUDA || a->N == 0) return PLUMB_OK;
    if (a->N > PLUMB_EMBED_MOST || a->V > PLUMB_EMBED_MOST || a->P > PLUMB_EMBED_MOST)
        return plumb_fail(PLUMB_EINVAL, "embed: N=%lld, V=%lld, P=%lld, must be at most %lld",
                          (long long)a->N, (long long)a->V, (long long)a->P,
                          (long long)PLUMB_EMBED_MOST);
    return plumb_check_array("embed", dev, "work", a->work.data);
}

size_t plumb_embed_bwd_workspace(const struct plumb_device *dev, const struct plumb_embed *a)
{
    if (plumb_check_args("embed", dev, a, sizeof *a)) return 0;
    return dev->kind == PLUMB_DEV_CUDA ? plumb_embed_sort_bytes(a->N) : 0;
}

int plumb_embed_fwd(const struct plumb_device *dev, const struct plumb_embed *a)
{
    PLUMB_TRY(check(dev, a, false));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_embed_fwd_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "embed_fwd", a, sizeof *a);
    plumb_embed_fwd_ref(a, dev->round);
    return PLUMB_OK;
}

int plumb_embed_bwd(const struct plumb_device *dev, const struct plumb_embed *a)
{
    PLUMB_TRY(check(dev, a, true));
    if (dev->kind == PLUMB_DEV_CPU) return PLUMB_CPU_CALL(plumb_embed_bwd_cpu, a);
    if (dev->kind == PLUMB_DEV_CUDA) return plumb_backend_run(dev, "embed_bwd", a, sizeof *a);
    plumb_embed_bwd_ref(a, dev->round);
    return PLUMB_OK;
}
