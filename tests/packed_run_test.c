/* Adapters on a GGUF base whose matrices stay in blocks: the numbers of a run that expands them
 * first, to the bit. */
#include <plumb/quant.h>

#include "io/gguf_bytes.h"
#include "tests/runs.h"

enum { WIDTH = 32, HEADS = 4, KV = 2, SIZE = 8, FFN = 64, LAYERS = 2, F32 = 0 };

/* Of the second layer k stands in plain numbers, so q, k and v are kept in them. */
static const struct part {
    const char *name;
    int inner, outer;
    uint32_t type, second;
} parts[] = {
    { "attn_norm.weight", WIDTH, 0, F32, F32 },
    { "attn_q.weight", WIDTH, HEADS *SIZE, PLUMB_Q8_0, PLUMB_Q8_0 },
    { "attn_k.weight", WIDTH, KV *SIZE, PLUMB_Q4_0, F32 },
    { "attn_v.weight", WIDTH, KV *SIZE, PLUMB_Q5_1, PLUMB_Q4_0 },
    { "attn_output.weight", HEADS *SIZE, WIDTH, F32, PLUMB_Q5_0 },
    { "ffn_norm.weight", WIDTH, 0, F32, F32 },
    { "ffn_gate.weight", WIDTH, FFN, PLUMB_Q8_0, PLUMB_Q4_1 },
    { "ffn_up.weight", WIDTH, FFN, PLUMB_Q4_1, PLUMB_Q8_0 },
    { "ffn_down.weight", FFN, WIDTH, PLUMB_Q4_0, PLUMB_Q8_0 },
};
enum { PARTS = sizeof parts / sizeof *parts };

static struct program p;
static struct tiny t;
static struct gguf_bytes file;

static size_t bytes_of(uint32_t type, int64_t numbers)
{
    const struct plumb_quant_format *f = plumb_quant_format(type);
    return f ? (size_t)(numbers / f->numbers * f->bytes) : (size_t)numbers * 4;
}

/* Blocks begin with one or two scales in f16: 2^-7 or 2^-3, and their codes may be anything. */
static void put_numbers(uint32_t type, int64_t numbers, bool ones)
{
    const struct plumb_quant_format *f = plumb_quant_format(type);
    for (int64_t i = 0; !f && i < numbers; i++) {
        const float x = ones ? 1 : (float)(int)(tiny_next(&t.random) % 1000) / 1000 - 0.5f;
        put(&file, &x, 4);
    }
    for (int64_t i = 0; f && i < numbers; i += f->numbers) {
        const bool two = type == PLUMB_Q4_1 || type == PLUMB_Q5_1;
        put_u16(&file, type == PLUMB_Q8_0 ? 0x2000 : 0x2800);
        if (two) put_u16(&file, 0xb400);
        for (int64_t k = two ? 4 : 2; k < f->bytes; k++) {
            const unsigned char code = (unsigned char)tiny_next(&t.random);
            put(&file, &code, 1);
        }
    }
}

