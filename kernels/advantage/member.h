/* What an advantage formula sees: one response and its group. A formula returns the advantage; a
 * further statistic is a further field here, filled in members.h. */
#pragma once
#include "kernels/scalar.h"

struct plumb_member {            /* plumb_real only */
    plumb_real centred;          /* reward - mean of the group */
    plumb_real off_others;       /* reward - mean of the group's others */
    plumb_real off_weighted;     /* reward - weighted mean of the group */
    plumb_real ahead;            /* reward - second best of the group, 0 but for the best */
    plumb_real deviation;        /* of the group's rewards */
    plumb_real batch_deviation;  /* of all rewards */
    plumb_real batch_per_filled; /* rewards over rewards that are not 0 */
    plumb_real epsilon;
};

/* x / y, 0 where there is nothing to divide by. */
PLUMB_HD plumb_real plumb_member_over(plumb_real x, plumb_real y) { return y == 0 ? 0 : x / y; }
