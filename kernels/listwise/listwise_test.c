#include <plumb/listwise.h>

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/tensor.h"

enum { MAX = 64, TOKENS = 2 }; /* candidates; tokens of each, the first carries the sum */

struct batch {
    int64_t L, C;
    int32_t list[MAX + 1], offset[MAX + 1], mask[MAX];
    double score[MAX], label[MAX], logp[TOKENS * MAX];
    double losses[MAX], pairs[MAX], correct[MAX], top[MAX], dscore[MAX], dlogp[TOKENS * MAX];
};

static void append(struct batch *b, int64_t K, const double *score, const double *label)
{
    for (int64_t i = 0; i < K; i++) {
        const int64_t c = b->C++;
        cr_assert_lt(c, MAX);
        b->score[c] = score[i], b->label[c] = label[i], b->mask[c] = 1;
        b->offset[c + 1] = b->offset[c] + TOKENS;
        b->logp[TOKENS * c] = score[i];
    }
    b->list[++b->L] = (int32_t)b->C;
}

static struct plumb_listwise with(enum plumb_listwise_loss loss)
{
    return (struct plumb_listwise){ .struct_bytes = sizeof(struct plumb_listwise),
                                    .loss = loss,
                                    .beta = 1,
                                    .label_temperature = 1,
                                    .margin = 1,
                                    .lambda = 1,
                                    .divisor = 1 };
}

static enum plumb_dtype dtype_of(const struct plumb_device *dev)
{
    return dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
}

static void copy(double *to, const struct plumb_tensor *t, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = plumb_test_get(t, i);
}

/* Scores are given as such, or as log-prob sums. */
static void run(const struct plumb_device *dev, struct plumb_listwise a, bool tokens,
                struct batch *b)
{
    const enum plumb_dtype t = dtype_of(dev);
    const int64_t M = b->offset[b->C];
    struct plumb_tensor none = { 0 }, other = { 0 };
    a.L = b->L, a.C = b->C;
    a.list = plumb_test_copy(dev, b->list, sizeof b->list);
    a.offset = plumb_test_copy(dev, b->offset, sizeof b->offset);
    a.mask = plumb_test_copy(dev, b->mask, sizeof b->mask);
    a.label = plumb_test_tensor(t, a.C, b->label);
    *(tokens ? &a.logp : &a.score) = plumb_test_tensor(t, tokens ? M : a.C,
                                                       tokens ? b->logp : b->score);
    if (tokens) a.scores = plumb_test_tensor(t, a.C, NULL);
    if (tokens) a.logps = plumb_test_tensor(t, a.C, NULL);
    if (tokens) a.dlogp = plumb_test_tensor(t, M, NULL);
    a.losses = plumb_test_tensor(t, a.L, NULL);
    a.pairs = plumb_test_tensor(t, a.L, NULL);
    a.correct = plumb_test_tensor(t, a.L, NULL);
    a.top = plumb_test_tensor(t, a.L, NULL);
    a.dscore = plumb_test_tensor(t, a.C, NULL);
    a.work = plumb_test_tensor(t, (int64_t)plumb_listwise_workspace(dev, &a) / 4, NULL);
    struct plumb_tensor *all[] = { &a.label,
                                   &a.losses,
                                   &a.pairs,
                                   &a.correct,
                                   &a.top,
                                   &a.dscore,
                                   &a.work,
                                   tokens ? &a.logp : &a.score,
                                   tokens ? &a.scores : &none,
                                   tokens ? &a.logps : &other,
                                   &a.dlogp };
    const int64_t count[] = { a.C,
                              a.L,
                              a.L,
                              a.L,
                              a.L,
                              a.C,
                              (int64_t)plumb_listwise_workspace(dev, &a) / 4,
                              tokens ? M : a.C,
                              a.C,
                              a.C,
                              M };
    const int n = tokens ? 11 : 8;
    for (int i = 0; i < n; i++)
        plumb_test_to(dev, all[i], count[i]);
    cr_assert_eq(plumb_listwise(dev, &a), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < n; i++)
        plumb_test_from(dev, all[i], count[i]);
    copy(b->losses, &a.losses, a.L);
    copy(b->pairs, &a.pairs, a.L);
    copy(b->correct, &a.correct, a.L);
    copy(b->top, &a.top, a.L);
    copy(b->dscore, &a.dscore, a.C);
    if (tokens) copy(b->dlogp, &a.dlogp, M);
    for (int i = 0; i < n; i++)
        plumb_test_free(all[i]);
}

