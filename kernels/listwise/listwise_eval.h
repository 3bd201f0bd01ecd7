/* The family's switches: formula `id` of listwise.def on one candidate, and its first pass. */
#pragma once
#include "gen/listwise_formulas.h"

/* Adds to *r. */
PLUMB_HD void plumb_list_add(int id, const struct plumb_list *l, int64_t i,
                             struct plumb_list_share *r)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        plumb_list_##name(l, i, r);                                                                \
        break;
#include <plumb/listwise.def>
#undef PLUMB_FORMULA
    }
}

PLUMB_HD struct plumb_list_share plumb_list_eval(int id, const struct plumb_list *l, int64_t i,
                                                 double nll)
{
    struct plumb_list_share r = { 0, 0, nll };
    plumb_list_add(id, l, i, &r);
    return r;
}

PLUMB_HD bool plumb_list_staged(int id)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)
#define PLUMB_FORMULA_STAGED(ID, NAME, name, text) case ID:
#include <plumb/listwise.def>
#undef PLUMB_FORMULA
        return true;
    }
    return false;
}

PLUMB_HD plumb_real plumb_list_key(int id, const struct plumb_list *l, int64_t i)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)
#define PLUMB_FORMULA_STAGED(ID, NAME, name, text)                                                 \
    case ID:                                                                                       \
        return plumb_list_##name##_key(l, i);
#include <plumb/listwise.def>
#undef PLUMB_FORMULA
    }
    return 0;
}
