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
#include "io/tokenizer.h"
#include "tests/shared.h"

#define USER(text) "{\"role\": \"user\", \"content\": \"" text "\"}"
#define ANSWER(text) "{\"role\": \"assistant\", \"content\": \"" text "\"}"

/* One message is "u:text;" or "a:text</s>;", the generation prompt "a:". */
static const char template[] =
    "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{{ m.content }}"
    "{{ eos_token if m.role == 'assistant' }};{% endfor %}"
    "{% if tools %}[{{ tools | tojson }}]{% endif %}{{ extra }}"
    "{% if add_generation_prompt %}a:{% endif %}";

static char dir[64], rows[128];
static struct fake_text fake;
static struct plumb_text text;
static struct plumb_chat chat;
static struct plumb_dataset_options options;
static struct plumb_dataset set;
static const char *paths[] = { rows };

static void put(const char *name, const char *content)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(plumb_file_write(path, content, strlen(content)), PLUMB_OK);
}

static int reopen(const char *given)
{
    plumb_chat_release(&chat);
    return plumb_chat_open(&chat, dir, given, &text);
}

static void make_place(void)
{
    strcpy(dir, "/tmp/plumb-chat-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(rows, sizeof rows, "%s/rows.jsonl", dir);
    plumb_log_threshold(PLUMB_LOG_WARN);
    fake = (struct fake_text){ .bos = true, .eos = true };
    text = fake_text(&fake);
    put("chat_template.jinja", template);
    put("tokenizer_config.json", "{\"eos_token\": {\"content\": \"</s>\"}, \"chat_template\": 5}");
    cr_assert_eq(reopen(NULL), PLUMB_OK, "%s", plumb_errmsg());
    options = (struct plumb_dataset_options){ .paths = paths,
                                              .path_count = 1,
                                              .text = &text,
                                              .chat = &chat };
}

static void drop_place(void)
{
    plumb_dataset_release(&set);
    plumb_chat_release(&chat);
    plumb_folder_remove(dir);
}

TestSuite(dataset_chat, .init = make_place, .fini = drop_place);

static int open_rows(const char *content)
{
    put("rows.jsonl", content);
    plumb_dataset_release(&set);
    return plumb_dataset_open(&options, &set);
}

static void open_good(const char *content)
{
    cr_assert_eq(open_rows(content), PLUMB_OK, "%s", plumb_errmsg());
}

static void expect_fault(int code, const char *content, const char *what)
{
    const int rc = open_rows(content);
    cr_expect_eq(rc, code, "%s gave %d: %s", content, rc, plumb_errmsg());
    cr_expect(strstr(plumb_errmsg(), what), "%s gave: %s", content, plumb_errmsg());
}

/* "prompt|completion|second|third" of example i. Token 1 would be the post-processor's BOS: the
 * template's "<s>" is characters to this tokenizer. */
static const char *shown(int64_t i)
{
    static char out[2][1024];
    static int at;
    struct plumb_example e;
    char *o = out[at = 1 - at], *piece;
    size_t n;
    cr_assert_eq(set.get(set.self, i, &e), PLUMB_OK, "%s", plumb_errmsg());
    o[0] = 0;
    for (int k = 0; k < 4; k++) {
        const struct plumb_ids *ids = k ? &e.completion[k - 1] : &e.prompt;
        if (k && !ids->n) continue;
        for (int64_t t = 0; t < ids->n; t++)
            cr_expect_neq(ids->id[t], 1, "a BOS that the template did not write");
        cr_assert_eq(fake_decode(NULL, ids->id, ids->n, false, &piece, &n), PLUMB_OK);
        strcat(strcat(o, k ? "|" : ""), piece);
        free(piece);
    }
    return o;
}

Test(dataset_chat, a_conversation_is_rendered_whole_and_tokenised_once)
{
    open_good("{\"messages\": [" USER("x") ", " ANSWER("y") ", " USER("z") "]}");
    cr_expect_eq(set.type, PLUMB_DATA_LANGUAGE_MODELING);
    cr_expect_str_eq(shown(0), "|<s>u:x;a:y</s>;u:z;");
    cr_expect_eq(fake.calls, 1);
    open_good("{\"prompt\": [" USER("x") "], \"completion\": [" ANSWER("y") "]}");
    cr_expect_eq(set.type, PLUMB_DATA_PROMPT_COMPLETION);
    cr_expect_str_eq(shown(0), "<s>u:x;a:|y</s>;");
    cr_expect_eq(fake.calls, 3);
    options.train_on_prompt = true;
    open_good("{\"prompt\": [" USER("x") "], \"completion\": [" ANSWER("y") "]}");
    cr_expect_str_eq(shown(0), "|<s>u:x;a:y</s>;");
}

Test(dataset_chat, messages_go_before_a_column_of_text)
{
    options.use = PLUMB_USE_SFT;
    open_good("{\"text\": \"no\", \"messages\": [" USER("x") "]}");
    cr_expect_str_eq(shown(0), "|<s>u:x;");
}

Test(dataset_chat, the_completion_starts_where_the_tokens_part)
{
    fake.merge = true; /* "ab" is one token */
    put("chat_template.jinja", "{% for m in messages %}{{ m.content }};{% endfor %}"
                               "{% if add_generation_prompt %}a{% endif %}");
    cr_assert_eq(reopen(NULL), PLUMB_OK);
    open_good("{\"prompt\": [" USER("x") "], \"completion\": [" ANSWER(
        "ab") "]}\n"
              "{\"prompt\": [" USER("x") "], \"completion\": [" ANSWER("ac") "]}");
    cr_expect_str_eq(shown(0), "x;|ab;");
    cr_expect_str_eq(shown(1), "x;a|c;");
    cr_expect_eq(plumb_dataset_report(&set)->boundary, 1);
}

Test(dataset_chat, pairs_with_a_prompt_and_without)
{
    options.use = PLUMB_USE_PREFERENCE;
    open_good("{\"prompt\": [" USER("x") "], \"chosen\": [" ANSWER("y") "], \"rejected\": [" ANSWER(
        "no") ", " USER("?") "]}");
    cr_expect_eq(set.type, PLUMB_DATA_PREFERENCE);
    cr_expect_str_eq(shown(0), "<s>u:x;a:|y</s>;|no</s>;u:?;");
    open_good(
        "{\"chosen\": [" USER("x") ", " ANSWER("y") "], \"rejected\": [" USER("x") ", " ANSWER(
            "n") "]}\n"
                 "{\"chosen\": [" USER("x") ", " ANSWER(
                     "y") "], \"rejected\": "
                          "[{\"content\": \"x\", \"role\": \"user\"}, " ANSWER("y") "]}");
    cr_expect_str_eq(shown(0), "<s>u:x;a:|y</s>;|n</s>;");
    cr_expect_str_eq(shown(1), "<s>u:x;a:|y</s>;|y</s>;");
    expect_fault(PLUMB_EFORMAT, "{\"chosen\": [" USER("x") "], \"rejected\": [" USER("y") "]}",
                 ":1: column \"chosen\" shares no first message with \"rejected\"");
    options.use = PLUMB_USE_REWARD;
    open_good("{\"chosen\": [" USER("x") "], \"rejected\": [" USER("y") "]}");
    cr_expect_str_eq(shown(0), "|<s>u:x;|<s>u:y;");
    open_good("{\"prompt\": [" USER("x") "], \"chosen\": [" ANSWER("y") "], \"rejected\": [" ANSWER(
        "n") "]}");
    cr_expect_str_eq(shown(0), "|<s>u:x;a:y</s>;|<s>u:x;a:n</s>;");
}

Test(dataset_chat, rated_answers_and_triples)
{
    options.use = PLUMB_USE_UNPAIRED;
    open_good("{\"prompt\": [" USER("x") "], \"completion\": [" ANSWER("y") "], \"label\": true}");
    cr_expect_str_eq(shown(0), "<s>u:x;a:|y</s>;");
    open_good("{\"chosen\": [" USER("x") ", " ANSWER("y") "], \"rejected\": [" USER(
        "x") ", " ANSWER("n") "]}");
    cr_expect_str_eq(shown(1), "<s>u:x;a:|n</s>;");
    options.use = PLUMB_USE_TRIPLES;
    open_good("{\"chosen\": [" USER("x") ", " ANSWER("y") "], \"rejected\": [" USER(
        "x") ", " ANSWER("n") "], \"reference\": [" USER("x") ", " ANSWER("g") "]}");
    cr_expect_str_eq(shown(0), "<s>u:x;a:|y</s>;|n</s>;|g</s>;");
    expect_fault(PLUMB_EFORMAT,
                 "{\"chosen\": [" USER("x") ", " ANSWER("y") "], \"rejected\": [" USER(
                     "x") ", " ANSWER("n") "], \"reference\": [" ANSWER("g") "]}",
                 "column \"reference\" does not begin with the messages");
}

Test(dataset_chat, a_prompt_alone_goes_on_where_the_assistant_stopped)
{
    open_good("{\"prompt\": [" USER("x") "]}\n{\"prompt\": [" USER("x") ", " ANSWER("and") "]}");
    cr_expect_eq(set.type, PLUMB_DATA_PROMPT_ONLY);
    cr_expect_str_eq(shown(0), "<s>u:x;a:");
    cr_expect_str_eq(shown(1), "<s>u:x;a:and");
}

Test(dataset_chat, tools_and_further_variables_reach_the_template_as_they_are_written)
{
    open_good("{\"messages\": [" USER(
        "x") "], \"tools\": [{\"a\": 2.0}], "
             "\"chat_template_kwargs\": {\"extra\": 1}}\n"
             "{\"messages\": [" USER("x") "], \"tools\": \"[{\\\"a\\\": 2}]\"}\n"
                                          "{\"messages\": [" USER("x") "], \"tools\": null}");
    /* The tokenizer writes braces and other characters over '}' as unknown. */
    cr_expect(strstr(shown(0), "\"a\": 2.0"), "%s", shown(0));
    cr_expect(strstr(shown(0), "]1"), "%s", shown(0));
    cr_expect(strstr(shown(1), "\"a\": 2}]"), "%s", shown(1));
    cr_expect_str_eq(shown(2), "|<s>u:x;");
    char *out = NULL;
    size_t n;
    FILE *f = open_memstream(&out, &n);
    cr_assert_eq(plumb_dataset_show(f, &set, &text), PLUMB_OK);
    fclose(f);
    cr_expect(strstr(out, "columns messages, tools, chat_template_kwargs\n"), "%s", out);
    free(out);
}

Test(dataset_chat, a_null_in_a_message_is_as_if_it_were_not_there)
{
    put("chat_template.jinja", "{% for m in messages %}{{ m.content is defined }}{% endfor %}");
    cr_assert_eq(reopen(NULL), PLUMB_OK);
    open_good("{\"messages\": [{\"role\": \"user\", \"content\": null}]}");
    cr_expect_str_eq(shown(0), "|False");
}

Test(dataset_chat, eos_before_a_lines_end_is_an_end)
{
    char *out = NULL;
    size_t n;
    open_good("{\"messages\": [" USER("x") ", " ANSWER("y") "]}");
    FILE *f = open_memstream(&out, &n);
    cr_assert_eq(plumb_dataset_show(f, &set, &text), PLUMB_OK);
    fclose(f);
    cr_expect_null(strstr(out, "no EOS"), "%s", out);
    free(out);
}

Test(dataset_chat, rows_that_are_wrong_are_named)
{
    const char *good = "{\"messages\": [" USER("x") "]}\n";
    static const struct {
        const char *messages, *what;
    } bad[] = {
        { "\"text\"", "wants a conversation (a list of messages), got \"text\"" },
        { "[]", "wants at least one message" },
        { "[5]", "wants messages that are objects" },
        { "[{\"from\": \"human\", \"value\": \"x\"}]", "these are ShareGPT's" },
        { "[{\"content\": \"x\"}]", "wants messages with a role" },
    };
    char content[512];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(content, sizeof content, "%s{\"messages\": %s}\n", good, bad[i].messages);
        expect_fault(PLUMB_EFORMAT, content, bad[i].what);
        cr_expect(strstr(plumb_errmsg(), ":2: column \"messages\""), "%s", plumb_errmsg());
    }
    options.skip_bad_rows = true;
    open_good(content);
    cr_expect_eq(plumb_dataset_report(&set)->skipped, 1);
    /* Texts and conversations in one row. */
    expect_fault(PLUMB_EINVAL, "{\"prompt\": \"x\", \"completion\": [" ANSWER("y") "]}",
                 "column \"prompt\" wants a conversation");
}

