#include <plumb/policy.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 512, ROWS = 40 };

struct batch {
    int64_t B;
    int32_t offset[ROWS + 1], target[MAX];
    double logp[MAX], old[MAX], ref[MAX], mark[MAX], advantage[ROWS];
    double losses[ROWS], stats[ROWS * PLUMB_POLICY_STATS], dlogp[MAX];
};

static void append(struct batch *b, double advantage)
{
    cr_assert_lt(b->B, ROWS);
    b->advantage[b->B++] = advantage;
    b->offset[b->B] = b->offset[b->B - 1];
}

/* One more token of the last row. */
static void token(struct batch *b, double logp, double old, double ref)
{
    const int32_t t = b->offset[b->B]++;
    cr_assert_lt(t, MAX);
    b->logp[t] = logp, b->old[t] = old, b->ref[t] = ref, b->mark[t] = 0;
}

static struct plumb_policy with(const char *loss, enum plumb_policy_level level,
                                enum plumb_policy_aggregation aggregation)
{
    return (struct plumb_policy){ .struct_bytes = sizeof(struct plumb_policy),
                                  .loss = (enum plumb_policy_loss)plumb_policy_find(loss),
                                  .level = level,
                                  .aggregation = aggregation,
                                  .divisor = 1,
                                  .ratio_low = 0.8,
                                  .ratio_high = 1.25,
                                  .tau_positive = 1,
                                  .tau_negative = 1.5,
                                  .k_positive = 2,
                                  .k_negative = 3,
                                  .lambda_positive = 3,
                                  .lambda_negative = 2,
                                  .coef = 0.5,
                                  .estimator = PLUMB_KL_K3 };
}

