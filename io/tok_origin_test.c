/* Where tokens stand in their text, derived by hand. What the published library tells for whole
 * tokenizers is replayed by tests/golden_text.c. JSON is written with ' for ". */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/tokenizer.h"

#define ACUTE "\xCC\x81"   /* U+0301 */
#define E_ACUTE "\xC3\xA9" /* U+00E9 */

static void must_open(struct plumb_text *t, const char *json)
{
    char path[64] = "/tmp/plumb-origin-XXXXXX", text[2000];
    const int fd = mkstemp(path);
    cr_assert(fd >= 0 && strlen(json) < sizeof text);
    close(fd);
    strcpy(text, json);
    for (char *p = text; *p; p++)
        if (*p == '\'') *p = '"';
    cr_assert_eq(plumb_file_write(path, text, strlen(text)), PLUMB_OK);
    cr_assert_eq(plumb_tokenizer_open(t, path), PLUMB_OK, "%s", plumb_errmsg());
    unlink(path);
}

/* "id@from-to id@from-to ..." */
static void expect(struct plumb_text *t, const char *text, bool special, bool trim,
                   const char *wanted)
{
    struct plumb_idbuf ids = { 0 }, plain = { 0 };
    struct plumb_textspans spans = { .trim = trim };
    char got[500] = "";
    const size_t n = strlen(text);
    cr_assert_eq(t->encode_spans(t->self, text, n, special, &ids, &spans), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_assert_eq(t->encode(t->self, text, n, special, &plain), PLUMB_OK);
    cr_assert(ids.n == spans.n && ids.n == plain.n);
    for (int64_t i = 0; i < ids.n; i++) {
        cr_expect_eq(ids.id[i], plain.id[i], "the ids of \"%s\" depend on who asks", text);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d@%lld-%lld", i ? " " : "",
                 ids.id[i], (long long)spans.at[i].from, (long long)spans.at[i].to);
    }
    cr_expect_str_eq(got, wanted, "\"%s\" gave %s", text, got);
    plumb_textspans_release(&spans);
    plumb_idbuf_release(&ids);
    plumb_idbuf_release(&plain);
}

/* Llama's way: a space before the text, spaces as U+2581, bytes for what has no piece. */
static const char llama[] =
    "{'model':{'type':'BPE','byte_fallback':true,'unk_token':'<unk>','vocab':{'<unk>':0,'<s>':1,"
    "'\\u2581':2,'a':3,'b':4,'ab':5,'\\u2581a':6,'<0xC3>':7,'<0xA9>':8},"
    "'merges':['a b','\\u2581 a']},"
    "'added_tokens':[{'id':1,'content':'<s>','special':true,'normalized':false},"
    "{'id':9,'content':'<m>','special':true,'normalized':false,'lstrip':true}],"
    "'normalizer':{'type':'Sequence','normalizers':[{'type':'Prepend','prepend':'\\u2581'},"
    "{'type':'Replace','pattern':{'String':' '},'content':'\\u2581'}]},"
    "'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'<s>',"
    "'type_id':0}},{'Sequence':{'id':'A','type_id':0}}],'special_tokens':{'<s>':{'id':'<s>',"
    "'ids':[1],'tokens':['<s>']}}}}";

Test(tok_origin, what_is_put_before_a_text_shares_the_place_of_its_first_character)
{
    struct plumb_text t;
    must_open(&t, llama);
    expect(&t, "ab a", true, false, "1@0-0 2@0-1 5@0-2 6@2-4");
    /* each byte of a character stands for the whole of it; unknown ones for themselves */
    expect(&t, "b" E_ACUTE "zb", false, false, "2@0-1 4@0-1 7@1-3 8@1-3 0@3-4 4@4-5");
    /* an added token has the spaces that it took; what follows begins anew */
    expect(&t, "a  <m>b", false, false, "6@0-1 9@1-6 2@6-7 4@6-7");
    expect(&t, "", true, false, "1@0-0");
    plumb_tokenizer_release(&t);
}

