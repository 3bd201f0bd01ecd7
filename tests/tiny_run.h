/* A model and data so small that a whole training run takes milliseconds, and runs of the binary
 * on them, for whole-program tests. */
#pragma once
#include <errno.h>
#include <signal.h>
#include <stdarg.h>

#include "io/checkpoint.h"
#include "tests/made_model.h"
#include "tests/program.h"

#define TINY_CONFIG                                                                                \
    "{\"model_type\":\"llama\",\"vocab_size\":24,\"hidden_size\":8,\"intermediate_size\":12,"      \
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,"                 \
    "\"max_position_embeddings\":32}"
enum { TINY_ROWS = 11, TINY_HELD = 5, TINY_VOCAB = 24 };

/* The folder of a test: model/, pairs.jsonl, held.jsonl (pairs for evaluation), texts.jsonl,
 * rated.jsonl, triples.jsonl, ranked.jsonl. */
struct tiny {
    char dir[64];
    uint64_t random;
};

static inline uint64_t tiny_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline const char *tiny_path(const struct tiny *t, const char *name)
{
    static char ring[8][512];
    static int at;
    char *path = ring[at++ % 8];
    snprintf(path, sizeof ring[0], "%s/%s", t->dir, name);
    return path;
}

static inline int tiny_weights(const struct plumb_weights *w, int64_t index, int64_t first,
                               int64_t n, double *out)
{
    const struct made *m = w->self;
    const bool norm = m->tensors[index].rank == 1;
    for (int64_t i = 0; i < n; i++) {
        uint64_t state = (uint64_t)(index * 1000003 + first + i);
        out[i] = norm ? 1 : (double)(tiny_next(&state) >> 11) * 0x1p-53 - 0.5;
    }
    return PLUMB_OK;
}

/* Writes the model of `config` with drawn weights. */
static inline void tiny_model(const char *dir, const char *config)
{
    struct made m = { 0 };
    char path[512];
    made_init(&m, config);
    const struct plumb_weights w = { .tensor = m.tensors,
                                     .count = m.count,
                                     .read = tiny_weights,
                                     .self = &m };
    cr_assert_eq(plumb_dir_make(dir), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_safetensors_write_folder(dir, &w, PLUMB_F32, 0), PLUMB_OK, "%s",
                 plumb_errmsg());
    snprintf(path, sizeof path, "%s/config.json", dir);
    cr_assert_eq(plumb_file_write(path, config, strlen(config)), PLUMB_OK);
    plumb_hf_config_release(&m.config);
}

static inline void tiny_ids(FILE *f, struct tiny *t, const char *key, int least, int most)
{
    const int n = least + (int)(tiny_next(&t->random) % (uint64_t)(most - least + 1));
    fprintf(f, "\"%s\": [", key);
    for (int i = 0; i < n; i++)
        fprintf(f, "%s%d", i ? ", " : "", (int)(tiny_next(&t->random) % TINY_VOCAB));
    fputs("]", f);
}

enum tiny_rows { TINY_PAIRS, TINY_TEXTS, TINY_RATED, TINY_TRIPLES, TINY_RANKED };
/* Two to five candidates with scores, some of them equal. */
static inline void tiny_candidates(FILE *f, struct tiny *t)
{
    const int n = 2 + (int)(tiny_next(&t->random) % 4);
    fputs("\"completions_ids\": [", f);
    for (int k = 0; k < n; k++) {
        const int tokens = 1 + (int)(tiny_next(&t->random) % 6);
        fputs(k ? ", [" : "[", f);
        for (int i = 0; i < tokens; i++)
            fprintf(f, "%s%d", i ? ", " : "", (int)(tiny_next(&t->random) % TINY_VOCAB));
        fputs("]", f);
    }
    fputs("], \"scores\": [", f);
    for (int k = 0; k < n; k++)
        fprintf(f, "%s%g", k ? ", " : "", 0.5 * (double)(tiny_next(&t->random) % 6));
    fputs("]", f);
}

