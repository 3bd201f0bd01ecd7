/* Formula `id` in f32: item is a struct plumb_policy_token of doubles, grad the struct of its
 * derivatives. */
#pragma once

double plumb_policy_plain(int id, const double *item, double *grad);
