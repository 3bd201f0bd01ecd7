#include <plumb/rope.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/simd.h"
#include "tests/tensor.h"

enum { N = 6, H = 3, K = 10, R = 8, P = 40 };

struct data {
    float cos[P * R / 2], sin[P * R / 2], x[N * H * K], y[N * H * K];
    int32_t position[N];
};

static struct plumb_rope problem(struct data *d, enum plumb_rope_kind kind)
{
    for (int p = 0; p < P; p++)
        for (int i = 0; i < R / 2; i++) {
            d->cos[p * R / 2 + i] = (float)cos(p * pow(100, -i / 4.0));
            d->sin[p * R / 2 + i] = (float)sin(p * pow(100, -i / 4.0));
        }
    for (int i = 0; i < N * H * K; i++)
        d->x[i] = (float)sin(1.7 * i);
    for (int n = 0; n < N; n++)
        d->position[n] = 3 + 7 * n % P;
    return (struct plumb_rope){ .struct_bytes = sizeof(struct plumb_rope),
                                .kind = kind,
                                .N = N,
                                .H = H,
                                .K = K,
                                .R = R,
                                .P = P,
                                .position = d->position,
                                .cos = { d->cos, PLUMB_F32 },
                                .sin = { d->sin, PLUMB_F32 },
                                .x = { d->x, PLUMB_F32 },
                                .y = { d->y, PLUMB_F32 } };
}

/* The op on the device under test. */
static int run(const struct plumb_rope *call)
{
    const struct plumb_device *dev = plumb_test_device();
    struct plumb_rope a = *call;
    const size_t table = (size_t)(a.P * a.R / 2) * sizeof(float);
    const size_t bytes = (size_t)(a.N * (a.ld ? a.ld : a.H * a.K)) * plumb_dtype_bytes(a.x.dtype);
    struct plumb_test_array list[] = { { &a.position, (size_t)a.N * sizeof *a.position },
                                       { &a.cos.data, table },
                                       { &a.sin.data, table },
                                       { &a.x.data, bytes },
                                       { &a.y.data, bytes } };
    plumb_test_arrays_to(dev, list, 5);
    const int rc = plumb_rope(dev, &a);
    plumb_test_arrays_back(dev, list, 5);
    return rc;
}

static void refused(const struct plumb_rope *a, const char *text)
{
    cr_assert_eq(plumb_rope(&plumb_cpu, a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), text), "message was: %s", plumb_errmsg());
}

Test(rope, bad_arguments_are_refused_by_name)
{
    struct data d;
    struct plumb_rope a = problem(&d, PLUMB_ROPE_HALF);
    a.R = 7;
    refused(&a, "R=7");
    a.R = 12;
    refused(&a, "K=10");
    a = problem(&d, PLUMB_ROPE_NONE);
    refused(&a, "kind=0");
    a = problem(&d, PLUMB_ROPE_HALF);
    d.position[2] = P;
    refused(&a, "position[2]=40");
    d.position[2] = -1;
    refused(&a, "position[2]=-1");
    a.ld = 29;
    refused(&a, "ld=29");
}

Test(rope, scores_depend_on_the_distance_of_positions_only)
{
    struct data d;
    for (int kind = PLUMB_ROPE_HALF; kind <= PLUMB_ROPE_INTERLEAVED; kind++) {
        struct plumb_rope a = problem(&d, (enum plumb_rope_kind)kind);
        double first = 0;
        for (int shift = 0; shift < 20; shift += 5) {
            d.position[0] = 4 + shift, d.position[1] = 11 + shift;
            cr_assert_eq(run(&a), PLUMB_OK);
            double dot = 0, size = 0;
            for (int i = 0; i < K; i++)
                dot += (double)d.y[i] * d.y[H * K + i];
            for (int i = 0; i < K; i++)
                size += fabs((double)d.y[i] * d.y[H * K + i]);
            if (shift == 0) first = dot;
            /* tables, products and sums round: four steps on each side of a term */
            cr_expect_float_eq(dot, first, 8 * FLT_EPSILON * 2 * size);
        }
    }
}

