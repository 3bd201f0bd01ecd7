/* Adapters through the binary: every trainer, checkpoints, folders, merging, what is refused. */
#include "io/peft.h"
#include "tests/runs.h"

static struct program p;
static struct tiny t;

/* Two layers instead of one. */
static const char teacher[] =
    "{\"model_type\":\"llama\",\"vocab_size\":24,\"hidden_size\":8,\"intermediate_size\":12,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
    "\"max_position_embeddings\":32}";

static void init(void)
{
    tiny_init(&t);
    tiny_model(tiny_path(&t, "teacher"), teacher);
}
static void release(void) { tiny_release(&t); }
TestSuite(lora, .init = init, .fini = release, .timeout = 280);

static const struct {
    const char *command, *data;
} trainers[] = {
    { "sft", "texts.jsonl" },    { "dpo", "pairs.jsonl" },       { "cpo", "pairs.jsonl" },
    { "orpo", "pairs.jsonl" },   { "tpo", "triples.jsonl" },     { "kto", "rated.jsonl" },
    { "bco", "rated.jsonl" },    { "listwise", "ranked.jsonl" }, { "distill", "texts.jsonl" },
    { "reward", "pairs.jsonl" },
};
enum { TRAINERS = sizeof trainers / sizeof *trainers };

static struct arguments train(int i, const char *out)
{
    struct arguments a = tiny_arguments(&t, trainers[i].command, trainers[i].data, out);
    ADD(&a, "--logging_steps", "1", "--learning_rate", "0.01", "--bf16", "false");
    if (!strcmp(trainers[i].command, "distill"))
        ADD(&a, "--teacher_model_name_or_path", tiny_kept(&t, "teacher"));
    if (!strcmp(trainers[i].command, "kto")) ADD(&a, "--train_sampling_strategy", "sequential");
    return a;
}

static void with_adapters(struct arguments *a)
{
    ADD(a, "--use_peft", "--lora_r", "3", "--lora_alpha", "6", "--lora_target_modules",
        "all-linear");
}

/* B is zero: the first step starts where the base stands, and so does the reference. */
Test(lora, every_trainer_starts_at_its_base_and_learns)
{
    for (int i = 0; i < TRAINERS; i++) {
        struct arguments full = train(i, "full"), own = train(i, "own");
        ADD(&full, "--max_steps", "1", "--device", "ref", "--overwrite_output_dir");
        ADD(&own, "--max_steps", "12", "--device", "ref", "--overwrite_output_dir");
        with_adapters(&own);
        run_to_end(&p, &full);
        run_to_end(&p, &own);
        cJSON *a = metrics_of(&t, "full"), *b = metrics_of(&t, "own");
        cr_expect_eq(metric_at(a, 1, "loss"), metric_at(b, 1, "loss"), "%s: %.17g and %.17g",
                     trainers[i].command, metric_at(a, 1, "loss"), metric_at(b, 1, "loss"));
        cr_expect_neq(metric_at(b, 1, "loss"), metric_at(b, 8, "loss"), "%s", trainers[i].command);
        cr_expect(tiny_exists(&t, "own/adapter_model.safetensors") &&
                  !tiny_exists(&t, "own/model.safetensors") && !tiny_exists(&t, "own/config.json"));
        cJSON_Delete(a);
        cJSON_Delete(b);
    }
}

/* Stopped after three of six steps, with masks of dropout on the way. */
Test(lora, a_resumed_run_ends_with_the_same_bits)
{
    static const char *const files[] = { "adapter_model.safetensors", "adam_m.bin", "adam_v.bin",
                                         "state.bin" };
    static const char *const devices[] = { "cpu", "ref" };
    for (int i = 0; i < TRAINERS; i++)
        for (int d = 0; d < 2; d++) {
            struct arguments a = train(i, "a"), b = train(i, "b");
            struct arguments *const both[] = { &a, &b };
            for (int k = 0; k < 2; k++) {
                with_adapters(both[k]);
                ADD(both[k], "--num_train_epochs", "1", "--device", devices[d], "--save_steps", "3",
                    "--disable_dropout", "false", "--lora_dropout", "0.4");
            }
            ADD(&a, "--overwrite_output_dir");
            run_to_end(&p, &a);
            plumb_folder_remove(tiny_path(&t, "b"));
            cr_assert_eq(plumb_dir_make(tiny_path(&t, "b")), 0);
            cr_assert_eq(rename(tiny_path(&t, "a/checkpoint-3"), tiny_path(&t, "b/checkpoint-3")),
                         0);
            ADD(&b, "--resume_from_checkpoint", "true");
            run_to_end(&p, &b);
            for (int f = 0; f < 4; f++)
                same_bytes(&t, "a/checkpoint-6", "b/checkpoint-6", files[f]);
        }
}

