#include "io/dataset_show.h"

#include <criterion/criterion.h>
#include <plumb/log.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/fake_text.h"

static char path[64];
static const char *const paths[] = { path };
static struct fake_text fake;
static struct plumb_text text;
static struct plumb_dataset_options options;
static struct plumb_dataset set;
static char *shown;
static size_t shown_bytes;

static void set_up(void)
{
    strncpy(path, "/tmp/plumb-show-XXXXXX", sizeof path - 1);
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    fake = (struct fake_text){ .bos = true };
    text = fake_text(&fake);
    options = (struct plumb_dataset_options){ .paths = paths, .path_count = 1, .text = &text };
    plumb_log_threshold(PLUMB_LOG_WARN + 1);
}

static void tear_down(void)
{
    free(shown);
    plumb_dataset_release(&set);
    unlink(path);
}

TestSuite(dataset_show, .init = set_up, .fini = tear_down);

/* What is printed of the whole set (index -1) or of an example. */
static const char *show(const char *content, int64_t index, bool colour)
{
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(content, f) >= 0 && fclose(f) == 0);
    plumb_dataset_release(&set);
    cr_assert_eq(plumb_dataset_open(&options, &set), PLUMB_OK, "%s", plumb_errmsg());
    free(shown);
    f = open_memstream(&shown, &shown_bytes);
    const int rc = index < 0 ? plumb_dataset_show(f, &set, &text)
                             : plumb_dataset_show_example(f, &set, &text, index, colour);
    cr_assert_eq(rc, PLUMB_OK, "%s", plumb_errmsg());
    fclose(f);
    return shown;
}

static void expect_shown(const char *content, int64_t index, const char *what)
{
    const char *got = show(content, index, false);
    cr_expect(strstr(got, what), "no \"%s\" in\n%s", what, got);
}

Test(dataset_show, trained_tokens_stand_in_brackets_with_piece_and_id)
{
    options.max_length = 5;
    const char *pair = "{\"prompt\": \"ab\", \"chosen\": \"123\", \"rejected\": \"n\"}";
    expect_shown(pair, 0,
                 ":1), preference\nprompt: 3 tokens, not trained on\n"
                 "  | <s>{BOS}ab\n  <s>/1=BOS a/68 b/69 \n");
    expect_shown(pair, 0,
                 "chosen: 2 tokens, 2 trained on, 2 cut from the end\n  | [[12]]\n"
                 "  [1/20] [2/21] \n");
    expect_shown(pair, 0,
                 "rejected: 2 tokens, 2 trained on\n  | [[n</s>{EOS}]]\n"
                 "  [n/81] [</s>/2=EOS] \n");
}

Test(dataset_show, the_first_token_of_a_text_is_not_trained_on)
{
    expect_shown("{\"text\": \"a\"}", 0,
                 "text: 3 tokens, 2 trained on\n  | <s>{BOS}[[a</s>{EOS}]]\n"
                 "  <s>/1=BOS [a/68] [</s>/2=EOS] \n");
}

Test(dataset_show, rewards_are_read_at_the_last_token)
{
    options.use = PLUMB_USE_REWARD;
    expect_shown("{\"chosen\": \"ab\", \"rejected\": \"a\"}", 0,
                 "chosen: 4 tokens, 1 scored\n  | <s>{BOS}ab[[</s>{EOS}]]\n"
                 "  <s>/1=BOS a/68 b/69 [</s>/2=EOS] \n");
}

Test(dataset_show, a_terminal_gets_colour_instead_of_brackets)
{
    const char *got = show("{\"text\": \"a\"}", 0, true);
    cr_expect_not_null(strstr(got, "\033[32ma/68\033[0m"), "%s", got);
    cr_expect_not_null(strstr(got, "\033[32ma\033[0m\033[32m\033[1m</s>{EOS}\033[0m"), "%s", got);
    cr_expect_null(strstr(got, "[a/68]"), "%s", got);
    cr_expect_null(strstr(got, "[[a"), "%s", got);
}

