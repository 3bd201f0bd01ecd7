/* Models written as GGUF files and read again: equal where nothing is rounded, within the rounding
 * elsewhere; what does not fit is refused by name. */
#include "io/gguf_export.h"

#include <math.h>
#include <plumb/log.h>

#include "io/gguf_model.h"
#include "io/tokenizer.h"
#include "tests/made_model.h"
#include "tests/shared.h"

static char root[] = "/tmp/plumb_export_XXXXXX";

/* That the files get no tokenizer is said for each. */
static void ignore(void *ctx, enum plumb_log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    (void)text;
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(root));
    plumb_log_receiver(ignore, NULL);
}

static const char *in_root(const char *name)
{
    static char path[4][300];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static void teardown(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", root);
    cr_expect_eq(system(command), 0);
}

TestSuite(gguf_export, .init = setup, .fini = teardown);

static void open_made(struct plumb_hf_model *m, struct made *made, const char *config)
{
    made_init(made, config);
    made_write(made, in_root("a"));
    cr_assert_eq(plumb_hf_model_open(m, in_root("a"), 0), PLUMB_OK, "%s", plumb_errmsg());
}

static double *read_flat(const struct plumb_hf_model *m)
{
    double *flat = calloc((size_t)m->elements, sizeof *flat);
    cr_assert_eq(plumb_hf_model_read(m, PLUMB_F64, flat, false), PLUMB_OK, "%s", plumb_errmsg());
    return flat;
}

/* Exports m and opens the file. */
static void pass(const struct plumb_hf_model *m, enum plumb_gguf_store store,
                 struct plumb_hf_model *back)
{
    const char *path = in_root("m.gguf");
    cr_assert_eq(plumb_gguf_export(m, store, path), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_hf_model_open(back, path, 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(back->elements, m->elements);
}

static const char mistral[] =
    "{\"model_type\":\"mistral\",\"vocab_size\":11,\"hidden_size\":8,\"intermediate_size\":6,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
    "\"max_position_embeddings\":16,\"sliding_window\":4}";
static const char qwen2[] =
    "{\"model_type\":\"qwen2\",\"vocab_size\":11,\"hidden_size\":8,\"intermediate_size\":6,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
    "\"max_position_embeddings\":16,\"rope_theta\":1000000.0}";
static const char llama3[] =
    "{\"model_type\":\"llama\",\"vocab_size\":11,\"hidden_size\":64,\"intermediate_size\":6,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
    "\"tie_word_embeddings\":true,\"max_position_embeddings\":131072,\"rope_theta\":500000.0,"
    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32.0,\"low_freq_factor\":1.0,"
    "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}}";
static const char linear[] =
    "{\"model_type\":\"llama\",\"vocab_size\":11,\"hidden_size\":8,\"intermediate_size\":6,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"max_position_embeddings\":16,"
    "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.5}}";

/* Everything but the ids of special tokens, which stand in a tokenizer. */
static void same_config(const struct plumb_model_config *a, const struct plumb_model_config *b)
{
    struct plumb_model_config x = *a, y = *b;
    x.bos_id = x.eos_id = x.pad_id = y.bos_id = y.eos_id = y.pad_id = 0;
    cr_expect_eq(memcmp(&x, &y, sizeof x), 0, "%s", a->family);
}

Test(gguf_export, every_family_comes_back_to_the_bit)
{
    const char *const configs[] = { made_configs[MADE_LLAMA],
                                    made_configs[MADE_QWEN3],
                                    made_configs[MADE_GPT2],
                                    made_configs[MADE_NEOX],
                                    made_configs[MADE_GEMMA],
                                    mistral,
                                    qwen2,
                                    llama3,
                                    linear };
    for (size_t f = 0; f < sizeof configs / sizeof *configs; f++)
        for (int half = 0; half < 2; half++) {
            struct plumb_hf_model m, back;
            struct made made = { 0 };
            open_made(&m, &made, configs[f]);
            double *x = read_flat(&m);
            pass(&m, half ? PLUMB_STORE_BF16 : PLUMB_STORE_F32, &back);
            double *y = read_flat(&back);
            same_config(&m.config.model, &back.config.model);
            for (int64_t i = 0; i < m.param_count; i++) {
                const struct plumb_param *p = &m.params[i];
                const bool rounded = half && p->decay && p->role != PLUMB_ROLE_POSITION;
                for (int64_t e = p->offset; e < p->offset + p->rows * p->cols; e++)
                    cr_assert_eq(y[e], rounded ? plumb_dtype_round(PLUMB_BF16, x[e]) : x[e],
                                 "%s, %s", m.config.model.family, plumb_role_name(p->role));
            }
            free(x);
            free(y);
            plumb_hf_model_release(&m);
            plumb_hf_model_release(&back);
            plumb_hf_config_release(&made.config);
        }
}

/* By the definition of the permutation, on one row each: pairs of a head of 4 rows. */
Test(gguf_export, rows_stand_where_llama_cpp_looks_for_them)
{
    static const int half_split[4] = { 0, 2, 1, 3 }; /* row of GGUF -> row of a head here */
    struct plumb_hf_model m;
    struct made made = { 0 };
    struct plumb_gguf g;
    open_made(&m, &made, made_configs[MADE_LLAMA]);
    cr_assert_eq(plumb_gguf_export(&m, PLUMB_STORE_F32, in_root("m.gguf")), PLUMB_OK);
    cr_assert_eq(plumb_gguf_open(&g, in_root("m.gguf")), PLUMB_OK, "%s", plumb_errmsg());
    const struct plumb_gguf_tensor *q =
        &g.tensor[plumb_gguf_tensor_find(&g, "blk.1.attn_q.weight")];
    const struct plumb_gguf_tensor *v =
        &g.tensor[plumb_gguf_tensor_find(&g, "blk.1.attn_v.weight")];
    const int64_t from = made_find(&made, "model.layers.1.self_attn.q_proj.weight");
    const int64_t vs = made_find(&made, "model.layers.1.self_attn.v_proj.weight");
    for (int r = 0; r < 8; r++) {
        double x[8];
        plumb_gguf_read(q, r * 8, 8, x);
        cr_expect_eq(x[3], made_value(from, (r / 4 * 4 + half_split[r % 4]) * 8 + 3));
        if (r < 4) plumb_gguf_read(v, r * 8, 8, x);
        if (r < 4) cr_expect_eq(x[3], made_value(vs, r * 8 + 3));
    }
    plumb_gguf_release(&g);
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

static const char wide[] =
    "{\"model_type\":\"llama\",\"vocab_size\":64,\"hidden_size\":64,\"intermediate_size\":48,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"max_position_embeddings\":16}";

/* Rows of 48 numbers are no blocks of 32: f16. */
Test(gguf_export, q8_0_is_within_its_rounding_and_rows_come_as_they_are_stored)
{
    struct plumb_hf_model m, back;
    struct made made = { 0 };
    open_made(&m, &made, wide);
    double *x = read_flat(&m);
    pass(&m, PLUMB_STORE_Q8_0, &back);
    double *y = read_flat(&back);
    for (int64_t i = 0; i < m.param_count; i++) {
        const struct plumb_param *p = &m.params[i];
        for (int64_t b = p->offset; b < p->offset + p->rows * p->cols; b += 32) {
            double most = 0;
            for (int64_t e = b; e < b + 32; e++)
                most = fmax(most, fabs(x[e]));
            const double step = most / 127 * (0.5 + 127 * 0x1p-11) * (1 + 0x1p-11);
            for (int64_t e = b; e < b + 32; e++)
                cr_assert(p->role == PLUMB_ROLE_DOWN ? y[e] == plumb_dtype_round(PLUMB_F16, x[e])
                          : p->decay                 ? fabs(x[e] - y[e]) <= step
                                                     : x[e] == y[e],
                          "%s: %g became %g", plumb_role_name(p->role), x[e], y[e]);
        }
    }
    const int64_t k = plumb_weights_find(&back.weights, "model.layers.0.self_attn.k_proj.weight");
    const struct plumb_weight *t = &back.weights.tensor[k];
    char rows[2 * 68];
    double want[64];
    float got[64];
    cr_assert(t->quant == PLUMB_Q8_0 && t->bytes == 64 * 68);
    for (int64_t r = 0; r < 64; r++) {
        cr_assert_eq(back.weights.read_rows(&back.weights, k, r, r < 63 ? 2 : 1, rows), PLUMB_OK);
        cr_assert_eq(back.weights.read(&back.weights, k, r * 64, 64, want), PLUMB_OK);
        plumb_dequantize(t->quant, rows, 64, got);
        for (int i = 0; i < 64; i++)
            cr_assert_eq((double)got[i], want[i]);
    }
    free(x);
    free(y);
    plumb_hf_model_release(&m);
    plumb_hf_model_release(&back);
    plumb_hf_config_release(&made.config);
}

Test(gguf_export, a_number_that_a_type_does_not_hold_is_named)
{
    static const struct {
        double value;
        enum plumb_gguf_store store;
        int rc;
    } rows[] = { { 65519, PLUMB_STORE_F16, PLUMB_OK },      { 65520, PLUMB_STORE_F16, PLUMB_ENUM },
                 { 1e30, PLUMB_STORE_BF16, PLUMB_OK },      { 8.4e6, PLUMB_STORE_Q8_0, PLUMB_ENUM },
                 { INFINITY, PLUMB_STORE_F32, PLUMB_ENUM }, { NAN, PLUMB_STORE_F32, PLUMB_ENUM } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct plumb_hf_model m;
        struct made made = { 0 };
        made_init(&made, wide);
        made.bad_tensor = made_find(&made, "lm_head.weight");
        made.bad_element = 70;
        made.bad_value = rows[i].value;
        made_write(&made, in_root("a"));
        cr_assert_eq(plumb_hf_model_open(&m, in_root("a"), 0), PLUMB_OK, "%s", plumb_errmsg());
        cr_expect_eq(plumb_gguf_export(&m, rows[i].store, in_root("n.gguf")), rows[i].rc, "%g",
                     rows[i].value);
        if (rows[i].rc)
            cr_expect(strstr(plumb_errmsg(), "number 70 of tensor \"output.weight\""), "%s",
                      plumb_errmsg());
        cr_expect_eq(plumb_file_exists(in_root("n.gguf")), rows[i].rc == PLUMB_OK);
        cr_expect(!plumb_file_exists(in_root("n.gguf.tmp")));
        remove(in_root("n.gguf"));
        plumb_hf_model_release(&m);
        plumb_hf_config_release(&made.config);
    }
}

Test(gguf_export, what_a_file_cannot_say_is_refused)
{
    struct plumb_hf_model m;
    struct made made = { 0 };
    made_init(&made, "{\"model_type\":\"qwen2\",\"vocab_size\":11,\"hidden_size\":8,"
                     "\"intermediate_size\":6,\"num_hidden_layers\":2,\"num_attention_heads\":2,"
                     "\"num_key_value_heads\":1,\"max_position_embeddings\":16,"
                     "\"use_sliding_window\":true,\"max_window_layers\":0,\"sliding_window\":4}");
    made_write(&made, in_root("a"));
    cr_assert_eq(plumb_hf_model_open(&m, in_root("a"), 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(plumb_gguf_export(&m, PLUMB_STORE_F32, in_root("m.gguf")), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "sliding window"), "%s", plumb_errmsg());
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

/* The ids of a tokenizer and of the one that its arrays make, on running text. */
static void same_tokenizer(const char *folder, int64_t rows, const char *pre)
{
    char path[2000], text[2000];
    struct plumb_text a, b;
    struct plumb_vocabulary v;
    struct plumb_idbuf x = { 0 }, y = { 0 };
    char *stories;
    size_t n;
    if (!shared_path(path, sizeof path, folder) ||
        !shared_path(text, sizeof text, "data/text/tinystories/tiny_stories.txt.gz"))
        return;
    cr_assert_eq(plumb_tokenizer_open(&a, path), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_tokenizer_arrays(&a, rows ? rows : a.vocab_size, &v), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect_str_eq(v.pre, pre);
    cr_assert_eq(plumb_tokenizer_from_arrays(&b, &v), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_file_read(text, 0, &stories, &n), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(a.encode(a.self, stories, n, true, &x), PLUMB_OK);
    cr_assert_eq(b.encode(b.self, stories, n, true, &y), PLUMB_OK);
    cr_expect(x.n == y.n && !memcmp(x.id, y.id, (size_t)x.n * sizeof *x.id), "%s", folder);
    free(stories);
    plumb_idbuf_release(&x);
    plumb_idbuf_release(&y);
    plumb_vocabulary_release(&v);
    plumb_tokenizer_release(&a);
    plumb_tokenizer_release(&b);
}

Test(gguf_export, tokenizers_keep_their_ids)
{
    same_tokenizer("data/models/stories260K/hf", 512, "default");
    same_tokenizer("data/tokenizers/gpt2", 50300, "gpt-2"); /* an embedding with rows to spare */
    same_tokenizer("data/tokenizers/qwen3", 151936, "qwen2");
}
