#include "io/dataset.h"

#include <criterion/criterion.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/fake_text.h"

static char path[64], logged[4096];
static struct fake_text fake;
static struct plumb_text text;
static struct plumb_dataset_options options;
static struct plumb_dataset set;
static const char *paths[] = { path };

static void keep_log(void *ctx, enum plumb_log_level level, const char *line)
{
    (void)ctx;
    if (level < PLUMB_LOG_WARN) return;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", line);
}

static void make_place(void)
{
    strncpy(path, "/tmp/plumb-dataset-XXXXXX", sizeof path - 1);
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    fake = (struct fake_text){ .bos = true };
    text = fake_text(&fake);
    options = (struct plumb_dataset_options){ .paths = paths, .path_count = 1, .text = &text };
    plumb_log_receiver(keep_log, NULL);
}

static void drop_place(void)
{
    plumb_dataset_release(&set);
    unlink(path);
}

TestSuite(dataset, .init = make_place, .fini = drop_place);

static int open_text(const char *content)
{
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(content, f) >= 0 && fclose(f) == 0);
    plumb_dataset_release(&set);
    logged[0] = 0;
    return plumb_dataset_open(&options, &set);
}

static void open_good(const char *content)
{
    cr_assert_eq(open_text(content), PLUMB_OK, "%s", plumb_errmsg());
}

static void show_ids(char *out, const struct plumb_ids *ids)
{
    char *text_of = NULL;
    size_t n;
    cr_assert_eq(fake_decode(NULL, ids->id, ids->n, false, &text_of, &n), PLUMB_OK);
    strcat(out, text_of);
    free(text_of);
}

/* "prompt|completion|second|third" of example i as text. */
static const char *shown(int64_t i)
{
    static char out[4][512];
    static int at;
    char *o = out[at = (at + 1) % 4];
    struct plumb_example e;
    cr_assert_eq(set.get(set.self, i, &e), PLUMB_OK, "%s", plumb_errmsg());
    o[0] = 0;
    show_ids(o, &e.prompt);
    for (int k = 0; k < 3; k++) {
        if (!e.completion[k].n) continue;
        strcat(o, "|");
        show_ids(o, &e.completion[k]);
    }
    return o;
}

static void expect_fault(int code, const char *content, const char *what)
{
    const int rc = open_text(content);
    cr_expect_eq(rc, code, "%s gave %d: %s", content, rc, plumb_errmsg());
    cr_expect(strstr(plumb_errmsg(), what), "%s gave: %s", content, plumb_errmsg());
    cr_expect_null(set.self);
}

Test(dataset, language_modeling_gets_bos_and_one_eos)
{
    open_good("{\"text\": \"hi\"}\n{\"text\": \"yo</s>\"}\n");
    cr_expect_eq(set.type, PLUMB_DATA_LANGUAGE_MODELING);
    cr_expect_eq(set.count, 2);
    cr_expect_str_eq(shown(0), "|<s>hi</s>");
    cr_expect_str_eq(shown(1), "|<s>yo</s>");
    fake.eos = true; /* a post-processor that adds EOS itself must not give two */
    text = fake_text(&fake);
    open_good("{\"text\": \"hi\"}");
    cr_expect_str_eq(shown(0), "|<s>hi</s>");
}

Test(dataset, text_field_names_another_column)
{
    options.text_field = "story";
    open_good("{\"text\": \"no\", \"story\": \"yes\"}");
    cr_expect_str_eq(shown(0), "|<s>yes</s>");
}

Test(dataset, prompt_and_completion_are_split_where_their_tokens_part)
{
    fake.merge = true;
    open_good("{\"prompt\": \"xa\", \"completion\": \"bc\"}\n{\"prompt\": \"x\", \"completion\": "
              "\"abc\"}");
    cr_expect_eq(set.type, PLUMB_DATA_PROMPT_COMPLETION);
    cr_expect_str_eq(shown(0), "<s>x|abc</s>");
    struct plumb_example e;
    set.get(set.self, 0, &e);
    cr_expect_eq(e.completion[0].id[0], FAKE_MERGED);
    cr_expect_eq(plumb_dataset_report(&set)->boundary, 1);
    cr_expect_not_null(strstr(logged, "in 1 examples the end of the prompt merges"), "%s", logged);
}

