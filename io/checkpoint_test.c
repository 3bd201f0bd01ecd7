#include "io/checkpoint.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

static char root[] = "/tmp/plumb_checkpoint_XXXXXX";

static void setup(void) { cr_assert_not_null(mkdtemp(root)); }
static void teardown(void) { plumb_folder_remove(root); }

TestSuite(checkpoint, .init = setup, .fini = teardown);

static const char *in_root(const char *name)
{
    static char path[8][512];
    static int next;
    char *p = path[next++ % 8];
    cr_assert_eq(plumb_path_join(p, sizeof path[0], root, name), PLUMB_OK);
    return p;
}

static const float moments[5] = { 1, -2, 3.5f, 0, 1e-30f };
static const int64_t counters[2] = { INT64_MAX, -1 };
static const char state[] = "{\"cursor\": 9007199254740993, \"text\": \"\xC3\xA4\"}\n";

static void write_one(int64_t step)
{
    struct plumb_checkpoint_writer w;
    cr_assert_eq(plumb_checkpoint_begin(&w, root, step), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_checkpoint_put(&w, "moments", PLUMB_F32, 5, moments), PLUMB_OK);
    cr_assert_eq(plumb_checkpoint_put(&w, "counters", PLUMB_I64, 2, counters), PLUMB_OK);
    cr_assert_eq(plumb_checkpoint_put(&w, "empty", PLUMB_BF16, 0, NULL), PLUMB_OK);
    char path[512];
    cr_assert_eq(plumb_path_join(path, sizeof path, w.dir, "extra.txt"), PLUMB_OK);
    cr_assert_eq(plumb_file_write(path, "extra", 5), PLUMB_OK);
    cr_assert_eq(plumb_checkpoint_add(&w, "extra.txt"), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_checkpoint_commit(&w, state), PLUMB_OK, "%s", plumb_errmsg());
}