static void run(const struct plumb_device *dev, struct plumb_policy a, struct batch *b)
{
    const enum plumb_dtype t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    const int64_t M = b->offset[b->B], S = b->B * PLUMB_POLICY_STATS;
    const bool rows = a.aggregation == PLUMB_AGGREGATE_ROWS;
    a.B = b->B;
    a.offset = plumb_test_copy(dev, b->offset, sizeof b->offset);
    if (a.target) a.target = plumb_test_copy(dev, b->target, sizeof b->target);
    struct {
        struct plumb_tensor *at;
        int64_t count;
        const double *in;
        double *out;
    } all[] = { { &a.logp, M, b->logp, NULL },        { &a.old_logp, M, b->old, NULL },
                { &a.ref_logp, M, b->ref, NULL },     { &a.advantage, b->B, b->advantage, NULL },
                { &a.losses, b->B, NULL, b->losses }, { &a.stats, S, NULL, b->stats },
                { &a.dlogp, M, NULL, b->dlogp },      { &a.mark, M, b->mark, NULL } };
    const int count = rows ? 7 : 8; /* rows as a whole have no marks */
    for (int i = 0; i < count; i++) {
        *all[i].at = plumb_test_tensor(t, all[i].count, all[i].in);
        plumb_test_to(dev, all[i].at, all[i].count);
    }
    cr_assert_eq(plumb_policy(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < count; i++) {
        plumb_test_from(dev, all[i].at, all[i].count);
        for (int64_t k = 0; all[i].out && k < all[i].count; k++)
            all[i].out[k] = plumb_test_get(all[i].at, k);
        plumb_test_free(all[i].at);
    }
}

/* Rows of 1, 2, ... tokens whose log-ratios lie within +-`reach`. */
static void fill(struct batch *b, int rows, double reach)
{
    *b = (struct batch){ 0 };
    for (int r = 0; r < rows; r++) {
        append(b, cos(2.5 * r + 1));
        for (int t = 0; t <= r; t++) {
            const double logp = -1 - sin(1.3 * t + r);
            token(b, logp, logp - reach * sin(7.1 * t + 3 * r), logp - cos(3.3 * t + r));
        }
    }
}

static double stat(const struct batch *b, int64_t row, enum plumb_policy_stat s)
{
    return b->stats[row * PLUMB_POLICY_STATS + s];
}

/* ---- identities ---- */

Test(policy_loss, on_policy_the_loss_is_minus_the_advantage_and_so_is_its_gradient)
{
    struct batch b;
    fill(&b, 5, 0);
    struct plumb_policy a = with("clip", PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_ROW_MEANS);
    a.divisor = 5;
    for (int level = PLUMB_LEVEL_TOKEN; level <= PLUMB_LEVEL_MEAN_TOKEN; level++) {
        a.level = (enum plumb_policy_level)level;
        a.aggregation = level == PLUMB_LEVEL_SUM ? PLUMB_AGGREGATE_ROWS : PLUMB_AGGREGATE_ROW_MEANS;
        run(plumb_test_device(), a, &b);
        for (int64_t r = 0; r < b.B; r++) {
            cr_expect_eq(b.losses[r], (double)(float)-b.advantage[r], "level %d", level);
            const double share = level == PLUMB_LEVEL_SUM ? 1 : (double)(r + 1);
            for (int32_t t = b.offset[r]; t < b.offset[r + 1]; t++)
                cr_expect_float_eq(b.dlogp[t], -b.advantage[r] / 5 / share, 1e-7, "level %d",
                                   level);
            cr_expect(stat(&b, r, PLUMB_STAT_LOG_RATIO) == 0 && stat(&b, r, PLUMB_STAT_LOW) == 0);
            cr_expect_eq(stat(&b, r, PLUMB_STAT_TOKENS), (double)(r + 1));
        }
    }
}

/* A row of one token has one ratio, whatever its level, and one term, however it is aggregated. */
Test(policy_loss, rows_of_one_token_do_not_know_levels)
{
    for (int id = 0; plumb_policy_name(id); id++) {
        struct batch first = { 0 }, b;
        for (int r = 0; r < 12; r++) {
            append(&first, cos(2.5 * r));
            token(&first, -1 - sin(1.3 * r), -1.2, -0.5);
        }
        struct plumb_policy a = with(plumb_policy_name(id), PLUMB_LEVEL_TOKEN,
                                     PLUMB_AGGREGATE_TOKENS);
        a.beta = 0.5;
        b = first;
        run(plumb_test_device(), a, &first);
        for (int level = PLUMB_LEVEL_MEAN; level <= PLUMB_LEVEL_MEAN_TOKEN; level++)
            for (int how = PLUMB_AGGREGATE_TOKENS; how <= PLUMB_AGGREGATE_ROWS; how++) {
                const bool dppo = id == PLUMB_POLICY_DPPO_TV || id == PLUMB_POLICY_DPPO_KL;
                if (how == PLUMB_AGGREGATE_ROWS && (level == PLUMB_LEVEL_MEAN_TOKEN || dppo))
                    continue; /* the sum of a row's log-probs has no old probability */
                a.level = (enum plumb_policy_level)level;
                a.aggregation = (enum plumb_policy_aggregation)how;
                run(plumb_test_device(), a, &b);
                for (int r = 0; r < 12; r++) {
                    cr_expect_float_eq(b.losses[r], first.losses[r], 1e-6, "%s",
                                       plumb_policy_name(id));
                    cr_expect_float_eq(b.dlogp[r], first.dlogp[r], 1e-6, "%s",
                                       plumb_policy_name(id));
                }
            }
    }
}

Test(policy_loss, a_clip_ends_the_side_that_would_gain_and_counts_it)
{
    static const double ratio[6] = { 0.5, 0.9, 2, 0.5, 1.1, 2 };
    static const double loss[6] = { -0.5, -0.9, -1.25, 0.8, 1.1, 1.75 };
    static const double slope[6] = { -0.5, -0.9, 0, 0, 1.1, 0 };
    struct batch b = { 0 };
    for (int i = 0; i < 6; i++) {
        append(&b, i < 3 ? 1 : -1);
        token(&b, log(ratio[i]) - 3, -3, -3);
    }
    struct plumb_policy a = with("clip", PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS);
    a.cap = 1.75;
    run(plumb_test_device(), a, &b);
    for (int i = 0; i < 6; i++) {
        cr_expect_float_eq(b.losses[i], loss[i], 1e-6, "ratio %g", ratio[i]);
        cr_expect_float_eq(b.dlogp[i], slope[i], 1e-6, "ratio %g", ratio[i]);
        cr_expect_eq(stat(&b, i, PLUMB_STAT_HIGH), i == 2);
        cr_expect_eq(stat(&b, i, PLUMB_STAT_LOW), i == 3);
        cr_expect_eq(stat(&b, i, PLUMB_STAT_CAPPED), i == 5);
        cr_expect_float_eq(stat(&b, i, PLUMB_STAT_RATIO), ratio[i], 1e-6);
    }
}

/* LUSPO is GSPO times the length (arXiv:2602.05261). */
Test(policy_loss, sums_over_a_row_of_one_ratio_are_its_mean_times_its_length)
{
    struct batch mean, sum;
    fill(&mean, 9, 0.6);
    sum = mean;
    struct plumb_policy a = with("clip", PLUMB_LEVEL_MEAN, PLUMB_AGGREGATE_ROW_MEANS);
    run(&plumb_ref, a, &mean);
    a.aggregation = PLUMB_AGGREGATE_TOKENS;
    run(&plumb_ref, a, &sum);
    for (int64_t r = 0; r < sum.B; r++) {
        const double n = (double)(r + 1);
        cr_expect_float_eq(sum.losses[r], n * mean.losses[r], 1e-14 * n);
        for (int32_t t = sum.offset[r]; t < sum.offset[r + 1]; t++)
            cr_expect_float_eq(sum.dlogp[t], n * mean.dlogp[t], 1e-14 * n);
    }
}

/* Macro actions: the runs are the macros, here of two tokens; a sequence's are summed by hand. */
Test(policy_loss, the_ratio_of_a_macro_action_is_the_product_of_its_tokens)
{
    struct batch b = { 0 };
    for (int macro = 0; macro < 4; macro++) {
        append(&b, macro % 2 ? -0.5 : 1.5);
        token(&b, -1 - 0.1 * macro, -1.05, -1);
        token(&b, -0.5, -0.45 - 0.02 * macro, -1);
    }
    struct plumb_policy a = with("clip", PLUMB_LEVEL_SUM, PLUMB_AGGREGATE_TOKENS);
    a.divisor = 8;
    run(plumb_test_device(), a, &b);
    for (int macro = 0; macro < 4; macro++) {
        const double *lp = b.logp + 2 * macro, *old = b.old + 2 * macro;
        const double ratio = exp(lp[0] - old[0]) * exp(lp[1] - old[1]);
        const double adv = b.advantage[macro], low = fmax(ratio, 0.8), high = fmin(ratio, 1.25);
        const bool free = adv > 0 ? ratio <= 1.25 : ratio >= 0.8;
        cr_expect_float_eq(b.losses[macro], -2 * adv * (adv > 0 ? high : low), 1e-6);
        for (int t = 0; t < 2; t++)
            cr_expect_float_eq(b.dlogp[2 * macro + t], free ? -2 * adv * ratio / 8 : 0, 1e-6);
    }
}

/* Critique-GRPO's slope g p / (p + g)^2 is largest at p = g (no golden has this formula). */
Test(policy_loss, refined_tokens_learn_most_where_they_are_as_likely_as_the_constant)
{
    struct batch b = { 0 };
    double slope[3];
    for (int i = 0; i < 3; i++) {
        append(&b, 1);
        token(&b, log(0.25 * (i + 1)), 0, 0);
        b.mark[i] = 1;
    }
    run(plumb_test_device(), with("critique", PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS), &b);
    for (int i = 0; i < 3; i++) {
        const double p = 0.25 * (i + 1);
        slope[i] = -b.dlogp[i];
        cr_expect_float_eq(b.losses[i], -p / (p + 0.5), 1e-6);
        cr_expect_float_eq(slope[i], 0.5 * p / ((p + 0.5) * (p + 0.5)), 1e-6);
    }
    cr_expect(slope[1] > slope[0] && slope[1] > slope[2]);
}

/* ---- rows and tokens that do not count ---- */

Test(policy_loss, skipped_tokens_count_nowhere_whatever_they_hold)
{
    for (int id = 0; plumb_policy_name(id); id++)
        for (int level = PLUMB_LEVEL_TOKEN; level <= PLUMB_LEVEL_SUM; level++) {
            struct batch packed, whole = { 0 };
            fill(&packed, 6, 0.5);
            for (int64_t r = 0; r < packed.B; r++) {
                append(&whole, packed.advantage[r]);
                for (int32_t t = packed.offset[r]; t < packed.offset[r + 1]; t++) {
                    whole.target[whole.offset[whole.B]] = -1;
                    token(&whole, NAN, INFINITY, -7);
                    whole.target[whole.offset[whole.B]] = 3;
                    token(&whole, packed.logp[t], packed.old[t], packed.ref[t]);
                }
            }
            struct plumb_policy a = with(plumb_policy_name(id), (enum plumb_policy_level)level,
                                         PLUMB_AGGREGATE_ROW_MEANS);
            a.beta = 0.1;
            run(plumb_test_device(), a, &packed);
            a.target = whole.target;
            run(plumb_test_device(), a, &whole);
            for (int32_t t = 0; t < packed.offset[packed.B]; t++) {
                cr_expect_eq(whole.dlogp[2 * t], 0);
                cr_expect_float_eq(whole.dlogp[2 * t + 1], packed.dlogp[t], 1e-6);
            }
            for (int64_t r = 0; r < packed.B; r++)
                cr_expect_float_eq(whole.losses[r], packed.losses[r], 1e-6);
        }
}

Test(policy_loss, a_row_without_tokens_and_a_count_of_nothing_give_no_gradient)
{
    struct batch b = { 0 };
    append(&b, 2);
    append(&b, -3);
    token(&b, -1, -2, -1);
    struct plumb_policy a = with("clip", PLUMB_LEVEL_MEAN, PLUMB_AGGREGATE_ROW_MEANS);
    a.divisor = 0;
    run(plumb_test_device(), a, &b);
    cr_expect(b.losses[0] == 0 && b.dlogp[0] == 0 && isfinite(b.losses[1]));
    a.aggregation = PLUMB_AGGREGATE_ROWS; /* the ratio of no tokens is 1 */
    run(plumb_test_device(), a, &b);
    cr_expect(b.losses[0] == -2 && b.dlogp[0] == 0);
}

Test(policy_loss, a_rows_bits_ignore_the_others_and_nan_is_not_hidden)
{
    for (int level = PLUMB_LEVEL_TOKEN; level <= PLUMB_LEVEL_MEAN_TOKEN; level++) {
        struct batch all;
        fill(&all, 25, 0.5);
        all.logp[all.offset[7] + 3] = NAN;
        struct plumb_policy a = with("clip", (enum plumb_policy_level)level,
                                     PLUMB_AGGREGATE_ROW_MEANS);
        a.beta = 0.1, a.divisor = 3;
        run(plumb_test_device(), a, &all);
        for (int64_t r = 0; r < all.B; r++) {
            struct batch one = { 0 };
            const int32_t from = all.offset[r];
            append(&one, all.advantage[r]);
            for (int32_t t = from; t < all.offset[r + 1]; t++)
                token(&one, all.logp[t], all.old[t], all.ref[t]);
            run(plumb_test_device(), a, &one);
            cr_expect_eq(!!isnan(all.losses[r]), r == 7);
            if (r == 7) {
                cr_expect(isnan(all.dlogp[from + 3]) && isnan(stat(&all, r, PLUMB_STAT_KL)));
                continue;
            }
            cr_expect_eq(one.losses[0], all.losses[r]);
            cr_expect(!memcmp(one.stats, all.stats + r * PLUMB_POLICY_STATS,
                              PLUMB_POLICY_STATS * sizeof *one.stats));
            cr_expect(!memcmp(one.dlogp, all.dlogp + from, (size_t)(r + 1) * sizeof *one.dlogp));
        }
    }
}

/* The parts that an epilogue sees give what the whole call gives. */
Test(policy_loss, parts_give_the_bits_of_the_whole)
{
    struct batch b;
    static float in[4][MAX], out[2][ROWS + ROWS * PLUMB_POLICY_STATS + MAX];
    fill(&b, 9, 0.5);
    struct plumb_policy a = with("clip", PLUMB_LEVEL_MEAN, PLUMB_AGGREGATE_ROW_MEANS), part;
    for (int32_t i = 0; i < b.offset[b.B]; i++)
        in[0][i] = (float)b.logp[i], in[1][i] = (float)b.old[i], in[2][i] = (float)b.ref[i];
    for (int64_t r = 0; r < b.B; r++)
        in[3][r] = (float)b.advantage[r];
    a.B = b.B, a.offset = b.offset, a.beta = 0.1;
    a.logp = (struct plumb_tensor){ in[0], PLUMB_F32 };
    a.old_logp = (struct plumb_tensor){ in[1], PLUMB_F32 };
    a.ref_logp = (struct plumb_tensor){ in[2], PLUMB_F32 };
    a.advantage = a.row_weight = (struct plumb_tensor){ in[3], PLUMB_F32 };
    for (int k = 0; k < 2; k++) {
        a.losses = (struct plumb_tensor){ out[k], PLUMB_F32 };
        a.stats = (struct plumb_tensor){ out[k] + ROWS, PLUMB_F32 };
        a.dlogp = (struct plumb_tensor){ out[k] + ROWS + ROWS * PLUMB_POLICY_STATS, PLUMB_F32 };
        for (int64_t r = 0; r < b.B; r += k ? 3 : b.B) {
            const int64_t from = b.offset[r], to = b.offset[k ? r + 3 : b.B];
            cr_assert_eq(plumb_policy_part(&a, b.offset, from, to - from, &part), PLUMB_OK);
            cr_assert_eq(plumb_policy(&plumb_cpu, &part), PLUMB_OK, "%s", plumb_errmsg());
        }
    }
    cr_expect(!memcmp(out[0], out[1], sizeof out[0]));
    cr_expect_eq(plumb_policy_part(&a, b.offset, 0, 2, &part), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "no run of whole"), "message was: %s", plumb_errmsg());
}

