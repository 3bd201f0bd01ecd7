/* Lengths of a run from its options, with transformers' rounding. */
#include "algos/config.h"

#include <math.h>

int64_t plumb_config_steps(double steps, int64_t total_steps)
{
    return steps < 1 ? (int64_t)ceil((double)total_steps * steps) : (int64_t)steps;
}

int64_t plumb_config_total_steps(const struct plumb_train_config *c, int64_t rows)
{
    if (c->max_steps > 0) return c->max_steps;
    const int64_t batch = c->per_device_train_batch_size, micro = (rows + batch - 1) / batch;
    const int64_t steps = (micro + c->gradient_accumulation_steps - 1) /
                          c->gradient_accumulation_steps;
    return (int64_t)ceil(c->num_train_epochs * (double)(steps > 1 ? steps : 1));
}

int plumb_config_schedule(const struct plumb_train_config *c, int64_t total_steps,
                          struct plumb_schedule *out)
{
    *out = c->schedule;
    out->peak = c->learning_rate;
    out->total_steps = total_steps;
    out->warmup_steps = c->warmup_steps > 0 ? plumb_config_steps(c->warmup_steps, total_steps)
                                            : (int64_t)ceil((double)total_steps * c->warmup_ratio);
    return plumb_schedule_check(out);
}
