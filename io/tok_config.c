/* What tokenizer_config.json and special_tokens_map.json say on special tokens, done as
 * transformers 5.23 does it (tokenization_utils_tokenizers.py). */
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "io/tok.h"

static bool absent(const cJSON *v) { return !v || cJSON_IsNull(v); }

/* The value of a key in either file; tokenizer_config.json goes first. */
static const cJSON *setting(const struct plumb_tok_configs *c, const char *key)
{
    const cJSON *v = plumb_json_get(c->config, key);
    return absent(v) ? plumb_json_get(c->map, key) : v;
}

/* The text of a special token, written as a string or as an object; NULL = none. */
static int content_of(const cJSON *v, const char *key, const char **out)
{
    *out = NULL;
    if (absent(v)) return PLUMB_OK;
    if (!cJSON_IsString(v)) return plumb_json_string(v, "content", key, out);
    *out = v->valuestring;
    return PLUMB_OK;
}

/* Adds a token written as a string or as an object, unless it is an added token already. */
static int add_special(struct plumb_tok *t, const cJSON *v, const char *key)
{
    struct plumb_tok_flags flags = { 0 };
    const char *content;
    PLUMB_TRY(content_of(v, key, &content));
    if (!content || plumb_tok_added_by_id(t, plumb_tok_find(t, content))) return PLUMB_OK;
    if (!cJSON_IsString(v)) PLUMB_TRY(plumb_tok_load_flags(v, key, &flags));
    flags.special = true;
    return plumb_tok_add(t, content, &flags, -1, key);
}

static const char *const named[] = { "bos_token", "eos_token", "unk_token", "pad_token",
                                     "sep_token", "cls_token", "mask_token" };
enum { NAMED = sizeof named / sizeof *named };

static int is_named(const struct plumb_tok_configs *c, const char *content, bool *found)
{
    *found = false;
    for (int i = 0; i < NAMED && !*found; i++) {
        const char *other;
        PLUMB_TRY(content_of(setting(c, named[i]), named[i], &other));
        *found = other && !strcmp(content, other);
    }
    return PLUMB_OK;
}

struct numbered {
    int64_t id;
    const cJSON *token;
};

static int by_id(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* One entry of added_tokens_decoder: the same token with the same flags changes nothing. */
static int add_numbered(struct plumb_tok *t, const struct plumb_tok_configs *c,
                        const struct numbered *n)
{
    static const char where[] = "tokenizer_config.json: added_tokens_decoder";
    struct plumb_tok_flags flags;
    const char *content;
    PLUMB_TRY(plumb_json_string(n->token, "content", where, &content));
    PLUMB_TRY(plumb_tok_load_flags(n->token, where, &flags));
    const struct plumb_tok_added *old = plumb_tok_added_by_id(t, plumb_tok_find(t, content));
    if (old && old->flags.special == flags.special && old->flags.normalized == flags.normalized &&
        old->flags.lstrip == flags.lstrip && old->flags.rstrip == flags.rstrip &&
        old->flags.single_word == flags.single_word)
        return PLUMB_OK;
    bool special;
    PLUMB_TRY(is_named(c, content, &special));
    flags.special |= special;
    return plumb_tok_add(t, content, &flags, n->id, where);
}

static int add_decoder_tokens(struct plumb_tok *t, const struct plumb_tok_configs *c)
{
    const cJSON *object = plumb_json_get(c->config, "added_tokens_decoder");
    int rc = PLUMB_OK;
    size_t n = 0, capacity = 0;
    struct numbered *list = NULL;
    if (absent(object)) return PLUMB_OK;
    for (const cJSON *v = object->child; v; v = v->next) {
        char *end = NULL;
        const long long id = v->string ? strtoll(v->string, &end, 10) : -1;
        if (!v->string || end == v->string || *end || id < 0 || id > PLUMB_TOK_MAX_ID)
            PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT,
                                  "tokenizer_config.json: added_tokens_decoder: \"%.80s\" is no id",
                                  v->string ? v->string : ""));
        PLUMB_TRYG(plumb_tok_grow(&list, &capacity, n + 1, sizeof *list));
        list[n++] = (struct numbered){ id, v };
    }
    if (n) qsort(list, n, sizeof *list, by_id);
    for (size_t i = 0; i < n; i++)
        PLUMB_TRYG(add_numbered(t, c, &list[i]));
out:
    free(list);
    return rc;
}

static int add_config_tokens(struct plumb_tok *t, const struct plumb_tok_configs *c)
{
    static const char *const lists[] = { "additional_special_tokens", "extra_special_tokens" };
    plumb_tok_add_begin(t);
    PLUMB_TRY(add_decoder_tokens(t, c));
    for (int i = 0; i < NAMED; i++)
        PLUMB_TRY(add_special(t, setting(c, named[i]), named[i]));
    for (int i = 0; i < 2; i++) {
        const cJSON *list = setting(c, lists[i]);
        for (const cJSON *v = absent(list) ? NULL : list->child; v; v = v->next)
            PLUMB_TRY(add_special(t, v, lists[i]));
    }
    return PLUMB_OK;
}

static int name_id(const struct plumb_tok *t, const struct plumb_tok_configs *c, const char *key,
                   int32_t *id)
{
    const char *content;
    PLUMB_TRY(content_of(setting(c, key), key, &content));
    if (content) *id = plumb_tok_find(t, content);
    return PLUMB_OK;
}

int plumb_tok_configure(struct plumb_tok *t, const struct plumb_tok_configs *c,
                        struct plumb_tok_names *names)
{
    bool split;
    PLUMB_TRY(plumb_json_bool_or(c->config, "split_special_tokens", "tokenizer_config.json", false,
                                 &split));
    if (split)
        return plumb_fail(PLUMB_ENOTSUP,
                          "tokenizer_config.json: split_special_tokens is not supported");
    PLUMB_TRY(add_config_tokens(t, c));
    PLUMB_TRY(name_id(t, c, "bos_token", &names->bos));
    PLUMB_TRY(name_id(t, c, "eos_token", &names->eos));
    PLUMB_TRY(name_id(t, c, "pad_token", &names->pad));
    return name_id(t, c, "unk_token", &names->unk);
}
