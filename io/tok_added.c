/* Added tokens: cut out of the text before the model sees it. Source: Hugging Face tokenizers 0.23,
 * src/tokenizer/added_vocabulary.rs. */
#include "io/tok.h"

#include <inttypes.h>
#include <plumb/log.h>
#include <stdlib.h>
#include <string.h>

#include "io/utf8.h"

const struct plumb_tok_added *plumb_tok_added_by_id(const struct plumb_tok *t, int32_t id)
{
    if (id < 0 || (size_t)id >= t->added_of_n || t->added_of[id] < 0) return NULL;
    return &t->added[t->added_of[id]];
}

int32_t plumb_tok_find(const struct plumb_tok *t, const char *content)
{
    const size_t n = strlen(content);
    const int32_t id = plumb_tok_pieces_find(&t->added_pieces, content, n);
    return id >= 0 ? id : plumb_tok_pieces_find(&t->pieces, content, n);
}

void plumb_tok_add_begin(struct plumb_tok *t)
{
    const int64_t last = (int64_t)t->added_of_n - 1;
    t->next_added = last >= t->pieces.count ? last + 1 : t->pieces.count;
}

/* The entry of `id`, new or old, with room for its index. */
static int entry_of(struct plumb_tok *t, int32_t id, struct plumb_tok_added **entry)
{
    if ((size_t)id >= t->added_of_n) {
        PLUMB_TRY(plumb_tok_grow(&t->added_of, &t->added_of_capacity, (size_t)id + 1,
                                 sizeof *t->added_of));
        while (t->added_of_n <= (size_t)id)
            t->added_of[t->added_of_n++] = -1;
    }
    if (t->added_of[id] < 0) {
        PLUMB_TRY(
            plumb_tok_grow(&t->added, &t->added_capacity, t->added_count + 1, sizeof *t->added));
        t->added[t->added_count] = (struct plumb_tok_added){ .id = id };
        t->added_of[id] = (int32_t)t->added_count++;
    }
    *entry = &t->added[t->added_of[id]];
    return PLUMB_OK;
}

int plumb_tok_add(struct plumb_tok *t, const char *content, const struct plumb_tok_flags *flags,
                  int64_t wanted_id, const char *where)
{
    if (!*content) return PLUMB_OK;
    if (strlen(content) > PLUMB_TOK_LONGEST)
        return plumb_fail(PLUMB_ENOTSUP, "%s: added token \"%.80s...\" is over %d bytes", where,
                          content, PLUMB_TOK_LONGEST);
    int32_t id = plumb_tok_find(t, content);
    if (id < 0) {
        if (t->next_added > PLUMB_TOK_MAX_ID)
            return plumb_fail(PLUMB_EFORMAT, "%s: no id is left for \"%s\"", where, content);
        id = (int32_t)t->next_added++;
        size_t n;
        const char *piece = plumb_tok_piece(&t->pieces, id, &n);
        if (piece)
            return plumb_fail(PLUMB_EFORMAT, "%s: added token \"%s\" takes id %d of piece \"%s\"",
                              where, content, id, piece);
    }
    if (wanted_id >= 0 && wanted_id != id)
        plumb_log(PLUMB_LOG_WARN,
                  "%s: added token \"%s\" has id %" PRId64 " in the file, but gets %d", where,
                  content, wanted_id, id);
    struct plumb_tok_added *entry;
    PLUMB_TRY(entry_of(t, id, &entry));
    entry->flags = *flags;
    if (entry->content) return PLUMB_OK;
    PLUMB_TRY(plumb_tok_copy(&entry->content, &entry->bytes, content));
    return plumb_tok_pieces_put(&t->added_pieces, content, entry->bytes, id, false, where);
}

int plumb_tok_trie_put(struct plumb_tok_trie *trie, const char *s, size_t n, int32_t token)
{
    size_t node = 0;
    for (size_t i = 0; i <= n; i++) {
        if (node == trie->nodes) {
            PLUMB_TRY(plumb_tok_grow(&trie->token, &trie->capacity, node + 1, sizeof *trie->token));
            trie->token[trie->nodes++] = -1;
        }
        if (i == n) break;
        const uint64_t key = node << 8 | (unsigned char)s[i];
        const uint64_t *child = plumb_tok_pairs_find(&trie->child, key);
        if (child) {
            node = *child;
            continue;
        }
        PLUMB_TRY(plumb_tok_pairs_put(&trie->child, key, trie->nodes));
        node = trie->nodes;
    }
    trie->token[node] = token;
    trie->starts[(unsigned char)s[0]] = true;
    return PLUMB_OK;
}

static bool is_special_text(const struct plumb_tok *t, const char *s, size_t n)
{
    const struct plumb_tok_added *a = plumb_tok_added_by_id(
        t, plumb_tok_pieces_find(&t->added_pieces, s, n));
    return a && a->flags.special;
}

