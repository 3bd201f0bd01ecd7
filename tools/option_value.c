/* Values of options: from words to fields, with their bounds, and back to JSON. */
#include "tools/option_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algos/config.h"
#include "io/json.h"

void plumb_option_bounds(const struct plumb_option *row, char *out, size_t n)
{
    const bool number = row->type == PLUMB_OPT_INT || row->type == PLUMB_OPT_FLOAT ||
                        row->type == PLUMB_OPT_FLOATS;
    const bool lo = number && isfinite(row->lo), hi = number && isfinite(row->hi);
    const char left = row->flags & PLUMB_OPT_ABOVE_LO ? '(' : '[';
    const char right = row->flags & PLUMB_OPT_BELOW_HI ? ')' : ']';
    if (lo && hi)
        snprintf(out, n, "in %c%.8g, %.8g%c", left, row->lo, row->hi, right);
    else if (lo)
        snprintf(out, n, "%s %.10g", left == '(' ? ">" : ">=", row->lo);
    else if (hi)
        snprintf(out, n, "%s %.10g", right == ')' ? "<" : "<=", row->hi);
    else
        snprintf(out, n, "%s", "");
}

static bool inside(const struct plumb_option *row, double v)
{
    const bool low = row->flags & PLUMB_OPT_ABOVE_LO ? v > row->lo : v >= row->lo;
    return low && (row->flags & PLUMB_OPT_BELOW_HI ? v < row->hi : v <= row->hi);
}

static int to_float(const struct plumb_option *row, const char *where, const char *word,
                    double *out)
{
    char *end = NULL, bounds[96];
    const double v = strtod(word, &end);
    if (end == word || *end || isnan(v))
        return plumb_fail(PLUMB_EUSAGE, "%s wants a number, got \"%s\"", where, word);
    if (isinf(v) || !inside(row, v)) {
        plumb_option_bounds(row, bounds, sizeof bounds);
        return plumb_fail(PLUMB_EUSAGE, "%s %s is out of bounds, want %s", where, word,
                          bounds[0] ? bounds : "a finite number");
    }
    *out = v;
    return PLUMB_OK;
}

static int to_int(const struct plumb_option *row, const char *where, const char *word, int64_t *out)
{
    char *end = NULL;
    double v = 0;
    errno = 0;
    const long long exact = strtoll(word, &end, 10);
    if (end != word && !*end && errno == 0) {
        PLUMB_TRY(to_float(row, where, word, &v));
        *out = exact;
        return PLUMB_OK;
    }
    v = strtod(word, &end); /* 1e3 is an integer too */
    if (end == word || *end || v != floor(v) || !(fabs(v) <= 0x1p53))
        return plumb_fail(PLUMB_EUSAGE, "%s wants an integer, got \"%s\"", where, word);
    PLUMB_TRY(to_float(row, where, word, &v));
    *out = (int64_t)v;
    return PLUMB_OK;
}

static int to_bool(const char *where, const char *word, bool *out)
{
    static const char *const yes[] = { "true", "yes", "1", "on", "t", "y", NULL };
    static const char *const no[] = { "false", "no", "0", "off", "f", "n", NULL };
    for (int i = 0; yes[i]; i++)
        if (strcasecmp(word, yes[i]) == 0 || strcasecmp(word, no[i]) == 0) {
            *out = strcasecmp(word, yes[i]) == 0;
            return PLUMB_OK;
        }
    return plumb_fail(PLUMB_EUSAGE, "%s wants true or false, got \"%s\"", where, word);
}

