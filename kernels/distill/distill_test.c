#include <plumb/distill.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <plumb/device.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tensor.h"

enum { ROWS = 6, V = 7 };

/* Logits are hidden rows whose head is the unit matrix. */
struct batch {
    double z[ROWS * V], y[ROWS * V], weight[ROWS], losses[ROWS], entropy[ROWS], dz[ROWS * V];
    int64_t M;
    const int32_t *row;
};

static struct batch some(void)
{
    struct batch b = { .M = ROWS };
    for (int i = 0; i < ROWS * V; i++) {
        b.z[i] = 0.75 * ((i * 5) % 9) - 3;
        b.y[i] = 0.5 * ((i * 7) % 13) - 3;
    }
    for (int i = 0; i < ROWS; i++)
        b.weight[i] = 1;
    return b;
}

static struct plumb_distill by(enum plumb_divergence divergence, double beta, double alpha)
{
    return (struct plumb_distill){ .divergence = divergence,
                                   .temperature = 1,
                                   .divisor = 1,
                                   .beta = beta,
                                   .alpha = alpha };
}

static int run(const struct plumb_device *dev, const struct plumb_distill *call, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    double unit[V * V] = { 0 };
    for (int v = 0; v < V; v++)
        unit[v * V + v] = 1;
    struct plumb_distill a = *call;
    a.struct_bytes = sizeof a;
    a.N = ROWS, a.M = b->M, a.V = V;
    a.policy = (struct plumb_distill_head){ .H = V,
                                            .x = plumb_test_tensor(t, ROWS * V, b->z),
                                            .w = plumb_test_tensor(t, V * V, unit),
                                            .logit_scale = 1 };
    a.teacher = (struct plumb_distill_head){ .H = V,
                                             .x = plumb_test_tensor(t, ROWS * V, b->y),
                                             .w = plumb_test_tensor(t, V * V, unit),
                                             .logit_scale = 1 };
    a.weight = plumb_test_tensor(t, ROWS, b->weight);
    a.losses = plumb_test_tensor(t, ROWS, NULL);
    a.entropy = plumb_test_tensor(t, ROWS, NULL);
    a.dx = plumb_test_tensor(t, ROWS * V, NULL);
    if (b->row) a.row = plumb_test_copy(dev, b->row, (size_t)b->M * sizeof *b->row);
    const size_t bytes = plumb_distill_workspace(dev, &a);
    void *work = calloc(1, bytes + 1);
    a.work.data = work;
    struct plumb_tensor *all[] = { &a.policy.x, &a.policy.w, &a.teacher.x, &a.teacher.w,
                                   &a.weight,   &a.losses,   &a.dx,        &a.entropy };
    const int64_t count[] = { ROWS * V, V * V, ROWS * V, V * V, ROWS, ROWS, ROWS * V, ROWS };
    struct plumb_test_array list[] = { { &a.work.data, bytes } };
    for (int i = 0; i < 8; i++)
        plumb_test_to(dev, all[i], count[i]);
    plumb_test_arrays_to(dev, list, 1);
    const int rc = plumb_distill(dev, &a);
    plumb_test_arrays_back(dev, list, 1);
    for (int i = 0; i < 8; i++)
        plumb_test_from(dev, all[i], count[i]);
    for (int i = 0; i < ROWS; i++)
        b->losses[i] = plumb_test_get(&a.losses, i), b->entropy[i] = plumb_test_get(&a.entropy, i);
    for (int i = 0; i < ROWS * V; i++)
        b->dz[i] = plumb_test_get(&a.dx, i);
    for (int i = 0; i < 8; i++)
        plumb_test_free(all[i]);
    free(work);
    return rc;
}

static const struct plumb_device *device(void) { return plumb_test_device(); }

