/* Which columns a dataset has and which type they make. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/chat.h"
#include "io/dataset_rows.h"
#include "io/json.h"

enum kind { KIND_TEXT, KIND_TALK, KIND_IDS, KIND_NUMBER, KIND_LABEL, KIND_LIST };

static const struct {
    const char *name, *alias;
    enum kind kind;
} columns[PLUMB_COLUMNS] = {
    [PLUMB_COL_TEXT] = { "text", NULL, KIND_TEXT },
    [PLUMB_COL_MESSAGES] = { "messages", NULL, KIND_TALK },
    [PLUMB_COL_PROMPT] = { "prompt", NULL, KIND_TEXT },
    [PLUMB_COL_COMPLETION] = { "completion", NULL, KIND_TEXT },
    [PLUMB_COL_CHOSEN] = { "chosen", NULL, KIND_TEXT },
    [PLUMB_COL_REJECTED] = { "rejected", NULL, KIND_TEXT },
    [PLUMB_COL_REFERENCE] = { "reference", NULL, KIND_TEXT },
    [PLUMB_COL_LABEL] = { "label", NULL, KIND_LABEL },
    [PLUMB_COL_INPUT_IDS] = { "input_ids", NULL, KIND_IDS },
    [PLUMB_COL_LABELS] = { "labels", NULL, KIND_IDS },
    [PLUMB_COL_COMPLETION_MASK] = { "completion_mask", NULL, KIND_IDS },
    [PLUMB_COL_PROMPT_IDS] = { "prompt_ids", NULL, KIND_IDS },
    [PLUMB_COL_COMPLETION_IDS] = { "completion_ids", NULL, KIND_IDS },
    [PLUMB_COL_CHOSEN_IDS] = { "chosen_ids", NULL, KIND_IDS },
    [PLUMB_COL_REJECTED_IDS] = { "rejected_ids", NULL, KIND_IDS },
    [PLUMB_COL_REFERENCE_IDS] = { "reference_ids", NULL, KIND_IDS },
    [PLUMB_COL_KL_IDS] = { "kl_completion_ids", "KL_completion_ids", KIND_IDS },
    [PLUMB_COL_MARGIN] = { "margin", NULL, KIND_NUMBER },
    [PLUMB_COL_REF_CHOSEN] = { "ref_chosen_logps", NULL, KIND_NUMBER },
    [PLUMB_COL_REF_REJECTED] = { "ref_rejected_logps", NULL, KIND_NUMBER },
    [PLUMB_COL_REF] = { "ref_logps", NULL, KIND_NUMBER },
    [PLUMB_COL_COMPLETIONS] = { "completions", NULL, KIND_LIST },
    [PLUMB_COL_COMPLETIONS_IDS] = { "completions_ids", NULL, KIND_LIST },
    [PLUMB_COL_SCORES] = { "scores", NULL, KIND_LIST },
};

#define C(name) (1u << PLUMB_COL_##name)
#define U(name) (1u << PLUMB_USE_##name)
#define PAIR_EXTRAS (C(MARGIN) | C(REF_CHOSEN) | C(REF_REJECTED))
#define PAIR_USES (U(ANY) | U(PREFERENCE) | U(REWARD) | U(UNPAIRED))

static const struct plumb_layout layouts[] = {
    { PLUMB_DATA_RANKED, true, C(COMPLETIONS_IDS) | C(SCORES), C(PROMPT_IDS), U(ANY) | U(LISTS) },
    { PLUMB_DATA_RANKED, false, C(PROMPT) | C(COMPLETIONS) | C(SCORES), 0, U(ANY) | U(LISTS) },
    { PLUMB_DATA_PREFERENCE, true, C(CHOSEN_IDS) | C(REJECTED_IDS) | C(REFERENCE_IDS),
      C(PROMPT_IDS), U(TRIPLES) },
    { PLUMB_DATA_PREFERENCE, false, C(CHOSEN) | C(REJECTED) | C(REFERENCE), C(PROMPT), U(TRIPLES) },
    { PLUMB_DATA_PREFERENCE, true, C(CHOSEN_IDS) | C(REJECTED_IDS), C(PROMPT_IDS) | PAIR_EXTRAS,
      PAIR_USES },
    { PLUMB_DATA_UNPAIRED, true, C(COMPLETION_IDS) | C(LABEL), C(PROMPT_IDS) | C(KL_IDS) | C(REF),
      U(ANY) | U(UNPAIRED) },
    { PLUMB_DATA_LANGUAGE_MODELING, true, C(INPUT_IDS), C(LABELS) | C(COMPLETION_MASK),
      U(ANY) | U(SFT) },
    { PLUMB_DATA_PROMPT_COMPLETION, true, C(COMPLETION_IDS), C(PROMPT_IDS), U(ANY) | U(SFT) },
    { PLUMB_DATA_PROMPT_ONLY, true, C(PROMPT_IDS), 0, U(ANY) | U(PROMPTS) },
    { PLUMB_DATA_PREFERENCE, false, C(CHOSEN) | C(REJECTED), C(PROMPT) | PAIR_EXTRAS, PAIR_USES },
    { PLUMB_DATA_UNPAIRED, false, C(PROMPT) | C(COMPLETION) | C(LABEL), C(KL_IDS) | C(REF),
      U(ANY) | U(UNPAIRED) },
    { PLUMB_DATA_PROMPT_COMPLETION, false, C(PROMPT) | C(COMPLETION), 0, U(ANY) | U(SFT) },
    { PLUMB_DATA_LANGUAGE_MODELING, false, C(MESSAGES), 0, U(ANY) | U(SFT) },
    { PLUMB_DATA_LANGUAGE_MODELING, false, C(TEXT), 0, U(ANY) | U(SFT) },
    { PLUMB_DATA_PROMPT_ONLY, false, C(PROMPT), 0, U(ANY) | U(PROMPTS) },
};

static const char *const wants[] = {
    [PLUMB_USE_ANY] =
        "text, messages, prompt, prompt and completion (and label), chosen and rejected, or "
        "these as ids",
    [PLUMB_USE_SFT] =
        "text, or messages, or prompt and completion, or input_ids, or completion_ids",
    [PLUMB_USE_PREFERENCE] = "chosen and rejected (with prompt or without), or chosen_ids and "
                             "rejected_ids",
    [PLUMB_USE_REWARD] = "chosen and rejected (with prompt or without), or chosen_ids and "
                         "rejected_ids",
    [PLUMB_USE_UNPAIRED] = "prompt, completion and label, or chosen and rejected, or "
                           "completion_ids and label",
    [PLUMB_USE_PROMPTS] = "prompt or prompt_ids",
    [PLUMB_USE_LISTS] = "prompt, completions and scores, or completions_ids and scores (with "
                        "prompt_ids or without)",
    [PLUMB_USE_TRIPLES] = "chosen, rejected and reference (with prompt or without), or "
                          "chosen_ids, rejected_ids and reference_ids",
};

static const char *column_name(const struct plumb_dataset_self *d, int c)
{
    return c == PLUMB_COL_TEXT && d->o.text_field ? d->o.text_field : columns[c].name;
}

/* PLUMB_COLUMNS for a name that means nothing to us. */
static int find_column(const struct plumb_dataset_self *d, const char *name)
{
    for (int c = 0; c < PLUMB_COLUMNS; c++)
        if (strcmp(name, column_name(d, c)) == 0 ||
            (columns[c].alias && strcmp(name, columns[c].alias) == 0))
            return c;
    return PLUMB_COLUMNS;
}

