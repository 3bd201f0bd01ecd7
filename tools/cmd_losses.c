/* `plumb losses`: every objective of every family with its formula, what it reads and where it is
 * from, as text or as docs/losses.md. The table is made by losses.cmake; defaults come from the
 * options of the commands that offer an objective. */
#include <plumb/policy.h>
#include <stdarg.h>
#include <string.h>

#include "tools/command.h"
#include "tools/option_rows.h"
#include "tools/train_options.h"

enum kind { FAMILY, SYMBOLS, LOSS };

static const struct entry {
    enum kind kind;
    const char *name, *text;               /* a formula, or what a family or symbols are */
    const char *inputs, *options, *source; /* of a loss */
} entries[] = {
#define PLUMB_FAMILY(name, about) { FAMILY, #name, about, NULL, NULL, NULL },
#define PLUMB_SYMBOLS(names, meaning) { SYMBOLS, names, meaning, NULL, NULL, NULL },
#define PLUMB_LOSS(name, formula, inputs, options, source)                                         \
    { LOSS, #name, formula, inputs, options, source },
#include "gen/losses.def"
#undef PLUMB_FAMILY
#undef PLUMB_SYMBOLS
#undef PLUMB_LOSS
};
enum { ENTRIES = sizeof entries / sizeof *entries };

/* The commands that train on an objective: those of a family that loss_type names, or `only`. */
static const struct offer {
    const char *command, *family, *only;
    const struct plumb_option_set *set;
} offers[] = {
    { "sft", "supervised", NULL, &plumb_sft_options },
    { "distill", "distill", NULL, &plumb_distill_options },
    { "dpo", "pairwise", NULL, &plumb_dpo_options },
    { "cpo", "pairwise", NULL, &plumb_cpo_options },
    { "orpo", "pairwise", "orpo", &plumb_orpo_options },
    { "tpo", "pairwise", NULL, &plumb_tpo_options },
    { "kto", "unpaired", NULL, &plumb_kto_options },
    { "bco", "unpaired", "bco", &plumb_bco_options },
    { "listwise", "listwise", NULL, &plumb_listwise_options },
    { "reward", "reward", "bradley_terry", &plumb_reward_options },
};
enum { OFFERS = sizeof offers / sizeof *offers };

/* The row of this name, or one that ends in it: TRL writes a method's name before some. */
static const struct plumb_option *find_row(const struct plumb_option_set *set, const char *name)
{
    const size_t n = strlen(name);
    const struct plumb_option *ending = NULL;
    for (const struct plumb_option_group *g = set->groups; g->rows; g++)
        for (const struct plumb_option *r = g->rows; r->name; r++) {
            const size_t m = strlen(r->name);
            if (!strcmp(r->name, name)) return r;
            if (m > n && r->name[m - n - 1] == '_' && !strcmp(r->name + m - n, name)) ending = r;
        }
    return ending;
}

static bool is_offered(const struct offer *o, const char *family, const char *loss)
{
    if (strcmp(o->family, family) != 0) return false;
    const struct plumb_option *row = find_row(o->set, "loss_type");
    if (o->only || !row) return o->only && !strcmp(o->only, loss);
    for (const char *const *c = row->choices; *c; c++)
        if (!strcmp(*c, loss)) return true;
    return false;
}

/* A line that grows and is cut at its end. */
struct text {
    char line[512];
    size_t n;
};

static void add(struct text *t, const char *fmt, ...) PLUMB_PRINTF(2, 3);
static void add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(t->line + t->n, sizeof t->line - t->n, fmt, ap);
    va_end(ap);
    PLUMB_ASSERT(n >= 0 && t->n + (size_t)n < sizeof t->line);
    t->n += (size_t)n;
}

