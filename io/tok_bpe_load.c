/* The BPE model of a tokenizer.json: vocabulary and merges. Source: Hugging Face tokenizers 0.23,
 * src/models/bpe/model.rs and serialization.rs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io/json.h"
#include "io/tok.h"

/* Ids without a piece that are allowed: tables by id are as long as the largest. */
enum { GAP = 1 << 16, GAPS = 16 };

int plumb_tok_load_vocab(struct plumb_tok *t, const cJSON *vocab, const char *where)
{
    if (!cJSON_IsObject(vocab))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"vocab\" wants an object, got %s", where,
                          plumb_json_type(vocab));
    const int64_t most = GAP + GAPS * (int64_t)cJSON_GetArraySize(vocab);
    for (const cJSON *v = vocab->child; v; v = v->next) {
        if (!cJSON_IsNumber(v) || v->valuedouble != (double)(int64_t)v->valueint)
            return plumb_fail(PLUMB_EFORMAT, "%s: the id of piece \"%.200s\" is no id", where,
                              v->string);
        if (v->valueint > most)
            return plumb_fail(PLUMB_EFORMAT, "%s: piece \"%.200s\" has id %d of a vocabulary of %d",
                              where, v->string, v->valueint, cJSON_GetArraySize(vocab));
        PLUMB_TRY(plumb_tok_pieces_put(&t->pieces, v->string, strlen(v->string), v->valueint, false,
                                       where));
    }
    return PLUMB_OK;
}

static int find_piece(const struct plumb_tok *t, const char *s, size_t n, uint32_t rank,
                      const char *where, int32_t *id)
{
    *id = plumb_tok_pieces_find(&t->pieces, s, n);
    if (*id >= 0) return PLUMB_OK;
    return plumb_fail(PLUMB_EFORMAT, "%s: merge %" PRIu32 " wants \"%.*s\", which is no piece",
                      where, rank, (int)(n < 200 ? n : 200), s);
}

bool plumb_tok_meta_inside(const char *s, size_t n)
{
    for (size_t i = 1; i + 3 <= n; i++)
        if (!memcmp(s + i, PLUMB_TOK_META, 3) && (i < 3 || memcmp(s + i - 3, PLUMB_TOK_META, 3)))
            return true;
    return false;
}

int plumb_tok_add_merge(struct plumb_tok *t, const char *left, size_t left_n, const char *right,
                        size_t right_n, uint32_t rank, const char *where)
{
    const char *prefix = t->bpe.continuing_prefix;
    const size_t skip = prefix ? strlen(prefix) : 0;
    struct plumb_tok_bytes *whole = &t->merged;
    int32_t l, r, id;
    PLUMB_TRY(find_piece(t, left, left_n, rank, where, &l));
    PLUMB_TRY(find_piece(t, right, right_n, rank, where, &r));
    if (right_n < skip)
        return plumb_fail(PLUMB_EFORMAT, "%s: merge %" PRIu32 ": \"%s\" lacks the prefix \"%s\"",
                          where, rank, right, prefix);
    whole->n = 0;
    PLUMB_TRY(plumb_tok_bytes_put(whole, left, left_n));
    PLUMB_TRY(plumb_tok_bytes_put(whole, right + skip, right_n - skip));
    PLUMB_TRY(find_piece(t, whole->data, whole->n, rank, where, &id));
    if (plumb_tok_meta_inside(whole->data, whole->n)) t->bpe.cuts_at_meta = false;
    return plumb_tok_pairs_put(&t->bpe.merges, (uint64_t)l << 32 | (uint32_t)r,
                               (uint64_t)rank << 32 | (uint32_t)id);
}

int plumb_tok_add_merge_line(struct plumb_tok *t, const char *line, size_t n, uint32_t rank,
                             const char *where)
{
    const char *space = memchr(line, ' ', n);
    if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - line)))
        return plumb_fail(PLUMB_EFORMAT,
                          "%s: merge %" PRIu32 " wants two pieces and a space, got \"%.*s\"", where,
                          rank, (int)(n < 200 ? n : 200), line);
    const size_t left = (size_t)(space - line);
    return plumb_tok_add_merge(t, line, left, space + 1, n - left - 1, rank, where);
}

