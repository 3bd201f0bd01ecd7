/* The family's switch: formula `id` of classify.def on one row. */
#pragma once
#include <plumb/classify.h>

#include "gen/classify_formulas.h"

PLUMB_HD plumb_real plumb_classes_eval(int id, const struct plumb_classes *p)
{
    switch (id) {
#define PLUMB_FORMULA(ID, NAME, name, text)                                                        \
    case ID:                                                                                       \
        return plumb_classes_##name(p);
#include <plumb/classify.def>
#undef PLUMB_FORMULA
    }
    return 0;
}

/* Labels run from 0 to this one. */
PLUMB_HD int plumb_classes_most(int id, int K) { return id == PLUMB_CLASSIFY_ORDINAL ? K : K - 1; }
