/* Formula `id` in f32: item is a struct plumb_rating of doubles, grad the struct of its
 * derivative. */
#pragma once

double plumb_rating_plain(int id, const double *item, double *grad);
