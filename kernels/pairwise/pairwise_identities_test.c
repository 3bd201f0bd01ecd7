/* Formulas that no published number covers, each from another one. Their gradients are held against
 * central differences by ops_test. */
#include "tests/pairwise_batch.h"

#include <math.h>

enum { PAIRS = 6 };

/* Pairs on both sides of every threshold; sequences of one token when `single`. */
static void fill(struct batch *b, bool single)
{
    *b = (struct batch){ .B = PAIRS };
    for (int64_t r = 0; r < 2 * PAIRS; r++)
        append(b, r, single ? 1 : (double)(1 + r % 4), -4 - 3 * sin(2.0 * (double)r),
               -4 - 3 * cos(1.7 * (double)r));
}

static const double ones[2 * PAIRS] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };

struct side { /* of an identity */
    enum plumb_pairwise_loss loss;
    double beta, gamma, alpha, lambda;
    const double *target, *kl;
};

static void losses(const struct side *s, bool single, bool reference, double *out)
{
    static struct batch b;
    const struct plumb_pairwise_term term = { s->loss, 1 };
    struct plumb_pairwise a = with(&term, 1, s->beta, 0, 1);
    a.gamma = s->gamma, a.alpha = s->alpha, a.lambda = s->lambda, a.chosen_tokens = 2.5;
    fill(&b, single);
    for (int32_t t = 0; !reference && t < b.offset[2 * PAIRS]; t++)
        b.ref[t] = 0;
    b.target = s->target, b.kl = s->kl;
    run(&plumb_ref, a, &b);
    for (int i = 0; i < PAIRS; i++)
        out[i] = b.losses[i];
}

static double same(double x) { return x; }
static double times_square_of_beta(double x) { return 0.25 * x; }
static double expm1_of(double x) { return expm1(x); }
static double failure(double x) { return -expm1(-x); }
static double squared_failure(double x) { return expm1(-x) * expm1(-x); }
static double times_tokens(double x) { return 2.5 * x; }

Test(pairwise_identities, a_formula_is_a_function_of_another_one)
{
    static const double kl[2 * PAIRS] = { 1, 0.5, 0.25, 2, 3, 0.125, 1, 1, 0, 2, 0.5, 0.75 };
    const struct side dpo = { PLUMB_PAIR_SIGMOID, .beta = 0.5 };
    const struct {
        struct side of, from;
        double (*f)(double);
        bool single, no_reference;
    } all[] = {
        { { PLUMB_PAIR_SIGMOID_SCALED, .beta = 0.5, .target = ones }, dpo, same },
        { { PLUMB_PAIR_SIGMOID_CLIPPED, .beta = 0.5, .gamma = 100 }, dpo, same },
        { { PLUMB_PAIR_FOCAL, .beta = 0.5 }, dpo, same },
        { { PLUMB_PAIR_CPL, .beta = 0.5, .lambda = 1 }, dpo, same },
        { { PLUMB_PAIR_TIS_DPO, .beta = 0.5, .kl = kl }, dpo, same },
        { { PLUMB_PAIR_EXPONENTIAL, .beta = 0.5 }, dpo, expm1_of },
        { { PLUMB_PAIR_RAMP, .beta = 0.5 }, dpo, failure },
        { { PLUMB_PAIR_SAVAGE, .beta = 0.5 }, dpo, squared_failure },
        { { PLUMB_PAIR_SQUARE, .beta = 0.5 },
          { PLUMB_PAIR_IPO_SUM, .beta = 0.25 },
          times_square_of_beta },
        { { PLUMB_PAIR_HINGE_MARGIN, .beta = 0.5 }, { PLUMB_PAIR_HINGE, .beta = 0.5 }, same },
        { { PLUMB_PAIR_TIS_DPO, .beta = 0.5, .alpha = -1, .kl = kl },
          { PLUMB_PAIR_TDPO1, .beta = 0.5, .kl = kl },
          same },
        { { PLUMB_PAIR_NLL, .beta = 1 }, { PLUMB_PAIR_SFT, .beta = 1 }, times_tokens },
        { { PLUMB_PAIR_IPO_SOFT_NORM, .beta = 0.5, .target = ones },
          { PLUMB_PAIR_IPO_SOFT, .beta = 0.5, .target = ones },
          same,
          .single = true },
        { { PLUMB_PAIR_NPO_NORM, .beta = 0.5 },
          { PLUMB_PAIR_NPO, .beta = 0.5 },
          same,
          .single = true,
          .no_reference = true },
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        double got[PAIRS], from[PAIRS];
        losses(&all[k].of, all[k].single, !all[k].no_reference, got);
        losses(&all[k].from, all[k].single, !all[k].no_reference, from);
        for (int i = 0; i < PAIRS; i++)
            cr_expect_float_eq(got[i], all[k].f(from[i]), 1e-13 * (1 + fabs(got[i])), "%s: %g",
                               plumb_pairwise_name(all[k].of.loss), got[i]);
    }
}

/* What the parameter of a formula does where it is not at the identity. */
Test(pairwise_identities, a_parameter_does_what_the_formula_says)
{
    double got[PAIRS], dpo[PAIRS];
    const struct side sigmoid = { PLUMB_PAIR_SIGMOID, .beta = 0.5 };
    const struct side clipped = { PLUMB_PAIR_SIGMOID_CLIPPED, .beta = 0.5, .gamma = 1 };
    const struct side focal = { PLUMB_PAIR_FOCAL, .beta = 0.5, .gamma = 2 };
    const struct side rejected = { PLUMB_PAIR_CPL, .beta = 0.5, .lambda = 0 };
    static struct batch b;
    losses(&sigmoid, false, true, dpo);
    losses(&clipped, false, true, got);
    for (int i = 0; i < PAIRS; i++)
        cr_expect_float_eq(got[i], fmin(fmax(dpo[i], log1p(exp(-1))), log1p(exp(1))), 1e-13);
    losses(&focal, false, true, got);
    for (int i = 0; i < PAIRS; i++)
        cr_expect_float_eq(got[i], dpo[i] * exp(-2 * dpo[i]), 1e-13);
    losses(&rejected, false, true, got);
    fill(&b, false);
    for (int i = 0; i < PAIRS; i++) {
        const int32_t first = b.offset[2 * i];
        cr_expect_float_eq(got[i], log1p(exp(-0.5 * (b.logp[first] - b.ref[first]))), 1e-13);
    }
}
