/* Chat templates: the part of Jinja2 that they use, as transformers sets it up (trim_blocks,
 * lstrip_blocks, loop controls, {% generation %}, an immutable sandbox). A template is a guest: its
 * nesting, memory and work are limited, and what exceeds them is an error. Memory of a template: at
 * most 256 times its text, and 256 MiB; of a rendering: 256 MiB and the text that it makes. */
#pragma once
#include <plumb/base.h>

struct plumb_jinja;
/* Reads a template; `name` stands in messages ("<name>:<line>: <what>"). Fails with PLUMB_EFORMAT.
 * *out is NULL after a failure; release takes NULL. */
int plumb_jinja_open(const char *text, size_t n, const char *name, struct plumb_jinja **out);
void plumb_jinja_release(struct plumb_jinja *t);

struct plumb_jinja_text {
    char *text; /* n bytes of UTF-8 (NULs allowed) and a NUL; malloc'ed */
    size_t n;
    int64_t *span; /* bytes [span[2i], span[2i+1]) came from {% generation %} blocks; malloc'ed */
    int64_t spans;
};
/* Renders with the members of a JSON object as variables; `now` is what strftime_now tells (seconds
 * since 1970, taken as local time). Fails with PLUMB_EFORMAT where the template or its data is
 * wrong, PLUMB_EMEM beyond 256 MiB. Release `out` also after failure. */
int plumb_jinja_render(const struct plumb_jinja *t, const char *json, size_t json_bytes,
                       int64_t now, struct plumb_jinja_text *out);
void plumb_jinja_text_release(struct plumb_jinja_text *out);
