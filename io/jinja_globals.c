/* Attributes and methods of values, and the functions that every template has. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/jinja_run.h"

const struct plumb_jinja_function *plumb_jinja_table_find(const struct plumb_jinja_function *table,
                                                          const char *name)
{
    for (; table->name; table++)
        if (!strcmp(table->name, name)) return table;
    return NULL;
}

/* A method of a value, bound to it. */
struct method {
    const struct plumb_jinja_function *function;
    struct plumb_jinja_value on;
};

static int method_call(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    const struct method *m = self->data;
    PLUMB_TRY(plumb_jinja_look(r, m->on));
    return m->function->call(r, m->on, args, out);
}
static const struct plumb_jinja_class method_class = { "method", method_call, NULL };

static int pairs(struct plumb_jinja_run *r, struct plumb_jinja_value on, int what,
                 struct plumb_jinja_value *out)
{
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, on.d->n, out));
    for (int64_t i = 0; i < on.d->n; i++) {
        struct plumb_jinja_value pair = what ? on.d->at[i].value : on.d->at[i].key;
        if (what == 2) {
            PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_TUPLE, 2, &pair));
            PLUMB_TRY(plumb_jinja_push(r->pool, pair, on.d->at[i].key));
            PLUMB_TRY(plumb_jinja_push(r->pool, pair, on.d->at[i].value));
        }
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, pair));
    }
    return plumb_jinja_step(r, on.d->n);
}

static int dict_keys(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    return pairs(r, on, 0, out);
}

static int dict_values(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    return pairs(r, on, 1, out);
}

static int dict_items(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                      const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    return pairs(r, on, 2, out);
}

static int dict_get(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                    const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const char *const names[] = { "key", "default", NULL };
    const struct plumb_jinja_value *v[2];
    PLUMB_TRY(plumb_jinja_bind(r, "get", args, names, 1, v));
    if (!plumb_jinja_hashable(*v[0]))
        return plumb_jinja_wrong(r, "a %s cannot be a key", plumb_jinja_type(*v[0]));
    PLUMB_TRY(plumb_jinja_step(r, plumb_jinja_weight(*v[0])));
    const struct plumb_jinja_value *found = plumb_jinja_find(on.d, *v[0]);
    *out = found ? *found : v[1] ? *v[1] : plumb_jinja_none();
    return PLUMB_OK;
}

static int copy(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    if (on.kind != PLUMB_JINJA_DICT)
        PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, on.l->n, out));
    else
        PLUMB_TRY(plumb_jinja_dict(r->pool, out));
    const int64_t n = on.kind == PLUMB_JINJA_DICT ? on.d->n : on.l->n;
    for (int64_t i = 0; i < n; i++)
        PLUMB_TRY(on.kind == PLUMB_JINJA_DICT
                      ? plumb_jinja_put(r->pool, out->d, on.d->at[i].key, on.d->at[i].value)
                      : plumb_jinja_push(r->pool, *out, on.l->at[i]));
    return plumb_jinja_step(r, n);
}

/* How often an item is there, and where first. */
static int seek(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                const struct plumb_jinja_args *args, int64_t *count, int64_t *first)
{
    if (args->n < 1) return plumb_jinja_wrong(r, "an item to look for is missing");
    *count = 0;
    *first = -1;
    for (int64_t i = 0; i < on.l->n; i++) {
        bool same;
        PLUMB_TRY(plumb_jinja_same(r, on.l->at[i], args->at[0], &same));
        if (same && !(*count)++) *first = i;
    }
    return PLUMB_OK;
}

static int row_count(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    int64_t count = 0, first = -1;
    PLUMB_TRY(seek(r, on, args, &count, &first));
    *out = plumb_jinja_int(count);
    return PLUMB_OK;
}

static int row_index(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                     const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    int64_t count = 0, first = -1;
    PLUMB_TRY(seek(r, on, args, &count, &first));
    *out = plumb_jinja_int(first);
    return count ? PLUMB_OK : plumb_jinja_wrong(r, "index: the item is not in the list");
}

static int changes(struct plumb_jinja_run *r, struct plumb_jinja_value on,
                   const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args, (void)out;
    return plumb_jinja_wrong(r, "a template must not change a %s", plumb_jinja_type(on));
}

static const struct plumb_jinja_function dict_methods[] = {
    { "get", dict_get },       { "items", dict_items }, { "keys", dict_keys },
    { "values", dict_values }, { "copy", copy },        { "clear", changes },
    { "pop", changes },        { "popitem", changes },  { "setdefault", changes },
    { "update", changes },     { NULL, NULL },
};
static const struct plumb_jinja_function list_methods[] = {
    { "count", row_count }, { "index", row_index }, { "copy", copy },     { "append", changes },
    { "extend", changes },  { "insert", changes },  { "pop", changes },   { "remove", changes },
    { "reverse", changes }, { "sort", changes },    { "clear", changes }, { NULL, NULL },
};
static const struct plumb_jinja_function tuple_methods[] = {
    { "count", row_count },
    { "index", row_index },
    { NULL, NULL },
};

