/* Killed at any moment and gone on with, a run ends with the bits of the one left alone. */
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "tests/runs.h"

static struct program p;
static struct tiny t;

static void init(void) { tiny_init(&t); }
static void release(void) { tiny_release(&t); }
TestSuite(resume, .init = init, .fini = release, .timeout = 280);

/* A training run: command, data, and what makes it special. */
struct course {
    const char *command, *data;
    const char *extra[28];
};

#define SMALL "--learning_rate", "0.02", "--logging_steps", "2", "--save_steps", "3"
#define EVAL "--eval_strategy", "steps", "--eval_steps", "4", "--eval_dataset_name", "held.jsonl"

static struct arguments arguments_of(const struct course *c, const char *out)
{
    struct arguments a = tiny_arguments(&t, c->command, c->data, out);
    for (int i = 0; c->extra[i]; i++) {
        const size_t n = strlen(c->extra[i]);
        const bool is_file = (n > 6 && !strcmp(c->extra[i] + n - 6, ".jsonl")) ||
                             (i > 0 && !strcmp(c->extra[i - 1], "--dataset_cache"));
        ADD(&a, is_file ? tiny_kept(&t, c->extra[i]) : c->extra[i]);
    }
    return a;
}

enum moment { WHILE_WRITING, AFTER_A_WHILE, MOMENTS };

/* Starts the run and kills it at a moment; false when it ended before. */
static bool kill_run(const struct arguments *a, const char *out, enum moment when, double longest)
{
    int code;
    const double until = clock_seconds() + longest * (double)(tiny_next(&t.random) >> 11) * 0x1p-53;
    const pid_t child = start(a, "/dev/null");
    while (when == WHILE_WRITING ? !is_writing(&t, out) : clock_seconds() < until)
        if (ended(child, &code)) {
            cr_assert_eq(code, 0);
            return false;
        }
    kill(child, SIGKILL);
    code = wait_code(child);
    cr_assert(code == 0 || code == 128 + SIGKILL, "%d", code);
    return code != 0;
}

static void expect_same_bits(const struct course *c, int kills)
{
    struct arguments a = arguments_of(c, "a"), b = arguments_of(c, "b");
    const double begin = clock_seconds();
    run_to_end(&p, &a);
    const double longest = clock_seconds() - begin;
    ADD(&b, "--resume_from_checkpoint");
    int died = 0;
    for (int i = 0; died < kills && i < 2 * kills; i++)
        if (kill_run(&b, "b", (enum moment)(i % MOMENTS), longest))
            died++;
        else
            plumb_folder_remove(tiny_path(&t, "b"));
    cr_expect(died > 0, "no run was killed");
    run_to_end(&p, &b);
    same_run(&t, "a", "b");
    cr_expect_not(is_writing(&t, "b"), "an unfinished folder was left behind");
}

enum { KILLS = RUNS_SANITIZED ? 3 : 6 };

Test(resume, dpo_with_accumulation_evaluation_and_random_order)
{
    const struct course c = { "dpo",
                              "pairs.jsonl",
                              { SMALL, EVAL, "--bf16", "false", "--gradient_accumulation_steps",
                                "2", "--num_train_epochs", "4.5", "--weight_decay", "0.1" } };
    expect_same_bits(&c, KILLS);
}

Test(resume, dpo_in_mixed_precision_with_precomputed_reference)
{
    const struct course c = { "dpo",
                              "pairs.jsonl",
                              { SMALL, EVAL, "--bf16", "true", "--precompute_ref_log_probs",
                                "--precompute_ref_batch_size", "4", "--max_steps", "14",
                                "--save_total_limit", "2" } };
    expect_same_bits(&c, KILLS);
}

Test(resume, dpo_in_bfloat16_with_stochastic_rounding)
{
    const struct course c = { "dpo",
                              "pairs.jsonl",
                              { SMALL, "--bf16", "false", "--dtype", "bfloat16", "--max_steps",
                                "12", "--loss_type", "sigmoid,ipo", "--seed", "7" } };
    expect_same_bits(&c, KILLS);
}

Test(resume, dpo_on_the_float64_device)
{
    const struct course c = { "dpo",
                              "pairs.jsonl",
                              { SMALL, "--device", "ref", "--max_steps", "7",
                                "--logging_first_step" } };
    expect_same_bits(&c, 3);
}

Test(resume, cpo_with_a_likelihood_and_accumulation)
{
    const struct course c = { "cpo",
                              "pairs.jsonl",
                              { SMALL, EVAL, "--bf16", "false", "--gradient_accumulation_steps",
                                "2", "--num_train_epochs", "4.5", "--loss_type", "simpo" } };
    expect_same_bits(&c, KILLS);
}

Test(resume, orpo_in_mixed_precision)
{
    const struct course c = { "orpo",
                              "pairs.jsonl",
                              { SMALL, EVAL, "--bf16", "true", "--max_steps", "14" } };
    expect_same_bits(&c, KILLS);
}

