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
    const double *sums;                             /* of the reference, instead of ref; or NULL */
    const double *margin, *target, *weight;         /* (B), (2B), (B), or NULL */
    const double *anchor, *kl, *aot, *aot_unpaired; /* (2B), (2B), (B), (2B), or NULL */
    const double *token_weight;                     /* by token, or NULL */
    double losses[MAX_PAIRS], logps[2 * MAX_PAIRS], rewards[2 * MAX_PAIRS], dlogp[MAX_TOKENS];
    double dkl[2 * MAX_PAIRS];
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
    const struct {
        struct plumb_tensor *t;
        const double *from; /* of an input */
        double *to;         /* of an output */
        int64_t count;
    } all[] = { { &a.logp, b->logp, NULL, M },
                { &a.ref_logp, b->sums ? NULL : b->ref, NULL, M },
                { &a.ref_sum, b->sums, NULL, 2 * a.B },
                { &a.margin, b->margin, NULL, a.B },
                { &a.target, b->target, NULL, 2 * a.B },
                { &a.weight, b->weight, NULL, a.B },
                { &a.anchor_sum, b->anchor, NULL, 2 * a.B },
                { &a.kl, b->kl, NULL, 2 * a.B },
                { &a.aot, b->aot, NULL, a.B },
                { &a.aot_unpaired, b->aot_unpaired, NULL, 2 * a.B },
                { &a.token_weight, b->token_weight, NULL, M },
                { &a.losses, NULL, b->losses, a.B },
                { &a.logps, NULL, b->logps, 2 * a.B },
                { &a.rewards, NULL, b->rewards, 2 * a.B },
                { &a.dlogp, NULL, b->dlogp, M },
                { &a.dkl, NULL, b->dkl, 2 * a.B } };
    const int count = sizeof all / sizeof *all;
    for (int i = 0; i < count; i++) {
        if (!all[i].from && !all[i].to) continue;
        *all[i].t = plumb_test_tensor(t, all[i].count, all[i].from);
        plumb_test_to(dev, all[i].t, all[i].count);
    }
    cr_assert_eq(plumb_pairwise(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < count; i++) {
        if (!all[i].from && !all[i].to) continue;
        plumb_test_from(dev, all[i].t, all[i].count);
        for (int64_t k = 0; all[i].to && k < all[i].count; k++)
            all[i].to[k] = plumb_test_get(all[i].t, k);
        plumb_test_free(all[i].t);
    }
}
