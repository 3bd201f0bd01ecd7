/* A batch of pairs for tests of the pairwise losses, laid out for any device. */
#pragma once
#include <criterion/criterion.h>
#include <plumb/device.h>
#include <plumb/pairwise.h>

#include "tests/tensor.h"

enum { MAX_PAIRS = 64, MAX_TOKENS = 1 << 14 };

/* A batch in doubles; run() lays it out for a device and reads the results back. */
struct batch {
    int64_t B;
    int32_t offset[2 * MAX_PAIRS + 1];
    double logp[MAX_TOKENS], ref[MAX_TOKENS];
    const double *sums;                     /* of the reference, instead of ref; or NULL */
    const double *margin, *target, *weight; /* (B), (2B), (B), or NULL */
    double losses[MAX_PAIRS], logps[2 * MAX_PAIRS], rewards[2 * MAX_PAIRS], dlogp[MAX_TOKENS];
};

/* A sequence of `length` tokens whose first carries the sum. */
static inline void append(struct batch *b, int64_t r, double length, double policy,
                          double reference)
{
    const int32_t first = b->offset[r], n = (int32_t)length;
    b->offset[r + 1] = first + n;
    cr_assert(n >= 1 && first + n <= MAX_TOKENS && r < 2 * MAX_PAIRS);
    for (int32_t t = first; t < first + n; t++)
        b->logp[t] = b->ref[t] = 0;
    b->logp[first] = policy, b->ref[first] = reference;
}

static inline struct plumb_pairwise with(const struct plumb_pairwise_term *terms, int64_t count,
                                         double beta, double smoothing, double divisor)
{
    return (struct plumb_pairwise){ .struct_bytes = sizeof(struct plumb_pairwise),
                                    .terms = terms,
                                    .term_count = count,
                                    .beta = beta,
                                    .label_smoothing = smoothing,
                                    .divisor = divisor,
                                    .discopop_tau = 1,
                                    .chosen_tokens = 1 };
}

static inline void run(const struct plumb_device *dev, struct plumb_pairwise a, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    const int64_t M = b->offset[2 * b->B];
    a.B = b->B;
    a.offset = plumb_test_copy(dev, b->offset, (size_t)(2 * a.B + 1) * sizeof *b->offset);
    a.logp = plumb_test_tensor(t, M, b->logp);
    if (b->sums)
        a.ref_sum = plumb_test_tensor(t, 2 * a.B, b->sums);
    else
        a.ref_logp = plumb_test_tensor(t, M, b->ref);
    if (b->margin) a.margin = plumb_test_tensor(t, a.B, b->margin);
    if (b->target) a.target = plumb_test_tensor(t, 2 * a.B, b->target);
    if (b->weight) a.weight = plumb_test_tensor(t, a.B, b->weight);
    a.losses = plumb_test_tensor(t, a.B, NULL);
    a.logps = plumb_test_tensor(t, 2 * a.B, NULL);
    a.rewards = plumb_test_tensor(t, 2 * a.B, NULL);
    a.dlogp = plumb_test_tensor(t, M, NULL);
    struct plumb_tensor *all[] = { &a.logp,    &a.ref_logp, &a.ref_sum, &a.losses, &a.logps,
                                   &a.rewards, &a.dlogp,    &a.margin,  &a.target, &a.weight };
    const int64_t count[] = { M, M, 2 * a.B, a.B, 2 * a.B, 2 * a.B, M, a.B, 2 * a.B, a.B };
    for (int i = 0; i < 10; i++)
        plumb_test_to(dev, all[i], count[i]);
    cr_assert_eq(plumb_pairwise(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 10; i++)
        plumb_test_from(dev, all[i], count[i]);
    for (int64_t i = 0; i < a.B; i++)
        b->losses[i] = plumb_test_get(&a.losses, i);
    for (int64_t i = 0; i < M; i++)
        b->dlogp[i] = plumb_test_get(&a.dlogp, i);
    for (int64_t i = 0; i < 2 * a.B; i++) {
        b->logps[i] = plumb_test_get(&a.logps, i);
        b->rewards[i] = plumb_test_get(&a.rewards, i);
    }
    for (int i = 0; i < 10; i++)
        plumb_test_free(all[i]);
}
