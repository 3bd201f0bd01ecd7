/* The memory of a run: measured by a dry run over the declared budget, taken once, and told. */
#include <plumb/log.h>
#include <string.h>

#include "algos/trainer.h"

/* The `count` largest examples of a set bound every micro-batch. */
static int largest(const struct plumb_task *task, const struct plumb_dataset *d, int64_t count,
                   struct plumb_batch_size *out)
{
    struct plumb_batch_size one = { 0 };
    for (int64_t i = 0; i < d->count; i++) {
        struct plumb_example e;
        struct plumb_batch_size z = { 0 };
        PLUMB_TRY(d->get(d->self, i, &e));
        plumb_batch_measure(&task->batching, &e, &z);
        if (z.tokens > one.tokens) one.tokens = z.tokens;
        if (z.targets > one.targets) one.targets = z.targets;
        if (z.sequences > one.sequences) one.sequences = z.sequences;
        if (z.segments > one.segments) one.segments = z.segments;
        if (z.longest > one.longest) one.longest = z.longest;
    }
    const struct plumb_batch_size all = { count * one.tokens, count * one.targets,
                                          count * one.sequences, count * one.segments,
                                          one.longest };
    if (all.tokens > out->tokens) out->tokens = all.tokens;
    if (all.targets > out->targets) out->targets = all.targets;
    if (all.sequences > out->sequences) out->sequences = all.sequences;
    if (all.segments > out->segments) out->segments = all.segments;
    if (all.longest > out->longest) out->longest = all.longest;
    return PLUMB_OK;
}

/* Everything that lives as long as the run. */
static int lay_out(struct plumb_trainer *t, const struct plumb_model_config *model,
                   const struct plumb_device *dev, enum plumb_dtype compute, int64_t longest)
{
    const bool narrow = t->config->dtype == PLUMB_PRECISION_BF16;
    const enum plumb_model_kind kind = narrow ? PLUMB_MODEL_TRAINED_NARROW : PLUMB_MODEL_TRAINED;
    PLUMB_TRY(plumb_model_init(&t->policy, model, dev, compute, kind, longest, &t->run));
    t->policy.recompute = t->config->gradient_checkpointing;
    if (t->task->needs_ref && !t->precompute)
        PLUMB_TRY(
            plumb_model_init(&t->ref, model, dev, compute, PLUMB_MODEL_FROZEN, longest, &t->run));
    PLUMB_TRY(plumb_optimizer_init(&t->optimizer, &t->policy, &t->run));
    void *p;
    PLUMB_TRY(plumb_arena_push(&t->run, (size_t)t->train->count * sizeof *t->order, &p));
    t->order = p;
    const int64_t batch = t->config->per_device_train_batch_size;
    const int64_t window = batch > t->eval_batch ? batch : t->eval_batch;
    PLUMB_TRY(plumb_arena_push(&t->run, (size_t)window * sizeof *t->window, &p));
    t->window = p;
    t->ref_logps = NULL;
    if (!t->precompute) return PLUMB_OK;
    const int64_t rows = t->train->count + (t->eval ? t->eval->count : 0);
    PLUMB_TRY(plumb_arena_push(&t->run, (size_t)rows * 2 * sizeof *t->ref_logps, &p));
    t->ref_logps = p;
    return PLUMB_OK;
}

static double mib(size_t bytes) { return (double)bytes / 1048576.0; }

static void tell(const struct plumb_trainer *t, const struct plumb_batch_size *size)
{
    const size_t master = plumb_dtype_bytes(t->policy.prec.master);
    const size_t compute = plumb_dtype_bytes(t->policy.prec.compute);
    const size_t n = (size_t)t->policy.elements;
    const bool copies = t->policy.prec.compute != t->policy.prec.master;
    plumb_log(
        PLUMB_LOG_INFO,
        "memory plan: weights %.1f MiB, reference %.1f, gradients %.1f, moments %.1f, step at most "
        "%.1f (%lld tokens, %lld targets); %s, %s",
        mib(n * (master + (copies ? compute : 0))), t->ref.weights.data ? mib(n * compute) : 0.0,
        mib(n * master), mib(2 * n * master), mib(t->step.capacity), (long long)size->tokens,
        (long long)size->targets, plumb_dtype_name(t->policy.prec.compute),
        t->policy.dev.kind == PLUMB_DEV_REF ? "reference loops" : plumb_isa_name(plumb_cpu_isa()));
}

int plumb_trainer_lay_out(struct plumb_trainer *t, const struct plumb_model_config *model,
                          const struct plumb_device *dev, enum plumb_dtype compute)
{
    struct plumb_batch_size size = { 0 };
    PLUMB_TRY(largest(t->task, t->train, t->config->per_device_train_batch_size, &size));
    if (t->eval) PLUMB_TRY(largest(t->task, t->eval, t->eval_batch, &size));
    plumb_arena_init_counting(&t->run, "run");
    PLUMB_TRY(lay_out(t, model, dev, compute, size.longest));
    PLUMB_TRY(plumb_arena_init(&t->run, "run", t->run.peak));
    PLUMB_TRY(lay_out(t, model, dev, compute, size.longest));
    plumb_arena_init_counting(&t->step, "step");
    PLUMB_TRY(t->task->plan(t->task, t, &size, &t->step));
    PLUMB_TRY(plumb_arena_init(&t->step, "step", t->step.peak));
    tell(t, &size);
    return PLUMB_OK;
}
