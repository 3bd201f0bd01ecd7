/* The tables of layouts and constants: generated headers have the names, the compiler the rest. */
#include <plumb/layout.h>

#include "gen/layout_headers.h"

/* Enums are unsigned; a field of a pointer's size that is no number is a pointer. */
#define KIND(type, field)                                                                          \
    _Generic(((struct type *)0)->field, bool                                                       \
             : 'b', int                                                                            \
             : 'i', unsigned                                                                       \
             : 'i', long                                                                           \
             : 'l', unsigned long                                                                  \
             : 'u', double                                                                         \
             : 'd', struct plumb_tensor                                                            \
             : 't', default                                                                        \
             : sizeof(((struct type *)0)->field) == sizeof(void *) ? 'p' : 'x')
#define FIELD(type, field, of)                                                                     \
    { #field, offsetof(struct type, field), sizeof(((struct type *)0)->field), KIND(type, field),  \
      #of },

#define STRUCT(type) static const struct plumb_layout_field type##_fields[] = {
#define END(type)                                                                                  \
    }                                                                                              \
    ;
#include "gen/layouts.h"
#undef STRUCT
#undef FIELD
#undef END

#define STRUCT(type)                                                                               \
    { #type, sizeof(struct type), type##_fields, sizeof type##_fields / sizeof *type##_fields },
#define FIELD(type, field, of)
#define END(type)
static const struct plumb_layout layouts[] = {
#include "gen/layouts.h"
};

static const struct plumb_constant constants[] = {
#define CONSTANT(name) { #name, name },
#include "gen/constants.h"
};

const struct plumb_constant *plumb_constants(int64_t *count)
{
    *count = sizeof constants / sizeof *constants;
    return constants;
}

const struct plumb_layout *plumb_layouts(int64_t *count)
{
    *count = sizeof layouts / sizeof *layouts;
    return layouts;
}
