/* Native token weights, sequences in parallel. Compiled once per instruction set. */
typedef float value;
#define STORE(x, round) ((void)(round), plumb_saturate_f32(x))
#include "kernels/op.h"
#include "kernels/token_weight/token_weight_loops.h"

int PLUMB_CPU_FN(plumb_token_weight_cpu)(const struct plumb_token_weight *a)
{
    token_weights(a, PLUMB_F32);
    return PLUMB_OK;
}

int PLUMB_CPU_FN(plumb_wpo_cpu)(const struct plumb_wpo *a)
{
    wpo(a, PLUMB_F32);
    return PLUMB_OK;
}
