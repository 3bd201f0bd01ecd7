/* adapter_config.json: read with everything that changes numbers understood or refused, and made
 * for new adapters. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "io/peft.h"

bool plumb_peft_is(const char *dir)
{
    char path[4096];
    return !plumb_path_join(path, sizeof path, dir, PLUMB_PEFT_CONFIG) && plumb_file_exists(path);
}

static bool is_nothing(const cJSON *v)
{
    return !v || cJSON_IsNull(v) || cJSON_IsFalse(v) ||
           ((cJSON_IsObject(v) || cJSON_IsArray(v)) && !v->child);
}

/* Keys that ask for another computation than W x + scale B A x. */
static int check_kind(const cJSON *json, const char *path)
{
    static const char *const others[] = {
        "use_dora",          "rank_pattern",
        "alpha_pattern",     "lora_bias",
        "use_qalora",        "target_parameters",
        "layer_replication", "trainable_token_indices",
        "megatron_config",   "alora_invocation_tokens",
        "arrow_config",      "kasa_config",
        "use_bdlora",        "velora_config",
        "monteclora_config",
    };
    const cJSON *type = plumb_json_get(json, "peft_type"), *bias = plumb_json_get(json, "bias");
    if (!cJSON_IsString(type) || strcmp(type->valuestring, "LORA") != 0)
        return plumb_fail(PLUMB_ENOTSUP, "%s: peft_type is \"%s\", LORA alone is built", path,
                          cJSON_IsString(type) ? type->valuestring : plumb_json_type(type));
    if (cJSON_IsString(bias) && strcmp(bias->valuestring, "none") != 0)
        return plumb_fail(PLUMB_ENOTSUP, "%s: bias is \"%.40s\": trained biases are not built",
                          path, bias->valuestring);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!is_nothing(plumb_json_get(json, others[i])))
            return plumb_fail(PLUMB_ENOTSUP, "%s: %s changes numbers in a way that is not built",
                              path, others[i]);
    return PLUMB_OK;
}

/* Starting weights of some kinds come with a changed base, which the folder does not hold. */
static int check_start(const cJSON *json, const char *path)
{
    static const char *const fine[] = { "gaussian", "eva", "orthogonal" };
    const cJSON *v = plumb_json_get(json, "init_lora_weights");
    bool known = !cJSON_IsString(v);
    for (size_t i = 0; i < sizeof fine / sizeof *fine && !known; i++)
        known = strcmp(v->valuestring, fine[i]) == 0;
    return known ? PLUMB_OK
                 : plumb_fail(PLUMB_ENOTSUP,
                              "%s: init_lora_weights \"%.40s\" goes with a changed base model",
                              path, v->valuestring);
}

static double scale_of(const struct plumb_peft *p)
{
    return p->lora_alpha / (p->use_rslora ? sqrt((double)p->r) : (double)p->r);
}

static int take(struct plumb_peft *p, const char *path)
{
    const cJSON *json = p->config;
    PLUMB_TRY(check_kind(json, path));
    PLUMB_TRY(check_start(json, path));
    PLUMB_TRY(plumb_json_i64(json, "r", path, &p->r));
    PLUMB_TRY(plumb_json_f64_or(json, "lora_alpha", path, 8, &p->lora_alpha));
    PLUMB_TRY(plumb_json_bool_or(json, "use_rslora", path, false, &p->use_rslora));
    PLUMB_TRY(plumb_json_f64_or(json, "lora_dropout", path, 0, &p->lora.dropout));
    if (p->r < 1 || p->r > INT32_MAX)
        return plumb_fail(PLUMB_EFORMAT, "%s: r is %lld", path, (long long)p->r);
    if (!(p->lora.dropout >= 0 && p->lora.dropout < 1))
        return plumb_fail(PLUMB_EFORMAT, "%s: lora_dropout is %g", path, p->lora.dropout);
    p->lora.rank = p->r;
    p->lora.scale = scale_of(p);
    return PLUMB_OK;
}

int plumb_peft_config_read(struct plumb_peft *p, const char *dir)
{
    char path[4096];
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, PLUMB_PEFT_CONFIG));
    PLUMB_TRY(plumb_json_load(path, 1 << 24, &p->config));
    return take(p, path);
}

