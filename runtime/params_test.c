#include <criterion/criterion.h>
#include <math.h>
#include <plumb/model.h>
#include <stdlib.h>
#include <string.h>

/* A valid Llama-like config; the tests spoil one field each. */
static struct plumb_model_config llama(void)
{
    return (struct plumb_model_config){ .family = "llama",
                                        .vocab = 97,
                                        .width = 33,
                                        .layers = 2,
                                        .heads = 4,
                                        .kv_heads = 2,
                                        .head_size = 8,
                                        .ffn = 48,
                                        .max_positions = 64,
                                        .norm_eps = 1e-5,
                                        .rope = PLUMB_ROPE_HALF,
                                        .rope_dims = 8,
                                        .rope_theta = 1e4,
                                        .embed_scale = 1,
                                        .attention_scale = 0.35,
                                        .logit_scale = 1 };
}

struct made {
    struct plumb_param p[128];
    int64_t count, elements, used; /* used: elements without padding */
};

static struct made make(const struct plumb_model_config *c)
{
    struct made m = { 0 };
    cr_assert_leq(plumb_model_param_capacity(c), 128);
    cr_assert_eq(plumb_model_params(c, m.p, plumb_model_param_capacity(c), &m.count, &m.elements),
                 PLUMB_OK, "%s", plumb_errmsg());
    for (int64_t i = 0; i < m.count; i++)
        m.used += m.p[i].rows * m.p[i].cols;
    return m;
}

static int count_of(const struct made *m, enum plumb_role role)
{
    int n = 0;
    for (int64_t i = 0; i < m->count; i++)
        n += m->p[i].role == role;
    return n;
}

Test(params, ranges_are_aligned_and_do_not_overlap)
{
    const struct plumb_model_config c = llama();
    const struct made m = make(&c);
    int64_t at = 0;
    for (int64_t i = 0; i < m.count; i++) {
        cr_expect_eq(m.p[i].offset % 32, 0);
        cr_expect_eq(m.p[i].offset, (at + 31) / 32 * 32);
        at = m.p[i].offset + m.p[i].rows * m.p[i].cols;
    }
    cr_expect_eq(m.elements, (at + 31) / 32 * 32);
    /* embedding and head, per layer q, k, v, o, gate, up, down and two norms, final norm */
    const int64_t layer = (4 + 2 + 2) * 8 * 33 + 33 * 32 + 3 * 48 * 33 + 2 * 33;
    cr_expect_eq(m.used, 2 * 97 * 33 + 2 * layer + 33);
}

Test(params, layers_stand_between_embedding_and_head_in_decay_groups)
{
    const struct plumb_model_config c = llama();
    const struct made m = make(&c);
    cr_expect_eq(m.p[0].role, PLUMB_ROLE_EMBED);
    cr_expect_eq(m.p[m.count - 1].role, PLUMB_ROLE_HEAD);
    cr_expect_eq(m.p[m.count - 2].role, PLUMB_ROLE_NORMF);
    int changes = 0;
    for (int64_t i = 1; i < m.count; i++) {
        changes += m.p[i].decay != m.p[i - 1].decay;
        if (m.p[i].layer >= 0) cr_expect_geq(m.p[i].layer, m.p[i - 1].layer);
    }
    /* decayed: embedding and layer 0; layer 1; head. The final norm joins the norms of layer 1. */
    cr_expect_eq(changes, 4);
}

Test(params, matrices_decay_and_vectors_do_not)
{
    struct plumb_model_config c = llama();
    c.norm = PLUMB_NORM_LAYER;
    c.act = PLUMB_ACT_GELU_TANH;
    c.learned_positions = c.qkv_bias = c.o_bias = c.mlp_bias = c.lm_head_bias = c.qk_norm = true;
    const struct made m = make(&c);
    cr_expect_eq(m.count, 2 + 2 * PLUMB_PARAMS_PER_LAYER + 4);
    cr_expect_eq(m.count, plumb_model_param_capacity(&c), "the bound is reached");
    for (int64_t i = 0; i < m.count; i++)
        cr_expect_eq(m.p[i].decay, m.p[i].rows > 1);
    for (int64_t i = 0; i < m.count; i++)
        if (m.p[i].role == PLUMB_ROLE_UP) cr_expect_eq(m.p[i].rows, c.ffn, "no gate");
}

