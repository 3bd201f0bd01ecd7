/* The tokenizer and chat template of a model as keys of a GGUF file. */
#include <plumb/log.h>
#include <stdlib.h>
#include <string.h>

#include "io/chat.h"
#include "io/gguf_export.h"
#include "io/gguf_model.h"
#include "io/tokenizer.h"

#define KEY(name) "tokenizer.ggml." name

static void put_id(struct plumb_gguf_writer *w, const char *key, int32_t id)
{
    if (id >= 0) plumb_gguf_put_u32(w, key, (uint32_t)id);
}

static void put_vocabulary(struct plumb_gguf_writer *w, const struct plumb_vocabulary *v)
{
    plumb_gguf_put_text(w, KEY("model"), v->model, strlen(v->model));
    plumb_gguf_put_text(w, KEY("pre"), v->pre, strlen(v->pre));
    plumb_gguf_put_texts(w, KEY("tokens"), v->token, v->n);
    if (v->score) plumb_gguf_put_f32s(w, KEY("scores"), v->score, v->n);
    plumb_gguf_put_i32s(w, KEY("token_type"), v->type, v->n);
    if (v->merge) plumb_gguf_put_texts(w, KEY("merges"), v->merge, v->merges);
    put_id(w, KEY("bos_token_id"), v->bos_id);
    put_id(w, KEY("unknown_token_id"), v->unk_id);
    put_id(w, KEY("padding_token_id"), v->pad_id);
    plumb_gguf_put_bool(w, KEY("add_bos_token"), v->add_bos);
    plumb_gguf_put_bool(w, KEY("add_eos_token"), v->add_eos);
    if (v->score) plumb_gguf_put_bool(w, KEY("add_space_prefix"), v->add_space_prefix);
}

/* The tokenizer's EOS, else the model's first; a single other id that ends a text is "end of
 * turn". */
static void put_ends(struct plumb_gguf_writer *w, const struct plumb_hf_config *c, int32_t eos)
{
    int32_t other = -1;
    int others = 0;
    if (eos < 0 && c->eos_count > 0) eos = c->eos[0];
    for (int i = 0; i < c->eos_count; i++)
        if (c->eos[i] != eos) other = c->eos[i], others++;
    put_id(w, KEY("eos_token_id"), eos);
    if (others == 1) put_id(w, KEY("eot_token_id"), other);
}

static int put_templates(struct plumb_gguf_writer *w, const char *dir,
                         const struct plumb_text *text)
{
    static const char *const names[] = { "tool_use" };
    struct plumb_chat chat;
    PLUMB_TRY(plumb_chat_open(&chat, dir, NULL, text));
    if (chat.plain.text)
        plumb_gguf_put_text(w, "tokenizer.chat_template", chat.plain.text, chat.plain.n);
    if (chat.with_tools.text) {
        plumb_gguf_put_texts(w, "tokenizer.chat_templates", names, 1);
        plumb_gguf_put_text(w, "tokenizer.chat_template.tool_use", chat.with_tools.text,
                            chat.with_tools.n);
    }
    plumb_chat_release(&chat);
    return PLUMB_OK;
}

static int put_text_of(struct plumb_gguf_writer *w, const struct plumb_hf_model *m,
                       const struct plumb_text *text)
{
    struct plumb_vocabulary v;
    PLUMB_TRY(plumb_tokenizer_arrays(text, m->config.model.vocab, &v));
    put_vocabulary(w, &v);
    put_ends(w, &m->config, v.eos_id);
    plumb_vocabulary_release(&v);
    return put_templates(w, m->dir, text);
}

/* What a GGUF file says stays word for word: nothing is lost that only llama.cpp reads. */
static int copy_keys(struct plumb_gguf_writer *w, const char *path)
{
    static const char prefix[] = "tokenizer.";
    const size_t n = sizeof prefix - 1;
    struct plumb_gguf g;
    PLUMB_TRY(plumb_gguf_open(&g, path));
    for (int64_t i = 0; i < g.entries; i++)
        if (g.entry[i].key_bytes > n && !memcmp(g.entry[i].key, prefix, n))
            plumb_gguf_put_entry(w, &g.entry[i]);
    plumb_gguf_release(&g);
    return PLUMB_OK;
}

int plumb_gguf_put_tokenizer(struct plumb_gguf_writer *w, const struct plumb_hf_model *m)
{
    struct plumb_text text;
    if (plumb_gguf_is(m->dir)) return copy_keys(w, m->dir);
    int rc = plumb_tokenizer_open(&text, m->dir);
    if (rc == PLUMB_EIO) { /* there is none */
        plumb_log(PLUMB_LOG_WARN, "the GGUF file gets no tokenizer: %s", plumb_errmsg());
        plumb_gguf_put_text(w, KEY("model"), "none", 4);
        put_id(w, KEY("bos_token_id"), m->config.model.bos_id);
        put_ends(w, &m->config, -1);
        return PLUMB_OK;
    }
    if (rc) return rc;
    rc = put_text_of(w, m, &text);
    plumb_tokenizer_release(&text);
    return rc;
}
