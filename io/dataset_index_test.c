/* Rows from an index are those that were read, to the bit; and no index but a sound one is used. */
#include "io/dataset_index.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <plumb/log.h>
#include <plumb/rng.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/checkpoint.h"
#include "io/fake_text.h"

static char dir[64], rows[128], cache[128], logged[4096];
static struct fake_text fake;
static struct plumb_text text;
static struct plumb_dataset_options options;
static struct plumb_dataset set, other;
static const char *paths[] = { rows };

static void keep_log(void *ctx, enum plumb_log_level level, const char *line)
{
    (void)ctx, (void)level;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", line);
}

static void make_place(void)
{
    strcpy(dir, "/tmp/plumb-index-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(rows, sizeof rows, "%s/rows.jsonl", dir);
    snprintf(cache, sizeof cache, "%s/a/cache", dir);
    plumb_log_receiver(keep_log, NULL);
    fake = (struct fake_text){ .bos = true };
    text = fake_text(&fake);
    options = (struct plumb_dataset_options){ .paths = paths, .path_count = 1, .text = &text };
}

static void drop_place(void)
{
    plumb_dataset_release(&set);
    plumb_dataset_release(&other);
    plumb_folder_remove(dir);
}

TestSuite(dataset_index, .init = make_place, .fini = drop_place);

static void put(const char *content)
{
    cr_assert_eq(plumb_file_write(rows, content, strlen(content)), PLUMB_OK);
}

static void open_set(struct plumb_dataset *out, const char *where)
{
    plumb_dataset_release(out);
    options.cache = where;
    logged[0] = 0;
    cr_assert_eq(plumb_dataset_open(&options, out), PLUMB_OK, "%s", plumb_errmsg());
}

/* The number of whole indexes in the cache; *part = one is unfinished. */
static int indexes(bool *part)
{
    int n = 0;
    *part = false;
    DIR *d = opendir(cache);
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
        n += strlen(e->d_name) == 16;
        *part = *part || strstr(e->d_name, ".part");
    }
    if (d) closedir(d);
    return n;
}

static void same_ids(const struct plumb_ids *a, const struct plumb_ids *b)
{
    cr_assert_eq(a->n, b->n);
    cr_assert(a->n == 0 || memcmp(a->id, b->id, (size_t)a->n * sizeof *a->id) == 0);
}

static void same_sets(const struct plumb_dataset *a, const struct plumb_dataset *b)
{
    struct plumb_example x, y;
    char here[256], there[256];
    cr_assert(a->count == b->count && a->type == b->type && a->content_hash == b->content_hash);
    for (int64_t i = 0; i < a->count; i++) {
        cr_assert_eq(a->get(a->self, i, &x), PLUMB_OK);
        cr_assert_eq(b->get(b->self, i, &y), PLUMB_OK);
        same_ids(&x.prompt, &y.prompt);
        cr_assert_eq(!x.trained, !y.trained);
        if (x.trained)
            cr_assert_arr_eq(x.trained, y.trained, (size_t)x.completion[0].n * sizeof(int32_t));
        same_ids(&x.kl_completion, &y.kl_completion);
        for (int k = 0; k < 3; k++)
            same_ids(&x.completion[k], &y.completion[k]);
        cr_assert(x.row == y.row && x.label == y.label && x.margin == y.margin &&
                  x.has_ref_logps == y.has_ref_logps && x.candidates == y.candidates);
        for (int64_t k = 0; k < x.candidates; k++) {
            same_ids(&x.candidate[k], &y.candidate[k]);
            cr_assert_eq(x.score[k], y.score[k]);
        }
        plumb_dataset_where(a, i, here, sizeof here);
        plumb_dataset_where(b, i, there, sizeof there);
        cr_assert_str_eq(here, there);
    }
}

static const char pairs[] = "{\"prompt\": \"x\", \"chosen\": \"ab\", \"rejected\": \"c\"}\n"
                            "{\"prompt\": \"y\", \"chosen\": \"d\", \"rejected\": \"\"}\n"
                            "{\"prompt\": \"long one\", \"chosen\": \"ef\", \"rejected\": \"g\"}\n";