/* "dpo (default), cpo" */
static struct text commands_of(const char *family, const char *loss)
{
    struct text t = { 0 };
    for (const struct offer *o = offers; o < offers + OFFERS; o++) {
        if (!is_offered(o, family, loss)) continue;
        const struct plumb_option *row = find_row(o->set, "loss_type");
        const bool is_default = row && !strcmp(plumb_option_fallback(o->set, row), loss);
        add(&t, "%s%s%s", t.n ? ", " : "", o->command, is_default ? " (default)" : "");
    }
    return t;
}

/* "=0.1", or "=0.1 (tpo: 0.01)" where commands differ. */
static void add_default(struct text *t, const char *family, const char *loss, const char *option)
{
    const char *first = NULL;
    bool differ = false;
    for (const struct offer *o = offers; o < offers + OFFERS; o++) {
        const struct plumb_option *row = find_row(o->set, option);
        if (!is_offered(o, family, loss) || !row || row->type == PLUMB_OPT_FIXED) continue;
        const char *value = plumb_option_fallback(o->set, row);
        if (!value) value = "None";
        if (!first)
            add(t, "=%s", first = value);
        else if (strcmp(first, value) != 0)
            add(t, "%s%s: %s", differ ? ", " : " (", o->command, value), differ = true;
    }
    if (differ) add(t, ")");
}

/* "beta=0.1, gamma" */
static struct text options_of(const char *family, const struct entry *e)
{
    struct text t = { 0 };
    for (const char *at = e->options; *at; at += *at == ',') {
        char name[64];
        const size_t n = strcspn(at, ",");
        PLUMB_ASSERT(n < sizeof name);
        memcpy(name, at, n);
        name[n] = 0;
        add(&t, "%s%s", t.n ? ", " : "", name);
        add_default(&t, family, e->name, name);
        at += n;
    }
    return t;
}

static void print_loss(const char *family, const struct entry *e)
{
    const struct text commands = commands_of(family, e->name), options = options_of(family, e);
    printf("\n  %-20s %s\n", e->name, commands.line);
    plumb_print_wrapped(stdout, 6, e->text);
    printf("      inputs: %s\n", e->inputs);
    if (options.n) printf("      options: %s\n", options.line);
    printf("      source: %s\n", e->source);
}

/* What a loss type of the policy losses is made of. */
struct type {
    const char *name, *cells[5]; /* loss, level of the ratio, aggregation, divisor, NULL */
};

static bool type_at(int i, struct type *t)
{
    static const char *const levels[] = { "token", "mean", "sum",
                                          "mean, with the token's gradient" };
    static const char *const parts[] = { "tokens", "row means", "rows" };
    /* Each divisor has another value. */
    static const struct plumb_policy_counts counts = { 2, 3, 5, 7, 11 };
    static const struct {
        double value;
        const char *name;
    } divisors[] = { { 2, "rows" },
                     { 3, "rows with tokens" },
                     { 5, "tokens" },
                     { 7, "tokens of the step" },
                     { 22, "rows x max_completion_length" } };
    struct plumb_policy a = { 0 };
    t->name = plumb_policy_preset_name(i);
    if (!t->name) return false;
    PLUMB_ASSERT(!plumb_policy_preset(t->name, &counts, 0.2, 0.2, 0, &a));
    size_t k = 0;
    while (divisors[k].value != a.divisor) {
        k++;
        PLUMB_ASSERT(k < sizeof divisors / sizeof *divisors);
    }
    const char *const cells[] = { plumb_policy_name((int)a.loss), levels[a.level],
                                  parts[a.aggregation], divisors[k].name, NULL };
    memcpy(t->cells, cells, sizeof cells);
    return true;
}

/* Whether the entry is the last of the policy family, which the loss types follow. */
static bool ends_policy(const struct entry *e, const char *family)
{
    return !strcmp(family, "policy") && (e + 1 == entries + ENTRIES || e[1].kind == FAMILY);
}

