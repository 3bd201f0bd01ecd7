/* Formula `id` in f32: item is a struct plumb_token of doubles, grad the struct of its
 * derivative. */
#pragma once

double plumb_token_plain(int id, const double *item, double *grad);
