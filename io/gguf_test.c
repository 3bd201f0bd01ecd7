/* The GGUF reader on files put together here by the specification, whole and broken. */
#include "io/gguf.h"

#include <math.h>
#include <unistd.h>

#include "io/gguf_bytes.h"
#include "io/gguf_cursor.h"
#include "tests/shared.h"

static struct gguf_bytes file;

static void open_file(struct plumb_gguf *g)
{
    const char *path = save(&file);
    const int rc = plumb_gguf_open(g, path);
    unlink(path);
    cr_assert_eq(rc, PLUMB_OK, "%s", plumb_errmsg());
}

static void put_scalars(struct gguf_bytes *b)
{
    const int16_t i16 = -300;
    const int32_t i32 = -70000;
    const double f64 = 0.1;
    put_key(b, "b.u8", 0), put(b, "\xc8", 1);
    put_key(b, "b.i8", 1), put(b, "\xfd", 1);
    put_key(b, "b.u16", 2), put_u16(b, 60000);
    put_key(b, "b.i16", 3), put(b, &i16, 2);
    put_key_u32(b, "b.u32", 4000000000u);
    put_key(b, "b.i32", 5), put(b, &i32, 4);
    put_key_f32(b, "f32", 1.5f);
    put_key(b, "flag", 7), put(b, "\1", 1);
    put_key_text(b, "text", "héllo");
    put_key(b, "u64", 10), put_u64(b, INT64_MAX);
    put_key(b, "i64", 11), put_u64(b, UINT64_MAX);
    put_key(b, "f64", 12), put(b, &f64, 8);
}

Test(gguf, reads_single_values_of_every_type)
{
    static const struct {
        const char *key;
        int64_t value;
    } whole[] = { { "b.u8", 200 },      { "b.i8", -3 },      { "b.u16", 60000 },
                  { "b.i16", -300 },    { "b.i32", -70000 }, { "b.u32", 4000000000 },
                  { "u64", INT64_MAX }, { "i64", -1 } };
    struct plumb_gguf g;
    double real[3];
    bool truth;
    char *text;
    put_header(&file, 0, 12);
    put_scalars(&file);
    open_file(&g);
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        int64_t got;
        cr_assert_eq(plumb_gguf_i64(&g, whole[i].key, &got), PLUMB_OK, "%s", plumb_errmsg());
        cr_expect_eq(got, whole[i].value, "%s is %lld", whole[i].key, (long long)got);
    }
    cr_assert_eq(plumb_gguf_f64_or(&g, "f64", 0, &real[0]), PLUMB_OK);
    cr_assert_eq(plumb_gguf_f64_or(&g, "f32", 0, &real[1]), PLUMB_OK);
    cr_assert_eq(plumb_gguf_f64_or(&g, "absent", 7, &real[2]), PLUMB_OK);
    cr_expect(real[0] == 0.1 && real[1] == 1.5 && real[2] == 7);
    cr_assert_eq(plumb_gguf_bool_or(&g, "flag", false, &truth), PLUMB_OK);
    cr_expect(truth);
    cr_assert_eq(plumb_gguf_copy_string(&g, "text", &text), PLUMB_OK);
    cr_expect_str_eq(text, "héllo");
    free(text);
    plumb_gguf_release(&g);
}

