/* config.json of a model that is saved: the original's keys, brought up to date. */
#include <stdio.h>
#include <string.h>

#include "io/hf_config.h"
#include "io/json.h"

static bool set_string(cJSON *o, const char *key, const char *text)
{
    cJSON_DeleteItemFromObjectCaseSensitive(o, key);
    return cJSON_AddStringToObject(o, key, text) != NULL;
}

/* The labels of a score head: transformers counts id2label, and takes 2 where there is none. */
static bool set_labels(cJSON *o, int64_t n)
{
    const cJSON *old = plumb_json_get(o, "id2label");
    cJSON_DeleteItemFromObjectCaseSensitive(o, "num_labels");
    if (cJSON_IsObject(old) && cJSON_GetArraySize(old) == n) return true;
    cJSON_DeleteItemFromObjectCaseSensitive(o, "id2label");
    cJSON_DeleteItemFromObjectCaseSensitive(o, "label2id");
    cJSON *names = cJSON_AddObjectToObject(o, "id2label"),
          *ids = cJSON_AddObjectToObject(o, "label2id");
    bool ok = names && ids;
    for (int64_t i = 0; i < n && ok; i++) {
        char id[32], name[40];
        snprintf(id, sizeof id, "%lld", (long long)i);
        snprintf(name, sizeof name, "LABEL_%lld", (long long)i);
        ok = cJSON_AddStringToObject(names, id, name) &&
             cJSON_AddNumberToObject(ids, name, (double)i);
    }
    return ok;
}

/* The next number of a JSON text, past strings. */
static const char *next_number(const char *p)
{
    for (bool quoted = false; *p && (quoted || !strchr("-0123456789", *p)); p++) {
        if (quoted && *p == '\\' && p[1])
            p++;
        else if (*p == '"')
            quoted = !quoted;
    }
    return p;
}

/* cJSON writes 1.0 as 1, which readers that tell floats from integers mind: numbers get back the
 * spelling of the text that they were parsed from. NULL without memory, else what is left of it. */
static const char *spell_numbers(cJSON *v, const char *p)
{
    for (cJSON *e = v->child; e && p; e = e->next) {
        if (cJSON_IsNumber(e)) {
            p = next_number(p);
            const size_t n = strspn(p, "+-.eE0123456789");
            e->valuestring = cJSON_malloc(n + 1);
            if (!e->valuestring) return NULL;
            memcpy(e->valuestring, p, n);
            e->valuestring[n] = 0;
            e->type = cJSON_Raw;
            p += n;
        } else {
            p = spell_numbers(e, p);
        }
    }
    return p;
}

cJSON *plumb_hf_config_saved(const struct plumb_hf_config *c, enum plumb_dtype dtype)
{
    cJSON *o = cJSON_Duplicate(c->json, true);
    char name[96];
    const bool score = c->model.num_labels > 0;
    if (!o) return NULL;
    bool ok = spell_numbers(o, c->text) != NULL;
    snprintf(name, sizeof name, "%s%s", c->family->stem,
             score ? PLUMB_HF_CLASSIFIER : c->family->causal);
    cJSON_DeleteItemFromObjectCaseSensitive(o, "architectures");
    cJSON *list = cJSON_AddArrayToObject(o, "architectures");
    ok = ok && list && cJSON_AddItemToArray(list, cJSON_CreateString(name));
    const char *key = plumb_json_get(o, "dtype") ? "dtype" : "torch_dtype";
    ok = ok && set_string(o, key, plumb_dtype_name(dtype));
    if (score) ok = ok && set_labels(o, c->model.num_labels);
    if (ok) return o;
    cJSON_Delete(o);
    return NULL;
}
