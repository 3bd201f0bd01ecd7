/* Formula `id` in f32: item is a struct plumb_chance of doubles, grad the struct of its
 * derivative. */
#pragma once

double plumb_chance_plain(int id, const double *item, double *grad);
