#include "io/hf_model.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "tests/made_model.h"
#include "tests/shared.h"

static char root[] = "/tmp/plumb_hf_model_XXXXXX";
static char log_text[4096];

static void keep_log(void *ctx, enum plumb_log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    snprintf(log_text, sizeof log_text, "%s", text);
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(root));
    log_text[0] = 0;
    plumb_log_receiver(keep_log, NULL);
}

static const char *in_root(const char *name)
{
    static char path[8][512];
    static int next;
    char *p = path[next++ % 8];
    cr_assert_eq(plumb_path_join(p, sizeof path[0], root, name), PLUMB_OK);
    return p;
}

static void empty_folder(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char name[1024];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.') remove(name);
    }
    if (d) closedir(d);
    rmdir(path);
}

static void teardown(void)
{
    empty_folder(in_root("a"));
    empty_folder(in_root("b"));
    empty_folder(root);
}

TestSuite(hf_model, .init = setup, .fini = teardown);

static double *read_flat(const struct plumb_hf_model *m)
{
    double *flat = malloc((size_t)m->elements * sizeof *flat);
    for (int64_t i = 0; i < m->elements; i++)
        flat[i] = NAN;
    cr_assert_eq(plumb_hf_model_read(m, PLUMB_F64, flat, false), PLUMB_OK, "%s", plumb_errmsg());
    return flat;
}

static const struct plumb_param *param(const struct plumb_hf_model *m, enum plumb_role role,
                                       int32_t layer)
{
    for (int64_t i = 0; i < m->param_count; i++)
        if (m->params[i].role == role && m->params[i].layer == layer) return &m->params[i];
    cr_assert_fail("no parameter of role %d", (int)role);
    return NULL;
}

static void open_made(struct plumb_hf_model *m, struct made *made, int family)
{
    made_init(made, made_configs[family]);
    made_write(made, in_root("a"));
    cr_assert_eq(plumb_hf_model_open(m, in_root("a"), 0), PLUMB_OK, "%s", plumb_errmsg());
}

