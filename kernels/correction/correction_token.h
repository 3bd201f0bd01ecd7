/* The statistic of one token for a correction: what its row's is the mean or the sum of. */
#pragma once
#include "kernels/scalar.h"

#include <plumb/correction.h>

/* x within [1e-6, 1 - 1e-6]. */
PLUMB_HD plumb_real plumb_correction_inside(plumb_real x)
{
    const plumb_real least = PLUMB_R(1e-6), most = 1 - least;
    return x < least ? least : x > most ? most : x;
}

/* p ln(p/q) + (1-p) ln((1-p)/(1-q)) of two log-probs. */
PLUMB_HD plumb_real plumb_correction_binary_kl(plumb_real lp, plumb_real lq)
{
    const plumb_real p = plumb_correction_inside(plumb_exp(lp));
    const plumb_real q = plumb_correction_inside(plumb_exp(lq));
    const plumb_real not_p = plumb_correction_inside(-plumb_expm1(lp));
    const plumb_real not_q = plumb_correction_inside(-plumb_expm1(lq));
    return p * plumb_log(p / q) + not_p * plumb_log(not_p / not_q);
}

/* lq: trainer's log-prob, lp: the sampler's. RATIO: its log. */
PLUMB_HD plumb_real plumb_correction_statistic(int gate, plumb_real lq, plumb_real lp)
{
    const plumb_real x = plumb_finite(lq - lp);
    switch (gate) {
    case PLUMB_GATE_RATIO: return x;
    case PLUMB_GATE_BINARY_KL: return plumb_correction_binary_kl(lp, lq);
    case PLUMB_GATE_TV:
        return plumb_abs(plumb_correction_inside(plumb_exp(lp)) -
                         plumb_correction_inside(plumb_exp(lq)));
    case PLUMB_GATE_K1: return -x;
    case PLUMB_GATE_K3: return plumb_expm1_less_x(x);
    }
    return 0;
}
