/* `plumb evaluate`: loss and metrics of a model on a dataset, by the task that trains on it. */
#include <plumb/log.h>
#include <stdlib.h>
#include <string.h>

#include "algos/tasks.h"
#include "io/file.h"
#include "runtime/read.h"
#include "tools/command.h"
#include "tools/model_files.h"
#include "tools/option_rows.h"
#include "tools/session.h"
#include "tools/train_options.h"

enum kind { KIND_SFT, KIND_DPO, KIND_REWARD };
static const char *const kinds[] = { "sft", "dpo", "reward", NULL };

struct plumb_evaluate {
    enum kind trainer;
    const char *ref_model_name_or_path, *output;
    struct plumb_train_config train; /* the model's options, and those of reading rows */
    /* of sft */
    const char *dataset_text_field;
    enum plumb_tristate completion_only_loss;
    bool assistant_only_loss;
    enum plumb_truncation truncation_mode;
    /* of dpo */
    double beta, label_smoothing, discopop_tau;
    struct plumb_strings loss_type;
    struct plumb_floats loss_weights;
    /* of reward */
    double center_rewards_coefficient;
};

static const char *const losses[] = {
#define PLUMB_FORMULA(ID, NAME, name, source) #name,
#define PLUMB_FORMULA_FED(ID, NAME, name, source)
#include <plumb/pairwise.def>
#undef PLUMB_FORMULA
    NULL
};

#define C plumb_evaluate
static const struct plumb_option rows[] = {
    R_CHOICE(C, "trainer", trainer, "sft",
             "what to measure: sft = loss, token accuracy, entropy; dpo = preferences by "
             "log-probs and, with a reference, loss and rewards; reward = a reward model",
             kinds),
    R_TEXT(C, output, PLUMB_OPT_NONE, NULL, "JSON file of the results"),
    R_END,
};
static const struct plumb_option sft_rows[] = {
    R_TEXT(C, dataset_text_field, 0, "text", "column of plain text"),
    R_TRISTATE(C, completion_only_loss,
               "measure completion tokens alone; None = yes for rows of prompt and completion"),
    R_BOOL(C, assistant_only_loss, "false",
           "of conversations, measure the assistant's tokens alone"),
    R_CHOICE(C, "truncation_mode", truncation_mode, "keep_start",
             "which end of a sequence over max_length stays", R_LIST(PLUMB_TRUNCATION_NAMES)),
    R_END,
};
static const struct plumb_option dpo_rows[] = {
    R_TEXT(C, ref_model_name_or_path, PLUMB_OPT_NONE, NULL,
           "folder or GGUF file of the reference model; None = the rows' ref_chosen_logps and "
           "ref_rejected_logps, without which there is no loss and no reward"),
    R_FLOAT(C, beta, PLUMB_OPT_ABOVE_LO, 0, 1e3, "0.1", "1/nat",
            "strength of the pull to the reference model"),
    R_NAMES(C, loss_type, "sigmoid", "one loss, or several that are summed with loss_weights",
            losses),
    R_FLOATS(C, loss_weights, -1e6, 1e6, NULL, "", "one for each of loss_type; None = 1 each"),
    R_FLOAT(C, label_smoothing, PLUMB_OPT_BELOW_HI, 0, 0.5, "0", "share of pairs",
            "share of labels taken as swapped"),
    R_FLOAT(C, discopop_tau, PLUMB_OPT_ABOVE_LO, 0, 1e3, "0.05", "",
            "temperature of loss_type discopop"),
    R_END,
};
static const struct plumb_option reward_rows[] = {
    R_FLOAT(C, center_rewards_coefficient, PLUMB_OPT_NONE, 0, 1e6, NULL, "",
            "weight of (reward of chosen + reward of rejected)^2 in the loss"),
    R_END,
};
#undef C
#define C plumb_train_config
static const struct plumb_option data_rows[] = {
    R_TEXT(C, dataset_name, PLUMB_OPT_REQUIRED, NULL,
           "JSONL, JSON or CSV file, plain, .gz or .zst, a pattern like 'data/*.jsonl', or a "
           "folder that holds SPLIT.jsonl or nothing but rows"),
    R_TEXT(C, dataset_test_split, 0, "test", "name of the file in a dataset folder"),
    R_INT(C, max_length, PLUMB_OPT_NONE, 2, 1 << 24, "1024", "tokens",
          "longest sequence, prompt and completion together; longer ones are cut or dropped"),
    R_CHOICE(C, "dataset_format", dataset_format, "auto", PLUMB_FORMAT_HELP,
             R_LIST(PLUMB_FORMAT_NAMES)),
    R_TEXT(C, dataset_cache, PLUMB_OPT_NONE, NULL, PLUMB_CACHE_HELP),
    R_BOOL(C, skip_bad_rows, "false", "count and skip faulty rows instead of stopping"),
    R_INT(C, per_device_eval_batch_size, 0, 1, 1 << 20, "8", "rows", "computed at a time"),
    R_BOOL(C, share_prompts, "true",
           "compute a prompt once for its completions: less time, the same results"),
    R_BOOL(C, quiet, "false", "only warnings beside the results"),
    R_END,
};
#undef C
static const struct plumb_option_group groups[] = {
    { "Evaluation", rows, 0 },
    { "Model", plumb_model_rows, offsetof(struct plumb_evaluate, train) },
    { "Data", data_rows, offsetof(struct plumb_evaluate, train) },
    { "With --trainer sft", sft_rows, 0 },
    { "With --trainer dpo", dpo_rows, 0 },
    { "With --trainer reward", reward_rows, 0 },
    { NULL },
};
static const struct plumb_option_set options = { groups, NULL, 0 };

