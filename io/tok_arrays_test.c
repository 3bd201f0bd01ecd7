/* Tokenizers from arrays, and what a byte-level alphabet shows: bytes, long words, threads. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer.h"

static void expect_ids(struct plumb_text *t, const char *text, const int32_t *wanted, int64_t count)
{
    struct plumb_idbuf got = { 0 };
    cr_assert_eq(t->encode(t->self, text, strlen(text), true, &got), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect(got.n == count && !memcmp(got.id, wanted, (size_t)count * 4), "\"%s\"", text);
    plumb_idbuf_release(&got);
}

static void expect_text(struct plumb_text *t, const int32_t *id, int64_t count, const char *wanted)
{
    char *got;
    size_t n;
    cr_assert_eq(t->decode(t->self, id, count, false, &got, &n), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_str_eq(got, wanted, "got \"%s\"", got);
    cr_expect_eq(n, strlen(wanted));
    free(got);
}

/* GPT-2's byte alphabet: id i is byte i. The published rule: bytes that Latin-1 prints are
 * themselves, the others U+0100, U+0101, ... in order. Further tokens and merges follow. */
struct bytes_vocabulary {
    char text[256][3];
    const char *token[300];
    struct plumb_vocabulary v;
};

static void byte_alphabet(struct bytes_vocabulary *b, const char *pre)
{
    int hidden = 0x100;
    *b = (struct bytes_vocabulary){ 0 };
    for (int i = 0; i < 256; i++) {
        const bool shown = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174;
        const int cp = shown ? i : hidden++;
        if (cp < 0x80)
            b->text[i][0] = (char)cp;
        else
            memcpy(b->text[i], (char[]){ (char)(0xC0 | cp >> 6), (char)(0x80 | (cp & 0x3F)) }, 2);
        b->token[i] = b->text[i];
    }
    b->v = (struct plumb_vocabulary){ .model = "gpt2",
                                      .pre = pre,
                                      .token = b->token,
                                      .n = 256,
                                      .bos_id = -1,
                                      .eos_id = -1,
                                      .pad_id = -1,
                                      .unk_id = -1 };
}

Test(tok_arrays, any_bytes_are_encoded_one_by_one_and_text_comes_back)
{
    static const char *const pres[] = { "gpt-2", "smollm", "qwen2", "llama-bpe" };
    for (int p = 0; p < 4; p++) {
        struct bytes_vocabulary b;
        struct plumb_text t;
        struct plumb_idbuf got = { 0 };
        char all[256 + 7];
        byte_alphabet(&b, pres[p]);
        cr_assert_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_OK, "%s", plumb_errmsg());
        for (int i = 0; i < 256; i++)
            all[i] = (char)i;
        memcpy(all + 256, " \xC3\xA9 \xE2\x82", 7);
        cr_assert_eq(t.encode(t.self, all, 262, true, &got), PLUMB_OK, "%s", plumb_errmsg());
        cr_assert_eq(got.n, 262);
        for (int i = 0; i < 262; i++)
            cr_expect_eq(got.id[i], (unsigned char)all[i]);
        expect_text(&t, (const int32_t[]){ 'h', 0xC3, 0xA9, '!' }, 4, "h\xC3\xA9!");
        expect_text(&t, (const int32_t[]){ 'h', 0xC3, '!' }, 3, "h\xEF\xBF\xBD!");
        plumb_idbuf_release(&got);
        plumb_tokenizer_release(&t);
    }
}

/* Digits tell the named pre-tokenizers apart: together, one by one, in threes. */
Test(tok_arrays, named_pretokenizers_cut_numbers_as_their_models_do)
{
    static const char *const merge[] = { "1 2", "3 4", "12 34" };
    static const struct {
        const char *pre;
        int32_t id[4];
        int64_t n;
    } rows[] = { { "gpt-2", { 258 }, 1 },
                 { "smollm", { '1', '2', '3', '4' }, 4 },
                 { "qwen2", { '1', '2', '3', '4' }, 4 },
                 { "llama-bpe", { 256, '3', '4' }, 3 } };
    for (int i = 0; i < 4; i++) {
        struct bytes_vocabulary b;
        struct plumb_text t;
        byte_alphabet(&b, rows[i].pre);
        b.token[256] = "12", b.token[257] = "34", b.token[258] = "1234";
        b.v.n = 259, b.v.merge = merge, b.v.merges = 3;
        cr_assert_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_OK, "%s", plumb_errmsg());
        expect_ids(&t, "1234", rows[i].id, rows[i].n);
        plumb_tokenizer_release(&t);
    }
}