Test(rope, pairs_turn_by_the_tables_angle)
{
    struct data d;
    struct plumb_rope a = problem(&d, PLUMB_ROPE_INTERLEAVED);
    cr_assert_eq(run(&a), PLUMB_OK);
    for (int i = 0; i < R / 2; i++) {
        const double angle = d.position[1] * pow(100, -i / 4.0), u = d.x[H * K + 2 * i],
                     v = d.x[H * K + 2 * i + 1];
        cr_expect_float_eq(d.y[H * K + 2 * i], u * cos(angle) - v * sin(angle), 4 * FLT_EPSILON);
        cr_expect_float_eq(d.y[H * K + 2 * i + 1], v * cos(angle) + u * sin(angle),
                           4 * FLT_EPSILON);
    }
    cr_expect(d.y[K - 1] == d.x[K - 1] && d.y[K - 2] == d.x[K - 2], "the unrotated tail changed");
}

Test(rope, in_place_with_gaps_gives_the_same_bits)
{
    struct data d;
    for (int kind = PLUMB_ROPE_HALF; kind <= PLUMB_ROPE_INTERLEAVED; kind++) {
        struct plumb_rope a = problem(&d, (enum plumb_rope_kind)kind);
        cr_assert_eq(run(&a), PLUMB_OK);
        enum { LD = H * K + 5 };
        float gapped[N * LD];
        for (int i = 0; i < N * LD; i++)
            gapped[i] = i % LD < H * K ? d.x[i / LD * H * K + i % LD] : 77.0f;
        a.ld = LD;
        a.x.data = a.y.data = gapped;
        cr_assert_eq(run(&a), PLUMB_OK);
        for (int i = 0; i < N * LD; i++)
            cr_assert(gapped[i] == (i % LD < H * K ? d.y[i / LD * H * K + i % LD] : 77.0f),
                      "element %d", i);
    }
}

Test(rope, a_row_alone_keeps_its_bits_in_bf16)
{
    struct data d;
    struct plumb_rope a = problem(&d, PLUMB_ROPE_HALF);
    uint16_t x[N * H * K], all[N * H * K], one[H * K];
    for (int i = 0; i < N * H * K; i++)
        x[i] = plumb_f32_to_bf16(d.x[i]);
    a.x = (struct plumb_tensor){ x, PLUMB_BF16 };
    a.y = (struct plumb_tensor){ all, PLUMB_BF16 };
    cr_assert_eq(run(&a), PLUMB_OK);
    for (int n = 0; n < N; n++) {
        a.N = 1;
        a.position = d.position + n;
        a.x.data = x + n * H * K;
        a.y.data = one;
        cr_assert_eq(run(&a), PLUMB_OK);
        cr_expect(!memcmp(one, all + n * H * K, sizeof one), "row %d", n);
    }
}

Test(rope, inverse_turns_back)
{
    struct data d;
    struct plumb_rope a = problem(&d, PLUMB_ROPE_HALF);
    cr_assert_eq(run(&a), PLUMB_OK);
    a.x = a.y;
    a.inverse = true;
    cr_assert_eq(run(&a), PLUMB_OK);
    /* |x| <= 1; each way rounds the tables, two products and a sum */
    for (int i = 0; i < N * H * K; i++)
        cr_expect_float_eq(d.y[i], d.x[i], 2 * 4 * FLT_EPSILON);
}

/* A device has no way to refuse what lies in its own memory. */
Test(rope, positions_outside_the_tables_turn_into_nan_on_a_device)
{
    if (plumb_test_device()->kind != PLUMB_DEV_CUDA) cr_skip_test("positions are read by the host");
    struct data d;
    for (int kind = PLUMB_ROPE_HALF; kind <= PLUMB_ROPE_INTERLEAVED; kind++) {
        struct plumb_rope a = problem(&d, (enum plumb_rope_kind)kind);
        d.position[1] = P, d.position[4] = -1;
        cr_assert_eq(run(&a), PLUMB_OK, "%s", plumb_errmsg());
        for (int n = 0; n < N; n++)
            cr_expect_eq(!!isnan(d.y[n * H * K]), n == 1 || n == 4, "row %d", n);
    }
}
