/* golden_models [DIR] [--device cpu|ref] [--model NAME]: the decoder against recorded numbers of
 * small models (data/models of the shared folder): logits, log-probs and entropies of token
 * sequences, and greedy continuations. Everything recorded is float64 from float32 weights.
 *
 * Bound: half a unit of the last recorded place, twice the yardstick, and one rounding step of the
 * largest number. The yardstick is the error of a plain float32 evaluation: device ref with every
 * intermediate rounded, against ref; for float64, errors being proportional to the step, its
 * 2^-29th part. Exit status 1 on any deviation beyond it. */
#include <math.h>
#include <plumb/log.h>
#include <plumb/matmul.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/hf_model.h"
#include "io/json.h"
#include "runtime/generate.h"
#include "runtime/read.h"

/* Folder of golden.json, and of config.json in it. */
static const struct place {
    const char *golden, *model;
} places[] = {
    { "tiny-random-own/llama", "." }, { "tiny-random-own/mistral", "." },
    { "tiny-random-own/qwen2", "." }, { "tiny-random-own/qwen3", "." },
    { "tiny-random-own/gpt2", "." },  { "tiny-random-own/gpt_neox", "." },
    { "stories260K", "hf" },          { "babyllama105", "hf" },
};

/* Places behind the point as the files were written; sums, means and first-step logits have all
 * digits of a double. */
#define LOGIT_HALF_UNIT 0.5e-9
#define LOGP_HALF_UNIT 0.5e-10

/* What a model says about a sequence of n ids, in malloc'ed arrays. */
struct said {
    int64_t n, V;
    double *logits;         /* (n, V) */
    double *logp, *entropy; /* (n): of the id behind position i; 0 at the last */
};

struct network {
    struct plumb_model m;
    struct plumb_arena run, step;
};

enum quantity { LOGITS, LOGPS, ENTROPIES, SUMS, FIRST_LOGITS, IDS, QUANTITIES };
static const char *const quantity_name[QUANTITIES] = {
    "logits", "log-probs", "mean entropies", "sums", "first-step logits", "greedy ids"
};

/* What was compared on one device. */
struct score {
    int64_t compared, beyond;
    double worst, share; /* largest deviation; largest in units of its bound */
};

enum { CPU, REF, ROUNDED, NETWORKS };

struct replay {
    const char *name;
    struct plumb_hf_model hf;
    cJSON *json;
    struct network net[NETWORKS];
    bool wanted[ROUNDED]; /* devices to compare */
    double largest[3],
        typical[3]; /* error of the float32 evaluation, by quantity: of LOGITS, ... */
    bool measured;
    struct score score[ROUNDED][QUANTITIES];
};

static int take_memory(struct network *n, const struct plumb_model_config *c,
                       const struct plumb_device *dev, enum plumb_dtype compute)
{
    plumb_arena_init_counting(&n->run, "run");
    PLUMB_TRY(
        plumb_model_init(&n->m, c, dev, compute, PLUMB_MODEL_FROZEN, c->max_positions, &n->run));
    PLUMB_TRY(plumb_arena_init(&n->run, "run", n->run.peak));
    PLUMB_TRY(
        plumb_model_init(&n->m, c, dev, compute, PLUMB_MODEL_FROZEN, c->max_positions, &n->run));
    /* Room for logits and for a generation as well; pages that nobody touches cost nothing. */
    return plumb_arena_init(&n->step, "step", (size_t)1 << 30);
}

static int network_init(struct network *n, const struct plumb_hf_model *hf,
                        const struct plumb_device *dev)
{
    const enum plumb_dtype compute = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    PLUMB_TRY(take_memory(n, &hf->config.model, dev, compute));
    return plumb_hf_model_read(hf, compute, n->m.weights.data, false);
}

static void network_release(struct network *n)
{
    plumb_arena_release(&n->run);
    plumb_arena_release(&n->step);
}

static void said_release(struct said *s)
{
    free(s->logits);
    free(s->logp);
    free(s->entropy);
}

static double *copied(struct plumb_tensor t, int64_t count)
{
    double *out = calloc((size_t)count + 1, sizeof *out);
    PLUMB_ASSERT(out);
    for (int64_t i = 0; t.data && i < count; i++)
        out[i] = plumb_tensor_get(t, i);
    return out;
}

