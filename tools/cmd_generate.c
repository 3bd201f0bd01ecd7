/* `plumb generate`: greedy completions of one prompt or of a file of prompts. */
#include <plumb/device.h>
#include <plumb/log.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/file.h"
#include "io/json.h"
#include "runtime/generate.h"
#include "tools/model_files.h"
#include "tools/command.h"
#include "tools/option_rows.h"
#include "tools/row_walk.h"
#include "tools/session.h"
#include "tools/signals.h"
#include "tools/train_options.h"

struct plumb_generate {
    struct plumb_train_config model; /* the model's options, and those of reading rows */
    const char *prompt, *dataset_name, *dataset_split, *output;
    int64_t max_new_tokens;
};

#define C plumb_generate
static const struct plumb_option text_rows[] = {
    R_TEXT(C, prompt, PLUMB_OPT_NONE, NULL, "text to continue; the result is printed"),
    R_TEXT(C, dataset_name, PLUMB_OPT_NONE, NULL,
           "JSONL, JSON or CSV file, plain, .gz or .zst, with the column prompt or prompt_ids, a "
           "pattern of such files, or a folder that holds SPLIT.jsonl or nothing but rows"),
    R_TEXT(C, dataset_split, 0, "train", "name of the file in a dataset folder"),
    R_TEXT(C, output, PLUMB_OPT_NONE, NULL,
           "JSONL file of the rows with prompt, completion, prompt_ids and completion_ids; other "
           "columns stay"),
    R_INT(C, max_new_tokens, 0, 1, 1 << 24, "128", "tokens",
          "a completion ends here or behind an end-of-text token of the model's generation config"),
    R_ONLY(do_sample, "sampling is not built yet: the likeliest token is taken", "false"),
    R_END,
};
#undef C
#define C plumb_train_config
static const struct plumb_option shared_rows[] = {
    R_CHOICE(C, "dataset_format", dataset_format, "auto", PLUMB_FORMAT_HELP,
             R_LIST(PLUMB_FORMAT_NAMES)),
    R_TEXT(C, dataset_cache, PLUMB_OPT_NONE, NULL, PLUMB_CACHE_HELP),
    R_BOOL(C, skip_bad_rows, "false", "count and skip faulty rows instead of stopping"),
    R_BOOL(C, quiet, "false", "only warnings, no progress line"),
    R_END,
};
static const struct plumb_option_group groups[] = {
    { "Generation", text_rows, 0 },
    { "Reading and printing", shared_rows, offsetof(struct plumb_generate, model) },
    { "Model", plumb_model_rows, offsetof(struct plumb_generate, model) },
    { NULL },
};
static const struct plumb_option_set options = { groups, NULL, 0 };

struct job {
    const struct plumb_generate *c;
    struct plumb_session s;   /* device, model files, tokenizer, prompts */
    struct plumb_idbuf typed; /* ids of --prompt */
    struct plumb_arena run, cache;
    struct plumb_model m;
    struct plumb_generator g;
    int64_t capacity;
    int32_t *out;          /* ids of prompt and completion */
    int64_t prompt, count; /* of the current row */
    int64_t tokens, cut;   /* generated so far; completions that ended for want of positions */
};

/* The prompt given as text, as a set of one example. */
static int get_typed(void *self, int64_t index, struct plumb_example *out)
{
    const struct plumb_idbuf *ids = self;
    *out = (struct plumb_example){ .row = index, .prompt = { ids->id, ids->n } };
    return PLUMB_OK;
}

static int open_prompts(struct job *j)
{
    const struct plumb_generate *c = j->c;
    struct plumb_session *s = &j->s;
    if (!c->prompt)
        return plumb_session_dataset(s, c->dataset_name, c->dataset_split, false, &s->train);
    if (!s->has_text)
        return plumb_fail(PLUMB_EINVAL, "\"%s\" has no tokenizer for --prompt: %s",
                          c->model.model_name_or_path, plumb_errmsg());
    const struct plumb_text *t = &s->text;
    PLUMB_TRY(t->encode(t->self, c->prompt, strlen(c->prompt), true, &j->typed));
    /* A prompt goes on, so the post-processor's EOS does not belong to it. */
    j->typed.n -= t->add_eos && j->typed.n > 0 && j->typed.id[j->typed.n - 1] == t->eos_id;
    return PLUMB_OK;
}

