#include <plumb/correction.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 64 };

struct batch {
    int64_t B;
    int32_t offset[MAX + 1];
    double logp[MAX], sampler[MAX], advantage[MAX], out[MAX];
    double stats[MAX * PLUMB_CORRECTION_STATS];
};

static void append(struct batch *b, double advantage)
{
    cr_assert_lt(b->B, MAX);
    b->advantage[b->B++] = advantage;
    b->offset[b->B] = b->offset[b->B - 1];
}

static void token(struct batch *b, double ratio)
{
    const int32_t t = b->offset[b->B]++;
    cr_assert_lt(t, MAX);
    b->logp[t] = -1 - 0.25 * t;
    b->sampler[t] = b->logp[t] - log(ratio);
}

static double stat(const struct batch *b, int64_t row, enum plumb_correction_stat s)
{
    return b->stats[row * PLUMB_CORRECTION_STATS + s];
}

static void run(const struct plumb_device *dev, struct plumb_correction a, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    const int64_t M = b->offset[b->B], S = b->B * PLUMB_CORRECTION_STATS;
    a.struct_bytes = sizeof a, a.B = b->B;
    a.offset = plumb_test_copy(dev, b->offset, sizeof b->offset);
    struct {
        struct plumb_tensor *at;
        int64_t count;
        double *in, *out;
    } all[] = { { &a.logp, M, b->logp, NULL },
                { &a.sampler_logp, M, b->sampler, NULL },
                { &a.out, M, NULL, b->out },
                { &a.stats, S, NULL, b->stats },
                { &a.advantage, b->B, b->advantage, NULL } };
    const int count = a.gate == PLUMB_GATE_K1 ? 5 : 4; /* the off-policy mask looks at advantages */
    for (int i = 0; i < count; i++) {
        *all[i].at = plumb_test_tensor(t, all[i].count, all[i].in);
        plumb_test_to(dev, all[i].at, all[i].count);
    }
    cr_assert_eq(plumb_correction(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < count; i++) {
        plumb_test_from(dev, all[i].at, all[i].count);
        for (int64_t k = 0; all[i].out && k < all[i].count; k++)
            all[i].out[k] = plumb_test_get(all[i].at, k);
        plumb_test_free(all[i].at);
    }
}

static struct plumb_correction mode(const char *name, double low, double high)
{
    struct plumb_correction a = { 0 };
    cr_assert_eq(plumb_correction_preset(name, low, high, &a), PLUMB_OK, "%s", plumb_errmsg());
    return a;
}

Test(correction, of_one_engine_all_weights_are_exactly_1)
{
    for (int i = 0; plumb_correction_preset_name(i); i++) {
        struct batch b = { 0 };
        for (int r = 0; r < 3; r++) {
            append(&b, r - 1);
            for (int t = 0; t < 2 * r; t++)
                token(&b, 1);
        }
        memcpy(b.sampler, b.logp, sizeof b.sampler);
        run(plumb_test_device(), mode(plumb_correction_preset_name(i), 0.5, 3), &b);
        for (int32_t t = 0; t < b.offset[b.B]; t++)
            cr_expect_eq(b.out[t], 1, "%s", plumb_correction_preset_name(i));
        for (int64_t r = 0; r < b.B; r++)
            cr_expect(stat(&b, r, PLUMB_CORRECTION_OUT) == 0 &&
                      stat(&b, r, PLUMB_CORRECTION_ABS_MAX) == 0);
    }
}

/* TRL 1.16's four modes with clip_max 3, by hand: rows with ratios 2, 4 and 1/4, 2. */
Test(correction, trls_modes_clip_or_drop_tokens_or_rows)
{
    static const struct {
        const char *mode;
        double weight[4], out[2];
    } cases[] = { { "token_truncate", { 2, 3, 0.25, 2 }, { 1, 0 } },
                  { "token_mask", { 2, 0, 0.25, 2 }, { 1, 0 } },
                  { "sequence_truncate", { 3, 3, 0.5, 0.5 }, { 1, 0 } },
                  { "sequence_mask", { 0, 0, 0.5, 0.5 }, { 1, 0 } } };
    for (int i = 0; i < 4; i++) {
        struct batch b = { 0 };
        append(&b, 1);
        token(&b, 2);
        token(&b, 4);
        append(&b, 1);
        token(&b, 0.25);
        token(&b, 2);
        run(plumb_test_device(), mode(cases[i].mode, 0, 3), &b);
        for (int t = 0; t < 4; t++)
            cr_expect_float_eq(b.out[t], cases[i].weight[t], 2e-6, "%s", cases[i].mode);
        for (int r = 0; r < 2; r++) {
            const double *w = cases[i].weight + 2 * r;
            cr_expect_eq(stat(&b, r, PLUMB_CORRECTION_OUT), cases[i].out[r]);
            cr_expect_float_eq(stat(&b, r, PLUMB_CORRECTION_WEIGHT_SUM), w[0] + w[1], 4e-6);
            cr_expect_float_eq(stat(&b, r, PLUMB_CORRECTION_WEIGHT_MIN), fmin(w[0], w[1]), 2e-6);
            cr_expect_float_eq(stat(&b, r, PLUMB_CORRECTION_WEIGHT_MAX), fmax(w[0], w[1]), 2e-6);
            cr_expect_float_eq(stat(&b, r, PLUMB_CORRECTION_ABS_MAX), log(4), 2e-6);
        }
        cr_expect_float_eq(stat(&b, 1, PLUMB_CORRECTION_LOG_RATIO), log(0.5), 2e-6);
    }
}

Test(correction, a_token_that_the_sampler_does_not_know_has_ratio_1)
{
    struct batch b = { 0 };
    append(&b, 1);
    token(&b, 2);
    token(&b, 2);
    b.sampler[1] = NAN;
    run(plumb_test_device(), mode("sequence_truncate", 0, 3), &b);
    cr_expect_float_eq(b.out[0], 2, 2e-6);
    cr_expect_float_eq(b.out[1], 2, 2e-6);
    cr_expect_eq(stat(&b, 0, PLUMB_CORRECTION_KNOWN), 1);
    run(plumb_test_device(), mode("token_mask", 0, 3), &b);
    cr_expect_eq(b.out[1], 1);
    b.logp[0] = NAN; /* of the trainer: not hidden */
    for (int i = 0; plumb_correction_preset_name(i); i++) {
        run(plumb_test_device(), mode(plumb_correction_preset_name(i), 0.5, 3), &b);
        cr_expect(isnan(b.out[0]), "%s", plumb_correction_preset_name(i));
    }
}

Test(correction, the_off_policy_mask_drops_bad_rows_that_have_drifted)
{
    struct batch b = { 0 };
    for (int r = 0; r < 4; r++) {
        append(&b, r % 2 ? 0.5 : -0.5);
        token(&b, 1.1);
        token(&b, r < 2 ? 0.3 : 0.9);
    }
    run(plumb_test_device(), mode("off_policy_mask", 0, 0.2), &b);
    for (int t = 0; t < 8; t++)
        cr_expect_eq(b.out[t], t >= 2); /* mean of ln p - ln q: 0.55 in rows 0 and 1, 0.005 after */
}

/* p and q within 1e-6 of an end are taken as there: the divergence stays finite. */
Test(correction, extremes_saturate)
{
    struct batch b = { 0 };
    append(&b, -1);
    for (int t = 0; t < 4; t++)
        token(&b, 1);
    const double logp[4] = { 0, -200, -3e38, -1e-9 }, sampler[4] = { -200, 0, 0, -3e38 };
    memcpy(b.logp, logp, sizeof logp);
    memcpy(b.sampler, sampler, sizeof sampler);
    for (int gate = PLUMB_GATE_RATIO; gate <= PLUMB_GATE_K3; gate++)
        for (int level = PLUMB_CORRECT_TOKENS; level <= PLUMB_CORRECT_ROW_SUMS; level++) {
            const struct plumb_correction a = { .level = (enum plumb_correction_level)level,
                                                .gate = (enum plumb_correction_gate)gate,
                                                .low = -INFINITY,
                                                .high = INFINITY };
            run(plumb_test_device(), a, &b);
            for (int t = 0; t < 4; t++)
                cr_expect(isfinite(b.out[t]), "gate %d, level %d", gate, level);
            for (int k = 0; k < PLUMB_CORRECTION_STATS; k++)
                cr_expect(isfinite(b.stats[k]), "gate %d, level %d, column %d", gate, level, k);
        }
}

Test(correction, names_the_argument_that_is_wrong)
{
    enum { CASES = 8 };
    const int32_t offset[2] = { 0, 1 };
    float v[1] = { -1 }, o[1];
    const struct plumb_tensor in = { v, PLUMB_F32 };
    struct plumb_correction good = mode("token_mask", 0, 3), bad[CASES];
    good.struct_bytes = sizeof good, good.B = 1, good.offset = offset;
    good.logp = good.sampler_logp = in, good.out.data = o, good.out.dtype = PLUMB_F32;
    static const char *const word[CASES] = { "level=3",         "gate=9", "keep=-1",
                                             "clip wants gate", "low=4 ", "sampler_logp is",
                                             "out is missing",  "low=nan" };
    cr_assert_eq(plumb_correction(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < CASES; i++)
        bad[i] = good;
    bad[0].level = (enum plumb_correction_level)3;
    bad[1].gate = (enum plumb_correction_gate)9;
    bad[2].keep = (enum plumb_correction_keep) - 1;
    bad[3].clip = true, bad[3].gate = PLUMB_GATE_TV;
    bad[4].low = 4;
    bad[5].sampler_logp.data = NULL;
    bad[6].out.data = NULL;
    bad[7].low = NAN;
    for (int i = 0; i < CASES; i++) {
        cr_expect_eq(plumb_correction(&plumb_cpu, &bad[i]), PLUMB_EINVAL, "case %d", i);
        cr_expect(strstr(plumb_errmsg(), word[i]), "case %d, message was: %s", i, plumb_errmsg());
    }
    cr_expect_eq(plumb_correction_preset("token_mist", 0, 3, &good), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "\"token_mist\""), "message was: %s", plumb_errmsg());
}
