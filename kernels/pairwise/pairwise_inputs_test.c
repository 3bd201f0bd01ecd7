/* What the pairwise losses read beside log-probs, beta and smoothing: divergences, token weights, a
 * second anchor, KLs, sorted differences. */
#include "tests/pairwise_batch.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const struct plumb_pairwise_term sigmoid[1] = { { PLUMB_PAIR_SIGMOID, 1 } };
static const struct plumb_pairwise_term ipo[1] = { { PLUMB_PAIR_IPO, 1 } };

static void one_pair(struct batch *b, double uw, double ul)
{
    *b = (struct batch){ .B = 1 };
    append(b, 0, 2, uw, 0);
    append(b, 1, 3, ul, 0);
}

static struct plumb_pairwise under(const struct plumb_pairwise_term *term,
                                   enum plumb_f_divergence f)
{
    struct plumb_pairwise a = with(term, 1, 0.1, 0, 1);
    a.f_divergence = f;
    a.f_alpha_divergence_coef = 0.5;
    return a;
}

/* ---- divergences ---- */

Test(pairwise_inputs, links_have_the_values_of_their_definition)
{
    static struct batch b;
    const double u = 1.5, v = -0.75;
    const double h[5] = { u - v, exp(-v) - exp(-u), log(1 + exp(-v)) - log(1 + exp(-u)),
                          (exp(-0.5 * u) - exp(-0.5 * v)) / -0.5, exp(u) + u - exp(v) - v };
    for (int f = 0; f < PLUMB_F_DIVERGENCES; f++) {
        one_pair(&b, u, v);
        run(plumb_test_device(), under(sigmoid, (enum plumb_f_divergence)f), &b);
        cr_expect_float_eq(b.losses[0], log1p(exp(-0.1 * h[f])), 2e-7, "%d: %g", f, b.losses[0]);
        cr_expect_float_eq(b.rewards[0], 0.15, 1e-7); /* of the log-ratio itself */
    }
}

/* In f32 both exponentials overflow; their difference does not, or has at least a sign. */
Test(pairwise_inputs, links_agree_with_the_oracle_where_f32_would_overflow)
{
    static struct batch device, ref;
    const double u[6][2] = { { -100, -100.5 }, { -100.5, -100 }, { -200, -200 },
                             { 200, -200 },    { -200, 200 },    { -60, -60.0009765625 } };
    for (int f = 0; f < PLUMB_F_DIVERGENCES; f++)
        for (int i = 0; i < 12; i++) {
            one_pair(&ref, u[i / 2][0], u[i / 2][1]);
            one_pair(&device, u[i / 2][0], u[i / 2][1]);
            const struct plumb_pairwise a = under(i % 2 ? ipo : sigmoid,
                                                  (enum plumb_f_divergence)f);
            run(&plumb_ref, a, &ref);
            run(plumb_test_device(), a, &device);
            const double got[3] = { device.losses[0], device.dlogp[0], device.dlogp[2] };
            const double truth[3] = { ref.losses[0], ref.dlogp[0], ref.dlogp[2] };
            for (int k = 0; k < 3; k++)
                if (fabs(truth[k]) > FLT_MAX)
                    cr_expect(isfinite(got[k]) && got[k] * (truth[k] < 0 ? -1 : 1) >= FLT_MAX / 16,
                              "%d, %d: %g for %g", f, i, got[k], truth[k]);
                else
                    cr_expect(fabs(got[k] - truth[k]) <= 1e-4 * fabs(truth[k]) + FLT_MIN,
                              "%d, %d: %g for %g", f, i, got[k], truth[k]);
        }
}

Test(pairwise_inputs, links_of_the_largest_log_ratios_are_numbers)
{
    static struct batch b;
    for (int f = 0; f < PLUMB_F_DIVERGENCES; f++)
        for (int id = 0; plumb_pairwise_name(id); id++)
            for (int k = 0; k < 4 && plumb_pairwise_takes_divergence(id); k++) {
                const struct plumb_pairwise_term term = { (enum plumb_pairwise_loss)id, 8 };
                struct plumb_pairwise a = under(&term, (enum plumb_f_divergence)f);
                a.label_smoothing = 0.25, a.gamma = 2, a.f_alpha_divergence_coef = 3;
                one_pair(&b, k & 1 ? 3e38 : -3e38, k & 2 ? 3e38 : -3e38);
                run(plumb_test_device(), a, &b);
                cr_expect(isfinite(b.losses[0]) && isfinite(b.dlogp[0]) && isfinite(b.dlogp[2]),
                          "%s, %d, %d: loss %g, gradients %g %g", plumb_pairwise_name(id), f, k,
                          b.losses[0], b.dlogp[0], b.dlogp[2]);
            }
}