Test(dataset, a_pair_is_split_at_the_earlier_of_its_two_boundaries)
{
    fake.merge = true;
    open_good("{\"prompt\": \"xa\", \"chosen\": \"c\", \"rejected\": \"b\"}");
    cr_expect_str_eq(shown(0), "<s>x|ac</s>|ab</s>");
}

Test(dataset, a_postprocessors_eos_behind_the_prompt_is_not_part_of_it)
{
    fake.eos = true;
    text = fake_text(&fake);
    open_good("{\"prompt\": \"x\", \"completion\": \"</s>\"}\n{\"prompt\": \"x\", \"completion\": "
              "\"y\"}");
    cr_expect_str_eq(shown(1), "<s>x|y</s>");
    cr_expect_eq(plumb_dataset_report(&set)->boundary, 0);
}

/* Expected splits follow TRL 1.16's extract_prompt by hand. */
Test(dataset, an_implicit_prompt_ends_before_the_first_difference_and_its_space)
{
    open_good("{\"chosen\": \"Hi you: yes\", \"rejected\": \"Hi you: no\"}\n"
              "{\"chosen\": \"ab\", \"rejected\": \"abc\"}\n"
              "{\"chosen\": \"x\\u00e9\", \"rejected\": \"x\\u00e8\"}\n"
              "{\"chosen\": \"same\", \"rejected\": \"same\"}\n"
              "{\"chosen\": \"p \", \"rejected\": \"q\"}\n");
    cr_expect_eq(set.type, PLUMB_DATA_PREFERENCE);
    cr_expect_str_eq(shown(0), "<s>Hi you:| yes</s>| no</s>");
    cr_expect_str_eq(shown(1), "<s>a|b</s>|bc</s>");
    cr_expect_str_eq(shown(2), "<s>x|<pad><pad></s>|<pad><pad></s>");
    cr_expect_str_eq(shown(3), "<s>sam|e</s>|e</s>");
    cr_expect_str_eq(shown(4), "<s>|p </s>|q</s>");
}

Test(dataset, triples_carry_a_third_answer)
{
    static const char ids[] = "{\"prompt_ids\":[5],\"chosen_ids\":[6,7],\"rejected_ids\":[8],"
                              "\"reference_ids\":[9,10,11]}";
    options.use = PLUMB_USE_TRIPLES;
    open_good("{\"prompt\":\"q\", \"chosen\":\"ab\", \"rejected\":\"c\", \"reference\":\"def\"}");
    cr_expect_eq(set.type, PLUMB_DATA_PREFERENCE);
    cr_expect_str_eq(shown(0), "<s>q|ab</s>|c</s>|def</s>");
    open_good("{\"chosen\": \"q: ab\", \"rejected\": \"q: c\", \"reference\": \"q: d\"}");
    cr_expect_str_eq(shown(0), "<s>q:| ab</s>| c</s>| d</s>");
    open_good(ids);
    struct plumb_example e;
    cr_assert_eq(set.get(set.self, 0, &e), PLUMB_OK);
    cr_expect(e.prompt.n == 1 && e.completion[2].n == 3 && e.completion[2].id[0] == 9);
    const uint64_t hash = set.content_hash;
    options.max_length = 3;
    open_good(ids);
    cr_assert_eq(set.get(set.self, 0, &e), PLUMB_OK);
    cr_expect(e.completion[0].n == 2 && e.completion[2].n == 2 && set.content_hash != hash);
    cr_expect_eq(plumb_dataset_report(&set)->truncated, 1);
}

Test(dataset, a_third_answer_shares_the_prompt_of_its_pair)
{
    options.use = PLUMB_USE_TRIPLES;
    expect_fault(PLUMB_EFORMAT,
                 "{\"chosen\": \"q: ab\", \"rejected\": \"q: c\", \"reference\": \"d\"}",
                 ":1: column \"reference\" does not begin with the prompt");
    expect_fault(PLUMB_EFORMAT,
                 "{\"chosen_ids\": [5, 6], \"rejected_ids\": [5, 7], \"reference_ids\": [8]}",
                 ":1: column \"reference_ids\" does not begin with the prompt");
    expect_fault(PLUMB_EINVAL, "{\"prompt\": \"q\", \"chosen\": \"ab\", \"rejected\": \"c\"}",
                 "wanted chosen, rejected and reference");
}