/* ---- extremes ---- */

/* A rounding of an exponent of e moves the value by e roundings. */
static void expect_near(double got, double truth, const char *what)
{
    if (fabs(truth) < FLT_MAX)
        cr_expect(fabs(got - truth) <= 1000 * FLT_EPSILON * fabs(truth) + 1e-30, "%s: %g for %g",
                  what, got, truth);
    else
        cr_expect(isfinite(got) && fabs(got) > 1e38 && signbit(got) == signbit(truth), "%s: %g",
                  what, got);
}

Test(policy_loss, extreme_log_ratios_agree_with_the_oracle_or_saturate)
{
    static const double far[] = { -3e38, -1000, -200, -90, -20, 0, 20, 90, 200, 1000, 3e38 };
    static const double advantage[] = { 1, -1, 0, 1e-30, -1e-30 };
    for (int id = 0; plumb_policy_name(id); id++)
        for (int k = 0; k < 5; k++) {
            struct batch b = { 0 }, ref;
            for (int i = 0; i < 11; i++) {
                append(&b, advantage[k]);
                token(&b, far[i] < 0 ? far[i] : -0.125, far[i] < 0 ? -0.125 : -far[i], -3);
            }
            ref = b;
            const struct plumb_policy a = with(plumb_policy_name(id), PLUMB_LEVEL_TOKEN,
                                               PLUMB_AGGREGATE_TOKENS);
            run(plumb_test_device(), a, &b);
            run(&plumb_ref, a, &ref);
            for (int i = 0; i < 11; i++) {
                expect_near(b.losses[i], ref.losses[i], plumb_policy_name(id));
                expect_near(b.dlogp[i], ref.dlogp[i], plumb_policy_name(id));
            }
        }
}

