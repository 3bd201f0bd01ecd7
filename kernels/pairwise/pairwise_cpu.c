/* Native pairwise losses: sums and the weighting of terms in f64, formulas in f32, pairs in
 * parallel. Compiled once per instruction set. */
#include "kernels/pairwise/pairwise_rows.h"

int PLUMB_CPU_FN(plumb_pairwise_cpu)(const struct plumb_pairwise *a) { return plumb_pair_rows(a); }