Test(resume, tpo_with_accumulation)
{
    const struct course c = { "tpo",
                              "triples.jsonl",
                              { SMALL, "--bf16", "false", "--gradient_accumulation_steps", "2",
                                "--max_steps", "13", "--loss_type", "tpo-l" } };
    expect_same_bits(&c, KILLS);
}

Test(resume, sft_by_epochs_ending_with_the_best_model)
{
    const struct course c = { "sft",
                              "texts.jsonl",
                              { "--learning_rate", "0.02", "--bf16", "true", "--logging_strategy",
                                "epoch", "--save_strategy", "epoch", "--eval_strategy", "epoch",
                                "--test_split_size", "0.3", "--load_best_model_at_end",
                                "--num_train_epochs", "5", "--lr_scheduler_type", "cosine" } };
    expect_same_bits(&c, KILLS);
}

Test(resume, kto_with_precomputed_reference)
{
    const struct course c = { "kto",
                              "rated.jsonl",
                              { SMALL, "--bf16", "false", "--precompute_ref_log_probs",
                                "--test_split_size", "0.4", "--eval_strategy", "steps",
                                "--max_steps", "13" } };
    expect_same_bits(&c, KILLS);
}

/* Killed while the index is written or later, and alone or beside a run that has it already. */
Test(resume, dpo_with_rows_from_an_index)
{
    const struct course c = { "dpo",
                              "pairs.jsonl",
                              { SMALL, EVAL, "--bf16", "false", "--max_steps", "13",
                                "--dataset_cache", "cache" } };
    const struct course each = { "kto",
                                 "rated.jsonl",
                                 { SMALL, "--bf16", "false", "--max_steps", "13",
                                   "--dataset_memory_limit", "0" } };
    expect_same_bits(&c, KILLS);
    plumb_folder_remove(tiny_path(&t, "a"));
    plumb_folder_remove(tiny_path(&t, "b"));
    expect_same_bits(&each, KILLS);
}

/* The mean of all rewards so far is part of the state. */
Test(resume, bco_with_accumulation_and_evaluation)
{
    const struct course c = { "bco",
                              "rated.jsonl",
                              { SMALL, "--bf16", "false", "--gradient_accumulation_steps", "2",
                                "--test_split_size", "0.4", "--eval_strategy", "steps",
                                "--max_steps", "13" } };
    expect_same_bits(&c, KILLS);
}

Test(resume, listwise_with_accumulation_and_evaluation)
{
    const struct course c = { "listwise",
                              "ranked.jsonl",
                              { SMALL, "--bf16", "false", "--gradient_accumulation_steps", "2",
                                "--test_split_size", "0.4", "--eval_strategy", "steps",
                                "--loss_type", "lambda_rank", "--max_steps", "13" } };
    expect_same_bits(&c, KILLS);
}

Test(resume, reward_with_a_drawn_head)
{
    const struct course c = { "reward",
                              "pairs.jsonl",
                              { SMALL, "--bf16", "false", "--max_steps", "13", "--data_seed",
                                "3" } };
    expect_same_bits(&c, KILLS);
}

/* A call that may change what a folder holds. */
static bool changes_files(const struct __ptrace_syscall_info *s)
{
    switch (s->entry.nr) {
    case SYS_write: return s->entry.args[0] > 2;
    case SYS_openat: return (s->entry.args[2] & (O_CREAT | O_TRUNC)) != 0;
    case SYS_mkdirat:
    case SYS_unlinkat:
    case SYS_renameat2:
    case SYS_ftruncate:
#ifdef SYS_rename
    case SYS_mkdir:
    case SYS_unlink:
    case SYS_rmdir:
    case SYS_rename:
#endif
        return true;
    }
    return false;
}

/* Runs the binary and kills it as it enters its `most`-th call that changes files (0 = never).
 * Returns how many it entered, -1 where processes cannot be traced. */
static int run_traced(const struct arguments *a, int most)
{
    char path[1024];
    const char *build = getenv("PLUMB_BUILD");
    int status, calls = 0;
    snprintf(path, sizeof path, "%s/plumb", build ? build : "build");
    const pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child == 0) {
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* its leak check traces, too */
        dup2(open("/dev/null", O_RDWR), 1);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(126);
        raise(SIGSTOP);
        execv(path, (char *const *)a->v);
        _exit(127);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) return -1;
    ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    for (int pass = 0;;) {
        cr_assert_eq(ptrace(PTRACE_SYSCALL, child, NULL, pass), 0);
        cr_assert_eq(waitpid(child, &status, 0), child);
        if (WIFEXITED(status) || WIFSIGNALED(status)) break;
        const bool is_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
        struct __ptrace_syscall_info s = { .op = PTRACE_SYSCALL_INFO_NONE };
        pass = is_call || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        if (!is_call || ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof s, &s) <= 0) continue;
        if (s.op != PTRACE_SYSCALL_INFO_ENTRY || !changes_files(&s)) continue;
        if (++calls != most) continue;
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        break;
    }
    cr_assert(most > 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return calls;
}

