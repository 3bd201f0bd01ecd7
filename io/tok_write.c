/* A tokenizer made from arrays as the files that transformers keeps. */
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/tok.h"
#include "io/tokenizer.h"

static int no_memory(void)
{
    return plumb_fail(PLUMB_EMEM, "could not allocate the text of a tokenizer.json");
}

static cJSON *added_tokens(const struct plumb_tok *t)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < t->added_count; i++) {
        const struct plumb_tok_added *a = &t->added[i];
        cJSON *o = cJSON_CreateObject();
        cJSON_AddNumberToObject(o, "id", a->id);
        cJSON_AddStringToObject(o, "content", a->content);
        cJSON_AddBoolToObject(o, "single_word", a->flags.single_word);
        cJSON_AddBoolToObject(o, "lstrip", a->flags.lstrip);
        cJSON_AddBoolToObject(o, "rstrip", a->flags.rstrip);
        cJSON_AddBoolToObject(o, "normalized", a->flags.normalized);
        cJSON_AddBoolToObject(o, "special", a->flags.special);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

/* One element of a template: a special token, or the text when `token` is NULL. */
static void add_template_part(cJSON *list, const char *token)
{
    cJSON *outer = cJSON_CreateObject();
    cJSON *inner = cJSON_AddObjectToObject(outer, token ? "SpecialToken" : "Sequence");
    cJSON_AddStringToObject(inner, "id", token ? token : "A");
    cJSON_AddNumberToObject(inner, "type_id", 0);
    cJSON_AddItemToArray(list, outer);
}

static void add_special(cJSON *specials, const char *token, int32_t id)
{
    if (cJSON_GetObjectItemCaseSensitive(specials, token)) return;
    cJSON *o = cJSON_AddObjectToObject(specials, token);
    cJSON_AddStringToObject(o, "id", token);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(o, "ids"), cJSON_CreateNumber(id));
    cJSON_AddItemToArray(cJSON_AddArrayToObject(o, "tokens"), cJSON_CreateString(token));
}

/* What puts BOS before and EOS behind a text; null when neither is added. */
static cJSON *post_processor(const struct plumb_vocabulary *v)
{
    if (!v->add_bos && !v->add_eos) return cJSON_CreateNull();
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "type", "TemplateProcessing");
    cJSON *single = cJSON_AddArrayToObject(o, "single");
    cJSON_AddArrayToObject(o, "pair");
    cJSON *specials = cJSON_AddObjectToObject(o, "special_tokens");
    if (v->add_bos) add_template_part(single, v->token[v->bos_id]);
    add_template_part(single, NULL);
    if (v->add_eos) add_template_part(single, v->token[v->eos_id]);
    if (v->add_bos) add_special(specials, v->token[v->bos_id], v->bos_id);
    if (v->add_eos) add_special(specials, v->token[v->eos_id], v->eos_id);
    /* A pair is its two texts one after the other, each as it would stand alone. */
    cJSON_ReplaceItemInObjectCaseSensitive(o, "pair", cJSON_Duplicate(single, true));
    cJSON *pair = cJSON_GetObjectItemCaseSensitive(o, "pair");
    for (const cJSON *e = single->child; e; e = e->next) {
        cJSON *copy = cJSON_Duplicate(e, true);
        cJSON *text = cJSON_GetObjectItemCaseSensitive(copy, "Sequence");
        cJSON *part = text ? text : cJSON_GetObjectItemCaseSensitive(copy, "SpecialToken");
        if (text) cJSON_ReplaceItemInObjectCaseSensitive(text, "id", cJSON_CreateString("B"));
        cJSON_ReplaceItemInObjectCaseSensitive(part, "type_id", cJSON_CreateNumber(1));
        cJSON_AddItemToArray(pair, copy);
    }
    return o;
}

static cJSON *vocabulary(const struct plumb_tok *t)
{
    cJSON *o = cJSON_CreateObject();
    for (int64_t id = 0; id < t->pieces.n; id++) {
        size_t n;
        const char *s = plumb_tok_piece(&t->pieces, (int32_t)id, &n);
        /* Of pieces with one text the last counts. */
        if (s && plumb_tok_pieces_find(&t->pieces, s, n) == id)
            cJSON_AddNumberToObject(o, s, (double)id);
    }
    return o;
}

