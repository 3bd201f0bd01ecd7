/* The likelihood formulas in plain f32: the oracle's yardstick. */
#include "kernels/supervised/supervised_eval.h"

#include "kernels/formula.h"
#include "kernels/supervised/supervised_plain.h"

PLUMB_FORMULA_PLAIN(plumb_token_plain, plumb_token_eval, plumb_token, plumb_token_grad)
