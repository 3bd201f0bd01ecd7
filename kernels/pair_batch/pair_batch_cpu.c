/* Native batch statistics. Compiled once per instruction set. */
typedef float value;
#define STORE(x, round) ((void)(round), plumb_saturate_f32(x))
#include "kernels/op.h"
#include "kernels/pair_batch/pair_batch_loops.h"

#define NATIVE(name)                                                                               \
    int PLUMB_CPU_FN(plumb_##name##_cpu)(const struct plumb_##name *a)                             \
    {                                                                                              \
        name(a, PLUMB_F32);                                                                        \
        return PLUMB_OK;                                                                           \
    }
NATIVE(aot)
NATIVE(dr_dpo)
NATIVE(group_robust)
NATIVE(beta_dpo)
NATIVE(alpha_dpo)
NATIVE(leave_one_out)