Test(gguf, reads_arrays)
{
    const int32_t list[3] = { 5, -6, 7 };
    const float scores[2] = { 0.5f, -2 };
    put_header(&file, 0, 3);
    put_key(&file, "i32s", 9), put_u32(&file, 5), put_u64(&file, 3), put(&file, list, 12);
    put_key(&file, "texts", 9), put_u32(&file, 8), put_u64(&file, 2);
    put_text(&file, ""), put_text(&file, "ab");
    put_key(&file, "f32s", 9), put_u32(&file, 6), put_u64(&file, 2), put(&file, scores, 8);
    struct plumb_gguf g;
    open_file(&g);
    const char *const *texts;
    int32_t *numbers;
    float *floats;
    int64_t n;
    cr_assert_eq(plumb_gguf_strings(&g, "texts", &texts, &n), PLUMB_OK);
    cr_expect(n == 2 && !strcmp(texts[0], "") && !strcmp(texts[1], "ab"));
    cr_assert_eq(plumb_gguf_i32s(&g, "i32s", &numbers, &n), PLUMB_OK);
    cr_expect(n == 3 && numbers[0] == 5 && numbers[1] == -6 && numbers[2] == 7);
    cr_assert_eq(plumb_gguf_f32s(&g, "f32s", &floats, &n), PLUMB_OK);
    cr_expect(n == 2 && floats[0] == 0.5f && floats[1] == -2);
    free((void *)texts);
    free(numbers);
    free(floats);
    cr_assert_eq(plumb_gguf_strings(&g, "absent", &texts, &n), PLUMB_OK);
    cr_expect(!texts && n == 0);
    cr_expect_eq(plumb_gguf_i32s(&g, "texts", &numbers, &n), PLUMB_EFORMAT);
    plumb_gguf_release(&g);
}

Test(gguf, names_file_key_and_what_stands_there)
{
    put_header(&file, 0, 2);
    put_key_text(&file, "a", "x");
    put_key(&file, "b", 7), put(&file, "\2", 1);
    struct plumb_gguf g;
    open_file(&g);
    int64_t i;
    bool flag;
    cr_expect_eq(plumb_gguf_i64(&g, "a", &i), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "\"a\" wants a whole number, got a string"), "%s",
              plumb_errmsg());
    cr_expect_eq(plumb_gguf_i64(&g, "c", &i), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "\"c\" wants a whole number, got nothing"), "%s",
              plumb_errmsg());
    cr_expect_eq(plumb_gguf_bool_or(&g, "b", false, &flag), PLUMB_EFORMAT);
    plumb_gguf_release(&g);
}

/* Six tensors of two rows of 32 numbers, a block a row where there are blocks. */
enum { ROW = 32, KINDS = 6 };
static const uint32_t kind[KINDS] = { 0, 1, 30, 2, 3, 8 };
static const char *const kind_name[KINDS] = { "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0" };
static const size_t row_bytes[KINDS] = { 128, 64, 64, 18, 20, 34 };

/* Element i of row r of tensor k: small numbers, exact in every format. */
static double number_at(int k, int r, int i)
{
    const int nibble = (i * 7 + r) % 16;
    switch (k) {
    case 0: return (i - 16) * 0.125 + r;
    case 1:
    case 2: return i - 16 + r;
    case 3: return (r ? 0.25 : -2) * (nibble - 8);
    case 4: return (r ? 0.5 : 2) * nibble + (r ? -3 : 0.75);
    default: return (r ? 0.125 : 1) * (i * 8 - 128);
    }
}

static uint16_t half(double x) /* of 2^-3 .. 2^1 or such with few bits, as f16 */
{
    int e;
    const double f = frexp(fabs(x), &e);
    return x == 0 ? 0 : (uint16_t)((x < 0) << 15 | (e - 1 + 15) << 10 | (int)((f * 2 - 1) * 1024));
}

static void put_row(struct gguf_bytes *b, int k, int r)
{
    const double d = k == 3 ? (r ? 0.25 : -2) : k == 4 ? (r ? 0.5 : 2) : r ? 0.125 : 1;
    if (k >= 3) put_u16(b, half(d));
    if (k == 4) put_u16(b, half(r ? -3 : 0.75));
    for (int i = 0; i < ROW; i++) {
        const float f = (float)number_at(k, r, i);
        uint32_t bits;
        memcpy(&bits, &f, 4);
        const int low = (i * 7 + r) % 16, high = ((i + 16) * 7 + r) % 16;
        const unsigned char pair = (unsigned char)(low | high << 4);
        const int8_t byte = (int8_t)(i * 8 - 128);
        if (k == 0) put(b, &f, 4);
        if (k == 1) put_u16(b, half((double)f));
        if (k == 2) put_u16(b, (uint16_t)(bits >> 16));
        if ((k == 3 || k == 4) && i < 16) put(b, &pair, 1);
        if (k == 5) put(b, &byte, 1);
    }
}

