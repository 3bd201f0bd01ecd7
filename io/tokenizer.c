/* Tokenizers: files found and read, and the whole way from text to ids and back. */
#include "io/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "io/gguf_model.h"
#include "io/tok.h"
#include "io/utf8.h"

enum { GROWTH = 64, GROWTH_FREE = 1 << 20 };

static void work_free(struct plumb_tok_work *w)
{
    for (int i = 0; i < PLUMB_TOK_STEPS; i++) {
        plumb_tok_bytes_release(&w->prefixed[i]);
        plumb_tok_bytes_release(&w->mapped[i]);
    }
    for (int i = 0; i < 2; i++) {
        plumb_tok_bytes_release(&w->rewritten[i]);
        plumb_tok_bytes_release(&w->strings[i].text);
        free(w->strings[i].end);
    }
    plumb_tok_bytes_release(&w->word);
    plumb_tok_bytes_release(&w->spelling);
    plumb_tok_bytes_release(&w->whole);
    plumb_tok_cache_release(&w->cache);
    plumb_regex_scratch_release(&w->regex);
    free(w->symbol);
    free(w->unused);
    free(w->heap);
    free(w->best);
    free(w->code);
    free(w->change);
    free(w);
}

static int work_take(struct plumb_tok *t, struct plumb_tok_work **out)
{
    pthread_mutex_lock(&t->lock);
    struct plumb_tok_work *w = t->idle;
    if (w) t->idle = w->next;
    pthread_mutex_unlock(&t->lock);
    if (!w) w = calloc(1, sizeof *w);
    if (!w) return plumb_fail(PLUMB_EMEM, "could not allocate the scratch of a tokenizer");
    w->tok = t;
    *out = w;
    return PLUMB_OK;
}

static void work_give(struct plumb_tok *t, struct plumb_tok_work *w)
{
    pthread_mutex_lock(&t->lock);
    w->next = t->idle;
    t->idle = w;
    pthread_mutex_unlock(&t->lock);
}

static int words(struct plumb_tok_work *w, const char *s, size_t n, bool first)
{
    return plumb_tok_split(w, 0, s, n, first);
}

static int normalized(struct plumb_tok_work *w, const char *s, size_t n, bool first)
{
    const struct plumb_tok_place before = w->place;
    w->headless = false;
    plumb_tok_begin_stretch(w, s);
    PLUMB_TRY(plumb_tok_normalize(w, s, n, &s, &n));
    PLUMB_TRY(plumb_tok_check_size(w, (size_t)w->out->n));
    const int rc = plumb_tok_cut_added(w, &w->tok->normalized, s, n, first && !w->headless, words);
    w->place = before;
    return rc;
}

static int run(struct plumb_tok_work *w, const char *text, size_t n, bool add_special)
{
    const struct plumb_tok *t = w->tok;
    if (w->spans) PLUMB_TRY(plumb_tok_begin_spans(w, text, n));
    if (add_special) PLUMB_TRY(plumb_tok_emit_around(w, &t->before));
    const int64_t first = w->out->n, first_span = w->spans ? w->spans->n : 0;
    PLUMB_TRY(plumb_tok_cut_added(w, &t->raw, text, n, true, normalized));
    if (w->spans && w->spans->trim && t->trim_offsets)
        plumb_tok_trim_spans(w, text, first, first_span);
    return add_special ? plumb_tok_emit_around(w, &t->after) : PLUMB_OK;
}

/* The most that published tokenizers make of a text is eleven times its bytes. */
static size_t limit_of(size_t bytes) { return GROWTH_FREE + GROWTH * bytes; }

static int encode_spans(void *self, const char *text, size_t n, bool add_special,
                        struct plumb_idbuf *out, struct plumb_textspans *spans)
{
    struct plumb_tok *t = self;
    struct plumb_tok_work *w = NULL;
    const int64_t mark = out->n, span_mark = spans ? spans->n : 0;
    if (n > PLUMB_TEXT_LIMIT)
        return plumb_fail(PLUMB_EINVAL, "a text of %zu bytes is over the tokenizer's %zu", n,
                          PLUMB_TEXT_LIMIT);
    PLUMB_TRY(work_take(t, &w));
    w->out = out;
    w->spans = spans;
    w->limit = limit_of(n) + (size_t)mark;
    w->valid = plumb_utf8_valid(text, n) == n;
    const int rc = run(w, text, n, add_special);
    if (rc) out->n = mark;
    if (rc && spans) spans->n = span_mark;
    w->spans = NULL;
    work_give(t, w);
    return rc;
}

static int encode(void *self, const char *text, size_t n, bool add_special, struct plumb_idbuf *out)
{
    return encode_spans(self, text, n, add_special, out, NULL);
}

/* The pieces of the ids, one string each. Ids without a piece are passed over. */
static int pieces_of(struct plumb_tok_work *w, const int32_t *id, int64_t count, bool skip_special)
{
    struct plumb_tok_strings *list = &w->strings[0];
    list->n = list->text.n = 0;
    for (int64_t i = 0; i < count; i++) {
        if (id[i] < 0)
            return plumb_fail(PLUMB_EINVAL, "cannot decode id %d at place %lld", id[i],
                              (long long)i);
        const struct plumb_tok_added *a = plumb_tok_added_by_id(w->tok, id[i]);
        if (a && a->skipped && skip_special) continue;
        size_t n = a ? a->pattern_bytes : 0;
        const char *piece = a ? a->pattern : plumb_tok_piece(&w->tok->pieces, id[i], &n);
        if (!piece) continue;
        PLUMB_TRY(plumb_tok_bytes_put(&list->text, piece, n));
        PLUMB_TRY(plumb_tok_strings_end(list));
    }
    return PLUMB_OK;
}

