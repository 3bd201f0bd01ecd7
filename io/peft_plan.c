/* Which modules of a model get adapters, and which are trained whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/peft.h"

bool plumb_peft_module(const char *tensor, char *out, size_t n)
{
    static const char end[] = ".weight";
    const size_t length = strlen(tensor), tail = sizeof end - 1;
    if (length <= tail || strcmp(tensor + length - tail, end) != 0) return false;
    snprintf(out, n, "%.*s", (int)(length - tail), tensor);
    return true;
}

/* PEFT's rule: the whole name, or its end behind a dot. */
static bool ends_in(const char *module, const char *name)
{
    const size_t m = strlen(module), n = strlen(name);
    return m >= n && strcmp(module + m - n, name) == 0 && (m == n || module[m - n - 1] == '.');
}

static bool is_matrix(const struct plumb_hf_model *hf, const struct plumb_hf_tensor *t)
{
    const struct plumb_param *p = &hf->params[t->param];
    return p->layer >= 0 && p->decay;
}

/* Names that modules end in, for a message. */
static const char *offer(const struct plumb_hf_model *hf, bool matrices, char *out, size_t n)
{
    size_t used = 0;
    out[0] = 0;
    for (int64_t k = 0; k < hf->tensor_count; k++) {
        const struct plumb_hf_tensor *t = &hf->tensors[k];
        char module[128], quoted[160];
        if (hf->params[t->param].layer > 0 || is_matrix(hf, t) != matrices ||
            !plumb_peft_module(t->name, module, sizeof module))
            continue;
        const char *leaf = strrchr(module, '.') ? strrchr(module, '.') + 1 : module;
        snprintf(quoted, sizeof quoted, "%s%s", used ? ", " : "", leaf);
        if (strstr(out, leaf) || used + strlen(quoted) >= n) continue;
        used += (size_t)snprintf(out + used, n - used, "%s", quoted);
    }
    return out;
}

/* Whether a tensor's module, the part of its name before ".weight" or ".bias", is meant. */
static bool is_saved(const struct plumb_hf_tensor *t, const char *name)
{
    char module[128];
    const char *dot = strrchr(t->name, '.');
    snprintf(module, sizeof module, "%.*s", (int)(dot - t->name), t->name);
    return ends_in(module, name);
}

static int check_saved(const struct plumb_hf_model *hf, const struct plumb_hf_tensor *t,
                       const char *name)
{
    const struct plumb_param *p = &hf->params[t->param];
    if (hf->config.model.tied && p->role == PLUMB_ROLE_EMBED)
        return plumb_fail(PLUMB_ENOTSUP,
                          "lora_modules_to_save: %s is tied to the head: only both could be "
                          "trained, which is not built",
                          name);
    if (p->role == PLUMB_ROLE_POSITION ||
        (p->role == PLUMB_ROLE_EMBED && hf->config.model.learned_positions))
        return plumb_fail(PLUMB_ENOTSUP,
                          "lora_modules_to_save: %s stands beside a table of positions: not built",
                          name);
    if (t->rows * t->unit != p->rows * p->cols)
        return plumb_fail(PLUMB_ENOTSUP,
                          "lora_modules_to_save: %s is a part of %s here: give it an adapter", name,
                          plumb_role_name(p->role));
    return PLUMB_OK;
}

/* Marks the parameters of module `name`. */
static int mark(const struct plumb_hf_model *hf, const char *name, bool *whole)
{
    bool found = false;
    char names[512];
    for (int64_t k = 0; k < hf->tensor_count; k++) {
        const struct plumb_hf_tensor *t = &hf->tensors[k];
        if (!is_saved(t, name)) continue;
        PLUMB_TRY(check_saved(hf, t, name));
        found = whole[t->param] = true;
    }
    if (!found && strcmp(name, "lm_head") == 0 && hf->config.model.tied)
        return plumb_fail(PLUMB_ENOTSUP, "lora_modules_to_save: lm_head is tied to the embedding: "
                                         "only both could be trained, which is not built");
    return found ? PLUMB_OK
                 : plumb_fail(PLUMB_EUSAGE,
                              "lora_modules_to_save: no module \"%.80s\" in this model; outside "
                              "the adapters' own there are %s",
                              name, offer(hf, false, names, sizeof names));
}

