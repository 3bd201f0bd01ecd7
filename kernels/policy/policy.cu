/* Device code of the policy losses. A warp owns a row and goes through it in strips of 128 tokens:
 * for its sums and for its pull where its level asks for them, then for losses and gradients. Every
 * pass after the first finds the row in a cache. */
#include "kernels/policy/policy_shell.h"

#include "kernels/gpu_strip.h"

enum { WARPS = 8 };

struct policy_job {
    struct plumb_policy_options options;
    int64_t B;
    const int32_t *offset, *target;
    const float *logp, *old, *ref, *advantage, *token_advantage, *sampler, *weight, *mark;
    const float *row_weight, *entropy, *entropy_weight, *entropy_count;
    struct plumb_policy_bonus bonus;
    float *losses, *parts, *stats, *dlogp, *dentropy;
};

/* ---- four tokens of a row ---- */

struct policy_strip {
    plumb_vec<float> lp, old, ref, a, sampler, weight, mark;
    bool in[4], counts[4]; /* in the row; and not skipped */
};

PLUMB_DEVICE void strip_counts(const struct policy_job *j, int64_t i, const struct plumb_run *run,
                               struct policy_strip *s)
{
    const plumb_vec<int32_t> target = plumb_strip_load(j->target, i, run, (int32_t)0);
    PLUMB_UNROLL for (int k = 0; k < 4; k++)
    {
        s->in[k] = plumb_strip_in(i + k, run);
        s->counts[k] = s->in[k] && target.v[k] >= 0;
    }
}

PLUMB_DEVICE void strip_of(const struct policy_job *j, int64_t i, const struct plumb_run *run,
                           float advantage, bool terms, struct policy_strip *s)
{
    strip_counts(j, i, run, s);
    s->lp = plumb_strip_load(j->logp, i, run, 0.0f);
    s->old = j->old ? plumb_strip_load(j->old, i, run, 0.0f) : s->lp;
    s->a = plumb_strip_load(j->token_advantage, i, run, advantage);
    s->ref = terms && j->ref ? plumb_strip_load(j->ref, i, run, 0.0f) : s->lp;
    s->sampler = plumb_strip_load(j->sampler, i, run, 1.0f);
    s->weight = plumb_strip_load(terms ? j->weight : NULL, i, run, 1.0f);
    s->mark = plumb_strip_load(terms ? j->mark : NULL, i, run, 0.0f);
}

PLUMB_DEVICE struct plumb_policy_input strip_input(const struct policy_job *j,
                                                   const struct policy_strip *s, int k)
{
    const bool vespo = j->options.loss == PLUMB_POLICY_VESPO;
    const struct plumb_policy_input in = {
        s->lp.v[k],     s->old.v[k], s->ref.v[k], s->a.v[k], vespo ? 1.0f : s->sampler.v[k],
        s->weight.v[k], s->mark.v[k]
    };
    return in;
}

/* ---- passes over a row ---- */

PLUMB_DEVICE struct plumb_policy_sums row_sums(const struct policy_job *j,
                                               const struct plumb_run *run, int skew,
                                               float advantage)
{
    double lp[4] = { 0 }, lr[4] = { 0 }, a[4] = { 0 }, sampler[4] = { 0 }, tokens = 0;
    for (int64_t at = -skew; at < run->tokens; at += 128) {
        const int64_t i = plumb_strip_lane(at);
        struct policy_strip s;
        strip_of(j, i, run, advantage, false, &s);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            if (s.in[k] && j->sampler) sampler[k] += plumb_policy_sampler_log(s.sampler.v[k]);
            if (!s.counts[k]) continue;
            const struct plumb_policy_input in = strip_input(j, &s, k);
            struct plumb_policy_sums sum = { tokens, lp[k], lr[k], a[k], 0 };
            plumb_policy_add(&j->options, &in, &sum);
            tokens = sum.tokens, lp[k] = sum.lp, lr[k] = sum.lr, a[k] = sum.a;
        }
    }
    const bool vespo = j->options.loss == PLUMB_POLICY_VESPO;
    const struct plumb_policy_sums sums = { plumb_warp_sum(tokens), plumb_run_total(lp, skew),
                                            plumb_run_total(lr, skew), plumb_run_total(a, skew),
                                            vespo ? plumb_run_total(sampler, skew) : 0 };
    return sums;
}

