/* Adapter of golden/losses/policy/entropy_from_logits: logits are hidden rows under the identity,
 * their entropies come from the head, the bonus and its gradient from the policy op. */
#include <plumb/logprob.h>
#include <string.h>

#include "tests/policy_golden.h"

static struct plumb_tensor identity(struct golden_run *r, int64_t V)
{
    double *w = golden_alloc(r, (size_t)(V * V) * sizeof *w);
    for (int64_t v = 0; v < V; v++)
        w[v * V + v] = 1;
    return golden_in(r, w, V * V);
}

/* Entropies of all positions; which token is asked for does not matter. */
static struct plumb_logprob head_of(struct golden_run *r, const struct golden_rows *rows)
{
    int64_t n;
    const double *logits = golden_input(r, "logits", &n);
    const int64_t N = rows->B * rows->T, V = n / N;
    const size_t bytes = (size_t)rows->M * sizeof(int32_t);
    struct plumb_logprob a = { .struct_bytes = sizeof a,
                               .N = N,
                               .H = V,
                               .V = V,
                               .M = rows->M,
                               .x = golden_in(r, logits, n),
                               .w = identity(r, V),
                               .row = golden_copy(r, rows->from, bytes),
                               .target = golden_copy(r, golden_alloc(r, bytes), bytes),
                               .logit_scale = 1,
                               .temperature = 1,
                               .logp = golden_out(r, rows->M),
                               .entropy = golden_out(r, rows->M),
                               .dentropy = golden_out(r, rows->M),
                               .dx = golden_out(r, n) };
    const size_t work = plumb_logprob_workspace(r->dev, &a);
    a.work.data = (void *)golden_copy(r, golden_alloc(r, work), work);
    return a;
}

/* A bonus with coefficient -1 under no advantage is the entropy itself. */
static struct plumb_policy bonus_of(struct golden_run *r, const struct golden_rows *rows,
                                    const struct plumb_logprob *head)
{
    const char *mode = golden_option_text(r, "loss_agg_mode");
    const size_t bytes = (size_t)(rows->B + 1) * sizeof *rows->offset;
    const double *none = golden_alloc(r, (size_t)rows->B * sizeof *none);
    double tokens = 0, with_tokens = 0;
    int64_t n;
    const double *mask = golden_input(r, "completion_mask", &n);
    int32_t *target = golden_alloc(r, (size_t)n * sizeof *target);
    for (int64_t b = 0; b < rows->B; b++) {
        const double before = tokens;
        for (int64_t t = b * rows->T; t < (b + 1) * rows->T; t++)
            target[t] = mask[t] != 0 ? 0 : -1, tokens += mask[t] != 0;
        with_tokens += tokens > before;
    }
    return (struct plumb_policy){
        .struct_bytes = sizeof(struct plumb_policy),
        .loss = PLUMB_POLICY_REINFORCE,
        .B = rows->B,
        .offset = golden_copy(r, rows->offset, bytes),
        .target = golden_copy(r, target, (size_t)n * sizeof *target),
        .logp = head->logp,
        .advantage = golden_in(r, none, rows->B),
        .entropy = head->entropy,
        .entropy_coef = -1,
        .entropy_row_means = !strcmp(mode, "seq-mean-token-mean"),
        .entropy_divisor = !strcmp(mode, "token-mean") ? tokens : with_tokens,
        .losses = golden_out(r, rows->B),
        .bonus = golden_out(r, rows->B),
        .dentropy = head->dentropy,
    };
}

static void entropy_from_logits(struct golden_run *r, const void *how)
{
    (void)how;
    const struct golden_rows rows = golden_rows_of(r, "completion_mask", NULL);
    const struct plumb_logprob head = head_of(r, &rows);
    const struct plumb_policy bonus = bonus_of(r, &rows, &head);
    if (!golden_ok(r, plumb_logprob_fwd(r->dev, &head))) return;
    if (!golden_ok(r, plumb_policy(r->dev, &bonus))) return;
    if (!golden_ok(r, plumb_logprob_bwd(r->dev, &head))) return;
    const double *parts = golden_read(r, &bonus.bonus, rows.B);
    double sum = 0;
    for (int64_t b = 0; b < rows.B; b++)
        sum += parts[b];
    golden_value(r, NULL, "loss", bonus.entropy_divisor > 0 ? sum / bonus.entropy_divisor : 0);
    golden_packed_values(r, &rows, NULL, "entropy", golden_read(r, &head.entropy, rows.M));
    golden_values(r, "grads", "logits", golden_read(r, &head.dx, head.N * head.H), head.N * head.H);
}

extern const struct golden_member golden_policy_entropy[];
const struct golden_member golden_policy_entropy[] = {
    { "policy/entropy_from_logits", entropy_from_logits, NULL },
    { 0 },
};
