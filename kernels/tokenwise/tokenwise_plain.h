/* Formula `id` in f32: item is a struct plumb_graded of doubles, grad a struct
 * plumb_graded_grad. */
#pragma once

double plumb_graded_plain(int id, const double *item, double *grad);
