/* Every op, every case, every precision against the f64 oracle; determinism; gradients by finite
 * differences. Bound: error <= 2 x the error of the plain computation in the op's own dtype + one
 * rounding step. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <plumb/device.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/op_case.h"

static int run(struct plumb_case_mem *m, enum plumb_dtype round)
{
    PLUMB_TRY(plumb_case_fwd(m, round));
    PLUMB_TRY(plumb_case_bwd(m, round));
    return plumb_case_fetch(m);
}

/* The device under test: PLUMB_TEST_DEVICE, by default the CPU. */
static struct plumb_device tested_device(void)
{
    struct plumb_device dev;
    const char *name = getenv("PLUMB_TEST_DEVICE");
    cr_assert_eq(plumb_device_open(name ? name : "cpu", &dev), PLUMB_OK, "%s", plumb_errmsg());
    return dev;
}

/* PLUMB_TEST_OP narrows a run to some ops, separated by commas. */
static bool left_out(const struct plumb_op *op, const struct plumb_case *c)
{
    const char *only = getenv("PLUMB_TEST_OP");
    if (!only || c->bench) return c->bench;
    char list[256], name[64];
    snprintf(list, sizeof list, ",%s,", only);
    snprintf(name, sizeof name, ",%s,", op->name);
    return !strstr(list, name);
}

static bool is_result(const struct plumb_item *it)
{
    return it->kind == PLUMB_ITEM_OUT || it->kind == PLUMB_ITEM_GRAD ||
           it->kind == PLUMB_ITEM_INOUT || it->kind == PLUMB_ITEM_INDEX_OUT;
}

struct worst {
    double yard, device, scale; /* largest errors and largest |truth| */
    int64_t at;
    bool special; /* a NaN or infinity where the truth has none, or the reverse */
};

static struct worst compare(const struct plumb_item *truth, const struct plumb_item *yard,
                            const struct plumb_item *device)
{
    struct worst w = { .at = -1 };
    for (int64_t i = 0; i < truth->count; i++) {
        const double t = plumb_item_get(truth, i), y = plumb_item_get(yard, i);
        const double d = plumb_item_get(device, i);
        if (!isfinite(t) || !isfinite(d)) {
            if (!(isnan(t) && isnan(d)) && t != d) w.special = true, w.at = i;
            continue;
        }
        if (fabs(t) > w.scale) w.scale = fabs(t);
        if (isfinite(y) && fabs(y - t) > w.yard) w.yard = fabs(y - t);
        if (fabs(d - t) > w.device) {
            w.device = fabs(d - t);
            if (!w.special) w.at = i;
        }
    }
    return w;
}

static int check_results(struct plumb_case_mem *truth, struct plumb_case_mem *yard,
                         struct plumb_case_mem *device)
{
    int compared = 0;
    for (int k = 0; k < truth->items; k++) {
        if (!is_result(&truth->item[k])) continue;
        const struct worst w = compare(&truth->item[k], &yard->item[k], &device->item[k]);
        const enum plumb_dtype dtype = device->item[k].dtype;
        const bool integer = dtype == PLUMB_I32 || dtype == PLUMB_I64;
        const enum plumb_dtype own = integer ? PLUMB_F64 : dtype;
        const double bound = 2 * w.yard + plumb_dtype_eps(own) * w.scale;
        cr_expect(!w.special && w.device <= bound,
                  "%s, case \"%s\", %s: %s[%lld]: error %.3g, bound %.3g (yardstick %.3g, largest "
                  "value %.3g)%s",
                  truth->op->name, truth->c->name, plumb_dtype_name(truth->act),
                  truth->item[k].name, (long long)w.at, w.device, bound, w.yard, w.scale,
                  w.special ? ": not finite on one side only" : "");
        compared++;
    }
    return compared;
}

