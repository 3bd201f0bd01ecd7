/* The inside of the tokenizers, shared by io/tok_*.c. The pipeline is that of Hugging Face
 * tokenizers: added tokens cut the text, normalizers rewrite what lies between, pre-tokenizers cut
 * that into words, the model turns each word into ids, the post-processor puts ids around them;
 * decoders go the way back. */
#pragma once
#include "io/tok_regex.h"
#include "io/tok_table.h"
#include <cJSON.h>
#include <plumb/text.h>
#include <pthread.h>

struct plumb_tok;
struct plumb_tok_work;

/* Strings in order, as decoders pass them on: end[i] is where string i ends in text. */
struct plumb_tok_strings {
    struct plumb_tok_bytes text;
    size_t *end;
    size_t n, capacity;
};

/* One normalizer, pre-tokenizer or decoder of a file. Which fields count is up to its kind. */
struct plumb_tok_step {
    const struct plumb_tok_kind *kind;
    char *text, *content; /* pattern, prefix or replaced character; what stands in for it */
    size_t text_bytes, content_bytes;
    struct plumb_regex *regex;
    int choice; /* an enum of the kind: normal form, behaviour of a split, scheme of a prefix */
    bool invert, prefix_space, split, maps;
    int64_t start, stop;
};

/* A type of component. Adding one means one row in the list of its stage. */
struct plumb_tok_kind {
    const char *type; /* as in tokenizer.json */
    int choice;       /* copied to the step */
    int (*load)(struct plumb_tok_step *step, const cJSON *obj,
                const char *where); /* NULL = nothing to load */
    /* Normalizer: appends the rewritten text to out. */
    int (*rewrite)(struct plumb_tok_work *w, const struct plumb_tok_step *step, const char *s,
                   size_t n, struct plumb_tok_bytes *out);
    /* Pre-tokenizer: hands each of its pieces to plumb_tok_split(w, step + 1, ...). `first`: s
     * starts the text. */
    int (*split)(struct plumb_tok_work *w, int step, const char *s, size_t n, bool first);
    /* Decoder: turns the strings `in` into `out` (empty at the start). */
    int (*decode)(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                  const struct plumb_tok_strings *in, struct plumb_tok_strings *out);
};
extern const struct plumb_tok_kind plumb_tok_normalizers[], plumb_tok_pretokenizers[],
    plumb_tok_decoders[];

#define PLUMB_TOK_STEPS 32
/* Bytes of an added token or a piece of Unigram: a text is compared with them at every place. */
#define PLUMB_TOK_LONGEST 1024
struct plumb_tok_steps {
    struct plumb_tok_step step[PLUMB_TOK_STEPS];
    int n;
};

/* A token that is cut out of the text before the model sees it. */
struct plumb_tok_flags {
    bool single_word, lstrip, rstrip, normalized, special;
};
struct plumb_tok_added {
    char *content, *pattern; /* pattern: content after the normalizers where `normalized` */
    size_t bytes, pattern_bytes;
    int32_t id;
    struct plumb_tok_flags flags;
    bool skipped; /* by skip_special: a special token has `pattern` as its content */
};
/* Finds added tokens: leftmost, then longest. Nodes of a trie are numbers, node << 8 | byte leads
 * to the child. */
struct plumb_tok_trie {
    struct plumb_tok_pairs child;
    int32_t *token; /* by node: index into `added`, -1 = no token ends here */
    size_t nodes, capacity;
    bool starts[256];
};

/* What turns words into ids; a further model is a further row in tok_json.c. */
struct plumb_tok_model {
    const char *type;
    int (*load)(struct plumb_tok *t, const cJSON *model, const char *where);
    int (*word)(struct plumb_tok_work *w, const char *s, size_t n); /* n > 0; appends to w->out */
};
extern const struct plumb_tok_model plumb_tok_bpe, plumb_tok_unigram, plumb_tok_wordpiece;

