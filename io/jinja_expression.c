/* Expressions of templates, by Jinja2's precedence. */
#include <string.h>

#include "io/jinja_ast.h"
#include "io/jinja_run.h"

static int unary(struct plumb_parser *p, bool filters, struct plumb_node **out);

static int wrap(struct plumb_parser *p, enum plumb_jinja_node_kind kind, char op,
                struct plumb_node *a, struct plumb_node *b, struct plumb_node **out)
{
    PLUMB_TRY(plumb_jinja_node(p, kind, out));
    (*out)->op = op;
    (*out)->a = a;
    (*out)->b = b;
    return PLUMB_OK;
}

/* Arguments of a call up to the closing bracket, the opening one read. */
static int arguments(struct plumb_parser *p, struct plumb_node *call)
{
    bool first = true;
    while (!plumb_jinja_skip(p, ")")) {
        struct plumb_node *arg, *value;
        if (!first) PLUMB_TRY(plumb_jinja_expect(p, ","));
        first = false;
        if (plumb_jinja_skip(p, ")")) break;
        const bool two = plumb_jinja_skip(p, "**"), one = !two && plumb_jinja_skip(p, "*");
        const struct plumb_jinja_token *after = p->t + 1;
        const bool named = !one && !two && p->t->kind == PLUMB_TOKEN_NAME &&
                           after->kind == PLUMB_TOKEN_OPERATOR && !strcmp(after->text, "=");
        PLUMB_TRY(plumb_jinja_node(p,
                                   named ? PLUMB_NODE_NAMED
                                   : two ? PLUMB_NODE_SPREAD_NAMED
                                         : PLUMB_NODE_SPREAD,
                                   &arg));
        if (named) {
            PLUMB_TRY(plumb_jinja_take_name(p, &arg->name));
            p->t++;
        }
        PLUMB_TRY(plumb_jinja_expression(p, &value));
        arg->a = value;
        PLUMB_TRY(plumb_jinja_append(p, call, named || one || two ? arg : value));
    }
    return PLUMB_OK;
}

/* One part of what stands in [ ]: an expression or a slice. */
static int subscript(struct plumb_parser *p, struct plumb_node **out)
{
    struct plumb_node *part[3] = { NULL, NULL, NULL };
    int at = 0;
    bool slice = false;
    while (!plumb_jinja_at(p, "]") && !plumb_jinja_at(p, ",")) {
        if (plumb_jinja_skip(p, ":")) {
            slice = true;
            if (++at > 2) return plumb_jinja_fault(p, "a slice has three parts");
        } else {
            if (part[at]) return plumb_jinja_fault(p, "\"]\" is missing");
            PLUMB_TRY(plumb_jinja_expression(p, &part[at]));
        }
    }
    *out = part[0];
    if (!slice) return part[0] ? PLUMB_OK : plumb_jinja_fault(p, "nothing stands between []");
    PLUMB_TRY(wrap(p, PLUMB_NODE_SLICE, 0, part[0], part[1], out));
    (*out)->c = part[2];
    return PLUMB_OK;
}

static int brackets(struct plumb_parser *p, struct plumb_node *on, struct plumb_node **out)
{
    struct plumb_node *index, *tuple;
    PLUMB_TRY(subscript(p, &index));
    if (plumb_jinja_at(p, ",")) {
        PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_TUPLE, &tuple));
        PLUMB_TRY(plumb_jinja_append(p, tuple, index));
        while (plumb_jinja_skip(p, ",")) {
            PLUMB_TRY(subscript(p, &index));
            PLUMB_TRY(plumb_jinja_append(p, tuple, index));
        }
        index = tuple;
    }
    PLUMB_TRY(plumb_jinja_expect(p, "]"));
    return wrap(p, PLUMB_NODE_ITEM, 0, on, index, out);
}

static int attribute(struct plumb_parser *p, struct plumb_node *on, struct plumb_node **out)
{
    if (p->t->kind == PLUMB_TOKEN_NUMBER && p->t->value.kind == PLUMB_JINJA_INT) {
        struct plumb_node *index;
        PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_CONST, &index));
        index->value = p->t++->value;
        return wrap(p, PLUMB_NODE_ITEM, 0, on, index, out);
    }
    PLUMB_TRY(wrap(p, PLUMB_NODE_ATTR, 0, on, NULL, out));
    return plumb_jinja_take_name(p, &(*out)->name);
}

