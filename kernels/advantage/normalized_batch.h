/* (reward - mean) / (deviation of all rewards + epsilon). */
#pragma once
#include "kernels/advantage/member.h"

PLUMB_HD plumb_real plumb_member_normalized_batch(const struct plumb_member *p)
{
    return plumb_member_over(p->centred, p->batch_deviation + p->epsilon);
}
