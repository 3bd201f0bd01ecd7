/* Evaluates the expressions of a template. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/jinja_run.h"

int plumb_jinja_wrong(const struct plumb_jinja_run *r, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return plumb_fail(PLUMB_EFORMAT, "%s:%d: %s", r->name, r->line, text);
}

int plumb_jinja_step(struct plumb_jinja_run *r, int64_t n)
{
    r->steps -= n < r->steps ? n : r->steps + 1;
    r->steps -= r->pool->hashed;
    r->pool->hashed = 0;
    return r->steps >= 0 ? PLUMB_OK : plumb_jinja_wrong(r, "the template takes too long");
}

int plumb_jinja_look(struct plumb_jinja_run *r, struct plumb_jinja_value v)
{
    return v.kind == PLUMB_JINJA_STRING ? plumb_jinja_step(r, (int64_t)(v.s->n / 256)) : PLUMB_OK;
}

int plumb_jinja_same(struct plumb_jinja_run *r, struct plumb_jinja_value a,
                     struct plumb_jinja_value b, bool *out)
{
    const int64_t x = plumb_jinja_weight(a), y = plumb_jinja_weight(b);
    *out = false;
    PLUMB_TRY(plumb_jinja_step(r, x < y ? x : y));
    *out = plumb_jinja_equal(a, b);
    return PLUMB_OK;
}

static const struct plumb_jinja_dict nothing;
const struct plumb_jinja_args plumb_jinja_no_args = { NULL, 0, &nothing };

int plumb_jinja_bind(struct plumb_jinja_run *r, const char *function,
                     const struct plumb_jinja_args *args, const char *const *names, int least,
                     const struct plumb_jinja_value **v)
{
    int count = 0;
    int64_t used = 0;
    for (; names[count]; count++) {
        const struct plumb_jinja_value *named = plumb_jinja_find_text(args->named, names[count]);
        used += named != NULL;
        if (named && count < args->n)
            return plumb_jinja_wrong(r, "%s: %s is given twice", function, names[count]);
        v[count] = count < args->n ? &args->at[count] : named;
        if (!v[count] && count < least)
            return plumb_jinja_wrong(r, "%s: %s is missing", function, names[count]);
    }
    if (args->n > count) return plumb_jinja_wrong(r, "%s: too many arguments", function);
    return used == args->named->n
               ? PLUMB_OK
               : plumb_jinja_wrong(r, "%s: an argument of an unknown name", function);
}

int plumb_jinja_want_int(struct plumb_jinja_run *r, const char *function,
                         const struct plumb_jinja_value *v, int64_t fallback, int64_t *out)
{
    *out = fallback;
    if (!v) return PLUMB_OK;
    if (v->kind != PLUMB_JINJA_INT && v->kind != PLUMB_JINJA_BOOL)
        return plumb_jinja_wrong(r, "%s wants an integer, not a %s", function,
                                 plumb_jinja_type(*v));
    *out = plumb_jinja_integer(*v);
    return PLUMB_OK;
}

bool plumb_jinja_want_bool(const struct plumb_jinja_value *v, bool fallback)
{
    return v ? plumb_jinja_truth(*v) : fallback;
}

int plumb_jinja_open_scope(struct plumb_jinja_run *r, struct plumb_jinja_scope *parent,
                           struct plumb_jinja_scope **out)
{
    void *p;
    struct plumb_jinja_value names;
    PLUMB_TRY(plumb_jinja_take(r->pool, sizeof **out, &p));
    PLUMB_TRY(plumb_jinja_dict(r->pool, &names));
    *out = p;
    **out = (struct plumb_jinja_scope){ parent, names.d };
    return PLUMB_OK;
}

static struct plumb_jinja_value look_up(const struct plumb_jinja_run *r, const char *name)
{
    for (const struct plumb_jinja_scope *s = r->scope; s; s = s->parent) {
        const struct plumb_jinja_value *v = plumb_jinja_find_text(s->names, name);
        if (v) return *v;
    }
    return plumb_jinja_undefined(name);
}

static int unpack(struct plumb_jinja_run *r, const struct plumb_node *target,
                  struct plumb_jinja_value v)
{
    struct plumb_jinja_value items;
    if (v.kind == PLUMB_JINJA_UNDEFINED) return plumb_jinja_wrong(r, "nothing to unpack");
    PLUMB_TRY(plumb_jinja_items(r, v, &items));
    if (items.l->n != target->n)
        return plumb_jinja_wrong(r, "%lld values do not unpack into %lld names",
                                 (long long)items.l->n, (long long)target->n);
    for (int64_t i = 0; i < target->n; i++)
        PLUMB_TRY(plumb_jinja_assign(r, target->list[i], items.l->at[i]));
    return PLUMB_OK;
}

int plumb_jinja_assign(struct plumb_jinja_run *r, const struct plumb_node *target,
                       struct plumb_jinja_value v)
{
    if (target->kind == PLUMB_NODE_TUPLE) return unpack(r, target, v);
    if (target->kind == PLUMB_NODE_NAME)
        return plumb_jinja_put_text(r->pool, r->scope->names, target->name, v);
    const struct plumb_jinja_value on = look_up(r, target->a->name);
    if (on.kind != PLUMB_JINJA_OBJECT || on.o->class != &plumb_jinja_namespace)
        return plumb_jinja_wrong(r, "\"%s\" is no namespace", target->a->name);
    return plumb_jinja_put_text(r->pool, on.o->data, target->name, v);
}

static int binary(struct plumb_jinja_run *r, const struct plumb_node *e,
                  struct plumb_jinja_value *out)
{
    struct plumb_jinja_value a, b;
    PLUMB_TRY(plumb_jinja_eval(r, e->a, &a));
    PLUMB_TRY(plumb_jinja_eval(r, e->b, &b));
    return plumb_jinja_binary(r, e->op, a, b, out);
}

static int concat(struct plumb_jinja_run *r, const struct plumb_node *e,
                  struct plumb_jinja_value *out)
{
    struct plumb_jinja_out text = { .pool = r->pool };
    for (int64_t i = 0; i < e->n; i++) {
        struct plumb_jinja_value v;
        PLUMB_TRY(plumb_jinja_eval(r, e->list[i], &v));
        PLUMB_TRY(plumb_jinja_write_str(r, &text, v));
    }
    return plumb_jinja_written(&text, out);
}

static int compare(struct plumb_jinja_run *r, const struct plumb_node *e,
                   struct plumb_jinja_value *out)
{
    struct plumb_jinja_value a, b;
    bool holds = true;
    PLUMB_TRY(plumb_jinja_eval(r, e->a, &a));
    for (int64_t i = 0; i < e->n && holds; i++, a = b) {
        PLUMB_TRY(plumb_jinja_eval(r, e->list[i]->a, &b));
        PLUMB_TRY(plumb_jinja_compare(r, e->list[i]->op, a, b, &holds));
    }
    *out = plumb_jinja_bool(holds);
    return PLUMB_OK;
}

static int sign(struct plumb_jinja_run *r, const struct plumb_node *e,
                struct plumb_jinja_value *out)
{
    struct plumb_jinja_value a;
    const bool minus = e->kind == PLUMB_NODE_NEGATE;
    PLUMB_TRY(plumb_jinja_eval(r, e->a, &a));
    if (a.kind == PLUMB_JINJA_FLOAT) {
        *out = plumb_jinja_float(minus ? -a.f : a.f);
        return PLUMB_OK;
    }
    if (!plumb_jinja_is_number(a))
        return plumb_jinja_wrong(r, "a %s has no sign", plumb_jinja_type(a));
    return plumb_jinja_binary(r, minus ? '-' : '+', plumb_jinja_int(0), a, out);
}

static int row(struct plumb_jinja_run *r, const struct plumb_node *e, struct plumb_jinja_value *out)
{
    PLUMB_TRY(plumb_jinja_row(
        r->pool, e->kind == PLUMB_NODE_LIST ? PLUMB_JINJA_LIST : PLUMB_JINJA_TUPLE, e->n, out));
    for (int64_t i = 0; i < e->n; i++) {
        struct plumb_jinja_value v;
        PLUMB_TRY(plumb_jinja_eval(r, e->list[i], &v));
        PLUMB_TRY(plumb_jinja_push(r->pool, *out, v));
    }
    return PLUMB_OK;
}

static int dictionary(struct plumb_jinja_run *r, const struct plumb_node *e,
                      struct plumb_jinja_value *out)
{
    PLUMB_TRY(plumb_jinja_dict(r->pool, out));
    for (int64_t i = 0; i < e->n; i += 2) {
        struct plumb_jinja_value k, v;
        PLUMB_TRY(plumb_jinja_eval(r, e->list[i], &k));
        PLUMB_TRY(plumb_jinja_eval(r, e->list[i + 1], &v));
        PLUMB_TRY(plumb_jinja_put(r->pool, out->d, k, v));
    }
    return PLUMB_OK;
}

static int spread(struct plumb_jinja_run *r, const struct plumb_node *e,
                  struct plumb_jinja_value at, struct plumb_jinja_value named)
{
    struct plumb_jinja_value v;
    PLUMB_TRY(plumb_jinja_eval(r, e->a, &v));
    if (e->kind == PLUMB_NODE_SPREAD) {
        PLUMB_TRY(plumb_jinja_items(r, v, &v));
        for (int64_t i = 0; i < v.l->n; i++)
            PLUMB_TRY(plumb_jinja_push(r->pool, at, v.l->at[i]));
        return PLUMB_OK;
    }
    if (v.kind != PLUMB_JINJA_DICT) return plumb_jinja_wrong(r, "** wants a dictionary");
    for (int64_t i = 0; i < v.d->n; i++)
        PLUMB_TRY(plumb_jinja_put(r->pool, named.d, v.d->at[i].key, v.d->at[i].value));
    return PLUMB_OK;
}

/* The arguments of a call, a filter or a test. */
static int arguments(struct plumb_jinja_run *r, const struct plumb_node *e,
                     struct plumb_jinja_args *out)
{
    struct plumb_jinja_value at, named, v;
    *out = plumb_jinja_no_args;
    if (e->n == 0) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, e->n, &at));
    PLUMB_TRY(plumb_jinja_dict(r->pool, &named));
    for (int64_t i = 0; i < e->n; i++) {
        const struct plumb_node *a = e->list[i];
        if (a->kind == PLUMB_NODE_SPREAD || a->kind == PLUMB_NODE_SPREAD_NAMED) {
            PLUMB_TRY(spread(r, a, at, named));
        } else if (a->kind == PLUMB_NODE_NAMED) {
            PLUMB_TRY(plumb_jinja_eval(r, a->a, &v));
            PLUMB_TRY(plumb_jinja_put_text(r->pool, named.d, a->name, v));
        } else {
            PLUMB_TRY(plumb_jinja_eval(r, a, &v));
            PLUMB_TRY(plumb_jinja_push(r->pool, at, v));
        }
    }
    *out = (struct plumb_jinja_args){ at.l->at, at.l->n, named.d };
    return PLUMB_OK;
}

