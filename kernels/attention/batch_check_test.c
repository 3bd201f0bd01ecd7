#include <plumb/batch.h>

#include <criterion/criterion.h>
#include <string.h>

enum { N = 9, VOCAB = 50, M = 5, R = 2 };

/* A prompt of 3, its children of 2 and 3, and another root of 1; the children's tokens are
 * predicted. */
struct data {
    int32_t token[N], position[N], start[4], length[4], parent[4], row[M], target[M], offset[R + 1];
};

static struct plumb_batch good(struct data *d)
{
    *d = (struct data){ .token = { 1, 2, 3, 4, 5, 6, 7, 8, 0 },
                        .position = { 0, 1, 2, 3, 4, 3, 4, 5, 0 },
                        .start = { 0, 3, 5, 8 },
                        .length = { 3, 2, 3, 1 },
                        .parent = { -1, 0, 0, -1 },
                        .row = { 2, 3, 2, 5, 6 },
                        .target = { 4, 5, 6, -1, 49 },
                        .offset = { 0, 2, 5 } };
    return (struct plumb_batch){ .N = N,
                                 .token = d->token,
                                 .position = d->position,
                                 .max_path = 6,
                                 .forest = { 4, d->start, d->length, d->parent },
                                 .targets = { M, d->row, d->target, R, d->offset } };
}

static void refused(const struct plumb_batch *b, const char *text)
{
    cr_expect_eq(plumb_batch_check(b, VOCAB), PLUMB_EINVAL, "wanted: %s", text);
    cr_expect(strstr(plumb_errmsg(), text), "wanted: %s, message was: %s", text, plumb_errmsg());
}

Test(batch_check, a_good_batch_and_an_empty_one_pass)
{
    struct data d;
    const struct plumb_batch b = good(&d), empty = { 0 };
    cr_expect_eq(plumb_batch_check(&b, VOCAB), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(plumb_batch_check(&empty, VOCAB), PLUMB_OK, "%s", plumb_errmsg());
}

/* One fault after the other; each is repaired before the next. */
#define FAULT(place, bad, text)                                                                    \
    do {                                                                                           \
        struct data d;                                                                             \
        struct plumb_batch b = good(&d);                                                           \
        place = bad;                                                                               \
        refused(&b, text);                                                                         \
    } while (0)

Test(batch_check, faults_of_the_forest_are_named)
{
    FAULT(d.length[1], 0, "segment 1 has length 0");
    FAULT(d.length[1], INT32_MAX, "segment 1 ends at row 2147483650, there are N=9 rows");
    FAULT(d.start[2], 4, "segment 2 starts at row 4, before the end of the one before it (5)");
    FAULT(d.start[0], 1, "rows 0 to 0 before segment 0 belong to no segment");
    FAULT(d.start[2], INT32_MIN, "segment 2 starts at row -2147483648");
    FAULT(d.parent[2], 2, "segment 2 has parent 2");
    FAULT(d.parent[3], -2, "segment 3 has parent -2");
    FAULT(b.N, 8, "segment 3 ends at row 9, there are N=8 rows");
    FAULT(b.forest.S, 3, "rows 8 to 8 after the last segment belong to no segment");
    FAULT(b.forest.S, -3, "forest.S=-3");
    FAULT(b.forest.length, NULL, "forest.length is missing");
    FAULT(b.N, -1, "N=-1");
}

Test(batch_check, faults_of_tokens_and_positions_are_named)
{
    FAULT(d.token[4], VOCAB, "token[4]=50, the vocabulary has 50");
    FAULT(d.token[8], -1, "token[8]=-1");
    FAULT(d.position[0], 1, "position[0]=1, row 0 of segment 0 stands at 0");
    FAULT(d.position[6], 3, "position[6]=3, row 1 of segment 2 stands at 4");
    FAULT(b.max_path, 5, "max_path=5, the longest path has 6");
    FAULT(b.token, NULL, "token is missing");
    FAULT(b.position, NULL, "position is missing");
}

Test(batch_check, faults_of_the_targets_are_named)
{
    FAULT(d.row[1], N, "targets.row[1]=9, there are N=9 rows");
    FAULT(d.row[0], -1, "targets.row[0]=-1");
    FAULT(d.row[4], 4, "targets.row[4]=4 is below the one before it in sequence 1");
    FAULT(d.target[3], -2, "targets.target[3]=-2");
    FAULT(d.target[4], VOCAB, "targets.target[4]=50");
    FAULT(d.offset[0], 1, "targets.offset[0]=1");
    FAULT(d.offset[1], 7, "targets.offset[2]=5 is below the one before it (7)");
    FAULT(d.offset[2], 4, "targets.offset[2]=4, must be M=5");
    FAULT(b.targets.R, -1, "targets.R=-1");
    FAULT(b.targets.M, -1, "targets.M=-1");
    FAULT(b.targets.row, NULL, "targets.row is missing");
    FAULT(b.targets.target, NULL, "targets.target is missing");
    FAULT(b.targets.offset, NULL, "targets.offset is missing");
}
