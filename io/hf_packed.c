/* Which matrices of a file can stay in blocks, and their bytes. */
#include "io/hf_packed.h"

#include <stdlib.h>

#include "io/file.h"

static bool in_blocks(const struct plumb_hf_model *m, int64_t k)
{
    const struct plumb_hf_tensor *t = &m->tensors[k];
    const struct plumb_param *p = &m->params[t->param];
    const int64_t i = m->source[k];
    return p->layer >= 0 && p->decay && i >= 0 && m->weights.read_rows &&
           m->weights.tensor[i].quant != PLUMB_QUANT_NONE &&
           (!t->transposed || m->weights.tensor[i].turned);
}

/* A matrix with a part in plain numbers is kept in them as a whole. */
static void exclude(const struct plumb_hf_model *m, const int64_t *whole, int64_t whole_count,
                    bool *out)
{
    for (int64_t k = 0; k < m->tensor_count; k++)
        if (!in_blocks(m, k)) out[m->tensors[k].param] = true;
    for (int64_t i = 0; i < whole_count; i++)
        out[whole[i]] = true;
}

static void move_tensors(struct plumb_hf_model *m, const struct plumb_packed *k)
{
    for (int64_t i = 0; i < m->tensor_count; i++)
        m->tensors[i].offset -= m->params[m->tensors[i].param].offset;
    plumb_packed_leave_out(k, m->params, m->param_count, &m->elements);
    for (int64_t i = 0; i < m->tensor_count; i++)
        m->tensors[i].offset += m->params[m->tensors[i].param].offset;
}

int plumb_hf_packed_plan(struct plumb_hf_model *m, const int64_t *whole, int64_t whole_count,
                         struct plumb_packed *k)
{
    struct plumb_packed_part *part = calloc((size_t)m->tensor_count, sizeof *part);
    bool *out = calloc((size_t)m->param_count, sizeof *out);
    int rc = PLUMB_OK;
    *k = (struct plumb_packed){ .part = part };
    if (!part || !out) PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate a list of matrices"));
    exclude(m, whole, whole_count, out);
    for (int64_t i = 0; i < m->tensor_count; i++) {
        const struct plumb_hf_tensor *t = &m->tensors[i];
        if (out[t->param]) continue;
        const struct plumb_weight *w = &m->weights.tensor[m->source[i]];
        part[k->count++] = (struct plumb_packed_part){
            .param = t->param,
            .first = (t->offset - m->params[t->param].offset) / t->unit,
            .rows = t->rows,
            .type = w->quant,
            .row_bytes = (int64_t)w->bytes / t->rows,
            .offset = k->bytes,
        };
        k->bytes += (int64_t)w->bytes;
    }
    if (k->count == 0)
        PLUMB_TRYG(plumb_fail(PLUMB_ENOTSUP, "keep_quantized: \"%s\" has no matrix in blocks",
                              m->weights.origin));
    move_tensors(m, k);
out:
    free(out);
    if (rc) plumb_hf_packed_release(k);
    return rc;
}

void plumb_hf_packed_release(struct plumb_packed *k)
{
    free((void *)(uintptr_t)k->part);
    *k = (struct plumb_packed){ 0 };
}

/* GPT-NeoX keeps q, k and v head by head; in all other files rows stand as here. */
static int read_part(const struct plumb_hf_model *m, const struct plumb_hf_tensor *t,
                     int64_t source, const struct plumb_packed_part *p, char *out)
{
    if (!t->heads) return m->weights.read_rows(&m->weights, source, 0, p->rows, out);
    for (int64_t r = 0; r < p->rows; r++) {
        const int64_t row = (plumb_hf_place(t, r, 0) - t->offset) / t->unit;
        PLUMB_TRY(m->weights.read_rows(&m->weights, source, r, 1, out + row * p->row_bytes));
    }
    return PLUMB_OK;
}

int plumb_hf_packed_read(const struct plumb_hf_model *m, const struct plumb_packed *k, void *blocks)
{
    int64_t next = 0;
    for (int64_t i = 0; i < m->tensor_count && next < k->count; i++) {
        const struct plumb_hf_tensor *t = &m->tensors[i];
        const struct plumb_weight *w = &m->weights.tensor[m->source[i]];
        if (t->param != k->part[next].param) continue;
        PLUMB_TRY(
            read_part(m, t, m->source[i], &k->part[next], (char *)blocks + k->part[next].offset));
        plumb_map_forget(w->data, w->bytes);
        next++;
    }
    return PLUMB_OK;
}
