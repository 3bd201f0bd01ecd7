/* A tokenizer as the arrays of a GGUF file: the way back from tok_arrays.c, believed only where
 * both ways end in the same ids. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/tok.h"
#include "io/tokenizer.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE }; /* token types of GGUF */

/* What tells pre-tokenizers, normalizers and prefixes apart: runs of digits, spaces and line ends,
 * contractions in both cases, scripts, marks, punctuation; the accents once composed, once not. */
static const char *const probes[] = {
    "Hello world",
    " two  three   four\n\nfive \n six\t\tseven \r\n end  ",
    "1 12 123 1234 12345 123456 1234567 3.14 1,000",
    "I'm you're WE'LL don't SHE'S 'tis they'Ve",
    "caf\xC3\xA9 cafe\xCC\x81 na\xC3\xAFve \xEF\xAC\x81ne \xC2\xBD \xE2\x84\xAB",
    "\xE4\xBD\xA0\xE5\xA5\xBD\xE4\xB8\x96\xE7\x95\x8C "
    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 "
    "\xE0\xA4\x95\xE0\xA5\x8D\xE0\xA4\xB7 \xF0\x9F\x99\x82\xE2\x80\x8D\xF0\x9F\x94\xA5",
    "x=1; y+=2; // ---===### \"q\" (a)[b]{c} f_o_o$ %d\n    return x != y;\n",
    "\xC2\xA0nbsp \xE2\x80\xA6 a\xE2\x80\x94"
    "b !!! ??? ...",
    "",
};
enum { PROBES = sizeof probes / sizeof *probes };

void plumb_vocabulary_release(struct plumb_vocabulary *v)
{
    free((void *)v->token);
    free((void *)v->merge);
    free((void *)v->score);
    free((void *)v->type);
    *v = (struct plumb_vocabulary){ 0 };
}

static int no_memory(void)
{
    return plumb_fail(PLUMB_EMEM, "could not allocate the arrays of a tokenizer");
}

static int type_of(const struct plumb_tok *t, int32_t id, bool pieces)
{
    const struct plumb_tok_added *a = plumb_tok_added_by_id(t, id);
    size_t n;
    if (pieces && id == t->bpe.unk_id) return UNKNOWN;
    if (a) return a->flags.special ? CONTROL : USER_DEFINED;
    const char *s = plumb_tok_piece(&t->pieces, id, &n);
    if (!s) return UNUSED;
    if (pieces && n == 6 && s[0] == '<' && s[5] == '>')
        for (int b = 0; b < 256; b++)
            if (t->bpe.byte_id[b] == id) return BYTE;
    return NORMAL;
}

/* Texts and types of `rows` ids in one block each; ids that the tokenizer lacks have a name. */
static int list_tokens(const struct plumb_tok *t, bool pieces, struct plumb_vocabulary *v)
{
    const size_t table = (size_t)v->n * sizeof(char *), name = 24;
    int32_t *type = malloc((size_t)v->n * sizeof *type);
    const char **token = malloc(table + (size_t)v->n * name);
    v->type = type;
    v->token = token;
    if (!type || !token) return no_memory();
    char *spare = (char *)token + table;
    for (int32_t id = 0; id < v->n; id++, spare += name) {
        const struct plumb_tok_added *a = plumb_tok_added_by_id(t, id);
        size_t n;
        token[id] = a ? a->content : plumb_tok_piece(&t->pieces, id, &n);
        type[id] = type_of(t, id, pieces);
        if (token[id]) continue;
        snprintf(spare, name, "[PAD%d]", (int)id);
        token[id] = spare;
    }
    return PLUMB_OK;
}

