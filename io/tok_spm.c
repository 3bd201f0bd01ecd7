/* SentencePiece's tokenizer.model: a Unigram or BPE vocabulary with its own normalizer and decoder.
 * Sources: arXiv:1808.06226; sentencepiece 0.2, sentencepiece_model.proto (numbers of the fields),
 * normalizer.cc, sentencepiece_processor.cc. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/tok.h"
#include "io/tokenizer.h"
#include "io/utf8.h"

enum { UNIGRAM = 1, BPE = 2 };               /* types of models */
enum { REMOVE_EXTRA = 1, DUMMY_PREFIX = 2 }; /* choices of the normalizer */

/* One field of a message: a number, or bytes. */
struct field {
    uint32_t number;
    int wire;
    uint64_t value;
    const char *bytes;
    size_t n;
};

static bool varint(const char **p, const char *end, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        const unsigned char c = (unsigned char)*(*p)++;
        *out |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) return true;
    }
    return false;
}

/* The next field of [*p, end); false at the end, or with *p NULL where the message is broken. */
static bool next_field(const char **p, const char *end, struct field *f)
{
    uint64_t key;
    *f = (struct field){ 0 };
    if (*p == end) return false;
    bool good = varint(p, end, &key) && key >> 3 && key >> 3 < 1u << 29;
    f->number = (uint32_t)(key >> 3);
    f->wire = key & 7;
    if (good && f->wire == 0) {
        good = varint(p, end, &f->value);
    } else if (good && f->wire == 2) {
        good = varint(p, end, &f->value) && f->value <= (uint64_t)(end - *p);
        f->bytes = *p;
        f->n = good ? (size_t)f->value : 0;
        *p += f->n;
    } else if (good) {
        const size_t size = f->wire == 5 ? 4 : f->wire == 1 ? 8 : 0;
        good = size && (size_t)(end - *p) >= size;
        if (good) memcpy(&f->value, *p, size);
        *p += good ? size : 0;
    }
    if (!good) *p = NULL;
    return good;
}

struct spm {
    struct plumb_tok *t;
    const char *where;
    int64_t model, count;
    int32_t id[4];            /* unknown, BOS, EOS, padding */
    int32_t unknown;          /* the piece of this type; -1 = none */
    const char *unknown_text; /* what it becomes when decoded */
    size_t unknown_bytes;
    bool byte_fallback;
    double most; /* score of normal pieces */
    struct plumb_tok_step normalizer;
};

static int broken(const struct spm *m)
{
    return plumb_fail(PLUMB_EFORMAT, "%s: this is no model of SentencePiece", m->where);
}

static int read_piece(struct spm *m, const char *p, size_t n)
{
    const char *end = p + n, *text = "";
    struct field f;
    size_t bytes = 0;
    float score = 0;
    uint64_t type = PLUMB_TOK_NORMAL;
    while (next_field(&p, end, &f)) {
        if (f.number == 1 && f.wire == 2) text = f.bytes, bytes = f.n;
        if (f.number == 2 && f.wire == 5) memcpy(&score, &f.value, 4);
        if (f.number == 3 && f.wire == 0) type = f.value;
    }
    struct plumb_tok_unigram_data *u = &m->t->unigram;
    if (!p || type < PLUMB_TOK_NORMAL || type > PLUMB_TOK_BYTE || bytes == 0 ||
        m->count > PLUMB_TOK_MAX_ID)
        return broken(m);
    if (plumb_utf8_valid(text, bytes) != bytes || memchr(text, 0, bytes)) return broken(m);
    if (type == PLUMB_TOK_BYTE && (bytes != 6 || memcmp(text, "<0x", 3) || text[5] != '>'))
        return broken(m);
    PLUMB_TRY(
        plumb_tok_grow(&u->score, &u->score_capacity, (size_t)m->count + 1, sizeof *u->score));
    PLUMB_TRY(plumb_tok_grow(&u->type, &u->type_capacity, (size_t)m->count + 1, 1));
    u->type[m->count] = (uint8_t)type;
    if (isnan(score)) return broken(m);
    u->score[m->count] = (double)score;
    if (type == PLUMB_TOK_UNKNOWN) m->unknown = (int32_t)m->count;
    if (type == PLUMB_TOK_NORMAL) u->least = fmin(u->least, (double)score);
    if (type == PLUMB_TOK_NORMAL) m->most = fmax(m->most, (double)score);
    return plumb_tok_pieces_put(&m->t->pieces, text, bytes, m->count++, true, m->where);
}

