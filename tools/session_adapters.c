/* Adapters of a training command: planned or read, started, saved. */
#include <plumb/log.h>
#include <stdio.h>

#include "runtime/adapters.h"
#include "runtime/transfer.h"
#include "tools/session.h"

static bool is_given(const struct plumb_session *s, const char *option)
{
    const struct plumb_setting *o = s->wish.options ? plumb_options_find(s->wish.options, option)
                                                    : NULL;
    return o && o->origin != PLUMB_FROM_DEFAULT;
}

/* What the folder says holds; an option that says otherwise would have no effect. */
static int check_given(const struct plumb_session *s)
{
    const struct plumb_train_config *c = s->wish.config;
    const struct plumb_peft *p = &s->peft;
    const struct {
        const char *name;
        double asked, has;
    } numbers[] = { { "lora_r", (double)c->lora_r, (double)p->r },
                    { "lora_alpha", c->lora_alpha, p->lora_alpha },
                    { "use_rslora", c->use_rslora, p->use_rslora } };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (is_given(s, numbers[i].name) && numbers[i].asked != numbers[i].has)
            return plumb_fail(PLUMB_EUSAGE, "%s %g: the adapters in \"%s\" have %g",
                              numbers[i].name, numbers[i].asked, c->model_name_or_path,
                              numbers[i].has);
    if (is_given(s, "lora_target_modules") || is_given(s, "lora_modules_to_save"))
        return plumb_fail(PLUMB_EUSAGE,
                          "lora_target_modules and lora_modules_to_save: the adapters in \"%s\" "
                          "stand where they stand",
                          c->model_name_or_path);
    return PLUMB_OK;
}

static int open_given(struct plumb_session *s)
{
    const struct plumb_train_config *c = s->wish.config;
    int64_t labels;
    PLUMB_TRY(plumb_peft_base(c->model_name_or_path, s->base, sizeof s->base, &labels));
    PLUMB_TRY(plumb_hf_model_open(&s->hf, s->base, s->wish.num_labels));
    PLUMB_TRY(plumb_peft_open(&s->peft, c->model_name_or_path, &s->hf));
    PLUMB_TRY(check_given(s));
    if (is_given(s, "lora_dropout")) s->peft.lora.dropout = c->lora_dropout;
    return PLUMB_OK;
}

static int plan_new(struct plumb_session *s)
{
    const struct plumb_train_config *c = s->wish.config;
    const struct plumb_peft_wish wish = { .r = c->lora_r,
                                          .lora_alpha = c->lora_alpha,
                                          .lora_dropout = c->lora_dropout,
                                          .use_rslora = c->use_rslora,
                                          .targets = c->lora_target_modules.item,
                                          .target_count = c->lora_target_modules.count,
                                          .saved = c->lora_modules_to_save.item,
                                          .saved_count = c->lora_modules_to_save.count };
    if (snprintf(s->base, sizeof s->base, "%s", c->model_name_or_path) >= (int)sizeof s->base)
        return plumb_fail(PLUMB_EUSAGE, "model_name_or_path: the path is too long");
    PLUMB_TRY(plumb_hf_model_open(&s->hf, s->base, s->wish.num_labels));
    return plumb_peft_plan(&s->peft, &s->hf, &wish);
}

int plumb_session_open_model(struct plumb_session *s)
{
    const struct plumb_train_config *c = s->wish.config;
    if (c->keep_quantized && !c->use_peft)
        return plumb_fail(PLUMB_EUSAGE, "keep_quantized wants use_peft: only a base that is not "
                                        "trained can stay in blocks");
    if (!c->use_peft) return plumb_hf_model_open(&s->hf, c->model_name_or_path, s->wish.num_labels);
    PLUMB_TRY(plumb_peft_is(c->model_name_or_path) ? open_given(s) : plan_new(s));
    s->task.lora = &s->peft.lora;
    if (c->keep_quantized) {
        PLUMB_TRY(
            plumb_hf_packed_plan(&s->hf, s->peft.whole, s->peft.lora.whole_count, &s->packed));
        s->task.packed = &s->packed;
    }
    int64_t trained = 0;
    for (int64_t k = 0; k < s->peft.param_count; k++)
        trained += s->peft.params[k].rows * s->peft.params[k].cols;
    plumb_log(PLUMB_LOG_INFO, "%lld adapters of rank %lld, %lld trained parameters",
              (long long)s->peft.lora.count, (long long)s->peft.r, (long long)trained);
    /* TRL's trainers that take this option set the adapters' dropout to 0 with the model's. */
    if (c->disable_dropout && is_given(s, "lora_dropout") && c->lora_dropout > 0)
        plumb_log(PLUMB_LOG_WARN, "lora_dropout %g has no effect without --disable_dropout false",
                  c->lora_dropout);
    if (c->disable_dropout) s->peft.lora.dropout = 0;
    return PLUMB_OK;
}

int plumb_session_start_adapters(struct plumb_session *s)
{
    if (!s->task.lora) return PLUMB_OK;
    if (s->task.packed)
        PLUMB_TRY(plumb_hf_packed_read(&s->hf, &s->packed, s->trainer.policy.blocks));
    if (s->peft.lora.given) return plumb_session_read_adapters(s, &s->peft);
    return plumb_adapters_start(&s->trainer.policy, (uint64_t)s->wish.config->seed);
}

int plumb_session_read_adapters(struct plumb_session *s, const struct plumb_peft *p)
{
    const struct plumb_flat f = plumb_model_trained(&s->trainer.policy);
    const struct plumb_tensor w = plumb_flat_exact(&f);
    struct plumb_stage stage = { 0 };
    if (p->elements != s->peft.elements || p->r != s->peft.r)
        return plumb_fail(PLUMB_EFORMAT, "\"%s\" holds other adapters", p->weights.origin);
    int rc = plumb_stage_open(&stage, &s->dev, w, p->elements, false);
    if (!rc) rc = plumb_peft_read(p, &s->hf, w.dtype, stage.host.data);
    if (!rc) rc = plumb_stage_send(&stage);
    plumb_stage_release(&stage);
    return rc;
}

int plumb_session_write_adapters(struct plumb_session *s, const char *dir)
{
    const struct plumb_flat f = plumb_model_trained(&s->trainer.policy);
    const struct plumb_tensor w = plumb_flat_exact(&f);
    struct plumb_stage stage = { 0 };
    int rc = plumb_stage_open(&stage, &s->dev, w, s->peft.elements, true);
    if (!rc)
        rc = plumb_peft_write(&s->peft, &s->hf, dir, s->base, w.dtype, stage.host.data, w.dtype);
    plumb_stage_release(&stage);
    return rc;
}
