#include <plumb/select.h>

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 256 };

struct batch {
    int64_t M;
    int32_t target[MAX];
    double key[MAX], logp[MAX], old[MAX], advantage[MAX], out[MAX], count;
};

static enum plumb_dtype dtype_of(const struct plumb_device *dev)
{
    return dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
}

static void append(struct batch *b, double key)
{
    cr_assert_lt(b->M, MAX);
    b->target[b->M] = 1;
    b->key[b->M++] = key;
}

struct array {
    struct plumb_tensor *at;
    int64_t count;
    double *in, *out;
};

static void arrays_to(const struct plumb_device *dev, struct array *all, int n)
{
    for (int i = 0; i < n; i++) {
        *all[i].at = plumb_test_tensor(dtype_of(dev), all[i].count, all[i].in);
        plumb_test_to(dev, all[i].at, all[i].count);
    }
}

static void arrays_back(const struct plumb_device *dev, struct array *all, int n)
{
    for (int i = 0; i < n; i++) {
        plumb_test_from(dev, all[i].at, all[i].count);
        for (int64_t k = 0; all[i].out && k < all[i].count; k++)
            all[i].out[k] = plumb_test_get(all[i].at, k);
        plumb_test_free(all[i].at);
    }
}

static void run(const struct plumb_device *dev, struct plumb_select a, struct batch *b)
{
    a.struct_bytes = sizeof a, a.M = b->M;
    a.target = plumb_test_copy(dev, b->target, sizeof b->target);
    struct array all[] = { { &a.key, a.M, b->key, NULL },
                           { &a.out, a.M, NULL, b->out },
                           { &a.count, 1, NULL, &b->count },
                           { &a.work, (int64_t)plumb_select_workspace(dev, &a) / 4 + 1, NULL,
                             NULL } };
    arrays_to(dev, all, 4);
    cr_assert_eq(plumb_select(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    arrays_back(dev, all, 4);
}

/* Keys of the covariance into b->key. */
static void covariance(const struct plumb_device *dev, struct plumb_covariance a, struct batch *b)
{
    a.struct_bytes = sizeof a, a.M = b->M;
    a.target = plumb_test_copy(dev, b->target, sizeof b->target);
    struct array all[] = { { &a.logp, a.M, b->logp, NULL },
                           { &a.advantage, a.M, b->advantage, NULL },
                           { &a.old_logp, a.M, b->old, NULL },
                           { &a.key, a.M, NULL, b->key },
                           { &a.work, (int64_t)plumb_covariance_workspace(dev, &a) / 4 + 1, NULL,
                             NULL } };
    arrays_to(dev, all, 5);
    cr_assert_eq(plumb_covariance(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    arrays_back(dev, all, 5);
}

/* Keys 1 .. 5: the quantile 0.6 is 3.4, linear between neighbours. */
Test(select, a_quantile_lies_between_its_neighbours)
{
    static const double from[5] = { 0, 0.25, 0.6, 0.75, 1 };
    static const int least[5] = { 1, 2, 4, 4, 5 };
    for (int i = 0; i < 5; i++) {
        struct batch b = { 0 };
        for (int k = 0; k < 5; k++)
            append(&b, 1 + (2 * k) % 5); /* 1 3 5 2 4 */
        append(&b, 100);
        b.target[5] = -1;
        run(plumb_test_device(), (struct plumb_select){ .quantile = from[i] }, &b);
        for (int k = 0; k < 5; k++)
            cr_expect_eq(b.out[k], b.key[k] >= least[i], "quantile %g", from[i]);
        cr_expect(b.out[5] == 0 && b.count == 6 - least[i]);
    }
}

Test(select, ties_are_taken_in_their_order_and_zeros_are_one)
{
    struct batch b = { 0 };
    static const double key[8] = { 2, 0.0, -1, -0.0, 3, 0.0, -0.0, -2 };
    for (int i = 0; i < 8; i++)
        append(&b, key[i]);
    run(plumb_test_device(), (struct plumb_select){ .top = true, .share = 0.5 }, &b);
    for (int i = 0; i < 8; i++) /* 2, 3 and the first two zeros */
        cr_expect_eq(b.out[i], i == 0 || i == 1 || i == 3 || i == 4, "token %d", i);
    cr_expect_eq(b.count, 4);
    run(plumb_test_device(), (struct plumb_select){ .top = true, .share = 0.01, .drop = true }, &b);
    for (int i = 0; i < 8; i++)
        cr_expect_eq(b.out[i], i != 4);
}

Test(select, what_has_no_order_is_not_hidden_and_minus_infinity_is_never_chosen)
{
    struct batch b = { 0 };
    append(&b, -INFINITY);
    append(&b, 1);
    append(&b, -INFINITY);
    run(plumb_test_device(), (struct plumb_select){ .top = true, .share = 1 }, &b);
    cr_expect(b.out[0] == 0 && b.out[1] == 1 && b.out[2] == 0 && b.count == 1);
    append(&b, NAN);
    run(plumb_test_device(), (struct plumb_select){ .top = true, .share = 1 }, &b);
    cr_expect(isnan(b.out[0]) && isnan(b.out[3]) && isnan(b.count));
    b.target[3] = -1;
    run(plumb_test_device(), (struct plumb_select){ .quantile = 0.9 }, &b);
    cr_expect(b.out[1] == 1 && b.count == 1);
    memset(b.target, -1, sizeof b.target);
    run(plumb_test_device(), (struct plumb_select){ .quantile = 0.9 }, &b);
    cr_expect(b.out[1] == 0 && b.count == 0);
}

Test(select, covariances_add_up_to_that_of_the_batch)
{
    struct batch b = { 0 };
    double product = 0, a = 0, l = 0, sum = 0;
    for (int i = 0; i < 40; i++) {
        append(&b, 0);
        b.logp[i] = -1 - sin(i), b.advantage[i] = cos(2.5 * i);
        product += b.logp[i] * b.advantage[i], a += b.advantage[i], l += b.logp[i];
    }
    covariance(&plumb_ref, (struct plumb_covariance){ 0 }, &b);
    for (int i = 0; i < 40; i++)
        sum += b.key[i];
    cr_expect_float_eq(sum / 40, product / 40 - a / 40 * (l / 40), 1e-15);
}

/* Clip-Cov (no golden: the published choice is random): tokens within the band that are not
 * clipped, each as often as the others. */
Test(select, clip_cov_chooses_evenly_among_the_tokens_of_its_band)
{
    enum { TOKENS = 60, STEPS = 400 };
    struct batch b = { 0 };
    bool inside[TOKENS];
    int chosen[TOKENS] = { 0 }, candidates = 0, per_step = 0;
    for (int i = 0; i < TOKENS; i++) {
        append(&b, 0);
        b.logp[i] = -1 - sin(i), b.advantage[i] = cos(2.5 * i);
        b.old[i] = b.logp[i] - (i % 5 == 0 ? 0.5 : 0.1) * (b.advantage[i] > 0 ? 1 : -1);
    }
    covariance(&plumb_ref, (struct plumb_covariance){ 0 }, &b);
    for (int i = 0; i < TOKENS; i++) {
        inside[i] = b.key[i] > 0.05 && b.key[i] < 0.5 && i % 5 != 0;
        candidates += inside[i];
    }
    cr_assert(candidates > 6 && candidates < 40);
    for (int step = 0; step < STEPS; step++) {
        const struct plumb_covariance c = { .random = true,
                                            .low = 0.05,
                                            .high = 0.5,
                                            .ratio_low = 0.8,
                                            .ratio_high = 1.2,
                                            .seed = 3,
                                            .step = (uint64_t)step };
        covariance(plumb_test_device(), c, &b);
        run(plumb_test_device(), (struct plumb_select){ .top = true, .share = 0.05, .drop = true },
            &b);
        per_step = 0;
        for (int i = 0; i < TOKENS; i++) {
            cr_expect(b.out[i] == 1 || inside[i], "token %d", i);
            chosen[i] += b.out[i] == 0, per_step += b.out[i] == 0;
        }
        cr_expect_eq(per_step, 3);
    }
    const double mean = (double)(STEPS * per_step) / candidates;
    for (int i = 0; i < TOKENS; i++) /* five standard deviations */
        cr_expect(!inside[i] || fabs(chosen[i] - mean) < 5 * sqrt(mean), "token %d: %d for %g", i,
                  chosen[i], mean);
}

Test(select, names_the_argument_that_is_wrong)
{
    float v[1] = { 1 }, o[1];
    const struct plumb_tensor in = { v, PLUMB_F32 }, out = { o, PLUMB_F32 };
    const struct plumb_select good = { .struct_bytes = sizeof good, .M = 1, .key = in, .out = out };
    static const char *const word[6] = { "M=-1",      "below 2^31",     "quantile=1.5",
                                         "share=nan", "key is missing", "out is missing" };
    struct plumb_select bad[6];
    cr_assert_eq(plumb_select(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 6; i++)
        bad[i] = good;
    bad[0].M = -1;
    bad[1].M = INT64_C(1) << 31;
    bad[2].quantile = 1.5;
    bad[3].top = true, bad[3].share = NAN;
    bad[4].key.data = NULL;
    bad[5].out.data = NULL;
    for (int i = 0; i < 6; i++) {
        cr_expect_eq(plumb_select(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
    cr_expect_eq(plumb_select(&plumb_ref, &good), PLUMB_EINVAL);
    struct plumb_covariance c = { .struct_bytes = sizeof c,
                                  .M = 1,
                                  .logp = in,
                                  .advantage = in,
                                  .key = out };
    cr_assert_eq(plumb_covariance(&plumb_cpu, &c), PLUMB_OK, "%s", plumb_errmsg());
    c.random = true, c.low = 2, c.high = 1;
    cr_expect_eq(plumb_covariance(&plumb_cpu, &c), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "low=2 "), "message was: %s", plumb_errmsg());
    c.high = 3, c.old_logp = in, c.ratio_low = 1.5, c.ratio_high = 0.5;
    cr_expect_eq(plumb_covariance(&plumb_cpu, &c), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "ratio_low=1.5"), "message was: %s", plumb_errmsg());
}