Test(pairwise_inputs, losses_of_one_log_ratio_keep_it_under_a_divergence)
{
    static struct batch plain, linked;
    for (int id = 0; id < PLUMB_PAIR_SFT; id++) {
        const struct plumb_pairwise_term term = { (enum plumb_pairwise_loss)id, 1 };
        const bool takes = id <= PLUMB_PAIR_EXO_PAIR || id >= PLUMB_PAIR_DISCOPOP;
        struct plumb_pairwise a = under(&term, PLUMB_F_JS);
        a.label_smoothing = 0.25;
        one_pair(&plain, -2, 3);
        one_pair(&linked, -2, 3);
        run(plumb_test_device(), a, &linked);
        a.f_divergence = PLUMB_F_REVERSE_KL;
        run(plumb_test_device(), a, &plain);
        const double moved = fabs(linked.losses[0] - plain.losses[0]); /* f64 rounds otherwise */
        cr_expect_eq(moved > 1e-5 * plain.losses[0], takes, "%s", plumb_pairwise_name(id));
    }
}

/* ---- weights of tokens ---- */

static void fill(struct batch *b, int64_t pairs)
{
    *b = (struct batch){ .B = pairs };
    for (int64_t r = 0; r < 2 * b->B; r++) {
        append(b, r, (double)(1 + 71 * r % 150), 0, 0);
        for (int32_t t = b->offset[r]; t < b->offset[r + 1]; t++)
            b->logp[t] = -1 - sin(1.3 * t), b->ref[t] = -1 - cos(2.1 * t);
    }
}

Test(pairwise_inputs, a_token_of_weight_two_counts_as_two_and_one_of_none_as_none)
{
    static struct batch weighted, all;
    static double weight[MAX_TOKENS];
    fill(&weighted, 5);
    all = (struct batch){ .B = 5 };
    for (int64_t r = 0; r < 10; r++) {
        const int32_t n = weighted.offset[r + 1] - weighted.offset[r];
        append(&all, r, n, 0, 0); /* the same length, whose tokens carry the weighted values */
        for (int32_t k = 0; k < n; k++) {
            const int32_t t = weighted.offset[r] + k;
            weight[t] = t % 3;
            all.logp[t] = weight[t] * weighted.logp[t];
            all.ref[t] = weight[t] * weighted.ref[t];
        }
    }
    weighted.token_weight = weight;
    run(&plumb_ref, with(ipo, 1, 0.3, 0, 2), &weighted);
    run(&plumb_ref, with(ipo, 1, 0.3, 0, 2), &all);
    for (int64_t i = 0; i < 5; i++)
        cr_expect_float_eq(weighted.losses[i], all.losses[i], 1e-12);
    for (int32_t t = 0; t < weighted.offset[10]; t++)
        cr_expect_float_eq(weighted.dlogp[t], weight[t] * all.dlogp[t], 1e-12);
}

Test(pairwise_inputs, weights_of_one_change_no_value_and_equal_policies_stay_equal)
{
    static struct batch weighted, plain;
    static double weight[MAX_TOKENS];
    for (int k = 0; k < MAX_TOKENS; k++)
        weight[k] = 1;
    fill(&weighted, 9);
    fill(&plain, 9);
    weighted.token_weight = weight;
    run(plumb_test_device(), with(sigmoid, 1, 0.3, 0, 9), &weighted);
    run(plumb_test_device(), with(sigmoid, 1, 0.3, 0, 9), &plain);
    cr_expect_arr_eq(weighted.losses, plain.losses, sizeof plain.losses);
    cr_expect_arr_eq(weighted.dlogp, plain.dlogp, sizeof plain.dlogp);
    for (int k = 0; k < MAX_TOKENS; k++)
        weight[k] = 1.0 / (1 + k % 7);
    memcpy(weighted.ref, weighted.logp, sizeof weighted.ref);
    run(plumb_test_device(), with(sigmoid, 1, 0.3, 0, 9), &weighted);
    for (int64_t i = 0; i < 9; i++)
        cr_expect(weighted.losses[i] == (double)(float)log(2) && weighted.rewards[2 * i] == 0);
}

/* ---- anchors, KLs, ties ---- */

