/* Rows of conversations become token ids by the tokenizer's chat template: TRL 1.16's rules. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/chat.h"
#include "io/dataset_rows.h"
#include "io/jinja_run.h"

/* A row as a template's values. */
struct talk {
    struct plumb_jinja_pool pool;
    struct plumb_jinja_value row;
};

/* What is rendered: two columns, one behind the other. */
struct scene {
    enum plumb_column column[2]; /* PLUMB_COLUMNS = none */
    int64_t candidate;           /* which, of the column `completions` */
    int64_t most;                /* the first messages alone; -1 = all */
    bool add_generation_prompt, continue_final_message;
    bool marks; /* the assistant's tokens are wanted */
};

static const cJSON *last_of(const cJSON *list)
{
    const cJSON *v = list->child;
    while (v && v->next)
        v = v->next;
    return v;
}

/* Messages of a column behind those in `to`, as the template sees them: without what is null, as
 * many templates would write None. */
static int put_messages(struct talk *t, const struct plumb_row_source *s, const struct scene *scene,
                        int side, struct plumb_jinja_value to)
{
    const enum plumb_column c = scene->column[side];
    const int64_t most = scene->most;
    const struct plumb_jinja_value *list = plumb_jinja_find_text(t->row.d, s->column[c]->string);
    if (c == PLUMB_COL_COMPLETIONS) list = &list->l->at[scene->candidate];
    for (int64_t i = 0; i < list->l->n && (most < 0 || to.l->n < most); i++) {
        const struct plumb_jinja_dict *from = list->l->at[i].d;
        struct plumb_jinja_value message;
        PLUMB_TRY(plumb_jinja_dict(&t->pool, &message));
        for (int64_t k = 0; k < from->n; k++)
            if (from->at[k].value.kind != PLUMB_JINJA_NONE)
                PLUMB_TRY(plumb_jinja_put(&t->pool, message.d, from->at[k].key, from->at[k].value));
        PLUMB_TRY(plumb_jinja_push(&t->pool, to, message));
    }
    return PLUMB_OK;
}

/* The row's tools, which may be JSON in a string; *out = NULL without. */
static int tools_of(struct talk *t, const struct plumb_jinja_value **out)
{
    const struct plumb_jinja_value *v = plumb_jinja_find_text(t->row.d, "tools");
    struct plumb_jinja_value read;
    *out = v && v->kind != PLUMB_JINJA_NONE ? v : NULL;
    if (!*out || v->kind != PLUMB_JINJA_STRING) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_read_json(&t->pool, v->s->at, v->s->n, &read));
    PLUMB_TRY(plumb_jinja_put_text(&t->pool, t->row.d, "tools", read));
    *out = plumb_jinja_find_text(t->row.d, "tools");
    if ((*out)->kind == PLUMB_JINJA_NONE) *out = NULL;
    return PLUMB_OK;
}

/* The template's variables: special tokens, then the row's own, then the conversation. */
static int variables(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                     struct talk *t, const struct scene *scene, struct plumb_jinja_value *out)
{
    const struct plumb_chat *chat = d->o.chat;
    struct plumb_jinja_value list;
    const struct plumb_jinja_value *tools;
    const struct plumb_jinja_value *own = plumb_jinja_find_text(t->row.d, "chat_template_kwargs");
    PLUMB_TRY(plumb_jinja_read_json(&t->pool, chat->tokens, strlen(chat->tokens), out));
    PLUMB_TRY(tools_of(t, &tools));
    if (tools) PLUMB_TRY(plumb_jinja_put_text(&t->pool, out->d, "tools", *tools));
    for (int64_t i = 0; own && own->kind == PLUMB_JINJA_DICT && i < own->d->n; i++)
        PLUMB_TRY(plumb_jinja_put(&t->pool, out->d, own->d->at[i].key, own->d->at[i].value));
    PLUMB_TRY(plumb_jinja_row(&t->pool, PLUMB_JINJA_LIST, 0, &list));
    for (int i = 0; i < 2; i++)
        if (scene->column[i] < PLUMB_COLUMNS) PLUMB_TRY(put_messages(t, s, scene, i, list));
    PLUMB_TRY(plumb_jinja_put_text(&t->pool, out->d, "messages", list));
    return plumb_jinja_put_text(&t->pool, out->d, "add_generation_prompt",
                                plumb_jinja_bool(scene->add_generation_prompt));
}

static enum plumb_column last_column(const struct scene *scene)
{
    return scene->column[1] < PLUMB_COLUMNS ? scene->column[1] : scene->column[0];
}