Test(dataset, reward_pairs_are_whole_sequences)
{
    options.use = PLUMB_USE_REWARD;
    open_good("{\"chosen\": \"Q: y\", \"rejected\": \"Q: n\", \"margin\": 1.5}");
    cr_expect_str_eq(shown(0), "|<s>Q: y</s>|<s>Q: n</s>");
    struct plumb_example e;
    set.get(set.self, 0, &e);
    cr_expect(e.margin == 1.5 && e.prompt.n == 0);
    open_good("{\"prompt\": \"Q:\", \"chosen\": \" y\", \"rejected\": \" n\"}");
    cr_expect_str_eq(shown(0), "|<s>Q: y</s>|<s>Q: n</s>");
    open_good("{\"prompt_ids\": [1, 40], \"chosen_ids\": [41], \"rejected_ids\": [42]}");
    cr_expect_str_eq(shown(0), "|<s>EF|<s>EG");
    options.max_length = 6;
    open_good("{\"chosen\": \"1234\", \"rejected\": \"123\"}\n{\"chosen\": \"1\", \"rejected\": "
              "\"12345\"}");
    cr_expect_eq(set.count, 1);
    cr_expect_eq(plumb_dataset_report(&set)->dropped_long, 1);
    cr_expect_str_eq(shown(0), "|<s>1234</s>|<s>123</s>");
}

