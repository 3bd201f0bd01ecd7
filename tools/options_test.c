#include "tools/options.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/option_rows.h"
#include "tools/option_value.h"

struct inner {
    double rate;
    int64_t count;
};
struct config {
    bool on, off;
    enum plumb_tristate maybe;
    const char *path, *from;
    enum plumb_interval when;
    struct plumb_strings names;
    struct plumb_floats weights;
    const char *kwargs;
    struct inner inner;
};

static const char *const name_choices[] = { "red", "green", "blue", NULL };
static const struct plumb_option outer_rows[] = {
    R_BOOL(config, on, "true", "on"),
    R_BOOL(config, off, "false", "off"),
    R_TRISTATE(config, maybe, "maybe"),
    R_TEXT(config, path, PLUMB_OPT_REQUIRED, NULL, "path"),
    R_TEXT(config, from, PLUMB_OPT_NONE | PLUMB_OPT_BARE, NULL, "from"),
    R_CHOICE(config, "when", when, "no", "when", R_LIST(PLUMB_INTERVAL_NAMES)),
    R_NAMES(config, names, "red", "names", name_choices),
    R_FLOATS(config, weights, 0, 2, NULL, "", "weights"),
    R_DICT(config, kwargs, "kwargs"),
    R_ONLY(use_cloud, "there is none", "false"),
    R_ANY(workers, "changes nothing"),
    R_ANY(threads, "changes nothing"),
    R_END,
};
static const struct plumb_option inner_rows[] = {
    R_FLOAT(inner, rate, PLUMB_OPT_ABOVE_LO, 0, 1, "0.5", "1/s", "rate"),
    R_INT(inner, count, PLUMB_OPT_NONE, -1, 1000, "7", "rows", "count"),
    R_END,
};
static const struct plumb_option_group groups[] = {
    { "Outer", outer_rows, 0 },
    { "Inner", inner_rows, offsetof(struct config, inner) },
    { NULL },
};
static const struct plumb_option_default defaults[] = { { "rate", "0.25" }, { NULL } };
static const struct plumb_option_set set = { groups, defaults, 1 };

/* Parses "cmd --path P" followed by the words of `line` (single spaces). */
static int parse(struct plumb_options *o, struct config *c, const char *line)
{
    static char text[4096];
    char *argv[64] = { "cmd", "--path", "P" }, *rest = text;
    int argc = 3;
    snprintf(text, sizeof text, "%s", line);
    for (char *word; *rest && (word = strsep(&rest, " ")) != NULL;) {
        argv[argc++] = word;
        if (!rest) break;
    }
    memset(c, 0x5a, sizeof *c);
    return plumb_options_parse(o, &set, c, argc, argv);
}

static void expect_fault(const char *line, const char *text)
{
    struct plumb_options o;
    struct config c;
    cr_expect_eq(parse(&o, &c, line), PLUMB_EUSAGE, "accepted: %s", line);
    cr_expect(strstr(plumb_errmsg(), text), "\"%s\" gave: %s", line, plumb_errmsg());
}

