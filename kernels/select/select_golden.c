/* Adapters of the goldens whose policy loss asks for tokens chosen from the batch:
 * golden/losses/policy/top_entropy_quantile, entropy_bonus and kl_cov. */
#include <plumb/select.h>

#include "tests/policy_golden.h"

static struct plumb_tensor scratch(struct golden_run *r, size_t bytes)
{
    return golden_out(r, (int64_t)(bytes / sizeof(float)) + 1);
}

/* Runs the selection `a` on `key`; its results are in a->out and a->count. */
static bool chosen(struct golden_run *r, const struct policy_run *p, struct plumb_tensor key,
                   struct plumb_select *a)
{
    a->struct_bytes = sizeof *a;
    a->M = p->rows.M, a->target = p->a.target, a->key = key;
    a->out = golden_out(r, p->rows.M), a->count = golden_out(r, 1);
    a->work = scratch(r, plumb_select_workspace(r->dev, a));
    return golden_ok(r, plumb_select(r->dev, a));
}

static void entropy(struct golden_run *r, const void *how)
{
    (void)how;
    const double top = golden_option(r, "top_entropy_quantile", 1);
    for (int skips = 0; skips < 2; skips++) {
        struct policy_run p;
        struct plumb_select a = { .quantile = 1 - top };
        policy_begin(r, &p, skips);
        if (top < 1) {
            if (!chosen(r, &p, p.a.entropy, &a)) return;
            p.a.weight = p.a.entropy_weight = a.out;
            p.a.entropy_count = a.count;
        }
        if (policy_trl_kind(r, &p, NULL)) policy_report(r, &p);
    }
}

static void kl_cov(struct golden_run *r, const void *how)
{
    (void)how;
    for (int skips = 0; skips < 2; skips++) {
        struct policy_run p;
        struct plumb_select a = { .top = true, .share = golden_option(r, "kl_cov_ratio", 0) };
        policy_begin(r, &p, skips);
        struct plumb_covariance c = { .struct_bytes = sizeof c,
                                      .M = p.rows.M,
                                      .target = p.a.target,
                                      .logp = p.a.logp,
                                      .advantage = p.a.token_advantage,
                                      .key = golden_out(r, p.rows.M) };
        c.work = scratch(r, plumb_covariance_workspace(r->dev, &c));
        if (!golden_ok(r, plumb_covariance(r->dev, &c)) || !chosen(r, &p, c.key, &a)) return;
        p.a.loss = PLUMB_POLICY_KL_COV, p.a.mark = a.out;
        p.a.coef = golden_option(r, "ppo_kl_coef", 0);
        policy_verl_aggregation(r, &p);
        policy_report(r, &p);
    }
}

extern const struct golden_member golden_select[];
const struct golden_member golden_select[] = {
    { "policy/top_entropy_quantile", entropy, NULL },
    { "policy/entropy_bonus", entropy, NULL },
    { "policy/kl_cov", kl_cov, NULL },
    { 0 },
};