/* An option of another trainer would have no effect. */
static int check(const struct plumb_evaluate *c, const struct plumb_options *o)
{
    const struct plumb_option *const own[] = { sft_rows, dpo_rows, reward_rows };
    for (int kind = KIND_SFT; kind <= KIND_REWARD; kind++)
        for (const struct plumb_option *r = own[kind]; r->name && kind != (int)c->trainer; r++)
            if (plumb_options_find(o, r->name)->origin != PLUMB_FROM_DEFAULT)
                return plumb_fail(PLUMB_EUSAGE, "--%s means nothing to --trainer %s", r->name,
                                  kinds[c->trainer]);
    return plumb_train_config_check_device(&c->train);
}

/* The task and the configs that it points to. */
struct evaluation {
    const struct plumb_evaluate *c;
    struct plumb_sft_config sft;
    struct plumb_dpo_config dpo;
    struct plumb_reward_config reward;
    struct plumb_pairs dpo_task;
    struct plumb_task task;
    struct plumb_session s;
    bool referred;                         /* dpo: against a reference */
    double pairs, higher_sum, higher_mean; /* dpo: counts of pairs */
    struct plumb_tally tally;
};

static int make_task(struct evaluation *e)
{
    const struct plumb_evaluate *c = e->c;
    struct plumb_session_wish *w = &e->s.wish;
    *w = (struct plumb_session_wish){ .command = "evaluate",
                                      .task = &e->task,
                                      .config = &c->train };
    switch (c->trainer) {
    case KIND_SFT:
        e->sft = (struct plumb_sft_config){ .train = c->train };
        e->task = plumb_task_sft(&e->sft);
        w->use = PLUMB_USE_SFT;
        w->text_field = c->dataset_text_field;
        w->keep_end = c->truncation_mode == PLUMB_KEEP_END;
        w->train_on_prompt = c->completion_only_loss == PLUMB_NO;
        w->assistant_only = c->assistant_only_loss;
        return PLUMB_OK;
    case KIND_DPO:
        e->dpo = (struct plumb_dpo_config){ .train = c->train,
                                            .beta = c->beta,
                                            .label_smoothing = c->label_smoothing,
                                            .discopop_tau = c->discopop_tau,
                                            .ld_alpha = NAN,
                                            .loss_type = c->loss_type,
                                            .loss_weights = c->loss_weights };
        w->use = PLUMB_USE_PREFERENCE;
        return plumb_task_dpo(&e->dpo, &e->dpo_task, &e->task);
    case KIND_REWARD:
        e->reward = (struct plumb_reward_config){
            .train = c->train,
            .center_rewards_coefficient = c->center_rewards_coefficient
        };
        e->task = plumb_task_reward(&e->reward);
        w->use = PLUMB_USE_REWARD;
        w->num_labels = 1;
        return PLUMB_OK;
    }
    return PLUMB_OK;
}

