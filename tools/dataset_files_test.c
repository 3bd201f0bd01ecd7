#include "tools/dataset_files.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"

static char folder[] = "/tmp/plumb_files_XXXXXX";

static void touch(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(plumb_file_write(path, "{}\n", 3), PLUMB_OK, "%s", plumb_errmsg());
}

static void make_folder(void)
{
    static const char *const names[] = { "train-00001-of-00002.jsonl.gz",
                                         "train-00000-of-00002.jsonl.gz",
                                         "training.jsonl",
                                         "train.txt",
                                         "test.json",
                                         "data/train.jsonl" };
    char data[256];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(data, sizeof data, "%s/data", folder);
    cr_assert_eq(plumb_dir_make(data), PLUMB_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        touch(names[i]);
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(dataset_files, .init = make_folder, .fini = remove_folder);

Test(dataset_files, a_split_is_its_files_in_order_and_no_others)
{
    struct plumb_dataset_files f;
    cr_assert_eq(plumb_dataset_files_find(folder, "train", false, &f), PLUMB_OK);
    cr_assert_eq(f.count, 3);
    cr_expect(strstr(f.path[0], "data/train.jsonl"));
    cr_expect(strstr(f.path[1], "train-00000-of-00002"));
    cr_expect(strstr(f.path[2], "train-00001-of-00002"));
    plumb_dataset_files_release(&f);
    cr_assert_eq(plumb_dataset_files_find(folder, "test", true, &f), PLUMB_OK);
    cr_expect_eq(f.count, 1);
    plumb_dataset_files_release(&f);
}

Test(dataset_files, a_file_is_itself)
{
    struct plumb_dataset_files f;
    char path[256];
    snprintf(path, sizeof path, "%s/train.txt", folder);
    cr_assert_eq(plumb_dataset_files_find(path, "test", false, &f), PLUMB_OK);
    cr_assert_eq(f.count, 1);
    cr_expect_str_eq(f.path[0], path);
    plumb_dataset_files_release(&f);
}

Test(dataset_files, a_missing_split_is_an_error_unless_optional)
{
    struct plumb_dataset_files f;
    cr_expect_eq(plumb_dataset_files_find(folder, "validation", false, &f), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "no file validation.jsonl"), "%s", plumb_errmsg());
    cr_expect_eq(plumb_dataset_files_find(folder, "validation", true, &f), PLUMB_OK);
    cr_expect_eq(f.count, 0);
    cr_expect_eq(plumb_dataset_files_find("trl-lib/no-such-set", "train", true, &f), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "nothing is downloaded"), "%s", plumb_errmsg());
}

static void find(const char *below, const char *split, int count, const char *first)
{
    struct plumb_dataset_files f;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, below);
    cr_assert_eq(plumb_dataset_files_find(path, split, false, &f), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(f.count, count, "%s: %d files", below, f.count);
    cr_expect(f.count > 0 && strstr(f.path[0], first), "%s: %s", below, f.path[0]);
    plumb_dataset_files_release(&f);
}

Test(dataset_files, a_pattern_is_the_files_that_match_in_order)
{
    struct plumb_dataset_files f;
    char path[256];
    find("train-*.jsonl.gz", "train", 2, "train-00000");
    find("{test.json,data/train.jsonl}", "test", 2, "data/train.jsonl");
    snprintf(path, sizeof path, "%s/*.zst", folder);
    cr_expect_eq(plumb_dataset_files_find(path, "train", false, &f), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "no file matches"), "%s", plumb_errmsg());
    snprintf(path, sizeof path, "%s/*", folder);
    cr_expect_eq(plumb_dataset_files_find(path, "train", false, &f), PLUMB_EUSAGE);
    cr_expect(strstr(plumb_errmsg(), "matches the folder"), "%s", plumb_errmsg());
}

Test(dataset_files, a_folder_without_names_of_splits_is_all_of_its_files)
{
    static const char *const names[] = { "any/part-2.csv.zst",    "any/part-1.jsonl",
                                         "any/.hidden.csv",       "any/README.md",
                                         "any/dataset_info.json", "col/a.parquet" };
    struct plumb_dataset_files f;
    char path[256];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i ? "col" : "any");
        cr_assert_eq(plumb_dir_make(path), PLUMB_OK);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        touch(names[i]);
    find("any", "train", 2, "any/part-1.jsonl");
    find("col", "train", 1, "col/a.parquet"); /* refused when it is opened */
    snprintf(path, sizeof path, "%s/any", folder);
    cr_assert_eq(plumb_dataset_files_find(path, "test", true, &f), PLUMB_OK);
    cr_expect_eq(f.count, 0);
    touch("any/test.csv");
    find("any", "test", 1, "any/test.csv");
    cr_expect_eq(plumb_dataset_files_find(path, "train", false, &f), PLUMB_EIO);
}
