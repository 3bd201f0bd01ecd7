/* `plumb sft`, `distill`, `dpo`, `cpo`, `orpo`, `tpo`, `kto`, `bco`, `listwise` and
 * `reward`: options, task, session. */
#include <plumb/pairwise.h>

#include "algos/tasks.h"
#include "tools/command.h"
#include "tools/session.h"
#include "tools/train_options.h"

static int train(const struct plumb_session_wish *wish, const struct plumb_session_watch *watch)
{
    struct plumb_session s = { 0 };
    int rc = plumb_session_open(&s, wish);
    if (!rc && watch && watch->opened) rc = watch->opened(watch->self, &s);
    if (!rc) rc = plumb_session_train(&s);
    if (!rc && watch && watch->trained) rc = watch->trained(watch->self, &s);
    plumb_session_release(&s);
    return rc;
}

/* Trains if the options made sense (`rc` says), and lets go of them. */
static int train_checked(const struct plumb_session_wish *wish,
                         const struct plumb_session_watch *watch, int rc, struct plumb_options *o)
{
    if (!rc) rc = train(wish, watch);
    plumb_options_release(o);
    return rc;
}

/* Rows at a time of the reference pass before training, 0 for none. */
static int64_t precompute_rows(const struct plumb_train_config *c, bool wanted, int64_t rows)
{
    if (!wanted) return 0;
    return rows == PLUMB_NONE_INT ? c->per_device_train_batch_size : rows;
}

int plumb_run_sft(int argc, char **argv, const struct plumb_session_watch *watch)
{
    struct plumb_options o;
    struct plumb_sft_config c;
    PLUMB_TRY(plumb_options_parse(&o, &plumb_sft_options, &c, argc, argv));
    const struct plumb_task task = plumb_task_sft(&c);
    const struct plumb_session_wish wish = {
        .command = "sft",
        .task = &task,
        .config = &c.train,
        .options = &o,
        .use = PLUMB_USE_SFT,
        .assistant_only = c.assistant_only_loss,
        .text_field = c.dataset_text_field,
        .keep_end = c.truncation_mode == PLUMB_KEEP_END,
        .train_on_prompt = c.completion_only_loss == PLUMB_NO,
    };
    return train_checked(&wish, watch, plumb_train_config_finish(&c.train), &o);
}

int plumb_run_dpo(int argc, char **argv, const struct plumb_session_watch *watch)
{
    struct plumb_options o;
    struct plumb_dpo_config c;
    struct plumb_pairs pairs;
    struct plumb_task task;
    PLUMB_TRY(plumb_options_parse(&o, &plumb_dpo_options, &c, argc, argv));
    const struct plumb_session_wish wish = {
        .command = "dpo",
        .task = &task,
        .config = &c.train,
        .options = &o,
        .use = PLUMB_USE_PREFERENCE,
        .keep_end = c.truncation_mode == PLUMB_KEEP_END,
        .precompute = precompute_rows(&c.train, c.precompute_ref_log_probs,
                                      c.precompute_ref_batch_size),
    };
    int rc = plumb_dpo_config_finish(&c);
    if (!rc) rc = plumb_task_dpo(&c, &pairs, &task);
    return train_checked(&wish, watch, rc, &o);
}

/* The methods on pairs without a reference model. */
union free_config {
    struct plumb_train_config train; /* what each begins with */
    struct plumb_cpo_config cpo;
    struct plumb_orpo_config orpo;
    struct plumb_tpo_config tpo;
};

struct free_command {
    const char *name;
    const struct plumb_option_set *options;
    enum plumb_dataset_use use;
    /* Checks the config and makes the task. */
    int (*make)(union free_config *c, struct plumb_pairs *p, struct plumb_task *t);
};

