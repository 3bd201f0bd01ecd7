/* `plumb generate`: completions of one prompt or of a file of prompts. */
#include <plumb/device.h>
#include <plumb/log.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/generate_rows.h"
#include "tools/model_files.h"
#include "tools/option_rows.h"
#include "tools/session.h"
#include "tools/signals.h"
#include "tools/train_options.h"

struct plumb_generate {
    struct plumb_train_config model; /* the model's options, and those of reading rows */
    const char *prompt, *dataset_name, *dataset_split, *output;
    int64_t max_new_tokens, num_return_sequences, batch_size, top_k, seed;
    double temperature, top_p, min_p, repetition_penalty;
    bool do_sample;
};

#define C plumb_generate
static const struct plumb_option text_rows[] = {
    R_TEXT(C, prompt, PLUMB_OPT_NONE, NULL, "text to continue; the result is printed"),
    R_TEXT(C, dataset_name, PLUMB_OPT_NONE, NULL,
           "JSONL, JSON or CSV file, plain, .gz or .zst, with the column prompt or prompt_ids, a "
           "pattern of such files, or a folder that holds SPLIT.jsonl or nothing but rows"),
    R_TEXT(C, dataset_split, 0, "train", "name of the file in a dataset folder"),
    R_TEXT(C, output, PLUMB_OPT_NONE, NULL,
           "JSONL file of the rows with prompt, completion, prompt_ids, completion_ids and "
           "completion_logps (several: completions, completions_ids, completions_logps); other "
           "columns stay"),
    R_INT(C, max_new_tokens, 0, 1, 1 << 24, "128", "tokens",
          "a completion ends here or behind an end-of-text token of the model's generation config"),
    R_BOOL(C, do_sample, "false", "draw tokens; else the likeliest is taken"),
    R_FLOAT(C, temperature, 0, 1e-4, 1e4, "1", "", "divides the logits before tokens are drawn"),
    R_INT(C, top_k, 0, 0, 1 << 24, "0", "tokens", "draw from the likeliest only; 0 = all"),
    R_FLOAT(C, top_p, 0, 1e-9, 1, "1", "", "draw from the likeliest that make up this share"),
    R_FLOAT(C, min_p, 0, 0, 1, "0", "", "least probability, as a share of the likeliest token's"),
    R_FLOAT(C, repetition_penalty, 0, 1e-3, 1e3, "1", "",
            "divides positive and multiplies negative logits of tokens seen; 1 = none"),
    R_INT(C, num_return_sequences, 0, 1, 4096, "1", "", "completions of each prompt"),
    R_INT(C, batch_size, 0, 1, 4096, "16", "texts",
          "written at a time; changes speed and memory, no text"),
    R_INT(C, seed, 0, 0, 9007199254740992.0, "42", "", "of the tokens drawn"),
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
    int64_t longest, most; /* tokens of a prompt; new tokens of a text */
    struct plumb_generate_rows rows;
    struct plumb_metrics line;
    double start;
    int64_t next, tokens, cut; /* prompts handed out; new tokens; texts that ran out of positions */
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
    const int64_t places = j->s.hf.config.model.max_positions;
    const struct plumb_dataset set = prompts(j);
    for (int64_t i = 0; i < set.count; i++) {
        struct plumb_example e;
        char place[4352];
        PLUMB_TRY(set.get(set.self, i, &e));
        where(j, i, place, sizeof place);
        if (e.prompt.n < 1)
            return plumb_fail(PLUMB_EFORMAT,
                              "%s: the prompt is empty: there is nothing to continue", place);
        if (e.prompt.n > places)
            return plumb_fail(PLUMB_EFORMAT,
                              "%s: the prompt has %lld tokens, the model %lld positions", place,
                              (long long)e.prompt.n, (long long)places);
        if (e.prompt.n > j->longest) j->longest = e.prompt.n;
    }
    j->most = j->c->max_new_tokens < places ? j->c->max_new_tokens : places;
    return PLUMB_OK;
}

