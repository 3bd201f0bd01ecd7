/* Going on with finished, changed, damaged and foreign runs; what is kept and what goes. */
#include <math.h>
#include <stddef.h>
#include <zlib.h>

#include "algos/trainer.h"
#include "tests/runs.h"

static struct program p;
static struct tiny t;

static void init(void) { tiny_init(&t); }
static void release(void) { tiny_release(&t); }
TestSuite(rerun, .init = init, .fini = release, .timeout = 280);

static struct arguments dpo(const char *out)
{
    struct arguments a = tiny_arguments(&t, "dpo", "pairs.jsonl", out);
    ADD(&a, "--learning_rate", "0.02", "--logging_steps", "1", "--save_steps", "3", "--max_steps",
        "8", "--bf16", "false");
    return a;
}

static void expect_refused(const struct arguments *a, int code, const char *text)
{
    program_run(&p, a->v);
    cr_expect_eq(p.code, code, "%s", p.err);
    cr_expect(strstr(p.err, text), "no \"%s\" in: %s", text, p.err);
}

Test(rerun, a_finished_run_is_gone_on_with_and_stays_as_it_was)
{
    struct arguments a = dpo("a"), b = dpo("b");
    run_to_end(&p, &a);
    run_to_end(&p, &b);
    ADD(&b, "--resume_from_checkpoint", "true");
    run_to_end(&p, &b);
    run_to_end(&p, &b);
    same_run(&t, "a", "b");
}

Test(rerun, without_a_checkpoint_a_run_starts_anew_and_says_so)
{
    struct arguments a = dpo("a"), b = dpo("b");
    run_to_end(&p, &a);
    ADD(&b, "--resume_from_checkpoint");
    run_to_end(&p, &b);
    cr_expect(strstr(p.err, "no checkpoint in"), "%s", p.err);
    same_run(&t, "a", "b");
}

Test(rerun, an_earlier_checkpoint_cuts_off_what_followed_it)
{
    struct arguments a = dpo("a"), b = dpo("b");
    run_to_end(&p, &a);
    run_to_end(&p, &b);
    ADD(&b, "--resume_from_checkpoint", tiny_kept(&t, "b/checkpoint-3"), "--max_steps", "5");
    run_to_end(&p, &b);
    cr_expect(strstr(p.err, "max_steps was 8 and is 5 now"), "%s", p.err);
    cr_expect_eq(last_step(&t, "b"), 5, "the checkpoints of steps 6 and 8 must be gone");
    char *text = plain_metrics(&t, "b/metrics.jsonl");
    cr_expect(strstr(text, "\"step\":5,") && !strstr(text, "\"step\":6,"), "%s", text);
    free(text);
}

Test(rerun, another_folder_takes_a_checkpoint_and_starts_its_own_metrics)
{
    struct arguments a = dpo("a"), b = dpo("b");
    run_to_end(&p, &a);
    ADD(&b, "--resume_from_checkpoint", tiny_kept(&t, "a/checkpoint-3"));
    run_to_end(&p, &b);
    same_bytes(&t, "a", "b", "model.safetensors");
    char *text = plain_metrics(&t, "b/metrics.jsonl");
    cr_expect_eq(strncmp(text, "{\"step\":4,", 10), 0, "%.40s", text);
    free(text);
    struct arguments again = dpo("b");
    ADD(&again, "--resume_from_checkpoint", tiny_kept(&t, "a/checkpoint-3"));
    expect_refused(&again, 2, "holds a run already");
}

Test(rerun, a_folder_that_holds_a_run_is_replaced_only_when_asked)
{
    struct arguments a = dpo("a"), plain = dpo("b"), b = dpo("b");
    ADD(&a, "--save_steps", "100");
    run_to_end(&p, &a);
    run_to_end(&p, &plain);
    expect_refused(&plain, 2, "holds a run already");
    unlink(tiny_path(&t, "b/metrics.jsonl"));
    expect_refused(&plain, 2, "holds a run already");
    ADD(&b, "--save_steps", "100", "--overwrite_output_dir");
    run_to_end(&p, &b);
    same_run(&t, "a", "b");
    cr_expect_not(tiny_exists(&t, "b/checkpoint-3"), "a checkpoint of the replaced run stays");
    struct arguments itself = dpo("model");
    expect_refused(&itself, 2, "the model's own folder");
}

