/* What the measurements of the head share: tensors, and the bare matrix products of its schedules,
 * chunk by chunk as plumb_logprob_plan lays them out. */
#pragma once
#include <math.h>
#include <plumb/logprob.h>
#include <plumb/matmul.h>
#include <plumb/rng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/logprob/logprob_plan.h"
#include "kernels/simd.h"

struct bench {
    struct plumb_logprob a;
    struct plumb_logprob_plan plan;
    char *scratch; /* of the products: laid out as the head's own */
    float *logits; /* (N,V), for DENSE alone */
};

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void must(int rc)
{
    if (rc == PLUMB_OK) return;
    fprintf(stderr, "bench: %s\n", plumb_errmsg());
    exit(1);
}

static inline void *take(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "bench: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memset(p, 0, bytes);
}

static inline struct plumb_tensor normal(int64_t n, enum plumb_dtype type, uint64_t seed,
                                         double size)
{
    const struct plumb_tensor t = { take((size_t)n * plumb_dtype_bytes(type)), type };
    const struct plumb_rng_key key = { .seed = seed, .purpose = PLUMB_RNG_TEST };
    static float some[65521]; /* a prime: rows of any width differ */
    for (int64_t i = 0; i < 65521; i++)
        some[i] = (float)(size * plumb_rng_normal(&key, (uint64_t)i));
    for (int64_t i = 0; i < n; i++)
        plumb_store(t.data, type == PLUMB_BF16, i, some[i % 65521]);
    return t;
}

static inline struct plumb_tensor part(const struct plumb_tensor *t, int64_t row, int64_t width)
{
    return (struct plumb_tensor){
        (char *)t->data + (size_t)(row * width) * plumb_dtype_bytes(t->dtype), t->dtype
    };
}

/* The products of one slice: z = x W^T, or dX += dZ W and dW += dZ^T x. */
static inline void logits_of(const struct bench *b, struct plumb_tensor x, int64_t rows,
                             int64_t from, int64_t width, float *z)
{
    const struct plumb_matmul m = { .struct_bytes = sizeof m,
                                    .M = rows,
                                    .N = width,
                                    .K = b->a.H,
                                    .a = x,
                                    .b = part(&b->a.w, from, b->a.H),
                                    .trans_b = true,
                                    .c = { z, PLUMB_F32 },
                                    .batch_invariant = true };
    must(plumb_matmul(&plumb_cpu, &m));
}

static inline void gradients_of(const struct bench *b, struct plumb_tensor x,
                                struct plumb_tensor dz, int64_t stride, float *dx, int64_t rows,
                                int64_t from, int64_t width)
{
    const struct plumb_matmul to_x = { .struct_bytes = sizeof to_x,
                                       .M = rows,
                                       .N = b->a.H,
                                       .K = width,
                                       .a = dz,
                                       .lda = stride,
                                       .b = part(&b->a.w, from, b->a.H),
                                       .c = { dx, PLUMB_F32 },
                                       .accumulate = from > 0 };
    const struct plumb_matmul to_w = { .struct_bytes = sizeof to_w,
                                       .M = width,
                                       .N = b->a.H,
                                       .K = rows,
                                       .a = dz,
                                       .lda = stride,
                                       .trans_a = true,
                                       .b = x,
                                       .c = part(&b->a.dw, from, b->a.H),
                                       .accumulate = true };
    must(plumb_matmul(&plumb_cpu, &to_x));
    must(plumb_matmul(&plumb_cpu, &to_w));
}

static inline int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

/* One chunk's products; `again`: backward makes the logits too. */
static inline void chunk(const struct bench *b, const struct plumb_logprob_layout *l, int64_t first,
                         int64_t rows, bool forward, bool backward, bool again)
{
    const struct plumb_logprob_plan *p = &b->plan;
    const struct plumb_tensor x = part(&b->a.x, first, b->a.H);
    const struct plumb_tensor dz = { b->scratch + l->dz, b->a.x.dtype };
    const bool kept = l == &p->kept;
    float *z = (float *)(void *)(b->scratch + l->z), *dx = (float *)(void *)(b->scratch + l->dx);
    for (int64_t v = 0; v < p->vocab && forward; v += p->slice)
        logits_of(b, x, rows, v, least(p->slice, p->vocab - v), kept ? z + v * rows : z);
    for (int64_t v = 0; v < p->vocab && backward; v += p->slice) {
        const int64_t width = least(p->slice, p->vocab - v);
        if (again) logits_of(b, x, rows, v, width, z);
        gradients_of(b, x, dz, p->dz_stride, dx, rows, v, width);
    }
}

/* All products of a schedule, in chunks of `rows`. */
static inline void products(const struct bench *b, const struct plumb_logprob_layout *l,
                            int64_t rows, bool backward)
{
    const bool again = l == &b->plan.streamed;
    for (int64_t n = 0; n < b->a.N; n += rows)
        chunk(b, l, n, least(rows, b->a.N - n), true, backward, again);
}