static void expect_last(const char *name)
{
    char last[512];
    cr_assert_eq(plumb_checkpoint_last(root, last, sizeof last), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_str_eq(last, name ? in_root(name) : "");
}

static void expect_whole(const char *name)
{
    struct plumb_checkpoint c;
    float f[5];
    int64_t i[2];
    char *text;
    cr_assert_eq(plumb_checkpoint_open(&c, in_root(name)), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_checkpoint_get(&c, "moments", PLUMB_F32, 5, f), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect_eq(memcmp(f, moments, sizeof f), 0);
    cr_assert_eq(plumb_checkpoint_get(&c, "counters", PLUMB_I64, 2, i), PLUMB_OK);
    cr_expect_eq(memcmp(i, counters, sizeof i), 0);
    cr_expect_eq(plumb_checkpoint_get(&c, "empty", PLUMB_BF16, 0, NULL), PLUMB_OK);
    cr_assert_eq(plumb_checkpoint_state(&c, &text), PLUMB_OK);
    cr_expect_str_eq(text, state);
    cr_expect_eq(plumb_checkpoint_verify(&c, "extra.txt"), PLUMB_OK);
    cr_expect(plumb_checkpoint_has(&c, "moments") && !plumb_checkpoint_has(&c, "other"));
    free(text);
    plumb_checkpoint_release(&c);
}

Test(checkpoint, what_was_put_comes_back)
{
    write_one(7);
    expect_whole("checkpoint-7");
    struct plumb_checkpoint c;
    cr_assert_eq(plumb_checkpoint_open(&c, in_root("checkpoint-7")), PLUMB_OK);
    cr_expect_eq(c.step, 7);
    plumb_checkpoint_release(&c);
}

Test(checkpoint, the_last_is_the_highest_finished_step)
{
    expect_last(NULL);
    write_one(9);
    write_one(10);
    cr_assert_eq(plumb_dir_make(in_root("checkpoint-11")), PLUMB_OK);
    cr_assert_eq(plumb_dir_make(in_root("checkpoint-12.tmp")), PLUMB_OK);
    cr_assert_eq(plumb_dir_make(in_root("checkpoint-13b")), PLUMB_OK);
    cr_assert_eq(plumb_dir_make(in_root("checkpoint-")), PLUMB_OK);
    expect_last("checkpoint-10");
    char last[512];
    cr_expect_eq(plumb_checkpoint_last(in_root("nowhere"), last, sizeof last), PLUMB_OK);
    cr_expect_str_eq(last, "");
}

Test(checkpoint, a_killed_write_leaves_the_one_before)
{
    struct plumb_checkpoint_writer w;
    write_one(1);
    cr_assert_eq(plumb_checkpoint_begin(&w, root, 2), PLUMB_OK);
    cr_assert_eq(plumb_checkpoint_put(&w, "moments", PLUMB_F32, 5, moments), PLUMB_OK);
    free(w.dir); /* what a kill leaves: no commit, no abort */
    free(w.path);
    cJSON_Delete(w.files);
    expect_last("checkpoint-1");
    write_one(2);
    expect_last("checkpoint-2");
    expect_whole("checkpoint-2");
    cr_expect(!plumb_file_exists(in_root("checkpoint-2.tmp")));
}

Test(checkpoint, the_same_step_is_replaced)
{
    struct plumb_checkpoint_writer w;
    cr_assert_eq(plumb_checkpoint_begin(&w, root, 3), PLUMB_OK);
    cr_assert_eq(plumb_checkpoint_commit(&w, "{}"), PLUMB_OK, "%s", plumb_errmsg());
    write_one(3);
    expect_whole("checkpoint-3");
    cr_expect(!plumb_file_exists(in_root("checkpoint-3.tmp")));
}

/* Opening or reading must fail and name `file`. */
static void expect_damage(const char *file)
{
    struct plumb_checkpoint c;
    float f[5];
    int64_t i[2];
    char *text = NULL;
    int rc = plumb_checkpoint_open(&c, in_root("checkpoint-1"));
    if (rc == PLUMB_OK) rc = plumb_checkpoint_get(&c, "moments", PLUMB_F32, 5, f);
    if (rc == PLUMB_OK) rc = plumb_checkpoint_get(&c, "counters", PLUMB_I64, 2, i);
    if (rc == PLUMB_OK) rc = plumb_checkpoint_state(&c, &text);
    if (rc == PLUMB_OK) rc = plumb_checkpoint_verify(&c, "extra.txt");
    cr_expect_neq(rc, PLUMB_OK, "damage to %s was not found", file);
    cr_expect(strstr(plumb_errmsg(), file), "wanted %s, got: %s", file, plumb_errmsg());
    free(text);
    plumb_checkpoint_release(&c);
}

Test(checkpoint, every_damaged_byte_and_cut_is_found_and_named)
{
    static const char *const files[] = { "moments.bin", "counters.bin", "state.json", "extra.txt" };
    write_one(1);
    for (int k = 0; k < 4; k++) {
        char name[64], *text;
        size_t n;
        snprintf(name, sizeof name, "checkpoint-1/%s", files[k]);
        cr_assert_eq(plumb_file_read(in_root(name), 0, &text, &n), PLUMB_OK);
        for (size_t i = 0; i < n; i++) {
            text[i] ^= 1;
            cr_assert_eq(plumb_file_write(in_root(name), text, n), PLUMB_OK);
            expect_damage(files[k]);
            text[i] ^= 1;
        }
        cr_assert_eq(plumb_file_write(in_root(name), text, n - 1), PLUMB_OK);
        expect_damage(files[k]);
        remove(in_root(name));
        expect_damage(files[k]);
        cr_assert_eq(plumb_file_write(in_root(name), text, n), PLUMB_OK);
        free(text);
    }
    expect_whole("checkpoint-1");
}

Test(checkpoint, a_hostile_index_is_refused)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{\"format\":\"plumb-checkpoint/2\",\"step\":1,\"files\":[]}",
        "{\"format\":\"plumb-checkpoint/1\",\"files\":[]}",
        "{\"format\":\"plumb-checkpoint/1\",\"step\":1}",
        "{\"format\":\"plumb-checkpoint/1\",\"step\":1,\"files\":[3]}",
        "{\"format\":\"plumb-checkpoint/1\",\"step\":1,\"files\":[{\"file\":\"../"
        "x\",\"bytes\":0}]}",
        "{\"format\":\"plumb-checkpoint/1\",\"step\":1,\"files\":[{\"file\":\"moments.bin\"}]}",
        "{\"format\":\"plumb-checkpoint/"
        "1\",\"step\":1,\"files\":[{\"file\":\"moments.bin\",\"bytes\":1e15}]}",
    };
    write_one(1);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct plumb_checkpoint c;
        cr_assert_eq(plumb_file_write(in_root("checkpoint-1/" PLUMB_CHECKPOINT_INDEX), texts[i],
                                      strlen(texts[i])),
                     PLUMB_OK);
        cr_expect_neq(plumb_checkpoint_open(&c, in_root("checkpoint-1")), PLUMB_OK, "%s", texts[i]);
        plumb_checkpoint_release(&c);
    }
}

