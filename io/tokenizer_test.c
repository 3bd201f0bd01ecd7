/* Tokenizers made for one purpose each. What the published library gives for whole tokenizers is
 * replayed by tests/golden_text.c and tests/text_vectors_test.c. JSON is written with ' for ". */
#include "io/tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"

/* A SentencePiece-like vocabulary with a few byte pieces. */
#define PIECES                                                                                     \
    "'<unk>':0,'<s>':1,'</s>':2,'<0xC3>':3,'<0xA9>':4,'<0xFF>':5,'\\u2581':6,'a':7,'b':8,'ab':9,"  \
    "'\\u2581a':10,'c':11,'<x>':12"

/* Writes `text` as `name` into *dir, into a new folder when it names none. */
static void put_file(char dir[64], const char *name, const char *text)
{
    char path[200];
    struct plumb_writer w;
    if (!*dir) {
        snprintf(dir, 64, "/tmp/plumb-tokenizer-XXXXXX");
        cr_assert_not_null(mkdtemp(dir));
    }
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(plumb_writer_open(&w, path), PLUMB_OK, "%s", plumb_errmsg());
    for (; *text; text++)
        cr_assert_eq(plumb_writer_put(&w, *text == '\'' ? "\"" : text, 1), PLUMB_OK);
    cr_assert_eq(plumb_writer_commit(&w), PLUMB_OK, "%s", plumb_errmsg());
}

