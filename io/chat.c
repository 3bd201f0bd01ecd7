/* Conversations through chat templates. */
#include "io/chat.h"

#include <ctype.h>
#include <string.h>

#include "io/jinja_run.h"

#define TAG "CONTINUE_FINAL_MESSAGE_TAG" /* transformers' own, so that templates treat it alike */

static int missing(const char *what)
{
    return plumb_fail(PLUMB_EFORMAT, "a conversation: %s", what);
}

/* Reasoning under every name that templates look for. */
static int alias_reasoning(struct plumb_jinja_pool *pool, struct plumb_jinja_dict *message)
{
    static const char *const names[] = { "reasoning_content", "thinking", "reasoning" };
    for (int i = 0; i < 3; i++) {
        const struct plumb_jinja_value *v = plumb_jinja_find_text(message, names[i]);
        if (!v || v->kind == PLUMB_JINJA_NONE) continue;
        const struct plumb_jinja_value reasoning = *v;
        PLUMB_TRY(plumb_jinja_put_text(pool, message, "reasoning_content", reasoning));
        if (plumb_jinja_find_text(message, "thinking")) return PLUMB_OK;
        return plumb_jinja_put_text(pool, message, "thinking", reasoning);
    }
    return PLUMB_OK;
}

static int tagged(struct plumb_jinja_pool *pool, struct plumb_jinja_dict *d, const char *key,
                  const struct plumb_jinja_string **text)
{
    struct plumb_jinja_out o = { .pool = pool };
    struct plumb_jinja_value v;
    const struct plumb_jinja_value *old = plumb_jinja_find_text(d, key);
    if (!old || old->kind != PLUMB_JINJA_STRING)
        return missing("the last message has no text to continue");
    *text = old->s;
    PLUMB_TRY(plumb_jinja_write(&o, old->s->at, old->s->n));
    PLUMB_TRY(plumb_jinja_write_text(&o, TAG " "));
    PLUMB_TRY(plumb_jinja_written(&o, &v));
    return plumb_jinja_put_text(pool, d, key, v);
}

/* Marks the end of the last message's content; *text = what it was. */
static int tag_last(struct plumb_jinja_pool *pool, struct plumb_jinja_value messages,
                    const struct plumb_jinja_string **text)
{
    if (messages.l->n == 0) return missing("there is no message to continue");
    struct plumb_jinja_dict *last = messages.l->at[messages.l->n - 1].d;
    const struct plumb_jinja_value *content = plumb_jinja_find_text(last, "content");
    if (!content || content->kind != PLUMB_JINJA_LIST) return tagged(pool, last, "content", text);
    for (int64_t i = content->l->n - 1; i >= 0; i--) {
        const struct plumb_jinja_value part = content->l->at[i];
        if (part.kind == PLUMB_JINJA_DICT && plumb_jinja_find_text(part.d, "text"))
            return tagged(pool, part.d, "text", text);
    }
    return missing("the last message has no text to continue");
}

/* Cuts the text behind the content that is to be continued. */
static int cut(struct plumb_jinja_text *out, const struct plumb_jinja_string *content)
{
    const char *first = content->at, *end = first + content->n, *tag = NULL;
    while (first < end && isspace((unsigned char)*first))
        first++;
    while (end > first && isspace((unsigned char)end[-1]))
        end--;
    for (char *p = out->text; (p = memmem(p, (size_t)(out->text + out->n - p), TAG, strlen(TAG)));)
        tag = p++;
    if (!tag || !memmem(out->text, out->n, first, (size_t)(end - first)))
        return missing("the template drops or changes the last message, which is to be continued");
    size_t n = (size_t)(tag - out->text);
    const bool spaced = n + strlen(TAG) < out->n && tag[strlen(TAG)] == ' ';
    while (!spaced && n > 0 && isspace((unsigned char)out->text[n - 1]))
        n--;
    out->n = n;
    out->text[n] = 0;
    for (int64_t i = 0; i < 2 * out->spans; i++)
        if (out->span[i] > (int64_t)n) out->span[i] = (int64_t)n;
    return PLUMB_OK;
}

/* The conversation as the template sees it, as JSON in *o. */
static int prepare(struct plumb_jinja_run *r, struct plumb_jinja_value data, bool go_on,
                   const struct plumb_jinja_string **content, struct plumb_jinja_out *o)
{
    static const char *const optional[] = { "tools", "documents" };
    const struct plumb_jinja_json how = { .indent = -1, .between = ",", .colon = ":" };
    if (data.kind != PLUMB_JINJA_DICT) return missing("it is no object");
    const struct plumb_jinja_value *messages = plumb_jinja_find_text(data.d, "messages");
    if (!messages || messages->kind != PLUMB_JINJA_LIST) return missing("messages is no list");
    for (int64_t i = 0; i < messages->l->n; i++) {
        if (messages->l->at[i].kind != PLUMB_JINJA_DICT) return missing("a message is no object");
        PLUMB_TRY(alias_reasoning(r->pool, messages->l->at[i].d));
    }
    if (go_on) PLUMB_TRY(tag_last(r->pool, *messages, content));
    for (int i = 0; i < 2; i++)
        if (!plumb_jinja_find_text(data.d, optional[i]))
            PLUMB_TRY(plumb_jinja_put_text(r->pool, data.d, optional[i], plumb_jinja_none()));
    return plumb_jinja_write_json(r, o, &how, data, 0);
}

int plumb_chat_render_value(const struct plumb_jinja *t, struct plumb_jinja_pool *pool,
                            struct plumb_jinja_value data, bool continue_final_message, int64_t now,
                            struct plumb_jinja_text *out)
{
    struct plumb_jinja_out o = { .pool = pool };
    struct plumb_jinja_run r = { .pool = pool, .name = "a conversation", .steps = INT32_MAX };
    const struct plumb_jinja_string *content = NULL;
    *out = (struct plumb_jinja_text){ 0 };
    PLUMB_TRY(prepare(&r, data, continue_final_message, &content, &o));
    PLUMB_TRY(plumb_jinja_render(t, o.at, o.n, now, out));
    return content ? cut(out, content) : PLUMB_OK;
}

int plumb_chat_render(const struct plumb_jinja *t, const char *json, size_t n,
                      bool continue_final_message, int64_t now, struct plumb_jinja_text *out)
{
    struct plumb_jinja_pool pool = { .limit = (size_t)256 << 20 };
    struct plumb_jinja_value data;
    *out = (struct plumb_jinja_text){ 0 };
    int rc = plumb_jinja_read_json(&pool, json, n, &data);
    if (!rc) rc = plumb_chat_render_value(t, &pool, data, continue_final_message, now, out);
    plumb_jinja_pool_release(&pool);
    return rc;
}