int plumb_jinja_invoke(struct plumb_jinja_run *r, struct plumb_jinja_value f,
                       const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    PLUMB_TRY(plumb_jinja_step(r, 1));
    if (f.kind == PLUMB_JINJA_UNDEFINED)
        return plumb_jinja_wrong(r, "\"%s\" is undefined", f.name ? f.name : "value");
    if (f.kind != PLUMB_JINJA_OBJECT || !f.o->class->call)
        return plumb_jinja_wrong(r, "a %s cannot be called", plumb_jinja_type(f));
    if (r->depth >= PLUMB_JINJA_DEPTH) return plumb_jinja_wrong(r, "calls nest too deep");
    r->depth++;
    const int rc = f.o->class->call(r, f.o, args, out);
    r->depth--;
    return rc;
}

static int call(struct plumb_jinja_run *r, const struct plumb_node *e,
                struct plumb_jinja_value *out)
{
    struct plumb_jinja_value f;
    struct plumb_jinja_args args;
    PLUMB_TRY(plumb_jinja_eval(r, e->a, &f));
    PLUMB_TRY(arguments(r, e, &args));
    return plumb_jinja_invoke(r, f, &args, out);
}

int plumb_jinja_apply(struct plumb_jinja_run *r, const struct plumb_node *e,
                      struct plumb_jinja_value on, struct plumb_jinja_value *out)
{
    const struct plumb_jinja_function *f = e->entry;
    struct plumb_jinja_args args;
    if (!f)
        return plumb_jinja_wrong(r, "no %s named \"%s\"",
                                 e->kind == PLUMB_NODE_TEST ? "test" : "filter", e->name);
    PLUMB_TRY(plumb_jinja_step(r, 1));
    PLUMB_TRY(arguments(r, e, &args));
    PLUMB_TRY(plumb_jinja_look(r, on));
    return f->call(r, on, &args, out);
}

