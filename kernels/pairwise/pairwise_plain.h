/* Formula `id` in f32: item is a struct plumb_pair of doubles, grad a struct plumb_pair_grad. */
#pragma once

double plumb_pair_plain(int id, const double *item, double *grad);
