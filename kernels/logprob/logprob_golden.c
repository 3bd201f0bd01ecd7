/* Adapters of golden/losses/head: statistics of the head through forward and backward, cross
 * entropy with label smoothing and z-loss through the fused entry. */
#include <math.h>
#include <plumb/logprob.h>
#include <string.h>

#include "tests/golden_run.h"

static struct plumb_tensor given(struct golden_run *r, const char *name)
{
    int64_t n = 0;
    const double *values = golden_input(r, name, &n);
    return golden_in(r, values, n);
}

/* What the op adds to, or must write all of. */
static struct plumb_tensor zeros(struct golden_run *r, int64_t count)
{
    return golden_in(r, golden_alloc(r, (size_t)count * sizeof(double)), count);
}

/* Every label is a pair of the row it stands at; *target on the host. */
static struct plumb_logprob head_of(struct golden_run *r, int32_t **target)
{
    int64_t n = 0, x = 0;
    const double *label = golden_input(r, "labels", &n);
    golden_input(r, "hidden", &x);
    const size_t bytes = (size_t)n * sizeof(int32_t);
    int32_t *row = golden_alloc(r, bytes);
    *target = golden_alloc(r, bytes);
    for (int32_t i = 0; i < n; i++)
        row[i] = i, (*target)[i] = label[i] < 0 ? -1 : (int32_t)label[i];
    struct plumb_logprob a = { .struct_bytes = sizeof a,
                               .N = n,
                               .H = x / n,
                               .V = golden_input_rows(r, "weight"),
                               .M = n,
                               .x = given(r, "hidden"),
                               .w = given(r, "weight"),
                               .bias = given(r, "bias"),
                               .row = golden_copy(r, row, bytes),
                               .target = golden_copy(r, *target, bytes),
                               .logit_scale = golden_option(r, "logit_scale", 1),
                               .softcap = golden_option(r, "softcap", 0),
                               .temperature = golden_option(r, "temperature", 1),
                               .logp = golden_out(r, n),
                               .lse = golden_out(r, n),
                               .entropy = golden_out(r, n),
                               .log_sum_sq = golden_out(r, n),
                               .mean_logit = golden_out(r, n),
                               .dx = golden_out(r, x) };
    a.dw = zeros(r, a.V * a.H);
    if (a.bias.data) a.dbias = zeros(r, a.V);
    return a;
}

static void add_work(struct golden_run *r, struct plumb_logprob *a)
{
    const size_t bytes = plumb_logprob_workspace(r->dev, a);
    a->work.data = (void *)golden_copy(r, golden_alloc(r, bytes), bytes);
}

static void report_gradients(struct golden_run *r, const struct plumb_logprob *a)
{
    golden_values(r, "grads", "hidden", golden_read(r, &a->dx, a->N * a->H), a->N * a->H);
    golden_values(r, "grads", "weight", golden_read(r, &a->dw, a->V * a->H), a->V * a->H);
    if (a->bias.data) golden_values(r, "grads", "bias", golden_read(r, &a->dbias, a->V), a->V);
}

static void statistics(struct golden_run *r, const void *how)
{
    (void)how;
    int32_t *target;
    struct plumb_logprob a = head_of(r, &target);
    const size_t bytes = (size_t)a.M * sizeof(int32_t);
    a.argmax = (int32_t *)golden_copy(r, golden_alloc(r, bytes), bytes);
    a.dlogp = given(r, "g_logp"), a.dentropy = given(r, "g_entropy"), a.dlse = given(r, "g_lse");
    add_work(r, &a);
    if (!golden_ok(r, plumb_logprob_fwd(r->dev, &a))) return;
    if (!golden_ok(r, plumb_logprob_bwd(r->dev, &a))) return;
    const double *out[3] = { golden_read(r, &a.logp, a.M), golden_read(r, &a.entropy, a.M),
                             golden_read(r, &a.lse, a.M) };
    static const char *const upstream[3] = { "g_logp", "g_entropy", "g_lse" };
    double loss = 0;
    for (int k = 0; k < 3; k++) {
        int64_t n;
        const double *g = golden_input(r, upstream[k], &n);
        for (int64_t i = 0; i < a.M; i++)
            loss += target[i] < 0 ? 0 : g[i] * out[k][i];
    }
    golden_value(r, NULL, "loss", loss);
    golden_values(r, NULL, "logp", out[0], a.M);
    golden_values(r, NULL, "entropy", out[1], a.M);
    golden_values(r, NULL, "lse", out[2], a.M);
    golden_values(r, NULL, "log_sum_sq_probs", golden_read(r, &a.log_sum_sq, a.M), a.M);
    golden_values(r, NULL, "mean_logits", golden_read(r, &a.mean_logit, a.M), a.M);
    int32_t *best = golden_alloc(r, bytes);
    double *top1 = golden_alloc(r, (size_t)a.M * sizeof *top1);
    if (!golden_ok(r, plumb_device_download(r->dev, best, a.argmax, bytes))) return;
    for (int64_t i = 0; i < a.M; i++)
        top1[i] = target[i] >= 0 && best[i] == target[i];
    golden_values(r, NULL, "is_top1", top1, a.M);
    report_gradients(r, &a);
}

