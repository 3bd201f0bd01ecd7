/* The tokenizer of a GGUF file. */
#include <stdlib.h>
#include <string.h>

#include "io/gguf.h"
#include "io/gguf_model.h"
#include "io/tokenizer.h"

/* Owned copies behind the vocabulary's pointers. */
struct arrays {
    char *model, *pre, *template;
    const char *const *token, *const *merge;
    float *score;
    int32_t *type;
};

static int read_id(const struct plumb_gguf *g, const char *key, int32_t fallback, int32_t *out)
{
    int64_t id;
    PLUMB_TRY(plumb_gguf_i64_or(g, key, fallback, &id));
    *out = id >= 0 && id < INT32_MAX ? (int32_t)id : -1; /* files say 2^32 - 1 for none */
    return PLUMB_OK;
}

/* Ids and switches; SentencePiece files that are silent have its usual ids and add BOS. */
static int read_switches(const struct plumb_gguf *g, bool pieces, struct plumb_vocabulary *v)
{
    PLUMB_TRY(read_id(g, "tokenizer.ggml.bos_token_id", pieces ? 1 : -1, &v->bos_id));
    PLUMB_TRY(read_id(g, "tokenizer.ggml.eos_token_id", pieces ? 2 : -1, &v->eos_id));
    PLUMB_TRY(read_id(g, "tokenizer.ggml.unknown_token_id", pieces ? 0 : -1, &v->unk_id));
    PLUMB_TRY(read_id(g, "tokenizer.ggml.padding_token_id", -1, &v->pad_id));
    PLUMB_TRY(plumb_gguf_bool_or(g, "tokenizer.ggml.add_bos_token", pieces, &v->add_bos));
    PLUMB_TRY(plumb_gguf_bool_or(g, "tokenizer.ggml.add_eos_token", false, &v->add_eos));
    return plumb_gguf_bool_or(g, "tokenizer.ggml.add_space_prefix", true, &v->add_space_prefix);
}

static int read_arrays(const struct plumb_gguf *g, struct arrays *a, struct plumb_vocabulary *v)
{
    int64_t scores, types;
    PLUMB_TRY(plumb_gguf_copy_string(g, "tokenizer.ggml.model", &a->model));
    PLUMB_TRY(plumb_gguf_copy_string(g, "tokenizer.ggml.pre", &a->pre));
    PLUMB_TRY(plumb_gguf_strings(g, "tokenizer.ggml.tokens", &a->token, &v->n));
    PLUMB_TRY(plumb_gguf_strings(g, "tokenizer.ggml.merges", &a->merge, &v->merges));
    PLUMB_TRY(plumb_gguf_f32s(g, "tokenizer.ggml.scores", &a->score, &scores));
    PLUMB_TRY(plumb_gguf_i32s(g, "tokenizer.ggml.token_type", &a->type, &types));
    if (!a->model || !a->token)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" holds no tokenizer", g->path);
    if ((a->score && scores != v->n) || (a->type && types != v->n))
        return plumb_fail(PLUMB_EFORMAT, "\"%s\": %lld tokens, but %lld scores and %lld types",
                          g->path, (long long)v->n, (long long)scores, (long long)types);
    v->model = a->model, v->pre = a->pre, v->token = a->token, v->merge = a->merge;
    v->score = a->score, v->type = a->type;
    return read_switches(g, strcmp(a->model, "llama") == 0, v);
}

static void release(struct arrays *a)
{
    free(a->model);
    free(a->pre);
    free(a->template);
    free((void *)a->token);
    free((void *)a->merge);
    free(a->score);
    free(a->type);
}

int plumb_gguf_tokenizer(const char *path, struct plumb_text *t)
{
    int rc = PLUMB_OK;
    struct plumb_gguf g;
    struct arrays a = { 0 };
    struct plumb_vocabulary v = { 0 };
    *t = (struct plumb_text){ 0 };
    PLUMB_TRY(plumb_gguf_open(&g, path));
    PLUMB_TRYG(read_arrays(&g, &a, &v));
    rc = plumb_tokenizer_from_arrays(t, &v);
    if (rc) plumb_fail_while(rc, "\"%s\"", path);
out:
    release(&a);
    plumb_gguf_release(&g);
    return rc;
}

int plumb_gguf_write_tokenizer(const char *path, const char *dir)
{
    int rc = PLUMB_OK;
    struct plumb_gguf g;
    struct arrays a = { 0 };
    struct plumb_vocabulary v = { 0 };
    PLUMB_TRY(plumb_gguf_open(&g, path));
    PLUMB_TRYG(read_arrays(&g, &a, &v));
    PLUMB_TRYG(plumb_gguf_copy_string(&g, "tokenizer.chat_template", &a.template));
    PLUMB_TRYG(plumb_tokenizer_write(&v, a.template, dir));
out:
    release(&a);
    plumb_gguf_release(&g);
    return rc;
}