static int load_merges(struct plumb_tok *t, const cJSON *merges, const char *where)
{
    if (!cJSON_IsArray(merges))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"merges\" wants an array, got %s", where,
                          plumb_json_type(merges));
    uint32_t rank = 0;
    for (const cJSON *m = merges->child; m; m = m->next, rank++) {
        if (cJSON_IsString(m)) {
            PLUMB_TRY(
                plumb_tok_add_merge_line(t, m->valuestring, strlen(m->valuestring), rank, where));
            continue;
        }
        const cJSON *l = cJSON_IsArray(m) ? m->child : NULL, *r = l ? l->next : NULL;
        if (!cJSON_IsString(l) || !cJSON_IsString(r) || r->next)
            return plumb_fail(PLUMB_EFORMAT, "%s: merge %" PRIu32 " wants two strings", where,
                              rank);
        PLUMB_TRY(plumb_tok_add_merge(t, l->valuestring, strlen(l->valuestring), r->valuestring,
                                      strlen(r->valuestring), rank, where));
    }
    return PLUMB_OK;
}

/* An optional string, NULL when absent. */
static int optional(const cJSON *obj, const char *key, const char *where, const char **out)
{
    const cJSON *v = plumb_json_get(obj, key);
    *out = NULL;
    return !v || cJSON_IsNull(v) ? PLUMB_OK : plumb_json_string(obj, key, where, out);
}

void plumb_tok_bpe_finish(struct plumb_tok *t, const char *unk_token)
{
    struct plumb_tok_bpe_data *b = &t->bpe;
    b->unk_id = unk_token ? plumb_tok_pieces_find(&t->pieces, unk_token, strlen(unk_token)) : -1;
    b->unk_missing = unk_token && b->unk_id < 0;
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        b->byte_id[i] = plumb_tok_pieces_find(&t->pieces, name, 6);
    }
    if (b->continuing_prefix || b->end_suffix ||
        plumb_tok_pieces_find(&t->pieces, PLUMB_TOK_META, 3) < 0)
        b->cuts_at_meta = false;
    plumb_tok_bytes_release(&t->merged);
}

static int load(struct plumb_tok *t, const cJSON *model, const char *where)
{
    struct plumb_tok_bpe_data *b = &t->bpe;
    const char *unk, *prefix, *suffix;
    double dropout;
    size_t n;
    PLUMB_TRY(plumb_json_f64_or(model, "dropout", where, 0, &dropout));
    if (dropout != 0)
        return plumb_fail(PLUMB_ENOTSUP, "%s: dropout %g is not supported", where, dropout);
    PLUMB_TRY(optional(model, "unk_token", where, &unk));
    PLUMB_TRY(optional(model, "continuing_subword_prefix", where, &prefix));
    PLUMB_TRY(optional(model, "end_of_word_suffix", where, &suffix));
    if (prefix && *prefix) PLUMB_TRY(plumb_tok_copy(&b->continuing_prefix, &n, prefix));
    if (suffix && *suffix) PLUMB_TRY(plumb_tok_copy(&b->end_suffix, &n, suffix));
    PLUMB_TRY(plumb_json_bool_or(model, "fuse_unk", where, false, &b->fuse_unk));
    PLUMB_TRY(plumb_json_bool_or(model, "byte_fallback", where, false, &b->byte_fallback));
    PLUMB_TRY(plumb_json_bool_or(model, "ignore_merges", where, false, &b->ignore_merges));
    b->cuts_at_meta = true;
    PLUMB_TRY(plumb_tok_load_vocab(t, plumb_json_get(model, "vocab"), where));
    PLUMB_TRY(load_merges(t, plumb_json_get(model, "merges"), where));
    plumb_tok_bpe_finish(t, unk);
    return PLUMB_OK;
}

const struct plumb_tok_model plumb_tok_bpe = { "BPE", load, plumb_tok_bpe_word };