static const struct plumb_jinja_function *method_of(struct plumb_jinja_value on, const char *name)
{
    const struct plumb_jinja_function *f = NULL;
    if (on.kind == PLUMB_JINJA_DICT) f = plumb_jinja_table_find(dict_methods, name);
    if (on.kind == PLUMB_JINJA_LIST) f = plumb_jinja_table_find(list_methods, name);
    if (on.kind == PLUMB_JINJA_TUPLE) f = plumb_jinja_table_find(tuple_methods, name);
    if (on.kind != PLUMB_JINJA_STRING) return f;
    f = plumb_jinja_table_find(plumb_jinja_string_methods, name);
    return f ? f : plumb_jinja_table_find(plumb_jinja_case_methods, name);
}

int plumb_jinja_attr(struct plumb_jinja_run *r, struct plumb_jinja_value on, const char *name,
                     struct plumb_jinja_value *out)
{
    PLUMB_TRY(plumb_jinja_step(r, 1));
    if (on.kind == PLUMB_JINJA_UNDEFINED)
        return plumb_jinja_wrong(r, "\"%s\" is undefined", on.name ? on.name : "value");
    const struct plumb_jinja_function *f = method_of(on, name);
    *out = plumb_jinja_undefined(name);
    if (f) {
        void *p;
        PLUMB_TRY(plumb_jinja_take(r->pool, sizeof(struct method), &p));
        *(struct method *)p = (struct method){ f, on };
        return plumb_jinja_object(r->pool, &method_class, p, out);
    }
    if (on.kind == PLUMB_JINJA_DICT) {
        const struct plumb_jinja_value *v = plumb_jinja_find_text(on.d, name);
        if (v) *out = *v;
    }
    if (on.kind == PLUMB_JINJA_OBJECT && on.o->class->get)
        return on.o->class->get(r, on.o, name, out);
    return PLUMB_OK;
}

static int namespace_get(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                         const char *name, struct plumb_jinja_value *out)
{
    (void)r;
    const struct plumb_jinja_value *v = plumb_jinja_find_text(self->data, name);
    if (v) *out = *v;
    return PLUMB_OK;
}
const struct plumb_jinja_class plumb_jinja_namespace = { "Namespace", NULL, namespace_get };

/* What dict() and namespace() take: a dictionary or pairs, then names. */
static int fill(struct plumb_jinja_run *r, const struct plumb_jinja_args *args,
                struct plumb_jinja_dict *d)
{
    struct plumb_jinja_value from = args->n ? args->at[0] : plumb_jinja_none(), pair;
    if (args->n > 1) return plumb_jinja_wrong(r, "dict wants one argument at most");
    if (from.kind == PLUMB_JINJA_DICT) PLUMB_TRY(pairs(r, from, 2, &from));
    if (args->n) PLUMB_TRY(plumb_jinja_items(r, from, &from));
    for (int64_t i = 0; args->n && i < from.l->n; i++) {
        PLUMB_TRY(plumb_jinja_items(r, from.l->at[i], &pair));
        if (pair.l->n != 2) return plumb_jinja_wrong(r, "dict wants pairs");
        PLUMB_TRY(plumb_jinja_put(r->pool, d, pair.l->at[0], pair.l->at[1]));
    }
    for (int64_t i = 0; i < args->named->n; i++)
        PLUMB_TRY(plumb_jinja_put(r->pool, d, args->named->at[i].key, args->named->at[i].value));
    return PLUMB_OK;
}

static int make_dict(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                     const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)self;
    PLUMB_TRY(plumb_jinja_dict(r->pool, out));
    return fill(r, args, out->d);
}

static int make_namespace(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                          const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    struct plumb_jinja_value names;
    PLUMB_TRY(make_dict(r, self, args, &names));
    return plumb_jinja_object(r->pool, &plumb_jinja_namespace, names.d, out);
}

static int range(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                 const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)self;
    int64_t v[3] = { 0, 0, 1 };
    if (args->n < 1 || args->n > 3 || args->named->n)
        return plumb_jinja_wrong(r, "range wants one to three integers");
    for (int64_t i = 0; i < args->n; i++)
        PLUMB_TRY(plumb_jinja_want_int(r, "range", &args->at[i], 0, &v[args->n == 1 ? 1 : i]));
    if (v[2] == 0) return plumb_jinja_wrong(r, "range: the step is 0");
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 0, out));
    for (int64_t i = v[0]; v[2] > 0 ? i < v[1] : i > v[1];) {
        if (out->l->n == 100000) return plumb_jinja_wrong(r, "range: more than 100000 items");
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, plumb_jinja_int(i)));
        if (__builtin_add_overflow(i, v[2], &i)) break;
    }
    return plumb_jinja_step(r, out->l->n);
}