/* The run's metrics and checkpoints must come out of a refusal as they went in. */
Test(rerun, changed_data_are_refused_and_changed_options_named)
{
    struct arguments b = dpo("b"), other = tiny_arguments(&t, "dpo", "held.jsonl", "b");
    run_to_end(&p, &b);
    char *before = tiny_read(&t, "b/metrics.jsonl", NULL);
    ADD(&other, "--resume_from_checkpoint", tiny_kept(&t, "b/checkpoint-3"));
    expect_refused(&other, 1, "the training rows or their tokens are not those of that run");
    struct arguments kto = tiny_arguments(&t, "kto", "rated.jsonl", "b");
    ADD(&kto, "--resume_from_checkpoint");
    expect_refused(&kto, 1, "not of a run of `plumb kto`");
    char *after = tiny_read(&t, "b/metrics.jsonl", NULL);
    cr_expect_str_eq(before, after);
    cr_expect_eq(last_step(&t, "b"), 8);
    struct arguments changed = dpo("b");
    ADD(&changed, "--resume_from_checkpoint", "--learning_rate", "0.5", "--beta", "0.3");
    program_run(&p, changed.v);
    cr_expect(p.code == 0 && strstr(p.err, "learning_rate was 0.02 and is 0.5 now"), "%s", p.err);
    cr_expect(strstr(p.err, "beta was 0.1 and is 0.3 now"), "%s", p.err);
    free(before);
    free(after);
}

Test(rerun, other_evaluation_rows_are_refused_where_their_reference_is_stored)
{
    struct arguments b = dpo("b");
    ADD(&b, "--eval_strategy", "steps", "--eval_dataset_name", tiny_kept(&t, "held.jsonl"),
        "--precompute_ref_log_probs");
    run_to_end(&p, &b);
    tiny_rows(&t, "held.jsonl", TINY_PAIRS, TINY_HELD);
    ADD(&b, "--resume_from_checkpoint");
    expect_refused(&b, 1, "the evaluation rows or their tokens are not those of that run");
}

Test(rerun, two_runs_at_once_do_not_share_a_folder)
{
    struct arguments a = dpo("a");
    ADD(&a, "--max_steps", "100000", "--save_steps", "100000");
    const pid_t first = start(&a, "/dev/null");
    while (!tiny_exists(&t, "a/manifest.json"))
        nap(0.001);
    ADD(&a, "--overwrite_output_dir");
    expect_refused(&a, 1, "another run is writing");
    kill(first, SIGTERM);
    cr_expect_eq(wait_code(first), 1);
    cr_expect_gt(last_step(&t, "a"), 0);
}

static int64_t checkpoints(const char *out, int64_t most)
{
    char name[64];
    int64_t n = 0;
    for (int64_t i = 0; i <= most; i++) {
        snprintf(name, sizeof name, "%s/checkpoint-%d", out, (int)i);
        n += tiny_exists(&t, name);
    }
    return n;
}

Test(rerun, save_total_limit_keeps_the_last_and_the_best)
{
    struct arguments a = dpo("a");
    ADD(&a, "--save_steps", "1", "--save_total_limit", "2");
    run_to_end(&p, &a);
    cr_expect(checkpoints("a", 9) == 2 && tiny_exists(&t, "a/checkpoint-7") &&
              tiny_exists(&t, "a/checkpoint-8"));
    /* The rate of 0.5 makes the first evaluations the best ones. */
    struct arguments b = dpo("b");
    ADD(&b, "--save_steps", "2", "--eval_strategy", "steps", "--eval_steps", "1",
        "--eval_dataset_name", tiny_kept(&t, "held.jsonl"), "--save_total_limit", "1",
        "--learning_rate", "0.5", "--load_best_model_at_end");
    run_to_end(&p, &b);
    char *text = plain_metrics(&t, "b/metrics.jsonl");
    double best = INFINITY;
    int best_step = 0;
    for (const char *at = text; (at = strstr(at, "{\"step\":")) != NULL; at++) {
        const int step = (int)strtol(at + 8, NULL, 10);
        const char *loss = strchr(at + 8, ',') + 1;
        if (step % 2 || strncmp(loss, "\"eval_loss\":", 12) != 0) continue;
        if (strtod(loss + 12, NULL) < best) {
            best = strtod(loss + 12, NULL);
            best_step = step;
        }
    }
    cr_assert(best_step > 0 && best_step < 8, "the best step %d shows nothing", best_step);
    char name[64];
    snprintf(name, sizeof name, "b/checkpoint-%d", best_step);
    same_bytes(&t, name, "b", "model.safetensors");
    cr_expect_eq(checkpoints("b", 9), 2, "the best and the last");
    free(text);
}

