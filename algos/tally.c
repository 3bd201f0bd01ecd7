/* Running means by name. */
#include "algos/tally.h"

#include <math.h>
#include <string.h>

void plumb_tally_add(struct plumb_tally *t, const char *name, double value)
{
    plumb_tally_weigh(t, name, value, 1);
}

void plumb_tally_weigh(struct plumb_tally *t, const char *name, double value, double weight)
{
    int64_t i = 0;
    while (i < t->count && strncmp(t->name[i], name, sizeof t->name[i] - 1))
        i++;
    if (i == t->count) {
        PLUMB_ASSERT(t->count < PLUMB_TALLY_MOST);
        strncpy(t->name[t->count++], name, sizeof t->name[i] - 1);
    }
    if (isnan(value)) return;
    t->sum[i] += weight * value;
    t->weight[i] += weight;
}

int plumb_tally_means(const struct plumb_tally *t, struct plumb_metric *out)
{
    int n = 0;
    for (int64_t i = 0; i < t->count; i++)
        if (t->weight[i] > 0)
            out[n++] = (struct plumb_metric){ t->name[i], t->sum[i] / t->weight[i] };
    return n;
}

void plumb_tally_reset(struct plumb_tally *t)
{
    for (int64_t i = 0; i < t->count; i++)
        t->sum[i] = t->weight[i] = 0;
}