static int raise(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                 const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)self;
    struct plumb_jinja_value text;
    *out = plumb_jinja_none();
    if (args->n != 1) return plumb_jinja_wrong(r, "raise_exception wants a message");
    PLUMB_TRY(plumb_jinja_str(r, args->at[0], &text));
    return plumb_jinja_wrong(r, "the template refuses: %s", text.s->at);
}

static int now(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
               const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)self;
    char text[1024];
    struct tm tm;
    const time_t t = (time_t)r->now;
    if (args->n != 1 || args->at[0].kind != PLUMB_JINJA_STRING)
        return plumb_jinja_wrong(r, "strftime_now wants a format");
    gmtime_r(&t, &tm);
    const size_t n = strftime(text, sizeof text, args->at[0].s->at, &tm);
    return plumb_jinja_string(r->pool, text, n, out);
}

/* cycler(...): items in turn. joiner(text): nothing the first time, then the text. */
struct turns {
    struct plumb_jinja_value items;
    int64_t at;
};

static int turns_next(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                      const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)r, (void)args;
    struct turns *t = self->data;
    *out = t->items.l->at[t->at++ % t->items.l->n];
    return PLUMB_OK;
}

static int turns_reset(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)r, (void)args;
    ((struct turns *)self->data)->at = 0;
    *out = plumb_jinja_none();
    return PLUMB_OK;
}

static int cycler_get(struct plumb_jinja_run *r, struct plumb_jinja_object *self, const char *name,
                      struct plumb_jinja_value *out)
{
    static const struct plumb_jinja_class next = { "method", turns_next, NULL },
                                          reset = { "method", turns_reset, NULL };
    const struct turns *t = self->data;
    if (!strcmp(name, "current")) *out = t->items.l->at[t->at % t->items.l->n];
    if (!strcmp(name, "next")) return plumb_jinja_object(r->pool, &next, self->data, out);
    if (!strcmp(name, "reset")) return plumb_jinja_object(r->pool, &reset, self->data, out);
    return PLUMB_OK;
}

static int joiner_call(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    (void)args;
    struct turns *t = self->data;
    if (t->at++) {
        *out = t->items.l->at[0];
        return PLUMB_OK;
    }
    return plumb_jinja_text(r->pool, "", out);
}

static int make_turns(struct plumb_jinja_run *r, const struct plumb_jinja_class *class,
                      const struct plumb_jinja_value *at, int64_t n, struct plumb_jinja_value *out)
{
    void *p;
    PLUMB_TRY(plumb_jinja_take(r->pool, sizeof(struct turns), &p));
    struct turns *t = p;
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, n, &t->items));
    for (int64_t i = 0; i < n; i++)
        PLUMB_TRY(plumb_jinja_push(r->pool, t->items, at[i]));
    return plumb_jinja_object(r->pool, class, t, out);
}

static int cycler(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                  const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const struct plumb_jinja_class class = { "Cycler", NULL, cycler_get };
    (void)self;
    if (args->n == 0) return plumb_jinja_wrong(r, "cycler wants items");
    return make_turns(r, &class, args->at, args->n, out);
}

static int joiner(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                  const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    static const struct plumb_jinja_class class = { "Joiner", joiner_call, NULL };
    static const char *const names[] = { "sep", NULL };
    const struct plumb_jinja_value *v[1];
    struct plumb_jinja_value text;
    (void)self;
    PLUMB_TRY(plumb_jinja_bind(r, "joiner", args, names, 0, v));
    PLUMB_TRY(plumb_jinja_text(r->pool, ", ", &text));
    return make_turns(r, &class, v[0] ? v[0] : &text, 1, out);
}

int plumb_jinja_globals(struct plumb_jinja_pool *pool, struct plumb_jinja_dict *names)
{
    static const struct plumb_jinja_class classes[] = {
        { "range", range, NULL },
        { "dict", make_dict, NULL },
        { "namespace", make_namespace, NULL },
        { "cycler", cycler, NULL },
        { "joiner", joiner, NULL },
        { "raise_exception", raise, NULL },
        { "strftime_now", now, NULL },
    };
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        struct plumb_jinja_value v;
        PLUMB_TRY(plumb_jinja_object(pool, &classes[i], NULL, &v));
        PLUMB_TRY(plumb_jinja_put_text(pool, names, classes[i].name, v));
    }
    return PLUMB_OK;
}