/* A trainer that only evaluates, with the weights of `hf`. */
static int load(struct evaluation *e, struct plumb_hf_model *hf, struct plumb_trainer *t,
                int64_t precompute)
{
    const struct plumb_session *s = &e->s;
    const struct plumb_train_config *c = &e->c->train;
    if (hf->config.model.num_labels > 0 && s->wish.num_labels == 0)
        return plumb_fail(PLUMB_EINVAL, "\"%s\" is a reward model: it takes --trainer reward",
                          hf->dir ? hf->dir : c->model_name_or_path);
    PLUMB_TRY(plumb_trainer_init(t, c, &e->task, &hf->config.model, NULL, &s->eval, &s->dev,
                                 s->compute, precompute));
    PLUMB_TRY(plumb_model_read_files(&t->policy, hf, false));
    return plumb_trainer_weights_ready(t);
}

/* known (rows, 2) = log-probs of the reference model, which is in memory only meanwhile. */
static int refer(struct evaluation *e, double *known)
{
    struct plumb_hf_model hf = { 0 };
    struct plumb_trainer t = { 0 };
    int rc = plumb_hf_model_open(&hf, e->c->ref_model_name_or_path, 0);
    if (!rc) rc = load(e, &hf, &t, e->c->train.per_device_eval_batch_size);
    if (!rc) rc = plumb_trainer_precompute(&t);
    if (!rc) memcpy(known, t.ref_logps, (size_t)e->s.eval.count * 2 * sizeof *known);
    plumb_trainer_release(&t);
    plumb_hf_model_release(&hf);
    return rc ? plumb_fail_while(rc, "evaluating the reference model") : PLUMB_OK;
}

/* Whether every row brings the reference model's log-probs. */
static int rows_refer(const struct plumb_dataset *d, bool *all)
{
    *all = true;
    for (int64_t i = 0; i < d->count && *all; i++) {
        struct plumb_example e;
        PLUMB_TRY(d->get(d->self, i, &e));
        *all = e.has_ref_logps;
    }
    return PLUMB_OK;
}

/* Counts the pairs whose chosen side is likelier, as a whole and by token. */
static int count_pairs(void *self, const struct plumb_trainer *t, const struct plumb_micro *m)
{
    (void)t;
    struct evaluation *e = self;
    for (int64_t i = 0; i < m->count; i++) {
        double sum[2], mean[2];
        for (int side = 0; side < 2; side++) {
            const int64_t first = m->e[i].prompt.n == 0; /* nothing predicts a first token */
            sum[side] = plumb_tensor_get(m->logps, 2 * i + side);
            mean[side] = sum[side] / (double)(m->e[i].completion[side].n - first);
        }
        e->higher_sum += sum[0] > sum[1];
        e->higher_mean += mean[0] > mean[1];
    }
    e->pairs += (double)m->count;
    return PLUMB_OK;
}

/* Pairs need reference log-probs: of a model, of the rows, or none, which counts as 0. */
static int evaluate_pairs(struct evaluation *e)
{
    struct plumb_trainer *t = &e->s.trainer;
    const int64_t rows_at_once = e->c->train.per_device_eval_batch_size;
    const bool model = e->c->ref_model_name_or_path != NULL;
    bool given;
    PLUMB_TRY(rows_refer(&e->s.eval, &given));
    e->referred = model || given;
    if (!e->referred)
        plumb_log(PLUMB_LOG_INFO, "no --ref_model_name_or_path: preferences by log-probs alone");
    e->task.needs_ref = model || !given;
    double *known = calloc((size_t)e->s.eval.count * 2, sizeof *known);
    if (!known) return plumb_fail(PLUMB_EMEM, "no memory for reference log-probs");
    int rc = model ? refer(e, known) : PLUMB_OK;
    if (!rc) rc = load(e, &e->s.hf, t, e->task.needs_ref ? rows_at_once : 0);
    if (!rc && t->ref_logps)
        memcpy(t->ref_logps, known, (size_t)e->s.eval.count * 2 * sizeof *known);
    free(known);
    PLUMB_TRY(rc);
    t->hooks = (struct plumb_trainer_hooks){ .self = e, .after_micro = count_pairs };
    PLUMB_TRY(plumb_trainer_evaluate(t, &e->s.eval, &e->tally));
    plumb_tally_add(&e->tally, "eval_logps/accuracies", e->higher_sum / e->pairs);
    plumb_tally_add(&e->tally, "eval_mean_logps/accuracies", e->higher_mean / e->pairs);
    return PLUMB_OK;
}

