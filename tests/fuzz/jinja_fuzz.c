/* A chat template, 0xFF, the variables or conversation as JSON. */
#include "io/chat.h"
#include "tests/fuzz/fuzz.h"

static void note(const struct plumb_jinja_text *out)
{
    int64_t last = 0;
    for (int64_t i = 0; i < 2 * out->spans; i++) {
        PLUMB_ASSERT(out->span[i] >= last && out->span[i] <= (int64_t)out->n);
        last = out->span[i];
    }
    fuzz_note(out->text, out->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct fuzz_part usual = {
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":"
        "\"yo \",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]}],"
        "\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}",
        207
    };
    struct fuzz_part rest = { (const char *)data, n };
    const struct fuzz_part text = fuzz_cut(&rest);
    const struct fuzz_part json = rest.n ? rest : usual;
    struct plumb_jinja *t;
    struct plumb_jinja_text out;
    if (!fuzz_good(plumb_jinja_open(text.at, text.n, "template", &t))) return 0;
    if (fuzz_good(plumb_jinja_render(t, json.at, json.n, 1700000000, &out))) note(&out);
    plumb_jinja_text_release(&out);
    for (int go_on = 0; go_on < 2; go_on++) {
        if (fuzz_good(plumb_chat_render(t, json.at, json.n, go_on, 1700000000, &out))) note(&out);
        plumb_jinja_text_release(&out);
    }
    plumb_jinja_release(t);
    return 0;
}