/* Marks the tensors of target `name`. */
static int aim(const struct plumb_hf_model *hf, const char *name, const bool *whole, bool *target)
{
    bool found = false;
    char names[512], module[128];
    for (int64_t k = 0; k < hf->tensor_count; k++) {
        const struct plumb_hf_tensor *t = &hf->tensors[k];
        if (!plumb_peft_module(t->name, module, sizeof module) || !ends_in(module, name)) continue;
        if (!is_matrix(hf, t))
            return plumb_fail(PLUMB_ENOTSUP,
                              "lora_target_modules: %s is no matrix of a layer: it could be in "
                              "lora_modules_to_save",
                              name);
        found = true;
        target[k] = target[k] || !whole[t->param];
    }
    return found ? PLUMB_OK
                 : plumb_fail(PLUMB_EUSAGE,
                              "lora_target_modules: no module \"%.80s\" in this model: there are "
                              "%s, and all-linear for all of them",
                              name, offer(hf, true, names, sizeof names));
}

static int choose(const struct plumb_hf_model *hf, const struct plumb_peft_wish *w,
                  const bool *whole, bool *target)
{
    static const char *const modern[] = { "q_proj", "v_proj" }, *const gpt2[] = { "c_attn" },
                             *const neox[] = { "query_key_value" };
    const unsigned family = hf->config.family->bit;
    const char *const *name = w->targets;
    int64_t count = w->target_count;
    if (count == 1 && !strcasecmp(name[0], "all-linear")) {
        for (int64_t k = 0; k < hf->tensor_count; k++)
            target[k] = is_matrix(hf, &hf->tensors[k]) && !whole[hf->tensors[k].param];
        return PLUMB_OK;
    }
    if (count == 0) {
        name = family == PLUMB_HF_GPT2 ? gpt2 : family == PLUMB_HF_NEOX ? neox : modern;
        count = name == modern ? 2 : 1;
    }
    for (int64_t i = 0; i < count; i++)
        PLUMB_TRY(aim(hf, name[i], whole, target));
    return PLUMB_OK;
}

/* The list of tensors is in order of parameters and rows, and so are the adapters. */
static int fill(struct plumb_peft *p, const struct plumb_hf_model *hf, const bool *whole,
                const bool *target)
{
    p->lora.adapter = calloc((size_t)hf->tensor_count, sizeof *p->lora.adapter);
    p->tensor = calloc((size_t)hf->tensor_count, sizeof *p->tensor);
    p->whole = calloc((size_t)hf->param_count, sizeof *p->whole);
    if (!p->lora.adapter || !p->tensor || !p->whole)
        return plumb_fail(PLUMB_EMEM, "could not allocate the list of adapters");
    p->lora.whole = p->whole;
    for (int64_t k = 0; k < hf->tensor_count; k++) {
        const struct plumb_hf_tensor *t = &hf->tensors[k];
        if (!target[k]) continue;
        p->tensor[p->lora.count] = k;
        p->lora.adapter[p->lora.count++] = (struct plumb_adapter){
            .param = t->param,
            .first = (t->offset - hf->params[t->param].offset) / t->unit,
            .rows = t->rows,
        };
    }
    for (int64_t k = 0; k < hf->param_count; k++)
        if (whole[k]) p->whole[p->lora.whole_count++] = k;
    return plumb_peft_lay_out(p, hf);
}

int plumb_peft_plan(struct plumb_peft *p, const struct plumb_hf_model *hf,
                    const struct plumb_peft_wish *wish)
{
    int rc = PLUMB_OK;
    *p = (struct plumb_peft){ .lora = { .rank = wish->r } };
    bool *whole = calloc((size_t)hf->param_count, sizeof *whole);
    bool *target = calloc((size_t)hf->tensor_count, sizeof *target);
    if (!whole || !target) PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "could not allocate modules"));
    for (int64_t i = 0; i < wish->saved_count; i++)
        PLUMB_TRYG(mark(hf, wish->saved[i], whole));
    if (hf->config.model.num_labels > 0) PLUMB_TRYG(mark(hf, "score", whole));
    PLUMB_TRYG(choose(hf, wish, whole, target));
    PLUMB_TRYG(fill(p, hf, whole, target));
    PLUMB_TRYG(plumb_peft_config_make(p, hf, wish));
out:
    free(whole);
    free(target);
    if (rc) plumb_peft_release(p);
    return rc;
}
