/* Learning-rate schedules. The order of operations is transformers', so that rates agree to the
 * last bit. */
#include "algos/schedule.h"

#include <math.h>

void plumb_schedule_defaults(struct plumb_schedule *s)
{
    s->num_cycles = 0.5;
    s->min_lr = s->min_lr_rate = s->timescale = NAN;
    s->lr_end = 1e-7;
    s->power = 1.0;
}

int plumb_schedule_check(const struct plumb_schedule *s)
{
    if ((unsigned)s->kind >= PLUMB_SCHEDULES)
        return plumb_fail(PLUMB_EINVAL, "schedule: kind %d does not exist", (int)s->kind);
    if (s->warmup_steps < 0 || s->total_steps < 0)
        return plumb_fail(PLUMB_EINVAL, "schedule: %lld warm-up and %lld total steps, want >= 0",
                          (long long)s->warmup_steps, (long long)s->total_steps);
    if (s->kind == PLUMB_SCHEDULE_COSINE_WITH_MIN_LR && isnan(s->min_lr) == isnan(s->min_lr_rate))
        return plumb_fail(PLUMB_EINVAL,
                          "lr_scheduler_type cosine_with_min_lr wants exactly one of min_lr and "
                          "min_lr_rate in lr_scheduler_kwargs");
    if (s->kind == PLUMB_SCHEDULE_POLYNOMIAL && !(s->peak > s->lr_end))
        return plumb_fail(PLUMB_EINVAL,
                          "lr_scheduler_type polynomial: lr_end %g must be smaller than "
                          "learning_rate %g",
                          s->lr_end, s->peak);
    if (s->kind == PLUMB_SCHEDULE_INVERSE_SQRT && !isnan(s->timescale) && !(s->timescale > 0))
        return plumb_fail(PLUMB_EINVAL, "lr_scheduler_type inverse_sqrt: timescale %g, want > 0",
                          s->timescale);
    return PLUMB_OK;
}

static double cosine(const struct plumb_schedule *s, int64_t step)
{
    const int64_t span = s->total_steps - s->warmup_steps;
    const double progress = (double)(step - s->warmup_steps) / (double)(span > 1 ? span : 1);
    return 0.5 * (1.0 + cos(3.14159265358979323846 * s->num_cycles * 2.0 * progress));
}

static double linear(const struct plumb_schedule *s, int64_t step)
{
    const int64_t span = s->total_steps - s->warmup_steps;
    return fmax(0.0, (double)(s->total_steps - step) / (double)(span > 1 ? span : 1));
}

static double inverse_sqrt(const struct plumb_schedule *s, int64_t step)
{
    const double scale = !isnan(s->timescale)  ? s->timescale
                         : s->warmup_steps > 0 ? (double)s->warmup_steps
                                               : 10000.0;
    const double shift = scale - (double)s->warmup_steps;
    return 1.0 / sqrt(((double)step + shift) / scale);
}

/* A run whose warm-up fills all its steps has no decay left: the end rate. */
static double polynomial(const struct plumb_schedule *s, int64_t step)
{
    const int64_t span = s->total_steps - s->warmup_steps;
    if (step > s->total_steps || span <= 0) return s->lr_end / s->peak;
    const double remaining = 1.0 - (double)(step - s->warmup_steps) / (double)span;
    return ((s->peak - s->lr_end) * pow(remaining, s->power) + s->lr_end) / s->peak;
}

double plumb_schedule_lr(const struct plumb_schedule *s, int64_t step)
{
    const double w = s->warmup_steps > 1 ? (double)s->warmup_steps : 1.0;
    if (s->kind != PLUMB_SCHEDULE_CONSTANT && step < s->warmup_steps)
        return s->peak * ((double)step / w);
    switch (s->kind) {
    case PLUMB_SCHEDULE_LINEAR: return s->peak * linear(s, step);
    case PLUMB_SCHEDULE_COSINE: return s->peak * fmax(0.0, cosine(s, step));
    case PLUMB_SCHEDULE_COSINE_WITH_MIN_LR: {
        const double r = isnan(s->min_lr_rate) ? s->min_lr / s->peak : s->min_lr_rate;
        return s->peak * fmax(0.0, cosine(s, step) * (1.0 - r) + r);
    }
    case PLUMB_SCHEDULE_INVERSE_SQRT: return s->peak * inverse_sqrt(s, step);
    case PLUMB_SCHEDULE_POLYNOMIAL: return s->peak * polynomial(s, step);
    default: return s->peak;
    }
}