Test(lora, dropout_counts_where_it_is_asked_for)
{
    double loss[3];
    for (int k = 0; k < 3; k++) {
        struct arguments a = train(1, "a");
        with_adapters(&a);
        ADD(&a, "--max_steps", "4", "--device", "ref", "--overwrite_output_dir", "--lora_dropout",
            k == 1 ? "0.5" : "0.4", "--disable_dropout", k == 2 ? "true" : "false");
        run_to_end(&p, &a);
        if (k == 2) cr_expect(strstr(p.err, "lora_dropout 0.4 has no effect"), "%s", p.err);
        cJSON *m = metrics_of(&t, "a");
        loss[k] = metric_at(m, 4, "loss");
        cJSON_Delete(m);
    }
    cr_expect(loss[0] != loss[1] && loss[0] != loss[2] && loss[1] != loss[2]);
}

static double evaluated(const char *model, const char *trainer, const char *data)
{
    struct arguments a = { .n = 0 };
    ADD(&a, "plumb", "evaluate", "--model_name_or_path", tiny_kept(&t, model), "--trainer", trainer,
        "--dataset_name", tiny_kept(&t, data), "--output", tiny_kept(&t, "result.json"), "--device",
        "ref", "--quiet");
    run_to_end(&p, &a);
    char *text = tiny_read(&t, "result.json", NULL);
    cJSON *json = cJSON_Parse(text);
    const double loss = cJSON_GetObjectItem(json, "eval_loss")->valuedouble;
    cJSON_Delete(json);
    free(text);
    return loss;
}

static void merge(const char *base, const char *adapters, const char *out, bool subtract)
{
    struct arguments a = { .n = 0 };
    ADD(&a, "plumb", "merge", "--quiet");
    if (subtract) ADD(&a, "--subtract");
    if (base) ADD(&a, tiny_kept(&t, base));
    ADD(&a, tiny_kept(&t, adapters), tiny_kept(&t, out));
    run_to_end(&p, &a);
}

/* Largest difference between the weights of two model folders. */
static double apart(const char *a, const char *b)
{
    struct plumb_hf_model m[2];
    double *flat[2], most = 0;
    const char *const dirs[] = { a, b };
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(plumb_hf_model_open(&m[i], tiny_path(&t, dirs[i]), 0), 0, "%s",
                     plumb_errmsg());
        flat[i] = malloc((size_t)m[i].elements * sizeof **flat);
        cr_assert_eq(plumb_hf_model_read(&m[i], PLUMB_F64, flat[i], false), 0, "%s",
                     plumb_errmsg());
    }
    cr_assert_eq(m[0].elements, m[1].elements);
    for (int64_t k = 0; k < m[0].elements; k++)
        most = fmax(most, fabs(flat[0][k] - flat[1][k]));
    for (int i = 0; i < 2; i++) {
        free(flat[i]);
        plumb_hf_model_release(&m[i]);
    }
    return most;
}

/* Adapters read beside their base, merged into a folder, and taken off again; weights below 1 are
 * rounded to f32 once each way. */
Test(lora, merged_weights_are_the_same_model_and_unmerged_ones_the_base)
{
    static const struct {
        int trainer;
        const char *as;
    } cases[] = { { 0, "sft" }, { 9, "reward" } };
    for (int i = 0; i < 2; i++) {
        struct arguments a = train(cases[i].trainer, "a");
        const char *data = trainers[cases[i].trainer].data;
        with_adapters(&a);
        ADD(&a, "--max_steps", "8", "--learning_rate", "0.1", "--overwrite_output_dir");
        run_to_end(&p, &a);
        plumb_folder_remove(tiny_path(&t, "merged"));
        merge(i ? NULL : "model", "a", "merged", false);
        const double x = evaluated("a", cases[i].as, data),
                     y = evaluated("merged", cases[i].as, data);
        cr_expect_float_eq(x, y, 1e-6, "%s: %.12g and %.12g", cases[i].as, x, y);
        cr_expect(tiny_exists(&t, "merged/config.json"));
        cr_expect_leq(apart("a", "merged"), 0x1p-24);
        if (i > 0) continue;
        cr_expect_gt(apart("a", "model"), 1e-3);
        cr_expect_neq(x, evaluated("model", "sft", data));
        merge("merged", "a", "back", true);
        cr_expect_leq(apart("back", "model"), 0x1p-23);
    }
}

