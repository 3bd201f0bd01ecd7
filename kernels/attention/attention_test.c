#include <plumb/attention.h>

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/simd.h"

/* A problem in f32 or bf16 with its own storage; `rows` tokens a tensor, dense. */
struct problem {
    struct plumb_attention a;
    int32_t start[16], length[16], parent[16];
};

static float noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 40) / (1 << 23) - 1);
}

static struct plumb_tensor filled(int64_t count, enum plumb_dtype t, uint64_t seed)
{
    struct plumb_tensor x = { calloc((size_t)count + 1, plumb_dtype_bytes(t)), t };
    for (int64_t i = 0; i < count; i++) {
        const float v = 2 * noise(&seed);
        if (t == PLUMB_F64)
            ((double *)x.data)[i] = (double)v;
        else
            plumb_store(x.data, t == PLUMB_BF16, i, v);
    }
    return x;
}

static double value(const struct plumb_tensor *t, int64_t i)
{
    return t->dtype == PLUMB_F64 ? ((double *)t->data)[i]
                                 : (double)plumb_load(t->data, t->dtype == PLUMB_BF16, i);
}

static void give_work(struct plumb_attention *a)
{
    const size_t fwd = plumb_attention_workspace(&plumb_cpu, a, false),
                 bwd = plumb_attention_workspace(&plumb_cpu, a, true);
    a->work.data = malloc(fwd > bwd ? fwd : bwd);
}

static void init(struct problem *p, int64_t Hq, int64_t Hkv, int64_t K, enum plumb_dtype t, int S,
                 const int *length, const int *parent)
{
    *p = (struct problem){ .a = { .struct_bytes = sizeof p->a,
                                  .Hq = Hq,
                                  .Hkv = Hkv,
                                  .K = K,
                                  .scale = 1 / sqrt((double)K) } };
    struct plumb_attention *a = &p->a;
    for (int s = 0; s < S; s++) {
        p->start[s] = (int32_t)a->N;
        p->length[s] = length[s];
        p->parent[s] = parent[s];
        a->N += length[s];
    }
    a->forest = (struct plumb_forest){ S, p->start, p->length, p->parent };
    struct plumb_tensor *const in[] = { &a->q, &a->k, &a->v, &a->d_o }, *const out[] = {
        &a->o, &a->dq, &a->dk, &a->dv
    };
    for (uint64_t i = 0; i < 4; i++) {
        *in[i] = filled(a->N * Hq * K, t, 7 + i);
        *out[i] = filled(a->N * Hq * K, t, 17);
    }
    a->lse = filled(a->N * Hq, t == PLUMB_F64 ? t : PLUMB_F32, 1);
    give_work(a);
}

static void release(struct problem *p)
{
    struct plumb_attention *a = &p->a;
    struct plumb_tensor *const all[] = { &a->q,  &a->k,  &a->v,  &a->d_o, &a->o,
                                         &a->dq, &a->dk, &a->dv, &a->lse, &a->work };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->data);
}

static bool same_rows(const struct plumb_tensor *x, int64_t i, const struct plumb_tensor *y,
                      int64_t j, int64_t rows, int64_t width)
{
    const int64_t size = width * (int64_t)plumb_dtype_bytes(x->dtype);
    return !memcmp((char *)x->data + i * size, (char *)y->data + j * size, (size_t)(rows * size));
}

static void copy_rows(struct plumb_tensor *x, int64_t i, const struct plumb_tensor *y, int64_t j,
                      int64_t rows, int64_t width)
{
    const int64_t size = width * (int64_t)plumb_dtype_bytes(x->dtype);
    memcpy((char *)x->data + i * size, (char *)y->data + j * size, (size_t)(rows * size));
}

/* The path of segment `leaf` as one root of its own, with the same inputs. */
static void alone(struct problem *one, const struct problem *p, int leaf)
{
    int chain[16], n = 0, length = 0, root = -1;
    for (int s = leaf; s >= 0; s = p->parent[s]) {
        chain[n++] = s;
        length += p->length[s];
    }
    const struct plumb_attention *a = &p->a;
    init(one, a->Hq, a->Hkv, a->K, a->q.dtype, 1, &length, &root);
    one->a.window = a->window;
    one->a.softcap = a->softcap;
    int64_t row = 0;
    for (int i = n - 1; i >= 0; row += p->length[chain[i--]]) {
        const int64_t from = p->start[chain[i]], rows = p->length[chain[i]];
        copy_rows(&one->a.q, row, &a->q, from, rows, a->Hq * a->K);
        copy_rows(&one->a.k, row, &a->k, from, rows, a->Hkv * a->K);
        copy_rows(&one->a.v, row, &a->v, from, rows, a->Hkv * a->K);
        copy_rows(&one->a.d_o, row, &a->d_o, from, rows, a->Hq * a->K);
    }
}

static void check_alone(const struct problem *p)
{
    const struct plumb_attention *a = &p->a;
    for (int s = 0; s < a->forest.S; s++) {
        struct problem one;
        alone(&one, p, s);
        cr_assert_eq(plumb_attention_fwd(&plumb_cpu, &one.a), PLUMB_OK);
        cr_assert_eq(plumb_attention_bwd(&plumb_cpu, &one.a), PLUMB_OK);
        const int64_t rows = p->length[s], at = one.a.N - rows;
        cr_expect(same_rows(&a->o, p->start[s], &one.a.o, at, rows, a->Hq * a->K),
                  "o of segment %d", s);
        cr_expect(same_rows(&a->lse, p->start[s], &one.a.lse, at, rows, a->Hq), "lse of segment %d",
                  s);
        cr_expect(same_rows(&a->dq, p->start[s], &one.a.dq, at, rows, a->Hq * a->K),
                  "dq of segment %d", s);
        release(&one);
    }
}

