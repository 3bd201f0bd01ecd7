/* `plumb demo`: from nothing to an aligned model in a minute or two. */
#include <dirent.h>
#include <omp.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "tools/command.h"
#include "tools/demo_data.h"
#include "tools/demo_report.h"
#include "tools/option_rows.h"

#define PATH_BYTES 4096

struct config {
    const char *output_dir;
    int64_t seed;
    bool quick, quiet;
};

static const struct plumb_option rows[] = {
    R_TEXT(config, output_dir, 0, "demo-output", "new folder, or one of an earlier demo"),
    R_INT(config, seed, 0, 0, 9007199254740992.0, "42", "", "of everything random"),
    R_BOOL(config, quick, "false", "a few seconds, to see it run: too short to learn the task"),
    R_BOOL(config, quiet, "false", "print the results alone"),
    R_END,
};
static const struct plumb_option_group groups[] = { { "Demo", rows, 0 }, { NULL } };
static const struct plumb_option_set options = { groups, NULL, 0 };

/* How much of everything. */
struct plan {
    struct plumb_demo_sizes sizes;
    int64_t every[2], prompts;     /* steps of the stages between tries on so many prompts */
    const char *sft[16], *dpo[24]; /* options beside the names of files; closed by NULL */
};

/* Found by trying. DPO at higher rates or for longer loses answers again, as it is known to: the
 * good ones become less likely as well. */
static const struct plan full = {
    .sizes = { 8000, 3000, 300 },
    .every = { 50, 25 },
    .prompts = 100,
    .sft = { "--max_steps", "400", "--per_device_train_batch_size", "32", "--learning_rate", "3e-3",
             "--warmup_steps", "20", "--logging_steps", "10", NULL },
    .dpo = { "--max_steps", "150", "--per_device_train_batch_size", "32", "--learning_rate", "5e-5",
             "--warmup_steps", "10", "--beta", "0.1", "--logging_steps", "5", "--eval_strategy",
             "steps", "--eval_steps", "25", "--per_device_eval_batch_size", "50", NULL },
};

static const struct plan quick = {
    .sizes = { 800, 480, 60 },
    .every = { 25, 15 },
    .prompts = 10,
    .sft = { "--max_steps", "50", "--per_device_train_batch_size", "16", "--learning_rate", "5e-3",
             "--warmup_steps", "4", "--logging_steps", "5", NULL },
    .dpo = { "--max_steps", "30", "--per_device_train_batch_size", "16", "--learning_rate", "3e-4",
             "--warmup_steps", "2", "--beta", "0.1", "--logging_steps", "5", "--eval_strategy",
             "steps", "--eval_steps", "15", "--per_device_eval_batch_size", "60", NULL },
};

struct demo {
    struct config config;
    const struct plan *plan;
    char data[PATH_BYTES], start[PATH_BYTES], sft[PATH_BYTES], dpo[PATH_BYTES];
    char sft_rows[PATH_BYTES], pairs[PATH_BYTES], test[PATH_BYTES];
    char metrics[PATH_BYTES], report[PATH_BYTES], marker[PATH_BYTES];
    char command[2][4 * PATH_BYTES]; /* of the stages */
    int64_t parameters;
    struct plumb_demo_trial trial;
    struct plumb_demo_watch watch;
};

