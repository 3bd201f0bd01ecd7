/* The head against golden/losses/head: on ref within 1e-12 + 1e-10 |x|, on the device under test
 * in f32 within 2e-5 max(1, |x|), and 1e-3 relative where logits are huge, as the README there
 * asks. */
#include "io/json.h"
#include "kernels/logprob/logprob_fixture.h"
#include "tests/shared.h"
#include "tests/tensor.h"

static int64_t list_length(const cJSON *v)
{
    if (!cJSON_IsArray(v)) return 1;
    int64_t n = 0;
    const cJSON *e;
    cJSON_ArrayForEach(e, v) n += list_length(e);
    return n;
}

static int64_t flatten(const cJSON *v, const struct plumb_tensor *out, int64_t at)
{
    if (cJSON_IsNumber(v)) {
        head_set(out, at, v->valuedouble);
        return at + 1;
    }
    cr_assert(cJSON_IsArray(v));
    const cJSON *e;
    cJSON_ArrayForEach(e, v) at = flatten(e, out, at);
    return at;
}

/* inputs.<name> or expected.<name> in the device's dtype; absent where the case has none. */
static struct plumb_tensor load(struct head *h, const cJSON *group, const char *name)
{
    const cJSON *v = plumb_json_get(group, name);
    if (!v) return (struct plumb_tensor){ 0 };
    const struct plumb_tensor t = head_tensor(h, list_length(v), PLUMB_F32);
    flatten(v, &t, 0);
    return t;
}

static double option(const cJSON *c, const char *name, double fallback)
{
    double v = fallback;
    RUN(plumb_json_f64_or(plumb_json_get(c, "options"), name, name, fallback, &v));
    return v;
}

static void open_case(struct head *h, const struct plumb_device *dev, const cJSON *c)
{
    *h = (struct head){ .dev = dev, .type = PLUMB_F32 };
    const cJSON *in = plumb_json_get(c, "inputs");
    const cJSON *x = plumb_json_get(in, "hidden"), *w = plumb_json_get(in, "weight"), *label;
    const int64_t N = cJSON_GetArraySize(x), V = cJSON_GetArraySize(w);
    struct plumb_logprob *a = &h->a;
    *a = (struct plumb_logprob){ .struct_bytes = sizeof *a,
                                 .N = N,
                                 .M = N,
                                 .V = V,
                                 .H = list_length(x) / N,
                                 .logit_scale = option(c, "logit_scale", 1),
                                 .softcap = option(c, "softcap", 0),
                                 .temperature = option(c, "temperature", 1) };
    a->x = load(h, in, "hidden");
    a->w = load(h, in, "weight");
    a->bias = load(h, in, "bias");
    a->row = h->row = head_bytes(h, (size_t)N * sizeof(int32_t));
    a->target = h->target = head_bytes(h, (size_t)N * sizeof(int32_t));
    int32_t i = 0;
    cJSON_ArrayForEach(label, plumb_json_get(in, "labels"))
    {
        h->row[i] = i;
        h->target[i++] = label->valueint == -100 ? -1 : label->valueint;
    }
    head_outputs(h, N);
    head_gradients(h);
    if (plumb_device_is_host(dev)) a->work.data = head_bytes(h, plumb_logprob_workspace(dev, a));
}

static void compare(const struct head *h, const cJSON *c, const char *what,
                    const struct plumb_tensor *got, const cJSON *expected)
{
    const char *name = plumb_json_get(c, "name")->valuestring;
    const bool huge = strstr(name, "huge") || strstr(name, "large");
    const int64_t n = expected ? list_length(expected) : 0;
    double *want = calloc((size_t)n + 1, sizeof *want);
    const struct plumb_tensor t = { want, PLUMB_F64 };
    if (expected) flatten(expected, &t, 0);
    for (int64_t i = 0; i < n; i++) {
        const double size = fabs(want[i]), d = fabs(head_get(got, i) - want[i]);
        double bound = 2e-5 * fmax(1, size);
        if (huge) bound = 1e-3 * fmax(1, size);
        if (h->dev->kind == PLUMB_DEV_REF) bound = 1e-12 + 1e-10 * size;
        cr_expect(d <= bound, "%s: %s[%lld] is %.17g, expected %.17g", name, what, (long long)i,
                  head_get(got, i), want[i]);
    }
    free(want);
}

static void compare_gradients(const struct head *h, const cJSON *c)
{
    const cJSON *grads = plumb_json_get(plumb_json_get(c, "expected"), "grads");
    cr_assert_not_null(grads);
    compare(h, c, "dx", &h->a.dx, plumb_json_get(grads, "hidden"));
    compare(h, c, "dw", &h->a.dw, plumb_json_get(grads, "weight"));
    compare(h, c, "dbias", &h->a.dbias, plumb_json_get(grads, "bias"));
}

