/* What the device is still at: micro-batches and steps that were launched, whose results the host
 * has not looked at. On cpu and ref everything is finished where it is launched. */
#pragma once
#include "algos/trainer.h"

/* The pushes of a micro-batch and a step beside the task's own; works on a counting arena. */
int plumb_pending_plan(struct plumb_arena *step, int64_t rows);
/* Launches a micro-batch, in a step arena with room for it. `m` is copied, its examples too;
 * *done, where wanted, is the copy, which holds the results once it is finished. */
int plumb_pending_micro(struct plumb_trainer *t, const struct plumb_micro *m,
                        const struct plumb_micro **done);
/* Launches the optimizer's step after its micro-batches. Rows [first, last) of the current order
 * are named should it fail. */
int plumb_pending_step(struct plumb_trainer *t, double lr, int64_t first, int64_t last);
/* Waits for the device and finishes what waits, in order: metrics, losses, hooks; a loss or a
 * gradient that is not finite is a failure here. */
int plumb_pending_finish(struct plumb_trainer *t);
/* While a micro-batch is being finished: whether its activations are still in the step arena, which
 * a later one would have taken over. */
bool plumb_pending_has_activations(const struct plumb_trainer *t);