static int name_paths(struct demo *d)
{
    const char *out = d->config.output_dir;
    const struct {
        char *path;
        const char *dir, *name;
    } names[] = {
        { d->data, out, "data" },
        { d->start, out, "start" },
        { d->sft, out, "sft" },
        { d->dpo, out, "dpo" },
        { d->metrics, out, "metrics.jsonl" },
        { d->report, out, "report.html" },
        { d->marker, out, "demo.json" },
        { d->sft_rows, d->data, "sft.jsonl" },
        { d->pairs, d->data, "pairs" },
        { d->test, d->pairs, "test.jsonl" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        PLUMB_TRY(plumb_path_join(names[i].path, PATH_BYTES, names[i].dir, names[i].name));
    return PLUMB_OK;
}

static bool is_empty(const char *dir)
{
    DIR *open = opendir(dir);
    if (!open) return !plumb_file_exists(dir);
    bool empty = true;
    for (const struct dirent *e; (e = readdir(open));)
        empty = empty && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."));
    closedir(open);
    return empty;
}

/* Takes a folder that is new, empty or an earlier demo's, and marks it. */
static int claim_folder(const struct demo *d)
{
    static const char text[] = "{\"made_by\": \"plumb demo\"}\n";
    if (!is_empty(d->config.output_dir)) {
        cJSON *json = NULL;
        const bool read = plumb_json_load(d->marker, 1 << 16, &json) == PLUMB_OK;
        const char *maker = cJSON_GetStringValue(plumb_json_get(json, "made_by"));
        const bool ours = read && maker && strcmp(maker, "plumb demo") == 0;
        cJSON_Delete(json);
        if (!ours)
            return plumb_fail(PLUMB_EINVAL,
                              "\"%s\" exists and is no folder of an earlier demo: give another "
                              "--output_dir",
                              d->config.output_dir);
    }
    PLUMB_TRY(plumb_dir_make(d->config.output_dir));
    return plumb_file_write(d->marker, text, sizeof text - 1);
}

static void print_world(void)
{
    puts(
        "A small language model learns to prefer good answers.\n\n"
        "The world: a cafe. A guest orders two to five things and the waiter repeats the order.\n"
        "An answer is good when a program can verify it: it is polite, speaks to the right guest,\n"
        "and names exactly the things ordered, in the order asked.\n\n"
        "  Guest Mia: soup, bread and tea, please.\n"
        "    good   Gladly, Mia: soup, bread and tea. Thank you!\n"
        "    bad    What now, Mia: soup, bread and tea. Enjoy it!      rude\n"
        "    bad    Certainly, Mia: soup and bread. Thank you!         forgets a thing\n");
}

static int make_files(struct demo *d)
{
    const struct plumb_demo_sizes *n = &d->plan->sizes;
    struct plumb_demo_counts counts;
    PLUMB_TRY(plumb_demo_write_data(d->data, (uint64_t)d->config.seed, n, &counts));
    PLUMB_TRY(plumb_demo_write_model(d->start, (uint64_t)d->config.seed, &d->parameters));
    PLUMB_TRY(plumb_demo_trial_open(&d->trial, d->start, d->test));
    if (d->config.quiet) return PLUMB_OK;
    printf("Made %lld answers to imitate, %.0f %% of them good: these waiters are mostly rude to\n"
           "guests who do not say please, and mostly forget the last of five things. Made %lld\n"
           "pairs of a good and a bad answer, and %lld more whose orders are in no training data.\n"
           "A Llama of %.2f million random weights starts.\n",
           (long long)n->demonstrations, 100 * (double)counts.good / (double)n->demonstrations,
           (long long)n->pairs, (long long)n->held_out, 1e-6 * (double)d->parameters);
    return PLUMB_OK;
}

/* The arguments of a stage, and the same as a line to type. */
static int arguments(const struct demo *d, int stage, const char *argv[64], char *line)
{
    const char *const common[] = {
        stage ? "dpo" : "sft",
        "--model_name_or_path",
        stage ? d->sft : d->start,
        "--dataset_name",
        stage ? d->pairs : d->sft_rows,
        "--output_dir",
        stage ? d->dpo : d->sft,
        "--overwrite_output_dir",
        "--save_strategy",
        "no",
        "--bf16",
        "false",
        "--quiet",
        "--seed",
    };
    const char *const *own = stage ? d->plan->dpo : d->plan->sft;
    static char seed[32];
    int n = 0;
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        argv[n++] = common[i];
    snprintf(seed, sizeof seed, "%lld", (long long)d->config.seed);
    argv[n++] = seed;
    while (*own)
        argv[n++] = *own++;
    argv[n] = NULL;
    size_t at = (size_t)snprintf(line, sizeof d->command[0], "plumb");
    for (int i = 0; i < n && at < sizeof d->command[0]; i++)
        at += (size_t)snprintf(line + at, sizeof d->command[0] - at, " %s", argv[i]);
    return n;
}

/* A line to type, cut before options where it grows too wide. */
static void print_command(int stage, const char *line)
{
    int column = printf("\n%d. ", stage + 1);
    while (*line) {
        const char *const end = strstr(line + 1, " --");
        const int n = end ? (int)(end - line) : (int)strlen(line);
        if (column + n > 96) column = printf(" \\\n    ") - 3;
        column += printf("%.*s", n, line);
        line += n;
    }
    puts("");
    fflush(stdout);
}

static int run_stage(struct demo *d, int stage)
{
    const char *argv[64];
    const int argc = arguments(d, stage, argv, d->command[stage]);
    const struct plumb_session_watch watch = stage ? plumb_demo_watch_dpo(&d->watch)
                                                   : plumb_demo_watch_sft(&d->watch);
    d->watch.every = d->plan->every[stage];
    if (!d->config.quiet) print_command(stage, d->command[stage]);
    return stage ? plumb_run_dpo(argc, (char **)argv, &watch)
                 : plumb_run_sft(argc, (char **)argv, &watch);
}

static void print_paths(const struct demo *d)
{
    printf("\n%s holds\n"
           "  sft, dpo        the models of both stages, as transformers loads them\n"
           "  data            what they were trained on, as TRL reads it\n"
           "  metrics.jsonl   every number logged\n"
           "  report.html     curves and samples: open it in a browser\n"
           "Ask the model: plumb generate --model_name_or_path %s \\\n"
           "     --prompt $'Guest Mia: soup, bread and tea.\\nWaiter:'\n",
           d->config.output_dir, d->dpo);
}

static int tell(struct demo *d, struct plumb_demo_results *r, double start)
{
    r->seconds = plumb_demo_clock() - start;
    if (!d->config.quiet) plumb_demo_print_samples(r);
    plumb_demo_print_results(r);
    PLUMB_TRY(plumb_demo_write_report(r, d->report, d->metrics, d->command[0], d->command[1]));
    if (!d->config.quiet) print_paths(d);
    printf("\n%.1f seconds\n", r->seconds);
    return PLUMB_OK;
}

static int run_demo(struct demo *d)
{
    const double start = plumb_demo_clock();
    struct plumb_demo_results r = { .trial = &d->trial, .watch = &d->watch };
    d->plan = d->config.quick ? &quick : &full;
    PLUMB_TRY(name_paths(d));
    PLUMB_TRY(claim_folder(d));
    plumb_log_threshold(PLUMB_LOG_WARN);
    /* In so small a model threads meet every few microseconds; where other programs run, too, they
     * mostly wait for each other (two took four times as long as one). Results are the same. */
    if (!getenv("OMP_NUM_THREADS")) omp_set_num_threads(1);
    if (!d->config.quiet) print_world();
    PLUMB_TRY(make_files(d));
    d->watch = (struct plumb_demo_watch){ .trial = &d->trial,
                                          .quiet = d->config.quiet,
                                          .prompts = d->plan->prompts };
    PLUMB_TRY(plumb_metrics_open(&d->watch.metrics, d->metrics, -1));
    d->watch.metrics.terminal = NULL;
    PLUMB_TRY(run_stage(d, 0));
    PLUMB_TRY(plumb_demo_trial_folder(&d->trial, d->sft, d->trial.pairs.count, d->trial.before,
                                      &r.good_before));
    PLUMB_TRY(run_stage(d, 1));
    PLUMB_TRY(plumb_demo_trial_folder(&d->trial, d->dpo, d->trial.pairs.count, d->trial.after,
                                      &r.good_after));
    return tell(d, &r, start);
}

static int run(int argc, char **argv)
{
    static struct demo d; /* paths make it too large for the stack */
    struct plumb_options o;
    PLUMB_TRY(plumb_options_parse(&o, &options, &d.config, argc, argv));
    const int rc = run_demo(&d);
    plumb_metrics_release(&d.watch.metrics);
    plumb_demo_trial_release(&d.trial);
    plumb_options_release(&o);
    return rc;
}

extern const struct plumb_cmd plumb_cmd_demo;
const struct plumb_cmd plumb_cmd_demo = { "demo", "[options]",
                                          "train and align a small model, from nothing", run,
                                          &options };
