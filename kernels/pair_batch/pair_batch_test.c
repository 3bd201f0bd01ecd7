/* Batch statistics: what identities and batches made by hand say of them. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <plumb/pair_batch.h>
#include <string.h>

#include "tests/pairwise_batch.h"

enum { MOST = 40 };

static enum plumb_dtype type_of(const struct plumb_device *dev)
{
    return dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
}

static struct plumb_tensor give(const struct plumb_device *dev, const double *v, int64_t count)
{
    struct plumb_tensor t = plumb_test_tensor(type_of(dev), count, v);
    plumb_test_to(dev, &t, count);
    return t;
}

static void take(const struct plumb_device *dev, struct plumb_tensor t, double *to, int64_t count)
{
    plumb_test_from(dev, &t, count);
    for (int64_t i = 0; to && i < count; i++)
        to[i] = plumb_test_get(&t, i);
    plumb_test_free(&t);
}

/* ---- sorted differences ---- */

static void run_aot(const struct plumb_device *dev, int64_t B, bool unpaired, const double *logps,
                    const double *ref, double *gap)
{
    struct plumb_aot a = { .struct_bytes = sizeof a, .B = B, .unpaired = unpaired };
    const int64_t out = unpaired ? 2 * B : B;
    a.logps = give(dev, logps, 2 * B), a.gap = give(dev, NULL, out);
    if (ref) a.ref_sum = give(dev, ref, 2 * B);
    const int64_t words = (int64_t)plumb_aot_workspace(dev, &a) / 4 + 1;
    a.work = give(dev, NULL, words);
    cr_assert_eq(plumb_aot(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    take(dev, a.logps, NULL, 2 * B);
    take(dev, a.work, NULL, words);
    if (ref) take(dev, a.ref_sum, NULL, 2 * B);
    take(dev, a.gap, gap, out);
}

/* Policy margins 3, -1, 5, -1; reference margins 0, 10, 1, 2: sorted -1 -1 3 5 and 0 1 2 10. */
Test(pair_batch, a_pair_gets_the_difference_of_its_rank)
{
    const double logps[8] = { -1, -4, -5, -4, -2, -7, -3, -2 };
    const double ref[8] = { -2, -2, 0, -10, -1, -2, -1, -3 };
    const double expected[4] = { 3 - 2, -1 - 0, 5 - 10, -1 - 1 }; /* ties in order */
    double gap[4];
    run_aot(plumb_test_device(), 4, false, logps, ref, gap);
    cr_expect_arr_eq(gap, expected, sizeof gap);
}

/* Log-ratios 1, -5, -1 of chosen and -2, -10, 4 of rejected sides. */
Test(pair_batch, unpaired_each_side_gets_the_difference_of_its_own_rank)
{
    const double logps[6] = { -1, -4, -5, -14, -2, -3 };
    const double ref[6] = { -2, -2, 0, -4, -1, -7 };
    const double expected[6] = { 1 - 4, -1 + 2, -5 + 10, -5 + 10, -1 + 2, 1 - 4 };
    double gap[6];
    run_aot(plumb_test_device(), 3, true, logps, ref, gap);
    cr_expect_arr_eq(gap, expected, sizeof gap);
}

Test(pair_batch, no_number_comes_last_and_stays_one)
{
    const double logps[6] = { NAN, -4, -5, -4, -1, -4 };
    double gap[3];
    run_aot(plumb_test_device(), 3, false, logps, NULL, gap);
    cr_expect(isnan(gap[0]) && gap[1] == -1 && gap[2] == 3, "%g %g %g", gap[0], gap[1], gap[2]);
}

static double aot_loss(struct batch *b, bool unpaired, struct plumb_pairwise a)
{
    double sums[2 * MOST] = { 0 }, ref[2 * MOST] = { 0 }, gap[2 * MOST], loss = 0;
    for (int64_t s = 0; s < 2 * b->B; s++)
        for (int32_t t = b->offset[s]; t < b->offset[s + 1]; t++)
            sums[s] += b->logp[t], ref[s] += b->ref[t];
    run_aot(&plumb_ref, b->B, unpaired, sums, ref, gap);
    b->aot = b->aot_unpaired = gap;
    run(&plumb_ref, a, b);
    for (int64_t i = 0; i < b->B; i++)
        loss += b->losses[i] / (double)b->B;
    return loss;
}

/* The gradient of a batch is what its loss does when one log-prob moves. */
Test(pair_batch, gradients_through_the_sort_agree_with_differences)
{
    static struct batch b;
    for (int unpaired = 0; unpaired < 2; unpaired++) {
        const struct plumb_pairwise_term term = { unpaired ? PLUMB_PAIR_AOT_UNPAIRED
                                                           : PLUMB_PAIR_AOT,
                                                  1 };
        const struct plumb_pairwise a = with(&term, 1, 0.3, 0.1, 7);
        b = (struct batch){ .B = 7 };
        for (int64_t s = 0; s < 14; s++)
            append(&b, s, 2, -4 - 3 * sin(2.0 * (double)s), -4 - 3 * cos(1.7 * (double)s));
        aot_loss(&b, unpaired, a);
        double d[28];
        memcpy(d, b.dlogp, sizeof d);
        for (int t = 0; t < 28; t++) {
            const double at = b.logp[t], h = 1e-5;
            b.logp[t] = at + h;
            const double up = aot_loss(&b, unpaired, a);
            b.logp[t] = at - h;
            const double down = aot_loss(&b, unpaired, a);
            b.logp[t] = at;
            cr_expect_float_eq(d[t], (up - down) / (2 * h), 1e-9, "%d: %g for %g", t, d[t],
                               (up - down) / (2 * h));
        }
    }
}

/* ---- weights ---- */

static double run_dr(const struct plumb_device *dev, int64_t B, double beta_prime,
                     const double *losses, double *weight)
{
    double loss;
    const struct plumb_dr_dpo a = { .struct_bytes = sizeof a,
                                    .B = B,
                                    .beta_prime = beta_prime,
                                    .losses = give(dev, losses, B),
                                    .weight = give(dev, NULL, B),
                                    .loss = give(dev, NULL, 1) };
    cr_assert_eq(plumb_dr_dpo(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    take(dev, a.losses, NULL, B);
    take(dev, a.weight, weight, B);
    take(dev, a.loss, &loss, 1);
    return loss;
}

Test(pair_batch, equal_losses_are_their_own_soft_minimum)
{
    const double losses[5] = { 0.75, 0.75, 0.75, 0.75, 0.75 };
    double weight[5];
    cr_expect_eq(run_dr(plumb_test_device(), 5, 0.3, losses, weight), 0.75);
    for (int i = 0; i < 5; i++)
        cr_expect_eq(weight[i], 1);
}

Test(pair_batch, a_soft_minimum_lies_between_the_least_loss_and_the_mean)
{
    const double losses[4] = { 0.5, 3, 1.5, 3e38 };
    double weight[4];
    const double sharp = run_dr(plumb_test_device(), 4, 1e-3, losses, weight);
    cr_expect_float_eq(sharp, 0.5 + 1e-3 * log(4), 1e-7, "%g", sharp);
    cr_expect(weight[0] == 4 && weight[1] == 0 && weight[3] == 0);
    const double soft = run_dr(plumb_test_device(), 3, 1e6, losses, weight);
    cr_expect_float_eq(soft, 5.0 / 3, 1e-5, "%g", soft);
    cr_expect_eq(run_dr(plumb_test_device(), 0, 1, losses, weight), 0);
}

/* Group means 2 and 5, a third group without pairs. */
Test(pair_batch, groups_that_lose_gain_weight)
{
    const struct plumb_device *dev = plumb_test_device();
    const int32_t group[5] = { 0, 1, 0, 1, 0 };
    const double losses[5] = { 1, 4, 2, 6, 3 }, start[3] = { 0.25, 0.25, 0.5 };
    const double e[3] = { 0.25 * exp(0.2), 0.25 * exp(0.5), 0.5 };
    double q[3], weight[5], loss, sum = e[0] + e[1] + e[2], total = 0;
    const struct plumb_group_robust a = {
        .struct_bytes = sizeof a,
        .B = 5,
        .G = 3,
        .group = plumb_test_copy(dev, group, sizeof group),
        .step = 0.1,
        .losses = give(dev, losses, 5),
        .q = give(dev, start, 3),
        .weight = give(dev, NULL, 5),
        .loss = give(dev, NULL, 1),
    };
    cr_assert_eq(plumb_group_robust(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    take(dev, a.losses, NULL, 5);
    take(dev, a.q, q, 3);
    take(dev, a.weight, weight, 5);
    take(dev, a.loss, &loss, 1);
    for (int g = 0; g < 3; g++)
        cr_expect_float_eq(q[g], e[g] / sum, 1e-7);
    for (int i = 0; i < 5; i++)
        total += weight[i] * losses[i] / 5;
    cr_expect_float_eq(loss, (2 * e[0] + 5 * e[1]) / sum, 1e-6);
    cr_expect_float_eq(total, loss, 1e-6);
    cr_expect_float_eq(weight[1], e[1] / sum * 5 / 2, 1e-6);
}

/* ---- moments ---- */

static void fill_sums(double *logps, double *ref, int64_t B)
{
    for (int64_t s = 0; s < 2 * B; s++)
        logps[s] = -20 - 3 * sin(1.1 * (double)s), ref[s] = -20 - 3 * cos(2.3 * (double)s);
}

static void run_beta(const struct plumb_device *dev, struct plumb_beta_dpo a, double *state,
                     double *target, double *weight)
{
    double logps[2 * MOST], ref[2 * MOST];
    fill_sums(logps, ref, a.B);
    a.struct_bytes = sizeof a;
    a.logps = give(dev, logps, 2 * a.B), a.ref_sum = give(dev, ref, 2 * a.B);
    a.state = give(dev, state, 2);
    a.target = give(dev, NULL, 2 * a.B), a.weight = give(dev, NULL, a.B);
    const int64_t words = (int64_t)plumb_beta_dpo_workspace(dev, &a) / 4 + 1;
    a.work = give(dev, NULL, words);
    cr_assert_eq(plumb_beta_dpo(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    take(dev, a.logps, NULL, 2 * a.B);
    take(dev, a.ref_sum, NULL, 2 * a.B);
    take(dev, a.work, NULL, words);
    take(dev, a.state, state, 2);
    take(dev, a.target, target, 2 * a.B);
    take(dev, a.weight, weight, a.B);
}

/* From the formula of the header, of the pairs that were kept. */
Test(pair_batch, beta_follows_the_kept_pairs)
{
    double logps[2 * MOST], ref[2 * MOST], state[2] = { 0.5, 4 }, target[2 * MOST], weight[MOST];
    double mean = 0, squares = 0, kept = 0, count = 0;
    struct plumb_beta_dpo a = { .B = MOST,
                                .beta = 0.1,
                                .alpha = 0.6,
                                .least = 1e-3,
                                .drop = 0.2,
                                .decay = 0.9,
                                .seed = 1,
                                .step = 2 };
    run_beta(plumb_test_device(), a, state, target, weight);
    fill_sums(logps, ref, MOST);
    for (int i = 0; i < MOST; i++) {
        const double d = logps[2 * i] - ref[2 * i] - logps[2 * i + 1] + ref[2 * i + 1];
        mean += d / MOST, squares += d * d, kept += weight[i] * d, count += weight[i];
    }
    const double m = 0.9 * 0.5 + 0.1 * mean;
    const double s = 0.9 * 4 + 0.1 * sqrt((squares - MOST * mean * mean) / (MOST - 1));
    cr_expect_eq(count, 32);
    cr_expect_float_eq(state[0], m, 1e-6);
    cr_expect_float_eq(state[1], s, 1e-6);
    cr_expect_float_eq(target[0], 1 + 0.6 * (kept / 32 - m), 1e-5);
    cr_expect(target[1] == 0 && target[2] == target[0]);
}

Test(pair_batch, a_draw_prefers_pairs_near_the_mean_and_follows_its_seed)
{
    double target[2 * MOST], weight[MOST], again[MOST], logps[2 * MOST], ref[2 * MOST];
    double share[2] = { 0 }, all[2] = { 0 };
    fill_sums(logps, ref, MOST);
    for (uint64_t step = 0; step < 40; step++) {
        double state[2] = { 0, 2 }, same[2] = { 0, 2 };
        struct plumb_beta_dpo a = { .B = MOST,
                                    .beta = 0.1,
                                    .least = 1e-3,
                                    .drop = 0.5,
                                    .decay = 1,
                                    .step = step };
        run_beta(plumb_test_device(), a, state, target, weight);
        run_beta(plumb_test_device(), a, same, target, again);
        cr_expect_arr_eq(weight, again, sizeof weight);
        cr_expect(target[0] == 1 && state[0] == 0 && state[1] == 2);
        for (int i = 0; i < MOST; i++) {
            const double d = logps[2 * i] - ref[2 * i] - logps[2 * i + 1] + ref[2 * i + 1];
            share[fabs(d) > 3] += weight[i], all[fabs(d) > 3] += 1;
        }
    }
    cr_expect(share[0] / all[0] > 0.6 && share[1] / all[1] < 0.4, "%g, %g", share[0] / all[0],
              share[1] / all[1]);
}

Test(pair_batch, margins_of_the_batch_alone_have_mean_0_and_deviation_scale)
{
    const struct plumb_device *dev = plumb_test_device();
    double logps[2 * MOST], ref[2 * MOST], margin[MOST], state[2], sum = 0, squares = 0;
    int32_t offset[2 * MOST + 1];
    for (int means = 0; means < 2; means++) {
        fill_sums(logps, ref, MOST);
        for (int i = 0; i <= 2 * MOST; i++)
            offset[i] = 3 * i + i % 3;
        struct plumb_alpha_dpo a = { .struct_bytes = sizeof a,
                                     .B = MOST,
                                     .means = means,
                                     .offset = plumb_test_copy(dev, offset, sizeof offset),
                                     .scale = 0.5,
                                     .logps = give(dev, logps, 2 * MOST),
                                     .ref_sum = give(dev, ref, 2 * MOST),
                                     .state = give(dev, (double[2]){ 7, 7 }, 2),
                                     .margin = give(dev, NULL, MOST) };
        cr_assert_eq(plumb_alpha_dpo(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
        take(dev, a.logps, NULL, 2 * MOST);
        take(dev, a.ref_sum, NULL, 2 * MOST);
        take(dev, a.state, state, 2);
        take(dev, a.margin, margin, MOST);
        sum = squares = 0;
        for (int i = 0; i < MOST; i++)
            sum += margin[i], squares += margin[i] * margin[i];
        cr_expect_float_eq(sum, 0, 1e-5);
        cr_expect_float_eq(squares / (MOST - 1), 0.25, 1e-6);
        const double w = (logps[0] - ref[0]) / (means ? offset[1] : 1);
        const double l = (logps[1] - ref[1]) / (means ? offset[2] - offset[1] : 1);
        cr_expect_float_eq(margin[0], 0.5 * (w - l - state[0]) / state[1], 1e-6);
    }
}

/* ---- misuse ---- */

Test(pair_batch, names_the_argument_that_is_wrong)
{
    float v[64];
    const int32_t group[2] = { 0, 3 };
    const struct plumb_tensor t = { v, PLUMB_F32 };
    const struct plumb_aot no_work = { .struct_bytes = sizeof no_work, 2, .logps = t, .gap = t };
    const struct plumb_dr_dpo cold = { sizeof cold, 2, 0, t, t, t };
    const struct plumb_group_robust odd = { sizeof odd, 2, 2, group, 1, t, t, t, t };
    struct plumb_beta_dpo all = { .struct_bytes = sizeof all,
                                  .B = 2,
                                  .beta = 1,
                                  .least = 1,
                                  .drop = 1,
                                  .logps = t,
                                  .state = t,
                                  .target = t,
                                  .weight = t,
                                  .work = t };
    const struct plumb_alpha_dpo no_lengths = { .struct_bytes = sizeof no_lengths,
                                                .B = 2,
                                                .means = true };
    const struct plumb_leave_one_out none = { sizeof none, 2, 0, t, t };
    const int status[] = { plumb_aot(&plumb_cpu, &no_work),
                           plumb_dr_dpo(&plumb_cpu, &cold),
                           plumb_group_robust(&plumb_cpu, &odd),
                           plumb_beta_dpo(&plumb_cpu, &all),
                           plumb_alpha_dpo(&plumb_cpu, &no_lengths),
                           plumb_leave_one_out(&plumb_cpu, &none),
                           plumb_aot(&plumb_cpu, NULL) };
    for (size_t i = 0; i < sizeof status / sizeof *status; i++)
        cr_expect_eq(status[i], PLUMB_EINVAL, "case %d", (int)i);
    plumb_aot(&plumb_cpu, &no_work);
    cr_expect(strstr(plumb_errmsg(), "work is missing"), "%s", plumb_errmsg());
    plumb_dr_dpo(&plumb_cpu, &cold);
    cr_expect(strstr(plumb_errmsg(), "beta_prime=0"), "%s", plumb_errmsg());
    plumb_group_robust(&plumb_cpu, &odd);
    cr_expect(strstr(plumb_errmsg(), "group[1]=3"), "%s", plumb_errmsg());
    plumb_beta_dpo(&plumb_cpu, &all);
    cr_expect(strstr(plumb_errmsg(), "drop=1"), "%s", plumb_errmsg());
    plumb_alpha_dpo(&plumb_cpu, &no_lengths);
    cr_expect(strstr(plumb_errmsg(), "offset is missing"), "%s", plumb_errmsg());
    plumb_leave_one_out(&plumb_cpu, &none);
    cr_expect(strstr(plumb_errmsg(), "k=0"), "%s", plumb_errmsg());
}
