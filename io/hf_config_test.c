#include "io/hf_config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "tests/shared.h"

#define LLAMA                                                                                      \
    "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":97,"        \
    "\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":3,"                         \
    "\"num_attention_heads\":4,\"max_position_embeddings\":64}"
#define GPT2                                                                                       \
    "{\"model_type\":\"gpt2\",\"vocab_size\":97,\"n_embd\":32,\"n_layer\":3,\"n_head\":4,"         \
    "\"n_positions\":64}"

static char log_text[4096];

static void keep_log(void *ctx, enum plumb_log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    snprintf(log_text, sizeof log_text, "%s", text);
}

static void setup(void)
{
    log_text[0] = 0;
    plumb_log_receiver(keep_log, NULL);
}

TestSuite(hf_config, .init = setup);

/* Parses `base` with the members of the object `extra` replaced or added. */
static int parse(struct plumb_hf_config *c, const char *base, const char *extra)
{
    cJSON *o = cJSON_Parse(base), *more = cJSON_Parse(extra);
    cr_assert(o && more, "%s", extra);
    for (cJSON *e = more->child, *next; e; e = next) {
        next = e->next;
        cJSON_DeleteItemFromObjectCaseSensitive(o, e->string);
        cJSON_AddItemToObject(o, e->string, cJSON_Duplicate(e, true));
    }
    char *text = cJSON_Print(o);
    const int rc = plumb_hf_config_parse(c, text, strlen(text), "dir/config.json");
    cJSON_free(text);
    cJSON_Delete(o);
    cJSON_Delete(more);
    return rc;
}

static struct plumb_hf_config take(const char *base, const char *extra)
{
    struct plumb_hf_config c;
    cr_assert_eq(parse(&c, base, extra), PLUMB_OK, "%s: %s", extra, plumb_errmsg());
    return c;
}

static void refuse(const char *base, const char *extra, const char *what)
{
    struct plumb_hf_config c;
    const int rc = parse(&c, base, extra);
    cr_expect(rc == PLUMB_ENOTSUP || rc == PLUMB_EFORMAT, "%s was taken", extra);
    cr_expect(strstr(plumb_errmsg(), what) && strstr(plumb_errmsg(), "dir/config.json"),
              "%s: wanted \"%s\", got: %s", extra, what, plumb_errmsg());
    cr_expect_null(c.json);
    plumb_hf_config_release(&c);
}

Test(hf_config, a_bare_llama_takes_the_defaults_of_transformers)
{
    struct plumb_hf_config c = take(LLAMA, "{}");
    const struct plumb_model_config *m = &c.model;
    cr_expect_str_eq(m->family, "llama");
    cr_expect(m->vocab == 97 && m->width == 32 && m->ffn == 48 && m->layers == 3 && m->heads == 4);
    cr_expect(m->kv_heads == 4 && m->head_size == 8 && m->max_positions == 64);
    cr_expect(m->norm == PLUMB_NORM_RMS && m->norm_eps == 1e-6 && m->norm_offset == 0);
    cr_expect(m->act == PLUMB_ACT_SWIGLU && m->rope == PLUMB_ROPE_HALF && m->rope_dims == 8);
    cr_expect(m->rope_theta == 1e4 && m->rope_scaling == PLUMB_ROPE_DEFAULT);
    cr_expect(!m->tied && !m->qkv_bias && !m->o_bias && !m->mlp_bias && !m->qk_norm);
    cr_expect(m->window == 0 && m->window_layers == 0 && m->num_labels == 0);
    cr_expect(m->embed_scale == 1 && m->logit_scale == 1);
    cr_expect_float_eq(m->attention_scale, 0.35355339059327373, 1e-16);
    cr_expect(m->bos_id == 1 && m->eos_id == 2 && m->pad_id == -1);
    cr_expect(c.dtype == PLUMB_F32 && c.eos_count == 0 && c.dropout_key == NULL);
    cr_expect_str_eq(log_text, "");
    plumb_hf_config_release(&c);
}

