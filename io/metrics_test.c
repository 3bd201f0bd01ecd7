#include "io/metrics.h"

#include <cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void make_place(void)
{
    strncpy(path, "/tmp/plumb-metrics-XXXXXX", sizeof path - 1);
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
}

static void drop_place(void) { unlink(path); }

TestSuite(metrics, .init = make_place, .fini = drop_place);

static void fill(const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static const char *content(void)
{
    static char text[4096];
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

static void put(int64_t resume_step, int64_t step, const struct plumb_metric *metric, int count)
{
    struct plumb_metrics m;
    cr_assert_eq(plumb_metrics_open(&m, path, resume_step), PLUMB_OK, "%s", plumb_errmsg());
    const struct plumb_sink sink = plumb_metrics_sink(&m);
    cr_assert_eq(sink.metrics(sink.self, step, metric, count), PLUMB_OK, "%s", plumb_errmsg());
    plumb_metrics_release(&m);
}

Test(metrics, numbers_read_back_as_the_same_doubles_and_step_comes_first)
{
    const struct plumb_metric metric[] = { { "loss", log(2) },
                                           { "learning_rate", 0.1 },
                                           { "rewards/chosen", -1.0 / 3 },
                                           { "num_tokens", 12345678 },
                                           { "tiny", 5e-324 } };
    put(-1, 7, metric, 5);
    cJSON *line = cJSON_Parse(content());
    cr_assert_not_null(line);
    cr_expect_str_eq(line->child->string, "step");
    cr_expect(line->child->valuedouble == 7);
    const cJSON *at = line->child;
    for (int i = 0; i < 5; i++) {
        at = at->next;
        cr_expect_str_eq(at->string, metric[i].name);
        cr_expect(at->valuedouble == metric[i].value, "%s", metric[i].name);
    }
    cr_expect_null(at->next);
    cr_expect_not_null(strstr(content(), "\"learning_rate\": 0.1,"), "%s", content());
    cJSON_Delete(line);
}

Test(metrics, infinities_become_null_and_hostile_names_stay_json)
{
    const struct plumb_metric metric[] = { { "loss", NAN },
                                           { "kl", -INFINITY },
                                           { "a\"b\\c\n", 1 } };
    put(-1, 1, metric, 3);
    cJSON *line = cJSON_Parse(content());
    cr_assert_not_null(line, "%s", content());
    cr_expect(cJSON_IsNull(cJSON_GetObjectItem(line, "loss")));
    cr_expect(cJSON_IsNull(cJSON_GetObjectItem(line, "kl")));
    cr_expect_not_null(cJSON_GetObjectItem(line, "a\"b\\c\n"));
    cJSON_Delete(line);
}

Test(metrics, resume_cuts_lines_beyond_the_step_and_a_torn_line)
{
    const struct plumb_metric loss = { "loss", 2 };
    fill("{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"loss\": 1}\n{\"step\": 3, \"loss\": "
         "1}\n{\"ste");
    put(2, 3, &loss, 1);
    cr_expect_str_eq(content(), "{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"loss\": 1}\n"
                                "{\"step\": 3, \"loss\": 2}\n");
    fill("{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"lo");
    put(9, 2, &loss, 1);
    cr_expect_str_eq(content(), "{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"loss\": 2}\n");
}

Test(metrics, a_new_run_starts_an_empty_file)
{
    const struct plumb_metric loss = { "loss", 2 };
    fill("{\"step\": 0, \"loss\": 1}\n");
    put(-1, 0, &loss, 1);
    cr_expect_str_eq(content(), "{\"step\": 0, \"loss\": 2}\n");
}

Test(metrics, resuming_onto_a_foreign_file_fails_and_leaves_it)
{
    struct plumb_metrics m;
    fill("{\"step\": 1}\nmy notes\n");
    cr_assert_eq(plumb_metrics_open(&m, path, 5), PLUMB_EFORMAT);
    cr_expect_not_null(strstr(plumb_errmsg(), "\":2: "), "%s", plumb_errmsg());
    cr_expect_not_null(strstr(plumb_errmsg(), "my notes"), "%s", plumb_errmsg());
    cr_expect_str_eq(content(), "{\"step\": 1}\nmy notes\n");
}

Test(metrics, a_full_disk_is_an_error_that_names_the_file)
{
    struct plumb_metrics m;
    const struct plumb_metric loss = { "loss", 2 };
    cr_assert_eq(plumb_metrics_open(&m, "/dev/full", -1), PLUMB_OK, "%s", plumb_errmsg());
    const struct plumb_sink sink = plumb_metrics_sink(&m);
    cr_assert_eq(sink.metrics(sink.self, 1, &loss, 1), PLUMB_EIO);
    cr_expect_not_null(strstr(plumb_errmsg(), "/dev/full"), "%s", plumb_errmsg());
    cr_expect_not_null(strstr(plumb_errmsg(), "No space left"), "%s", plumb_errmsg());
    plumb_metrics_release(&m);
}

Test(metrics, a_folder_that_is_not_there_is_an_error)
{
    struct plumb_metrics m;
    cr_assert_eq(plumb_metrics_open(&m, "/nonexistent/metrics.jsonl", -1), PLUMB_EIO);
    cr_expect_not_null(strstr(plumb_errmsg(), "/nonexistent/metrics.jsonl"));
    plumb_metrics_release(&m);
}

Test(metrics, progress_is_drawn_on_a_terminal_within_its_width)
{
    int master, slave;
    const struct winsize size = { .ws_row = 5, .ws_col = 24 };
    cr_assert_eq(openpty(&master, &slave, NULL, NULL, &size), 0);
    cr_assert(dup2(slave, STDERR_FILENO) >= 0);
    struct plumb_metrics m;
    cr_assert_eq(plumb_metrics_open(&m, path, -1), PLUMB_OK);
    const struct plumb_sink sink = plumb_metrics_sink(&m);
    const struct plumb_metric metric[] = { { "loss", 0.5 }, { "tokens_per_second", 12345 } };
    sink.progress(sink.self, 1, 3, metric, 2);
    sink.progress(sink.self, 3, 3, metric, 2);
    plumb_metrics_release(&m);
    char text[1024] = { 0 };
    for (size_t n = 0; !strchr(text, '\n');) { /* what was written may arrive in parts */
        const ssize_t got = read(master, text + n, sizeof text - 1 - n);
        cr_assert(got > 0);
        n += (size_t)got;
    }
    cr_expect_not_null(strstr(text, "\rstep 1/3  loss 0.5  12.\033[K"), "%s", text);
    cr_expect_not_null(strstr(text, "\rstep 3/3"), "%s", text);
    cr_expect_eq(text[strlen(text) - 1], '\n');
}

Test(metrics, progress_is_silent_when_standard_error_is_no_terminal)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert(dup2(ends[1], STDERR_FILENO) >= 0);
    struct plumb_metrics m;
    cr_assert_eq(plumb_metrics_open(&m, path, -1), PLUMB_OK);
    const struct plumb_sink sink = plumb_metrics_sink(&m);
    sink.progress(sink.self, 1, 3, NULL, 0);
    plumb_metrics_release(&m);
    cr_assert(write(ends[1], "x", 1) == 1);
    char text[16];
    cr_expect_eq(read(ends[0], text, sizeof text), 1);
}
