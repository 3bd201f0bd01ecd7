/* Estimator `id` in f32: item is a struct plumb_kl_token of doubles, grad the struct of its
 * derivatives. */
#pragma once

double plumb_kl_plain(int id, const double *item, double *grad);
