/* (reward - mean) times all rewards over those that are not 0. */
#pragma once
#include "kernels/advantage/member.h"

PLUMB_HD plumb_real plumb_member_gpg(const struct plumb_member *p)
{
    return p->batch_per_filled * p->centred;
}
