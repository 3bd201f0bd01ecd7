/* What the families of formulas share: names from a family's .def list, and plain f32 evaluation as
 * the oracle's yardstick. */
#pragma once
#include <plumb/base.h>
#include <string.h>

struct plumb_formula {
    int id;
    const char *name;
};
/* One row of a table of formulas per line of a .def list. */
#define PLUMB_FORMULA_ROW(ID, name) { ID, #name },

/* The id of `name` in a table of `count` rows, or -1. */
static inline int plumb_formula_find(const struct plumb_formula *table, size_t count,
                                     const char *name)
{
    for (size_t i = 0; name && i < count; i++)
        if (!strcmp(table[i].name, name)) return table[i].id;
    return -1;
}

static inline const char *plumb_formula_name(const struct plumb_formula *table, size_t count,
                                             int id)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].id == id) return table[i].name;
    return NULL;
}

/* Defines double NAME(int id, const double *item, double *grad): EVAL in f32, for an oracle that
 * computes in f64. ITEM and GRAD are structs of plumb_real only, so they cross as arrays. */
#define PLUMB_FORMULA_PLAIN(NAME, EVAL, ITEM, GRAD)                                                \
    double NAME(int id, const double *item, double *grad)                                          \
    {                                                                                              \
        plumb_real in[sizeof(struct ITEM) / sizeof(plumb_real)];                                   \
        plumb_real out[sizeof(struct GRAD) / sizeof(plumb_real)];                                  \
        struct ITEM p;                                                                             \
        struct GRAD g = { 0 };                                                                     \
        for (size_t i = 0; i < sizeof in / sizeof *in; i++)                                        \
            in[i] = plumb_saturate(item[i]);                                                       \
        memcpy(&p, in, sizeof p);                                                                  \
        const double value = (double)EVAL(id, &p, &g);                                             \
        memcpy(out, &g, sizeof out);                                                               \
        for (size_t i = 0; i < sizeof out / sizeof *out; i++)                                      \
            grad[i] = (double)out[i];                                                              \
        return value;                                                                              \
    }
