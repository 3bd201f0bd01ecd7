/* The demo's world: what its generator makes, its verifier, its data files and its tokenizer. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/dataset.h"
#include "io/file.h"
#include "io/tokenizer.h"
#include "tools/demo_data.h"
#include "tools/demo_world.h"

#define TABLE "Guest Mia: soup, bread and tea, please.\nWaiter:"

Test(demo_world, the_verifier_accepts_good_answers_and_names_what_is_wrong_with_others)
{
    static const struct {
        const char *answer;
        enum plumb_demo_verdict verdict;
    } cases[] = {
        { " Gladly, Mia: soup, bread and tea. Thank you!", PLUMB_DEMO_GOOD },
        { " With pleasure, Mia: soup, bread and tea. Enjoy it!", PLUMB_DEMO_GOOD },
        { " Gladly, Ben: soup, bread and tea. Thank you!", PLUMB_DEMO_WRONG_GUEST },
        { " What now, Mia: soup, bread and tea. Thank you!", PLUMB_DEMO_RUDE },
        { " Gladly, Mia: soup, bread and tea. Hurry up!", PLUMB_DEMO_RUDE },
        { " Gladly, Mia: soup and bread. Enjoy it!", PLUMB_DEMO_FORGETS },
        { " Gladly, Mia: tea. Enjoy it!", PLUMB_DEMO_FORGETS },
        { " Gladly, Mia: soup, bread and bread. Enjoy it!", PLUMB_DEMO_FORGETS },
        { " Gladly, Mia: soup, bread and cake. Enjoy it!", PLUMB_DEMO_FORGETS },
        { " Gladly, Mia: soup, bread, tea and cake. Enjoy it!", PLUMB_DEMO_ADDS },
        { " Gladly, Mia: soup, bread, tea and tea. Enjoy it!", PLUMB_DEMO_ADDS },
        { " Gladly, Mia: bread, soup and tea. Enjoy it!", PLUMB_DEMO_MIXES },
        { "", PLUMB_DEMO_UNREADABLE },
        { " Gladly, Mia: soup, bread and tea. Thank", PLUMB_DEMO_UNREADABLE },
        { " Gladly, Mia: soup, bread and tea.", PLUMB_DEMO_UNREADABLE },
        { " Gladly, Mia: soup, bread and tea. Thank you! Enjoy it!", PLUMB_DEMO_UNREADABLE },
        { " Gladly, Mia: soup, bread, tea. Thank you!", PLUMB_DEMO_UNREADABLE },
        { " Gladly, Mia: soup and bread and tea. Enjoy it!", PLUMB_DEMO_UNREADABLE },
        { " Gladly, Mia: soup, bread and stew. Enjoy it!", PLUMB_DEMO_UNREADABLE },
        { " Gladly, Mia: soup, bread, tea, soup, bread, tea and tea. Enjoy it!",
          PLUMB_DEMO_UNREADABLE },
        { " gladly, Mia: soup, bread and tea. Thank you!", PLUMB_DEMO_UNREADABLE },
        { " Gladly, Mia, soup, bread and tea. Thank you!", PLUMB_DEMO_UNREADABLE },
        { "Gladly, Mia: soup, bread and tea. Thank you!", PLUMB_DEMO_UNREADABLE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(plumb_demo_judge(TABLE, cases[i].answer), cases[i].verdict, "%s is %s",
                     cases[i].answer,
                     plumb_demo_verdict_text(plumb_demo_judge(TABLE, cases[i].answer)));
    cr_expect_eq(plumb_demo_judge("soup!", cases[0].answer), PLUMB_DEMO_UNREADABLE);
}

Test(demo_world, every_generated_answer_gets_the_verdict_it_was_made_for)
{
    for (uint64_t i = 0; i < 20000; i++) {
        char prompt[PLUMB_DEMO_TEXT], answer[PLUMB_DEMO_TEXT];
        struct plumb_demo_dice d = plumb_demo_dice(7, i);
        struct plumb_demo_order o;
        const int kind = (int)(i % (PLUMB_DEMO_VERDICTS - 1));
        const enum plumb_demo_verdict v = kind == 0 ? PLUMB_DEMO_GOOD : kind + 1;
        plumb_demo_draw(&d, i % 2 == 0, &o);
        plumb_demo_prompt(&o, prompt);
        plumb_demo_answer(&d, &o, v, answer);
        cr_assert_eq(plumb_demo_judge(prompt, answer), v, "%s%s", prompt, answer);
    }
}

Test(demo_world, an_order_is_held_out_or_not_whatever_the_draw)
{
    /* Orders of two things: 12 guests and 16 * 15 lists, each seen about seven times. */
    enum { GUESTS = 12, THINGS = 16 };
    static int seen[GUESTS][THINGS][THINGS][2];
    for (uint64_t i = 0; i < 80000; i++) {
        struct plumb_demo_dice d = plumb_demo_dice(1, i);
        struct plumb_demo_order o;
        plumb_demo_draw(&d, i % 4 == 0, &o);
        cr_assert(o.count >= 2 && o.count <= PLUMB_DEMO_THINGS);
        if (o.count == 2) seen[o.guest][o.thing[0]][o.thing[1]][i % 4 == 0]++;
    }
    int orders[2] = { 0 };
    for (int g = 0; g < GUESTS; g++)
        for (int a = 0; a < THINGS; a++)
            for (int b = 0; b < THINGS; b++) {
                const int *n = seen[g][a][b];
                cr_assert(n[0] == 0 || n[1] == 0);
                cr_assert(a != b || n[0] + n[1] == 0);
                for (int k = 0; k < 2; k++)
                    orders[k] += n[k] > 0;
            }
    cr_expect(orders[0] > 1500 && orders[1] > 300, "%d and %d", orders[0], orders[1]);
}

