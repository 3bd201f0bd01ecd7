/* Native pairwise losses under an f-divergence: formulas in f64. */
#define PLUMB_PAIR_LINKED
#include "kernels/pairwise/pairwise_rows.h"

int PLUMB_CPU_FN(plumb_pairwise_linked_cpu)(const struct plumb_pairwise *a)
{
    return plumb_pair_rows(a);
}