Test(attention, packed_rows_have_the_bits_of_their_sequences_alone)
{
    /* two prompts with children and a grandchild between other roots, lengths around the tile */
    const int length[] = { 63, 65, 5, 64, 1, 70, 130, 2 }, parent[] = { -1, 0, 0, -1, 3, 1, 3, -1 };
    for (int i = 0; i < 8; i++) {
        struct problem p;
        init(&p, i & 2 ? 4 : 9, i & 2 ? 4 : 3, i & 2 ? 20 : 64, i & 1 ? PLUMB_BF16 : PLUMB_F32, 8,
             length, parent);
        p.a.window = i & 4 ? 66 : 0;
        p.a.softcap = i & 4 ? 3 : 0;
        cr_assert_eq(plumb_attention_fwd(&plumb_cpu, &p.a), PLUMB_OK);
        cr_assert_eq(plumb_attention_bwd(&plumb_cpu, &p.a), PLUMB_OK);
        check_alone(&p);
        release(&p);
    }
}

Test(attention, decode_steps_have_the_bits_of_the_training_rows)
{
    const int length[] = { 63, 70, 3 }, parent[] = { -1, 0, 0 };
    for (int i = 0; i < 4; i++) {
        struct problem p;
        init(&p, 6, 2, 48, i & 1 ? PLUMB_BF16 : PLUMB_F32, 3, length, parent);
        p.a.window = i & 2 ? 40 : 0;
        cr_assert_eq(plumb_attention_fwd(&plumb_cpu, &p.a), PLUMB_OK);
        const int64_t width = p.a.Hq * p.a.K;
        for (int n = 1; n <= 70;
             n++) { /* child 1 has n rows, child 2 up to 3; rows that do not exist yet hold NaN */
            const int32_t count[] = { 0, 1, n <= 3 }, start[] = { 0, 0, 1 },
                          so_far[] = { 63, n, n <= 3 ? n : 3 };
            struct problem d;
            init(&d, 6, 2, 48, p.a.q.dtype, 3, length, parent);
            for (int64_t j = 0; j < d.a.N * d.a.Hkv * d.a.K; j++)
                plumb_store(d.a.k.data, i & 1, j, NAN), plumb_store(d.a.v.data, i & 1, j, NAN);
            for (int s = 0; s < 3; s++) {
                copy_rows(&d.a.k, p.start[s], &p.a.k, p.start[s], so_far[s], d.a.Hkv * d.a.K);
                copy_rows(&d.a.v, p.start[s], &p.a.v, p.start[s], so_far[s], d.a.Hkv * d.a.K);
            }
            copy_rows(&d.a.q, 0, &p.a.q, p.start[1] + n - 1, 1, width);
            if (n <= 3) copy_rows(&d.a.q, 1, &p.a.q, p.start[2] + n - 1, 1, width);
            d.a.forest.length = so_far;
            d.a.q_start = start;
            d.a.q_count = count;
            d.a.window = p.a.window;
            cr_assert_eq(plumb_attention_fwd(&plumb_cpu, &d.a), PLUMB_OK, "%s", plumb_errmsg());
            cr_expect(same_rows(&d.a.o, 0, &p.a.o, p.start[1] + n - 1, 1, width), "row %d", n);
            if (n <= 3)
                cr_expect(same_rows(&d.a.o, 1, &p.a.o, p.start[2] + n - 1, 1, width),
                          "row %d of child 2", n);
            release(&d);
        }
        release(&p);
    }
}

/* With few threads a task is a tree, with many the backward runs in two passes: the same bits. */
Test(attention, thread_counts_change_no_bit)
{
    /* two prompts whose children lie interleaved, a grandchild, and a root alone */
    const int length[] = { 90, 65, 5, 64, 130, 70 }, parent[] = { -1, -1, 0, 1, 2, -1 };
    for (int i = 0; i < 4; i++) {
        struct problem p[3];
        for (int j = 0; j < 3; j++) {
            omp_set_num_threads(j == 0 ? 1 : j == 1 ? 2 : 9);
            init(&p[j], 6, 2, 40, i & 1 ? PLUMB_BF16 : PLUMB_F32, 6, length, parent);
            p[j].a.window = i & 2 ? 77 : 0;
            cr_assert_eq(plumb_attention_fwd(&plumb_cpu, &p[j].a), PLUMB_OK);
            cr_assert_eq(plumb_attention_bwd(&plumb_cpu, &p[j].a), PLUMB_OK);
        }
        for (int j = 1; j < 3; j++) {
            const struct plumb_attention *a = &p[0].a, *b = &p[j].a;
            cr_expect(same_rows(&a->o, 0, &b->o, 0, a->N, 6 * 40), "o, case %d", i);
            cr_expect(same_rows(&a->dq, 0, &b->dq, 0, a->N, 6 * 40), "dq, case %d", i);
            cr_expect(same_rows(&a->dk, 0, &b->dk, 0, a->N, 2 * 40), "dk, case %d", i);
            cr_expect(same_rows(&a->dv, 0, &b->dv, 0, a->N, 2 * 40), "dv, case %d", i);
        }
        for (int j = 0; j < 3; j++)
            release(&p[j]);
    }
}

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
    give_work(&b);
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