/* One pass over ids[0..n). Logits are the hidden states times the head, as no op stores them. */
static int say(struct network *net, const int32_t *ids, int64_t n, struct said *out)
{
    const struct plumb_model *m = &net->m;
    const int64_t V = m->config.vocab;
    struct plumb_acts acts;
    struct plumb_head_out head;
    struct plumb_tensor logits;
    void *rows;
    plumb_arena_empty(&net->step);
    PLUMB_TRY(plumb_arena_push(&net->step, (size_t)n * sizeof(int32_t), &rows));
    int32_t *row = rows;
    for (int64_t i = 0; i < n; i++)
        row[i] = (int32_t)i;
    const int32_t start = 0, length = (int32_t)n, parent = -1;
    const struct plumb_batch b = { .N = n,
                                   .token = ids,
                                   .position = row,
                                   .forest = { 1, &start, &length, &parent },
                                   .targets = { .M = n - 1, .row = row, .target = ids + 1 } };
    PLUMB_TRY(plumb_acts_init(&acts, m, n, n, false, &net->step));
    PLUMB_TRY(plumb_head_init(&head, m, n, n - 1, false, &net->step));
    PLUMB_TRY(plumb_arena_tensor(&net->step, m->prec.master, n * V, &logits));
    PLUMB_TRY(plumb_model_forward(m, &b, &acts));
    const struct plumb_logprob l = plumb_head_args(m, &b, &acts, &head);
    if (n > 1) PLUMB_TRY(plumb_logprob_fwd(&m->dev, &l));
    const struct plumb_matmul product = { .struct_bytes = sizeof product,
                                          .M = n,
                                          .N = V,
                                          .K = m->config.width,
                                          .a = acts.hidden,
                                          .b = l.w,
                                          .trans_b = true,
                                          .c = logits,
                                          .bias = l.bias };
    PLUMB_TRY(plumb_matmul(&m->dev, &product));
    *out = (struct said){ .n = n,
                          .V = V,
                          .logits = copied(logits, n * V),
                          .logp = copied(head.logp, n - 1),
                          .entropy = copied(head.entropy, n - 1) };
    return PLUMB_OK;
}

static void measure(struct replay *r, enum quantity q, const double *exact, const double *rounded,
                    int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double error = fabs(rounded[i] - exact[i]);
        r->largest[q] = fmax(r->largest[q], error);
        sum += error;
    }
    r->typical[q] = sum / (double)n;
}

/* A sequence on every network that is wanted. The yardstick is taken once a model, on the first
 * sequence: the others are its like. */
static int say_all(struct replay *r, const int32_t *ids, int64_t n, struct said s[NETWORKS])
{
    memset(s, 0, NETWORKS * sizeof *s);
    if (r->wanted[CPU]) PLUMB_TRY(say(&r->net[CPU], ids, n, &s[CPU]));
    if (r->wanted[REF] || !r->measured) PLUMB_TRY(say(&r->net[REF], ids, n, &s[REF]));
    if (r->measured) return PLUMB_OK;
    PLUMB_TRY(say(&r->net[ROUNDED], ids, n, &s[ROUNDED]));
    measure(r, LOGITS, s[REF].logits, s[ROUNDED].logits, n * s[REF].V);
    measure(r, LOGPS, s[REF].logp, s[ROUNDED].logp, n - 1);
    measure(r, ENTROPIES, s[REF].entropy, s[ROUNDED].entropy, n - 1);
    r->measured = true;
    return PLUMB_OK;
}

static double step_of(int device) { return plumb_dtype_eps(device == REF ? PLUMB_F64 : PLUMB_F32); }

static void compare(struct replay *r, int device, enum quantity q, double got, double want,
                    double bound)
{
    struct score *s = &r->score[device][q];
    const double error = fabs(got - want);
    s->compared++;
    if (!(error <= bound)) s->beyond++;
    if (!(error <= s->worst)) s->worst = error;
    if (!(error <= s->share * bound)) s->share = error / bound;
}

static double largest_number(const cJSON *list)
{
    double size = 0;
    for (const cJSON *v = list ? list->child : NULL; v; v = v->next)
        size = fmax(size, cJSON_IsArray(v) ? largest_number(v) : fabs(v->valuedouble));
    return size;
}

/* A recorded list, rows of lists taken one after the other, against n numbers; `as` is the quantity
 * whose yardstick counts. */
static int compare_list(struct replay *r, int device, enum quantity q, enum quantity as,
                        const cJSON *want, double half_unit, const double *got, int64_t n)
{
    const double step = step_of(device);
    const double bound = half_unit + 2 * r->largest[as] * step / step_of(CPU) +
                         step * largest_number(want);
    int64_t i = 0;
    for (const cJSON *v = want ? want->child : NULL; v; v = v->next) {
        const cJSON *one = cJSON_IsArray(v) ? v->child : v;
        for (; one && i < n; one = cJSON_IsArray(v) ? one->next : NULL)
            compare(r, device, q, got[i++], one->valuedouble, bound);
    }
    if (i == n) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT, "%s: %lld recorded, %lld wanted", quantity_name[q],
                      (long long)i, (long long)n);
}

