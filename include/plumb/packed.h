/* Matrices of a frozen model that stay in the blocks of a quantised file (plumb/quant.h) and become
 * numbers only while a product reads them: what adapters can stand on (QLoRA, arXiv:2305.14314,
 * with a file's own types). */
#pragma once
#include <plumb/model.h>
#include <plumb/quant.h>
PLUMB_BEGIN_INTERNAL

struct plumb_packed_part {
    int64_t param, first, rows; /* rows [first, first + rows) of a matrix of plumb_model_params */
    enum plumb_quant type;
    int64_t row_bytes;
    int64_t offset; /* of the first row's blocks in the buffer of all, bytes */
};

struct plumb_packed {
    const struct plumb_packed_part *part; /* (count) in order of param and first */
    int64_t count, bytes;                 /* bytes: of all blocks */
};

/* Takes the packed matrices out of a list of plumb_model_params: their offset becomes -1 and what
 * follows moves up. *elements as it is then. */
void plumb_packed_leave_out(const struct plumb_packed *k, struct plumb_param *params, int64_t count,
                            int64_t *elements);

PLUMB_END_INTERNAL