struct plumb_tok_bpe_data {
    struct plumb_tok_pairs merges;        /* left << 32 | right -> rank << 32 | merged id */
    char *continuing_prefix, *end_suffix; /* NULL = none */
    int32_t unk_id, byte_id[256];         /* -1 = none; ids of <0x00> to <0xFF> */
    bool unk_missing;                     /* the unknown token is named, but no piece */
    bool fuse_unk, byte_fallback, ignore_merges;
    bool by_text; /* SentencePiece: what two symbols make together is merged where it is a piece */
    bool cuts_at_meta; /* no merge joins U+2581 to another character before it: words may be cut
                        * there */
};

struct plumb_tok_unigram_data {
    double *score; /* by id; -INFINITY = no text becomes this piece */
    double least;
    struct plumb_tok_trie trie; /* of the pieces: ids */
    uint8_t *type;              /* by id, of a tokenizer.model: see tok_spm.c */
    size_t score_capacity, type_capacity;
    bool has_user_defined, has_unused;
    uint32_t *rank; /* by id, of a tokenizer.model of type BPE: how many scores are better */
};

struct plumb_tok {
    const struct plumb_tok_model *model;
    struct plumb_tok_pieces pieces; /* the model's vocabulary */
    struct plumb_tok_bpe_data bpe;  /* of the others: the unknown token, prefix, byte pieces */
    struct plumb_tok_unigram_data unigram;
    int64_t longest_word; /* WordPiece, characters */
    struct plumb_tok_steps normalizers, pretokenizers, decoders;
    bool has_decoder; /* one without steps joins pieces with nothing between, none with spaces */
    bool byte_words;  /* the last pre-tokenizer is ByteLevel: words reach the model as bytes */
    struct plumb_tok_added *added;
    size_t added_count, added_capacity;
    struct plumb_tok_pieces added_pieces; /* by content */
    int32_t *added_of;                    /* by id: index into `added`, -1 = a piece of the model */
    size_t added_of_n, added_of_capacity;
    int64_t next_added;
    struct plumb_tok_trie raw, normalized;
    struct plumb_regex *word_character;
    struct plumb_idbuf before, after;     /* what the post-processor puts around a text */
    bool trim_offsets, trim_prefix_space; /* and whether it trims offsets */
    struct plumb_tok_bytes merged;        /* scratch while merges are read */
    pthread_mutex_t lock;
    bool has_lock;
    struct plumb_tok_work *idle;
};

/* The stretch of the caller's text that a byte of a rewritten text stands for. */
struct plumb_tok_place {
    const char *base;
    const struct plumb_tok_origin *origin; /* of base[0], base[1], ... */
};

/* The scratch memory of one call; idle ones wait in the tokenizer, so each thread finds a warm word
 * cache. */
struct plumb_tok_work {
    struct plumb_tok_work *next;
    const struct plumb_tok *tok;
    struct plumb_idbuf *out;
    bool valid;    /* the text of this call is UTF-8 */
    bool headless; /* the normalizers took away how the stretch at hand began */
    size_t limit;  /* of what this call may make of its text: bytes between steps, ids */
    struct plumb_textspans *spans; /* where tokens stand; NULL = nobody asks, nothing is noted */
    struct plumb_tok_place place;  /* with spans: of the text at hand */
    uint32_t start;                /* of the stretch between added tokens */
    struct plumb_tok_bytes whole;  /* origins of the caller's text */
    struct plumb_regex_scratch regex;
    struct plumb_tok_bytes rewritten[2], prefixed[PLUMB_TOK_STEPS], mapped[PLUMB_TOK_STEPS];
    struct plumb_tok_bytes word, spelling;
    struct plumb_tok_symbol *symbol;
    const char *letters; /* what the symbols are made of, for models that merge by text */
    uint32_t *unused;    /* by id of an unused piece: bytes of its left half when last merged */
    size_t unused_capacity;
    size_t symbols, symbol_capacity;
    uint64_t *heap;
    size_t heap_n, heap_capacity;
    struct plumb_tok_best *best; /* Unigram: by byte of the word */
    size_t best_capacity;
    struct plumb_tok_cache cache;
    int32_t *code;   /* code points of a stretch being normalized */
    int32_t *change; /* with spans: how they differ from the text in number */
    size_t code_capacity, change_capacity;
    struct plumb_tok_strings strings[2];
};