static cJSON *strings(const char *const *item, int64_t count)
{
    cJSON *list = cJSON_CreateArray();
    for (int64_t i = 0; i < count && list; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(item[i]));
    return list;
}

/* The last parts of the names of the matrices with adapters, each once. */
static cJSON *target_names(const struct plumb_peft *p, const struct plumb_hf_model *hf)
{
    cJSON *list = cJSON_CreateArray();
    for (int64_t i = 0; i < p->lora.count && list; i++) {
        char module[128];
        plumb_peft_module(hf->tensors[p->tensor[i]].name, module, sizeof module);
        const char *leaf = strrchr(module, '.') ? strrchr(module, '.') + 1 : module;
        const cJSON *seen = list->child;
        while (seen && strcmp(seen->valuestring, leaf) != 0)
            seen = seen->next;
        if (!seen) cJSON_AddItemToArray(list, cJSON_CreateString(leaf));
    }
    return list;
}

/* As given where names are, since one may end in more than a last part. */
static cJSON *targets(const struct plumb_peft *p, const struct plumb_hf_model *hf,
                      const struct plumb_peft_wish *w)
{
    const bool named = w->target_count > 0 &&
                       !(w->target_count == 1 && !strcasecmp(w->targets[0], "all-linear"));
    return named ? strings(w->targets, w->target_count) : target_names(p, hf);
}

static cJSON *saved(const struct plumb_hf_model *hf, const struct plumb_peft_wish *w)
{
    const bool scores = hf->config.model.num_labels > 0;
    if (w->saved_count == 0 && !scores) return cJSON_CreateNull();
    cJSON *list = strings(w->saved, w->saved_count);
    if (scores && list) { /* as PEFT lists them */
        cJSON_AddItemToArray(list, cJSON_CreateString("classifier"));
        cJSON_AddItemToArray(list, cJSON_CreateString("score"));
    }
    return list;
}

int plumb_peft_config_make(struct plumb_peft *p, const struct plumb_hf_model *hf,
                           const struct plumb_peft_wish *w)
{
    static const char *const nothing[] = {
        "alora_invocation_tokens", "auto_mapping",        "exclude_modules", "layer_replication",
        "layers_pattern",          "layers_to_transform", "revision",        "target_parameters",
        "trainable_token_indices"
    };
    cJSON *o = p->config = cJSON_CreateObject();
    p->r = p->lora.rank = w->r;
    p->lora_alpha = w->lora_alpha;
    p->use_rslora = w->use_rslora;
    p->lora.dropout = w->lora_dropout;
    p->lora.scale = scale_of(p);
    cJSON_AddStringToObject(o, "peft_type", "LORA");
    cJSON_AddStringToObject(o, "task_type",
                            hf->config.model.num_labels > 0 ? "SEQ_CLS" : "CAUSAL_LM");
    cJSON_AddNumberToObject(o, "r", (double)w->r);
    cJSON_AddNumberToObject(o, "lora_alpha", w->lora_alpha);
    cJSON_AddNumberToObject(o, "lora_dropout", w->lora_dropout);
    cJSON_AddItemToObject(o, "target_modules", targets(p, hf, w));
    cJSON_AddItemToObject(o, "modules_to_save", saved(hf, w));
    cJSON_AddBoolToObject(o, "use_rslora", w->use_rslora);
    cJSON_AddBoolToObject(o, "use_dora", false);
    cJSON_AddStringToObject(o, "bias", "none");
    cJSON_AddBoolToObject(o, "lora_bias", false);
    cJSON_AddBoolToObject(o, "fan_in_fan_out", hf->config.family->bit == PLUMB_HF_GPT2);
    cJSON_AddBoolToObject(o, "inference_mode", true);
    cJSON_AddBoolToObject(o, "init_lora_weights", true);
    cJSON_AddItemToObject(o, "rank_pattern", cJSON_CreateObject());
    cJSON_AddItemToObject(o, "alpha_pattern", cJSON_CreateObject());
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
        cJSON_AddNullToObject(o, nothing[i]);
    return o ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "could not allocate %s", PLUMB_PEFT_CONFIG);
}
