/* What the structs and enums of the contracts are in memory, for programs that cannot include the
 * headers: bindings of other languages build their own from these tables, so they cannot differ. */
#pragma once
#include <plumb/base.h>
PLUMB_BEGIN_C

/* Kinds: 'b' bool, 'i' an integer of 32 bits or an enum, 'l' int64_t, 'u' size_t or uint64_t,
 * 'd' double, 't' struct plumb_tensor, 'p' a pointer, 'x' anything else. */
struct plumb_layout_field {
    const char *name;
    size_t offset, bytes;
    char kind;
    const char *of; /* of 'x' and 'p': the struct that it is or points to, "" where none */
};

struct plumb_layout {
    const char *name; /* "plumb_pairwise" */
    size_t bytes;
    const struct plumb_layout_field *fields; /* in order of offset */
    int64_t field_count;
};

/* Every struct of the installed headers, sorted by name. */
const struct plumb_layout *plumb_layouts(int64_t *count);

struct plumb_constant {
    const char *name; /* "PLUMB_BF16" */
    int64_t value;
};

/* Every enumerator of the installed headers but those of formulas, which have functions to find
 * them by name; sorted by name. */
const struct plumb_constant *plumb_constants(int64_t *count);

PLUMB_END_C