/* Uniform against a sure one of seven: ln 7 forward; the mixture half and half by hand. */
Test(distill, values_that_a_hand_can_compute)
{
    struct batch b = some();
    for (int v = 0; v < V; v++)
        b.z[v] = 0, b.y[v] = v == 2 ? 200 : 0;
    struct plumb_distill a = by(PLUMB_DIVERGENCE_FORWARD_KL, 0, 0);
    cr_assert_eq(run(device(), &a, &b), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_float_eq(b.losses[0], log(7), 1e-6);
    cr_expect_float_eq(b.entropy[0], log(7), 1e-6);
    cr_expect_float_eq(b.dz[2], 1. / 7 - 1, 1e-6);
    a = by(PLUMB_DIVERGENCE_JSD, 0.5, 0);
    cr_assert_eq(run(device(), &a, &b), PLUMB_OK);
    const double m = (1 + 1. / 7) / 2;
    const double by_hand = 0.5 * -log(m) + 0.5 * (6. / 7 * log(2) - log(7 * m) / 7);
    cr_expect_float_eq(b.losses[0], by_hand, 1e-6);
}

Test(distill, equal_policies_have_no_divergence_and_no_gradient)
{
    for (int id = 0; plumb_distill_name(id); id++) {
        struct batch b = some();
        memcpy(b.y, b.z, sizeof b.y);
        const struct plumb_distill a = by((enum plumb_divergence)id, 0.3, 0.7);
        cr_assert_eq(run(device(), &a, &b), PLUMB_OK, "%s", plumb_errmsg());
        for (int i = 0; i < ROWS; i++)
            cr_expect(fabs(b.losses[i]) < 1e-6);
        for (int i = 0; i < ROWS * V; i++)
            cr_expect(fabs(b.dz[i]) < 1e-6, "%s: %g", plumb_distill_name(id), b.dz[i]);
    }
}

/* Ends of a family are both divergences, exactly; next to them it is close. */
Test(distill, ends_of_the_families_are_both_divergences)
{
    struct batch ends[2] = { some(), some() }, b = some();
    for (int k = 0; k < 2; k++) {
        const struct plumb_distill a = by((enum plumb_divergence)k, 0, 0);
        cr_assert_eq(run(&plumb_ref, &a, &ends[k]), PLUMB_OK);
        const struct plumb_distill same[] = { by(PLUMB_DIVERGENCE_JSD, k, 0),
                                              by(PLUMB_DIVERGENCE_ALPHA, 0, 1 - k),
                                              by(PLUMB_DIVERGENCE_ALPHA, 0, k ? 1e-7 : 1 - 1e-7) };
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(run(&plumb_ref, &same[i], &b), PLUMB_OK);
            const double bound = i < 2 ? 0 : 1e-5;
            for (int r = 0; r < ROWS; r++)
                cr_expect(fabs(b.losses[r] - ends[k].losses[r]) <= bound);
            for (int r = 0; r < ROWS * V; r++)
                cr_expect(fabs(b.dz[r] - ends[k].dz[r]) <= bound);
        }
    }
}

/* Jensen-Shannon with half of each does not care which is which. */
Test(distill, the_even_mixture_is_symmetric)
{
    struct batch b = some(), turned = some();
    memcpy(turned.z, b.y, sizeof b.y), memcpy(turned.y, b.z, sizeof b.z);
    const struct plumb_distill a = by(PLUMB_DIVERGENCE_JSD, 0.5, 0);
    cr_assert_eq(run(&plumb_ref, &a, &b), PLUMB_OK);
    cr_assert_eq(run(&plumb_ref, &a, &turned), PLUMB_OK);
    for (int i = 0; i < ROWS; i++)
        cr_expect_float_eq(b.losses[i], turned.losses[i], 1e-15);
}

Test(distill, far_logits_agree_with_the_oracle_and_the_farthest_saturate)
{
    for (int id = 0; plumb_distill_name(id); id++) {
        struct batch b = some(), ref;
        for (int i = 0; i < 3 * V; i++)
            b.z[i] *= 200, b.y[i] *= -150;
        ref = b;
        b.z[3 * V] = -3e38, b.y[4 * V] = -3e38;
        const struct plumb_distill a = by((enum plumb_divergence)id, 0.25, 0.5);
        cr_assert_eq(run(device(), &a, &b), PLUMB_OK, "%s", plumb_errmsg());
        cr_assert_eq(run(&plumb_ref, &a, &ref), PLUMB_OK);
        for (int i = 0; i < 3; i++)
            cr_expect_float_eq(b.losses[i], ref.losses[i], 1e-5 * fmax(1, ref.losses[i]));
        for (int i = 0; i < 5 * V; i++)
            cr_expect(isfinite(b.dz[i]), "%s: dz[%d]=%g", plumb_distill_name(id), i, b.dz[i]);
        for (int i = 0; i < 5; i++)
            cr_expect(isfinite(b.losses[i]));
    }
}

