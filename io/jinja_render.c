/* Renders the statements of a template. */
#include <string.h>

#include "io/jinja.h"
#include "io/jinja_run.h"

enum { JUMP_BREAK = 1, JUMP_CONTINUE = 2 }; /* positive: no status of a failure */

static int body(struct plumb_jinja_run *r, const struct plumb_node *b)
{
    for (int64_t i = 0; b && i < b->n; i++) {
        const int rc = plumb_jinja_do(r, b->list[i]);
        if (rc) return rc;
    }
    return PLUMB_OK;
}

/* A body in a scope of its own. */
static int scoped(struct plumb_jinja_run *r, const struct plumb_node *b)
{
    struct plumb_jinja_scope *outer = r->scope;
    PLUMB_TRY(plumb_jinja_open_scope(r, outer, &r->scope));
    const int rc = body(r, b);
    r->scope = outer;
    return rc;
}

int plumb_jinja_capture(struct plumb_jinja_run *r, const struct plumb_node *b,
                        struct plumb_jinja_value *out)
{
    struct plumb_jinja_out text = { .pool = r->pool }, *const outer = r->out;
    r->out = &text;
    r->captures++;
    const int rc = scoped(r, b);
    r->captures--;
    r->out = outer;
    return rc ? rc : plumb_jinja_written(&text, out);
}

/* `loop`: where it stands, and what recursion needs. */
struct loop {
    struct plumb_jinja_value items, changed;
    int64_t at, depth;
    bool has_changed;
    const struct plumb_node *node;
    struct plumb_jinja_scope *scope; /* around the loop */
};
static int walk(struct plumb_jinja_run *r, const struct plumb_node *s,
                struct plumb_jinja_scope *around, struct plumb_jinja_value over, int64_t depth);

/* loop(items): the same loop on other items. */
static int loop_call(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                     const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    const struct loop *l = self->data;
    struct plumb_jinja_out text = { .pool = r->pool }, *const outer = r->out;
    struct plumb_jinja_scope *const scope = r->scope;
    if (l->node->op != 'r') return plumb_jinja_wrong(r, "the loop is not recursive");
    if (args->n != 1) return plumb_jinja_wrong(r, "loop() wants one argument");
    r->out = &text;
    r->captures++;
    const int rc = walk(r, l->node, l->scope, args->at[0], l->depth + 1);
    r->captures--;
    r->out = outer;
    r->scope = scope;
    return rc ? rc : plumb_jinja_written(&text, out);
}

static int cycle(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                 const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    const struct loop *l = self->data;
    if (args->n == 0) return plumb_jinja_wrong(r, "loop.cycle wants items");
    *out = args->at[l->at % args->n];
    return PLUMB_OK;
}

static int changed(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                   const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    struct loop *l = self->data;
    struct plumb_jinja_value now;
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_TUPLE, args->n, &now));
    for (int64_t i = 0; i < args->n; i++)
        PLUMB_TRY(plumb_jinja_push(r->pool, now, args->at[i]));
    bool same = false;
    if (l->has_changed) PLUMB_TRY(plumb_jinja_same(r, l->changed, now, &same));
    *out = plumb_jinja_bool(!same);
    l->has_changed = true;
    l->changed = now;
    return PLUMB_OK;
}

static int loop_get(struct plumb_jinja_run *r, struct plumb_jinja_object *self, const char *name,
                    struct plumb_jinja_value *out)
{
    static const struct plumb_jinja_class cycle_class = { "method", cycle, NULL },
                                          changed_class = { "method", changed, NULL };
    const struct loop *l = self->data;
    const int64_t n = l->items.l->n, i = l->at;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = { { "index", i + 1 },        { "index0", i },       { "revindex", n - i },
                    { "length", n },           { "depth", l->depth }, { "revindex0", n - i - 1 },
                    { "depth0", l->depth - 1 } };
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
        if (!strcmp(name, numbers[k].name)) *out = plumb_jinja_int(numbers[k].value);
    if (!strcmp(name, "first")) *out = plumb_jinja_bool(i == 0);
    if (!strcmp(name, "last")) *out = plumb_jinja_bool(i == n - 1);
    if (!strcmp(name, "previtem") && i > 0) *out = l->items.l->at[i - 1];
    if (!strcmp(name, "nextitem") && i < n - 1) *out = l->items.l->at[i + 1];
    if (!strcmp(name, "cycle")) return plumb_jinja_object(r->pool, &cycle_class, self->data, out);
    if (!strcmp(name, "changed"))
        return plumb_jinja_object(r->pool, &changed_class, self->data, out);
    return PLUMB_OK;
}
static const struct plumb_jinja_class loop_class = { "LoopContext", loop_call, loop_get };

