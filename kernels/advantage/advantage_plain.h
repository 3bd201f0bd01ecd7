/* Formula `id` in f32: item is a struct plumb_member of doubles, grad room for one. */
#pragma once

double plumb_member_plain(int id, const double *item, double *grad);
