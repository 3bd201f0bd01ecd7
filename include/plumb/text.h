/* Text and token ids: a table of functions that io's tokenizers fill. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_INTERNAL

/* Growing array of ids owned by its user; zero-initialise, release with plumb_idbuf_release. */
struct plumb_idbuf {
    int32_t *id;
    int64_t n, capacity;
};
int plumb_idbuf_push(struct plumb_idbuf *b, int32_t id);
void plumb_idbuf_release(struct plumb_idbuf *b);

/* Where the tokens of a text stand in it: bytes [from, to) of each id; tokens of the post-processor
 * have [0, 0). Zero-initialise, release with plumb_textspans_release. */
struct plumb_textspan {
    int64_t from, to;
};
struct plumb_textspans {
    struct plumb_textspan *at;
    int64_t n, capacity;
    bool trim; /* set by the user: without the white space that the tokenizer's post-processor
                * takes off (trim_offsets), as Hugging Face tokenizers tell offsets */
};
void plumb_textspans_release(struct plumb_textspans *b);

struct plumb_text {
    void *self;
    int64_t vocab_size;             /* ids are in [0, vocab_size) */
    int32_t bos_id, eos_id, pad_id, unk_id; /* -1 = none */
    bool add_bos, add_eos;          /* what `add_special` does, for inspect */
    /* Appends the ids of n bytes of UTF-8 (NUL bytes allowed). With add_special, the
     * post-processor's tokens too. */
    int (*encode)(void *self, const char *text, size_t n, bool add_special,
                  struct plumb_idbuf *out);
    /* The same, and appends the span of each id; slower. A token made of a part of a character has
     * the whole of it; where a normalizer joins characters, the first one. */
    int (*encode_spans)(void *self, const char *text, size_t n, bool add_special,
                        struct plumb_idbuf *out, struct plumb_textspans *spans);
    /* *out = malloc'ed UTF-8 of the ids (bytes that are not UTF-8 become U+FFFD), *n its length;
     * NUL-terminated. */
    int (*decode)(void *self, const int32_t *id, int64_t count, bool skip_special,
                  char **out, size_t *n);
    /* The raw piece of one id as in the vocabulary, valid until release; NULL outside it. */
    const char *(*piece)(void *self, int32_t id);
    bool (*is_special)(void *self, int32_t id);
};

PLUMB_END_INTERNAL
