/* The memory of a run: measured by a dry run over the declared budget, taken once, and told. */
#include <plumb/device.h>
#include <plumb/log.h>
#include <string.h>

#include "algos/pending.h"
#include "runtime/adapters.h"

/* Micro-batches that a device may be behind the host, for which results have room. */
enum { PENDING = 32 };

static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

static void raise(struct plumb_batch_size *to, const struct plumb_batch_size *z)
{
    to->tokens = max64(to->tokens, z->tokens);
    to->targets = max64(to->targets, z->targets);
    to->sequences = max64(to->sequences, z->sequences);
    to->segments = max64(to->segments, z->segments);
    to->longest = max64(to->longest, z->longest);
}

/* As many times the largest example as a micro-batch has rows bound every micro-batch. */
static int largest(const struct plumb_trainer *t, const struct plumb_dataset *d, int64_t rows,
                   struct plumb_batch_size *out)
{
    struct plumb_batch_size most = { 0 };
    struct plumb_batching mismatched = t->task->batching;
    mismatched.side = PLUMB_SIDE_KL;
    for (int64_t i = 0; i < d->count; i++) {
        struct plumb_example e;
        struct plumb_batch_size z = { 0 }, k = { 0 };
        PLUMB_TRY(d->get(d->self, i, &e));
        if (t->task->complete) PLUMB_TRY(t->task->complete(t->task, t, d, i, &e));
        plumb_batch_measure(&t->task->batching, &e, &z);
        if (e.kl_completion.n > 0) plumb_batch_measure(&mismatched, &e, &k);
        raise(&most, &z);
        raise(&most, &k);
    }
    const int64_t n = rows < d->count ? rows : d->count;
    if (n == 0) return PLUMB_OK;
    if (most.tokens > INT32_MAX / n)
        return plumb_fail(PLUMB_EMEM,
                          "%lld rows of up to %lld tokens are too large a batch: lower the batch "
                          "size or --max_length",
                          (long long)n, (long long)most.tokens);
    const struct plumb_batch_size all = { n * most.tokens, n * most.targets, n * most.sequences,
                                          n * most.segments, most.longest };
    raise(out, &all);
    return PLUMB_OK;
}

static int64_t row_count(const struct plumb_dataset *d) { return d ? d->count : 0; }

static int64_t most_rows(const struct plumb_trainer *t)
{
    int64_t n = t->train ? t->config->per_device_train_batch_size : 0;
    if (t->eval) n = max64(n, t->eval_batch);
    n = max64(n, t->precompute);
    const int64_t rows = max64(row_count(t->train), row_count(t->eval));
    return n < rows ? n : rows;
}

static int lay_out_state(struct plumb_trainer *t)
{
    const size_t bytes = (size_t)t->task->state_count * sizeof *t->task_state;
    void *p;
    PLUMB_TRY(plumb_arena_push_device(&t->run, bytes, &p));
    t->task_state = p;
    return p && bytes > 0 ? plumb_device_zero(&t->policy.dev, p, bytes) : PLUMB_OK;
}

/* The frozen model: a teacher, the policy's weights once more, or, with adapters, the same
 * memory without them. */
static int lay_out_ref(struct plumb_trainer *t, const struct plumb_model_config *model,
                       int64_t longest)
{
    const struct plumb_task *k = t->task;
    if (k->teacher || !k->lora)
        return plumb_model_init(&t->ref, k->teacher ? k->teacher : model, &t->policy.dev,
                                t->policy.prec.compute, PLUMB_MODEL_FROZEN, longest, &t->run);
    t->ref = t->policy;
    t->ref.adapters = (struct plumb_adapters){ 0 };
    return k->lora->given ? plumb_adapters_init(&t->ref, k->lora, PLUMB_MODEL_FROZEN, &t->run)
                          : PLUMB_OK;
}