static void remove_folder(const char *dir)
{
    static const char *const names[] = { "tokenizer.json", "tokenizer_config.json", "vocab.json",
                                         "merges.txt", "special_tokens_map.json" };
    char path[200];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* A tokenizer.json: options of the model, further pieces, merges, further members of the file. */
static const char *json(const char *options, const char *pieces, const char *merges,
                        const char *members)
{
    static char text[2000];
    snprintf(text, sizeof text, "{'model':{'type':'BPE',%s'vocab':{" PIECES "%s},'merges':[%s]}%s}",
             options, pieces, merges, members);
    return text;
}

static int open_text(struct plumb_text *t, const char *text)
{
    char dir[64] = "";
    put_file(dir, "tokenizer.json", text);
    const int rc = plumb_tokenizer_open(t, dir);
    remove_folder(dir);
    return rc;
}

static void must_open(struct plumb_text *t, const char *text)
{
    cr_assert_eq(open_text(t, text), PLUMB_OK, "%s", plumb_errmsg());
}

static void expect_ids(struct plumb_text *t, const char *text, size_t n, const int32_t *wanted,
                       int64_t count)
{
    struct plumb_idbuf got = { 0 };
    cr_assert_eq(t->encode(t->self, text, n, true, &got), PLUMB_OK, "%s", plumb_errmsg());
    char shown[400] = "";
    for (int64_t i = 0; i < got.n && i < 30; i++)
        snprintf(shown + strlen(shown), sizeof shown - strlen(shown), " %d", got.id[i]);
    cr_expect(got.n == count && (!count || !memcmp(got.id, wanted, (size_t)count * 4)),
              "\"%.80s\" gave%s", n ? text : "", shown);
    plumb_idbuf_release(&got);
}
#define IDS(t, text, ...)                                                                          \
    expect_ids(t, text, strlen(text), (const int32_t[]){ __VA_ARGS__ },                            \
               sizeof((const int32_t[]){ __VA_ARGS__ }) / 4)

static void expect_text(struct plumb_text *t, const int32_t *id, int64_t count, bool skip,
                        const char *wanted)
{
    char *got;
    size_t n;
    cr_assert_eq(t->decode(t->self, id, count, skip, &got, &n), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_str_eq(got, wanted, "got \"%s\"", got);
    cr_expect_eq(n, strlen(wanted));
    free(got);
}
#define DECODED(t, skip, wanted, ...)                                                              \
    expect_text(t, (const int32_t[]){ __VA_ARGS__ }, sizeof((const int32_t[]){ __VA_ARGS__ }) / 4, \
                skip, wanted)

Test(tokenizer, unknown_characters_become_bytes_or_the_unknown_token)
{
    struct plumb_text t;
    must_open(&t, json("'unk_token':'<unk>','byte_fallback':true,", "", "'a b'", ""));
    IDS(&t, "ab\xC3\xA9z", 9, 3, 4, 0);
    IDS(&t, "zz", 0, 0);               /* fuse_unk is off */
    IDS(&t, "a\xFFz\xFE", 7, 5, 0, 0); /* bytes outside of UTF-8: with a piece, without */
    expect_ids(&t, "a\0b", 3, (const int32_t[]){ 7, 0, 8 }, 3);
    expect_ids(&t, NULL, 0, NULL, 0);
    plumb_tokenizer_release(&t);

    must_open(&t, json("'unk_token':'<unk>','fuse_unk':true,", "", "", ""));
    IDS(&t, "azzb\xFF\xFEz", 7, 0, 8, 0);
    plumb_tokenizer_release(&t);

    must_open(&t, json("", "", "", ""));
    IDS(&t, "azb", 7, 8); /* without an unknown token it is passed over, as published */
    plumb_tokenizer_release(&t);
}

Test(tokenizer, a_failing_encode_appends_nothing)
{
    struct plumb_text t;
    struct plumb_idbuf ids = { 0 };
    must_open(&t, json("'unk_token':'[UNK]',", "", "", ""));
    cr_assert_eq(plumb_idbuf_push(&ids, 77), PLUMB_OK);
    cr_expect_eq(t.encode(t.self, "abz", 3, true, &ids), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "\"z\""), "message was: %s", plumb_errmsg());
    cr_expect(ids.n == 1 && ids.id[0] == 77);
    plumb_idbuf_release(&ids);
    plumb_tokenizer_release(&t);
}

Test(tokenizer, added_tokens_are_cut_out_as_their_flags_say)
{
    struct plumb_text t;
    must_open(&t,
              json("", "", "",
                   ",'normalizer':{'type':'Replace','pattern':{'String':' '},'content':'\\u2581'}"
                   ",'added_tokens':[{'id':12,'content':'<x>','special':true,'normalized':false},"
                   "{'id':13,'content':'<xx>','lstrip':true,'rstrip':true,'normalized':false},"
                   "{'id':14,'content':'cab','single_word':true,'normalized':false},"
                   "{'id':15,'content':' b','normalized':true}]"));
    cr_expect_eq(t.vocab_size, 16);
    IDS(&t, "a<x>b<x", 7, 12, 8);     /* < and x are no pieces */
    IDS(&t, "a <xx> \n b", 7, 13, 8); /* white space on both sides goes with it */
    IDS(&t, "cab acab cab.", 14, 6, 7, 11, 7, 8, 6, 14);
    IDS(&t, "a b", 7, 15); /* found in the normalized text */
    cr_expect(t.is_special(t.self, 12) && !t.is_special(t.self, 13) && !t.is_special(t.self, 99));
    DECODED(&t, false, "a <x> <xx>", 7, 12, 13);
    DECODED(&t, true, "a <xx>", 7, 12, 13);
    cr_expect_str_eq(t.piece(t.self, 15), " b");
    cr_expect_null(t.piece(t.self, 16));
    cr_expect_null(t.piece(t.self, -1));
    plumb_tokenizer_release(&t);
}

/* Figures 3 to 6 of Unicode Standard Annex 15. */
Test(tokenizer, normal_forms_are_those_of_the_standard)
{
    static const struct {
        const char *form;
        int32_t ring[2], ligature[2], long_s[3];
    } rows[] = { { "NFC", { 20 }, { 22 }, { 23, 24 } },
                 { "NFD", { 7, 21 }, { 22 }, { 25, 24, 26 } },
                 { "NFKC", { 20 }, { 27, 28 }, { 29 } },
                 { "NFKD", { 7, 21 }, { 27, 28 }, { 30, 24, 26 } } };
    for (int i = 0; i < 4; i++) {
        char member[100];
        struct plumb_text t;
        snprintf(member, sizeof member, ",'normalizer':{'type':'%s'}", rows[i].form);
        must_open(&t, json("",
                           ",'\\u00e5':20,'\\u030a':21,'\\ufb01':22,'\\u1e9b':23,'\\u0323':24,"
                           "'\\u017f':25,'\\u0307':26,'f':27,'i':28,'\\u1e69':29,'s':30",
                           "", member));
        expect_ids(&t, "a\xCC\x8A", 3, rows[i].ring, 1 + (rows[i].ring[1] != 0));
        expect_ids(&t, "\xEF\xAC\x81", 3, rows[i].ligature, 1 + (rows[i].ligature[1] != 0));
        expect_ids(&t, "\xE1\xBA\x9B\xCC\xA3", 5, rows[i].long_s,
                   1 + (rows[i].long_s[1] != 0) + (rows[i].long_s[2] != 0));
        plumb_tokenizer_release(&t);
    }
}

Test(tokenizer, ids_without_a_piece_decode_to_nothing_and_negative_ones_fail)
{
    struct plumb_text t;
    char *text = (char *)1;
    size_t n;
    must_open(&t, json("", "", "", ""));
    DECODED(&t, false, "a b", 7, 13, 2147483647, 8);
    cr_expect_eq(t.decode(t.self, (const int32_t[]){ 7, -1 }, 2, false, &text, &n), PLUMB_EINVAL);
    cr_expect_null(text);
    expect_text(&t, NULL, 0, false, "");
    plumb_tokenizer_release(&t);
}

/* The vocabulary as json() makes it, wrong in one place, and what the message has to name. */
Test(tokenizer, faults_of_a_vocabulary_are_named)
{
    static const struct {
        const char *options, *pieces, *merges, *names;
    } rows[] = {
        { "'dropout':0.1,", "", "", "dropout 0.1" },
        { "", "", "'a q'", "\"q\"" },
        { "", "", "'b a'", "\"ba\"" },
        { "", "", "'ab'", "merge 0" },
        { "", "", "'a b',['a']", "merge 1" },
        { "", "", "['a','b','c']", "merge 0" },
        { "", "", "7", "merge 0" },
        { "", ",'z':7", "", "id 7" },
        { "", ",'z':-1", "", "-1" },
        { "", ",'z':16777216", "", "16777216" },
        { "", ",'z':1e300", "", "\"z\"" },
        { "", ",'z':1.5", "", "\"z\"" },
        { "", ",'z':'1'", "", "\"z\"" },
        { "", ",'a':90", "", "twice" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct plumb_text t;
        const char *text = json(rows[i].options, rows[i].pieces, rows[i].merges, "");
        cr_expect_neq(open_text(&t, text), PLUMB_OK, "row %zu: %s", i, text);
        cr_expect(strstr(plumb_errmsg(), rows[i].names), "row %zu wants %s: %s", i, rows[i].names,
                  plumb_errmsg());
        cr_expect_null(t.self);
    }
}

/* The other members of the file. */
Test(tokenizer, faults_of_a_pipeline_are_named)
{
    static const char *const rows[][2] = {
        { ",'version':'2.0'", "version" },
        { ",'normalizer':{'type':'Nmt'}", "Nmt" },
        { ",'normalizer':{'type':'Precompiled','precompiled_charsmap':'?'}", "base64" },
        { ",'normalizer':{'type':'Precompiled','precompiled_charsmap':'/////w=='}", "cut short" },
        { ",'normalizer':{'type':'Prepend'}", "prepend" },
        { ",'pre_tokenizer':{'type':'CharDelimiterSplit'}", "CharDelimiterSplit" },
        { ",'pre_tokenizer':{'type':'Split','pattern':{'Regex':'('},'behavior':'Isolated'}",
          "pre_tokenizer: Split" },
        { ",'pre_tokenizer':{'type':'Split','pattern':{'String':''},'behavior':'Isolated'}",
          "empty" },
        { ",'pre_tokenizer':{'type':'Split','pattern':{'String':'x'},'behavior':'Doubled'}",
          "Doubled" },
        { ",'pre_tokenizer':{'type':'Metaspace','replacement':'_','prepend_scheme':'often'}",
          "often" },
        { ",'pre_tokenizer':{'type':'Metaspace','replacement':'__'}", "one character" },
        { ",'decoder':{'type':'CTC'}", "CTC" },
        { ",'decoder':{'type':'Sequence'}", "decoders" },
        { ",'decoder':{'type':'Strip','content':' ','start':-1,'stop':0}", "Strip" },
        { ",'post_processor':{'type':'RobertaProcessing'}", "\"cls\"" },
        { ",'post_processor':{'type':'TemplateProcessing','single':[]}", "Sequence A" },
        { ",'post_processor':{'type':'TemplateProcessing','single':[{'Sequence':{'id':'B'}}]}",
          "Sequence A" },
        { ",'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'<s>'}}]"
          "}",
          "<s>" },
        { ",'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'<s>'}}],"
          "'special_tokens':{'<s>':{'ids':[99]}}}",
          "id 99" },
        { ",'added_tokens':[{'id':-1,'content':'q'}]", "-1" },
        { ",'added_tokens':[{'id':1}]", "content" },
        { ",'added_tokens':7", "added_tokens" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct plumb_text t;
        cr_expect_neq(open_text(&t, json("", "", "", rows[i][0])), PLUMB_OK, "row %zu", i);
        cr_expect(strstr(plumb_errmsg(), rows[i][1]), "row %zu wants %s: %s", i, rows[i][1],
                  plumb_errmsg());
        cr_expect_null(t.self);
    }
}

Test(tokenizer, faults_of_a_file_are_named)
{
    static const char *const rows[][2] = {
        { "", "tokenizer.json" },
        { "{", "tokenizer.json" },
        { "[]", "model" },
        { "{'model':{'type':'Unigram','vocab':[]}}", "Unigram" },
        { "{'model':{'type':'Unigram','vocab':[['a']]}}", "piece 0" },
        { "{'model':{'type':'Unigram','vocab':[['a',0]],'unk_id':1}}", "unk_id 1" },
        { "{'model':{'type':'WordPiece','vocab':{'a':0}}}", "[UNK]" },
        { "{'model':{'type':'BPE','vocab':[],'merges':[]}}", "vocab" },
        { "{'model':{'type':'BPE','vocab':{}}}", "merges" },
        /* with two pieces 2 is the next free id, but a piece has it */
        { "{'model':{'type':'BPE','vocab':{'a':0,'b':2},'merges':[]},'added_tokens':"
          "[{'id':2,'content':'q'}]}",
          "\"q\"" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct plumb_text t;
        cr_expect_neq(open_text(&t, rows[i][0]), PLUMB_OK, "row %zu", i);
        cr_expect(strstr(plumb_errmsg(), rows[i][1]), "row %zu wants %s: %s", i, rows[i][1],
                  plumb_errmsg());
        cr_expect_null(t.self);
    }
}

Test(tokenizer, a_folder_without_a_tokenizer_is_named)
{
    struct plumb_text t;
    char dir[64] = "";
    put_file(dir, "tokenizer_config.json", "{}");
    cr_expect_eq(plumb_tokenizer_open(&t, dir), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), dir), "message was: %s", plumb_errmsg());
    cr_expect_neq(plumb_tokenizer_open(&t, "/nowhere/at/all"), PLUMB_OK);
    cr_expect(strstr(plumb_errmsg(), "/nowhere"), "message was: %s", plumb_errmsg());
    put_file(dir, "vocab.json", "{'a':0}");
    put_file(dir, "merges.txt", "#version: 0.2\na b\n");
    cr_expect_eq(plumb_tokenizer_open(&t, dir), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "merges.txt"), "message was: %s", plumb_errmsg());
    put_file(dir, "tokenizer_config.json", "{'tokenizer_class':'CLIPTokenizer'}");
    cr_expect_eq(plumb_tokenizer_open(&t, dir), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "CLIPTokenizer"), "message was: %s", plumb_errmsg());
    remove_folder(dir);
}

