/* LoRA adapters on a frozen model: their buffers, and what they add to its matrices. */
#pragma once
#include "runtime/linear.h"

/* Puts adapters on a model of kind FROZEN: what is trained from now on, as `kind` has it (FROZEN:
 * nothing). Their weights are undefined until plumb_adapters_start, or written through
 * plumb_model_trained. Works on a counting arena. */
int plumb_adapters_init(struct plumb_model *m, const struct plumb_lora *lora,
                        enum plumb_model_kind kind, struct plumb_arena *run);
/* Starting weights as PEFT has them: A uniform within 1 / sqrt(columns), B zero; what is trained
 * whole as in the base, whose weights must be there. */
int plumb_adapters_start(struct plumb_model *m, uint64_t seed);
/* The weights of another model's adapters of the same shape, in the compute dtype alone. */
int plumb_adapters_copy(struct plumb_model *m, const struct plumb_model *from);

/* y += the adapters' part of l; and with l->dy its gradients, l->dx += theirs. Nothing where
 * l->w has none. */
int plumb_adapters_fwd(const struct plumb_linear *l);
int plumb_adapters_bwd(const struct plumb_linear *l);
