/* Test data that does not belong to the repository: the folder of PLUMB_SHARED, else `../shared`
 * beside the source. */
#pragma once
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* *out = path of `name` in the shared folder. Where it is missing: false after a line that says
 * so, or a failed test under PLUMB_REQUIRE_SHARED=1. */
static inline bool shared_path(char *out, size_t n, const char *name)
{
    const char *folder = getenv("PLUMB_SHARED"), *source = getenv("PLUMB_SOURCE");
    const char *required = getenv("PLUMB_REQUIRE_SHARED");
    if (folder)
        snprintf(out, n, "%s/%s", folder, name);
    else
        snprintf(out, n, "%s/../shared/%s", source ? source : ".", name);
    if (access(out, R_OK) == 0) return true;
    cr_assert(!required || required[0] != '1', "%s is missing", out);
    fprintf(stderr, "skipped: %s is missing\n", out);
    return false;
}