Test(dataset_chat, a_template_that_refuses_a_row_is_a_bad_row)
{
    put("chat_template.jinja", "{{ raise_exception('no ' + messages[0].role) }}");
    cr_assert_eq(reopen(NULL), PLUMB_OK);
    expect_fault(PLUMB_EFORMAT, "{\"messages\": [" USER("x") "]}",
                 ":1: column \"messages\" cannot be rendered: ");
    cr_expect(strstr(plumb_errmsg(), "no user"), "%s", plumb_errmsg());
}

Test(dataset_chat, where_templates_are_found)
{
    const char *row = "{\"messages\": [" USER("x") "]}";
    const char *with_tools = "{\"messages\": [" USER("x") "], \"tools\": []}";
    char path[256];
    put("mine.jinja", "mine");
    snprintf(path, sizeof path, "%s/mine.jinja", dir);
    cr_assert_eq(reopen(path), PLUMB_OK);
    open_good(row);
    cr_expect_str_eq(shown(0), "|mine");
    cr_expect_eq(reopen(dir), PLUMB_ENOTSUP);
    snprintf(path, sizeof path, "%s/chat_template.jinja", dir);
    remove(path);
    put("tokenizer_config.json",
        "{\"chat_template\": [{\"name\": \"default\", \"template\": \"one\"}, "
        "{\"name\": \"tool_use\", \"template\": \"two\"}]}");
    cr_assert_eq(reopen(NULL), PLUMB_OK);
    open_good(row);
    cr_expect_str_eq(shown(0), "|one");
    open_good(with_tools);
    cr_expect_str_eq(shown(0), "|two");
    put("tokenizer_config.json", "{}");
    cr_assert_eq(reopen(NULL), PLUMB_OK);
    options.skip_bad_rows = true; /* not a row's fault */
    expect_fault(PLUMB_EINVAL, row, "has no chat template: give one with --chat_template_path");
    put("chat_template.jinja", "{% if %}");
    cr_assert_eq(reopen(NULL), PLUMB_OK);
    expect_fault(PLUMB_EINVAL, row, "chat_template.jinja:1");
}

