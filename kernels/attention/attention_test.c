#include <plumb/attention.h>

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/attention_problem.h"

/* Adds the gradients of segment `leaf`'s own queries, computed alone, to sums over the forest's
 * rows. */
static void add_alone(const struct problem *p, int leaf, double *dk, double *dv)
{
    const struct plumb_attention *a = &p->a;
    const int64_t width = a->Hkv * a->K;
    struct problem one;
    alone(&one, p, leaf);
    const int64_t own = one.a.N - p->length[leaf];
    for (int64_t i = 0; i < own * a->Hq * a->K; i++)
        plumb_store(one.a.d_o.data, a->q.dtype == PLUMB_BF16, i, 0);
    cr_assert(!plumb_attention_fwd(&plumb_cpu, &one.a) && !plumb_attention_bwd(&plumb_cpu, &one.a));
    int64_t row = one.a.N;
    for (int s = leaf; s >= 0; s = p->parent[s]) {
        row -= p->length[s];
        for (int64_t i = 0; i < p->length[s] * width; i++) {
            dk[p->start[s] * width + i] += value(&one.a.dk, row * width + i);
            dv[p->start[s] * width + i] += value(&one.a.dv, row * width + i);
        }
    }
    release(&one);
}

/* Largest distance of x from the f64 problem's y. */
static double farthest(const struct plumb_tensor *x, const struct plumb_tensor *y, int64_t count)
{
    double far = 0;
    for (int64_t i = 0; i < count; i++)
        far = fmax(far, fabs(value(x, i) - value(y, i)));
    return far;
}

static double largest(const struct plumb_tensor *x, int64_t count)
{
    double top = 0;
    for (int64_t i = 0; i < count; i++)
        top = fmax(top, fabs(value(x, i)));
    return top;
}

Test(attention, gradients_of_a_forest_are_the_sums_over_its_sequences)
{
    const int length[] = { 40, 33, 30, 7, 50 }, parent[] = { -1, 0, 0, 1, -1 };
    struct problem p;
    init(&p, 4, 2, 16, PLUMB_F32, 5, length, parent);
    cr_assert(!plumb_attention_fwd(&plumb_cpu, &p.a) && !plumb_attention_bwd(&plumb_cpu, &p.a));
    const int64_t count = p.a.N * p.a.Hkv * p.a.K;
    double *dk = calloc((size_t)count, sizeof *dk), *dv = calloc((size_t)count, sizeof *dv);
    for (int s = 0; s < 5; s++)
        add_alone(&p, s, dk, dv);
    struct problem ref,
        plain; /* the yardstick: the same gradients by plain loops in f32, against f64 */
    init(&ref, 4, 2, 16, PLUMB_F64, 5, length, parent);
    init(&plain, 4, 2, 16, PLUMB_F64, 5, length, parent);
    plumb_attention_fwd_ref(&ref.a, PLUMB_F64);
    plumb_attention_bwd_ref(&ref.a, PLUMB_F64);
    plumb_attention_fwd_ref(&plain.a, PLUMB_F32);
    plumb_attention_bwd_ref(&plain.a, PLUMB_F32);
    const double eps = plumb_dtype_eps(PLUMB_F32);
    struct plumb_tensor sums[] = { { dk, PLUMB_F64 }, { dv, PLUMB_F64 } };
    const struct plumb_tensor *truth[] = { &ref.a.dk, &ref.a.dv },
                              *yard[] = { &plain.a.dk, &plain.a.dv };
    const struct plumb_tensor *ours[] = { &p.a.dk, &p.a.dv };
    for (int i = 0; i < 2; i++) {
        const double bound = 2 * farthest(yard[i], truth[i], count) +
                             eps * largest(truth[i], count);
        cr_expect_leq(farthest(&sums[i], truth[i], count), bound);
        cr_expect_leq(farthest(ours[i], truth[i], count), bound);
    }
    free(dk);
    free(dv);
    release(&p);
    release(&ref);
    release(&plain);
}

/* Softmax over an explicit table of who sees whom, in double. */
static void naive(const struct problem *p, const bool sees[12][12], double *o)
{
    const struct plumb_attention *a = &p->a;
    for (int i = 0; i < 12; i++)
        for (int h = 0; h < a->Hq; h++) {
            double w[12], sum = 0;
            for (int j = 0; j < 12; j++) {
                double s = 0;
                for (int k = 0; k < a->K; k++)
                    s += value(&a->q, (i * a->Hq + h) * a->K + k) *
                         value(&a->k, (j * a->Hkv + h * a->Hkv / a->Hq) * a->K + k);
                w[j] = sees[i][j] ? exp(s * a->scale) : 0;
                sum += w[j];
            }
            for (int k = 0; k < a->K; k++) {
                double *out = &o[(i * a->Hq + h) * a->K + k];
                *out = 0;
                for (int j = 0; j < 12; j++)
                    *out += w[j] / sum * value(&a->v, (j * a->Hkv + h * a->Hkv / a->Hq) * a->K + k);
            }
        }
}

