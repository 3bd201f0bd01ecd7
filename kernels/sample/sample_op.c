/* Cases of sampling. dim: rows, vocabulary, columns of a slice (0 = all), top_k, bits as below,
 * floats between rows (0 = as many as columns). opt: top_p, min_p, repetition_penalty, spread of
 * the logits. */
#include <float.h>
#include <math.h>
#include <plumb/sample.h>
#include <stddef.h>

#include "kernels/op.h"

enum { GREEDY = 1, SEEN = 2, BIAS = 4, TIES = 8, ODD = 16, SEEN_OF_ROW = 40, SPECIAL = 8 };

static const struct plumb_case cases[] = {
    { "temperature", { 40, 1000 }, { 1, 0, 1, 5 } },
    { "temperature, flat", { 3, 5000 }, { 1, 0, 1, 0.1 } },
    { "slices", { 7, 2500, 1024 }, { 1, 0, 1, 5 } },
    { "odd slices", { 7, 2500, 77 }, { 1, 0, 1, 5 } },
    { "rows apart", { 5, 1030, 0, 0, 0, 1088 }, { 1, 0, 1, 5 } },
    { "one token", { 3, 1 }, { 1, 0, 1, 5 } },
    { "no rows", { 0, 10 }, { 1, 0, 1, 5 } },
    { "top-k", { 12, 9000, 1024, 50 }, { 1, 0, 1, 8 } },
    { "top-1", { 6, 3000, 0, 1 }, { 1, 0, 1, 8 } },
    { "top-k of ties", { 30, 700, 0, 33, TIES }, { 1, 0, 1, 1 } },
    { "top-k of more than there are groups", { 5, 3000, 1024, 1500 }, { 1, 0, 1, 3 } },
    { "top-k of more than there are", { 4, 20, 0, 50 }, { 1, 0, 1, 3 } },
    { "top-p", { 20, 4000, 1024 }, { 0.9, 0, 1, 8 } },
    { "top-p, flat", { 6, 4000 }, { 0.7, 0, 1, 0.1 } },
    { "top-p of ties", { 20, 600, 0, 0, TIES }, { 0.63, 0, 1, 1 } },
    { "top-p, tiny", { 6, 600 }, { 1e-12, 0, 1, 5 } },
    { "top-p, nearly all", { 6, 600 }, { 0.999999, 0, 1, 5 } },
    { "min-p", { 20, 2000, 1024 }, { 1, 0.05, 1, 8 } },
    { "min-p of 1 with ties", { 20, 300, 0, 0, TIES }, { 1, 1, 1, 1 } },
    { "penalty", { 9, 1500, 1024, 0, SEEN }, { 1, 0, 1.3, 5 } },
    { "reward instead of penalty", { 9, 1500, 0, 0, SEEN }, { 1, 0, 0.7, 5 } },
    { "bias", { 9, 1500, 1024, 0, BIAS }, { 1, 0, 1, 5 } },
    { "all together", { 16, 3000, 1024, 400, SEEN | BIAS }, { 0.95, 0.01, 1.2, 6 } },
    { "all together, ties", { 16, 3000, 999, 400, SEEN | BIAS | TIES }, { 0.9, 0.3, 1.2, 1 } },
    { "greedy", { 12, 3000, 1024, 0, GREEDY | SEEN | BIAS }, { 1, 0, 1.2, 5 } },
    { "greedy of ties", { 12, 100, 0, 0, GREEDY | TIES }, { 1, 0, 1, 1 } },
    { "odd rows", { 2 * SPECIAL, 1500, 0, 0, ODD }, { 1, 0, 1, 5 } },
    { "odd rows, all together", { 2 * SPECIAL, 1500, 0, 100, ODD | SEEN }, { 0.9, 0.01, 1.2, 5 } },
    { "odd rows, greedy", { 2 * SPECIAL, 1500, 0, 0, ODD | GREEDY }, { 1, 0, 1, 5 } },
    { "16 rows of 49152", { 16, 49152, 1024 }, { 1, 0, 1, 5 }, .bench = true },
    { "16 rows of 49152, top-k", { 16, 49152, 1024, 50 }, { 1, 0, 1, 5 }, .bench = true },
    { "16 rows of 49152, top-p", { 16, 49152, 1024 }, { 0.9, 0, 1, 5 }, .bench = true },
    { "16 rows of 151936, all", { 16, 151936, 1024, 50 }, { 0.9, 0.02, 1, 5 }, .bench = true },
};

/* Roughly normal logits, or three values. */
static float logit(const struct plumb_case *c, struct plumb_case_mem *m)
{
    if (c->dim[4] & TIES) return (float)plumb_case_below(m, 3);
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (double)plumb_case_below(m, 1 << 20) / (1 << 19) - 1;
    return (float)(c->opt[3] * sum);
}

