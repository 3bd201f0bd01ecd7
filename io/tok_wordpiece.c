/* WordPiece: a word is cut into the longest pieces from its start, or is unknown as a whole.
 * Source: Hugging Face tokenizers 0.23, src/models/wordpiece. */
#include <string.h>

#include "io/json.h"
#include "io/tok.h"
#include "io/utf8.h"

enum { LONGEST_WORD = 1000 }; /* characters: the work on a word grows with its square */

static int load(struct plumb_tok *t, const cJSON *model, const char *where)
{
    const char *unk = "[UNK]", *prefix = "##";
    size_t n;
    if (plumb_json_get(model, "unk_token"))
        PLUMB_TRY(plumb_json_string(model, "unk_token", where, &unk));
    if (plumb_json_get(model, "continuing_subword_prefix"))
        PLUMB_TRY(plumb_json_string(model, "continuing_subword_prefix", where, &prefix));
    PLUMB_TRY(plumb_json_i64_or(model, "max_input_chars_per_word", where, 100, &t->longest_word));
    if (t->longest_word > LONGEST_WORD)
        return plumb_fail(PLUMB_ENOTSUP, "%s: max_input_chars_per_word is %lld, over %d", where,
                          (long long)t->longest_word, LONGEST_WORD);
    if (strlen(prefix) > PLUMB_TOK_LONGEST)
        return plumb_fail(PLUMB_ENOTSUP, "%s: continuing_subword_prefix is over %d bytes", where,
                          PLUMB_TOK_LONGEST);
    PLUMB_TRY(plumb_tok_copy(&t->bpe.continuing_prefix, &n, prefix));
    PLUMB_TRY(plumb_tok_load_vocab(t, plumb_json_get(model, "vocab"), where));
    t->bpe.unk_id = plumb_tok_pieces_find(&t->pieces, unk, strlen(unk));
    return t->bpe.unk_id >= 0
               ? PLUMB_OK
               : plumb_fail(PLUMB_EFORMAT, "%s: unk_token \"%.80s\" is no piece", where, unk);
}

/* The longest piece that starts at byte `from`, its end in *to; -1 = none. */
static int longest(struct plumb_tok_work *w, const char *s, size_t n, size_t from, size_t *to,
                   int32_t *id)
{
    const char *prefix = from ? w->tok->bpe.continuing_prefix : "";
    w->spelling.n = 0;
    PLUMB_TRY(plumb_tok_bytes_put(&w->spelling, prefix, strlen(prefix)));
    PLUMB_TRY(plumb_tok_bytes_put(&w->spelling, s + from, n - from));
    for (*to = n; *to > from; --*to) {
        if (*to < n && ((unsigned char)s[*to] & 0xC0) == 0x80) continue; /* inside a character */
        *id = plumb_tok_pieces_find(&w->tok->pieces, w->spelling.data, strlen(prefix) + *to - from);
        if (*id >= 0) return PLUMB_OK;
    }
    *id = -1;
    return PLUMB_OK;
}

static int word(struct plumb_tok_work *w, const char *s, size_t n)
{
    const int64_t mark = w->out->n, span_mark = w->spans ? w->spans->n : 0;
    int64_t points = 0;
    for (size_t i = 0; i < n; i++)
        points += ((unsigned char)s[i] & 0xC0) != 0x80;
    bool known = points <= w->tok->longest_word;
    for (size_t from = 0, to = 0; known && from < n; from = to) {
        int32_t id;
        PLUMB_TRY(longest(w, s, n, from, &to, &id));
        known = id >= 0;
        if (known) PLUMB_TRY(plumb_tok_emit(w, id, s + from, to - from));
    }
    if (known) return PLUMB_OK;
    w->out->n = mark;
    if (w->spans) w->spans->n = span_mark;
    return plumb_tok_emit(w, w->tok->bpe.unk_id, s, n);
}

const struct plumb_tok_model plumb_tok_wordpiece = { "WordPiece", load, word };