static void check_bits(struct plumb_case_mem *first, struct plumb_case_mem *again,
                       bool without_weights, const char *how)
{
    for (int k = 0; k < first->items; k++) {
        const struct plumb_item *a = &first->item[k], *b = &again->item[k];
        if (!is_result(a)) continue;
        const bool weight = a->role == PLUMB_CASE_WEIGHT || first->op->all_gradients_of_threads;
        if (without_weights && a->kind == PLUMB_ITEM_GRAD && weight) continue;
        const size_t bytes = (size_t)a->count * plumb_dtype_bytes(a->dtype);
        cr_expect(!memcmp(a->host, b->host, bytes), "%s, case \"%s\", %s: %s differs %s",
                  first->op->name, first->c->name, plumb_dtype_name(first->act), a->name, how);
    }
}

/* The same call with another number of threads, and again, gives the same bits. */
static void check_repeats(struct plumb_case_mem *device, struct plumb_case_mem *again)
{
    const int threads = omp_get_max_threads();
    omp_set_num_threads(threads > 1 ? 1 : 3);
    cr_assert_eq(run(again, again->act), PLUMB_OK);
    omp_set_num_threads(threads);
    check_bits(device, again, device->op->products_of_threads, "with another number of threads");
    plumb_case_reset(again);
    cr_assert_eq(run(again, again->act), PLUMB_OK);
    check_bits(device, again, false, "in a second call");
}

static int check_case(const struct plumb_device *dev, const struct plumb_op *op,
                      const struct plumb_case *c, enum plumb_dtype act)
{
    struct plumb_case_mem truth, yard, device, again;
    plumb_case_begin(&truth, op, c, &plumb_ref, act);
    plumb_case_begin(&yard, op, c, &plumb_ref, act);
    plumb_case_begin(&device, op, c, dev, act);
    plumb_case_begin(&again, op, c, dev, act);
    const char *name = c->name;
    cr_assert_eq(run(&truth, PLUMB_F64), PLUMB_OK, "%s \"%s\": %s", op->name, name, plumb_errmsg());
    cr_assert_eq(run(&yard, act), PLUMB_OK);
    cr_assert_eq(run(&device, act), PLUMB_OK, "%s \"%s\": %s", op->name, name, plumb_errmsg());
    const int compared = check_results(&truth, &yard, &device);
    check_repeats(&device, &again);
    plumb_case_end(&truth);
    plumb_case_end(&yard);
    plumb_case_end(&device);
    plumb_case_end(&again);
    return compared;
}

Test(ops, every_case_agrees_with_its_oracle_and_repeats_its_bits, .timeout = 280)
{
    int ops = 0, cases = 0, compared = 0;
    char where[256];
    struct plumb_device dev = tested_device();
    plumb_device_describe(&dev, where, sizeof where);
    for (const struct plumb_op *op; (op = plumb_op_at(ops)); ops++)
        for (int k = 0; k < op->case_count; k++) {
            if (left_out(op, &op->cases[k])) continue;
            compared += check_case(&dev, op, &op->cases[k], PLUMB_F32);
            if (!op->f32_only) compared += check_case(&dev, op, &op->cases[k], PLUMB_BF16);
            cases += op->f32_only ? 1 : 2;
        }
    printf("ops: %d ops, %d cases, %d tensors compared on %s\n", ops, cases, compared, where);
    plumb_device_close(&dev);
    cr_assert_gt(compared, 0);
}

/* The scalar whose gradient backward computes, and the sum of the absolute values of its terms. */
static double objective(struct plumb_case_mem *m, double *magnitude)
{
    double sum = 0, abs_sum = 0;
    cr_assert_eq(plumb_case_fwd(m, PLUMB_F64), PLUMB_OK, "%s", plumb_errmsg());
    for (int k = 0; k < m->items; k++) {
        const struct plumb_item *up = &m->item[k];
        const bool upstream = up->kind == PLUMB_ITEM_UPSTREAM;
        const struct plumb_item *out = upstream ? &m->item[up->of] : up;
        if (!upstream && up->objective == 0) continue;
        for (int64_t i = 0; i < out->count; i++) {
            const double v = plumb_item_get(out, i);
            if (!isfinite(v)) continue; /* entries that the op leaves alone */
            const double term = v * (upstream ? up->initial[i] : up->objective);
            sum += term;
            abs_sum += fabs(term);
        }
    }
    *magnitude = abs_sum;
    return sum;
}

