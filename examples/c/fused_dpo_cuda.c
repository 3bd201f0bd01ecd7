/* fused_dpo.c on a GPU: the same structs and the same call, with tensors in the device's memory.
 * Nothing is waited for between the steps. The program itself needs no CUDA: the library opens its
 * backend when it is asked for a device.
 *   fused_dpo_cuda [cuda | cuda:1 | cuda-sim] */
#include <math.h>
#include <plumb/device.h>
#include <plumb/logprob.h>
#include <plumb/optim.h>
#include <plumb/pairwise.h>
#include <plumb/rng.h>
#include <stdio.h>
#include <stdlib.h>

enum { PAIRS = 8, WIDTH = 64, VOCAB = 1000, STEPS = 4 };
#define WEIGHTS ((int64_t)VOCAB * WIDTH)

static struct plumb_device *dev;

static void check(int status, const char *what)
{
    if (status == PLUMB_OK) return;
    fprintf(stderr, "fused_dpo_cuda: %s: %s\n", what, plumb_errmsg());
    exit(1);
}

/* Memory of the device, with what the host has at `from`; zeros where that is NULL. */
static void *there(size_t bytes, const void *from)
{
    void *p;
    check(plumb_device_alloc(dev, bytes, &p), "memory");
    check(from ? plumb_device_upload(dev, p, from, bytes) : plumb_device_zero(dev, p, bytes),
          "copy");
    return p;
}

static struct plumb_tensor zeros(int64_t count)
{
    return (struct plumb_tensor){ there((size_t)count * sizeof(float), NULL), PLUMB_F32 };
}

static struct plumb_tensor normal(int64_t count, uint64_t seed, double size)
{
    const struct plumb_rng_key key = { .seed = seed, .purpose = PLUMB_RNG_DATA };
    float *x = calloc((size_t)count, sizeof *x);
    for (int64_t i = 0; x && i < count; i++)
        x[i] = (float)(size * plumb_rng_normal(&key, (uint64_t)i));
    const struct plumb_tensor t = { there((size_t)count * sizeof *x, x), PLUMB_F32 };
    check(plumb_device_sync(dev), "copy"); /* before the host's memory goes */
    free(x);
    return t;
}

/* What the head cuts by stays with the host; what ops read goes to the device. */
struct batch {
    int32_t tokens, offset[2 * PAIRS + 1], group[PAIRS + 1];
    const int32_t *offset_there, *row, *target;
};

static struct batch make_batch(void)
{
    struct batch b = { 0 };
    static int32_t row[2 * PAIRS * 64], target[2 * PAIRS * 64];
    for (int s = 0; s < 2 * PAIRS; s++)
        b.offset[s + 1] = b.offset[s] + 20 + 7 * s % 23;
    for (int i = 0; i <= PAIRS; i++)
        b.group[i] = b.offset[2 * i];
    b.tokens = b.offset[2 * PAIRS];
    for (int32_t m = 0; m < b.tokens; m++)
        row[m] = m, target[m] = m * 79 % VOCAB;
    b.offset_there = there(sizeof b.offset, b.offset);
    b.row = there((size_t)b.tokens * sizeof *row, row);
    b.target = there((size_t)b.tokens * sizeof *target, target);
    return b;
}

struct pairs {
    struct plumb_pairwise all;
    const int32_t *offset; /* in host memory, where all.offset is not */
};

static int pairs_ready(void *ctx, int64_t first, int64_t count)
{
    const struct pairs *p = ctx;
    struct plumb_pairwise part;
    PLUMB_TRY(plumb_pairwise_part(&p->all, p->offset, first, count, &part));
    return plumb_pairwise(dev, &part);
}

/* Queues all steps, each with its losses in a place of its own, then looks at them. */
static void train(struct plumb_logprob *head, struct pairs *p)
{
    const struct plumb_tensor losses = p->all.losses;
    const struct plumb_tensor m = zeros(WEIGHTS), v = zeros(WEIGHTS);
    float seen[STEPS][PAIRS];
    for (int step = 0; step < STEPS; step++) {
        const struct plumb_adamw adamw = { .struct_bytes = sizeof adamw,
                                           .count = WEIGHTS,
                                           .grad = head->dw,
                                           .m = m,
                                           .v = v,
                                           .w = head->w,
                                           .lr = 1e-3,
                                           .beta1 = 0.9,
                                           .beta2 = 0.999,
                                           .eps = 1e-8,
                                           .grad_scale = 1,
                                           .step = step + 1 };
        p->all.losses.data = (float *)losses.data + step * PAIRS;
        check(plumb_device_zero(dev, head->dw.data, WEIGHTS * sizeof(float)), "dw");
        check(plumb_logprob_fused(dev, head), "step");
        check(plumb_adamw(dev, &adamw), "optimizer");
    }
    check(plumb_device_download(dev, seen, losses.data, sizeof seen), "losses");
    for (int step = 0; step < STEPS; step++) {
        double mean = 0;
        for (int i = 0; i < PAIRS; i++)
            mean += (double)seen[step][i] / PAIRS;
        printf("step %d: loss %.4f\n", step, mean);
    }
}

int main(int argc, char **argv)
{
    char name[128];
    check(plumb_device_new(argc > 1 ? argv[1] : "cuda", &dev), "device");
    plumb_device_describe(dev, name, sizeof name);
    printf("%s\n", name);

    const struct batch b = make_batch();
    const struct plumb_pairwise_term dpo = { PLUMB_PAIR_SIGMOID, 1 };
    struct pairs p = { .offset = b.offset,
                       .all = { .struct_bytes = sizeof p.all,
                                .B = PAIRS,
                                .offset = b.offset_there,
                                .logp = zeros(b.tokens),
                                .ref_logp = zeros(b.tokens),
                                .terms = &dpo,
                                .term_count = 1,
                                .beta = 0.1,
                                .divisor = PAIRS,
                                .losses = zeros(STEPS * PAIRS),
                                .logps = zeros(2 * PAIRS),
                                .rewards = zeros(2 * PAIRS),
                                .dlogp = zeros(b.tokens) } };
    struct plumb_logprob head = { .struct_bytes = sizeof head,
                                  .N = b.tokens,
                                  .H = WIDTH,
                                  .V = VOCAB,
                                  .M = b.tokens,
                                  .x = normal(b.tokens * WIDTH, 1, 1),
                                  .w = normal(WEIGHTS, 2, 1 / sqrt(WIDTH)),
                                  .row = b.row,
                                  .target = b.target,
                                  .logit_scale = 1,
                                  .temperature = 1,
                                  .logp = p.all.ref_logp,
                                  .dlogp = p.all.dlogp,
                                  .dx = zeros(b.tokens * WIDTH),
                                  .dw = zeros(WEIGHTS),
                                  .group = b.group,
                                  .groups = PAIRS,
                                  .epilogue = pairs_ready,
                                  .epilogue_ctx = &p };
    head.work.data = there(plumb_logprob_workspace(dev, &head), NULL);
    check(plumb_logprob_fwd(dev, &head), "reference"); /* the policy before its first step */
    head.logp = p.all.logp;
    train(&head, &p);
    plumb_device_delete(dev); /* its memory goes with the process */
    return 0;
}
