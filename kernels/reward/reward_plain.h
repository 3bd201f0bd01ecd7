/* Formula `id` in f32: item is a struct plumb_scores of doubles, grad the struct of its
 * derivatives. */
#pragma once

double plumb_scores_plain(int id, const double *item, double *grad);