static int call(struct plumb_parser *p, struct plumb_node *on, struct plumb_node **out)
{
    PLUMB_TRY(wrap(p, PLUMB_NODE_CALL, 0, on, NULL, out));
    return arguments(p, *out);
}

static int postfix(struct plumb_parser *p, struct plumb_node **on)
{
    for (;;) {
        if (plumb_jinja_skip(p, "."))
            PLUMB_TRY(attribute(p, *on, on));
        else if (plumb_jinja_skip(p, "["))
            PLUMB_TRY(brackets(p, *on, on));
        else if (plumb_jinja_skip(p, "("))
            PLUMB_TRY(call(p, *on, on));
        else
            return PLUMB_OK;
    }
}

/* What `is` tests: a name, and one argument that may lack its brackets. */
static int test(struct plumb_parser *p, struct plumb_node *on, struct plumb_node **out)
{
    const bool negated = plumb_jinja_skip_name(p, "not");
    struct plumb_node *t, *arg;
    PLUMB_TRY(wrap(p, PLUMB_NODE_TEST, 0, on, NULL, &t));
    PLUMB_TRY(plumb_jinja_take_name(p, &t->name));
    t->entry = plumb_jinja_test_find(t->name);
    t->soft = p->soft;
    if (!t->entry && !p->soft) return plumb_jinja_fault(p, "no test named \"%s\"", t->name);
    const enum plumb_jinja_token_kind k = p->t->kind;
    const bool bare = (k == PLUMB_TOKEN_NAME && !plumb_jinja_at_name(p, "else") &&
                       !plumb_jinja_at_name(p, "or") && !plumb_jinja_at_name(p, "and")) ||
                      k == PLUMB_TOKEN_STRING || k == PLUMB_TOKEN_NUMBER ||
                      plumb_jinja_at(p, "[") || plumb_jinja_at(p, "{");
    if (plumb_jinja_skip(p, "(")) {
        PLUMB_TRY(arguments(p, t));
    } else if (bare) {
        if (plumb_jinja_at_name(p, "is")) return plumb_jinja_fault(p, "tests cannot be chained");
        const bool is_if = plumb_jinja_at_name(p, "if");
        if (!is_if) {
            PLUMB_TRY(unary(p, false, &arg));
            PLUMB_TRY(plumb_jinja_append(p, t, arg));
        }
    }
    *out = t;
    return negated ? wrap(p, PLUMB_NODE_NOT, 0, t, NULL, out) : PLUMB_OK;
}

int plumb_jinja_filters(struct plumb_parser *p, struct plumb_node *on, bool first,
                        struct plumb_node **out)
{
    *out = on;
    while (first || plumb_jinja_skip(p, "|")) {
        struct plumb_node *f;
        first = false;
        PLUMB_TRY(wrap(p, PLUMB_NODE_FILTER, 0, *out, NULL, &f));
        PLUMB_TRY(plumb_jinja_take_name(p, &f->name));
        f->entry = plumb_jinja_filter_find(f->name);
        f->soft = p->soft;
        if (!f->entry && !p->soft) return plumb_jinja_fault(p, "no filter named \"%s\"", f->name);
        if (plumb_jinja_skip(p, "(")) PLUMB_TRY(arguments(p, f));
        *out = f;
    }
    return PLUMB_OK;
}

/* Filters, tests and calls of what came out of them. */
static int filtered(struct plumb_parser *p, struct plumb_node **on)
{
    for (;;) {
        if (plumb_jinja_at(p, "|"))
            PLUMB_TRY(plumb_jinja_filters(p, *on, false, on));
        else if (plumb_jinja_skip_name(p, "is"))
            PLUMB_TRY(test(p, *on, on));
        else if (plumb_jinja_skip(p, "("))
            PLUMB_TRY(call(p, *on, on));
        else
            return PLUMB_OK;
    }
}

