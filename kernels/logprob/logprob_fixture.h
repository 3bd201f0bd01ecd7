/* A head with every output and gradient allocated, for the tests: random numbers that are the same
 * on every device, exact in bf16 where the head is bf16. */
#pragma once
#include <criterion/criterion.h>
#include <math.h>
#include <plumb/logprob.h>
#include <plumb/rng.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/simd.h"

struct head {
    struct plumb_logprob a;
    const struct plumb_device *dev;
    enum plumb_dtype type; /* of x and w */
    int32_t *row, *target, *argmax;
    void *block[40];
    int blocks;
};

static inline double head_get(const struct plumb_tensor *t, int64_t i)
{
    if (t->dtype == PLUMB_F64) return ((const double *)t->data)[i];
    return (double)plumb_load(t->data, t->dtype == PLUMB_BF16, i);
}

static inline void head_set(const struct plumb_tensor *t, int64_t i, double v)
{
    if (t->dtype == PLUMB_F64)
        ((double *)t->data)[i] = v;
    else
        plumb_store(t->data, t->dtype == PLUMB_BF16, i, (float)v);
}

static inline void *head_bytes(struct head *h, size_t n)
{
    cr_assert_lt(h->blocks, 40);
    void *p = calloc(n ? n : 1, 1);
    cr_assert_not_null(p);
    return h->block[h->blocks++] = p;
}

/* `type` on the cpu, f64 on ref; zeroed. */
static inline struct plumb_tensor head_tensor(struct head *h, int64_t n, enum plumb_dtype type)
{
    if (h->dev->kind == PLUMB_DEV_REF) type = PLUMB_F64;
    return (struct plumb_tensor){ head_bytes(h, (size_t)n * plumb_dtype_bytes(type)), type };
}

/* Uniform in [-size, size), keyed by `seed`, rounded to `type`. */
static inline struct plumb_tensor head_random(struct head *h, int64_t n, enum plumb_dtype type,
                                              uint64_t seed, double size)
{
    const struct plumb_tensor t = head_tensor(h, n, type);
    const struct plumb_rng_key key = { .seed = seed, .purpose = PLUMB_RNG_TEST };
    for (int64_t i = 0; i < n; i++) {
        const double v = size * (2 * plumb_rng_uniform(&key, (uint64_t)i) - 1);
        head_set(&t, i, plumb_dtype_round(type, v));
    }
    return t;
}

static inline void head_outputs(struct head *h, int64_t M)
{
    h->a.logp = head_tensor(h, M, PLUMB_F32);
    h->a.lse = head_tensor(h, M, PLUMB_F32);
    h->a.entropy = head_tensor(h, M, PLUMB_F32);
    h->a.log_sum_sq = head_tensor(h, M, PLUMB_F32);
    h->a.mean_logit = head_tensor(h, M, PLUMB_F32);
    h->a.argmax = h->argmax = head_bytes(h, (size_t)M * sizeof(int32_t));
}

static inline void head_gradients(struct head *h)
{
    const struct plumb_logprob *a = &h->a;
    h->a.dlogp = head_random(h, a->M, PLUMB_F32, 11, 1);
    h->a.dlse = head_random(h, a->M, PLUMB_F32, 12, 1);
    h->a.dentropy = head_random(h, a->M, PLUMB_F32, 13, 1);
    h->a.dmean = head_random(h, a->M, PLUMB_F32, 14, 1);
    h->a.dx = head_tensor(h, a->N * a->H, PLUMB_F32);
    h->a.dw = head_tensor(h, a->V * a->H, PLUMB_F32);
    h->a.dbias = head_tensor(h, a->V, PLUMB_F32);
}

/* Pair i has row i * N / M (so rows come in order) and a random target. */
static inline void head_init(struct head *h, const struct plumb_device *dev, enum plumb_dtype type,
                             int64_t N, int64_t H, int64_t V, int64_t M)
{
    *h = (struct head){ .dev = dev, .type = type };
    h->a = (struct plumb_logprob){ .struct_bytes = sizeof h->a,
                                   .N = N,
                                   .H = H,
                                   .V = V,
                                   .M = M,
                                   .logit_scale = 1,
                                   .temperature = 1 };
    h->a.x = head_random(h, N * H, type, 1, 2);
    h->a.w = head_random(h, V * H, type, 2, 1);
    h->a.bias = head_random(h, V, PLUMB_F32, 3, 1);
    h->a.row = h->row = head_bytes(h, (size_t)M * sizeof(int32_t));
    h->a.target = h->target = head_bytes(h, (size_t)M * sizeof(int32_t));
    const struct plumb_rng_key key = { .seed = 4, .purpose = PLUMB_RNG_TEST };
    for (int64_t i = 0; i < M; i++) {
        h->row[i] = (int32_t)(i * N / M);
        h->target[i] = (int32_t)plumb_rng_below(&key, (uint64_t)i, (uint64_t)V);
    }
    head_outputs(h, M);
    head_gradients(h);
    h->a.work.data = head_bytes(h, plumb_logprob_workspace(dev, &h->a));
}

static inline void head_release(struct head *h)
{
    for (int i = 0; i < h->blocks; i++)
        free(h->block[i]);
    *h = (struct head){ 0 };
}

#define RUN(call) cr_assert_eq((call), PLUMB_OK, "%s", plumb_errmsg())
