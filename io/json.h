/* JSON by cJSON, with what it leaves open closed: UTF-8, depth, duplicate names, trailing text,
 * line and column. */
#pragma once
#include <cJSON.h>
#include <plumb/base.h>

/* Parses n bytes. Fails with PLUMB_EFORMAT "<name>:<line>:<column>: <what>" on invalid UTF-8,
 * nesting over 100, a name twice in one object, trailing text, or numbers that are not finite.
 * *out is owned by the caller (cJSON_Delete). */
int plumb_json_parse(const char *text, size_t n, const char *name, cJSON **out);
/* A whole file of at most `limit` bytes (0 = 1 GiB). */
int plumb_json_load(const char *path, size_t limit, cJSON **out);
/* Typed reads of obj[key]; fail naming `where`, the key and what stands there. `_or` gives
 * fallback when absent or null. */
/* Integers within 2^53. */
int plumb_json_i64(const cJSON *obj, const char *key, const char *where, int64_t *out);
int plumb_json_i64_or(const cJSON *obj, const char *key, const char *where, int64_t fallback,
                      int64_t *out);
int plumb_json_f64_or(const cJSON *obj, const char *key, const char *where, double fallback,
                      double *out);
int plumb_json_bool_or(const cJSON *obj, const char *key, const char *where, bool fallback,
                       bool *out);
/* Lives in obj. */
int plumb_json_string(const cJSON *obj, const char *key, const char *where, const char **out);
