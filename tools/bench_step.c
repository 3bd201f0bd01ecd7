/* Whole DPO steps of a model of SmolLM2-135M's shape with random weights, prompt sharing on and
 * off. */
#include <math.h>
#include <plumb/log.h>
#include <plumb/pairwise.h>
#include <plumb/rng.h>

#include "algos/tasks.h"
#include "tools/bench.h"

#define PAIRS 4
#define PROMPT                                                                                     \
    168 /* tokens; with completions of 80 the sizes of four HH-RLHF pairs (1,988 tokens unshared) */
#define COMPLETION 80

static struct plumb_model_config smollm2_135m(void)
{
    return (struct plumb_model_config){
        .family = "llama",
        .vocab = 49152,
        .width = 576,
        .layers = 30,
        .heads = 9,
        .kv_heads = 3,
        .head_size = 64,
        .ffn = 1536,
        .max_positions = 8192,
        .norm = PLUMB_NORM_RMS,
        .norm_eps = 1e-5,
        .act = PLUMB_ACT_SWIGLU,
        .rope = PLUMB_ROPE_HALF,
        .rope_dims = 64,
        .rope_theta = 100000,
        .embed_scale = 1,
        .attention_scale = 0.125,
        .logit_scale = 1,
        .tied = true,
        .bos_id = 1,
        .eos_id = 2,
        .pad_id = 2,
    };
}

static int32_t ids[PAIRS][PROMPT + 2 * COMPLETION];

static int get(void *self, int64_t index, struct plumb_example *e)
{
    (void)self;
    const int32_t *p = ids[index % PAIRS];
    *e = (struct plumb_example){ .row = index,
                                 .prompt = { p, PROMPT },
                                 .completion = { { p + PROMPT, COMPLETION },
                                                 { p + PROMPT + COMPLETION, COMPLETION } } };
    return PLUMB_OK;
}

static struct plumb_dpo_config options(bool share, int64_t steps)
{
    static const char *const sigmoid[] = { "sigmoid" };
    struct plumb_dpo_config c = {
        .beta = 0.1,
        .ld_alpha = NAN,
        .loss_type = { sigmoid, 1 },
        .train = { .train_sampling_strategy = PLUMB_SAMPLING_SEQUENTIAL,
                   .share_prompts = share,
                   .learning_rate = 1e-6,
                   .adam_beta1 = 0.9,
                   .adam_beta2 = 0.999,
                   .adam_epsilon = 1e-8,
                   .max_grad_norm = 1,
                   .per_device_train_batch_size = PAIRS,
                   .per_device_eval_batch_size = PAIRS,
                   .gradient_accumulation_steps = 1,
                   .num_train_epochs = 1,
                   .max_steps = steps,
                   .data_seed = PLUMB_NONE_INT,
                   .eval_steps = NAN },
    };
    plumb_schedule_defaults(&c.train.schedule);
    return c;
}

static int advance(void *ctx)
{
    struct plumb_trainer *t = ctx;
    t->total_steps = t->state.step + 1;
    return plumb_trainer_run(t);
}

static int time_steps(const struct plumb_bench *b, bool share, enum plumb_dtype compute,
                      int64_t repeats, struct plumb_bench_times *times)
{
    const struct plumb_dpo_config c = options(share, repeats + 1);
    const struct plumb_model_config model = smollm2_135m();
    const struct plumb_dataset data = { PLUMB_DATA_PREFERENCE, PAIRS * (repeats + 1), get, NULL,
                                        0 };
    struct plumb_pairs o;
    struct plumb_task task;
    struct plumb_trainer t = { 0 };
    struct plumb_arena scratch = { 0 };
    int rc = PLUMB_OK;
    PLUMB_TRYG(plumb_task_dpo(&c, &o, &task));
    PLUMB_TRYG(
        plumb_trainer_init(&t, &c.train, &task, &model, &data, NULL, &b->dev, compute, false));
    PLUMB_TRYG(plumb_arena_init(&scratch, "weights", (size_t)t.policy.elements * sizeof(double)));
    PLUMB_TRYG(plumb_model_random(&t.policy, 1, 0.02, &scratch));
    plumb_arena_release(&scratch);
    PLUMB_TRYG(plumb_trainer_weights_ready(&t));
    PLUMB_TRYG(plumb_bench_time(b, advance, &t, repeats, times));
out:
    plumb_arena_release(&scratch);
    plumb_trainer_release(&t);
    return rc;
}

int plumb_bench_step(const struct plumb_bench *b)
{
    const struct plumb_rng_key key = { 1, PLUMB_RNG_DATA, 0 };
    for (int64_t i = 0; i < PAIRS * (PROMPT + 2 * COMPLETION); i++)
        ids[i / (PROMPT + 2 * COMPLETION)][i % (PROMPT + 2 * COMPLETION)] = (int32_t)
            plumb_rng_below(&key, (uint64_t)i, 49152);
    const double tokens = 2 * PAIRS * (PROMPT + COMPLETION);
    const int64_t repeats = b->o.repeats < 3 ? b->o.repeats : 3;
    printf(
        "\nDPO step, SmolLM2-135M's shape, %d pairs, %.0f tokens unshared, policy and reference\n",
        PAIRS, tokens);
    printf("%-9s %-14s %12s %20s\n", "dtype", "prompts", "seconds", "unshared tokens/s");
    plumb_log_threshold(PLUMB_LOG_WARN);
    for (int i = 0; i < 4; i++) {
        const enum plumb_dtype compute = i < 2 ? PLUMB_F32 : PLUMB_BF16;
        const bool share = i % 2;
        struct plumb_bench_times t;
        PLUMB_TRY(time_steps(b, share, compute, repeats, &t));
        printf("%-9s %-14s %12.2f %20.0f\n", plumb_dtype_name(compute),
               share ? "shared" : "not shared", t.median, tokens / t.median);
    }
    plumb_log_threshold(PLUMB_LOG_INFO);
    return PLUMB_OK;
}
