/* -lw / chosen_tokens, chosen_tokens = chosen tokens by pair: the mean over pairs is then the mean
 * over tokens. The likelihood term of TRL's dpo, CPO, SimPO and TPO. */
#pragma once
#include "kernels/pairwise/pair.h"

PLUMB_HD plumb_real plumb_pair_sft(const struct plumb_pair *p, struct plumb_pair_grad *g)
{
    g->dw = -1 / p->chosen_tokens;
    g->dl = 0;
    return p->lw * g->dw;
}