Test(options, defaults_fill_every_field_and_a_commands_own_default_wins)
{
    struct plumb_options o;
    struct config c;
    cr_assert_eq(parse(&o, &c, ""), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(c.on && !c.off && c.maybe == PLUMB_UNSET && !c.from && !c.kwargs);
    cr_expect_str_eq(c.path, "P");
    cr_expect(c.when == PLUMB_INTERVAL_NO && c.names.count == 1 && c.weights.count == 0);
    cr_expect_str_eq(c.names.item[0], "red");
    cr_expect(c.inner.rate == 0.25 && c.inner.count == 7);
    plumb_options_release(&o);
}

Test(options, values_come_in_all_spellings)
{
    static const char *const lines[] = {
        "--rate 5e-7 --names green blue --weights 1 2 --count -1 --no_on --off",
        "--rate=5e-7 --names=green,blue --weights=1,2 --count=-1 --no-on --off=true",
        "--rate 0.0000005 --names green,blue --weights 1 2.0 --count -1 --on false --off yes",
        "--rate 1 --rate 5e-7 --names red --names green blue --weights 1,2 --count -1e0 --on 0 "
        "--off 1",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct plumb_options o;
        struct config c;
        cr_assert_eq(parse(&o, &c, lines[i]), PLUMB_OK, "%s", plumb_errmsg());
        cr_expect(c.inner.rate == 5e-7 && c.inner.count == -1 && !c.on && c.off, "line %zu", i);
        cr_assert(c.names.count == 2 && c.weights.count == 2, "line %zu", i);
        cr_expect_str_eq(c.names.item[1], "blue");
        cr_expect_eq(c.weights.item[1], 2.0);
        plumb_options_release(&o);
    }
}

Test(options, a_switch_does_not_swallow_the_argument_behind_it)
{
    struct plumb_options o;
    struct config c;
    cr_assert_eq(parse(&o, &c, "--off file.txt --maybe --from"), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(c.off && c.maybe == PLUMB_YES);
    cr_expect_str_eq(c.from, "true");
    cr_assert_eq(o.positional_count, 1);
    cr_expect_str_eq(o.positional[0], "file.txt");
    plumb_options_release(&o);
    cr_assert_eq(parse(&o, &c, "--from ckpt -- --off"), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_str_eq(c.from, "ckpt");
    cr_expect(!c.off);
    cr_expect_str_eq(o.positional[0], "--off");
    plumb_options_release(&o);
}

Test(options, none_empties_what_may_be_empty)
{
    struct plumb_options o;
    struct config c;
    cr_assert_eq(parse(&o, &c, "--count None --maybe null --names None --from None --workers 8"),
                 PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(c.inner.count == PLUMB_NONE_INT && c.maybe == PLUMB_UNSET && c.names.count == 0);
    cr_expect_null(c.from);
    plumb_options_release(&o);
    expect_fault("--rate None", "--rate wants a number");
    expect_fault("--on None", "--on wants true or false");
}

Test(options, faults_name_the_option_the_value_and_what_is_wanted)
{
    expect_fault("--rate 0", "--rate 0 is out of bounds, want in (0, 1]");
    expect_fault("--rate=1.5", "want in (0, 1]");
    expect_fault("--rate nan", "wants a number");
    expect_fault("--rate inf", "out of bounds");
    expect_fault("--rate 1x", "--rate wants a number, got \"1x\"");
    expect_fault("--rate", "--rate wants a value");
    expect_fault("--rate --off", "--rate wants a value");
    expect_fault("--count 1.5", "--count wants an integer, got \"1.5\"");
    expect_fault("--count 1e400", "--count wants an integer");
    expect_fault("--count 99999999999999999999", "--count");
    expect_fault("--weights 1 3", "--weights 3 is out of bounds, want in [0, 2]");
    expect_fault("--weights 1,,2", "empty value");
    expect_fault("--names pink", "--names cannot be \"pink\", want one of red, green, blue");
    expect_fault("--when daily", "want one of no, steps, epoch");
    expect_fault("--on maybe2 --on=perhaps", "--on wants true or false, got \"perhaps\"");
    expect_fault("--kwargs [1]", "--kwargs wants a JSON object");
    expect_fault("--kwargs {\"a\":}", "--kwargs");
    expect_fault("--use_cloud", "--use_cloud true is not supported: there is none");
    expect_fault("--from=", "--from has an empty value");
    expect_fault("--use_cloud false true", "--use_cloud false is not supported");
    expect_fault("a b", "unexpected argument \"b\"");
    expect_fault("-x", "unknown option -x");
}

Test(options, an_unknown_option_names_the_nearest)
{
    expect_fault("--rtae 1", "unknown option --rtae: did you mean rate?");
    expect_fault("--wieghts 1", "did you mean weights?");
    expect_fault("--use-clod", "did you mean use_cloud?");
    expect_fault("--no_rate", "unknown option --no_rate: did you mean rate?");
    expect_fault("--xyzzyxyzzy", "unknown option --xyzzyxyzzy");
    cr_expect_null(strstr(plumb_errmsg(), "mean"));
}

Test(options, a_missing_required_option_is_named)
{
    struct plumb_options o;
    struct config c;
    char *argv[] = { "cmd", NULL };
    cr_expect_eq(plumb_options_parse(&o, &set, &c, 1, argv), PLUMB_EUSAGE);
    cr_expect_str_eq(plumb_errmsg(), "--path is required");
}

Test(options, json_gives_values_with_their_types)
{
    struct plumb_options o;
    struct config c;
    cJSON *json;
    cr_assert_eq(parse(&o, &c, "--names red blue --kwargs {\"a\":[1,2]} --count None"), PLUMB_OK);
    cr_assert_eq(plumb_options_json(&o, &json), PLUMB_OK);
    char *text = cJSON_PrintUnformatted(json);
    cr_expect_str_eq(text, "{\"on\":true,\"off\":false,\"maybe\":null,\"path\":\"P\",\"from\":null,"
                           "\"when\":\"no\",\"names\":[\"red\",\"blue\"],\"weights\":[],"
                           "\"kwargs\":{\"a\":[1,2]},\"rate\":0.25,\"count\":null}");
    cJSON_free(text);
    cJSON_Delete(json);
    plumb_options_release(&o);
}

/* Writes `text` to a temporary file and parses with --config in front of `line`. */
static int parse_yaml(struct plumb_options *o, struct config *c, const char *text, size_t n,
                      const char *line)
{
    static char path[64], all[512];
    snprintf(path, sizeof path, "/tmp/plumb_options_%d.yaml", (int)getpid());
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(text, 1, n, f) == n && fclose(f) == 0);
    snprintf(all, sizeof all, "--config %s%s%s", path, *line ? " " : "", line);
    const int rc = parse(o, c, all);
    remove(path);
    return rc;
}

static void expect_yaml_fault(const char *text, const char *message)
{
    struct plumb_options o;
    struct config c;
    cr_expect_eq(parse_yaml(&o, &c, text, strlen(text), ""), PLUMB_EUSAGE, "accepted: %s", text);
    cr_expect(strstr(plumb_errmsg(), message), "\"%s\" gave: %s", text, plumb_errmsg());
}

Test(options, yaml_fills_fields_and_the_command_line_wins)
{
    static const char text[] = "# a run\nrate: 5e-7\nnames:\n  - green\n  - blue\nweights: [1, 2]\n"
                               "on: no\nmaybe: ~\ncount: null\nfrom: \"null\"\n"
                               "kwargs:\n  a: {b: [1, x, true]}\nwhen: steps\nworkers: {a: 1}\n"
                               "threads: [1, 2]\n";
    struct plumb_options o;
    struct config c;
    cr_assert_eq(parse_yaml(&o, &c, text, strlen(text), "--when epoch --names red"), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect(c.inner.rate == 5e-7 && !c.on && c.maybe == PLUMB_UNSET);
    cr_expect_eq(c.inner.count, PLUMB_NONE_INT);
    cr_expect(c.weights.count == 2 && c.names.count == 1 && c.when == PLUMB_INTERVAL_EPOCH);
    cr_expect_str_eq(c.kwargs, "{\"a\":{\"b\":[1,\"x\",true]}}");
    cr_expect_eq(plumb_options_find(&o, "rate")->origin, PLUMB_FROM_FILE);
    cr_expect_eq(plumb_options_find(&o, "rate")->line, 2);
    cr_expect_eq(plumb_options_find(&o, "when")->origin, PLUMB_FROM_COMMAND_LINE);
    plumb_options_release(&o);
}

Test(options, yaml_faults_name_file_and_line)
{
    expect_yaml_fault("on: true\nrtae: 1\n", ".yaml:2: unknown option rtae: did you mean rate?");
    expect_yaml_fault("on: true\n\nrate: 7\n", ".yaml:3: rate 7 is out of bounds, want in (0, 1]");
    expect_yaml_fault("rate:\n  a: 1\n", ".yaml:1: rate is a map, but takes a plain value");
    expect_yaml_fault("names:\n  a: 1\n", "takes a plain value or a list");
    expect_yaml_fault("rate: [1, 2]\n", "wants one value, got a list");
    expect_yaml_fault("rate: 1\nrate: 1\n", ".yaml:2: rate stands twice, first in line 1");
    expect_yaml_fault("use_cloud: true\n", "use_cloud true is not supported");
    expect_yaml_fault("use_cloud: {a: 1}\n", "use_cloud a map is not supported");
    expect_yaml_fault("config: a.yaml\n", "cannot name another");
    expect_yaml_fault("env:\n  A: b\n", "in the shell");
    expect_yaml_fault("- a\n- b\n", ".yaml:1: want lines of `name: value`");
    expect_yaml_fault("a: [1\nb: }", "not YAML");
    expect_yaml_fault("names: [[a]]\n", "a list inside the list");
    expect_yaml_fault("? [a]\n: 1\n", "not a plain word");
    expect_yaml_fault("kwargs: &a {b: *a}\n", "too large or too deep");
}

Test(options, hostile_yaml_is_refused)
{
    struct plumb_options o;
    struct config c;
    char bomb[2048];
    int n = snprintf(bomb, sizeof bomb, "kwargs:\n  a0: &a0 [x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 9; i++) /* 8^9 nodes by aliases */
        n += snprintf(bomb + n, sizeof bomb - (size_t)n,
                      "  a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1,
                      i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    expect_yaml_fault(bomb, "too large or too deep");
    static const char nul[] = "path: \"a\\0b\"\n", binary[] = "\x00\xff\xfe\x01 rate: 1";
    expect_yaml_fault(nul, "a NUL byte in the value");
    cr_expect_eq(parse_yaml(&o, &c, binary, sizeof binary, ""), PLUMB_EUSAGE);
    expect_fault("--config", "--config wants a file");
    cr_expect_eq(parse(&o, &c, "--config /no/such/file.yaml"), PLUMB_EIO);
    char *large = malloc(2 << 20);
    cr_assert_not_null(large);
    memset(large, '#', 2 << 20);
    cr_expect_eq(parse_yaml(&o, &c, large, 2 << 20, ""), PLUMB_EFORMAT);
    free(large);
    cr_expect_eq(parse_yaml(&o, &c, "", 0, ""), PLUMB_OK);
    plumb_options_release(&o);
}

Test(options, help_shows_type_default_bounds_unit_and_reason)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    plumb_options_help(f, &set);
    fclose(f);
    cr_expect(strstr(text, "--rate FLOAT   default 0.25, in (0, 1]"));
    cr_expect(strstr(text, "rate; unit: 1/s"));
    cr_expect(
        strstr(text, "--names NAME...   default red\n        names; one of red, green, blue"));
    cr_expect(strstr(text, "--workers, --threads: any value; changes nothing"));
    cr_expect(strstr(text, "--path TEXT   required"));
    cr_expect(strstr(text, "--use_cloud: only false; there is none"));
    free(text);
}