int plumb_tok_added_finish(struct plumb_tok *t, struct plumb_tok_work *w)
{
    /* \w of Rust's regex, for single_word */
    PLUMB_TRY(plumb_regex_compile(&t->word_character,
                                  "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]",
                                  "added tokens"));
    for (size_t i = 0; i < t->added_count; i++) {
        struct plumb_tok_added *a = &t->added[i];
        const char *s = a->content;
        size_t n = a->bytes;
        w->valid = true;
        w->limit = 16 * PLUMB_TOK_LONGEST;
        if (a->flags.normalized) PLUMB_TRY(plumb_tok_normalize(w, s, n, &s, &n));
        struct plumb_tok_bytes pattern = { 0 };
        PLUMB_TRY(plumb_tok_bytes_put(&pattern, s, n));
        a->pattern = pattern.data;
        a->pattern_bytes = n;
        a->skipped = is_special_text(t, s, n);
        struct plumb_tok_trie *trie = a->flags.normalized ? &t->normalized : &t->raw;
        if (n) PLUMB_TRY(plumb_tok_trie_put(trie, s, n, (int32_t)i));
    }
    return PLUMB_OK;
}

void plumb_tok_trie_release(struct plumb_tok_trie *trie)
{
    plumb_tok_pairs_release(&trie->child);
    free(trie->token);
}

void plumb_tok_added_release(struct plumb_tok *t)
{
    for (size_t i = 0; i < t->added_count; i++) {
        free(t->added[i].content);
        free(t->added[i].pattern);
    }
    free(t->added);
    free(t->added_of);
    plumb_tok_pieces_release(&t->added_pieces);
    plumb_tok_trie_release(&t->raw);
    plumb_tok_trie_release(&t->normalized);
    plumb_regex_free(t->word_character);
}

/* The longest added token that starts at s; NULL = none. */
static const struct plumb_tok_added *longest(const struct plumb_tok *t,
                                             const struct plumb_tok_trie *trie, const char *s,
                                             size_t n)
{
    int32_t best = -1;
    size_t node = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t *child = plumb_tok_pairs_find(&trie->child, node << 8 | (unsigned char)s[i]);
        if (!child) break;
        node = *child;
        if (trie->token[node] >= 0) best = trie->token[node];
    }
    return best >= 0 ? &t->added[best] : NULL;
}

/* Where the character that ends at `end` starts. */
static size_t previous(const char *s, size_t end, int32_t *cp)
{
    for (size_t back = 1; back <= 4 && back <= end; back++)
        if (plumb_utf8_next(s + end - back, back, cp) == back && *cp >= 0) return end - back;
    *cp = -1;
    return end - 1;
}

bool plumb_tok_is_white(int32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

static int is_word(struct plumb_tok_work *w, const char *s, size_t n, bool *word)
{
    struct plumb_regex_walk walk = { .s = s, .n = n };
    size_t start, end;
    return plumb_regex_next(w->tok->word_character, &w->regex, &walk, &start, &end, word);
}

/* Whether a word goes on before or after [start, end). */
static int within_word(struct plumb_tok_work *w, const char *s, size_t n, size_t start, size_t end,
                       bool *within)
{
    int32_t cp;
    *within = false;
    if (start) {
        const size_t from = previous(s, start, &cp);
        PLUMB_TRY(is_word(w, s + from, start - from, within));
    }
    if (*within || end == n) return PLUMB_OK;
    return is_word(w, s + end, plumb_utf8_next(s + end, n - end, &cp), within);
}

int plumb_tok_cut_added(struct plumb_tok_work *w, const struct plumb_tok_trie *trie, const char *s,
                        size_t n, bool first, plumb_tok_text_fn *between)
{
    size_t done = 0, white_to = 0; /* up to there white space was taken by an rstrip */
    for (size_t i = 0; i < n && trie->nodes; i++) {
        const struct plumb_tok_added *a = trie->starts[(unsigned char)s[i]]
                                              ? longest(w->tok, trie, s + i, n - i)
                                              : NULL;
        if (!a) continue;
        size_t start = i, end = i + a->pattern_bytes;
        i = end - 1;
        int32_t cp;
        if (a->flags.single_word) {
            bool within;
            PLUMB_TRY(within_word(w, s, n, start, end, &within));
            if (within) continue;
        }
        while (a->flags.lstrip && start > done) {
            const size_t from = previous(s, start, &cp);
            if (!plumb_tok_is_white(cp) || from < done) break;
            start = from;
        }
        if (a->flags.lstrip && start < done) start = done;
        if (a->flags.rstrip && end < white_to) end = white_to;
        while (a->flags.rstrip && end < n) {
            const size_t more = plumb_utf8_next(s + end, n - end, &cp);
            if (!plumb_tok_is_white(cp)) break;
            end += more;
        }
        if (a->flags.rstrip) white_to = end;
        if (done < start) PLUMB_TRY(between(w, s + done, start - done, first && done == 0));
        /* rstrip of the token before may have taken all of this one's text */
        if (start < end) PLUMB_TRY(plumb_tok_emit(w, a->id, s + start, end - start));
        done = end;
    }
    return done < n ? between(w, s + done, n - done, first && done == 0) : PLUMB_OK;
}
