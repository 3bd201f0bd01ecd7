#include "algos/schedule.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* cos and pow of two C libraries may differ in the last bit; nothing else may. */
#define ULPS(peak) (2 * DBL_EPSILON * (peak))

static struct plumb_schedule make(enum plumb_schedule_kind kind, double peak, int64_t warmup,
                                  int64_t total)
{
    struct plumb_schedule s = { .kind = kind,
                                .peak = peak,
                                .warmup_steps = warmup,
                                .total_steps = total };
    plumb_schedule_defaults(&s);
    return s;
}

/* Rates that the lambdas of transformers 5.23.0 (optimization.py) gave at these steps, times a
 * peak of 2e-4, with 20 steps in all. */
static const int64_t steps[9] = { 0, 1, 2, 3, 4, 10, 19, 20, 25 };
static const struct {
    enum plumb_schedule_kind kind;
    int64_t warmup;
    struct {
        double cycles, min_lr, min_lr_rate, timescale, power, lr_end;
    } k;
    double rate[9];
} transformers[] = {
    { PLUMB_SCHEDULE_CONSTANT, 3, { 0 }, { 2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4 } },
    { PLUMB_SCHEDULE_CONSTANT_WITH_WARMUP,
      3,
      { 0 },
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4 } },
    { PLUMB_SCHEDULE_LINEAR,
      3,
      { 0 },
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 0.00018823529411764707,
        0.00011764705882352942, 1.1764705882352942e-05, 0, 0 } },
    { PLUMB_SCHEDULE_COSINE,
      3,
      { 0 },
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 0.0001982973099683902,
        0.0001273662990072083, 1.7026900316098215e-06, 0, 3.973653636207435e-05 } },
    { PLUMB_SCHEDULE_COSINE,
      0,
      { .cycles = 1.5 },
      { 2e-4, 0.0001891006524188368, 0.00015877852522924732, 0.0001156434465040231,
        6.909830056250527e-05, 9.999999999999998e-05, 1.0899347581163267e-05, 0,
        0.00017071067811865468 } },
    { PLUMB_SCHEDULE_COSINE_WITH_MIN_LR,
      3,
      { .min_lr = 2e-5 },
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 0.00019846757897155117,
        0.0001346296691064875, 2.153242102844884e-05, 2e-5, 5.5762882725866915e-05 } },
    { PLUMB_SCHEDULE_COSINE_WITH_MIN_LR,
      3,
      { .min_lr_rate = 0.25 },
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 0.00019872298247629268,
        0.00014552472425540623, 5.127701752370737e-05, 5e-5, 7.980240227155577e-05 } },
    { PLUMB_SCHEDULE_INVERSE_SQRT,
      3,
      { 0 },
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 0.00017320508075688776,
        0.00010954451150103321, 7.947194142390265e-05, 7.745966692414834e-05,
        6.928203230275508e-05 } },
    { PLUMB_SCHEDULE_INVERSE_SQRT,
      0,
      { 0 },
      { 2e-4, 0.00019999000074993753, 0.00019998000299950014, 0.00019997000674831295,
        0.00019996001199600142, 0.00019990007493755465, 0.000199810270322024,
        0.00019980029950087343, 0.00019975046777556893 } },
    { PLUMB_SCHEDULE_INVERSE_SQRT,
      3,
      { .timescale = 50 },
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 0.00019802950859533486,
        0.0001873171623163388, 0.00017407765595569785, 0.00017277368511627202,
        0.0001666666666666667 } },
    { PLUMB_SCHEDULE_POLYNOMIAL,
      3,
      { 0 },
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 0.00018824117647058824,
        0.00011768823529411766, 1.1858823529411769e-05, 9.999999999999998e-08,
        9.999999999999998e-08 } },
    { PLUMB_SCHEDULE_POLYNOMIAL,
      3,
      { .power = 2, .lr_end = 1e-6 },
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 0.00017727681660899654,
        6.985813148788928e-05, 1.688581314878893e-06, 1e-6, 1e-6 } },
};

Test(schedule, rates_are_those_of_transformers)
{
    for (size_t i = 0; i < sizeof transformers / sizeof *transformers; i++) {
        struct plumb_schedule s = make(transformers[i].kind, 2e-4, transformers[i].warmup, 20);
        if (transformers[i].k.cycles > 0) s.num_cycles = transformers[i].k.cycles;
        if (transformers[i].k.min_lr > 0) s.min_lr = transformers[i].k.min_lr;
        if (transformers[i].k.min_lr_rate > 0) s.min_lr_rate = transformers[i].k.min_lr_rate;
        if (transformers[i].k.timescale > 0) s.timescale = transformers[i].k.timescale;
        if (transformers[i].k.power > 0) s.power = transformers[i].k.power;
        if (transformers[i].k.lr_end > 0) s.lr_end = transformers[i].k.lr_end;
        cr_assert_eq(plumb_schedule_check(&s), PLUMB_OK, "row %zu: %s", i, plumb_errmsg());
        for (int j = 0; j < 9; j++)
            cr_expect_float_eq(plumb_schedule_lr(&s, steps[j]), transformers[i].rate[j], ULPS(2e-4),
                               "row %zu, step %d", i, (int)steps[j]);
    }
}