static struct batch of_scores(enum plumb_listwise_loss loss, int64_t K, const double *score,
                              const double *label)
{
    struct batch b = { 0 };
    append(&b, K, score, label);
    run(&plumb_ref, with(loss), false, &b);
    return b;
}

static void expect_equal(const struct batch *a, const struct batch *b, double scale,
                         const char *what)
{
    cr_expect_float_eq(a->losses[0], scale * b->losses[0], 1e-13 * (1 + fabs(a->losses[0])),
                       "%s: %.15g and %.15g", what, a->losses[0], scale * b->losses[0]);
    for (int64_t i = 0; i < a->C; i++)
        cr_expect_float_eq(a->dscore[i], scale * b->dscore[i], 1e-13, "%s: gradient %d", what,
                           (int)i);
}

/* ---- identities ---- */

Test(listwise, two_candidates_are_a_pair)
{
    const double score[2] = { 0.3, -1.2 }, label[2] = { 0.25, 1 };
    const struct batch pair = of_scores(PLUMB_LIST_PAIR_LOGISTIC, 2, score, label);
    cr_expect_float_eq(pair.losses[0], log1p(exp(1.5)), 1e-15);
    cr_expect_float_eq(pair.dscore[0], 1 / (1 + exp(-1.5)), 1e-15);
    static const enum plumb_listwise_loss same[] = { PLUMB_LIST_LIST_MLE, PLUMB_LIST_BEST_SOFTMAX,
                                                     PLUMB_LIST_BEST_LOGISTIC, PLUMB_LIST_CPL };
    for (int k = 0; k < 4; k++) {
        const struct batch b = of_scores(same[k], 2, score, label);
        expect_equal(&b, &pair, 1, plumb_listwise_name((int)same[k]));
    }
    const double gain = fabs(exp2(1) - exp2(0.25)), places = fabs(1 / log(2) - 1 / log(3));
    const struct batch lambda = of_scores(PLUMB_LIST_LAMBDA_RANK, 2, score, label);
    const struct batch gap = of_scores(PLUMB_LIST_PAIR_LOGISTIC_GAP, 2, score, label);
    expect_equal(&lambda, &pair, gain * places, "lambda_rank");
    expect_equal(&gap, &pair, 0.75, "pair_logistic_gap");
}

/* The losses without expected values of others, by what they must equal. */
Test(listwise, special_cases_meet)
{
    const double score[5] = { 0.5, 2, -1, 0.25, 4 }, label[5] = { 3, 1, 0, 2, -1 };
    const double binary[5] = { 0, 1, 0, 1, 1 };
    struct batch first = { 0 };
    struct plumb_listwise one_stage = with(PLUMB_LIST_LIST_MLE);
    one_stage.top_k = 1;
    append(&first, 5, score, label);
    run(&plumb_ref, one_stage, false, &first);
    const struct batch best = of_scores(PLUMB_LIST_BEST_SOFTMAX, 5, score, label);
    expect_equal(&best, &first, 1, "best_softmax");
    const struct batch pairs = of_scores(PLUMB_LIST_PAIR_LOGISTIC, 5, score, label);
    const struct batch cpl = of_scores(PLUMB_LIST_CPL, 5, score, label);
    cr_expect_eq(pairs.pairs[0], 10);
    expect_equal(&cpl, &pairs, 0.1, "cpl");
    const struct batch two = of_scores(PLUMB_LIST_PAIR_LOGISTIC, 5, score, binary);
    const struct batch against = of_scores(PLUMB_LIST_BEST_LOGISTIC, 5, score, binary);
    expect_equal(&against, &two, 1, "best_logistic");
}

