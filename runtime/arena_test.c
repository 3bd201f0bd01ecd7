#include <plumb/arena.h>

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

Test(arena, counts_what_the_same_pushes_then_take)
{
    struct plumb_arena a;
    void *p;
    plumb_arena_init_counting(&a, "test");
    for (int run = 0; run < 2; run++) {
        cr_assert_eq(plumb_arena_push(&a, 1, &p), PLUMB_OK);
        const struct plumb_mark mark = plumb_arena_mark(&a);
        cr_assert_eq(plumb_arena_push(&a, 1000, &p), PLUMB_OK);
        plumb_arena_reset(&a, mark);
        cr_assert_eq(plumb_arena_push(&a, 10, &p), PLUMB_OK);
        cr_expect_eq(p != NULL, run == 1);
        cr_expect_eq(a.peak, 64 + 1024);
        if (run == 0) cr_assert_eq(plumb_arena_init(&a, "test", a.peak), PLUMB_OK);
    }
    cr_expect_eq(plumb_arena_push(&a, 1024, &p), PLUMB_EMEM);
    cr_expect(strstr(plumb_errmsg(), "test arena is full"), "%s", plumb_errmsg());
    plumb_arena_release(&a);
}

/* The kernel would promise this much and end the process later. */
Test(arena, more_than_the_machine_has_is_refused_with_bytes_wanted_and_free)
{
    struct plumb_arena a;
    void *p;
    cr_expect_eq(plumb_arena_init(&a, "test", (size_t)1 << 46), PLUMB_EMEM);
    cr_expect(strstr(plumb_errmsg(), "test arena: 67108864.0 MiB wanted"), "%s", plumb_errmsg());
    cr_expect(strstr(plumb_errmsg(), "MiB free"), "%s", plumb_errmsg());
    plumb_arena_release(&a);
    plumb_arena_init_counting(&a, "test");
    cr_expect_eq(plumb_arena_push(&a, SIZE_MAX - 1, &p), PLUMB_EMEM);
}
