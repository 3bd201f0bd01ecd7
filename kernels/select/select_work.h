/* Scratch of the selections on a device: how far one has come and how often each digit occurs; sums
 * of a covariance's chunks. */
#pragma once
#include "kernels/select/select_key.h"

enum { PLUMB_COVARIANCE_CHUNK = 8192 };

struct plumb_select_work {
    struct plumb_select_state state; /* written by one block at a time */
    int64_t counted, nan;            /* by all blocks, for the state's fields of these names */
    uint32_t next;
    uint32_t bin[PLUMB_SELECT_BINS];
};

static inline size_t plumb_covariance_chunks(int64_t M)
{
    return (size_t)((M + PLUMB_COVARIANCE_CHUNK - 1) / PLUMB_COVARIANCE_CHUNK);
}
