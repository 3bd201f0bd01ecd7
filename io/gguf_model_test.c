/* A tiny llama model as a GGUF file: its config, its weights under Hugging Face's names and in
 * their order, and what is refused. */
#include "io/gguf_model.h"

#include <unistd.h>

#include "io/gguf_bytes.h"
#include "io/hf_model.h"

/* Two layers of width 16: 4 heads of 4, 2 of them for keys; 32 of ffn; vocabulary 8. */
enum { WIDTH = 16, HEADS = 4, KV = 2, SIZE = 4, FFN = 32, VOCAB = 8, LAYERS = 2, MOST = 32 };

static const struct part {
    const char *name;
    int inner, outer;
} layer_parts[] = { { "attn_norm.weight", WIDTH, 0 },
                    { "attn_q.weight", WIDTH, HEADS *SIZE },
                    { "attn_k.weight", WIDTH, KV *SIZE },
                    { "attn_v.weight", WIDTH, KV *SIZE },
                    { "attn_output.weight", HEADS *SIZE, WIDTH },
                    { "ffn_norm.weight", WIDTH, 0 },
                    { "ffn_gate.weight", WIDTH, FFN },
                    { "ffn_up.weight", WIDTH, FFN },
                    { "ffn_down.weight", FFN, WIDTH } };

static struct gguf_bytes file;
static struct {
    char name[64];
    int inner, outer;
} list[MOST];
static int tensors, keys;

/* What a test may change. */
struct change {
    const char *without; /* key left out */
    const char *key;     /* u32 key put in, or its text */
    uint32_t value;
    const char *text;
    const char *tensor; /* extra tensor of WIDTH numbers */
    const char *architecture;
    bool head; /* an output matrix of its own */
};

static void add(const char *name, int inner, int outer)
{
    cr_assert_lt(tensors, MOST);
    snprintf(list[tensors].name, sizeof list[tensors].name, "%s", name);
    list[tensors].inner = inner;
    list[tensors++].outer = outer;
}

static void list_parts(const struct change *c)
{
    tensors = 0;
    add("token_embd.weight", WIDTH, VOCAB);
    for (int l = 0; l < LAYERS; l++)
        for (size_t p = 0; p < sizeof layer_parts / sizeof *layer_parts; p++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s", l, layer_parts[p].name);
            add(name, layer_parts[p].inner, layer_parts[p].outer);
        }
    add("output_norm.weight", WIDTH, 0);
    if (c->head) add("output.weight", WIDTH, VOCAB);
    if (c->tensor) add(c->tensor, WIDTH, 0);
}

static void put_number(const struct change *c, const char *key, uint32_t value)
{
    if (c->without && !strcmp(c->without, key)) return;
    put_key_u32(&file, key, value);
    keys++;
}