static struct plumb_dataset prompts(struct job *j)
{
    if (!j->c->prompt) return j->s.train;
    return (struct plumb_dataset){ .type = PLUMB_DATA_PROMPT_ONLY,
                                   .count = 1,
                                   .get = get_typed,
                                   .self = &j->typed };
}

static void where(const struct job *j, int64_t index, char *out, size_t n)
{
    if (j->c->prompt)
        snprintf(out, n, "--prompt");
    else
        plumb_dataset_where(&j->s.train, index, out, n);
}

/* The longest text that will be needed; a prompt that the model cannot take stops the run before
 * anything is generated. */
static int measure(struct job *j)
{
    const int64_t most = j->s.hf.config.model.max_positions;
    const struct plumb_dataset set = prompts(j);
    int64_t longest = 0;
    for (int64_t i = 0; i < set.count; i++) {
        struct plumb_example e;
        char place[4352];
        PLUMB_TRY(set.get(set.self, i, &e));
        where(j, i, place, sizeof place);
        if (e.prompt.n < 1)
            return plumb_fail(PLUMB_EFORMAT,
                              "%s: the prompt is empty: there is nothing to continue", place);
        if (e.prompt.n > most)
            return plumb_fail(PLUMB_EFORMAT,
                              "%s: the prompt has %lld tokens, the model %lld positions", place,
                              (long long)e.prompt.n, (long long)most);
        if (e.prompt.n > longest) longest = e.prompt.n;
    }
    /* The last new token is predicted, not read. */
    const int64_t wanted = longest + j->c->max_new_tokens - 1;
    j->capacity = wanted < most ? wanted : most;
    return PLUMB_OK;
}

static double mib(size_t bytes) { return (double)bytes / 1048576.0; }

static int load(struct job *j)
{
    const struct plumb_model_config *c = &j->s.hf.config.model;
    const struct plumb_device *dev = &j->s.dev;
    if (c->num_labels > 0)
        return plumb_fail(PLUMB_EINVAL, "\"%s\" is a reward model: it has scores, no next token",
                          j->c->model.model_name_or_path);
    char where[256];
    plumb_device_describe(dev, where, sizeof where);
    plumb_arena_init_counting_on(&j->run, "run", dev);
    PLUMB_TRY(
        plumb_model_init(&j->m, c, dev, j->s.compute, PLUMB_MODEL_FROZEN, j->capacity, &j->run));
    PLUMB_TRY(plumb_arena_init_like(&j->run, &j->run, 1));
    PLUMB_TRY(
        plumb_model_init(&j->m, c, dev, j->s.compute, PLUMB_MODEL_FROZEN, j->capacity, &j->run));
    plumb_arena_init_counting_on(&j->cache, "generation", dev);
    const struct plumb_generate_size size = plumb_generate_alone(j->capacity);
    PLUMB_TRY(plumb_generator_init(&j->g, &j->m, &size, &j->cache));
    PLUMB_TRY(plumb_arena_init_like(&j->cache, &j->cache, 1));
    PLUMB_TRY(plumb_generator_init(&j->g, &j->m, &size, &j->cache));
    plumb_log(PLUMB_LOG_INFO,
              "memory plan: weights %.1f MiB, texts of up to %lld tokens %.1f; %s, %s",
              mib(j->run.capacity + j->run.device.capacity), (long long)j->capacity,
              mib(j->cache.capacity + j->cache.device.capacity), plumb_dtype_name(j->s.compute),
              where);
    j->out = calloc((size_t)(j->capacity + 1), sizeof *j->out);
    if (!j->out)
        return plumb_fail(PLUMB_EMEM, "could not allocate %lld ids", (long long)j->capacity);
    return plumb_model_read_files(&j->m, &j->s.hf, false);
}

