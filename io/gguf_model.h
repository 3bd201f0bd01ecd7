/* A GGUF file as a model: what transformers would have in a folder, from one file. */
#pragma once
#include <plumb/text.h>

#include "io/hf_config.h"
#include "io/weights.h"

/* Whether the path names a GGUF file (by its ending). */
bool plumb_gguf_is(const char *path);
/* Config and weights of a file of architecture "llama" (Llama, Mistral, SmolLM), under Hugging
 * Face's names and layouts: rows of q and k go back from interleaved to half-split order, quantised
 * tensors read as f32. Another architecture, and a key or tensor that changes numbers in a way not
 * built here, is PLUMB_ENOTSUP naming it; a key that nobody knows is a warning. Both are the
 * caller's to release. */
int plumb_gguf_model(const char *path, struct plumb_hf_config *config,
                     struct plumb_weights *weights);
/* The file's tokenizer. */
int plumb_gguf_tokenizer(const char *path, struct plumb_text *t);
/* The same, with the chat template, as the files of a folder (see plumb_tokenizer_write). */
int plumb_gguf_write_tokenizer(const char *path, const char *dir);
