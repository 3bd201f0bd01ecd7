/* How much memory traffic an op may have in the counting run. The rule for all: at most 1.05 times
 * the least bytes of its table (what all rows share counted once), at least 98 % of the moved bytes
 * used, no bank conflicts. What misses it stands here with its reason. */
#pragma once
#include <plumb/base.h>
#include <string.h>

struct traffic_limit {
    const char *op;
    bool backward;
    double block, used, shared; /* at most, at least (percent), at most */
    const char *why;            /* NULL: the rule */
};

static inline const struct traffic_limit *traffic_limit_of(const char *op, bool backward)
{
    static const struct traffic_limit rule = { NULL, false, 1.05, 98, 1.0, NULL };
    static const struct traffic_limit exceptions[] = {
        { NULL, false, 0, 0, 0, NULL },
    };
    for (const struct traffic_limit *e = exceptions; e->op; e++)
        if (e->backward == backward && !strcmp(e->op, op)) return e;
    return &rule;
}
