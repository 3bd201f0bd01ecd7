/* JSON by cJSON, with what it leaves open closed: strict grammar, UTF-8, depth, duplicate names,
 * trailing text, line and column. */
#pragma once
#include <cJSON.h>
#include <plumb/base.h>

/* Parses n bytes. Fails with PLUMB_EFORMAT "<name>:<line>:<column>: <what>" (columns count
 * characters) on invalid UTF-8, nesting over 100, a name twice in one object, trailing text,
 * numbers that are not finite, and what strings of C cannot hold (\u0000). *out is owned by the
 * caller (cJSON_Delete) and NULL after a failure. Memory: at most 48 times the text, and what an
 * allocator keeps. */
int plumb_json_parse(const char *text, size_t n, const char *name, cJSON **out);
/* The same for text that starts on line `first_line` of file `name`, as a row of JSONL does. */
int plumb_json_parse_at(const char *text, size_t n, const char *name, int64_t first_line,
                        cJSON **out);
/* A whole file of at most `limit` bytes (0 = 1 GiB), plain or gzip. */
int plumb_json_load(const char *path, size_t limit, cJSON **out);
/* obj[key] by exact name, NULL when absent or obj is no object. Linear: for large objects walk the
 * children. */
const cJSON *plumb_json_get(const cJSON *obj, const char *key);
/* "number", "string", "object", ... of what stands at v; "nothing" for NULL. */
const char *plumb_json_type(const cJSON *v);
/* Typed reads of obj[key]; fail naming `where`, the key and what stands there. `_or` gives fallback
 * when absent or null. */
int plumb_json_i64(const cJSON *obj, const char *key, const char *where,
                   int64_t *out); /* integers within 2^53 */
int plumb_json_i64_or(const cJSON *obj, const char *key, const char *where, int64_t fallback,
                      int64_t *out);
int plumb_json_f64_or(const cJSON *obj, const char *key, const char *where, double fallback,
                      double *out);
int plumb_json_bool_or(const cJSON *obj, const char *key, const char *where, bool fallback,
                       bool *out);
int plumb_json_string(const cJSON *obj, const char *key, const char *where,
                      const char **out); /* lives in obj */

/* Puts `item` at the end of an array, or of an object under `key`; returns it. Without memory, of
 * which a NULL `to` or `item` tells as well, *lost becomes true, the item is deleted and NULL
 * returned: many additions want one check. */
cJSON *plumb_json_add(cJSON *to, const char *key, cJSON *item, bool *lost);
