/* What the placing of rows refuses; its cases are tested with those of all ops. */
#include <plumb/place.h>

#include <criterion/criterion.h>
#include <string.h>

static void refused(struct plumb_place a, const char *text)
{
    cr_expect_eq(plumb_place(&plumb_cpu, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), text), "message was: %s", plumb_errmsg());
}

Test(place, names_the_argument_at_fault)
{
    float x[4] = { 0 }, y[6] = { 0 };
    const int32_t to[2] = { 2, 3 };
    const struct plumb_place good = { .struct_bytes = sizeof good,
                                      .N = 1,
                                      .D = 2,
                                      .R = 3,
                                      .to = to,
                                      .x = { x, PLUMB_F32 },
                                      .y = { y, PLUMB_F32 } };
    struct plumb_place a = good;
    cr_expect_eq(plumb_place(&plumb_cpu, &a), PLUMB_OK);
    a.N = 2;
    refused(a, "to[1]=3, y has 3 rows");
    a = good, a.ldy = 1;
    refused(a, "ldy");
    a = good, a.y.dtype = PLUMB_BF16;
    refused(a, "y cannot be bfloat16");
    a = good, a.to = NULL;
    refused(a, "to is missing");
}
