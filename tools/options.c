/* The command line against the option tables. */
#include "tools/options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "tools/option_value.h"

#define WORDS_MAX 4096 /* values of one option */

void *plumb_options_keep(struct plumb_options *o, const void *data, size_t n)
{
    void **grown = realloc(o->owned, (size_t)(o->owned_count + 1) * sizeof *grown);
    if (!grown) return NULL;
    o->owned = grown;
    char *copy = calloc(n + 1, 1);
    if (!copy) return NULL;
    if (data) memcpy(copy, data, n);
    o->owned[o->owned_count++] = copy;
    return copy;
}

void plumb_options_release(struct plumb_options *o)
{
    for (int i = 0; i < o->owned_count; i++)
        free(o->owned[i]);
    free(o->owned);
    free(o->setting);
    free(o->positional);
    *o = (struct plumb_options){ 0 };
}

const char *plumb_option_fallback(const struct plumb_option_set *set,
                                  const struct plumb_option *row)
{
    for (const struct plumb_option_default *d = set->defaults; d && d->name; d++)
        if (strcmp(d->name, row->name) == 0) return d->fallback;
    return row->fallback;
}

static int make_settings(struct plumb_options *o, const struct plumb_option_set *set, void *config)
{
    for (const struct plumb_option_group *g = set->groups; g->rows; g++)
        for (const struct plumb_option *r = g->rows; r->name; r++)
            o->count++;
    o->setting = calloc((size_t)o->count + 1, sizeof *o->setting);
    if (!o->setting) return plumb_fail(PLUMB_EMEM, "could not allocate the option table");
    struct plumb_setting *s = o->setting;
    for (const struct plumb_option_group *g = set->groups; g->rows; g++)
        for (const struct plumb_option *r = g->rows; r->name; r++, s++) {
            void *field = (char *)config + g->base + r->offset;
            *s = (struct plumb_setting){ .row = r,
                                         .field = r->type == PLUMB_OPT_FIXED ? NULL : field,
                                         .fallback = plumb_option_fallback(set, r) };
        }
    return PLUMB_OK;
}

bool plumb_option_is_switch(const struct plumb_option *row)
{
    return row->type == PLUMB_OPT_BOOL || row->type == PLUMB_OPT_TRISTATE ||
           (row->flags & PLUMB_OPT_BARE);
}

bool plumb_option_is_list(const struct plumb_option *row)
{
    return row->type == PLUMB_OPT_STRINGS || row->type == PLUMB_OPT_FLOATS;
}

/* Equal but for dashes and underscores. */
static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b)) return false;
    return *a == *b;
}

static struct plumb_setting *by_name(const struct plumb_options *o, const char *name)
{
    for (int i = 0; i < o->count; i++)
        if (same_name(o->setting[i].row->name, name)) return &o->setting[i];
    return NULL;
}

const struct plumb_setting *plumb_options_find(const struct plumb_options *o, const char *name)
{
    return by_name(o, name);
}

struct plumb_setting *plumb_option_lookup(struct plumb_options *o, const char *name, bool *negated)
{
    struct plumb_setting *s = by_name(o, name);
    *negated = false;
    if (s || strncmp(name, "no", 2) != 0 || (name[2] != '_' && name[2] != '-')) return s;
    s = by_name(o, name + 3);
    *negated = s != NULL;
    return s && (plumb_option_is_switch(s->row) || s->row->type == PLUMB_OPT_FIXED) ? s : NULL;
}

/* Insertions, deletions, replacements and swaps of neighbours between two names. */
static int distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    int row[3][MAX + 1];
    const int n = (int)strlen(a), m = (int)strlen(b);
    if (n > MAX || m > MAX) return MAX;
    int *prev2 = row[0], *prev = row[1], *now = row[2];
    for (int j = 0; j <= m; j++)
        prev[j] = j;
    for (int i = 1; i <= n; i++) {
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            const char x = a[i - 1] == '-' ? '_' : a[i - 1];
            int best = prev[j - 1] + (x != b[j - 1]);
            if (prev[j] + 1 < best) best = prev[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && x == b[j - 2] && a[i - 2] == b[j - 1] && prev2[j - 2] + 1 < best)
                best = prev2[j - 2] + 1;
            now[j] = best;
        }
        int *oldest = prev2;
        prev2 = prev, prev = now, now = oldest;
    }
    return prev[m];
}

int plumb_option_unknown(const struct plumb_options *o, const char *where, const char *name)
{
    const char *nearest = NULL;
    const int n = (int)strlen(name);
    int best = n / 3 + 2; /* farther names are no help */
    for (int i = 0; i < o->count; i++) {
        const char *candidate = o->setting[i].row->name;
        /* The beginning of a name is as good as one slip. */
        const int d = n >= 4 && strncmp(candidate, name, (size_t)n) == 0
                          ? 1
                          : distance(name, candidate);
        if (d < best) best = d, nearest = candidate;
    }
    if (!nearest) return plumb_fail(PLUMB_EUSAGE, "unknown option %s%s", where, name);
    return plumb_fail(PLUMB_EUSAGE, "unknown option %s%s: did you mean %s?", where, name, nearest);
}

static bool looks_like_option(const char *word)
{
    return word[0] == '-' && (word[1] == '-' || isalpha((unsigned char)word[1]));
}

