/* Reads loss goldens; a file that is not as it should be fails the test. */
#include "tests/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/shared.h"

static void stop(const char *what, const char *path)
{
    fprintf(stderr, "golden: %s%s\n", what, path);
    exit(1);
}

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    const long size = ftell(f);
    rewind(f);
    char *text = malloc((size_t)size + 1);
    if (text && fread(text, 1, (size_t)size, f) == (size_t)size)
        text[size] = 0;
    else
        free(text), text = NULL;
    fclose(f);
    return text;
}

bool plumb_golden_load(struct plumb_golden *g, const char *root, const char *member)
{
    char path[4096];
    *g = (struct plumb_golden){ .member = member };
    snprintf(path, sizeof path, "%s/%s.json", root, member);
    g->text = read_text(path);
    g->root = g->text ? cJSON_Parse(g->text) : NULL;
    const char *format = cJSON_GetStringValue(cJSON_GetObjectItem(g->root, "format"));
    g->cases = cJSON_GetObjectItem(g->root, "cases");
    g->count = cJSON_GetArraySize(g->cases);
    if (format && !strcmp(format, "plumb-loss-golden-1") && g->count > 0) return true;
    printf("%s FAILED: no readable loss golden with cases\n", path);
    plumb_golden_release(g);
    return false;
}

void plumb_golden_release(struct plumb_golden *g)
{
    for (int i = 0; i < g->array_count; i++)
        free(g->arrays[i]);
    free(g->arrays);
    free(g->text);
    cJSON_Delete(g->root);
    *g = (struct plumb_golden){ 0 };
}

bool plumb_golden_open(struct plumb_golden *g, const char *member)
{
    char path[4096];
    if (!shared_path(path, sizeof path, "golden/losses")) return false;
    cr_assert(plumb_golden_load(g, path, member));
    return true;
}

void plumb_golden_close(struct plumb_golden *g)
{
    printf("golden %s: %d of %d cases\n", g->member, g->run, g->count);
    plumb_golden_release(g);
}

const cJSON *plumb_golden_case(const struct plumb_golden *g, int index)
{
    return cJSON_GetArrayItem(g->cases, index);
}

const char *plumb_golden_name(const cJSON *c)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(c, "name"));
}

double plumb_golden_option(const cJSON *c, const char *name, double fallback)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(c, "options"), name);
    return cJSON_IsNumber(v) ? v->valuedouble : fallback;
}

static int64_t leaves(const cJSON *v)
{
    if (!cJSON_IsArray(v)) return 1;
    int64_t n = 0;
    for (const cJSON *e = v->child; e; e = e->next)
        n += leaves(e);
    return n;
}

static double number(const cJSON *v)
{
    if (cJSON_IsNumber(v)) return v->valuedouble;
    const char *s = cJSON_GetStringValue(v);
    if (s && !strcmp(s, "nan")) return NAN;
    if (s && !strcmp(s, "inf")) return INFINITY;
    if (!s || strcmp(s, "-inf")) stop("no number: ", s ? s : "an object");
    return -INFINITY;
}

static double *flatten(const cJSON *v, double *out)
{
    if (!cJSON_IsArray(v)) {
        *out = number(v);
        return out + 1;
    }
    for (const cJSON *e = v->child; e; e = e->next)
        out = flatten(e, out);
    return out;
}

static const double *values(struct plumb_golden *g, const cJSON *v, int64_t *count)
{
    *count = 0;
    if (!v || cJSON_IsNull(v)) return NULL;
    *count = leaves(v);
    double *out = malloc((size_t)(*count + 1) * sizeof *out);
    double **arrays = realloc(g->arrays, (size_t)(g->array_count + 1) * sizeof *arrays);
    if (!out || !arrays) stop("out of memory", "");
    g->arrays = arrays;
    g->arrays[g->array_count++] = out;
    flatten(v, out);
    return out;
}

const double *plumb_golden_input(struct plumb_golden *g, const cJSON *c, const char *name,
                                 int64_t *count)
{
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(c, "inputs");
    return values(g, cJSON_GetObjectItemCaseSensitive(inputs, name), count);
}

const double *plumb_golden_expected(struct plumb_golden *g, const cJSON *c, const char *section,
                                    const char *name, int64_t *count)
{
    const cJSON *from = cJSON_GetObjectItemCaseSensitive(c, "expected");
    if (section) from = cJSON_GetObjectItemCaseSensitive(from, section);
    return values(g, cJSON_GetObjectItemCaseSensitive(from, name), count);
}

void plumb_golden_check(const struct plumb_golden *g, const cJSON *c, const char *what, int64_t i,
                        enum plumb_dtype precision, double got, double expected)
{
    const double size = fabs(expected);
    const double bound = precision == PLUMB_F64 ? 1e-12 + 1e-10 * size : 2e-5 * fmax(1, size);
    const bool same = isnan(expected) ? isnan(got) : fabs(got - expected) <= bound;
    cr_expect(same, "%s, case \"%s\", %s: %s[%lld] is %.17g, expected %.17g", g->member,
              plumb_golden_name(c), plumb_dtype_name(precision), what, (long long)i, got, expected);
}