Test(checkpoint, another_shape_is_not_what_was_put)
{
    struct plumb_checkpoint c;
    float f[6];
    write_one(1);
    cr_assert_eq(plumb_checkpoint_open(&c, in_root("checkpoint-1")), PLUMB_OK);
    cr_expect_eq(plumb_checkpoint_get(&c, "moments", PLUMB_F32, 6, f), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "moments.bin\" holds 20 bytes of float32, this run wants 24"),
              "%s", plumb_errmsg());
    cr_expect_eq(plumb_checkpoint_get(&c, "moments", PLUMB_I32, 5, f), PLUMB_EFORMAT);
    cr_expect_eq(plumb_checkpoint_get(&c, "gone", PLUMB_I32, 5, f), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "holds no \"gone.bin\""), "%s", plumb_errmsg());
    plumb_checkpoint_release(&c);
    cr_expect_eq(plumb_checkpoint_open(&c, root), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "is not a finished checkpoint"), "%s", plumb_errmsg());
}

Test(checkpoint, old_ones_go_but_not_the_best_and_the_last)
{
    for (int step = 1; step <= 12; step += 3)
        write_one(step); /* 1 4 7 10 */
    cr_assert_eq(plumb_dir_make(in_root("checkpoint-99.tmp/deep/er")), PLUMB_OK);
    cr_assert_eq(plumb_dir_make(in_root("checkpoint-2")), PLUMB_OK); /* someone else's */
    cr_assert_eq(plumb_checkpoint_prune(root, 0, NULL), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(plumb_file_exists(in_root("checkpoint-1")) &&
              !plumb_file_exists(in_root("checkpoint-99.tmp")));
    cr_assert_eq(plumb_checkpoint_prune(root, 3, in_root("checkpoint-1")), PLUMB_OK);
    cr_expect(plumb_file_exists(in_root("checkpoint-1")) &&
              !plumb_file_exists(in_root("checkpoint-4")));
    cr_expect(plumb_file_exists(in_root("checkpoint-7")));
    cr_assert_eq(plumb_checkpoint_prune(root, 1, in_root("checkpoint-1")), PLUMB_OK);
    cr_expect(plumb_file_exists(in_root("checkpoint-1")) &&
              !plumb_file_exists(in_root("checkpoint-7")));
    expect_whole("checkpoint-10");
    cr_expect(plumb_file_exists(in_root("checkpoint-2")));
}

Test(checkpoint, those_of_a_course_that_was_left_go)
{
    for (int64_t step = 1; step <= 4; step++)
        write_one(step);
    mkdir(in_root("checkpoint-2.tmp"), 0777);
    mkdir(in_root("checkpoint-9"), 0777); /* no checkpoint: somebody else's */
    cr_assert_eq(plumb_checkpoint_forget(root, 2), PLUMB_OK, "%s", plumb_errmsg());
    expect_last("checkpoint-2");
    cr_expect(plumb_file_exists(in_root("checkpoint-1")));
    cr_expect(plumb_file_exists(in_root("checkpoint-9")));
    cr_expect_not(plumb_file_exists(in_root("checkpoint-2.tmp")));
    cr_assert_eq(plumb_checkpoint_forget(root, -1), PLUMB_OK, "%s", plumb_errmsg());
    expect_last(NULL);
    cr_expect_eq(plumb_checkpoint_forget(in_root("nowhere"), -1), PLUMB_OK);
}

Test(checkpoint, every_file_that_lies_in_the_folder_is_listed_and_checked)
{
    struct plumb_checkpoint_writer w;
    struct plumb_checkpoint c;
    char path[512];
    static const char *const names[] = { "model-00001-of-00002.safetensors", "tokenizer.json" };
    cr_assert_eq(plumb_checkpoint_begin(&w, root, 1), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_checkpoint_put(&w, "moments", PLUMB_F32, 5, moments), PLUMB_OK);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(plumb_path_join(path, sizeof path, w.dir, names[i]), PLUMB_OK);
        cr_assert_eq(plumb_file_write(path, names[i], strlen(names[i])), PLUMB_OK);
    }
    cr_assert_eq(plumb_checkpoint_add_rest(&w), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(cJSON_GetArraySize(w.files), 3);
    cr_assert_eq(plumb_checkpoint_commit(&w, state), PLUMB_OK, "%s", plumb_errmsg());
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", in_root("checkpoint-1"), names[i]);
        cr_assert_eq(plumb_checkpoint_open(&c, in_root("checkpoint-1")), PLUMB_OK);
        cr_expect_eq(plumb_checkpoint_verify_rest(&c), PLUMB_OK, "%s", plumb_errmsg());
        FILE *f = fopen(path, "r+");
        cr_assert(f && fputc('!', f) == '!' && fclose(f) == 0);
        cr_expect_eq(plumb_checkpoint_verify_rest(&c), PLUMB_EFORMAT);
        cr_expect(strstr(plumb_errmsg(), names[i]), "%s", plumb_errmsg());
        cr_assert_eq(plumb_file_write(path, names[i], strlen(names[i])), PLUMB_OK);
        plumb_checkpoint_release(&c);
    }
}