static int run_free(const struct free_command *k, int argc, char **argv)
{
    struct plumb_options o;
    union free_config c;
    struct plumb_pairs pairs;
    struct plumb_task task;
    PLUMB_TRY(plumb_options_parse(&o, k->options, &c, argc, argv));
    const struct plumb_session_wish wish = {
        .command = k->name,
        .task = &task,
        .config = &c.train,
        .options = &o,
        .use = k->use,
        .keep_end = k->use == PLUMB_USE_TRIPLES && c.tpo.truncation_mode == PLUMB_KEEP_END,
    };
    return train_checked(&wish, NULL, k->make(&c, &pairs, &task), &o);
}

static int make_cpo(union free_config *c, struct plumb_pairs *p, struct plumb_task *t)
{
    PLUMB_TRY(plumb_cpo_config_finish(&c->cpo));
    *t = plumb_task_cpo(&c->cpo, p);
    return PLUMB_OK;
}

static int make_orpo(union free_config *c, struct plumb_pairs *p, struct plumb_task *t)
{
    PLUMB_TRY(plumb_train_config_finish(&c->train));
    *t = plumb_task_orpo(&c->orpo, p);
    return PLUMB_OK;
}

static int make_tpo(union free_config *c, struct plumb_pairs *p, struct plumb_task *t)
{
    PLUMB_TRY(plumb_tpo_config_finish(&c->tpo));
    *t = plumb_task_tpo(&c->tpo, p);
    return PLUMB_OK;
}

static const struct free_command cpo = { "cpo", &plumb_cpo_options, PLUMB_USE_PREFERENCE,
                                         make_cpo },
                                 orpo = { "orpo", &plumb_orpo_options, PLUMB_USE_PREFERENCE,
                                          make_orpo },
                                 tpo = { "tpo", &plumb_tpo_options, PLUMB_USE_TRIPLES, make_tpo };
static int run_cpo(int argc, char **argv) { return run_free(&cpo, argc, argv); }
static int run_orpo(int argc, char **argv) { return run_free(&orpo, argc, argv); }
static int run_tpo(int argc, char **argv) { return run_free(&tpo, argc, argv); }

static int run_kto(int argc, char **argv)
{
    struct plumb_options o;
    struct plumb_kto_config c;
    struct plumb_ratings ratings;
    PLUMB_TRY(plumb_options_parse(&o, &plumb_kto_options, &c, argc, argv));
    const struct plumb_task task = plumb_task_kto(&c, &ratings);
    const struct plumb_session_wish wish = {
        .command = "kto",
        .task = &task,
        .config = &c.train,
        .options = &o,
        .use = PLUMB_USE_UNPAIRED,
        .precompute = precompute_rows(&c.train, c.precompute_ref_log_probs,
                                      c.precompute_ref_batch_size),
    };
    return train_checked(&wish, NULL, plumb_kto_config_finish(&c), &o);
}

static int run_bco(int argc, char **argv)
{
    struct plumb_options o;
    struct plumb_bco_config c;
    struct plumb_ratings ratings;
    PLUMB_TRY(plumb_options_parse(&o, &plumb_bco_options, &c, argc, argv));
    const struct plumb_task task = plumb_task_bco(&c, &ratings);
    const struct plumb_session_wish wish = {
        .command = "bco",
        .task = &task,
        .config = &c.train,
        .options = &o,
        .use = PLUMB_USE_UNPAIRED,
        .precompute = precompute_rows(&c.train, c.precompute_ref_log_probs,
                                      c.precompute_ref_batch_size),
    };
    return train_checked(&wish, NULL, plumb_train_config_finish(&c.train), &o);
}

static int run_listwise(int argc, char **argv)
{
    struct plumb_options o;
    struct plumb_listwise_config c;
    struct plumb_ranking ranking;
    struct plumb_task task;
    PLUMB_TRY(plumb_options_parse(&o, &plumb_listwise_options, &c, argc, argv));
    const struct plumb_session_wish wish = { .command = "listwise",
                                             .task = &task,
                                             .config = &c.train,
                                             .options = &o,
                                             .use = PLUMB_USE_LISTS };
    int rc = plumb_listwise_config_finish(&c);
    if (!rc) task = plumb_task_listwise(&c, &ranking);
    return train_checked(&wish, NULL, rc, &o);
}

