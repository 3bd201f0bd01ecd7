/* Adapters of golden/losses/kl, but for those of whole vocabularies: padded rows become one run of
 * tokens. */
#include <plumb/kl.h>

#include "tests/golden_run.h"

struct how {
    const char *estimator; /* NULL: the case's option kl_estimator */
    double clamp;
};

static void per_token(struct golden_run *r, const void *given)
{
    const struct how *how = given;
    const char *name = how->estimator ? how->estimator : golden_option_text(r, "kl_estimator");
    const struct golden_rows rows = golden_rows_of(r, "logps", "mask");
    const struct plumb_kl a = {
        .struct_bytes = sizeof a,
        .estimator = (enum plumb_kl_estimator)plumb_kl_find(name),
        .M = rows.M,
        .logp = golden_in(r, golden_packed(r, &rows, "logps"), rows.M),
        .ref_logp = golden_in(r, golden_packed(r, &rows, "ref_logps"), rows.M),
        .old_logp = golden_in(r, golden_packed(r, &rows, "old_logps"), rows.M),
        .clamp = how->clamp,
        .divisor = 1,
        .kl = golden_out(r, rows.M),
        .dlogp = golden_out(r, rows.M),
    };
    if (!golden_ok(r, plumb_kl(r->dev, &a))) return;
    const double *kl = golden_read(r, &a.kl, rows.M);
    double sum = 0;
    for (int64_t m = 0; m < rows.M; m++)
        sum += kl[m];
    golden_value(r, NULL, "loss", sum);
    golden_value(r, "metrics", "masked_mean", rows.M ? sum / (double)rows.M : 0);
    golden_packed_values(r, &rows, NULL, "kl", kl);
    const double *dlogp = golden_read(r, &a.dlogp, rows.M);
    if (a.estimator == PLUMB_KL_K3_IMPORTANCE_WEIGHTED) /* ratio k3 + ratio (1 - e^-d) there */
        golden_packed_differences(r, &rows, "grads", "logps", dlogp, kl);
    else
        golden_packed_values(r, &rows, "grads", "logps", dlogp);
}

#define MEMBER(name)                                                                               \
    {                                                                                              \
        "kl/" name, per_token, &(const struct how) { name, 0 }                                     \
    }
extern const struct golden_member golden_kl[];
const struct golden_member golden_kl[] = {
    MEMBER("k1"),
    MEMBER("k2"),
    MEMBER("k3"),
    MEMBER("abs"),
    MEMBER("k1_straight_through"),
    MEMBER("k3_straight_through"),
    MEMBER("k3_clamped"),
    MEMBER("k3_importance_weighted"),
    { "kl/approx_kl_clamped", per_token, &(const struct how){ NULL, 10 } },
    { 0 },
};