/* Room for as many texts as the batch holds; prompts are read in pieces beside them. */
static struct plumb_generate_size size_of(const struct job *j)
{
    enum { PIECE = 256 }; /* rows that read prompts */
    const struct plumb_generate *c = j->c;
    const int64_t samples = c->num_return_sequences;
    const int64_t all = prompts((struct job *)(uintptr_t)j).count * samples;
    const int64_t batch = c->batch_size > samples ? c->batch_size : samples;
    const int64_t texts = batch < all ? batch : all;
    const int64_t pages = plumb_kv_pages(j->longest) + plumb_kv_pages(j->most);
    return (struct plumb_generate_size){ .tokens = texts * pages * PLUMB_KV_PAGE,
                                         .rows = texts + (j->longest < PIECE ? j->longest : PIECE),
                                         .texts = texts,
                                         .prompts = j->longest,
                                         .most = j->most,
                                         .penalty = c->repetition_penalty != 1 };
}

static double mib(const struct plumb_arena *a)
{
    return (double)(a->capacity + a->device.capacity) / 1048576.0;
}

static int load(struct job *j)
{
    const struct plumb_model_config *c = &j->s.hf.config.model;
    const struct plumb_device *dev = &j->s.dev;
    if (c->num_labels > 0)
        return plumb_fail(PLUMB_EINVAL, "\"%s\" is a reward model: it has scores, no next token",
                          j->c->model.model_name_or_path);
    char on[256];
    plumb_device_describe(dev, on, sizeof on);
    const int64_t wanted = j->longest + j->most - 1; /* the last token is predicted, not read */
    const int64_t path = wanted < c->max_positions ? wanted : c->max_positions;
    const struct plumb_generate_size size = size_of(j);
    plumb_arena_init_counting_on(&j->run, "run", dev);
    PLUMB_TRY(plumb_model_init(&j->m, c, dev, j->s.compute, PLUMB_MODEL_FROZEN, path, &j->run));
    PLUMB_TRY(plumb_arena_init_like(&j->run, &j->run, 1));
    PLUMB_TRY(plumb_model_init(&j->m, c, dev, j->s.compute, PLUMB_MODEL_FROZEN, path, &j->run));
    plumb_arena_init_counting_on(&j->cache, "generation", dev);
    PLUMB_TRY(plumb_generator_init(&j->g, &j->m, &size, &j->cache));
    PLUMB_TRY(plumb_arena_init_like(&j->cache, &j->cache, 1));
    PLUMB_TRY(plumb_generator_init(&j->g, &j->m, &size, &j->cache));
    plumb_log(PLUMB_LOG_INFO,
              "memory plan: weights %.1f MiB, %lld texts at a time of up to %lld tokens %.1f; %s, "
              "%s",
              mib(&j->run), (long long)size.texts, (long long)(j->longest + j->most),
              mib(&j->cache), plumb_dtype_name(j->s.compute), on);
    return plumb_model_read_files(&j->m, &j->s.hf, false);
}

