/* Pipelines of published tokenizers whose files do not spell them out: GGUF names them, GPT-2's
 * vocabulary and merges imply them. Written as the tokenizer.json of those models has them. */
#include <stdio.h>
#include <string.h>

#include "io/json.h"
#include "io/tok.h"

#define BYTE_LEVEL(regex)                                                                          \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"                    \
    "\"use_regex\":" regex "}"
#define SPLIT(pattern)                                                                             \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern                                        \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define SEQUENCE(a, b) "{\"type\":\"Sequence\",\"pretokenizers\":[" a "," b "]}"
#define BYTE_DECODER "\"decoder\":" BYTE_LEVEL("true")
/* Qwen2 and Llama 3 differ in how many digits make a word. */
#define WORDS(digits)                                                                              \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}" digits         \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define META PLUMB_TOK_META

static const struct {
    const char *names; /* of llama.cpp's tokenizer.ggml.pre, each with a space behind */
    bool ignore_merges;
    const char *json;
} presets[] = {
    { "gpt-2 phi-2 ", false, "{\"pre_tokenizer\":" BYTE_LEVEL("true") "," BYTE_DECODER "}" },
    { "olmo mpt ", false,
      "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":" BYTE_LEVEL("true") "," BYTE_DECODER
                                                                                 "}" },
    { "smollm starcoder refact command-r ", false,
      "{\"pre_tokenizer\":" SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}",
                                     BYTE_LEVEL("true")) "," BYTE_DECODER "}" },
    { "qwen2 deepseek-r1-qwen ", false,
      "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":" SEQUENCE(
          SPLIT(WORDS("")), BYTE_LEVEL("false")) "," BYTE_DECODER "}" },
    { "llama-bpe llama3 llama-v3 ", true,
      "{\"pre_tokenizer\":" SEQUENCE(SPLIT(WORDS("{1,3}")), BYTE_LEVEL("false")) "," BYTE_DECODER
                                                                                 "}" },
    { "sentencepiece ", false,
      "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
      "{\"type\":\"Prepend\",\"prepend\":\"" META "\"},"
      "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" META "\"}]},"
      "\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
      "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" META "\"},\"content\":\" \"},"
      "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
      "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}}" },
    { "sentencepiece-no-prefix ", false,
      "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
      "\"content\":\"" META "\"},"
      "\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
      "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" META "\"},\"content\":\" \"},"
      "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}}" },
};

const char *plumb_tok_preset_name(int i)
{
    static const char *const names[] = { "gpt-2", "smollm", "qwen2", "llama-bpe", "olmo" };
    return i >= 0 && i < (int)(sizeof names / sizeof *names) ? names[i] : NULL;
}

int plumb_tok_preset_json(const char *name, bool *ignore_merges, cJSON **out)
{
    char word[64];
    *out = NULL;
    if (snprintf(word, sizeof word, "%s ", name) >= (int)sizeof word || strchr(name, ' '))
        return plumb_fail(PLUMB_ENOTSUP, "the pre-tokenizer \"%.80s\" is not supported", name);
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        const char *at = strstr(presets[i].names, word);
        if (!at || (at != presets[i].names && at[-1] != ' ')) continue;
        *ignore_merges = presets[i].ignore_merges;
        return plumb_json_parse(presets[i].json, strlen(presets[i].json), name, out);
    }
    return plumb_fail(PLUMB_ENOTSUP, "the pre-tokenizer \"%.80s\" is not supported", name);
}

int plumb_tok_preset(struct plumb_tok *t, const char *name)
{
    cJSON *json;
    PLUMB_TRY(plumb_tok_preset_json(name, &t->bpe.ignore_merges, &json));
    const int rc = plumb_tok_load_pipeline(t, json, name);
    cJSON_Delete(json);
    return rc;
}
