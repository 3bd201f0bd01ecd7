/* One training command from its options to its output folder: model, tokenizer, data, trainer,
 * checkpoints, metrics, manifest. */
#pragma once
#include "algos/trainer.h"
#include "io/chat.h"
#include "io/dataset.h"
#include "io/hf_packed.h"
#include "io/metrics.h"
#include "io/peft.h"
#include "io/tokenizer.h"
#include "tools/options.h"

struct plumb_session;
/* Somebody who looks on while a command runs; each may be NULL. `opened` may add to the trainer's
 * hooks and replace its sink. */
struct plumb_session_watch {
    void *self;
    int (*opened)(void *self, struct plumb_session *s);  /* before the first step */
    int (*trained)(void *self, struct plumb_session *s); /* after the model was saved */
};

/* What a command asks of its session. */
struct plumb_session_wish {
    const char *command; /* "dpo" */
    const struct plumb_task *task;
    const struct plumb_train_config *config;
    const struct plumb_options *options; /* for the manifest; NULL = none is written */
    enum plumb_dataset_use use;
    const char *text_field; /* NULL = "text" */
    bool keep_end, train_on_prompt, assistant_only;
    int64_t precompute; /* > 0: reference log-probs beforehand, so many rows at a time */
    int64_t num_labels;       /* > 0: a score head */
    const char *initial_head; /* JSON file with its weights; NULL = the model's, or drawn */
    const char *teacher;      /* a frozen model of its own shape; NULL = none */
};

struct plumb_session {
    struct plumb_session_wish wish;
    struct plumb_device dev;
    enum plumb_dtype compute;
    struct plumb_hf_model hf, teacher;
    struct plumb_task task; /* the wish's, with the teacher's shape and the adapters */
    struct plumb_peft peft; /* with use_peft */
    struct plumb_packed packed; /* with keep_quantized */
    char base[4096];        /* with use_peft: the base model's path */
    struct plumb_text text;
    struct plumb_chat chat; /* of `text` */
    bool has_text;
    struct plumb_dataset train, eval, whole;
    bool split; /* train and eval are parts of `whole` */
    struct plumb_metrics metrics;
    struct plumb_trainer trainer;
    int64_t resumed; /* step of the checkpoint gone on from, -1 without */
    bool goes_on;    /* that checkpoint is one of output_dir */
};

/* Opens everything, resumes if asked, trains, evaluates, saves. Release also after failure. */
int plumb_session_open(struct plumb_session *s, const struct plumb_session_wish *wish);
int plumb_session_train(struct plumb_session *s);
void plumb_session_release(struct plumb_session *s); /* takes a zeroed one */
/* Pieces of opening that `evaluate` and `generate` use as well. */
int plumb_session_device(const struct plumb_train_config *c, struct plumb_device *dev,
                         enum plumb_dtype *compute);
int plumb_session_text(struct plumb_session *s); /* has_text stays false where there is none */
int plumb_session_dataset(struct plumb_session *s, const char *name, const char *split,
                          bool optional, struct plumb_dataset *out);

/* session_output.c: refuses an output folder that holds another run, before the data are read. */
int plumb_session_check_output(struct plumb_session *s, const char *checkpoint);
/* Holds the data and options against those of a checkpoint's run. */
int plumb_session_check_manifest(const struct plumb_session *s, const char *checkpoint);
/* Makes the folder, metrics.jsonl (cut to the checkpoint gone on from) and manifest.json. */
int plumb_session_open_output(struct plumb_session *s);
#define PLUMB_SESSION_MANIFEST "manifest.json"

/* session_adapters.c: with use_peft, the base model and adapters that are new or a folder's;
 * without, the model as it is. */
int plumb_session_open_model(struct plumb_session *s);
/* Once the base's weights are there: the adapters' starting weights. */
int plumb_session_start_adapters(struct plumb_session *s);
/* What is trained from and to an adapter folder. */
int plumb_session_read_adapters(struct plumb_session *s, const struct plumb_peft *p);
int plumb_session_write_adapters(struct plumb_session *s, const char *dir);

/* session_checkpoint.c: the trainer's hooks, and going on from a checkpoint. */
struct plumb_trainer_hooks plumb_session_hooks(struct plumb_session *s);
/* Finds the checkpoint that resume_from_checkpoint means, path "" for none. */
int plumb_session_find_checkpoint(const struct plumb_train_config *c, char *path, size_t n);
int plumb_session_restore(struct plumb_session *s, const char *path);
int plumb_session_save_model(struct plumb_session *s, const char *dir);

/* cmd_train.c: `plumb sft` and `plumb dpo` with somebody looking on. argv[0] is the name. */
int plumb_run_sft(int argc, char **argv, const struct plumb_session_watch *watch);
int plumb_run_dpo(int argc, char **argv, const struct plumb_session_watch *watch);
