/* The fused entry against forward, epilogue and backward, where groups fit a chunk, where they do
 * not, and where they fill several. */
#include "kernels/logprob/logprob_chunk.h"
#include "kernels/logprob/logprob_fixture.h"
#include "kernels/logprob/logprob_plan.h"
#include "tests/tensor.h"

/* The epilogue: upstream gradients from logp and entropy, mixed within the pairs it is given as a
 * loss over a group would. */
struct mixer {
    struct head *h;
    int64_t next; /* pairs seen so far */
    int calls, fail_at;
};

static int mix(void *ctx, int64_t first, int64_t count)
{
    struct mixer *m = ctx;
    const struct plumb_logprob *a = &m->h->a;
    cr_expect_eq(first, m->next);
    cr_expect_gt(count, 0);
    m->next = first + count;
    head_down(m->h);
    if (++m->calls == m->fail_at) return plumb_fail(PLUMB_ENUM, "no loss today");
    for (int64_t i = first; i < first + count; i++) {
        if (a->target[i] < 0) continue;
        head_set(&a->dlogp, i, 0.125 * head_get(&a->logp, i) + 0.5);
        if (a->entropy.data) head_set(&a->dentropy, i, 0.25 * head_get(&a->entropy, i) - 0.5);
        if (a->lse.data) head_set(&a->dlse, i, 0.0625 * head_get(&a->lse, i));
    }
    head_send_gradients(m->h);
    return PLUMB_OK;
}

/* What the epilogue did not write shows up as NaN. */
static void forget(struct head *h)
{
    memset(h->a.dlogp.data, 0xff, (size_t)h->a.M * plumb_dtype_bytes(h->a.dlogp.dtype));
}

static void run_apart(struct head *h)
{
    struct mixer m = { .h = h };
    forget(h);
    RUN(head_fwd(h));
    RUN(mix(&m, 0, h->a.M));
    RUN(head_bwd(h));
}

static int run_fused(struct head *h, const int32_t *group, int64_t groups, struct mixer *m)
{
    forget(h);
    m->h = h;
    h->a.group = group;
    h->a.groups = groups;
    h->a.epilogue = mix;
    h->a.epilogue_ctx = m;
    return head_run(h, plumb_logprob_fused);
}

static void expect_equal(const char *what, const struct plumb_tensor *a,
                         const struct plumb_tensor *b, int64_t n)
{
    cr_expect(!memcmp(a->data, b->data, (size_t)n * sizeof(float)), "%s differs", what);
}

/* Chunks add up in another order: error at most twice that of the entries run apart, and one
 * rounding step. */
static void expect_as_good(const char *what, const struct plumb_tensor *fused,
                           const struct plumb_tensor *apart, const struct plumb_tensor *truth,
                           int64_t n)
{
    double worst = 0, yard = 0, scale = 0;
    for (int64_t i = 0; i < n; i++) {
        const double t = head_get(truth, i);
        worst = fmax(worst, fabs(head_get(fused, i) - t));
        yard = fmax(yard, fabs(head_get(apart, i) - t));
        scale = fmax(scale, fabs(t));
    }
    cr_expect_leq(worst, 2 * yard + plumb_dtype_eps(PLUMB_F32) * scale,
                  "%s: error %.3g, apart %.3g, largest %.3g", what, worst, yard, scale);
    cr_expect_gt(scale, 0);
}

/* Rows serve several pairs, groups cut through them, some pairs are skipped. */
static void shape(struct head *h)
{
    for (int64_t i = 0; i < h->a.M; i++) {
        if (i % 11 == 3) h->target[i] = -1;
        if (i % 5 == 1) h->row[i] = h->row[i - 1];
    }
}

