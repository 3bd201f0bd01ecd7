/* The table of tensor names, one row per role and family. */
#include "io/hf_names.h"

#include <stdio.h>
#include <string.h>

/* Which rows of the parameter a tensor holds, and how. */
enum part {
    WHOLE,
    QUERY,
    KEY,
    VALUE, /* thirds of QKV */
    GATE,
    UP,     /* halves of UP */
    TURNED, /* whole, transposed */
    FUSED   /* whole, q, k and v of a head together */
};

struct row {
    unsigned families;
    enum plumb_role role;
    enum part part;
    const char *name; /* below "<prefix>" or "<prefix><layers>.<i>." */
    const char *alias;
};

#define MODERN                                                                                     \
    (PLUMB_HF_LLAMA | PLUMB_HF_MISTRAL | PLUMB_HF_QWEN2 | PLUMB_HF_QWEN3 | PLUMB_HF_GEMMA)
#define GPT2 PLUMB_HF_GPT2
#define NEOX PLUMB_HF_NEOX
#define R(role) PLUMB_ROLE_##role

/* clang-format off */
static const struct row rows[] = {
    { MODERN, R(EMBED), WHOLE, "embed_tokens.weight" },
    { MODERN, R(NORM1), WHOLE, "input_layernorm.weight" },
    { MODERN, R(QKV), QUERY, "self_attn.q_proj.weight" },
    { MODERN, R(QKV), KEY, "self_attn.k_proj.weight" },
    { MODERN, R(QKV), VALUE, "self_attn.v_proj.weight" },
    { MODERN, R(QKV_BIAS), QUERY, "self_attn.q_proj.bias" },
    { MODERN, R(QKV_BIAS), KEY, "self_attn.k_proj.bias" },
    { MODERN, R(QKV_BIAS), VALUE, "self_attn.v_proj.bias" },
    { MODERN, R(QNORM), WHOLE, "self_attn.q_norm.weight" },
    { MODERN, R(KNORM), WHOLE, "self_attn.k_norm.weight" },
    { MODERN, R(O), WHOLE, "self_attn.o_proj.weight" },
    { MODERN, R(O_BIAS), WHOLE, "self_attn.o_proj.bias" },
    { MODERN, R(NORM2), WHOLE, "post_attention_layernorm.weight" },
    { MODERN, R(UP), GATE, "mlp.gate_proj.weight" },
    { MODERN, R(UP), UP, "mlp.up_proj.weight" },
    { MODERN, R(UP_BIAS), GATE, "mlp.gate_proj.bias" },
    { MODERN, R(UP_BIAS), UP, "mlp.up_proj.bias" },
    { MODERN, R(DOWN), WHOLE, "mlp.down_proj.weight" },
    { MODERN, R(DOWN_BIAS), WHOLE, "mlp.down_proj.bias" },
    { MODERN, R(NORMF), WHOLE, "norm.weight" },

    { GPT2, R(EMBED), WHOLE, "wte.weight" },
    { GPT2, R(POSITION), WHOLE, "wpe.weight" },
    { GPT2, R(NORM1), WHOLE, "ln_1.weight" },
    { GPT2, R(NORM1_BIAS), WHOLE, "ln_1.bias" },
    { GPT2, R(QKV), TURNED, "attn.c_attn.weight" },
    { GPT2, R(QKV_BIAS), WHOLE, "attn.c_attn.bias" },
    { GPT2, R(O), TURNED, "attn.c_proj.weight" },
    { GPT2, R(O_BIAS), WHOLE, "attn.c_proj.bias" },
    { GPT2, R(NORM2), WHOLE, "ln_2.weight" },
    { GPT2, R(NORM2_BIAS), WHOLE, "ln_2.bias" },
    { GPT2, R(UP), TURNED, "mlp.c_fc.weight" },
    { GPT2, R(UP_BIAS), WHOLE, "mlp.c_fc.bias" },
    { GPT2, R(DOWN), TURNED, "mlp.c_proj.weight" },
    { GPT2, R(DOWN_BIAS), WHOLE, "mlp.c_proj.bias" },
    { GPT2, R(NORMF), WHOLE, "ln_f.weight" },
    { GPT2, R(NORMF_BIAS), WHOLE, "ln_f.bias" },

    { NEOX, R(EMBED), WHOLE, "embed_in.weight" },
    { NEOX, R(NORM1), WHOLE, "input_layernorm.weight" },
    { NEOX, R(NORM1_BIAS), WHOLE, "input_layernorm.bias" },
    { NEOX, R(QKV), FUSED, "attention.query_key_value.weight" },
    { NEOX, R(QKV_BIAS), FUSED, "attention.query_key_value.bias" },
    { NEOX, R(O), WHOLE, "attention.dense.weight" },
    { NEOX, R(O_BIAS), WHOLE, "attention.dense.bias" },
    { NEOX, R(NORM2), WHOLE, "post_attention_layernorm.weight" },
    { NEOX, R(NORM2_BIAS), WHOLE, "post_attention_layernorm.bias" },
    { NEOX, R(UP), WHOLE, "mlp.dense_h_to_4h.weight" },
    { NEOX, R(UP_BIAS), WHOLE, "mlp.dense_h_to_4h.bias" },
    { NEOX, R(DOWN), WHOLE, "mlp.dense_4h_to_h.weight" },
    { NEOX, R(DOWN_BIAS), WHOLE, "mlp.dense_4h_to_h.bias" },
    { NEOX, R(NORMF), WHOLE, "final_layer_norm.weight" },
    { NEOX, R(NORMF_BIAS), WHOLE, "final_layer_norm.bias" },

    /* Heads stand outside the base model and take no prefix. */
    { MODERN | GPT2, R(HEAD), WHOLE, "lm_head.weight" },
    { NEOX, R(HEAD), WHOLE, "embed_out.weight", "lm_head.weight" },
    { PLUMB_HF_ALL, R(SCORE), WHOLE, "score.weight" },
};
/* clang-format on */

