#include "tests/pairwise_batch.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- identities ---- */

static const struct plumb_pairwise_term sigmoid[1] = { { PLUMB_PAIR_SIGMOID, 1 } };
static const struct plumb_pairwise_term robust[1] = { { PLUMB_PAIR_ROBUST, 1 } };

/* Five pairs whose sequences are of `step` to 7 `step` tokens and one. */
static void fill_long(struct batch *b, int step)
{
    *b = (struct batch){ .B = 5 };
    for (int64_t r = 0; r < 2 * b->B; r++) {
        append(b, r, (double)(1 + step * (3 * r % 7)), 0, 0);
        for (int32_t t = b->offset[r]; t < b->offset[r + 1]; t++) {
            b->logp[t] = -1 - sin(1.3 * t);
            b->ref[t] = -1 - cos(2.1 * t);
        }
    }
}

static void fill(struct batch *b) { fill_long(b, 1); }

Test(pairwise, equal_policies_lose_ln_2)
{
    struct batch b;
    fill(&b);
    memcpy(b.ref, b.logp, sizeof b.ref);
    run(plumb_test_device(), with(sigmoid, 1, 0.25, 0, 5), &b);
    for (int64_t i = 0; i < b.B; i++) {
        cr_expect_eq(b.losses[i], (double)(float)log(2));
        cr_expect(b.rewards[2 * i] == 0 && b.rewards[2 * i + 1] == 0);
        cr_expect_eq(b.dlogp[b.offset[2 * i]], (double)(float)(-0.125 / 5));
    }
}

/* Sums stored by one call and used as the reference of the next. */
Test(pairwise, stored_reference_sums_of_the_same_policy_lose_ln_2_too)
{
    struct batch b;
    fill(&b);
    for (int32_t t = 0; t < b.offset[2 * b.B]; t++)
        b.logp[t] = -100.0 / 3 * (t + 1);
    run(plumb_test_device(), with(sigmoid, 1, 0.1, 0, 1), &b);
    double sums[10];
    memcpy(sums, b.logps, sizeof sums);
    b.sums = sums;
    run(plumb_test_device(), with(sigmoid, 1, 0.1, 0, 1), &b);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(b.losses[i], (double)(float)log(2));
}

/* -log s(z) + log s(-z) = -z; and the expectation of the robust loss over flipped labels is DPO. */
Test(pairwise, swapping_a_pair_does_what_the_formulas_promise)
{
    static struct batch b, swapped, r, rs;
    const double beta = 0.3, e = 0.2;
    fill(&b);
    swapped = (struct batch){ .B = b.B };
    for (int64_t q = 0; q < 2 * b.B; q++) {
        const int32_t n = b.offset[(q ^ 1) + 1] - b.offset[q ^ 1];
        append(&swapped, q, n, 0, 0);
        memcpy(swapped.logp + swapped.offset[q], b.logp + b.offset[q ^ 1], (size_t)n * 8);
        memcpy(swapped.ref + swapped.offset[q], b.ref + b.offset[q ^ 1], (size_t)n * 8);
    }
    r = b, rs = swapped;
    run(&plumb_ref, with(sigmoid, 1, beta, 0, 1), &b);
    run(&plumb_ref, with(sigmoid, 1, beta, 0, 1), &swapped);
    run(&plumb_ref, with(robust, 1, beta, e, 1), &r);
    run(&plumb_ref, with(robust, 1, beta, e, 1), &rs);
    for (int64_t i = 0; i < b.B; i++) {
        const double z = b.rewards[2 * i] - b.rewards[2 * i + 1];
        cr_expect_float_eq(b.losses[i] - swapped.losses[i], -z, 1e-14);
        cr_expect_float_eq((1 - e) * r.losses[i] + e * rs.losses[i], b.losses[i], 1e-14);
    }
}

Test(pairwise, the_squared_hinge_is_the_square_of_hinge)
{
    static const struct plumb_pairwise_term hinge[1] = { { PLUMB_PAIR_HINGE, 1 } },
                                            squared[1] = { { PLUMB_PAIR_HINGE_SQUARE, 1 } };
    static struct batch b, s;
    fill(&b);
    fill(&s);
    run(&plumb_ref, with(hinge, 1, 1, 0, 5), &b);
    run(&plumb_ref, with(squared, 1, 1, 0, 5), &s);
    int beyond = 0;
    for (int64_t i = 0; i < b.B; i++) {
        const int32_t t = b.offset[2 * i];
        cr_expect_float_eq(s.losses[i], b.losses[i] * b.losses[i], 1e-13);
        cr_expect_float_eq(s.dlogp[t], 2 * b.losses[i] * b.dlogp[t], 1e-14);
        beyond += b.losses[i] == 0;
    }
    cr_expect(beyond > 0 && beyond < b.B);
}

