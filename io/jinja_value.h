/* Values of the template language: Python's, as Jinja2 sees them. All memory of a template or of a
 * rendering comes from one pool with a limit and goes at once. */
#pragma once
#include <plumb/base.h>

struct plumb_jinja_pool {
    struct plumb_jinja_block *blocks;
    size_t used, limit; /* bytes */
    int64_t hashed;     /* work on keys that no step has counted yet */
};
/* *out = zeroed memory, aligned to 16; fails with PLUMB_EMEM when the limit is reached. */
int plumb_jinja_take(struct plumb_jinja_pool *pool, size_t bytes, void **out);
void plumb_jinja_pool_release(struct plumb_jinja_pool *pool);

enum plumb_jinja_kind {
    PLUMB_JINJA_UNDEFINED,
    PLUMB_JINJA_NONE,
    PLUMB_JINJA_BOOL,
    PLUMB_JINJA_INT,
    PLUMB_JINJA_FLOAT,
    PLUMB_JINJA_STRING,
    PLUMB_JINJA_LIST,
    PLUMB_JINJA_TUPLE,
    PLUMB_JINJA_STREAM, /* a list that Python would make lazily: no length, no index */
    PLUMB_JINJA_DICT,
    PLUMB_JINJA_OBJECT, /* functions, methods, macros, namespaces, loop */
};

struct plumb_jinja_string {
    size_t n;       /* bytes of UTF-8 */
    int64_t points; /* characters */
    char at[];      /* n bytes and a NUL */
};

struct plumb_jinja_value {
    enum plumb_jinja_kind kind;
    bool markup; /* a string that is marked safe */
    union {
        bool b;
        int64_t i;
        double f;
        const char *name; /* undefined: what was looked for, or NULL */
        const struct plumb_jinja_string *s;
        struct plumb_jinja_list *l;
        struct plumb_jinja_dict *d;
        struct plumb_jinja_object *o;
    };
};

struct plumb_jinja_list {
    int64_t n, room;
    struct plumb_jinja_value *at;
    int64_t weight; /* of all that is in it, as often as it is: see plumb_jinja_weight */
    int depth;      /* of what is in it */
};

struct plumb_jinja_entry {
    struct plumb_jinja_value key, value;
    uint64_t hash;
};
struct plumb_jinja_dict { /* in order of insertion */
    int64_t n, room;
    struct plumb_jinja_entry *at;
    int32_t *slot; /* entry + 1 by hash; NULL while small */
    int64_t slots;
    int64_t weight;
    int depth;
};

struct plumb_jinja_run;
struct plumb_jinja_args {
    const struct plumb_jinja_value *at; /* positional */
    int64_t n;
    const struct plumb_jinja_dict *named; /* never NULL */
};
/* What an object can do; NULL = it cannot. */
struct plumb_jinja_class {
    const char *name;
    int (*call)(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                const struct plumb_jinja_args *args, struct plumb_jinja_value *out);
    /* *out stays undefined when there is no such attribute */
    int (*get)(struct plumb_jinja_run *r, struct plumb_jinja_object *self, const char *name,
               struct plumb_jinja_value *out);
};
struct plumb_jinja_object {
    const struct plumb_jinja_class *class;
    void *data;
};