int plumb_column_fault(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                       enum plumb_column c, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ": column \"%s\" %s", s->path, s->line,
                      column_name(d, c), text);
}

/* The value as a message shows it: scalars themselves, strings cut at a character. */
static void show_value(const cJSON *v, char out[64])
{
    if (cJSON_IsNumber(v)) {
        snprintf(out, 64, "%.15g", v->valuedouble);
    } else if (cJSON_IsString(v)) {
        size_t n = strlen(v->valuestring), most = 40;
        while (n > most && ((unsigned char)v->valuestring[most] & 0xC0) == 0x80)
            most--;
        snprintf(out, 64, "\"%.*s\"%s", (int)(n > most ? most : n), v->valuestring,
                 n > most ? "..." : "");
        for (char *p = out; *p; p++)
            if ((unsigned char)*p < 0x20) *p = ' ';
    } else if (cJSON_IsArray(v)) {
        snprintf(out, 64, "an array of %d", cJSON_GetArraySize(v));
    } else {
        snprintf(out, 64, "%s",
                 cJSON_IsTrue(v)    ? "true"
                 : cJSON_IsFalse(v) ? "false"
                                    : plumb_json_type(v));
    }
}

static bool is_conversation(const cJSON *v)
{
    return cJSON_IsArray(v) && cJSON_GetObjectItemCaseSensitive(v->child, "role");
}

/* Columns that a chat template reads beside the conversation. */
static bool is_for_template(const char *name)
{
    return !strcmp(name, "tools") || !strcmp(name, "chat_template_kwargs");
}

/* Names of the row's columns, those of `mask` (or those outside the layout), as "a, b"; NULL when
 * memory is short. Long lists end with "...". */
