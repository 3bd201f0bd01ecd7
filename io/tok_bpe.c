/* Byte-pair encoding of one word: its characters, then the best-ranked merge again and again.
 * Source: arXiv:1508.07909; order of merges and unknown characters as in Hugging Face tokenizers
 * 0.23, src/models/bpe/{model,word}.rs. */
#include <stdlib.h>
#include <string.h>

#include "io/tok.h"
#include "io/utf8.h"

/* Symbols of a word in a list; the merge of a symbol with its successor, if any, stands with it. */
struct plumb_tok_symbol {
    int32_t id; /* -1 = merged away */
    int32_t previous, next;
    int32_t merged;
    uint32_t rank;  /* NO_MERGE = none */
    uint32_t bytes; /* of the word */
    uint32_t at;    /* by text: where they stand in it */
    bool frozen;    /* by text: takes part in no merge */
};
enum { FEW_SYMBOLS = 24 }; /* up to here scanning for the best merge beats a heap */
#define NO_MERGE UINT32_MAX

static int add_symbol(struct plumb_tok_work *w, int32_t id, size_t bytes)
{
    if (w->symbols == INT32_MAX)
        return plumb_fail(PLUMB_EINVAL, "a word has over %d characters", INT32_MAX);
    PLUMB_TRY(plumb_tok_grow(&w->symbol, &w->symbol_capacity, w->symbols + 1, sizeof *w->symbol));
    w->symbol[w->symbols].bytes = (uint32_t)bytes;
    w->symbol[w->symbols++].id = id;
    return PLUMB_OK;
}

/* The byte pieces of an unknown character; false when one of them is missing. */
static int add_bytes(struct plumb_tok_work *w, const char *s, size_t n, bool *done)
{
    const int32_t *byte_id = w->tok->bpe.byte_id;
    *done = false;
    for (size_t i = 0; i < n; i++)
        if (byte_id[(unsigned char)s[i]] < 0) return PLUMB_OK;
    for (size_t i = 0; i < n; i++)
        PLUMB_TRY(add_symbol(w, byte_id[(unsigned char)s[i]], 1));
    *done = true;
    return PLUMB_OK;
}

/* Looks up one character as the vocabulary spells it: with the prefix of a continuing piece, with
 * the suffix of a last one. *s and *n become the spelling. */
static int spelling(struct plumb_tok_work *w, bool first, bool last, const char **s, size_t *n)
{
    const struct plumb_tok_bpe_data *b = &w->tok->bpe;
    const char *prefix = first ? NULL : b->continuing_prefix, *suffix = last ? b->end_suffix : NULL;
    if (!prefix && !suffix) return PLUMB_OK;
    w->spelling.n = 0;
    if (prefix) PLUMB_TRY(plumb_tok_bytes_put(&w->spelling, prefix, strlen(prefix)));
    PLUMB_TRY(plumb_tok_bytes_put(&w->spelling, *s, *n));
    if (suffix) PLUMB_TRY(plumb_tok_bytes_put(&w->spelling, suffix, strlen(suffix)));
    *s = w->spelling.data;
    *n = w->spelling.n;
    return PLUMB_OK;
}

/* The symbols of a word, before any merge. A pending unknown token is written when a known
 * character follows or at the end, as the published library does. */
