/* A tokenizer made from arrays as the files that transformers keeps. */
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "io/tok.h"
#include "io/tokenizer.h"

static int no_memory(void)
{
    return plumb_fail(PLUMB_EMEM, "could not allocate the text of a tokenizer.json");
}

static cJSON *added_tokens(const struct plumb_tok *t, bool *lost)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < t->added_count; i++) {
        const struct plumb_tok_added *a = &t->added[i];
        cJSON *o = cJSON_CreateObject();
        plumb_json_add(o, "id", cJSON_CreateNumber(a->id), lost);
        plumb_json_add(o, "content", cJSON_CreateString(a->content), lost);
        plumb_json_add(o, "single_word", cJSON_CreateBool(a->flags.single_word), lost);
        plumb_json_add(o, "lstrip", cJSON_CreateBool(a->flags.lstrip), lost);
        plumb_json_add(o, "rstrip", cJSON_CreateBool(a->flags.rstrip), lost);
        plumb_json_add(o, "normalized", cJSON_CreateBool(a->flags.normalized), lost);
        plumb_json_add(o, "special", cJSON_CreateBool(a->flags.special), lost);
        plumb_json_add(list, NULL, o, lost);
    }
    return list;
}

/* One element of a template: a special token, or the text `id` when `token` is NULL. */
static void add_template_part(cJSON *list, const char *token, const char *id, int type, bool *lost)
{
    cJSON *outer = plumb_json_add(list, NULL, cJSON_CreateObject(), lost);
    cJSON *inner = plumb_json_add(outer, token ? "SpecialToken" : "Sequence", cJSON_CreateObject(),
                                  lost);
    plumb_json_add(inner, "id", cJSON_CreateString(token ? token : id), lost);
    plumb_json_add(inner, "type_id", cJSON_CreateNumber(type), lost);
}

/* A text with BOS before and EOS behind it. */
static void add_template_text(cJSON *list, const struct plumb_vocabulary *v, const char *id,
                              int type, bool *lost)
{
    if (v->add_bos) add_template_part(list, v->token[v->bos_id], NULL, type, lost);
    add_template_part(list, NULL, id, type, lost);
    if (v->add_eos) add_template_part(list, v->token[v->eos_id], NULL, type, lost);
}

static void add_special(cJSON *specials, const char *token, int32_t id, bool *lost)
{
    if (cJSON_GetObjectItemCaseSensitive(specials, token)) return;
    cJSON *o = plumb_json_add(specials, token, cJSON_CreateObject(), lost);
    plumb_json_add(o, "id", cJSON_CreateString(token), lost);
    plumb_json_add(plumb_json_add(o, "ids", cJSON_CreateArray(), lost), NULL,
                   cJSON_CreateNumber(id), lost);
    plumb_json_add(plumb_json_add(o, "tokens", cJSON_CreateArray(), lost), NULL,
                   cJSON_CreateString(token), lost);
}

/* What puts BOS before and EOS behind a text; null when neither is added. */
static cJSON *post_processor(const struct plumb_vocabulary *v, bool *lost)
{
    if (!v->add_bos && !v->add_eos) return cJSON_CreateNull();
    cJSON *o = cJSON_CreateObject();
    plumb_json_add(o, "type", cJSON_CreateString("TemplateProcessing"), lost);
    cJSON *single = plumb_json_add(o, "single", cJSON_CreateArray(), lost);
    cJSON *pair = plumb_json_add(o, "pair", cJSON_CreateArray(), lost);
    cJSON *specials = plumb_json_add(o, "special_tokens", cJSON_CreateObject(), lost);
    add_template_text(single, v, "A", 0, lost);
    /* A pair is its two texts one after the other, each as it would stand alone. */
    add_template_text(pair, v, "A", 0, lost);
    add_template_text(pair, v, "B", 1, lost);
    if (v->add_bos) add_special(specials, v->token[v->bos_id], v->bos_id, lost);
    if (v->add_eos) add_special(specials, v->token[v->eos_id], v->eos_id, lost);
    return o;
}