/* The fused entry's epilogue: cross entropy with label smoothing, z-loss and token weights. */
struct cross_entropy {
    struct golden_run *r;
    const struct plumb_logprob *a;
    const int32_t *target;
    const double *weight; /* NULL = 1 */
    double smoothing, z, divisor;
    double *losses, z_loss, loss;
};

/* Elements [first, first + count) of a tensor of the device. */
static int write_part(struct golden_run *r, const struct plumb_tensor *t, const double *values,
                      int64_t first, int64_t count)
{
    const size_t size = plumb_dtype_bytes(t->dtype);
    const struct plumb_tensor from = golden_in(r, values + first, count);
    void *host = golden_alloc(r, (size_t)count * size);
    PLUMB_TRY(plumb_device_download(r->dev, host, from.data, (size_t)count * size));
    PLUMB_TRY(plumb_device_upload(r->dev, (char *)t->data + (size_t)first * size, host,
                                  (size_t)count * size));
    return plumb_device_sync(r->dev);
}

static int epilogue(void *ctx, int64_t first, int64_t count)
{
    struct cross_entropy *e = ctx;
    const struct plumb_logprob *a = e->a;
    const double *logp = golden_read(e->r, &a->logp, a->M), *lse = golden_read(e->r, &a->lse, a->M);
    const double *mean = golden_read(e->r, &a->mean_logit, a->M);
    double *d[3];
    for (int k = 0; k < 3; k++)
        d[k] = golden_alloc(e->r, (size_t)a->M * sizeof(double));
    for (int64_t i = first; i < first + count; i++) {
        if (e->target[i] < 0) continue;
        const double w = e->weight ? e->weight[i] : 1, g = w / e->divisor;
        const double likelihood = (1 - e->smoothing) * logp[i] + e->smoothing * (mean[i] - lse[i]);
        e->losses[i] = w * (e->z * lse[i] * lse[i] - likelihood);
        e->loss += e->losses[i] / e->divisor;
        e->z_loss += e->z * lse[i] * lse[i] / e->divisor; /* published without the weights */
        d[0][i] = -(1 - e->smoothing) * g;
        d[1][i] = -e->smoothing * g;
        d[2][i] = (e->smoothing + 2 * e->z * lse[i]) * g;
    }
    PLUMB_TRY(write_part(e->r, &a->dlogp, d[0], first, count));
    PLUMB_TRY(write_part(e->r, &a->dmean, d[1], first, count));
    return write_part(e->r, &a->dlse, d[2], first, count);
}

static void cross_entropy(struct golden_run *r, const void *how)
{
    (void)how;
    int64_t n;
    int32_t *target;
    double counted = 0;
    struct plumb_logprob a = head_of(r, &target);
    for (int64_t i = 0; i < a.M; i++)
        counted += target[i] >= 0;
    const bool mean = !strcmp(golden_option_text(r, "reduction"), "mean");
    struct cross_entropy e = { .r = r,
                               .a = &a,
                               .target = target,
                               .weight = golden_input(r, "token_weights", &n),
                               .smoothing = golden_option(r, "label_smoothing", 0),
                               .z = golden_option(r, "z_loss_coef", 0),
                               .divisor = mean ? fmax(counted, 1) : 1,
                               .losses = golden_alloc(r, (size_t)a.M * sizeof(double)) };
    const int32_t group[] = { 0, 1, (int32_t)a.M };
    a.dlogp = golden_out(r, a.M), a.dmean = golden_out(r, a.M), a.dlse = golden_out(r, a.M);
    a.group = group, a.groups = a.M > 1 ? 2 : 1;
    a.epilogue = epilogue, a.epilogue_ctx = &e;
    add_work(r, &a);
    if (!golden_ok(r, plumb_logprob_fused(r->dev, &a))) return;
    golden_value(r, NULL, "loss", e.loss);
    golden_value(r, NULL, "z_loss", e.z_loss);
    golden_values(r, NULL, "losses", e.losses, a.M);
    report_gradients(r, &a);
}

extern const struct golden_member golden_logprob[];
const struct golden_member golden_logprob[] = {
    { "head/logp_entropy_lse", statistics, NULL },
    { "head/cross_entropy", cross_entropy, NULL },
    { 0 },
};