/* A folder that one test fills. */
static const char *make_files(const struct plumb_demo_sizes *sizes, struct plumb_demo_counts *c)
{
    static char dir[] = "/tmp/plumb_demo_XXXXXX";
    int64_t vocab;
    cr_assert(mkdtemp(dir));
    cr_assert_eq(plumb_demo_write_data(dir, 3, sizes, c), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_demo_write_tokenizer(dir, &vocab), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert(vocab > 256 && vocab < 512);
    return dir;
}

static void remove_files(const char *dir)
{
    char command[256];
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    cr_expect_eq(system(command), 0);
}

static void open_set(const char *dir, const char *name, enum plumb_dataset_use use,
                     const struct plumb_text *text, struct plumb_dataset *out)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    const char *const paths[] = { path };
    const struct plumb_dataset_options o = { .paths = paths,
                                             .path_count = 1,
                                             .use = use,
                                             .text = text };
    cr_assert_eq(plumb_dataset_open(&o, out), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(plumb_dataset_report(out)->boundary, 0);
}

static char *decode(const struct plumb_text *t, const struct plumb_ids *ids)
{
    char *text;
    size_t n;
    cr_assert_eq(t->decode(t->self, ids->id, ids->n, true, &text, &n), PLUMB_OK);
    cr_assert_eq(strlen(text), n);
    return text;
}

static bool is_good(const struct plumb_text *t, const struct plumb_example *e, int which)
{
    char *prompt = decode(t, &e->prompt), *answer = decode(t, &e->completion[which]);
    const bool good = plumb_demo_judge(prompt, answer) == PLUMB_DEMO_GOOD;
    free(prompt);
    free(answer);
    return good;
}

Test(demo_world, files_are_data_sets_whose_rows_are_what_they_claim)
{
    const struct plumb_demo_sizes sizes = { 2000, 500, 100 };
    struct plumb_demo_counts counts;
    struct plumb_text text;
    struct plumb_dataset set;
    struct plumb_example e;
    const char *dir = make_files(&sizes, &counts);
    cr_assert_eq(plumb_tokenizer_open(&text, dir), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(text.eos_id, PLUMB_DEMO_EOS);

    open_set(dir, "sft.jsonl", PLUMB_USE_SFT, &text, &set);
    cr_assert(set.type == PLUMB_DATA_PROMPT_COMPLETION && set.count == sizes.demonstrations);
    int64_t good = 0;
    for (int64_t i = 0; i < set.count; i++) {
        cr_assert_eq(set.get(set.self, i, &e), PLUMB_OK);
        cr_assert(e.prompt.n + e.completion[0].n < 64);
        cr_assert_eq(e.completion[0].id[e.completion[0].n - 1], PLUMB_DEMO_EOS);
        good += is_good(&text, &e, 0);
    }
    cr_expect_eq(good, counts.good);
    cr_expect(good > set.count / 2 && good < set.count * 3 / 4, "%lld good", (long long)good);
    plumb_dataset_release(&set);

    for (int k = 0; k < 2; k++) {
        open_set(dir, k ? "pairs/test.jsonl" : "pairs/train.jsonl", PLUMB_USE_PREFERENCE, &text,
                 &set);
        cr_assert_eq(set.count, k ? sizes.held_out : sizes.pairs);
        for (int64_t i = 0; i < set.count; i++) {
            cr_assert_eq(set.get(set.self, i, &e), PLUMB_OK);
            cr_assert(is_good(&text, &e, 0) && !is_good(&text, &e, 1));
        }
        plumb_dataset_release(&set);
    }
    plumb_tokenizer_release(&text);
    remove_files(dir);
}

Test(demo_world, the_tokenizer_has_a_token_for_every_word_and_brings_any_text_back)
{
    static const char *const texts[] = { TABLE " With pleasure, Zoe: figs and plums. Coming soon!",
                                         "Stra\xC3\x9F"
                                         "e \xF0\x9F\x8D\xB0\t\x01 soup",
                                         "" };
    const struct plumb_demo_sizes sizes = { 10, 10, 10 };
    struct plumb_demo_counts counts;
    struct plumb_text text;
    const char *dir = make_files(&sizes, &counts);
    cr_assert_eq(plumb_tokenizer_open(&text, dir), PLUMB_OK, "%s", plumb_errmsg());
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct plumb_idbuf ids = { 0 };
        cr_assert_eq(text.encode(text.self, texts[i], strlen(texts[i]), true, &ids), PLUMB_OK);
        char *back = decode(&text, &(struct plumb_ids){ ids.id, ids.n });
        cr_expect_str_eq(back, texts[i]);
        free(back);
        /* 14 tokens to "Waiter:", then With pleasure , Zoe : figs and plums . Coming soon ! */
        if (i == 0) cr_expect_eq(ids.n, 14 + 12, "%lld", (long long)ids.n);
        plumb_idbuf_release(&ids);
    }
    plumb_tokenizer_release(&text);
    remove_files(dir);
}