/* Several best ones together: -log of the sum of their shares. */
Test(listwise, best_softmax_adds_the_best_up)
{
    const double score[4] = { 0.5, 2, -1, 0.25 }, label[4] = { 1, 0, 1, 0 };
    const struct batch b = of_scores(PLUMB_LIST_BEST_SOFTMAX, 4, score, label);
    const double best = exp(0.5) + exp(-1), all = best + exp(2) + exp(0.25);
    cr_expect_float_eq(b.losses[0], log(all / best), 1e-15);
    cr_expect_float_eq(b.dscore[0], exp(0.5) / all - exp(0.5) / best, 1e-15);
    cr_expect_float_eq(b.dscore[1], exp(2) / all, 1e-15);
}

Test(listwise, minus_the_expected_label_at_its_limits)
{
    const double flat[3] = { 0.5, 0.5, 0.5 }, steep[3] = { 300, 0, -300 }, label[3] = { 2, -1, 5 };
    const struct batch even = of_scores(PLUMB_LIST_EXPECTED_LABEL, 3, flat, label);
    const struct batch sure = of_scores(PLUMB_LIST_EXPECTED_LABEL, 3, steep, label);
    cr_expect_float_eq(even.losses[0], -2, 1e-15);
    for (int i = 0; i < 3; i++)
        cr_expect_float_eq(even.dscore[i], -(label[i] - 2) / 3, 1e-15);
    cr_expect_float_eq(sure.losses[0], -2, 1e-15);
    cr_expect_float_eq(sure.dscore[1], 3 * exp(-300), 1e-144);
}

Test(listwise, cpl_biases_the_loser)
{
    const double score[2] = { 0.4, 1.5 }, label[2] = { 1, 0 };
    struct plumb_listwise a = with(PLUMB_LIST_CPL);
    struct batch b = { 0 };
    a.lambda = 0.5;
    append(&b, 2, score, label);
    run(&plumb_ref, a, false, &b);
    cr_expect_float_eq(b.losses[0], log1p(exp(0.35)), 1e-15);
    cr_expect_float_eq(b.dscore[1], 0.5 / (1 + exp(-0.35)), 1e-15);
}

/* Means -1, -1.5, -3 and rewards 2, 1, 0. */
Test(listwise, pro_at_a_known_point)
{
    const double sum[3] = { -2, -3, -6 }, label[3] = { 2, 1, 0 };
    struct plumb_listwise a = with(PLUMB_LIST_PRO);
    struct batch b = { 0 };
    append(&b, 3, sum, label);
    a.length_penalty = 1;
    run(plumb_test_device(), a, true, &b);
    cr_expect_float_eq(b.losses[0], 1.182381, 1e-6);
    a.sft_weight = 0.05;
    run(plumb_test_device(), a, true, &b);
    cr_expect_float_eq(b.losses[0], 1.182381 + 0.05 * 4 * 2, 1e-6);
    for (int64_t i = 0; i < b.C; i++) /* every token gets the gradient of its sum */
        cr_expect(b.dlogp[TOKENS * i] == b.dscore[i] && b.dlogp[TOKENS * i + 1] == b.dscore[i]);
}

Test(listwise, order_and_ties_are_counted)
{
    const double score[4] = { 1, 3, 3, 0 }, label[4] = { 1, 2, 0, 2 }, worse[4] = { 9, 3, 3, 0 };
    struct batch b = { 0 };
    append(&b, 4, score, label);
    append(&b, 4, worse, label);
    run(plumb_test_device(), with(PLUMB_LIST_PAIR_HINGE), false, &b);
    cr_expect(b.pairs[0] == 5 && b.correct[0] == 1, "%g of %g", b.correct[0], b.pairs[0]);
    cr_expect(b.top[0] == 1 && b.top[1] == 0); /* of the two scores of 3 the first counts */
}

/* ---- what the lists have to do with each other: nothing ---- */

static struct batch ragged(void)
{
    struct batch b = { 0 };
    double score[9], label[9];
    for (int64_t K = 0; K < 9; K++) {
        for (int64_t i = 0; i < K; i++) {
            score[i] = 2.5 * sin((double)(7 * K + 3 * i));
            label[i] = 0.25 * (double)((5 * K + 3 * i) % 5);
        }
        append(&b, K, score, label);
    }
    return b;
}

