/* Models of SentencePiece written by hand, whole and damaged. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/tokenizer.h"

static unsigned char model[1024];
static size_t size;

static void field(const void *bytes, size_t n)
{
    memcpy(model + size, bytes, n);
    size += n;
}

/* A piece: text, score, type. */
static void piece(const char *text, float score, int type)
{
    const size_t n = strlen(text);
    const unsigned char head[] = { 0x0A, (unsigned char)(n + 9), 0x0A, (unsigned char)n };
    const unsigned char tail[] = { 0x18, (unsigned char)type };
    field(head, 4);
    field(text, n);
    field("\x15", 1);
    field(&score, 4);
    field(tail, 2);
}

static void write_model(char *dir, size_t n)
{
    char path[128];
    memcpy(dir, "/tmp/plumb-spm-XXXXXX", 22);
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/tokenizer.model", dir);
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(model, 1, n, f) == n && !fclose(f));
}

static int open_model(struct plumb_text *t, size_t n)
{
    char dir[32], path[128];
    write_model(dir, n);
    const int rc = plumb_tokenizer_open(t, dir);
    snprintf(path, sizeof path, "%s/tokenizer.model", dir);
    unlink(path);
    rmdir(dir);
    return rc;
}

static void make(void)
{
    size = 0;
    piece("<unk>", 0, 2);
    piece("<s>", 0, 3);
    piece("</s>", 0, 3);
    piece("\xE2\x96\x81", -2, 1);
    piece("\xE2\x96\x81"
          "ab",
          -1, 1);
    piece("a", -3, 1);
    piece("b", -3, 1);
    piece("<x>", 0, 4);
}

Test(tok_spm, text_becomes_the_likeliest_pieces_and_comes_back)
{
    static const int32_t want[] = { 4, 3, 5, 7, 0, 6 };
    struct plumb_text t;
    struct plumb_idbuf ids = { 0 };
    char *text;
    size_t n;
    make();
    cr_assert_eq(open_model(&t, size), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(t.bos_id == 1 && t.eos_id == 2 && t.unk_id == 0);
    /* spaces are one, control pieces are no text, two unknown characters are one token */
    cr_assert_eq(t.encode(t.self, "  ab  a<x>qzb ", 14, true, &ids), PLUMB_OK);
    cr_assert_eq(ids.n, 6, "%lld ids", (long long)ids.n);
    cr_expect(!memcmp(ids.id, want, sizeof want));
    cr_assert_eq(t.decode(t.self, ids.id, ids.n, false, &text, &n), PLUMB_OK);
    cr_expect_str_eq(text, "ab a<x> \xE2\x81\x87 b");
    free(text);
    plumb_idbuf_release(&ids);
    plumb_tokenizer_release(&t);
}

#define META "\xE2\x96\x81"

/* A BPE vocabulary. Scores of "ab" and "bc" tie; "abc" is unused. */
static void make_bpe(void)
{
    size = 0;
    piece("<unk>", 0, 2);
    piece("<s>", 0, 3);
    piece("</s>", 0, 3);
    piece(META, -10, 1);
    piece("a", -11, 1);
    piece("b", -11, 1);
    piece("c", -11, 1);
    piece("ab", -1, 1);
    piece("bc", -1, 1);
    piece(META "a", -3, 1);
    piece("abc", -2, 5);
    piece("<x>", 0, 4);
    field("\x12\x02\x18\x02", 4); /* trainer_spec.model_type = BPE */
}

static void expect_ids(struct plumb_text *t, const char *text, const char *wanted)
{
    struct plumb_idbuf ids = { 0 };
    char got[200] = "";
    cr_assert_eq(t->encode(t->self, text, strlen(text), true, &ids), PLUMB_OK, "%s",
                 plumb_errmsg());
    for (int64_t i = 0; i < ids.n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", ids.id[i]);
    cr_expect_str_eq(got, wanted, "\"%s\" gave %s", text, got);
    plumb_idbuf_release(&ids);
}

Test(tok_spm, bpe_merges_the_best_score_first_and_equal_ones_from_the_left)
{
    struct plumb_text t;
    make_bpe();
    cr_assert_eq(open_model(&t, size), PLUMB_OK, "%s", plumb_errmsg());
    expect_ids(&t, "a", "9");
    expect_ids(&t, "bca", "3 8 4");
    /* "ab" before "bc", then "abc", which is unused and falls apart into what made it */
    expect_ids(&t, "abc", "3 7 6");
    /* no merge reaches into a user-defined piece; two unknown characters are one token */
    expect_ids(&t, "aqz<x>a", "9 0 11 4");
    expect_ids(&t, "  bc  a ", "3 8 9");
    expect_ids(&t, "", "");
    plumb_tokenizer_release(&t);
}

Test(tok_spm, bpe_writes_unknown_characters_as_bytes_where_asked_to)
{
    struct plumb_text t;
    char *text;
    size_t n;
    make_bpe();
    piece("<0x71>", 0, 6);
    field("\x12\x03\x98\x02\x01", 5); /* trainer_spec.byte_fallback */
    cr_assert_eq(open_model(&t, size), PLUMB_OK, "%s", plumb_errmsg());
    expect_ids(&t, "aqqb", "9 12 12 5");
    const int32_t id[] = { 3, 9, 12, 1, 0 };
    cr_assert_eq(t.decode(t.self, id, 5, false, &text, &n), PLUMB_OK);
    /* all space at the start goes, as it is removed when reading */
    cr_expect_str_eq(text, "aq \xE2\x81\x87 ");
    free(text);
    plumb_tokenizer_release(&t);
}

Test(tok_spm, files_beside_a_model_say_what_stands_around_a_text)
{
    struct plumb_text t;
    char dir[32], path[128];
    static const char config[] = "{\"tokenizer_class\": \"LlamaTokenizer\", \"bos_token\": \"<s>\","
                                 "\"eos_token\": \"</s>\", \"add_eos_token\": true}";
    make_bpe();
    write_model(dir, size);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(config, f) >= 0 && !fclose(f));
    cr_assert_eq(plumb_tokenizer_open(&t, dir), PLUMB_OK, "%s", plumb_errmsg());
    expect_ids(&t, "a</s>", "1 9 2 2");
    plumb_tokenizer_release(&t);
    unlink(path);
    snprintf(path, sizeof path, "%s/tokenizer.model", dir);
    unlink(path);
    rmdir(dir);
}

static void damage(void (*build)(void))
{
    struct plumb_text t;
    build();
    const size_t whole = size;
    for (size_t i = 0; i < whole; i++)
        for (int bit = 0; bit < 8; bit += 3) {
            struct plumb_idbuf ids = { 0 };
            build();
            model[i] ^= (unsigned char)(1 << bit);
            if (!open_model(&t, whole)) t.encode(t.self, "abc <x>q", 8, true, &ids);
            plumb_idbuf_release(&ids);
            plumb_tokenizer_release(&t);
        }
}

Test(tok_spm, a_damaged_file_is_refused_or_read_and_never_more)
{
    struct plumb_text t;
    int refused = 0;
    make();
    const size_t whole = size;
    for (size_t n = 0; n < whole; n++) {
        refused += open_model(&t, n) != PLUMB_OK;
        plumb_tokenizer_release(&t);
    }
    cr_expect_gt(refused, (int)whole / 2, "%d of %zu cuts were refused", refused, whole);
    damage(make);
    damage(make_bpe);
}
