/* The divergences' formulas in plain f32: the oracle's yardstick. */
#include "kernels/distill/distill_eval.h"

#include "kernels/distill/distill_plain.h"
#include "kernels/formula.h"

PLUMB_FORMULA_PLAIN(plumb_chance_plain, plumb_chance_eval, plumb_chance, plumb_chance_grad)
