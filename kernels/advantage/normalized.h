/* (reward - mean) / (deviation + epsilon). */
#pragma once
#include "kernels/advantage/member.h"

PLUMB_HD plumb_real plumb_member_normalized(const struct plumb_member *p)
{
    return plumb_member_over(p->centred, p->deviation + p->epsilon);
}
