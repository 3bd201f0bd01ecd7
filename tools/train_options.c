/* What one row of an option table cannot check: options against each other, and the schedule's
 * dictionary. */
#include "tools/train_options.h"

#include <math.h>
#include <plumb/listwise.h>
#include <plumb/unpaired.h>
#include <string.h>

#include "io/json.h"

/* A key of lr_scheduler_kwargs, the schedule's field and the kinds that read it. */
struct kwarg {
    const char *name;
    size_t offset;
    bool positive; /* else 0 is allowed too */
    enum plumb_schedule_kind kind, or_kind;
};

#define AT(field) offsetof(struct plumb_schedule, field)
static const struct kwarg kwargs[] = {
    { "num_cycles", AT(num_cycles), true, PLUMB_SCHEDULE_COSINE,
      PLUMB_SCHEDULE_COSINE_WITH_MIN_LR },
    { "min_lr", AT(min_lr), false, PLUMB_SCHEDULE_COSINE_WITH_MIN_LR, PLUMB_SCHEDULES },
    { "min_lr_rate", AT(min_lr_rate), false, PLUMB_SCHEDULE_COSINE_WITH_MIN_LR, PLUMB_SCHEDULES },
    { "lr_end", AT(lr_end), false, PLUMB_SCHEDULE_POLYNOMIAL, PLUMB_SCHEDULES },
    { "power", AT(power), true, PLUMB_SCHEDULE_POLYNOMIAL, PLUMB_SCHEDULES },
    { "timescale", AT(timescale), true, PLUMB_SCHEDULE_INVERSE_SQRT, PLUMB_SCHEDULES },
};
static const char *const kinds[] = {
#define X(NAME, name) name,
    PLUMB_SCHEDULE_LIST(X)
#undef X
};

static int take_kwarg(struct plumb_schedule *s, const cJSON *item)
{
    for (size_t i = 0; i < sizeof kwargs / sizeof *kwargs; i++) {
        const struct kwarg *k = &kwargs[i];
        if (strcmp(k->name, item->string) != 0 || (s->kind != k->kind && s->kind != k->or_kind))
            continue;
        if (cJSON_IsNull(item)) return PLUMB_OK;
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) ||
            (k->positive && item->valuedouble <= 0))
            return plumb_fail(PLUMB_EUSAGE, "lr_scheduler_kwargs: %s wants a number %s 0", k->name,
                              k->positive ? ">" : ">=");
        *(double *)((char *)s + k->offset) = item->valuedouble;
        return PLUMB_OK;
    }
    return plumb_fail(PLUMB_EUSAGE, "lr_scheduler_kwargs: %s means nothing to lr_scheduler_type %s",
                      item->string, kinds[s->kind]);
}

static int read_schedule(struct plumb_train_config *c)
{
    cJSON *json = NULL, *item;
    int rc = PLUMB_OK;
    struct plumb_schedule unused;
    plumb_schedule_defaults(&c->schedule);
    if (c->lr_scheduler_kwargs)
        PLUMB_TRY(plumb_json_parse(c->lr_scheduler_kwargs, strlen(c->lr_scheduler_kwargs),
                                   "lr_scheduler_kwargs", &json));
    cJSON_ArrayForEach(item, json) PLUMB_TRYG(take_kwarg(&c->schedule, item));
    if (plumb_config_schedule(c, 1, &unused)) rc = PLUMB_EUSAGE; /* text stands */
out:
    cJSON_Delete(json);
    return rc;
}

/* A count of steps is whole, unless it is a share. */
static int check_steps(const char *name, double steps)
{
    if (steps > 1 && steps != floor(steps))
        return plumb_fail(PLUMB_EUSAGE, "%s %g: want a whole number, or a share below 1", name,
                          steps);
    return PLUMB_OK;
}

/* The best checkpoint is known only where each checkpoint was evaluated. */
static int check_best(const struct plumb_train_config *c)
{
    const double eval = isnan(c->eval_steps) ? c->logging_steps : c->eval_steps;
    if (!c->load_best_model_at_end) return PLUMB_OK;
    if (c->eval_strategy == PLUMB_INTERVAL_NO || c->eval_strategy != c->save_strategy)
        return plumb_fail(PLUMB_EUSAGE, "load_best_model_at_end wants eval_strategy and "
                                        "save_strategy to be the same and not no");
    if (c->eval_strategy != PLUMB_INTERVAL_STEPS) return PLUMB_OK;
    if ((eval < 1) != (c->save_steps < 1))
        return plumb_fail(PLUMB_EUSAGE,
                          "load_best_model_at_end: eval_steps %g and save_steps %g "
                          "must both be counts or both be shares",
                          eval, c->save_steps);
    const double unit = eval < 1 ? 1e6 : 1; /* shares are compared in millionths */
    if (fmod(round(c->save_steps * unit), round(eval * unit)) != 0)
        return plumb_fail(PLUMB_EUSAGE,
                          "load_best_model_at_end: save_steps %g is no multiple of eval_steps %g",
                          c->save_steps, eval);
    return PLUMB_OK;
}

int plumb_train_config_check_device(const struct plumb_train_config *c)
{
    if (c->dtype == PLUMB_PRECISION_F64 && strcmp(c->device, "ref") != 0)
        return plumb_fail(PLUMB_EUSAGE, "dtype float64 wants --device ref");
    if (!strcmp(c->device, "ref") && (c->bf16 == PLUMB_YES || c->dtype == PLUMB_PRECISION_BF16))
        return plumb_fail(PLUMB_EUSAGE, "device ref computes in float64, it cannot use bfloat16");
    return PLUMB_OK;
}

