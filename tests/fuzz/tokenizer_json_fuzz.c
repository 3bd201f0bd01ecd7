/* tokenizer.json, 0xFF, tokenizer_config.json, 0xFF, a text that is encoded and decoded. */
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

static void there_and_back(const struct plumb_text *t, struct fuzz_part text, bool special)
{
    struct plumb_idbuf ids = { 0 };
    char *back = NULL;
    size_t n;
    if (fuzz_good(t->encode(t->self, text.at, text.n, special, &ids))) {
        fuzz_note(ids.id, (size_t)ids.n * sizeof *ids.id);
        for (int64_t i = 0; i < ids.n; i++)
            PLUMB_ASSERT(ids.id[i] >= 0 && ids.id[i] < t->vocab_size);
        with_spans(t, text.at, text.n, special, &ids);
        if (fuzz_good(t->decode(t->self, ids.id, ids.n, !special, &back, &n))) fuzz_note(back, n);
    }
    free(back);
    plumb_idbuf_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_part rest = { (const char *)data, n };
    struct plumb_text t;
    fuzz_file("tokenizer.json", fuzz_cut(&rest));
    fuzz_file("tokenizer_config.json", rest.n ? fuzz_cut(&rest) : (struct fuzz_part){ "{}", 2 });
    if (!fuzz_good(plumb_tokenizer_open(&t, fuzz_folder()))) return 0;
    there_and_back(&t, rest, true);
    there_and_back(&t, (struct fuzz_part){ "Hello  world, it's 42!\n", 23 }, false);
    for (int32_t id = -1; id < 300 && id <= t.vocab_size; id++) {
        fuzz_note_text(t.piece(t.self, id));
        fuzz_note(&(char){ (char)t.is_special(t.self, id) }, 1);
    }
    plumb_tokenizer_release(&t);
    return 0;
}