Test(listwise, a_lists_bits_ignore_the_others)
{
    for (int id = 0; plumb_listwise_name(id); id++) {
        struct batch all = ragged();
        run(plumb_test_device(), with((enum plumb_listwise_loss)id), false, &all);
        for (int64_t l = 0; l < all.L; l++) {
            const int64_t first = all.list[l], K = all.list[l + 1] - first;
            struct batch one = { 0 };
            append(&one, K, all.score + first, all.label + first);
            run(plumb_test_device(), with((enum plumb_listwise_loss)id), false, &one);
            cr_expect_eq(one.losses[0], all.losses[l], "%s", plumb_listwise_name(id));
            for (int64_t i = 0; i < K; i++)
                cr_expect_eq(one.dscore[i], all.dscore[first + i]);
        }
    }
}

Test(listwise, masked_is_absent)
{
    for (int id = 0; plumb_listwise_name(id); id++) {
        struct batch all = ragged(), packed = { 0 };
        for (int64_t c = 0; c < all.C; c += 3)
            all.mask[c] = 0, all.score[c] = all.label[c] = NAN;
        for (int64_t l = 0; l < all.L; l++) {
            append(&packed, 0, NULL, NULL);
            for (int64_t c = all.list[l]; c < all.list[l + 1]; c++) {
                if (all.mask[c]) append(&packed, 1, all.score + c, all.label + c), packed.L--;
                packed.list[l + 1] = (int32_t)packed.C;
            }
        }
        run(&plumb_ref, with((enum plumb_listwise_loss)id), false, &all);
        run(&plumb_ref, with((enum plumb_listwise_loss)id), false, &packed);
        for (int64_t l = 0; l < all.L; l++)
            cr_expect(all.losses[l] == packed.losses[l] && all.pairs[l] == packed.pairs[l] &&
                          all.top[l] == packed.top[l],
                      "%s, list %d", plumb_listwise_name(id), (int)l);
        for (int64_t c = 0, k = 0; c < all.C; c++)
            cr_expect_eq(all.dscore[c], all.mask[c] ? packed.dscore[k++] : 0);
    }
}

Test(listwise, the_order_of_candidates_does_not_matter)
{
    const double score[5] = { 0.5, 2, -1, 0.25, 4 }, label[5] = { 0.75, 0.5, 0, 0.25, 1 };
    static const int turn[5] = { 3, 0, 4, 2, 1 };
    double s[5], y[5];
    for (int i = 0; i < 5; i++)
        s[i] = score[turn[i]], y[i] = label[turn[i]];
    for (int id = 0; plumb_listwise_name(id); id++) {
        const struct batch a = of_scores((enum plumb_listwise_loss)id, 5, score, label);
        const struct batch b = of_scores((enum plumb_listwise_loss)id, 5, s, y);
        cr_expect_float_eq(a.losses[0], b.losses[0], 1e-13, "%s", plumb_listwise_name(id));
        for (int i = 0; i < 5; i++)
            cr_expect_float_eq(a.dscore[turn[i]], b.dscore[i], 1e-13);
    }
}

