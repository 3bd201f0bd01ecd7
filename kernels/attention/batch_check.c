/* Checks a batch before any op reads it: the forest, tokens, positions and targets. */
#include <plumb/batch.h>

#include "kernels/attention/forest.h"

static int missing(const char *field)
{
    return plumb_fail(PLUMB_EINVAL, "batch: %s is missing", field);
}

static int check_tokens(const struct plumb_batch *b, int64_t vocab)
{
    for (int64_t n = 0; n < b->N; n++)
        if (b->token[n] < 0 || b->token[n] >= vocab)
            return plumb_fail(PLUMB_EINVAL, "batch: token[%lld]=%d, the vocabulary has %lld",
                              (long long)n, (int)b->token[n], (long long)vocab);
    return PLUMB_OK;
}

/* A parent comes before its children, so its last position is known to be right. */
static int check_positions(const struct plumb_batch *b)
{
    const struct plumb_forest *f = &b->forest;
    int64_t longest = 0;
    for (int64_t s = 0; s < f->S; s++) {
        const int64_t parent = f->parent[s];
        const int64_t before =
            parent < 0 ? 0 : (int64_t)b->position[f->start[parent] + f->length[parent] - 1] + 1;
        for (int64_t i = 0; i < f->length[s]; i++) {
            const int64_t n = f->start[s] + i;
            if (b->position[n] != before + i)
                return plumb_fail(
                    PLUMB_EINVAL,
                    "batch: position[%lld]=%d, row %lld of segment %lld stands at %lld on its path",
                    (long long)n, (int)b->position[n], (long long)i, (long long)s,
                    (long long)(before + i));
        }
        if (before + f->length[s] > longest) longest = before + f->length[s];
    }
    if (b->max_path != longest)
        return plumb_fail(PLUMB_EINVAL, "batch: max_path=%lld, the longest path has %lld tokens",
                          (long long)b->max_path, (long long)longest);
    return PLUMB_OK;
}

static int check_offsets(const struct plumb_targets *t)
{
    if (t->R < 0)
        return plumb_fail(PLUMB_EINVAL, "batch: targets.R=%lld, must be at least 0",
                          (long long)t->R);
    if (!t->offset) return missing("targets.offset");
    if (t->offset[0] != 0)
        return plumb_fail(PLUMB_EINVAL, "batch: targets.offset[0]=%d, must be 0",
                          (int)t->offset[0]);
    for (int64_t r = 0; r < t->R; r++)
        if (t->offset[r + 1] < t->offset[r])
            return plumb_fail(PLUMB_EINVAL,
                              "batch: targets.offset[%lld]=%d is below the one before it (%d)",
                              (long long)(r + 1), (int)t->offset[r + 1], (int)t->offset[r]);
    if (t->offset[t->R] != t->M)
        return plumb_fail(PLUMB_EINVAL, "batch: targets.offset[%lld]=%d, must be M=%lld",
                          (long long)t->R, (int)t->offset[t->R], (long long)t->M);
    return PLUMB_OK;
}

static int check_targets(const struct plumb_targets *t, int64_t N, int64_t vocab)
{
    if (t->M < 0)
        return plumb_fail(PLUMB_EINVAL, "batch: targets.M=%lld, must be at least 0",
                          (long long)t->M);
    if (t->M > 0 && !t->row) return missing("targets.row");
    if (t->M > 0 && !t->target) return missing("targets.target");
    if (t->M > 0 || t->R != 0) PLUMB_TRY(check_offsets(t));
    for (int64_t m = 0; m < t->M; m++) {
        if (t->row[m] < 0 || t->row[m] >= N)
            return plumb_fail(PLUMB_EINVAL, "batch: targets.row[%lld]=%d, there are N=%lld rows",
                              (long long)m, (int)t->row[m], (long long)N);
        if (t->target[m] < -1 || t->target[m] >= vocab)
            return plumb_fail(
                PLUMB_EINVAL,
                "batch: targets.target[%lld]=%d, must be -1 or below the vocabulary's %lld",
                (long long)m, (int)t->target[m], (long long)vocab);
    }
    for (int64_t r = 0; r < t->R; r++)
        for (int64_t m = (int64_t)t->offset[r] + 1; m < t->offset[r + 1]; m++)
            if (t->row[m] < t->row[m - 1])
                return plumb_fail(
                    PLUMB_EINVAL,
                    "batch: targets.row[%lld]=%d is below the one before it in sequence %lld",
                    (long long)m, (int)t->row[m], (long long)r);
    return PLUMB_OK;
}

int plumb_batch_check(const struct plumb_batch *b, int64_t vocab)
{
    if (b->N < 0)
        return plumb_fail(PLUMB_EINVAL, "batch: N=%lld, must be at least 0", (long long)b->N);
    if (b->N > 0 && !b->token) return missing("token");
    if (b->N > 0 && !b->position) return missing("position");
    PLUMB_TRY(plumb_forest_check("batch", &b->forest, b->N, PLUMB_FOREST_WHOLE));
    PLUMB_TRY(check_tokens(b, vocab));
    PLUMB_TRY(check_positions(b));
    return check_targets(&b->targets, b->N, vocab);
}
