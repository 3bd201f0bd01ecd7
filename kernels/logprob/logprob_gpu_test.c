/* What the head promises on a device alone (PLUMB_TEST_DEVICE, by default the CUDA sources on the
 * CPU): indices that nobody checked, and how much scratch it takes. */
#include "kernels/logprob/logprob_chunk.h"
#include "kernels/logprob/logprob_fixture.h"

static struct plumb_device dev;

static void open_device(void)
{
    const char *name = getenv("PLUMB_TEST_DEVICE");
    RUN(plumb_device_open(name ? name : "cuda-sim", &dev));
}
static void close_device(void) { plumb_device_close(&dev); }
TestSuite(logprob_gpu, .init = open_device, .fini = close_device, .timeout = 240);

static void expect_all(const struct head *h, int64_t i, bool bad)
{
    const struct plumb_tensor *out[] = { &h->a.logp, &h->a.lse, &h->a.entropy, &h->a.log_sum_sq,
                                         &h->a.mean_logit };
    for (int k = 0; k < 5; k++)
        cr_expect(bad ? isnan(head_get(out[k], i)) : head_get(out[k], i) == 0, "output %d, pair %d",
                  k, (int)i);
    cr_expect_eq(h->argmax[i], -1);
}

static bool same(const struct plumb_tensor *a, const struct plumb_tensor *b, int64_t i, int64_t n)
{
    return !memcmp((const float *)a->data + i, (const float *)b->data + i, (size_t)n * 4);
}

/* Pairs 2, 5, 8 and 11 are out of range in one head and skipped in the other: all else is equal. */
static void check_indices(enum plumb_dtype type, head_entry *forward)
{
    enum { N = 12, H = 9, V = 40, M = 14 };
    struct head bad, good;
    head_init(&bad, &dev, type, N, H, V, M);
    head_init(&good, &dev, type, N, H, V, M);
    bad.row[2] = N, bad.row[5] = INT32_MIN, bad.target[8] = V, bad.target[11] = -100;
    for (int i = 2; i < M; i += 3)
        good.target[i] = -1;
    RUN(head_run(&bad, forward));
    RUN(head_run(&good, forward));
    for (int i = 0; i < M; i++) {
        if (i % 3 == 2) {
            expect_all(&bad, i, true);
            expect_all(&good, i, false);
        } else
            cr_expect(same(&bad.a.logp, &good.a.logp, i, 1) && same(&bad.a.lse, &good.a.lse, i, 1));
    }
    RUN(head_bwd(&bad));
    RUN(head_bwd(&good));
    cr_expect(same(&bad.a.dx, &good.a.dx, 0, N * H), "dx");
    cr_expect(same(&bad.a.dw, &good.a.dw, 0, V * H), "dw");
    cr_expect(same(&bad.a.dbias, &good.a.dbias, 0, V), "dbias");
    cr_expect(head_get(&good.a.dbias, 3) != 0);
    head_release(&bad);
    head_release(&good);
}

static int nothing(void *ctx, int64_t first, int64_t count)
{
    (void)ctx, (void)first, (void)count;
    return PLUMB_OK;
}

static int fused(const struct plumb_device *d, const struct plumb_logprob *a)
{
    static const int32_t group[] = { 0, 14 };
    struct plumb_logprob b = *a;
    b.group = group;
    b.groups = 1;
    b.epilogue = nothing;
    return plumb_logprob_fused(d, &b);
}

Test(logprob_gpu, indices_out_of_range_give_nan_and_no_gradient)
{
    check_indices(PLUMB_F32, plumb_logprob_fwd);
    check_indices(PLUMB_BF16, plumb_logprob_fwd);
    check_indices(PLUMB_BF16, fused);
}

static size_t scratch(int64_t V, int64_t M, bool gradients)
{
    static char present;
    struct plumb_logprob a = { .struct_bytes = sizeof a,
                               .N = M,
                               .H = 4096,
                               .V = V,
                               .M = M,
                               .x = { NULL, PLUMB_BF16 },
                               .w = { NULL, PLUMB_BF16 } };
    if (gradients) a.dx.data = a.dw.data = &present;
    return plumb_logprob_workspace(&dev, &a);
}

Test(logprob_gpu, scratch_keeps_to_its_budget)
{
    static const int64_t vocabularies[] = { 500, 32000, 128256, 151936, 256000 };
    const size_t panels = 4096 * (4096 * 6 + 128);
    for (int k = 0; k < 5; k++) {
        const int64_t V = vocabularies[k], M = 1 << 20;
        const size_t bytes = scratch(V, M, true), forward = scratch(V, M, false);
        cr_expect_leq(bytes, PLUMB_LOGPROB_TILE_BYTES + panels + 8 * (size_t)M, "V=%lld: %zu bytes",
                      (long long)V, bytes);
        cr_expect_leq(forward, (size_t)(64 << 20) + 8 * (size_t)M, "V=%lld: %zu bytes",
                      (long long)V, forward);
        /* what the number of pairs adds is two statistics each */
        cr_expect_eq(scratch(V, 2 * M, true) - bytes, 8 * (size_t)M);
        cr_expect_leq(scratch(V, 8, false), (size_t)1 << 20);
    }
}