Test(tokenizer, configuration_names_and_adds_special_tokens)
{
    struct plumb_text t;
    char dir[64] = "";
    put_file(dir, "tokenizer.json",
             json("'unk_token':'<unk>',", "", "",
                  ",'added_tokens':[{'id':1,'content':'<s>','special':true}]"));
    put_file(dir, "tokenizer_config.json",
             "{'bos_token':{'content':'<s>','lstrip':false},'eos_token':'</s>',"
             "'pad_token':'<pad>','add_bos_token':true,'added_tokens_decoder':{"
             "'14':{'content':'<two>','special':true},'13':{'content':'<one>','special':false}}}");
    put_file(dir, "special_tokens_map.json", "{'eos_token':'a','unk_token':'<unk>'}");
    cr_assert_eq(plumb_tokenizer_open(&t, dir), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(t.bos_id == 1 && t.eos_id == 2 && t.unk_id == 0 && t.pad_id == 15);
    cr_expect_eq(t.vocab_size, 16);
    cr_expect(!t.add_bos && !t.add_eos, "tokenizer.json decides");
    cr_expect(t.is_special(t.self, 2) && t.is_special(t.self, 14) && !t.is_special(t.self, 13));
    IDS(&t, "a</s><one><two><pad>", 7, 2, 13, 14, 15);
    plumb_tokenizer_release(&t);
    put_file(dir, "tokenizer_config.json", "{'split_special_tokens':true}");
    cr_expect_eq(plumb_tokenizer_open(&t, dir), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "split_special_tokens"), "message was: %s", plumb_errmsg());
    put_file(dir, "tokenizer_config.json", "{'added_tokens_decoder':{'x':{'content':'q'}}}");
    cr_expect_eq(plumb_tokenizer_open(&t, dir), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "\"x\""), "message was: %s", plumb_errmsg());
    remove_folder(dir);
}

