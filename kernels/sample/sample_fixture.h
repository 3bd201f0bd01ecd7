/* Rows of logits with their keys and options, for the tests of sampling. Include
 * tests/tensor.h before. */
#pragma once
#include <criterion/criterion.h>
#include <math.h>
#include <plumb/device.h>
#include <plumb/rng.h>
#include <plumb/sample.h>
#include <stdlib.h>
#include <string.h>

enum { SEEN = 24 }; /* tokens that a row has seen */

/* M rows of logits with their keys, options in `a`; every array on the host. */
struct rows {
    struct plumb_sample a;
    int64_t M, V;
    float *z, *bias;
    int32_t *seen, *offset, *bias_token, *token;
    uint64_t *seed, *sequence, *position;
    float *logp;
    double *wide; /* bias, and logp, as ref wants them */
    double *logp_wide;
};

static inline void *bytes(size_t n)
{
    void *p = calloc(n ? n : 1, 1);
    cr_assert_not_null(p);
    return p;
}

static inline double uniform(uint64_t stream, int64_t i)
{
    const struct plumb_rng_key key = { .seed = stream, .purpose = PLUMB_RNG_TEST };
    return plumb_rng_uniform(&key, (uint64_t)i);
}

static inline struct rows rows_of(int64_t M, int64_t V)
{
    struct rows r = { .M = M, .V = V };
    r.a = (struct plumb_sample){ .struct_bytes = sizeof r.a,
                                 .logits = { NULL, M, V, V, 0 },
                                 .top_p = 1,
                                 .repetition_penalty = 1 };
    r.z = bytes((size_t)(M * V) * sizeof *r.z);
    r.bias = bytes((size_t)V * sizeof *r.bias);
    r.bias_token = bytes((size_t)V * sizeof *r.bias_token);
    r.offset = bytes((size_t)(M + 1) * sizeof *r.offset);
    r.seen = bytes((size_t)(M * SEEN) * sizeof *r.seen);
    r.token = bytes((size_t)M * sizeof *r.token);
    r.seed = bytes((size_t)M * sizeof *r.seed);
    r.sequence = bytes((size_t)M * sizeof *r.sequence);
    r.position = bytes((size_t)M * sizeof *r.position);
    r.logp = bytes((size_t)M * sizeof *r.logp);
    r.wide = bytes((size_t)V * sizeof *r.wide);
    r.logp_wide = bytes((size_t)M * sizeof *r.logp_wide);
    for (int64_t m = 0; m < M; m++) {
        r.seed[m] = 11;
        r.sequence[m] = (uint64_t)(m % 7);
        r.position[m] = (uint64_t)m;
        r.offset[m + 1] = (int32_t)((m + 1) * SEEN);
        for (int64_t i = 0; i < SEEN; i++) /* some of them twice */
            r.seen[m * SEEN + i] = (int32_t)((i * i + 3 * m) % V);
    }
    return r;
}

/* Bell-shaped logits. */
static inline void fill(struct rows *r, double spread)
{
    for (int64_t i = 0; i < r->M * r->V; i++)
        r->z[i] = (float)(spread * (uniform(1, i) + uniform(2, i) + uniform(3, i) - 1.5));
}

static inline void add_penalty(struct rows *r, double penalty)
{
    r->a.repetition_penalty = penalty;
    r->a.seen_offset = r->offset;
    r->a.seen = r->seen;
}

static inline void add_biases(struct rows *r)
{
    for (int64_t v = 2; v < r->V; v += 5) {
        r->bias_token[r->a.biases] = (int32_t)v;
        r->bias[r->a.biases++] = v % 15 == 2 ? -INFINITY : (float)(v % 7) / 2 - 1.5f;
    }
}

static inline void release(struct rows *r)
{
    void *all[] = { r->z,    r->bias,     r->bias_token, r->offset, r->seen, r->token,
                    r->seed, r->sequence, r->position,   r->logp,   r->wide, r->logp_wide };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Into token and logp. */
static inline void run(struct rows *r)
{
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_sample a = r->a;
    const size_t M = (size_t)r->M, keys = M * sizeof(uint64_t);
    a.logits.z = r->z;
    a.bias_token = r->bias_token;
    a.bias = (struct plumb_tensor){ r->bias, PLUMB_F32 };
    a.seed = r->seed, a.sequence = r->sequence, a.position = r->position;
    a.token = r->token;
    a.logp = (struct plumb_tensor){ r->logp, PLUMB_F32 };
    const size_t work = plumb_sample_workspace(dev, &a);
    a.work.data = bytes(work);
    void *scratch = a.work.data;
    struct plumb_test_array list[] = {
        { &a.logits.z, M * (size_t)r->V * sizeof(float) },
        { &a.bias_token, (size_t)a.biases * sizeof(int32_t) },
        { &a.bias.data, (size_t)a.biases * sizeof(float) },
        { &a.seed, keys },
        { &a.sequence, keys },
        { &a.position, keys },
        { &a.token, M * sizeof(int32_t) },
        { &a.logp.data, M * sizeof(float) },
        { &a.work.data, work },
        { &a.seen_offset, (M + 1) * sizeof(int32_t) },
        { &a.seen, M * SEEN * sizeof(int32_t) },
    };
    const int arrays = sizeof list / sizeof *list - (a.seen_offset ? 0 : 2);
    plumb_test_arrays_to(dev, list, arrays);
    cr_assert_eq(plumb_sample(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_arrays_back(dev, list, arrays);
    free(scratch);
}
