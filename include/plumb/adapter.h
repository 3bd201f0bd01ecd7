/* LoRA (arXiv:2106.09685) as data: which matrices of a model get an addition of low rank,
 *   y = W x + scale * B (A x),   A (rank, cols), B (rows, rank),
 * while W stays as it is, and which parameters are trained whole beside. An adapter may stand on
 * some rows of a matrix alone: the engine keeps q, k and v, or gate and up, in one. */
#pragma once
#include <plumb/model.h>
PLUMB_BEGIN_INTERNAL

struct plumb_adapter {
    int64_t param;       /* index in the list of plumb_model_params: a matrix of a layer */
    int64_t first, rows; /* its rows */
    int64_t a, b;        /* places of A and B in the flat buffer of what is trained: set by
                          * plumb_lora_params */
};

struct plumb_lora {
    int64_t rank;
    double scale;   /* alpha / rank; alpha / sqrt(rank) with rsLoRA */
    double dropout; /* of the adapters' input, in [0, 1) */
    struct plumb_adapter *adapter; /* (count) in order of param and first, without overlap */
    int64_t count;
    const int64_t *whole; /* (whole_count) parameters trained whole, ascending */
    int64_t whole_count;
    bool given; /* the weights come from files: a reference model has them too, as they were */
};

/* The list of what is trained, as plumb_model_params gives it for a whole model: of each matrix the
 * A of its adapters one below the other, then each B; parameters trained whole as they are. Fills
 * `out` (room for 2 count + whole_count), *n, *elements, and places in l->adapter. `base` is the
 * model's list. Fails with PLUMB_EINVAL on what the rules above forbid. */
int plumb_lora_params(const struct plumb_lora *l, const struct plumb_param *base,
                      int64_t base_count, struct plumb_param *out, int64_t *n, int64_t *elements);

PLUMB_END_INTERNAL
