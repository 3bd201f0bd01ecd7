/* Small model folders with known numbers, made for tests. */
#pragma once
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/hf_config.h"
#include "io/hf_names.h"
#include "io/safetensors.h"

static const char *const made_configs[] = {
    "{\"model_type\":\"llama\",\"vocab_size\":11,\"hidden_size\":8,\"intermediate_size\":6,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
    "\"max_position_embeddings\":16,\"attention_bias\":true,\"mlp_bias\":true}",
    "{\"model_type\":\"qwen3\",\"vocab_size\":11,\"hidden_size\":8,\"intermediate_size\":6,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":6,"
    "\"max_position_embeddings\":16,\"tie_word_embeddings\":true}",
    "{\"model_type\":\"gpt2\",\"vocab_size\":11,\"n_embd\":8,\"n_layer\":2,\"n_head\":2,"
    "\"n_positions\":16}",
    "{\"model_type\":\"gpt_neox\",\"vocab_size\":11,\"hidden_size\":8,\"intermediate_size\":6,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"max_position_embeddings\":16,"
    "\"rotary_pct\":0.5}",
    "{\"model_type\":\"gemma\",\"vocab_size\":11,\"hidden_size\":8,\"intermediate_size\":6,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":4,"
    "\"max_position_embeddings\":16}",
};
enum { MADE_LLAMA, MADE_QWEN3, MADE_GPT2, MADE_NEOX, MADE_GEMMA, MADE_FAMILIES };

/* Tensors of a config; element i of tensor k is made_value(k, i), but for one fault. Zero it before
 * made_init, which may be repeated; end with plumb_hf_config_release(&m.config). */
struct made {
    struct plumb_hf_config config;
    struct plumb_weight tensors[128];
    char names[128][96];
    int64_t count;
    int64_t bad_tensor, bad_element; /* holds bad_value; -1 = none */
    double bad_value;
};

static inline double made_value(int64_t tensor, int64_t i)
{
    return (double)(tensor * 1000 + i) / 64;
}

static inline int made_read(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                            double *out)
{
    const struct made *m = w->self;
    for (int64_t i = 0; i < n; i++) {
        const bool bad = index == m->bad_tensor && first + i == m->bad_element;
        out[i] = bad ? m->bad_value : made_value(index, first + i);
    }
    return PLUMB_OK;
}

static inline void made_init(struct made *m, const char *config)
{
    static struct plumb_param params[128];
    static struct plumb_hf_tensor tensors[128];
    int64_t params_count, elements;
    plumb_hf_config_release(&m->config);
    *m = (struct made){ .bad_tensor = -1 };
    cr_assert_eq(plumb_hf_config_parse(&m->config, config, strlen(config), "made"), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_assert_eq(plumb_model_params(&m->config.model, params, 128, &params_count, &elements),
                 PLUMB_OK);
    cr_assert_eq(plumb_hf_tensors(m->config.family, &m->config.model, params, params_count, tensors,
                                  &m->count),
                 PLUMB_OK);
    for (int64_t k = 0; k < m->count; k++) {
        memcpy(m->names[k], tensors[k].name, sizeof m->names[k]);
        m->tensors[k] = (struct plumb_weight){ .name = m->names[k],
                                               .dtype = "F32",
                                               .rank = tensors[k].rank };
        m->tensors[k].count = tensors[k].shape[0] *
                              (tensors[k].rank == 2 ? tensors[k].shape[1] : 1);
        memcpy(m->tensors[k].shape, tensors[k].shape, sizeof tensors[k].shape);
    }
}

static inline int64_t made_find(const struct made *m, const char *name)
{
    for (int64_t k = 0; k < m->count; k++)
        if (strcmp(m->names[k], name) == 0) return k;
    cr_assert_fail("no tensor %s", name);
    return -1;
}

static inline void made_write(const struct made *m, const char *dir)
{
    char path[1024];
    const struct plumb_weights w = { .tensor = m->tensors,
                                     .count = m->count,
                                     .read = made_read,
                                     .self = (void *)m };
    char *text = cJSON_Print(m->config.json);
    cr_assert_eq(plumb_dir_make(dir), PLUMB_OK);
    cr_assert_eq(plumb_safetensors_write_folder(dir, &w, PLUMB_F32, 0), PLUMB_OK, "%s",
                 plumb_errmsg());
    snprintf(path, sizeof path, "%s/config.json", dir);
    cr_assert_eq(plumb_file_write(path, text, strlen(text)), PLUMB_OK);
    cJSON_free(text);
}
