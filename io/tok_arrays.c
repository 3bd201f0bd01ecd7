/* Tokenizers from arrays: GGUF metadata, and GPT-2's vocabulary and merges files. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"
#include "io/tok.h"
#include "io/tokenizer.h"
#include "io/utf8.h"

/* Token types of GGUF. */
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
static const char where[] = "vocabulary";

static int type_of(const struct plumb_vocabulary *v, int64_t id)
{
    return v->type ? v->type[id] : NORMAL;
}

static int put_pieces(struct plumb_tok *t, const struct plumb_vocabulary *v)
{
    for (int64_t i = 0; i < v->n; i++) {
        const char *s = v->token[i];
        const size_t n = strlen(s);
        if (plumb_utf8_valid(s, n) != n)
            return plumb_fail(PLUMB_EFORMAT, "%s: token %" PRId64 " is not UTF-8", where, i);
        PLUMB_TRY(plumb_tok_pieces_put(&t->pieces, s, n, i, true, where));
    }
    return PLUMB_OK;
}

static int put_added(struct plumb_tok *t, const struct plumb_vocabulary *v)
{
    plumb_tok_add_begin(t);
    for (int64_t i = 0; i < v->n; i++) {
        const int type = type_of(v, i);
        if (type != CONTROL && type != USER_DEFINED && type != UNKNOWN) continue;
        const struct plumb_tok_flags flags = { .special = type != USER_DEFINED };
        PLUMB_TRY(plumb_tok_add(t, v->token[i], &flags, -1, where));
    }
    return PLUMB_OK;
}

struct scored {
    float score;
    int32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id - y->id;
}

/* The merges that SentencePiece makes: any two normal pieces that join to a third, the one with the
 * highest score first; equal scores share a rank, so that the leftmost goes first. */
static int merges_of_scores(struct plumb_tok *t, const struct plumb_vocabulary *v)
{
    int rc = PLUMB_OK;
    struct scored *order = malloc(((size_t)v->n + 1) * sizeof *order);
    if (!order) return plumb_fail(PLUMB_EMEM, "could not allocate %" PRId64 " scores", v->n);
    size_t n = 0;
    for (int32_t i = 0; i < v->n; i++) {
        if (type_of(v, i) != NORMAL) continue;
        if (isnan(v->score[i]))
            PLUMB_TRYG(plumb_fail(PLUMB_EFORMAT, "%s: the score of token %d is NaN", where, i));
        order[n++] = (struct scored){ v->score[i], i };
    }
    qsort(order, n, sizeof *order, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++) {
        const char *s = v->token[order[i].id];
        const size_t bytes = strlen(s);
        if (i && order[i].score != order[i - 1].score) rank++;
        for (size_t cut = 1; cut < bytes; cut++) {
            const int32_t l = plumb_tok_pieces_find(&t->pieces, s, cut);
            const int32_t r = plumb_tok_pieces_find(&t->pieces, s + cut, bytes - cut);
            if (l < 0 || r < 0 || type_of(v, l) != NORMAL || type_of(v, r) != NORMAL) continue;
            PLUMB_TRYG(plumb_tok_add_merge(t, s, cut, s + cut, bytes - cut, rank, where));
        }
    }
out:
    free(order);
    return rc;
}

static int check(const struct plumb_vocabulary *v)
{
    const int32_t ids[] = { v->bos_id, v->eos_id, v->pad_id, v->unk_id };
    static const char *const names[] = { "bos", "eos", "pad", "unk" };
    if (v->n <= 0 || v->n > PLUMB_TOK_MAX_ID || v->merges < 0)
        return plumb_fail(PLUMB_EINVAL, "%s: %" PRId64 " tokens, %" PRId64 " merges", where, v->n,
                          v->merges);
    for (int i = 0; i < 4; i++)
        if (ids[i] < -1 || ids[i] >= v->n)
            return plumb_fail(PLUMB_EFORMAT, "%s: the %s id is %d, of %" PRId64 " tokens", where,
                              names[i], ids[i], v->n);
    if (v->add_bos && v->bos_id < 0)
        return plumb_fail(PLUMB_EFORMAT, "%s: BOS is to be added, but there is none", where);
    if (v->add_eos && v->eos_id < 0)
        return plumb_fail(PLUMB_EFORMAT, "%s: EOS is to be added, but there is none", where);
    return PLUMB_OK;
}

