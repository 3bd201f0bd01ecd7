/* A model's weights with an adapter folder's added while they are read. */
#include <stdlib.h>
#include <string.h>

#include "io/peft.h"

struct merged {
    struct plumb_weights base;
    struct plumb_weight *tensor; /* the base's, then those that adapters alone have */
    struct plumb_peft peft;
    struct plumb_peft_entry *entry;
    int64_t entries;
    int64_t *of;   /* (count) the entry that changes a tensor (A of an adapter, or whole), or -1 */
    double *a, *b; /* of tensor `held`: the last one read */
    int64_t held;
    double factor;
};

static int64_t count_of(const struct plumb_peft_entry *e)
{
    return e->shape[0] * (e->rank == 2 ? e->shape[1] : 1);
}

static int load(const struct merged *m, const struct plumb_peft_entry *e, double **out)
{
    const struct plumb_weights *w = &m->peft.weights;
    free(*out);
    *out = malloc((size_t)count_of(e) * sizeof **out);
    if (!*out) return plumb_fail(PLUMB_EMEM, "could not allocate the adapters of \"%s\"", e->name);
    return w->read(w, plumb_weights_find(w, e->name), 0, count_of(e), *out);
}

/* out[i] += factor (B A) at element first + i of the file's matrix. */
static void add(const struct merged *m, const struct plumb_hf_tensor *t, bool transposed,
                int64_t first, int64_t n, double *out)
{
    const int64_t rank = m->peft.r, inputs = t->unit, columns = transposed ? t->rows : inputs;
    for (int64_t i = 0; i < n;) {
        const int64_t r = (first + i) / columns, c = (first + i) % columns;
        const int64_t run = columns - c < n - i ? columns - c : n - i;
        for (int64_t k = 0; k < rank; k++) {
            if (transposed) { /* rows of the file are inputs */
                const double a = m->factor * m->a[k * inputs + r];
                for (int64_t j = 0; j < run; j++)
                    out[i + j] += a * m->b[(c + j) * rank + k];
            } else {
                const double b = m->factor * m->b[r * rank + k];
                const double *a = m->a + k * inputs + c;
                for (int64_t j = 0; j < run; j++)
                    out[i + j] += b * a[j];
            }
        }
        i += run;
    }
}

static int read_merged(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n,
                       double *out)
{
    struct merged *m = w->self;
    const struct plumb_peft_entry *e = m->of[index] < 0 ? NULL : &m->entry[m->of[index]];
    const struct plumb_weights *own = &m->peft.weights;
    if (e && e->kind == PLUMB_PEFT_WHOLE)
        return own->read(own, plumb_weights_find(own, e->name), first, n, out);
    PLUMB_TRY(m->base.read(&m->base, index, first, n, out));
    if (!e) return PLUMB_OK;
    if (m->held != index) {
        m->held = -1;
        PLUMB_TRY(load(m, e, &m->a));
        PLUMB_TRY(load(m, e + 1, &m->b));
        m->held = index;
    }
    add(m, e->t, e->t->transposed && !m->tensor[index].turned, first, n, out);
    return PLUMB_OK;
}

static void release(struct plumb_weights *w)
{
    struct merged *m = w->self;
    plumb_weights_release(&m->base);
    plumb_peft_release(&m->peft);
    free(m->tensor);
    free(m->entry);
    free(m->of);
    free(m->a);
    free(m->b);
    free(m);
}

/* A tensor that the base lacks, a score head, is appended. */
static int64_t source_of(struct merged *m, struct plumb_hf_model *hf, struct plumb_weights *view,
                         const struct plumb_peft_entry *e)
{
    const int64_t k = e->t - hf->tensors;
    if (hf->source[k] >= 0) return hf->source[k];
    const struct plumb_weights *own = &m->peft.weights;
    m->tensor[view->count] = own->tensor[plumb_weights_find(own, e->name)];
    m->tensor[view->count].name = e->t->name;
    hf->score_missing = false;
    return hf->source[k] = view->count++;
}

static int link_entries(struct merged *m, struct plumb_hf_model *hf, double sign,
                        struct plumb_weights *view)
{
    const size_t most = (size_t)(m->base.count + m->entries) + 1;
    m->tensor = calloc(most, sizeof *m->tensor);
    m->of = malloc(most * sizeof *m->of);
    if (!m->tensor || !m->of) return plumb_fail(PLUMB_EMEM, "could not allocate merged tensors");
    memcpy(m->tensor, m->base.tensor, (size_t)m->base.count * sizeof *m->tensor);
    for (size_t i = 0; i < most; i++)
        m->of[i] = -1;
    for (int64_t i = 0; i < m->entries; i++) {
        const struct plumb_peft_entry *e = &m->entry[i];
        if (e->kind == PLUMB_PEFT_B) continue;
        if (e->kind == PLUMB_PEFT_WHOLE && sign < 0)
            return plumb_fail(PLUMB_ENOTSUP, "\"%s\" took the base's place: it cannot be taken off",
                              e->name);
        const int64_t source = source_of(m, hf, view, e);
        m->of[source] = i;
        m->tensor[source].quant = PLUMB_QUANT_NONE; /* no longer what the blocks say */
        if (e->kind == PLUMB_PEFT_WHOLE) m->tensor[source].turned = false;
    }
    return PLUMB_OK;
}

int plumb_peft_merge(struct plumb_hf_model *hf, const char *dir, double sign)
{
    struct merged *m = calloc(1, sizeof *m);
    int rc = PLUMB_OK;
    if (!m) return plumb_fail(PLUMB_EMEM, "could not allocate adapters");
    struct plumb_weights view = { .origin = hf->weights.origin,
                                  .count = hf->weights.count,
                                  .read = read_merged,
                                  .release = release,
                                  .self = m };
    m->held = -1;
    PLUMB_TRYG(plumb_peft_open(&m->peft, dir, hf));
    m->factor = sign * m->peft.lora.scale;
    PLUMB_TRYG(plumb_peft_entries(&m->peft, hf, &m->entry, &m->entries));
    m->base = hf->weights;
    rc = link_entries(m, hf, sign, &view);
    if (rc) m->base = (struct plumb_weights){ 0 }; /* still the model's */
out:
    if (rc) {
        release(&view);
        return rc;
    }
    view.tensor = m->tensor;
    hf->weights = view;
    return PLUMB_OK;
}
