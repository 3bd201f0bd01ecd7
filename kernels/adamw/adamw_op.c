/* Cases of the optimizer's step. dim: elements, step, decay (1 = on every other run of 32), start
 * (elements past the arrays'), norm (1 = clipped to 1, 2 = not finite), weights (1 = with a bf16
 * copy, 2 = bf16 without a master; both only timed, adamw_test has their values). opt: lr,
 * weight_decay, eps, grad_scale, beta1, beta2. */
#include <plumb/optim.h>

#include <math.h>

#include "kernels/op.h"

#define ADAM 1e-5, 0.1, 1e-8, 1, 0.9, 0.999
static const struct plumb_case cases[] = {
    { "first step", { 100, 1 }, { 1e-3, 0, 1e-8, 1, 0.9, 0.999 } },
    { "with decay and clipping, odd count", { 1037, 17, 1 }, { 1e-2, 0.1, 1e-8, 0.3, 0.9, 0.95 } },
    { "late step, several threads", { 40000, 100000, 1 }, { 5e-6, 0.01, 1e-6, 1, 0.9, 0.999 } },
    { "norm clipped", { 5000, 17, 1, 0, 1 }, { 1e-2, 0.1, 1e-8, 0.3, 0.9, 0.95 } },
    { "norm not finite", { 5000, 17, 1, 0, 2 }, { 1e-2, 0.1, 1e-8, 0.3, 0.9, 0.95 } },
    { "an unaligned start", { 3002, 2, 1, 3 }, { 1e-2, 0.1, 1e-8, 1, 0.9, 0.95 } },
    { "no memory", { 65, 3, 1 }, { 1e-3, 0.1, 1e-8, 1, 0, 0 } },
    { "short memory", { 65, 3 }, { 1e-3, 0, 1e-8, 1, 0.4, 0.4 } },
    { "nothing", { 0, 1 }, { 1e-3, 0, 1e-8, 1, 0.9, 0.999 } },
    { "1 M weights, clipped", { 1 << 20, 10, 1, 0, 1 }, { ADAM }, .bench = true },
    { "1 M weights, bf16 copy", { 1 << 20, 10, 1, 0, 1, 1 }, { ADAM }, .bench = true },
    { "1 M bf16 weights", { 1 << 20, 10, 1, 0, 1, 2 }, { ADAM }, .bench = true },
    { "100 M weights", { 100000000, 10, 1 }, { ADAM }, .bench = true },
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
    const int64_t runs = (a->count + 31) / 32, start = c->dim[3], all = start + a->count;
    plumb_case_in(m, &a->grad, NULL, PLUMB_CASE_STAT, "grad", all, -2, 2);
    plumb_case_inout(m, &a->m, PLUMB_CASE_STAT, "m", all, -1, 1);
    plumb_case_inout(m, &a->v, PLUMB_CASE_STAT, "v", all, 0, 2);
    plumb_case_inout(m, &a->w, PLUMB_CASE_STAT, "w", all, -1, 1);
    struct plumb_tensor *const arrays[] = { &a->grad, &a->m, &a->v, &a->w };
    for (int k = 0; k < 4; k++)
        arrays[k]->data = (char *)arrays[k]->data +
                          (size_t)start * plumb_dtype_bytes(arrays[k]->dtype);
    if (c->dim[5]) {
        struct plumb_tensor *narrow = c->dim[5] == 1 ? &a->copy : &a->w;
        narrow->data = plumb_case_device_bytes(m, 2 * (size_t)a->count);
        narrow->dtype = PLUMB_BF16;
    }
    if (c->dim[4]) {
        double *norm = plumb_case_device_bytes(m, sizeof *norm);
        *norm = c->dim[4] == 2 ? (double)INFINITY : 81.5;
        a->norm = norm, a->max_grad_norm = 1;
    }
    if (!c->dim[2]) return;
    uint8_t *decay = plumb_case_device_bytes(m, (size_t)runs);
    for (int64_t r = 0; r < runs; r += 2)
        decay[r] = 1;
    a->decay = decay;
}

/* Reads gradient, moments and weights, writes moments, weights and the copy. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem, (void)backward;
    static const double per_weight[] = { 28, 30, 24 };
    return per_weight[c->dim[5]] * (double)c->dim[0];
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