const char *plumb_tok_preset_of(const struct plumb_vocabulary *v)
{
    if (strcmp(v->model, "llama")) return v->pre ? v->pre : "default";
    return v->add_space_prefix ? "sentencepiece" : "sentencepiece-no-prefix";
}

/* SentencePiece BPE (GGUF's "llama"): ranks are scores, unknown characters become bytes. */
static int fill_sentencepiece(struct plumb_tok *t, const struct plumb_vocabulary *v)
{
    if (!v->score)
        return plumb_fail(PLUMB_EFORMAT, "%s: a \"llama\" vocabulary wants scores", where);
    PLUMB_TRY(plumb_tok_preset(t, plumb_tok_preset_of(v)));
    t->bpe.byte_fallback = t->bpe.fuse_unk = true;
    PLUMB_TRY(merges_of_scores(t, v));
    plumb_tok_bpe_finish(t, v->unk_id >= 0 ? v->token[v->unk_id] : NULL);
    return PLUMB_OK;
}

int plumb_tok_from_arrays(struct plumb_tok *t, const struct plumb_vocabulary *v)
{
    PLUMB_TRY(check(v));
    t->model = &plumb_tok_bpe;
    t->bpe.cuts_at_meta = true;
    PLUMB_TRY(put_pieces(t, v));
    if (!strcmp(v->model, "llama")) {
        PLUMB_TRY(fill_sentencepiece(t, v));
    } else if (!strcmp(v->model, "gpt2")) {
        PLUMB_TRY(plumb_tok_preset(t, plumb_tok_preset_of(v)));
        for (int64_t i = 0; i < v->merges; i++)
            PLUMB_TRY(
                plumb_tok_add_merge_line(t, v->merge[i], strlen(v->merge[i]), (uint32_t)i, where));
        plumb_tok_bpe_finish(t, NULL);
    } else {
        return plumb_fail(PLUMB_ENOTSUP, "%s: the model \"%.80s\" is not supported", where,
                          v->model);
    }
    PLUMB_TRY(put_added(t, v));
    if (v->add_bos) PLUMB_TRY(plumb_idbuf_push(&t->before, v->bos_id));
    return v->add_eos ? plumb_idbuf_push(&t->after, v->eos_id) : PLUMB_OK;
}

/* Merges as GPT-2's vocab.bpe has them: a version line, then one merge a line. */
static int put_merge_lines(struct plumb_tok *t, const char *text, size_t n, const char *path)
{
    uint32_t rank = 0;
    for (size_t i = 0; i < n;) {
        const char *s = text + i, *newline = memchr(s, '\n', n - i);
        size_t length = newline ? (size_t)(newline - s) : n - i;
        i += length + 1;
        if (length && s[length - 1] == '\r') length--;
        if ((length >= 8 && !memcmp(s, "#version", 8)) || (!length && i >= n)) continue;
        PLUMB_TRY(plumb_tok_add_merge_line(t, s, length, rank++, path));
    }
    return PLUMB_OK;
}

int plumb_tok_from_files(struct plumb_tok *t, const struct plumb_tok_files *f, const char *preset)
{
    t->model = &plumb_tok_bpe;
    PLUMB_TRY(plumb_tok_preset(t, preset));
    PLUMB_TRY(plumb_tok_load_vocab(t, f->vocab, f->vocab_path));
    PLUMB_TRY(put_merge_lines(t, f->merges, f->n, f->merges_path));
    plumb_tok_bpe_finish(t, NULL);
    return PLUMB_OK;
}
