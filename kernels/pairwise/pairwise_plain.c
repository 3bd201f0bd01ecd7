/* The pairwise formulas in plain f32: the oracle's yardstick. */
#include "kernels/pairwise/pairwise_eval.h"

#include "kernels/formula.h"
#include "kernels/pairwise/pairwise_plain.h"

PLUMB_FORMULA_PLAIN(plumb_pair_plain, plumb_pair_eval, plumb_pair, plumb_pair_grad)