static int bad_choice(const struct plumb_option *row, const char *where, const char *word)
{
    char list[512];
    size_t used = 0;
    for (const char *const *c = row->choices; *c && used < sizeof list; c++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", *c);
    return plumb_fail(PLUMB_EUSAGE, "%s cannot be \"%s\", want %s%s", where, word,
                      row->choices[1] ? "one of " : "", list);
}

static int to_choice(const struct plumb_option *row, const char *where, const char *word, int *out)
{
    for (int i = 0; row->choices[i]; i++)
        if (strcmp(row->choices[i], word) == 0) {
            *out = i;
            return PLUMB_OK;
        }
    return bad_choice(row, where, word);
}

/* Equal as text, as truth values or as numbers: 0 and 0.0 and False say the same. */
static bool same_value(const char *a, const char *b)
{
    bool x = false, y = false;
    char *end_a, *end_b;
    if (strcasecmp(a, b) == 0) return true;
    const double u = strtod(a, &end_a), v = strtod(b, &end_b);
    if (*a && *b && !*end_a && !*end_b) return u == v;
    return to_bool("", a, &x) == PLUMB_OK && to_bool("", b, &y) == PLUMB_OK && x == y;
}

static int check_fixed(const struct plumb_option *row, const char *where, const char *const *word,
                       int count)
{
    const char *given = count == 0 ? "true" : word[0];
    if (!row->choices) return PLUMB_OK;
    for (const char *const *c = row->choices; *c && count <= 1; c++)
        if (same_value(*c, given)) return PLUMB_OK;
    plumb_errclear();
    return plumb_fail(PLUMB_EUSAGE, "%s %s is not supported: %s", where, given, row->help);
}

static int set_dict(struct plumb_options *o, const char *where, const char *word, const char **out)
{
    cJSON *json = NULL;
    if (plumb_json_parse(word, strlen(word), where, &json)) return PLUMB_EUSAGE; /* text stands */
    const bool good = cJSON_IsObject(json);
    cJSON_Delete(json);
    if (!good) return plumb_fail(PLUMB_EUSAGE, "%s wants a JSON object, got \"%s\"", where, word);
    *out = plumb_options_keep(o, word, strlen(word));
    return *out ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "%s: out of memory", where);
}

static int set_none(const struct plumb_setting *s)
{
    switch (s->row->type) {
    case PLUMB_OPT_TRISTATE: *(enum plumb_tristate *)s->field = PLUMB_UNSET; break;
    case PLUMB_OPT_INT: *(int64_t *)s->field = PLUMB_NONE_INT; break;
    case PLUMB_OPT_FLOAT: *(double *)s->field = NAN; break;
    case PLUMB_OPT_STRING:
    case PLUMB_OPT_DICT: *(const char **)s->field = NULL; break;
    case PLUMB_OPT_STRINGS: *(struct plumb_strings *)s->field = (struct plumb_strings){ 0 }; break;
    case PLUMB_OPT_FLOATS: *(struct plumb_floats *)s->field = (struct plumb_floats){ 0 }; break;
    default: PLUMB_ASSERT(!"a type that has no None");
    }
    return PLUMB_OK;
}

/* Splits words at commas into one kept list of kept strings. */
static int split(struct plumb_options *o, const char *where, const char *const *word, int count,
                 const char ***items, int64_t *n)
{
    int64_t room = count;
    for (int i = 0; i < count; i++)
        for (const char *c = word[i]; *c; c++)
            room += *c == ',';
    *n = 0;
    *items = plumb_options_keep(o, NULL, (size_t)room * sizeof **items);
    for (int i = 0; i < count; i++) {
        char *rest = plumb_options_keep(o, word[i], strlen(word[i]));
        if (!*items || !rest) return plumb_fail(PLUMB_EMEM, "%s: out of memory", where);
        while (rest) {
            const char *item = strsep(&rest, ",");
            if (!*item) return plumb_fail(PLUMB_EUSAGE, "%s has an empty value", where);
            (*items)[(*n)++] = item;
        }
    }
    return PLUMB_OK;
}

static int set_list(struct plumb_options *o, const struct plumb_setting *s, const char *where,
                    const char *const *word, int count)
{
    const char **item;
    int64_t n;
    int ignored;
    PLUMB_TRY(split(o, where, word, count, &item, &n));
    if (s->row->type == PLUMB_OPT_STRINGS) {
        for (int64_t i = 0; s->row->choices && i < n; i++)
            PLUMB_TRY(to_choice(s->row, where, item[i], &ignored));
        *(struct plumb_strings *)s->field = (struct plumb_strings){ item, n };
        return PLUMB_OK;
    }
    double *v = plumb_options_keep(o, NULL, (size_t)n * sizeof *v);
    if (!v) return plumb_fail(PLUMB_EMEM, "%s: out of memory", where);
    for (int64_t i = 0; i < n; i++)
        PLUMB_TRY(to_float(s->row, where, item[i], &v[i]));
    *(struct plumb_floats *)s->field = (struct plumb_floats){ v, n };
    return PLUMB_OK;
}

static int set_string(struct plumb_options *o, const struct plumb_setting *s, const char *where,
                      const char *word)
{
    if (!*word) return plumb_fail(PLUMB_EUSAGE, "%s has an empty value", where);
    const char *kept = plumb_options_keep(o, word, strlen(word));
    *(const char **)s->field = kept;
    return kept ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "%s: out of memory", where);
}