PLUMB_DEVICE double row_pull(const struct policy_job *j, const struct plumb_run *run, int skew,
                             float advantage, const struct plumb_policy_row *row)
{
    double pull[4] = { 0 };
    for (int64_t at = -skew; at < run->tokens; at += 128) {
        const int64_t i = plumb_strip_lane(at);
        struct policy_strip s;
        strip_of(j, i, run, advantage, true, &s);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            if (!s.counts[k]) continue;
            const struct plumb_policy_input in = strip_input(j, &s, k);
            pull[k] += row->scale * plumb_policy_term_of(&j->options, row, &in).through;
        }
    }
    return plumb_run_total(pull, skew);
}

PLUMB_DEVICE void row_terms(const struct policy_job *j, const struct plumb_run *run, int skew,
                            float advantage, const struct plumb_policy_row *row,
                            struct plumb_policy_totals *all)
{
    double loss[4] = { 0 }, lr[4] = { 0 }, kl[4] = { 0 }, factor[4] = { 0 };
    for (int64_t at = -skew; at < run->tokens; at += 128) {
        const int64_t i = plumb_strip_lane(at);
        struct policy_strip s;
        plumb_vec<float> grad = { { 0, 0, 0, 0 } };
        strip_of(j, i, run, advantage, true, &s);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            if (!s.counts[k]) continue;
            const struct plumb_policy_input in = strip_input(j, &s, k);
            const struct plumb_policy_term t = plumb_policy_term_of(&j->options, row, &in);
            loss[k] += t.loss, lr[k] += (double)t.lr;
            kl[k] += (double)t.kl, factor[k] += (double)t.factor;
            plumb_policy_count(all, t.clip);
            grad.v[k] = plumb_policy_slope(&j->options, row, &t);
        }
        plumb_strip_store(j->dlogp, i, run, grad);
    }
    all->loss = plumb_run_total(loss, skew), all->lr = plumb_run_total(lr, skew);
    all->kl = plumb_run_total(kl, skew), all->factor = plumb_run_total(factor, skew);
    all->low = (int32_t)plumb_warp_sum((double)all->low);
    all->high = (int32_t)plumb_warp_sum((double)all->high);
    all->capped = (int32_t)plumb_warp_sum((double)all->capped);
}

PLUMB_DEVICE void row_entropies(const struct policy_job *j, const struct plumb_run *run, int skew,
                                const struct plumb_policy_bonus *b,
                                const struct plumb_policy_row *row, struct plumb_policy_totals *all)
{
    const double slope = plumb_policy_bonus_slope(b, row->tokens);
    double entropy[4] = { 0 }, bonus[4] = { 0 };
    for (int64_t at = -skew; at < run->tokens; at += 128) {
        const int64_t i = plumb_strip_lane(at);
        struct policy_strip s;
        plumb_vec<float> grad = { { 0, 0, 0, 0 } };
        strip_counts(j, i, run, &s);
        const plumb_vec<float> h = plumb_strip_load(j->entropy, i, run, 0.0f);
        const plumb_vec<float> w = plumb_strip_load(j->entropy_weight, i, run, 1.0f);
        PLUMB_UNROLL for (int k = 0; k < 4; k++)
        {
            if (!s.counts[k]) continue;
            entropy[k] += (double)h.v[k];
            bonus[k] += (double)w.v[k] * (double)h.v[k];
            grad.v[k] = plumb_saturate(slope * (double)w.v[k]);
        }
        plumb_strip_store(j->dentropy, i, run, grad);
    }
    all->entropy = plumb_run_total(entropy, skew);
    all->bonus = plumb_run_total(bonus, skew);
}

/* ---- one row ---- */

PLUMB_DEVICE void row_begin(const struct policy_job *j, int64_t b, const struct plumb_run *run,
                            int skew, float advantage, struct plumb_policy_row *row)
{
    struct plumb_policy_sums sums = { (double)run->tokens, 0, 0, 0, 0 };
    if (j->options.level != PLUMB_LEVEL_TOKEN || j->target)
        sums = row_sums(j, run, skew, advantage);
    const bool first = threadIdx.x % 32 == 0;
    if (first)
        plumb_policy_row_of(&j->options, &sums, advantage, j->token_advantage != NULL,
                            j->row_weight ? j->row_weight[b] : 1.0f, row);
    __syncwarp();
    if (!plumb_policy_pulls(&j->options)) return;
    const double pull = row_pull(j, run, skew, advantage, row);
    if (first) row->pull += pull;
    __syncwarp();
}