/* transformers: q_proj, k_proj, v_proj are separate matrices; y = x W^T. */
Test(hf_model, llama_rows_stand_query_key_value_and_gate_up)
{
    struct plumb_hf_model m;
    struct made made = { 0 };
    open_made(&m, &made, MADE_LLAMA);
    double *flat = read_flat(&m);
    const double *qkv = flat + param(&m, PLUMB_ROLE_QKV, 1)->offset;
    const double *bias = flat + param(&m, PLUMB_ROLE_QKV_BIAS, 1)->offset;
    const double *up = flat + param(&m, PLUMB_ROLE_UP, 1)->offset;
    const int64_t q = made_find(&made, "model.layers.1.self_attn.q_proj.weight");
    const int64_t k = made_find(&made, "model.layers.1.self_attn.k_proj.weight");
    const int64_t v = made_find(&made, "model.layers.1.self_attn.v_proj.weight");
    const int64_t vb = made_find(&made, "model.layers.1.self_attn.v_proj.bias");
    const int64_t gate = made_find(&made, "model.layers.1.mlp.gate_proj.weight");
    const int64_t second = made_find(&made, "model.layers.1.mlp.up_proj.weight");
    for (int64_t i = 0; i < 8 * 8; i++)
        cr_expect_eq(qkv[i], made_value(q, i));
    for (int64_t i = 0; i < 4 * 8; i++)
        cr_expect_eq(qkv[8 * 8 + i], made_value(k, i));
    for (int64_t i = 0; i < 4 * 8; i++)
        cr_expect_eq(qkv[12 * 8 + i], made_value(v, i));
    for (int64_t i = 0; i < 4; i++)
        cr_expect_eq(bias[12 + i], made_value(vb, i));
    for (int64_t i = 0; i < 6 * 8; i++)
        cr_expect_eq(up[i], made_value(gate, i));
    for (int64_t i = 0; i < 6 * 8; i++)
        cr_expect_eq(up[6 * 8 + i], made_value(second, i));
    cr_expect_eq(flat[param(&m, PLUMB_ROLE_HEAD, -1)->offset],
                 made_value(made_find(&made, "lm_head.weight"), 0));
    free(flat);
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

/* transformers: Conv1D keeps (in, out), y = x W; c_attn's columns are q, k, v. */
Test(hf_model, gpt2_matrices_are_turned)
{
    struct plumb_hf_model m;
    struct made made = { 0 };
    open_made(&m, &made, MADE_GPT2);
    double *flat = read_flat(&m);
    const double *qkv = flat + param(&m, PLUMB_ROLE_QKV, 0)->offset;
    const double *down = flat + param(&m, PLUMB_ROLE_DOWN, 0)->offset;
    const int64_t c_attn = made_find(&made, "transformer.h.0.attn.c_attn.weight");
    const int64_t c_proj = made_find(&made, "transformer.h.0.mlp.c_proj.weight");
    for (int64_t out = 0; out < 24; out++)
        for (int64_t in = 0; in < 8; in++)
            cr_expect_eq(qkv[out * 8 + in], made_value(c_attn, in * 24 + out));
    for (int64_t out = 0; out < 8; out++)
        for (int64_t in = 0; in < 32; in++)
            cr_expect_eq(down[out * 32 + in], made_value(c_proj, in * 8 + out));
    cr_expect_eq(flat[param(&m, PLUMB_ROLE_POSITION, -1)->offset + 3],
                 made_value(made_find(&made, "transformer.wpe.weight"), 3));
    free(flat);
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

/* transformers: query_key_value(x).view(..., heads, 3 * head_size).chunk(3, -1) gives q, k, v. */
Test(hf_model, neox_heads_are_taken_apart)
{
    struct plumb_hf_model m;
    struct made made = { 0 };
    open_made(&m, &made, MADE_NEOX);
    double *flat = read_flat(&m);
    const double *qkv = flat + param(&m, PLUMB_ROLE_QKV, 1)->offset;
    const double *bias = flat + param(&m, PLUMB_ROLE_QKV_BIAS, 1)->offset;
    const int64_t w = made_find(&made, "gpt_neox.layers.1.attention.query_key_value.weight");
    const int64_t b = made_find(&made, "gpt_neox.layers.1.attention.query_key_value.bias");
    for (int64_t which = 0; which < 3; which++) /* q, k, v */
        for (int64_t head = 0; head < 2; head++)
            for (int64_t i = 0; i < 4; i++) {
                const int64_t here = which * 8 + head * 4 + i, file = head * 12 + which * 4 + i;
                cr_expect_eq(bias[here], made_value(b, file));
                for (int64_t c = 0; c < 8; c++)
                    cr_expect_eq(qkv[here * 8 + c], made_value(w, file * 8 + c));
            }
    free(flat);
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* With the padding, the places of all tensors are every element of the flat buffer exactly once. */
Test(hf_model, tensors_cover_the_flat_buffer_once)
{
    for (int f = 0; f < MADE_FAMILIES; f++) {
        struct plumb_hf_model m;
        struct made made = { 0 };
        open_made(&m, &made, f);
        int64_t *place = malloc((size_t)m.elements * sizeof *place), n = 0, want = 0;
        for (int64_t k = 0; k < m.tensor_count; k++) {
            const struct plumb_hf_tensor *t = &m.tensors[k];
            const int64_t columns = t->rank == 2 ? t->shape[1] : 1;
            for (int64_t r = 0; r < t->shape[0]; r++)
                for (int64_t c = 0; c < columns; c++) {
                    cr_assert_lt(n, m.elements);
                    place[n++] = plumb_hf_place(t, r, c);
                }
        }
        qsort(place, (size_t)n, sizeof *place, by_value);
        const struct plumb_param *p = m.params;
        for (int64_t i = 0; i < m.param_count; i++) {
            for (int64_t e = 0; e < p[i].rows * p[i].cols; e++)
                cr_assert_eq(place[want + e], p[i].offset + e, "%s", m.config.model.family);
            want += p[i].rows * p[i].cols;
        }
        cr_expect_eq(n, want);
        free(place);
        plumb_hf_model_release(&m);
        plumb_hf_config_release(&made.config);
    }
}

/* Writes what was read and expects the same tensors, bit for bit, under the same names. */
static void expect_round_trip(const char *dir)
{
    struct plumb_hf_model m, back;
    cr_assert_eq(plumb_hf_model_open(&m, dir, 0), PLUMB_OK, "%s", plumb_errmsg());
    float *flat = malloc((size_t)m.elements * sizeof *flat),
          *again = malloc((size_t)m.elements * sizeof *flat);
    cr_assert_eq(plumb_hf_model_read(&m, PLUMB_F32, flat, false), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_hf_model_write(&m, in_root("b"), PLUMB_F32, flat, PLUMB_F32), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_assert_eq(plumb_hf_model_open(&back, in_root("b"), 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(back.elements, m.elements);
    cr_expect_eq(memcmp(&back.config.model, &m.config.model, sizeof m.config.model), 0);
    cr_assert_eq(plumb_hf_model_read(&back, PLUMB_F32, again, false), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect_eq(memcmp(flat, again, (size_t)m.elements * sizeof *flat), 0);
    cr_assert_eq(back.weights.count, m.weights.count);
    for (int64_t i = 0; i < m.weights.count; i++) {
        const struct plumb_weight *a = &m.weights.tensor[i], *b = &back.weights.tensor[i];
        cr_expect_str_eq(a->name, b->name);
        cr_expect(a->rank == b->rank && memcmp(a->shape, b->shape, sizeof a->shape) == 0);
        cr_expect(a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0, "%s", a->name);
    }
    free(flat);
    free(again);
    plumb_hf_model_release(&m);
    plumb_hf_model_release(&back);
}

Test(hf_model, every_family_round_trips)
{
    for (int f = 0; f < MADE_FAMILIES; f++) {
        struct made made = { 0 };
        made_init(&made, made_configs[f]);
        made_write(&made, in_root("a"));
        expect_round_trip(in_root("a"));
        plumb_hf_config_release(&made.config);
    }
    cr_expect_str_eq(log_text, "");
}

Test(hf_model, the_folders_of_the_shared_data_round_trip)
{
    static const char *const names[] = { "tiny-random-own/llama", "tiny-random-own/mistral",
                                         "tiny-random-own/qwen2", "tiny-random-own/qwen3",
                                         "tiny-random-own/gpt2",  "tiny-random-own/gpt_neox",
                                         "stories260K/hf",        "babyllama105/hf" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[256], dir[4096];
        snprintf(name, sizeof name, "data/models/%s", names[i]);
        if (!shared_path(dir, sizeof dir, name)) return;
        expect_round_trip(dir);
        cr_expect_str_eq(log_text, "", "%s: %s", names[i], log_text);
    }
    cr_expect(plumb_file_exists(in_root("b/tokenizer.json")));
    cr_expect(plumb_file_exists(in_root("b/generation_config.json")));
}

/* Expects opening or reading folder a to fail with a text that holds `what`. */
static void refuse(int code, const char *what)
{
    struct plumb_hf_model m;
    int rc = plumb_hf_model_open(&m, in_root("a"), 0);
    double *flat = rc ? NULL : malloc((size_t)m.elements * sizeof *flat);
    if (rc == PLUMB_OK) rc = plumb_hf_model_read(&m, PLUMB_F64, flat, false);
    cr_expect_eq(rc, code, "%s: %d", what, rc);
    cr_expect(strstr(plumb_errmsg(), what), "wanted \"%s\", got: %s", what, plumb_errmsg());
    free(flat);
    plumb_hf_model_release(&m);
}

Test(hf_model, numbers_that_are_not_finite_are_placed)
{
    struct made made = { 0 };
    made_init(&made, made_configs[MADE_GPT2]);
    made.bad_tensor = made_find(&made, "transformer.h.1.mlp.c_fc.weight");
    made.bad_element = 2 * 32 + 5;
    made.bad_value = NAN;
    made_write(&made, in_root("a"));
    refuse(PLUMB_ENUM, "tensor \"transformer.h.1.mlp.c_fc.weight\" holds NaN at [2, 5]");
    made.bad_tensor = made_find(&made, "transformer.ln_f.bias");
    made.bad_element = 7;
    made.bad_value = -INFINITY;
    made_write(&made, in_root("a"));
    refuse(PLUMB_ENUM, "tensor \"transformer.ln_f.bias\" holds infinity at [7]");
    plumb_hf_config_release(&made.config);
}

Test(hf_model, missing_misshaped_and_extra_tensors_are_named)
{
    struct made made = { 0 };
    made_init(&made, made_configs[MADE_LLAMA]);
    const int64_t k = made_find(&made, "model.layers.0.mlp.down_proj.weight");
    snprintf(made.names[k], sizeof made.names[k], "something.else");
    made_write(&made, in_root("a"));
    refuse(PLUMB_EFORMAT, "tensor \"model.layers.0.mlp.down_proj.weight\" is missing");
    made_init(&made, made_configs[MADE_LLAMA]);
    made.tensors[k].shape[0] = 6;
    made.tensors[k].shape[1] = 8;
    made_write(&made, in_root("a"));
    refuse(PLUMB_EFORMAT, "\"model.layers.0.mlp.down_proj.weight\" has shape [6, 8], config.json "
                          "wants [8, 6]");
    made_init(&made, made_configs[MADE_LLAMA]);
    static const char *const extra[] = { "model.layers.0.self_attn.rotary_emb.inv_freq",
                                         "other.weight" };
    for (int i = 0; i < 2; i++) {
        made.tensors[made.count] = made.tensors[0];
        made.tensors[made.count++].name = extra[i];
    }
    made_write(&made, in_root("a"));
    struct plumb_hf_model m;
    cr_expect_eq(plumb_hf_model_open(&m, in_root("a"), 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(strstr(log_text, "1 tensors are not used: \"other.weight\""), "%s", log_text);
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

Test(hf_model, names_without_prefix_and_aliases_are_found)
{
    struct made made = { 0 };
    made_init(&made, made_configs[MADE_GPT2]);
    for (int64_t k = 0; k < made.count; k++)
        made.tensors[k].name += strlen("transformer.");
    made_write(&made, in_root("a"));
    struct plumb_hf_model m;
    cr_expect_eq(plumb_hf_model_open(&m, in_root("a"), 0), PLUMB_OK, "%s", plumb_errmsg());
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
    made_init(&made, made_configs[MADE_NEOX]);
    made.tensors[made_find(&made, "embed_out.weight")].name = "lm_head.weight";
    made_write(&made, in_root("a"));
    cr_expect_eq(plumb_hf_model_open(&m, in_root("a"), 0), PLUMB_OK, "%s", plumb_errmsg());
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

Test(hf_model, a_tied_head_in_the_file_must_be_the_embedding)
{
    struct made made = { 0 };
    made_init(&made, made_configs[MADE_QWEN3]);
    made.tensors[made.count] = made.tensors[0];
    made.tensors[made.count++].name = "lm_head.weight"; /* its values differ */
    made_write(&made, in_root("a"));
    refuse(PLUMB_EFORMAT, "\"lm_head.weight\" differs from \"model.embed_tokens.weight\"");
    plumb_hf_config_release(&made.config);
}

Test(hf_model, a_language_model_becomes_a_reward_model)
{
    struct made made = { 0 };
    struct plumb_hf_model m, back;
    made_init(&made, made_configs[MADE_LLAMA]);
    made_write(&made, in_root("a"));
    cr_assert_eq(plumb_hf_model_open(&m, in_root("a"), 1), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(m.score_missing);
    cr_expect_str_eq(log_text, "", "the unused head is expected: %s", log_text);
    float *flat = malloc((size_t)m.elements * sizeof *flat);
    cr_expect_eq(plumb_hf_model_read(&m, PLUMB_F32, flat, false), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "\"score.weight\" is missing"), "%s", plumb_errmsg());
    cr_assert_eq(plumb_hf_model_read(&m, PLUMB_F32, flat, true), PLUMB_OK);
    float *score = flat + param(&m, PLUMB_ROLE_SCORE, -1)->offset;
    for (int i = 0; i < 8; i++)
        cr_expect_eq(score[i], 0);
    score[3] = 0.5f;
    cr_assert_eq(plumb_hf_model_write(&m, in_root("b"), PLUMB_F32, flat, PLUMB_F32), PLUMB_OK);
    cr_assert_eq(plumb_hf_model_open(&back, in_root("b"), 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(back.config.model.num_labels == 1 && !back.score_missing);
    cr_expect(plumb_hf_model_find(&back, "score.weight") &&
              !plumb_hf_model_find(&back, "lm_head.weight"));
    memset(flat, 0, (size_t)m.elements * sizeof *flat);
    cr_assert_eq(plumb_hf_model_read(&back, PLUMB_F32, flat, false), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect_eq(score[3], 0.5f);
    free(flat);
    plumb_hf_model_release(&m);
    plumb_hf_model_release(&back);
    plumb_hf_config_release(&made.config);
}

Test(hf_model, other_dtypes_round_once_and_padding_is_zero)
{
    struct made made = { 0 };
    struct plumb_hf_model m;
    open_made(&m, &made, MADE_LLAMA);
    double *flat = read_flat(&m);
    uint16_t *half = malloc((size_t)m.elements * sizeof *half);
    cr_assert_eq(plumb_hf_model_read(&m, PLUMB_BF16, half, false), PLUMB_OK);
    for (int64_t i = 0; i < m.elements; i++) {
        const uint32_t bits = (uint32_t)half[i] << 16;
        float f;
        memcpy(&f, &bits, 4);
        cr_assert_eq((double)f, plumb_dtype_round(PLUMB_BF16, flat[i]));
    }
    for (int64_t i = 0; i + 1 < m.param_count; i++)
        for (int64_t e = m.params[i].offset + m.params[i].rows * m.params[i].cols;
             e < m.params[i + 1].offset; e++)
            cr_assert_eq(flat[e], 0);
    cr_assert_eq(plumb_hf_model_write(&m, in_root("b"), PLUMB_BF16, half, PLUMB_BF16), PLUMB_OK);
    struct plumb_hf_model back;
    cr_assert_eq(plumb_hf_model_open(&back, in_root("b"), 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_str_eq(back.weights.tensor[0].dtype, "BF16");
    cr_expect_eq(back.config.dtype, PLUMB_BF16);
    free(flat);
    free(half);
    plumb_hf_model_release(&back);
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

Test(hf_model, writing_needs_no_open_weights_and_may_overwrite_its_source)
{
    struct made made = { 0 };
    struct plumb_hf_model m;
    open_made(&m, &made, MADE_GPT2);
    double *flat = read_flat(&m);
    plumb_weights_release(&m.weights);
    flat[m.params[0].offset] = 42;
    cr_assert_eq(plumb_hf_model_write(&m, in_root("a"), PLUMB_F64, flat, PLUMB_F32), PLUMB_OK, "%s",
                 plumb_errmsg());
    plumb_hf_model_release(&m);
    free(flat);
    cr_assert_eq(plumb_hf_model_open(&m, in_root("a"), 0), PLUMB_OK);
    flat = read_flat(&m);
    cr_expect_eq(flat[m.params[0].offset], 42);
    free(flat);
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

Test(hf_model, a_model_made_here_is_written_from_its_config_alone)
{
    struct plumb_hf_config config = { 0 };
    struct plumb_hf_model m, again;
    cr_assert_eq(plumb_hf_config_parse(&config, made_configs[MADE_LLAMA],
                                       strlen(made_configs[MADE_LLAMA]), "made"),
                 PLUMB_OK);
    cr_assert_eq(plumb_hf_model_plan(&m, &config), PLUMB_OK, "%s", plumb_errmsg());
    float *flat = calloc((size_t)m.elements, sizeof *flat),
          *back = malloc(sizeof *back * (size_t)m.elements);
    for (int64_t k = 0; k < m.param_count; k++)
        for (int64_t i = 0; i < m.params[k].rows * m.params[k].cols; i++)
            flat[m.params[k].offset + i] = (float)made_value(k, i);
    cr_assert_eq(plumb_hf_model_write(&m, in_root("b"), PLUMB_F32, flat, PLUMB_F32), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_assert_eq(plumb_hf_model_open(&again, in_root("b"), 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(again.elements, m.elements);
    cr_assert_eq(plumb_hf_model_read(&again, PLUMB_F32, back, false), PLUMB_OK);
    cr_expect_eq(memcmp(flat, back, (size_t)m.elements * sizeof *flat), 0);
    plumb_hf_model_release(&again);
    plumb_hf_model_release(&m);
    free(flat);
    free(back);
}

Test(hf_model, another_tokenizer_is_saved_in_place_of_the_models_own)
{
    static const char *const places[] = { "a/tokenizer.json", "t/tokenizer.json" };
    struct made made = { 0 };
    struct plumb_hf_model m;
    char text[64] = "";
    open_made(&m, &made, MADE_LLAMA);
    double *flat = read_flat(&m);
    cr_assert_eq(plumb_dir_make(in_root("t")), PLUMB_OK);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(plumb_file_write(in_root(places[i]), places[i], strlen(places[i])), PLUMB_OK);
    cr_assert_eq(plumb_file_write(in_root("a/generation_config.json"), "{}", 2), PLUMB_OK);
    m.tokenizer_dir = in_root("t");
    cr_assert_eq(plumb_hf_model_write(&m, in_root("b"), PLUMB_F64, flat, PLUMB_F32), PLUMB_OK, "%s",
                 plumb_errmsg());
    FILE *f = fopen(in_root("b/tokenizer.json"), "r");
    cr_assert(f && fgets(text, sizeof text, f) && fclose(f) == 0);
    cr_expect_str_eq(text, places[1]);
    cr_expect(plumb_file_exists(in_root("b/generation_config.json")));
    empty_folder(in_root("t"));
    free(flat);
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}