Test(tok_origin, normal_forms_count_the_characters_that_they_join_and_part)
{
    struct plumb_text t;
    must_open(&t, "{'model':{'type':'BPE','vocab':{'a':0,'\\u00e9':1,'e':2,'\\u0301':3,'b':4},"
                  "'merges':[]},'normalizer':{'type':'NFC'}}");
    /* two characters become one, which has the place of the first */
    expect(&t, "ae" ACUTE "b" E_ACUTE, false, false, "0@0-1 1@1-2 4@4-5 1@5-7");
    plumb_tokenizer_release(&t);
    must_open(&t, "{'model':{'type':'BPE','vocab':{'a':0,'e':2,'\\u0301':3,'b':4},"
                  "'merges':[]},'normalizer':{'type':'NFD'}}");
    /* one becomes two, which share its place */
    expect(&t, "a" E_ACUTE "b", false, false, "0@0-1 2@1-3 3@1-3 4@3-4");
    plumb_tokenizer_release(&t);
}

Test(tok_origin, trimming_takes_the_space_off_byte_level_tokens)
{
    struct plumb_text t;
    must_open(&t,
              "{'model':{'type':'BPE','vocab':{'a':0,'\\u0120':1,'\\u0120a':2,'\\u0120\\u0120':3},"
              "'merges':['\\u0120 a','\\u0120 \\u0120']},"
              "'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false},"
              "'post_processor':{'type':'ByteLevel','add_prefix_space':false,"
              "'trim_offsets':true}}");
    expect(&t, "a   a", false, false, "0@0-1 3@1-3 2@3-5");
    expect(&t, "a   a", false, true, "0@0-1 3@3-3 2@4-5");
    plumb_tokenizer_release(&t);
}

Test(tok_origin, words_and_likeliest_pieces_have_their_own_bytes)
{
    struct plumb_text t;
    must_open(&t, "{'model':{'type':'WordPiece','unk_token':'[UNK]','vocab':{'[UNK]':0,'un':1,"
                  "'##do':2}},'normalizer':{'type':'Lowercase'},"
                  "'pre_tokenizer':{'type':'Whitespace'}}");
    expect(&t, "UNDO it", false, false, "1@0-2 2@2-4 0@5-7");
    plumb_tokenizer_release(&t);
    must_open(&t, "{'model':{'type':'Unigram','unk_id':0,'vocab':[['<unk>',0],['\\u2581',-2],"
                  "['ab',-1],['a',-3]]},'pre_tokenizer':{'type':'Metaspace','replacement':"
                  "'\\u2581','prepend_scheme':'always'}}");
    /* two unknown characters are one token */
    expect(&t, "ab xya", false, false, "1@0-1 2@0-2 1@2-3 0@3-5 3@5-6");
    plumb_tokenizer_release(&t);
}

Test(tok_origin, what_comes_of_nothing_stands_at_the_start)
{
    struct plumb_text t;
    must_open(&t, "{'model':{'type':'BPE','vocab':{'a':0,'x':1},'merges':[]},"
                  "'normalizer':{'type':'Sequence','normalizers':[{'type':'Strip'},"
                  "{'type':'Replace','pattern':{'Regex':'^'},'content':'x'}]}}");
    expect(&t, "  ", false, false, "");
    expect(&t, " a", false, false, "1@0-0 0@1-2");
    plumb_tokenizer_release(&t);
}

Test(tok_origin, a_failing_call_leaves_no_spans)
{
    struct plumb_text t;
    struct plumb_idbuf ids = { 0 };
    struct plumb_textspans spans = { 0 };
    must_open(&t, "{'model':{'type':'BPE','unk_token':'<unk>','vocab':{'a':0},'merges':[]}}");
    cr_assert_eq(t.encode_spans(t.self, "a", 1, true, &ids, &spans), PLUMB_OK);
    cr_expect_eq(t.encode_spans(t.self, "aab", 3, true, &ids, &spans), PLUMB_EFORMAT);
    cr_expect(ids.n == 1 && spans.n == 1);
    plumb_textspans_release(&spans);
    plumb_idbuf_release(&ids);
    plumb_tokenizer_release(&t);
}
