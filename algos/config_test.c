#include "algos/config.h"

#include <criterion/criterion.h>

Test(config, steps_below_one_are_shares_rounded_up)
{
    cr_expect_eq(plumb_config_steps(10, 1000), 10);
    cr_expect_eq(plumb_config_steps(1, 1000), 1);
    cr_expect_eq(plumb_config_steps(0.1, 1000), 100);
    cr_expect_eq(plumb_config_steps(0.1, 11), 2);
    cr_expect_eq(plumb_config_steps(0, 11), 0);
}

/* 10 rows in batches of 4 are 3 micro-steps; two of them a step make 2 steps an epoch. */
Test(config, a_run_s_length_counts_the_last_smaller_batch)
{
    struct plumb_train_config c = { .max_steps = -1,
                                    .num_train_epochs = 3,
                                    .per_device_train_batch_size = 4,
                                    .gradient_accumulation_steps = 2 };
    cr_expect_eq(plumb_config_total_steps(&c, 10), 6);
    c.num_train_epochs = 0.75;
    cr_expect_eq(plumb_config_total_steps(&c, 10), 2);
    c.gradient_accumulation_steps = 100;
    c.num_train_epochs = 2;
    cr_expect_eq(plumb_config_total_steps(&c, 10), 2);
    c.max_steps = 7;
    cr_expect_eq(plumb_config_total_steps(&c, 10), 7);
}

Test(config, warmup_steps_win_over_warmup_ratio)
{
    struct plumb_train_config c = { .learning_rate = 1e-3, .warmup_ratio = 0.5 };
    struct plumb_schedule s;
    plumb_schedule_defaults(&c.schedule);
    c.schedule.kind = PLUMB_SCHEDULE_LINEAR;
    cr_assert_eq(plumb_config_schedule(&c, 11, &s), PLUMB_OK);
    cr_expect(s.warmup_steps == 6 && s.total_steps == 11 && s.peak == 1e-3);
    c.warmup_ratio = 1;
    cr_assert_eq(plumb_config_schedule(&c, 11, &s), PLUMB_OK);
    cr_expect_eq(s.warmup_steps, 11);
    c.warmup_steps = 3;
    cr_assert_eq(plumb_config_schedule(&c, 11, &s), PLUMB_OK);
    cr_expect_eq(s.warmup_steps, 3);
    c.warmup_steps = 0.2;
    cr_assert_eq(plumb_config_schedule(&c, 11, &s), PLUMB_OK);
    cr_expect_eq(s.warmup_steps, 3);
}