static int list(struct plumb_parser *p, struct plumb_node **out)
{
    struct plumb_node *item;
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_LIST, out));
    while (!plumb_jinja_skip(p, "]")) {
        if ((*out)->n) PLUMB_TRY(plumb_jinja_expect(p, ","));
        if (plumb_jinja_skip(p, "]")) break;
        PLUMB_TRY(plumb_jinja_expression(p, &item));
        PLUMB_TRY(plumb_jinja_append(p, *out, item));
    }
    return PLUMB_OK;
}

static int dictionary(struct plumb_parser *p, struct plumb_node **out)
{
    struct plumb_node *item;
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_DICT, out));
    while (!plumb_jinja_skip(p, "}")) {
        if ((*out)->n) PLUMB_TRY(plumb_jinja_expect(p, ","));
        if (plumb_jinja_skip(p, "}")) break;
        PLUMB_TRY(plumb_jinja_expression(p, &item));
        PLUMB_TRY(plumb_jinja_append(p, *out, item));
        PLUMB_TRY(plumb_jinja_expect(p, ":"));
        PLUMB_TRY(plumb_jinja_expression(p, &item));
        PLUMB_TRY(plumb_jinja_append(p, *out, item));
    }
    return PLUMB_OK;
}

static int constant(struct plumb_parser *p, struct plumb_jinja_value v, struct plumb_node **out)
{
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_CONST, out));
    (*out)->value = v;
    p->t++;
    return PLUMB_OK;
}

/* String literals side by side are one. */
static int strings(struct plumb_parser *p, struct plumb_node **out)
{
    struct plumb_jinja_out text = { .pool = p->pool };
    struct plumb_jinja_value v = p->t->value;
    if (p->t[1].kind != PLUMB_TOKEN_STRING) return constant(p, v, out);
    for (; p->t->kind == PLUMB_TOKEN_STRING; p->t++)
        PLUMB_TRY(plumb_jinja_write(&text, p->t->value.s->at, p->t->value.s->n));
    p->t--;
    PLUMB_TRY(plumb_jinja_written(&text, &v));
    return constant(p, v, out);
}

static int name(struct plumb_parser *p, struct plumb_node **out)
{
    static const char *const words[] = { "true", "True", "false", "False", "none", "None" };
    for (int i = 0; i < 6; i++)
        if (plumb_jinja_at_name(p, words[i]))
            return constant(p, i < 4 ? plumb_jinja_bool(i < 2) : plumb_jinja_none(), out);
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_NAME, out));
    return plumb_jinja_take_variable(p, &(*out)->name);
}

static int in_parentheses(struct plumb_parser *p, struct plumb_node **out)
{
    if (plumb_jinja_skip(p, ")")) return plumb_jinja_node(p, PLUMB_NODE_TUPLE, out);
    PLUMB_TRY(plumb_jinja_tuple(p, true, out));
    return plumb_jinja_expect(p, ")");
}

static int primary(struct plumb_parser *p, struct plumb_node **out)
{
    switch (p->t->kind) {
    case PLUMB_TOKEN_NAME: return name(p, out);
    case PLUMB_TOKEN_STRING: return strings(p, out);
    case PLUMB_TOKEN_NUMBER: return constant(p, p->t->value, out);
    default: break;
    }
    if (plumb_jinja_skip(p, "(")) return in_parentheses(p, out);
    if (plumb_jinja_skip(p, "[")) return list(p, out);
    if (plumb_jinja_skip(p, "{")) return dictionary(p, out);
    return plumb_jinja_fault(p, "an expression is missing%s%s%s", p->t->text[0] ? " before \"" : "",
                             p->t->text, p->t->text[0] ? "\"" : "");
}

static int unary(struct plumb_parser *p, bool filters, struct plumb_node **out)
{
    PLUMB_TRY(plumb_jinja_enter(p));
    const bool minus = plumb_jinja_skip(p, "-"), plus = !minus && plumb_jinja_skip(p, "+");
    if (minus || plus) {
        struct plumb_node *a;
        PLUMB_TRY(unary(p, false, &a));
        PLUMB_TRY(wrap(p, minus ? PLUMB_NODE_NEGATE : PLUMB_NODE_PLUS, 0, a, NULL, out));
    } else {
        PLUMB_TRY(primary(p, out));
    }
    PLUMB_TRY(postfix(p, out));
    if (filters) PLUMB_TRY(filtered(p, out));
    p->depth--;
    return PLUMB_OK;
}

