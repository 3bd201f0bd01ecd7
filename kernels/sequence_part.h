/* Parts of a loss's arguments: the sequences that a range of tokens is made of. */
#pragma once
#include <plumb/base.h>

struct plumb_sequence_part {
    int64_t first, count; /* items: pairs or sequences */
};

/* Finds the items of `each` sequences whose tokens are [first, first + count); empty items at the
 * range's ends belong to the part that begins with them. */
static inline int plumb_sequence_part_of(const char *op, const int32_t *offset, int64_t items,
                                         int64_t each, int64_t first, int64_t count,
                                         struct plumb_sequence_part *out)
{
    int64_t low = 0, high = items;
    if (!offset || first < 0 || count < 0)
        return plumb_fail(PLUMB_EINVAL, "%s: a part of tokens [%lld, %lld)", op, (long long)first,
                          (long long)(first + count));
    while (low < high) { /* the first item that starts at `first` or behind it */
        const int64_t middle = low + (high - low) / 2;
        if (offset[middle * each] < first)
            low = middle + 1;
        else
            high = middle;
    }
    out->first = low;
    while (low < items && offset[(low + 1) * each] <= first + count)
        low++;
    out->count = low - out->first;
    if (offset[out->first * each] == first && offset[low * each] == first + count) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "%s: tokens [%lld, %lld) are no run of whole %s", op,
                      (long long)first, (long long)(first + count),
                      each == 2 ? "pairs" : "sequences");
}

/* The tensor from element i on; absent stays absent. */
static inline struct plumb_tensor plumb_part_at(struct plumb_tensor t, int64_t i)
{
    if (t.data) t.data = (char *)t.data + (size_t)i * plumb_dtype_bytes(t.dtype);
    return t;
}
