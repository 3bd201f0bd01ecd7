/* ShareGPT's rows: {"conversations": [{"from": "human", "value": "..."}, ...]}, with `system` and
 * `tools` beside it; pairs as LLaMA-Factory has them, with one message each in chosen and rejected;
 * labels in kto_tag. Messages of role and content are taken as well. */
#include <string.h>

#include "io/dataset_format.h"
#include "io/json.h"

#define TALK "conversations"

static bool is_message(const cJSON *v)
{
    return plumb_json_get(v, "from") || plumb_json_get(v, "role");
}

enum plumb_format_shape plumb_sharegpt_shape(enum plumb_dataset_use use, const cJSON *row)
{
    const cJSON *talk = plumb_json_get(row, TALK);
    if (!cJSON_IsArray(talk) || !is_message(talk->child)) return PLUMB_SHAPE_NONE;
    const bool pair = is_message(plumb_json_get(row, "chosen")) &&
                      is_message(plumb_json_get(row, "rejected"));
    return plumb_format_shape_of(use, row, pair, !pair);
}

/* The role that a sender has, NULL for an unknown one; "function_call" for itself. */
static const char *role_of(const char *from)
{
    static const char *const roles[][2] = {
        { "human", "user" },
        { "user", "user" },
        { "gpt", "assistant" },
        { "chatgpt", "assistant" },
        { "bing", "assistant" },
        { "bard", "assistant" },
        { "assistant", "assistant" },
        { "system", "system" },
        { "observation", "tool" },
        { "tool", "tool" },
        { "function_call", "function_call" },
    };
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(roles[i][0], from) == 0) return roles[i][1];
    return NULL;
}

/* One of the two names that a message's part goes by. */
static const cJSON *part(const cJSON *message, struct plumb_json_piece text, const char *name,
                         const char *other, struct plumb_json_piece *piece)
{
    const cJSON *v = plumb_json_piece_of(message, text, name, piece);
    return v ? v : plumb_json_piece_of(message, text, other, piece);
}

static const char *sender(const cJSON *message)
{
    const cJSON *v = plumb_json_get(message, "from");
    if (!v) v = plumb_json_get(message, "role");
    const char *role = cJSON_IsString(v) ? role_of(v->valuestring) : NULL;
    return role ? role : "";
}

/* {"name": ..., "arguments": {...}}, or a list of these, which is JSON in a string. */
static int put_calls(const struct plumb_format_row *r, const char *column, const cJSON *value)
{
    cJSON *json = NULL;
    struct plumb_json_walk w;
    struct plumb_json_piece piece, all = { value->valuestring, strlen(value->valuestring) };
    int rc = plumb_json_parse(all.at, all.n, "function_call", &json);
    const bool list = cJSON_IsArray(json);
    const cJSON *call = list ? json->child : json;
    if (rc == PLUMB_EMEM) return rc;
    rc = plumb_format_put(r, "{\"role\":\"assistant\",\"tool_calls\":[");
    if (list) plumb_json_walk_begin(&w, all);
    for (bool first = true; !rc && (call || first); call = list ? call->next : NULL) {
        piece = all;
        if (list && call) plumb_json_walk_next(&w, &piece);
        if (!cJSON_IsString(plumb_json_get(call, "name")))
            rc = plumb_format_fault(r, column,
                                    "wants a JSON object with a name and arguments in the "
                                    "value of function_call");
        if (!rc)
            rc = plumb_format_put(r, first ? "{\"type\":\"function\",\"function\":"
                                           : ",{\"type\":\"function\",\"function\":");
        if (!rc) rc = plumb_format_put_piece(r, piece);
        if (!rc) rc = plumb_format_put(r, "}");
        first = false;
        if (!call) break;
    }
    cJSON_Delete(json);
    return rc ? rc : plumb_format_put(r, "]}");
}

static int put_message(const struct plumb_format_row *r, const char *column, const cJSON *message,
                       struct plumb_json_piece text)
{
    struct plumb_json_piece name, value;
    if (!cJSON_IsObject(message))
        return plumb_format_fault(r, column, "wants a message, got %s", plumb_json_type(message));
    const cJSON *from = part(message, text, "from", "role", &name);
    const cJSON *what = part(message, text, "value", "content", &value);
    const cJSON *weight = plumb_json_get(message, "weight");
    if (!cJSON_IsString(from) || !cJSON_IsString(what))
        return plumb_format_fault(r, column, "wants messages with from and value, which are text");
    if (cJSON_IsNumber(weight) && weight->valuedouble != 1)
        return plumb_format_fault(r, column,
                                  "has a message with weight %g: leaving out single "
                                  "answers is not supported",
                                  weight->valuedouble);
    const char *role = role_of(from->valuestring);
    if (!role)
        return plumb_format_fault(r, column,
                                  "has a message from \"%.40s\": known are human, gpt, "
                                  "system, function_call, observation",
                                  from->valuestring);
    if (strcmp(role, "function_call") == 0) return put_calls(r, column, what);
    return plumb_format_put_message(r, role, value);
}