static void print_types(void)
{
    struct type t;
    puts("\n  loss types (plumb_policy_preset): loss; level of the ratio; aggregation / divisor");
    for (int i = 0; type_at(i, &t); i++)
        printf("  %-20s %s; %s; %s / %s\n", t.name, t.cells[0], t.cells[1], t.cells[2], t.cells[3]);
}

static void print_text(void)
{
    const char *family = "";
    for (const struct entry *e = entries; e < entries + ENTRIES; e++) {
        if (e->kind == FAMILY) {
            printf("%s%s: %s\n", e == entries ? "" : "\n", e->name, e->text);
            family = e->name;
        } else if (e->kind == SYMBOLS) {
            printf("  %-20s %s\n", e->name, e->text);
        } else {
            print_loss(family, e);
            if (ends_policy(e, family)) print_types();
        }
    }
}

/* A cell of a table. */
static void print_cell(const char *text)
{
    fputs("| ", stdout);
    for (; *text; text++) {
        if (strchr("|*<", *text)) putchar('\\');
        putchar(*text);
    }
    putchar(' ');
}

static void print_row(const char *const *cell)
{
    for (; *cell; cell++)
        print_cell(*cell);
    puts("|");
}

static void print_markdown_loss(const char *family, const struct entry *e)
{
    const struct text commands = commands_of(family, e->name), options = options_of(family, e);
    print_row((const char *const[]){ e->name, e->text, e->inputs, options.line, e->source,
                                     commands.line, NULL });
}

static void print_markdown_types(void)
{
    struct type t;
    puts("\nLoss types of TRL and others, `plumb_policy_preset`:\n\n"
         "| type | loss | level of the ratio | aggregation | divisor |\n|---|---|---|---|---|");
    for (int i = 0; type_at(i, &t); i++) {
        print_cell(t.name);
        print_row(t.cells);
    }
}

static void print_markdown(void)
{
    const char *family = "";
    enum kind before = FAMILY;
    puts("# Losses\n\n"
         "What `plumb losses --markdown` prints; a test holds this page against it. Each loss is a "
         "header, `kernels/<family>/<loss>.h`; `include/plumb/<family>.h` is the manual of its "
         "family and says what its options are where no command gives them a default. s = logistic "
         "function, e = label smoothing, sg = carries no gradient, |y| = tokens of y. Losses of a "
         "family may be summed with weights where its contract takes a list of terms.");
    for (const struct entry *e = entries; e < entries + ENTRIES; before = e->kind, e++) {
        if (e->kind == FAMILY) {
            printf("\n## %s\n\n%s.\n", e->name, e->text);
            family = e->name;
            continue;
        }
        if (before == FAMILY && e->kind == SYMBOLS) puts("\n| symbol | meaning |\n|---|---|");
        if (before != LOSS && e->kind == LOSS)
            puts("\n| loss | formula | inputs | options=default | source | commands |\n"
                 "|---|---|---|---|---|---|");
        if (e->kind == SYMBOLS)
            print_row((const char *const[]){ e->name, e->text, NULL });
        else
            print_markdown_loss(family, e);
        if (ends_policy(e, family)) print_markdown_types();
    }
}

struct plumb_losses {
    bool markdown;
};
static const struct plumb_option rows[] = {
    R_BOOL(plumb_losses, markdown, "false", "print docs/losses.md"),
    R_END,
};
static const struct plumb_option_group groups[] = { { "Losses", rows, 0 }, { NULL } };
static const struct plumb_option_set options = { groups, NULL, 0 };

static int run(int argc, char **argv)
{
    struct plumb_options o;
    struct plumb_losses c;
    PLUMB_TRY(plumb_options_parse(&o, &options, &c, argc, argv));
    if (c.markdown)
        print_markdown();
    else
        print_text();
    plumb_options_release(&o);
    return PLUMB_OK;
}

extern const struct plumb_cmd plumb_cmd_losses;
const struct plumb_cmd plumb_cmd_losses = { "losses", "[options]",
                                            "list the losses: formulas, options, sources", run,
                                            &options };