/* What rows can hold at worst. */
static void spoil(const struct plumb_logits *l, float *z)
{
    for (int64_t m = 0; m < SPECIAL; m++) {
        float *row = z + m * (l->stride ? l->stride : l->vocab);
        for (int64_t v = 0; v < l->vocab; v++) {
            if (m == 2) row[v] = -INFINITY;
            if (m == 3) row[v] = v == 1234 ? -7.0f : -INFINITY;
            if (m == 4) row[v] = v % 2 ? 1e30f : -1e30f;
            if (m == 5) row[v] = v % 3 ? -FLT_MAX : FLT_MAX;
            if (m == 6) row[v] = 0;
            if (m == 7) row[v] = v % 2 ? 0.0f : -0.0f;
        }
        if (m == 0) row[700] = NAN;
        if (m == 1) row[701] = INFINITY;
    }
}

static struct plumb_logits logits(const struct plumb_case *c, struct plumb_case_mem *m)
{
    struct plumb_logits l = { NULL, c->dim[0], c->dim[1], c->dim[2] ? c->dim[2] : c->dim[1],
                              c->dim[5] };
    const int64_t count = l.rows * (l.stride ? l.stride : l.vocab);
    float *z = plumb_case_device_bytes(m, (size_t)count * sizeof *z);
    for (int64_t i = 0; i < count; i++)
        z[i] = logit(c, m);
    if (c->dim[4] & ODD) spoil(&l, z);
    l.z = z;
    return l;
}

static void history(struct plumb_case_mem *m, struct plumb_sample *a)
{
    const int64_t M = a->logits.rows;
    int32_t *offset = plumb_case_index(m, M + 1), *seen = plumb_case_index(m, M * SEEN_OF_ROW);
    for (int64_t i = 0; i < M; i++)
        offset[i + 1] = offset[i] + (int32_t)plumb_case_below(m, SEEN_OF_ROW);
    for (int64_t i = 0; i < offset[M]; i++)
        seen[i] = (int32_t)plumb_case_below(m, (uint64_t)a->logits.vocab);
    a->seen_offset = offset;
    a->seen = seen;
}

static void biases(struct plumb_case_mem *m, struct plumb_sample *a)
{
    a->biases = a->logits.vocab / 10;
    int32_t *token = plumb_case_index(m, a->biases);
    double *value = plumb_case_bytes(m, (size_t)a->biases * sizeof *value);
    for (int64_t i = 0; i < a->biases; i++) {
        token[i] = (int32_t)((i * 7919) % a->logits.vocab);
        value[i] = i % 9 ? (double)plumb_case_below(m, 64) / 8 - 4 : -(double)INFINITY;
    }
    a->bias_token = token;
    plumb_case_in_values(m, &a->bias, NULL, PLUMB_CASE_STAT, "bias", a->biases, value);
}

static uint64_t *key(struct plumb_case_mem *m, int64_t count, uint64_t below)
{
    uint64_t *k = plumb_case_device_bytes(m, (size_t)count * sizeof *k);
    for (int64_t i = 0; i < count; i++)
        k[i] = plumb_case_below(m, below);
    return k;
}

static void setup(const struct plumb_case *c, struct plumb_case_mem *m, void *args)
{
    struct plumb_sample *a = args;
    *a = (struct plumb_sample){ .struct_bytes = sizeof *a,
                                .logits = logits(c, m),
                                .greedy = (c->dim[4] & GREEDY) != 0,
                                .top_k = c->dim[3],
                                .top_p = c->opt[0],
                                .min_p = c->opt[1],
                                .repetition_penalty = c->opt[2] };
    const int64_t M = a->logits.rows;
    if (c->dim[4] & SEEN) history(m, a);
    if (c->dim[4] & BIAS) biases(m, a);
    a->seed = key(m, M, UINT64_MAX);
    a->sequence = key(m, M, 1000);
    a->position = key(m, M, 1000);
    a->token = plumb_case_index_out(m, "token", M);
    plumb_case_out(m, &a->logp, NULL, PLUMB_CASE_STAT, "logp", M);
}

/* Reads the logits. */
static double bytes(const struct plumb_case *c, size_t elem, bool backward)
{
    (void)elem;
    return backward ? 0 : 4.0 * (double)(c->dim[0] * c->dim[1]);
}

static int fwd(const struct plumb_device *d, const void *a) { return plumb_sample(d, a); }
static void fwd_ref(const void *a, enum plumb_dtype round) { plumb_sample_ref(a, round); }
static size_t workspace(const struct plumb_device *d, const void *a)
{
    return plumb_sample_workspace(d, a);
}

extern const struct plumb_op plumb_op_sample[];
const struct plumb_op plumb_op_sample[] = {
    { .name = "sample",
      .cases = cases,
      .case_count = sizeof cases / sizeof *cases,
      .args_bytes = sizeof(struct plumb_sample),
      .setup = setup,
      .fwd = fwd,
      .fwd_ref = fwd_ref,
      .workspace = workspace,
      .work_offset = offsetof(struct plumb_sample, work),
      .bytes = bytes,
      .f32_only = true },
    { 0 },
};
