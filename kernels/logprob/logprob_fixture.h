/* A head with every output and gradient allocated, for the tests: random numbers that are the same
 * on every device, exact in bf16 where the head is bf16. Tests read and write memory of the host;
 * on a device with memory of its own the entries run on copies. */
#pragma once
#include <criterion/criterion.h>
#include <math.h>
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/logprob.h>
#include <plumb/rng.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/simd.h"

/* Arrays of a head, the upstream gradients among them. */
enum { HEAD_PARTS = 18, HEAD_UPSTREAM = 11, HEAD_UPSTREAM_END = 15 };
#define RUN(call) cr_assert_eq((call), PLUMB_OK, "%s", plumb_errmsg())

struct head {
    struct plumb_logprob a;
    const struct plumb_device *dev;
    enum plumb_dtype type; /* of x and w */
    int32_t *row, *target, *argmax;
    void *block[40];
    int blocks;
    struct plumb_logprob there; /* the copy on the device */
    void *copy[HEAD_PARTS + 1]; /* its memory, and its scratch */
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
    if (plumb_device_is_host(dev))
        h->a.work.data = head_bytes(h, plumb_logprob_workspace(dev, &h->a));
}

/* An array of the head: where its pointer lies in the argument struct, and its elements. */
struct head_part {
    size_t at;
    int64_t count;
    size_t bytes; /* of an element; 0 = a tensor, which knows */
};

static inline void head_parts(const struct plumb_logprob *a, struct head_part out[HEAD_PARTS])
{
#define HEAD_TENSOR(name, count)                                                                   \
    {                                                                                              \
        offsetof(struct plumb_logprob, name), count, 0                                             \
    }
#define HEAD_INDEX(name)                                                                           \
    {                                                                                              \
        offsetof(struct plumb_logprob, name), a->M, sizeof(int32_t)                                \
    }
    const struct head_part parts[HEAD_PARTS] = {
        HEAD_TENSOR(x, a->N * a->H),
        HEAD_TENSOR(w, a->V * a->H),
        HEAD_TENSOR(bias, a->V),
        HEAD_INDEX(row),
        HEAD_INDEX(target),
        HEAD_INDEX(argmax),
        HEAD_TENSOR(logp, a->M),
        HEAD_TENSOR(lse, a->M),
        HEAD_TENSOR(entropy, a->M),
        HEAD_TENSOR(log_sum_sq, a->M),
        HEAD_TENSOR(mean_logit, a->M),
        HEAD_TENSOR(dlogp, a->M),
        HEAD_TENSOR(dlse, a->M),
        HEAD_TENSOR(dentropy, a->M),
        HEAD_TENSOR(dmean, a->M),
        HEAD_TENSOR(dx, a->N * a->H),
        HEAD_TENSOR(dw, a->V * a->H),
        HEAD_TENSOR(dbias, a->V),
    };
#undef HEAD_TENSOR
#undef HEAD_INDEX
    memcpy(out, parts, sizeof parts);
}

static inline size_t head_part_bytes(const struct plumb_logprob *a, const struct head_part *p)
{
    const struct plumb_tensor *t = (const void *)((const char *)a + p->at);
    return (size_t)p->count * (p->bytes ? p->bytes : plumb_dtype_bytes(t->dtype));
}

/* Memory of the device as far off an alignment as `like` is. */
static inline void *head_copy(struct head *h, int part, const void *like, size_t bytes)
{
    if (!h->copy[part]) RUN(plumb_device_alloc(h->dev, bytes + 64, &h->copy[part]));
    return (char *)h->copy[part] + (uintptr_t)like % 64;
}

/* Some of the host's arrays to the device. */
static inline void head_send(struct head *h, int first, int end)
{
    struct head_part part[HEAD_PARTS];
    head_parts(&h->a, part);
    for (int k = first; k < end; k++) {
        void *here, *there;
        memcpy(&here, (char *)&h->a + part[k].at, sizeof here);
        if (!here) continue;
        there = head_copy(h, k, here, (size_t)part[k].count * sizeof(float));
        memcpy((char *)&h->there + part[k].at, &there, sizeof there);
        RUN(plumb_device_upload(h->dev, there, here, head_part_bytes(&h->a, &part[k])));
    }
    RUN(plumb_device_sync(h->dev));
}

/* At the end of an epilogue. */
static inline void head_send_gradients(struct head *h)
{
    if (!plumb_device_is_host(h->dev)) head_send(h, HEAD_UPSTREAM, HEAD_UPSTREAM_END);
}

/* And back, after an entry or at the beginning of an epilogue. */
static inline void head_down(struct head *h)
{
    struct head_part part[HEAD_PARTS];
    if (plumb_device_is_host(h->dev)) return;
    head_parts(&h->a, part);
    for (int k = 0; k < HEAD_PARTS; k++) {
        void *here, *there;
        memcpy(&here, (char *)&h->a + part[k].at, sizeof here);
        memcpy(&there, (char *)&h->there + part[k].at, sizeof there);
        if (here) RUN(plumb_device_download(h->dev, here, there, head_part_bytes(&h->a, &part[k])));
    }
}

typedef int head_entry(const struct plumb_device *dev, const struct plumb_logprob *a);

static inline int head_run(struct head *h, head_entry *entry)
{
    if (plumb_device_is_host(h->dev)) return entry(h->dev, &h->a);
    const size_t work = plumb_logprob_workspace(h->dev, &h->a);
    h->there = h->a;
    h->there.work.data = head_copy(h, HEAD_PARTS, (void *)4, work);
    head_send(h, 0, HEAD_PARTS);
    const int rc = entry(h->dev, &h->there);
    head_down(h);
    return rc;
}

static inline int head_fwd(struct head *h) { return head_run(h, plumb_logprob_fwd); }
static inline int head_bwd(struct head *h) { return head_run(h, plumb_logprob_bwd); }

static inline void head_release(struct head *h)
{
    for (int i = 0; i < h->blocks; i++)
        free(h->block[i]);
    for (int i = 0; i <= HEAD_PARTS; i++)
        if (h->copy[i]) plumb_device_free(h->dev, h->copy[i]);
    *h = (struct head){ 0 };
}