static void check(enum plumb_dtype type, int64_t M, int64_t V, const int32_t *group, int64_t groups)
{
    const int64_t H = 8;
    struct head fused, apart, truth;
    struct mixer m = { 0 };
    head_init(&fused, plumb_test_device(), type, M, H, V, M);
    head_init(&apart, plumb_test_device(), type, M, H, V, M);
    head_init(&truth, &plumb_ref, type, M, H, V, M);
    fused.a.batch_invariant = apart.a.batch_invariant = type == PLUMB_BF16;
    shape(&fused);
    shape(&apart);
    shape(&truth);
    run_apart(&apart);
    run_apart(&truth);
    cr_assert_eq(run_fused(&fused, group, groups, &m), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(m.next, M);
    expect_equal("logp", &fused.a.logp, &apart.a.logp, M);
    expect_equal("lse", &fused.a.lse, &apart.a.lse, M);
    expect_equal("entropy", &fused.a.entropy, &apart.a.entropy, M);
    expect_equal("log_sum_sq", &fused.a.log_sum_sq, &apart.a.log_sum_sq, M);
    expect_equal("mean_logit", &fused.a.mean_logit, &apart.a.mean_logit, M);
    cr_expect(!memcmp(fused.argmax, apart.argmax, (size_t)M * sizeof(int32_t)));
    expect_as_good("dx", &fused.a.dx, &apart.a.dx, &truth.a.dx, M * H);
    expect_as_good("dw", &fused.a.dw, &apart.a.dw, &truth.a.dw, V * H);
    expect_as_good("dbias", &fused.a.dbias, &apart.a.dbias, &truth.a.dbias, V);
    head_release(&fused);
    head_release(&apart);
    head_release(&truth);
}

Test(logprob_fused, groups_of_a_few_pairs)
{
    static const int32_t group[] = { 0, 7, 7, 20, 21, 60 };
    check(PLUMB_F32, 60, 1500, group, 5);
    check(PLUMB_BF16, 60, 1500, group, 5);
}

static bool native(void) { return plumb_test_device()->kind == PLUMB_DEV_CPU; }

/* Rows of the chunk of this vocabulary, so that its edges are met exactly. */
static int64_t rows_kept(int64_t V)
{
    const struct plumb_logprob a = { .H = 8, .V = V, .M = 1 << 20, .x = { NULL, PLUMB_F32 } };
    return native() ? plumb_logprob_plan(&a).kept.rows : PLUMB_LOGPROB_KEPT;
}

Test(logprob_fused, rows_around_the_size_of_a_chunk)
{
    const int64_t V = 70, kept = rows_kept(V);
    for (int32_t d = -1; d <= 1; d++) {
        const int32_t one[] = { 0, (int32_t)kept + d };
        check(PLUMB_F32, kept + d, V, one, 1);
    }
    /* small groups, one of three chunks, small again */
    const int32_t M = (int32_t)((native() ? 3 * kept : kept + kept / 4) + 200);
    const int32_t several[] = { 0, 50, 100, M - 60, M - 20, M };
    check(PLUMB_F32, M, V, several, 5);
    check(PLUMB_BF16, M, V, several, 5);
}

Test(logprob_fused, groups_too_large_for_the_tile, .timeout = 120)
{
    const int64_t V = native() ? 49152 : 70, kept = rows_kept(V);
    cr_expect(!native() || kept < 256);
    const int32_t a = 10, b = a + (int32_t)kept * 33 / 32 + 20,
                  c = b + (int32_t)kept * 33 / 32 + 20;
    const int32_t group[] = { 0, a, b, c, c + 10 };
    check(PLUMB_F32, c + 10, V, group, 4);
}

Test(logprob_fused, a_failing_epilogue_stops_and_its_reason_is_passed_on)
{
    static const int32_t group[] = { 0, 3000, 6000 };
    struct head h;
    struct mixer m = { .fail_at = 2 };
    head_init(&h, plumb_test_device(), PLUMB_F32, 6000, 2, 9, 6000);
    cr_expect_eq(run_fused(&h, group, 2, &m), PLUMB_ENUM);
    cr_expect_str_eq(plumb_errmsg(), "no loss today");
    cr_expect_eq(m.calls, 2);
    head_release(&h);
}

Test(logprob_fused, gradients_that_nobody_wants_are_left_out)
{
    static const int32_t group[] = { 0, 6, 12 };
    for (int left = 0; left < 8; left++) {
        struct head full, part;
        struct mixer m = { 0 }, n = { 0 };
        head_init(&full, plumb_test_device(), PLUMB_F32, 12, 8, 40, 12);
        head_init(&part, plumb_test_device(), PLUMB_F32, 12, 8, 40, 12);
        if (left & 1) part.a.dx.data = NULL;
        if (left & 2) part.a.dw.data = NULL;
        if (left & 4) part.a.dbias.data = NULL;
        /* backward still needs lse and, for the given dentropy, entropy */
        part.a.lse.data = part.a.entropy.data = part.a.log_sum_sq.data = NULL;
        full.a.lse.data = full.a.entropy.data = NULL;
        part.a.mean_logit.data = NULL;
        part.a.argmax = NULL;
        RUN(run_fused(&full, group, 2, &m));
        RUN(run_fused(&part, group, 2, &n));
        expect_equal("logp", &full.a.logp, &part.a.logp, 12);
        if (part.a.dx.data) expect_equal("dx", &full.a.dx, &part.a.dx, 12 * 8);
        if (part.a.dw.data) expect_equal("dw", &full.a.dw, &part.a.dw, 40 * 8);
        if (part.a.dbias.data) expect_equal("dbias", &full.a.dbias, &part.a.dbias, 40);
        head_release(&full);
        head_release(&part);
    }
}