Test(pairwise, several_terms_are_their_weighted_sum)
{
    const struct plumb_pairwise_term terms[3] = { { PLUMB_PAIR_HINGE, 0.5 },
                                                  { PLUMB_PAIR_IPO, -0.25 },
                                                  { PLUMB_PAIR_SIGMOID, 2 } };
    static struct batch all, one;
    double losses[5] = { 0 }, first[5] = { 0 };
    fill(&all);
    run(&plumb_ref, with(terms, 3, 0.4, 0.1, 7), &all);
    for (int k = 0; k < 3; k++) {
        fill(&one);
        struct plumb_pairwise_term alone = { terms[k].loss, 1 };
        run(&plumb_ref, with(&alone, 1, 0.4, 0.1, 7), &one);
        for (int64_t i = 0; i < 5; i++) {
            losses[i] += terms[k].weight * one.losses[i];
            first[i] += terms[k].weight * one.dlogp[one.offset[2 * i]];
        }
    }
    for (int64_t i = 0; i < 5; i++) {
        cr_expect_float_eq(all.losses[i], losses[i], 1e-14);
        cr_expect_float_eq(all.dlogp[all.offset[2 * i]], first[i], 1e-14);
    }
}

static void check_bits(const struct batch *all, const struct batch *alone, int64_t i)
{
    const int32_t at = all->offset[2 * i], n = all->offset[2 * i + 2] - at;
    cr_expect_eq(alone->losses[0], all->losses[i]);
    cr_expect_arr_eq(alone->rewards, all->rewards + 2 * i, 2 * sizeof *alone->rewards);
    cr_expect_arr_eq(alone->dlogp, all->dlogp + at, (size_t)n * sizeof *alone->dlogp);
}

/* Numbers too wide for exact sums, and the same in reverse as the reference: log-ratios are what
 * rounding leaves of equal sums, and show any change in the order of additions. */
static void mirror(struct batch *b)
{
    for (int32_t t = 0; t < b->offset[2 * b->B]; t++)
        b->logp[t] = -exp(20 * sin(1.3 * t));
    for (int64_t r = 0; r < 2 * b->B; r++)
        for (int32_t t = b->offset[r], last = b->offset[r + 1] - 1; t < b->offset[r + 1]; t++)
            b->ref[t] = b->logp[b->offset[r] + last - t];
}

/* Neither the other pairs nor where in memory a pair comes to lie. */
Test(pairwise, a_pairs_bits_ignore_the_other_pairs)
{
    static struct batch all, alone;
    for (int step = 1; step < 400; step += 131) {
        fill_long(&all, step);
        mirror(&all);
        run(plumb_test_device(), with(sigmoid, 1, 0.01, 0.05, 3), &all);
        for (int64_t i = 0; i < all.B; i++) {
            const int32_t at = all.offset[2 * i], n = all.offset[2 * i + 2] - at;
            alone = (struct batch){ .B = 1 };
            alone.offset[1] = all.offset[2 * i + 1] - at, alone.offset[2] = n;
            memcpy(alone.logp, all.logp + at, (size_t)n * sizeof *alone.logp);
            memcpy(alone.ref, all.ref + at, (size_t)n * sizeof *alone.ref);
            run(plumb_test_device(), with(sigmoid, 1, 0.01, 0.05, 3), &alone);
            check_bits(&all, &alone, i);
        }
    }
}

Test(pairwise, a_device_takes_no_step_outside_its_arrays_for_a_wrong_offset)
{
    static struct batch good, bad;
    if (plumb_device_is_host(plumb_test_device())) return; /* there it is an error */
    const int32_t wrong[3] = { -5, 1 << 30, 1 };
    fill_long(&good, 50);
    run(plumb_test_device(), with(sigmoid, 1, 0.01, 0, 1), &good);
    for (int k = 0; k < 3; k++) {
        fill_long(&bad, 50);
        bad.offset[5] = wrong[k];
        run(plumb_test_device(), with(sigmoid, 1, 0.01, 0, 1), &bad);
        for (int64_t i = 0; i < 5; i++)
            cr_expect(i == 2 ? isnan(bad.losses[i]) : bad.losses[i] == good.losses[i],
                      "offset %d, pair %d: %g", wrong[k], (int)i, bad.losses[i]);
    }
}