static int open_job(struct job *j, const struct plumb_generate *c)
{
    struct plumb_session *s = &j->s;
    *j = (struct job){ .c = c };
    s->wish = (struct plumb_session_wish){ .command = "generate",
                                           .config = &c->model,
                                           .use = PLUMB_USE_PROMPTS };
    if (c->model.quiet || c->prompt) plumb_log_threshold(PLUMB_LOG_WARN);
    PLUMB_TRY(plumb_session_device(&c->model, &s->dev, &s->compute));
    PLUMB_TRY(plumb_hf_model_open(&s->hf, c->model.model_name_or_path, 0));
    PLUMB_TRY(plumb_session_text(s));
    PLUMB_TRY(open_prompts(j));
    PLUMB_TRY(measure(j));
    return load(j);
}

static void release_job(struct job *j)
{
    free(j->out);
    plumb_idbuf_release(&j->typed);
    plumb_arena_release(&j->run);
    plumb_arena_release(&j->cache);
    plumb_session_release(&j->s);
}

/* Fills j->out with prompt `index` and its completion. */
static int complete(struct job *j, int64_t index)
{
    const struct plumb_hf_config *hf = &j->s.hf.config;
    const struct plumb_dataset set = prompts(j);
    struct plumb_example e;
    char place[4352];
    PLUMB_TRY(set.get(set.self, index, &e));
    j->prompt = e.prompt.n;
    memcpy(j->out, e.prompt.id, (size_t)e.prompt.n * sizeof *j->out);
    const int64_t room = j->capacity + 1 - j->prompt, most = j->c->max_new_tokens;
    const int rc = plumb_generate_greedy(&j->g, j->out, j->prompt, room < most ? room : most,
                                         hf->eos, hf->eos_count, j->out + j->prompt, &j->count);
    if (rc) {
        where(j, index, place, sizeof place);
        return plumb_fail_while(rc, "continuing %s", place);
    }
    bool ended = j->count == most;
    for (int i = 0; i < hf->eos_count; i++)
        ended = ended || j->out[j->prompt + j->count - 1] == hf->eos[i];
    j->cut += !ended;
    j->tokens += j->count;
    return PLUMB_OK;
}

/* *text = malloc'ed text of ids [0, n) of the row, without special tokens. */
static int decode(const struct job *j, int64_t n, char **text)
{
    size_t bytes;
    const struct plumb_text *t = &j->s.text;
    PLUMB_TRY(t->decode(t->self, j->out, n, true, text, &bytes));
    for (size_t i = 0; i < bytes; i++) /* what follows a NUL would be lost */
        if ((*text)[i] == 0) (*text)[i] = ' ';
    return PLUMB_OK;
}

/* Decoding the completion alone would lose the space between it and the prompt, where the tokenizer
 * writes none at the start of a text. */
static int put_texts(const struct job *j, cJSON *row)
{
    char *prompt = NULL, *whole = NULL, *alone = NULL;
    size_t bytes;
    int rc = PLUMB_OK;
    const struct plumb_text *t = &j->s.text;
    PLUMB_TRYG(decode(j, j->prompt, &prompt));
    PLUMB_TRYG(decode(j, j->prompt + j->count, &whole));
    const size_t n = strlen(prompt);
    const bool begins = strncmp(whole, prompt, n) == 0;
    if (!begins) PLUMB_TRYG(t->decode(t->self, j->out + j->prompt, j->count, true, &alone, &bytes));
    if (!plumb_json_get(row, "prompt")) cJSON_AddStringToObject(row, "prompt", prompt);
    cJSON_DeleteItemFromObjectCaseSensitive(row, "completion");
    cJSON_AddStringToObject(row, "completion", begins ? whole + n : alone);
out:
    free(prompt);
    free(whole);
    free(alone);
    return rc;
}

static void put_ids(cJSON *row, const char *name, const int32_t *id, int64_t n)
{
    cJSON_DeleteItemFromObjectCaseSensitive(row, name);
    cJSON_AddItemToObject(row, name, cJSON_CreateIntArray(id, (int)n));
}