static int spell(struct plumb_tok_work *w, const char *s, size_t n)
{
    const struct plumb_tok_bpe_data *b = &w->tok->bpe;
    size_t pending = 0; /* bytes of an unknown token */
    w->symbols = 0;
    for (size_t i = 0; i < n;) {
        int32_t cp;
        const char *c = s + i;
        size_t length = plumb_utf8_next(c, n - i, &cp);
        const size_t bytes = w->tok->byte_words ? 1 : length;
        i += length;
        PLUMB_TRY(spelling(w, c == s, i == n, &c, &length));
        const int32_t id = plumb_tok_pieces_find(&w->tok->pieces, c, length);
        if (id >= 0) {
            if (pending) PLUMB_TRY(add_symbol(w, b->unk_id, pending));
            pending = 0;
            PLUMB_TRY(add_symbol(w, id, bytes));
            continue;
        }
        bool done = false;
        if (b->byte_fallback) PLUMB_TRY(add_bytes(w, c, length, &done));
        if (done) continue;
        if (b->unk_missing)
            return plumb_fail(PLUMB_EFORMAT,
                              "the vocabulary has neither \"%.*s\" nor its unknown token",
                              (int)length, c);
        if (b->unk_id < 0) continue;
        if (pending && !b->fuse_unk) PLUMB_TRY(add_symbol(w, b->unk_id, pending));
        pending = b->fuse_unk ? pending + bytes : bytes;
    }
    return pending ? add_symbol(w, b->unk_id, pending) : PLUMB_OK;
}

/* By text: user-defined pieces, then characters. Nothing is unknown before all merges. */
static int spell_text(struct plumb_tok_work *w, const char *s, size_t n)
{
    w->symbols = 0;
    w->letters = s;
    for (size_t i = 0, length; i < n; i += length) {
        int32_t cp;
        const size_t whole = plumb_tok_user_defined(w->tok, s + i, n - i);
        length = whole ? whole : plumb_utf8_next(s + i, n - i, &cp);
        PLUMB_TRY(add_symbol(w, 0, length));
        w->symbol[w->symbols - 1].at = (uint32_t)i;
        w->symbol[w->symbols - 1].frozen = whole > 0;
    }
    return PLUMB_OK;
}

/* Which piece symbol i and its successor make together; remembers how an unused one was made. */
static void look_up_text(struct plumb_tok_work *w, struct plumb_tok_symbol *a)
{
    const struct plumb_tok_unigram_data *u = &w->tok->unigram;
    const struct plumb_tok_symbol *b = &w->symbol[a->next];
    if (a->frozen || b->frozen) return;
    const int32_t id = plumb_tok_pieces_find(&w->tok->pieces, w->letters + a->at,
                                             (size_t)a->bytes + b->bytes);
    const int type = id < 0 ? PLUMB_TOK_CONTROL : u->type[id];
    if (type != PLUMB_TOK_NORMAL && type != PLUMB_TOK_USER_DEFINED && type != PLUMB_TOK_UNUSED)
        return;
    a->rank = u->rank[id];
    a->merged = id;
    if (type == PLUMB_TOK_UNUSED) w->unused[id] = a->bytes;
}

/* Notes which merge joins symbol i to its successor. */
static void look_up(struct plumb_tok_work *w, int32_t i)
{
    struct plumb_tok_symbol *a = &w->symbol[i];
    a->rank = NO_MERGE;
    if (a->next < 0) return;
    if (w->tok->bpe.by_text) {
        look_up_text(w, a);
        return;
    }
    const uint64_t *merge = plumb_tok_pairs_find(
        &w->tok->bpe.merges, (uint64_t)a->id << 32 | (uint32_t)w->symbol[a->next].id);
    if (!merge) return;
    a->rank = (uint32_t)(*merge >> 32);
    a->merged = (int32_t)*merge;
}

/* Joins symbol i to its successor and looks up the merges of its new neighbourhood. */
static void join(struct plumb_tok_work *w, int32_t i)
{
    struct plumb_tok_symbol *a = &w->symbol[i], *gone = &w->symbol[a->next];
    a->id = a->merged;
    a->bytes += gone->bytes;
    a->next = gone->next;
    gone->id = -1;
    gone->rank = NO_MERGE;
    if (a->next >= 0) w->symbol[a->next].previous = i;
    look_up(w, i);
    if (a->previous >= 0) look_up(w, a->previous);
}

static void merge_few(struct plumb_tok_work *w)
{
    for (;;) {
        int32_t best = -1;
        uint32_t rank = NO_MERGE;
        for (int32_t i = 0; i >= 0; i = w->symbol[i].next) {
            if (w->symbol[i].rank >= rank) continue;
            rank = w->symbol[i].rank;
            best = i;
        }
        if (best < 0) return;
        join(w, best);
    }
}

