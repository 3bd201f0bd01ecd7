/* A GGUF file as a model: what transformers would have in a folder, from one file. */
#pragma once
#include <plumb/text.h>

#include "io/gguf.h"
#include "io/hf_config.h"
#include "io/weights.h"

/* Whether the path names a GGUF file (by its ending). */
bool plumb_gguf_is(const char *path);
/* The config.json that a folder of the file's model would have, for the architectures of
 * gguf_arch.c. Another one, and a key that changes numbers in a way not built here, is
 * PLUMB_ENOTSUP naming it; a key that nobody knows is a warning. */
int plumb_gguf_config(const struct plumb_gguf *g, struct plumb_hf_config *config);
/* The same and the weights, under Hugging Face's names and layouts: rows of q and k go back from
 * interleaved to half-split order, quantised tensors are read as f32; GPT-2's matrices stay turned,
 * and say so. A tensor without a use is PLUMB_ENOTSUP. Both are the caller's to release. */
int plumb_gguf_model(const char *path, struct plumb_hf_config *config,
                     struct plumb_weights *weights);
/* The file's tokenizer. */
int plumb_gguf_tokenizer(const char *path, struct plumb_text *t);
/* The same, with the chat template, as the files of a folder (see plumb_tokenizer_write). */
int plumb_gguf_write_tokenizer(const char *path, const char *dir);
