#include <plumb/tokenwise.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { ROWS = 16, MAX = 4096 };

struct batch {
    int64_t B;
    int32_t offset[ROWS + 1], label[ROWS];
    double target[ROWS], logp[MAX], ref[MAX], losses[ROWS], dlogp[MAX];
};

static void append(struct batch *b, int64_t tokens, const double *logp, const double *ref,
                   int label, double target)
{
    const int64_t r = b->B++;
    cr_assert(r < ROWS && b->offset[r] + tokens <= MAX);
    b->offset[r + 1] = b->offset[r] + (int32_t)tokens;
    memcpy(b->logp + b->offset[r], logp, (size_t)tokens * sizeof *logp);
    memcpy(b->ref + b->offset[r], ref, (size_t)tokens * sizeof *ref);
    b->label[r] = label, b->target[r] = target;
}

static struct plumb_tokenwise with(enum plumb_tokenwise_loss loss)
{
    return (struct plumb_tokenwise){ .struct_bytes = sizeof(struct plumb_tokenwise),
                                     .loss = loss,
                                     .undesirable_weight = 1,
                                     .clip = 0.5,
                                     .clamp_negative = 0.25,
                                     .normalize = 1,
                                     .divisor = 1 };
}

static void run(const struct plumb_device *dev, struct plumb_tokenwise a, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    const int64_t M = b->offset[b->B];
    a.B = b->B;
    a.offset = plumb_test_copy(dev, b->offset, sizeof b->offset);
    a.label = plumb_test_copy(dev, b->label, sizeof b->label);
    a.logp = plumb_test_tensor(t, M, b->logp);
    a.ref_logp = plumb_test_tensor(t, M, b->ref);
    a.target = plumb_test_tensor(t, a.B, b->target);
    a.losses = plumb_test_tensor(t, a.B, NULL);
    a.dlogp = plumb_test_tensor(t, M, NULL);
    struct plumb_tensor *all[] = { &a.logp, &a.ref_logp, &a.target, &a.losses, &a.dlogp };
    const int64_t count[] = { M, M, a.B, a.B, M };
    for (int i = 0; i < 5; i++)
        plumb_test_to(dev, all[i], count[i]);
    cr_assert_eq(plumb_tokenwise(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 5; i++)
        plumb_test_from(dev, all[i], count[i]);
    for (int64_t i = 0; i < a.B; i++)
        b->losses[i] = plumb_test_get(&a.losses, i);
    for (int64_t i = 0; i < M; i++)
        b->dlogp[i] = plumb_test_get(&a.dlogp, i);
    for (int i = 0; i < 5; i++)
        plumb_test_free(all[i]);
}

Test(tokenwise, known_points)
{
    const double half[2] = { -log(2), -log(2) }, quarter[2] = { -log(4), -log(4) };
    struct batch b = { 0 };
    append(&b, 2, half, half, 1, 0.25);
    append(&b, 2, quarter, half, 0, 0.25);
    struct batch u = b, a = b, n = b;
    run(plumb_test_device(), with(PLUMB_TOKENWISE_UNLIKELIHOOD), &u);
    cr_expect_float_eq(u.losses[0], 2 * log(2), 1e-6);
    cr_expect_float_eq(u.losses[1], -2 * log(0.75), 1e-6); /* p / (1 - p) = 1/3 */
    cr_expect_float_eq(u.dlogp[2], 1 / 3.0, 1e-6);
    run(plumb_test_device(), with(PLUMB_TOKENWISE_A_LOL_SEQ), &a);
    cr_expect_float_eq(a.losses[1], 0.25 * 0.5 * 2 * log(4), 1e-6); /* the ratio 1/2 is kept */
    cr_expect_float_eq(a.dlogp[3], -0.125, 1e-6);
    run(plumb_test_device(), with(PLUMB_TOKENWISE_NFT_TOKEN), &n);
    cr_expect(n.losses[0] == 0 && n.dlogp[0] == -0.75); /* on policy: 1 - r and, wrong, r */
    cr_expect_float_eq(n.losses[1], -0.75 * 2 * log(0.875 / 0.75), 1e-6);
    cr_expect_float_eq(n.dlogp[2], 0.75 * 0.125 / 0.875, 1e-6);
}

/* In whatever company, wherever in memory. */
Test(tokenwise, a_completions_bits_ignore_the_others)
{
    static double logp[700], ref[700];
    static const int64_t length[5] = { 0, 3, 141, 6, 350 };
    for (int i = 0; i < 700; i++)
        logp[i] = -0.01 - fmod(i * 0.37, 3), ref[i] = -fmod(i * 0.53, 2);
    for (int id = 0; plumb_tokenwise_name(id); id++) {
        struct batch all = { 0 };
        for (int r = 0; r < 10; r++)
            append(&all, length[r % 5], logp + 7 * r, ref + 5 * r, r % 2, 0.3 + 0.05 * r);
        run(plumb_test_device(), with((enum plumb_tokenwise_loss)id), &all);
        for (int r = 0; r < 10; r++) {
            struct batch one = { 0 };
            append(&one, length[r % 5], logp + 7 * r, ref + 5 * r, r % 2, 0.3 + 0.05 * r);
            run(plumb_test_device(), with((enum plumb_tokenwise_loss)id), &one);
            cr_expect_eq(one.losses[0], all.losses[r], "%s", plumb_tokenwise_name(id));
            for (int64_t t = 0; t < length[r % 5]; t++)
                cr_expect_eq(one.dlogp[t], all.dlogp[all.offset[r] + t]);
        }
    }
}

Test(tokenwise, extremes_are_finite_and_nan_is_not_hidden)
{
    const double far[6] = { 0, -1e-30, -200, -3e38, 200, 3e38 };
    const double back[6] = { 0, -200, 200, 3e38, -200, -3e38 }, nan[1] = { NAN };
    for (int id = 0; plumb_tokenwise_name(id); id++) {
        struct batch b = { 0 };
        for (int label = 0; label < 2; label++)
            append(&b, 6, far, back, label, label ? 1e30 : -3e38);
        append(&b, 1, nan, back, 0, 0.5);
        append(&b, 1, back, back, 0, 0.5);
        run(plumb_test_device(), with((enum plumb_tokenwise_loss)id), &b);
        for (int i = 0; i < 12; i++)
            cr_expect(isfinite(b.losses[i / 6]) && isfinite(b.dlogp[i]), "%s, %d: %g, %g",
                      plumb_tokenwise_name(id), i, b.losses[i / 6], b.dlogp[i]);
        cr_expect(isnan(b.losses[2]) && isfinite(b.losses[3]) && isfinite(b.dlogp[13]));
    }
}

#define REFUSED(change, word)                                                                      \
    do {                                                                                           \
        struct plumb_tokenwise a = good;                                                           \
        change;                                                                                    \
        cr_expect_eq(plumb_tokenwise(&plumb_cpu, &a), PLUMB_EINVAL, "for %s", word);               \
        cr_expect(strstr(plumb_errmsg(), word), "for %s, message was: %s", word, plumb_errmsg());  \
    } while (0)

Test(tokenwise, names_the_argument_that_is_wrong)
{
    static const int32_t offset[3] = { 0, 1, 2 }, back[3] = { 0, 2, 1 }, label[2] = { 1, 0 },
                         odd[2] = { 1, 7 };
    static float v[2], o[4];
    struct plumb_tokenwise good = with(PLUMB_TOKENWISE_NFT_TOKEN);
    good.B = 2, good.offset = offset, good.label = label;
    good.logp = good.target = (struct plumb_tensor){ v, PLUMB_F32 };
    good.losses = (struct plumb_tensor){ o, PLUMB_F32 };
    cr_assert_eq(plumb_tokenwise(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    REFUSED(a.loss = (enum plumb_tokenwise_loss)99, "loss=99");
    REFUSED(a.offset = NULL, "offset is missing");
    REFUSED(a.offset = back, "offset[2]=1");
    REFUSED(a.label = NULL, "label is missing");
    REFUSED(a.label = odd, "label[1]=7");
    REFUSED(a.target.data = NULL, "target is missing");
    REFUSED(a.logp.data = NULL, "logp is missing");
    REFUSED(a.losses.data = NULL, "losses is missing");
    REFUSED(a.divisor = 0, "divisor=0");
    REFUSED(a.clip = -1, "clip=-1");
    REFUSED(a.clamp_negative = 0, "clamp_negative=0");
    REFUSED(a.normalize = 0.5, "normalize=0.5");
    REFUSED(a.undesirable_weight = NAN, "undesirable_weight=nan");
    cr_expect_eq(plumb_tokenwise_find("a_lol_seq"), PLUMB_TOKENWISE_A_LOL_SEQ);
    cr_expect_eq(plumb_tokenwise_find("a_lol"), -1);
}
