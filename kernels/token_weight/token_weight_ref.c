/* Oracle of token weights. */
typedef double value;
#define STORE(x, round) plumb_dtype_round(round, x)
#include "kernels/token_weight/token_weight_loops.h"

void plumb_token_weight_ref(const struct plumb_token_weight *a, enum plumb_dtype round)
{
    token_weights(a, round);
}

void plumb_wpo_ref(const struct plumb_wpo *a, enum plumb_dtype round) { wpo(a, round); }
