/* Reads metrics.jsonl into curves and sorts them into charts. */
#include "io/report_series.h"

#include <cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "io/jsonl.h"

#define MAX_SERIES 512
#define RANK_OTHER 50

/* Families by name or, with '/', by what stands before it; others are charts of their own. */
static const struct {
    const char *match, *title, *unit;
    int rank;
} families[] = {
    { "good_completions", "good completions", "share", -1 },
    { "loss", "loss", "", 0 },
    { "accuracy", "accuracy", "share", 1 },
    { "rewards/", "rewards", "", 2 },
    { "reward", "reward", "", 3 },
    { "margin", "margin", "", 4 },
    { "objective/", "objective", "", 5 },
    { "logps/", "log-probabilities", "nats", 6 },
    { "logits/", "logits", "", 7 },
    { "kl", "KL", "nats", 8 },
    { "entropy", "entropy", "nats", 9 },
    { "nll_loss", "nll_loss", "nats", 10 },
    { "grad_norm", "grad_norm", "", 11 },
    { "learning_rate", "learning_rate", "", 12 },
    { "tokens_per_second", "tokens_per_second", "tokens/s", 90 },
    { "step_time", "step_time", "s", 91 },
    { "peak_rss_bytes", "peak_rss_bytes", "bytes", 92 },
    { "num_tokens", "num_tokens", "tokens", 93 },
};

static const char *without_eval(const char *name)
{
    return strncmp(name, "eval_", 5) == 0 ? name + 5 : name;
}

static bool ends_in(const char *name, const char *end)
{
    const size_t n = strlen(name), e = strlen(end);
    return n >= e && strcmp(name + n - e, end) == 0;
}

/* Writes the family's key: the series' name without eval_, a prefix with its '/', or the shared
 * name of what has one unit under several names. */
static void family_of(const char *name, char key[64])
{
    name = without_eval(name);
    const char *slash = strchr(name, '/');
    if (ends_in(name, "accuracies") || ends_in(name, "accuracy"))
        snprintf(key, 64, "accuracy");
    else if (strcmp(name, "min_reward") == 0 || strcmp(name, "mean_reward") == 0 ||
             strcmp(name, "max_reward") == 0)
        snprintf(key, 64, "reward");
    else if (slash && !ends_in(name, "_ratio"))
        snprintf(key, 64, "%.*s", (int)(slash - name + 1), name);
    else
        snprintf(key, 64, "%s", name);
}

static struct plumb_series *find_series(struct plumb_series_set *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->series[i].name, name) == 0) return &s->series[i];
    return NULL;
}

static int add_series(struct plumb_series_set *s, const char *name, struct plumb_series **out)
{
    *out = NULL;
    if (s->n == MAX_SERIES) return PLUMB_OK;
    if (s->n == s->capacity) {
        const int capacity = s->capacity ? 2 * s->capacity : 32;
        struct plumb_series *larger = realloc(s->series, (size_t)capacity * sizeof *larger);
        if (!larger) return plumb_fail(PLUMB_EMEM, "could not allocate %d curves", capacity);
        s->series = larger;
        s->capacity = capacity;
    }
    s->series[s->n] = (struct plumb_series){ .name = strdup(name) };
    if (!s->series[s->n].name) return plumb_fail(PLUMB_EMEM, "could not allocate a curve's name");
    *out = &s->series[s->n++];
    return PLUMB_OK;
}

static int add_point(struct plumb_series *s, double step, double value)
{
    if (s->n == s->capacity) {
        const int64_t capacity = s->capacity ? 2 * s->capacity : 64;
        double *steps = realloc(s->step, (size_t)capacity * sizeof *steps);
        if (steps) s->step = steps;
        double *values = realloc(s->value, (size_t)capacity * sizeof *values);
        if (values) s->value = values;
        if (!steps || !values)
            return plumb_fail(PLUMB_EMEM, "could not allocate %" PRId64 " points", capacity);
        s->capacity = capacity;
    }
    s->step[s->n] = step;
    s->value[s->n++] = value;
    return PLUMB_OK;
}

