/* Writes the demo's model as training finds it: a small decoder with random weights. */
#include <stdio.h>
#include <string.h>

#include "io/file.h"
#include "io/hf_model.h"
#include "runtime/model.h"
#include "tools/demo_data.h"

static const char generation_config[] =
    "{\n  \"eos_token_id\": 1,\n  \"pad_token_id\": 0,\n  \"max_new_tokens\": 40\n}\n";

static int parse_config(int64_t vocab, struct plumb_hf_config *out)
{
    char text[1024];
    const int n = snprintf(
        text, sizeof text,
        "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\","
        " \"vocab_size\": %lld, \"hidden_size\": %d, \"intermediate_size\": %d,"
        " \"num_hidden_layers\": %d, \"num_attention_heads\": 4, \"num_key_value_heads\": 4,"
        " \"max_position_embeddings\": 128, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0,"
        " \"hidden_act\": \"silu\", \"attention_bias\": false, \"mlp_bias\": false,"
        " \"tie_word_embeddings\": true, \"bos_token_id\": null, \"eos_token_id\": %d,"
        " \"pad_token_id\": 0, \"initializer_range\": 0.02, \"dtype\": \"float32\"}",
        (long long)vocab, PLUMB_DEMO_WIDTH, PLUMB_DEMO_FFN, PLUMB_DEMO_LAYERS, PLUMB_DEMO_EOS);
    return plumb_hf_config_parse(out, text, (size_t)n, "the demo's config.json");
}

/* Draws the weights in `arena`, whose size is found by a first, counting pass. */
static int draw(struct plumb_model *m, const struct plumb_model_config *config, uint64_t seed,
                struct plumb_arena *arena)
{
    void *scratch;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0)
            plumb_arena_init_counting(arena, "demo");
        else
            PLUMB_TRY(plumb_arena_init(arena, "demo", arena->peak));
        PLUMB_TRY(plumb_model_init(m, config, &plumb_cpu, PLUMB_F32, PLUMB_MODEL_FROZEN, 1, arena));
        if (pass == 1) break;
        PLUMB_TRY(plumb_arena_push(arena, (size_t)m->elements * sizeof(double), &scratch));
    }
    return plumb_model_random(m, seed, PLUMB_DEMO_STD, arena);
}

int plumb_demo_write_model(const char *dir, uint64_t seed, int64_t *parameters)
{
    int rc = PLUMB_OK;
    int64_t vocab;
    char path[4096];
    struct plumb_hf_config config = { 0 };
    struct plumb_hf_model hf = { 0 };
    struct plumb_model m;
    struct plumb_arena arena = { 0 };
    PLUMB_TRYG(plumb_dir_make(dir));
    PLUMB_TRYG(plumb_demo_write_tokenizer(dir, &vocab));
    PLUMB_TRYG(plumb_path_join(path, sizeof path, dir, "generation_config.json"));
    PLUMB_TRYG(plumb_file_write(path, generation_config, sizeof generation_config - 1));
    PLUMB_TRYG(parse_config(vocab, &config));
    PLUMB_TRYG(plumb_hf_model_plan(&hf, &config));
    PLUMB_TRYG(draw(&m, &hf.config.model, seed, &arena));
    *parameters = 0;
    for (int64_t k = 0; k < hf.param_count; k++)
        *parameters += hf.params[k].rows * hf.params[k].cols;
    const struct plumb_tensor w = plumb_model_exact(&m);
    PLUMB_TRYG(plumb_hf_model_write(&hf, dir, w.dtype, w.data, PLUMB_F32));
out:
    plumb_arena_release(&arena);
    plumb_hf_model_release(&hf);
    plumb_hf_config_release(&config);
    return rc;
}