static int decode(void *self, const int32_t *id, int64_t count, bool skip_special, char **out,
                  size_t *n)
{
    struct plumb_tok *t = self;
    struct plumb_tok_work *w = NULL;
    const struct plumb_tok_strings *list;
    int rc = PLUMB_OK;
    *out = NULL;
    *n = 0;
    PLUMB_TRY(work_take(t, &w));
    PLUMB_TRYG(pieces_of(w, id, count, skip_special));
    w->limit = limit_of(w->strings[0].text.n);
    PLUMB_TRYG(plumb_tok_decode(w, &list));
    *out = malloc(list->text.n + 1);
    if (!*out)
        PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes of text", list->text.n));
    if (list->text.n) memcpy(*out, list->text.data, list->text.n);
    (*out)[list->text.n] = 0;
    *n = list->text.n;
out:
    work_give(t, w);
    return rc;
}

static const char *piece(void *self, int32_t id)
{
    const struct plumb_tok *t = self;
    const struct plumb_tok_added *a = plumb_tok_added_by_id(t, id);
    size_t n;
    return a ? a->content : plumb_tok_piece(&t->pieces, id, &n);
}

static bool is_special(void *self, int32_t id)
{
    const struct plumb_tok_added *a = plumb_tok_added_by_id(self, id);
    return a && a->flags.special;
}

static void tok_free(struct plumb_tok *t)
{
    if (!t) return;
    for (struct plumb_tok_work *w = t->idle, *next; w; w = next) {
        next = w->next;
        work_free(w);
    }
    plumb_tok_steps_release(&t->normalizers);
    plumb_tok_steps_release(&t->pretokenizers);
    plumb_tok_steps_release(&t->decoders);
    plumb_tok_added_release(t);
    plumb_tok_pieces_release(&t->pieces);
    plumb_tok_pairs_release(&t->bpe.merges);
    free(t->bpe.continuing_prefix);
    free(t->bpe.end_suffix);
    free(t->unigram.score);
    free(t->unigram.type);
    plumb_tok_trie_release(&t->unigram.trie);
    free(t->unigram.rank);
    plumb_idbuf_release(&t->before);
    plumb_idbuf_release(&t->after);
    plumb_tok_bytes_release(&t->merged);
    if (t->has_lock) pthread_mutex_destroy(&t->lock);
    free(t);
}

static int tok_new(struct plumb_tok **out)
{
    struct plumb_tok *t = calloc(1, sizeof *t);
    if (!t) return plumb_fail(PLUMB_EMEM, "could not allocate a tokenizer");
    t->has_lock = pthread_mutex_init(&t->lock, NULL) == 0;
    if (!t->has_lock) {
        free(t);
        return plumb_fail(PLUMB_EMEM, "could not make the lock of a tokenizer");
    }
    *out = t;
    return PLUMB_OK;
}

static bool holds(const struct plumb_idbuf *ids, int32_t id)
{
    for (int64_t i = 0; i < ids->n; i++)
        if (ids->id[i] == id) return true;
    return false;
}

/* Everything is loaded: builds what depends on all of it, and the table of functions. */
static int finish(struct plumb_tok *t, const struct plumb_tok_names *names, struct plumb_text *text)
{
    struct plumb_tok_work *w = NULL;
    if (t->byte_words) t->bpe.cuts_at_meta = false;
    PLUMB_TRY(work_take(t, &w));
    const int rc = plumb_tok_added_finish(t, w);
    work_give(t, w);
    if (rc) return rc;
    const int64_t added = (int64_t)t->added_of_n;
    *text = (struct plumb_text){ .self = t,
                                 .vocab_size = t->pieces.n > added ? t->pieces.n : added,
                                 .bos_id = names->bos,
                                 .eos_id = names->eos,
                                 .pad_id = names->pad,
                                 .unk_id = names->unk,
                                 .add_bos = names->bos >= 0 && holds(&t->before, names->bos),
                                 .add_eos = names->eos >= 0 && holds(&t->after, names->eos),
                                 .encode = encode,
                                 .encode_spans = encode_spans,
                                 .decode = decode,
                                 .piece = piece,
                                 .is_special = is_special };
    return PLUMB_OK;
}

int plumb_tokenizer_open(struct plumb_text *text, const char *path)
{
    int rc = PLUMB_OK;
    struct plumb_tok *t = NULL;
    struct plumb_tok_names names;
    *text = (struct plumb_text){ 0 };
    if (plumb_gguf_is(path)) return plumb_gguf_tokenizer(path, text);
    PLUMB_TRYG(tok_new(&t));
    PLUMB_TRYG(plumb_tok_read(t, path, &names));
    PLUMB_TRYG(finish(t, &names, text));
out:
    if (rc) tok_free(t);
    return rc;
}

int plumb_tokenizer_from_arrays(struct plumb_text *text, const struct plumb_vocabulary *v)
{
    int rc = PLUMB_OK;
    struct plumb_tok *t = NULL;
    const struct plumb_tok_names names = { v->bos_id, v->eos_id, v->pad_id, v->unk_id };
    *text = (struct plumb_text){ 0 };
    PLUMB_TRYG(tok_new(&t));
    PLUMB_TRYG(plumb_tok_from_arrays(t, v));
    PLUMB_TRYG(finish(t, &names, text));
out:
    if (rc) tok_free(t);
    return rc;
}

void plumb_tokenizer_release(struct plumb_text *text)
{
    tok_free(text->self);
    *text = (struct plumb_text){ 0 };
}
