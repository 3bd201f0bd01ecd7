/* Values inside JSON text as they are written, so that a row can be put together anew without
 * changing a digit. For text that plumb_json_parse has accepted. */
#pragma once
#include <cJSON.h>
#include <plumb/base.h>

struct plumb_json_piece {
    const char *at;
    size_t n;
};

/* Goes over the members of an object or the elements of an array, in the order of cJSON's
 * children. */
struct plumb_json_walk {
    const char *p, *end;
    bool object;
    struct plumb_json_piece name; /* of the last value, in its quotes; only in an object */
};
void plumb_json_walk_begin(struct plumb_json_walk *w, struct plumb_json_piece container);
/* *value = the next one's text; call it once for each child. */
void plumb_json_walk_next(struct plumb_json_walk *w, struct plumb_json_piece *value);
/* The member of an object, whose text is `whole`, by name; NULL without it. */
const cJSON *plumb_json_piece_of(const cJSON *object, struct plumb_json_piece whole,
                                 const char *name, struct plumb_json_piece *value);