Test(hf_config, families_differ_as_their_papers_do)
{
    struct plumb_hf_config c = take(LLAMA, "{\"model_type\":\"qwen2\",\"architectures\":null,"
                                           "\"num_key_value_heads\":2,\"head_dim\":null}");
    cr_expect(c.model.qkv_bias && !c.model.o_bias && c.model.bos_id == -1 && c.model.kv_heads == 2);
    cr_expect(c.model.window == 0, "use_sliding_window is off by default");
    plumb_hf_config_release(&c);
    c = take(LLAMA, "{\"model_type\":\"qwen3\",\"architectures\":[],\"num_key_value_heads\":4}");
    cr_expect(c.model.qk_norm && !c.model.qkv_bias && c.model.head_size == 128);
    plumb_hf_config_release(&c);
    c = take(LLAMA, "{\"model_type\":\"mistral\",\"architectures\":[\"MistralForCausalLM\"],"
                    "\"num_key_value_heads\":null}");
    cr_expect(c.model.window == 4096 && c.model.window_layers == 3 && c.model.kv_heads == 4);
    plumb_hf_config_release(&c);
    c = take(LLAMA, "{\"model_type\":\"gemma\",\"architectures\":[],\"hidden_act\":\"gelu\","
                    "\"num_key_value_heads\":1}");
    cr_expect(c.model.act == PLUMB_ACT_GEGLU_TANH && c.model.norm_offset == 1 && c.model.tied);
    cr_expect(c.model.head_size == 256 && c.model.embed_scale == sqrt(32));
    plumb_hf_config_release(&c);
    c = take(LLAMA, "{\"model_type\":\"gpt_neox\",\"architectures\":[],\"hidden_act\":\"gelu\"}");
    cr_expect(c.model.norm == PLUMB_NORM_LAYER && c.model.act == PLUMB_ACT_GELU_ERF);
    cr_expect(c.model.parallel_residual && c.model.rope_dims == 2 && c.model.o_bias);
    cr_expect(c.model.qkv_bias && c.model.mlp_bias && c.model.norm_eps == 1e-5);
    plumb_hf_config_release(&c);
    c = take(GPT2, "{}");
    cr_expect(c.model.rope == PLUMB_ROPE_NONE && c.model.learned_positions && c.model.tied);
    cr_expect(c.model.ffn == 128 && c.model.act == PLUMB_ACT_GELU_TANH && c.model.eos_id == 50256);
    cr_expect_str_eq(c.dropout_key, "attn_pdrop");
    cr_expect_eq(c.dropout, 0.1);
    plumb_hf_config_release(&c);
}

Test(hf_config, missing_and_wrong_keys_are_named)
{
    refuse("{}", "{}", "\"model_type\" is missing");
    refuse(LLAMA, "{\"model_type\":\"bert\"}", "\"bert\" is not supported (llama, mistral");
    refuse(LLAMA, "{\"hidden_size\":null}", "\"hidden_size\" is missing");
    refuse(LLAMA, "{\"vocab_size\":\"97\"}", "\"vocab_size\" wants an integer, got \"97\"");
    refuse(LLAMA, "{\"vocab_size\":-2}", "\"vocab_size\" wants a count, got -2");
    refuse(LLAMA, "{\"vocab_size\":0}", "vocab=0");
    refuse(LLAMA, "{\"num_key_value_heads\":3}", "kv_heads=3 does not divide heads=4");
    refuse(LLAMA, "{\"num_attention_heads\":5}", "width of 32 cannot be split over 5 heads");
    refuse(LLAMA, "{\"num_attention_heads\":0}", "heads");
    refuse(LLAMA, "{\"rms_norm_eps\":\"small\"}", "\"rms_norm_eps\" wants a number");
    refuse(LLAMA, "{\"tie_word_embeddings\":1}", "\"tie_word_embeddings\" wants true or false");
    refuse(LLAMA, "{\"eos_token_id\":-3}", "\"eos_token_id\" wants a token id");
    refuse(LLAMA, "{\"eos_token_id\":[1,\"x\"]}", "\"eos_token_id\" wants a token id");
    refuse(LLAMA, "{\"architectures\":[\"LlamaForTokenClassification\"]}", "LlamaForTokenClassif");
    refuse(LLAMA, "{\"architectures\":[\"BertForCausalLM\"]}", "BertForCausalLM");
    refuse(GPT2, "{\"n_head\":null}", "\"n_head\" is missing");
}