Test(dataset_show, tokens_that_the_loss_leaves_out_stand_outside_the_brackets)
{
    static const char row[] = "{\"input_ids\": [1, 68, 69, 70, 2], "
                              "\"labels\": [-100, 68, -100, 70, -100]}";
    expect_shown(row, 0, "prompt: 1 tokens, not trained on\n  | <s>{BOS}\n");
    expect_shown(row, 0,
                 "completion: 4 tokens, 2 trained on\n  | [[a]]b[[c]]</s>{EOS}\n"
                 "  [a/68] b/69 [c/70] </s>/2=EOS \n");
    expect_shown(row, -1, "tokens: 5, trained on 2 (40.0 %)");
}

static const char *hostile_piece(void *self, int32_t id)
{
    (void)self, (void)id;
    return "\033[2J\n\xc2\x9b\x7f\xc3\xa9";
}

Test(dataset_show, hostile_pieces_cannot_steer_the_terminal)
{
    text.piece = hostile_piece;
    expect_shown("{\"text\": \"a\"}", 0, " [\\x1b[2J\\n\\x9b\\x7f\xc3\xa9/68] ");
    cr_expect_null(strchr(shown, '\033'));
}

/* "x\n\033[2J" for every run of tokens. */
static int hostile_decode(void *self, const int32_t *id, int64_t count, bool skip, char **out,
                          size_t *n)
{
    (void)self, (void)id, (void)count, (void)skip;
    *out = strdup("x\n\033[2J");
    *n = strlen(*out);
    return *out ? PLUMB_OK : PLUMB_EMEM;
}

Test(dataset_show, hostile_text_keeps_its_lines_and_steers_nothing)
{
    text.decode = hostile_decode;
    expect_shown("{\"text\": \"a\"}", 0, "  | x\n  | \\x1b[2J{BOS}");
    cr_expect_null(strchr(shown, '\033'));
}

static const char *show_stats(const char *content)
{
    show(content, -1, false);
    free(shown);
    FILE *f = open_memstream(&shown, &shown_bytes);
    cr_assert_eq(plumb_dataset_show_stats(f, &set, &text), PLUMB_OK, "%s", plumb_errmsg());
    fclose(f);
    return shown;
}

static void expect_stats(const char *content, const char *what)
{
    const char *got = show_stats(content);
    cr_expect(strstr(got, what), "no \"%s\" in\n%s", what, got);
}

Test(dataset_show, stats_count_what_is_repeated_equal_empty_or_too_long)
{
    static const char pairs[] =
        "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n"
        "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n"
        "{\"prompt\": \"a\", \"chosen\": \"d\", \"rejected\": \"d\"}\n"
        "{\"prompt\": \"e\", \"chosen\": \"b\", \"rejected\": \" \"}\n"
        "{\"prompt\": \"e\", \"chosen\": \"bbbbbb\", \"rejected\": \"c\"}\n"
        "{\"prompt\": \"eeeeeeee\", \"chosen\": \"b\", \"rejected\": \"c\"}\n";
    options.max_length = 6;
    expect_stats(pairs, "repeated rows: 1\nrows with a prompt met before: 3\n");
    expect_stats(pairs, "pairs of equal sides: 1\nempty completions: 1\n");
    expect_stats(pairs, "rows over max_length 6: 2 (1 cut, 1 dropped)\n");
    expect_shown(pairs, -1, "warning: 1 pairs have two equal sides\n");
    expect_shown(pairs, -1, "warning: 1 sequences: nothing but special tokens and white space\n");
}

