/* Where the bytes of a text come from while a tokenizer rewrites it, and the stretches of the
 * caller's text that its tokens stand for. Source: Hugging Face tokenizers 0.23,
 * src/tokenizer/normalizer.rs (alignments), src/pre_tokenizers/byte_level.rs (trimmed offsets). */
#include <stdlib.h>
#include <string.h>

#include "io/tok.h"
#include "io/utf8.h"

void plumb_textspans_release(struct plumb_textspans *b)
{
    free(b->at);
    *b = (struct plumb_textspans){ 0 };
}

static int push_span(struct plumb_textspans *b, int64_t from, int64_t to)
{
    size_t capacity = (size_t)b->capacity;
    const int rc = plumb_tok_grow(&b->at, &capacity, (size_t)b->n + 1, sizeof *b->at);
    b->capacity = (int64_t)capacity;
    if (rc) return rc;
    b->at[b->n++] = (struct plumb_textspan){ from, to };
    return PLUMB_OK;
}

/* Notes the origin of the last n bytes of `out`. */
static int note(struct plumb_tok_bytes *out, size_t n, struct plumb_tok_origin origin)
{
    PLUMB_TRY(plumb_tok_grow(&out->origin, &out->origin_capacity, out->n, sizeof *out->origin));
    for (size_t i = out->n - n; i < out->n; i++)
        out->origin[i] = origin;
    return PLUMB_OK;
}

void plumb_tok_begin_stretch(struct plumb_tok_work *w, const char *s)
{
    if (w->spans) w->start = w->place.origin[s - w->place.base].from;
}

static const struct plumb_tok_origin *origin_of(const struct plumb_tok_work *w, const char *s)
{
    return w->place.origin + (s - w->place.base);
}

int plumb_tok_put(struct plumb_tok_work *w, struct plumb_tok_bytes *out, const char *s, size_t n)
{
    PLUMB_TRY(plumb_tok_bytes_put(out, s, n));
    if (!w->spans || !n) return PLUMB_OK;
    PLUMB_TRY(plumb_tok_grow(&out->origin, &out->origin_capacity, out->n, sizeof *out->origin));
    memcpy(out->origin + out->n - n, origin_of(w, s), n * sizeof *out->origin);
    return PLUMB_OK;
}

int plumb_tok_put_for(struct plumb_tok_work *w, struct plumb_tok_bytes *out, const char *bytes,
                      size_t n, const char *s, size_t stands)
{
    PLUMB_TRY(plumb_tok_bytes_put(out, bytes, n));
    if (!w->spans || !n) return PLUMB_OK;
    const struct plumb_tok_origin start = { w->start, w->start };
    if (!s) return note(out, n, start);
    return note(
        out, n,
        (struct plumb_tok_origin){ origin_of(w, s)->from, origin_of(w, s + stands - 1)->to });
}

struct plumb_tok_place plumb_tok_enter(struct plumb_tok_work *w, const struct plumb_tok_bytes *b)
{
    const struct plumb_tok_place before = w->place;
    w->place = (struct plumb_tok_place){ b->data, b->origin };
    return before;
}

int plumb_tok_begin_spans(struct plumb_tok_work *w, const char *s, size_t n)
{
    struct plumb_tok_bytes *b = &w->whole;
    PLUMB_TRY(plumb_tok_grow(&b->origin, &b->origin_capacity, n + 1, sizeof *b->origin));
    for (size_t i = 0, length; i < n; i += length) {
        int32_t cp;
        length = plumb_utf8_next(s + i, n - i, &cp);
        for (size_t k = 0; k < length; k++)
            b->origin[i + k] = (struct plumb_tok_origin){ (uint32_t)i, (uint32_t)(i + length) };
    }
    w->place = (struct plumb_tok_place){ s, b->origin };
    return PLUMB_OK;
}

int plumb_tok_emit(struct plumb_tok_work *w, int32_t id, const char *s, size_t n)
{
    PLUMB_TRY(plumb_idbuf_push(w->out, id));
    if (!w->spans) return PLUMB_OK;
    if (!n) return push_span(w->spans, 0, 0);
    return push_span(w->spans, origin_of(w, s)->from, origin_of(w, s + n - 1)->to);
}

int plumb_tok_emit_around(struct plumb_tok_work *w, const struct plumb_idbuf *ids)
{
    for (int64_t i = 0; i < ids->n; i++)
        PLUMB_TRY(plumb_tok_emit(w, ids->id[i], NULL, 0));
    return PLUMB_OK;
}

/* Writes the character held back, where its change says that it comes from. */
static int settle(struct plumb_tok_edit *e)
{
    struct plumb_tok_work *w = e->work;
    int32_t cp;
    if (!e->bytes) return PLUMB_OK;
    const bool added = e->change > 0;
    const char *from = added && e->at > w->place.base ? e->at - 1 : e->at;
    if (from == e->end) from--;
    PLUMB_TRY(plumb_tok_put_for(w, e->out, e->held, e->bytes, from, 1));
    for (int k = e->change; k <= 0 && e->at < e->end; k++)
        e->at += plumb_utf8_next(e->at, (size_t)(e->end - e->at), &cp);
    e->bytes = 0;
    return PLUMB_OK;
}

int plumb_tok_edit(struct plumb_tok_edit *e, const char *s, size_t n, int change)
{
    PLUMB_TRY(settle(e));
    memcpy(e->held, s, n);
    e->bytes = n;
    e->change = change;
    return PLUMB_OK;
}

void plumb_tok_edit_removes(struct plumb_tok_edit *e, int characters) { e->change -= characters; }

int plumb_tok_edit_end(struct plumb_tok_edit *e) { return settle(e); }

/* White space at the beginning of a piece (or its end), in characters: ByteLevel's space counts. */
static int64_t blanks(const char *s, size_t n, bool at_end)
{
    int64_t count = 0;
    for (size_t i = 0, length; i < n; i += length) {
        int32_t cp;
        length = plumb_utf8_next(s + i, n - i, &cp);
        const bool blank = plumb_tok_unmap(cp) == ' ' || plumb_tok_is_white(cp);
        if (!at_end && !blank) return count;
        count = blank ? count + 1 : 0;
    }
    return count;
}

static int64_t forward(const char *s, int64_t from, int64_t to, int64_t characters)
{
    int32_t cp;
    for (; characters > 0 && from < to; characters--)
        from += (int64_t)plumb_utf8_next(s + from, (size_t)(to - from), &cp);
    return from;
}

static int64_t backward(const char *s, int64_t from, int64_t to, int64_t characters)
{
    for (; characters > 0 && to > from; characters--)
        do
            to--;
        while (to > from && ((unsigned char)s[to] & 0xC0) == 0x80);
    return to;
}

void plumb_tok_trim_spans(const struct plumb_tok_work *w, const char *s, int64_t first,
                          int64_t first_span)
{
    const struct plumb_tok *t = w->tok;
    for (int64_t i = 0; i < w->out->n - first; i++) {
        struct plumb_textspan *at = &w->spans->at[first_span + i];
        const int32_t id = w->out->id[first + i];
        size_t n = (size_t)(at->to - at->from);
        const char *piece = plumb_tok_added_by_id(t, id) ? s + at->from
                                                         : plumb_tok_piece(&t->pieces, id, &n);
        if (!piece) continue;
        int64_t leading = blanks(piece, n, false);
        const int64_t trailing = blanks(piece, n, true);
        if ((i == 0 || at->from == 0) && t->trim_prefix_space && leading == 1) leading = 0;
        at->from = forward(s, at->from, at->to, leading);
        at->to = backward(s, at->from, at->to, trailing);
    }
}
