/* What the native code and the device's share of selections: keys as integers of the same order,
 * found digit by digit from the largest down. */
#pragma once
#include <string.h>

#include "kernels/philox.h"
#include "kernels/scalar.h"

/* Digits of a key, then of its index: ties are taken in the order of their indices. */
enum { PLUMB_SELECT_STAGES = 6, PLUMB_SELECT_KEY_STAGES = 3, PLUMB_SELECT_BINS = 2048 };

PLUMB_HD int plumb_select_shift(int stage)
{
    const int digit = stage % PLUMB_SELECT_KEY_STAGES;
    return digit == 0 ? 21 : digit == 1 ? 10 : 0;
}

/* The bits of a value that the stages before this one have settled. */
PLUMB_HD uint32_t plumb_select_known(int stage)
{
    const int digit = stage % PLUMB_SELECT_KEY_STAGES;
    return digit == 0 ? 0 : digit == 1 ? ~0u << 21 : ~0u << 10;
}

PLUMB_HD uint32_t plumb_select_digit(uint32_t value, int stage)
{
    const uint32_t last = stage % PLUMB_SELECT_KEY_STAGES == 2 ? 1023 : 2047;
    return value >> plumb_select_shift(stage) & last;
}

/* Larger keys, larger integers; both zeros are one. */
PLUMB_HD uint32_t plumb_select_order(float key)
{
    const float x = key == 0 ? 0.0f : key;
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u >> 31 ? ~u : u | 0x80000000u;
}

PLUMB_HD float plumb_select_key(uint32_t order)
{
    const uint32_t u = order >> 31 ? order & 0x7fffffffu : ~order;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* How far a selection has come. Zeroed before. */
struct plumb_select_state {
    int64_t counted, nan; /* tokens that count; of them without an order */
    int64_t want;         /* how many of the largest that match `value` are still to be found */
    int64_t above, equal; /* keys larger than the last one selected; equal to it */
    int64_t take;         /* how many of the equal ones are selected */
    double rank;          /* of the quantile, from the smallest on */
    uint32_t value;       /* settled digits of the key, then of the index */
    uint32_t key;         /* the last one selected */
    uint32_t next;        /* the smallest above it */
    uint32_t last;        /* equal keys are selected up to this index */
    int32_t none;         /* nothing is selected */
};

struct plumb_select_options {
    int64_t M;
    bool top, drop;
    double quantile, share;
};

/* How many of the largest keys are wanted, once they are counted; `orderly` are those that may be
 * selected. */
PLUMB_HD void plumb_select_begin(const struct plumb_select_options *o, int64_t orderly,
                                 struct plumb_select_state *s)
{
    if (o->top) {
        const int64_t share = (int64_t)(o->share * (double)s->counted);
        s->want = share > 1 ? share : 1;
        if (s->want > orderly) s->want = orderly;
    } else {
        s->rank = o->quantile * (double)(s->counted - 1);
        s->want = s->counted - (int64_t)s->rank;
    }
    s->next = ~0u;
    s->none = orderly == 0;
}

/* The digit of this stage is found: `above` of its matches have a larger one, `equal` this one. */
PLUMB_HD void plumb_select_settle(int stage, uint32_t digit, int64_t above, int64_t equal,
                                  struct plumb_select_state *s)
{
    s->want -= above;
    s->value |= digit << plumb_select_shift(stage);
    if (stage < PLUMB_SELECT_KEY_STAGES) s->above += above, s->equal = equal;
    if (stage == PLUMB_SELECT_KEY_STAGES - 1)
        s->key = s->value, s->value = 0, s->take = s->want, s->last = ~0u;
    if (stage == PLUMB_SELECT_STAGES - 1) s->last = ~s->value;
}

/* Whether the stages of the index have nothing to decide: all equal keys are selected. */
PLUMB_HD bool plumb_select_settled(int stage, const struct plumb_select_state *s)
{
    return s->none || (stage >= PLUMB_SELECT_KEY_STAGES && s->take == s->equal);
}

/* What a stage sorts token `i` by; false when it is out. */
PLUMB_HD bool plumb_select_match(const struct plumb_select_options *o, int stage,
                                 const struct plumb_select_state *s, float key, int64_t i,
                                 uint32_t *value)
{
    const bool index = stage >= PLUMB_SELECT_KEY_STAGES;
    const uint32_t order = plumb_select_order(key);
    *value = index ? ~(uint32_t)i : order;
    if (key != key || (o->top && key < -FLT_MAX) || (index && order != s->key)) return false;
    return ((*value ^ s->value) & plumb_select_known(stage)) == 0;
}

/* The least key that a quantile selects; by share NaN. */
PLUMB_HD double plumb_select_threshold(const struct plumb_select_options *o,
                                       const struct plumb_select_state *s)
{
    if (o->top) return (double)NAN;
    const float at = plumb_select_key(s->key);
    const double part = s->rank - (double)(int64_t)s->rank;
    if (part == 0 || s->take > 1 || s->next == ~0u) return (double)at;
    const double from = (double)fmaxf(at, -FLT_MAX);
    return from + part * ((double)fminf(plumb_select_key(s->next), FLT_MAX) - from);
}

PLUMB_HD bool plumb_select_takes(const struct plumb_select_options *o,
                                 const struct plumb_select_state *s, double threshold, float key,
                                 int64_t i)
{
    if (s->none) return false;
    if (!o->top) return (double)key >= threshold;
    const uint32_t order = plumb_select_order(key);
    return order > s->key || (order == s->key && (uint64_t)i <= (uint64_t)s->last);
}

/* Tokens selected in all. */
PLUMB_HD double plumb_select_count(const struct plumb_select_options *o,
                                   const struct plumb_select_state *s, double threshold)
{
    if (s->none) return 0;
    const bool equal = (double)plumb_select_key(s->key) >= threshold;
    if (!o->top) return (double)(s->above + (equal ? s->equal : 0));
    return (double)(s->above + s->take);
}
