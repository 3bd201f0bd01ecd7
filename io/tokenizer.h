/* Tokenizers: Hugging Face's tokenizer.json, GPT-2's vocabulary and merges, or arrays from a GGUF
 * file, as struct plumb_text. Byte-level BPE (GPT-2, Qwen, SmolLM), SentencePiece-style BPE with
 * byte fallback (Llama, Phi-3), Unigram (T5) and WordPiece (BERT); SentencePiece's own
 * tokenizer.model of type Unigram or BPE, whose ids are those of sentencepiece 0.2.
 *
 * Every result equals that of Hugging Face tokenizers 0.23, quirks included; a component that is
 * not implemented is an error that names it (PLUMB_ENOTSUP). Beyond it: text that is not UTF-8 is
 * encoded, too. Bytes that belong to no character are left as they are by normalizers, match no
 * pattern of a pre-tokenizer, and are encoded one by one: as that byte by a byte-level vocabulary,
 * as <0xNN> with byte fallback, else as the unknown token.
 *
 * encode, decode, piece and is_special may be called from several threads at once. encode costs
 * time linear in the text (n log n in the length of a word), appends nothing when it fails, takes
 * at most PLUMB_TEXT_LIMIT bytes and makes at most 64 ids of each and a million more: a file whose
 * steps let texts grow beyond that, or whose patterns backtrack without end, costs a fault. decode
 * skips ids that the vocabulary does not have (a model's padded rows) and refuses negative ones. */
#pragma once
#include <plumb/text.h>

#define PLUMB_TEXT_LIMIT ((size_t)1 << 30)

/* Opens a folder (tokenizer.json, tokenizer.json.gz, or vocab.json / encoder.json with merges.txt /
 * vocab.bpe, or tokenizer.model), a tokenizer.json file or a GGUF file (its name ends in .gguf);
 * tokenizer_config.json and special_tokens_map.json beside it name BOS, EOS, PAD and UNK and may
 * add tokens. As in transformers 5, add_bos_token and add_eos_token count only where there is no
 * tokenizer.json (in a GGUF file they do). Memory: at most 160 times the files, plus 8 MiB. */
int plumb_tokenizer_open(struct plumb_text *t, const char *path);

/* A hash of the files that plumb_tokenizer_open reads of `path` (a GGUF file whole), chat templates
 * in files of their own aside. */
int plumb_tokenizer_hash(const char *path, uint64_t *h);

/* A vocabulary as GGUF files hold it. All arrays are copied. */
struct plumb_vocabulary {
    /* "gpt2" (byte-level, with merges) or "llama" (SentencePiece pieces with scores) */
    const char *model;
    /* gpt2: the pre-tokenizer, "gpt-2", "smollm", "qwen2", "llama-bpe", ...; unused with "llama" */
    const char *pre;
    const char *const *token; /* (n) UTF-8 */
    int64_t n;
    const char *const *merge; /* (merges) "left right", best first; gpt2 only */
    int64_t merges;
    const float *score; /* (n) llama only: the higher, the earlier a piece is merged */
    /* (n) or NULL: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte */
    const int32_t *type;
    int32_t bos_id, eos_id, pad_id, unk_id; /* -1 = none */
    bool add_bos, add_eos;
    bool add_space_prefix; /* llama: a space before the text */
};
int plumb_tokenizer_from_arrays(struct plumb_text *t, const struct plumb_vocabulary *v);
/* Writes <dir>/tokenizer.json and <dir>/tokenizer_config.json of the vocabulary, as transformers
 * keeps them; chat_template may be NULL. */
int plumb_tokenizer_write(const struct plumb_vocabulary *v, const char *chat_template,
                          const char *dir);

/* The other way round: the arrays of a GGUF file for an embedding of so many rows, with a `pre` and
 * a prefix under which plumb_tokenizer_from_arrays gives the ids of `text`, on probes and on every
 * token's text. PLUMB_ENOTSUP where none does, or the tokenizer is neither BPE of bytes nor BPE
 * with byte fallback. Token texts are those of `text`, which must live as long; release the rest.
 */
int plumb_tokenizer_arrays(const struct plumb_text *text, int64_t rows, struct plumb_vocabulary *v);
void plumb_vocabulary_release(struct plumb_vocabulary *v); /* of plumb_tokenizer_arrays alone */

void plumb_tokenizer_release(struct plumb_text *t); /* takes a zeroed one */