/* The text of a scene; a fault names its last column. Release *text also after a failure. */
static int draw(struct plumb_dataset_self *d, const struct plumb_row_source *s, struct talk *t,
                const struct scene *scene, struct plumb_jinja_text *text)
{
    const struct plumb_jinja *template;
    const struct plumb_jinja_value *tools;
    struct plumb_jinja_value data;
    *text = (struct plumb_jinja_text){ 0 };
    int rc = tools_of(t, &tools);
    if (!rc) PLUMB_TRY(plumb_chat_template(d->o.chat, tools, &template));
    if (!rc) rc = variables(d, s, t, scene, &data);
    if (!rc)
        rc = plumb_chat_render_value(template, &t->pool, data, scene->continue_final_message,
                                     d->o.chat->now, text);
    if (rc && rc != PLUMB_EMEM)
        rc = plumb_column_fault(d, s, last_column(scene), "cannot be rendered: %s", plumb_errmsg());
    return rc;
}

/* Checks that `part` is how `whole` begins. */
static int check_beginning(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                           const struct scene *scene, const struct plumb_jinja_text *part,
                           const struct plumb_jinja_text *whole)
{
    if (part->n <= whole->n && !memcmp(part->text, whole->text, part->n)) return PLUMB_OK;
    return plumb_column_fault(d, s, last_column(scene),
                              "is rendered otherwise up to message %" PRId64
                              " than as a whole, and "
                              "the chat template has no {%% generation %%} blocks: "
                              "assistant_only_loss cannot tell the assistant's tokens",
                              scene->most);
}

/* Appends the span of the assistant's message i: what lies between the conversation before it, with
 * the generation prompt, and the conversation up to it. */
static int add_span(struct plumb_dataset_self *d, const struct plumb_row_source *s, struct talk *t,
                    const struct scene *whole, int64_t i, struct plumb_jinja_text *text)
{
    struct scene part = *whole;
    struct plumb_jinja_text before, through = { 0 };
    part.most = i;
    part.add_generation_prompt = true;
    int rc = draw(d, s, t, &part, &before);
    if (!rc) rc = check_beginning(d, s, &part, &before, text);
    part.most = i + 1;
    part.add_generation_prompt = false;
    if (!rc) rc = draw(d, s, t, &part, &through);
    if (!rc) rc = check_beginning(d, s, &part, &through, text);
    if (!rc && before.n <= through.n) {
        text->span[2 * text->spans] = (int64_t)before.n;
        text->span[2 * text->spans++ + 1] = (int64_t)through.n;
    }
    plumb_jinja_text_release(&before);
    plumb_jinja_text_release(&through);
    return rc;
}

/* The role of each message of a scene, in order: whether it is the assistant's. */
static bool is_assistant(const struct plumb_row_source *s, const struct scene *scene, int64_t i)
{
    for (int side = 0; side < 2; side++) {
        if (scene->column[side] == PLUMB_COLUMNS) continue;
        const cJSON *list = s->column[scene->column[side]];
        const int64_t n = cJSON_GetArraySize(list);
        const cJSON *role = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(list, (int)i),
                                                             "role");
        if (i < n) return !strcmp(role->valuestring, "assistant");
        i -= n;
    }
    return false;
}

/* The assistant's spans of a template that does not mark them. */
static int find_spans(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                      struct talk *t, const struct scene *scene, struct plumb_jinja_text *text)
{
    int64_t messages = 0;
    for (int side = 0; side < 2; side++)
        if (scene->column[side] < PLUMB_COLUMNS)
            messages += cJSON_GetArraySize(s->column[scene->column[side]]);
    free(text->span);
    text->spans = 0;
    text->span = malloc((size_t)messages * 2 * sizeof *text->span);
    if (!text->span) return plumb_fail(PLUMB_EMEM, "could not allocate the spans of a row");
    for (int64_t i = 0; i < messages; i++)
        if (is_assistant(s, scene, i)) PLUMB_TRY(add_span(d, s, t, scene, i, text));
    return PLUMB_OK;
}

/* The ids of a scene. */
static int play(struct plumb_dataset_self *d, const struct plumb_row_source *s, struct talk *t,
                const struct scene *scene, struct plumb_idbuf *out)
{
    const enum plumb_column c = last_column(scene);
    const struct plumb_jinja_value *tools;
    struct plumb_jinja_text text;
    int rc = draw(d, s, t, scene, &text);
    if (!rc && scene->marks) {
        rc = tools_of(t, &tools);
        if (!rc && !plumb_chat_marks(d->o.chat, tools)) rc = find_spans(d, s, t, scene, &text);
        if (!rc) rc = plumb_row_mark(d, s, c, &text, out);
    } else if (!rc) {
        rc = plumb_row_encode(d, s, c, text.text, text.n, false, out);
    }
    plumb_jinja_text_release(&text);
    return rc;
}

/* Leading messages that two conversations share, at most all but one of the shorter. */
static int64_t shared_messages(const cJSON *a, const cJSON *b)
{
    int64_t n = 0;
    const cJSON *x = a->child, *y = b->child;
    for (; x && y && cJSON_Compare(x, y, true); x = x->next, y = y->next)
        n++;
    return x && y ? n : n - 1;
}

