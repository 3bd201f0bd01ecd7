/* tokenizer.json to a tokenizer. Truncation and padding are left aside: whoever encodes decides
 * about them, as transformers does. */
#include "io/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/tok.h"
#include "io/utf8.h"

static const struct plumb_tok_model *const models[] = { &plumb_tok_bpe, &plumb_tok_unigram,
                                                        &plumb_tok_wordpiece };

int plumb_tok_copy(char **out, size_t *bytes, const char *s)
{
    *bytes = strlen(s);
    *out = malloc(*bytes + 1);
    if (!*out) return plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes", *bytes + 1);
    memcpy(*out, s, *bytes + 1);
    return PLUMB_OK;
}

int plumb_tok_load_character(struct plumb_tok_step *step, const cJSON *obj, const char *key,
                             const char *where)
{
    const char *s;
    int32_t cp;
    PLUMB_TRY(plumb_json_string(obj, key, where, &s));
    if (!*s || s[plumb_utf8_next(s, strlen(s), &cp)])
        return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants one character, got \"%.80s\"", where,
                          key, s);
    return plumb_tok_copy(&step->text, &step->text_bytes, s);
}

static bool absent(const cJSON *v) { return !v || cJSON_IsNull(v); }

static int load_step(struct plumb_tok_steps *steps, const cJSON *obj, const char *type,
                     const struct plumb_tok_kind *kinds, const char *where)
{
    while (kinds->type && strcmp(kinds->type, type))
        kinds++;
    if (!kinds->type)
        return plumb_fail(PLUMB_ENOTSUP, "%s: the type \"%.80s\" is not supported", where, type);
    if (steps->n == PLUMB_TOK_STEPS)
        return plumb_fail(PLUMB_ENOTSUP, "%s: over %d steps", where, PLUMB_TOK_STEPS);
    struct plumb_tok_step *step = &steps->step[steps->n++];
    *step = (struct plumb_tok_step){ .kind = kinds, .choice = kinds->choice };
    char place[300];
    snprintf(place, sizeof place, "%s: %s", where, type);
    return kinds->load ? kinds->load(step, obj, place) : PLUMB_OK;
}

static int load_steps(struct plumb_tok_steps *steps, const cJSON *obj, const char *list,
                      const struct plumb_tok_kind *kinds, const char *where)
{
    const char *type;
    if (absent(obj)) return PLUMB_OK;
    PLUMB_TRY(plumb_json_string(obj, "type", where, &type));
    if (strcmp(type, "Sequence")) return load_step(steps, obj, type, kinds, where);
    const cJSON *each = plumb_json_get(obj, list);
    if (!cJSON_IsArray(each))
        return plumb_fail(PLUMB_EFORMAT, "%s: a Sequence wants an array \"%s\", got %s", where,
                          list, plumb_json_type(each));
    for (each = each->child; each; each = each->next)
        PLUMB_TRY(load_steps(steps, each, list, kinds, where));
    return PLUMB_OK;
}

void plumb_tok_steps_release(struct plumb_tok_steps *steps)
{
    for (int i = 0; i < steps->n; i++) {
        free(steps->step[i].text);
        free(steps->step[i].content);
        plumb_regex_free(steps->step[i].regex);
    }
    steps->n = 0;
}

int plumb_tok_load_flags(const cJSON *obj, const char *where, struct plumb_tok_flags *f)
{
    PLUMB_TRY(plumb_json_bool_or(obj, "single_word", where, false, &f->single_word));
    PLUMB_TRY(plumb_json_bool_or(obj, "lstrip", where, false, &f->lstrip));
    PLUMB_TRY(plumb_json_bool_or(obj, "rstrip", where, false, &f->rstrip));
    PLUMB_TRY(plumb_json_bool_or(obj, "special", where, false, &f->special));
    return plumb_json_bool_or(obj, "normalized", where, !f->special, &f->normalized);
}

