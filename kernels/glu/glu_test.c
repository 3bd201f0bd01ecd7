#include <plumb/glu.h>

#include <criterion/criterion.h>
#include <string.h>

Test(glu, rejects_zero_width_and_says_so)
{
    const struct plumb_glu a = { .struct_bytes = sizeof a, .N = 1, .F = 0 };
    cr_assert_eq(plumb_glu_fwd(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "F=0"), "message was: %s", plumb_errmsg());
}

Test(glu, gate_of_zero_closes)
{
    float x[4] = { 0, 0, 3, -5 }, y[2];
    const struct plumb_glu a = { .struct_bytes = sizeof a,
                                 .N = 1,
                                 .F = 2,
                                 .kind = PLUMB_ACT_SWIGLU,
                                 .x = { x, PLUMB_F32 },
                                 .y = { y, PLUMB_F32 } };
    cr_assert_eq(plumb_glu_fwd(&plumb_cpu, &a), PLUMB_OK);
    cr_expect(y[0] == 0.0f && y[1] == 0.0f);
}

Test(glu, large_inputs_saturate_without_nan)
{
    float x[4] = { -1e30f, 1e30f, 1, 1 }, y[2];
    const struct plumb_glu a = { .struct_bytes = sizeof a,
                                 .N = 1,
                                 .F = 2,
                                 .kind = PLUMB_ACT_SWIGLU,
                                 .x = { x, PLUMB_F32 },
                                 .y = { y, PLUMB_F32 } };
    cr_assert_eq(plumb_glu_fwd(&plumb_cpu, &a), PLUMB_OK);
    cr_expect(y[0] == 0.0f, "was %g", (double)y[0]);
    cr_expect(y[1] == 1e30f, "was %g", (double)y[1]);
}