/* The sum of n numbers over `divisor`. Single errors may all point one way, so they add up; what
 * was recorded is a sum by halves, which rounds log2(n) times. */
static void compare_sum(struct replay *r, int device, enum quantity q, enum quantity as,
                        const cJSON *want, double divisor, const double *got, int64_t n)
{
    const double step = step_of(device), N = (double)n;
    long double total = 0;
    for (int64_t i = 0; i < n; i++)
        total += got[i];
    const double sum = (double)total;
    const double bound = 2 * N * r->typical[as] * step / step_of(CPU) + step * fabs(sum) +
                         log2(N) * step_of(REF) * fabs(sum);
    compare(r, device, q, sum / divisor, want->valuedouble, bound / divisor);
}

static int32_t *read_ids(const cJSON *list, int64_t *n)
{
    *n = cJSON_GetArraySize(list);
    int32_t *ids = calloc((size_t)*n + 1, sizeof *ids);
    PLUMB_ASSERT(ids);
    int64_t i = 0;
    for (const cJSON *v = list ? list->child : NULL; v; v = v->next)
        ids[i++] = (int32_t)v->valuedouble;
    return ids;
}

/* A scored sequence: logits, log-probs, their sum and the mean entropy, whichever are recorded. */
static int compare_said(struct replay *r, int device, const cJSON *want, const struct said *s)
{
    const cJSON *logits = cJSON_GetObjectItem(want, "logits");
    const cJSON *logp = cJSON_GetObjectItem(want, "token_logprobs");
    const cJSON *entropy = cJSON_GetObjectItem(want, "mean_entropy");
    const cJSON *sum = cJSON_GetObjectItem(want, "sum_logprob");
    const int64_t n = s->n - 1;
    if (logits)
        PLUMB_TRY(compare_list(r, device, LOGITS, LOGITS, logits, LOGIT_HALF_UNIT, s->logits,
                               s->n * s->V));
    if (sum) compare_sum(r, device, SUMS, LOGPS, sum, 1, s->logp, n);
    if (entropy) compare_sum(r, device, ENTROPIES, ENTROPIES, entropy, (double)n, s->entropy, n);
    return compare_list(r, device, LOGPS, LOGPS, logp, LOGP_HALF_UNIT, s->logp, n);
}

static int replay_sequence(struct replay *r, const cJSON *want)
{
    int64_t n;
    int32_t *ids = read_ids(cJSON_GetObjectItem(want, "ids"), &n);
    struct said s[NETWORKS];
    int rc = say_all(r, ids, n, s);
    for (int device = 0; !rc && device < ROUNDED; device++)
        if (r->wanted[device]) rc = compare_said(r, device, want, &s[device]);
    for (int i = 0; i < NETWORKS; i++)
        said_release(&s[i]);
    free(ids);
    return rc;
}

/* The greedy continuation of a prompt, without stops as it was recorded. */
static int continue_prompt(struct network *net, const int32_t *prompt, int64_t n, int64_t more,
                           int32_t *out, int64_t *count)
{
    struct plumb_generator g;
    plumb_arena_empty(&net->step);
    const struct plumb_generate_size size = plumb_generate_alone(n + more);
    PLUMB_TRY(plumb_generator_init(&g, &net->m, &size, &net->step));
    return plumb_generate_greedy(&g, prompt, n, more, NULL, 0, out, count);
}

/* A recorded greedy run: the logits behind the prompt, then every id. */
static int replay_greedy(struct replay *r, const cJSON *want)
{
    int64_t n, all, count = 0;
    int32_t *prompt = read_ids(cJSON_GetObjectItem(want, "prompt_ids"), &n);
    int32_t *ids = read_ids(cJSON_GetObjectItem(want, "ids"), &all);
    int32_t *out = calloc((size_t)all + 1, sizeof *out);
    struct said s[NETWORKS];
    PLUMB_ASSERT(out);
    int rc = say_all(r, prompt, n, s);
    for (int device = 0; !rc && device < ROUNDED; device++) {
        if (!r->wanted[device]) continue;
        const int64_t V = s[device].V;
        rc = compare_list(r, device, FIRST_LOGITS, LOGITS,
                          cJSON_GetObjectItem(want, "first_step_logits"), 0,
                          s[device].logits + (n - 1) * V, V);
        if (!rc) rc = continue_prompt(&r->net[device], prompt, n, all - n, out, &count);
        for (int64_t i = 0; !rc && i < all - n; i++)
            compare(r, device, IDS, i < count ? out[i] : -1, ids[n + i], 0);
    }
    for (int i = 0; i < NETWORKS; i++)
        said_release(&s[i]);
    free(out);
    free(ids);
    free(prompt);
    return rc;
}