static int load_added(struct plumb_tok *t, const cJSON *list, const char *where)
{
    plumb_tok_add_begin(t);
    if (absent(list)) return PLUMB_OK;
    if (!cJSON_IsArray(list))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"added_tokens\" wants an array, got %s", where,
                          plumb_json_type(list));
    for (const cJSON *v = list->child; v; v = v->next) {
        const char *content;
        int64_t id;
        struct plumb_tok_flags flags;
        PLUMB_TRY(plumb_json_string(v, "content", where, &content));
        PLUMB_TRY(plumb_json_i64(v, "id", where, &id));
        PLUMB_TRY(plumb_tok_load_flags(v, where, &flags));
        if (id < 0 || id > PLUMB_TOK_MAX_ID)
            return plumb_fail(PLUMB_EFORMAT,
                              "%s: added token \"%.200s\" has id %" PRId64 "; ids are 0 to %d",
                              where, content, id, PLUMB_TOK_MAX_ID);
        PLUMB_TRY(plumb_tok_add(t, content, &flags, id, where));
    }
    return PLUMB_OK;
}

enum { TEMPLATE_IDS = 64 };

/* The ids of a special token of a template, in front of `to` or behind it. */
static int template_token(struct plumb_tok *t, const cJSON *specials, const char *name, bool front,
                          const char *where)
{
    const cJSON *ids = plumb_json_get(plumb_json_get(specials, name), "ids");
    if (!cJSON_IsArray(ids))
        return plumb_fail(PLUMB_EFORMAT, "%s: the template names \"%.200s\", which has no ids",
                          where, name);
    for (const cJSON *v = ids->child; v; v = v->next) {
        size_t n;
        const int32_t id = cJSON_IsNumber(v) ? v->valueint : -1;
        if (!plumb_tok_added_by_id(t, id) && !plumb_tok_piece(&t->pieces, id, &n))
            return plumb_fail(PLUMB_EFORMAT,
                              "%s: the template's \"%.200s\" has id %.17g, which "
                              "no token has",
                              where, name, v->valuedouble);
        if (t->before.n + t->after.n == TEMPLATE_IDS)
            return plumb_fail(PLUMB_ENOTSUP, "%s: over %d special tokens around a text", where,
                              TEMPLATE_IDS);
        PLUMB_TRY(plumb_idbuf_push(front ? &t->before : &t->after, id));
    }
    return PLUMB_OK;
}

static int load_template(struct plumb_tok *t, const cJSON *obj, const char *where)
{
    const cJSON *single = plumb_json_get(obj, "single");
    const cJSON *specials = plumb_json_get(obj, "special_tokens");
    bool seen = false;
    if (t->before.n || t->after.n)
        return plumb_fail(PLUMB_ENOTSUP, "%s: a template within a template is not supported",
                          where);
    if (!cJSON_IsArray(single))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"single\" wants an array, got %s", where,
                          plumb_json_type(single));
    for (const cJSON *v = single->child; v; v = v->next) {
        const cJSON *sequence = plumb_json_get(v, "Sequence");
        const char *id;
        if (sequence) {
            PLUMB_TRY(plumb_json_string(sequence, "id", where, &id));
            if (seen || strcmp(id, "A"))
                return plumb_fail(PLUMB_ENOTSUP, "%s: \"single\" wants Sequence A once", where);
            seen = true;
            continue;
        }
        PLUMB_TRY(plumb_json_string(plumb_json_get(v, "SpecialToken"), "id", where, &id));
        PLUMB_TRY(template_token(t, specials, id, !seen, where));
    }
    return seen ? PLUMB_OK : plumb_fail(PLUMB_ENOTSUP, "%s: \"single\" lacks Sequence A", where);
}

/* "cls" before and "sep" behind the text, each [content, id]. */
static int load_pair(struct plumb_tok *t, const cJSON *obj, const char *where)
{
    static const char *const keys[] = { "cls", "sep" };
    for (int i = 0; i < 2; i++) {
        const cJSON *pair = plumb_json_get(obj, keys[i]);
        const cJSON *id = cJSON_GetArrayItem(pair, 1);
        size_t n;
        if (!cJSON_IsNumber(id) || (!plumb_tok_added_by_id(t, id->valueint) &&
                                    !plumb_tok_piece(&t->pieces, id->valueint, &n)))
            return plumb_fail(PLUMB_EFORMAT, "%s: \"%s\" wants a token and its id", where, keys[i]);
        PLUMB_TRY(plumb_idbuf_push(i ? &t->after : &t->before, id->valueint));
    }
    return PLUMB_OK;
}