/* tok_json.c */
int plumb_tok_load(struct plumb_tok *t, const cJSON *root, const char *where);
/* The normalizers, pre-tokenizers and decoders of a file. */
int plumb_tok_load_pipeline(struct plumb_tok *t, const cJSON *root, const char *where);
int plumb_tok_load_flags(const cJSON *obj, const char *where, struct plumb_tok_flags *f);
int plumb_tok_copy(char **out, size_t *bytes, const char *s);
/* step->text = the one character that stands at obj[key]. */
int plumb_tok_load_character(struct plumb_tok_step *step, const cJSON *obj, const char *key,
                             const char *where);
void plumb_tok_steps_release(struct plumb_tok_steps *steps);

/* tok_preset.c: the steps of a published tokenizer by name; fails naming it when there is none. */
int plumb_tok_preset(struct plumb_tok *t, const char *name);
/* The first name of preset i of byte-level vocabularies, the commonest first; NULL behind the
 * last. */
const char *plumb_tok_preset_name(int i);
/* The same as part of a tokenizer.json, for the caller to delete. */
int plumb_tok_preset_json(const char *name, bool *ignore_merges, cJSON **out);

/* tok_arrays.c */
struct plumb_vocabulary;
int plumb_tok_from_arrays(struct plumb_tok *t, const struct plumb_vocabulary *v);
const char *plumb_tok_preset_of(const struct plumb_vocabulary *v); /* the name of its steps */
/* GPT-2's two files: vocab.json parsed, merges.txt as n bytes. */
struct plumb_tok_files {
    const cJSON *vocab;
    const char *merges, *vocab_path, *merges_path;
    size_t n;
};
int plumb_tok_from_files(struct plumb_tok *t, const struct plumb_tok_files *f, const char *preset);

/* tok_files.c, tok_config.c: a folder or file, and the files beside it. */
struct plumb_tok_names {
    int32_t bos, eos, pad, unk; /* -1 = none */
};
struct plumb_tok_configs {
    cJSON *config, *map; /* tokenizer_config.json, special_tokens_map.json; NULL = no such file */
};
int plumb_tok_read(struct plumb_tok *t, const char *path, struct plumb_tok_names *names);
/* Adds the special tokens that the files name; *names keeps what they do not name. */
int plumb_tok_configure(struct plumb_tok *t, const struct plumb_tok_configs *c,
                        struct plumb_tok_names *names);

/* tok_unigram.c: after the last piece. */
int plumb_tok_unigram_finish(struct plumb_tok *t, const char *where);

/* tok_spm.c */
enum plumb_tok_type { /* of pieces; as the file numbers them */
                      PLUMB_TOK_NORMAL = 1,
                      PLUMB_TOK_UNKNOWN,
                      PLUMB_TOK_CONTROL,
                      PLUMB_TOK_USER_DEFINED,
                      PLUMB_TOK_UNUSED,
                      PLUMB_TOK_BYTE
};
int plumb_tok_read_spm(struct plumb_tok *t, const char *path, struct plumb_tok_names *names);

/* The length of the longest user-defined piece at s, 0 without one. */
size_t plumb_tok_user_defined(const struct plumb_tok *t, const char *s, size_t n);

/* tok_pattern.c: what a step looks for, match after match. */
struct plumb_tok_walk {
    struct plumb_tok_work *work;
    const struct plumb_tok_step *step;
    struct plumb_regex_walk regex;
};
int plumb_tok_load_pattern(struct plumb_tok_step *step, const cJSON *obj, const char *where);
int plumb_tok_load_replace(struct plumb_tok_step *step, const cJSON *obj, const char *where);
struct plumb_tok_walk plumb_tok_walk(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                                     const char *s, size_t n);
int plumb_tok_walk_next(struct plumb_tok_walk *walk, size_t *start, size_t *end, bool *found);
int plumb_tok_replace(struct plumb_tok_work *w, const struct plumb_tok_step *step, const char *s,
                      size_t n, struct plumb_tok_bytes *out);

