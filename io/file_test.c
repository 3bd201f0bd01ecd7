#include "io/file.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static char dir[] = "/tmp/plumb_file_XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[8][256];
    static int next;
    char *p = path[next++ % 8];
    cr_assert_eq(plumb_path_join(p, sizeof path[0], dir, name), PLUMB_OK);
    return p;
}

static void setup(void) { cr_assert_not_null(mkdtemp(dir)); }

static void teardown(void)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') remove(in_dir(e->d_name));
    if (d) closedir(d);
    rmdir(dir);
}

TestSuite(file, .init = setup, .fini = teardown);

static void put(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, n, f), n);
    fclose(f);
}

static void expect_contents(const char *path, const char *want)
{
    char *text;
    size_t n;
    cr_assert_eq(plumb_file_read(path, 0, &text, &n), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(n == strlen(want) && strcmp(text, want) == 0, "\"%s\" holds \"%.80s\"", path, text);
    free(text);
}

static int entries(void)
{
    int count = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static size_t put_gzip(const char *path, size_t zeros, const char *tail)
{
    gzFile z = gzopen(path, "wb9");
    static const char block[1 << 16];
    for (size_t n = 0; n < zeros; n += sizeof block)
        gzwrite(z, block, sizeof block);
    gzputs(z, tail);
    gzclose(z);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return (size_t)st.st_size;
}

Test(file, reads_plain_and_empty_files)
{
    put(in_dir("a"), "hello", 5);
    put(in_dir("b"), "", 0);
    expect_contents(in_dir("a"), "hello");
    expect_contents(in_dir("b"), "");
}

Test(file, reads_gzip_of_several_members)
{
    put_gzip(in_dir("a"), 0, "first ");
    put_gzip(in_dir("b"), 0, "second");
    char both[256];
    FILE *f = fopen(in_dir("a"), "rb");
    size_t n = fread(both, 1, sizeof both, f);
    fclose(f);
    f = fopen(in_dir("b"), "rb");
    n += fread(both + n, 1, sizeof both - n, f);
    fclose(f);
    put(in_dir("c"), both, n);
    expect_contents(in_dir("c"), "first second");
}

Test(file, a_gzip_bomb_stops_at_the_limit)
{
    const size_t packed = put_gzip(in_dir("bomb"), 64 << 20, "");
    cr_expect(packed < 1 << 18);
    char *text;
    size_t n;
    cr_expect_eq(plumb_file_read(in_dir("bomb"), 1 << 20, &text, &n), PLUMB_EFORMAT);
    cr_expect(text == NULL && strstr(plumb_errmsg(), "holds more than 1048576 bytes"), "%s",
              plumb_errmsg());
}

Test(file, the_limit_itself_is_allowed)
{
    char *text;
    size_t n;
    put(in_dir("a"), "hello", 5);
    cr_expect(plumb_file_read(in_dir("a"), 5, &text, &n) == PLUMB_OK && n == 5);
    free(text);
    cr_expect_eq(plumb_file_read(in_dir("a"), 4, &text, &n), PLUMB_EFORMAT);
}

Test(file, truncated_and_damaged_gzip_is_an_error)
{
    char bytes[4096], *text;
    size_t n;
    const size_t packed = put_gzip(in_dir("a"), 1 << 20, "end");
    FILE *f = fopen(in_dir("a"), "rb");
    cr_assert_eq(fread(bytes, 1, sizeof bytes, f), packed);
    fclose(f);
    for (size_t cut = 2; cut < packed; cut += cut < 32 ? 1 : 97) {
        put(in_dir("b"), bytes, cut);
        cr_expect_eq(plumb_file_read(in_dir("b"), 0, &text, &n), PLUMB_EIO, "cut at %zu was taken",
                     cut);
        cr_expect(strstr(plumb_errmsg(), in_dir("b")) && text == NULL, "%s", plumb_errmsg());
    }
    bytes[packed - 6] ^= 1; /* the checksum */
    put(in_dir("b"), bytes, packed);
    cr_expect_eq(plumb_file_read(in_dir("b"), 0, &text, &n), PLUMB_EIO);
}

Test(file, missing_files_and_folders_are_named)
{
    char *text;
    size_t n;
    struct plumb_map m;
    cr_expect_eq(plumb_file_read(in_dir("gone"), 0, &text, &n), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), in_dir("gone")), "%s", plumb_errmsg());
    cr_expect_eq(plumb_file_read(dir, 0, &text, &n), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "directory"), "%s", plumb_errmsg());
    cr_expect_eq(plumb_map_open(&m, in_dir("gone")), PLUMB_EIO);
    cr_expect_eq(plumb_map_open(&m, dir), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "not a regular file"), "%s", plumb_errmsg());
    plumb_map_release(&m);
}

