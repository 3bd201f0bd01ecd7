/* Alpaca's rows: instruction, input, output, with `system` and `history` (pairs of a question and
 * its answer) beside them; pairs in chosen and rejected, labels in kto_tag, as LLaMA-Factory has
 * them. They become conversations: the instruction and, on a line of its own, the input are what
 * the user says. */
#include <string.h>

#include "io/dataset_format.h"
#include "io/json.h"

enum plumb_format_shape plumb_alpaca_shape(enum plumb_dataset_use use, const cJSON *row)
{
    if (!cJSON_IsString(plumb_json_get(row, "instruction"))) return PLUMB_SHAPE_NONE;
    const bool pair = cJSON_IsString(plumb_json_get(row, "chosen")) &&
                      cJSON_IsString(plumb_json_get(row, "rejected"));
    const bool whole = cJSON_IsString(plumb_json_get(row, "output"));
    return plumb_format_shape_of(use, row, pair, whole);
}

/* {"role":"user","content":"<instruction>\n<input>"} */
static int put_question(const struct plumb_format_row *r)
{
    struct plumb_json_piece asked, input;
    if (!plumb_format_text(r, "instruction", &asked)) return PLUMB_EFORMAT;
    const cJSON *more = plumb_json_piece_of(r->json, r->text, "input", &input);
    if (more && !cJSON_IsNull(more) && !cJSON_IsString(more))
        return plumb_format_fault(r, "input", "wants text, got %s", plumb_json_type(more));
    const bool both = plumb_format_has_text(r->json, "input");
    if (both && !plumb_format_has_text(r->json, "instruction"))
        return plumb_format_put_message(r, "user", input);
    if (!both) return plumb_format_put_message(r, "user", asked);
    PLUMB_TRY(plumb_format_put(r, "{\"role\":\"user\",\"content\":"));
    asked.n--; /* the quotes between them */
    input.at++;
    input.n--;
    PLUMB_TRY(plumb_format_put_piece(r, asked));
    PLUMB_TRY(plumb_format_put(r, "\\n"));
    PLUMB_TRY(plumb_format_put_piece(r, input));
    return plumb_format_put(r, "}");
}

/* Each turn's question and answer, a comma behind both. */
static int put_history(const struct plumb_format_row *r)
{
    struct plumb_json_walk turns, sides;
    struct plumb_json_piece all, turn, side;
    const cJSON *list = plumb_json_piece_of(r->json, r->text, "history", &all);
    if (!list || cJSON_IsNull(list)) return PLUMB_OK;
    if (!cJSON_IsArray(list))
        return plumb_format_fault(r, "history", "wants a list, got %s", plumb_json_type(list));
    plumb_json_walk_begin(&turns, all);
    for (const cJSON *v = list->child; v; v = v->next) {
        plumb_json_walk_next(&turns, &turn);
        const cJSON *question = cJSON_IsArray(v) ? v->child : NULL;
        if (cJSON_GetArraySize(v) != 2 || !cJSON_IsString(question) ||
            !cJSON_IsString(question->next))
            return plumb_format_fault(r, "history", "wants pairs of a question and its answer");
        plumb_json_walk_begin(&sides, turn);
        for (int i = 0; i < 2; i++) {
            plumb_json_walk_next(&sides, &side);
            PLUMB_TRY(plumb_format_put_message(r, i ? "assistant" : "user", side));
            PLUMB_TRY(plumb_format_put(r, ","));
        }
    }
    return PLUMB_OK;
}

static int put_prompt(const struct plumb_format_row *r)
{
    struct plumb_json_piece piece;
    PLUMB_TRY(plumb_format_put(r, "\"prompt\":["));
    if (plumb_format_has_text(r->json, "system")) {
        plumb_format_text(r, "system", &piece);
        PLUMB_TRY(plumb_format_put_message(r, "system", piece));
        PLUMB_TRY(plumb_format_put(r, ","));
    }
    PLUMB_TRY(put_history(r));
    PLUMB_TRY(put_question(r));
    return plumb_format_put(r, "]");
}

/* ,"name":[the assistant's message in `column`] */
static int put_answer(const struct plumb_format_row *r, const char *name, const char *column)
{
    struct plumb_json_piece piece;
    if (!plumb_format_text(r, column, &piece)) return PLUMB_EFORMAT;
    PLUMB_TRY(plumb_format_put(r, ",\""));
    PLUMB_TRY(plumb_format_put(r, name));
    PLUMB_TRY(plumb_format_put(r, "\":["));
    PLUMB_TRY(plumb_format_put_message(r, "assistant", piece));
    return plumb_format_put(r, "]");
}

int plumb_alpaca_map(const struct plumb_format_row *r)
{
    const enum plumb_format_shape shape = r->d->shape;
    PLUMB_TRY(put_prompt(r));
    if (shape == PLUMB_SHAPE_PROMPT) return PLUMB_OK;
    if (shape == PLUMB_SHAPE_PAIR || shape == PLUMB_SHAPE_TRIPLE) {
        PLUMB_TRY(put_answer(r, "chosen", "chosen"));
        PLUMB_TRY(put_answer(r, "rejected", "rejected"));
        return shape == PLUMB_SHAPE_TRIPLE ? put_answer(r, "reference", "reference") : PLUMB_OK;
    }
    PLUMB_TRY(put_answer(r, "completion", "output"));
    return shape == PLUMB_SHAPE_UNPAIRED ? plumb_format_put_label(r) : PLUMB_OK;
}