Test(tokenizer, a_template_puts_its_tokens_around_the_text)
{
    struct plumb_text t;
    struct plumb_idbuf plain = { 0 };
    char dir[64] = "";
    put_file(dir, "tokenizer.json",
             json("", "", "",
                  ",'post_processor':{'type':'Sequence','processors':[{'type':'ByteLevel'},"
                  "{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'s'}},"
                  "{'Sequence':{'id':'A'}},{'SpecialToken':{'id':'e'}}],'special_tokens':{"
                  "'s':{'ids':[1]},'e':{'ids':[2,12]}}}]}"));
    put_file(dir, "tokenizer_config.json", "{'bos_token':'<s>','eos_token':'</s>'}");
    cr_assert_eq(plumb_tokenizer_open(&t, dir), PLUMB_OK, "%s", plumb_errmsg());
    remove_folder(dir);
    cr_expect(t.add_bos && t.add_eos);
    IDS(&t, "a", 1, 7, 2, 12);
    IDS(&t, "", 1, 2, 12);
    cr_assert_eq(t.encode(t.self, "a", 1, false, &plain), PLUMB_OK);
    cr_expect(plain.n == 1 && plain.id[0] == 7);
    plumb_idbuf_release(&plain);
    plumb_tokenizer_release(&t);
}

