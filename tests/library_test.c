/* libplumb as a program of others meets it: misuse is answered by a status and a text that names
 * the argument, devices can be adopted, and threads do not meet. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <math.h>
#include <plumb/backend.h>
#include <plumb/device.h>
#include <plumb/layout.h>
#include <plumb/logprob.h>
#include <plumb/pairwise.h>
#include <plumb/unpaired.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 8, H = 4, V = 12, B = 2 };

/* Everything that a head and a loss can be asked for, on the host. */
struct work {
    struct plumb_logprob head;
    struct plumb_pairwise pairs;
    struct plumb_unpaired single;
    struct plumb_pairwise_term term;
    int32_t row[N], target[N], offset[2 * B + 1], group[B + 1], label[2 * B];
    float x[N * H], w[V * H], logp[N], lse[N], dlogp[N], dx[N * H], dw[V * H];
    float losses[2 * B], logps[2 * B], rewards[2 * B];
    char scratch[1 << 16];
};

static struct plumb_tensor f32(float *p) { return (struct plumb_tensor){ p, PLUMB_F32 }; }

static int epilogue(void *ctx, int64_t first, int64_t count)
{
    const struct work *w = ctx;
    cr_assert(first == 0 && count == N);
    return plumb_pairwise(&plumb_cpu, &w->pairs);
}

static void fill_losses(struct work *w)
{
    w->term = (struct plumb_pairwise_term){ PLUMB_PAIR_SIGMOID, 1 };
    w->pairs = (struct plumb_pairwise){ .struct_bytes = sizeof w->pairs,
                                        .B = B,
                                        .offset = w->offset,
                                        .logp = f32(w->logp),
                                        .terms = &w->term,
                                        .term_count = 1,
                                        .beta = 0.1,
                                        .divisor = B,
                                        .losses = f32(w->losses),
                                        .logps = f32(w->logps),
                                        .rewards = f32(w->rewards),
                                        .dlogp = f32(w->dlogp) };
    w->single = (struct plumb_unpaired){ .struct_bytes = sizeof w->single,
                                         .loss = PLUMB_UNPAIRED_KTO,
                                         .B = 2 * B,
                                         .offset = w->offset,
                                         .label = w->label,
                                         .logp = f32(w->logp),
                                         .beta = 0.1,
                                         .desirable_weight = 1,
                                         .undesirable_weight = 1,
                                         .divisor = 2 * B,
                                         .losses = f32(w->losses),
                                         .logps = f32(w->logps),
                                         .rewards = f32(w->rewards),
                                         .dlogp = f32(w->dlogp) };
}

static struct work *fresh(void)
{
    struct work *w = calloc(1, sizeof *w);
    for (int i = 0; i < N; i++)
        w->row[i] = i, w->target[i] = (5 * i + 1) % V;
    for (int i = 0; i < N * H; i++)
        w->x[i] = (float)sin(i + 1);
    for (int i = 0; i < V * H; i++)
        w->w[i] = (float)cos(3 * i);
    for (int i = 0; i <= 2 * B; i++)
        w->offset[i] = i * N / (2 * B);
    for (int i = 0; i <= B; i++)
        w->group[i] = i * N / B;
    w->head = (struct plumb_logprob){ .struct_bytes = sizeof w->head,
                                      .N = N,
                                      .H = H,
                                      .V = V,
                                      .M = N,
                                      .x = f32(w->x),
                                      .w = f32(w->w),
                                      .row = w->row,
                                      .target = w->target,
                                      .logit_scale = 1,
                                      .temperature = 1,
                                      .logp = f32(w->logp),
                                      .lse = f32(w->lse),
                                      .dlogp = f32(w->dlogp),
                                      .dx = f32(w->dx),
                                      .dw = f32(w->dw),
                                      .group = w->group,
                                      .groups = B,
                                      .epilogue = epilogue,
                                      .epilogue_ctx = w,
                                      .work.data = w->scratch };
    fill_losses(w);
    cr_assert_leq(plumb_logprob_workspace(&plumb_cpu, &w->head), sizeof w->scratch);
    return w;
}

