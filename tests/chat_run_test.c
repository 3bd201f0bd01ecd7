/* Training and inspecting conversations as a user does. */
#include "tests/tiny_run.h"

static struct program p;

/* One token a character, of the ids that the tiny model has. */
static const char tokenizer[] =
    "{\"version\": \"1.0\", \"added_tokens\": ["
    "{\"id\": 0, \"content\": \"<s>\", \"special\": true, \"normalized\": false, \"lstrip\": false,"
    " \"rstrip\": false, \"single_word\": false},"
    "{\"id\": 1, \"content\": \"</s>\", \"special\": true, \"normalized\": false,"
    " \"lstrip\": false, \"rstrip\": false, \"single_word\": false}],"
    "\"normalizer\": null, \"pre_tokenizer\": null, \"decoder\": null, \"post_processor\":"
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\","
    "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [],"
    "\"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [0], \"tokens\": [\"<s>\"]}}},"
    "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"<s>\": 0, \"</s>\": 1,"
    "\"u\": 2, \"a\": 3, \":\": 4, \";\": 5, \"x\": 6, \"y\": 7, \"z\": 8, \"n\": 9, \"o\": 10}}}";
static const char template[] = "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:"
                               "{{ m.content }}{{ eos_token if m.role[0] == 'a' }};{% endfor %}"
                               "{% if add_generation_prompt %}a:{% endif %}";

static void put(const struct tiny *t, const char *name, const char *text)
{
    cr_assert_eq(plumb_file_write(tiny_path(t, name), text, strlen(text)), PLUMB_OK);
}

static void make(struct tiny *t)
{
    tiny_init(t);
    put(t, "model/tokenizer.json", tokenizer);
    put(t, "model/tokenizer_config.json",
        "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"tokenizer_class\": "
        "\"PreTrainedTokenizerFast\"}");
    put(t, "chat.jinja", template);
    put(t, "talks.jsonl",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"xy\"}, "
        "{\"role\": \"assistant\", \"content\": \"no\"}]}\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"y\"}]}\n");
    put(t, "better.jsonl",
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"xy\"}], \"chosen\": "
        "[{\"role\": \"assistant\", \"content\": \"y\"}], \"rejected\": "
        "[{\"role\": \"assistant\", \"content\": \"no\"}]}\n"
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"z\"}], \"chosen\": "
        "[{\"role\": \"assistant\", \"content\": \"zz\"}], \"rejected\": "
        "[{\"role\": \"assistant\", \"content\": \"n\"}]}\n");
}

/* Pairs of token ids as the conversations of better.jsonl must become. */
static const char same_ids[] =
    "{\"prompt_ids\": [0,2,4,6,7,5,3,4], \"chosen_ids\": [7,1,5], \"rejected_ids\": [9,10,1,5]}\n"
    "{\"prompt_ids\": [0,2,4,8,5,3,4], \"chosen_ids\": [8,8,1,5], \"rejected_ids\": [9,1,5]}\n";

static void train(const struct tiny *t, const char *command, const char *data, const char *out)
{
    struct arguments a = tiny_arguments(t, command, data, out);
    ADD(&a, "--max_steps", "3", "--chat_template_path", tiny_kept(t, "chat.jinja"));
    program_run(&p, a.v);
}

Test(chat_run, dpo_on_conversations_is_dpo_on_their_tokens)
{
    struct tiny t;
    size_t m, n;
    make(&t);
    put(&t, "ids.jsonl", same_ids);
    train(&t, "dpo", "better.jsonl", "talked");
    cr_assert_eq(p.code, 0, "%s", p.err);
    train(&t, "dpo", "ids.jsonl", "counted");
    cr_assert_eq(p.code, 0, "%s", p.err);
    char *a = tiny_read(&t, "talked/model.safetensors", &m);
    char *b = tiny_read(&t, "counted/model.safetensors", &n);
    cr_expect(m == n && memcmp(a, b, m) == 0);
    free(a);
    free(b);
    a = tiny_read(&t, "talked/chat_template.jinja", NULL);
    cr_expect_str_eq(a, template, "the model keeps the template that it was trained with");
    free(a);
    tiny_release(&t);
}

