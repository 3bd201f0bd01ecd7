/* What a pairwise formula sees: the numbers of one pair. A formula returns the pair's loss in nats
 * and sets the derivatives; a further input of a pair is a further field here, filled by the
 * shells. */
#pragma once
#include "kernels/scalar.h"

struct plumb_pair {          /* plumb_real only */
    plumb_real lw, ll;       /* log-prob sums of chosen and rejected under the policy, nats */
    plumb_real uw, ul;       /* their log-ratios against the reference, nats */
    plumb_real delta;        /* uw - ul, subtracted before rounding */
    plumb_real mean_delta;   /* uw / nw - ul / nl, subtracted before rounding */
    plumb_real anchor_delta; /* delta against the second anchor */
    plumb_real nw, nl;       /* completion lengths, tokens; an empty completion counts 1 */
    plumb_real kw, kl;       /* KLs of the sequences' positions, nats */
    plumb_real aot;          /* the batch's sorted difference of the pair's rank, from plumb_aot */
    plumb_real aot_w, aot_l; /* the same of the ranks of the chosen and the rejected side */
    plumb_real beta, label_smoothing;
    plumb_real margin; /* of this pair, in units of the loss's logit */
    plumb_real tw, tl; /* what chosen and rejected aim at; each formula says in what sense */
    plumb_real discopop_tau, gamma, alpha, lambda, shift, chosen_tokens;
};

struct plumb_pair_grad {
    plumb_real dw, dl;   /* d loss / d lw and d ll, through the log-ratios as well */
    plumb_real dkw, dkl; /* d loss / d kw and d kl; 0 unless set */
};

/* -(1 - e) log s(z) - e log s(-z), and its derivative by z. */
PLUMB_HD plumb_real plumb_pair_logistic(plumb_real z, plumb_real e, plumb_real *dz)
{
    *dz = e * plumb_sigmoid(z) - (1 - e) * plumb_sigmoid(-z);
    return (1 - e) * plumb_softplus(-z) + e * plumb_softplus(z);
}