/* Central difference along `direction` from item `in`, at step h. */
static double difference(struct plumb_case_mem *m, int in, const double *direction, double h,
                         double *magnitude)
{
    double f[2];
    for (int s = 0; s < 2; s++) {
        plumb_case_reset(m);
        struct plumb_item *it = &m->item[in];
        for (int64_t i = 0; i < it->count; i++)
            plumb_item_set(it, i, it->initial[i] + (s ? -h : h) * direction[i]);
        f[s] = objective(m, magnitude);
    }
    return (f[0] - f[1]) / (2 * h);
}

/* Two step sizes tell the truncation error; f64 rounding adds eps * |terms| / h. */
static void check_direction(struct plumb_case_mem *m, int in, const double *direction,
                            double expected, const char *what)
{
    const double h = 2e-4;
    double magnitude;
    const double coarse = difference(m, in, direction, h, &magnitude);
    const double fine = difference(m, in, direction, h / 2, &magnitude);
    const double best = fine + (fine - coarse) / 3; /* Richardson: error O(h^4) */
    const double bound = fabs(fine - coarse) + 64 * 2.3e-16 * (magnitude + 1) / h;
    cr_expect(fabs(best - expected) <= bound,
              "%s, case \"%s\": gradient of %s, %s: %.12g, by differences %.12g (bound %.2g)",
              m->op->name, m->c->name, m->item[in].name, what, expected, best, bound);
}

static void check_gradient(struct plumb_case_mem *m, int k)
{
    const int in = m->item[k].of;
    const int64_t n = m->item[k].count;
    plumb_case_reset(m);
    cr_assert_eq(run(m, PLUMB_F64), PLUMB_OK, "%s", plumb_errmsg());
    double *g = plumb_case_bytes(m, (size_t)n * sizeof *g);
    double *direction = plumb_case_bytes(m, (size_t)n * sizeof *direction);
    double along = 0;
    for (int64_t i = 0; i < n; i++) {
        const double before = m->item[k].initial ? m->item[k].initial[i] : 0;
        const double after = plumb_item_get(&m->item[k], i);
        g[i] = isnan(after) ? 0 : after - before; /* what backward leaves alone has no gradient */
        direction[i] = (double)plumb_case_below(m, 2001) / 1000 - 1;
        along += g[i] * direction[i];
    }
    check_direction(m, in, direction, along, "along a random direction");
    for (int j = 0; j < 6; j++) {
        const int64_t i = (int64_t)plumb_case_below(m, (uint64_t)n);
        memset(direction, 0, (size_t)n * sizeof *direction);
        direction[i] = 1;
        char what[32];
        snprintf(what, sizeof what, "element %lld", (long long)i);
        check_direction(m, in, direction, g[i], what);
    }
}

Test(ops, gradients_agree_with_finite_differences, .timeout = 280)
{
    int tensors = 0;
    const struct plumb_op *op;
    for (int o = 0; (op = plumb_op_at(o)); o++)
        for (int c = 0; c < op->case_count; c++) {
            if (left_out(op, &op->cases[c])) continue;
            struct plumb_case_mem m;
            plumb_case_begin(&m, op, &op->cases[c], &plumb_ref, PLUMB_F32);
            for (int k = 0; k < m.items; k++) {
                if (m.item[k].kind != PLUMB_ITEM_GRAD || m.item[k].count == 0) continue;
                check_gradient(&m, k);
                tensors++;
            }
            plumb_case_end(&m);
        }
    printf("ops: gradients of %d tensors checked by central differences\n", tensors);
    cr_assert_gt(tensors, 0);
}
