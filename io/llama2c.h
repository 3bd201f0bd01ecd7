/* Models of llama2.c (https://github.com/karpathy/llama2.c): a .bin file without a version, that is
 * seven numbers and float32 weights, and a tokenizer.bin. */
#pragma once
#include "io/hf_config.h"
#include "io/weights.h"

/* Whether the path names a .bin file. */
bool plumb_llama2c_is(const char *path);
/* Config and weights under Hugging Face's names, rows of q and k in half-split order. The file's
 * size must be what its seven numbers ask for. Both are the caller's to release. */
int plumb_llama2c_model(const char *path, struct plumb_hf_config *config,
                        struct plumb_weights *weights);
/* Its tokenizer.bin of `tokens` pieces as <dir>/tokenizer.json and tokenizer_config.json. */
int plumb_llama2c_write_tokenizer(const char *path, int64_t tokens, const char *dir);
