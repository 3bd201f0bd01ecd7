/* A template as a tree: what the lexer and the parser make, and rendering walks. */
#pragma once
#include "io/jinja_value.h"

enum plumb_jinja_token_kind {
    PLUMB_TOKEN_END,   /* of the template */
    PLUMB_TOKEN_DATA,  /* text between tags */
    PLUMB_TOKEN_PRINT, /* {{ and }} */
    PLUMB_TOKEN_PRINT_END,
    PLUMB_TOKEN_BLOCK, /* {% and %} */
    PLUMB_TOKEN_BLOCK_END,
    PLUMB_TOKEN_NAME,
    PLUMB_TOKEN_STRING,
    PLUMB_TOKEN_NUMBER,
    PLUMB_TOKEN_OPERATOR, /* in `text` */
};
struct plumb_jinja_token {
    enum plumb_jinja_token_kind kind;
    int line;
    char text[4];                   /* an operator */
    struct plumb_jinja_value value; /* data, name, string (strings), number */
};
struct plumb_jinja_tokens {
    struct plumb_jinja_token *at;
    int64_t n, room;
};
/* Cuts a template into tokens, white space as trim_blocks and lstrip_blocks leave it. `name` is the
 * template's in messages. */
int plumb_jinja_lex(struct plumb_jinja_pool *pool, const char *text, size_t n, const char *name,
                    struct plumb_jinja_tokens *out);
/* The text of a string literal between its quotes, escapes resolved as Python's. */
int plumb_jinja_unescape(struct plumb_jinja_pool *pool, const char *text, size_t n,
                         struct plumb_jinja_value *out);

enum plumb_jinja_node_kind {
    /* expressions */
    PLUMB_NODE_CONST,
    PLUMB_NODE_NAME,
    PLUMB_NODE_LIST, /* items in `list` (so below) */
    PLUMB_NODE_TUPLE,
    PLUMB_NODE_DICT, /* key, value, key, value, ... */
    PLUMB_NODE_NOT,
    PLUMB_NODE_NEGATE,
    PLUMB_NODE_PLUS,
    PLUMB_NODE_BINARY, /* a op b */
    PLUMB_NODE_AND,
    PLUMB_NODE_OR,
    PLUMB_NODE_CONCAT,
    PLUMB_NODE_COMPARE,      /* a, then list of COMPARE_STEP */
    PLUMB_NODE_STEP,         /* op, a */
    PLUMB_NODE_COND,         /* b if a else c */
    PLUMB_NODE_ATTR,         /* a.name */
    PLUMB_NODE_ITEM,         /* a[b] */
    PLUMB_NODE_SLICE,        /* a:b:c, each or NULL */
    PLUMB_NODE_CALL,         /* a(list) */
    PLUMB_NODE_FILTER,       /* a | name(list); a NULL in a block's filter */
    PLUMB_NODE_TEST,         /* a is name(list) */
    PLUMB_NODE_NAMED,        /* name=a among arguments, parameters and assignments */
    PLUMB_NODE_SPREAD,       /* *a */
    PLUMB_NODE_SPREAD_NAMED, /* **a */
    /* statements */
    PLUMB_NODE_DATA,  /* value */
    PLUMB_NODE_PRINT, /* a */
    PLUMB_NODE_BODY,  /* list */
    PLUMB_NODE_IF,    /* a: test, b: body, c: else or NULL */
    PLUMB_NODE_FOR,   /* a: target, b: what is walked, c: `if` or NULL, body, other: else or NULL;
                        * op 'r' = recursive */
    PLUMB_NODE_SET,   /* a: target, b: value */
    PLUMB_NODE_SET_BLOCK,    /* a: target, b: filter or NULL, body, where the target is undefined
                                * if op is 'u' */
    PLUMB_NODE_MACRO,        /* name, list of parameters (NAME, NAMED with a default), body */
    PLUMB_NODE_CALLER,       /* {% call %}: a: the CALL, list of parameters, body */
    PLUMB_NODE_FILTER_BLOCK, /* a: filter, body */
    PLUMB_NODE_WITH,         /* list of NAMED targets, body */
    PLUMB_NODE_GENERATION,   /* body */
    PLUMB_NODE_BREAK,
    PLUMB_NODE_CONTINUE,
};
struct plumb_node {
    enum plumb_jinja_node_kind kind;
    int line;
    char op;   /* of BINARY: + - * / % f (floor) p (power); of STEP: = ! < > l g
                                 * (<=, >=) i n (in, not in) */
    bool soft; /* FILTER, TEST: inside a branch, so a missing name counts only
                                 * when it is reached */
    const char *name;
    const void *entry; /* FILTER, TEST: the function, NULL = missing */
    struct plumb_jinja_value value;
    struct plumb_node *a, *b, *c, *body, *other;
    struct plumb_node **list;
    int64_t n;
};

enum { PLUMB_JINJA_DEPTH = 400 }; /* of nesting, in a template's text and in rendering */

/* What the parser keeps while it reads. */
struct plumb_parser {
    struct plumb_jinja_pool *pool;
    const char *name;                  /* of the template */
    const struct plumb_jinja_token *t; /* the next token */
    int depth;
    bool soft; /* inside a branch */
    bool in_loop;
    struct plumb_jinja_dict *seen; /* names that stood as variables so far */
};
/* Up to one of the tags `ends` (closed by NULL), which stays unread; NULL = to the end. */
int plumb_jinja_parse_body(struct plumb_parser *p, const char *const *ends,
                           struct plumb_node **out);
/* Expressions. A tuple's commas are read where Jinja2 reads them; `conditional` allows "a if b". */
int plumb_jinja_expression(struct plumb_parser *p, struct plumb_node **out);
int plumb_jinja_tuple(struct plumb_parser *p, bool conditional, struct plumb_node **out);
/* What can be assigned to: names, tuples of them and, with `attributes`, name.name. */
int plumb_jinja_target(struct plumb_parser *p, bool attributes, struct plumb_node **out);
/* Filters after `on` (NULL in a block's filter, whose first has no bar). */
int plumb_jinja_filters(struct plumb_parser *p, struct plumb_node *on, bool first,
                        struct plumb_node **out);
int plumb_jinja_node(struct plumb_parser *p, enum plumb_jinja_node_kind kind,
                     struct plumb_node **out);
int plumb_jinja_append(struct plumb_parser *p, struct plumb_node *to, struct plumb_node *item);
int plumb_jinja_fault(const struct plumb_parser *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool plumb_jinja_at(const struct plumb_parser *p, const char *op); /* next is operator */
bool plumb_jinja_at_name(const struct plumb_parser *p, const char *name);
bool plumb_jinja_skip(struct plumb_parser *p, const char *op); /* and past it */
bool plumb_jinja_skip_name(struct plumb_parser *p, const char *name);
int plumb_jinja_expect(struct plumb_parser *p, const char *op);
/* *out = the name at hand, past it. */
int plumb_jinja_take_name(struct plumb_parser *p, const char **out);
/* The same for a variable, which is noted. */
int plumb_jinja_take_variable(struct plumb_parser *p, const char **out);
int plumb_jinja_enter(struct plumb_parser *p); /* fails where the text nests too deep */
