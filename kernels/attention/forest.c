/* The rules of a segment forest. */
#include "kernels/attention/forest.h"

static int check_segment(const char *op, const struct plumb_forest *f, int64_t s, int64_t row,
                         int64_t N, enum plumb_forest_rows rows)
{
    const int64_t start = f->start[s], length = f->length[s], parent = f->parent[s];
    if (length < 1)
        return plumb_fail(PLUMB_EINVAL, "%s: segment %lld has length %lld, must be at least 1", op,
                          (long long)s, (long long)length);
    if (start < 0 || (start < row && rows != PLUMB_FOREST_ANYWHERE))
        return plumb_fail(
            PLUMB_EINVAL,
            "%s: segment %lld starts at row %lld, before the end of the one before it (%lld)", op,
            (long long)s, (long long)start, (long long)row);
    if (start > row && rows == PLUMB_FOREST_WHOLE)
        return plumb_fail(PLUMB_EINVAL,
                          "%s: rows %lld to %lld before segment %lld belong to no segment", op,
                          (long long)row, (long long)(start - 1), (long long)s);
    if (start + length > N)
        return plumb_fail(PLUMB_EINVAL, "%s: segment %lld ends at row %lld, there are N=%lld rows",
                          op, (long long)s, (long long)(start + length), (long long)N);
    if (parent < -1 || parent >= s)
        return plumb_fail(PLUMB_EINVAL,
                          "%s: segment %lld has parent %lld, must be -1 or an earlier segment", op,
                          (long long)s, (long long)parent);
    return PLUMB_OK;
}

int plumb_forest_present(const char *op, const struct plumb_forest *f)
{
    if (f->S < 0)
        return plumb_fail(PLUMB_EINVAL, "%s: forest.S=%lld, must be at least 0", op,
                          (long long)f->S);
    if (f->S > 0 && (!f->start || !f->length || !f->parent))
        return plumb_fail(PLUMB_EINVAL, "%s: forest.%s is missing", op,
                          !f->start    ? "start"
                          : !f->length ? "length"
                                       : "parent");
    return PLUMB_OK;
}

int plumb_forest_check(const char *op, const struct plumb_forest *f, int64_t N,
                       enum plumb_forest_rows rows)
{
    PLUMB_TRY(plumb_forest_present(op, f));
    int64_t row = 0;
    for (int64_t s = 0; s < f->S; s++) {
        PLUMB_TRY(check_segment(op, f, s, row, N, rows));
        row = (int64_t)f->start[s] + f->length[s];
    }
    if (row < N && rows == PLUMB_FOREST_WHOLE)
        return plumb_fail(PLUMB_EINVAL,
                          "%s: rows %lld to %lld after the last segment belong to no segment", op,
                          (long long)row, (long long)(N - 1));
    return PLUMB_OK;
}
