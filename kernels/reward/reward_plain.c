/* The reward-model formulas in plain f32: the oracle's yardstick. */
#include "kernels/reward/reward_eval.h"

#include "kernels/formula.h"
#include "kernels/reward/reward_plain.h"

PLUMB_FORMULA_PLAIN(plumb_scores_plain, plumb_scores_eval, plumb_scores, plumb_scores_grad)