/* A heap of rank << 32 | place, least first: equal ranks merge from left to right. */
static void sink(uint64_t *heap, size_t n, size_t i)
{
    const uint64_t v = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= v) break;
        heap[i] = heap[child];
    }
    heap[i] = v;
}

static int push(struct plumb_tok_work *w, int32_t place)
{
    if (w->symbol[place].rank == NO_MERGE) return PLUMB_OK;
    PLUMB_TRY(plumb_tok_grow(&w->heap, &w->heap_capacity, w->heap_n + 1, sizeof *w->heap));
    const uint64_t v = (uint64_t)w->symbol[place].rank << 32 | (uint32_t)place;
    size_t i = w->heap_n++;
    for (; i && w->heap[(i - 1) / 2] > v; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = v;
    return PLUMB_OK;
}

static int merge_many(struct plumb_tok_work *w)
{
    w->heap_n = 0;
    for (size_t i = 0; i < w->symbols; i++)
        PLUMB_TRY(push(w, (int32_t)i));
    while (w->heap_n) {
        const uint64_t top = w->heap[0];
        const int32_t i = (int32_t)(uint32_t)top;
        w->heap[0] = w->heap[--w->heap_n];
        if (w->heap_n) sink(w->heap, w->heap_n, 0);
        /* An entry is stale when its pair is no more: the merge of the pair there now, if of the
         * same rank, is another entry's or as good as it. */
        if (w->symbol[i].rank != (uint32_t)(top >> 32)) continue;
        join(w, i);
        PLUMB_TRY(push(w, i));
        if (w->symbol[i].previous >= 0) PLUMB_TRY(push(w, w->symbol[i].previous));
    }
    return PLUMB_OK;
}

static int merge(struct plumb_tok_work *w)
{
    const int32_t n = (int32_t)w->symbols;
    for (int32_t i = 0; i < n; i++) {
        w->symbol[i].previous = i - 1;
        w->symbol[i].next = i + 1 < n ? i + 1 : -1;
    }
    for (int32_t i = 0; i < n; i++)
        look_up(w, i);
    if (n > FEW_SYMBOLS) return merge_many(w);
    if (n > 1) merge_few(w);
    return PLUMB_OK;
}

/* A stretch without a piece: its bytes, or the unknown token, one for stretches side by side. */
static int emit_unknown(struct plumb_tok_work *w, size_t at, size_t n, bool side_by_side)
{
    const struct plumb_tok_bpe_data *b = &w->tok->bpe;
    const char *s = w->letters + at;
    for (size_t i = 0; i < n && b->byte_fallback; i++) {
        const int32_t id = b->byte_id[(unsigned char)s[i]];
        PLUMB_TRY(plumb_tok_emit(w, id < 0 ? b->unk_id : id, s, n));
    }
    if (b->byte_fallback || side_by_side) return PLUMB_OK;
    return plumb_tok_emit(w, b->unk_id, s, n);
}

/* A merged stretch; unused pieces fall apart into what they were made of. */
static int emit_stretch(struct plumb_tok_work *w, size_t at, size_t n, bool *unknown)
{
    const struct plumb_tok *t = w->tok;
    enum { MOST_HALVES = 512 }; /* an unused piece is that long at most */
    size_t waiting[MOST_HALVES], count = 0;
    for (;;) {
        const int32_t id = plumb_tok_pieces_find(&t->pieces, w->letters + at, n);
        const int type = id < 0 ? PLUMB_TOK_UNKNOWN : t->unigram.type[id];
        const size_t left = type == PLUMB_TOK_UNUSED ? w->unused[id] : 0;
        if (left && left < n && count < MOST_HALVES) {
            waiting[count++] = n - left;
            n = left;
            continue;
        }
        /* one that was never made is not there */
        const bool lacks = type == PLUMB_TOK_UNKNOWN || type == PLUMB_TOK_UNUSED;
        PLUMB_TRY(lacks ? emit_unknown(w, at, n, *unknown)
                        : plumb_tok_emit(w, id, w->letters + at, n));
        *unknown = lacks;
        if (!count) return PLUMB_OK;
        at += n;
        n = waiting[--count];
    }
}

static int encode_text(struct plumb_tok_work *w, const char *s, size_t n)
{
    bool unknown = false;
    if (w->tok->unigram.has_unused) {
        const size_t ids = (size_t)w->tok->pieces.n;
        PLUMB_TRY(plumb_tok_grow(&w->unused, &w->unused_capacity, ids, sizeof *w->unused));
        memset(w->unused, 0, ids * sizeof *w->unused);
    }
    PLUMB_TRY(spell_text(w, s, n));
    PLUMB_TRY(merge(w));
    for (size_t i = 0; i < w->symbols; i++)
        if (w->symbol[i].id >= 0)
            PLUMB_TRY(emit_stretch(w, w->symbol[i].at, w->symbol[i].bytes, &unknown));
    return PLUMB_OK;
}

/* A word that is not in the cache; appends to w->out. */
static int encode_new(struct plumb_tok_work *w, const char *s, size_t n)
{
    const struct plumb_tok *t = w->tok;
    const char *at = s;
    const size_t whole_bytes = n;
    if (t->bpe.by_text) return encode_text(w, s, n);
    if (t->byte_words) {
        w->word.n = 0;
        PLUMB_TRY(plumb_tok_map_bytes(&w->word, s, n));
        s = w->word.data;
        n = w->word.n;
    }
    if (t->bpe.ignore_merges) {
        const int32_t whole = plumb_tok_pieces_find(&t->pieces, s, n);
        if (whole >= 0) return plumb_tok_emit(w, whole, at, whole_bytes);
    }
    PLUMB_TRY(spell(w, s, n));
    PLUMB_TRY(merge(w));
    for (size_t i = 0; i < w->symbols; i++) {
        if (w->symbol[i].id < 0) continue;
        PLUMB_TRY(plumb_tok_emit(w, w->symbol[i].id, at, w->symbol[i].bytes));
        at += w->symbol[i].bytes;
    }
    return PLUMB_OK;
}

static int encode_cached(struct plumb_tok_work *w, const char *s, size_t n)
{
    if (w->spans || n > PLUMB_TOK_CACHED_BYTES) return encode_new(w, s, n);
    const uint64_t hash = plumb_tok_hash(s, n);
    const struct plumb_tok_cached *hit = plumb_tok_cache_find(&w->cache, hash, s, n);
    if (hit) {
        for (uint32_t i = 0; i < hit->ids; i++)
            PLUMB_TRY(plumb_idbuf_push(w->out, w->cache.id.id[hit->first + i]));
        return PLUMB_OK;
    }
    const int64_t mark = w->out->n;
    PLUMB_TRY(encode_new(w, s, n));
    const size_t ids = (size_t)(w->out->n - mark);
    return plumb_tok_cache_put(&w->cache, hash, s, n, ids ? w->out->id + mark : NULL, ids);
}

/* Without a pre-tokenizer a word is the whole text. Where no merge can reach across, it is cut
 * before a U+2581 that follows another character: the same ids, and the cache has words to hold. */
int plumb_tok_bpe_word(struct plumb_tok_work *w, const char *s, size_t n)
{
    const struct plumb_tok *t = w->tok;
    if (!t->bpe.cuts_at_meta ||
        (t->bpe.ignore_merges && plumb_tok_pieces_find(&t->pieces, s, n) >= 0))
        return encode_cached(w, s, n);
    size_t done = 0;
    for (size_t i = 1; i < n;) {
        const char *at = memmem(s + i, n - i, PLUMB_TOK_META, 3);
        if (!at) break;
        i = (size_t)(at - s);
        if (i < 3 || memcmp(at - 3, PLUMB_TOK_META, 3)) {
            PLUMB_TRY(encode_cached(w, s + done, i - done));
            done = i;
        }
        i += 3;
    }
    return encode_cached(w, s + done, n - done);
}
