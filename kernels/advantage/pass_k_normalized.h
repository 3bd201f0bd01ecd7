/* (reward - second best) / (deviation + epsilon) for the best of a group, else 0. */
#pragma once
#include "kernels/advantage/member.h"

PLUMB_HD plumb_real plumb_member_pass_k_normalized(const struct plumb_member *p)
{
    return plumb_member_over(p->ahead, p->deviation + p->epsilon);
}