static bool is_truth_word(const char *word)
{
    static const char *const words[] = { "true", "false", "yes", "no",   "1",    "0", "on",
                                         "off",  "t",     "f",   "none", "null", NULL };
    for (const char *const *w = words; *w; w++)
        if (strcasecmp(*w, word) == 0) return true;
    return false;
}

/* One option with its words: argv[at] is its name. Returns in *used how many words it took. With
 * `config_only`, only --config itself acts. */
static int take_option(struct plumb_options *o, int argc, char **argv, int at, bool config_only,
                       int *used)
{
    const char *word[WORDS_MAX];
    char name[128], where[160];
    int count = 0, next = at + 1;
    const char *equals = strchr(argv[at], '=');
    const int length = equals ? (int)(equals - argv[at]) : (int)strlen(argv[at]);
    snprintf(name, sizeof name, "%.*s", length - 2, argv[at] + 2);
    snprintf(where, sizeof where, "--%s", name);
    const bool is_config = strcmp(name, "config") == 0;
    bool negated = false;
    struct plumb_setting *s = is_config ? NULL : plumb_option_lookup(o, name, &negated);
    if (!s && !is_config) return plumb_option_unknown(o, "--", name);
    if (equals) {
        word[count++] = equals + 1;
    } else if (!negated && next < argc && !looks_like_option(argv[next])) {
        const bool optional = s && plumb_option_is_switch(s->row);
        if (!optional || is_truth_word(argv[next]) || s->row->type == PLUMB_OPT_STRING)
            word[count++] = argv[next++];
        const bool many = s && (plumb_option_is_list(s->row) || s->row->type == PLUMB_OPT_FIXED);
        while (many && next < argc && count < WORDS_MAX && !looks_like_option(argv[next]))
            word[count++] = argv[next++];
    }
    *used = next - at;
    if (is_config) {
        if (!count) return plumb_fail(PLUMB_EUSAGE, "--config wants a file");
        if (config_only) o->file = word[0];
        return PLUMB_OK;
    }
    if (config_only) return PLUMB_OK;
    if (negated && equals) return plumb_fail(PLUMB_EUSAGE, "%s takes no value", where);
    if (negated) word[count++] = "false";
    s->origin = PLUMB_FROM_COMMAND_LINE;
    return plumb_option_set_words(o, s, where, word, count);
}

static int take_positional(struct plumb_options *o, const struct plumb_option_set *set,
                           const char *word)
{
    if (o->positional_count >= set->positional_max)
        return plumb_fail(PLUMB_EUSAGE, "unexpected argument \"%s\"", word);
    o->positional[o->positional_count++] = word;
    return PLUMB_OK;
}

static int walk(struct plumb_options *o, const struct plumb_option_set *set, int argc, char **argv,
                bool config_only)
{
    bool names_over = false;
    for (int at = 1, used = 1; at < argc; at += used, used = 1) {
        if (!names_over && strcmp(argv[at], "--") == 0)
            names_over = true;
        else if (!names_over && strncmp(argv[at], "--", 2) == 0)
            PLUMB_TRY(take_option(o, argc, argv, at, config_only, &used));
        else if (!names_over && looks_like_option(argv[at]))
            return plumb_fail(PLUMB_EUSAGE, "unknown option %s: names begin with --", argv[at]);
        else if (!config_only)
            PLUMB_TRY(take_positional(o, set, argv[at]));
    }
    return PLUMB_OK;
}

static int set_defaults(struct plumb_options *o)
{
    for (int i = 0; i < o->count; i++) {
        const struct plumb_setting *s = &o->setting[i];
        if (!s->field) continue;
        const char *word = s->fallback ? s->fallback : "None";
        struct plumb_option loose = *s->row; /* a required one starts as None */
        if (loose.flags & PLUMB_OPT_REQUIRED) loose.flags |= PLUMB_OPT_NONE;
        struct plumb_setting start = *s;
        start.row = &loose;
        const int rc = plumb_option_set_words(o, &start, loose.name, &word, 1);
        if (rc == PLUMB_EMEM) return rc;
        PLUMB_ASSERT(rc == PLUMB_OK);
    }
    return PLUMB_OK;
}

int plumb_options_parse(struct plumb_options *o, const struct plumb_option_set *set, void *config,
                        int argc, char **argv)
{
    int rc = PLUMB_OK;
    *o = (struct plumb_options){ 0 };
    PLUMB_TRYG(make_settings(o, set, config));
    o->positional = calloc((size_t)set->positional_max + 1, sizeof *o->positional);
    if (!o->positional) PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate the arguments"));
    PLUMB_TRYG(set_defaults(o));
    PLUMB_TRYG(walk(o, set, argc, argv, true));
    if (o->file) PLUMB_TRYG(plumb_options_read_yaml(o, o->file));
    PLUMB_TRYG(walk(o, set, argc, argv, false));
    for (int i = 0; i < o->count; i++)
        if ((o->setting[i].row->flags & PLUMB_OPT_REQUIRED) &&
            o->setting[i].origin == PLUMB_FROM_DEFAULT)
            PLUMB_TRYG(plumb_fail(PLUMB_EUSAGE, "--%s is required", o->setting[i].row->name));
out:
    if (rc) plumb_options_release(o);
    return rc;
}
