/* Devices by name, and a backend's memory and entries. */
#include <criterion/criterion.h>
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/glu.h>
#include <stdlib.h>
#include <string.h>

Test(device, names_that_are_none_are_wrong_usage)
{
    static const char *const names[] = { "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cudas" };
    struct plumb_device dev;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_expect_eq(plumb_device_open(names[i], &dev), PLUMB_EUSAGE, "%s", names[i]);
        cr_expect(strstr(plumb_errmsg(), names[i]), "%s", plumb_errmsg());
    }
}

Test(device, a_missing_backend_is_named)
{
    struct plumb_device dev;
    setenv("PLUMB_BACKENDS", "/nowhere", 1);
    cr_expect_eq(plumb_device_open("cuda-sim", &dev), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "libplumb_cuda_sim.so"), "%s", plumb_errmsg());
    cr_expect_not(plumb_device_have_cuda());
}

/* The plugin is built wherever there is a C++ compiler, which the tests install. */
static struct plumb_device simulated(void)
{
    struct plumb_device dev;
    cr_assert_eq(plumb_device_open("cuda-sim", &dev), PLUMB_OK, "%s", plumb_errmsg());
    return dev;
}

Test(device, bytes_come_back_as_they_went)
{
    struct plumb_device dev = simulated();
    char from[1000], to[1000];
    void *a, *b;
    for (int i = 0; i < 1000; i++)
        from[i] = (char)(7 * i);
    cr_assert_eq(plumb_device_alloc(&dev, 1000, &a), PLUMB_OK);
    cr_assert_eq(plumb_device_alloc(&dev, 1000, &b), PLUMB_OK);
    cr_assert_eq(plumb_device_upload(&dev, a, from, 1000), PLUMB_OK);
    cr_assert_eq(plumb_device_copy(&dev, b, a, 1000), PLUMB_OK);
    cr_assert_eq(plumb_device_zero(&dev, (char *)b + 100, 50), PLUMB_OK);
    cr_assert_eq(plumb_device_download(&dev, to, b, 1000), PLUMB_OK);
    memset(from + 100, 0, 50);
    cr_expect(!memcmp(from, to, 1000));
    plumb_device_free(&dev, a);
    plumb_device_free(&dev, b);
    plumb_device_close(&dev);
}

Test(device, an_upload_ahead_is_there_for_what_is_queued_after_it)
{
    void *from, *a, *b;
    char to[1000];
    setenv("PLUMB_SIM_LAZY", "1", 1); /* a stream's work waits until somebody waits for it */
    struct plumb_device dev = simulated();
    cr_assert_eq(plumb_device_alloc_pinned(&dev, 1000, &from), PLUMB_OK);
    cr_assert_eq(plumb_device_alloc(&dev, 1000, &a), PLUMB_OK);
    cr_assert_eq(plumb_device_alloc(&dev, 1000, &b), PLUMB_OK);
    for (int round = 1; round <= 3; round++) {
        memset(from, round, 1000);
        cr_assert_eq(plumb_device_upload_ahead(&dev, a, from, 1000), PLUMB_OK);
        cr_assert_eq(plumb_device_copy(&dev, b, a, 1000), PLUMB_OK);
        cr_assert_eq(plumb_device_download(&dev, to, b, 1000), PLUMB_OK);
        cr_expect(!memcmp(from, to, 1000), "round %d", round);
    }
    plumb_device_free(&dev, a);
    plumb_device_free(&dev, b);
    plumb_device_free_pinned(&dev, from);
    plumb_device_close(&dev);
}

Test(device, an_entry_that_is_not_there_or_of_another_struct_is_refused)
{
    struct plumb_device dev = simulated();
    const struct plumb_glu a = { .struct_bytes = sizeof a };
    cr_expect_eq(plumb_backend_run(&dev, "glu_sideways", &a, sizeof a), PLUMB_ENOTSUP);
    cr_expect_eq(plumb_backend_run(&dev, "glu_fwd", &a, sizeof a - 8), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "glu_fwd"), "%s", plumb_errmsg());
    cr_expect_eq(plumb_backend_run(&dev, "glu_fwd", &a, sizeof a), PLUMB_OK, "no rows");
    plumb_device_close(&dev);
}
