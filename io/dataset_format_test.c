/* A row in another program's form gives the ids of the row that TRL would want. */
#include <criterion/criterion.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/chat.h"
#include "io/checkpoint.h"
#include "io/dataset.h"
#include "io/fake_text.h"
#include "io/file.h"

static const char template[] =
    "{% for m in messages %}{{ m.role }}:{{ m.content }}"
    "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %};{% endfor %}"
    "{% if tools %}[{{ tools | tojson }}]{% endif %}{{ extra }}"
    "{% if add_generation_prompt %}assistant:{% endif %}";

static char dir[64], rows[128], logged[1024];
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

static void keep_log(void *ctx, enum plumb_log_level level, const char *line)
{
    (void)ctx;
    if (level == PLUMB_LOG_INFO) snprintf(logged, sizeof logged, "%s", line);
}

static void make_place(void)
{
    strcpy(dir, "/tmp/plumb-format-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(rows, sizeof rows, "%s/rows.jsonl", dir);
    plumb_log_receiver(keep_log, NULL);
    text = fake_text(&fake);
    put("chat_template.jinja", template);
    cr_assert_eq(plumb_chat_open(&chat, dir, NULL, &text), PLUMB_OK, "%s", plumb_errmsg());
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

TestSuite(dataset_format, .init = make_place, .fini = drop_place);

static int open_rows(enum plumb_dataset_use use, enum plumb_dataset_format format,
                     const char *content)
{
    options.use = use;
    options.format = format;
    put("rows.jsonl", content);
    plumb_dataset_release(&set);
    return plumb_dataset_open(&options, &set);
}

static uint64_t hash_of(enum plumb_dataset_use use, enum plumb_dataset_format format,
                        const char *content)
{
    cr_assert_eq(open_rows(use, format, content), PLUMB_OK, "%s: %s", content, plumb_errmsg());
    return set.content_hash;
}

/* Asked for by name and found by itself, a row is the same as the one that TRL has. */
static void expect_same(enum plumb_dataset_use use, enum plumb_dataset_format format,
                        const char *content, const char *trl)
{
    const uint64_t want = hash_of(use, PLUMB_FORMAT_TRL, trl);
    cr_expect_eq(hash_of(use, format, content), want, "%s", content);
    cr_expect_eq(hash_of(use, PLUMB_FORMAT_AUTO, content), want, "%s", content);
    cr_expect(strstr(logged, plumb_dataset_format_name(format)), "%s", logged);
}

static void expect_fault(enum plumb_dataset_use use, enum plumb_dataset_format format, int code,
                         const char *content, const char *what)
{
    const int rc = open_rows(use, format, content);
    cr_expect_eq(rc, code, "%s gave %d: %s", content, rc, plumb_errmsg());
    cr_expect(strstr(plumb_errmsg(), what), "%s gave: %s", content, plumb_errmsg());
}

#define M(role, content) "{\"role\": \"" role "\", \"content\": \"" content "\"}"
#define F(from, value) "{\"from\": \"" from "\", \"value\": \"" value "\"}"
#define TOOLS "\"tools\": [{\"name\": \"f\", \"x\": 1.50}]"
#define CALL                                                                                       \
    "{\"role\": \"assistant\", \"tool_calls\": [{\"type\": \"function\", \"function\": "           \
    "{\"name\": \"f\", \"arguments\": {\"a\": 1.0}}}]}"

Test(dataset_format, sharegpt_conversations_are_messages)
{
    expect_same(
        PLUMB_USE_SFT, PLUMB_FORMAT_SHAREGPT,
        "{\"id\": 7, \"conversations\": [" F("human", "hi \\u00e9") ", " F("gpt", "yo") "]}",
        "{\"messages\": [" M("user", "hi \\u00e9") ", " M("assistant", "yo") "]}");
    expect_same(PLUMB_USE_SFT, PLUMB_FORMAT_SHAREGPT,
                "{\"system\": \"S\", \"conversations\": [ {\"value\":\"q\" ,\"from\":\"user\"} , "
                "{\"role\":\"assistant\",\"content\":\"a\"}]," TOOLS "}",
                "{\"messages\": [" M("system", "S") "," M("user", "q") "," M("assistant", "a") //
                "]," TOOLS "}");
    expect_same(PLUMB_USE_SFT, PLUMB_FORMAT_SHAREGPT,
                "{\"conversations\": [" F("human", "q") "," F(
                    "function_call", "{\\\"name\\\": \\\"f\\\", \\\"arguments\\\": "
                                     "{\\\"a\\\": 1.0}}") "," F("observation", "2") "]}",
                "{\"messages\": [" M("user", "q") "," CALL "," M("tool", "2") "]}");
}

Test(dataset_format, sharegpt_pairs_labels_and_prompts)
{
    static const char pair[] = "{\"conversations\": [" F("human", "q") "], \"chosen\": " F(
        "gpt", "a") ", \"rejected\": " F("gpt", "b") ", \"margin\": 0.5}";
    static const char trl[] = "{\"prompt\": [" M("user", "q") "], \"chosen\": [" M(
        "assistant", "a") "], \"rejected\": [" M("assistant", "b") "], \"margin\": 0.5}";
    expect_same(PLUMB_USE_PREFERENCE, PLUMB_FORMAT_SHAREGPT, pair, trl);
    expect_same(PLUMB_USE_REWARD, PLUMB_FORMAT_SHAREGPT, pair, trl);
    expect_same(PLUMB_USE_UNPAIRED, PLUMB_FORMAT_SHAREGPT, pair, trl);
    expect_same(PLUMB_USE_ANY, PLUMB_FORMAT_SHAREGPT, pair, trl);
    expect_same(PLUMB_USE_UNPAIRED, PLUMB_FORMAT_SHAREGPT,
                "{\"conversations\": [" F("human", "q") "," F("gpt", "a") "], \"kto_tag\": false}",
                "{\"prompt\": [" M("user", "q") "], \"completion\": [" M(
                    "assistant", "a") "], \"label\": false}");
    expect_same(PLUMB_USE_PROMPTS, PLUMB_FORMAT_SHAREGPT,
                "{\"conversations\": [" F("human", "q") "," F("gpt", "a") "]}",
                "{\"prompt\": [" M("user", "q") "]}");
}

Test(dataset_format, alpaca_rows_are_conversations)
{
    expect_same(
        PLUMB_USE_SFT, PLUMB_FORMAT_ALPACA,
        "{\"instruction\": \"do\", \"input\": \"\", \"output\": \"done\"}",
        "{\"prompt\": [" M("user", "do") "], \"completion\": [" M("assistant", "done") "]}");
    expect_same(
        PLUMB_USE_SFT, PLUMB_FORMAT_ALPACA,
        "{\"instruction\": \"do \\\"it\\\"\", \"input\": \"x\\ny\", \"output\": \"done\", "
        "\"system\": \"S\", \"history\": [[\"p\", \"r\"]]}",
        "{\"prompt\": [" M("system", "S") "," M("user", "p") "," M("assistant", "r") "," M(
            "user", "do \\\"it\\\"\\nx\\ny") "], \"completion\": [" M("assistant", "done") //
        "]}");
    expect_same(PLUMB_USE_UNPAIRED, PLUMB_FORMAT_ALPACA,
                "{\"instruction\": \"\", \"input\": \"x\", \"output\": \"y\", \"kto_tag\": true}",
                "{\"prompt\": [" M("user", "x") "], \"completion\": [" M(
                    "assistant", "y") "], \"label\": true}");
    expect_same(PLUMB_USE_PROMPTS, PLUMB_FORMAT_ALPACA,
                "{\"instruction\": \"x\", \"output\": \"y\"}",
                "{\"prompt\": [" M("user", "x") "]}");
}

Test(dataset_format, openai_preferences_are_pairs)
{
    expect_same(
        PLUMB_USE_PREFERENCE, PLUMB_FORMAT_OPENAI,
        "{\"input\": {\"messages\": [" M("user", "q") "], " TOOLS "}, \"preferred_output\": [" M(
            "assistant", "a") "], \"non_preferred_output\": [" M("assistant", "b") "]}",
        "{\"prompt\": [" M("user", "q") "], \"chosen\": [" M(
            "assistant", "a") "], \"rejected\": [" M("assistant", "b") "]," TOOLS "}");
}

Test(dataset_format, openai_messages_are_trls_but_for_arguments_in_a_string)
{
    static const char rows_text[] = "{\"messages\": [" M(
        "user", "q") ", {\"role\": \"assistant\", \"weight\": 1, "
                     "\"content\": null, \"tool_calls\": [{\"type\": "
                     "\"function\", \"function\": {\"name\": \"f\", "
                     "\"arguments\": \"{\\\"a\\\": 1.0}\"}}]}]}";
    static const char trl[] = "{\"messages\": [" M("user", "q") ", " CALL "]}";
    cr_expect_eq(hash_of(PLUMB_USE_SFT, PLUMB_FORMAT_OPENAI, rows_text),
                 hash_of(PLUMB_USE_SFT, PLUMB_FORMAT_TRL, trl));
    cr_expect_neq(hash_of(PLUMB_USE_SFT, PLUMB_FORMAT_AUTO, rows_text),
                  hash_of(PLUMB_USE_SFT, PLUMB_FORMAT_TRL, trl));
    cr_expect_eq(
        hash_of(PLUMB_USE_PROMPTS, PLUMB_FORMAT_OPENAI,
                "{\"messages\": [" M("user", "q") ", " M("assistant", "a") "]}"),
        hash_of(PLUMB_USE_PROMPTS, PLUMB_FORMAT_TRL, "{\"prompt\": [" M("user", "q") "]}"));
}

Test(dataset_format, two_readings_are_an_error_that_names_the_option)
{
    static const char pair[] = "{\"instruction\": \"i\", \"output\": \"o\", \"chosen\": \"a\", "
                               "\"rejected\": \"b\"}";
    expect_fault(PLUMB_USE_PREFERENCE, PLUMB_FORMAT_AUTO, PLUMB_EINVAL, pair,
                 ":1: columns \"instruction, output, chosen, rejected\" can be read as TRL's or "
                 "Alpaca's: say which with --dataset_format trl or alpaca");
    cr_expect_eq(open_rows(PLUMB_USE_PREFERENCE, PLUMB_FORMAT_TRL, pair), PLUMB_OK);
    cr_expect_eq(open_rows(PLUMB_USE_PREFERENCE, PLUMB_FORMAT_ALPACA, pair), PLUMB_OK);
    cr_expect_eq(open_rows(PLUMB_USE_SFT, PLUMB_FORMAT_AUTO, pair), PLUMB_OK);
    expect_fault(PLUMB_USE_SFT, PLUMB_FORMAT_AUTO, PLUMB_EINVAL,
                 "{\"instruction\": \"i\", \"output\": \"o\", \"text\": \"t\"}",
                 "TRL's or Alpaca's");
    expect_fault(PLUMB_USE_SFT, PLUMB_FORMAT_AUTO, PLUMB_EINVAL,
                 "{\"messages\": [" M("user", "q") "], \"conversations\": [" F("human", "q") "]}",
                 "TRL's or ShareGPT's");
    expect_fault(PLUMB_USE_PREFERENCE, PLUMB_FORMAT_SHAREGPT, PLUMB_EINVAL, pair,
                 "do not fit --dataset_format sharegpt: wanted conversations");
    expect_fault(PLUMB_USE_SFT, PLUMB_FORMAT_AUTO, PLUMB_EINVAL, "{\"question\": \"q\"}",
                 "columns \"question\" do not fit: wanted text");
}

Test(dataset_format, rows_that_are_not_of_the_form_are_named)
{
    static const struct {
        enum plumb_dataset_use use;
        enum plumb_dataset_format format;
        const char *row, *what;
    } cases[] = {
        { PLUMB_USE_SFT, PLUMB_FORMAT_SHAREGPT, "{\"conversations\": [" F("alien", "x") "]}",
          ":1: column \"conversations\" (read as sharegpt) has a message from \"alien\"" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_SHAREGPT, "{\"conversations\": [{\"from\": \"gpt\"}]}",
          "wants messages with from and value" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_SHAREGPT,
          "{\"conversations\": [{\"from\": \"gpt\", \"value\": \"x\", \"weight\": 0}]}",
          "has a message with weight 0" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_SHAREGPT,
          "{\"system\": \"s\", \"conversations\": [" F("system", "t") "]}",
          "column \"system\" (read as sharegpt) stands beside" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_SHAREGPT,
          "{\"conversations\": [" F("function_call", "f(1)") "]}",
          "wants a JSON object with a name" },
        { PLUMB_USE_PREFERENCE, PLUMB_FORMAT_SHAREGPT,
          "{\"conversations\": [" F("gpt", "x") "], \"chosen\": " F(
              "gpt", "a") ", \"rejected\": " F("gpt", "b") "}",
          "ends with an answer" },
        { PLUMB_USE_UNPAIRED, PLUMB_FORMAT_SHAREGPT,
          "{\"conversations\": [" F("human", "x") "], \"kto_tag\": true}",
          "wants to end with an answer" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_ALPACA,
          "{\"instruction\": \"i\", \"output\": \"o\", \"history\": [[\"a\"]]}",
          "column \"history\" (read as alpaca) wants pairs" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_ALPACA,
          "{\"instruction\": \"i\", \"output\": \"o\", \"input\": 5}",
          "column \"input\" (read as alpaca) wants text, got a number" },
        { PLUMB_USE_UNPAIRED, PLUMB_FORMAT_ALPACA,
          "{\"instruction\": \"i\", \"output\": \"o\", \"label\": true, \"kto_tag\": true}",
          "wants one of label and kto_tag" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_OPENAI, "{\"messages\": [], \"functions\": []}",
          "column \"functions\"" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_OPENAI, "{\"messages\": [{\"content\": \"x\"}]}",
          "wants messages with a role" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_OPENAI,
          "{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\", \"weight\": 0}]}",
          "has a message with weight 0" },
        { PLUMB_USE_SFT, PLUMB_FORMAT_OPENAI,
          "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [{\"function\": "
          "{\"arguments\": \"1\"}}]}]}",
          "wants a JSON object in a tool call's arguments" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_fault(cases[i].use, cases[i].format, PLUMB_EFORMAT, cases[i].row, cases[i].what);
}

/* The second row is not of the first one's form. */
Test(dataset_format, bad_rows_can_be_skipped)
{
    options.skip_bad_rows = true;
    cr_assert_eq(open_rows(PLUMB_USE_SFT, PLUMB_FORMAT_AUTO,
                           "{\"instruction\": \"i\", \"output\": \"o\"}\n"
                           "{\"text\": \"i\"}\n"
                           "{\"instruction\": \"j\", \"output\": \"p\"}\n"),
                 PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(set.count == 2 && plumb_dataset_report(&set)->skipped == 1);
}