int plumb_jinja_apply_all(struct plumb_jinja_run *r, const struct plumb_node *e,
                          struct plumb_jinja_value on, struct plumb_jinja_value *out)
{
    if (e->a) PLUMB_TRY(plumb_jinja_apply_all(r, e->a, on, &on));
    return plumb_jinja_apply(r, e, on, out);
}

static int applied(struct plumb_jinja_run *r, const struct plumb_node *e,
                   struct plumb_jinja_value *out)
{
    struct plumb_jinja_value on;
    PLUMB_TRY(plumb_jinja_eval(r, e->a, &on));
    return plumb_jinja_apply(r, e, on, out);
}

static int item(struct plumb_jinja_run *r, const struct plumb_node *e,
                struct plumb_jinja_value *out)
{
    struct plumb_jinja_value on, index, part[3];
    PLUMB_TRY(plumb_jinja_eval(r, e->a, &on));
    if (e->b->kind != PLUMB_NODE_SLICE) {
        PLUMB_TRY(plumb_jinja_eval(r, e->b, &index));
        return plumb_jinja_item(r, on, index, out);
    }
    const struct plumb_node *const parts[] = { e->b->a, e->b->b, e->b->c };
    for (int i = 0; i < 3; i++) {
        part[i] = plumb_jinja_none();
        if (parts[i]) PLUMB_TRY(plumb_jinja_eval(r, parts[i], &part[i]));
    }
    if (on.kind == PLUMB_JINJA_UNDEFINED) return plumb_jinja_item(r, on, part[0], out);
    return plumb_jinja_slice(r, on, part, out);
}