/* Messages [first, last) of the conversation, with the system's before the first. */
static int put_talk(const struct plumb_format_row *r, const char *name, int first, int last)
{
    struct plumb_json_walk w;
    struct plumb_json_piece talk, piece;
    const cJSON *list = plumb_json_piece_of(r->json, r->text, TALK, &talk);
    const bool system = first == 0 && plumb_format_has_text(r->json, "system");
    int i = 0;
    PLUMB_TRY(plumb_format_put(r, "\""));
    PLUMB_TRY(plumb_format_put(r, name));
    PLUMB_TRY(plumb_format_put(r, "\":["));
    if (system) {
        plumb_format_text(r, "system", &piece);
        PLUMB_TRY(plumb_format_put_message(r, "system", piece));
        if (strcmp(sender(list->child), "system") == 0)
            return plumb_format_fault(r, "system",
                                      "stands beside a conversation that begins with a "
                                      "system message");
    }
    plumb_json_walk_begin(&w, talk);
    for (const cJSON *v = list->child; v && i < last; v = v->next, i++) {
        plumb_json_walk_next(&w, &piece);
        if (i < first) continue;
        if (i > first || system) PLUMB_TRY(plumb_format_put(r, ","));
        PLUMB_TRY(put_message(r, TALK, v, piece));
    }
    return plumb_format_put(r, "]");
}

static int map_pair(const struct plumb_format_row *r, int n)
{
    static const char *const sides[] = { "chosen", "rejected", "reference" };
    struct plumb_json_piece piece;
    const cJSON *list = plumb_json_get(r->json, TALK);
    if (strcmp(sender(cJSON_GetArrayItem(list, n - 1)), "assistant") == 0)
        return plumb_format_fault(r, TALK,
                                  "ends with an answer: chosen and rejected want to follow a "
                                  "question");
    PLUMB_TRY(put_talk(r, "prompt", 0, n));
    for (int i = 0; i < (r->d->shape == PLUMB_SHAPE_TRIPLE ? 3 : 2); i++) {
        const cJSON *v = plumb_json_piece_of(r->json, r->text, sides[i], &piece);
        PLUMB_TRY(plumb_format_put(r, ",\""));
        PLUMB_TRY(plumb_format_put(r, sides[i]));
        PLUMB_TRY(plumb_format_put(r, "\":["));
        PLUMB_TRY(put_message(r, sides[i], v, piece));
        PLUMB_TRY(plumb_format_put(r, "]"));
    }
    return PLUMB_OK;
}

int plumb_sharegpt_map(const struct plumb_format_row *r)
{
    const cJSON *list = plumb_json_get(r->json, TALK);
    const int n = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list) || n == 0)
        return plumb_format_fault(r, TALK, "wants a list of messages, got %s",
                                  cJSON_IsArray(list) ? "none" : plumb_json_type(list));
    const bool answered = strcmp(sender(cJSON_GetArrayItem(list, n - 1)), "assistant") == 0;
    switch (r->d->shape) {
    case PLUMB_SHAPE_PAIR:
    case PLUMB_SHAPE_TRIPLE: return map_pair(r, n);
    case PLUMB_SHAPE_PROMPT:
        if (n == 1 && answered)
            return plumb_format_fault(r, TALK, "has no message before the answer");
        return put_talk(r, "prompt", 0, answered ? n - 1 : n);
    case PLUMB_SHAPE_UNPAIRED:
        if (n < 2 || !answered) return plumb_format_fault(r, TALK, "wants to end with an answer");
        PLUMB_TRY(put_talk(r, "prompt", 0, n - 1));
        PLUMB_TRY(plumb_format_put(r, ","));
        PLUMB_TRY(put_talk(r, "completion", n - 1, n));
        return plumb_format_put_label(r);
    default: return put_talk(r, "messages", 0, n);
    }
}
