/* The architectures of GGUF files that are models here: what their tensors are called, how their
 * rows stand, and which keys say what. Reading and writing walk these tables. Source: llama.cpp,
 * convert_hf_to_gguf.py and src/llama-arch.cpp. */
#pragma once
#include "io/hf_family.h"
#include "io/hf_names.h"

#define PLUMB_GGUF_ROPE_FREQS "rope_freqs.weight"

struct plumb_gguf_arch {
    const char *name;   /* general.architecture; keys begin with it */
    const char *family; /* model_type of config.json */
    unsigned bit;       /* of the family */
};
/* NULL without one. A family may be said by another's architecture: Mistral's is "llama". */
const struct plumb_gguf_arch *plumb_gguf_arch(const char *name, size_t n);
const struct plumb_gguf_arch *plumb_gguf_arch_of(const struct plumb_hf_family *family);
/* The names of all, comma-separated. */
const char *plumb_gguf_arch_list(char *out, size_t n);

/* How the numbers of a tensor stand in GGUF, beside Hugging Face's file. */
enum plumb_gguf_order {
    PLUMB_GGUF_SAME,
    PLUMB_GGUF_PAIRED,  /* rows 2j, 2j + 1 of a head are rotated together, not j, j + K/2 */
    PLUMB_GGUF_TURNED,  /* (out, in) where Hugging Face keeps (in, out) */
    PLUMB_GGUF_UNFUSED, /* rows of q, then k, then v; Hugging Face keeps them head by head */
    PLUMB_GGUF_ONE_MORE /* the number 1 is added */
};

struct plumb_gguf_row {
    unsigned families;
    const char *gguf, *hf; /* without ".weight" and ".bias"; inside a layer below its prefix */
    bool inside;           /* a layer: "blk.<n>." */
    enum plumb_gguf_order order;
};

/* "blk.3.attn_q.weight" of a family to "model.layers.3.self_attn.q_proj.weight" and back; *row says
 * how the numbers stand. False where no use is known. */
bool plumb_gguf_name_to_hf(const struct plumb_hf_family *f, const char *gguf, char *out, size_t n,
                           const struct plumb_gguf_row **row, int64_t *layer);
bool plumb_gguf_name_of_hf(const struct plumb_hf_family *f, const char *hf, char *out, size_t n,
                           const struct plumb_gguf_row **row);

/* The order of a tensor of `row`, whose name ends as `name` does: biases are never turned. */
enum plumb_gguf_order plumb_gguf_order(const struct plumb_gguf_row *row, const char *name);
/* Whether a tensor of so many rows can stand so: they are those of whole heads. */
bool plumb_gguf_rows_fit(const struct plumb_model_config *c, enum plumb_gguf_order order,
                         int64_t count);
/* The row of GGUF's matrix that is row r of Hugging Face's, and the other way round. */
int64_t plumb_gguf_row_of(const struct plumb_model_config *c, enum plumb_gguf_order order,
                          int64_t r);
int64_t plumb_gguf_row_in(const struct plumb_model_config *c, enum plumb_gguf_order order,
                          int64_t r);

/* A number in both files: a key below the architecture's prefix, a key of config.json. */
struct plumb_gguf_size {
    unsigned families;
    const char *gguf, *hf;
    size_t field;  /* in struct plumb_model_config; a double where `real` */
    bool real;     /* f32 in files */
    double absent; /* NaN = the file must say it */
};
extern const struct plumb_gguf_size plumb_gguf_sizes[];
extern const size_t plumb_gguf_size_count;

/* What the rotary frequency i of the llama3 scaling is divided by: the numbers of "rope_freqs". */
double plumb_gguf_rope_factor(const struct plumb_model_config *c, int64_t i);
