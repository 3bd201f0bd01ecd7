/* YAML configuration files: `name: value` at top level, lists for lists, nested maps for
 * dictionary options alone. */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "io/file.h"
#include "tools/option_value.h"

#define NODES_MAX 10000 /* of one dictionary: aliases may repeat a node without end */
#define DEPTH_MAX 32
#define FILE_MAX ((size_t)1 << 20)
#define NESTED_MAX 100 /* of the file: libyaml's work is brackets open times words */

struct reader {
    struct plumb_options *o;
    const char *path;
    yaml_document_t document;
    int nodes_left;
};

static const char *text_of(const yaml_node_t *n) { return (const char *)n->data.scalar.value; }

/* A NUL inside a scalar would hide what follows it. */
static bool is_scalar(const yaml_node_t *n)
{
    return n && n->type == YAML_SCALAR_NODE && strlen(text_of(n)) == n->data.scalar.length;
}

static int line_of(const yaml_node_t *n) { return (int)n->start_mark.line + 1; }

/* YAML's words for None, unless quoted. */
static const char *word_of(const yaml_node_t *n)
{
    const char *text = text_of(n);
    const bool plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return plain && (!*text || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0) ? "None"
                                                                                        : text;
}

static cJSON *scalar_json(const yaml_node_t *n)
{
    const char *word = word_of(n);
    char *end = NULL;
    if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return cJSON_CreateString(word);
    if (strcmp(word, "None") == 0) return cJSON_CreateNull();
    if (strcasecmp(word, "true") == 0 || strcasecmp(word, "false") == 0)
        return cJSON_CreateBool(strcasecmp(word, "true") == 0);
    const double v = strtod(word, &end);
    return end != word && !*end ? cJSON_CreateNumber(v) : cJSON_CreateString(word);
}

/* A node as JSON, or NULL when it is too large, too deep or has a key that is no string. */
static cJSON *node_json(struct reader *r, const yaml_node_t *n, int depth)
{
    if (!n || depth > DEPTH_MAX || r->nodes_left-- <= 0) return NULL;
    if (n->type == YAML_SCALAR_NODE) return scalar_json(n);
    cJSON *out = n->type == YAML_MAPPING_NODE ? cJSON_CreateObject() : cJSON_CreateArray();
    bool good = out != NULL;
    if (n->type == YAML_MAPPING_NODE) {
        for (yaml_node_pair_t *p = n->data.mapping.pairs.start;
             good && p < n->data.mapping.pairs.top; p++) {
            const yaml_node_t *key = yaml_document_get_node(&r->document, p->key);
            cJSON *item = node_json(r, yaml_document_get_node(&r->document, p->value), depth + 1);
            good = item && is_scalar(key) && !cJSON_HasObjectItem(out, text_of(key)) &&
                   cJSON_AddItemToObject(out, text_of(key), item);
            if (!good) cJSON_Delete(item);
        }
    } else {
        for (yaml_node_item_t *i = n->data.sequence.items.start;
             good && i < n->data.sequence.items.top; i++) {
            cJSON *item = node_json(r, yaml_document_get_node(&r->document, *i), depth + 1);
            good = item && cJSON_AddItemToArray(out, item);
            if (!good) cJSON_Delete(item);
        }
    }
    if (good) return out;
    cJSON_Delete(out);
    return NULL;
}

static int take_map(struct reader *r, const struct plumb_setting *s, const char *where,
                    const yaml_node_t *value)
{
    const char *word = "a map";
    if (s->row->type == PLUMB_OPT_FIXED) return plumb_option_set_words(r->o, s, where, &word, 1);
    if (s->row->type != PLUMB_OPT_DICT)
        return plumb_fail(PLUMB_EUSAGE, "%s is a map, but takes a plain value%s", where,
                          plumb_option_is_list(s->row) ? " or a list" : "");
    r->nodes_left = NODES_MAX;
    cJSON *json = node_json(r, value, 0);
    char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    if (!text)
        return plumb_fail(PLUMB_EUSAGE,
                          "%s: this map is too large or too deep, or a key repeats or is no string",
                          where);
    word = text;
    const int rc = plumb_option_set_words(r->o, s, where, &word, 1);
    cJSON_free(text);
    return rc;
}

static int take_sequence(struct reader *r, const struct plumb_setting *s, const char *where,
                         const yaml_node_t *value)
{
    const yaml_node_item_t *item = value->data.sequence.items.start;
    const int count = (int)(value->data.sequence.items.top - item);
    int rc = PLUMB_OK;
    if (!plumb_option_is_list(s->row) && s->row->type != PLUMB_OPT_FIXED)
        return plumb_fail(PLUMB_EUSAGE, "%s wants one value, got a list", where);
    const char **word = calloc((size_t)count + 1, sizeof *word);
    if (!word) return plumb_fail(PLUMB_EMEM, "%s: out of memory", where);
    for (int i = 0; i < count; i++) {
        const yaml_node_t *n = yaml_document_get_node(&r->document, item[i]);
        if (!is_scalar(n))
            PLUMB_TRYG(plumb_fail(PLUMB_EUSAGE, "%s: a list inside the list", where));
        word[i] = text_of(n);
    }
    if (count == 0) word[0] = "None"; /* no items */
    rc = plumb_option_set_words(r->o, s, where, word, count ? count : 1);
out:
    free(word);
    return rc;
}