static char *list_names(const struct plumb_dataset_self *d, const cJSON *row, unsigned mask,
                        bool inside)
{
    char text[256] = "";
    size_t n = 0;
    for (const cJSON *v = row->child; v; v = v->next) {
        const int c = find_column(d, v->string);
        const bool used = (c < PLUMB_COLUMNS && (mask >> c & 1)) ||
                          (d->talks && !cJSON_IsNull(v) && is_for_template(v->string));
        if (used != inside) continue;
        if (n + strlen(v->string) + 8 > sizeof text) {
            snprintf(text + n, sizeof text - n, "%s...", n ? ", " : "");
            break;
        }
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? ", " : "", v->string);
    }
    return strdup(text);
}

static int no_layout(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                     const cJSON *row)
{
    char *names = list_names(d, row, 0, false);
    const int rc = plumb_fail(PLUMB_EINVAL,
                              "%s:%" PRId64 ": columns \"%s\" do not fit: wanted %s; or rows as "
                              "OpenAI, ShareGPT or Alpaca have them (--dataset_format)",
                              s->path, s->line, names ? names : "?", wants[d->o.use]);
    free(names);
    return rc;
}

static enum plumb_dataset_type type_of(const struct plumb_dataset_self *d)
{
    const enum plumb_dataset_type t = d->layout->type;
    if (t == PLUMB_DATA_PREFERENCE && d->o.use == PLUMB_USE_UNPAIRED) return PLUMB_DATA_UNPAIRED;
    if (d->used & (C(LABELS) | C(COMPLETION_MASK))) return PLUMB_DATA_PROMPT_COMPLETION;
    if (d->o.assistant_only) return PLUMB_DATA_PROMPT_COMPLETION;
    if (t == PLUMB_DATA_PROMPT_COMPLETION && d->o.train_on_prompt)
        return PLUMB_DATA_LANGUAGE_MODELING;
    return t;
}

/* Conversations need a template that can be read. */
static int check_template(const struct plumb_dataset_self *d, const struct plumb_row_source *s)
{
    const struct plumb_jinja *unused;
    if (!d->o.chat)
        return plumb_fail(PLUMB_EINVAL,
                          "%s:%" PRId64 ": columns \"%s\" are conversations and there is no chat "
                          "template",
                          s->path, s->line, d->used_names);
    const int rc = plumb_chat_template(d->o.chat, false, &unused);
    if (rc)
        plumb_fail_while(rc, "reading the conversations of %s:%" PRId64 " (columns \"%s\")",
                         s->path, s->line, d->used_names);
    return rc;
}

/* What the columns as a whole ask for and may not get. */
static int check_choice(const struct plumb_dataset_self *d, const struct plumb_row_source *s)
{
    const unsigned refs = d->used & (C(REF_CHOSEN) | C(REF_REJECTED));
    if (!d->layout->tokenised && !d->o.text)
        return plumb_fail(PLUMB_EINVAL,
                          "%s:%" PRId64 ": columns \"%s\" are text and there is no tokenizer; "
                          "tokenised columns (\"..._ids\") need none",
                          s->path, s->line, d->used_names);
    if (d->talks) PLUMB_TRY(check_template(d, s));
    if (d->o.assistant_only && (!d->talks || !d->o.text->encode_spans))
        return plumb_fail(PLUMB_EINVAL,
                          "%s:%" PRId64 ": assistant_only_loss wants conversations, and columns "
                          "\"%s\" are none",
                          s->path, s->line, d->used_names);
    if (refs && refs != (C(REF_CHOSEN) | C(REF_REJECTED)))
        return plumb_fail(PLUMB_EINVAL,
                          "%s:%" PRId64 ": column \"%s\" stands alone: ref_chosen_logps and "
                          "ref_rejected_logps go together",
                          s->path, s->line,
                          refs & C(REF_CHOSEN) ? "ref_chosen_logps" : "ref_rejected_logps");
    if (d->o.keep_end && !(d->layout->uses & U(SFT)))
        return plumb_fail(PLUMB_ENOTSUP,
                          "truncation_mode keep_end is for SFT only, not for %s data: use "
                          "keep_start",
                          plumb_dataset_type_name(d->type));
    return PLUMB_OK;
}

/* Whether a text of the first row is a conversation. */
static bool row_talks(const struct plumb_dataset_self *d, const cJSON *row)
{
    for (const cJSON *v = row->child; v; v = v->next) {
        const int c = find_column(d, v->string);
        if (c < PLUMB_COLUMNS && (d->used >> c & 1) &&
            (columns[c].kind == KIND_TALK || (columns[c].kind == KIND_TEXT && is_conversation(v))))
            return true;
    }
    return false;
}

