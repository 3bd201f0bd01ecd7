/* The unpaired formulas in plain f32: the oracle's yardstick. */
#include "kernels/unpaired/unpaired_eval.h"

#include "kernels/formula.h"
#include "kernels/unpaired/unpaired_plain.h"

PLUMB_FORMULA_PLAIN(plumb_completion_plain, plumb_completion_eval, plumb_completion,
                    plumb_completion_grad)