/* The items that the loop's own `if` lets through, each tried in a scope of its own. */
static int chosen(struct plumb_jinja_run *r, const struct plumb_node *s,
                  struct plumb_jinja_scope *around, struct plumb_jinja_value *items)
{
    struct plumb_jinja_value kept, test;
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_LIST, 0, &kept));
    for (int64_t i = 0; i < items->l->n; i++) {
        PLUMB_TRY(plumb_jinja_open_scope(r, around, &r->scope));
        PLUMB_TRY(plumb_jinja_assign(r, s->a, items->l->at[i]));
        PLUMB_TRY(plumb_jinja_eval(r, s->c, &test));
        if (plumb_jinja_truth(test)) PLUMB_TRY(plumb_jinja_push(r->pool, kept, items->l->at[i]));
    }
    *items = kept;
    return PLUMB_OK;
}

static int walk(struct plumb_jinja_run *r, const struct plumb_node *s,
                struct plumb_jinja_scope *around, struct plumb_jinja_value over, int64_t depth)
{
    void *p;
    struct plumb_jinja_value self;
    PLUMB_TRY(plumb_jinja_take(r->pool, sizeof(struct loop), &p));
    struct loop *l = p;
    *l = (struct loop){ .node = s, .scope = around, .depth = depth };
    PLUMB_TRY(plumb_jinja_items(r, over, &l->items));
    PLUMB_TRY(plumb_jinja_object(r->pool, &loop_class, l, &self));
    if (s->c) PLUMB_TRY(chosen(r, s, around, &l->items));
    for (; l->at < l->items.l->n; l->at++) {
        PLUMB_TRY(plumb_jinja_step(r, 1));
        PLUMB_TRY(plumb_jinja_open_scope(r, around, &r->scope));
        PLUMB_TRY(plumb_jinja_put_text(r->pool, r->scope->names, "loop", self));
        PLUMB_TRY(plumb_jinja_assign(r, s->a, l->items.l->at[l->at]));
        const int rc = body(r, s->body);
        if (rc < 0) return rc;
        if (rc == JUMP_BREAK) break;
    }
    r->scope = around;
    return l->items.l->n == 0 && s->other ? scoped(r, s->other) : PLUMB_OK;
}

static int for_loop(struct plumb_jinja_run *r, const struct plumb_node *s)
{
    struct plumb_jinja_scope *around = r->scope;
    struct plumb_jinja_value over;
    PLUMB_TRY(plumb_jinja_eval(r, s->b, &over));
    const int rc = walk(r, s, around, over, 1);
    r->scope = around;
    return rc;
}

/* A macro, or what {% call %} gives as caller(). */
struct macro {
    const struct plumb_node *node;
    struct plumb_jinja_scope *scope; /* where it was defined */
    struct plumb_jinja_value caller; /* of a call in progress */
};

static bool mentions(const struct plumb_node *n, const char *name)
{
    if (!n) return false;
    if (n->kind == PLUMB_NODE_NAME && !strcmp(n->name, name)) return true;
    const struct plumb_node *const parts[] = { n->a, n->b, n->c, n->body, n->other };
    for (int i = 0; i < 5; i++)
        if (mentions(parts[i], name)) return true;
    for (int64_t i = 0; i < n->n; i++)
        if (mentions(n->list[i], name)) return true;
    return false;
}

/* What is left of the arguments goes into varargs and kwargs, where the body reads them. */
static int leftovers(struct plumb_jinja_run *r, const struct macro *m,
                     const struct plumb_jinja_args *args)
{
    const struct plumb_node *s = m->node;
    struct plumb_jinja_value rest, named;
    PLUMB_TRY(plumb_jinja_row(r->pool, PLUMB_JINJA_TUPLE, 0, &rest));
    PLUMB_TRY(plumb_jinja_dict(r->pool, &named));
    for (int64_t i = s->n; i < args->n; i++)
        PLUMB_TRY(plumb_jinja_push(r->pool, rest, args->at[i]));
    for (int64_t i = 0; i < args->named->n; i++) {
        const struct plumb_jinja_entry *e = &args->named->at[i];
        bool known = plumb_jinja_is_text(e->key, "caller");
        for (int64_t k = 0; k < s->n; k++)
            known = known || plumb_jinja_is_text(e->key, s->list[k]->name);
        if (!known) PLUMB_TRY(plumb_jinja_put(r->pool, named.d, e->key, e->value));
    }
    if ((rest.l->n && !mentions(s->body, "varargs")) ||
        (named.d->n && !mentions(s->body, "kwargs")))
        return plumb_jinja_wrong(r, "the macro has no such parameter");
    PLUMB_TRY(plumb_jinja_put_text(r->pool, r->scope->names, "varargs", rest));
    return plumb_jinja_put_text(r->pool, r->scope->names, "kwargs", named);
}