/* Steps that replace can make anything of a text: a hostile file would fill the memory. */
int plumb_tok_check_size(const struct plumb_tok_work *w, size_t n);

/* tok_normalize.c, tok_pretokenize.c, tok_decode.c */
int plumb_tok_normalize(struct plumb_tok_work *w, const char *s, size_t n, const char **out,
                        size_t *out_n);
int plumb_tok_split(struct plumb_tok_work *w, int step, const char *s, size_t n, bool first);
/* w->strings[0] holds the pieces; the strings of *list, one after the other, are the text. */
int plumb_tok_decode(struct plumb_tok_work *w, const struct plumb_tok_strings **list);
int plumb_tok_strings_end(struct plumb_tok_strings *list); /* a string ends where the text does */
/* Appends s with U+FFFD for what is not UTF-8. */
int plumb_tok_lossy(struct plumb_tok_bytes *out, const char *s, size_t n);
enum plumb_tok_scheme { PLUMB_TOK_ALWAYS, PLUMB_TOK_FIRST, PLUMB_TOK_NEVER };
int plumb_tok_load_metaspace(struct plumb_tok_step *step, const cJSON *obj, const char *where);

/* tok_bert.c, tok_charsmap.c: normalizers. */
int plumb_tok_load_bert(struct plumb_tok_step *step, const cJSON *obj, const char *where);
int plumb_tok_rewrite_bert(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                           const char *s, size_t n, struct plumb_tok_bytes *out);
int plumb_tok_load_strip(struct plumb_tok_step *step, const cJSON *obj, const char *where);
int plumb_tok_rewrite_strip(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                            const char *s, size_t n, struct plumb_tok_bytes *out);
enum plumb_tok_bert {
    PLUMB_BERT_CLEAN = 1,
    PLUMB_BERT_CHINESE = 2,
    PLUMB_BERT_ACCENTS = 4, /* decompose and strip */
    PLUMB_BERT_LOWER = 8,
    PLUMB_BERT_MARKS = 16 /* strip marks without decomposing */
};
int plumb_tok_load_charsmap(struct plumb_tok_step *step, const cJSON *obj, const char *where);
/* The same from the table's bytes, which are copied; NULL = no table. */
int plumb_tok_take_charsmap(struct plumb_tok_step *step, const char *bytes, size_t n,
                            const char *where);
/* What stands for the longest beginning of s that the table knows (*length of it, *bytes of the
 * result); NULL = nothing. */
const char *plumb_tok_charsmap_longest(const struct plumb_tok_step *step, const char *s, size_t n,
                                       size_t *length, size_t *bytes);
int plumb_tok_rewrite_charsmap(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                               const char *s, size_t n, struct plumb_tok_bytes *out);
/* Appends the normal form (utf8proc's options) of valid UTF-8. */
int plumb_tok_normal_form(struct plumb_tok_work *w, const char *s, size_t n, int options,
                          struct plumb_tok_bytes *out);

/* tok_origin.c. While w->spans is wanted, each rewriting notes where its bytes come from; `s` are
 * places in the text at hand. */
int plumb_tok_begin_spans(struct plumb_tok_work *w, const char *s, size_t n);
void plumb_tok_begin_stretch(struct plumb_tok_work *w, const char *s);
/* Appends n bytes of the text as they are. */
int plumb_tok_put(struct plumb_tok_work *w, struct plumb_tok_bytes *out, const char *s, size_t n);
/* Appends bytes that stand for `stands` > 0 bytes of the text at s, or, with s NULL, for nothing
 * before the stretch at hand. */
int plumb_tok_put_for(struct plumb_tok_work *w, struct plumb_tok_bytes *out, const char *bytes,
                      size_t n, const char *s, size_t stands);
