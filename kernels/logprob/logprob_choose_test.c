/* Targets chosen by the logits: outputs have the bits of a forward pass that was told the targets,
 * whatever the batch; the chooser sees the logits themselves. */
#include <plumb/sample.h>

#include "kernels/logprob/logprob_fixture.h"
#include "tests/tensor.h"

/* A chooser that knows its choice beforehand. */
struct fixed {
    struct head *h;
    const int32_t *choice;
    int64_t seen; /* pairs asked for so far */
    double worst; /* distance of a row's lse from that of its logits */
    int fails;    /* 0, or the status to return */
};

static const struct plumb_logprob *there(const struct head *h)
{
    return plumb_device_is_host(h->dev) ? &h->a : &h->there;
}

static double lse_of(const struct plumb_logits *l, const float *z, int64_t row)
{
    double sum = 0;
    for (int64_t from = 0; from < l->vocab; from += l->slice) {
        const int64_t width = l->slice < l->vocab - from ? l->slice : l->vocab - from;
        const int64_t stride = l->stride ? l->stride : width;
        for (int64_t v = 0; v < width; v++)
            sum += exp((double)z[from * l->rows + row * stride + v]);
    }
    return log(sum);
}

/* Against lse, which head `expected` got from its own forward pass. */
static void look(struct fixed *f, const struct plumb_logits *l, int64_t first,
                 const struct plumb_tensor *lse)
{
    const size_t count = (size_t)(l->rows * (l->stride ? l->stride : l->vocab));
    float *copy = malloc(count * sizeof *copy);
    cr_assert_not_null(copy);
    if (plumb_device_is_host(f->h->dev))
        memcpy(copy, l->z, count * sizeof *copy);
    else
        RUN(plumb_device_download(f->h->dev, copy, l->z, count * sizeof *copy));
    for (int64_t r = 0; r < l->rows; r++) {
        if (f->choice[first + r] < 0) continue; /* forward has none */
        const double d = fabs(lse_of(l, copy, r) - head_get(lse, first + r));
        if (!(d <= f->worst)) f->worst = d;
    }
    free(copy);
}

static const struct plumb_tensor *told_lse; /* of the pass that was told the targets */

static int choose(void *ctx, const struct plumb_logits *l, int64_t first)
{
    struct fixed *f = ctx;
    cr_assert_eq(first, f->seen, "chunks come in order");
    f->seen += l->rows;
    if (f->fails) return plumb_fail(f->fails, "the chooser gave up");
    if (told_lse && f->h->dev->kind != PLUMB_DEV_REF) look(f, l, first, told_lse);
    int32_t *to = (int32_t *)(uintptr_t)there(f->h)->target + first;
    const size_t bytes = (size_t)l->rows * sizeof *to;
    if (plumb_device_is_host(f->h->dev))
        memcpy(to, f->choice + first, bytes);
    else {
        RUN(plumb_device_upload(f->h->dev, to, f->choice + first, bytes));
        RUN(plumb_device_sync(f->h->dev));
    }
    return PLUMB_OK;
}

static void expect_bits(const struct plumb_tensor *a, int64_t i, const struct plumb_tensor *b,
                        int64_t j, const char *what)
{
    cr_expect_eq(plumb_bits_of_f32(((const float *)a->data)[i]),
                 plumb_bits_of_f32(((const float *)b->data)[j]), "%s of pair %lld: %.9g and %.9g",
                 what, (long long)i, head_get(a, i), head_get(b, j));
}

static void expect_same_pair(const struct head *a, int64_t i, const struct head *b, int64_t j)
{
    expect_bits(&a->a.logp, i, &b->a.logp, j, "logp");
    expect_bits(&a->a.lse, i, &b->a.lse, j, "lse");
    expect_bits(&a->a.entropy, i, &b->a.entropy, j, "entropy");
    expect_bits(&a->a.log_sum_sq, i, &b->a.log_sum_sq, j, "log_sum_sq");
    expect_bits(&a->a.mean_logit, i, &b->a.mean_logit, j, "mean_logit");
    cr_expect_eq(a->argmax[i], b->argmax[j]);
}

struct shape {
    int64_t N, H, V, M;
    double scale, softcap, temperature;
};

static void shape_head(struct head *h, const struct shape *s, enum plumb_dtype type, bool choosing)
{
    head_init(h, plumb_test_device(), type, s->N, s->H, s->V, s->M);
    h->a.logit_scale = s->scale;
    h->a.softcap = s->softcap;
    h->a.temperature = s->temperature;
    h->a.batch_invariant = true;
    if (!choosing) return;
    h->a.dx.data = h->a.dw.data = h->a.dbias.data = NULL; /* scratch as at inference */
    h->a.chooser = choose;
}