static void put_keys(const struct change *c)
{
    keys = 2;
    put_key_text(&file, "general.architecture", c->architecture ? c->architecture : "llama");
    put_key_f32(&file, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_number(c, "llama.block_count", LAYERS);
    put_number(c, "llama.context_length", 64);
    put_number(c, "llama.embedding_length", WIDTH);
    put_number(c, "llama.feed_forward_length", FFN);
    put_number(c, "llama.attention.head_count", HEADS);
    put_number(c, "llama.attention.head_count_kv", KV);
    put_number(c, "llama.rope.dimension_count", SIZE);
    put_number(c, "tokenizer.ggml.bos_token_id", 1);
    put_number(c, "tokenizer.ggml.eos_token_id", 2);
    if (c->key && c->text) put_key_text(&file, c->key, c->text), keys++;
    if (c->key && !c->text) put_number(c, c->key, c->value);
}

/* Element (r, i) of tensor k, as the file holds it: a number of its own. */
static float stored(int k, int64_t r, int64_t i) { return (float)(k * 2048 + r * 64 + i); }

static const char *build(const struct change *c)
{
    uint64_t offset = 0;
    list_parts(c);
    put_header(&file, (uint64_t)tensors, 0);
    put_keys(c);
    memcpy(file.data + 16, &(uint64_t){ (uint64_t)keys }, 8);
    for (int k = 0; k < tensors; k++) {
        const uint64_t rows = list[k].outer ? (uint64_t)list[k].outer : 1;
        put_tensor(&file, list[k].name, (uint64_t)list[k].inner, (uint64_t)list[k].outer, 0,
                   offset);
        offset += (4 * rows * (uint64_t)list[k].inner + 31) / 32 * 32;
    }
    for (int k = 0; k < tensors; k++) {
        pad(&file);
        for (int r = 0; r < (list[k].outer ? list[k].outer : 1); r++)
            for (int i = 0; i < list[k].inner; i++)
                put(&file, &(float){ stored(k, r, i) }, 4);
    }
    return save(&file);
}

Test(gguf_model, gives_the_config_that_a_folder_would_have)
{
    const struct change c = { .key = "tokenizer.ggml.eot_token_id", .value = 5 };
    struct plumb_hf_config config;
    struct plumb_weights weights;
    cr_assert_eq(plumb_gguf_model(build(&c), &config, &weights), PLUMB_OK, "%s", plumb_errmsg());
    unlink(save(&file));
    const struct plumb_model_config *m = &config.model;
    cr_expect(m->width == WIDTH && m->layers == LAYERS && m->heads == HEADS && m->kv_heads == KV);
    cr_expect(m->head_size == SIZE && m->ffn == FFN && m->vocab == VOCAB && m->max_positions == 64);
    cr_expect(m->tied && !m->qkv_bias && m->rope == PLUMB_ROPE_HALF && m->rope_theta == 1e4);
    cr_expect_eq(m->norm_eps, 1e-5, "%.17g", m->norm_eps);
    cr_expect(m->bos_id == 1 && m->eos_id == 2 && m->pad_id == -1);
    cr_expect(config.eos_count == 2 && config.eos[0] == 2 && config.eos[1] == 5);
    cr_expect_str_eq(m->family, "llama");
    plumb_weights_release(&weights);
    plumb_hf_config_release(&config);
}

/* The other way round, by the definition: converting to GGUF takes row h, s, j of a head-by-head
 * matrix (HEADS, 2, SIZE / 2) to h, j, s. */
static int64_t row_in_file(int64_t r)
{
    const int64_t h = r / SIZE, s = r % SIZE / (SIZE / 2), j = r % (SIZE / 2);
    return (h * (SIZE / 2) + j) * 2 + s;
}

Test(gguf_model, rows_of_q_and_k_return_to_half_split_order)
{
    const struct change c = { 0 };
    struct plumb_hf_model m;
    cr_assert_eq(plumb_hf_model_open(&m, build(&c), 0), PLUMB_OK, "%s", plumb_errmsg());
    unlink(save(&file));
    static const struct {
        const char *hf, *gguf;
        int rows;
        bool moved;
    } parts[] = {
        { "model.layers.1.self_attn.q_proj.weight", "blk.1.attn_q.weight", HEADS * SIZE, true },
        { "model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", KV * SIZE, true },
        { "model.layers.1.self_attn.v_proj.weight", "blk.1.attn_v.weight", KV * SIZE, false },
        { "model.embed_tokens.weight", "token_embd.weight", VOCAB, false }
    };
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        const int64_t at = plumb_weights_find(&m.weights, parts[p].hf);
        int k = 0;
        while (strcmp(list[k].name, parts[p].gguf))
            k++;
        cr_assert_geq(at, 0);
        for (int64_t first = 0; first < WIDTH * 3; first += 7) {
            double out[WIDTH * 2];
            cr_assert_eq(m.weights.read(&m.weights, at, first, WIDTH * 2, out), PLUMB_OK);
            for (int64_t i = 0; i < WIDTH * 2; i++) {
                const int64_t r = (first + i) / WIDTH, from = parts[p].moved ? row_in_file(r) : r;
                cr_assert_eq(out[i], (double)stored(k, from, (first + i) % WIDTH), "%s row %lld",
                             parts[p].hf, (long long)r);
            }
        }
    }
    plumb_hf_model_release(&m);
}