/* The rows of the parameter that a part holds: *first and *count of `all`. */
static void part_rows(const struct plumb_model_config *c, enum part part, int64_t all,
                      int64_t *first, int64_t *count)
{
    const int64_t q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    *first = part == KEY ? q : part == VALUE ? q + kv : part == UP ? all / 2 : 0;
    *count = part == QUERY                  ? q
             : part == KEY || part == VALUE ? kv
             : part == GATE || part == UP   ? all / 2
                                            : all;
}

static void make(const struct plumb_hf_family *f, const struct plumb_model_config *c,
                 const struct row *r, const struct plumb_param *p, int64_t param,
                 struct plumb_hf_tensor *t)
{
    const bool matrix = p->decay; /* only matrices do */
    const int64_t all = matrix ? p->rows : p->cols;
    int64_t first;
    *t = (struct plumb_hf_tensor){ .param = param,
                                   .alias = r->alias,
                                   .unit = matrix ? p->cols : 1 };
    part_rows(c, r->part, all, &first, &t->rows);
    t->offset = p->offset + first * t->unit;
    t->transposed = matrix && r->part == TURNED;
    t->rank = matrix ? 2 : 1;
    t->shape[0] = t->transposed ? t->unit : t->rows;
    t->shape[1] = t->transposed ? t->rows : t->unit;
    if (r->part == FUSED) {
        t->heads = c->heads;
        t->head = c->head_size;
    }
    if (r->role >= PLUMB_ROLE_HEAD)
        snprintf(t->name, sizeof t->name, "%s", r->name);
    else if (p->layer < 0)
        snprintf(t->name, sizeof t->name, "%s%s", f->tensors, r->name);
    else
        snprintf(t->name, sizeof t->name, "%s%s.%d.%s", f->tensors, f->bit == GPT2 ? "h" : "layers",
                 (int)p->layer, r->name);
}

int plumb_hf_tensors(const struct plumb_hf_family *f, const struct plumb_model_config *c,
                     const struct plumb_param *params, int64_t count, struct plumb_hf_tensor *out,
                     int64_t *tensors)
{
    *tensors = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t before = *tensors;
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
            if (rows[k].families & f->bit && rows[k].role == params[i].role)
                make(f, c, &rows[k], &params[i], i, &out[(*tensors)++]);
        if (*tensors == before)
            return plumb_fail(PLUMB_ENOTSUP, "%s has no tensor name for parameter role %d",
                              f->model_type, (int)params[i].role);
    }
    return PLUMB_OK;
}

int64_t plumb_hf_place(const struct plumb_hf_tensor *t, int64_t r, int64_t c)
{
    int64_t row = t->transposed ? c : r;
    const int64_t column = t->transposed ? r : c;
    if (t->heads) { /* (head, q/k/v, i) of the file is (q/k/v, head, i) here */
        const int64_t K = t->head, head = row / (3 * K), which = row / K % 3;
        row = (which * t->heads + head) * K + row % K;
    }
    return t->offset + row * t->unit + column;
}

bool plumb_hf_is_buffer(const char *name)
{
    static const char *const ends[] = { ".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias",
                                        ".attention.bias", ".attention.masked_bias" };
    const size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t e = strlen(ends[i]);
        if (n >= e && strcmp(name + n - e, ends[i]) == 0) return true;
    }
    return false;
}
