/* Reading the model and tokenizer files of llama2.c. */
#include "io/llama2c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/gguf_arch.h"
#include "io/numbers.h"
#include "io/tokenizer.h"

enum { HEADER = 28, PARTS = 9, MOST_PIECE = 512 };

/* One kind of matrix or vector, of all layers in a row. */
struct group {
    const char *name;              /* below "model.layers.<n>.", whole outside the layers */
    int64_t rows, columns, layers; /* columns 0 = a vector; layers 0 = outside them */
};

struct item {
    char name[64];
};

struct model {
    char *path;
    struct plumb_map map;
    struct plumb_model_config config;
    struct item *item; /* (count) */
    struct plumb_weight *weight;
    int64_t count;
};

bool plumb_llama2c_is(const char *path)
{
    const size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".bin") == 0;
}

/* The seven numbers as a config.json. */
static int read_config(const struct model *m, struct plumb_hf_config *config, bool *tied)
{
    int32_t h[7]; /* width, ffn, layers, heads, heads of keys, vocabulary, positions */
    char text[640];
    if (m->map.bytes < HEADER)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" is no model of llama2.c: %zu bytes", m->path,
                          m->map.bytes);
    memcpy(h, m->map.data, HEADER);
    *tied = h[5] > 0; /* a negative vocabulary has a head of its own */
    if (!*tied && h[5] != INT32_MIN) h[5] = -h[5];
    for (int i = 0; i < 7; i++)
        if (h[i] < 1 || h[i] > 1 << 24)
            return plumb_fail(PLUMB_EFORMAT,
                              "\"%s\" is no model of llama2.c: number %d of its header is %d",
                              m->path, i, h[i]);
    if ((size_t)h[2] > m->map.bytes / (4 * PARTS)) /* before tables of so many are made */
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" of %zu bytes does not hold %d layers", m->path,
                          m->map.bytes, h[2]);
    snprintf(text, sizeof text,
             "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
             "\"hidden_act\":\"silu\",\"hidden_size\":%d,\"intermediate_size\":%d,"
             "\"num_hidden_layers\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
             "\"vocab_size\":%d,\"max_position_embeddings\":%d,\"rms_norm_eps\":1e-05,"
             "\"rope_theta\":10000.0,\"tie_word_embeddings\":%s,\"attention_bias\":false,"
             "\"mlp_bias\":false,\"bos_token_id\":1,\"eos_token_id\":2,\"dtype\":\"float32\"}",
             h[0], h[1], h[2], h[3], h[4], h[5], h[6], *tied ? "true" : "false");
    return plumb_hf_config_parse(config, text, strlen(text), m->path);
}

/* Gives the tensors of a group their bytes at *at. */
static int add(struct model *m, const struct group *g, size_t *at)
{
    const int64_t n = g->rows * (g->columns ? g->columns : 1);
    for (int64_t l = 0; l < (g->layers ? g->layers : 1); l++, m->count++) {
        struct item *it = &m->item[m->count];
        if ((size_t)n > (m->map.bytes - *at) / 4)
            return plumb_fail(PLUMB_EFORMAT, "\"%s\" ends inside the tensor \"%s\" of layer %lld",
                              m->path, g->name, (long long)l);
        if (g->layers)
            snprintf(it->name, sizeof it->name, "model.layers.%lld.%s", (long long)l, g->name);
        else
            snprintf(it->name, sizeof it->name, "%s", g->name);
        m->weight[m->count] = (struct plumb_weight){ .name = it->name,
                                                     .dtype = "F32",
                                                     .rank = g->columns ? 2 : 1,
                                                     .shape = { g->rows, g->columns },
                                                     .count = n,
                                                     .data = m->map.data + *at,
                                                     .bytes = 4 * (size_t)n };
        *at += 4 * (size_t)n;
    }
    return PLUMB_OK;
}

static int add_all(struct model *m, bool tied)
{
    const struct plumb_model_config *c = &m->config;
    const int64_t D = c->width, F = c->ffn, L = c->layers, Q = c->heads * c->head_size,
                  KV = c->kv_heads * c->head_size;
    const struct group groups[] = {
        { "model.embed_tokens.weight", c->vocab, D },
        { "input_layernorm.weight", D, 0, L },
        { "self_attn.q_proj.weight", Q, D, L },
        { "self_attn.k_proj.weight", KV, D, L },
        { "self_attn.v_proj.weight", KV, D, L },
        { "self_attn.o_proj.weight", D, Q, L },
        { "post_attention_layernorm.weight", D, 0, L },
        { "mlp.gate_proj.weight", F, D, L },
        { "mlp.down_proj.weight", D, F, L },
        { "mlp.up_proj.weight", F, D, L },
        { "model.norm.weight", D, 0 },
    };
    size_t at = HEADER;
    m->item = calloc((size_t)L * PARTS + 3, sizeof *m->item);
    m->weight = calloc((size_t)L * PARTS + 3, sizeof *m->weight);
    if (!m->item || !m->weight)
        return plumb_fail(PLUMB_EMEM, "could not allocate the table of \"%s\"", m->path);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        PLUMB_TRY(add(m, &groups[i], &at));
    const size_t tables = (size_t)(c->max_positions * c->head_size) * 4; /* of rotations, unused */
    if (tables > m->map.bytes - at)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" ends inside its tables of rotations", m->path);
    at += tables;
    const struct group head = { "lm_head.weight", c->vocab, D };
    if (!tied) PLUMB_TRY(add(m, &head, &at));
    if (at == m->map.bytes) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT, "\"%s\": %zu bytes follow the last tensor of a llama2.c model",
                      m->path, m->map.bytes - at);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct plumb_weight *)a)->name, ((const struct plumb_weight *)b)->name);
}