/* ---- extremes ---- */

/* Every side of every pair has a target. */
static const double targets[2 * MAX_PAIRS] = { 0.75, 0.25, 1, 0, 0.5, 0.5, 0.125, 1, 0.5, 0.25 };
static const double zeros[2 * MAX_PAIRS];

/* Whatever some formula cannot do without. */
static void feed(struct batch *b)
{
    b->target = targets;
    b->anchor = b->kl = b->aot = b->aot_unpaired = zeros;
}

/* exo_pair compares with a label that must be smoothed. */
static bool defined(int id, double smoothing) { return id != PLUMB_PAIR_EXO_PAIR || smoothing > 0; }

/* A rounding of z moves e^-z by |z| roundings; a dozen more for the rest of a formula. What f32
 * cannot hold is saturated. */
static void expect_close(const char *what, double got, double truth, double z)
{
    if (fabs(truth) > FLT_MAX) { /* a gradient saturates before the division */
        cr_expect(isfinite(got) && got * (truth < 0 ? -1 : 1) >= FLT_MAX / 16, "%s: %g", what, got);
        return;
    }
    cr_expect(fabs(got - truth) <= (12 + fabs(z)) * FLT_EPSILON * fabs(truth) + FLT_MIN,
              "%s: %g for %g", what, got, truth);
}

Test(pairwise, log_ratios_of_ten_thousand_keep_their_digits)
{
    static struct batch cpu, ref;
    const double most[4] = { 1e4, -1e4, 200, -200 };
    for (int id = 0; plumb_pairwise_name(id); id++)
        for (int smoothed = 0; smoothed < 2; smoothed++) {
            const struct plumb_pairwise_term term = { (enum plumb_pairwise_loss)id, 1 };
            struct plumb_pairwise a = with(&term, 1, 0.1, 0.125 * smoothed, 4);
            a.alpha = 0.0009765625, a.gamma = 0.5;
            if (!defined(id, a.label_smoothing)) continue;
            cpu = (struct batch){ .B = 4 };
            feed(&cpu);
            for (int64_t i = 0; i < 4; i++) {
                append(&cpu, 2 * i, 3, most[i], 0);
                append(&cpu, 2 * i + 1, 2, -most[i], 0);
            }
            ref = cpu;
            run(plumb_test_device(), a, &cpu);
            run(&plumb_ref, a, &ref);
            for (int64_t i = 0; i < 4; i++) {
                const char *name = plumb_pairwise_name(id);
                const int32_t w = ref.offset[2 * i], l = ref.offset[2 * i + 1];
                expect_close(name, cpu.losses[i], ref.losses[i], 0.2 * most[i]);
                expect_close(name, cpu.dlogp[w], ref.dlogp[w], 0.2 * most[i]);
                expect_close(name, cpu.dlogp[l], ref.dlogp[l], 0.2 * most[i]);
            }
        }
}

Test(pairwise, the_largest_numbers_saturate)
{
    static struct batch b;
    for (int id = 0; plumb_pairwise_name(id); id++)
        for (int k = 0; k < 8; k++) {
            const struct plumb_pairwise_term term = { (enum plumb_pairwise_loss)id, 8 };
            const double smoothing = k & 4 ? 0.25 : 0, huge = k & 1 ? 3e38 : -3e38;
            if (!defined(id, smoothing)) continue;
            b = (struct batch){ .B = 1 };
            feed(&b);
            append(&b, 0, 1, huge, k & 2 ? -huge : huge);
            append(&b, 1, 1, -huge, k & 2 ? huge : -huge);
            struct plumb_pairwise a = with(&term, 1, 20, smoothing, 1e-3);
            a.alpha = 0.5, a.lambda = 2, a.discopop_tau = 0.05, a.gamma = 0.5;
            run(plumb_test_device(), a, &b);
            cr_expect(isfinite(b.losses[0]) && isfinite(b.dlogp[0]) && isfinite(b.dlogp[1]) &&
                          isfinite(b.rewards[0]) && isfinite(b.logps[0]) && isfinite(b.dkl[0]) &&
                          isfinite(b.dkl[1]),
                      "%s, %d: loss %g, gradients %g %g", plumb_pairwise_name(id), k, b.losses[0],
                      b.dlogp[0], b.dlogp[1]);
        }
}

