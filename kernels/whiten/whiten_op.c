/* Cases of moments, their merging and whitening. dim of moments: M values, 1 = with some left out;
 * of the merge: K parts; of whitening: M values, 1 = with some left out, 1 = keep the mean, 1 =
 * population, 1 = in place. opt of moments: middle of the values; of whitening: root_epsilon,
 * epsilon, least_variance, limit, variance. */
#include <plumb/whiten.h>

#include "kernels/op.h"

static const struct plumb_case moments_cases[] = {
    { "all count", { 100 } },
    { "some left out", { 9001, 1 } },
    { "far from zero", { 5000, 1 }, { 1000 } },
    { "one value", { 1 }, { 3 } },
    { "nothing", { 0 } },
    { "many chunks", { 70000, 1 } },
    { "1M advantages", { 1 << 20, 1 }, .bench = true },
};

/* `n` values, or all of them where `out` is not set. */
static const int32_t *some(struct plumb_case_mem *m, int64_t n, bool out)
{
    int32_t *counted = out ? plumb_case_index(m, n) : NULL;
    for (int64_t i = 0; counted && i < n; i++)
        counted[i] = plumb_case_below(m, 4) > 0;
    return counted;
}

static void moments_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_moments *a = args;
    *a = (struct plumb_moments){ .struct_bytes = sizeof *a, .M = c->dim[0] };
    a->counted = some(m, a->M, c->dim[1]);
    plumb_case_in(m, &a->x, NULL, PLUMB_CASE_STAT, "x", a->M, c->opt[0] - 2, c->opt[0] + 2);
    a->moments = plumb_case_f64_out(m, "moments", PLUMB_MOMENTS);
}

static double moments_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 4.0 * (double)c->dim[0] * (double)(1 + c->dim[1]);
}

static const struct plumb_case merge_cases[] = {
    { "eight parts", { 8 } },
    { "one part", { 1 } },
    { "no parts", { 0 } },
};

static void merge_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_moments_merge *a = args;
    *a = (struct plumb_moments_merge){ .struct_bytes = sizeof *a, .K = c->dim[0] };
    double *part = plumb_case_device_bytes(m, (size_t)(a->K * PLUMB_MOMENTS) * sizeof *part);
    for (int64_t k = 0; k < a->K; k++) { /* the third part is empty */
        const double count = k == 2 ? 0 : 1 + (double)plumb_case_below(m, 50);
        const double mean = (double)plumb_case_below(m, 1000) / 100 - 5;
        const double set[] = { count, count > 0 ? mean : 0, count > 1 ? 2.5 * count : 0, count };
        for (int i = 0; i < PLUMB_MOMENTS; i++)
            part[k * PLUMB_MOMENTS + i] = set[i];
    }
    a->parts = part;
    a->moments = plumb_case_f64_out(m, "moments", PLUMB_MOMENTS);
}

static const struct plumb_case whiten_cases[] = {
    { "verl, TRL", { 1030, 1 }, { 1e-8, 0, 0, 0, 2.5 } },
    { "scale only", { 77, 1, 1 }, { 1e-8, 0, 0, 0, 2.5 } },
    { "OpenRLHF", { 77, 1, 0, 1 }, { 0, 0, 1e-8, 0, 1e-12 } },
    { "normalised advantages, in place", { 77, 0, 0, 0, 1 }, { 0, 1e-4, 0, 0, 2.5 } },
    { "within limits", { 77 }, { 0, 1e-4, 0, 0.75, 2.5 } },
    { "no variance, no epsilon", { 9, 1, 1 } },
    { "nothing", { 0 }, { 1e-8 } },
    { "1M advantages", { 1 << 20, 1 }, { 1e-8, 0, 0, 0, 2.5 }, .bench = true },
};

static void whiten_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_whiten *a = args;
    *a = (struct plumb_whiten){ .struct_bytes = sizeof *a,
                                .M = c->dim[0],
                                .keep_mean = c->dim[2],
                                .population = c->dim[3],
                                .root_epsilon = c->opt[0],
                                .epsilon = c->opt[1],
                                .least_variance = c->opt[2],
                                .limit = c->opt[3] };
    a->counted = some(m, a->M, c->dim[1]);
    const double set[PLUMB_MOMENTS] = { 40, 0.375, c->opt[4] * 39, 40 };
    double *moments = plumb_case_device_bytes(m, sizeof set);
    for (int i = 0; i < PLUMB_MOMENTS; i++)
        moments[i] = set[i];
    a->moments = moments;
    plumb_case_in(m, &a->x, NULL, PLUMB_CASE_STAT, "x", a->M, -2, 2);
    plumb_case_out(m, &a->y, NULL, PLUMB_CASE_STAT, "y", a->M);
    if (c->dim[4]) plumb_case_alias(m, &a->y, &a->x);
}

static double whiten_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 4.0 * (double)c->dim[0] * (double)(2 + c->dim[1]);
}

static int moments_fwd(const struct plumb_device *d, const void *a) { return plumb_moments(d, a); }
static void moments_ref(const void *a, enum plumb_dtype round) { plumb_moments_ref(a, round); }
static size_t moments_workspace(const struct plumb_device *d, const void *a)
{
    return plumb_moments_workspace(d, a);
}
static int merge_fwd(const struct plumb_device *d, const void *a)
{
    return plumb_moments_merge(d, a);
}
static void merge_ref(const void *a, enum plumb_dtype round) { plumb_moments_merge_ref(a, round); }
static int whiten_fwd(const struct plumb_device *d, const void *a) { return plumb_whiten(d, a); }
static void whiten_ref(const void *a, enum plumb_dtype round) { plumb_whiten_ref(a, round); }

extern const struct plumb_op plumb_op_whiten[];
const struct plumb_op plumb_op_whiten[] = {
    { .name = "moments",
      .cases = moments_cases,
      .case_count = sizeof moments_cases / sizeof *moments_cases,
      .args_bytes = sizeof(struct plumb_moments),
      .setup = moments_setup,
      .fwd = moments_fwd,
      .fwd_ref = moments_ref,
      .workspace = moments_workspace,
      .work_offset = offsetof(struct plumb_moments, work),
      .bytes = moments_bytes,
      .f32_only = true },
    { .name = "moments_merge",
      .cases = merge_cases,
      .case_count = sizeof merge_cases / sizeof *merge_cases,
      .args_bytes = sizeof(struct plumb_moments_merge),
      .setup = merge_setup,
      .fwd = merge_fwd,
      .fwd_ref = merge_ref,
      .f32_only = true },
    { .name = "whiten",
      .cases = whiten_cases,
      .case_count = sizeof whiten_cases / sizeof *whiten_cases,
      .args_bytes = sizeof(struct plumb_whiten),
      .setup = whiten_setup,
      .fwd = whiten_fwd,
      .fwd_ref = whiten_ref,
      .bytes = whiten_bytes,
      .f32_only = true },
    { 0 },
};
