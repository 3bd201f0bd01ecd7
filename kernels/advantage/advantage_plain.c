/* The advantage formulas in plain f32: the oracle's yardstick. */
#include "kernels/advantage/advantage_eval.h"

#include "kernels/advantage/advantage_plain.h"
#include "kernels/formula.h"

PLUMB_FORMULA_PLAIN(plumb_member_plain, plumb_member_eval, plumb_member, plumb_member_grad)
