/* OpenAI's fine-tuning rows. Conversations: {"messages": [...], "tools": [...]}. Preferences:
 * {"input": {"messages": [...], "tools": [...]}, "preferred_output": [...],
 * "non_preferred_output": [...]}. A tool call's arguments are JSON in a string there; templates
 * want the object. */
#include <string.h>

#include "io/dataset_format.h"
#include "io/json.h"

static const cJSON *input_messages(const cJSON *row)
{
    return plumb_json_get(plumb_json_get(row, "input"), "messages");
}

enum plumb_format_shape plumb_openai_shape(enum plumb_dataset_use use, const cJSON *row)
{
    const bool pair = input_messages(row) && plumb_json_get(row, "preferred_output") &&
                      plumb_json_get(row, "non_preferred_output");
    const bool whole = plumb_json_get(row, "messages");
    if (use == PLUMB_USE_PROMPTS && !pair && !whole) return PLUMB_SHAPE_NONE;
    if (use == PLUMB_USE_TRIPLES) return PLUMB_SHAPE_NONE;
    const enum plumb_format_shape shape = plumb_format_shape_of(use, row, pair, whole);
    return shape == PLUMB_SHAPE_UNPAIRED ? PLUMB_SHAPE_NONE : shape;
}

/* Where a value stands in a message. */
enum place { IN_MESSAGE, IN_CALLS, IN_CALL, IN_FUNCTION };

static int put_arguments(const struct plumb_format_row *r, const char *column, const cJSON *v)
{
    cJSON *json = NULL;
    const int rc = plumb_json_parse(v->valuestring, strlen(v->valuestring), "arguments", &json);
    const bool object = cJSON_IsObject(json);
    cJSON_Delete(json);
    if (rc == PLUMB_EMEM) return rc;
    if (!object)
        return plumb_format_fault(r, column, "wants a JSON object in a tool call's arguments");
    return plumb_format_put(r, v->valuestring);
}

/* Copies an object or array, down to the arguments of tool calls. */
static int put_inside(const struct plumb_format_row *r, const char *column, const cJSON *from,
                      struct plumb_json_piece text, enum place place)
{
    struct plumb_json_walk w;
    struct plumb_json_piece piece;
    bool first = true;
    PLUMB_TRY(plumb_format_put(r, cJSON_IsObject(from) ? "{" : "["));
    plumb_json_walk_begin(&w, text);
    for (const cJSON *v = from->child; v; v = v->next) {
        plumb_json_walk_next(&w, &piece);
        const char *name = v->string ? v->string : "";
        if (place == IN_MESSAGE && strcmp(name, "weight") == 0) {
            if (cJSON_IsNumber(v) && v->valuedouble == 1) continue;
            return plumb_format_fault(r, column,
                                      "has a message with weight 0: leaving out single "
                                      "answers is not supported");
        }
        if (!first) PLUMB_TRY(plumb_format_put(r, ","));
        first = false;
        if (w.object) {
            PLUMB_TRY(plumb_format_put_piece(r, w.name));
            PLUMB_TRY(plumb_format_put(r, ":"));
        }
        const bool deeper = (place == IN_MESSAGE && !strcmp(name, "tool_calls") &&
                             cJSON_IsArray(v)) ||
                            (place == IN_CALLS && cJSON_IsObject(v)) ||
                            (place == IN_CALL && !strcmp(name, "function") && cJSON_IsObject(v));
        if (deeper)
            PLUMB_TRY(put_inside(r, column, v, piece, place + 1));
        else if (place == IN_FUNCTION && !strcmp(name, "arguments") && cJSON_IsString(v))
            PLUMB_TRY(put_arguments(r, column, v));
        else
            PLUMB_TRY(plumb_format_put_piece(r, piece));
    }
    return plumb_format_put(r, cJSON_IsObject(from) ? "}" : "]");
}

/* "name":[messages], the first `most` of them. */
static int put_messages(const struct plumb_format_row *r, const char *name, const char *column,
                        const cJSON *list, struct plumb_json_piece text, int most)
{
    struct plumb_json_walk w;
    struct plumb_json_piece piece;
    const char *wrong = plumb_talk_fault(list);
    if (wrong) return plumb_format_fault(r, column, "%s", wrong);
    PLUMB_TRY(plumb_format_put(r, "\""));
    PLUMB_TRY(plumb_format_put(r, name));
    PLUMB_TRY(plumb_format_put(r, "\":["));
    plumb_json_walk_begin(&w, text);
    int n = 0;
    for (const cJSON *v = list->child; v && n < most; v = v->next) {
        plumb_json_walk_next(&w, &piece);
        if (n++ > 0) PLUMB_TRY(plumb_format_put(r, ","));
        PLUMB_TRY(put_inside(r, column, v, piece, IN_MESSAGE));
    }
    return plumb_format_put(r, "]");
}

/* Messages before the last answer. */
static int prompt_length(const cJSON *list)
{
    const int n = cJSON_GetArraySize(list);
    const cJSON *role = plumb_json_get(n > 0 ? cJSON_GetArrayItem(list, n - 1) : NULL, "role");
    return cJSON_IsString(role) && !strcmp(role->valuestring, "assistant") ? n - 1 : n;
}

static int map_messages(const struct plumb_format_row *r)
{
    struct plumb_json_piece piece;
    const cJSON *list = plumb_json_piece_of(r->json, r->text, "messages", &piece);
    if (plumb_json_get(r->json, "functions"))
        return plumb_format_fault(r, "functions", "is the older form of tools, which is not read");
    if (r->d->shape != PLUMB_SHAPE_PROMPT)
        return put_messages(r, "messages", "messages", list, piece, INT32_MAX);
    const int n = prompt_length(list);
    if (n == 0) return plumb_format_fault(r, "messages", "has no message before the answer");
    return put_messages(r, "prompt", "messages", list, piece, n);
}

int plumb_openai_map(const struct plumb_format_row *r)
{
    struct plumb_json_piece input, piece;
    const cJSON *in = plumb_json_piece_of(r->json, r->text, "input", &input);
    if (r->d->shape == PLUMB_SHAPE_TALK || !cJSON_IsObject(in)) return map_messages(r);
    const cJSON *list = plumb_json_piece_of(in, input, "messages", &piece);
    PLUMB_TRY(put_messages(r, "prompt", "input", list, piece, INT32_MAX));
    if (plumb_json_piece_of(in, input, "tools", &piece)) {
        PLUMB_TRY(plumb_format_put(r, ",\"tools\":"));
        PLUMB_TRY(plumb_format_put_piece(r, piece));
    }
    if (r->d->shape == PLUMB_SHAPE_PROMPT) return PLUMB_OK;
    static const char *const sides[][2] = { { "chosen", "preferred_output" },
                                            { "rejected", "non_preferred_output" } };
    for (int i = 0; i < 2; i++) {
        list = plumb_json_piece_of(r->json, r->text, sides[i][1], &piece);
        PLUMB_TRY(plumb_format_put(r, ","));
        PLUMB_TRY(put_messages(r, sides[i][0], sides[i][1], list, piece, INT32_MAX));
    }
    return PLUMB_OK;
}
