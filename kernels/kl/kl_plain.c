/* The estimators in plain f32: the oracle's yardstick. */
#include "kernels/kl/kl_eval.h"

#include "kernels/formula.h"
#include "kernels/kl/kl_plain.h"

PLUMB_FORMULA_PLAIN(plumb_kl_plain, plumb_kl_eval, plumb_kl_token, plumb_kl_grad)