Test(dataset_show, histograms_count_each_part_and_the_longest_sequence)
{
    /* chosen is "b" and EOS; rejected is 2, 3 and 27 tokens; the prompt is BOS and "a" */
    static const char pairs[] =
        "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n"
        "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"cc\"}\n"
        "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"cccccccccccccccccccccccccc\"}\n";
    expect_stats(pairs, "prompt, tokens\n"
                        "       0 - 0            0 \n       1 - 1            0 \n"
                        "       2 - 2            3 ####");
    expect_stats(pairs,
                 "rejected, tokens\n"
                 "       0 - 4            2 ##################################################\n"
                 "       5 - 9            0 \n");
    expect_stats(pairs, "      25 - 29           1 #########################\n");
    expect_stats(pairs, "total, tokens\n       0 - 4            1 ");
    expect_shown(pairs, -1, "total            4        5       29       29\n");
}

Test(dataset_show, every_kind_of_rows_has_stats)
{
    static const struct {
        enum plumb_dataset_use use;
        const char *row, *has;
    } kinds[] = {
        { PLUMB_USE_SFT, "{\"text\": \"ab\"}", "text, tokens\n" },
        { PLUMB_USE_SFT, "{\"prompt\": \"a\", \"completion\": \"b\"}", "completion, tokens\n" },
        { PLUMB_USE_PREFERENCE, "{\"chosen\": \"ab\", \"rejected\": \"ac\"}", "chosen, tokens\n" },
        { PLUMB_USE_REWARD, "{\"chosen\": \"ab\", \"rejected\": \"ac\"}", "rejected, tokens\n" },
        { PLUMB_USE_UNPAIRED, "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": true}",
          "rows with a prompt met before: 0" },
        { PLUMB_USE_PROMPTS, "{\"prompt\": \"a\"}", "prompt, tokens\n" },
        { PLUMB_USE_TRIPLES, "{\"chosen\": \"ab\", \"rejected\": \"ac\", \"reference\": \"ad\"}",
          "reference, tokens\n" },
        { PLUMB_USE_LISTS,
          "{\"prompt\": \"a\", \"completions\": [\"b\", \"c\"], \"scores\": [1, 2]}",
          "completions, tokens\n" },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        options.use = kinds[i].use;
        expect_stats(kinds[i].row, kinds[i].has);
        expect_stats(kinds[i].row, "repeated rows: 0\n");
        expect_shown(kinds[i].row, 0, "example 0 (");
    }
}

Test(dataset_show, warnings_name_eos_and_bos_faults)
{
    expect_shown("{\"prompt_ids\": [1, 1, 70], \"completion_ids\": [71, 72]}", 0,
                 "warning: no EOS at the end");
    expect_shown("{\"prompt_ids\": [1, 1, 70], \"completion_ids\": [71, 2, 2]}", 0,
                 "warning: two EOS at the end\n  warning: two BOS at the start\n");
    expect_shown("{\"prompt_ids\": [1, 70], \"completion_ids\": [1, 71, 2]}", -1,
                 "warning: 1 sequences: BOS between prompt and completion");
    text.pad_id = 2;
    expect_shown("{\"text\": \"a\"}", -1, "padding and EOS are one id (2)");
}

Test(dataset_show, the_summary_counts_tokens_and_lengths)
{
    options.skip_bad_rows = true;
    const char *rows =
        "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": true, \"id\": 1}\n7\n"
        "{\"prompt\": \"abc\", \"completion\": \"def\", \"label\": false, \"id\": 2}\n";
    expect_shown(rows, -1,
                 "type: unpaired preference, columns prompt, completion, label; not used: id");
    expect_shown(rows, -1, "examples: 2 from 3 rows; 1 bad rows skipped, 0 too long");
    expect_shown(rows, -1, "labels: 1 desirable, 1 undesirable");
    expect_shown(rows, -1, "tokens: 12, trained on 6 (50.0 %)");
    expect_shown(rows, -1, "prompt           2        2        4        4");
}

Test(dataset_show, an_index_outside_is_an_error)
{
    show("{\"text\": \"a\"}", -1, false);
    cr_expect_eq(plumb_dataset_show_example(stderr, &set, &text, 1, false), PLUMB_EINVAL);
}
