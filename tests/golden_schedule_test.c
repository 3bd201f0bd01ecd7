/* The learning_rate columns of golden/train against the schedules. */
#include <dirent.h>
#include <float.h>
#include <string.h>

#include "algos/schedule.h"
#include "io/json.h"
#include "tests/shared.h"

static const char *const kinds[] = {
#define X(NAME, name) name,
    PLUMB_SCHEDULE_LIST(X)
#undef X
};

static int compare_file(const char *path)
{
    cJSON *run;
    cr_assert_eq(plumb_json_load(path, 0, &run), PLUMB_OK, "%s", plumb_errmsg());
    const cJSON *h = plumb_json_get(run, "hyperparameters"), *step;
    struct plumb_schedule s = { .kind = PLUMB_SCHEDULES };
    const char *kind;
    int compared = 0;
    cr_assert_eq(plumb_json_string(h, "lr_scheduler_type", path, &kind), PLUMB_OK);
    for (int i = 0; i < PLUMB_SCHEDULES; i++)
        if (strcmp(kinds[i], kind) == 0) s.kind = (enum plumb_schedule_kind)i;
    plumb_schedule_defaults(&s);
    cr_assert_eq(plumb_json_f64_or(h, "learning_rate", path, -1, &s.peak), PLUMB_OK);
    cr_assert_eq(plumb_json_i64_or(h, "warmup_steps", path, 0, &s.warmup_steps), PLUMB_OK);
    cr_assert_eq(plumb_json_i64(h, "max_steps", path, &s.total_steps), PLUMB_OK);
    cr_assert_eq(plumb_schedule_check(&s), PLUMB_OK, "%s: %s", path, plumb_errmsg());
    cJSON_ArrayForEach(step, plumb_json_get(run, "steps"))
    {
        double rate = -1;
        cr_assert_eq(plumb_json_f64_or(step, "learning_rate", path, -1, &rate), PLUMB_OK);
        cr_expect_float_eq(plumb_schedule_lr(&s, compared), rate, DBL_EPSILON * s.peak,
                           "%s, step %d", path, compared + 1);
        compared++;
    }
    cJSON_Delete(run);
    return compared;
}

Test(golden_schedule, learning_rates_of_the_golden_runs)
{
    char folder[1024], path[2048];
    if (!shared_path(folder, sizeof folder, "golden/train")) return;
    int files = 0, rates = 0;
    DIR *d = opendir(folder);
    cr_assert_not_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        const size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 5, ".json") != 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        rates += compare_file(path);
        files++;
    }
    closedir(d);
    cr_expect(files > 0 && rates >= files);
    fprintf(stderr, "golden_schedule: %d learning rates of %d runs\n", rates, files);
}