static cJSON *vocabulary(const struct plumb_tok *t, bool *lost)
{
    cJSON *o = cJSON_CreateObject();
    for (int64_t id = 0; id < t->pieces.n; id++) {
        size_t n;
        const char *s = plumb_tok_piece(&t->pieces, (int32_t)id, &n);
        /* Of pieces with one text the last counts. */
        if (s && plumb_tok_pieces_find(&t->pieces, s, n) == id)
            plumb_json_add(o, s, cJSON_CreateNumber((double)id), lost);
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

static int merges(const struct plumb_tok *t, cJSON *list, bool *lost)
{
    const struct plumb_tok_pairs *all = &t->bpe.merges;
    struct plumb_tok_pair *order = malloc((all->n + 1) * sizeof *order);
    size_t n = 0, bytes;
    if (!order) return no_memory();
    for (size_t i = 0; i < all->slots; i++)
        if (all->slot[i].key != UINT64_MAX) order[n++] = all->slot[i];
    qsort(order, n, sizeof *order, by_rank);
    for (size_t i = 0; i < n; i++) {
        const int32_t left = (int32_t)(order[i].key >> 32), right = (int32_t)order[i].key;
        const char *pair[2] = { plumb_tok_piece(&t->pieces, left, &bytes),
                                plumb_tok_piece(&t->pieces, right, &bytes) };
        plumb_json_add(list, NULL, cJSON_CreateStringArray(pair, 2), lost);
    }
    free(order);
    return PLUMB_OK;
}

static int model(const struct plumb_tok *t, const struct plumb_vocabulary *v, cJSON *o, bool *lost)
{
    const struct plumb_tok_bpe_data *b = &t->bpe;
    plumb_json_add(o, "type", cJSON_CreateString("BPE"), lost);
    plumb_json_add(o, "dropout", cJSON_CreateNull(), lost);
    if (b->unk_id >= 0)
        plumb_json_add(o, "unk_token", cJSON_CreateString(v->token[b->unk_id]), lost);
    else
        plumb_json_add(o, "unk_token", cJSON_CreateNull(), lost);
    plumb_json_add(o, "continuing_subword_prefix", cJSON_CreateNull(), lost);
    plumb_json_add(o, "end_of_word_suffix", cJSON_CreateNull(), lost);
    plumb_json_add(o, "fuse_unk", cJSON_CreateBool(b->fuse_unk), lost);
    plumb_json_add(o, "byte_fallback", cJSON_CreateBool(b->byte_fallback), lost);
    plumb_json_add(o, "ignore_merges", cJSON_CreateBool(b->ignore_merges), lost);
    plumb_json_add(o, "vocab", vocabulary(t, lost), lost);
    return merges(t, plumb_json_add(o, "merges", cJSON_CreateArray(), lost), lost);
}

/* The preset's part of that name, null when it has none. */
static void add_step(cJSON *root, cJSON *preset, const char *name, bool *lost)
{
    cJSON *part = cJSON_DetachItemFromObjectCaseSensitive(preset, name);
    plumb_json_add(root, name, part ? part : cJSON_CreateNull(), lost);
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
    bool ignore_merges, lost = false;
    cJSON *preset = NULL, *root = cJSON_CreateObject();
    PLUMB_TRYG(plumb_tok_preset_json(plumb_tok_preset_of(v), &ignore_merges, &preset));
    plumb_json_add(root, "version", cJSON_CreateString("1.0"), &lost);
    plumb_json_add(root, "truncation", cJSON_CreateNull(), &lost);
    plumb_json_add(root, "padding", cJSON_CreateNull(), &lost);
    plumb_json_add(root, "added_tokens", added_tokens(t, &lost), &lost);
    add_step(root, preset, "normalizer", &lost);
    add_step(root, preset, "pre_tokenizer", &lost);
    plumb_json_add(root, "post_processor", post_processor(v, &lost), &lost);
    add_step(root, preset, "decoder", &lost);
    PLUMB_TRYG(model(t, v, plumb_json_add(root, "model", cJSON_CreateObject(), &lost), &lost));
    rc = lost ? no_memory() : write_json(root, dir, "tokenizer.json");
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
    bool lost = false;
    cJSON *o = cJSON_CreateObject();
    plumb_json_add(o, "tokenizer_class", cJSON_CreateString("PreTrainedTokenizerFast"), &lost);
    plumb_json_add(o, "clean_up_tokenization_spaces", cJSON_CreateBool(false), &lost);
    for (int i = 0; i < 4; i++)
        if (named[i].id >= 0)
            plumb_json_add(o, named[i].key, cJSON_CreateString(v->token[named[i].id]), &lost);
    if (chat_template) plumb_json_add(o, "chat_template", cJSON_CreateString(chat_template), &lost);
    const int rc = lost ? no_memory() : write_json(o, dir, "tokenizer_config.json");
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