static int evaluate(struct evaluation *e)
{
    struct plumb_session *s = &e->s;
    const struct plumb_train_config *c = &e->c->train;
    if (c->quiet) plumb_log_threshold(PLUMB_LOG_WARN);
    PLUMB_TRY(make_task(e));
    PLUMB_TRY(plumb_session_device(c, &s->dev, &s->compute));
    PLUMB_TRY(plumb_hf_model_open(&s->hf, c->model_name_or_path, s->wish.num_labels));
    PLUMB_TRY(plumb_session_text(s));
    PLUMB_TRY(plumb_session_dataset(s, c->dataset_name, c->dataset_test_split, false, &s->eval));
    if (e->c->trainer == KIND_DPO) return evaluate_pairs(e);
    PLUMB_TRY(load(e, &s->hf, &s->trainer, 0));
    return plumb_trainer_evaluate(&s->trainer, &s->eval, &e->tally);
}

/* Without a reference these would be numbers of something else. */
static bool is_result(const struct evaluation *e, const char *name)
{
    return e->c->trainer != KIND_DPO || e->referred ||
           (strcmp(name, "eval_loss") && strncmp(name, "eval_rewards/", 13));
}

static void print(const struct evaluation *e, const struct plumb_metric *m, int n)
{
    printf("%-30s %lld\n", e->c->trainer == KIND_SFT ? "sequences" : "pairs",
           (long long)e->s.eval.count);
    for (int i = 0; i < n; i++)
        if (is_result(e, m[i].name)) printf("%-30s %.6g\n", m[i].name, m[i].value);
}

static int write_json(const struct evaluation *e, const struct plumb_metric *m, int n)
{
    const struct plumb_evaluate *c = e->c;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "model_name_or_path", c->train.model_name_or_path);
    if (c->ref_model_name_or_path)
        cJSON_AddStringToObject(json, "ref_model_name_or_path", c->ref_model_name_or_path);
    cJSON_AddStringToObject(json, "dataset_name", c->train.dataset_name);
    cJSON_AddStringToObject(json, "trainer", kinds[c->trainer]);
    cJSON_AddStringToObject(json, "dtype", plumb_dtype_name(e->s.compute));
    cJSON_AddNumberToObject(json, "examples", (double)e->s.eval.count);
    for (int i = 0; i < n; i++)
        if (is_result(e, m[i].name)) cJSON_AddNumberToObject(json, m[i].name, m[i].value);
    char *text = cJSON_Print(json);
    cJSON_Delete(json);
    if (!text) return plumb_fail(PLUMB_EMEM, "could not allocate \"%s\"", c->output);
    const int rc = plumb_file_write(c->output, text, strlen(text));
    cJSON_free(text);
    return rc;
}

static int run(int argc, char **argv)
{
    struct plumb_options o;
    struct plumb_evaluate c = { 0 };
    struct plumb_metric m[PLUMB_TALLY_MOST];
    PLUMB_TRY(plumb_options_parse(&o, &options, &c, argc, argv));
    struct evaluation *e = calloc(1, sizeof *e);
    int rc = e ? check(&c, &o) : plumb_fail(PLUMB_EMEM, "no memory for an evaluation");
    if (e) e->c = &c;
    if (!rc) rc = evaluate(e);
    const int n = rc ? 0 : plumb_tally_means(&e->tally, m);
    if (!rc) print(e, m, n);
    if (!rc && c.output) rc = write_json(e, m, n);
    if (e) plumb_session_release(&e->s);
    free(e);
    plumb_options_release(&o);
    return rc;
}

extern const struct plumb_cmd plumb_cmd_evaluate;
const struct plumb_cmd plumb_cmd_evaluate = { "evaluate", "[options]",
                                              "measure a model on a dataset", run, &options };