Test(params, tied_and_score_heads_replace_the_output_head)
{
    struct plumb_model_config c = llama();
    c.tied = true;
    struct made m = make(&c);
    cr_expect_eq(count_of(&m, PLUMB_ROLE_HEAD), 0);
    c.tied = false;
    c.num_labels = 1;
    m = make(&c);
    cr_expect_eq(count_of(&m, PLUMB_ROLE_HEAD), 0);
    cr_expect_eq(count_of(&m, PLUMB_ROLE_SCORE), 1);
    cr_expect(m.p[m.count - 1].decay && m.p[m.count - 1].rows == 1 && m.p[m.count - 1].cols == 33);
}

static void refuse(const struct plumb_model_config *c, const char *text)
{
    struct plumb_param p[128];
    int64_t count, elements;
    cr_expect_eq(plumb_model_params(c, p, 128, &count, &elements), PLUMB_EINVAL, "%s", text);
    cr_expect(strstr(plumb_errmsg(), text), "wanted \"%s\", got: %s", text, plumb_errmsg());
}

#define REFUSE(field, value, text)                                                                 \
    do {                                                                                           \
        struct plumb_model_config c = llama();                                                     \
        c.field = value;                                                                           \
        refuse(&c, text);                                                                          \
    } while (0)

Test(params, impossible_configs_name_the_field)
{
    REFUSE(vocab, 0, "vocab=0");
    REFUSE(vocab, INT64_MAX, "vocab=9223372036854775807");
    REFUSE(width, -1, "width=-1");
    REFUSE(layers, 0, "layers=0");
    REFUSE(layers, INT64_MAX, "layers=");
    REFUSE(heads, 0, "heads=0");
    REFUSE(kv_heads, 3, "kv_heads=3 does not divide heads=4");
    REFUSE(kv_heads, 8, "kv_heads=8");
    REFUSE(head_size, 0, "head_size=0");
    REFUSE(head_size, INT32_MAX, "too wide");
    REFUSE(ffn, 0, "ffn=0");
    REFUSE(max_positions, 0, "max_positions=0");
    REFUSE(norm_eps, -1e-5, "norm_eps=");
    REFUSE(norm_eps, NAN, "norm_eps=");
    REFUSE(norm_offset, INFINITY, "norm_offset=");
    REFUSE(rope_dims, 7, "rope_dims=7");
    REFUSE(rope_dims, 10, "rope_dims=10");
    REFUSE(rope_theta, 0, "rope_theta=0");
    REFUSE(rope_scaling, PLUMB_ROPE_LINEAR, "rope_factor=0");
    REFUSE(window_layers, 3, "window_layers=3");
    REFUSE(window_layers, 1, "window=0");
    REFUSE(embed_scale, 0, "embed_scale=0");
    REFUSE(attention_scale, NAN, "attention_scale=");
    REFUSE(logit_scale, INFINITY, "logit_scale=");
    REFUSE(final_softcap, -1, "final_softcap=-1");
    REFUSE(num_labels, -1, "num_labels=-1");
    REFUSE(act, (enum plumb_act_kind)99, "act=99");
    struct plumb_model_config c = llama();
    c.vocab = c.width = INT32_MAX;
    refuse(&c, "more than 2^46");
    c = llama();
    c.rope_scaling = PLUMB_ROPE_LLAMA3;
    c.rope_factor = 8;
    refuse(&c, "rope_low_freq_factor=0");
    c.rope_low_freq_factor = c.rope_high_freq_factor = 1;
    refuse(&c, "rope_high_freq_factor=1");
    c.rope_high_freq_factor = 4;
    refuse(&c, "rope_original_positions=0");
}

Test(params, too_little_room_is_an_error)
{
    const struct plumb_model_config c = llama();
    struct plumb_param p[3];
    int64_t count, elements;
    cr_expect_eq(plumb_model_params(&c, p, 3, &count, &elements), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "room for 3"), "%s", plumb_errmsg());
}