static bool none_allowed(const struct plumb_option *row)
{
    return (row->flags & PLUMB_OPT_NONE) || plumb_option_is_list(row) ||
           row->type == PLUMB_OPT_TRISTATE || row->type == PLUMB_OPT_DICT;
}

int plumb_option_set_words(struct plumb_options *o, const struct plumb_setting *s,
                           const char *where, const char *const *word, int count)
{
    const struct plumb_option *row = s->row;
    bool yes = true;
    if (row->type == PLUMB_OPT_FIXED) return check_fixed(row, where, word, count);
    if (count == 0 && !plumb_option_is_switch(row))
        return plumb_fail(PLUMB_EUSAGE, "%s wants a value", where);
    if (count > 1 && !plumb_option_is_list(row))
        return plumb_fail(PLUMB_EUSAGE, "%s wants one value, got a list", where);
    if (count == 1 && none_allowed(row) &&
        (strcmp(word[0], "None") == 0 || strcmp(word[0], "null") == 0))
        return set_none(s);
    switch (row->type) {
    case PLUMB_OPT_BOOL:
    case PLUMB_OPT_TRISTATE:
        if (count) PLUMB_TRY(to_bool(where, word[0], &yes));
        if (row->type == PLUMB_OPT_BOOL)
            *(bool *)s->field = yes;
        else
            *(enum plumb_tristate *)s->field = yes ? PLUMB_YES : PLUMB_NO;
        return PLUMB_OK;
    case PLUMB_OPT_INT: return to_int(row, where, word[0], s->field);
    case PLUMB_OPT_FLOAT: return to_float(row, where, word[0], s->field);
    case PLUMB_OPT_STRING: return set_string(o, s, where, count ? word[0] : "true");
    case PLUMB_OPT_CHOICE: return to_choice(row, where, word[0], s->field);
    case PLUMB_OPT_DICT: return set_dict(o, where, word[0], s->field);
    default: return set_list(o, s, where, word, count);
    }
}

static cJSON *strings_json(const struct plumb_strings *list)
{
    cJSON *array = cJSON_CreateArray();
    for (int64_t i = 0; i < list->count; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(list->item[i]));
    return array;
}

static cJSON *value_json(const struct plumb_setting *s)
{
    const void *f = s->field;
    switch (s->row->type) {
    case PLUMB_OPT_BOOL: return cJSON_CreateBool(*(const bool *)f);
    case PLUMB_OPT_TRISTATE: {
        const enum plumb_tristate t = *(const enum plumb_tristate *)f;
        return t == PLUMB_UNSET ? cJSON_CreateNull() : cJSON_CreateBool(t == PLUMB_YES);
    }
    case PLUMB_OPT_INT: {
        const int64_t v = *(const int64_t *)f;
        char text[32];
        snprintf(text, sizeof text, "%lld", (long long)v); /* seeds need all 64 bits */
        return v == PLUMB_NONE_INT ? cJSON_CreateNull() : cJSON_CreateRaw(text);
    }
    case PLUMB_OPT_FLOAT: return cJSON_CreateNumber(*(const double *)f); /* NaN is written null */
    case PLUMB_OPT_STRING: {
        const char *text = *(const char *const *)f;
        return text ? cJSON_CreateString(text) : cJSON_CreateNull();
    }
    case PLUMB_OPT_CHOICE: return cJSON_CreateString(s->row->choices[*(const int *)f]);
    case PLUMB_OPT_STRINGS: return strings_json(f);
    case PLUMB_OPT_FLOATS: {
        const struct plumb_floats *list = f;
        return list->count ? cJSON_CreateDoubleArray(list->item, (int)list->count)
                           : cJSON_CreateArray();
    }
    default: {
        const char *text = *(const char *const *)f;
        return text ? cJSON_Parse(text) : cJSON_CreateNull();
    }
    }
}

int plumb_options_json(const struct plumb_options *o, cJSON **out)
{
    cJSON *object = cJSON_CreateObject();
    for (int i = 0; object && i < o->count; i++) {
        if (!o->setting[i].field) continue;
        cJSON *value = value_json(&o->setting[i]);
        if (!value || !cJSON_AddItemToObject(object, o->setting[i].row->name, value)) {
            cJSON_Delete(value);
            cJSON_Delete(object);
            object = NULL;
        }
    }
    *out = object;
    return object ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "options: out of memory");
}
