/* The grammar of JSON (RFC 8259), checked before a text is parsed. */
#pragma once
#include <plumb/base.h>

/* Checks n bytes; fails as plumb_json_parse_at does. Builds nothing; memory only for the names of
 * open objects. */
int plumb_json_scan(const char *text, size_t n, const char *name, int64_t first_line);
