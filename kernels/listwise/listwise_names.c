/* The names of the listwise losses, apart from the code that computes them. */
#include <plumb/listwise.h>

#include "kernels/formula.h"

static const struct plumb_formula formulas[] = {
#define PLUMB_FORMULA(ID, NAME, name, text) PLUMB_FORMULA_ROW(ID, name)
#include <plumb/listwise.def>
#undef PLUMB_FORMULA
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

int plumb_listwise_find(const char *name) { return plumb_formula_find(formulas, FORMULAS, name); }
const char *plumb_listwise_name(int id) { return plumb_formula_name(formulas, FORMULAS, id); }