static void put_tensors(struct gguf_bytes *b)
{
    uint64_t offset = 0;
    put_header(b, KINDS, 1);
    put_key_text(b, "general.architecture", "none");
    for (int k = 0; k < KINDS; k++) {
        put_tensor(b, kind_name[k], ROW, 2, kind[k], offset);
        offset += (2 * row_bytes[k] + 31) / 32 * 32;
    }
    for (int k = 0; k < KINDS; k++) {
        pad(b);
        put_row(b, k, 0);
        put_row(b, k, 1);
    }
}

Test(gguf, dequantises_by_the_definition_of_each_type)
{
    put_tensors(&file);
    struct plumb_gguf g;
    open_file(&g);
    for (int k = 0; k < KINDS; k++) {
        const int64_t at = plumb_gguf_tensor_find(&g, kind_name[k]);
        cr_assert_geq(at, 0);
        const struct plumb_gguf_tensor *t = &g.tensor[at];
        cr_assert(!strcmp(t->type, kind_name[k]) && t->rank == 2 && t->shape[0] == 2 &&
                  t->shape[1] == ROW);
        for (int first = 0; first < 2 * ROW; first += 5)
            for (int n = 0; n <= 2 * ROW - first; n += 9) {
                double out[2 * ROW];
                plumb_gguf_read(t, first, n, out);
                for (int i = 0; i < n; i++) {
                    const double want = number_at(k, (first + i) / ROW, (first + i) % ROW);
                    cr_assert_eq(out[i], want, "%s[%d] is %g, not %g", t->type, first + i, out[i],
                                 want);
                }
            }
    }
    plumb_gguf_release(&g);
}

Test(gguf, types_in_blocks_are_those_of_the_quantised_formats)
{
    for (uint32_t type = 0; type < 100; type++) {
        const struct plumb_quant_format *q = plumb_quant_format(type);
        const struct plumb_gguf_format *f = plumb_gguf_format(type);
        cr_expect(!q || (f && f->quant == q->type && f->per == q->numbers && f->bytes == q->bytes &&
                         !strcmp(f->name, q->name)));
        cr_expect(q || !f || f->quant == PLUMB_QUANT_NONE);
    }
}

static void refused(int code, const char *why)
{
    struct plumb_gguf g;
    const char *path = save(&file);
    const int rc = plumb_gguf_open(&g, path);
    unlink(path);
    cr_expect_eq(rc, code, "\"%s\" gave %d: %s", why, rc, rc ? plumb_errmsg() : "accepted");
    cr_expect(rc == PLUMB_OK || strstr(plumb_errmsg(), why), "wanted \"%s\", got: %s", why,
              plumb_errmsg());
    if (rc == PLUMB_OK) plumb_gguf_release(&g);
}

Test(gguf, refuses_broken_headers_and_metadata_by_name)
{
    file.n = 0, put(&file, "GGML then something that is long", 32);
    refused(PLUMB_EFORMAT, "is not GGUF");
    file.n = 0;
    refused(PLUMB_EFORMAT, "is not GGUF");
    put_header(&file, 0, 0), file.data[4] = 1;
    refused(PLUMB_ENOTSUP, "version 1");
    put_header(&file, 0, 0), memcpy(file.data + 4, "\0\0\0\3", 4);
    refused(PLUMB_ENOTSUP, "version 3, big-endian");
    put_header(&file, 0, UINT64_MAX);
    refused(PLUMB_EFORMAT, "cannot hold 18446744073709551615 keys");
    put_header(&file, 1ull << 60, 0);
    refused(PLUMB_EFORMAT, "cannot hold 1152921504606846976 tensors");
    put_header(&file, 0, 1), put_u64(&file, UINT64_MAX), put_u64(&file, 0);
    refused(PLUMB_EFORMAT, "a key of 18446744073709551615 bytes reaches past");
    put_header(&file, 0, 1), put_key(&file, "k", 99), put_u64(&file, 0);
    refused(PLUMB_EFORMAT, "\"k\" has the unknown value type 99");
    put_header(&file, 0, 1), put_key(&file, "bad key", 0), put_u64(&file, 0);
    refused(PLUMB_EFORMAT, "a key holds the byte 0x20");
    put_header(&file, 0, 1), put_key(&file, "k", 9), put_u32(&file, 4), put_u64(&file, 1ull << 62);
    refused(PLUMB_EFORMAT, "\"k\" has 4611686018427387904 elements");
    put_header(&file, 0, 1), put_key(&file, "k", 9), put_u32(&file, 9), put_u64(&file, 1),
        put_u64(&file, 1);
    refused(PLUMB_ENOTSUP, "\"k\" is an array of arrays");
    put_header(&file, 0, 1), put_key(&file, "k", 8), put_u64(&file, 3), put(&file, "a\0b", 3);
    refused(PLUMB_EFORMAT, "string 0 of \"k\" holds a NUL byte");
    put_header(&file, 0, 2), put_key_u32(&file, "k", 1), put_key_u32(&file, "k", 2);
    refused(PLUMB_EFORMAT, "the key \"k\" stands twice");
    put_header(&file, 0, 1), put_key_u32(&file, "general.alignment", 0);
    refused(PLUMB_EFORMAT, "\"general.alignment\" is 0");
}

