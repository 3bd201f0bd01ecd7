/* Input made to keep a loader busy for hours: each is a fault, or done, within seconds. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/checkpoint.h"
#include "io/file.h"
#include "io/hf_config.h"
#include "io/jinja.h"
#include "io/tokenizer.h"
#include "tools/train_options.h"

static char dir[64], path[96];

static void make_place(void)
{
    strcpy(dir, "/tmp/plumb-hostile-XXXXXX");
    cr_assert(mkdtemp(dir));
}

static void drop_place(void) { plumb_folder_remove(dir); }

TestSuite(hostile, .init = make_place, .fini = drop_place, .timeout = 120);

static const char *put(const char *name, const char *text, size_t n)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(plumb_file_write(path, text, n), PLUMB_OK);
    return path;
}

static char *repeated(const char *part, size_t times)
{
    const size_t n = strlen(part);
    char *text = malloc(n * times + 1);
    cr_assert(text);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * n, part, n);
    text[n * times] = 0;
    return text;
}

static void expect_fault(int rc, const char *says)
{
    cr_assert_neq(rc, PLUMB_OK, "wanted: %s", says);
    cr_expect(strstr(plumb_errmsg(), says), "%s", plumb_errmsg());
}

static int render(const char *text)
{
    struct plumb_jinja *t;
    struct plumb_jinja_text out = { 0 };
    int rc = plumb_jinja_open(text, strlen(text), "t", &t);
    if (!rc) rc = plumb_jinja_render(t, "{}", 2, 0, &out);
    plumb_jinja_text_release(&out);
    plumb_jinja_release(t);
    return rc;
}

/* A value that holds one twice that holds one twice and so on. */
#define DOUBLED(start, times)                                                                      \
    "{% set n = namespace(a=" start ", b=" start ") %}{% for i in range(" times ") %}"             \
    "{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% endfor %}"

Test(hostile, a_small_value_that_is_endless_to_walk)
{
    expect_fault(render(DOUBLED("1", "60") "{{ n.a == n.b }}"), "takes too long");
    expect_fault(render(DOUBLED("1", "60") "{{ n.a in [n.b] }}"), "takes too long");
    expect_fault(render(DOUBLED("1", "60") "{{ [n.a, n.b] | sort }}"), "takes too long");
    expect_fault(render("{% set n = namespace(a=(1,)) %}{% for i in range(60) %}"
                        "{% set n.a = (n.a, n.a) %}{% endfor %}{{ {n.a: 1} }}"),
                 "cannot be a key");
    cr_expect_eq(render(DOUBLED("1", "10") "{{ n.a == n.b }}"), PLUMB_OK, "%s", plumb_errmsg());
}

Test(hostile, values_that_nest_without_end)
{
    expect_fault(render("{% set n = namespace(a=[]) %}{% for i in range(99999) %}"
                        "{% set n.a = [n.a] %}{% endfor %}{{ n.a == n.a }}"),
                 "nests too deep");
}

Test(hostile, a_long_text_looked_at_again_and_again)
{
    expect_fault(render("{% set s = 'ab' * 99999 %}{% for i in range(99999) %}"
                        "{% if s.endswith('c') or s is upper or s.find('c') > 0 %}x{% endif %}"
                        "{% endfor %}"),
                 "the template ");
}

/* A tokenizer.json around what is given, opened; a text through it. */
static int encode(const char *parts, const char *text)
{
    static const char form[] = "{%s%s\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":"
                               "{\"a\":0,\"b\":1,\" \":2}}}";
    const size_t room = sizeof form + strlen(parts) + 1;
    char *json = malloc(room);
    cr_assert(json);
    const int n = snprintf(json, room, form, parts, *parts ? "," : "");
    struct plumb_text t;
    struct plumb_idbuf ids = { 0 };
    int rc = plumb_tokenizer_open(&t, put("tokenizer.json", json, (size_t)n));
    if (!rc) rc = t.encode(t.self, text, strlen(text), true, &ids);
    plumb_idbuf_release(&ids);
    plumb_tokenizer_release(&t);
    free(json);
    return rc;
}