/* Levels of binary operators, loosest first; each is read from left to right. */
static const struct {
    const char *text[4];
    char op[4];
} levels[] = {
    { { "+", "-" }, { '+', '-' } },
    { { "~" }, { '~' } },
    { { "*", "/", "//", "%" }, { '*', '/', 'f', '%' } },
    { { "**" }, { 'p' } },
};
enum { LEVELS = sizeof levels / sizeof *levels };

static int binary(struct plumb_parser *p, int level, struct plumb_node **out)
{
    if (level == LEVELS) return unary(p, true, out);
    PLUMB_TRY(binary(p, level + 1, out));
    for (int k = 0; k < 4; k++) {
        if (!levels[level].text[k] || !plumb_jinja_skip(p, levels[level].text[k])) continue;
        struct plumb_node *right;
        PLUMB_TRY(binary(p, level + 1, &right));
        const char op = levels[level].op[k];
        if (op != '~') {
            PLUMB_TRY(wrap(p, PLUMB_NODE_BINARY, op, *out, right, out));
        } else if ((*out)->kind == PLUMB_NODE_CONCAT) {
            PLUMB_TRY(plumb_jinja_append(p, *out, right));
        } else {
            struct plumb_node *left = *out;
            PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_CONCAT, out));
            PLUMB_TRY(plumb_jinja_append(p, *out, left));
            PLUMB_TRY(plumb_jinja_append(p, *out, right));
        }
        k = -1;
    }
    return PLUMB_OK;
}

static char comparison(struct plumb_parser *p)
{
    static const char *const text[] = { "==", "!=", "<", ">", "<=", ">=" };
    for (int i = 0; i < 6; i++)
        if (plumb_jinja_skip(p, text[i])) return "=!<>lg"[i];
    if (plumb_jinja_skip_name(p, "in")) return 'i';
    const struct plumb_jinja_token *after = p->t + 1;
    if (!plumb_jinja_at_name(p, "not") || after->kind != PLUMB_TOKEN_NAME ||
        !plumb_jinja_is_text(after->value, "in"))
        return 0;
    p->t += 2;
    return 'n';
}

static int compare(struct plumb_parser *p, struct plumb_node **out)
{
    struct plumb_node *step, *all = NULL, *right;
    PLUMB_TRY(binary(p, 0, out));
    for (char op = comparison(p); op; op = comparison(p)) {
        if (!all) PLUMB_TRY(wrap(p, PLUMB_NODE_COMPARE, 0, *out, NULL, &all));
        PLUMB_TRY(binary(p, 0, &right));
        PLUMB_TRY(wrap(p, PLUMB_NODE_STEP, op, right, NULL, &step));
        PLUMB_TRY(plumb_jinja_append(p, all, step));
        *out = all;
    }
    return PLUMB_OK;
}

static int negation(struct plumb_parser *p, struct plumb_node **out)
{
    if (!plumb_jinja_skip_name(p, "not")) return compare(p, out);
    struct plumb_node *a;
    PLUMB_TRY(plumb_jinja_enter(p));
    PLUMB_TRY(negation(p, &a));
    p->depth--;
    return wrap(p, PLUMB_NODE_NOT, 0, a, NULL, out);
}

static int conjunction(struct plumb_parser *p, struct plumb_node **out)
{
    struct plumb_node *right;
    PLUMB_TRY(negation(p, out));
    while (plumb_jinja_skip_name(p, "and")) {
        PLUMB_TRY(negation(p, &right));
        PLUMB_TRY(wrap(p, PLUMB_NODE_AND, 0, *out, right, out));
    }
    return PLUMB_OK;
}

static int disjunction(struct plumb_parser *p, struct plumb_node **out)
{
    struct plumb_node *right;
    PLUMB_TRY(conjunction(p, out));
    while (plumb_jinja_skip_name(p, "or")) {
        PLUMB_TRY(conjunction(p, &right));
        PLUMB_TRY(wrap(p, PLUMB_NODE_OR, 0, *out, right, out));
    }
    return PLUMB_OK;
}

