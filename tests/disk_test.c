/* A full disk at any moment: an error that names the file, nothing half-written, and a last
 * checkpoint that is gone on with once there is room. */
#include <sched.h>
#include <sys/mount.h>

#include "tests/runs.h"

static struct program p;
static struct tiny t;

static void init(void) { tiny_init(&t); }
static void release(void) { tiny_release(&t); }
TestSuite(disk, .init = init, .fini = release, .timeout = 280);

static struct arguments dpo(const char *out)
{
    struct arguments a = tiny_arguments(&t, "dpo", "pairs.jsonl", out);
    ADD(&a, "--learning_rate", "0.02", "--logging_steps", "1", "--save_steps", "2", "--max_steps",
        "6", "--bf16", "false", "--resume_from_checkpoint");
    return a;
}

/* No temporary names, and every file that stands is whole: the metrics end in a line, the last
 * checkpoint has every sum right, a model folder's weights open. */
static void expect_nothing_half_written(const char *out)
{
    char path[600], name[64];
    cr_expect_not(is_writing(&t, out), "a temporary name is left");
    snprintf(name, sizeof name, "%s/metrics.jsonl", out);
    if (tiny_exists(&t, name)) free(plain_metrics(&t, name));
    struct plumb_checkpoint c = { 0 };
    cr_assert_eq(plumb_checkpoint_last(tiny_path(&t, out), path, sizeof path), PLUMB_OK);
    if (!path[0]) return;
    cr_expect_eq(plumb_checkpoint_open(&c, path), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(plumb_checkpoint_verify_rest(&c), PLUMB_OK, "%s", plumb_errmsg());
    plumb_checkpoint_release(&c);
}

/* Fills the file system of `out` but for `room` bytes. */
static void fill(const char *out, int64_t room)
{
    static const char zeros[4096];
    char name[64];
    int64_t size = 0;
    snprintf(name, sizeof name, "%s/ballast", out);
    const int fd = open(tiny_path(&t, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    while (write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros)
        size += (int64_t)sizeof zeros;
    cr_assert(size > room && ftruncate(fd, size - room) == 0);
    close(fd);
}

/* A file system of its own, in a name space of this process; false where that is not allowed. */
static bool mount_small(const char *out)
{
    const uid_t user = getuid();
    const gid_t group = getgid();
    char text[64];
    cr_assert_eq(plumb_dir_make(tiny_path(&t, out)), PLUMB_OK);
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
        snprintf(text, sizeof text, "0 %u 1", (unsigned)user);
        plumb_file_write("/proc/self/setgroups", "deny", 4);
        plumb_file_write("/proc/self/uid_map", text, strlen(text));
        snprintf(text, sizeof text, "0 %u 1", (unsigned)group);
        plumb_file_write("/proc/self/gid_map", text, strlen(text));
    }
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", tiny_path(&t, out), "tmpfs", 0, "size=1m") == 0;
}

Test(disk, a_full_file_system_leaves_the_last_good_checkpoint)
{
    struct arguments a = dpo("a"), b = dpo("b");
    run_to_end(&p, &a);
    if (!mount_small("b")) {
        fprintf(stderr, "skipped: no file system can be mounted here\n");
        return;
    }
    int failed = 0;
    for (int64_t room = 0; room < (160 << 10); room += RUNS_SANITIZED ? 16 << 10 : 4 << 10) {
        fill("b", room);
        program_run(&p, b.v);
        unlink(tiny_path(&t, "b/ballast"));
        expect_nothing_half_written("b");
        if (p.code == 0) break;
        failed++;
        cr_expect(p.code == 1 && strstr(p.err, "No space left on device"), "%s", p.err);
        cr_expect(strstr(p.err, tiny_path(&t, "b")), "%s", p.err);
    }
    cr_expect_gt(failed, 3);
    run_to_end(&p, &b);
    same_run(&t, "a", "b");
    umount(tiny_path(&t, "b"));
}

/* The same by a limit on the size of files, which needs no rights. */
Test(disk, a_file_that_cannot_grow_leaves_the_last_good_checkpoint)
{
    struct arguments a = dpo("a"), b = dpo("b");
    run_to_end(&p, &a);
    struct rlimit whole, limit;
    char text[4096], name[64];
    int err[2]; /* a pipe: a file would be cut by the limit */
    cr_assert(getrlimit(RLIMIT_FSIZE, &whole) == 0 && pipe(err) == 0);
    snprintf(name, sizeof name, "/dev/fd/%d", err[1]);
    int failed = 0;
    for (rlim_t bytes = 64; bytes < 64 << 10; bytes += bytes / (RUNS_SANITIZED ? 1 : 2)) {
        limit = (struct rlimit){ bytes, whole.rlim_max };
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        const pid_t child = start(&b, name);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &whole), 0);
        const int code = wait_code(child);
        cr_assert_eq(write(err[1], "", 1), 1); /* the end */
        cr_assert_gt(read(err[0], text, sizeof text), 0);
        expect_nothing_half_written("b");
        if (code == 0) break;
        failed++;
        cr_expect(code == 1 && strstr(text, "File too large"), "code %d: %s", code, text);
        cr_expect(strstr(text, tiny_path(&t, "b")), "%s", text);
    }
    cr_expect_gt(failed, 3);
    run_to_end(&p, &b);
    same_run(&t, "a", "b");
}
