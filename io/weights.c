/* Named tensors: lookup and messages. */
#include "io/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *key, const void *element)
{
    return strcmp(key, ((const struct plumb_weight *)element)->name);
}

int64_t plumb_weights_find(const struct plumb_weights *w, const char *name)
{
    if (w->count == 0) return -1;
    const struct plumb_weight *t = bsearch(name, w->tensor, (size_t)w->count, sizeof *w->tensor,
                                           by_name);
    return t ? t - w->tensor : -1;
}

void plumb_weights_release(struct plumb_weights *w)
{
    if (w->release) w->release(w);
    *w = (struct plumb_weights){ 0 };
}

int plumb_turned_read(struct plumb_turned *t, const struct plumb_weights *w, int64_t index,
                      int64_t first, int64_t n, double *out)
{
    const struct plumb_weight *m = &w->tensor[index];
    PLUMB_ASSERT(m->rank == 2);
    if (t->held != index) {
        t->held = -1;
        double *larger = realloc(t->x, (size_t)m->count * sizeof *larger);
        if (!larger)
            return plumb_fail(PLUMB_EMEM, "could not allocate the %lld numbers of \"%s\"",
                              (long long)m->count, m->name);
        t->x = larger;
        PLUMB_TRY(w->read(w, index, 0, m->count, t->x));
        t->held = index;
    }
    const int64_t rows = m->shape[0], columns = m->shape[1];
    for (int64_t i = 0; i < n; i++)
        out[i] = t->x[(first + i) % rows * columns + (first + i) / rows];
    return PLUMB_OK;
}

const char *plumb_shape_text(const int64_t *shape, int rank, char *out, size_t n)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i <= rank && used < n; i++) {
        const int wrote = i == rank ? snprintf(out + used, n - used, "%s]", rank ? "" : "[")
                                    : snprintf(out + used, n - used, "%s%lld", i ? ", " : "[",
                                               (long long)shape[i]);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    return out;
}