Test(hf_config, keys_that_change_numbers_are_refused_by_name)
{
    const char *const extra[] = {
        "{\"quantization_config\":{\"bits\":4}}",
        "{\"num_local_experts\":8}",
        "{\"num_experts\":8}",
        "{\"partial_rotary_factor\":0.5}",
        "{\"logit_scale\":0.0625}",
        "{\"clip_qkv\":8.0}",
        "{\"attn_logit_softcapping\":50.0}",
        "{\"rope_interleaved\":true}",
        "{\"residual_multiplier\":0.22}",
        "{\"use_bidirectional_attention\":true}",
        "{\"per_layer_config\":{\"0\":{}}}",
        "{\"hidden_act\":\"relu\"}",
    };
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++) {
        char key[64];
        sscanf(extra[i], "{\"%63[^\"]", key);
        refuse(LLAMA, extra[i], key);
    }
    refuse(GPT2, "{\"scale_attn_weights\":false}",
           "\"scale_attn_weights\": false is not supported");
    refuse(GPT2, "{\"scale_attn_by_inverse_layer_idx\":true}", "scale_attn_by_inverse_layer_idx");
    refuse(GPT2, "{\"activation_function\":\"silu\"}", "\"activation_function\": \"silu\"");
    /* and their neutral values are not */
    struct plumb_hf_config c = take(LLAMA,
                                    "{\"logit_scale\":1,\"num_experts\":0,\"pruned_heads\":{},"
                                    "\"partial_rotary_factor\":1.0,\"quantization_config\":null,"
                                    "\"rope_interleaved\":false}");
    cr_expect_str_eq(log_text, "");
    plumb_hf_config_release(&c);
}

Test(hf_config, dropout_is_reported_and_its_check_names_it)
{
    struct plumb_hf_config c = take(LLAMA, "{\"attention_dropout\":0.0}");
    cr_expect_eq(plumb_hf_config_check_dropout(&c), PLUMB_OK);
    plumb_hf_config_release(&c);
    c = take(LLAMA, "{\"attention_dropout\":0.1}");
    cr_expect_eq(plumb_hf_config_check_dropout(&c), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "\"attention_dropout\" is 0.1"), "%s", plumb_errmsg());
    plumb_hf_config_release(&c);
    c = take(GPT2, "{\"attn_pdrop\":0,\"embd_pdrop\":0,\"resid_pdrop\":0.2}");
    cr_expect_eq(plumb_hf_config_check_dropout(&c), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "\"resid_pdrop\" is 0.2"), "%s", plumb_errmsg());
    plumb_hf_config_release(&c);
    refuse(LLAMA, "{\"attention_dropout\":-1}", "\"attention_dropout\" wants a probability");
}

Test(hf_config, unknown_keys_are_a_warning_that_names_them)
{
    struct plumb_hf_config c = take(LLAMA, "{\"strange_thing\":3,\"use_cache\":true,\"odd\":[]}");
    cr_expect(strstr(log_text, "\"strange_thing\", \"odd\""), "%s", log_text);
    cr_expect(!strstr(log_text, "use_cache"));
    plumb_hf_config_release(&c);
    c = take(LLAMA, "{\"n_embd\":7}");
    cr_expect(strstr(log_text, "\"n_embd\""), "a key of another family is unknown too: %s",
              log_text);
    plumb_hf_config_release(&c);
}

Test(hf_config, rope_settings_old_and_new)
{
    struct plumb_hf_config c = take(LLAMA,
                                    "{\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"linear\","
                                    "\"factor\":4.0}}");
    cr_expect(c.model.rope_theta == 5e5 && c.model.rope_scaling == PLUMB_ROPE_LINEAR);
    cr_expect_eq(c.model.rope_factor, 4);
    plumb_hf_config_release(&c);
    c = take(LLAMA,
             "{\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":5e5,\"factor\":8.0,"
             "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
             "\"original_max_position_embeddings\":8192}}");
    cr_expect(c.model.rope_scaling == PLUMB_ROPE_LLAMA3 && c.model.rope_theta == 5e5);
    cr_expect(c.model.rope_factor == 8 && c.model.rope_low_freq_factor == 1 &&
              c.model.rope_high_freq_factor == 4 && c.model.rope_original_positions == 8192);
    plumb_hf_config_release(&c);
    c = take(LLAMA, "{\"rope_scaling\":null,\"rope_parameters\":{\"rope_type\":\"default\","
                    "\"rope_theta\":1e6}}");
    cr_expect(c.model.rope_theta == 1e6 && c.model.rope_scaling == PLUMB_ROPE_DEFAULT);
    plumb_hf_config_release(&c);
    const char *neox = "{\"model_type\":\"gpt_neox\",\"architectures\":[],\"hidden_act\":\"gelu\",";
    char extra[256];
    snprintf(extra, sizeof extra, "%s\"rotary_pct\":1.0,\"rotary_emb_base\":500}", neox);
    c = take(LLAMA, extra);
    cr_expect(c.model.rope_dims == 8 && c.model.rope_theta == 500);
    plumb_hf_config_release(&c);
    snprintf(extra, sizeof extra, "%s\"rope_parameters\":{\"partial_rotary_factor\":0.5}}", neox);
    c = take(LLAMA, extra);
    cr_expect(c.model.rope_dims == 4 && c.model.rope_theta == 1e4);
    plumb_hf_config_release(&c);
}