static void expect_ids(const struct plumb_ids *got, const int32_t *want, int64_t n)
{
    cr_expect_eq(got->n, n, "%d ids, not %d", (int)got->n, (int)n);
    for (int64_t i = 0; i < n && i < got->n; i++)
        cr_expect_eq(got->id[i], want[i], "id %d", (int)i);
}
#define EXPECT_IDS(got, ...)                                                                       \
    expect_ids(&(got), (const int32_t[]){ __VA_ARGS__ },                                           \
               sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t))

#define QWEN_PROMPT                                                                                \
    151644, 8948, 198, 3430, 9814, 13, 151645, 198, 151644, 872, 198, 3838, 374, 220, 17, 10, 17,  \
        30, 151645, 198, 151644, 77091, 198
#define QWEN_CHOSEN 151667, 271, 151668, 271, 19, 151645, 198
#define QWEN_REJECTED 151667, 271, 151668, 271, 2132, 374, 4236, 13, 151645, 198

/* The ids that the trainers of TRL 1.16 made of these rows: Qwen3's template writes an empty
 * thought before the last answer alone, which is no part of its prompt. */
Test(dataset_chat, ids_are_those_of_trl)
{
    char qwen[512];
    struct plumb_text real;
    struct plumb_example e;
    if (!shared_path(qwen, sizeof qwen, "data/tokenizers/qwen3")) return;
    cr_assert_eq(plumb_tokenizer_open(&real, qwen), PLUMB_OK, "%s", plumb_errmsg());
    plumb_chat_release(&chat);
    cr_assert_eq(plumb_chat_open(&chat, qwen, NULL, &real), PLUMB_OK, "%s", plumb_errmsg());
    static const char pairs[] =
        "{\"prompt\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, " USER("What is 2+2?") //
        "], \"chosen\": [" ANSWER("4") "], \"rejected\": [" ANSWER("It is five.") "]}\n";
    options.text = &real;
    options.use = PLUMB_USE_PREFERENCE;
    open_good(pairs);
    cr_assert_eq(set.get(set.self, 0, &e), PLUMB_OK);
    EXPECT_IDS(e.prompt, QWEN_PROMPT);
    EXPECT_IDS(e.completion[0], QWEN_CHOSEN);
    EXPECT_IDS(e.completion[1], QWEN_REJECTED);
    options.use = PLUMB_USE_REWARD;
    open_good(pairs);
    cr_assert_eq(set.get(set.self, 0, &e), PLUMB_OK);
    EXPECT_IDS(e.completion[0], QWEN_PROMPT, QWEN_CHOSEN);
    EXPECT_IDS(e.completion[1], QWEN_PROMPT, QWEN_REJECTED);
    options.use = PLUMB_USE_SFT;
    open_good("{\"messages\": [" USER("Hi") ", " ANSWER("Hello!") ", " USER("Bye") ", " ANSWER(
        "See you.") "]}");
    cr_assert_eq(set.get(set.self, 0, &e), PLUMB_OK);
    EXPECT_IDS(e.completion[0], 151644, 872, 198, 13048, 151645, 198, 151644, 77091, 198, 9707, 0,
               151645, 198, 151644, 872, 198, 1359, 68, 151645, 198, 151644, 77091, 198, 151667,
               271, 151668, 271, 9830, 498, 13, 151645, 198);
    plumb_tokenizer_release(&real);
}