Test(distill, weights_scale_rows_and_nan_stays_in_its_row)
{
    struct batch one = some(), b = some();
    b.weight[1] = 0, b.weight[2] = 2;
    b.z[3 * V + 1] = NAN;
    const struct plumb_distill a = by(PLUMB_DIVERGENCE_REVERSE_KL, 0, 0);
    cr_assert_eq(run(device(), &a, &one), PLUMB_OK);
    cr_assert_eq(run(device(), &a, &b), PLUMB_OK);
    cr_expect(b.losses[1] == 0 && b.dz[V] == 0 && b.dz[V + 3] == 0);
    cr_expect(b.losses[2] == 2 * one.losses[2] && b.dz[2 * V] == 2 * one.dz[2 * V]);
    cr_expect(isnan(b.losses[3]));
    cr_expect(b.losses[4] == one.losses[4] && b.dz[4 * V] == one.dz[4 * V]);
}

/* A row has the same bits in a list of rows as among all. */
Test(distill, a_list_of_rows_leaves_the_others_without_gradient)
{
    const int32_t row[3] = { 1, 2, 5 };
    struct batch all = some(), b = some();
    b.row = row, b.M = 3;
    const struct plumb_distill a = by(PLUMB_DIVERGENCE_JSD, 0.5, 0);
    cr_assert_eq(run(device(), &a, &all), PLUMB_OK);
    cr_assert_eq(run(device(), &a, &b), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 3; i++)
        cr_expect_eq(b.losses[i], all.losses[row[i]]);
    for (int i = 0; i < ROWS * V; i++) {
        const int r = i / V;
        cr_expect_eq(b.dz[i], r == 1 || r == 2 || r == 5 ? all.dz[i] : 0);
    }
}

Test(distill, a_row_that_is_none_is_refused_or_nan)
{
    const int32_t row[3] = { 1, 2, 9 };
    struct batch b = some();
    b.row = row, b.M = 3;
    const struct plumb_distill a = by(PLUMB_DIVERGENCE_FORWARD_KL, 0, 0);
    const int rc = run(device(), &a, &b);
    if (plumb_device_is_host(device())) {
        cr_expect_eq(rc, PLUMB_EINVAL);
        cr_expect(strstr(plumb_errmsg(), "row[2]=9"), "message was: %s", plumb_errmsg());
        return;
    }
    cr_expect(isnan(b.losses[2]) && isfinite(b.losses[1]) && b.dz[5 * V] == 0);
}

Test(distill, names_the_argument_that_is_wrong)
{
    enum { CASES = 9 };
    float x[2] = { 1, 0 }, w[4] = { 1, 0, 0, 1 }, o[1], work[64];
    const struct plumb_distill_head head = { .H = 2,
                                             .x = { x, PLUMB_F32 },
                                             .w = { w, PLUMB_F32 },
                                             .logit_scale = 1 };
    const struct plumb_distill good = { .struct_bytes = sizeof good,
                                        .N = 1,
                                        .V = 2,
                                        .M = 1,
                                        .policy = head,
                                        .teacher = head,
                                        .temperature = 1,
                                        .divisor = 1,
                                        .losses = { o, PLUMB_F32 },
                                        .work = { work, PLUMB_F32 } };
    struct plumb_distill bad[CASES];
    static const char *const word[CASES] = {
        "divergence=9",         "M=2",         "beta=1.5",
        "temperature=0",        "alpha=nan",   "teacher.x is missing",
        "policy.logit_scale=0", "teacher.H=0", "policy.w cannot"
    };
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].divergence = (enum plumb_divergence)9;
    bad[1].M = 2;
    bad[2].divergence = PLUMB_DIVERGENCE_JSD, bad[2].beta = 1.5;
    bad[3].temperature = 0;
    bad[4].alpha = NAN;
    bad[5].teacher.x.data = NULL;
    bad[6].policy.logit_scale = 0;
    bad[7].teacher.H = 0;
    bad[8].policy.w.dtype = PLUMB_BF16;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_distill(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
}