Test(tok_arrays, long_words_cost_no_square)
{
    static const char *const merge[] = { "a a", "aa aa" };
    enum { N = 1 << 20 };
    struct bytes_vocabulary b;
    struct plumb_text t;
    struct plumb_idbuf got = { 0 };
    byte_alphabet(&b, "gpt-2");
    b.token[256] = "aa", b.token[257] = "aaaa";
    b.v.n = 258, b.v.merge = merge, b.v.merges = 2;
    cr_assert_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_OK, "%s", plumb_errmsg());
    char *text = malloc(N + 3);
    cr_assert_not_null(text);
    memset(text, 'a', N + 3);
    cr_assert_eq(t.encode(t.self, text, N + 3, true, &got), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(got.n, N / 4 + 2); /* what is left of aaa: aa, a */
    for (int i = 0; i < N / 4; i++)
        cr_assert_eq(got.id[i], 257);
    cr_expect(got.id[N / 4] == 256 && got.id[N / 4 + 1] == 'a');
    free(text);
    plumb_idbuf_release(&got);
    plumb_tokenizer_release(&t);
}

/* A line of 11 MB without a word: the pattern goes back over it several times. */
Test(tok_arrays, megabytes_of_spaces_are_one_word)
{
    enum { N = 11 << 20 };
    struct bytes_vocabulary b;
    struct plumb_text t;
    struct plumb_idbuf got = { 0 };
    byte_alphabet(&b, "qwen2");
    cr_assert_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_OK, "%s", plumb_errmsg());
    char *text = malloc(N);
    cr_assert_not_null(text);
    memset(text, ' ', N);
    cr_assert_eq(t.encode(t.self, text, N, true, &got), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(got.n, N);
    for (int i = 0; i < N; i++)
        cr_assert_eq(got.id[i], ' ');
    free(text);
    plumb_idbuf_release(&got);
    plumb_tokenizer_release(&t);
}

/* Marks of classes 230 and 220 in turn: sorting neighbours would take hours. */
Test(tok_arrays, a_million_combining_marks_are_put_in_order)
{
    enum { N = 1 << 20 };
    struct bytes_vocabulary b;
    struct plumb_text t;
    struct plumb_idbuf got = { 0 };
    byte_alphabet(&b, "qwen2");
    cr_assert_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_OK, "%s", plumb_errmsg());
    char *text = malloc(4 * N + 1);
    cr_assert_not_null(text);
    text[0] = 'b';
    for (int i = 0; i < N; i++)
        memcpy(text + 1 + 4 * i, "\xCC\x8D\xCC\xB1", 4);
    cr_assert_eq(t.encode(t.self, text, 4 * N + 1, true, &got), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(got.n, 4 * N + 1); /* b and the first macron below (U+0331) compose to U+1E07 */
    cr_expect(got.id[0] == 0xE1 && got.id[1] == 0xB8 && got.id[2] == 0x87);
    for (int64_t i = 3; i < got.n; i += 2) {
        cr_assert_eq(got.id[i], 0xCC);
        cr_assert_eq(got.id[i + 1], i < 2 * N + 1 ? 0xB1 : 0x8D);
    }
    free(text);
    plumb_idbuf_release(&got);
    plumb_tokenizer_release(&t);
}

Test(tok_arrays, arrays_that_disagree_are_named)
{
    static const char *const merge[] = { "a q" };
    static const float nan_score[256] = { [5] = 0.0f / 0.0f };
    struct bytes_vocabulary b;
    struct plumb_text t;
    byte_alphabet(&b, "nonsense");
    cr_expect_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "nonsense"), "message was: %s", plumb_errmsg());
    byte_alphabet(&b, "gpt-2");
    b.v.merge = merge, b.v.merges = 1;
    cr_expect_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "\"aq\""), "message was: %s", plumb_errmsg());
    byte_alphabet(&b, "gpt-2");
    b.v.bos_id = 256;
    cr_expect_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "256"), "message was: %s", plumb_errmsg());
    byte_alphabet(&b, "gpt-2");
    b.token[7] = "\xFF";
    cr_expect_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "token 7"), "message was: %s", plumb_errmsg());
    byte_alphabet(&b, NULL);
    b.v.model = "llama";
    cr_expect_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "scores"), "message was: %s", plumb_errmsg());
    b.v.score = nan_score;
    cr_expect_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "NaN"), "message was: %s", plumb_errmsg());
    b.v.model = "bert";
    cr_expect_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "bert"), "message was: %s", plumb_errmsg());
}

static void *encode_often(void *text)
{
    struct plumb_text *t = text;
    intptr_t wrong = 0;
    for (int i = 0; i < 2000; i++) {
        struct plumb_idbuf got = { 0 };
        char s[32], *back;
        size_t n;
        snprintf(s, sizeof s, "word%d \xC3\xA9 %d", i % 7, i);
        wrong += t->encode(t->self, s, strlen(s), true, &got) != PLUMB_OK;
        wrong += t->decode(t->self, got.id, got.n, true, &back, &n) != PLUMB_OK || strcmp(back, s);
        free(back);
        plumb_idbuf_release(&got);
    }
    return (void *)wrong;
}

Test(tok_arrays, threads_may_share_one)
{
    struct bytes_vocabulary b;
    struct plumb_text t;
    pthread_t thread[4];
    byte_alphabet(&b, "qwen2");
    cr_assert_eq(plumb_tokenizer_from_arrays(&t, &b.v), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, encode_often, &t), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong = &t;
        pthread_join(thread[i], &wrong);
        cr_expect_null(wrong);
    }
    plumb_tokenizer_release(&t);
}