/* Whether offsets are told without white space. */
static int load_trim(struct plumb_tok *t, const cJSON *obj, const char *where)
{
    PLUMB_TRY(plumb_json_bool_or(obj, "trim_offsets", where, true, &t->trim_offsets));
    return plumb_json_bool_or(obj, "add_prefix_space", where, true, &t->trim_prefix_space);
}

static int load_post_processor(struct plumb_tok *t, const cJSON *obj, const char *where)
{
    const char *type;
    if (absent(obj)) return PLUMB_OK;
    PLUMB_TRY(plumb_json_string(obj, "type", where, &type));
    if (!strcmp(type, "ByteLevel")) return load_trim(t, obj, where);
    if (!strcmp(type, "TemplateProcessing")) return load_template(t, obj, where);
    if (!strcmp(type, "RobertaProcessing")) PLUMB_TRY(load_trim(t, obj, where));
    if (!strcmp(type, "BertProcessing") || !strcmp(type, "RobertaProcessing"))
        return load_pair(t, obj, where);
    if (strcmp(type, "Sequence"))
        return plumb_fail(PLUMB_ENOTSUP, "%s: the type \"%.80s\" is not supported", where, type);
    const cJSON *list = plumb_json_get(obj, "processors");
    if (!cJSON_IsArray(list))
        return plumb_fail(PLUMB_EFORMAT, "%s: a Sequence wants an array \"processors\"", where);
    for (list = list->child; list; list = list->next)
        PLUMB_TRY(load_post_processor(t, list, where));
    return PLUMB_OK;
}

int plumb_tok_load_pipeline(struct plumb_tok *t, const cJSON *root, const char *where)
{
    static const char *const stage[] = { "normalizer", "pre_tokenizer", "decoder" };
    static const char *const list[] = { "normalizers", "pretokenizers", "decoders" };
    struct plumb_tok_steps *const steps[] = { &t->normalizers, &t->pretokenizers, &t->decoders };
    const struct plumb_tok_kind *const kinds[] = { plumb_tok_normalizers, plumb_tok_pretokenizers,
                                                   plumb_tok_decoders };
    for (int i = 0; i < 3; i++) {
        char place[300];
        snprintf(place, sizeof place, "%s: %s", where, stage[i]);
        PLUMB_TRY(load_steps(steps[i], plumb_json_get(root, stage[i]), list[i], kinds[i], place));
    }
    t->has_decoder = !absent(plumb_json_get(root, "decoder"));
    const int n = t->pretokenizers.n;
    t->byte_words = n && t->pretokenizers.step[n - 1].maps;
    return PLUMB_OK;
}

int plumb_tok_load(struct plumb_tok *t, const cJSON *root, const char *where)
{
    const cJSON *model = plumb_json_get(root, "model"), *version = plumb_json_get(root, "version");
    const char *type = "BPE"; /* files of old leave it out */
    char place[300];
    if (!cJSON_IsObject(model))
        return plumb_fail(PLUMB_EFORMAT, "%s: no tokenizer: \"model\" is %s", where,
                          plumb_json_type(model));
    if (version && (!cJSON_IsString(version) || strcmp(version->valuestring, "1.0")))
        return plumb_fail(PLUMB_ENOTSUP, "%s: only version \"1.0\" is supported", where);
    if (plumb_json_get(model, "type")) {
        PLUMB_TRY(plumb_json_string(model, "type", where, &type));
    } else if (cJSON_IsArray(plumb_json_get(model, "vocab"))) {
        type = "Unigram";
    } else if (!plumb_json_get(model, "merges")) {
        return plumb_fail(PLUMB_ENOTSUP,
                          "%s: model: a model without type or merges is not supported", where);
    }
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (!strcmp(models[i]->type, type)) t->model = models[i];
    snprintf(place, sizeof place, "%s: model: %.80s", where, type);
    if (!t->model) return plumb_fail(PLUMB_ENOTSUP, "%s is not supported", place);
    PLUMB_TRY(plumb_tok_load_pipeline(t, root, where)); /* names what is missing before the work */
    PLUMB_TRY(t->model->load(t, model, place));
    snprintf(place, sizeof place, "%s: added_tokens", where);
    PLUMB_TRY(load_added(t, plumb_json_get(root, "added_tokens"), place));
    snprintf(place, sizeof place, "%s: post_processor", where);
    return load_post_processor(t, plumb_json_get(root, "post_processor"), place);
}