Test(tokenizer, two_files_make_a_tokenizer_with_the_defaults_of_their_class)
{
    struct plumb_text t;
    char dir[64] = "";
    put_file(dir, "vocab.json",
             "{'a':0,'b':1,'ab':2,'\\u0120':3,'\\u0120a':4,'<|endoftext|>':5,'1':6,'11':7}");
    put_file(dir, "merges.txt", "#version: 0.2\r\na b\r\n\xC4\xA0 a\r\n1 1\r\n");
    cr_assert_eq(plumb_tokenizer_open(&t, dir), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(t.bos_id == 5 && t.eos_id == 5 && t.unk_id == 5 && t.pad_id == -1);
    IDS(&t, "ab a<|endoftext|>11", 2, 4, 5, 7);
    plumb_tokenizer_release(&t);
    put_file(dir, "tokenizer_config.json",
             "{'tokenizer_class':'Qwen2TokenizerFast','add_eos_token':true}");
    cr_assert_eq(plumb_tokenizer_open(&t, dir), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(t.bos_id == -1 && t.eos_id == 5 && t.pad_id == 5 && t.add_eos && !t.add_bos);
    IDS(&t, "a11", 0, 6, 6, 5);
    DECODED(&t, true, "a1", 0, 6, 5);
    plumb_tokenizer_release(&t);
    put_file(dir, "tokenizer_config.json",
             "{'tokenizer_class':'GPT2Tokenizer','add_prefix_space':true}");
    cr_assert_eq(plumb_tokenizer_open(&t, dir), PLUMB_OK, "%s", plumb_errmsg());
    IDS(&t, "a11", 4, 7);
    plumb_tokenizer_release(&t);
    remove_folder(dir);
}
