/* Templates: what they make, where a fault is, what stops a hostile one. */
#include "io/jinja.h"

#include <criterion/criterion.h>
#include <string.h>

#include "io/chat.h"

static struct plumb_jinja_text out;

static int render(const char *text, const char *json)
{
    struct plumb_jinja *t;
    plumb_jinja_text_release(&out);
    const int rc = plumb_jinja_open(text, strlen(text), "chat.jinja", &t);
    const int drawn = rc ? rc : plumb_jinja_render(t, json, strlen(json), 0, &out);
    plumb_jinja_release(t);
    return drawn;
}

static void expect(const char *text, const char *json, const char *want)
{
    cr_expect_eq(render(text, json), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(out.text && !strcmp(out.text, want), "%s gave \"%s\"", text,
              out.text ? out.text : "nothing");
}

static void refuse(const char *text, const char *says)
{
    cr_expect_neq(render(text, "{\"l\":[3,1,2],\"none\":null}"), PLUMB_OK, "%s", text);
    cr_expect(strstr(plumb_errmsg(), says), "%s: %s", text, plumb_errmsg());
}

Test(jinja, python_decides_how_values_look_and_compare)
{
    expect("{{ [1, 2.5, 'a\"b', none, true, (1,)] }}", "{}", "[1, 2.5, 'a\"b', None, True, (1,)]");
    expect("{{ 7 // -2 }} {{ -7 % 3 }} {{ 2 ** 0.5 }} {{ 1e16 }} {{ 0.1 + 0.2 }}", "{}",
           "-4 2 1.4142135623730951 1e+16 0.30000000000000004");
    expect("{{ {1: 'a', true: 'b'}[1.0] }}{{ 'b' in 'abc' }}{{ [1] < [1, 0] }}", "{}", "bTrueTrue");
    expect("{{ '%05.1f|%-4s|%x' % (2.25, 'ab', 255) }} {{ '{:>4}{0}{n:.2f}'.format(1, n=2) }}",
           "{}", "002.2|ab  |ff    112.00");
}

Test(jinja, a_fault_names_template_and_line)
{
    refuse("a\n{% if x %}\n{{ 1 + }}", "chat.jinja:3: ");
    refuse("{% for x in [1] %}\n\n{{ nope.a.b }}{% endfor %}", "chat.jinja:3: \"nope\"");
    refuse("{{ raise_exception('bad order') }}", "the template refuses: bad order");
    refuse("{{ l | nofilter }}", "nofilter");
    refuse("{{ l.append(1) }}", "must not change a list");
}

Test(jinja, what_never_ends_or_grows_without_bound_is_an_error)
{
    refuse("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
           "the template wants more than 256 MiB");
    refuse("{% set ns = namespace(s='ab') %}{% for i in range(99) %}"
           "{% set ns.s = ns.s + ns.s %}{% endfor %}",
           "MiB");
    refuse("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "too deep");
    refuse("{{ 'x' * 999999999999 }}", "");
    char deep[4096] = "{{ ";
    memset(deep + 3, '(', 2000);
    refuse(deep, "");
}

Test(jinja, the_assistants_text_is_known_by_its_bytes)
{
    expect("{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
           "{% endgeneration %}{% else %}<{{ m.content }}>{% endif %}{% endfor %}",
           "{\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9\"},"
           "{\"role\":\"assistant\",\"content\":\"ja\"}]}",
           "<\xC3\xA9>ja");
    cr_assert_eq(out.spans, 1);
    cr_expect(out.span[0] == 4 && out.span[1] == 6);
}

Test(jinja, texts_may_hold_nul)
{
    cr_assert_eq(render("{{ s }}{{ s | tojson }}", "{\"s\":\"a\\u0000b\"}"), PLUMB_OK);
    cr_expect(out.n == 13 && !memcmp(out.text, "a\0b\"a\\u0000b\"", 13));
}

Test(jinja, a_conversation_can_be_left_open_at_its_end)
{
    static const char text[] = "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}";
    static const char json[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
                               "{\"role\":\"assistant\",\"content\":\"b c \"}]}";
    struct plumb_jinja *t;
    struct plumb_jinja_text got;
    cr_assert_eq(plumb_jinja_open(text, strlen(text), "t", &t), PLUMB_OK);
    cr_assert_eq(plumb_chat_render(t, json, strlen(json), true, 0, &got), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect_str_eq(got.text, "[a][b c");
    plumb_jinja_text_release(&got);
    plumb_jinja_release(t);
    cr_assert_eq(plumb_jinja_open("x", 1, "t", &t), PLUMB_OK);
    cr_expect_neq(plumb_chat_render(t, json, strlen(json), true, 0, &got), PLUMB_OK);
    plumb_jinja_text_release(&got);
    plumb_jinja_release(t);
}

Test(jinja, filters_made_of_python_functions_take_what_these_take)
{
    refuse("{{ 5 | indent(2) }}", "indent wants text, got a int");
    refuse("{{ l | indent }}", "indent wants text");
    refuse("{{ nope | indent }}", "indent wants text");
    refuse("{{ true | truncate(5) }}", "truncate wants text");
    refuse("{{ [1, 2] | urlencode }}", "urlencode");
    refuse("{{ 'ab' | groupby('role') }}", "has no order");
    refuse("{{ [{'a': none}, {'a': none}] | groupby('a') }}", "has no order");
    expect("{{ [{'a': none}] | groupby('a') | length }}{{ 'a\nb' | indent(1) }}", "{}", "1a\n b");
}

Test(jinja, a_block_that_sets_a_name_does_not_see_a_variable_of_that_name)
{
    expect("{% set none_yet %}[{{ none_yet }}]{% endset %}{{ none_yet }}", "{\"none_yet\":1}",
           "[]");
    expect("{{ v }}{% set v %}[{{ v }}]{% endset %}{{ v }}", "{\"v\":1}", "1[1]");
    expect("{% if v %}{% set v %}[{{ v }}]{% endset %}{{ v }}{% endif %}", "{\"v\":1}", "[1]");
    expect("{% set v = 2 %}{% set v %}[{{ v }}]{% endset %}{{ v }}", "{\"v\":1}", "[2]");
}