Test(checkpoint, a_full_disk_leaves_the_last_good_one)
{
    static const double big[4096];
    struct plumb_checkpoint_writer w;
    write_one(1);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = { 16384, RLIM_INFINITY }, none = { RLIM_INFINITY, RLIM_INFINITY };
    cr_assert_eq(plumb_checkpoint_begin(&w, root, 2), PLUMB_OK);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_expect_eq(plumb_checkpoint_put(&w, "big", PLUMB_F64, 4096, big), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "big.bin"), "%s", plumb_errmsg());
    plumb_checkpoint_abort(&w);
    setrlimit(RLIMIT_FSIZE, &none);
    cr_expect(!plumb_file_exists(in_root("checkpoint-2.tmp")));
    expect_last("checkpoint-1");
    expect_whole("checkpoint-1");
}

Test(checkpoint, removing_a_folder_keeps_what_links_point_to)
{
    cr_assert_eq(plumb_dir_make(in_root("kept")), PLUMB_OK);
    cr_assert_eq(plumb_file_write(in_root("kept/file"), "x", 1), PLUMB_OK);
    cr_assert_eq(plumb_dir_make(in_root("gone/deep")), PLUMB_OK);
    cr_assert_eq(symlink(in_root("kept"), in_root("gone/deep/link")), 0);
    cr_expect_eq(plumb_folder_remove(in_root("gone")), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(!plumb_file_exists(in_root("gone")) && plumb_file_exists(in_root("kept/file")));
    cr_expect_eq(plumb_folder_remove(in_root("gone")), PLUMB_OK, "nothing there is fine");
}

Test(checkpoint, names_stay_inside_the_folder)
{
    struct plumb_checkpoint_writer w;
    cr_assert_eq(plumb_checkpoint_begin(&w, root, 1), PLUMB_OK);
    cr_expect_eq(plumb_checkpoint_put(&w, "../x", PLUMB_F32, 5, moments), PLUMB_EFORMAT);
    cr_expect_eq(plumb_checkpoint_put(&w, "", PLUMB_F32, 5, moments), PLUMB_EFORMAT);
    cr_expect_eq(plumb_checkpoint_add(&w, "/etc/passwd"), PLUMB_EFORMAT);
    plumb_checkpoint_abort(&w);
}