int plumb_jinja_expression(struct plumb_parser *p, struct plumb_node **out)
{
    const bool soft = p->soft;
    PLUMB_TRY(plumb_jinja_enter(p));
    PLUMB_TRY(disjunction(p, out));
    while (plumb_jinja_skip_name(p, "if")) {
        struct plumb_node *when, *other = NULL;
        p->soft = true;
        PLUMB_TRY(disjunction(p, &when));
        if (plumb_jinja_skip_name(p, "else")) PLUMB_TRY(plumb_jinja_expression(p, &other));
        PLUMB_TRY(wrap(p, PLUMB_NODE_COND, 0, when, *out, out));
        (*out)->c = other;
    }
    p->soft = soft;
    p->depth--;
    return PLUMB_OK;
}

static bool tuple_ends(const struct plumb_parser *p)
{
    return p->t->kind != PLUMB_TOKEN_NAME && p->t->kind != PLUMB_TOKEN_STRING &&
           p->t->kind != PLUMB_TOKEN_NUMBER && !plumb_jinja_at(p, "(") && !plumb_jinja_at(p, "[") &&
           !plumb_jinja_at(p, "{") && !plumb_jinja_at(p, "-") && !plumb_jinja_at(p, "+");
}

int plumb_jinja_tuple(struct plumb_parser *p, bool conditional, struct plumb_node **out)
{
    struct plumb_node *item, *all;
    PLUMB_TRY(plumb_jinja_enter(p));
    PLUMB_TRY(conditional ? plumb_jinja_expression(p, out) : disjunction(p, out));
    p->depth--;
    if (!plumb_jinja_at(p, ",")) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_TUPLE, &all));
    PLUMB_TRY(plumb_jinja_append(p, all, *out));
    while (plumb_jinja_skip(p, ",")) {
        if (tuple_ends(p) || (!conditional && plumb_jinja_at_name(p, "recursive"))) break;
        PLUMB_TRY(conditional ? plumb_jinja_expression(p, &item) : disjunction(p, &item));
        PLUMB_TRY(plumb_jinja_append(p, all, item));
    }
    *out = all;
    return PLUMB_OK;
}

static int one_target(struct plumb_parser *p, bool attributes, struct plumb_node **out)
{
    if (plumb_jinja_skip(p, "(")) {
        PLUMB_TRY(plumb_jinja_target(p, false, out));
        return plumb_jinja_expect(p, ")");
    }
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_NAME, out));
    if (p->t->kind == PLUMB_TOKEN_NAME && !plumb_jinja_at_name(p, "true") &&
        !plumb_jinja_at_name(p, "false") && !plumb_jinja_at_name(p, "none") &&
        !plumb_jinja_at_name(p, "True") && !plumb_jinja_at_name(p, "False") &&
        !plumb_jinja_at_name(p, "None"))
        PLUMB_TRY(plumb_jinja_take_variable(p, &(*out)->name));
    else
        return plumb_jinja_fault(p, "this cannot be assigned to");
    if (!attributes || !plumb_jinja_skip(p, ".")) return PLUMB_OK;
    PLUMB_TRY(wrap(p, PLUMB_NODE_ATTR, 0, *out, NULL, out));
    return plumb_jinja_take_name(p, &(*out)->name);
}

int plumb_jinja_target(struct plumb_parser *p, bool attributes, struct plumb_node **out)
{
    struct plumb_node *item, *all;
    PLUMB_TRY(plumb_jinja_enter(p));
    PLUMB_TRY(one_target(p, attributes, out));
    p->depth--;
    if (!plumb_jinja_at(p, ",")) return PLUMB_OK;
    PLUMB_TRY(plumb_jinja_node(p, PLUMB_NODE_TUPLE, &all));
    PLUMB_TRY(plumb_jinja_append(p, all, *out));
    while (plumb_jinja_skip(p, ",")) {
        if (p->t->kind != PLUMB_TOKEN_NAME && !plumb_jinja_at(p, "(")) break;
        if (plumb_jinja_at_name(p, "in")) break;
        PLUMB_TRY(one_target(p, attributes, &item));
        PLUMB_TRY(plumb_jinja_append(p, all, item));
    }
    *out = all;
    return PLUMB_OK;
}