Test(pairwise, nan_stays_in_its_pair_and_is_not_hidden)
{
    static struct batch b;
    for (int id = 0; plumb_pairwise_name(id); id++) {
        const struct plumb_pairwise_term term = { (enum plumb_pairwise_loss)id, 1 };
        const double sorted[5] = { 0, 0, NAN }; /* as plumb_aot leaves them */
        const double sides[10] = { 0, 0, 0, 0, NAN, NAN };
        struct plumb_pairwise a = with(&term, 1, 0.1, 0.1, 5);
        a.gamma = 0.5;
        fill(&b);
        feed(&b);
        b.aot = sorted, b.aot_unpaired = sides;
        b.logp[b.offset[4]] = b.logp[b.offset[5]] = NAN; /* some formulas see one side only */
        run(plumb_test_device(), a, &b);
        for (int64_t i = 0; i < b.B; i++)
            cr_expect_eq(!!isnan(b.losses[i]), i == 2, "%s", plumb_pairwise_name(id));
    }
}

Test(pairwise, evaluation_writes_no_gradient_and_an_empty_completion_counts_zero)
{
    const int32_t offset[3] = { 0, 2, 2 };
    float logp[2] = { -1, -2 }, losses[1], logps[2], rewards[2];
    struct plumb_pairwise a = with(sigmoid, 1, 1, 0, 1);
    a.B = 1, a.offset = offset;
    a.logp = (struct plumb_tensor){ logp, PLUMB_F32 };
    a.losses = (struct plumb_tensor){ losses, PLUMB_F32 };
    a.logps = (struct plumb_tensor){ logps, PLUMB_F32 };
    a.rewards = (struct plumb_tensor){ rewards, PLUMB_F32 };
    cr_assert_eq(plumb_pairwise(&plumb_cpu, &a), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(logps[0] == -3 && logps[1] == 0);
    cr_expect_float_eq(losses[0], log1p(exp(3)), 4e-7);
}

/* ---- misuse ---- */

Test(pairwise, knows_its_names)
{
    cr_expect_eq(plumb_pairwise_find("sigmoid"), 0);
    cr_expect_eq(plumb_pairwise_find("robust"), 3);
    cr_expect_eq(plumb_pairwise_find("sigmoidal"), -1);
    cr_expect_eq(plumb_pairwise_find(NULL), -1);
    cr_expect_str_eq(plumb_pairwise_name(2), "ipo");
    cr_expect_null(plumb_pairwise_name(1000));
}

Test(pairwise, names_the_argument_that_is_wrong)
{
    enum { CASES = 14 };
    const int32_t offset[3] = { 0, 1, 2 }, falling[3] = { 0, 2, 1 };
    const struct plumb_pairwise_term unknown[1] = { { (enum plumb_pairwise_loss)77, 1 } };
    const struct plumb_pairwise_term nan_weight[1] = { { PLUMB_PAIR_IPO, NAN } };
    float v[4] = { 0 }, o[8];
    struct plumb_pairwise good = with(sigmoid, 1, 0.1, 0, 1), bad[CASES];
    good.B = 1, good.offset = offset;
    good.logp = good.ref_logp = (struct plumb_tensor){ v, PLUMB_F32 };
    good.losses = (struct plumb_tensor){ o, PLUMB_F32 };
    good.logps = (struct plumb_tensor){ o + 2, PLUMB_F32 };
    good.rewards = (struct plumb_tensor){ o + 4, PLUMB_F32 };
    cr_assert_eq(plumb_pairwise(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    static const char *const word[CASES] = {
        "B=-1",
        "offset[2]=1",
        "offset is missing",
        "beta=0",
        "divisor=nan",
        "smoothing=0.6",
        "\"robust\" is undefined",
        "loss=77",
        "weight of loss \"ipo\"",
        "term_count=9",
        "terms is missing",
        "both given",
        "logp cannot be bfloat16",
        "struct_bytes",
    };
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].B = -1;
    bad[1].offset = falling;
    bad[2].offset = NULL;
    bad[3].beta = 0;
    bad[4].divisor = NAN;
    bad[5].label_smoothing = 0.6;
    bad[6].terms = robust, bad[6].label_smoothing = 0.5;
    bad[7].terms = unknown;
    bad[8].terms = nan_weight;
    bad[9].term_count = 9;
    bad[10].terms = NULL;
    bad[11].ref_sum = good.logp;
    bad[12].logp.dtype = PLUMB_BF16;
    bad[13].struct_bytes--;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_pairwise(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
