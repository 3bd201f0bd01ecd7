/* One rendering of a template: what its parts share. */
#pragma once
#include "io/jinja_ast.h"

struct plumb_jinja_scope {
    struct plumb_jinja_scope *parent;
    struct plumb_jinja_dict *names;
};

struct plumb_jinja_run {
    struct plumb_jinja_pool *pool;
    const char *name; /* of the template, for messages */
    int line, depth;
    int64_t steps; /* left until the time is up */
    struct plumb_jinja_scope *scope;
    struct plumb_jinja_out *out;
    int64_t now;                    /* what strftime_now tells, seconds since 1970, local time */
    struct plumb_jinja_list *spans; /* first, last, first, last, ... bytes of the text */
    int captures;                   /* blocks around that keep their text for themselves */
};

/* A filter, test or method: *out of `on`. */
struct plumb_jinja_function {
    const char *name;
    int (*call)(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                const struct plumb_jinja_args *args, struct plumb_jinja_value *out);
};
/* NULL when there is none. */
const struct plumb_jinja_function *plumb_jinja_filter_find(const char *name);
const struct plumb_jinja_function *plumb_jinja_test_find(const char *name);
const struct plumb_jinja_function *plumb_jinja_table_find(const struct plumb_jinja_function *table,
                                                          const char *name);
extern const struct plumb_jinja_function plumb_jinja_text_filters[], plumb_jinja_row_filters[],
    plumb_jinja_string_methods[], plumb_jinja_case_methods[];

int plumb_jinja_wrong(const struct plumb_jinja_run *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Counts work; fails when a template has had its share. */
int plumb_jinja_step(struct plumb_jinja_run *r, int64_t n);
/* Counts the work of looking at a text. */
int plumb_jinja_look(struct plumb_jinja_run *r, struct plumb_jinja_value v);
/* plumb_jinja_equal, counted. */
int plumb_jinja_same(struct plumb_jinja_run *r, struct plumb_jinja_value a,
                     struct plumb_jinja_value b, bool *out);

/* Arguments by the parameters' names (closed by NULL): v[i] = the i-th, NULL where absent. */
int plumb_jinja_bind(struct plumb_jinja_run *r, const char *function,
                     const struct plumb_jinja_args *args, const char *const *names, int least,
                     const struct plumb_jinja_value **v);
int plumb_jinja_want_int(struct plumb_jinja_run *r, const char *function,
                         const struct plumb_jinja_value *v, int64_t fallback, int64_t *out);
bool plumb_jinja_want_bool(const struct plumb_jinja_value *v, bool fallback);

/* jinja_text.c: str(v), repr(v) and JSON. */
int plumb_jinja_write_str(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                          struct plumb_jinja_value v);
int plumb_jinja_write_repr(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                           struct plumb_jinja_value v);
int plumb_jinja_str(struct plumb_jinja_run *r, struct plumb_jinja_value v,
                    struct plumb_jinja_value *out);
int plumb_jinja_write_float(struct plumb_jinja_out *o, double x);
struct plumb_jinja_json {
    int64_t indent;              /* -1 = one line */
    const char *between, *colon; /* separators */
    bool ascii, sorted;
};
int plumb_jinja_write_json(struct plumb_jinja_run *r, struct plumb_jinja_out *o,
                           const struct plumb_jinja_json *how, struct plumb_jinja_value v,
                           int level);
int plumb_jinja_escape(struct plumb_jinja_run *r, struct plumb_jinja_value v,
                       struct plumb_jinja_value *out);

/* jinja_operators.c */
int plumb_jinja_binary(struct plumb_jinja_run *r, char op, struct plumb_jinja_value a,
                       struct plumb_jinja_value b, struct plumb_jinja_value *out);
int plumb_jinja_less(struct plumb_jinja_run *r, struct plumb_jinja_value a,
                     struct plumb_jinja_value b, bool *out);
int plumb_jinja_compare(struct plumb_jinja_run *r, char op, struct plumb_jinja_value a,
                        struct plumb_jinja_value b, bool *out);
int plumb_jinja_contains(struct plumb_jinja_run *r, struct plumb_jinja_value in,
                         struct plumb_jinja_value v, bool *out);
/* Items as a list that the caller may read: of rows, dictionaries (keys), strings, nothing. */
int plumb_jinja_items(struct plumb_jinja_run *r, struct plumb_jinja_value v,
                      struct plumb_jinja_value *out);
int plumb_jinja_length(struct plumb_jinja_run *r, struct plumb_jinja_value v, int64_t *out);
int plumb_jinja_item(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     struct plumb_jinja_value index, struct plumb_jinja_value *out);
int plumb_jinja_slice(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                      const struct plumb_jinja_value part[3], struct plumb_jinja_value *out);
int plumb_jinja_attr(struct plumb_jinja_run *r, struct plumb_jinja_value on, const char *name,
                     struct plumb_jinja_value *out);
/* Dotted, as map(attribute="a.b.0"). */
int plumb_jinja_path(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     struct plumb_jinja_value path, struct plumb_jinja_value *out);
/* Characters [first, last) of a string. */
int plumb_jinja_part(struct plumb_jinja_run *r, struct plumb_jinja_value s, int64_t first,
                     int64_t last, struct plumb_jinja_value *out);
/* format % args, and format.format(args). */
int plumb_jinja_format(struct plumb_jinja_run *r, struct plumb_jinja_value format,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out);
int plumb_jinja_braces(struct plumb_jinja_run *r, struct plumb_jinja_value format,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out);

/* jinja_json.c */
int plumb_jinja_read_json(struct plumb_jinja_pool *pool, const char *text, size_t n,
                          struct plumb_jinja_value *out);

/* jinja_eval.c */
int plumb_jinja_eval(struct plumb_jinja_run *r, const struct plumb_node *e,
                     struct plumb_jinja_value *out);
int plumb_jinja_invoke(struct plumb_jinja_run *r, struct plumb_jinja_value f,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out);
int plumb_jinja_assign(struct plumb_jinja_run *r, const struct plumb_node *target,
                       struct plumb_jinja_value v);
int plumb_jinja_apply(struct plumb_jinja_run *r, const struct plumb_node *filter,
                      struct plumb_jinja_value on, struct plumb_jinja_value *out);
/* The filters of a block, innermost first. */
int plumb_jinja_apply_all(struct plumb_jinja_run *r, const struct plumb_node *filter,
                          struct plumb_jinja_value on, struct plumb_jinja_value *out);
int plumb_jinja_open_scope(struct plumb_jinja_run *r, struct plumb_jinja_scope *parent,
                           struct plumb_jinja_scope **out);
/* jinja_render.c */
int plumb_jinja_do(struct plumb_jinja_run *r, const struct plumb_node *s);
/* The text of a body rendered for itself, in a scope of its own. */
int plumb_jinja_capture(struct plumb_jinja_run *r, const struct plumb_node *body,
                        struct plumb_jinja_value *out);
/* jinja_globals.c: range, dict, namespace, cycler, joiner, raise_exception, strftime_now. */
int plumb_jinja_globals(struct plumb_jinja_pool *pool, struct plumb_jinja_dict *names);
extern const struct plumb_jinja_class plumb_jinja_namespace;
extern const struct plumb_jinja_args plumb_jinja_no_args;