static int add_line(struct plumb_series_set *s, const cJSON *line, const char *where)
{
    int64_t step;
    PLUMB_TRY(plumb_json_i64(line, "step", where, &step));
    for (const cJSON *v = line->child; v; v = v->next) {
        if (strcmp(v->string, "step") == 0 || strcmp(v->string, "epoch") == 0) continue;
        if (strcmp(v->string, "train_loss") == 0) continue; /* one value for the whole run */
        if (!cJSON_IsNumber(v) && !cJSON_IsNull(v)) continue;
        struct plumb_series *series = find_series(s, v->string);
        if (!series) PLUMB_TRY(add_series(s, v->string, &series));
        if (series)
            PLUMB_TRY(add_point(series, (double)step, cJSON_IsNull(v) ? NAN : v->valuedouble));
    }
    s->lines++;
    if (step > s->last_step) s->last_step = step;
    return PLUMB_OK;
}

static int add_text(struct plumb_series_set *s, const struct plumb_jsonl_row *row, const char *path)
{
    char where[512];
    cJSON *line = NULL;
    snprintf(where, sizeof where, "%s:%" PRId64, path, row->line);
    int rc = plumb_json_parse_at(row->text, row->n, path, row->line, &line);
    if (!rc) rc = add_line(s, line, where);
    cJSON_Delete(line);
    return rc;
}

int plumb_series_load(struct plumb_series_set *s, const char *path)
{
    struct plumb_jsonl r;
    struct plumb_jsonl_row row;
    bool found = true;
    int rc = PLUMB_OK;
    *s = (struct plumb_series_set){ 0 };
    PLUMB_TRYG(plumb_jsonl_open(&r, path, 0));
    while (found || !r.finished) {
        rc = plumb_jsonl_next(&r, &row, &found);
        if (!rc && found) rc = add_text(s, &row, path);
        if (rc == PLUMB_EFORMAT) {
            plumb_log(PLUMB_LOG_WARN, "passed over: %s", plumb_errmsg());
            rc = PLUMB_OK;
        }
        if (rc) goto out;
    }
    if (s->n == MAX_SERIES)
        plumb_log(PLUMB_LOG_WARN, "\"%s\" has more than %d metrics: the rest is left out", path,
                  MAX_SERIES - 1);
out:
    plumb_jsonl_release(&r);
    if (rc) plumb_series_release(s);
    return rc;
}

void plumb_series_release(struct plumb_series_set *s)
{
    for (int i = 0; i < s->n; i++) {
        free(s->series[i].name);
        free(s->series[i].step);
        free(s->series[i].value);
    }
    free(s->series);
    *s = (struct plumb_series_set){ 0 };
}

static void start_chart(struct plumb_chart *c, const char *key, int order)
{
    *c = (struct plumb_chart){ .unit = "", .rank = RANK_OTHER };
    snprintf(c->title, sizeof c->title, "%s", key);
    const size_t n = strlen(c->title);
    if (n && c->title[n - 1] == '/') c->title[n - 1] = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(key, families[i].match) != 0) continue;
        snprintf(c->title, sizeof c->title, "%s", families[i].title);
        c->unit = families[i].unit;
        c->rank = families[i].rank;
    }
    c->rank = c->rank * MAX_SERIES + order; /* stable under qsort */
}

static int by_rank(const void *a, const void *b)
{
    const struct plumb_chart *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

int plumb_charts_make(const struct plumb_series_set *s, struct plumb_chart **out, int *count)
{
    char(*key)[64] = calloc((size_t)s->n + 1, sizeof *key);
    struct plumb_chart *chart = calloc((size_t)s->n + 1, sizeof *chart);
    int n = 0;
    *out = chart;
    *count = 0;
    if (!key || !chart) {
        free(key);
        free(chart);
        *out = NULL;
        return plumb_fail(PLUMB_EMEM, "could not allocate %d charts", s->n);
    }
    for (int i = 0; i < s->n; i++) {
        char family[64];
        int at = 0;
        if (s->series[i].n < 2) continue;
        family_of(s->series[i].name, family);
        while (at < n && (strcmp(key[at], family) != 0 || chart[at].n == PLUMB_CHART_SERIES))
            at++;
        if (at == n) {
            memcpy(key[n], family, sizeof family);
            start_chart(&chart[n++], family, i);
        }
        chart[at].series[chart[at].n++] = &s->series[i];
    }
    qsort(chart, (size_t)n, sizeof *chart, by_rank);
    free(key);
    *count = n;
    return PLUMB_OK;
}