static int parameters(struct plumb_jinja_run *r, const struct macro *m,
                      const struct plumb_jinja_args *args)
{
    const struct plumb_node *s = m->node;
    for (int64_t i = 0; i < s->n; i++) {
        const struct plumb_jinja_value *named = plumb_jinja_find_text(args->named,
                                                                      s->list[i]->name);
        struct plumb_jinja_value v = plumb_jinja_undefined(s->list[i]->name);
        if (named && i < args->n)
            return plumb_jinja_wrong(r, "parameter \"%s\" is given twice", s->list[i]->name);
        if (named)
            v = *named;
        else if (i < args->n)
            v = args->at[i];
        else if (s->list[i]->kind == PLUMB_NODE_NAMED)
            PLUMB_TRY(plumb_jinja_eval(r, s->list[i]->a, &v));
        PLUMB_TRY(plumb_jinja_put_text(r->pool, r->scope->names, s->list[i]->name, v));
    }
    const struct plumb_jinja_value *caller = plumb_jinja_find_text(args->named, "caller");
    if (caller) PLUMB_TRY(plumb_jinja_put_text(r->pool, r->scope->names, "caller", *caller));
    return leftovers(r, m, args);
}

static int macro_call(struct plumb_jinja_run *r, struct plumb_jinja_object *self,
                      const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    const struct macro *m = self->data;
    struct plumb_jinja_scope *const scope = r->scope;
    PLUMB_TRY(plumb_jinja_open_scope(r, m->scope, &r->scope));
    int rc = parameters(r, m, args);
    if (!rc) rc = plumb_jinja_capture(r, m->node->body, out);
    r->scope = scope;
    return rc;
}

static int macro_get(struct plumb_jinja_run *r, struct plumb_jinja_object *self, const char *name,
                     struct plumb_jinja_value *out)
{
    const struct macro *m = self->data;
    return !strcmp(name, "name") && m->node->name ? plumb_jinja_text(r->pool, m->node->name, out)
                                                  : PLUMB_OK;
}
static const struct plumb_jinja_class macro_class = { "Macro", macro_call, macro_get };

static int define(struct plumb_jinja_run *r, const struct plumb_node *s,
                  struct plumb_jinja_value *out)
{
    void *p;
    PLUMB_TRY(plumb_jinja_take(r->pool, sizeof(struct macro), &p));
    *(struct macro *)p = (struct macro){ .node = s, .scope = r->scope };
    return plumb_jinja_object(r->pool, &macro_class, p, out);
}

static int caller(struct plumb_jinja_run *r, const struct plumb_node *s)
{
    struct plumb_jinja_value made, text;
    struct plumb_jinja_scope *const scope = r->scope;
    const char *const hidden = " caller"; /* no template can write this name */
    PLUMB_TRY(define(r, s, &made));
    PLUMB_TRY(plumb_jinja_open_scope(r, scope, &r->scope));
    PLUMB_TRY(plumb_jinja_put_text(r->pool, r->scope->names, hidden, made));
    /* the call as written, with caller=... among its arguments */
    struct plumb_node value = { .kind = PLUMB_NODE_NAME, .line = s->line, .name = hidden };
    struct plumb_node named = { .kind = PLUMB_NODE_NAMED, .name = "caller", .a = &value };
    struct plumb_node call = *s->a;
    void *list;
    PLUMB_TRY(plumb_jinja_take(r->pool, (size_t)(call.n + 1) * sizeof *call.list, &list));
    if (call.n) memcpy(list, call.list, (size_t)call.n * sizeof *call.list);
    call.list = list;
    call.list[call.n++] = &named;
    const int rc = plumb_jinja_eval(r, &call, &text);
    r->scope = scope;
    return rc ? rc : plumb_jinja_write_str(r, r->out, text);
}