static int read_trainer(struct spm *m, const char *p, size_t n)
{
    const char *end = p + n;
    struct field f;
    while (next_field(&p, end, &f)) {
        if (f.number == 44 && f.wire == 2) m->unknown_text = f.bytes, m->unknown_bytes = f.n;
        if (f.wire) continue;
        if (f.number == 24 && f.value)
            return plumb_fail(PLUMB_ENOTSUP, "%s: spaces at the end of words are not supported",
                              m->where);
        if (f.number == 3) m->model = (int64_t)f.value;
        if (f.number == 35) m->byte_fallback = f.value != 0;
        if (f.number >= 40 && f.number <= 43) m->id[f.number - 40] = (int32_t)f.value;
    }
    return p ? PLUMB_OK : broken(m);
}

static int read_normalizer(struct spm *m, const char *p, size_t n)
{
    const char *end = p + n, *map = NULL;
    struct field f;
    size_t bytes = 0;
    while (next_field(&p, end, &f)) {
        if (f.number == 2 && f.wire == 2) map = f.bytes, bytes = f.n;
        if (f.number == 3 && f.wire == 0 && !f.value) m->normalizer.choice &= ~DUMMY_PREFIX;
        if (f.number == 4 && f.wire == 0 && !f.value) m->normalizer.choice &= ~REMOVE_EXTRA;
        if (f.number == 5 && f.wire == 0 && !f.value)
            return plumb_fail(PLUMB_ENOTSUP, "%s: spaces that stay spaces are not supported",
                              m->where);
    }
    return p ? plumb_tok_take_charsmap(&m->normalizer, map, bytes, m->where) : broken(m);
}

static int read_model(struct spm *m, const char *p, size_t n)
{
    const char *end = p + n;
    struct field f;
    while (next_field(&p, end, &f)) {
        if (f.wire != 2) continue;
        if (f.number == 1) PLUMB_TRY(read_piece(m, f.bytes, f.n));
        if (f.number == 2) PLUMB_TRY(read_trainer(m, f.bytes, f.n));
        if (f.number == 3) PLUMB_TRY(read_normalizer(m, f.bytes, f.n));
    }
    return p && m->count ? PLUMB_OK : broken(m);
}

/* The normalizer leaves them alone. */
size_t plumb_tok_user_defined(const struct plumb_tok *t, const char *s, size_t n)
{
    const struct plumb_tok_unigram_data *u = &t->unigram;
    size_t longest = 0, node = 0;
    for (size_t k = 1; u->has_user_defined && k <= n; k++) {
        const uint64_t *child = plumb_tok_pairs_find(&u->trie.child,
                                                     node << 8 | (unsigned char)s[k - 1]);
        if (!child) break;
        node = *child;
        const int32_t id = u->trie.token[node];
        if (id >= 0 && u->type[id] == PLUMB_TOK_USER_DEFINED) longest = k;
    }
    return longest;
}

/* What the beginning of s becomes: *to of *bytes; returns the length of the beginning. */
static size_t prefix(const struct plumb_tok *t, const struct plumb_tok_step *step, const char *s,
                     size_t n, const char **to, size_t *bytes)
{
    int32_t c;
    size_t length = plumb_tok_user_defined(t, s, n);
    *to = s;
    *bytes = length;
    if (length) return length;
    const char *r = plumb_tok_charsmap_longest(step, s, n, &length, bytes);
    if (r) {
        *to = r;
        return length;
    }
    length = plumb_utf8_next(s, n, &c);
    *to = c < 0 ? "\xEF\xBF\xBD" : s;
    *bytes = c < 0 ? 3 : length;
    return length;
}

/* Appends what `length` bytes of the text at `from` became. */
static int put_escaped(struct plumb_tok_work *w, struct plumb_tok_bytes *out, const char *s,
                       size_t n, const char *from, size_t length)
{
    for (size_t i = 0; i < n; i++) {
        const bool space = s[i] == ' ';
        PLUMB_TRY(
            plumb_tok_put_for(w, out, space ? PLUMB_TOK_META : s + i, space ? 3 : 1, from, length));
    }
    return PLUMB_OK;
}

