/* The binary's face: exit codes, messages, help. */
#include <string.h>

#include "tests/program.h"
#include "tests/shared.h"
#include "tools/options.h"
#include "tools/train_options.h"

static struct program p;

/* A temporary file with this text; the caller removes it. */
static void make_file(char *path, const char *text)
{
    const int fd = mkstemp(path);
    const ssize_t n = (ssize_t)strlen(text);
    cr_assert(fd >= 0 && write(fd, text, (size_t)n) == n && close(fd) == 0);
}

Test(cli, help_and_version_succeed_and_name_every_command)
{
    static const char *const commands[] = {
#define PLUMB_CMD(name) #name,
#include "tools/cmds.def"
#undef PLUMB_CMD
    };
    PROGRAM_RUN(&p, "--version");
    cr_expect(p.code == 0 && strcmp(p.out, "plumb " PLUMB_VERSION "\n") == 0, "%s", p.out);
    PROGRAM_RUN(&p, "--help");
    cr_expect_eq(p.code, 0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char line[64];
        snprintf(line, sizeof line, "\n  %s ", commands[i]);
        cr_expect(strstr(p.out, line), "%s is missing in:\n%s", commands[i], p.out);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct program c;
        PROGRAM_RUN(&c, commands[i], "--help");
        cr_expect(c.code == 0 && strncmp(c.out, "usage: plumb ", 13) == 0, "%s", commands[i]);
    }
}

Test(cli, wrong_usage_is_exit_code_2_and_says_what_is_wrong)
{
    PROGRAM_RUN(&p, "frobnicate");
    cr_expect(p.code == 2 && strstr(p.err, "unknown command \"frobnicate\""), "%s", p.err);
    program_run(&p, (const char *const[]){ "plumb", NULL });
    cr_expect(p.code == 2 && strstr(p.err, "no command given"), "%s", p.err);
    PROGRAM_RUN(&p, "losses", "more");
    cr_expect(p.code == 2 && strstr(p.err, "unexpected argument \"more\""), "%s", p.err);
    PROGRAM_RUN(&p, "inspect", "--datasett", "x");
    cr_expect_eq(p.code, 2);
    cr_expect(strstr(p.err, "unknown option --datasett: did you mean dataset?"), "%s", p.err);
    PROGRAM_RUN(&p, "inspect", "--rows", "-1");
    cr_expect(p.code == 2 && strstr(p.err, "--rows -1 is out of bounds, want in [0,"), "%s", p.err);
}

Test(cli, failures_are_exit_code_1_and_name_the_file)
{
    PROGRAM_RUN(&p, "inspect", "/no/such/model");
    cr_expect(p.code == 1 && strstr(p.err, "/no/such/model"), "%s", p.err);
    PROGRAM_RUN(&p, "inspect", "/dev/null");
    cr_expect_eq(p.code, 1, "%s", p.err);
}

Test(cli, losses_lists_the_formulas_with_their_sources)
{
    PROGRAM_RUN(&p, "losses");
    cr_assert_eq(p.code, 0, "%s", p.err);
    cr_expect(strstr(p.out, "arXiv:2305.18290") && strstr(p.out, "robust"));
    const char *simpo = strstr(p.out, "\n  simpo ");
    cr_assert_not_null(simpo);
    cr_expect(strstr(simpo, "      Label-smoothed -log s(z), z = beta (lw / |yw| - ll / |yl|)"));
    cr_expect(strstr(simpo, "inputs: lw, ll, nw, nl, margin\n      options: beta=0.1, "
                            "label_smoothing=0, gamma=0.5\n"));
    cr_expect(strstr(p.out, "\n  kto                  kto (default)\n"));
}

Test(cli, inspect_shows_config_and_tensors_of_a_model)
{
    char folder[1024];
    if (!shared_path(folder, sizeof folder, "data/models/stories260K/hf")) return;
    PROGRAM_RUN(&p, "inspect", folder);
    cr_expect_eq(p.code, 0, "%s", p.err);
    cr_expect(strstr(p.out, "heads             8 of 8, 4 of keys and values"), "%s", p.out);
    cr_expect(strstr(p.out, "model.embed_tokens.weight"));
    cr_expect(strstr(p.out, "47 tensors, 260,032 numbers, 1,040,128 bytes"));
}