/* List by list, as the head hands them out, gives the bits of all at once. */
Test(listwise, parts_are_the_whole)
{
    enum { K = 3, LISTS = 3, C = K * LISTS };
    static float logp[2 * C], label[C], out[2][6][2 * C];
    static double work[256];
    int32_t list[LISTS + 1], offset[C + 1];
    for (int i = 0; i < 2 * C; i++)
        logp[i] = -0.3f * (float)((7 * i) % 5), label[i / 2] = (float)(i % 4);
    for (int i = 0; i <= C; i++)
        offset[i] = 2 * i, list[i / K] = i / K * K;
    struct plumb_listwise whole[2], part;
    for (int k = 0; k < 2; k++) {
        whole[k] = with(PLUMB_LIST_LIST_MLE);
        whole[k].L = LISTS, whole[k].C = C, whole[k].list = list, whole[k].offset = offset;
        whole[k].logp = (struct plumb_tensor){ logp, PLUMB_F32 };
        whole[k].label = (struct plumb_tensor){ label, PLUMB_F32 };
        whole[k].work = (struct plumb_tensor){ work, PLUMB_F32 };
        whole[k].sft_weight = 0.5;
        struct plumb_tensor *const all[] = { &whole[k].losses, &whole[k].scores, &whole[k].logps,
                                             &whole[k].pairs,  &whole[k].dscore, &whole[k].dlogp };
        for (int i = 0; i < 6; i++)
            *all[i] = (struct plumb_tensor){ out[k][i], PLUMB_F32 };
    }
    cr_assert_leq(plumb_listwise_workspace(&plumb_cpu, &whole[0]), sizeof work);
    cr_assert_eq(plumb_listwise(&plumb_cpu, &whole[0]), PLUMB_OK, "%s", plumb_errmsg());
    for (int l = LISTS - 1; l >= 0; l--) {
        cr_assert_eq(plumb_listwise_part(&whole[1], list, offset, 2 * K * l, 2 * K, &part), 0);
        cr_assert_eq(plumb_listwise(&plumb_cpu, &part), PLUMB_OK, "%s", plumb_errmsg());
    }
    cr_expect(!memcmp(out[0], out[1], sizeof out[0]) && out[0][0][0] != 0 && out[0][5][17] != 0);
    cr_assert_eq(plumb_listwise_part(&whole[1], list, offset, 0, 2 * C, &part), PLUMB_OK);
    cr_expect_eq(part.L, LISTS);
    cr_expect_eq(plumb_listwise_part(&whole[1], list, offset, 2, 2 * K, &part), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "tokens [2, 8) are no run"), "%s", plumb_errmsg());
}

/* ---- extremes ---- */

Test(listwise, nothing_to_rank_costs_nothing)
{
    for (int id = 0; plumb_listwise_name(id); id++) {
        const double score[3] = { 1, -2, 3 }, label[3] = { 2, 1, 0 };
        struct batch b = { 0 };
        append(&b, 0, NULL, NULL);
        append(&b, 3, score, label);
        memset(b.mask, 0, sizeof b.mask);
        run(plumb_test_device(), with((enum plumb_listwise_loss)id), false, &b);
        cr_expect(b.losses[0] == 0 && b.losses[1] == 0, "%s", plumb_listwise_name(id));
        cr_expect(b.dscore[0] == 0 && b.dscore[2] == 0 && b.pairs[1] == 0 && b.top[1] == 0);
    }
}

/* An f32 rounding of a score moves e^-z by |z| roundings; some more for the rest of the formula. */
static void expect_close(const char *name, double got, double truth, double most)
{
    const double bound = (60 + 4 * most) * FLT_EPSILON * (fabs(truth) + 1);
    if (fabs(truth) > FLT_MAX)
        cr_expect(isfinite(got) && fabs(got) > 1e30, "%s: %g for %g", name, got, truth);
    else
        cr_expect(fabs(got - truth) <= bound, "%s: %g for %g", name, got, truth);
}

Test(listwise, extreme_scores_agree_with_f64_and_the_largest_saturate)
{
    const double score[6] = { 200, -200, 0, 200, 90, -90.5 }, label[6] = { 0, 1, 1, 0.5, 0.5, 1 };
    const double huge[4] = { 3e38, -3e38, 0, 3e38 }, most[4] = { 3e38, -3e38, 1, 0 };
    for (int id = 0; plumb_listwise_name(id); id++) {
        struct batch ref = of_scores((enum plumb_listwise_loss)id, 6, score, label), f32 = { 0 };
        append(&f32, 6, score, label);
        run(plumb_test_device(), with((enum plumb_listwise_loss)id), false, &f32);
        expect_close(plumb_listwise_name(id), f32.losses[0], ref.losses[0], 200);
        for (int i = 0; i < 6; i++)
            expect_close(plumb_listwise_name(id), f32.dscore[i], ref.dscore[i], 200);
        struct batch far = { 0 };
        append(&far, 4, huge, most);
        append(&far, 4, most, huge);
        run(plumb_test_device(), with((enum plumb_listwise_loss)id), false, &far);
        for (int i = 0; i < 8; i++)
            cr_expect(isfinite(far.losses[i / 4]) && isfinite(far.dscore[i]), "%s: %g, %g",
                      plumb_listwise_name(id), far.losses[i / 4], far.dscore[i]);
    }
}