PLUMB_DEVICE void row_report(const struct policy_job *j, int64_t b,
                             const struct plumb_policy_bonus *bonus,
                             const struct plumb_policy_row *row,
                             const struct plumb_policy_totals *all, bool good)
{
    const int lane = (int)(threadIdx.x % 32);
    float column[PLUMB_POLICY_STATS];
    if (lane == 0) j->losses[b] = good ? plumb_policy_row_part(&j->options, row, all->loss) : NAN;
    if (lane == 0 && j->parts)
        j->parts[b] = good ? plumb_policy_bonus_part(bonus, all->bonus, row->tokens) : NAN;
    if (lane > 1 || !j->stats) return;
    plumb_policy_stats(&j->options, row, j->token_advantage != NULL, all, column);
    plumb_vec<float> x;
    PLUMB_UNROLL for (int k = 0; k < 4; k++) x.v[k] = !good       ? NAN
                                                      : lane == 0 ? column[k]
                                                                  : column[k + 4];
    plumb_four_store(j->stats + b * PLUMB_POLICY_STATS, 4 * lane, PLUMB_POLICY_STATS, x);
}

__global__ void __launch_bounds__(32 * WARPS)
    policy_rows(const __grid_constant__ struct policy_job j)
{
    __shared__ struct plumb_policy_row rows[WARPS]; /* in registers they would crowd the rest out */
    struct plumb_policy_row *row = &rows[threadIdx.x / 32];
    const int64_t b = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (b >= j.B) return;
    const struct plumb_run run = plumb_run_of(j.offset[b], j.offset[b + 1], j.offset[0],
                                              j.offset[j.B]);
    const int skew = plumb_strip_skew(j.logp, &run);
    const float advantage = j.advantage ? j.advantage[b] : 0.0f;
    row_begin(&j, b, &run, skew, advantage, row);
    struct plumb_policy_totals all = { 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    row_terms(&j, &run, skew, advantage, row, &all);
    struct plumb_policy_bonus bonus = j.bonus;
    if (j.entropy_count) bonus.divisor = (double)*j.entropy_count;
    if (j.entropy) row_entropies(&j, &run, skew, &bonus, row, &all);
    row_report(&j, b, &bonus, row, &all, run.tokens >= 0);
}

static int policy(const struct plumb_device *dev, const struct plumb_policy *a)
{
    if (a->B == 0) return PLUMB_OK;
    const struct policy_job j = {
        .options = plumb_policy_options(a),
        .B = a->B,
        .offset = a->offset,
        .target = a->target,
        .logp = (const float *)a->logp.data,
        .old = (const float *)a->old_logp.data,
        .ref = a->beta != 0 ? (const float *)a->ref_logp.data : NULL,
        .advantage = (const float *)a->advantage.data,
        .token_advantage = (const float *)a->token_advantage.data,
        .sampler = (const float *)a->sampler_ratio.data,
        .weight = (const float *)a->weight.data,
        .mark = (const float *)a->mark.data,
        .row_weight = (const float *)a->row_weight.data,
        .entropy = (const float *)a->entropy.data,
        .entropy_weight = (const float *)a->entropy_weight.data,
        .entropy_count = (const float *)a->entropy_count.data,
        .bonus = { a->entropy_coef, a->entropy_divisor, a->entropy_row_means },
        .losses = (float *)a->losses.data,
        .parts = (float *)a->bonus.data,
        .stats = (float *)a->stats.data,
        .dlogp = (float *)a->dlogp.data,
        .dentropy = (float *)a->dentropy.data,
    };
    const unsigned blocks = (unsigned)plumb_ceil_div(a->B, WARPS);
    return plumb_gpu_status(
        PLUMB_LAUNCH(policy_rows, blocks, 32 * WARPS, 0, plumb_gpu_stream(dev), j), "policy");
}
PLUMB_GPU_OP(policy, plumb_policy);
