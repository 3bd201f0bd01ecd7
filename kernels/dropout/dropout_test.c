#include <plumb/dropout.h>

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { N = 40, D = 103 };

struct numbers {
    float x[N * D], y[N * D];
    int32_t sample[N], position[N];
};

static struct plumb_dropout call(struct numbers *v, double p)
{
    for (int i = 0; i < N * D; i++)
        v->x[i] = 1;
    for (int n = 0; n < N; n++) {
        v->sample[n] = n / 8;
        v->position[n] = n % 8;
    }
    return (struct plumb_dropout){ .struct_bytes = sizeof(struct plumb_dropout),
                                   .N = N,
                                   .D = D,
                                   .x = { v->x, PLUMB_F32 },
                                   .y = { v->y, PLUMB_F32 },
                                   .p = p,
                                   .scale = 1,
                                   .sample = v->sample,
                                   .position = v->position,
                                   .seed = 1,
                                   .step = 1 };
}

static void run(struct plumb_dropout a)
{
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_test_array list[4] = {
        { .at = &a.x.data, .bytes = sizeof(float) * (size_t)(a.N * a.D) },
        { .at = &a.y.data, .bytes = sizeof(float) * (size_t)(a.N * a.D) },
        { .at = (void **)&a.sample, .bytes = sizeof(int32_t) * (size_t)a.N },
        { .at = (void **)&a.position, .bytes = sizeof(int32_t) * (size_t)a.N }
    };
    plumb_test_arrays_to(dev, list, 4);
    cr_assert_eq(plumb_dropout(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    plumb_test_arrays_back(dev, list, 4);
}

/* Five standard deviations of a binomial. */
Test(dropout, keeps_the_share_it_says_at_the_size_it_says)
{
    static struct numbers v;
    static const double shares[] = { 0.05, 0.5, 0.9 };
    for (int k = 0; k < 3; k++) {
        const double p = shares[k], n = N * D;
        int kept = 0;
        run(call(&v, p));
        for (int i = 0; i < N * D; i++) {
            kept += v.y[i] != 0;
            cr_expect(v.y[i] == 0 || v.y[i] == (float)(1 / (1 - p)));
        }
        cr_expect_lt(fabs(kept - n * (1 - p)), 5 * sqrt(n * p * (1 - p)), "%d of %g", kept, n);
    }
}

/* Rows turned around and cut to a part have the masks that they had. */
Test(dropout, a_row_has_its_mask_wherever_it_stands)
{
    static struct numbers v, w;
    run(call(&v, 0.5));
    struct plumb_dropout a = call(&w, 0.5);
    for (int n = 0; n < N; n++) {
        w.sample[n] = v.sample[N - 1 - n];
        w.position[n] = v.position[N - 1 - n];
    }
    a.N = N / 2;
    run(a);
    for (int n = 0; n < N / 2; n++)
        cr_expect(!memcmp(w.y + n * D, v.y + (N - 1 - n) * D, D * sizeof(float)), "row %d", n);
}

static bool differs(const struct numbers *v, const struct numbers *w)
{
    return memcmp(v->y, w->y, sizeof v->y) != 0;
}

Test(dropout, everything_in_the_key_counts)
{
    static struct numbers v, w;
    run(call(&v, 0.5));
    for (int i = 0; i < 5; i++) {
        struct plumb_dropout a = call(&w, 0.5);
        if (i == 0) a.seed = 2;
        if (i == 1) a.step = 2;
        if (i == 2) a.stream = 1;
        if (i == 3) w.sample[0] += 1 << 20;
        if (i == 4) w.position[0] += 1 << 20;
        run(a);
        cr_expect(differs(&v, &w), "%d", i);
    }
    run(call(&w, 0.5));
    cr_expect(!differs(&v, &w), "the same key gives the same mask");
}

/* What is dropped is 0, even where it was infinite. */
Test(dropout, nothing_of_a_dropped_element_is_left)
{
    static struct numbers v;
    struct plumb_dropout a = call(&v, 0.5);
    for (int i = 0; i < N * D; i++)
        v.x[i] = INFINITY;
    run(a);
    for (int i = 0; i < N * D; i++)
        cr_expect(v.y[i] == 0 || v.y[i] == INFINITY, "%g", (double)v.y[i]);
}

static void refuse(struct plumb_dropout a, const char *text)
{
    cr_expect_eq(plumb_dropout(&plumb_cpu, &a), PLUMB_EINVAL, "%s", text);
    cr_expect(strstr(plumb_errmsg(), text), "wanted \"%s\", got: %s", text, plumb_errmsg());
}

Test(dropout, bad_arguments_are_named)
{
    static struct numbers v;
    const struct plumb_dropout good = call(&v, 0.5);
    struct plumb_dropout bad[7];
    for (int i = 0; i < 7; i++)
        bad[i] = good;
    bad[0].p = 1;
    refuse(bad[0], "p=1 lies outside [0, 1)");
    bad[1].p = NAN;
    refuse(bad[1], "p=");
    bad[2].scale = INFINITY;
    refuse(bad[2], "scale=inf");
    bad[3].sample = NULL;
    refuse(bad[3], "sample");
    bad[4].stream = 1 << 24;
    refuse(bad[4], "stream=16777216");
    bad[5].ldx = D - 1;
    refuse(bad[5], "ldx");
    bad[6].y = bad[6].x;
    bad[6].accumulate = true;
    refuse(bad[6], "without accumulate");
}
