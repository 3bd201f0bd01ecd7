/* A model and its tokenizer as a GGUF file that llama.cpp runs. */
#pragma once
#include "io/gguf_write.h"
#include "io/hf_model.h"

/* Writes the file at `path`, whole or not at all: matrices as `store` (Q8_0: F16 where rows are no
 * multiple of 32), vectors and tables of positions as F32, as llama.cpp's converter does. Tokenizer
 * and chat template are those of m's folder or file; without one the file says so, after a warning.
 * The weights stream from m's files: memory for one matrix at most, where it is turned (GPT-2's). A
 * score head, and a config that GGUF cannot say, is PLUMB_ENOTSUP. */
int plumb_gguf_export(const struct plumb_hf_model *m, enum plumb_gguf_store store,
                      const char *path);

/* Puts the tokenizer's keys (gguf_export_text.c). */
int plumb_gguf_put_tokenizer(struct plumb_gguf_writer *w, const struct plumb_hf_model *m);
