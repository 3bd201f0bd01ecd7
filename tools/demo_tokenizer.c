/* Writes the demo's tokenizer. */
#include <cJSON.h>
#include <stdio.h>
#include <string.h>

#include "io/file.h"
#include "tools/demo_data.h"
#include "tools/demo_words.h"

#define PAD "<|pad|>"
#define END "<|end|>"

/* A vocabulary without merges: with ignore_merges a word that stands in it is one token. */
static const char tokenizer_json[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null,"
    " \"added_tokens\": ["
    "{\"id\": 0, \"content\": \"" PAD "\", \"single_word\": false, \"lstrip\": false,"
    " \"rstrip\": false, \"normalized\": false, \"special\": true},"
    "{\"id\": 1, \"content\": \"" END "\", \"single_word\": false, \"lstrip\": false,"
    " \"rstrip\": false, \"normalized\": false, \"special\": true}],"
    " \"normalizer\": null,"
    " \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false,"
    " \"trim_offsets\": true, \"use_regex\": true},"
    " \"post_processor\": null,"
    " \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true,"
    " \"trim_offsets\": true, \"use_regex\": true},"
    " \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null,"
    " \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false,"
    " \"byte_fallback\": false, \"ignore_merges\": true,"
    " \"vocab\": {\"" PAD "\": 0, \"" END "\": 1}, \"merges\": []}}";

static const char tokenizer_config[] =
    "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  \"eos_token\": \"" END "\",\n"
    "  \"pad_token\": \"" PAD "\",\n  \"clean_up_tokenization_spaces\": false,\n"
    "  \"model_max_length\": 128\n}\n";

static bool printable(int byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

/* The character of GPT-2's byte-level alphabet for a byte: itself, or from U+0100 on in order. */
static void byte_piece(int byte, char out[3])
{
    int point = byte;
    if (!printable(byte)) {
        point = 0x100;
        for (int b = 0; b < byte; b++)
            point += !printable(b);
    }
    snprintf(out, 3, point < 0x80 ? "%c" : "%c%c", point < 0x80 ? point : 0xC0 | point >> 6,
             0x80 | (point & 0x3F));
}

static void add(cJSON *vocab, const char *piece)
{
    if (!cJSON_GetObjectItemCaseSensitive(vocab, piece))
        cJSON_AddNumberToObject(vocab, piece, cJSON_GetArraySize(vocab));
}

/* The words of a phrase as the pre-tokenizer cuts them: letters with the space before. */
static void add_words(cJSON *vocab, const char *phrase)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    while (*phrase) {
        char piece[64];
        const bool space = *phrase == ' ';
        phrase += space;
        const size_t n = strspn(phrase, letters);
        if (n > 1) {
            snprintf(piece, sizeof piece, "%s%.*s", space ? "\xC4\xA0" : "", (int)n, phrase);
            add(vocab, piece);
        }
        phrase += n ? n : 1;
    }
}

static void fill(cJSON *vocab)
{
    static const char *const frame[] = { "Guest", "Waiter", " please", " and", NULL };
    const char *const *const spaced[] = { plumb_demo_guests,          plumb_demo_things,
                                          plumb_demo_polite_openings, plumb_demo_rude_openings,
                                          plumb_demo_polite_closings, plumb_demo_rude_closings };
    char piece[64];
    for (int byte = 0; byte < 256; byte++) {
        byte_piece(byte, piece);
        add(vocab, piece);
    }
    for (int i = 0; frame[i]; i++)
        add_words(vocab, frame[i]);
    for (size_t k = 0; k < sizeof spaced / sizeof *spaced; k++)
        for (int i = 0; spaced[k][i]; i++) {
            snprintf(piece, sizeof piece, " %s", spaced[k][i]);
            add_words(vocab, piece);
        }
}

int plumb_demo_write_tokenizer(const char *dir, int64_t *vocab_size)
{
    char path[4096];
    cJSON *json = cJSON_Parse(tokenizer_json);
    cJSON *vocab = cJSON_GetObjectItem(cJSON_GetObjectItem(json, "model"), "vocab");
    if (vocab) fill(vocab);
    *vocab_size = cJSON_GetArraySize(vocab);
    char *text = vocab ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    int rc = plumb_path_join(path, sizeof path, dir, "tokenizer.json");
    if (!rc)
        rc = text ? plumb_file_write(path, text, strlen(text))
                  : plumb_fail(PLUMB_EMEM, "could not allocate \"%s\"", path);
    cJSON_free(text);
    PLUMB_TRY(rc);
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, "tokenizer_config.json"));
    return plumb_file_write(path, tokenizer_config, sizeof tokenizer_config - 1);
}