static void put_keys(void)
{
    put_key_text(&file, "general.architecture", "llama");
    put_key_f32(&file, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_key_u32(&file, "llama.block_count", LAYERS);
    put_key_u32(&file, "llama.context_length", 64);
    put_key_u32(&file, "llama.embedding_length", WIDTH);
    put_key_u32(&file, "llama.feed_forward_length", FFN);
    put_key_u32(&file, "llama.attention.head_count", HEADS);
    put_key_u32(&file, "llama.attention.head_count_kv", KV);
    put_key_u32(&file, "llama.rope.dimension_count", SIZE);
}

/* The first tensor, the embedding, is none of a layer's. */
static const struct part *part_of(int k) { return &parts[k > 0 ? (k - 1) % PARTS : 0]; }

static void write_model(const char *path)
{
    enum { TENSORS = 2 + LAYERS * PARTS };
    uint64_t offset = 0;
    put_header(&file, TENSORS, 9);
    put_keys();
    for (int k = 0; k < TENSORS; k++) {
        const int l = (k - 1) / PARTS;
        const struct part *q = part_of(k);
        char name[64];
        snprintf(name, sizeof name, "blk.%d.%s", l, k > 0 ? q->name : "");
        const bool ends = k == 0 || k == TENSORS - 1;
        const int inner = ends ? WIDTH : q->inner, outer = k == 0 ? TINY_VOCAB
                                                           : ends ? 0
                                                                  : q->outer;
        const uint32_t type = ends ? F32 : l ? q->second : q->type;
        put_tensor(&file,
                   k == 0 ? "token_embd.weight"
                   : ends ? "output_norm.weight"
                          : name,
                   (uint64_t)inner, (uint64_t)outer, type, offset);
        offset += (bytes_of(type, (int64_t)inner * (outer ? outer : 1)) + 31) / 32 * 32;
    }
    for (int k = 0; k < TENSORS; k++) {
        const struct part *q = part_of(k);
        const bool ends = k == 0 || k == TENSORS - 1;
        const int64_t numbers = k == 0 ? WIDTH * TINY_VOCAB
                                : ends ? WIDTH
                                       : (int64_t)q->inner * (q->outer ? q->outer : 1);
        pad(&file);
        put_numbers(ends              ? F32
                    : (k - 1) / PARTS ? q->second
                                      : q->type,
                    numbers, k == TENSORS - 1 || (!ends && q->outer == 0));
    }
    cr_assert_eq(plumb_file_write(path, file.data, file.n), PLUMB_OK);
}

static void init(void)
{
    tiny_init(&t);
    write_model(tiny_path(&t, "model.gguf"));
}
static void release(void) { tiny_release(&t); }
TestSuite(packed, .init = init, .fini = release, .timeout = 280);

static struct arguments train(const char *command, const char *data, const char *out)
{
    struct arguments a = tiny_arguments(&t, command, data, out);
    ADD(&a, "--model_name_or_path", tiny_kept(&t, "model.gguf"), "--use_peft", "--lora_r", "4",
        "--lora_target_modules", "all-linear", "--learning_rate", "0.01", "--logging_steps", "1",
        "--max_steps", "5", "--overwrite_output_dir");
    return a;
}

static void same_metrics(const char *a, const char *b)
{
    char x[64], y[64];
    snprintf(x, sizeof x, "%s/metrics.jsonl", a);
    snprintf(y, sizeof y, "%s/metrics.jsonl", b);
    char *m = plain_metrics(&t, x), *n = plain_metrics(&t, y);
    cr_expect_str_eq(m, n);
    free(m);
    free(n);
}

Test(packed, matrices_in_blocks_change_no_bit)
{
    static const char *const kinds[][3] = { { "--bf16", "false", "cpu" },
                                            { "--bf16", "true", "cpu" },
                                            { "--bf16", "false", "ref" } };
    static const char *const commands[][2] = { { "sft", "texts.jsonl" },
                                               { "dpo", "pairs.jsonl" },
                                               { "reward", "pairs.jsonl" } };
    for (int k = 0; k < 3; k++)
        for (int c = 0; c < 3; c++) {
            struct arguments a = train(commands[c][0], commands[c][1], "a"),
                             b = train(commands[c][0], commands[c][1], "b");
            struct arguments *const both[] = { &a, &b };
            for (int i = 0; i < 2; i++)
                ADD(both[i], kinds[k][0], kinds[k][1], "--device", kinds[k][2], "--keep_quantized",
                    i ? "true" : "false");
            run_to_end(&p, &a);
            run_to_end(&p, &b);
            same_bytes(&t, "a", "b", "adapter_model.safetensors");
            same_metrics("a", "b");
        }
}

Test(packed, a_matrix_trained_whole_is_in_plain_numbers)
{
    struct arguments a = train("sft", "texts.jsonl", "a"), b = train("sft", "texts.jsonl", "b");
    ADD(&a, "--lora_modules_to_save", "down_proj,norm", "--bf16", "false");
    ADD(&b, "--lora_modules_to_save", "down_proj,norm", "--bf16", "false", "--keep_quantized");
    run_to_end(&p, &a);
    run_to_end(&p, &b);
    same_bytes(&t, "a", "b", "adapter_model.safetensors");
}

Test(packed, what_has_no_blocks_is_told)
{
    struct arguments a = tiny_arguments(&t, "sft", "texts.jsonl", "a");
    ADD(&a, "--use_peft", "--keep_quantized");
    program_run(&p, a.v);
    cr_expect(p.code == 1 && strstr(p.err, "has no matrix in blocks"), "%d: %s", p.code, p.err);
    struct arguments b = tiny_arguments(&t, "sft", "texts.jsonl", "a");
    ADD(&b, "--keep_quantized");
    program_run(&p, b.v);
    cr_expect(p.code == 2 && strstr(p.err, "keep_quantized wants use_peft"), "%s", p.err);
}