/* Token ids by hand: with max_length 4 the first pair loses the ends of its completions. */
Test(cli, inspect_shows_which_tokens_of_a_dataset_are_trained_on)
{
    static const char rows[] =
        "{\"prompt_ids\": [5, 6], \"chosen_ids\": [7, 8, 9], \"rejected_ids\": [7, 9, 8]}\n"
        "{\"prompt_ids\": [4], \"chosen_ids\": [10], \"rejected_ids\": [11]}\n";
    char path[] = "/tmp/plumb_rows_XXXXXX";
    make_file(path, rows);
    PROGRAM_RUN(&p, "inspect", "--dataset", path, "--trainer", "dpo", "--max_length", "4",
                "--rows=1");
    cr_expect_eq(p.code, 0, "%s", p.err);
    cr_expect(strstr(p.out, "examples: 2 from 2 rows"), "%s", p.out);
    cr_expect(strstr(p.out, "tokens: 9, trained on 6"), "%s", p.out);
    cr_expect(strstr(p.out, "cut to max_length 4: 1 example"), "%s", p.out);
    PROGRAM_RUN(&p, "inspect", "--dataset_name", path, "--index", "1");
    cr_expect_eq(p.code, 0, "%s", p.err);
    cr_expect(!strncmp(p.out, "example 1 (", 11) && !strstr(p.out, "example 0"), "%s", p.out);
    PROGRAM_RUN(&p, "inspect", "--dataset", path, "--index", "2");
    cr_expect(p.code == 1 && strstr(p.err, "example 2 of a dataset of 2"), "%s", p.err);
    PROGRAM_RUN(&p, "inspect", "--dataset", path, "--trainer", "orpo", "--stats", "true");
    cr_expect(p.code == 0 && strstr(p.out, "chosen, tokens\n"), "%s%s", p.out, p.err);
    cr_expect_null(strstr(p.out, "example 0"), "%s", p.out);
    PROGRAM_RUN(&p, "inspect", "--dataset", path, "--dataset_name", path);
    cr_expect(p.code == 2 && strstr(p.err, "two names of one option"), "%s", p.err);
    PROGRAM_RUN(&p, "inspect", "--dataset", path, "--trainer", "sft");
    cr_expect_eq(p.code, 1);
    cr_expect(strstr(p.err, path) && strstr(p.err, "do not fit"), "%s", p.err);
    remove(path);
}

Test(cli, options_come_from_yaml_and_the_command_line_wins)
{
    char yaml[] = "/tmp/plumb_yaml_XXXXXX", rows[] = "/tmp/plumb_rows_XXXXXX", text[256];
    make_file(rows, "{\"input_ids\": [5, 6, 7]}\n{\"input_ids\": [8, 9]}\n");
    snprintf(text, sizeof text, "# a comment\ndataset: %s\nrows: 1\ntrainer: sft\n", rows);
    make_file(yaml, text);
    PROGRAM_RUN(&p, "inspect", "--config", yaml);
    cr_expect(p.code == 0 && strstr(p.out, "example 0"), "%s%s", p.out, p.err);
    cr_expect_null(strstr(p.out, "example 1"));
    PROGRAM_RUN(&p, "inspect", "--config", yaml, "--rows", "2");
    cr_expect(p.code == 0 && strstr(p.out, "example 1"), "%s%s", p.out, p.err);
    remove(yaml);
    char faulty[] = "/tmp/plumb_yaml_XXXXXX";
    make_file(faulty, "rows: 1\ntrianer: sft\n");
    PROGRAM_RUN(&p, "inspect", "--config", faulty);
    snprintf(text, sizeof text, "%s:2: unknown option trianer: did you mean trainer?", faulty);
    cr_expect(p.code == 2 && strstr(p.err, text), "%s", p.err);
    remove(faulty);
    remove(rows);
}

/* Every row stands in the text of --help: those of fields with type and default, the others with
 * a reason. */
Test(cli, help_of_the_trainers_contains_every_option)
{
    const struct plumb_option_set *const sets[] = { &plumb_sft_options,   &plumb_distill_options,
                                                    &plumb_dpo_options,   &plumb_kto_options,
                                                    &plumb_bco_options,   &plumb_listwise_options,
                                                    &plumb_reward_options };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        char *text = NULL, name[80];
        size_t n;
        FILE *f = open_memstream(&text, &n);
        plumb_options_help(f, sets[i]);
        fclose(f);
        for (const struct plumb_option_group *g = sets[i]->groups; g->rows; g++)
            for (const struct plumb_option *r = g->rows; r->name; r++) {
                snprintf(name, sizeof name, "--%s", r->name);
                const char *at = strstr(text, name);
                while (at && !strchr(" ,:", at[strlen(name)]))
                    at = strstr(at + 1, name);
                cr_expect(at, "%s", r->name);
                cr_expect(r->help && r->help[0], "%s has no help", r->name);
            }
        free(text);
    }
}

/* Start-up of --help under 50 ms: processor time, so that a busy machine cannot fail it. */
Test(cli, help_starts_quickly)
{
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        PROGRAM_RUN(&p, "--help");
        if (p.cpu_seconds < best) best = p.cpu_seconds;
    }
#if defined(__SANITIZE_ADDRESS__)
    const double limit = 1.0; /* the sanitizers' own start-up */
#else
    const double limit = 0.05;
#endif
    cr_expect_lt(best, limit, "%.3f s", best);
}
