/* Hugging Face's tensors and where their elements live in the flat parameter buffer. */
#pragma once
#include <plumb/model.h>

#include "io/hf_family.h"

/* A tensor of a file: a matrix of R x C numbers (a vector of n is n x 1). R x C is rows x unit, or
 * unit x rows if transposed: `rows` counts rows of the parameter, as the engine keeps it, and
 * `unit` the numbers in one. */
struct plumb_hf_tensor {
    char name[96];
    const char *alias; /* another name that files use, NULL without */
    int rank;          /* 1 or 2 */
    int64_t shape[2];  /* as in the file */
    int64_t param;     /* index in the list of plumb_model_params */
    int64_t offset;    /* of the first row in the flat buffer */
    int64_t rows, unit;
    bool transposed;     /* GPT-2's Conv1D keeps (in, out) */
    int64_t heads, head; /* GPT-NeoX: rows of q, k and v stand head by head; 0 elsewhere */
};

/* Fills `out` (room for 3 * count) with the tensors of the parameters, in their order. */
int plumb_hf_tensors(const struct plumb_hf_family *f, const struct plumb_model_config *c,
                     const struct plumb_param *params, int64_t count, struct plumb_hf_tensor *out,
                     int64_t *tensors);
/* The place in the flat buffer of element (r, c) of the tensor as the file keeps it; c = 0 in a
 * vector. The norm of a tensor of the file is the norm of these places. */
int64_t plumb_hf_place(const struct plumb_hf_tensor *t, int64_t r, int64_t c);
/* Whether the name is a buffer that transformers recomputes and older files hold. */
bool plumb_hf_is_buffer(const char *name);
