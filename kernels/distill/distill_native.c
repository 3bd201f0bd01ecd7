/* The divergences on the cpu: chunks of rows through matrix products and the row work of
 * distill_cpu.c. See distill_plan.h for the schedule. */
#include <plumb/matmul.h>
#include <string.h>

#include "kernels/distill/distill_plan.h"
#include "kernels/op.h"

PLUMB_CPU_DECLARE(plumb_distill_rows_cpu, plumb_distill_chunk);
PLUMB_CPU_DECLARE(plumb_distill_gather_cpu, plumb_distill_panel);
PLUMB_CPU_DECLARE(plumb_distill_scatter_cpu, plumb_distill_panel);

struct run {
    const struct plumb_distill *a;
    struct plumb_distill_plan plan;
    char *scratch;
    struct plumb_distill_chunk c;
    struct plumb_tensor x; /* the chunk's hidden rows of the policy */
};

static struct plumb_tensor part(const struct plumb_tensor *t, int64_t at)
{
    char *p = t->data;
    return (struct plumb_tensor){ p ? p + (size_t)at * plumb_dtype_bytes(t->dtype) : NULL,
                                  t->dtype };
}

/* The chunk's hidden rows of a head, side by side. */
static struct plumb_tensor gather(const struct run *r, const struct plumb_distill_head *h,
                                  size_t at)
{
    if (!r->a->row) return part(&h->x, r->c.first * h->H);
    const struct plumb_distill_panel p = { .row = r->a->row + r->c.first,
                                           .rows = r->c.rows,
                                           .width = h->H,
                                           .whole = &h->x,
                                           .x = r->scratch + at };
    PLUMB_CPU_CALL(plumb_distill_gather_cpu, &p);
    return (struct plumb_tensor){ p.x, h->x.dtype };
}

static int make_logits(const struct run *r, const struct plumb_distill_head *h,
                       struct plumb_tensor x, float *to)
{
    const struct plumb_matmul m = { .struct_bytes = sizeof m,
                                    .M = r->c.rows,
                                    .N = r->plan.vocab,
                                    .K = h->H,
                                    .a = x,
                                    .trans_b = true,
                                    .b = h->w,
                                    .c = { to, PLUMB_F32 },
                                    .ldc = r->plan.stride,
                                    .bias = h->bias,
                                    .batch_invariant = true };
    return plumb_matmul(&plumb_cpu, &m);
}

/* dX = dZ W, dW += dZ^T x. */
static int multiply_back(const struct run *r)
{
    const struct plumb_distill *a = r->a;
    const bool narrow = a->policy.x.dtype == PLUMB_BF16;
    const struct plumb_tensor dz = { narrow ? (void *)r->c.y : (void *)r->c.z, a->policy.x.dtype };
    const int64_t ldz = narrow ? 2 * r->plan.stride : r->plan.stride;
    const struct plumb_matmul to_x = { .struct_bytes = sizeof to_x,
                                       .M = r->c.rows,
                                       .N = a->policy.H,
                                       .K = r->plan.vocab,
                                       .a = dz,
                                       .lda = ldz,
                                       .b = a->policy.w,
                                       .c = { r->scratch + r->plan.dx, PLUMB_F32 } };
    const struct plumb_matmul to_w = { .struct_bytes = sizeof to_w,
                                       .M = r->plan.vocab,
                                       .N = a->policy.H,
                                       .K = r->c.rows,
                                       .a = dz,
                                       .lda = ldz,
                                       .trans_a = true,
                                       .b = r->x,
                                       .c = a->dw,
                                       .accumulate = true };
    if (a->dw.data) PLUMB_TRY(plumb_matmul(&plumb_cpu, &to_w));
    if (!a->dx.data) return PLUMB_OK;
    PLUMB_TRY(plumb_matmul(&plumb_cpu, &to_x));
    const struct plumb_distill_panel p = { .row = a->row ? a->row + r->c.first : NULL,
                                           .first = r->c.first,
                                           .rows = r->c.rows,
                                           .width = a->policy.H,
                                           .whole = &a->dx,
                                           .dx = to_x.c.data };
    return PLUMB_CPU_CALL(plumb_distill_scatter_cpu, &p);
}

static int one_chunk(struct run *r)
{
    const struct plumb_distill *a = r->a;
    const struct plumb_tensor t = gather(r, &a->teacher, r->plan.teacher_x);
    r->x = gather(r, &a->policy, r->plan.x);
    PLUMB_TRY(make_logits(r, &a->policy, r->x, r->c.z));
    PLUMB_TRY(make_logits(r, &a->teacher, t, r->c.y));
    PLUMB_CPU_CALL(plumb_distill_rows_cpu, &r->c);
    return r->c.gradient ? multiply_back(r) : PLUMB_OK;
}

int plumb_distill_native(const struct plumb_distill *a)
{
    struct run r = { .a = a, .plan = plumb_distill_plan(a) };
    const uintptr_t start = (uintptr_t)a->work.data;
    r.scratch = (char *)a->work.data + (64 - start % 64) % 64;
    r.c = (struct plumb_distill_chunk){ .op = a,
                                        .vocab = r.plan.vocab,
                                        .stride = r.plan.stride,
                                        .z = (float *)(void *)(r.scratch + r.plan.z),
                                        .y = (float *)(void *)(r.scratch + r.plan.y),
                                        .gradient = a->dx.data || a->dw.data || a->dbias.data };
    if (a->dx.data)
        memset(a->dx.data, 0, (size_t)(a->N * a->policy.H) * plumb_dtype_bytes(a->dx.dtype));
    for (r.c.first = 0; r.c.first < a->M; r.c.first += r.c.rows) {
        const int64_t left = a->M - r.c.first;
        r.c.rows = left < r.plan.rows ? left : r.plan.rows;
        PLUMB_TRY(one_chunk(&r));
    }
    return PLUMB_OK;
}
