/* A problem of attention for tests, and its way to a device and back. */
#pragma once
#include <criterion/criterion.h>
#include <math.h>
#include <plumb/attention.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/simd.h"
#include "tests/tensor.h"

/* A problem in f32 or bf16 with its own storage; `rows` tokens a tensor, dense. */
struct problem {
    struct plumb_attention a;
    int32_t start[16], length[16], parent[16];
};

static inline float noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 40) / (1 << 23) - 1);
}

static inline struct plumb_tensor filled(int64_t count, enum plumb_dtype t, uint64_t seed)
{
    struct plumb_tensor x = { calloc((size_t)count + 1, plumb_dtype_bytes(t)), t };
    for (int64_t i = 0; i < count; i++) {
        const float v = 2 * noise(&seed);
        if (t == PLUMB_F64)
            ((double *)x.data)[i] = (double)v;
        else
            plumb_store(x.data, t == PLUMB_BF16, i, v);
    }
    return x;
}

static inline double value(const struct plumb_tensor *t, int64_t i)
{
    return t->dtype == PLUMB_F64 ? ((double *)t->data)[i]
                                 : (double)plumb_load(t->data, t->dtype == PLUMB_BF16, i);
}

/* Scratch that serves the device under test as well. */
static inline size_t work_bytes(const struct plumb_attention *a)
{
    size_t most = 0;
    for (int i = 0; i < 4; i++) {
        const struct plumb_device *dev = i & 1 ? &plumb_cpu : plumb_test_device();
        const size_t n = plumb_attention_workspace(dev, a, i & 2);
        most = n > most ? n : most;
    }
    return most;
}

static inline void init(struct problem *p, int64_t Hq, int64_t Hkv, int64_t K, enum plumb_dtype t,
                        int S, const int *length, const int *parent)
{
    *p = (struct problem){ .a = { .struct_bytes = sizeof p->a,
                                  .Hq = Hq,
                                  .Hkv = Hkv,
                                  .K = K,
                                  .scale = 1 / sqrt((double)K) } };
    struct plumb_attention *a = &p->a;
    for (int s = 0; s < S; s++) {
        p->start[s] = (int32_t)a->N;
        p->length[s] = length[s];
        p->parent[s] = parent[s];
        a->N += length[s];
    }
    a->forest = (struct plumb_forest){ S, p->start, p->length, p->parent };
    struct plumb_tensor *const in[] = { &a->q, &a->k, &a->v, &a->d_o }, *const out[] = {
        &a->o, &a->dq, &a->dk, &a->dv
    };
    for (uint64_t i = 0; i < 4; i++) {
        *in[i] = filled(a->N * Hq * K, t, 7 + i);
        *out[i] = filled(a->N * Hq * K, t, 17);
    }
    a->lse = filled(a->N * Hq, t == PLUMB_F64 ? t : PLUMB_F32, 1);
    a->work.data = malloc(work_bytes(a));
}

static inline void release(struct problem *p)
{
    struct plumb_attention *a = &p->a;
    struct plumb_tensor *const all[] = { &a->q,  &a->k,  &a->v,  &a->d_o, &a->o,
                                         &a->dq, &a->dk, &a->dv, &a->lse, &a->work };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->data);
}

static inline bool same_rows(const struct plumb_tensor *x, int64_t i, const struct plumb_tensor *y,
                             int64_t j, int64_t rows, int64_t width)
{
    const int64_t size = width * (int64_t)plumb_dtype_bytes(x->dtype);
    return !memcmp((char *)x->data + i * size, (char *)y->data + j * size, (size_t)(rows * size));
}

static inline void copy_rows(struct plumb_tensor *x, int64_t i, const struct plumb_tensor *y,
                             int64_t j, int64_t rows, int64_t width)
{
    const int64_t size = width * (int64_t)plumb_dtype_bytes(x->dtype);
    memcpy((char *)x->data + i * size, (char *)y->data + j * size, (size_t)(rows * size));
}

/* The path of segment `leaf` as one root of its own, with the same inputs. */
static inline void alone(struct problem *one, const struct problem *p, int leaf)
{
    int chain[16], n = 0, length = 0, root = -1;
    for (int s = leaf; s >= 0; s = p->parent[s]) {
        chain[n++] = s;
        length += p->length[s];
    }
    const struct plumb_attention *a = &p->a;
    init(one, a->Hq, a->Hkv, a->K, a->q.dtype, 1, &length, &root);
    one->a.window = a->window;
    one->a.softcap = a->softcap;
    int64_t row = 0;
    for (int i = n - 1; i >= 0; row += p->length[chain[i--]]) {
        const int64_t from = p->start[chain[i]], rows = p->length[chain[i]];
        copy_rows(&one->a.q, row, &a->q, from, rows, a->Hq * a->K);
        copy_rows(&one->a.k, row, &a->k, from, rows, a->Hkv * a->K);
        copy_rows(&one->a.v, row, &a->v, from, rows, a->Hkv * a->K);
        copy_rows(&one->a.d_o, row, &a->d_o, from, rows, a->Hq * a->K);
    }
}

/* Forward, and backward if wanted. */
static inline void run(const struct plumb_device *dev, struct problem *p, bool backward)
{
    struct plumb_attention *a = &p->a;
    const size_t wide = (size_t)(a->N * a->Hq * a->K) * plumb_dtype_bytes(a->q.dtype);
    const size_t ints = (size_t)a->forest.S * sizeof(int32_t);
    struct plumb_test_array list[] = {
        { .at = &a->q.data, .bytes = wide },
        { .at = &a->k.data, .bytes = wide },
        { .at = &a->v.data, .bytes = wide },
        { .at = &a->d_o.data, .bytes = wide },
        { .at = &a->o.data, .bytes = wide },
        { .at = &a->dq.data, .bytes = wide },
        { .at = &a->dk.data, .bytes = wide },
        { .at = &a->dv.data, .bytes = wide },
        { .at = &a->lse.data, .bytes = (size_t)(a->N * a->Hq) * sizeof(float) },
        { .at = &a->work.data, .bytes = work_bytes(a) },
        { .at = &a->forest.start, .bytes = ints },
        { .at = &a->forest.length, .bytes = ints },
        { .at = &a->forest.parent, .bytes = ints },
        { .at = &a->q_start, .bytes = ints },
        { .at = &a->q_count, .bytes = ints },
    };
    const int n = sizeof list / sizeof *list;
    plumb_test_arrays_to(dev, list, n);
    cr_assert_eq(plumb_attention_fwd(dev, a), PLUMB_OK, "%s", plumb_errmsg());
    if (backward) cr_assert_eq(plumb_attention_bwd(dev, a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_arrays_back(dev, list, n);
}
