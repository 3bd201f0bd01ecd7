/* Which tokens of a row are trained on. */
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
#include "tests/shared.h"

#define USER(text) "{\"role\": \"user\", \"content\": \"" text "\"}"
#define ANSWER(text) "{\"role\": \"assistant\", \"content\": \"" text "\"}"

/* One message is "u:text;" or "a:text</s>;", the generation prompt "a:". */
static const char plain[] = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}"
                            "{{ '</s>' if m.role[0] == 'a' }};{% endfor %}"
                            "{% if add_generation_prompt %}a:{% endif %}";
/* The same, with the answer and its end marked, but not the line's end. */
static const char marked[] =
    "{% for m in messages %}{{ m.role[0] }}:{% if m.role[0] == 'a' %}{%- generation -%}"
    "{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}{% endif %};{% endfor %}"
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

static void use_template(const char *template)
{
    put("chat_template.jinja", template);
    plumb_chat_release(&chat);
    cr_assert_eq(plumb_chat_open(&chat, dir, NULL, &text), PLUMB_OK, "%s", plumb_errmsg());
}

static void make_place(void)
{
    strcpy(dir, "/tmp/plumb-mask-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(rows, sizeof rows, "%s/rows.jsonl", dir);
    plumb_log_threshold(PLUMB_LOG_WARN + 1);
    text = fake_text(&fake);
    put("tokenizer_config.json", "{\"eos_token\": \"</s>\"}");
    use_template(plain);
    options = (struct plumb_dataset_options){ .paths = paths,
                                              .path_count = 1,
                                              .use = PLUMB_USE_SFT,
                                              .text = &text,
                                              .chat = &chat,
                                              .assistant_only = true };
}

static void drop_place(void)
{
    plumb_dataset_release(&set);
    plumb_chat_release(&chat);
    plumb_folder_remove(dir);
}

TestSuite(dataset_mask, .init = make_place, .fini = drop_place);

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

/* Example i as "prompt|completion" with what is trained on in capitals; EOS is $ or #, ';'
 * becomes '.'. */
static const char *shown(int64_t i)
{
    static char out[512];
    struct plumb_example e;
    size_t n = 0;
    cr_assert_eq(set.get(set.self, i, &e), PLUMB_OK, "%s", plumb_errmsg());
    for (int k = 0; k < 2; k++) {
        const struct plumb_ids *ids = k ? &e.completion[0] : &e.prompt;
        if (k) out[n++] = '|';
        for (int64_t t = 0; t < ids->n; t++) {
            const char c = ids->id[t] == 2 ? '$' : *fake_piece(NULL, ids->id[t]);
            const bool trained = k && (!e.trained || e.trained[t]);
            const char capital = c == '$' ? '#' : c == ';' ? '.' : (char)(c - 32);
            const bool shows = c == '$' || c == ';' || (c >= 'a' && c <= 'z');
            out[n++] = trained && shows ? capital : c;
        }
    }
    out[n] = 0;
    return out;
}

#define TALK                                                                                       \
    "{\"messages\": [" USER("xy") ", " ANSWER("ok") ", " USER("z") ", " ANSWER("no") ", " USER(    \
        "w") "]}"

Test(dataset_mask, generation_blocks_say_what_is_the_assistants)
{
    use_template(marked);
    open_good(TALK);
    cr_expect_str_eq(shown(0), "u:xy;a:|OK#;u:z;a:NO#;u:w;");
    cr_expect_eq(fake.calls, 1, "the conversation is tokenised once");
    cr_expect_eq(set.type, PLUMB_DATA_PROMPT_COMPLETION);
}

Test(dataset_mask, without_blocks_beginnings_of_the_conversation_tell)
{
    open_good(TALK);
    cr_expect_str_eq(shown(0), "u:xy;a:|OK#.u:z;a:NO#.u:w;");
    cr_expect_eq(fake.calls, 1);
}

Test(dataset_mask, a_template_whose_beginnings_differ_is_refused)
{
    /* reasoning of earlier turns goes away, as some templates do it */
    use_template("{% for m in messages %}{{ m.role[0] }}:{{ m.content }}"
                 "{{ '!' if loop.last }};{% endfor %}"
                 "{% if add_generation_prompt %}a:{% endif %}");
    expect_fault(
        PLUMB_EFORMAT, TALK,
        "rows.jsonl:1: column \"messages\" is rendered otherwise up to message 1 than as a "
        "whole, and the chat template has no {% generation %} blocks");
}

Test(dataset_mask, a_completion_is_trained_on_where_it_is_the_assistants)
{
    static const char row[] = "{\"prompt\": [" USER("x") ", " ANSWER("a") ", " USER(
        "y") "], "
             "\"completion\": [" ANSWER("b") ", " USER("z") ", " ANSWER("c") "]}";
    use_template(marked);
    open_good(row);
    cr_expect_str_eq(shown(0), "u:x;a:a$;u:y;a:|B#;u:z;a:C#;");
    use_template(plain);
    open_good(row);
    cr_expect_str_eq(shown(0), "u:x;a:a$;u:y;a:|B#.u:z;a:C#.");
    options.train_on_prompt = true;
    open_good(row);
    cr_expect_str_eq(shown(0), "u:x;a:|A#.u:y;a:B#.u:z;a:C#.");
}

Test(dataset_mask, a_token_across_the_boundary_is_trained_on_and_counted)
{
    fake.merge =
        true; /* "ab" is one token, here the generation prompt's end and the answer's start */
    use_template("{% for m in messages %}{{ m.role[0] }}a{% if m.role[0] == 'a' %}"
                 "{%- generation -%}{{ m.content }}{% endgeneration %}{% endif %};{% endfor %}");
    open_good("{\"messages\": [" USER("x") ", " ANSWER("bc") "]}");
    cr_expect_str_eq(shown(0), "ua;a|AC;");
    cr_expect_eq(plumb_dataset_report(&set)->straddled, 1);
}

Test(dataset_mask, truncation_leaves_rows_with_something_to_learn)
{
    use_template(marked);
    options.max_length = 9;
    open_good(TALK "\n{\"messages\": [" USER("123456789") ", " ANSWER("a") "]}");
    cr_expect_eq(set.count, 1, "a row without a trained token is dropped, as TRL does");
    cr_expect_str_eq(shown(0), "u:xy;a:|OK");
    options.keep_end = true;
    open_good(TALK);
    cr_expect_str_eq(shown(0), "|:NO#;u:w;");
}

Test(dataset_mask, rows_without_an_answer_and_texts_are_refused)
{
    expect_fault(PLUMB_EFORMAT, "{\"messages\": [" USER("x") "]}",
                 ":1: column \"messages\" has no assistant tokens");
    expect_fault(PLUMB_EINVAL, "{\"text\": \"x\"}",
                 "assistant_only_loss wants conversations, and columns \"text\" are none");
}

Test(dataset_mask, labels_may_leave_out_any_token)
{
    options.assistant_only = false;
    options.text = NULL;
    open_good("{\"input_ids\": [68, 69, 70, 71, 72], \"labels\": [-100, 69, -100, 71, -100]}");
    cr_expect_str_eq(shown(0), "a|BcDe");
    open_good("{\"input_ids\": [68, 69, 70], \"completion_mask\": [1, 0, 1]}");
    cr_expect_str_eq(shown(0), "|AbC");
    expect_fault(PLUMB_EINVAL, "{\"input_ids\": [68, 69], \"labels\": [68, -100]}",
                 "1 without a token to predict");
}