static int64_t print(const struct replay *r, int device)
{
    int64_t beyond = 0;
    printf("%s on %s\n", r->name, device == REF ? "ref" : "cpu");
    for (int q = 0; q < QUANTITIES; q++) {
        const struct score *s = &r->score[device][q];
        if (s->compared == 0) continue;
        printf("  %-18s %6lld values, largest deviation %9.2e", quantity_name[q],
               (long long)s->compared, s->worst);
        if (q != IDS) printf(" = %.2f of its bound", s->share);
        printf("%s\n", s->beyond ? "  BEYOND THE BOUND" : "");
        beyond += s->beyond;
    }
    return beyond;
}

static int replay_all(struct replay *r)
{
    int64_t beyond = 0;
    const cJSON *v;
    cJSON_ArrayForEach(v, cJSON_GetObjectItem(r->json, "sequences"))
        PLUMB_TRY(replay_sequence(r, v));
    cJSON_ArrayForEach(v, cJSON_GetObjectItem(r->json, "scored")) PLUMB_TRY(replay_sequence(r, v));
    cJSON_ArrayForEach(v, cJSON_GetObjectItem(r->json, "greedy")) PLUMB_TRY(replay_greedy(r, v));
    if (!r->measured) return plumb_fail(PLUMB_EFORMAT, "nothing is recorded");
    for (int device = 0; device < ROUNDED; device++)
        if (r->wanted[device]) beyond += print(r, device);
    return beyond ? plumb_fail(PLUMB_ENUM, "%lld values deviate", (long long)beyond) : PLUMB_OK;
}

static int replay_place(const char *dir, const struct place *p, const char *device)
{
    int rc = PLUMB_OK;
    struct replay r = { .name = p->golden,
                        .wanted = { !device || !strcmp(device, "cpu"),
                                    !device || !strcmp(device, "ref") } };
    struct plumb_device devices[NETWORKS] = { plumb_cpu, plumb_ref, plumb_ref };
    char path[8192];
    devices[ROUNDED].round = PLUMB_F32;
    snprintf(path, sizeof path, "%s/%s/golden.json", dir, p->golden);
    PLUMB_TRYG(plumb_json_load(path, 0, &r.json));
    snprintf(path, sizeof path, "%s/%s/%s", dir, p->golden, p->model);
    PLUMB_TRYG(plumb_hf_model_open(&r.hf, path, 0));
    for (int i = 0; i < NETWORKS; i++)
        PLUMB_TRYG(network_init(&r.net[i], &r.hf, &devices[i]));
    PLUMB_TRYG(replay_all(&r));
out:
    for (int i = 0; i < NETWORKS; i++)
        network_release(&r.net[i]);
    plumb_hf_model_release(&r.hf);
    cJSON_Delete(r.json);
    return rc;
}

static int usage(void)
{
    fprintf(stderr, "usage: golden_models [DIR] [--device cpu|ref] [--model NAME]\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *device = NULL, *only = NULL, *shared = getenv("PLUMB_SHARED"),
               *source = getenv("PLUMB_SOURCE");
    char dir[4096];
    snprintf(dir, sizeof dir, "%s%s/data/models",
             shared   ? shared
             : source ? source
                      : ".",
             shared ? "" : "/../shared");
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--device") && i + 1 < argc)
            device = argv[++i];
        else if (!strcmp(argv[i], "--model") && i + 1 < argc)
            only = argv[++i];
        else if (argv[i][0] != '-')
            snprintf(dir, sizeof dir, "%s", argv[i]);
        else
            return usage();
    }
    if (device && strcmp(device, "cpu") && strcmp(device, "ref")) return usage();
    if (!plumb_file_exists(dir)) {
        const char *required = getenv("PLUMB_REQUIRE_SHARED");
        printf("golden_models: no folder \"%s\": skipped\n", dir);
        return required && required[0] == '1';
    }
    plumb_log_threshold(PLUMB_LOG_WARN);
    int agree = 0, failed = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (only && strcmp(only, places[i].golden)) continue;
        const int rc = replay_place(dir, &places[i], device);
        if (rc) printf("%s\n  FAILED: %s\n", places[i].golden, plumb_errmsg());
        failed += rc != PLUMB_OK;
        agree += rc == PLUMB_OK;
    }
    printf("golden_models: %d models agree, %d failed\n", agree, failed);
    return failed > 0 || agree == 0;
}