Test(attention, small_tree_agrees_with_a_full_softmax)
{
    /* rows 0-2 prompt, 3-5 its child, 6-7 that one's child, 8-9 a second child of the prompt, 10-11
     * another root */
    const int length[] = { 3, 3, 2, 2, 2 }, parent[] = { -1, 0, 1, 0, -1 };
    static const char *const path[] = { "012", "012345", "01234567", "01289", "ab" };
    bool sees[12][12] = { { false } };
    for (int s = 0, row = 0; s < 5; row += length[s++])
        for (int i = row; i < row + length[s]; i++)
            for (const char *c = path[s]; *c; c++) {
                const int j = *c >= 'a' ? *c - 'a' + 10 : *c - '0';
                if (j <= i) sees[i][j] = true;
            }
    struct problem p, ref;
    init(&p, 4, 2, 8, PLUMB_F32, 5, length, parent);
    init(&ref, 4, 2, 8, PLUMB_F64, 5, length, parent);
    double truth[12 * 4 * 8];
    naive(&p, sees, truth);
    cr_assert_eq(plumb_attention_fwd(&plumb_cpu, &p.a), PLUMB_OK);
    cr_assert_eq(plumb_attention_fwd(&plumb_ref, &ref.a), PLUMB_OK);
    const struct plumb_tensor t = { truth, PLUMB_F64 };
    const int64_t count = 12 * 4 * 8;
    cr_expect_leq(farthest(&ref.a.o, &t, count), 1e-14);
    struct problem plain;
    init(&plain, 4, 2, 8, PLUMB_F64, 5, length, parent);
    plumb_attention_fwd_ref(&plain.a, PLUMB_F32);
    const double bound = 2 * farthest(&plain.a.o, &t, count) +
                         plumb_dtype_eps(PLUMB_F32) * largest(&t, count);
    cr_expect_leq(farthest(&p.a.o, &t, count), bound);
    release(&p);
    release(&ref);
    release(&plain);
}

Test(attention, strides_with_gaps_and_spare_rows_change_nothing)
{
    /* q, k, v as slices of one fused row; spare rows between the segments hold NaN and stay
     * untouched */
    const int length[] = { 20, 10, 9 }, parent[] = { -1, 0, 0 };
    struct problem p;
    init(&p, 4, 2, 8, PLUMB_F32, 3, length, parent);
    cr_assert(!plumb_attention_fwd(&plumb_cpu, &p.a) && !plumb_attention_bwd(&plumb_cpu, &p.a));
    enum { LD = 8 * 8 + 3, ROWS = 20 + 4 + 10 + 1 + 9 + 2 };
    static float fused[ROWS * LD], grad[ROWS * LD], o[ROWS * 32], lse[ROWS * 4], d_o[ROWS * 32];
    const int32_t start[] = { 0, 24, 35 };
    for (int i = 0; i < ROWS * LD; i++)
        fused[i] = grad[i] = NAN;
    for (int i = 0; i < ROWS * 32; i++)
        o[i] = d_o[i] = NAN;
    struct plumb_attention b = p.a;
    b.N = ROWS;
    b.forest.start = start;
    b.ldq = b.ldk = b.ldv = LD;
    b.q.data = fused, b.k.data = fused + 32, b.v.data = fused + 48;
    b.dq.data = grad, b.dk.data = grad + 32, b.dv.data = grad + 48;
    b.o.data = o, b.lse.data = lse, b.d_o.data = d_o;
    for (int s = 0; s < 3; s++)
        for (int i = 0; i < length[s]; i++) {
            const int from = p.start[s] + i, to = start[s] + i;
            memcpy(fused + to * LD, (float *)p.a.q.data + from * 32, 32 * sizeof(float));
            memcpy(fused + to * LD + 32, (float *)p.a.k.data + from * 16, 16 * sizeof(float));
            memcpy(fused + to * LD + 48, (float *)p.a.v.data + from * 16, 16 * sizeof(float));
            memcpy(d_o + to * 32, (float *)p.a.d_o.data + from * 32, 32 * sizeof(float));
        }
    free(b.work.data);
    b.work.data = malloc(work_bytes(&b));
    p.a.work = b.work;
    cr_assert(!plumb_attention_fwd(&plumb_cpu, &b) && !plumb_attention_bwd(&plumb_cpu, &b), "%s",
              plumb_errmsg());
    for (int s = 0; s < 3; s++)
        for (int i = 0; i < length[s]; i++) {
            const int from = p.start[s] + i, to = start[s] + i;
            cr_expect(!memcmp(o + to * 32, (float *)p.a.o.data + from * 32, 32 * sizeof(float)),
                      "o row %d", from);
            cr_expect(!memcmp(grad + to * LD, (float *)p.a.dq.data + from * 32, 32 * sizeof(float)),
                      "dq row %d", from);
            cr_expect(
                !memcmp(grad + to * LD + 32, (float *)p.a.dk.data + from * 16, 16 * sizeof(float)),
                "dk row %d", from);
            cr_expect(
                !memcmp(grad + to * LD + 48, (float *)p.a.dv.data + from * 16, 16 * sizeof(float)),
                "dv row %d", from);
            cr_expect(isnan(grad[to * LD + 64]), "a gap in row %d was written", to);
        }
    for (int i = 20 * LD; i < 24 * LD; i++)
        cr_assert(isnan(grad[i]), "spare row was written");
    release(&p);
}