static int open_job(struct job *j, const struct plumb_generate *c)
{
    struct plumb_session *s = &j->s;
    *j = (struct job){ .c = c, .line = { .fd = -1, .first_step = -1 } };
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
    plumb_generate_rows_release(&j->rows);
    plumb_idbuf_release(&j->typed);
    plumb_arena_release(&j->run);
    plumb_arena_release(&j->cache);
    plumb_session_release(&j->s);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int hand_out(void *self, struct plumb_prompt *out, bool *found)
{
    struct job *j = self;
    const struct plumb_dataset set = prompts(j);
    struct plumb_example e;
    const int32_t *kept;
    *found = j->next < set.count;
    if (!*found) return PLUMB_OK;
    PLUMB_TRY(set.get(set.self, j->next, &e));
    const int64_t samples = j->c->num_return_sequences, index = j->next++;
    PLUMB_TRY(plumb_generate_rows_open(&j->rows, index, e.prompt.id, e.prompt.n, samples, &kept));
    *out = (struct plumb_prompt){ .id = kept,
                                  .n = e.prompt.n,
                                  .samples = samples,
                                  .seed = (uint64_t)j->c->seed,
                                  .sequence = (uint64_t)index * 4096,
                                  .index = index };
    return PLUMB_OK;
}

static void note(struct job *j, const struct plumb_completion *c)
{
    j->tokens += c->count;
    j->cut += c->finish == PLUMB_FINISH_POSITIONS;
}

static int take_row(void *self, const struct plumb_completion *c)
{
    struct job *j = self;
    const struct plumb_sink sink = plumb_metrics_sink(&j->line);
    note(j, c);
    PLUMB_TRY(plumb_generate_rows_take(&j->rows, c));
    if (plumb_signals_came(NULL))
        return plumb_fail(PLUMB_EINTR, "stopped by a signal: nothing is written");
    const struct plumb_metric speed = { "tokens_per_second",
                                        (double)j->tokens / (now() - j->start) };
    sink.progress(sink.self, j->rows.first, j->s.train.count, &speed, 1);
    return PLUMB_OK;
}

static int print_one(void *self, const struct plumb_completion *c)
{
    struct job *j = self;
    char *prompt, *text;
    note(j, c);
    int rc = plumb_completion_text(&j->s.text, c->prompt.id, c->prompt.n, c->id, c->count, &prompt,
                                   &text);
    if (!rc) printf("%s%s\n", prompt, text);
    free(prompt);
    free(text);
    return rc;
}

static int run_all(struct job *j, int (*done)(void *self, const struct plumb_completion *c))
{
    const struct plumb_generate *c = j->c;
    const struct plumb_hf_config *hf = &j->s.hf.config;
    const struct plumb_generation_config how = { .temperature = c->do_sample ? c->temperature : 0,
                                                 .top_k = c->top_k,
                                                 .top_p = c->top_p,
                                                 .min_p = c->min_p,
                                                 .repetition_penalty = c->repetition_penalty,
                                                 .max_new_tokens = j->most,
                                                 .stop = hf->eos,
                                                 .stops = hf->eos_count };
    const struct plumb_generate_io io = { .self = j, .next = hand_out, .done = done };
    j->start = now();
    return plumb_generate(&j->g, &how, &io);
}

static int generate_file(struct job *j)
{
    const struct plumb_generate *c = j->c;
    struct plumb_dataset_files files = { 0 };
    struct plumb_row_walk walk = { .files = &files };
    struct plumb_writer w = { 0 };
    int rc = PLUMB_OK;
    if (!c->model.quiet && isatty(STDERR_FILENO)) j->line.terminal = stderr;
    j->rows = (struct plumb_generate_rows){ .text = j->s.has_text ? &j->s.text : NULL,
                                            .set = &j->s.train,
                                            .walk = &walk,
                                            .writer = &w,
                                            .path = c->output };
    PLUMB_TRYG(plumb_dataset_files_find(c->dataset_name, c->dataset_split, false, &files));
    PLUMB_TRYG(plumb_writer_open(&w, c->output));
    plumb_signals_catch();
    rc = run_all(j, take_row);
    plumb_metrics_release(&j->line);
    if (!rc) PLUMB_TRYG(plumb_writer_commit(&w));
out:
    plumb_writer_abort(&w);
    plumb_row_walk_release(&walk);
    plumb_dataset_files_release(&files);
    PLUMB_TRY(rc);
    plumb_log(PLUMB_LOG_INFO, "wrote %lld rows with %lld new tokens to \"%s\", %.1f tokens/s",
              (long long)j->s.train.count, (long long)j->tokens, c->output,
              (double)j->tokens / (now() - j->start));
    return PLUMB_OK;
}

static int generate(const struct plumb_generate *c)
{
    struct job j;
    int rc = open_job(&j, c);
    if (!rc) rc = c->prompt ? run_all(&j, print_one) : generate_file(&j);
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
    if (!c->do_sample && c->num_return_sequences > 1)
        return plumb_fail(PLUMB_EUSAGE,
                          "--num_return_sequences %lld wants --do_sample true: the likeliest text "
                          "is one",
                          (long long)c->num_return_sequences);
    if (!c->do_sample && (c->temperature != 1 || c->top_k || c->top_p != 1 || c->min_p != 0))
        return plumb_fail(PLUMB_EUSAGE, "--temperature, --top_k, --top_p and --min_p want "
                                        "--do_sample true");
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
