/* The error in f32: item is a struct plumb_value_token of doubles, grad the struct of its
 * derivatives. */
#pragma once

double plumb_value_plain(int id, const double *item, double *grad);