Test(dataset, pairs_for_kto_come_apart_in_blocks_of_a_thousand)
{
    options.use = PLUMB_USE_UNPAIRED;
    char *content = calloc(1003, 80), *p = content;
    for (int i = 0; i < 1003; i++)
        p += sprintf(p, "{\"prompt\": \"p\", \"chosen\": \"c%d\", \"rejected\": \"r%d\"}\n", i, i);
    open_good(content);
    free(content);
    cr_expect_eq(set.type, PLUMB_DATA_UNPAIRED);
    cr_assert_eq(set.count, 2006);
    static const struct {
        int at;
        const char *want;
        int label;
        int64_t row;
    } cases[] = { { 0, "<s>p|c0</s>", 1, 0 },          { 999, "<s>p|c999</s>", 1, 999 },
                  { 1000, "<s>p|r0</s>", 0, 0 },       { 1999, "<s>p|r999</s>", 0, 999 },
                  { 2000, "<s>p|c1000</s>", 1, 1000 }, { 2005, "<s>p|r1002</s>", 0, 1002 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plumb_example e;
        cr_expect_str_eq(shown(cases[i].at), cases[i].want);
        set.get(set.self, cases[i].at, &e);
        cr_expect_eq(e.label, cases[i].label);
        cr_expect_eq(e.row, cases[i].row);
    }
}

Test(dataset, unpaired_rows_carry_label_and_reference)
{
    open_good("{\"prompt\": \"p\", \"completion\": \"g\", \"label\": true, \"ref_logps\": -2.5}\n"
              "{\"prompt\": \"p\", \"completion\": \"b\", \"label\": false, \"ref_logps\": -3}\n");
    struct plumb_example e;
    cr_expect_eq(set.type, PLUMB_DATA_UNPAIRED);
    set.get(set.self, 0, &e);
    cr_expect(e.label == 1 && e.has_ref_logps && e.ref_logps[0] == -2.5);
    set.get(set.self, 1, &e);
    cr_expect(e.label == 0 && e.ref_logps[0] == -3 && e.kl_completion.n == 0);
}

Test(dataset, tokenised_columns_pass_through)
{
    options.text = NULL;
    open_good("{\"prompt_ids\": [5, 6], \"chosen_ids\": [7], \"rejected_ids\": [8, 9], "
              "\"ref_chosen_logps\": -1, \"ref_rejected_logps\": -2}");
    struct plumb_example e;
    set.get(set.self, 0, &e);
    cr_expect(e.prompt.n == 2 && e.prompt.id[1] == 6 && e.completion[0].n == 1);
    cr_expect(e.completion[1].n == 2 && e.completion[1].id[0] == 8 && e.ref_logps[1] == -2);
    open_good("{\"chosen_ids\": [5, 6, 7], \"rejected_ids\": [5, 6, 8]}");
    cr_expect_str_eq(shown(0), "\"#|$|%");
    open_good("{\"input_ids\": [50, 51, 52]}");
    cr_expect_eq(set.type, PLUMB_DATA_LANGUAGE_MODELING);
    open_good("{\"prompt_ids\": [], \"completion_ids\": [70, 80], \"label\": 1, "
              "\"kl_completion_ids\": [90, 91]}");
    set.get(set.self, 0, &e);
    cr_expect(e.label == 1 && e.prompt.n == 0 && e.kl_completion.n == 2 &&
              e.kl_completion.id[1] == 91);
    open_good("{\"completion_ids\": [70, 80]}");
    cr_expect_eq(set.type, PLUMB_DATA_PROMPT_COMPLETION);
    open_good("{\"prompt_ids\": [70, 80]}");
    cr_expect_eq(set.type, PLUMB_DATA_PROMPT_ONLY);
}

Test(dataset, labels_and_masks_make_a_prompt_of_the_masked_beginning)
{
    options.text = NULL;
    open_good("{\"input_ids\": [40, 41, 42], \"labels\": [-100, 41, 42]}");
    cr_expect_eq(set.type, PLUMB_DATA_PROMPT_COMPLETION);
    cr_expect_str_eq(shown(0), "E|FG");
    open_good("{\"input_ids\": [40, 41, 42], \"completion_mask\": [0, 0, 1]}");
    cr_expect_str_eq(shown(0), "EF|G");
    options.train_on_prompt = true;
    open_good("{\"input_ids\": [40, 41, 42], \"completion_mask\": [0, 0, 1]}");
    cr_expect_str_eq(shown(0), "|EFG");
    expect_fault(
        PLUMB_EFORMAT, "{\"input_ids\": [40, 41], \"labels\": [40, 42]}",
        "column \"labels\" has 42 as element 1: it wants -100 or the element of input_ids");
    expect_fault(PLUMB_EFORMAT, "{\"input_ids\": [40, 41], \"labels\": [40]}",
                 "column \"labels\" has 1 elements, input_ids 2");
}

Test(dataset, max_length_cuts_completions_and_drops_prompts_that_fill_it)
{
    options.max_length = 5;
    open_good("{\"prompt\": \"ab\", \"chosen\": \"123\", \"rejected\": \"1\"}\n"
              "{\"prompt\": \"abcd\", \"chosen\": \"1\", \"rejected\": \"2\"}\n");
    cr_expect_eq(set.count, 1);
    cr_expect_str_eq(shown(0), "<s>ab|12|1</s>");
    cr_expect_eq(plumb_dataset_report(&set)->dropped_long, 1);
    cr_expect_eq(plumb_dataset_report(&set)->truncated, 1);
    cr_expect_not_null(strstr(logged, "1 examples dropped: the prompt alone fills max_length 5"),
                       "%s", logged);
    options.keep_end = true;
    expect_fault(PLUMB_ENOTSUP, "{\"prompt\": \"ab\", \"chosen\": \"123\", \"rejected\": \"1\"}\n",
                 "keep_end is for SFT only");
    open_good("{\"prompt\": \"abc\", \"completion\": \"12\"}\n{\"prompt\": \"a\", \"completion\": "
              "\"123456\"}");
    cr_expect_str_eq(shown(0), "bc|12</s>");
    cr_expect_str_eq(shown(1), "|3456</s>");
    options.keep_end = false;
    open_good("{\"text\": \"abcdefgh\"}");
    cr_expect_str_eq(shown(0), "|<s>abcd");
}

Test(dataset, sequences_with_nothing_to_predict_are_dropped_and_counted)
{
    options.text = NULL;
    open_good("{\"input_ids\": [5]}\n{\"input_ids\": [5, 6]}\n");
    cr_expect_eq(set.count, 1);
    cr_expect_eq(plumb_dataset_report(&set)->dropped_empty, 1);
    expect_fault(PLUMB_EINVAL, "{\"input_ids\": [5]}",
                 "leaves no example of 1 rows: 0 bad, 0 too long, 1 without a token to predict");
}

Test(dataset, train_on_prompt_makes_one_sequence)
{
    options.train_on_prompt = true;
    open_good("{\"prompt\": \"ab\", \"completion\": \"12\"}");
    cr_expect_eq(set.type, PLUMB_DATA_LANGUAGE_MODELING);
    cr_expect_str_eq(shown(0), "|<s>ab12</s>");
}

Test(dataset, prompts_are_never_cut)
{
    options.use = PLUMB_USE_PROMPTS;
    options.max_length = 3;
    open_good("{\"prompt\": \"abcdef\", \"answer\": 7}");
    cr_expect_eq(set.type, PLUMB_DATA_PROMPT_ONLY);
    cr_expect_str_eq(shown(0), "<s>abcdef");
}

Test(dataset, faults_name_file_line_column_and_value)
{
    char want[256];
    snprintf(want, sizeof want, "%s:2: column \"rejected\" is missing; the first row has it", path);
    expect_fault(
        PLUMB_EFORMAT,
        "{\"chosen\": \"a\", \"rejected\": \"b\"}\n{\"chosen\": \"a\", \"rejcted\": \"b\"}", want);
    expect_fault(
        PLUMB_EFORMAT,
        "{\"chosen\": \"a\", \"rejected\": \"b\"}\n\n{\"prompt\": \"p\", \"chosen\": \"a\", "
        "\"rejected\": \"b\"}",
        ":3: column \"prompt\" stands here but not in the first row");
    expect_fault(PLUMB_EFORMAT, "{\"text\": \"a\"}\n{\"text\": null}",
                 ":2: column \"text\" is null");
    expect_fault(PLUMB_EFORMAT, "{\"text\": 17.5}", ":1: column \"text\" wants text, got 17.5");
    expect_fault(
        PLUMB_EFORMAT,
        "{\"prompt\": \"p\", \"completion\": \"c\", \"label\": \"yes, this one is good and "
        "longer than a message\"}",
        "column \"label\" wants true or false, got \"yes, this one is good and longer than a "
        "\"...");
    expect_fault(PLUMB_EFORMAT, "{\"prompt\": \"p\", \"completion\": \"\"}",
                 "\"completion\" is empty");
    expect_fault(PLUMB_EFORMAT, "{\"text\": \"\"}", "column \"text\" is empty");
    expect_fault(PLUMB_EFORMAT, "{\"text\": \"a\", \"text\": \"b\"}",
                 ":1:15: this name stands twice");
    expect_fault(PLUMB_EFORMAT, "{\"text\": \"a\xff\"}", ":1:12: invalid UTF-8");
    expect_fault(PLUMB_EFORMAT, "{\"text\": \"a\"}\n{\"text\": \"b\"",
                 ":2:1: object without an end");
    expect_fault(PLUMB_EFORMAT, "[{\"text\": \"a\"}, {\"text\": }]",
                 "reading the row at byte 16: ");
    expect_fault(PLUMB_EFORMAT, "[1]", ":1: a row wants an object, got a number");
    expect_fault(PLUMB_EFORMAT, "", "is empty");
    expect_fault(PLUMB_EFORMAT, "[]", "is empty");
}

Test(dataset, ids_outside_the_vocabulary_are_named)
{
    expect_fault(PLUMB_EFORMAT, "{\"input_ids\": [1, 99]}",
                 "column \"input_ids\" has 99 as element 1, which is no token id in [0, 99)");
    options.vocab_size = 512;
    expect_fault(PLUMB_EFORMAT, "{\"input_ids\": [1, 2, 512]}", "has 512 as element 2");
    expect_fault(PLUMB_EFORMAT, "{\"input_ids\": [1, -1]}", "has -1 as element 1");
    expect_fault(PLUMB_EFORMAT, "{\"input_ids\": [1, 2.5]}", "has 2.5 as element 1");
    expect_fault(PLUMB_EFORMAT, "{\"input_ids\": [1e300]}", "has 1e+300 as element 0");
    expect_fault(PLUMB_EFORMAT, "{\"input_ids\": [1, \"2\"]}", "element 1 is a string");
    expect_fault(PLUMB_EFORMAT, "{\"input_ids\": \"1 2\"}",
                 "wants an array of numbers, got \"1 2\"");
    expect_fault(PLUMB_EFORMAT, "{\"input_ids\": []}", "is empty");
    options.vocab_size = 60;
    expect_fault(PLUMB_EFORMAT, "{\"text\": \"z\"}",
                 "has token id 93, outside the model's vocabulary [0, 60)");
}

Test(dataset, columns_that_make_no_type_say_what_is_wanted)
{
    options.use = PLUMB_USE_PREFERENCE;
    expect_fault(PLUMB_EINVAL, "{\"prompt\": \"a\", \"good\": \"b\"}",
                 ":1: columns \"prompt, good\" do not fit: wanted chosen and rejected");
    expect_fault(PLUMB_EINVAL,
                 "{\"chosen\": [{\"role\": \"user\", \"content\": \"x\"}], \"rejected\": []}",
                 "columns \"chosen, rejected\" are conversations and there is no chat template");
    options.skip_bad_rows = true; /* what the columns are cannot be passed over */
    expect_fault(PLUMB_EINVAL,
                 "{\"chosen\": \"a\", \"rejected\": \"b\", \"ref_chosen_logps\": 1}\n"
                 "{\"chosen\": \"a\", \"rejected\": \"b\", \"ref_chosen_logps\": 1}",
                 "column \"ref_chosen_logps\" stands alone");
    options.use = PLUMB_USE_SFT;
    expect_fault(PLUMB_EINVAL, "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}",
                 "columns \"messages\" are conversations");
    options.text = NULL;
    expect_fault(PLUMB_EINVAL, "{\"text\": \"a\"}",
                 "columns \"text\" are text and there is no tokenizer");
}

Test(dataset, bad_rows_can_be_skipped_and_are_counted)
{
    options.skip_bad_rows = true;
    open_good(
        "garbage\n{\"text\": \"a\"}\n{\"text\": 1}\n{\"text\": \"\"}\n{\"text\": \"b\"}\n{\n");
    const struct plumb_dataset_report *r = plumb_dataset_report(&set);
    cr_expect_eq(set.count, 2);
    cr_expect_str_eq(shown(1), "|<s>b</s>");
    cr_expect(r->rows == 6 && r->skipped == 4);
    cr_expect_not_null(strstr(r->messages[0], ":1:1: "), "%s", r->messages[0]);
    cr_expect_not_null(strstr(r->messages[2], ":4: column \"text\" is empty"), "%s",
                       r->messages[2]);
    cr_expect_not_null(strstr(logged, "4 bad rows skipped"), "%s", logged);
    struct plumb_example e;
    set.get(set.self, 1, &e);
    cr_expect_eq(e.row, 4);
    char where[128];
    plumb_dataset_where(&set, 1, where, sizeof where);
    cr_expect_not_null(strstr(where, ":5"), "%s", where);
    expect_fault(PLUMB_EINVAL, "x\ny\n", "2 bad, first ");
    expect_fault(PLUMB_EFORMAT, "[{\"text\": \"a\"}", "the file ends inside its array");
}

Test(dataset, hostile_rows_are_errors)
{
    const size_t n = 10 << 20;
    char *content = malloc(n + 32);
    char *p = content + sprintf(content, "{\"text\": \"");
    memset(p, 'x', n);
    strcpy(p + n, "\"}\n");
    expect_fault(PLUMB_EFORMAT, content, ":1: the row has more than 8388608 bytes");
    memset(p, '[', n / 16);
    p[n / 16] = 0;
    p[-1] = '[';
    expect_fault(PLUMB_EFORMAT, content, "nested deeper than 100");
    free(content);
}

Test(dataset, several_files_make_one_set)
{
    const char *two[] = { path, path };
    options.paths = two;
    options.path_count = 2;
    open_good("{\"text\": \"a\"}\n{\"text\": \"b\"}");
    cr_expect_eq(set.count, 4);
    cr_expect_str_eq(shown(3), "|<s>b</s>");
}

Test(dataset, the_hash_covers_what_get_returns)
{
    static const char *const other[] = {
        "{\"prompt_ids\": [5], \"chosen_ids\": [7], \"rejected_ids\": [9], \"margin\": 0}",
        "{\"prompt_ids\": [5, 7], \"chosen_ids\": [8], \"rejected_ids\": [9], \"margin\": 0}",
        "{\"prompt_ids\": [5], \"chosen_ids\": [7, 8], \"rejected_ids\": [9], \"margin\": 1}",
        "\n[{\"prompt_ids\": [5], \"chosen_ids\": [7, 8], \"rejected_ids\": [9], \"margin\": 0},"
        "{\"prompt_ids\": [5], \"chosen_ids\": [7, 8], \"rejected_ids\": [9], \"margin\": 0}]",
    };
    const char *same = "{\"prompt_ids\": [5], \"chosen_ids\": [7, 8], \"rejected_ids\": [9], "
                       "\"margin\": 0}";
    open_good(same);
    const uint64_t h = set.content_hash;
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        open_good(other[i]);
        cr_expect_neq(set.content_hash, h, "case %zu", i);
    }
    open_good(same);
    cr_expect_eq(set.content_hash, h);
}

Test(dataset, an_index_outside_is_refused)
{
    struct plumb_example e;
    open_good("{\"text\": \"a\"}");
    cr_expect_eq(set.get(set.self, 1, &e), PLUMB_EINVAL);
    cr_expect_eq(set.get(set.self, -1, &e), PLUMB_EINVAL);
}
