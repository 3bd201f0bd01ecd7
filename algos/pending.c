/* Launched, then finished in order. */
#include "algos/pending.h"

#include <plumb/device.h>
#include <stdio.h>
#include <string.h>

#include "runtime/transfer.h"

struct plumb_pending {
    struct plumb_pending *next;
    struct plumb_micro m; /* a micro-batch, or */
    void *work;
    struct plumb_optimizer_verdict *verdict; /* a step's, host memory; NULL = a micro-batch */
    int64_t step, first, last;               /* the step (from 1) and its rows */
};

static int push(struct plumb_trainer *t, struct plumb_pending **out)
{
    void *p;
    PLUMB_TRY(plumb_arena_push(&t->step, sizeof **out, &p));
    *out = p;
    **out = (struct plumb_pending){ 0 };
    return PLUMB_OK;
}

static void wait_for(struct plumb_trainer *t, struct plumb_pending *p)
{
    if (!t->waiting) t->waiting_end = &t->waiting;
    *t->waiting_end = p;
    t->waiting_end = &p->next;
}

int plumb_pending_plan(struct plumb_arena *step, int64_t rows)
{
    void *p;
    PLUMB_TRY(plumb_arena_push(step, sizeof(struct plumb_pending), &p));
    PLUMB_TRY(plumb_arena_push(step, (size_t)rows * sizeof(struct plumb_example), &p));
    PLUMB_TRY(plumb_arena_push(step, sizeof(struct plumb_pending), &p));
    return plumb_arena_push(step, sizeof(struct plumb_optimizer_verdict), &p);
}

/* Room for one more micro-batch: the device's side is free as soon as the stream comes to it, the
 * host's only when nothing waits. */
static int make_room(struct plumb_trainer *t)
{
    plumb_arena_reset_queued(&t->step, (struct plumb_mark){ 0 });
    if (t->step.used + t->micro_bytes <= t->step.capacity) return PLUMB_OK;
    PLUMB_TRY(plumb_pending_finish(t));
    plumb_arena_empty(&t->step);
    return PLUMB_OK;
}

int plumb_pending_micro(struct plumb_trainer *t, const struct plumb_micro *m,
                        const struct plumb_micro **done)
{
    struct plumb_pending *p;
    void *examples;
    PLUMB_TRY(make_room(t));
    PLUMB_TRY(push(t, &p));
    PLUMB_TRY(plumb_arena_push(&t->step, (size_t)m->count * sizeof *m->e, &examples));
    memcpy(examples, m->e, (size_t)m->count * sizeof *m->e);
    p->m = *m;
    p->m.e = examples;
    PLUMB_TRY(t->task->micro(t->task, t, &p->m, &p->work));
    wait_for(t, p);
    if (done) *done = &p->m;
    return plumb_device_is_host(&t->policy.dev) ? plumb_pending_finish(t) : PLUMB_OK;
}

int plumb_pending_step(struct plumb_trainer *t, double lr, int64_t first, int64_t last)
{
    struct plumb_pending *p;
    const struct plumb_device *dev = &t->policy.dev;
    void *verdict = t->optimizer.verdict;
    PLUMB_TRY(push(t, &p));
    if (!plumb_device_is_host(dev))
        PLUMB_TRY(plumb_arena_push(&t->step, sizeof *p->verdict, &verdict));
    p->verdict = verdict;
    p->step = t->state.step + 1;
    p->first = first;
    p->last = last;
    PLUMB_TRY(plumb_optimizer_step(&t->optimizer, &t->policy, p->step, lr));
    PLUMB_TRY(plumb_device_download_later(dev, verdict, t->optimizer.verdict, sizeof *p->verdict));
    wait_for(t, p);
    return plumb_device_is_host(dev) ? plumb_pending_finish(t) : PLUMB_OK;
}

static int64_t tokens_of(const struct plumb_batching *o, const struct plumb_micro *m)
{
    const int sides = o->third == PLUMB_THIRD_COMPLETION ? 3 : 2;
    int64_t n = 0;
    for (int64_t i = 0; i < m->count; i++) {
        for (int64_t k = 0; k < m->e[i].candidates; k++)
            n += m->e[i].prompt.n + m->e[i].candidate[k].n;
        for (int s = 0; s < (m->e[i].candidates > 0 ? 0 : sides); s++)
            if (s == 0 || m->e[i].completion[s].n > 0)
                n += m->e[i].prompt.n + m->e[i].completion[s].n;
    }
    return n;
}

static int finish_micro(struct plumb_trainer *t, struct plumb_pending *p)
{
    PLUMB_TRY(t->task->finish(t->task, t, &p->m, p->work));
    if (t->hooks.after_micro) PLUMB_TRY(t->hooks.after_micro(t->hooks.self, t, &p->m));
    if (!p->m.train) return PLUMB_OK;
    t->loss_so_far += p->m.loss;
    t->state.num_tokens += tokens_of(&t->task->batching, &p->m);
    return PLUMB_OK;
}

/* Puts the step's data rows before the text of a fault. */
static int name_rows(const struct plumb_trainer *t, const struct plumb_pending *p, int rc)
{
    char text[160];
    size_t used = 0;
    for (int64_t i = p->first; i < p->last && used < sizeof text - 24; i++) {
        struct plumb_example e;
        PLUMB_TRY(t->train->get(t->train->self, t->order[i], &e));
        const char *between = i == p->first ? "" : i + 1 == p->last ? " and " : ", ";
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", between,
                                 (long long)e.row);
        if (used >= sizeof text - 24) snprintf(text + used, sizeof text - used, ", ...");
    }
    return plumb_fail_while(rc, "data rows %s", text);
}

static int finish_step(struct plumb_trainer *t, const struct plumb_pending *p)
{
    const int rc = plumb_optimizer_check(&t->policy, p->step, p->verdict);
    if (rc) return name_rows(t, p, rc);
    t->state.grad_norm = p->verdict->norm;
    t->step_loss = t->loss_so_far;
    t->loss_so_far = 0;
    t->state.loss_sum += t->step_loss;
    t->state.loss_total += t->step_loss;
    t->state.loss_steps++;
    return PLUMB_OK;
}

bool plumb_pending_has_activations(const struct plumb_trainer *t)
{
    for (const struct plumb_pending *p = t->waiting; p; p = p->next)
        if (!p->verdict) return false;
    return true;
}

int plumb_pending_finish(struct plumb_trainer *t)
{
    if (!t->waiting) return PLUMB_OK;
    PLUMB_TRY(plumb_device_sync(&t->policy.dev));
    while (t->waiting) {
        struct plumb_pending *p = t->waiting;
        t->waiting = p->next;
        PLUMB_TRY(p->verdict ? finish_step(t, p) : finish_micro(t, p));
    }
    return PLUMB_OK;
}
