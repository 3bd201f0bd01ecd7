/* Statements of templates, and what both halves of the parser stand on. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/jinja_ast.h"
#include "io/jinja_run.h"

int plumb_jinja_fault(const struct plumb_parser *p, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return plumb_fail(PLUMB_EFORMAT, "%s:%d: %s", p->name, p->t->line, text);
}

int plumb_jinja_node(struct plumb_parser *p, enum plumb_jinja_node_kind kind,
                     struct plumb_node **out)
{
    void *at;
    PLUMB_TRY(plumb_jinja_take(p->pool, sizeof **out, &at));
    *out = at;
    (*out)->kind = kind;
    (*out)->line = p->t->line;
    return PLUMB_OK;
}

int plumb_jinja_append(struct plumb_parser *p, struct plumb_node *to, struct plumb_node *item)
{
    if ((to->n & (to->n - 1)) == 0) { /* full at powers of two */
        void *at;
        PLUMB_TRY(
            plumb_jinja_take(p->pool, (size_t)(to->n ? 2 * to->n : 1) * sizeof *to->list, &at));
        if (to->n) memcpy(at, to->list, (size_t)to->n * sizeof *to->list);
        to->list = at;
    }
    to->list[to->n++] = item;
    return PLUMB_OK;
}

bool plumb_jinja_at(const struct plumb_parser *p, const char *op)
{
    return p->t->kind == PLUMB_TOKEN_OPERATOR && !strcmp(p->t->text, op);
}

bool plumb_jinja_at_name(const struct plumb_parser *p, const char *name)
{
    return p->t->kind == PLUMB_TOKEN_NAME && plumb_jinja_is_text(p->t->value, name);
}

bool plumb_jinja_skip(struct plumb_parser *p, const char *op)
{
    const bool is = plumb_jinja_at(p, op);
    p->t += is;
    return is;
}

bool plumb_jinja_skip_name(struct plumb_parser *p, const char *name)
{
    const bool is = plumb_jinja_at_name(p, name);
    p->t += is;
    return is;
}

int plumb_jinja_expect(struct plumb_parser *p, const char *op)
{
    return plumb_jinja_skip(p, op) ? PLUMB_OK : plumb_jinja_fault(p, "\"%s\" is missing", op);
}

int plumb_jinja_take_name(struct plumb_parser *p, const char **out)
{
    if (p->t->kind != PLUMB_TOKEN_NAME) return plumb_jinja_fault(p, "a name is missing");
    *out = p->t->value.s->at;
    p->t++;
    return PLUMB_OK;
}

int plumb_jinja_take_variable(struct plumb_parser *p, const char **out)
{
    const struct plumb_jinja_value name = p->t->value;
    PLUMB_TRY(plumb_jinja_take_name(p, out));
    return plumb_jinja_put(p->pool, p->seen, name, plumb_jinja_bool(true));
}

int plumb_jinja_enter(struct plumb_parser *p)
{
    return p->depth++ < PLUMB_JINJA_DEPTH ? PLUMB_OK
                                          : plumb_jinja_fault(p, "the template nests too deep");
}

static int end_of_block(struct plumb_parser *p)
{
    if (p->t->kind != PLUMB_TOKEN_BLOCK_END) return plumb_jinja_fault(p, "\"%%}\" is missing");
    p->t++;
    return PLUMB_OK;
}

/* Whether a {% tag with this name is next. */
static bool at_tag(const struct plumb_parser *p, const char *name)
{
    return p->t->kind == PLUMB_TOKEN_BLOCK && p->t[1].kind == PLUMB_TOKEN_NAME &&
           plumb_jinja_is_text(p->t[1].value, name);
}

/* A body up to one of the tags, which stays unread. */
static int body(struct plumb_parser *p, const char *const *ends, struct plumb_node **out)
{
    PLUMB_TRY(plumb_jinja_enter(p));
    PLUMB_TRY(plumb_jinja_parse_body(p, ends, out));
    p->depth--;
    return PLUMB_OK;
}

/* The body that tag `end` closes, with the tag, where names are looked up afresh. */
static int closed_body(struct plumb_parser *p, const char *end, struct plumb_node **out)
{
    const char *const ends[] = { end, NULL };
    const bool soft = p->soft;
    PLUMB_TRY(end_of_block(p));
    p->soft = false;
    PLUMB_TRY(body(p, ends, out));
    p->soft = soft;
    p->t += 2;
    return end_of_block(p);
}