Test(pairwise_inputs, inpo_with_all_weight_on_the_reference_is_ipo_on_sums)
{
    static struct batch a, b;
    const struct plumb_pairwise_term inpo[1] = { { PLUMB_PAIR_INPO, 1 } };
    const struct plumb_pairwise_term sum[1] = { { PLUMB_PAIR_IPO_SUM, 1 } };
    const double anchor[2] = { -7, -2.5 };
    for (int k = 0; k < 2; k++) {
        one_pair(&a, -4, -6);
        one_pair(&b, -4, -6);
        a.anchor = anchor;
        struct plumb_pairwise args = with(inpo, 1, 0.4, 0, 1);
        args.lambda = k; /* 0: all on the anchor */
        if (k == 0) b.ref[0] = anchor[0], b.ref[2] = anchor[1];
        run(plumb_test_device(), args, &a);
        run(plumb_test_device(), with(sum, 1, 0.4, 0, 1), &b);
        cr_expect_eq(a.losses[0], b.losses[0], "%g for %g", a.losses[0], b.losses[0]);
        cr_expect_eq(a.dlogp[0], b.dlogp[0]);
    }
}

Test(pairwise_inputs, tdpo_learns_from_the_kls_that_its_definition_names)
{
    static struct batch b;
    const double kl[2] = { 1.5, 0.25 };
    const enum plumb_pairwise_loss id[3] = { PLUMB_PAIR_TDPO1, PLUMB_PAIR_TDPO2,
                                             PLUMB_PAIR_TIS_DPO };
    const double z[3] = { 0.1 * (2 + 1.25), 0.1 * (2 + 0.5 * 1.25), 0.1 * (2 - 0.5 * 1.25) };
    for (int k = 0; k < 3; k++) {
        const struct plumb_pairwise_term term = { id[k], 1 };
        struct plumb_pairwise a = with(&term, 1, 0.1, 0, 1);
        a.alpha = 0.5;
        one_pair(&b, -4, -6);
        b.kl = kl;
        run(plumb_test_device(), a, &b);
        const double dz = -0.1 / (1 + exp(z[k]));
        const double dkl[3][2] = { { dz, -dz }, { 0, -0.5 * dz }, { -0.5 * dz, 0.5 * dz } };
        cr_expect_float_eq(b.losses[0], log1p(exp(-z[k])), 2e-7);
        cr_expect_float_eq(b.dkl[0], dkl[k][0], 1e-8);
        cr_expect_float_eq(b.dkl[1], dkl[k][1], 1e-8);
    }
}

Test(pairwise_inputs, win_loss_and_tie_have_probabilities_that_add_up_to_one)
{
    static struct batch b;
    const struct plumb_pairwise_term ties[1] = { { PLUMB_PAIR_SIGMOID_TIES, 1 } };
    const double target[3][2] = { { 1, 0 }, { 0, 0 }, { 1, 0 } };
    double sum = 0;
    for (int k = 0; k < 3; k++) {
        struct plumb_pairwise a = with(ties, 1, 0.5, 0, 1);
        a.gamma = 0.7;
        one_pair(&b, k == 2 ? -6 : -4, k == 2 ? -4 : -6);
        b.target = target[k];
        run(&plumb_ref, a, &b);
        sum += exp(-b.losses[0]);
    }
    cr_expect_float_eq(sum, 1, 1e-12, "%.17g", sum);
}

/* ---- misuse ---- */

Test(pairwise_inputs, names_the_input_that_is_missing)
{
    const struct {
        enum plumb_pairwise_loss loss;
        const char *word;
    } cases[] = { { PLUMB_PAIR_INPO, "anchor_sum is missing" },
                  { PLUMB_PAIR_TDPO2, "kl is missing" },
                  { PLUMB_PAIR_AOT, "aot is missing" },
                  { PLUMB_PAIR_AOT_UNPAIRED, "aot_unpaired is missing" },
                  { PLUMB_PAIR_SIGMOID_TIES, "target is missing" } };
    const int32_t offset[3] = { 0, 1, 2 };
    float v[8] = { 0 };
    for (size_t i = 0; i <= sizeof cases / sizeof *cases; i++) {
        const bool last = i == sizeof cases / sizeof *cases;
        const struct plumb_pairwise_term term = { last ? PLUMB_PAIR_SIGMOID : cases[i].loss, 1 };
        struct plumb_pairwise a = with(&term, 1, 0.1, 0, 1);
        a.B = 1, a.offset = offset;
        a.logp = a.losses = a.logps = a.rewards = (struct plumb_tensor){ v, PLUMB_F32 };
        if (last) a.f_divergence = PLUMB_F_DIVERGENCES;
        const char *word = last ? "f_divergence=5" : cases[i].word;
        cr_expect_eq(plumb_pairwise(&plumb_cpu, &a), PLUMB_EINVAL);
        cr_expect(strstr(plumb_errmsg(), word), "message was: %s", plumb_errmsg());
    }
}