/* ---- loss types and misuse ---- */

Test(policy_loss, loss_types_are_formula_level_aggregation_and_divisor)
{
    const struct plumb_policy_counts n = { .rows = 4,
                                           .rows_with_tokens = 3,
                                           .tokens = 50,
                                           .step_tokens = 200,
                                           .max_completion_length = 16 };
    static const struct {
        const char *name;
        double divisor, low, high;
    } types[] = { { "grpo", 4, 0.75, 1.5 },      { "bnpo", 50, 0.75, 1.5 },
                  { "dr_grpo", 64, 0.75, 1.5 },  { "dapo", 200, 0.75, 1.5 },
                  { "cispo", 200, 0, 0.5 },      { "luspo", 4, 0.75, 1.5 },
                  { "gspo_token", 3, 0.75, 1.5 } };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct plumb_policy a = { .struct_bytes = sizeof a };
        cr_assert_eq(plumb_policy_preset(types[i].name, &n, 0.25, 0.5, 0, &a), PLUMB_OK);
        cr_expect_eq(a.divisor, types[i].divisor, "%s", types[i].name);
        cr_expect(a.ratio_low == types[i].low && a.ratio_high == types[i].high, "%s",
                  types[i].name);
    }
    int count = 0;
    for (const char *name; (name = plumb_policy_preset_name(count)); count++) {
        struct plumb_policy a = { .struct_bytes = sizeof a };
        struct batch b;
        fill(&b, 3, 0.3);
        cr_assert_eq(plumb_policy_preset(name, &n, 0.25, 0.5, 2, &a), PLUMB_OK);
        run(plumb_test_device(), a, &b);
    }
    cr_expect_geq(count, 8);
    struct plumb_policy a = { .struct_bytes = sizeof a };
    cr_expect_eq(plumb_policy_preset("grpp", &n, 0.2, 0.2, 0, &a), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "\"grpp\""), "message was: %s", plumb_errmsg());
}