#define SPLIT(pattern)                                                                             \
    "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern                      \
    "\"},\"behavior\":\"Isolated\"}"

Test(hostile, patterns_that_backtrack_without_end)
{
    char *text = repeated("aaaaaaaaaaaaaaab", 1 << 14);
    for (size_t i = 15; i < 16 << 13; i += 16)
        text[i] = 'a';
    expect_fault(encode(SPLIT("(a+)+[cd]"), text), "gave up");
    expect_fault(encode(SPLIT("(?:a|aa)+[cd]"), text), "gave up");
    expect_fault(encode(SPLIT("a*a*a*a*[cd]"), text), "gave up");
    cr_expect_eq(encode(SPLIT("a+|b"), text), PLUMB_OK, "%s", plumb_errmsg());
    free(text);
    char *spaces = repeated(" ", 4 << 20); /* goes back over itself once, as GPT-2's does */
    cr_expect_eq(encode(SPLIT("\\\\s+(?!\\\\S)|\\\\s+|a"), spaces), PLUMB_OK, "%s", plumb_errmsg());
    free(spaces);
}

#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaaaa\"}"

Test(hostile, steps_that_let_a_text_grow)
{
    expect_fault(encode("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[" REPLACE
                        "," REPLACE "," REPLACE "," REPLACE "," REPLACE "," REPLACE "," REPLACE
                        "," REPLACE "," REPLACE "," REPLACE "," REPLACE "]}",
                        "a"),
                 "grow");
}

Test(hostile, tokens_that_take_the_same_white_space)
{
    char *spaces = repeated(" ", 1 << 20);
    cr_expect_eq(encode("\"added_tokens\":[{\"id\":2,\"content\":\" \",\"rstrip\":true}]", spaces),
                 PLUMB_OK, "%s", plumb_errmsg());
    free(spaces);
}

Test(hostile, pieces_that_are_compared_at_every_place)
{
    char *longer = repeated("a", 5000);
    char *json = malloc(6000);
    const int n = snprintf(json, 6000,
                           "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],"
                           "[\"%s\",-1]]}}",
                           longer);
    struct plumb_text t;
    expect_fault(plumb_tokenizer_open(&t, put("tokenizer.json", json, (size_t)n)), "1024 bytes");
    free(longer);
    free(json);
}

Test(hostile, layers_that_a_config_counts)
{
    static const char config[] =
        "{\"model_type\":\"mistral\",\"vocab_size\":8,\"hidden_size\":8,\"intermediate_size\":8,"
        "\"num_hidden_layers\":9007199254740992,\"num_attention_heads\":2,\"sliding_window\":4,"
        "\"max_position_embeddings\":16}";
    struct plumb_hf_config c;
    expect_fault(plumb_hf_config_parse(&c, config, sizeof config - 1, "config.json"), "layers");
}

Test(hostile, brackets_of_a_configuration)
{
    char *text = repeated("[", 1 << 20);
    char option[128];
    char *argv[] = { "x", option, NULL };
    struct plumb_dpo_config c;
    struct plumb_options o;
    text[0] = 'x', text[1] = ':', text[2] = ' ';
    snprintf(option, sizeof option, "--config=%s", put("run.yaml", text, 1 << 20));
    expect_fault(plumb_options_parse(&o, &plumb_dpo_options, &c, 2, argv),
                 "run.yaml:1:103: nested deeper than 100");
    free(text);
}

Test(hostile, a_file_that_gzip_makes_of_nothing)
{
    /* 40 MB of zeros, packed three times over would be less still */
    char *out;
    size_t n;
    char command[256];
    snprintf(command, sizeof command, "head -c 40000000 /dev/zero | gzip -9 >%s/zeros.gz", dir);
    if (system(command) != 0) return;
    snprintf(path, sizeof path, "%s/zeros.gz", dir);
    expect_fault(plumb_file_read(path, 0, &out, &n), "holds more than");
}