Test(hf_config, other_rope_settings_are_refused)
{
    refuse(LLAMA, "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4}}", "rope type \"yarn\"");
    refuse(LLAMA, "{\"rope_parameters\":{\"rope_type\":\"dynamic\",\"factor\":4}}", "\"dynamic\"");
    refuse(LLAMA, "{\"rope_scaling\":{\"type\":\"linear\"}}", "\"rope_scaling\" lacks \"factor\"");
    refuse(LLAMA, "{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8}}",
           "lacks \"low_freq_factor\"");
    refuse(LLAMA, "{\"rope_scaling\":4}", "\"rope_scaling\" wants an object");
    refuse(LLAMA, "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", "rope_factor=0");
    refuse(LLAMA, "{\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}}",
           "layers");
    refuse(LLAMA, "{\"rope_parameters\":{\"partial_rotary_factor\":0.5}}", "partial_rotary_factor");
    refuse(LLAMA, "{\"rope_theta\":-1}", "rope_theta=-1");
}

#define QWEN2 "{\"model_type\":\"qwen2\",\"architectures\":[],\"num_key_value_heads\":4,"

Test(hf_config, windows_of_the_first_layers_or_all)
{
    struct plumb_hf_config c = take(
        LLAMA, QWEN2 "\"use_sliding_window\":true,\"sliding_window\":8,\"max_window_layers\":0}");
    cr_expect(c.model.window == 8 && c.model.window_layers == 3);
    plumb_hf_config_release(&c);
    c = take(LLAMA,
             QWEN2 "\"use_sliding_window\":true,\"sliding_window\":8,\"max_window_layers\":3}");
    cr_expect(c.model.window == 0 && c.model.window_layers == 0);
    plumb_hf_config_release(&c);
    c = take(LLAMA, QWEN2 "\"use_sliding_window\":true,\"sliding_window\":8,\"layer_types\":["
                          "\"sliding_attention\",\"sliding_attention\",\"full_attention\"]}");
    cr_expect(c.model.window == 8 && c.model.window_layers == 2);
    plumb_hf_config_release(&c);
    refuse(LLAMA, QWEN2 "\"use_sliding_window\":true,\"max_window_layers\":1}",
           "\"max_window_layers\": a sliding window from layer 1 on");
    refuse(LLAMA,
           QWEN2 "\"use_sliding_window\":true,\"layer_types\":[\"full_attention\","
                 "\"sliding_attention\",\"full_attention\"]}",
           "\"layer_types\": a sliding window from layer 1 on");
    refuse(LLAMA, "{\"layer_types\":[\"full_attention\"]}", "\"layer_types\" wants a list of 3");
    refuse(LLAMA, "{\"layer_types\":[\"chunked_attention\",\"\",\"\"]}", "chunked_attention");
    refuse(LLAMA, "{\"layer_types\":[\"sliding_attention\",\"full_attention\",\"full_attention\"]}",
           "contradicts \"sliding_window\"");
}

Test(hf_config, score_heads_count_their_labels)
{
    const char *one = "{\"architectures\":[\"LlamaForSequenceClassification\"],\"id2label\":"
                      "{\"0\":\"LABEL_0\"}}";
    struct plumb_hf_config c = take(LLAMA, one);
    cr_expect_eq(c.model.num_labels, 1);
    plumb_hf_config_release(&c);
    c = take(LLAMA, "{\"architectures\":[\"LlamaForSequenceClassification\"]}");
    cr_expect_eq(c.model.num_labels, 2, "the default of transformers");
    plumb_hf_config_release(&c);
    c = take(LLAMA, "{\"id2label\":{\"0\":\"a\",\"1\":\"b\",\"2\":\"c\"}}");
    cr_expect_eq(c.model.num_labels, 0, "a language model ignores labels");
    plumb_hf_config_release(&c);
}

