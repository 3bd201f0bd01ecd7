/* The pointwise formulas in plain f32: the oracle's yardstick. */
#include "kernels/pointwise/pointwise_eval.h"

#include "kernels/formula.h"
#include "kernels/pointwise/pointwise_plain.h"

PLUMB_FORMULA_PLAIN(plumb_rating_plain, plumb_rating_eval, plumb_rating, plumb_rating_grad)