/* Everything that lives as long as the run. */
static int lay_out(struct plumb_trainer *t, const struct plumb_model_config *model,
                   const struct plumb_device *dev, enum plumb_dtype compute, int64_t longest)
{
    const bool narrow = t->config->dtype == PLUMB_PRECISION_BF16;
    const enum plumb_model_kind kind = !t->train ? PLUMB_MODEL_FROZEN
                                       : narrow  ? PLUMB_MODEL_TRAINED_NARROW
                                                 : PLUMB_MODEL_TRAINED;
    const struct plumb_lora *lora = t->task->lora;
    if (t->task->packed)
        PLUMB_TRY(plumb_model_init_packed(&t->policy, model, t->task->packed, dev, compute, longest,
                                          &t->run));
    else
        PLUMB_TRY(plumb_model_init(&t->policy, model, dev, compute,
                                   lora ? PLUMB_MODEL_FROZEN : kind, longest, &t->run));
    t->policy.recompute = t->config->gradient_checkpointing;
    if (lora) PLUMB_TRY(plumb_adapters_init(&t->policy, lora, kind, &t->run));
    t->policy.adapters.seed = (uint64_t)t->config->seed;
    if (t->task->needs_ref && !t->precompute) PLUMB_TRY(lay_out_ref(t, model, longest));
    if (t->train) PLUMB_TRY(plumb_optimizer_init(&t->optimizer, &t->policy, &t->run));
    void *p;
    PLUMB_TRY(plumb_arena_push(&t->run, (size_t)row_count(t->train) * sizeof *t->order, &p));
    t->order = p;
    PLUMB_TRY(plumb_arena_push(&t->run, (size_t)most_rows(t) * sizeof *t->window, &p));
    t->window = p;
    PLUMB_TRY(lay_out_state(t));
    t->ref_logps = NULL;
    if (!t->precompute) return PLUMB_OK;
    const int64_t rows = row_count(t->train) + row_count(t->eval);
    PLUMB_TRY(plumb_arena_push(&t->run, (size_t)rows * 2 * sizeof *t->ref_logps, &p));
    t->ref_logps = p;
    return PLUMB_OK;
}

static double mib(size_t bytes) { return (double)bytes / 1048576.0; }

static void tell(const struct plumb_trainer *t, const struct plumb_batch_size *size)
{
    const size_t master = plumb_dtype_bytes(t->policy.prec.master);
    const size_t compute = plumb_dtype_bytes(t->policy.prec.compute);
    const struct plumb_model *m = &t->policy;
    const struct plumb_flat f = plumb_model_trained(m);
    const size_t n = (size_t)f.elements, frozen = t->task->lora ? (size_t)m->elements : 0;
    const bool copies = f.master.data && f.master.data != f.weights.data;
    const size_t weights = (size_t)m->packed.bytes + frozen * compute;
    const bool again = t->ref.weights.data && t->ref.weights.data != m->weights.data;
    const size_t others = (size_t)(again ? t->ref.elements : t->ref.adapters.flat.elements);
    char where[256];
    plumb_device_describe(&m->dev, where, sizeof where);
    plumb_log(
        PLUMB_LOG_INFO,
        "memory plan: weights %.1f MiB, reference %.1f, gradients %.1f, moments %.1f, step at most "
        "%.1f (%lld tokens, %lld targets); %s, %s",
        mib(weights + n * (compute + (copies ? master : 0))), mib(others * compute),
        mib(f.grad.data ? n * master : 0), mib(t->optimizer.m.data ? 2 * n * master : 0),
        mib(t->step.device.capacity ? t->step.device.capacity : t->step.capacity),
        (long long)size->tokens, (long long)size->targets, plumb_dtype_name(t->policy.prec.compute),
        where);
}

int plumb_trainer_lay_out(struct plumb_trainer *t, const struct plumb_model_config *model,
                          const struct plumb_device *dev, enum plumb_dtype compute)
{
    struct plumb_batch_size size = { 0 };
    const int64_t batch = t->config->per_device_train_batch_size;
    if (t->train) PLUMB_TRY(largest(t, t->train, max64(batch, t->precompute), &size));
    if (t->eval) PLUMB_TRY(largest(t, t->eval, max64(t->eval_batch, t->precompute), &size));
    plumb_arena_init_counting_on(&t->run, "run", dev);
    PLUMB_TRY(lay_out(t, model, dev, compute, size.longest));
    PLUMB_TRY(plumb_arena_init_like(&t->run, &t->run, 1));
    PLUMB_TRY(lay_out(t, model, dev, compute, size.longest));
    plumb_arena_init_counting_on(&t->step, "step", dev);
    PLUMB_TRY(plumb_pending_plan(&t->step, most_rows(t)));
    PLUMB_TRY(t->task->plan(t->task, t, &size, &t->step));
    t->micro_bytes = t->step.peak;
    PLUMB_TRY(plumb_arena_init_like(&t->step, &t->step, PENDING));
    tell(t, &size);
    return PLUMB_OK;
}