static inline struct plumb_jinja_value plumb_jinja_bool(bool b)
{
    return (struct plumb_jinja_value){ .kind = PLUMB_JINJA_BOOL, .b = b };
}
static inline struct plumb_jinja_value plumb_jinja_int(int64_t i)
{
    return (struct plumb_jinja_value){ .kind = PLUMB_JINJA_INT, .i = i };
}
static inline struct plumb_jinja_value plumb_jinja_float(double f)
{
    return (struct plumb_jinja_value){ .kind = PLUMB_JINJA_FLOAT, .f = f };
}
static inline struct plumb_jinja_value plumb_jinja_none(void)
{
    return (struct plumb_jinja_value){ .kind = PLUMB_JINJA_NONE };
}
static inline struct plumb_jinja_value plumb_jinja_undefined(const char *name)
{
    return (struct plumb_jinja_value){ .kind = PLUMB_JINJA_UNDEFINED, .name = name };
}
static inline bool plumb_jinja_is_number(struct plumb_jinja_value v)
{
    return v.kind == PLUMB_JINJA_INT || v.kind == PLUMB_JINJA_FLOAT || v.kind == PLUMB_JINJA_BOOL;
}
/* Lists, tuples and streams. */
static inline bool plumb_jinja_is_row(struct plumb_jinja_value v)
{
    return v.kind == PLUMB_JINJA_LIST || v.kind == PLUMB_JINJA_TUPLE ||
           v.kind == PLUMB_JINJA_STREAM;
}
/* A bool as the int that it is in Python. */
static inline int64_t plumb_jinja_integer(struct plumb_jinja_value v)
{
    return v.kind == PLUMB_JINJA_BOOL ? v.b : v.i;
}
static inline double plumb_jinja_number(struct plumb_jinja_value v)
{
    return v.kind == PLUMB_JINJA_FLOAT ? v.f : (double)plumb_jinja_integer(v);
}

/* A string of n bytes, copied; `text` NULL = zeroed bytes for the caller to fill (then call
 * plumb_jinja_count). */
int plumb_jinja_string(struct plumb_jinja_pool *pool, const char *text, size_t n,
                       struct plumb_jinja_value *out);
int plumb_jinja_text(struct plumb_jinja_pool *pool, const char *text,
                     struct plumb_jinja_value *out);
void plumb_jinja_count(struct plumb_jinja_value v);
bool plumb_jinja_is_text(struct plumb_jinja_value v, const char *text);
int plumb_jinja_row(struct plumb_jinja_pool *pool, enum plumb_jinja_kind kind, int64_t room,
                    struct plumb_jinja_value *out);
int plumb_jinja_push(struct plumb_jinja_pool *pool, struct plumb_jinja_value row,
                     struct plumb_jinja_value v);
int plumb_jinja_dict(struct plumb_jinja_pool *pool, struct plumb_jinja_value *out);
/* Sets or replaces; fails for keys that Python cannot hash. */
int plumb_jinja_put(struct plumb_jinja_pool *pool, struct plumb_jinja_dict *d,
                    struct plumb_jinja_value key, struct plumb_jinja_value v);
int plumb_jinja_put_text(struct plumb_jinja_pool *pool, struct plumb_jinja_dict *d, const char *key,
                         struct plumb_jinja_value v);
/* NULL when absent. */
const struct plumb_jinja_value *plumb_jinja_find(const struct plumb_jinja_dict *d,
                                                 struct plumb_jinja_value key);
const struct plumb_jinja_value *plumb_jinja_find_text(const struct plumb_jinja_dict *d,
                                                      const char *key);
int plumb_jinja_object(struct plumb_jinja_pool *pool, const struct plumb_jinja_class *class,
                       void *data, struct plumb_jinja_value *out);

/* The steps that a walk over a value takes. A value that holds another twice, which holds a third
 * twice, and so on, is small in memory and endless to walk. */
int64_t plumb_jinja_weight(struct plumb_jinja_value v);

bool plumb_jinja_truth(struct plumb_jinja_value v);
/* Python's ==. Where a template chooses the values: plumb_jinja_same. */
bool plumb_jinja_equal(struct plumb_jinja_value a, struct plumb_jinja_value b);
/* Whether dicts can have it as a key. Of tuples only small ones. */
bool plumb_jinja_hashable(struct plumb_jinja_value v);
/* "int", "str", ... for messages. */
const char *plumb_jinja_type(struct plumb_jinja_value v);

/* Text that grows. */
struct plumb_jinja_out {
    struct plumb_jinja_pool *pool;
    char *at;
    size_t n, room;
};
int plumb_jinja_write(struct plumb_jinja_out *o, const char *text, size_t n);
int plumb_jinja_write_text(struct plumb_jinja_out *o, const char *text);
/* What was written, as a string. */
int plumb_jinja_written(const struct plumb_jinja_out *o, struct plumb_jinja_value *out);