/* The closed forms of schedule.h, written out again. */
static double closed_form(const struct plumb_schedule *s, double t)
{
    const double w = (double)s->warmup_steps, T = (double)s->total_steps, span = fmax(1, T - w);
    const double r = isnan(s->min_lr_rate) ? s->min_lr / s->peak : s->min_lr_rate;
    const double wave = (1 + cos(2 * M_PI * s->num_cycles * (t - w) / span)) / 2;
    if (t < w && s->kind != PLUMB_SCHEDULE_CONSTANT) return s->peak * t / w;
    switch (s->kind) {
    case PLUMB_SCHEDULE_LINEAR: return s->peak * fmax(0, (T - t) / span);
    case PLUMB_SCHEDULE_COSINE: return s->peak * wave;
    case PLUMB_SCHEDULE_COSINE_WITH_MIN_LR: return s->peak * (r + (1 - r) * wave);
    case PLUMB_SCHEDULE_INVERSE_SQRT:
        return s->peak * sqrt((w > 0 ? w : 10000) / (t - w + (w > 0 ? w : 10000)));
    case PLUMB_SCHEDULE_POLYNOMIAL:
        return t > T ? s->lr_end
                     : s->lr_end + (s->peak - s->lr_end) * pow(1 - (t - w) / (T - w), s->power);
    default: return s->peak;
    }
}

Test(schedule, rates_follow_the_closed_forms_at_every_step)
{
    int compared = 0;
    for (int kind = 0; kind < PLUMB_SCHEDULES; kind++)
        for (int64_t warmup = 0; warmup < 9; warmup += 4) {
            struct plumb_schedule s = make((enum plumb_schedule_kind)kind, 3e-5, warmup, 37);
            if (kind == PLUMB_SCHEDULE_COSINE_WITH_MIN_LR) s.min_lr_rate = 0.1;
            s.power = 1.5;
            for (int64_t t = 0; t < 41; t++, compared++)
                cr_expect_float_eq(plumb_schedule_lr(&s, t), closed_form(&s, (double)t),
                                   4 * ULPS(3e-5), "kind %d, warm-up %d, step %d", kind,
                                   (int)warmup, (int)t);
        }
    cr_expect_eq(compared, 7 * 3 * 41);
}

Test(schedule, runs_shorter_than_their_warmup_stay_finite)
{
    for (int kind = 0; kind < PLUMB_SCHEDULES; kind++)
        for (int64_t total = 0; total < 4; total++) {
            struct plumb_schedule s = make((enum plumb_schedule_kind)kind, 1e-3, 3, total);
            if (kind == PLUMB_SCHEDULE_COSINE_WITH_MIN_LR) s.min_lr = 1e-4;
            cr_assert_eq(plumb_schedule_check(&s), PLUMB_OK);
            for (int64_t t = 0; t < 8; t++) {
                const double rate = plumb_schedule_lr(&s, t);
                cr_expect(rate >= 0 && rate <= 1e-3, "kind %d, step %d: %g", kind, (int)t, rate);
            }
        }
}

Test(schedule, refuses_what_transformers_refuses_and_says_why)
{
    struct plumb_schedule s = make(PLUMB_SCHEDULE_COSINE_WITH_MIN_LR, 1e-3, 0, 10);
    cr_expect_eq(plumb_schedule_check(&s), PLUMB_EINVAL);
    s.min_lr = s.min_lr_rate = 0.1;
    cr_expect_eq(plumb_schedule_check(&s), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "exactly one of min_lr and min_lr_rate"));
    s = make(PLUMB_SCHEDULE_POLYNOMIAL, 1e-7, 0, 10);
    cr_expect_eq(plumb_schedule_check(&s), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "smaller than"));
    s = make(PLUMB_SCHEDULE_INVERSE_SQRT, 1e-3, 0, 10);
    s.timescale = 0;
    cr_expect_eq(plumb_schedule_check(&s), PLUMB_EINVAL);
    s = make(PLUMB_SCHEDULE_LINEAR, 1e-3, -1, 10);
    cr_expect_eq(plumb_schedule_check(&s), PLUMB_EINVAL);
}