static int set_block(struct plumb_jinja_run *r, const struct plumb_node *s)
{
    struct plumb_jinja_value text;
    if (s->op == 'u' && !plumb_jinja_find_text(r->scope->names, s->a->name))
        PLUMB_TRY(plumb_jinja_assign(r, s->a, plumb_jinja_undefined(s->a->name)));
    PLUMB_TRY(plumb_jinja_capture(r, s->body, &text));
    if (s->b) PLUMB_TRY(plumb_jinja_apply_all(r, s->b, text, &text));
    return plumb_jinja_assign(r, s->a, text);
}

static int filter_block(struct plumb_jinja_run *r, const struct plumb_node *s)
{
    struct plumb_jinja_value text;
    PLUMB_TRY(plumb_jinja_capture(r, s->body, &text));
    PLUMB_TRY(plumb_jinja_apply_all(r, s->a, text, &text));
    return plumb_jinja_write_str(r, r->out, text);
}

static int with(struct plumb_jinja_run *r, const struct plumb_node *s)
{
    struct plumb_jinja_scope *const outer = r->scope;
    struct plumb_jinja_scope *inner;
    PLUMB_TRY(plumb_jinja_open_scope(r, outer, &inner));
    for (int64_t i = 0; i < s->n; i++) {
        struct plumb_jinja_value v;
        PLUMB_TRY(plumb_jinja_eval(r, s->list[i]->a, &v));
        r->scope = inner;
        PLUMB_TRY(plumb_jinja_assign(r, s->list[i]->b, v));
        r->scope = outer;
    }
    r->scope = inner;
    const int rc = body(r, s->body);
    r->scope = outer;
    return rc;
}

/* The assistant's text: where it begins and ends is kept, unless a block around keeps the text. */
static int generation(struct plumb_jinja_run *r, const struct plumb_node *s)
{
    const size_t first = r->out->n;
    PLUMB_TRY(scoped(r, s->body));
    if (r->captures) return PLUMB_OK;
    const struct plumb_jinja_value row = { .kind = PLUMB_JINJA_LIST, .l = r->spans };
    PLUMB_TRY(plumb_jinja_push(r->pool, row, plumb_jinja_int((int64_t)first)));
    return plumb_jinja_push(r->pool, row, plumb_jinja_int((int64_t)r->out->n));
}

static int statement(struct plumb_jinja_run *r, const struct plumb_node *s)
{
    struct plumb_jinja_value v;
    switch (s->kind) {
    case PLUMB_NODE_DATA: return plumb_jinja_write(r->out, s->value.s->at, s->value.s->n);
    case PLUMB_NODE_PRINT:
        PLUMB_TRY(plumb_jinja_eval(r, s->a, &v));
        return plumb_jinja_write_str(r, r->out, v);
    case PLUMB_NODE_BODY: return body(r, s);
    case PLUMB_NODE_IF:
        PLUMB_TRY(plumb_jinja_eval(r, s->a, &v));
        if (plumb_jinja_truth(v)) return body(r, s->b);
        return s->c ? plumb_jinja_do(r, s->c) : PLUMB_OK;
    case PLUMB_NODE_FOR: return for_loop(r, s);
    case PLUMB_NODE_SET:
        PLUMB_TRY(plumb_jinja_eval(r, s->b, &v));
        return plumb_jinja_assign(r, s->a, v);
    case PLUMB_NODE_SET_BLOCK: return set_block(r, s);
    case PLUMB_NODE_MACRO:
        PLUMB_TRY(define(r, s, &v));
        return plumb_jinja_put_text(r->pool, r->scope->names, s->name, v);
    case PLUMB_NODE_CALLER: return caller(r, s);
    case PLUMB_NODE_FILTER_BLOCK: return filter_block(r, s);
    case PLUMB_NODE_WITH: return with(r, s);
    case PLUMB_NODE_GENERATION: return generation(r, s);
    case PLUMB_NODE_BREAK: return JUMP_BREAK;
    case PLUMB_NODE_CONTINUE: return JUMP_CONTINUE;
    default: return plumb_jinja_wrong(r, "this is no statement");
    }
}

int plumb_jinja_do(struct plumb_jinja_run *r, const struct plumb_node *s)
{
    r->line = s->line;
    PLUMB_TRY(plumb_jinja_step(r, 1));
    if (r->depth >= PLUMB_JINJA_DEPTH) return plumb_jinja_wrong(r, "the template nests too deep");
    r->depth++;
    const int rc = statement(r, s);
    r->depth--;
    return rc;
}