static inline void tiny_rows(struct tiny *t, const char *name, enum tiny_rows kind, int rows)
{
    FILE *f = fopen(tiny_path(t, name), "w");
    cr_assert(f);
    for (int i = 0; i < rows; i++) {
        fputs("{", f);
        if (kind == TINY_TEXTS) {
            tiny_ids(f, t, "input_ids", 3, 14);
        } else {
            tiny_ids(f, t, "prompt_ids", 1, 5);
            fputs(", ", f);
            if (kind == TINY_RANKED) {
                tiny_candidates(f, t);
                fputs("}\n", f);
                continue;
            }
            tiny_ids(f, t, kind == TINY_RATED ? "completion_ids" : "chosen_ids", 1, 7);
            fputs(", ", f);
            if (kind == TINY_RATED)
                fprintf(f, "\"label\": %s", i % 3 ? "true" : "false");
            else
                tiny_ids(f, t, "rejected_ids", 1, 7);
            if (kind == TINY_TRIPLES) {
                fputs(", ", f);
                tiny_ids(f, t, "reference_ids", 1, 7);
            }
        }
        fputs("}\n", f);
    }
    cr_assert_eq(fclose(f), 0);
}

static inline void tiny_init(struct tiny *t)
{
    /* Where flushing to disk costs nothing, if there is such a place. */
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    *t = (struct tiny){ .random = 1 };
    snprintf(t->dir, sizeof t->dir, "%s/plumb_tiny_XXXXXX", base);
    cr_assert(mkdtemp(t->dir));
    tiny_model(tiny_path(t, "model"), TINY_CONFIG);
    tiny_rows(t, "pairs.jsonl", TINY_PAIRS, TINY_ROWS);
    tiny_rows(t, "held.jsonl", TINY_PAIRS, TINY_HELD);
    tiny_rows(t, "texts.jsonl", TINY_TEXTS, TINY_ROWS);
    tiny_rows(t, "rated.jsonl", TINY_RATED, TINY_ROWS);
    tiny_rows(t, "triples.jsonl", TINY_TRIPLES, TINY_ROWS);
    tiny_rows(t, "ranked.jsonl", TINY_RANKED, TINY_ROWS);
}

static inline void tiny_release(struct tiny *t) { plumb_folder_remove(t->dir); }

/* Arguments of the binary, closed by NULL. */
struct arguments {
    const char *v[80];
    int n;
};
static inline void arguments_add(struct arguments *a, const char *first, ...)
{
    va_list list;
    va_start(list, first);
    for (const char *s = first; s; s = va_arg(list, const char *)) {
        cr_assert(a->n < 79);
        a->v[a->n++] = s;
    }
    va_end(list);
    a->v[a->n] = NULL;
}
#define ADD(a, ...) arguments_add(a, __VA_ARGS__, (const char *)NULL)

/* A path that lives as long as the test. */
static inline const char *tiny_kept(const struct tiny *t, const char *name)
{
    static char text[128][512];
    static int at;
    cr_assert(at < 128);
    return strcpy(text[at++], tiny_path(t, name));
}

/* `command` on the tiny model and data file, into folder `out` of the test's. */
static inline struct arguments tiny_arguments(const struct tiny *t, const char *command,
                                              const char *data, const char *out)
{
    struct arguments a = { .n = 0 };
    ADD(&a, "plumb", command, "--model_name_or_path", tiny_kept(t, "model"), "--dataset_name",
        tiny_kept(t, data), "--output_dir", tiny_kept(t, out), "--per_device_train_batch_size", "2",
        "--quiet");
    return a;
}

/* The malloc'ed contents of a file of the test, which must be there. */
static inline char *tiny_read(const struct tiny *t, const char *name, size_t *n)
{
    char *text = NULL;
    size_t unused;
    cr_assert_eq(plumb_file_read(tiny_path(t, name), 0, &text, n ? n : &unused), PLUMB_OK, "%s",
                 plumb_errmsg());
    return text;
}

static inline bool tiny_exists(const struct tiny *t, const char *name)
{
    return plumb_file_exists(tiny_path(t, name));
}
