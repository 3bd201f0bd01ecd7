/* What a pointwise formula sees: one score and its target. A formula returns its loss and sets the
 * derivative; a further input is a further field here, filled by the shells. */
#pragma once
#include "kernels/scalar.h"

struct plumb_rating {  /* plumb_real only */
    plumb_real score;  /* of a response, or of one attribute of it */
    plumb_real target; /* a rating, a label or a probability */
    plumb_real pos_weight;
};

struct plumb_rating_grad {
    plumb_real dscore;
};
