/* SentencePiece's tokenizer.model; its last bytes are a text, too. */
#include <stdlib.h>

#include "io/tokenizer.h"
#include "tests/fuzz/fuzz.h"

/* Who asks where the ids stand gets the same ones, and places within the text. */
static void with_spans(const struct plumb_text *t, const char *text, size_t n, bool special,
                       const struct plumb_idbuf *same)
{
    struct plumb_idbuf ids = { 0 };
    struct plumb_textspans spans = { .trim = true };
    if (fuzz_good(t->encode_spans(t->self, text, n, special, &ids, &spans))) {
        PLUMB_ASSERT(ids.n == same->n && spans.n == ids.n);
        for (int64_t i = 0; i < ids.n; i++) {
            PLUMB_ASSERT(ids.id[i] == same->id[i]);
            PLUMB_ASSERT(spans.at[i].from >= 0 && spans.at[i].from <= spans.at[i].to);
            PLUMB_ASSERT(spans.at[i].to <= (int64_t)n);
        }
    }
    plumb_textspans_release(&spans);
    plumb_idbuf_release(&ids);
}

static void there_and_back(const struct plumb_text *t, const char *text, size_t length)
{
    struct plumb_idbuf ids = { 0 };
    char *back = NULL;
    size_t n;
    if (fuzz_good(t->encode(t->self, text, length, true, &ids))) {
        fuzz_note(ids.id, (size_t)ids.n * sizeof *ids.id);
        for (int64_t i = 0; i < ids.n; i++)
            PLUMB_ASSERT(ids.id[i] >= 0 && ids.id[i] < t->vocab_size);
        with_spans(t, text, length, true, &ids);
        if (fuzz_good(t->decode(t->self, ids.id, ids.n, false, &back, &n))) fuzz_note(back, n);
    }
    free(back);
    plumb_idbuf_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char text[] =
        " Hello  world,\t\xEF\xAC\x81 \xC3\xA9 e\xCC\x81 <s> \xF0\x9F\x98\x80";
    struct plumb_text t;
    fuzz_file("tokenizer.model", (struct fuzz_part){ (const char *)data, n });
    if (!fuzz_good(plumb_tokenizer_open(&t, fuzz_folder()))) return 0;
    const size_t tail = n < 80 ? n : 80;
    there_and_back(&t, text, sizeof text - 1);
    there_and_back(&t, (const char *)data + n - tail, tail);
    int32_t all[64];
    char *back = NULL;
    size_t length;
    for (int i = 0; i < 64; i++) {
        all[i] = i;
        fuzz_note_text(t.piece(t.self, i));
    }
    if (fuzz_good(t.decode(t.self, all, 64, true, &back, &length))) fuzz_note(back, length);
    free(back);
    plumb_tokenizer_release(&t);
    return 0;
}