Test(hf_config, several_ends_of_text)
{
    struct plumb_hf_config c = take(LLAMA, "{\"eos_token_id\":[5,7],\"torch_dtype\":\"bfloat16\"}");
    cr_expect(c.eos_count == 2 && c.eos[0] == 5 && c.eos[1] == 7 && c.model.eos_id == 5);
    cr_expect_eq(c.dtype, PLUMB_BF16);
    plumb_hf_config_release(&c);
}

Test(hf_config, a_saved_config_keeps_keys_and_reads_back)
{
    struct plumb_hf_config c = take(LLAMA, "{\"torch_dtype\":\"float32\",\"use_cache\":true}");
    c.model.num_labels = 1;
    cJSON *saved = plumb_hf_config_saved(&c, PLUMB_BF16);
    cr_assert_not_null(saved);
    char *text = cJSON_Print(saved);
    struct plumb_hf_config back;
    cr_assert_eq(plumb_hf_config_parse(&back, text, strlen(text), "saved"), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect(back.model.num_labels == 1 && back.dtype == PLUMB_BF16);
    cr_expect(cJSON_IsTrue(plumb_json_get(saved, "use_cache")));
    cr_expect_eq(memcmp(&back.model, &c.model, sizeof c.model), 0);
    cJSON_free(text);
    cJSON_Delete(saved);
    plumb_hf_config_release(&back);
    plumb_hf_config_release(&c);
}

Test(hf_config, a_saved_config_spells_numbers_as_before)
{
    struct plumb_hf_config c;
    const char *text = "{\"model_type\":\"llama\",\"vocab_size\":97,\"hidden_size\":32,"
                       "\"odd \\\"7\":[\"1.0\",-1.50e+01],\"intermediate_size\":48,"
                       "\"num_hidden_layers\":3,\"num_attention_heads\":4,"
                       "\"max_position_embeddings\":64,\"rope_scaling\":{\"type\":\"linear\","
                       "\"factor\":4.0},\"rms_norm_eps\":1e-05,\"attention_dropout\":0.0}";
    cr_assert_eq(plumb_hf_config_parse(&c, text, strlen(text), "c"), PLUMB_OK, "%s",
                 plumb_errmsg());
    cJSON *saved = plumb_hf_config_saved(&c, PLUMB_F32);
    char *out = cJSON_PrintUnformatted(saved);
    char want[1024];
    snprintf(want, sizeof want,
             "%.*s,\"architectures\":[\"LlamaForCausalLM\"],\"torch_dtype\":\"float32\"}",
             (int)strlen(text) - 1, text);
    cr_expect_str_eq(out, want);
    cJSON_free(out);
    cJSON_Delete(saved);
    plumb_hf_config_release(&c);
}

Test(hf_config, the_folders_of_the_shared_data_are_read)
{
    static const char *const names[] = { "tiny-random-own/llama", "tiny-random-own/mistral",
                                         "tiny-random-own/qwen2", "tiny-random-own/qwen3",
                                         "tiny-random-own/gpt2",  "tiny-random-own/gpt_neox",
                                         "stories260K/hf",        "babyllama105/hf" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[256], dir[4096];
        snprintf(name, sizeof name, "data/models/%s", names[i]);
        if (!shared_path(dir, sizeof dir, name)) return;
        struct plumb_hf_config c;
        cr_expect_eq(plumb_hf_config_read(&c, dir), PLUMB_OK, "%s", plumb_errmsg());
        cr_expect_str_eq(log_text, "", "%s", log_text);
        if (i == 6)
            cr_expect(c.eos_count == 2 && c.eos[0] == 1 && c.eos[1] == 2 && c.model.eos_id == 2);
        plumb_hf_config_release(&c);
    }
}

Test(hf_config, a_folder_without_config_is_named)
{
    struct plumb_hf_config c;
    cr_expect_eq(plumb_hf_config_read(&c, "/nonexistent"), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "/nonexistent/config.json"), "%s", plumb_errmsg());
}