static int write_row(const struct job *j, cJSON *row, struct plumb_writer *w)
{
    if (j->s.has_text) PLUMB_TRY(put_texts(j, row));
    put_ids(row, "prompt_ids", j->out, j->prompt);
    put_ids(row, "completion_ids", j->out + j->prompt, j->count);
    char *line = cJSON_PrintUnformatted(row);
    if (!line) return plumb_fail(PLUMB_EMEM, "could not allocate a row of \"%s\"", j->c->output);
    int rc = plumb_writer_put(w, line, strlen(line));
    if (!rc) rc = plumb_writer_put(w, "\n", 1);
    cJSON_free(line);
    return rc;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Completes every row and passes its other columns on. */
static int write_rows(struct job *j, struct plumb_row_walk *walk, struct plumb_writer *w,
                      struct plumb_metrics *line)
{
    const double start = now();
    const struct plumb_sink sink = plumb_metrics_sink(line);
    plumb_signals_catch();
    for (int64_t i = 0; i < j->s.train.count; i++) {
        cJSON *row = NULL;
        int rc = complete(j, i);
        if (!rc) rc = plumb_row_walk_to(walk, &j->s.train, i, &row);
        if (!rc) rc = write_row(j, row, w);
        cJSON_Delete(row);
        PLUMB_TRY(rc);
        if (plumb_signals_came(NULL))
            return plumb_fail(PLUMB_EINTR, "stopped by a signal: nothing is written");
        const struct plumb_metric speed = { "tokens_per_second",
                                            (double)j->tokens / (now() - start) };
        sink.progress(sink.self, i + 1, j->s.train.count, &speed, 1);
    }
    return PLUMB_OK;
}

static int generate_file(struct job *j)
{
    const struct plumb_generate *c = j->c;
    struct plumb_dataset_files files = { 0 };
    struct plumb_row_walk walk = { .files = &files };
    struct plumb_writer w = { 0 };
    struct plumb_metrics line = { .fd = -1, .first_step = -1 };
    int rc = PLUMB_OK;
    if (!c->model.quiet && isatty(STDERR_FILENO)) line.terminal = stderr;
    PLUMB_TRYG(plumb_dataset_files_find(c->dataset_name, c->dataset_split, false, &files));
    PLUMB_TRYG(plumb_writer_open(&w, c->output));
    rc = write_rows(j, &walk, &w, &line);
    plumb_metrics_release(&line);
    if (!rc) PLUMB_TRYG(plumb_writer_commit(&w));
out:
    plumb_writer_abort(&w);
    plumb_row_walk_release(&walk);
    plumb_dataset_files_release(&files);
    PLUMB_TRY(rc);
    plumb_log(PLUMB_LOG_INFO, "wrote %lld rows with %lld new tokens to \"%s\"",
              (long long)j->s.train.count, (long long)j->tokens, c->output);
    return PLUMB_OK;
}

static int generate_typed(struct job *j)
{
    char *text;
    PLUMB_TRY(complete(j, 0));
    PLUMB_TRY(decode(j, j->prompt + j->count, &text));
    puts(text);
    free(text);
    return PLUMB_OK;
}

static int generate(const struct plumb_generate *c)
{
    struct job j;
    int rc = open_job(&j, c);
    if (!rc) rc = c->prompt ? generate_typed(&j) : generate_file(&j);
    if (!rc && j.cut > 0)
        plumb_log(PLUMB_LOG_WARN, "%lld of the completions ended at the model's last position",
                  (long long)j.cut);
    release_job(&j);
    return rc;
}

static int check(const struct plumb_generate *c)
{
    if (!c->prompt == !c->dataset_name)
        return plumb_fail(PLUMB_EUSAGE, "want either --prompt or --dataset_name");
    if (!c->prompt && !c->output)
        return plumb_fail(PLUMB_EUSAGE, "--dataset_name wants --output FILE.jsonl");
    if (c->prompt && c->output)
        return plumb_fail(PLUMB_EUSAGE, "--output is for --dataset_name; --prompt prints");
    return plumb_train_config_check_device(&c->model);
}

static int run(int argc, char **argv)
{
    struct plumb_options o;
    struct plumb_generate c = { 0 };
    PLUMB_TRY(plumb_options_parse(&o, &options, &c, argc, argv));
    int rc = check(&c);
    if (!rc) rc = generate(&c);
    plumb_options_release(&o);
    return rc;
}

extern const struct plumb_cmd plumb_cmd_generate;
const struct plumb_cmd plumb_cmd_generate = { "generate", "[options]",
                                              "continue prompts with a model", run, &options };
