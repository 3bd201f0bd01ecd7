/* The lay-out and comparison of loss goldens on a device. */
#include "tests/golden_run.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct golden_scratch {
    struct golden_scratch *next;
    const struct plumb_device *dev; /* NULL: memory of the host */
    void *at;
};

static void *keep(struct golden_run *r, const struct plumb_device *dev, void *at)
{
    struct golden_scratch *s = malloc(sizeof *s);
    if (!s || !at) {
        fprintf(stderr, "golden_losses: out of memory\n");
        exit(1);
    }
    *s = (struct golden_scratch){ r->scratch, dev, at };
    r->scratch = s;
    return at;
}

static void release(struct golden_run *r)
{
    while (r->scratch) {
        struct golden_scratch *s = r->scratch;
        r->scratch = s->next;
        if (s->dev)
            plumb_device_free(s->dev, s->at);
        else
            free(s->at);
        free(s);
    }
}

void *golden_alloc(struct golden_run *r, size_t bytes)
{
    return keep(r, NULL, calloc(1, bytes + 1));
}

static void *on_device(struct golden_run *r, const void *p, size_t bytes)
{
    void *there = NULL;
    if (plumb_device_alloc(r->dev, bytes + 1, &there) ||
        plumb_device_upload(r->dev, there, p, bytes) || plumb_device_sync(r->dev)) {
        fprintf(stderr, "golden_losses: %s\n", plumb_errmsg());
        exit(1);
    }
    return keep(r, r->dev, there);
}

const void *golden_copy(struct golden_run *r, const void *p, size_t bytes)
{
    return plumb_device_is_host(r->dev) ? p : on_device(r, p, bytes);
}

static struct plumb_tensor tensor(struct golden_run *r, const double *values, int64_t count)
{
    struct plumb_tensor t = { NULL, r->t };
    const size_t bytes = (size_t)count * plumb_dtype_bytes(r->t);
    void *host = golden_alloc(r, bytes);
    for (int64_t i = 0; i < count; i++) {
        const double v = values ? values[i] : NAN;
        if (r->t == PLUMB_F64)
            ((double *)host)[i] = v;
        else
            ((float *)host)[i] = (float)v;
    }
    t.data = plumb_device_is_host(r->dev) ? host : on_device(r, host, bytes);
    return t;
}

struct plumb_tensor golden_in(struct golden_run *r, const double *values, int64_t count)
{
    return values ? tensor(r, values, count) : (struct plumb_tensor){ 0 };
}

struct plumb_tensor golden_out(struct golden_run *r, int64_t count)
{
    return tensor(r, NULL, count);
}

const double *golden_read(struct golden_run *r, const struct plumb_tensor *t, int64_t count)
{
    double *out = golden_alloc(r, (size_t)count * sizeof *out);
    const size_t bytes = (size_t)count * plumb_dtype_bytes(t->dtype);
    const void *host = t->data;
    if (!plumb_device_is_host(r->dev)) {
        void *copy = golden_alloc(r, bytes);
        if (!golden_ok(r, plumb_device_download(r->dev, copy, t->data, bytes))) return out;
        host = copy;
    }
    for (int64_t i = 0; i < count; i++)
        out[i] = t->dtype == PLUMB_F64 ? ((const double *)host)[i]
                                       : (double)((const float *)host)[i];
    return out;
}

const double *golden_input(struct golden_run *r, const char *name, int64_t *count)
{
    return plumb_golden_input(r->file, r->at, name, count);
}

int64_t golden_input_rows(struct golden_run *r, const char *name)
{
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(r->at, "inputs");
    return cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(inputs, name));
}

static const cJSON *option(struct golden_run *r, const char *name)
{
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(r->at, "options");
    return cJSON_GetObjectItemCaseSensitive(options, name);
}

double golden_option(struct golden_run *r, const char *name, double fallback)
{
    const cJSON *v = option(r, name);
    return cJSON_IsBool(v) ? cJSON_IsTrue(v) : cJSON_IsNumber(v) ? v->valuedouble : fallback;
}

const char *golden_option_text(struct golden_run *r, const char *name)
{
    return cJSON_GetStringValue(option(r, name));
}

static void wrong(struct golden_run *r, const char *what, int64_t i, const char *text)
{
    if (++r->wrong <= 3)
        printf("%s, case \"%s\", %s: %s[%lld]: %s\n", r->file->member, plumb_golden_name(r->at),
               r->t == PLUMB_F64 ? "f64" : "f32", what, (long long)i, text);
}

const double *golden_option_list(struct golden_run *r, const char *name, int count)
{
    const cJSON *list = option(r, name);
    double *out = golden_alloc(r, (size_t)count * sizeof *out);
    if (cJSON_GetArraySize(list) != count) wrong(r, name, count, "no list of this many numbers");
    for (int i = 0; i < count; i++)
        out[i] = cJSON_GetNumberValue(cJSON_GetArrayItem(list, i));
    return out;
}

bool golden_ok(struct golden_run *r, int status)
{
    if (status) wrong(r, "status", 0, plumb_errmsg());
    return status == PLUMB_OK;
}

static bool is_extreme(const cJSON *c)
{
    const char *name = plumb_golden_name(c);
    return strstr(name, "huge") || strstr(name, "large");
}

/* Error bound by the goldens' README: an f64 case of huge ratios amplifies the rounding of the
 * exponent's argument; in f32 log-ratios of 30 and above are judged by relative error. */