static int if_block(struct plumb_parser *p, struct plumb_node *s)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    static const char *const last[] = { "endif", NULL };
    s->kind = PLUMB_NODE_IF;
    const bool soft = p->soft;
    p->soft = true;
    PLUMB_TRY(plumb_jinja_tuple(p, false, &s->a));
    PLUMB_TRY(end_of_block(p));
    PLUMB_TRY(body(p, ends, &s->b));
    while (at_tag(p, "elif")) {
        struct plumb_node *other;
        p->t += 2;
        PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_IF, &other));
        PLUMB_TRY(plumb_jinja_tuple(p, false, &other->a));
        PLUMB_TRY(end_of_block(p));
        PLUMB_TRY(body(p, ends, &other->b));
        s->c = other;
        s = other;
    }
    if (at_tag(p, "else")) {
        p->t += 2;
        PLUMB_TRY(end_of_block(p));
        PLUMB_TRY(body(p, last, &s->c));
    }
    p->soft = soft;
    p->t += 2;
    return end_of_block(p);
}

static int for_block(struct plumb_parser *p, struct plumb_node *s)
{
    static const char *const ends[] = { "endfor", "else", NULL };
    static const char *const last[] = { "endfor", NULL };
    const bool soft = p->soft, in_loop = p->in_loop;
    s->kind = PLUMB_NODE_FOR;
    PLUMB_TRY(plumb_jinja_target(p, false, &s->a));
    if (!plumb_jinja_skip_name(p, "in")) return plumb_jinja_fault(p, "\"in\" is missing");
    PLUMB_TRY(plumb_jinja_tuple(p, false, &s->b));
    if (plumb_jinja_skip_name(p, "if")) PLUMB_TRY(plumb_jinja_expression(p, &s->c));
    s->op = plumb_jinja_skip_name(p, "recursive") ? 'r' : 0;
    PLUMB_TRY(end_of_block(p));
    p->soft = false;
    p->in_loop = true;
    PLUMB_TRY(body(p, ends, &s->body));
    p->in_loop = in_loop;
    if (at_tag(p, "else")) {
        p->t += 2;
        PLUMB_TRY(end_of_block(p));
        PLUMB_TRY(body(p, last, &s->other));
    }
    p->soft = soft;
    p->t += 2;
    return end_of_block(p);
}

static int set(struct plumb_parser *p, struct plumb_node *s)
{
    /* Jinja2 takes a name that is set before it is read, not in a branch, for the block's own: its
     * body does not see a variable of that name. */
    const bool own = p->t->kind == PLUMB_TOKEN_NAME && !p->soft &&
                     !plumb_jinja_find(p->seen, p->t->value);
    PLUMB_TRY(plumb_jinja_target(p, true, &s->a));
    if (plumb_jinja_skip(p, "=")) {
        s->kind = PLUMB_NODE_SET;
        PLUMB_TRY(plumb_jinja_tuple(p, true, &s->b));
        return end_of_block(p);
    }
    s->kind = PLUMB_NODE_SET_BLOCK;
    s->op = own && s->a->kind == PLUMB_NODE_NAME ? 'u' : 0;
    PLUMB_TRY(plumb_jinja_filters(p, NULL, false, &s->b));
    return closed_body(p, "endset", &s->body);
}

/* Parameters of a macro or a caller, the opening bracket read. */
static int signature(struct plumb_parser *p, struct plumb_node *s)
{
    while (!plumb_jinja_skip(p, ")")) {
        struct plumb_node *parameter;
        if (s->n) PLUMB_TRY(plumb_jinja_expect(p, ","));
        PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_NAME, &parameter));
        PLUMB_TRY(plumb_jinja_take_name(p, &parameter->name));
        if (plumb_jinja_skip(p, "=")) {
            parameter->kind = PLUMB_NODE_NAMED;
            PLUMB_TRY(plumb_jinja_expression(p, &parameter->a));
        } else if (s->n && s->list[s->n - 1]->kind == PLUMB_NODE_NAMED) {
            return plumb_jinja_fault(p, "a parameter without a default after one that has it");
        }
        PLUMB_TRY(plumb_jinja_append(p, s, parameter));
    }
    return PLUMB_OK;
}

static int macro(struct plumb_parser *p, struct plumb_node *s)
{
    const bool in_loop = p->in_loop;
    s->kind = PLUMB_NODE_MACRO;
    PLUMB_TRY(plumb_jinja_take_name(p, &s->name));
    PLUMB_TRY(plumb_jinja_expect(p, "("));
    PLUMB_TRY(signature(p, s));
    p->in_loop = false;
    PLUMB_TRY(closed_body(p, "endmacro", &s->body));
    p->in_loop = in_loop;
    return PLUMB_OK;
}