Test(listwise, nan_is_not_hidden_and_stays_in_its_list)
{
    for (int id = 0; plumb_listwise_name(id); id++)
        for (int k = 0; k < 2; k++) {
            struct batch b = ragged();
            const int64_t hit = b.list[5] + 2;
            *(k ? &b.label[hit] : &b.score[hit]) = NAN;
            run(plumb_test_device(), with((enum plumb_listwise_loss)id), false, &b);
            for (int64_t l = 0; l < b.L; l++)
                cr_expect_eq(!!isnan(b.losses[l]), l == 5, "%s", plumb_listwise_name(id));
            for (int64_t c = 0; c < b.C; c++)
                cr_expect_eq(!!isnan(b.dscore[c]), c >= b.list[5] && c < b.list[6]);
        }
}

/* ---- misuse ---- */

static void expect_refused(struct plumb_listwise a, const char *word)
{
    cr_expect_eq(plumb_listwise(&plumb_cpu, &a), PLUMB_EINVAL, "for %s", word);
    cr_expect(strstr(plumb_errmsg(), word), "for %s, message was: %s", word, plumb_errmsg());
}

#define REFUSED(change, word)                                                                      \
    do {                                                                                           \
        struct plumb_listwise a = good;                                                            \
        change;                                                                                    \
        expect_refused(a, word);                                                                   \
    } while (0)

Test(listwise, names_the_argument_that_is_wrong)
{
    static const int32_t list[3] = { 0, 1, 2 }, back[3] = { 0, 3, 2 }, far[3] = { 0, 1, 3 };
    static float v[2], o[8];
    static double work[64];
    const struct plumb_tensor in = { v, PLUMB_F32 }, wide = { work, PLUMB_F64 };
    struct plumb_listwise good = with(PLUMB_LIST_LIST_NET);
    good.L = good.C = 2, good.list = list, good.score = good.label = in;
    good.losses = (struct plumb_tensor){ o, PLUMB_F32 };
    good.dscore = (struct plumb_tensor){ o + 2, PLUMB_F32 };
    good.work = (struct plumb_tensor){ work, PLUMB_F32 };
    cr_assert_eq(plumb_listwise(&plumb_cpu, &good), PLUMB_OK, "%s", plumb_errmsg());
    REFUSED(a.loss = (enum plumb_listwise_loss)99, "loss=99");
    REFUSED(a.list = NULL, "list is missing");
    REFUSED(a.list = back, "list[2]=2 after 3");
    REFUSED(a.list = far, "first=0 to that and C=2");
    REFUSED(a.score.data = NULL, "both missing");
    REFUSED(a.logp = in, "both given");
    REFUSED(a.ref_sum = in, "ref_sum has no use");
    REFUSED(a.label = wide, "label");
    REFUSED(a.losses.data = NULL, "losses is missing");
    REFUSED(a.dlogp = in, "dlogp needs logp");
    REFUSED(a.work.data = NULL, "work is missing");
    REFUSED(a.beta = 0, "beta=0");
    REFUSED(a.divisor = -1, "divisor=-1");
    REFUSED(a.label_temperature = 0, "label_temperature=0");
    REFUSED(a.margin = NAN, "margin=nan");
    REFUSED(a.lambda = -1, "lambda=-1");
    REFUSED(a.top_k = -1, "top_k=-1");
    REFUSED(a.length_penalty = 1, "length_penalty=1 needs logp");
    REFUSED(a.sft_weight = 1, "sft_weight=1 needs logp");
    REFUSED((a.score.data = NULL, a.logp = in), "offset is missing");
    cr_expect_eq(plumb_listwise_find("list_mle"), PLUMB_LIST_LIST_MLE);
    cr_expect_eq(plumb_listwise_find("list"), -1);
}
