/* Unigram: the cut into pieces of the highest sum of scores. Sources: arXiv:1804.10959; order of
 * ties and unknown characters as in Hugging Face tokenizers 0.23, src/models/unigram. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "io/tok.h"
#include "io/utf8.h"

#define UNKNOWN_PENALTY 10.0 /* below the least likely piece */

/* Scores by id; a piece met twice keeps its first id. */
static int load_scores(struct plumb_tok *t, const cJSON *vocab, const char *where)
{
    struct plumb_tok_unigram_data *u = &t->unigram;
    const int n = cJSON_GetArraySize(vocab);
    if (!cJSON_IsArray(vocab) || n == 0)
        return plumb_fail(PLUMB_EFORMAT, "%s: \"vocab\" wants an array of pieces, got %s", where,
                          plumb_json_type(vocab));
    u->score = calloc((size_t)n + 1, sizeof *u->score);
    if (!u->score) return plumb_fail(PLUMB_EMEM, "%s: could not allocate %d scores", where, n);
    u->least = INFINITY;
    int64_t id = 0;
    for (const cJSON *v = vocab->child; v; v = v->next, id++) {
        const cJSON *piece = cJSON_IsArray(v) ? v->child : NULL,
                    *score = piece ? piece->next : NULL;
        if (!cJSON_IsString(piece) || !cJSON_IsNumber(score))
            return plumb_fail(PLUMB_EFORMAT, "%s: piece %lld wants a string and a score", where,
                              (long long)id);
        const size_t bytes = strlen(piece->valuestring);
        u->score[id] = score->valuedouble;
        u->least = fmin(u->least, score->valuedouble);
        PLUMB_TRY(plumb_tok_pieces_put(&t->pieces, piece->valuestring, bytes, id, true, where));
    }
    return PLUMB_OK;
}

int plumb_tok_unigram_finish(struct plumb_tok *t, const char *where)
{
    for (int32_t id = 0; id < t->pieces.n; id++) {
        size_t n;
        const char *s = plumb_tok_piece(&t->pieces, id, &n);
        if (!s || !n || plumb_tok_pieces_find(&t->pieces, s, n) != id) continue;
        if (n > PLUMB_TOK_LONGEST)
            return plumb_fail(PLUMB_ENOTSUP, "%s: piece \"%.80s...\" is over %d bytes", where, s,
                              PLUMB_TOK_LONGEST);
        PLUMB_TRY(plumb_tok_trie_put(&t->unigram.trie, s, n, id));
    }
    return PLUMB_OK;
}

static int load(struct plumb_tok *t, const cJSON *model, const char *where)
{
    int64_t unk;
    PLUMB_TRY(plumb_json_i64_or(model, "unk_id", where, -1, &unk));
    PLUMB_TRY(plumb_json_bool_or(model, "byte_fallback", where, false, &t->bpe.byte_fallback));
    PLUMB_TRY(load_scores(t, plumb_json_get(model, "vocab"), where));
    if (unk >= t->pieces.n)
        return plumb_fail(PLUMB_EFORMAT, "%s: unk_id %lld is no piece", where, (long long)unk);
    plumb_tok_bpe_finish(t, NULL);
    t->bpe.unk_id = (int32_t)unk;
    return plumb_tok_unigram_finish(t, where);
}

/* The best way to reach a byte of the word: by piece `id` from byte `from`. */
struct plumb_tok_best {
    double score;
    size_t from, next; /* next: of the byte where the best path's piece from here ends */
    int32_t id;
    bool reached;
};

static void offer(struct plumb_tok_best *to, double score, size_t from, int32_t id)
{
    if (to->reached && score <= to->score) return;
    *to = (struct plumb_tok_best){ .score = score, .from = from, .id = id, .reached = true };
}

static int find_paths(struct plumb_tok_work *w, const char *s, size_t n)
{
    const struct plumb_tok *t = w->tok;
    const struct plumb_tok_unigram_data *u = &t->unigram;
    PLUMB_TRY(plumb_tok_grow(&w->best, &w->best_capacity, n + 1, sizeof *w->best));
    memset(w->best, 0, (n + 1) * sizeof *w->best);
    for (size_t at = 0; at < n;) {
        int32_t cp;
        const size_t length = plumb_utf8_next(s + at, n - at, &cp);
        const double here = w->best[at].score;
        bool single = false;
        size_t node = 0;
        for (size_t k = 1; at + k <= n; k++) {
            const uint64_t *child = plumb_tok_pairs_find(&u->trie.child,
                                                         node << 8 | (unsigned char)s[at + k - 1]);
            if (!child) break;
            node = *child;
            const int32_t id = u->trie.token[node];
            const bool known = id >= 0 && u->score[id] > -INFINITY;
            if (known) offer(&w->best[at + k], here + u->score[id], at, id);
            single = single || (known && k == length);
        }
        if (!single)
            offer(&w->best[at + length], here + u->least - UNKNOWN_PENALTY, at, t->bpe.unk_id);
        at += length;
    }
    return PLUMB_OK;
}

/* The bytes of what has no piece; false when a byte piece is missing. */
static int push_bytes(struct plumb_tok_work *w, const char *s, size_t n, bool *done)
{
    const int32_t *byte_id = w->tok->bpe.byte_id;
    *done = w->tok->bpe.byte_fallback;
    for (size_t i = 0; i < n && *done; i++)
        *done = byte_id[(unsigned char)s[i]] >= 0;
    for (size_t i = 0; i < n && *done; i++)
        PLUMB_TRY(plumb_tok_emit(w, byte_id[(unsigned char)s[i]], s, n));
    return PLUMB_OK;
}

/* One piece of the path; unknown ones side by side are one token. */
static int push(struct plumb_tok_work *w, const char *s, size_t n, int32_t id)
{
    bool done;
    if (id != w->tok->bpe.unk_id) return plumb_tok_emit(w, id, s, n);
    PLUMB_TRY(push_bytes(w, s, n, &done));
    if (done) return PLUMB_OK;
    if (id < 0)
        return plumb_fail(PLUMB_EINVAL, "the vocabulary has no piece for a character, and no "
                                        "unknown token");
    return plumb_tok_emit(w, id, s, n);
}

static int word(struct plumb_tok_work *w, const char *s, size_t n)
{
    PLUMB_TRY(find_paths(w, s, n));
    struct plumb_tok_best *b = w->best;
    for (size_t end = n; end > 0; end = b[end].from)
        b[b[end].from].next = end;
    for (size_t at = 0, end; at < n; at = end) {
        end = b[at].next;
        const int32_t id = b[end].id;
        while (id == w->tok->bpe.unk_id && end < n && b[b[end].next].id == id)
            end = b[end].next;
        PLUMB_TRY(push(w, s + at, end - at, id));
    }
    return PLUMB_OK;
}

const struct plumb_tok_model plumb_tok_unigram = { "Unigram", load, word };