static int attribute(struct plumb_jinja_run *r, const struct plumb_node *e,
                     struct plumb_jinja_value *out)
{
    struct plumb_jinja_value on;
    PLUMB_TRY(plumb_jinja_eval(r, e->a, &on));
    return plumb_jinja_attr(r, on, e->name, out);
}

/* and, or, not, if: what need not be evaluated is not. */
static int choice(struct plumb_jinja_run *r, const struct plumb_node *e,
                  struct plumb_jinja_value *out)
{
    struct plumb_jinja_value a;
    PLUMB_TRY(plumb_jinja_eval(r, e->a, &a));
    const bool holds = plumb_jinja_truth(a);
    *out = a;
    if (e->kind == PLUMB_NODE_NOT) *out = plumb_jinja_bool(!holds);
    if (e->kind == PLUMB_NODE_AND && holds) return plumb_jinja_eval(r, e->b, out);
    if (e->kind == PLUMB_NODE_OR && !holds) return plumb_jinja_eval(r, e->b, out);
    if (e->kind != PLUMB_NODE_COND) return PLUMB_OK;
    *out = plumb_jinja_undefined("the else of an inline if");
    const struct plumb_node *taken = holds ? e->b : e->c;
    return taken ? plumb_jinja_eval(r, taken, out) : PLUMB_OK;
}

static int evaluate(struct plumb_jinja_run *r, const struct plumb_node *e,
                    struct plumb_jinja_value *out)
{
    switch (e->kind) {
    case PLUMB_NODE_CONST: *out = e->value; return PLUMB_OK;
    case PLUMB_NODE_NAME: *out = look_up(r, e->name); return PLUMB_OK;
    case PLUMB_NODE_LIST:
    case PLUMB_NODE_TUPLE: return row(r, e, out);
    case PLUMB_NODE_DICT: return dictionary(r, e, out);
    case PLUMB_NODE_NOT:
    case PLUMB_NODE_AND:
    case PLUMB_NODE_OR:
    case PLUMB_NODE_COND: return choice(r, e, out);
    case PLUMB_NODE_NEGATE:
    case PLUMB_NODE_PLUS: return sign(r, e, out);
    case PLUMB_NODE_BINARY: return binary(r, e, out);
    case PLUMB_NODE_CONCAT: return concat(r, e, out);
    case PLUMB_NODE_COMPARE: return compare(r, e, out);
    case PLUMB_NODE_ATTR: return attribute(r, e, out);
    case PLUMB_NODE_ITEM: return item(r, e, out);
    case PLUMB_NODE_CALL: return call(r, e, out);
    case PLUMB_NODE_FILTER:
    case PLUMB_NODE_TEST: return applied(r, e, out);
    default: return plumb_jinja_wrong(r, "this is no expression");
    }
}

int plumb_jinja_eval(struct plumb_jinja_run *r, const struct plumb_node *e,
                     struct plumb_jinja_value *out)
{
    PLUMB_TRY(plumb_jinja_step(r, 1));
    *out = plumb_jinja_undefined(NULL);
    if (r->depth >= PLUMB_JINJA_DEPTH) return plumb_jinja_wrong(r, "the template nests too deep");
    r->depth++;
    const int rc = evaluate(r, e, out);
    r->depth--;
    return rc;
}