static float numbers[16];

static struct plumb_policy good_call(void)
{
    static const int32_t offset[3] = { 0, 1, 2 };
    const struct plumb_tensor t = { numbers, PLUMB_F32 }, out = { numbers + 8, PLUMB_F32 };
    struct plumb_policy a = with("clip", PLUMB_LEVEL_TOKEN, PLUMB_AGGREGATE_TOKENS);
    a.B = 2, a.offset = offset, a.logp = a.advantage = t, a.losses = out;
    return a;
}

static void expect_fault(const struct plumb_policy *a, const char *word)
{
    cr_expect_eq(plumb_policy(&plumb_cpu, a), PLUMB_EINVAL, "%s", word);
    cr_expect(strstr(plumb_errmsg(), word), "message was: %s", plumb_errmsg());
}

#define EXPECT_FAULT(change, word)                                                                 \
    do {                                                                                           \
        struct plumb_policy a = good_call();                                                       \
        change;                                                                                    \
        expect_fault(&a, word);                                                                    \
    } while (0)

Test(policy_loss, names_the_argument_that_is_wrong)
{
    const struct plumb_policy good = good_call();
    const struct plumb_tensor t = good.logp;
    cr_assert_eq(plumb_policy(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    expect_fault(NULL, "the struct is NULL");
    EXPECT_FAULT(a.struct_bytes = 8, "struct");
    EXPECT_FAULT(a.loss = (enum plumb_policy_loss)99, "loss=99");
    EXPECT_FAULT(a.level = (enum plumb_policy_level)4, "level=4");
    EXPECT_FAULT(a.aggregation = (enum plumb_policy_aggregation)3, "aggregation=3");
    EXPECT_FAULT(a.aggregation = PLUMB_AGGREGATE_ROWS, "wants level MEAN or SUM");
    EXPECT_FAULT(a.B = -1, "B=-1");
    EXPECT_FAULT(a.offset = NULL, "offset is missing");
    EXPECT_FAULT(a.logp.data = NULL, "logp is missing");
    EXPECT_FAULT(a.advantage.data = NULL, "none of advantage and token_advantage");
    EXPECT_FAULT(a.token_advantage = t, "both of advantage and token_advantage");
    EXPECT_FAULT(a.beta = 0.1, "ref_logp is missing");
    EXPECT_FAULT(a.beta = NAN, "beta=nan");
    EXPECT_FAULT((a.beta = 1, a.ref_logp = t, a.estimator = (enum plumb_kl_estimator)77),
                 "estimator=77");
    EXPECT_FAULT(a.divisor = -1, "divisor=-1");
    EXPECT_FAULT(a.ratio_low = -0.1, "ratio_low=-0.1");
    EXPECT_FAULT(a.ratio_high = 0.5, "ratio_high=0.5, must be at least 0.8");
    EXPECT_FAULT((a.loss = PLUMB_POLICY_SAPO, a.tau_negative = 0), "tau_negative=0");
    EXPECT_FAULT((a.loss = PLUMB_POLICY_CRITIQUE, a.coef = 0), "coef=0");
    EXPECT_FAULT(a.log_ratio_clamp = INFINITY, "log_ratio_clamp=inf");
    EXPECT_FAULT(a.bonus = a.losses, "bonus is wanted, but entropy");
    EXPECT_FAULT(a.dentropy = a.losses, "dentropy is wanted, but entropy");
    EXPECT_FAULT(a.weight = ((struct plumb_tensor){ numbers, PLUMB_I32 }), "weight cannot");
    EXPECT_FAULT(a.losses.data = NULL, "losses is missing");
    EXPECT_FAULT((a.aggregation = PLUMB_AGGREGATE_ROWS, a.level = PLUMB_LEVEL_SUM, a.weight = t),
                 "for weight");
    cr_expect_eq(plumb_policy_find("clip"), PLUMB_POLICY_CLIP);
    cr_expect_eq(plumb_policy_find("clap"), -1);
}