Test(dataset_index, an_index_holds_what_was_read)
{
    static const struct {
        enum plumb_dataset_use use;
        const char *content;
    } cases[] = {
        { PLUMB_USE_PREFERENCE, pairs },
        { PLUMB_USE_UNPAIRED, pairs },
        { PLUMB_USE_REWARD, pairs },
        { PLUMB_USE_SFT, "{\"input_ids\": [5, 6, 7, 8], \"labels\": [-100, 6, -100, 8]}\n" },
        { PLUMB_USE_SFT, "{\"text\": \"abc\"}\n{\"text\": 5}\n{\"text\": \"defghijklmnopq\"}\n" },
        { PLUMB_USE_LISTS,
          "{\"prompt\": \"p\", \"completions\": [\"a\", \"bc\"], \"scores\": [1, 2]}\n"
          "{\"prompt\": \"q\", \"completions\": [\"d\"], \"scores\": [0.5]}\n" },
        { PLUMB_USE_UNPAIRED, "{\"prompt_ids\": [3], \"completion_ids\": [4], \"label\": true, "
                              "\"kl_completion_ids\": [5, 6], \"ref_logps\": -1.5}\n" },
    };
    bool part;
    options.skip_bad_rows = true;
    options.max_length = 9;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        options.use = cases[i].use;
        put(cases[i].content);
        open_set(&set, NULL);
        for (int again = 0; again < 2; again++) {
            const int calls = fake.calls;
            open_set(&other, cache);
            same_sets(&set, &other);
            const bool ids = strstr(cases[i].content, "_ids");
            cr_expect(ids || again == (fake.calls == calls), "case %d", (int)i);
            cr_expect(!again == !strstr(logged, "rows come from the index"), "%s", logged);
            const struct plumb_dataset_report *a = plumb_dataset_report(&set),
                                              *b = plumb_dataset_report(&other);
            cr_expect(a->rows == b->rows && a->skipped == b->skipped &&
                      a->truncated == b->truncated && a->dropped_long == b->dropped_long);
            cr_expect(!a->messages[0] == !b->messages[0]);
        }
        cr_expect_eq(indexes(&part), (int)i + 1);
        cr_expect(!part);
    }
}

Test(dataset_index, any_change_makes_another_index)
{
    bool part;
    int wanted = 1;
    struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
    put("{\"text\": \"abc\", \"story\": \"abcd\"}\n");
    open_set(&set, cache);
#define OTHER(change)                                                                              \
    do {                                                                                           \
        change;                                                                                    \
        open_set(&set, cache);                                                                     \
        cr_expect_null(strstr(logged, "rows come from"), #change);                                 \
        cr_expect_eq(indexes(&part), ++wanted, #change);                                           \
    } while (0)
    OTHER(options.max_length = 3);
    OTHER(options.text_field = "story");
    OTHER(options.program = "another build");
    OTHER(options.vocab_size = 500);
    OTHER(options.skip_bad_rows = true);
    OTHER(options.use = PLUMB_USE_SFT);
    OTHER(utimensat(AT_FDCWD, rows, times, 0));
    /* Of the same size and, as it seems, the same age. */
    OTHER(put("{\"text\": \"abc\", \"story\": \"abce\"}\n"); utimensat(AT_FDCWD, rows, times, 0));
    open_set(&set, cache);
    cr_expect(strstr(logged, "rows come from"), "%s", logged);
}

/* The path of a file of the one index that there is. */
static const char *file_of(const char *name)
{
    static char path[512];
    DIR *d = opendir(cache);
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;)
        if (strlen(e->d_name) == 16)
            snprintf(path, sizeof path, "%s/%.16s/%s", cache, e->d_name, name);
    closedir(d);
    return path;
}

Test(dataset_index, a_damaged_index_is_made_anew)
{
    static const char *const names[] = { "ids", "rows", "index.json" };
    options.use = PLUMB_USE_PREFERENCE;
    options.max_length = 5;
    options.skip_bad_rows = true;
    put(pairs);
    open_set(&set, NULL);
    for (int kind = 0; kind < 3; kind++)
        for (int i = 0; i < 3; i++) {
            open_set(&other, cache);
            FILE *f = fopen(file_of(names[i]), "r+");
            struct stat st;
            cr_assert(f && fstat(fileno(f), &st) == 0);
            if (kind == 0) {
                cr_assert(fseek(f, st.st_size / 2, SEEK_SET) == 0 && fputc('~', f) == '~');
            } else {
                cr_assert_eq(ftruncate(fileno(f), kind == 1 ? st.st_size - 4 : 0), 0);
            }
            fclose(f);
            open_set(&other, cache);
            cr_expect_null(strstr(logged, "rows come from"), "%d %s: %s", kind, names[i], logged);
            same_sets(&set, &other);
            open_set(&other, cache);
            cr_expect(strstr(logged, "rows come from"), "%s", logged);
            same_sets(&set, &other);
        }
}

Test(dataset_index, a_failed_pass_leaves_nothing_to_be_used)
{
    bool part;
    put("{\"text\": \"abc\"}\n{\"text\": 5}\n");
    options.cache = cache;
    cr_expect_eq(plumb_dataset_open(&options, &set), PLUMB_EFORMAT);
    cr_expect_eq(indexes(&part), 0);
    cr_expect(!part);
}

static void many_rows(int64_t bytes)
{
    FILE *f = fopen(rows, "w");
    uint32_t state = 9;
    options.text = NULL;
    cr_assert(f);
    for (int64_t n = 0; n < bytes;) {
        n += fprintf(f, "{\"prompt_ids\": [7");
        state = state * 1664525 + 1013904223;
        const int ids = 1 + (int)(state >> 24);
        for (int i = 0; i < ids; i++)
            n += fprintf(f, ", %u", (state >> 8) % 65536 + (unsigned)i);
        n += fprintf(f, "], \"completion_ids\": [%u, 3]}\n", state >> 20);
    }
    cr_assert_eq(fclose(f), 0);
}

Test(dataset_index, what_grows_beyond_the_limit_goes_to_the_index_midway)
{
    bool part;
    many_rows(6 << 20);
    open_set(&set, NULL);
    options.memory_limit = (int64_t)64 << 20;
    open_set(&other, cache);
    cr_expect_eq(indexes(&part), 0, "it fits");
    options.memory_limit = (int64_t)2 << 20;
    open_set(&other, cache);
    cr_expect_eq(indexes(&part), 1);
    cr_expect(strstr(logged, "writing the index"), "%s", logged);
    same_sets(&set, &other);
    open_set(&other, cache);
    cr_expect(strstr(logged, "rows come from"), "%s", logged);
    same_sets(&set, &other);
}

/* A child that opens the set through the cache, and exits with 0 when it is that of `set`. */
static pid_t open_in_child(void)
{
    const pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child > 0) return child;
    options.cache = cache;
    const int rc = plumb_dataset_open(&options, &other);
    _exit(rc || other.content_hash != set.content_hash);
}