/* The rewards of a run that goes on are measured from the adapters that it began with. */
Test(lora, adapters_are_gone_on_with_and_their_start_is_the_reference)
{
    struct arguments a = train(0, "a"), b = train(1, "b");
    with_adapters(&a);
    ADD(&a, "--max_steps", "8", "--learning_rate", "0.1");
    run_to_end(&p, &a);
    ADD(&b, "--model_name_or_path", tiny_kept(&t, "a"), "--use_peft", "--max_steps", "3",
        "--device", "ref");
    run_to_end(&p, &b);
    cJSON *m = metrics_of(&t, "b");
    cr_expect_float_eq(metric_at(m, 1, "loss"), log(2), 1e-12);
    cr_expect_eq(metric_at(m, 1, "rewards/chosen"), 0);
    cr_expect_neq(metric_at(m, 3, "rewards/chosen"), 0);
    cJSON_Delete(m);
    const char *const look[] = { "plumb", "inspect", tiny_kept(&t, "b"), NULL };
    program_run(&p, look);
    cr_expect(p.code == 0 && strstr(p.out, "rank              3\n") &&
                  strstr(p.out, "added             2 times (lora_alpha 6)") &&
                  strstr(p.out, "self_attn.k_proj.lora_B.weight"),
              "%s%s", p.out, p.err);
    char *text = tiny_read(&t, "b/adapter_config.json", NULL);
    cr_expect(strstr(text, "\"r\":\t3") && strstr(text, "/model\""), "%s", text);
    free(text);
    ADD(&b, "--lora_r", "4", "--overwrite_output_dir");
    program_run(&p, b.v);
    cr_expect(p.code == 2 && strstr(p.err, "lora_r 4: the adapters in"), "%s", p.err);
}

/* Without --use_peft they are part of the weights. */
Test(lora, full_training_starts_from_base_and_adapters)
{
    struct arguments a = train(0, "a"), b = train(0, "b");
    with_adapters(&a);
    ADD(&a, "--max_steps", "8", "--learning_rate", "0.1");
    run_to_end(&p, &a);
    ADD(&b, "--model_name_or_path", tiny_kept(&t, "a"), "--max_steps", "1", "--device", "ref",
        "--learning_rate", "0");
    run_to_end(&p, &b);
    cr_expect(tiny_exists(&t, "b/model.safetensors"));
    cr_expect_leq(apart("a", "b"), 1e-12);
}

static void refused(const char *text, struct arguments *a)
{
    ADD(a, "--overwrite_output_dir");
    program_run(&p, a->v);
    cr_expect(p.code != 0 && strstr(p.err, text), "wanted \"%s\", got %d: %s", text, p.code, p.err);
}

Test(lora, what_cannot_have_adapters_is_named)
{
    static const char *const cases[][3] = {
        { "--lora_target_modules", "query",
          "there are q_proj, k_proj, v_proj, o_proj, gate_proj, "
          "up_proj, down_proj, and all-linear" },
        { "--lora_target_modules", "lm_head", "lm_head is no matrix of a layer" },
        { "--lora_modules_to_save", "v_proj", "v_proj is a part of the q/k/v projection" },
        { "--lora_modules_to_save", "head", "no module \"head\"" },
        { "--use_dora", "true", "DoRA is not built" },
        { "--lora_r", "0", "lora_r" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arguments a = train(0, "a");
        ADD(&a, "--use_peft", cases[i][0], cases[i][1]);
        refused(cases[i][2], &a);
    }
    struct arguments a = train(0, "a");
    ADD(&a, "--use_peft", "--lora_modules_to_save", "lm_head,norm", "--max_steps", "2");
    run_to_end(&p, &a);
}
