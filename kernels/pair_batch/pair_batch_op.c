/* Cases of the batch statistics. dim: B pairs (or prompts), then as each set-up says. */
#include <plumb/pair_batch.h>

#include "kernels/op.h"

static void sums(struct plumb_case_mem *m, struct plumb_tensor *logps, struct plumb_tensor *ref,
                 int64_t B)
{
    plumb_case_in(m, logps, NULL, PLUMB_CASE_STAT, "logps", 2 * B, -40, -5);
    if (ref) plumb_case_in(m, ref, NULL, PLUMB_CASE_STAT, "ref_sum", 2 * B, -40, -5);
}

/* ---- sorted differences: 1 = unpaired, 1 = without a reference, values in steps ---- */

static const struct plumb_case aot_cases[] = {
    { "paired", { 7 } },
    { "unpaired", { 7, 1 } },
    { "no reference", { 6, 0, 1 } },
    { "ties", { 90, 1, 0, 4 } },
    { "paired, more than a block", { 700 } },
    { "unpaired, more than a block", { 515, 1 } },
    { "one pair", { 1, 1 } },
    { "no pairs", { 0 } },
    { "4k pairs", { 4096, 1 }, .bench = true },
};

static void aot_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_aot *a = args;
    *a = (struct plumb_aot){ .struct_bytes = sizeof *a, .B = c->dim[0], .unpaired = c->dim[1] };
    if (c->dim[3]) {
        double *v = plumb_case_bytes(m, (size_t)(2 * a->B) * sizeof *v);
        for (int64_t i = 0; i < 2 * a->B; i++)
            v[i] = -(double)plumb_case_below(m, (uint64_t)c->dim[3]);
        plumb_case_in_values(m, &a->logps, NULL, PLUMB_CASE_STAT, "logps", 2 * a->B, v);
    } else {
        sums(m, &a->logps, c->dim[2] ? NULL : &a->ref_sum, a->B);
    }
    const int64_t out = a->unpaired ? 2 * a->B : a->B;
    plumb_case_out(m, &a->gap, NULL, PLUMB_CASE_STAT, "gap", out);
    a->rank = plumb_case_index_out(m, "rank", out);
}

/* Reads the sums twice over, writes differences and ranks. */
static double aot_bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 32.0 * (double)c->dim[0];
}

static size_t aot_workspace(const struct plumb_device *d, const void *a)
{
    return plumb_aot_workspace(d, a);
}

/* ---- weights from losses: groups; opt: beta_prime or step ---- */

static const struct plumb_case dr_dpo_cases[] = {
    { "soft", { 9 }, { 2 } },
    { "sharp", { 300 }, { 0.05 } },
    { "more than a block", { 2500 }, { 1 } },
    { "one pair", { 1 }, { 1 } },
    { "no pairs", { 0 }, { 1 } },
};

static void dr_dpo_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_dr_dpo *a = args;
    *a = (struct plumb_dr_dpo){ .struct_bytes = sizeof *a,
                                .B = c->dim[0],
                                .beta_prime = c->opt[0] };
    plumb_case_in(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->B, -1, 4);
    plumb_case_out(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->B);
    plumb_case_out(m, &a->loss, NULL, PLUMB_CASE_STAT, "loss", 1);
}

static const struct plumb_case group_robust_cases[] = {
    { "three groups", { 20, 3 }, { 0.5 } },
    { "groups without pairs", { 5, 40 }, { 0.5 } },
    { "more than a block", { 2100, 70 }, { 2 } },
    { "q stays", { 9, 2 } },
    { "one group", { 7, 1 }, { 1 } },
    { "no pairs", { 0, 3 }, { 1 } },
};

static void group_robust_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_group_robust *a = args;
    *a = (struct plumb_group_robust){ .struct_bytes = sizeof *a,
                                      .B = c->dim[0],
                                      .G = c->dim[1],
                                      .step = c->opt[0] };
    int32_t *group = plumb_case_index(m, a->B);
    for (int64_t i = 0; i < a->B; i++)
        group[i] = (int32_t)plumb_case_below(m, (uint64_t)a->G);
    a->group = group;
    plumb_case_in(m, &a->losses, NULL, PLUMB_CASE_STAT, "losses", a->B, 0, 4);
    plumb_case_inout(m, &a->q, PLUMB_CASE_STAT, "q", a->G, 0.1, 1);
    plumb_case_out(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->B);
    plumb_case_out(m, &a->loss, NULL, PLUMB_CASE_STAT, "loss", 1);
}

/* ---- running moments: 1 = means; opt: alpha or scale, decay, drop ---- */

static const struct plumb_case beta_dpo_cases[] = {
    { "as published", { 64 }, { 0.6, 0.9, 0.2 } },
    { "of the batch alone", { 9 }, { 1, 0, 0.5 } },
    { "more than a block", { 1500 }, { -0.5, 0.5, 0.2 } },
    { "all kept, state stays", { 6 }, { 0.6, 1, 0 } },
    { "one pair", { 1 }, { 0.6, 0.9, 0.2 } },
    { "no pairs", { 0 }, { 0.6, 0.9, 0.2 } },
};

