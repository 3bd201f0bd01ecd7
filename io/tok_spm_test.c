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
    for (size_t i = 0; i < whole; i++)
        for (int bit = 0; bit < 8; bit += 3) {
            struct plumb_idbuf ids = { 0 };
            make();
            model[i] ^= (unsigned char)(1 << bit);
            if (!open_model(&t, whole)) t.encode(t.self, "ab <x>q", 7, true, &ids);
            plumb_idbuf_release(&ids);
            plumb_tokenizer_release(&t);
        }
}