static void put_one(const char *name, uint64_t inner, uint64_t outer, uint32_t type,
                    uint64_t offset)
{
    put_header(&file, 1, 0);
    put_tensor(&file, name, inner, outer, type, offset);
    pad(&file);
    for (int i = 0; i < 4; i++)
        put(&file, "0123456789abcdef0123456789abcdef", 32);
}

Test(gguf, refuses_broken_tensor_tables_by_name)
{
    put_one("t", 32, 0, 0, 0);
    refused(PLUMB_OK, "");
    put_one("t", 33, 0, 0, 0);
    refused(PLUMB_EFORMAT, "tensor \"t\" of 132 bytes at 0 reaches past");
    put_one("t", 8, 0, 0, 128);
    refused(PLUMB_EFORMAT, "tensor \"t\" of 32 bytes at 128 reaches past");
    put_one("t", 8, 0, 0, UINT64_MAX - 31);
    refused(PLUMB_EFORMAT, "reaches past");
    put_one("t", 8, 0, 0, 8);
    refused(PLUMB_EFORMAT, "begins at byte 8, not a multiple of 32");
    put_one("t", 1ull << 40, 1ull << 40, 0, 0);
    refused(PLUMB_EFORMAT, "overflows");
    put_one("t", 1ull << 62, 0, 0, 0);
    refused(PLUMB_EFORMAT, "overflows");
    put_one("t", 0, 0, 0, 0);
    refused(PLUMB_EFORMAT, "a size of 0");
    put_one("t", 31, 0, 2, 0);
    refused(PLUMB_EFORMAT, "31 numbers, not a multiple of Q4_0's block of 32");
    put_one("t", 256, 0, 20, 0);
    refused(PLUMB_ENOTSUP, "type IQ4_NL is not supported");
    put_one("t", 224, 0, 12, 0);
    refused(PLUMB_EFORMAT, "224 numbers, not a multiple of Q4_K's block of 256");
    put_one("t", 256, 0, 12, 0);
    refused(PLUMB_EFORMAT, "tensor \"t\" of 144 bytes at 0 reaches past");
    put_one("t", 8, 0, 4000, 0);
    refused(PLUMB_EFORMAT, "the unknown type 4000");
    put_one("t", 8, 0, 5, 0);
    refused(PLUMB_EFORMAT, "the unknown type 5");
    put_header(&file, 1, 0), put_text(&file, "t"), put_u32(&file, 5);
    for (int i = 0; i < 6; i++)
        put_u64(&file, 1);
    refused(PLUMB_EFORMAT, "has rank 5");
    for (int apart = 0; apart < 3; apart++) { /* overlapping, of one name, good */
        put_header(&file, 2, 0);
        put_tensor(&file, "t", 16, 0, 0, 0);
        put_tensor(&file, apart == 1 ? "t" : "u", 8, 0, 0, apart ? 64 : 32);
        pad(&file);
        for (int i = 0; i < 3; i++)
            put(&file, "0123456789abcdef0123456789abcdef", 32);
        if (apart == 0) refused(PLUMB_EFORMAT, "tensors \"t\" and \"u\" overlap");
        if (apart == 1) refused(PLUMB_EFORMAT, "tensor \"t\" stands twice");
        if (apart == 2) refused(PLUMB_OK, "");
    }
}