/* Pairs [0, s->M) told and chosen; then `few` of them chosen on their own. */
static void check_shape(const struct shape *s, enum plumb_dtype type)
{
    struct head told, chosen, alone;
    shape_head(&told, s, type, false);
    for (int64_t i = 2; i < s->M; i += 11)
        told.target[i] = -1;
    RUN(head_fwd(&told));
    told_lse = &told.a.lse;
    shape_head(&chosen, s, type, true);
    struct fixed f = { .h = &chosen, .choice = told.target };
    chosen.a.chooser_ctx = &f;
    RUN(head_run(&chosen, plumb_logprob_choose));
    cr_expect_eq(f.seen, s->M);
    cr_expect_lt(f.worst, 1e-4, "the chooser's logits are %g off", f.worst);
    for (int64_t i = 0; i < s->M; i++) {
        cr_expect_eq(chosen.target[i], told.target[i]);
        expect_same_pair(&chosen, i, &told, i);
    }
    const int64_t few = s->M < 5 ? s->M : 5, skip = s->M - few;
    shape_head(&alone, s, type, true);
    alone.a.M = few;
    for (int64_t i = 0; i < few; i++)
        alone.row[i] = told.row[skip + i];
    told_lse = NULL;
    f = (struct fixed){ .h = &alone, .choice = told.target + skip };
    alone.a.chooser_ctx = &f;
    RUN(head_run(&alone, plumb_logprob_choose));
    for (int64_t i = 0; i < few; i++)
        expect_same_pair(&alone, i, &told, skip + i);
    head_release(&told);
    head_release(&chosen);
    head_release(&alone);
}

Test(logprob_choose, has_the_bits_of_a_forward_pass_that_was_told_its_targets, .timeout = 280)
{
    static const struct shape shapes[] = {
        { 3, 16, 300, 7, 1, 0, 1 },       { 40, 24, 2500, 60, 1, 0, 0.7 },
        { 9, 8, 1024, 9, 0.5, 30, 1.3 },  { 30, 8, 5001, 33, 1, 0, 1 },
        { 700, 8, 130, 1300, 1, 5, 0.9 }, { 1, 16, 4200, 1, 1, 0, 1 },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(&shapes[i], PLUMB_F32);
        check_shape(&shapes[i], PLUMB_BF16);
    }
}

Test(logprob_choose, agrees_with_its_oracle_and_passes_failures_on)
{
    struct head told, chosen;
    head_init(&told, &plumb_ref, PLUMB_F32, 70, 8, 50, 100);
    told.target[3] = -1;
    RUN(head_fwd(&told));
    head_init(&chosen, &plumb_ref, PLUMB_F32, 70, 8, 50, 100);
    chosen.a.chooser = choose;
    chosen.a.work.data = head_bytes(&chosen, plumb_logprob_workspace(&plumb_ref, &chosen.a));
    struct fixed f = { .h = &chosen, .choice = told.target };
    chosen.a.chooser_ctx = &f;
    RUN(head_run(&chosen, plumb_logprob_choose));
    for (int64_t i = 0; i < 100; i++) {
        cr_expect_eq(head_get(&chosen.a.logp, i), head_get(&told.a.logp, i));
        cr_expect_eq(head_get(&chosen.a.lse, i), head_get(&told.a.lse, i));
    }
    f = (struct fixed){ .h = &chosen, .choice = told.target, .fails = PLUMB_EINTR };
    cr_expect_eq(plumb_logprob_choose(&plumb_ref, &chosen.a), PLUMB_EINTR);
    cr_expect_str_eq(plumb_errmsg(), "the chooser gave up");
    head_release(&chosen);
    head_init(&chosen, &plumb_cpu, PLUMB_F32, 70, 8, 50, 100);
    cr_expect_eq(plumb_logprob_choose(&plumb_cpu, &chosen.a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "chooser is missing"), "message was: %s", plumb_errmsg());
    f = (struct fixed){ .h = &chosen, .choice = told.target };
    chosen.a.chooser = choose;
    chosen.a.chooser_ctx = &f;
    told.target[99] = 50;
    cr_expect_eq(plumb_logprob_choose(&plumb_cpu, &chosen.a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "target[99]=50"), "message was: %s", plumb_errmsg());
    head_release(&told);
    head_release(&chosen);
}

Test(logprob_choose, a_row_of_nan_logits_is_seen_by_the_chooser)
{
    struct head h;
    head_init(&h, plumb_test_device(), PLUMB_F32, 3, 4, 10, 3);
    head_set(&h.a.x, 5, (double)NAN);
    const int32_t choice[3] = { 1, -1, 2 };
    struct fixed f = { .h = &h, .choice = choice };
    h.a.chooser = choose;
    h.a.chooser_ctx = &f;
    RUN(head_run(&h, plumb_logprob_choose));
    cr_expect_eq(head_get(&h.a.logp, 1), 0);
    cr_expect_eq(h.argmax[1], -1);
    cr_expect(isfinite(head_get(&h.a.logp, 0)) && isfinite(head_get(&h.a.logp, 2)));
    head_release(&h);
}