static const struct plumb_layout *find_layout(const struct plumb_dataset_self *d, unsigned present)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if ((layouts[i].uses >> d->o.use & 1) && (present & layouts[i].need) == layouts[i].need)
            return &layouts[i];
    return NULL;
}

bool plumb_columns_fit(const struct plumb_dataset_self *d, const cJSON *row)
{
    unsigned present = 0;
    for (const cJSON *v = row->child; v; v = v->next) {
        const int c = find_column(d, v->string);
        if (c < PLUMB_COLUMNS && !cJSON_IsNull(v) && !cJSON_IsObject(v)) present |= 1u << c;
    }
    return find_layout(d, present);
}

int plumb_columns_choose(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                         const cJSON *row)
{
    unsigned present = 0;
    for (const cJSON *v = row->child; v; v = v->next) {
        const int c = find_column(d, v->string);
        if (c < PLUMB_COLUMNS && !cJSON_IsNull(v)) present |= 1u << c;
    }
    const struct plumb_layout *layout = find_layout(d, present);
    if (!layout) return no_layout(d, s, row);
    d->layout = layout;
    d->used = layout->need | (layout->may & present);
    if (d->o.train_on_prompt || (d->used & C(LABELS))) d->used &= ~C(COMPLETION_MASK);
    d->talks = row_talks(d, row);
    d->type = type_of(d);
    d->used_names = list_names(d, row, d->used, true);
    d->ignored_names = list_names(d, row, d->used, false);
    if (!d->used_names || !d->ignored_names)
        return plumb_fail(PLUMB_EMEM, "could not allocate the column names of \"%s\"", s->path);
    return check_choice(d, s);
}

const char *plumb_talk_fault(const cJSON *v)
{
    if (!cJSON_IsArray(v)) return "wants a conversation (a list of messages)";
    if (!v->child) return "wants at least one message";
    for (const cJSON *m = v->child; m; m = m->next) {
        if (!cJSON_IsObject(m)) return "wants messages that are objects";
        if (cJSON_IsString(cJSON_GetObjectItemCaseSensitive(m, "role"))) continue;
        return cJSON_GetObjectItemCaseSensitive(m, "from")
                   ? "wants messages of role and content (these are ShareGPT's from and value)"
                   : "wants messages with a role";
    }
    return NULL;
}

static int check_kind(const struct plumb_dataset_self *d, const struct plumb_row_source *s, int c)
{
    const cJSON *v = s->column[c];
    const char *wanted = NULL;
    char got[64];
    switch (columns[c].kind) {
    case KIND_TALK:
    case KIND_TEXT:
        if (d->talks)
            wanted = plumb_talk_fault(v);
        else if (!cJSON_IsString(v))
            wanted = "wants text";
        break;
    case KIND_IDS:
        if (!cJSON_IsArray(v)) wanted = "wants an array of numbers";
        break;
    case KIND_LIST:
        if (!cJSON_IsArray(v)) wanted = "wants an array with an element for each candidate";
        break;
    case KIND_NUMBER:
        if (!cJSON_IsNumber(v)) wanted = "wants a number";
        break;
    case KIND_LABEL:
        if (!cJSON_IsBool(v) &&
            !(cJSON_IsNumber(v) && (v->valuedouble == 0 || v->valuedouble == 1)))
            wanted = "wants true or false";
        break;
    }
    if (!wanted) return PLUMB_OK;
    show_value(v, got);
    return plumb_column_fault(d, s, c, "%s, got %s", wanted, got);
}

int plumb_columns_collect(const struct plumb_dataset_self *d, const cJSON *row,
                          struct plumb_row_source *s)
{
    const unsigned known = d->layout->need | d->layout->may;
    for (int c = 0; c < PLUMB_COLUMNS; c++)
        s->column[c] = NULL;
    for (const cJSON *v = row->child; v; v = v->next) {
        const int c = find_column(d, v->string);
        if (c == PLUMB_COLUMNS || cJSON_IsNull(v)) continue;
        if (d->used >> c & 1)
            s->column[c] = v;
        else if ((known >> c & 1) && c != PLUMB_COL_COMPLETION_MASK)
            return plumb_column_fault(d, s, c, "stands here but not in the first row");
    }
    for (int c = 0; c < PLUMB_COLUMNS; c++) {
        if (!(d->used >> c & 1)) continue;
        if (!s->column[c])
            return plumb_column_fault(d, s, c, "is %s; the first row has it",
                                      plumb_json_get(row, column_name(d, c)) ? "null" : "missing");
        PLUMB_TRY(check_kind(d, s, c));
    }
    return PLUMB_OK;
}
