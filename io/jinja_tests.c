/* What `is` asks. */
#include <string.h>

#include "io/jinja_run.h"

#define TEST(name)                                                                                 \
    static int name(struct plumb_jinja_run *r, struct plumb_jinja_value on,                        \
                    const struct plumb_jinja_args *args, struct plumb_jinja_value *out)

static int says(struct plumb_jinja_value *out, bool holds)
{
    *out = plumb_jinja_bool(holds);
    return PLUMB_OK;
}

/* Tests that look at the value's kind alone. */
#define KIND(name, expression)                                                                     \
    TEST(name)                                                                                     \
    {                                                                                              \
        (void)r, (void)args;                                                                       \
        const enum plumb_jinja_kind k = on.kind;                                                   \
        return says(out, expression);                                                              \
    }
KIND(defined, k != PLUMB_JINJA_UNDEFINED)
KIND(undefined, k == PLUMB_JINJA_UNDEFINED)
KIND(none, k == PLUMB_JINJA_NONE)
KIND(boolean, k == PLUMB_JINJA_BOOL)
KIND(is_true, k == PLUMB_JINJA_BOOL && on.b)
KIND(is_false, k == PLUMB_JINJA_BOOL && !on.b)
KIND(integer, k == PLUMB_JINJA_INT)
KIND(floating, k == PLUMB_JINJA_FLOAT)
KIND(number, k == PLUMB_JINJA_INT || k == PLUMB_JINJA_FLOAT || k == PLUMB_JINJA_BOOL)
KIND(string, k == PLUMB_JINJA_STRING)
KIND(mapping, k == PLUMB_JINJA_DICT)
KIND(sequence, k == PLUMB_JINJA_STRING || k == PLUMB_JINJA_LIST || k == PLUMB_JINJA_TUPLE ||
                   k == PLUMB_JINJA_DICT || k == PLUMB_JINJA_UNDEFINED)
KIND(iterable, k == PLUMB_JINJA_STRING || plumb_jinja_is_row(on) || k == PLUMB_JINJA_DICT ||
                   k == PLUMB_JINJA_UNDEFINED)
KIND(callable, (k == PLUMB_JINJA_OBJECT && on.o->class->call) || k == PLUMB_JINJA_UNDEFINED)
KIND(escaped, k == PLUMB_JINJA_STRING && on.markup)

static int of_two(struct plumb_jinja_run *r, const struct plumb_jinja_args *args)
{
    return args->n == 1 ? PLUMB_OK : plumb_jinja_wrong(r, "the test wants one argument");
}

static int compared(struct plumb_jinja_run *r, char op, struct plumb_jinja_value on,
                    const struct plumb_jinja_args *args, struct plumb_jinja_value *out)
{
    bool holds;
    PLUMB_TRY(of_two(r, args));
    PLUMB_TRY(plumb_jinja_compare(r, op, on, args->at[0], &holds));
    return says(out, holds);
}

TEST(equal) { return compared(r, '=', on, args, out); }
TEST(unequal) { return compared(r, '!', on, args, out); }
TEST(less) { return compared(r, '<', on, args, out); }
TEST(most) { return compared(r, 'l', on, args, out); }
TEST(greater) { return compared(r, '>', on, args, out); }
TEST(least) { return compared(r, 'g', on, args, out); }
TEST(inside) { return compared(r, 'i', on, args, out); }

TEST(same)
{
    PLUMB_TRY(of_two(r, args));
    const struct plumb_jinja_value v = args->at[0];
    const bool pointer = on.kind >= PLUMB_JINJA_LIST;
    return says(out, on.kind == v.kind && (pointer ? on.l == v.l : plumb_jinja_equal(on, v)));
}

static int rest(struct plumb_jinja_run *r, struct plumb_jinja_value on, struct plumb_jinja_value by,
                int64_t want, struct plumb_jinja_value *out)
{
    struct plumb_jinja_value left;
    PLUMB_TRY(plumb_jinja_binary(r, '%', on, by, &left));
    return says(out, plumb_jinja_equal(left, plumb_jinja_int(want)));
}

TEST(odd)
{
    (void)args;
    return rest(r, on, plumb_jinja_int(2), 1, out);
}

TEST(even)
{
    (void)args;
    return rest(r, on, plumb_jinja_int(2), 0, out);
}

TEST(divisible)
{
    PLUMB_TRY(of_two(r, args));
    return rest(r, on, args->at[0], 0, out);
}

static int in_case(struct plumb_jinja_run *r, const char *method, struct plumb_jinja_value on,
                   struct plumb_jinja_value *out)
{
    PLUMB_TRY(plumb_jinja_str(r, on, &on));
    return plumb_jinja_table_find(plumb_jinja_case_methods, method)
        ->call(r, on, &plumb_jinja_no_args, out);
}

TEST(lower)
{
    (void)args;
    return in_case(r, "islower", on, out);
}

TEST(upper)
{
    (void)args;
    return in_case(r, "isupper", on, out);
}

TEST(is_filter)
{
    (void)r, (void)args;
    return says(out, on.kind == PLUMB_JINJA_STRING && plumb_jinja_filter_find(on.s->at));
}

TEST(is_test)
{
    (void)r, (void)args;
    return says(out, on.kind == PLUMB_JINJA_STRING && plumb_jinja_test_find(on.s->at));
}

static const struct plumb_jinja_function tests[] = {
    { "defined", defined },
    { "undefined", undefined },
    { "none", none },
    { "boolean", boolean },
    { "true", is_true },
    { "false", is_false },
    { "integer", integer },
    { "float", floating },
    { "number", number },
    { "string", string },
    { "mapping", mapping },
    { "sequence", sequence },
    { "iterable", iterable },
    { "callable", callable },
    { "escaped", escaped },
    { "eq", equal },
    { "equalto", equal },
    { "==", equal },
    { "ne", unequal },
    { "!=", unequal },
    { "lt", less },
    { "lessthan", less },
    { "<", less },
    { "le", most },
    { "<=", most },
    { "gt", greater },
    { "greaterthan", greater },
    { ">", greater },
    { "ge", least },
    { ">=", least },
    { "in", inside },
    { "sameas", same },
    { "odd", odd },
    { "even", even },
    { "divisibleby", divisible },
    { "lower", lower },
    { "upper", upper },
    { "filter", is_filter },
    { "test", is_test },
    { NULL, NULL },
};

const struct plumb_jinja_function *plumb_jinja_test_find(const char *name)
{
    return plumb_jinja_table_find(tests, name);
}
