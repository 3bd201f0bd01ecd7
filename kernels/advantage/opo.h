/* reward - weighted mean. */
#pragma once
#include "kernels/advantage/member.h"

PLUMB_HD plumb_real plumb_member_opo(const struct plumb_member *p) { return p->off_weighted; }