/* A reference without a prompt column begins with the prompt of its pair. */
static int check_reference(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                           int64_t shared)
{
    const cJSON *x = s->column[PLUMB_COL_CHOSEN]->child;
    const cJSON *y = s->column[PLUMB_COL_REFERENCE]->child;
    for (int64_t i = 0; i < shared; i++, x = x->next, y = y->next)
        if (!y || !cJSON_Compare(x, y, true))
            return plumb_column_fault(d, s, PLUMB_COL_REFERENCE,
                                      "does not begin with the messages that chosen and rejected "
                                      "share: give a column \"prompt\"");
    return PLUMB_OK;
}

/* The prompt that chosen and rejected share. */
static int implicit_prompt(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                           struct talk *t)
{
    const int64_t n = shared_messages(s->column[PLUMB_COL_CHOSEN], s->column[PLUMB_COL_REJECTED]);
    const struct scene prompt = { .column = { PLUMB_COL_CHOSEN, PLUMB_COLUMNS },
                                  .most = n,
                                  .add_generation_prompt = true };
    if (n < 1)
        return plumb_column_fault(d, s, PLUMB_COL_CHOSEN,
                                  "shares no first message with \"rejected\": there is no prompt; "
                                  "give a column \"prompt\"");
    if (s->column[PLUMB_COL_REFERENCE]) PLUMB_TRY(check_reference(d, s, n));
    return play(d, s, t, &prompt, &d->scratch[0]);
}

/* A prompt alone goes on where its last message ends if that is the assistant's; before a
 * completion, which is messages of its own, it never does. */
static int explicit_prompt(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                           struct talk *t)
{
    const cJSON *role = cJSON_GetObjectItemCaseSensitive(last_of(s->column[PLUMB_COL_PROMPT]),
                                                         "role");
    const bool go_on = d->layout->type == PLUMB_DATA_PROMPT_ONLY &&
                       strcmp(role->valuestring, "assistant") == 0;
    const struct scene prompt = { .column = { PLUMB_COL_PROMPT, PLUMB_COLUMNS },
                                  .most = -1,
                                  .add_generation_prompt = !go_on,
                                  .continue_final_message = go_on };
    return play(d, s, t, &prompt, &d->scratch[0]);
}

static int play_all(struct plumb_dataset_self *d, const struct plumb_row_source *s, struct talk *t)
{
    static const enum plumb_column whole[] = { PLUMB_COL_TEXT,       PLUMB_COL_MESSAGES,
                                               PLUMB_COL_COMPLETION, PLUMB_COL_CHOSEN,
                                               PLUMB_COL_REJECTED,   PLUMB_COL_REFERENCE };
    const bool prompted = s->column[PLUMB_COL_PROMPT];
    struct plumb_idbuf *out = &d->scratch[1];
    PLUMB_TRY(plumb_jinja_read_json(&t->pool, s->text, s->n, &t->row));
    if (prompted && d->o.use != PLUMB_USE_REWARD) PLUMB_TRY(explicit_prompt(d, s, t));
    if (!prompted && s->column[PLUMB_COL_CHOSEN] && d->o.use != PLUMB_USE_REWARD)
        PLUMB_TRY(implicit_prompt(d, s, t));
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        const struct scene scene = { .column = { prompted ? PLUMB_COL_PROMPT : PLUMB_COLUMNS,
                                                 whole[i] },
                                     .most = -1,
                                     .marks = d->o.assistant_only };
        if (s->column[whole[i]]) PLUMB_TRY(play(d, s, t, &scene, out++));
    }
    return PLUMB_OK;
}

int plumb_row_talk(struct plumb_dataset_self *d, const struct plumb_row_source *s)
{
    struct talk t = { .pool = { .limit = (size_t)256 << 20 } };
    const int rc = play_all(d, s, &t);
    plumb_jinja_pool_release(&t.pool);
    return rc;
}

static int play_candidates(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                           struct talk *t)
{
    struct scene scene = { .column = { PLUMB_COL_PROMPT, PLUMB_COL_COMPLETIONS }, .most = -1 };
    PLUMB_TRY(plumb_jinja_read_json(&t->pool, s->text, s->n, &t->row));
    PLUMB_TRY(explicit_prompt(d, s, t));
    for (const cJSON *v = s->column[PLUMB_COL_COMPLETIONS]->child; v; v = v->next) {
        PLUMB_TRY(play(d, s, t, &scene, &d->scratch[1]));
        PLUMB_TRY(plumb_row_add_candidate(d));
        scene.candidate++;
    }
    return PLUMB_OK;
}

int plumb_row_talk_candidates(struct plumb_dataset_self *d, const struct plumb_row_source *s)
{
    struct talk t = { .pool = { .limit = (size_t)256 << 20 } };
    const int rc = play_candidates(d, s, &t);
    plumb_jinja_pool_release(&t.pool);
    return rc;
}
