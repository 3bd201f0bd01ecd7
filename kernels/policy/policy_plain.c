/* The policy formulas in plain f32: the oracle's yardstick. */
#include "kernels/policy/policy_eval.h"

#include "kernels/formula.h"
#include "kernels/policy/policy_plain.h"

PLUMB_FORMULA_PLAIN(plumb_policy_plain, plumb_policy_eval, plumb_policy_token, plumb_policy_grad)