/* Every prefix is refused, and a byte changed anywhere leads to a fault or to a file whose numbers
 * can be read: the sanitizers watch. */
Test(gguf, survives_every_cut_and_every_changed_byte)
{
    static struct gguf_bytes whole;
    int opened = 0;
    put_tensors(&whole);
    for (size_t n = 0; n < whole.n; n += n < 400 ? 1 : 7) {
        file = whole, file.n = n;
        refused(PLUMB_EFORMAT, "");
    }
    for (size_t at = 0; at < 520; at++)
        for (int change = 1; change < 256; change = change * 2 + 1) {
            struct plumb_gguf g;
            file = whole;
            file.data[at] = (char)(file.data[at] ^ change);
            const char *path = save(&file);
            if (plumb_gguf_open(&g, path) != PLUMB_OK) {
                cr_assert_neq(plumb_errmsg()[0], 0);
                continue;
            }
            opened++;
            for (int64_t i = 0; i < g.tensors; i++) {
                double out[64];
                const int64_t n = g.tensor[i].count < 64 ? g.tensor[i].count : 64;
                plumb_gguf_read(&g.tensor[i], g.tensor[i].count - n, n, out);
            }
            plumb_gguf_release(&g);
        }
    unlink(save(&file));
    cr_expect_gt(opened, 0);
}

/* Vocabularies of llama.cpp: counts and ends as the published tokenizers have them. */
Test(gguf, reads_the_vocabulary_files_of_llama_cpp)
{
    static const struct {
        const char *file, *architecture, *first, *last;
        int64_t tokens, merges, scores;
    } vocabularies[] = { { "gpt-2", "gpt2", "!", "<|endoftext|>", 50257, 50000, 0 },
                         { "phi-3", "phi3", "<unk>", NULL, 32064, 0, 32064 } };
    for (int v = 0; v < 2; v++) {
        char path[2000], name[200], *architecture;
        snprintf(name, sizeof name, "data/tokenizers/llama.cpp-vocab/ggml-vocab-%s.gguf",
                 vocabularies[v].file);
        if (!shared_path(path, sizeof path, name)) return;
        struct plumb_gguf g;
        cr_assert_eq(plumb_gguf_open(&g, path), PLUMB_OK, "%s", plumb_errmsg());
        const char *const *token, *const *merge;
        float *score;
        int32_t *type;
        int64_t n, merges, scores, types;
        cr_assert_eq(plumb_gguf_copy_string(&g, "general.architecture", &architecture), PLUMB_OK);
        cr_assert_eq(plumb_gguf_strings(&g, "tokenizer.ggml.tokens", &token, &n), PLUMB_OK);
        cr_assert_eq(plumb_gguf_strings(&g, "tokenizer.ggml.merges", &merge, &merges), PLUMB_OK);
        cr_assert_eq(plumb_gguf_f32s(&g, "tokenizer.ggml.scores", &score, &scores), PLUMB_OK);
        cr_assert_eq(plumb_gguf_i32s(&g, "tokenizer.ggml.token_type", &type, &types), PLUMB_OK);
        cr_expect(g.tensors == 0 && n == vocabularies[v].tokens && types == n);
        cr_expect(merges == vocabularies[v].merges && scores == vocabularies[v].scores);
        cr_expect_str_eq(architecture, vocabularies[v].architecture);
        cr_expect_str_eq(token[0], vocabularies[v].first);
        if (vocabularies[v].last) cr_expect_str_eq(token[n - 1], vocabularies[v].last);
        free(architecture);
        free((void *)token);
        free((void *)merge);
        free(score);
        free(type);
        plumb_gguf_release(&g);
    }
}
