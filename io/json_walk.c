/* Values inside JSON text. */
#include "io/json_walk.h"

#include <string.h>

static void skip_space(struct plumb_json_walk *w)
{
    while (w->p < w->end && (*w->p == ' ' || *w->p == '\t' || *w->p == '\n' || *w->p == '\r'))
        w->p++;
}

static void skip_string(struct plumb_json_walk *w)
{
    for (w->p++; w->p < w->end && *w->p != '"'; w->p++)
        w->p += *w->p == '\\' && w->p + 1 < w->end;
    w->p += w->p < w->end;
}

static void skip_value(struct plumb_json_walk *w)
{
    for (int64_t depth = 0; w->p < w->end;) {
        const char c = *w->p;
        if (depth == 0 && (c == ',' || c == ']' || c == '}')) return;
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (c == '"')
            skip_string(w);
        else
            w->p++;
    }
}

void plumb_json_walk_begin(struct plumb_json_walk *w, struct plumb_json_piece container)
{
    *w = (struct plumb_json_walk){ .p = container.at, .end = container.at + container.n };
    skip_space(w);
    w->object = w->p < w->end && *w->p == '{';
    w->p += w->p < w->end;
}

void plumb_json_walk_next(struct plumb_json_walk *w, struct plumb_json_piece *value)
{
    skip_space(w);
    if (w->p < w->end && *w->p == ',') w->p++;
    skip_space(w);
    if (w->object) {
        w->name.at = w->p;
        skip_string(w);
        w->name.n = (size_t)(w->p - w->name.at);
        skip_space(w);
        w->p += w->p < w->end; /* the colon */
        skip_space(w);
    }
    value->at = w->p;
    skip_value(w);
    const char *end = w->p;
    while (end > value->at && strchr(" \t\n\r", end[-1]))
        end--;
    value->n = (size_t)(end - value->at);
}

const cJSON *plumb_json_piece_of(const cJSON *object, struct plumb_json_piece whole,
                                 const char *name, struct plumb_json_piece *value)
{
    struct plumb_json_walk w;
    plumb_json_walk_begin(&w, whole);
    for (const cJSON *v = object->child; v; v = v->next) {
        plumb_json_walk_next(&w, value);
        if (strcmp(v->string, name) == 0) return v;
    }
    *value = (struct plumb_json_piece){ 0 };
    return NULL;
}
