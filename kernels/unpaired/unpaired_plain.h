/* Formula `id` in f32: item is a struct plumb_completion of doubles, grad the struct of its
 * derivatives. */
#pragma once

double plumb_completion_plain(int id, const double *item, double *grad);