Test(gguf_model, an_output_matrix_unties_the_head)
{
    const struct change c = { .head = true };
    struct plumb_hf_model m;
    cr_assert_eq(plumb_hf_model_open(&m, build(&c), 0), PLUMB_OK, "%s", plumb_errmsg());
    unlink(save(&file));
    cr_expect(!m.config.model.tied);
    cr_expect_geq(plumb_weights_find(&m.weights, "lm_head.weight"), 0);
    plumb_hf_model_release(&m);
}

/* Without a tokenizer in the file the folder has none either, and the weights are not lost. */
Test(gguf_model, is_written_as_a_folder_that_opens_again)
{
    const struct change c = { 0 };
    char dir[] = "/tmp/plumb-gguf-XXXXXX", path[200];
    struct plumb_hf_model m, back;
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(plumb_hf_model_open(&m, build(&c), 0), PLUMB_OK, "%s", plumb_errmsg());
    float *flat = calloc((size_t)m.elements, 4), *again = calloc((size_t)m.elements, 4);
    cr_assert(flat && again);
    cr_assert_eq(plumb_hf_model_read(&m, PLUMB_F32, flat, false), PLUMB_OK, "%s", plumb_errmsg());
    const int rc = plumb_hf_model_write(&m, dir, PLUMB_F32, flat, PLUMB_F32);
    cr_assert_eq(rc, PLUMB_OK, "%s", plumb_errmsg());
    unlink(save(&file));
    cr_assert_eq(plumb_hf_model_open(&back, dir, 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_hf_model_read(&back, PLUMB_F32, again, false), PLUMB_OK);
    cr_expect(m.elements == back.elements && !memcmp(flat, again, (size_t)m.elements * 4));
    cr_expect(back.config.model.norm_eps == 1e-5 && back.config.model.kv_heads == KV);
    plumb_hf_model_release(&m);
    plumb_hf_model_release(&back);
    free(flat);
    free(again);
    static const char *const files[] = { "model.safetensors", "config.json" };
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        cr_expect_eq(unlink(path), 0, "no \"%s\"", path);
    }
    cr_expect_eq(rmdir(dir), 0);
}

static void refused(const struct change *c, const char *why)
{
    struct plumb_hf_model m;
    const int rc = plumb_hf_model_open(&m, build(c), 0);
    unlink(save(&file));
    cr_expect_neq(rc, PLUMB_OK, "accepted, wanted \"%s\"", why);
    cr_expect(rc == PLUMB_OK || strstr(plumb_errmsg(), why), "wanted \"%s\", got: %s", why,
              plumb_errmsg());
    if (rc == PLUMB_OK) plumb_hf_model_release(&m);
}

Test(gguf_model, refuses_what_would_change_numbers_by_name)
{
    refused(&(struct change){ .architecture = "mamba" }, "the architecture \"mamba\"");
    refused(&(struct change){ .without = "llama.block_count" }, "\"llama.block_count\" is missing");
    refused(&(struct change){ .key = "llama.expert_count", .value = 8 },
            "\"llama.expert_count\" = 8");
    refused(&(struct change){ .key = "llama.attention.key_length", .value = 8 }, "heads of 8 keys");
    refused(&(struct change){ .key = "llama.rope.scaling.type", .text = "yarn" }, "\"yarn\"");
    refused(&(struct change){ .key = "llama.expert_count", .text = "x" }, "wants a number");
    refused(&(struct change){ .tensor = "rope_freqs.weight" }, "\"rope_freqs.weight\"");
    refused(&(struct change){ .tensor = "blk.0.attn_q_norm.weight" },
            "\"blk.0.attn_q_norm.weight\"");
    refused(&(struct change){ .tensor = "blk.7.attn_norm.weight" }, "\"blk.7.attn_norm.weight\"");
    refused(&(struct change){ .tensor = "blk.01.attn_norm.weight" }, "\"blk.01.attn_norm.weight\"");
    refused(&(struct change){ .without = "llama.attention.head_count_kv" }, "has shape [8, 16]");
}