static int take_pair(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    char at[512], where[700];
    bool negated;
    if (!is_scalar(key))
        return plumb_fail(PLUMB_EUSAGE, "%s:%d: an option's name is not a plain word", r->path,
                          line_of(key));
    snprintf(at, sizeof at, "%s:%d: ", r->path, line_of(key));
    snprintf(where, sizeof where, "%s%.120s", at, text_of(key));
    struct plumb_setting *s = plumb_option_lookup(r->o, text_of(key), &negated);
    if (strcmp(text_of(key), "config") == 0)
        return plumb_fail(PLUMB_EUSAGE, "%s: a configuration file cannot name another", where);
    if (strcmp(text_of(key), "env") == 0)
        return plumb_fail(PLUMB_EUSAGE, "%s: set environment variables in the shell", where);
    if (!s || negated) {
        plumb_option_unknown(r->o, "", text_of(key));
        return plumb_fail_while(PLUMB_EUSAGE, "%s:%d", r->path, line_of(key));
    }
    if (s->origin == PLUMB_FROM_FILE)
        return plumb_fail(PLUMB_EUSAGE, "%s stands twice, first in line %d", where, s->line);
    s->origin = PLUMB_FROM_FILE;
    s->line = line_of(key);
    if (value->type == YAML_SCALAR_NODE && !is_scalar(value))
        return plumb_fail(PLUMB_EUSAGE, "%s: a NUL byte in the value", where);
    if (value->type == YAML_MAPPING_NODE) return take_map(r, s, where, value);
    if (value->type == YAML_SEQUENCE_NODE) return take_sequence(r, s, where, value);
    const char *word = word_of(value);
    return plumb_option_set_words(r->o, s, where, &word, 1);
}

static int take_document(struct reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->document);
    if (!root) return PLUMB_OK; /* an empty file */
    if (root->type != YAML_MAPPING_NODE)
        return plumb_fail(PLUMB_EUSAGE, "%s:%d: want lines of `name: value`", r->path,
                          line_of(root));
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
         p++)
        PLUMB_TRY(take_pair(r, yaml_document_get_node(&r->document, p->key),
                            yaml_document_get_node(&r->document, p->value)));
    return PLUMB_OK;
}

/* Fails where collections nest too deep. Other faults of the text are left to the loader. */
static int check_depth(const char *text, size_t n, const char *path)
{
    yaml_parser_t parser;
    yaml_token_t token;
    int depth = 0, rc = PLUMB_OK;
    if (!yaml_parser_initialize(&parser)) return plumb_fail(PLUMB_EMEM, "%s: out of memory", path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    for (bool more = true; more && !rc && yaml_parser_scan(&parser, &token);) {
        const size_t line = token.start_mark.line + 1, column = token.start_mark.column + 1;
        switch (token.type) {
        case YAML_FLOW_SEQUENCE_START_TOKEN:
        case YAML_FLOW_MAPPING_START_TOKEN:
        case YAML_BLOCK_SEQUENCE_START_TOKEN:
        case YAML_BLOCK_MAPPING_START_TOKEN: depth++; break;
        case YAML_FLOW_SEQUENCE_END_TOKEN:
        case YAML_FLOW_MAPPING_END_TOKEN:
        case YAML_BLOCK_END_TOKEN: depth--; break;
        default: more = token.type != YAML_STREAM_END_TOKEN;
        }
        yaml_token_delete(&token);
        if (depth > NESTED_MAX)
            rc = plumb_fail(PLUMB_EUSAGE, "%s:%zu:%zu: nested deeper than %d", path, line, column,
                            NESTED_MAX);
    }
    yaml_parser_delete(&parser);
    return rc;
}

int plumb_options_read_yaml(struct plumb_options *o, const char *path)
{
    int rc = PLUMB_OK;
    struct reader r = { .o = o, .path = path };
    yaml_parser_t parser;
    char *text;
    size_t n;
    PLUMB_TRY(plumb_file_read(path, FILE_MAX, &text, &n));
    rc = check_depth(text, n, path);
    if (!rc && !yaml_parser_initialize(&parser))
        rc = plumb_fail(PLUMB_EMEM, "%s: out of memory", path);
    if (rc) {
        free(text);
        return rc;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    if (yaml_parser_load(&parser, &r.document)) {
        rc = take_document(&r);
        yaml_document_delete(&r.document);
    } else {
        const size_t line = parser.problem_mark.line + 1, column = parser.problem_mark.column + 1;
        rc = plumb_fail(PLUMB_EUSAGE, "%s:%zu:%zu: not YAML: %s", path, line, column,
                        parser.problem ? parser.problem : "cannot be read");
    }
    yaml_parser_delete(&parser);
    free(text);
    return rc;
}