/* "True" and "last" mean the last checkpoint, "False" none. */
static void read_resume(struct plumb_train_config *c)
{
    const char *from = c->resume_from_checkpoint;
    if (!from) return;
    if (strcasecmp(from, "true") == 0 || strcmp(from, "last") == 0)
        c->resume_from_checkpoint = "true";
    else if (strcasecmp(from, "false") == 0)
        c->resume_from_checkpoint = NULL;
}

int plumb_train_config_finish(struct plumb_train_config *c)
{
    PLUMB_TRY(read_schedule(c));
    PLUMB_TRY(check_steps("warmup_steps", c->warmup_steps));
    PLUMB_TRY(check_steps("logging_steps", c->logging_steps));
    PLUMB_TRY(check_steps("eval_steps", c->eval_steps));
    PLUMB_TRY(check_steps("save_steps", c->save_steps));
    if (c->max_steps == 0)
        return plumb_fail(PLUMB_EUSAGE, "max_steps 0: want a number > 0, or -1 to go by epochs");
    if (c->eval_dataset_name && !isnan(c->test_split_size))
        return plumb_fail(PLUMB_EUSAGE,
                          "eval_dataset_name and test_split_size both say what to evaluate on");
    PLUMB_TRY(check_best(c));
    PLUMB_TRY(plumb_train_config_check_device(c));
    read_resume(c);
    return PLUMB_OK;
}

int plumb_dpo_config_finish(struct plumb_dpo_config *c)
{
    PLUMB_TRY(plumb_train_config_finish(&c->train));
    if (c->loss_type.count == 0) return plumb_fail(PLUMB_EUSAGE, "loss_type names no loss");
    if (c->loss_weights.count && c->loss_weights.count != c->loss_type.count)
        return plumb_fail(PLUMB_EUSAGE, "loss_weights has %lld values for %lld losses in loss_type",
                          (long long)c->loss_weights.count, (long long)c->loss_type.count);
    return PLUMB_OK;
}

static int check_smoothing(double label_smoothing, const char *loss)
{
    if (label_smoothing > 0 && (!strcmp(loss, "hinge") || !strcmp(loss, "ipo")))
        return plumb_fail(PLUMB_EUSAGE, "label_smoothing %g: loss_type %s has none",
                          label_smoothing, loss);
    return PLUMB_OK;
}

int plumb_cpo_config_finish(struct plumb_cpo_config *c)
{
    static const char *const names[] = { PLUMB_CPO_LOSS_NAMES };
    const enum plumb_cpo_loss loss = c->loss_type;
    PLUMB_TRY(plumb_train_config_finish(&c->train));
    PLUMB_TRY(check_smoothing(c->label_smoothing, names[loss]));
    if (c->alpha != 0 && loss == PLUMB_CPO_IPO)
        return plumb_fail(PLUMB_EUSAGE, "alpha %g: loss_type ipo takes log-probs as they are",
                          c->alpha);
    return PLUMB_OK;
}

int plumb_tpo_config_finish(struct plumb_tpo_config *c)
{
    static const char *const names[] = { PLUMB_TPO_LOSS_NAMES };
    PLUMB_TRY(plumb_train_config_finish(&c->train));
    return check_smoothing(c->label_smoothing, names[c->loss_type]);
}

/* As in TRL: rows take the completion of their neighbour in a batch in file order. */
int plumb_kto_config_finish(struct plumb_kto_config *c)
{
    PLUMB_TRY(plumb_train_config_finish(&c->train));
    if (c->loss_type != PLUMB_UNPAIRED_KTO) return PLUMB_OK; /* no other needs a neighbour */
    if (c->train.per_device_train_batch_size < 2)
        return plumb_fail(PLUMB_EUSAGE,
                          "per_device_train_batch_size 1: kto wants 2 or more, each row is held "
                          "against the completion of another one in its batch");
    if (c->train.train_sampling_strategy != PLUMB_SAMPLING_SEQUENTIAL)
        return plumb_fail(PLUMB_EUSAGE,
                          "train_sampling_strategy: kto wants sequential, each row is held against "
                          "the completion of its neighbour in the file");
    return PLUMB_OK;
}

static void settle(double *option, double value)
{
    if (isnan(*option)) *option = value;
}

/* What None stands for: the published form of each loss. */
int plumb_listwise_config_finish(struct plumb_listwise_config *c)
{
    const int loss = c->loss_type;
    const bool by_likelihood = loss == PLUMB_LIST_PRO || loss == PLUMB_LIST_RRHF;
    PLUMB_TRY(plumb_train_config_finish(&c->train));
    if (c->reference_free == PLUMB_UNSET) c->reference_free = by_likelihood ? PLUMB_YES : PLUMB_NO;
    settle(&c->beta, by_likelihood || loss == PLUMB_LIST_SPPO_K ? 1 : 0.05);
    settle(&c->length_penalty, by_likelihood ? 1 : 0);
    settle(&c->sft_weight, loss == PLUMB_LIST_PRO ? 0.05 : loss == PLUMB_LIST_RRHF ? 1 : 0);
    settle(&c->label_temperature, loss == PLUMB_LIST_SPPO_K ? 0.001 : 1);
    if (c->average == PLUMB_AVERAGE_PAIRS && loss != PLUMB_LIST_PAIR_LOGISTIC &&
        loss != PLUMB_LIST_PAIR_LOGISTIC_GAP && loss != PLUMB_LIST_PAIR_HINGE)
        return plumb_fail(PLUMB_EUSAGE, "average pairs: loss_type %s is no sum over pairs alone",
                          plumb_listwise_name(loss));
    return PLUMB_OK;
}
