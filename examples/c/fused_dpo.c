/* DPO straight from hidden states, on the CPU: log-probs of the policy, loss, and the gradients of
 * hidden states and output matrix in one call, without a matrix of logits. A few steps of gradient
 * descent on the output matrix show the loss going down.
 *   cc fused_dpo.c -o fused_dpo $(pkg-config --cflags --libs plumb) -lm */
#include <math.h>
#include <plumb/logprob.h>
#include <plumb/pairwise.h>
#include <plumb/rng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 16, WIDTH = 128, VOCAB = 32000 };
#define WEIGHTS ((int64_t)VOCAB * WIDTH)

/* A batch as a trainer has it: the tokens of all completions one after the other. */
struct batch {
    int64_t tokens;
    int32_t offset[2 * PAIRS + 1]; /* sequence 2i: chosen of pair i, 2i+1: its rejected one */
    int32_t group[PAIRS + 1];      /* where the head may cut: never inside a pair */
    int32_t *row, *target;         /* target[m] is what hidden state row[m] should predict */
};

static void check(int status, const char *what)
{
    if (status == PLUMB_OK) return;
    fprintf(stderr, "fused_dpo: %s: %s\n", what, plumb_errmsg());
    exit(1);
}

static void *take(int64_t count, size_t size)
{
    void *p = calloc((size_t)count, size);
    if (p) return p;
    fprintf(stderr, "fused_dpo: out of memory\n");
    exit(1);
}

static struct plumb_tensor f32(float *p) { return (struct plumb_tensor){ p, PLUMB_F32 }; }
static struct plumb_tensor zeros(int64_t count) { return f32(take(count, sizeof(float))); }

static struct plumb_tensor normal(int64_t count, uint64_t seed, double size)
{
    const struct plumb_rng_key key = { .seed = seed, .purpose = PLUMB_RNG_DATA };
    float *x = take(count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(size * plumb_rng_normal(&key, (uint64_t)i));
    return f32(x);
}

static struct batch make_batch(void)
{
    struct batch b = { 0 };
    for (int s = 0; s < 2 * PAIRS; s++)
        b.offset[s + 1] = b.offset[s] + 20 + 7 * s % 23;
    for (int i = 0; i <= PAIRS; i++)
        b.group[i] = b.offset[2 * i];
    b.tokens = b.offset[2 * PAIRS];
    b.row = take(b.tokens, sizeof *b.row);
    b.target = take(b.tokens, sizeof *b.target);
    for (int32_t m = 0; m < b.tokens; m++)
        b.row[m] = m, b.target[m] = (int32_t)(m * INT64_C(7919) % VOCAB);
    return b;
}

/* The reference model here is the policy before its first step. */
static void reference(struct plumb_logprob head, struct plumb_tensor ref_logp)
{
    head.logp = ref_logp;
    head.work.data = take((int64_t)plumb_logprob_workspace(&plumb_cpu, &head), 1);
    check(plumb_logprob_fwd(&plumb_cpu, &head), "reference");
    free(head.work.data);
}

/* The head calls this when the log-probs of targets [first, first + count), a run of whole pairs,
 * are there. It leaves their gradients in dlogp. */
static int pairs_ready(void *ctx, int64_t first, int64_t count)
{
    const struct plumb_pairwise *all = ctx;
    struct plumb_pairwise part;
    PLUMB_TRY(plumb_pairwise_part(all, all->offset, first, count, &part));
    return plumb_pairwise(&plumb_cpu, &part);
}

static void train(struct plumb_logprob *head, const struct plumb_pairwise *loss)
{
    const float *losses = loss->losses.data, *rewards = loss->rewards.data;
    float *w = head->w.data, *dw = head->dw.data;
    for (int step = 0; step < 4; step++) {
        double mean = 0, margin = 0;
        memset(dw, 0, (size_t)WEIGHTS * sizeof *dw); /* gradients of parameters are added */
        check(plumb_logprob_fused(&plumb_cpu, head), "step");
        for (int i = 0; i < PAIRS; i++) {
            mean += (double)losses[i] / PAIRS;
            margin += (double)(rewards[2 * i] - rewards[2 * i + 1]) / PAIRS;
        }
        printf("step %d: loss %.4f, reward margin %.4f\n", step, mean, margin);
        for (int64_t i = 0; i < WEIGHTS; i++)
            w[i] -= 0.3F * dw[i];
    }
}

int main(void)
{
    struct batch b = make_batch();
    const struct plumb_pairwise_term dpo = { PLUMB_PAIR_SIGMOID, 1 };
    struct plumb_pairwise loss = { .struct_bytes = sizeof loss,
                                   .B = PAIRS,
                                   .offset = b.offset,
                                   .logp = zeros(b.tokens),
                                   .ref_logp = zeros(b.tokens),
                                   .terms = &dpo,
                                   .term_count = 1,
                                   .beta = 0.1,
                                   .divisor = PAIRS,
                                   .losses = zeros(PAIRS),
                                   .logps = zeros(2 * PAIRS),
                                   .rewards = zeros(2 * PAIRS),
                                   .dlogp = zeros(b.tokens) };
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
                                  .logp = loss.logp,
                                  .dlogp = loss.dlogp };
    reference(head, loss.ref_logp);

    head.dx = zeros(b.tokens * WIDTH);
    head.dw = zeros(WEIGHTS);
    head.group = b.group;
    head.groups = PAIRS;
    head.epilogue = pairs_ready;
    head.epilogue_ctx = &loss;
    const size_t scratch = plumb_logprob_workspace(&plumb_cpu, &head);
    head.work.data = take((int64_t)scratch, 1);
    printf("%lld tokens in %d pairs: %.1f MB of scratch, logits would be %.1f MB\n",
           (long long)b.tokens, PAIRS, 1e-6 * (double)scratch, 4e-6 * (double)(b.tokens * VOCAB));
    train(&head, &loss);
    return 0;
}