static int rewrite(struct plumb_tok_work *w, const struct plumb_tok_step *step, const char *s,
                   size_t n, struct plumb_tok_bytes *out)
{
    const bool remove = step->choice & REMOVE_EXTRA;
    const char *to;
    size_t bytes, at = 0;
    while (remove && at < n) { /* leading spaces, whatever became one */
        const size_t length = prefix(w->tok, step, s + at, n - at, &to, &bytes);
        if (bytes != 1 || *to != ' ') break;
        at += length;
    }
    if (at == n) return PLUMB_OK;
    if (step->choice & DUMMY_PREFIX)
        PLUMB_TRY(plumb_tok_put_for(w, out, PLUMB_TOK_META, 3, s + at, 1));
    for (bool after_space = remove; at < n;) {
        const char *from = s + at;
        const size_t length = prefix(w->tok, step, from, n - at, &to, &bytes);
        at += length;
        while (after_space && bytes && *to == ' ')
            to++, bytes--;
        if (bytes) after_space = remove && to[bytes - 1] == ' ';
        PLUMB_TRY(put_escaped(w, out, to, bytes, from, length));
    }
    while (remove && out->n >= 3 && !memcmp(out->data + out->n - 3, PLUMB_TOK_META, 3))
        out->n -= 3;
    return PLUMB_OK;
}

/* A piece as text: bytes for byte pieces, nothing for control ones. A space at the start was put
 * there; *first = none has been taken away. */
static int put_piece(struct plumb_tok_work *w, const struct plumb_tok_step *step, const char *s,
                     size_t n, bool *first, struct plumb_tok_bytes *out)
{
    const struct plumb_tok *t = w->tok;
    const int32_t id = plumb_tok_pieces_find(&t->pieces, s, n);
    const int type = id < 0 ? PLUMB_TOK_NORMAL : t->unigram.type[id];
    if (type == PLUMB_TOK_CONTROL) return PLUMB_OK;
    if (type == PLUMB_TOK_UNKNOWN)
        return plumb_tok_bytes_put(out, step->content, step->content_bytes);
    if (type == PLUMB_TOK_BYTE) {
        const char hex[] = { s[3], s[4], 0 };
        const char byte = (char)strtol(hex, NULL, 16);
        return plumb_tok_bytes_put(out, &byte, 1);
    }
    const bool starts = *first && step->choice && n >= 3 && !memcmp(s, PLUMB_TOK_META, 3);
    if (starts && !(step->choice & REMOVE_EXTRA)) *first = false;
    for (size_t i = starts ? 3 : 0; i < n;) {
        const bool meta = n - i >= 3 && !memcmp(s + i, PLUMB_TOK_META, 3);
        PLUMB_TRY(meta ? plumb_tok_bytes_put(out, " ", 1) : plumb_tok_bytes_put(out, s + i, 1));
        i += meta ? 3 : 1;
    }
    return PLUMB_OK;
}

static int decode(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                  const struct plumb_tok_strings *in, struct plumb_tok_strings *out)
{
    bool first = true;
    w->word.n = 0;
    for (size_t i = 0; i < in->n; i++) {
        const size_t start = i ? in->end[i - 1] : 0;
        PLUMB_TRY(put_piece(w, step, in->text.data + start, in->end[i] - start, &first, &w->word));
        if (w->word.n) first = false;
    }
    PLUMB_TRY(plumb_tok_lossy(&out->text, w->word.data, w->word.n));
    return plumb_tok_strings_end(out);
}

/* Scores of pieces that text becomes, as a sum of them wants it. */
static int finish_unigram(struct spm *m)
{
    struct plumb_tok_unigram_data *u = &m->t->unigram;
    for (int64_t i = 0; i < m->count; i++) {
        size_t bytes;
        const int type = u->type[i];
        if (type != PLUMB_TOK_NORMAL) u->score[i] = -INFINITY;
        if (type == PLUMB_TOK_USER_DEFINED && plumb_tok_piece(&m->t->pieces, (int32_t)i, &bytes))
            u->score[i] = (double)bytes * m->most - 0.1;
    }
    m->t->model = &plumb_tok_unigram;
    return plumb_tok_unigram_finish(m->t, m->where);
}

static int by_score(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Ranks of scores: equal ones have equal ranks, so that they merge from left to right. */
static int rank_scores(struct spm *m)
{
    struct plumb_tok_unigram_data *u = &m->t->unigram;
    const size_t n = (size_t)m->count;
    double *sorted = malloc(n * sizeof *sorted);
    u->rank = malloc(n * sizeof *u->rank);
    if (!sorted || !u->rank) {
        free(sorted);
        return plumb_fail(PLUMB_EMEM, "%s: could not allocate %zu scores", m->where, n);
    }
    size_t distinct = 0;
    memcpy(sorted, u->score, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_score);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || sorted[i] != sorted[i - 1]) sorted[distinct++] = sorted[i];
    for (size_t i = 0; i < n; i++) {
        const double *at = bsearch(&u->score[i], sorted, distinct, sizeof *sorted, by_score);
        u->rank[i] = (uint32_t)(at - sorted);
    }
    free(sorted);
    return PLUMB_OK;
}