static int read_numbers(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                        double *out)
{
    const struct model *m = w->self;
    const struct plumb_weight *t = &w->tensor[index];
    const bool paired = strstr(t->name, ".q_proj.") || strstr(t->name, ".k_proj.");
    const int64_t row = paired ? t->shape[1] : t->count;
    while (n > 0) {
        const int64_t at = first % row, take = row - at < n ? row - at : n, r = first / row;
        const int64_t from = paired ? plumb_gguf_row_of(&m->config, PLUMB_GGUF_PAIRED, r) : r;
        plumb_numbers_decode(PLUMB_F32, (const char *)t->data + 4 * (from * row + at), take, out);
        first += take, out += take, n -= take;
    }
    return PLUMB_OK;
}

static void release(struct plumb_weights *w)
{
    struct model *m = w->self;
    plumb_map_release(&m->map);
    free(m->item);
    free(m->weight);
    free(m->path);
    free(m);
}

int plumb_llama2c_model(const char *path, struct plumb_hf_config *config,
                        struct plumb_weights *weights)
{
    int rc = PLUMB_OK;
    bool tied;
    *config = (struct plumb_hf_config){ 0 };
    struct model *m = calloc(1, sizeof *m);
    if (!m) return plumb_fail(PLUMB_EMEM, "could not allocate the table of \"%s\"", path);
    *weights = (struct plumb_weights){ .read = read_numbers, .release = release, .self = m };
    m->path = strdup(path);
    if (!m->path) PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a name for \"%s\"", path));
    PLUMB_TRYG(plumb_map_open(&m->map, path));
    PLUMB_TRYG(read_config(m, config, &tied));
    m->config = config->model;
    PLUMB_TRYG(add_all(m, tied));
    qsort(m->weight, (size_t)m->count, sizeof *m->weight, by_name);
    weights->origin = m->path;
    weights->tensor = m->weight;
    weights->count = m->count;
out:
    if (rc) plumb_weights_release(weights);
    if (rc) plumb_hf_config_release(config);
    return rc;
}

struct pieces {
    const char **token;
    char *text; /* three bytes for each of the file at most */
    float *score;
    int32_t *type;
};

/* Piece i of the file: score, length, bytes, spaces written as such. */
static int read_piece(const char **at, const char *end, const char *path, int64_t i,
                      const struct pieces *p, char **to)
{
    static const char *const special[] = { "<unk>", "<s>", "</s>" };
    int32_t n = -1;
    if (end - *at >= 8) {
        memcpy(&p->score[i], *at, 4);
        memcpy(&n, *at + 4, 4);
        *at += 8;
    }
    if (n < 0 || n > MOST_PIECE || n > end - *at || memchr(*at, 0, (size_t)n))
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" is broken at piece %lld: no tokenizer of llama2.c",
                          path, (long long)i);
    const char *s = i < 3 ? special[i] : *at;
    const int32_t length = i < 3 ? (int32_t)strlen(s) : n;
    p->type[i] = i == 0 ? 2 : i < 3 ? 3 : n == 6 && !memcmp(s, "<0x", 3) ? 6 : 1;
    p->token[i] = *to;
    for (int32_t k = 0; k < length; k++) {
        if (s[k] == ' ') memcpy(*to, "\xE2\x96\x81", 3);
        if (s[k] != ' ') **to = s[k];
        *to += s[k] == ' ' ? 3 : 1;
    }
    *(*to)++ = 0;
    *at += n;
    return PLUMB_OK;
}

int plumb_llama2c_write_tokenizer(const char *path, int64_t tokens, const char *dir)
{
    int rc = PLUMB_OK;
    struct plumb_map map;
    struct pieces p = { 0 };
    PLUMB_TRY(plumb_map_open(&map, path));
    if (map.bytes < 4 || (size_t)tokens > (map.bytes - 4) / 8)
        PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "\"%s\" of %zu bytes does not hold %lld pieces", path,
                              map.bytes, (long long)tokens));
    p.token = calloc((size_t)tokens, sizeof *p.token);
    p.text = malloc(3 * map.bytes + 32);
    p.score = calloc((size_t)tokens, sizeof *p.score);
    p.type = calloc((size_t)tokens, sizeof *p.type);
    if (!p.token || !p.text || !p.score || !p.type)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate the pieces of \"%s\"", path));
    const char *at = map.data + 4, *end = map.data + map.bytes; /* behind the longest length */
    char *to = p.text;
    for (int64_t i = 0; i < tokens; i++)
        PLUMB_TRYG(read_piece(&at, end, path, i, &p, &to));
    const struct plumb_vocabulary v = { .model = "llama",
                                        .token = p.token,
                                        .n = tokens,
                                        .score = p.score,
                                        .type = p.type,
                                        .bos_id = 1,
                                        .eos_id = 2,
                                        .pad_id = -1,
                                        .add_bos = true,
                                        .add_space_prefix = true };
    rc = plumb_tokenizer_write(&v, NULL, dir);
    if (rc) plumb_fail_while(rc, "\"%s\"", path);
out:
    free(p.token);
    free(p.text);
    free(p.score);
    free(p.type);
    plumb_map_release(&map);
    return rc;
}