/* b becomes the text at hand; returns the one before, for whoever goes back to it. */
struct plumb_tok_place plumb_tok_enter(struct plumb_tok_work *w, const struct plumb_tok_bytes *b);
/* A token for n bytes of the text; those of the post-processor stand nowhere. */
int plumb_tok_emit(struct plumb_tok_work *w, int32_t id, const char *s, size_t n);
int plumb_tok_emit_around(struct plumb_tok_work *w, const struct plumb_idbuf *ids);
/* Takes white space off the spans of the ids from `first` on, as trim_offsets asks. */
void plumb_tok_trim_spans(const struct plumb_tok_work *w, const char *s, int64_t first,
                          int64_t first_span);
/* Characters counted as the published library does: change 0 stands for the next one of
 * [at, end), -k for it and k more, 1 for none, so it shares the place of the one before. One is
 * held back, as what follows may change it. */
struct plumb_tok_edit {
    struct plumb_tok_work *work;
    struct plumb_tok_bytes *out;
    const char *at, *end;
    char held[4];
    size_t bytes;
    int change;
};
int plumb_tok_edit(struct plumb_tok_edit *e, const char *s, size_t n, int change);
void plumb_tok_edit_removes(struct plumb_tok_edit *e, int characters); /* behind the last one */
int plumb_tok_edit_end(struct plumb_tok_edit *e);

/* tok_bytes.c: the characters that stand for bytes in byte-level vocabularies. */
int plumb_tok_map_bytes(struct plumb_tok_bytes *out, const char *s, size_t n);
/* The same for the byte of the text at s. */
int plumb_tok_map_byte(struct plumb_tok_work *w, struct plumb_tok_bytes *out, const char *s);
int plumb_tok_unmap(int32_t cp); /* the byte, -1 = none */

/* tok_added.c */
int plumb_tok_trie_put(struct plumb_tok_trie *trie, const char *s, size_t n, int32_t token);
void plumb_tok_trie_release(struct plumb_tok_trie *trie);
void plumb_tok_add_begin(struct plumb_tok *t); /* before each list of added tokens */
/* An id that the model's vocabulary or an earlier list does not give is the next free one;
 * wanted_id (-1 = none) is what the file says, and only compared. */
int plumb_tok_add(struct plumb_tok *t, const char *content, const struct plumb_tok_flags *flags,
                  int64_t wanted_id, const char *where);
int plumb_tok_added_finish(struct plumb_tok *t, struct plumb_tok_work *w);
void plumb_tok_added_release(struct plumb_tok *t);
const struct plumb_tok_added *plumb_tok_added_by_id(const struct plumb_tok *t, int32_t id);
int32_t plumb_tok_find(const struct plumb_tok *t, const char *content); /* -1 = unknown */
bool plumb_tok_is_white(int32_t cp);
typedef int plumb_tok_text_fn(struct plumb_tok_work *w, const char *s, size_t n, bool first);
int plumb_tok_cut_added(struct plumb_tok_work *w, const struct plumb_tok_trie *trie, const char *s,
                        size_t n, bool first, plumb_tok_text_fn *between);

/* tok_bpe.c, tok_bpe_load.c */
#define PLUMB_TOK_META "\xE2\x96\x81" /* U+2581: what SentencePiece writes for a space */
bool plumb_tok_meta_inside(const char *s, size_t n); /* behind another character */
int plumb_tok_bpe_word(struct plumb_tok_work *w, const char *s, size_t n);
int plumb_tok_add_merge(struct plumb_tok *t, const char *left, size_t left_n, const char *right,
                        size_t right_n, uint32_t rank, const char *where);
int plumb_tok_add_merge_line(struct plumb_tok *t, const char *line, size_t n, uint32_t rank,
                             const char *where);
int plumb_tok_load_vocab(struct plumb_tok *t, const cJSON *vocab, const char *where);
void plumb_tok_bpe_finish(struct plumb_tok *t, const char *unk_token); /* unk_token: NULL = none */
