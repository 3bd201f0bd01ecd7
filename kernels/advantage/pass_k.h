/* reward - second best for the best of a group, else 0. */
#pragma once
#include "kernels/advantage/member.h"

PLUMB_HD plumb_real plumb_member_pass_k(const struct plumb_member *p) { return p->ahead; }
