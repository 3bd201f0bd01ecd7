#include <criterion/criterion.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/chat.h"
#include "io/checkpoint.h"
#include "io/dataset.h"
#include "io/dataset_show.h"
#include "io/fake_text.h"
#include "io/file.h"

static char dir[64], rows[128];
static struct fake_text fake;
static struct plumb_text text;
static struct plumb_dataset_options options;
static struct plumb_dataset set;
static const char *paths[] = { rows };

static void make_place(void)
{
    strcpy(dir, "/tmp/plumb-lists-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(rows, sizeof rows, "%s/rows.jsonl", dir);
    plumb_log_threshold(PLUMB_LOG_WARN);
    fake = (struct fake_text){ .bos = true };
    text = fake_text(&fake);
    options = (struct plumb_dataset_options){ .paths = paths,
                                              .path_count = 1,
                                              .use = PLUMB_USE_LISTS,
                                              .text = &text };
}

static void drop_place(void)
{
    plumb_dataset_release(&set);
    plumb_folder_remove(dir);
}

TestSuite(dataset_lists, .init = make_place, .fini = drop_place);

static int open_rows(const char *content)
{
    cr_assert_eq(plumb_file_write(rows, content, strlen(content)), PLUMB_OK);
    plumb_dataset_release(&set);
    return plumb_dataset_open(&options, &set);
}

static void add_ids(char *out, const struct plumb_ids *ids)
{
    char *decoded = NULL;
    size_t n;
    cr_assert_eq(fake_decode(NULL, ids->id, ids->n, false, &decoded, &n), PLUMB_OK);
    strcat(out, decoded);
    free(decoded);
}

/* "prompt|candidate=score|..." of example i as text. */
static const char *shown(int64_t i)
{
    static char out[512];
    struct plumb_example e;
    cr_assert_eq(set.get(set.self, i, &e), PLUMB_OK, "%s", plumb_errmsg());
    out[0] = 0;
    add_ids(out, &e.prompt);
    for (int64_t k = 0; k < e.candidates; k++) {
        strcat(out, "|");
        add_ids(out, &e.candidate[k]);
        snprintf(out + strlen(out), sizeof out - strlen(out), "=%g", e.score[k]);
    }
    return out;
}

static void expect_rows(const char *content, const char *first)
{
    cr_assert_eq(open_rows(content), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(set.type, PLUMB_DATA_RANKED);
    cr_expect_str_eq(shown(0), first);
}

static void expect_fault(int code, const char *content, const char *what)
{
    const int rc = open_rows(content);
    cr_expect(rc == code && strstr(plumb_errmsg(), what), "%s gave %d: %s", content, rc,
              plumb_errmsg());
}

#define TWO "{\"prompt\": \"q\", \"completions\": [\"x\", \"yes\"], \"scores\": [1, -2.5]}\n"

Test(dataset_lists, candidates_keep_their_order_and_get_eos)
{
    expect_rows(TWO "{\"prompt\": \"r\", \"completions\": [\"z</s>\"], \"scores\": [0.5]}",
                "<s>q|x</s>=1|yes</s>=-2.5");
    cr_expect_str_eq(shown(1), "<s>r|z</s>=0.5");
    const uint64_t before = set.content_hash;
    expect_rows("{\"prompt\": \"q\", \"completions\": [\"x\", \"yes\"], \"scores\": [1, -2.25]}\n"
                "{\"prompt\": \"r\", \"completions\": [\"z</s>\"], \"scores\": [0.5]}",
                "<s>q|x</s>=1|yes</s>=-2.25");
    cr_expect_neq(set.content_hash, before);
}

Test(dataset_lists, ids_need_no_tokenizer)
{
    options.text = NULL;
    options.vocab_size = 99;
    expect_rows(
        "{\"prompt_ids\": [1, 36], \"completions_ids\": [[37, 2], [38]], \"scores\": [2, 1]}",
        "<s>A|B</s>=2|C=1");
    expect_rows("{\"completions_ids\": [[37, 2], [38, 39, 2]], \"scores\": [2, 1]}",
                "|B</s>=2|CD</s>=1");
    expect_fault(PLUMB_EFORMAT, "{\"completions_ids\": [[37, 99]], \"scores\": [2]}",
                 "\"completions_ids\" has 99 as element 1");
}

/* The prompt ends where the first candidate leaves it, and is one for all. */
Test(dataset_lists, a_prompt_that_merges_is_shortened_for_all)
{
    fake.merge = true;
    expect_rows("{\"prompt\": \"xa\", \"completions\": [\"b\", \"c\"], \"scores\": [1, 2]}",
                "<s>x|ab</s>=1|ac</s>=2");
    cr_expect_eq(plumb_dataset_report(&set)->boundary, 1);
}

Test(dataset_lists, long_candidates_are_cut_and_long_prompts_dropped)
{
    options.max_length = 4;
    expect_rows(TWO "{\"prompt\": \"qqqq\", \"completions\": [\"x\"], \"scores\": [1]}",
                "<s>q|x</s>=1|ye=-2.5");
    cr_expect_eq(set.count, 1);
    cr_expect(plumb_dataset_report(&set)->truncated == 1 &&
              plumb_dataset_report(&set)->dropped_long == 1);
}

Test(dataset_lists, a_fault_names_column_and_element)
{
    expect_fault(PLUMB_EFORMAT, TWO "{\"prompt\": \"q\", \"completions\": [\"x\"], \"scores\": []}",
                 "rows.jsonl:2: column \"scores\" has 0 elements for 1 candidates");
    expect_fault(PLUMB_EFORMAT, "{\"prompt\": \"q\", \"completions\": [], \"scores\": []}",
                 "\"completions\" is empty");
    expect_fault(PLUMB_EFORMAT,
                 "{\"prompt\": \"q\", \"completions\": [\"x\"], \"scores\": [\"1\"]}",
                 "wants finite numbers, element 0 is");
    expect_fault(PLUMB_EFORMAT,
                 "{\"prompt\": \"q\", \"completions\": [\"x\", 5], \"scores\": [1, 2]}",
                 "wants texts, element 1 is");
    expect_fault(PLUMB_EFORMAT, "{\"prompt\": \"q\", \"completions\": \"x\", \"scores\": [1]}",
                 "wants an array with an element for each candidate");
    expect_fault(PLUMB_EINVAL, "{\"prompt\": \"q\", \"chosen\": \"x\", \"rejected\": \"y\"}",
                 "wanted prompt, completions and scores");
    options.skip_bad_rows = true;
    expect_rows("{\"prompt\": \"q\", \"completions\": [\"x\", \"\"], \"scores\": [1, 2]}\n" TWO,
                "<s>q|x</s>=1|yes</s>=-2.5");
    cr_expect_eq(plumb_dataset_report(&set)->skipped, 1);
}

#define TALK(role, text) "{\"role\": \"" role "\", \"content\": \"" text "\"}"

Test(dataset_lists, conversations_go_through_the_template)
{
    static const char template[] =
        "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}"
        "{% if add_generation_prompt %}a:{% endif %}";
    struct plumb_chat chat;
    char path[128];
    snprintf(path, sizeof path, "%s/chat_template.jinja", dir);
    cr_assert_eq(plumb_file_write(path, template, strlen(template)), PLUMB_OK);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    cr_assert_eq(plumb_file_write(path, "{}", 2), PLUMB_OK);
    cr_assert_eq(plumb_chat_open(&chat, dir, NULL, &text), PLUMB_OK, "%s", plumb_errmsg());
    options.chat = &chat;
    expect_rows("{\"prompt\": [" TALK("user", "q") "], \"completions\": [[" TALK(
                    "assistant", "x") "], [" TALK("assistant", "no") "]], \"scores\": [3, 4]}",
                "u:q;a:|x;=3|no;=4");
    expect_fault(PLUMB_EFORMAT,
                 "{\"prompt\": [" TALK("user", "q") "], \"completions\": [\"x\"], \"scores\": [3]}",
                 "wants a conversation (a list of messages), element 0");
    plumb_chat_release(&chat);
}

Test(dataset_lists, inspection_shows_every_candidate)
{
    char *out = NULL;
    size_t n;
    FILE *f = open_memstream(&out, &n);
    expect_rows(TWO, "<s>q|x</s>=1|yes</s>=-2.5");
    cr_assert_eq(plumb_dataset_show(f, &set, &text), PLUMB_OK);
    cr_assert_eq(plumb_dataset_show_example(f, &set, &text, 0, false), PLUMB_OK);
    fclose(f);
    cr_expect(strstr(out, "type: ranked, columns prompt, completions, scores"), "%s", out);
    cr_expect(strstr(out, "tokens: 8, trained on 6"), "%s", out);
    cr_expect(strstr(out, "completion 1, score -2.5: 4 tokens, 4 trained on"), "%s", out);
    free(out);
}
