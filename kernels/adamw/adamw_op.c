/* Cases of the optimizer's step. dim: elements, step, decay (1 = on every other run of 32).
 * opt: lr, weight_decay, eps, grad_scale, beta1, beta2. */
#include <plumb/optim.h>

#include "kernels/op.h"

static const struct plumb_case cases[] = {
    { "first step", { 100, 1 }, { 1e-3, 0, 1e-8, 1, 0.9, 0.999 } },
    { "with decay and clipping, odd count", { 1037, 17, 1 }, { 1e-2, 0.1, 1e-8, 0.3, 0.9, 0.95 } },
    { "late step, several threads", { 40000, 100000, 1 }, { 5e-6, 0.01, 1e-6, 1, 0.9, 0.999 } },
    { "no memory", { 65, 3, 1 }, { 1e-3, 0.1, 1e-8, 1, 0, 0 } },
    { "short memory", { 65, 3 }, { 1e-3, 0, 1e-8, 1, 0.4, 0.4 } },
    { "nothing", { 0, 1 }, { 1e-3, 0, 1e-8, 1, 0.9, 0.999 } },
    { "100 M weights", { 100000000, 10, 1 }, { 1e-5, 0.1, 1e-8, 1, 0.9, 0.999 }, .bench = true },
};

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_adamw *a = args;
    const double *o = c->opt;
    *a = (struct plumb_adamw){ .struct_bytes = sizeof *a,
                               .count = c->dim[0],
                               .step = c->dim[1],
                               .lr = o[0],
                               .weight_decay = o[1],
                               .eps = o[2],
                               .grad_scale = o[3],
                               .beta1 = o[4],
                               .beta2 = o[5] };
    const int64_t runs = (a->count + 31) / 32;
    plumb_case_in(m, &a->grad, NULL, PLUMB_CASE_STAT, "grad", a->count, -2, 2);
    plumb_case_inout(m, &a->m, PLUMB_CASE_STAT, "m", a->count, -1, 1);
    plumb_case_inout(m, &a->v, PLUMB_CASE_STAT, "v", a->count, 0, 2);
    plumb_case_inout(m, &a->w, PLUMB_CASE_STAT, "w", a->count, -1, 1);
    if (!c->dim[2]) return;
    uint8_t *decay = plumb_case_device_bytes(m, (size_t)runs);
    for (int64_t r = 0; r < runs; r += 2)
        decay[r] = 1;
    a->decay = decay;
}

/* Reads gradient, moments and weights, writes moments and weights. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem, (void)backward;
    return 28 * (double)c->dim[0];
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_adamw(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_adamw_ref(a, round); }

extern const struct plumb_op plumb_op_adamw[];
const struct plumb_op plumb_op_adamw[] = {
    { .name = "adamw",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_adamw),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
