/* A tokenizer for tests: one id per character, 3 + (c - 32) for printable ASCII; 0 unknown and pad,
 * 1 BOS, 2 EOS (written "</s>"). With `merge`, "ab" is the one id 98. */
#pragma once
#include <plumb/text.h>

#include <stdlib.h>
#include <string.h>

#define FAKE_VOCAB 99
#define FAKE_MERGED 98

struct fake_text {
    bool merge, bos, eos;
    int calls;
};

static inline int fake_push(struct plumb_idbuf *out, struct plumb_textspans *spans, int32_t id,
                            size_t from, size_t to)
{
    PLUMB_TRY(plumb_idbuf_push(out, id));
    if (!spans) return PLUMB_OK;
    struct plumb_textspan *larger = realloc(spans->at, (size_t)(spans->n + 1) * sizeof *larger);
    if (!larger) return plumb_fail(PLUMB_EMEM, "no memory");
    spans->at = larger;
    spans->at[spans->n++] = (struct plumb_textspan){ (int64_t)from, (int64_t)to };
    return PLUMB_OK;
}

static inline int fake_encode_spans(void *self, const char *text, size_t n, bool special,
                                    struct plumb_idbuf *out, struct plumb_textspans *spans)
{
    struct fake_text *f = self;
    f->calls++;
    if (special && f->bos) PLUMB_TRY(fake_push(out, spans, 1, 0, 0));
    for (size_t i = 0; i < n; i++) {
        const size_t from = i;
        const unsigned char c = (unsigned char)text[i];
        int32_t id = c < 32 || c > 125 ? 0 : 3 + (c - 32);
        if (n - i >= 4 && memcmp(text + i, "</s>", 4) == 0) {
            id = 2;
            i += 3;
        } else if (f->merge && n - i >= 2 && text[i] == 'a' && text[i + 1] == 'b') {
            id = FAKE_MERGED;
            i++;
        }
        PLUMB_TRY(fake_push(out, spans, id, from, i + 1));
    }
    return special && f->eos ? fake_push(out, spans, 2, 0, 0) : PLUMB_OK;
}

static inline int fake_encode(void *self, const char *text, size_t n, bool special,
                              struct plumb_idbuf *out)
{
    return fake_encode_spans(self, text, n, special, out, NULL);
}

static inline const char *fake_piece(void *self, int32_t id)
{
    static char one[4][2];
    static int at;
    (void)self;
    if (id < 0 || id >= FAKE_VOCAB) return NULL;
    if (id < 3) return id == 0 ? "<pad>" : id == 1 ? "<s>" : "</s>";
    if (id == FAKE_MERGED) return "ab";
    at = (at + 1) % 4;
    one[at][0] = (char)(id - 3 + 32);
    return one[at];
}

static inline int fake_decode(void *self, const int32_t *id, int64_t count, bool skip_special,
                              char **out, size_t *n)
{
    *out = calloc((size_t)count + 1, 5);
    if (!*out) return plumb_fail(PLUMB_EMEM, "no memory");
    for (int64_t i = 0; i < count; i++) {
        const char *piece = fake_piece(self, id[i]);
        if (piece && (id[i] > 2 || !skip_special))
            memcpy(*out + strlen(*out), piece, strlen(piece));
    }
    *n = strlen(*out);
    return PLUMB_OK;
}

static inline bool fake_is_special(void *self, int32_t id)
{
    (void)self;
    return id >= 0 && id < 3;
}

static inline struct plumb_text fake_text(struct fake_text *f)
{
    return (struct plumb_text){ .self = f,
                                .vocab_size = FAKE_VOCAB,
                                .bos_id = 1,
                                .eos_id = 2,
                                .pad_id = 0,
                                .unk_id = 0,
                                .add_bos = f->bos,
                                .add_eos = f->eos,
                                .encode = fake_encode,
                                .encode_spans = fake_encode_spans,
                                .decode = fake_decode,
                                .piece = fake_piece,
                                .is_special = fake_is_special };
}