/* Flips a bit of the middle byte; flips it back when called again. */
static void flip(const char *path)
{
    const int fd = open(path, O_RDWR);
    struct stat st;
    char c;
    cr_assert(fd >= 0 && fstat(fd, &st) == 0 && pread(fd, &c, 1, st.st_size / 2) == 1);
    c ^= 4;
    cr_assert_eq(pwrite(fd, &c, 1, st.st_size / 2), 1);
    close(fd);
}

static void make_damageable(struct arguments *b)
{
    *b = dpo("b");
    ADD(b, "--precompute_ref_log_probs");
    run_to_end(&p, b);
    ADD(b, "--resume_from_checkpoint");
}

Test(rerun, a_flipped_bit_in_any_file_of_a_checkpoint_is_an_error_that_names_it)
{
    struct arguments b;
    make_damageable(&b);
    int files = 0;
    DIR *d = opendir(tiny_path(&t, "b/checkpoint-8"));
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[1024];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/b/checkpoint-8/%s", t.dir, e->d_name);
        flip(path);
        program_run(&p, b.v);
        /* A damaged list of files may as well name the file that it describes wrongly. */
        const char *named = strcmp(e->d_name, PLUMB_CHECKPOINT_INDEX) ? path : "b/checkpoint-8/";
        cr_expect(p.code == 1 && strstr(p.err, named), "%s: code %d, %s", e->d_name, p.code, p.err);
        flip(path);
        files++;
    }
    closedir(d);
    cr_expect_eq(files, 9);
    ADD(&b, "--resume_from_checkpoint", tiny_kept(&t, "b/checkpoint-6"));
    run_to_end(&p, &b);
}

Test(rerun, a_missing_or_shortened_file_of_a_checkpoint_is_an_error_that_names_it)
{
    static const char *const files[] = { "model.safetensors", "adam_v.bin", "state.bin",
                                         "ref_logps.bin" };
    struct arguments b;
    make_damageable(&b);
    for (int i = 0; i < 4; i++) {
        char path[1024], aside[1100];
        snprintf(path, sizeof path, "%s/b/checkpoint-8/%s", t.dir, files[i]);
        snprintf(aside, sizeof aside, "%s.aside", path);
        cr_assert_eq(rename(path, aside), 0);
        expect_refused(&b, 1, path);
        cr_assert_eq(rename(aside, path), 0);
        struct stat st;
        cr_assert(stat(path, &st) == 0 && truncate(path, st.st_size / 2) == 0);
        expect_refused(&b, 1, path);
        cr_assert_eq(truncate(path, st.st_size), 0);
    }
}

/* Replaces bytes of state.bin and its checksum. */
static void forge(size_t offset, const void *bytes, size_t n)
{
    size_t size;
    char *state = tiny_read(&t, "b/checkpoint-8/state.bin", &size), *text;
    cJSON *index, *e;
    cr_assert_leq(offset + n, size);
    memcpy(state + offset, bytes, n);
    plumb_file_write(tiny_path(&t, "b/checkpoint-8/state.bin"), state, size);
    const double crc = (double)crc32_z(0, (const Bytef *)state, size);
    cr_assert_eq(plumb_json_load(tiny_path(&t, "b/checkpoint-8/plumb_checkpoint.json"), 0, &index),
                 PLUMB_OK);
    cJSON_ArrayForEach(e, cJSON_GetObjectItem(index, "files"))
    {
        if (!strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(e, "file")), "state.bin"))
            cJSON_SetNumberValue(cJSON_GetObjectItem(e, "crc32"), crc);
    }
    text = cJSON_Print(index);
    plumb_file_write(tiny_path(&t, "b/checkpoint-8/plumb_checkpoint.json"), text, strlen(text));
    cJSON_free(text);
    cJSON_Delete(index);
    free(state);
}

Test(rerun, a_forged_state_is_refused)
{
    struct arguments b;
    make_damageable(&b);
    const int64_t steps[] = { -5, 7, INT64_MAX }, count = (int64_t)1 << 40, own = 8;
    for (int i = 0; i < 3; i++) {
        forge(offsetof(struct plumb_train_state, step), &steps[i], sizeof steps[i]);
        expect_refused(&b, 1, "b/checkpoint-8");
    }
    forge(offsetof(struct plumb_train_state, step), &own, sizeof own);
    run_to_end(&p, &b);
    forge(offsetof(struct plumb_train_state, tally.count), &count, sizeof count);
    expect_refused(&b, 1, "state");
}