static bool went_well(pid_t child)
{
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Test(dataset_index, a_killed_pass_leaves_nothing_that_is_used)
{
    bool part = false;
    int killed = 0, status;
    many_rows(6 << 20);
    open_set(&set, NULL);
    for (int i = 0; i < 4; i++) {
        const pid_t child = open_in_child();
        for (part = false; !part && waitpid(child, &status, WNOHANG) == 0;)
            indexes(&part);
        usleep((useconds_t)(i * 20000));
        if (kill(child, SIGKILL) == 0) killed += waitpid(child, &status, 0) == child;
        if (indexes(&part) == 0) continue;
        plumb_folder_remove(cache); /* it was done already */
    }
    cr_expect_gt(killed, 0);
    open_set(&other, cache);
    same_sets(&set, &other);
    cr_expect(indexes(&part) == 1 && !part);
}

Test(dataset_index, processes_that_share_a_cache_wait_for_each_other)
{
    bool part;
    many_rows(6 << 20);
    open_set(&set, NULL);
    const pid_t one = open_in_child(), two = open_in_child();
    cr_expect(went_well(one));
    cr_expect(went_well(two));
    cr_expect(indexes(&part) == 1 && !part);
}

Test(dataset_index, a_full_disk_is_an_error_that_names_the_file)
{
    bool part;
    many_rows(6 << 20);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 1 << 20, RLIM_INFINITY }), 0);
    options.cache = cache;
    cr_expect_eq(plumb_dataset_open(&options, &set), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), ".part/") && strstr(plumb_errmsg(), "too large"), "%s",
              plumb_errmsg());
    cr_expect(indexes(&part) == 0 && !part);
}

/* Peak memory of a child that opens the set and reads it in random order, in KiB. */
static long peak(const char *where, bool reads)
{
    struct rusage usage;
    int status;
    const pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child == 0) {
        struct plumb_example e;
        int64_t sum = 0;
        options.cache = where;
        if (reads && plumb_dataset_open(&options, &set) != PLUMB_OK) _exit(1);
        const struct plumb_rng_key key = { 1, PLUMB_RNG_SHUFFLE, 0 };
        for (int64_t i = 0; i < set.count; i++) {
            const int64_t at = (int64_t)plumb_rng_below(&key, (uint64_t)i, (uint64_t)set.count);
            if (set.get(set.self, at, &e) != PLUMB_OK) _exit(1);
            for (int64_t k = 0; k < e.prompt.n; k++)
                sum += e.prompt.id[k];
        }
        _exit(sum < 0);
    }
    cr_assert_eq(wait4(child, &status, 0, &usage), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return usage.ru_maxrss;
}

/* PLUMB_TEST_BYTES in the environment makes the file as large as one likes. */
Test(dataset_index, memory_does_not_grow_with_the_file, .timeout = 280)
{
    const char *wish = getenv("PLUMB_TEST_BYTES");
    many_rows(wish ? strtoll(wish, NULL, 10) : (int64_t)96 << 20);
    const long none = peak(NULL, false), built = peak(cache, true) - none,
               found = peak(cache, true) - none;
    fprintf(stderr, "peak: %ld MiB while it is written, %ld from the index\n", built >> 10,
            found >> 10);
#if !defined(__SANITIZE_ADDRESS__)
    cr_expect_lt(built, 64 << 10);
    cr_expect_lt(found, 64 << 10);
#endif
}