/* The last checkpoint, if there is one, must be whole. */
static void expect_sound_checkpoint(const char *out, int call)
{
    struct plumb_checkpoint c = { 0 };
    char path[512];
    cr_assert_eq(plumb_checkpoint_last(tiny_path(&t, out), path, sizeof path), PLUMB_OK);
    if (!path[0]) return;
    cr_expect_eq(plumb_checkpoint_open(&c, path), PLUMB_OK, "call %d: %s", call, plumb_errmsg());
    if (c.path)
        cr_expect_eq(plumb_checkpoint_verify_rest(&c), PLUMB_OK, "call %d: %s", call,
                     plumb_errmsg());
    plumb_checkpoint_release(&c);
}

/* Between two calls that change files nothing can happen that a kill would show. PLUMB_EVERY_KILL
 * in the environment tries each of them, not a sample. */
Test(resume, killed_before_any_call_that_changes_files)
{
    const struct course c = { "dpo",
                              "pairs.jsonl",
                              { "--learning_rate", "0.02", "--logging_steps", "1", "--save_steps",
                                "2", "--save_total_limit", "1", "--max_steps", "5" } };
    struct arguments a = arguments_of(&c, "a"), b = arguments_of(&c, "b");
    const int calls = run_traced(&a, 0);
    if (calls < 0) {
        fprintf(stderr, "skipped: processes cannot be traced here\n");
        return;
    }
    cr_assert_gt(calls, 50);
    ADD(&b, "--resume_from_checkpoint");
    const int stride = getenv("PLUMB_EVERY_KILL") ? 1 : calls / (RUNS_SANITIZED ? 6 : 17);
    for (int call = 1; call <= calls; call += stride) {
        plumb_folder_remove(tiny_path(&t, "b"));
        run_traced(&b, call);
        expect_sound_checkpoint("b", call);
        run_to_end(&p, &b);
        same_run(&t, "a", "b");
        cr_expect_not(is_writing(&t, "b"), "call %d left an unfinished folder", call);
    }
}

/* Whether folder b's metrics have a line of a step beyond `step`. */
static bool is_beyond(int64_t step)
{
    int64_t last = -1;
    if (!tiny_exists(&t, "b/metrics.jsonl")) return false;
    char *text = tiny_read(&t, "b/metrics.jsonl", NULL);
    for (const char *at = text; (at = strstr(at, "{\"step\": ")) != NULL; at++)
        last = strtoll(at + 9, NULL, 10);
    free(text);
    return last > step;
}

/* Runs until something is there, then sends a signal; expects the text on standard error. */
static void interrupt(const struct arguments *a, int64_t beyond, int number, const char *expected)
{
    int code = 0;
    const pid_t child = start(a, tiny_path(&t, "err"));
    while (beyond < 0 ? !tiny_exists(&t, "b/manifest.json") : !is_beyond(beyond)) {
        cr_assert_not(ended(child, &code), "it ended first, code %d", code);
        nap(0.001);
    }
    kill(child, number);
    cr_expect_eq(wait_code(child), 1);
    char *err = tiny_read(&t, "err", NULL);
    cr_expect(strstr(err, expected), "%s", err);
    free(err);
}

Test(resume, an_interrupted_run_saves_a_checkpoint_and_goes_on)
{
    const struct course c = { "dpo",
                              "pairs.jsonl",
                              { "--learning_rate", "0.002", "--logging_steps", "3", "--save_steps",
                                "1000", "--max_steps", "300" } };
    struct arguments a = arguments_of(&c, "a"), b = arguments_of(&c, "b");
    run_to_end(&p, &a);
    interrupt(&b, 0, SIGINT, "stopped by a signal after a checkpoint");
    const int64_t step = last_step(&t, "b");
    cr_expect(step > 0 && step < 300, "%d", (int)step);
    ADD(&b, "--resume_from_checkpoint");
    interrupt(&b, step, SIGTERM, "stopped by a signal after a checkpoint");
    cr_expect_gt(last_step(&t, "b"), step);
    run_to_end(&p, &b);
    same_run(&t, "a", "b");
}

Test(resume, a_signal_while_the_reference_is_computed_leaves_no_checkpoint)
{
    tiny_rows(&t, "many.jsonl", TINY_PAIRS, 4000);
    const struct course c = { "dpo",
                              "many.jsonl",
                              { "--precompute_ref_log_probs", "--max_steps", "3" } };
    struct arguments b = arguments_of(&c, "b");
    interrupt(&b, -1, SIGTERM, "stopped by a signal before step 1");
    cr_expect_eq(last_step(&t, "b"), -1);
}