Test(attention, huge_scores_stay_finite)
{
    const int length = 70, parent = -1;
    struct problem p;
    init(&p, 2, 1, 8, PLUMB_F32, 1, &length, &parent);
    p.a.scale = 1e6;
    cr_assert(!plumb_attention_fwd(&plumb_cpu, &p.a) && !plumb_attention_bwd(&plumb_cpu, &p.a));
    for (int64_t i = 0; i < p.a.N * 16; i++)
        cr_assert(isfinite(value(&p.a.o, i)) && isfinite(value(&p.a.dq, i)), "element %d", (int)i);
    for (int64_t i = 0; i < p.a.N * 8; i++)
        cr_assert(isfinite(value(&p.a.dk, i)) && isfinite(value(&p.a.dv, i)), "element %d", (int)i);
    release(&p);
}

static void refused(const struct plumb_attention *a, const char *text)
{
    cr_assert_eq(plumb_attention_fwd(&plumb_cpu, a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), text), "message was: %s", plumb_errmsg());
}

Test(attention, bad_forests_are_refused_by_name)
{
    const int length[] = { 4, 3, 2 }, parent[] = { -1, 0, 0 };
    struct problem p;
    init(&p, 2, 1, 8, PLUMB_F32, 3, length, parent);
    p.parent[1] = 1;
    refused(&p.a, "segment 1 has parent 1");
    p.parent[1] = -2;
    refused(&p.a, "segment 1 has parent -2");
    p.parent[1] = 0;
    p.length[2] = 0;
    refused(&p.a, "segment 2 has length 0");
    p.length[2] = 3;
    refused(&p.a, "segment 2 ends at row 10, there are N=9");
    p.length[2] = INT32_MAX;
    refused(&p.a, "N=9");
    p.length[2] = 2;
    p.start[1] = 3;
    refused(&p.a, "segment 1 starts at row 3");
    p.start[1] = -4;
    refused(&p.a, "segment 1 starts at row -4");
    p.start[1] = 4;
    p.a.forest.S = -1;
    refused(&p.a, "forest.S=-1");
    p.a.forest.S = 3;
    p.a.forest.parent = NULL;
    refused(&p.a, "forest.parent is missing");
    release(&p);
}

Test(attention, bad_arguments_are_refused_by_name)
{
    const int length = 4, parent = -1;
    struct problem p;
    init(&p, 4, 2, 8, PLUMB_F32, 1, &length, &parent);
    const struct plumb_attention good = p.a;
    p.a.Hkv = 3;
    refused(&p.a, "Hq=4 is no multiple of Hkv=3");
    p.a = good, p.a.scale = NAN;
    refused(&p.a, "scale=");
    p.a = good, p.a.softcap = -1;
    refused(&p.a, "softcap=-1");
    p.a = good, p.a.window = -1;
    refused(&p.a, "window=-1");
    p.a = good, p.a.ldk = 15;
    refused(&p.a, "ldk=15");
    p.a = good, p.a.work.data = NULL;
    refused(&p.a, "work is missing");
    const int32_t start = 0, count = 5;
    p.a = good, p.a.q_start = &start;
    refused(&p.a, "q_count is missing");
    p.a.q_count = &count;
    refused(&p.a, "q_count[0]=5");
    p.a.q_count = &p.length[0];
    cr_assert_eq(plumb_attention_bwd(&plumb_cpu, &p.a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "q_start"), "message was: %s", plumb_errmsg());
    p.a = good;
    release(&p);
}