/* Merges in the order in which they apply. */
static int by_rank(const void *a, const void *b)
{
    const struct plumb_tok_pair *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

static int merges(const struct plumb_tok *t, cJSON **out)
{
    const struct plumb_tok_pairs *all = &t->bpe.merges;
    struct plumb_tok_pair *order = malloc((all->n + 1) * sizeof *order);
    size_t n = 0, bytes;
    *out = cJSON_CreateArray();
    if (!order) return no_memory();
    for (size_t i = 0; i < all->slots; i++)
        if (all->slot[i].key != UINT64_MAX) order[n++] = all->slot[i];
    qsort(order, n, sizeof *order, by_rank);
    for (size_t i = 0; i < n; i++) {
        const int32_t left = (int32_t)(order[i].key >> 32), right = (int32_t)order[i].key;
        const char *pair[2] = { plumb_tok_piece(&t->pieces, left, &bytes),
                                plumb_tok_piece(&t->pieces, right, &bytes) };
        cJSON_AddItemToArray(*out, cJSON_CreateStringArray(pair, 2));
    }
    free(order);
    return PLUMB_OK;
}

static int model(const struct plumb_tok *t, const struct plumb_vocabulary *v, cJSON **out)
{
    const struct plumb_tok_bpe_data *b = &t->bpe;
    cJSON *o = *out = cJSON_CreateObject(), *list;
    cJSON_AddStringToObject(o, "type", "BPE");
    cJSON_AddNullToObject(o, "dropout");
    if (b->unk_id >= 0)
        cJSON_AddStringToObject(o, "unk_token", v->token[b->unk_id]);
    else
        cJSON_AddNullToObject(o, "unk_token");
    cJSON_AddNullToObject(o, "continuing_subword_prefix");
    cJSON_AddNullToObject(o, "end_of_word_suffix");
    cJSON_AddBoolToObject(o, "fuse_unk", b->fuse_unk);
    cJSON_AddBoolToObject(o, "byte_fallback", b->byte_fallback);
    cJSON_AddBoolToObject(o, "ignore_merges", b->ignore_merges);
    cJSON_AddItemToObject(o, "vocab", vocabulary(t));
    const int rc = merges(t, &list);
    cJSON_AddItemToObject(o, "merges", list);
    return rc;
}

/* The preset's part of that name, null when it has none. */
static void add_step(cJSON *root, cJSON *preset, const char *name)
{
    cJSON *part = cJSON_DetachItemFromObjectCaseSensitive(preset, name);
    cJSON_AddItemToObject(root, name, part ? part : cJSON_CreateNull());
}

static int write_json(const cJSON *json, const char *dir, const char *name)
{
    char path[4096];
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, name));
    char *text = cJSON_Print(json);
    if (!text) return no_memory();
    const int rc = plumb_file_write(path, text, strlen(text));
    cJSON_free(text);
    return rc;
}

static int write_tokenizer(const struct plumb_tok *t, const struct plumb_vocabulary *v,
                           const char *dir)
{
    int rc = PLUMB_OK;
    bool ignore_merges;
    cJSON *preset = NULL, *body, *root = cJSON_CreateObject();
    PLUMB_TRYG(plumb_tok_preset_json(plumb_tok_preset_of(v), &ignore_merges, &preset));
    cJSON_AddStringToObject(root, "version", "1.0");
    cJSON_AddNullToObject(root, "truncation");
    cJSON_AddNullToObject(root, "padding");
    cJSON_AddItemToObject(root, "added_tokens", added_tokens(t));
    add_step(root, preset, "normalizer");
    add_step(root, preset, "pre_tokenizer");
    cJSON_AddItemToObject(root, "post_processor", post_processor(v));
    add_step(root, preset, "decoder");
    rc = model(t, v, &body);
    cJSON_AddItemToObject(root, "model", body);
    if (rc == PLUMB_OK) rc = write_json(root, dir, "tokenizer.json");
out:
    cJSON_Delete(preset);
    cJSON_Delete(root);
    return rc;
}

static int write_config(const struct plumb_vocabulary *v, const char *chat_template,
                        const char *dir)
{
    const struct {
        const char *key;
        int32_t id;
    } named[] = { { "bos_token", v->bos_id },
                  { "eos_token", v->eos_id },
                  { "pad_token", v->pad_id },
                  { "unk_token", v->unk_id } };
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "tokenizer_class", "PreTrainedTokenizerFast");
    cJSON_AddBoolToObject(o, "clean_up_tokenization_spaces", false);
    for (int i = 0; i < 4; i++)
        if (named[i].id >= 0) cJSON_AddStringToObject(o, named[i].key, v->token[named[i].id]);
    if (chat_template) cJSON_AddStringToObject(o, "chat_template", chat_template);
    const int rc = write_json(o, dir, "tokenizer_config.json");
    cJSON_Delete(o);
    return rc;
}

int plumb_tokenizer_write(const struct plumb_vocabulary *v, const char *chat_template,
                          const char *dir)
{
    struct plumb_text text;
    PLUMB_TRY(plumb_tokenizer_from_arrays(&text, v));
    int rc = write_tokenizer(text.self, v, dir);
    if (rc == PLUMB_OK) rc = write_config(v, chat_template, dir);
    plumb_tokenizer_release(&text);
    return rc;
}