/* What a call says about one thing that is wrong, after which everything is well again. */
#define REFUSED(call, change, text)                                                                \
    do {                                                                                           \
        struct work *w = fresh();                                                                  \
        change;                                                                                    \
        plumb_errclear();                                                                          \
        cr_expect_eq(call, PLUMB_EINVAL, "%s", #change);                                           \
        cr_expect(strstr(plumb_errmsg(), text), "%s: %s", #change, plumb_errmsg());                \
        free(w);                                                                                   \
    } while (0)
#define HEAD(change, text) REFUSED(plumb_logprob_fused(&plumb_cpu, &w->head), change, text)
#define PAIRS(change, text) REFUSED(plumb_pairwise(&plumb_cpu, &w->pairs), change, text)
#define SINGLE(change, text) REFUSED(plumb_unpaired(&plumb_cpu, &w->single), change, text)

Test(library, a_proper_call_goes_through)
{
    struct work *w = fresh();
    cr_assert_eq(plumb_logprob_fused(&plumb_cpu, &w->head), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_unpaired(&plumb_cpu, &w->single), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 2 * B; i++)
        cr_expect(w->losses[i] > 0 && w->losses[i] < 1, "%g", (double)w->losses[i]);
    free(w);
}

Test(library, null_and_other_versions_are_refused)
{
    REFUSED(plumb_logprob_fwd(NULL, &w->head), (void)0, "logprob: the device");
    REFUSED(plumb_logprob_bwd(&plumb_cpu, NULL), (void)0, "logprob: the struct");
    REFUSED(plumb_pairwise(NULL, &w->pairs), (void)0, "pairwise: the device");
    REFUSED(plumb_pairwise(&plumb_cpu, NULL), (void)0, "pairwise: the struct");
    REFUSED(plumb_unpaired(&plumb_cpu, NULL), (void)0, "unpaired: the struct");
    REFUSED(plumb_device_new(NULL, NULL), (void)0, "device: name");
    cr_expect_eq(plumb_logprob_workspace(NULL, NULL), 0);
    plumb_device_delete(NULL);
    /* A struct of another size is one of another version, larger or smaller. */
    HEAD(w->head.struct_bytes -= 8, "struct_bytes");
    PAIRS(w->pairs.struct_bytes += 8, "struct_bytes");
    SINGLE(w->single.struct_bytes = 0, "struct_bytes");
}

Test(library, a_heads_misuse_is_named)
{
    HEAD(w->head.N = -1, "N=-1");
    HEAD(w->head.H = 0, "H=0");
    HEAD(w->head.V = 0, "V=0");
    HEAD(w->head.M = -5, "M=-5");
    HEAD(w->head.V = INT64_MAX / 4, "too large");
    HEAD(w->head.valid_vocab = V + 1, "valid_vocab=13");
    HEAD(w->head.x.data = NULL, "x is missing");
    HEAD(w->head.x.dtype = PLUMB_F64, "x cannot be float64");
    HEAD(w->head.w.dtype = PLUMB_BF16, "w cannot be bfloat16");
    HEAD(w->head.w.dtype = (enum plumb_dtype)99, "w cannot be of an unknown dtype");
    HEAD(w->head.row = NULL, "row is missing");
    HEAD(w->row[3] = N, "row[3]=8");
    HEAD(w->target[2] = V, "target[2]=12");
    HEAD(w->target[2] = -2, "target[2]=-2");
    HEAD(w->head.logp.data = NULL, "logp is missing");
    HEAD(w->head.dw.dtype = PLUMB_BF16, "dw cannot be bfloat16");
    HEAD(w->head.work.data = NULL, "work is missing");
    HEAD(w->head.temperature = 0, "temperature=0");
    HEAD(w->head.logit_scale = NAN, "logit_scale=");
    HEAD(w->head.softcap = -1, "softcap=-1");
    HEAD(w->head.group = NULL, "group is missing");
    HEAD(w->group[B] = N - 1, "the last group ends at 7");
    HEAD(w->head.epilogue = NULL, "epilogue is missing");
    /* What the epilogue says comes back. */
    HEAD(w->pairs.beta = -1, "beta=-1");
}

Test(library, a_losss_misuse_is_named)
{
    PAIRS(w->pairs.B = -1, "B=-1");
    PAIRS(w->pairs.offset = NULL, "offset is missing");
    PAIRS(w->offset[2] = 0, "offset[2]=0");
    PAIRS(w->pairs.logp.data = NULL, "logp is missing");
    PAIRS(w->pairs.logp.dtype = PLUMB_BF16, "logp cannot be bfloat16");
    PAIRS((w->pairs.ref_sum = w->pairs.ref_logp = f32(w->lse)), "both given");
    PAIRS(w->pairs.terms = NULL, "terms is missing");
    PAIRS(w->pairs.term_count = 9, "term_count=9");
    PAIRS(w->term.loss = (enum plumb_pairwise_loss)1000, "terms[0].loss=1000");
    PAIRS(w->term.weight = NAN, "weight");
    PAIRS(w->pairs.beta = 0, "beta=0");
    PAIRS(w->pairs.divisor = 0, "divisor=0");
    PAIRS(w->pairs.label_smoothing = 2, "label_smoothing=2");
    PAIRS(w->pairs.losses.data = NULL, "losses is missing");
    SINGLE(w->single.loss = (enum plumb_unpaired_loss)77, "loss=77");
    SINGLE(w->single.label = NULL, "label is missing");
    SINGLE(w->label[1] = 2, "label[1]=2");
    SINGLE(w->single.desirable_weight = -1, "desirable_weight=-1");
    SINGLE(w->single.rewards.data = NULL, "rewards is missing");
}

typedef int an_op(const struct plumb_device *dev, const void *args);

/* A struct of which every count is `count`, every number 1 and nothing is there. */
static void *bare(const struct plumb_layout *l, int64_t count)
{
    char *args = calloc(1, l->bytes);
    const double one = 1;
    for (int64_t f = 0; f < l->field_count; f++) {
        const struct plumb_layout_field *field = &l->fields[f];
        if (field->kind == 'l') memcpy(args + field->offset, &count, sizeof count);
        if (field->kind == 'd') memcpy(args + field->offset, &one, sizeof one);
    }
    memcpy(args, &l->bytes, sizeof(size_t));
    return args;
}

static void refuses_all(const char *name, an_op *op, const struct plumb_layout *l)
{
    void *some = bare(l, 4), *less = bare(l, -1), *none = bare(l, 0);
    cr_expect_eq(op(NULL, some), PLUMB_EINVAL, "%s without a device", name);
    cr_expect_eq(op(&plumb_cpu, NULL), PLUMB_EINVAL, "%s without a struct", name);
    plumb_errclear();
    cr_expect_eq(op(&plumb_cpu, some), PLUMB_EINVAL, "%s without arrays", name);
    cr_expect_eq(op(&plumb_cpu, less), PLUMB_EINVAL, "%s of -1", name);
    op(&plumb_cpu, none); /* nothing to do may be fine */
    memset(some, 0, sizeof(size_t));
    cr_expect_eq(op(&plumb_cpu, some), PLUMB_EINVAL, "%s of another version", name);
    free(some);
    free(less);
    free(none);
}

/* Whatever the library exports, by the names of its structs. */
Test(library, every_op_answers_misuse_with_a_status)
{
    static const char *const entries[] = { "", "_fwd", "_bwd", "_fused" };
    char path[512], name[128];
    int64_t count;
    int ops = 0;
    snprintf(path, sizeof path, "%s/libplumb.so", getenv("PLUMB_BUILD"));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    cr_assert(library, "%s", dlerror());
    const struct plumb_layout *l = plumb_layouts(&count);
    for (int64_t i = 0; i < count; i++)
        for (int e = 0; e < 4 && !strcmp(l[i].fields[0].name, "struct_bytes"); e++) {
            an_op *op;
            snprintf(name, sizeof name, "%s%s", l[i].name, entries[e]);
            void *symbol = dlsym(library, name);
            if (!symbol) continue;
            memcpy(&op, &symbol, sizeof op);
            refuses_all(name, op, &l[i]);
            ops++;
        }
    cr_expect_gt(ops, 40, "%d", ops);
    dlclose(library);
}

/* Pair by pair, as the head hands them out, gives the bits of all at once. */
Test(library, parts_of_a_loss_are_the_whole)
{
    struct work *whole = fresh(), *parts = fresh();
    struct plumb_pairwise p;
    struct plumb_unpaired u;
    for (int i = 0; i < N; i++)
        whole->logp[i] = parts->logp[i] = (float)(-1 - i % 3);
    cr_assert_eq(plumb_pairwise(&plumb_cpu, &whole->pairs), PLUMB_OK);
    for (int i = 0; i < B; i++) {
        const int first = parts->group[i], count = parts->group[i + 1] - first;
        cr_assert_eq(plumb_pairwise_part(&parts->pairs, parts->offset, first, count, &p), PLUMB_OK);
        cr_assert_eq(p.B, 1);
        cr_assert_eq(plumb_pairwise(&plumb_cpu, &p), PLUMB_OK);
    }
    cr_expect(!memcmp(whole->losses, parts->losses, sizeof whole->losses));
    cr_expect(!memcmp(whole->logps, parts->logps, sizeof whole->logps));
    cr_expect(!memcmp(whole->dlogp, parts->dlogp, sizeof whole->dlogp));
    cr_assert_eq(plumb_unpaired(&plumb_cpu, &whole->single), PLUMB_OK);
    for (int i = 0; i < 2 * B; i++) {
        cr_assert_eq(plumb_unpaired_part(&parts->single, parts->offset, 2 * i, 2, &u), PLUMB_OK);
        cr_assert_eq(plumb_unpaired(&plumb_cpu, &u), PLUMB_OK);
    }
    cr_expect(!memcmp(whole->losses, parts->losses, sizeof whole->losses));
    cr_expect(!memcmp(whole->dlogp, parts->dlogp, sizeof whole->dlogp));
    free(whole);
    free(parts);
    REFUSED(plumb_pairwise_part(&w->pairs, w->offset, 0, 2, &p), (void)0, "no run of whole pairs");
    REFUSED(plumb_pairwise_part(&w->pairs, w->offset, 1, 4, &p), (void)0, "tokens [1, 5)");
    REFUSED(plumb_unpaired_part(&w->single, w->offset, 6, 4, &u), (void)0, "tokens [6, 10)");
    REFUSED(plumb_unpaired_part(&w->single, NULL, 0, 2, &u), (void)0, "unpaired: a part");
}

/* The tensors of a struct that are where they were in `whole`: names, each with a space behind. */
static void unmoved(const char *type, const void *whole, const void *part, char *out, size_t n)
{
    int64_t count;
    const struct plumb_layout *l = plumb_layouts(&count);
    out[0] = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t f = 0; !strcmp(l[i].name, type) && f < l[i].field_count; f++) {
            const struct plumb_layout_field *field = &l[i].fields[f];
            const char *a = (const char *)whole + field->offset,
                       *b = (const char *)part + field->offset;
            if (field->kind == 't' && !memcmp(a, b, sizeof(void *)))
                snprintf(out + strlen(out), n - strlen(out), "%s ", field->name);
        }
}

/* Sets every tensor of a struct, so that a part has to move those that it should. */
static void point_all(const char *type, void *all, float *p)
{
    int64_t count;
    const struct plumb_layout *l = plumb_layouts(&count);
    const struct plumb_tensor t = f32(p);
    for (int64_t i = 0; i < count; i++)
        for (int64_t f = 0; !strcmp(l[i].name, type) && f < l[i].field_count; f++)
            if (l[i].fields[f].kind == 't')
                memcpy((char *)all + l[i].fields[f].offset, &t, sizeof t);
}

/* A new field with a value a pair or a sequence must be cut as well: then this list stays right. */
Test(library, parts_move_all_but_values_of_tokens)
{
    struct work *w = fresh();
    struct plumb_pairwise p;
    struct plumb_unpaired u;
    char names[512];
    point_all("plumb_pairwise", &w->pairs, w->logp);
    cr_assert_eq(plumb_pairwise_part(&w->pairs, w->offset, 4, 4, &p), PLUMB_OK);
    unmoved("plumb_pairwise", &w->pairs, &p, names, sizeof names);
    cr_expect_str_eq(names, "logp ref_logp dlogp token_weight ");
    point_all("plumb_unpaired", &w->single, w->logp);
    cr_assert_eq(plumb_unpaired_part(&w->single, w->offset, 4, 2, &u), PLUMB_OK);
    unmoved("plumb_unpaired", &w->single, &u, names, sizeof names);
    cr_expect_str_eq(names, "logp ref_logp kl dlogp shift "); /* one kl for all */
    free(w);
}

static struct plumb_device *simulated(const char *name)
{
    struct plumb_device *dev;
    cr_assert_eq(plumb_device_new(name, &dev), PLUMB_OK, "%s", plumb_errmsg());
    return dev;
}

Test(library, memory_of_another_device_is_named)
{
    setenv("PLUMB_SIM_DEVICES", "2", 1);
    struct plumb_device *dev = simulated("cuda-sim"), *other = simulated("cuda-sim:1");
    void *there, *elsewhere, *many[70];
    cr_assert_eq(plumb_device_alloc(dev, 1 << 16, &there), PLUMB_OK);
    cr_assert_eq(plumb_device_alloc(other, 1 << 16, &elsewhere), PLUMB_OK);
    REFUSED(plumb_logprob_fwd(dev, &w->head), (void)0, "row lies in host memory");
    REFUSED(plumb_pairwise(dev, &w->pairs), (void)0, "offset lies in host memory");
    REFUSED(plumb_pairwise(dev, &w->pairs), w->pairs.offset = there, "logp lies in host memory");
    REFUSED(plumb_pairwise(dev, &w->pairs), w->pairs.offset = elsewhere,
            "offset lies in the memory of cuda-sim:1, the call is for cuda-sim:0");
    HEAD(w->head.x.data = there, "x lies in the memory of cuda-sim:0, the call is for the host");
    PAIRS(w->pairs.terms = there, "terms lies in the memory of cuda-sim:0");
    PAIRS(w->pairs.offset = (int32_t *)there + 1, "offset lies in the memory");
    /* More blocks than the backend remembers: it asks the runtime. */
    for (int i = 0; i < 70; i++)
        cr_assert_eq(plumb_device_alloc(dev, 4, &many[i]), PLUMB_OK);
    PAIRS(w->pairs.logp.data = many[69], "logp lies in the memory of cuda-sim:0");
    REFUSED(plumb_pairwise(other, &w->pairs), w->pairs.offset = many[69], "offset lies in the mem");
    for (int i = 0; i < 70; i++)
        plumb_device_free(dev, many[i]);
    plumb_device_free(dev, there);
    plumb_device_free(other, elsewhere);
    plumb_device_delete(dev);
    plumb_device_delete(other);
}

/* A program's own stream: work on both sides of the op is in order, and the stream outlives it. */
Test(library, a_device_adopts_a_stream_of_the_program)
{
    setenv("PLUMB_SIM_LAZY", "1", 1);
    struct plumb_device *program = simulated("cuda-sim"), *dev;
    float from[B] = { 1, 2 }, to[B] = { 0 };
    void *a, *b;
    cr_assert_eq(plumb_device_alloc(program, sizeof from, &a), PLUMB_OK);
    cr_assert_eq(plumb_device_alloc(program, sizeof from, &b), PLUMB_OK);
    cr_assert_eq(plumb_device_adopt("cuda-sim", program->stream, &dev), PLUMB_OK);
    cr_expect_eq(plumb_device_kind(dev), PLUMB_DEV_CUDA);
    cr_expect_eq(plumb_device_upload(program, a, from, sizeof from), PLUMB_OK);
    cr_expect_eq(plumb_device_copy(dev, b, a, sizeof from), PLUMB_OK);
    cr_expect_eq(plumb_device_download(program, to, b, sizeof to), PLUMB_OK);
    cr_expect(!memcmp(from, to, sizeof to));
    plumb_device_delete(dev);
    cr_expect_eq(plumb_device_zero(program, b, sizeof from), PLUMB_OK);
    cr_expect_eq(plumb_device_download(program, to, b, sizeof to), PLUMB_OK);
    cr_expect_eq(to[1], 0);
    plumb_device_free(program, a);
    plumb_device_free(program, b);
    plumb_device_delete(program);
    cr_expect_eq(plumb_device_adopt("cpu", NULL, &dev), PLUMB_EUSAGE);
}

static void *thread(void *arg)
{
    struct work *w = arg;
    for (int i = 0; i < 20; i++) {
        memset(w->dw, 0, sizeof w->dw);
        if (plumb_logprob_fused(&plumb_cpu, &w->head)) return "a call failed";
        w->pairs.beta = -(double)(1 + w->label[0]);
        if (plumb_pairwise(&plumb_cpu, &w->pairs) != PLUMB_EINVAL) return "a fault was missed";
        char wanted[32];
        snprintf(wanted, sizeof wanted, "beta=-%d", 1 + w->label[0]);
        if (!strstr(plumb_errmsg(), wanted)) return "the text of another thread";
        w->pairs.beta = 0.1;
    }
    return NULL;
}

Test(library, threads_have_texts_of_their_own_and_the_same_bits)
{
    struct work *w[4];
    pthread_t id[4];
    for (int i = 0; i < 4; i++) {
        w[i] = fresh();
        w[i]->label[0] = i;
        cr_assert_eq(pthread_create(&id[i], NULL, thread, w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *what;
        cr_assert_eq(pthread_join(id[i], &what), 0);
        cr_expect_null(what, "%s", (const char *)what);
        cr_expect(!memcmp(w[i]->dw, w[0]->dw, sizeof w[0]->dw));
        cr_expect(!memcmp(w[i]->losses, w[0]->losses, sizeof w[0]->losses));
    }
    for (int i = 0; i < 4; i++)
        free(w[i]);
}

Test(library, versions_are_those_of_the_headers)
{
    cr_expect_str_eq(plumb_version(), PLUMB_VERSION);
    cr_expect_eq(plumb_abi_version(), PLUMB_ABI);
}
