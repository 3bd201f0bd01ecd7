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
