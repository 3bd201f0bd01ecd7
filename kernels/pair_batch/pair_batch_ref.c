/* Oracle of the batch statistics: results are rounded, as a yardstick what one rounding costs. */
typedef double value;
#define STORE(x, round) plumb_dtype_round(round, x)
#include "kernels/pair_batch/pair_batch_loops.h"

#define ORACLE(name)                                                                               \
    void plumb_##name##_ref(const struct plumb_##name *a, enum plumb_dtype round)                  \
    {                                                                                              \
        name(a, round);                                                                            \
    }
ORACLE(aot)
ORACLE(dr_dpo)
ORACLE(group_robust)
ORACLE(beta_dpo)
ORACLE(alpha_dpo)
ORACLE(leave_one_out)
