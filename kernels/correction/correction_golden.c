/* Adapters of the goldens whose policy loss is weighted against its sampler:
 * golden/losses/policy/sampler_gate and off_policy_mask. */
#include <math.h>
#include <plumb/correction.h>
#include <string.h>

#include "tests/policy_golden.h"

/* The log-probs of `sampler` and `trainer`, weighted by *c; the weights. */
static struct plumb_tensor weights(struct golden_run *r, const struct policy_run *p,
                                   const char *trainer, const char *sampler,
                                   struct plumb_correction *c)
{
    c->struct_bytes = sizeof *c;
    c->B = p->a.B, c->offset = p->a.offset, c->target = p->a.target;
    c->logp = policy_input(r, p, trainer);
    c->sampler_logp = policy_input(r, p, sampler);
    c->out = golden_out(r, p->rows.M);
    golden_ok(r, plumb_correction(r->dev, c));
    return c->out;
}

/* OpenRLHF's names. */
static void gate_of(struct golden_run *r, struct plumb_correction *c)
{
    const char *gating = golden_option_text(r, "is_correction_gating");
    const bool clip = !strcmp(golden_option_text(r, "is_correction_mode"), "clip");
    const bool rows = !strcmp(golden_option_text(r, "is_correction_level"), "seq");
    const double *band = golden_option_list(r, "is_correction_threshold", 2);
    *c = (struct plumb_correction){ 0 };
    if (!golden_ok(r, plumb_correction_preset(clip   ? "tis"
                                              : rows ? "seq_mask_tis"
                                                     : "icepop",
                                              band[0], band[1], c)))
        return;
    c->keep = clip ? PLUMB_KEEP_UNIT_RATIO : PLUMB_KEEP_TOKEN_RATIO;
    if (!strcmp(gating, "binary_kl")) c->gate = PLUMB_GATE_BINARY_KL;
    if (!strcmp(gating, "tv")) c->gate = PLUMB_GATE_TV;
}

static void sampler_gate(struct golden_run *r, const void *how)
{
    (void)how;
    for (int skips = 0; skips < 2; skips++) {
        struct policy_run p;
        struct plumb_correction c;
        policy_begin(r, &p, skips);
        gate_of(r, &c);
        p.a.sampler_ratio = weights(r, &p, "old_per_token_logps", "rollout_per_token_logps", &c);
        policy_openrlhf(r, &p);
    }
}

static void off_policy_mask(struct golden_run *r, const void *how)
{
    (void)how;
    const double most = golden_option(r, "off_policy_mask_threshold", 0);
    for (int skips = 0; skips < 2; skips++) {
        struct policy_run p;
        struct plumb_correction c = { 0 };
        policy_begin(r, &p, skips);
        if (!golden_ok(r, plumb_correction_preset("off_policy_mask", 0, most, &c))) return;
        c.advantage = p.a.advantage;
        p.a.weight = weights(r, &p, "per_token_logps", "sampling_per_token_logps", &c);
        if (policy_trl_kind(r, &p, NULL)) policy_report(r, &p);
    }
}

extern const struct golden_member golden_correction[];
const struct golden_member golden_correction[] = {
    { "policy/sampler_gate", sampler_gate, NULL },
    { "policy/off_policy_mask", off_policy_mask, NULL },
    { 0 },
};