static double bound(const struct golden_run *r, double expected)
{
    const double size = fabs(expected);
    if (r->t == PLUMB_F64) return 1e-12 + (is_extreme(r->at) ? 1e-9 : 1e-10) * size;
    return is_extreme(r->at) ? 2e-5 + 1e-3 * size : 2e-5 * fmax(1, size);
}

/* What f32 cannot hold saturates: finite, of the same sign, beyond every ordinary number. */
static bool saturates(double got, double expected)
{
    return isfinite(got) && signbit(got) == signbit(expected) && fabs(got) > 1e30;
}

static void compare(struct golden_run *r, const char *what, int64_t i, double got, double expected)
{
    char text[96];
    r->compared++;
    if (isnan(expected) ? isnan(got)
                        : r->t == PLUMB_F32 && fabs(expected) > FLT_MAX && saturates(got, expected))
        return;
    const double error = got == expected ? 0 : fabs(got - expected);
    r->worst = fmax(r->worst, error / fmax(1, fabs(expected))); /* fmax passes NaN over */
    if (error <= bound(r, expected)) return;
    snprintf(text, sizeof text, "%.17g, expected %.17g", got, expected);
    wrong(r, what, i, text);
}

static void report(struct golden_run *r, const char *section, const char *name)
{
    if (r->report_count == (int)(sizeof r->reported / sizeof *r->reported)) return;
    snprintf(r->reported[r->report_count++], sizeof *r->reported, "%s/%s", section ? section : "",
             name);
}

void golden_waive(struct golden_run *r, const char *section, const char *name)
{
    report(r, section, name);
}

void golden_values(struct golden_run *r, const char *section, const char *name, const double *got,
                   int64_t count)
{
    int64_t n;
    const double *expected = plumb_golden_expected(r->file, r->at, section, name, &n);
    if (!expected) return;
    report(r, section, name);
    if (n != count) {
        wrong(r, name, n, "another count of values is expected");
        return;
    }
    for (int64_t i = 0; i < n; i++)
        compare(r, name, i, got[i], expected[i]);
}

static bool was_reported(const struct golden_run *r, const char *section, const char *name)
{
    char key[48];
    snprintf(key, sizeof key, "%s/%s", section ? section : "", name);
    for (int i = 0; i < r->report_count; i++)
        if (!strcmp(r->reported[i], key)) return true;
    return false;
}

static void require(struct golden_run *r, const char *section, const cJSON *values)
{
    for (const cJSON *v = values ? values->child : NULL; v; v = v->next) {
        if (!section && cJSON_IsObject(v))
            require(r, v->string, v);
        else if (!cJSON_IsNull(v) && !was_reported(r, section, v->string))
            wrong(r, v->string, 0, "nothing was compared with it");
    }
}

void golden_finish(struct golden_run *r)
{
    require(r, NULL, cJSON_GetObjectItemCaseSensitive(r->at, "expected"));
    release(r);
}

struct golden_rows golden_rows_of(struct golden_run *r, const char *name, const char *mask)
{
    int64_t n = 0, m = 0;
    struct golden_rows rows = { .B = golden_input_rows(r, name) };
    golden_input(r, name, &n);
    const double *counted = mask ? golden_input(r, mask, &m) : NULL;
    rows.T = rows.B ? n / rows.B : 0;
    rows.offset = golden_alloc(r, (size_t)(rows.B + 1) * sizeof *rows.offset);
    rows.from = golden_alloc(r, (size_t)n * sizeof *rows.from);
    for (int64_t i = 0; i < n; i++) {
        if (!counted || counted[i] != 0) rows.from[rows.M++] = (int32_t)i;
        rows.offset[i / rows.T + 1] = (int32_t)rows.M;
    }
    return rows;
}

const double *golden_packed(struct golden_run *r, const struct golden_rows *rows, const char *name)
{
    int64_t n;
    const double *in = golden_input(r, name, &n);
    if (!in) return NULL;
    double *out = golden_alloc(r, (size_t)rows->M * sizeof *out);
    for (int64_t m = 0; m < rows->M; m++)
        out[m] = n == rows->B * rows->T ? in[rows->from[m]] : in[rows->from[m] / rows->T];
    return out;
}

void golden_packed_values(struct golden_run *r, const struct golden_rows *rows, const char *section,
                          const char *name, const double *got)
{
    double *padded = golden_alloc(r, (size_t)(rows->B * rows->T) * sizeof *padded);
    for (int64_t m = 0; m < rows->M; m++)
        padded[rows->from[m]] = got[m];
    golden_values(r, section, name, padded, rows->B * rows->T);
}

void golden_packed_differences(struct golden_run *r, const struct golden_rows *rows,
                               const char *section, const char *name, const double *got,
                               const double *terms)
{
    int64_t n;
    const double *expected = plumb_golden_expected(r->file, r->at, section, name, &n);
    double *shown = golden_alloc(r, (size_t)rows->M * sizeof *shown);
    for (int64_t m = 0; expected && m < rows->M; m++) {
        const double truth = expected[rows->from[m]];
        const bool rounding = fabs(got[m] - truth) <= 4 * DBL_EPSILON * fabs(terms[m]);
        shown[m] = rounding ? truth : got[m];
    }
    golden_packed_values(r, rows, section, name, shown);
}