static int finish_bpe(struct spm *m)
{
    struct plumb_tok *t = m->t;
    const int32_t space = plumb_tok_pieces_find(&t->pieces, PLUMB_TOK_META, 3);
    size_t n;
    t->bpe.by_text = true;
    t->bpe.cuts_at_meta = space >= 0 && t->unigram.type[space] == PLUMB_TOK_NORMAL &&
                          !t->unigram.has_unused;
    for (int64_t i = 0; i < m->count; i++) {
        const char *piece = plumb_tok_piece(&t->pieces, (int32_t)i, &n);
        if (piece && plumb_tok_meta_inside(piece, n)) t->bpe.cuts_at_meta = false;
        if (piece && t->unigram.type[i] == PLUMB_TOK_USER_DEFINED)
            PLUMB_TRY(plumb_tok_trie_put(&t->unigram.trie, piece, n, (int32_t)i));
    }
    t->model = &plumb_tok_bpe;
    return rank_scores(m);
}

static int add_steps(struct spm *m)
{
    static const struct plumb_tok_kind normalizer = { "sentencepiece", .rewrite = rewrite },
                                       decoder = { "sentencepiece", .decode = decode };
    struct plumb_tok *t = m->t;
    const int choice = m->normalizer.choice;
    m->normalizer.kind = &normalizer;
    t->normalizers.step[t->normalizers.n++] = m->normalizer;
    m->normalizer = (struct plumb_tok_step){ 0 };
    struct plumb_tok_step *last = &t->decoders.step[t->decoders.n++];
    *last = (struct plumb_tok_step){ .kind = &decoder, .choice = choice };
    t->has_decoder = true;
    last->content = malloc(m->unknown_bytes + 1);
    if (!last->content) return plumb_fail(PLUMB_EMEM, "%s: could not allocate a text", m->where);
    memcpy(last->content, m->unknown_text, m->unknown_bytes);
    last->content_bytes = m->unknown_bytes;
    return PLUMB_OK;
}

static int finish(struct spm *m, struct plumb_tok_names *names)
{
    struct plumb_tok *t = m->t;
    struct plumb_tok_unigram_data *u = &t->unigram;
    if (m->model != UNIGRAM && m->model != BPE)
        return plumb_fail(PLUMB_ENOTSUP,
                          "%s: only models of type Unigram and BPE are read from this file",
                          m->where);
    for (int64_t i = 0; i < m->count; i++) {
        u->has_user_defined = u->has_user_defined || u->type[i] == PLUMB_TOK_USER_DEFINED;
        u->has_unused = u->has_unused || u->type[i] == PLUMB_TOK_UNUSED;
    }
    if (m->unknown < 0) return broken(m);
    m->id[0] = m->unknown;
    for (int i = 0; i < 4; i++)
        if (m->id[i] >= m->count) return broken(m);
    plumb_tok_bpe_finish(t, NULL);
    PLUMB_TRY(m->model == BPE ? finish_bpe(m) : finish_unigram(m));
    t->bpe.byte_fallback = m->byte_fallback;
    t->bpe.unk_id = m->id[0];
    *names = (struct plumb_tok_names){ m->id[1], m->id[2], m->id[3], m->id[0] };
    return add_steps(m);
}

int plumb_tok_read_spm(struct plumb_tok *t, const char *path, struct plumb_tok_names *names)
{
    struct spm m = { .t = t,
                     .where = path,
                     .model = UNIGRAM,
                     .id = { 0, 1, 2, -1 },
                     .unknown = -1,
                     .unknown_text = " \xE2\x81\x87 ",
                     .unknown_bytes = 5,
                     .most = -INFINITY,
                     .normalizer.choice = REMOVE_EXTRA | DUMMY_PREFIX };
    char *data;
    size_t n;
    PLUMB_TRY(plumb_file_read(path, 0, &data, &n));
    t->unigram.least = INFINITY;
    int rc = read_model(&m, data, n);
    if (!rc) rc = finish(&m, names);
    free(m.normalizer.text);
    free(data);
    return rc;
}
