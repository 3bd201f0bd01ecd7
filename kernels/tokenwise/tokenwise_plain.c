/* The formulas by token in plain f32: the oracle's yardstick. */
#include "kernels/tokenwise/tokenwise_eval.h"

#include "kernels/formula.h"
#include "kernels/tokenwise/tokenwise_plain.h"

PLUMB_FORMULA_PLAIN(plumb_graded_plain, plumb_graded_eval, plumb_graded, plumb_graded_grad)
