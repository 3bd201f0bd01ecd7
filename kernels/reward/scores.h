/* What a reward-model formula sees: the scores of one pair. A formula returns the pair's loss and
 * sets the derivatives; a further input is a further field here, filled by the shells. */
#pragma once
#include "kernels/scalar.h"

struct plumb_scores { /* plumb_real only */
    plumb_real chosen, rejected;
    plumb_real margin;
    plumb_real center; /* center_coefficient */
};

struct plumb_scores_grad {
    plumb_real dchosen, drejected;
};
