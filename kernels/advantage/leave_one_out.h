/* reward - mean of the others. */
#pragma once
#include "kernels/advantage/member.h"

PLUMB_HD plumb_real plumb_member_leave_one_out(const struct plumb_member *p)
{
    return p->off_others;
}