static int run_distill(int argc, char **argv)
{
    struct plumb_options o;
    struct plumb_distill_config c;
    PLUMB_TRY(plumb_options_parse(&o, &plumb_distill_options, &c, argc, argv));
    const struct plumb_task task = plumb_task_distill(&c);
    const struct plumb_session_wish wish = {
        .command = "distill",
        .task = &task,
        .config = &c.train,
        .options = &o,
        .use = PLUMB_USE_SFT,
        .text_field = c.dataset_text_field,
        .keep_end = c.truncation_mode == PLUMB_KEEP_END,
        .train_on_prompt = c.completion_only_loss == PLUMB_NO,
        .teacher = c.teacher_model_name_or_path,
    };
    return train_checked(&wish, NULL, plumb_train_config_finish(&c.train), &o);
}

static int run_reward(int argc, char **argv)
{
    struct plumb_options o;
    struct plumb_reward_config c;
    PLUMB_TRY(plumb_options_parse(&o, &plumb_reward_options, &c, argc, argv));
    const struct plumb_task task = plumb_task_reward(&c);
    const struct plumb_session_wish wish = {
        .command = "reward",
        .task = &task,
        .config = &c.train,
        .options = &o,
        .use = PLUMB_USE_REWARD,
        .num_labels = 1,
        .initial_head = c.initial_head,
    };
    return train_checked(&wish, NULL, plumb_train_config_finish(&c.train), &o);
}

static int run_sft(int argc, char **argv) { return plumb_run_sft(argc, argv, NULL); }
static int run_dpo(int argc, char **argv) { return plumb_run_dpo(argc, argv, NULL); }

extern const struct plumb_cmd plumb_cmd_sft, plumb_cmd_distill, plumb_cmd_dpo, plumb_cmd_cpo,
    plumb_cmd_orpo, plumb_cmd_tpo, plumb_cmd_kto, plumb_cmd_bco, plumb_cmd_listwise,
    plumb_cmd_reward;
const struct plumb_cmd plumb_cmd_sft = { "sft", "[options]", "fine-tune on texts or completions",
                                         run_sft, &plumb_sft_options };
const struct plumb_cmd plumb_cmd_distill = { "distill", "[options]",
                                             "learn from a teacher's distributions", run_distill,
                                             &plumb_distill_options };
const struct plumb_cmd plumb_cmd_dpo = { "dpo", "[options]", "train on pairs of preferences",
                                         run_dpo, &plumb_dpo_options };
const struct plumb_cmd plumb_cmd_cpo = { "cpo", "[options]",
                                         "train on pairs without a reference model: CPO, SimPO",
                                         run_cpo, &plumb_cpo_options };
const struct plumb_cmd plumb_cmd_orpo = { "orpo", "[options]",
                                          "train on pairs by likelihood and odds ratio", run_orpo,
                                          &plumb_orpo_options };
const struct plumb_cmd plumb_cmd_tpo = { "tpo", "[options]",
                                         "train on pairs and a gold answer each", run_tpo,
                                         &plumb_tpo_options };
const struct plumb_cmd plumb_cmd_kto = { "kto", "[options]", "train on single rated completions",
                                         run_kto, &plumb_kto_options };
const struct plumb_cmd plumb_cmd_bco = { "bco", "[options]",
                                         "train on rated completions, judged by their mean",
                                         run_bco, &plumb_bco_options };
const struct plumb_cmd plumb_cmd_listwise = { "listwise", "[options]",
                                              "train on ranked lists of completions", run_listwise,
                                              &plumb_listwise_options };
const struct plumb_cmd plumb_cmd_reward = { "reward", "[options]", "train a reward model on pairs",
                                            run_reward, &plumb_reward_options };