static int caller(struct plumb_parser *p, struct plumb_node *s)
{
    const bool in_loop = p->in_loop;
    s->kind = PLUMB_NODE_CALLER;
    if (plumb_jinja_skip(p, "(")) PLUMB_TRY(signature(p, s));
    PLUMB_TRY(plumb_jinja_expression(p, &s->a));
    if (s->a->kind != PLUMB_NODE_CALL) return plumb_jinja_fault(p, "{%% call %%} wants a call");
    p->in_loop = false;
    PLUMB_TRY(closed_body(p, "endcall", &s->body));
    p->in_loop = in_loop;
    return PLUMB_OK;
}

static int filter_block(struct plumb_parser *p, struct plumb_node *s)
{
    s->kind = PLUMB_NODE_FILTER_BLOCK;
    PLUMB_TRY(plumb_jinja_filters(p, NULL, true, &s->a));
    return closed_body(p, "endfilter", &s->body);
}

static int with_block(struct plumb_parser *p, struct plumb_node *s)
{
    s->kind = PLUMB_NODE_WITH;
    while (p->t->kind != PLUMB_TOKEN_BLOCK_END) {
        struct plumb_node *one;
        if (s->n) PLUMB_TRY(plumb_jinja_expect(p, ","));
        PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_NAMED, &one));
        PLUMB_TRY(plumb_jinja_target(p, false, &one->b));
        PLUMB_TRY(plumb_jinja_expect(p, "="));
        PLUMB_TRY(plumb_jinja_expression(p, &one->a));
        PLUMB_TRY(plumb_jinja_append(p, s, one));
    }
    return closed_body(p, "endwith", &s->body);
}

static int generation(struct plumb_parser *p, struct plumb_node *s)
{
    s->kind = PLUMB_NODE_GENERATION;
    return closed_body(p, "endgeneration", &s->body);
}

static int jump(struct plumb_parser *p, struct plumb_node *s, enum plumb_jinja_node_kind kind)
{
    s->kind = kind;
    if (!p->in_loop) return plumb_jinja_fault(p, "break or continue outside a loop");
    return end_of_block(p);
}

static int break_tag(struct plumb_parser *p, struct plumb_node *s)
{
    return jump(p, s, PLUMB_NODE_BREAK);
}

static int continue_tag(struct plumb_parser *p, struct plumb_node *s)
{
    return jump(p, s, PLUMB_NODE_CONTINUE);
}

static const struct {
    const char *name;
    int (*parse)(struct plumb_parser *p, struct plumb_node *s);
} statements[] = {
    { "if", if_block },           { "for", for_block },   { "set", set },
    { "macro", macro },           { "call", caller },     { "filter", filter_block },
    { "with", with_block },       { "break", break_tag }, { "continue", continue_tag },
    { "generation", generation },
};

static int statement(struct plumb_parser *p, struct plumb_node **out)
{
    const char *name;
    p->t++;
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_BODY, out));
    PLUMB_TRY(plumb_jinja_take_name(p, &name));
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (!strcmp(statements[i].name, name)) return statements[i].parse(p, *out);
    return plumb_jinja_fault(p, "tag \"%s\" is unknown or misplaced", name);
}

static int print(struct plumb_parser *p, struct plumb_node **out)
{
    p->t++;
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_PRINT, out));
    PLUMB_TRY(plumb_jinja_tuple(p, true, &(*out)->a));
    if (p->t->kind != PLUMB_TOKEN_PRINT_END) return plumb_jinja_fault(p, "\"}}\" is missing");
    p->t++;
    return PLUMB_OK;
}

int plumb_jinja_parse_body(struct plumb_parser *p, const char *const *ends, struct plumb_node **out)
{
    struct plumb_node *item;
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_BODY, out));
    while (p->t->kind != PLUMB_TOKEN_END) {
        for (int i = 0; ends && ends[i]; i++)
            if (at_tag(p, ends[i])) return PLUMB_OK;
        if (p->t->kind == PLUMB_TOKEN_DATA) {
            PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_DATA, &item));
            item->value = p->t++->value;
        } else if (p->t->kind == PLUMB_TOKEN_PRINT) {
            PLUMB_TRY(print(p, &item));
        } else {
            PLUMB_TRY(statement(p, &item));
        }
        PLUMB_TRY(plumb_jinja_append(p, *out, item));
    }
    return ends ? plumb_jinja_fault(p, "the template ends before its \"%s\"", ends[0]) : PLUMB_OK;
}
