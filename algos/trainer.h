/* The training loop that every offline trainer shares: order of rows, micro-batches, optimizer
 * steps, schedule, logging, evaluation, checkpoints. What is particular to an algorithm is a
 * task. */
#pragma once
#include <plumb/arena.h>
#include <plumb/dataset.h>
#include <plumb/sink.h>

#include "algos/batching.h"
#include "algos/config.h"
#include "algos/tally.h"
#include "runtime/model.h"
#include "runtime/optimizer.h"

struct plumb_trainer;

/* One micro-batch of a task. */
struct plumb_micro {
    const struct plumb_example *e; /* (count) */
    int64_t count;
    int64_t step;              /* that it is part of, or that it is an evaluation after */
    double divisor;            /* of the whole step: pairs, rows or trained tokens */
    bool train;                /* else evaluation: no gradients */
    struct plumb_tally *tally; /* metrics are added here */
    double loss;               /* out: sum of losses / divisor */
    /* out, (sequences) each, host memory in the step arena; absent where the task has none */
    struct plumb_tensor logps, ref_logps, kl_logps, ref_kl_logps;
};

/* What an algorithm adds to the loop. */
struct plumb_task {
    const char *name; /* of the command: "dpo" */
    bool needs_ref;   /* a frozen copy of the starting model, or */
    const struct plumb_model_config *teacher; /* a frozen model of this shape, whose weights the
                                               * caller fills; NULL = the copy */
    const struct plumb_lora *lora; /* adapters, trained in place of the weights; the starting model
                                    * is then the same weights with the adapters off, or with
                                    * those given. NULL = all weights are trained */
    const struct plumb_packed *packed; /* with lora: matrices of the base that stay in blocks, which
                                        * the caller fills; NULL = none */
    struct plumb_batching batching;
    /* Share of the step's divisor that an example brings: 1 for a pair, its trained tokens for
     * SFT. */
    double (*weight)(const struct plumb_task *t, const struct plumb_example *e);
    /* Fills in what depends on other rows (KTO's mismatched completion); NULL = nothing. */
    int (*complete)(const struct plumb_task *t, const struct plumb_trainer *tr,
                    const struct plumb_dataset *d, int64_t index, struct plumb_example *e);
    /* Step-arena use of a micro-batch of at most this size; the same pushes as `micro`. */
    int (*plan)(const struct plumb_task *t, const struct plumb_trainer *tr,
                const struct plumb_batch_size *size, struct plumb_arena *step);
    /* Forward, loss and, in training, backward; *work is what `finish` needs, in the step arena.
     * Waits for nothing: results are on their way to the host when it returns. */
    int (*micro)(const struct plumb_task *t, struct plumb_trainer *tr, const struct plumb_micro *m,
                 void **work);
    /* When they are there: the loss, the outputs of m and its metrics. Micro-batches are finished
     * in order, on cpu and ref at once. */
    int (*finish)(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_micro *m,
                  void *work);
    /* Reference log-probs of m's rows by the policy as it stands, into e->ref_logps; NULL = the
     * task has none. */
    int (*precompute)(const struct plumb_task *t, struct plumb_trainer *tr, struct plumb_example *e,
                      int64_t count);
    int64_t state_count; /* numbers that it keeps from step to step: plumb_trainer.task_state */
    const void *options; /* the task's config struct */
};

/* Plain data that a checkpoint stores. */
struct plumb_train_state {
    int64_t step; /* optimizer steps done */
    int64_t num_tokens;
    double grad_norm; /* of the last step */
    double loss_sum;  /* over the steps since the last log line */
    int64_t loss_steps;
    double loss_total; /* over all steps */
    double best_metric;
    int64_t best_step; /* a step with a checkpoint; 0 = none */
    struct plumb_tally tally;
};

struct plumb_blob {
    const char *name;
    void *data;
    enum plumb_dtype dtype;
    int64_t count;
    bool on_device; /* data lies in the policy's device's memory, else the host's */
};
#define PLUMB_TRAINER_BLOBS 5

struct plumb_pending; /* algos/pending.h */

/* Calls to the outside; any may be NULL. */
struct plumb_trainer_hooks {
    void *self;
    int (*save)(void *self, const struct plumb_trainer *t); /* a checkpoint of this moment */
    int (*load_weights)(void *self, struct plumb_trainer *t,
                        int64_t step); /* of an earlier checkpoint */
    bool (*stop)(void *self);          /* true: save and stop after this step */
    int (*before_step)(void *self,
                       const struct plumb_trainer *t); /* these three: for tests to look on */
    int (*after_step)(void *self, const struct plumb_trainer *t);
    int (*after_micro)(void *self, const struct plumb_trainer *t, const struct plumb_micro *m);
};