Test(chat_run, sft_trains_on_messages_by_the_models_own_template)
{
    struct tiny t;
    make(&t);
    struct arguments a = tiny_arguments(&t, "sft", "talks.jsonl", "out");
    ADD(&a, "--max_steps", "2");
    program_run(&p, a.v);
    cr_expect_neq(p.code, 0);
    cr_expect(strstr(p.err, "has no chat template: give one with --chat_template_path"), "%s",
              p.err);
    put(&t, "model/chat_template.jinja", template);
    program_run(&p, a.v);
    cr_expect_eq(p.code, 0, "%s", p.err);
    tiny_release(&t);
}

/* The first is what {% generation %} marks below, "no" and the end of the answer; the ids are those
 * of the conversation. */
static const char labelled[] =
    "{\"input_ids\": [0,2,4,6,7,5,3,4,9,10,1,5,2,4,8,5,3,4,7,1,5], \"labels\": "
    "[-100,-100,-100,-100,-100,-100,-100,-100,9,10,1,-100,-100,-100,-100,-100,-100,-100,7,1,-100]}"
    "\n";

Test(chat_run, assistant_only_loss_is_training_on_labels_of_the_marked_tokens)
{
    struct tiny t;
    size_t m, n;
    make(&t);
    put(&t, "turns.jsonl",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"xy\"}, "
        "{\"role\": \"assistant\", \"content\": \"no\"}, {\"role\": \"user\", \"content\": \"z\"}, "
        "{\"role\": \"assistant\", \"content\": \"y\"}]}\n");
    put(&t, "labels.jsonl", labelled);
    put(&t, "chat.jinja",
        "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{% if m.role[0] == 'a' %}"
        "{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}{% else %}"
        "{{ m.content }}{% endif %};{% endfor %}");
    struct arguments a = tiny_arguments(&t, "sft", "turns.jsonl", "talked");
    ADD(&a, "--max_steps", "3", "--chat_template_path", tiny_kept(&t, "chat.jinja"),
        "--assistant_only_loss", "true");
    program_run(&p, a.v);
    cr_assert_eq(p.code, 0, "%s", p.err);
    a = tiny_arguments(&t, "sft", "labels.jsonl", "labelled");
    ADD(&a, "--max_steps", "3");
    program_run(&p, a.v);
    cr_assert_eq(p.code, 0, "%s", p.err);
    char *x = tiny_read(&t, "talked/model.safetensors", &m);
    char *y = tiny_read(&t, "labelled/model.safetensors", &n);
    cr_expect(m == n && memcmp(x, y, m) == 0);
    free(x);
    free(y);
    a = tiny_arguments(&t, "sft", "labels.jsonl", "refused");
    ADD(&a, "--max_steps", "3", "--assistant_only_loss", "true");
    program_run(&p, a.v);
    cr_expect(p.code != 0 && strstr(p.err, "wants conversations"), "%s", p.err);
    tiny_release(&t);
}

Test(chat_run, inspect_shows_what_a_conversation_became)
{
    struct tiny t;
    make(&t);
    PROGRAM_RUN(&p, "inspect", "--tokenizer_name_or_path", tiny_kept(&t, "model"), "--dataset",
                tiny_kept(&t, "better.jsonl"), "--chat_template_path", tiny_kept(&t, "chat.jinja"));
    cr_assert_eq(p.code, 0, "%s", p.err);
    cr_expect(strstr(p.out, "<s>/0=BOS u/2 :/4 x/6 y/7 ;/5 a/3 :/4 \n"), "%s", p.out);
    cr_expect(strstr(p.out, "[n/9] [o/10] [</s>/1=EOS] [;/5] \n"), "%s", p.out);
    cr_expect_null(strstr(p.out, "no EOS"), "%s", p.out);
    tiny_release(&t);
}

Test(chat_run, generate_answers_a_conversation)
{
    struct tiny t;
    make(&t);
    put(&t, "ask.jsonl", "{\"prompt\": [{\"role\": \"user\", \"content\": \"x\"}]}\n");
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", tiny_kept(&t, "model"),
                "--chat_template_path", tiny_kept(&t, "chat.jinja"), "--dataset_name",
                tiny_kept(&t, "ask.jsonl"), "--output", tiny_kept(&t, "answer.jsonl"),
                "--max_new_tokens", "3");
    cr_assert_eq(p.code, 0, "%s", p.err);
    char *row = tiny_read(&t, "answer.jsonl", NULL);
    cr_expect(strstr(row, "[0,2,4,6,5,3,4]"), "%s", row);
    free(row);
    tiny_release(&t);
}