static void check_logp_case(const struct plumb_device *dev, const cJSON *c)
{
    struct head h;
    open_case(&h, dev, c);
    const cJSON *in = plumb_json_get(c, "inputs"), *want = plumb_json_get(c, "expected");
    h.a.dlogp = load(&h, in, "g_logp");
    h.a.dentropy = load(&h, in, "g_entropy");
    h.a.dlse = load(&h, in, "g_lse");
    h.a.dmean = (struct plumb_tensor){ 0 };
    RUN(head_fwd(&h));
    RUN(head_bwd(&h));
    compare(&h, c, "logp", &h.a.logp, plumb_json_get(want, "logp"));
    compare(&h, c, "lse", &h.a.lse, plumb_json_get(want, "lse"));
    compare(&h, c, "entropy", &h.a.entropy, plumb_json_get(want, "entropy"));
    compare(&h, c, "log_sum_sq", &h.a.log_sum_sq, plumb_json_get(want, "log_sum_sq_probs"));
    compare(&h, c, "mean_logit", &h.a.mean_logit, plumb_json_get(want, "mean_logits"));
    const cJSON *top1;
    int i = 0;
    cJSON_ArrayForEach(top1, plumb_json_get(want, "is_top1"))
    {
        cr_expect_eq(h.target[i] >= 0 && h.argmax[i] == h.target[i], top1->valueint == 1);
        i++;
    }
    compare_gradients(&h, c);
    head_release(&h);
}

/* The fused entry's epilogue: cross entropy with label smoothing, z-loss and token weights. */
struct cross_entropy {
    struct head *h;
    struct plumb_tensor weight, losses;
    double smoothing, z, divisor, loss;
};

static int cross_entropy(void *ctx, int64_t first, int64_t count)
{
    struct cross_entropy *e = ctx;
    const struct plumb_logprob *a = &e->h->a;
    head_down(e->h);
    for (int64_t i = first; i < first + count; i++) {
        if (a->target[i] < 0) continue;
        const double lse = head_get(&a->lse, i), mean = head_get(&a->mean_logit, i);
        const double w = e->weight.data ? head_get(&e->weight, i) : 1, g = w / e->divisor;
        const double likelihood = (1 - e->smoothing) * head_get(&a->logp, i);
        const double loss = e->z * lse * lse - likelihood - e->smoothing * (mean - lse);
        head_set(&e->losses, i, w * loss);
        head_set(&a->dlogp, i, -(1 - e->smoothing) * g);
        head_set(&a->dmean, i, -e->smoothing * g);
        head_set(&a->dlse, i, (e->smoothing + 2 * e->z * lse) * g);
        e->loss += w * loss / e->divisor;
    }
    head_send_gradients(e->h);
    return PLUMB_OK;
}

static void check_cross_entropy_case(const struct plumb_device *dev, const cJSON *c)
{
    struct head h;
    open_case(&h, dev, c);
    const cJSON *want = plumb_json_get(c, "expected"), *options = plumb_json_get(c, "options");
    struct cross_entropy e = { .h = &h,
                               .smoothing = option(c, "label_smoothing", 0),
                               .z = option(c, "z_loss_coef", 0),
                               .divisor = 1 };
    e.weight = load(&h, plumb_json_get(c, "inputs"), "token_weights");
    e.losses = head_tensor(&h, h.a.M, PLUMB_F32);
    int counted = 0;
    for (int64_t i = 0; i < h.a.M; i++)
        counted += h.target[i] >= 0;
    const char *reduction = plumb_json_get(options, "reduction")->valuestring;
    if (strcmp(reduction, "mean") == 0) e.divisor = counted;
    const int32_t group[] = { 0, 1, (int32_t)h.a.M };
    h.a.dentropy = (struct plumb_tensor){ 0 };
    h.a.group = group;
    h.a.groups = h.a.M > 1 ? 2 : 1;
    h.a.epilogue = cross_entropy;
    h.a.epilogue_ctx = &e;
    RUN(head_run(&h, plumb_logprob_fused));
    const struct plumb_tensor loss = { &e.loss, PLUMB_F64 };
    compare(&h, c, "losses", &e.losses, plumb_json_get(want, "losses"));
    compare(&h, c, "loss", &loss, plumb_json_get(want, "loss"));
    compare_gradients(&h, c);
    head_release(&h);
}

static void replay(const char *file, void (*check)(const struct plumb_device *, const cJSON *))
{
    char path[1024];
    if (!shared_path(path, sizeof path, file)) return;
    cJSON *root;
    RUN(plumb_json_load(path, 0, &root));
    const cJSON *c;
    int cases = 0;
    cJSON_ArrayForEach(c, plumb_json_get(root, "cases"))
    {
        check(&plumb_ref, c);
        check(plumb_test_device(), c);
        cases++;
    }
    cJSON_Delete(root);
    fprintf(stderr, "logprob: %d cases of %s on ref and the device under test\n", cases, file);
    cr_assert_gt(cases, 0);
}

Test(logprob_golden, log_probs_entropies_and_their_gradients)
{
    replay("golden/losses/head/logp_entropy_lse.json", check_logp_case);
}

Test(logprob_golden, cross_entropy_with_smoothing_and_z_loss_through_the_fused_entry)
{
    replay("golden/losses/head/cross_entropy.json", check_cross_entropy_case);
}