struct plumb_trainer {
    const struct plumb_train_config *config;
    const struct plumb_task *task;
    struct plumb_sink sink;
    struct plumb_trainer_hooks hooks;
    struct plumb_schedule schedule;
    const struct plumb_dataset *train, *eval; /* either may be NULL */
    struct plumb_model policy, ref;
    struct plumb_optimizer optimizer;
    struct plumb_arena run, step;
    struct plumb_train_state state;
    int64_t total_steps, steps_per_epoch, eval_batch;
    int64_t *order; /* (train->count) of epoch order_epoch */
    int64_t order_epoch;
    struct plumb_example *window; /* (batch size) */
    double *task_state; /* (task->state_count) in the device's memory, zeros at the start; part of
                         * a checkpoint */
    int64_t precompute; /* > 0: reference log-probs once, this many rows at a time, before the first
                         * step */
    double *ref_logps;  /* (train rows then evaluation rows, 2); NULL = not precomputed */
    double log_seconds; /* clock at the last log line, later by what was no training; tokens then */
    int64_t log_tokens;
    double step_loss; /* of the last step that is finished */
    double loss_so_far; /* of the step whose micro-batches are being finished */
    struct plumb_pending *waiting, **waiting_end; /* launched, not finished */
    size_t micro_bytes; /* of the step arena's host side that a micro-batch takes at most */
    bool stopped;     /* by the stop hook */
};

/* Computes the length of the run, measures the data, lays out memory and says so. The policy's
 * weights (master) are undefined: fill them, and its adapters', then call
 * plumb_trainer_weights_ready. With
 * `precompute` > 0 a task that needs a reference model keeps its log-probs instead
 * (plumb_trainer_precompute), computed for that many rows at a time. Without training
 * rows (NULL) the trainer only evaluates: it has no gradients, no optimizer and no master weights.
 * Release also after failure. */
int plumb_trainer_init(struct plumb_trainer *t, const struct plumb_train_config *config,
                       const struct plumb_task *task, const struct plumb_model_config *model,
                       const struct plumb_dataset *train, const struct plumb_dataset *eval,
                       const struct plumb_device *dev, enum plumb_dtype compute,
                       int64_t precompute);
/* Rounds the weights to the compute dtype and copies them to the reference model. */
int plumb_trainer_weights_ready(struct plumb_trainer *t);
/* With `precompute`: the starting model's log-probs of every row. Not after a restore, which
 * brings them. Fails with PLUMB_EINTR when the stop hook says so: nothing is worth a checkpoint
 * yet. */
int plumb_trainer_precompute(struct plumb_trainer *t);
void plumb_trainer_release(struct plumb_trainer *t);
/* Sizes and takes the arenas (part of plumb_trainer_init). */
int plumb_trainer_lay_out(struct plumb_trainer *t, const struct plumb_model_config *model,
                          const struct plumb_device *dev, enum plumb_dtype compute);
/* From state.step to the end of the run, or until the stop hook says so. Each logged window gives
 * the sink one line; as in transformers a last, shorter window gives none, but the last step gives
 * a line with train_loss, the mean over all steps, and is evaluated wherever eval_strategy is not
 * no. */
int plumb_trainer_run(struct plumb_trainer *t);
/* Mean loss and metrics over `d` (the evaluation set, or no larger rows than it), names with prefix
 * "eval_", into *out (plain tally). In a training run metrics are means of the batches' and the
 * loss is weighed by rows, as in TRL; a trainer that only evaluates weighs both by what the loss
 * divides by, pairs or trained tokens, so that the batch size changes nothing. */
int plumb_trainer_evaluate(struct plumb_trainer *t, const struct plumb_dataset *d,
                           struct plumb_tally *out);
/* The buffers beside the weights that make up a checkpoint: moments, state, precomputed
 * reference log-probs. Returns how many. Data may be written to restore, followed by
 * plumb_trainer_restored; the run then goes on at state.step. */
int plumb_trainer_blobs(struct plumb_trainer *t, struct plumb_blob out[PLUMB_TRAINER_BLOBS]);
/* Fails with PLUMB_EFORMAT on a state that no trainer can have left; it must not be used then. */
int plumb_trainer_restored(const struct plumb_trainer *t);