static void beta_dpo_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_beta_dpo *a = args;
    *a = (struct plumb_beta_dpo){ .struct_bytes = sizeof *a,
                                  .B = c->dim[0],
                                  .beta = 0.1,
                                  .alpha = c->opt[0],
                                  .least = 1e-3,
                                  .drop = c->opt[2],
                                  .decay = c->opt[1],
                                  .seed = 5,
                                  .step = 3 };
    sums(m, &a->logps, &a->ref_sum, a->B);
    plumb_case_inout(m, &a->state, PLUMB_CASE_STAT, "state", 2, 1, 12);
    plumb_case_out(m, &a->target, NULL, PLUMB_CASE_STAT, "target", 2 * a->B);
    plumb_case_out(m, &a->weight, NULL, PLUMB_CASE_STAT, "weight", a->B);
}

static size_t beta_dpo_workspace(const struct plumb_device *d, const void *a)
{
    return plumb_beta_dpo_workspace(d, a);
}

static const struct plumb_case alpha_dpo_cases[] = {
    { "means", { 30, 1 }, { 0.5, 0.9 } },
    { "sums, of the batch alone", { 30 }, { 0.5, 0 } },
    { "more than a block", { 1100, 1 }, { 0.25, 0.5 } },
    { "one pair", { 1, 1 }, { 0.5, 0 } },
    { "no pairs", { 0, 1 }, { 0.5, 0.9 } },
};

static void alpha_dpo_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_alpha_dpo *a = args;
    *a = (struct plumb_alpha_dpo){ .struct_bytes = sizeof *a,
                                   .B = c->dim[0],
                                   .means = c->dim[1],
                                   .scale = c->opt[0],
                                   .decay = c->opt[1] };
    int32_t *offset = plumb_case_index(m, 2 * a->B + 1);
    for (int64_t s = 0; s < 2 * a->B; s++)
        offset[s + 1] = offset[s] + (int32_t)plumb_case_below(m, 30);
    a->offset = offset;
    sums(m, &a->logps, &a->ref_sum, a->B);
    plumb_case_inout(m, &a->state, PLUMB_CASE_STAT, "state", 2, 1, 12);
    plumb_case_out(m, &a->margin, NULL, PLUMB_CASE_STAT, "margin", a->B);
}

/* ---- samples of a prompt: how many; 1 = in place ---- */

static const struct plumb_case leave_one_out_cases[] = {
    { "four", { 7, 4 } },           { "one", { 7, 1 } },        { "in place", { 7, 3, 1 } },
    { "many prompts", { 700, 2 } }, { "no prompts", { 0, 4 } },
};

static void leave_one_out_setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_leave_one_out *a = args;
    *a = (struct plumb_leave_one_out){ .struct_bytes = sizeof *a, .B = c->dim[0], .k = c->dim[1] };
    const int64_t n = a->B * a->k;
    if (c->dim[2]) {
        plumb_case_inout(m, &a->x, PLUMB_CASE_STAT, "x", n, -9, 9);
        plumb_case_out(m, &a->y, NULL, PLUMB_CASE_STAT, "y", n);
        plumb_case_alias(m, &a->y, &a->x);
        return;
    }
    plumb_case_in(m, &a->x, NULL, PLUMB_CASE_STAT, "x", n, -9, 9);
    plumb_case_out(m, &a->y, NULL, PLUMB_CASE_STAT, "y", n);
}

#define CALLS(name)                                                                                \
    static int name##_fwd(const struct plumb_device *d, const void *a)                             \
    {                                                                                              \
        return plumb_##name(d, a);                                                                 \
    }                                                                                              \
    static void name##_fwd_ref(const void *a, enum plumb_dtype round)                              \
    {                                                                                              \
        plumb_##name##_ref(a, round);                                                              \
    }
CALLS(aot)
CALLS(dr_dpo)
CALLS(group_robust)
CALLS(beta_dpo)
CALLS(alpha_dpo)
CALLS(leave_one_out)

#define OP(op, ...)                                                                                \
    {                                                                                              \
        .name = #op, .cases = op##_cases, .case_count = sizeof op##_cases / sizeof *op##_cases,    \
        .args_bytes = sizeof(struct plumb_##op), .setup = op##_setup, .fwd = op##_fwd,             \
        .fwd_ref = op##_fwd_ref, .f32_only = true, __VA_ARGS__                                     \
    }

extern const struct plumb_op plumb_op_pair_batch[];
const struct plumb_op plumb_op_pair_batch[] = {
    OP(aot, .bytes = aot_bytes, .workspace = aot_workspace,
       .work_offset = offsetof(struct plumb_aot, work)),
    OP(dr_dpo),
    OP(group_robust),
    OP(beta_dpo, .workspace = beta_dpo_workspace,
       .work_offset = offsetof(struct plumb_beta_dpo, work)),
    OP(alpha_dpo),
    OP(leave_one_out),
    { 0 },
};