Test(file, maps_files_and_empty_files)
{
    struct plumb_map m;
    put(in_dir("a"), "hello", 5);
    put(in_dir("b"), "", 0);
    cr_assert_eq(plumb_map_open(&m, in_dir("a")), PLUMB_OK);
    cr_expect(m.bytes == 5 && memcmp(m.data, "hello", 5) == 0);
    plumb_map_release(&m);
    cr_assert_eq(plumb_map_open(&m, in_dir("b")), PLUMB_OK);
    cr_expect(m.bytes == 0 && m.data == NULL);
    plumb_map_release(&m);
}

Test(file, a_write_appears_only_at_commit)
{
    struct plumb_writer w;
    put(in_dir("a"), "old", 3);
    cr_assert_eq(plumb_writer_open(&w, in_dir("a")), PLUMB_OK);
    cr_assert_eq(plumb_writer_put(&w, "new text", 8), PLUMB_OK);
    expect_contents(in_dir("a"), "old");
    cr_assert_eq(plumb_writer_commit(&w), PLUMB_OK, "%s", plumb_errmsg());
    expect_contents(in_dir("a"), "new text");
    plumb_writer_abort(&w);
    cr_expect_eq(entries(), 1);
}

Test(file, an_aborted_write_leaves_nothing)
{
    struct plumb_writer w;
    put(in_dir("a"), "old", 3);
    cr_assert_eq(plumb_writer_open(&w, in_dir("a")), PLUMB_OK);
    plumb_writer_put(&w, "new", 3);
    plumb_writer_abort(&w);
    expect_contents(in_dir("a"), "old");
    cr_expect_eq(entries(), 1);
}

Test(file, a_full_device_is_an_error_that_names_it)
{
    struct plumb_writer w;
    cr_assert_eq(plumb_writer_open(&w, "/dev/full"), PLUMB_OK);
    plumb_writer_put(&w, "text", 4);
    cr_expect_eq(plumb_writer_commit(&w), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "\"/dev/full\": No space left"), "%s", plumb_errmsg());
    cr_expect(plumb_file_exists("/dev/full") && !plumb_file_exists("/dev/full.tmp"));
}

/* A file size limit fails a write in the middle, as a full disk does. */
Test(file, a_write_cut_short_keeps_the_old_file)
{
    static const char block[1 << 16];
    struct plumb_writer w;
    put(in_dir("a"), "old", 3);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = { 1 << 17, RLIM_INFINITY };
    cr_assert_eq(plumb_writer_open(&w, in_dir("a")), PLUMB_OK);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = PLUMB_OK;
    for (int i = 0; i < 4 && rc == PLUMB_OK; i++)
        rc = plumb_writer_put(&w, block, sizeof block);
    cr_expect_eq(rc, PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), in_dir("a")), "%s", plumb_errmsg());
    cr_expect_eq(plumb_writer_commit(&w), PLUMB_EIO);
    const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
    setrlimit(RLIMIT_FSIZE, &none);
    expect_contents(in_dir("a"), "old");
    cr_expect_eq(entries(), 1);
}

Test(file, writing_over_a_folder_or_into_a_missing_one_fails)
{
    struct plumb_writer w;
    cr_expect_eq(plumb_writer_open(&w, dir), PLUMB_EIO);
    plumb_writer_abort(&w);
    cr_expect_eq(plumb_writer_open(&w, in_dir("no/such")), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "no/such"), "%s", plumb_errmsg());
    plumb_writer_abort(&w);
}

Test(file, copies_whole_files)
{
    put(in_dir("a"), "contents", 8);
    cr_assert_eq(plumb_file_copy(in_dir("a"), in_dir("b")), PLUMB_OK, "%s", plumb_errmsg());
    expect_contents(in_dir("b"), "contents");
    cr_expect_eq(plumb_file_copy(in_dir("gone"), in_dir("b")), PLUMB_EIO);
    expect_contents(in_dir("b"), "contents");
}

Test(file, folders_are_made_with_their_parents)
{
    cr_expect_eq(plumb_dir_make(in_dir("x/y//z/")), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(plumb_dir_make(in_dir("x/y")), PLUMB_OK);
    cr_expect(plumb_file_exists(in_dir("x/y/z")));
    put(in_dir("x/file"), "", 0);
    cr_expect_eq(plumb_dir_make(in_dir("x/file/y")), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "x/file"), "%s", plumb_errmsg());
    remove(in_dir("x/file"));
    rmdir(in_dir("x/y/z"));
    rmdir(in_dir("x/y"));
}

Test(file, joined_paths_do_not_run_over)
{
    char p[8];
    cr_expect(plumb_path_join(p, sizeof p, "a", "b") == PLUMB_OK && strcmp(p, "a/b") == 0);
    cr_expect(plumb_path_join(p, sizeof p, "a/", "b") == PLUMB_OK && strcmp(p, "a/b") == 0);
    cr_expect_eq(plumb_path_join(p, sizeof p, "abcd", "efg"), PLUMB_EINVAL);
}