static int by_rank(const void *a, const void *b)
{
    const struct plumb_tok_pair *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* The merges in the order in which they apply; the caller frees them. */
static struct plumb_tok_pair *sorted_merges(const struct plumb_tok *t)
{
    const struct plumb_tok_pairs *all = &t->bpe.merges;
    struct plumb_tok_pair *order = malloc((all->n + 1) * sizeof *order);
    size_t n = 0;
    for (size_t i = 0; order && i < all->slots; i++)
        if (all->slot[i].key != UINT64_MAX) order[n++] = all->slot[i];
    if (order) qsort(order, n, sizeof *order, by_rank);
    return order;
}

/* "left right", all in one block behind their pointers. */
static int list_merges(const struct plumb_tok *t, const struct plumb_tok_pair *order,
                       struct plumb_vocabulary *v)
{
    const size_t count = t->bpe.merges.n;
    size_t bytes = 0, l, r;
    for (size_t i = 0; i < count; i++) {
        plumb_tok_piece(&t->pieces, (int32_t)(order[i].key >> 32), &l);
        plumb_tok_piece(&t->pieces, (int32_t)order[i].key, &r);
        bytes += l + r + 2;
    }
    const char **merge = malloc(count * sizeof *merge + bytes + 1);
    if (!merge) return no_memory();
    char *to = (char *)(merge + count);
    for (size_t i = 0; i < count; i++) {
        const char *left = plumb_tok_piece(&t->pieces, (int32_t)(order[i].key >> 32), &l);
        const char *right = plumb_tok_piece(&t->pieces, (int32_t)order[i].key, &r);
        merge[i] = to;
        memcpy(to, left, l);
        to[l] = ' ';
        memcpy(to + l + 1, right, r + 1);
        to += l + r + 2;
    }
    v->merge = merge;
    v->merges = (int64_t)count;
    return PLUMB_OK;
}

/* SentencePiece merges what joins to the piece with the highest score: the earlier a piece is
 * merged, the higher its score. Pieces that no merge makes are never merged to. */
static int list_scores(const struct plumb_tok *t, const struct plumb_tok_pair *order,
                       struct plumb_vocabulary *v)
{
    float *score = calloc((size_t)v->n + 1, sizeof *score);
    v->score = score;
    if (!score) return no_memory();
    float next = -1;
    for (size_t i = 0; i < t->bpe.merges.n; i++) {
        const int32_t id = (int32_t)order[i].value;
        if (id < v->n && score[id] == 0) score[id] = next--;
    }
    for (int64_t id = 0; id < v->n; id++)
        if (v->type[id] == NORMAL && score[id] == 0) score[id] = next--;
    return PLUMB_OK;
}

/* Whether both make the same ids of a text. */
static int same_ids(const struct plumb_text *a, const struct plumb_text *b, const char *s, size_t n,
                    bool *same)
{
    struct plumb_idbuf x = { 0 }, y = { 0 };
    int rc = a->encode(a->self, s, n, true, &x);
    if (!rc) rc = b->encode(b->self, s, n, true, &y);
    *same = !rc && x.n == y.n && (x.n == 0 || !memcmp(x.id, y.id, (size_t)x.n * sizeof *x.id));
    plumb_idbuf_release(&x);
    plumb_idbuf_release(&y);
    return rc;
}

/* The probes, then every token's own text, each behind a word: *where = the first text on which the
 * two part, for the caller to free; NULL where they agree. */
static int compare(const struct plumb_text *a, const struct plumb_text *b, char **where)
{
    bool same = true;
    *where = NULL;
    for (int i = 0; i < PROBES && same; i++) {
        PLUMB_TRY(same_ids(a, b, probes[i], strlen(probes[i]), &same));
        if (!same) *where = strdup(probes[i]);
    }
    for (int32_t id = 0; id < a->vocab_size && same; id++) {
        char *text;
        size_t n;
        PLUMB_TRY(a->decode(a->self, &id, 1, false, &text, &n));
        const int rc = same_ids(a, b, text, n, &same);
        if (!rc && !same) *where = text;
        if (rc || same) free(text);
        PLUMB_TRY(rc);
    }
    return same || *where ? PLUMB_OK : no_memory();
}

/* Tries what the arrays may say beside the tokens until they give the ids of `text`: the name of a
 * pre-tokenizer, or whether a space goes before the text. */
static int choose(const struct plumb_text *text, struct plumb_vocabulary *v)
{
    const bool pieces = !strcmp(v->model, "llama");
    char *parts = NULL;
    for (int i = 0; pieces ? i < 2 : plumb_tok_preset_name(i) != NULL; i++) {
        struct plumb_text other;
        free(parts);
        v->add_space_prefix = pieces && i == 0;
        v->pre = pieces ? "default" : plumb_tok_preset_name(i);
        PLUMB_TRY(plumb_tokenizer_from_arrays(&other, v));
        const int rc = compare(text, &other, &parts);
        plumb_tokenizer_release(&other);
        if (rc || !parts) return rc;
    }
    plumb_fail(PLUMB_ENOTSUP,
               "the tokenizer has no form in GGUF that gives its ids: \"%.60s\" parts the last one "
               "tried",
               parts);
    free(parts);
    return PLUMB_ENOTSUP;
}

int plumb_tokenizer_arrays(const struct plumb_text *text, int64_t rows, struct plumb_vocabulary *v)
{
    const struct plumb_tok *t = text->self;
    const bool pieces = t->model == &plumb_tok_bpe && !t->byte_words && t->bpe.byte_fallback;
    *v = (struct plumb_vocabulary){ .model = pieces ? "llama" : "gpt2",
                                    .n = rows,
                                    .bos_id = text->bos_id,
                                    .eos_id = text->eos_id,
                                    .pad_id = text->pad_id,
                                    .unk_id = text->unk_id,
                                    .add_bos = text->add_bos,
                                    .add_eos = text->add_eos };
    if (!pieces && (t->model != &plumb_tok_bpe || !t->byte_words))
        return plumb_fail(
            PLUMB_ENOTSUP,
            "a tokenizer of type %s %s is not written to GGUF files: only BPE of bytes "
            "and BPE with byte fallback are",
            t->model->type, t->model == &plumb_tok_bpe ? "without bytes" : "");
    if (text->vocab_size > rows)
        return plumb_fail(PLUMB_EFORMAT,
                          "the tokenizer has %lld tokens, more than the embedding's %lld rows",
                          (long long)text->vocab_size, (long long)rows);
    struct plumb_tok_pair *order = sorted_merges(t);
    int rc = order ? list_tokens(t, pieces, v) : no_memory();
    if (!rc) rc = pieces ? list_scores(t, order, v) : list_merges(t, order, v);
    free(order);
    if (!rc) rc = choose(text, v);
    if (rc) plumb_vocabulary_release(v);
    return rc;
}
