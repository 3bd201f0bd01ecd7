/* Learning-rate schedules by step, with the names, arithmetic and defaults of transformers'
 * get_scheduler (5.23). */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* PLUMB_SCHEDULE(NAME, name of lr_scheduler_type). w = warm-up steps, T = total steps, t = step.
 * All but `constant` rise linearly from 0 during warm-up: t / max(1, w) for t < w. After it,
 * times the peak rate:
 *   constant, constant_with_warmup   1
 *   linear                           max(0, (T - t) / max(1, T - w))
 *   cosine max(0, (1 + cos(2 pi num_cycles (t - w) / max(1, T - w))) / 2)
 *   cosine_with_min_lr max(0, r + (1 - r) * the same), r = min_lr_rate or min_lr / peak
 *   inverse_sqrt                     sqrt(s / (t - w + s)), s = timescale, else w, else 10000
 *   polynomial (e + (1 - e) (1 - (t - w) / (T - w))^power), e = lr_end / peak; e after T */
#define PLUMB_SCHEDULE_LIST(X)                                                                     \
    X(CONSTANT, "constant")                                                                        \
    X(CONSTANT_WITH_WARMUP, "constant_with_warmup")                                                \
    X(LINEAR, "linear")                                                                            \
    X(COSINE, "cosine")                                                                            \
    X(COSINE_WITH_MIN_LR, "cosine_with_min_lr")                                                    \
    X(INVERSE_SQRT, "inverse_sqrt")                                                                \
    X(POLYNOMIAL, "polynomial")

enum plumb_schedule_kind {
#define X(NAME, name) PLUMB_SCHEDULE_##NAME,
    PLUMB_SCHEDULE_LIST(X)
#undef X
        PLUMB_SCHEDULES
};

struct plumb_schedule {
    enum plumb_schedule_kind kind;
    double peak;                /* learning_rate */
    int64_t warmup_steps;       /* >= 0 */
    int64_t total_steps;        /* optimizer steps of the whole run, >= 0 */
    double num_cycles;          /* cosine kinds; 0.5 = down once */
    double min_lr, min_lr_rate; /* cosine_with_min_lr: exactly one of them; NaN = not given */
    double lr_end, power;       /* polynomial */
    double timescale;           /* inverse_sqrt, steps; NaN = not given */
};

/* The values transformers takes when lr_scheduler_kwargs says nothing; kind, peak and steps are
 * left alone. */
void plumb_schedule_defaults(struct plumb_schedule *s);
/* Refuses what transformers refuses, naming the field: both or neither of min_lr and
 * min_lr_rate, lr_end >= peak. */
int plumb_schedule_check(const struct plumb_schedule *s);
/* The rate of optimizer step `step`, counted from 0. Never fails on a checked schedule. */
double plumb_schedule_lr(const struct plumb_schedule *s, int64_t step);

PLUMB_END_C
