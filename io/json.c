/* JSON by cJSON behind a strict scanner, and typed reads that name what they miss. */
#include "io/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json_scan.h"

int plumb_json_parse_at(const char *text, size_t n, const char *name, int64_t first_line,
                        cJSON **out)
{
    *out = NULL;
    PLUMB_TRY(plumb_json_scan(text, n, name, first_line));
    *out = cJSON_ParseWithLength(text, n);
    /* The scanner accepts nothing that cJSON does not, so memory is what is left to fail. */
    if (!*out)
        return plumb_fail(PLUMB_EMEM,
                          "could not allocate the parsed JSON of \"%s\" (%zu bytes of text)", name,
                          n);
    return PLUMB_OK;
}

int plumb_json_parse(const char *text, size_t n, const char *name, cJSON **out)
{
    return plumb_json_parse_at(text, n, name, 1, out);
}

int plumb_json_load(const char *path, size_t limit, cJSON **out)
{
    char *text = NULL;
    size_t n = 0;
    *out = NULL;
    PLUMB_TRY(plumb_file_read(path, limit ? limit : (size_t)1 << 30, &text, &n));
    const int rc = plumb_json_parse(text, n, path, out);
    free(text);
    return rc;
}

const cJSON *plumb_json_get(const cJSON *obj, const char *key)
{
    return cJSON_IsObject(obj) ? cJSON_GetObjectItemCaseSensitive(obj, key) : NULL;
}

const char *plumb_json_type(const cJSON *v)
{
    return !v                  ? "nothing"
           : cJSON_IsNull(v)   ? "null"
           : cJSON_IsBool(v)   ? "a boolean"
           : cJSON_IsNumber(v) ? "a number"
           : cJSON_IsString(v) ? "a string"
           : cJSON_IsArray(v)  ? "an array"
                               : "an object";
}

static bool absent(const cJSON *v) { return !v || cJSON_IsNull(v); }

static int wrong(const cJSON *v, const char *key, const char *where, const char *wanted)
{
    if (absent(v))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" is missing: it wants %s", where, key, wanted);
    if (cJSON_IsNumber(v))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants %s, got %.17g", where, key, wanted,
                          v->valuedouble);
    if (cJSON_IsString(v))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants %s, got \"%.80s\"", where, key, wanted,
                          v->valuestring);
    return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants %s, got %s", where, key, wanted,
                      plumb_json_type(v));
}

int plumb_json_i64(const cJSON *obj, const char *key, const char *where, int64_t *out)
{
    const cJSON *v = plumb_json_get(obj, key);
    if (!cJSON_IsNumber(v) || v->valuedouble != trunc(v->valuedouble) ||
        fabs(v->valuedouble) > 0x1p53)
        return wrong(v, key, where, "an integer");
    *out = (int64_t)v->valuedouble;
    return PLUMB_OK;
}

int plumb_json_i64_or(const cJSON *obj, const char *key, const char *where, int64_t fallback,
                      int64_t *out)
{
    *out = fallback;
    return absent(plumb_json_get(obj, key)) ? PLUMB_OK : plumb_json_i64(obj, key, where, out);
}

int plumb_json_f64_or(const cJSON *obj, const char *key, const char *where, double fallback,
                      double *out)
{
    const cJSON *v = plumb_json_get(obj, key);
    *out = fallback;
    if (absent(v)) return PLUMB_OK;
    if (!cJSON_IsNumber(v)) return wrong(v, key, where, "a number");
    *out = v->valuedouble;
    return PLUMB_OK;
}

int plumb_json_bool_or(const cJSON *obj, const char *key, const char *where, bool fallback,
                       bool *out)
{
    const cJSON *v = plumb_json_get(obj, key);
    *out = fallback;
    if (absent(v)) return PLUMB_OK;
    if (!cJSON_IsBool(v)) return wrong(v, key, where, "true or false");
    *out = cJSON_IsTrue(v);
    return PLUMB_OK;
}

int plumb_json_string(const cJSON *obj, const char *key, const char *where, const char **out)
{
    const cJSON *v = plumb_json_get(obj, key);
    if (!cJSON_IsString(v)) return wrong(v, key, where, "a string");
    *out = v->valuestring;
    return PLUMB_OK;
}

cJSON *plumb_json_add(cJSON *to, const char *key, cJSON *item, bool *lost)
{
    const bool done = to && item &&
                      (key ? cJSON_AddItemToObject(to, key, item) : cJSON_AddItemToArray(to, item));
    if (done) return item;
    cJSON_Delete(item);
    *lost = true;
    return NULL;
}
