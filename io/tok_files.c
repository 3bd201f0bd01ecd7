/* Files of a tokenizer: found in a folder, read, handed to their readers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "io/json.h"
#include "io/tok.h"

enum { PATH_BYTES = 4096 };

/* Tokenizer classes whose vocabulary and merges need nothing else, and their default tokens. */
struct family {
    const char *name, *preset, *bos, *eos, *pad, *unk;
};
static const struct family families[] = {
    { "GPT2Tokenizer", "gpt-2", "<|endoftext|>", "<|endoftext|>", NULL, "<|endoftext|>" },
    { "Qwen2Tokenizer", "qwen2", NULL, "<|endoftext|>", "<|endoftext|>", "<|endoftext|>" },
};

/* The first of the names (each with a NUL, an empty one ends them) that is in the folder. */
static int find_file(char path[PATH_BYTES], const char *dir, const char *names, bool *found)
{
    for (*found = false; *names; names += strlen(names) + 1) {
        PLUMB_TRY(plumb_path_join(path, PATH_BYTES, dir, names));
        *found = plumb_file_exists(path);
        if (*found) break;
    }
    return PLUMB_OK;
}

static int load_if_there(const char *dir, const char *name, cJSON **out)
{
    char path[PATH_BYTES];
    bool there;
    *out = NULL;
    PLUMB_TRY(find_file(path, dir, name, &there));
    return there ? plumb_json_load(path, 0, out) : PLUMB_OK;
}

/* The class that the configuration names ("...Fast" means the same one), GPT-2 when it names none.
 */
static int find_family(const cJSON *config, const struct family **out)
{
    const cJSON *v = plumb_json_get(config, "tokenizer_class");
    const char *name = cJSON_IsString(v) ? v->valuestring : families[0].name;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const size_t n = strlen(families[i].name);
        *out = &families[i];
        if (!strncmp(name, families[i].name, n) && (!name[n] || !strcmp(name + n, "Fast")))
            return PLUMB_OK;
    }
    return plumb_fail(PLUMB_ENOTSUP,
                      "the tokenizer class \"%.80s\" without a tokenizer.json is not supported",
                      name);
}

/* The default tokens of a class, where the vocabulary has them. */
static int add_defaults(struct plumb_tok *t, const struct family *family,
                        struct plumb_tok_names *names)
{
    const char *const content[] = { family->bos, family->eos, family->pad, family->unk };
    int32_t *const id[] = { &names->bos, &names->eos, &names->pad, &names->unk };
    const struct plumb_tok_flags flags = { .special = true };
    plumb_tok_add_begin(t);
    for (int i = 0; i < 4; i++) {
        *id[i] = content[i] ? plumb_tok_find(t, content[i]) : -1;
        if (*id[i] >= 0) PLUMB_TRY(plumb_tok_add(t, content[i], &flags, -1, family->name));
    }
    return PLUMB_OK;
}

/* BOS and EOS around a text, as a configuration without a tokenizer.json asks for them. */
static int add_around(struct plumb_tok *t, const cJSON *config, bool adds_bos,
                      const struct plumb_tok_names *names)
{
    static const char where[] = "tokenizer_config.json";
    bool bos, eos;
    PLUMB_TRY(plumb_json_bool_or(config, "add_bos_token", where, adds_bos, &bos));
    PLUMB_TRY(plumb_json_bool_or(config, "add_eos_token", where, false, &eos));
    if (bos && names->bos >= 0) PLUMB_TRY(plumb_idbuf_push(&t->before, names->bos));
    if (eos && names->eos >= 0) PLUMB_TRY(plumb_idbuf_push(&t->after, names->eos));
    return PLUMB_OK;
}

static int read_two_files(struct plumb_tok *t, const char *vocab_path, const char *merges_path,
                          const struct plumb_tok_configs *c, struct plumb_tok_names *names)
{
    int rc = PLUMB_OK;
    cJSON *vocab = NULL;
    char *merges = NULL;
    const struct family *family;
    struct plumb_tok_files f = { .vocab_path = vocab_path, .merges_path = merges_path };
    PLUMB_TRYG(find_family(c->config, &family));
    PLUMB_TRYG(plumb_json_load(vocab_path, 0, &vocab));
    PLUMB_TRYG(plumb_file_read(merges_path, 0, &merges, &f.n));
    f.vocab = vocab;
    f.merges = merges;
    PLUMB_TRYG(plumb_tok_from_files(t, &f, family->preset));
    bool prefix;
    PLUMB_TRYG(
        plumb_json_bool_or(c->config, "add_prefix_space", "tokenizer_config.json", false, &prefix));
    t->pretokenizers.step[t->pretokenizers.n - 1].prefix_space = prefix; /* a ByteLevel */
    PLUMB_TRYG(add_defaults(t, family, names));
    PLUMB_TRYG(plumb_tok_configure(t, c, names));
    PLUMB_TRYG(add_around(t, c->config, false, names));
out:
    cJSON_Delete(vocab);
    free(merges);
    return rc;
}

static int read_json(struct plumb_tok *t, const char *path, const struct plumb_tok_configs *c,
                     struct plumb_tok_names *names)
{
    cJSON *root;
    PLUMB_TRY(plumb_json_load(path, 0, &root));
    int rc = plumb_tok_load(t, root, path);
    cJSON_Delete(root);
    if (rc) return rc;
    names->unk = t->bpe.unk_id;
    return plumb_tok_configure(t, c, names);
}

/* A tokenizer.model: by itself it puts nothing around a text; files beside it may, and those of
 * Llama's and Gemma's classes put BOS there unless they say otherwise. */
static int read_model(struct plumb_tok *t, const char *path, const struct plumb_tok_configs *c,
                      struct plumb_tok_names *names)
{
    const cJSON *class = plumb_json_get(c->config, "tokenizer_class");
    const char *name = cJSON_IsString(class) ? class->valuestring : "";
    PLUMB_TRY(plumb_tok_read_spm(t, path, names));
    if (!c->config && !c->map) return PLUMB_OK;
    plumb_tok_add_begin(t);
    PLUMB_TRY(plumb_tok_configure(t, c, names));
    return add_around(t, c->config, strstr(name, "Llama") || strstr(name, "Gemma"), names);
}

static int read_folder(struct plumb_tok *t, const char *dir, const struct plumb_tok_configs *c,
                       struct plumb_tok_names *names)
{
    char path[PATH_BYTES], merges[PATH_BYTES];
    bool found;
    PLUMB_TRY(find_file(path, dir, "tokenizer.json\0tokenizer.json.gz\0", &found));
    if (found) return read_json(t, path, c, names);
    PLUMB_TRY(find_file(path, dir, "vocab.json\0encoder.json\0", &found));
    if (found) PLUMB_TRY(find_file(merges, dir, "merges.txt\0vocab.bpe\0", &found));
    if (found) return read_two_files(t, path, merges, c, names);
    PLUMB_TRY(find_file(path, dir, "tokenizer.model\0spiece.model\0", &found));
    if (found) return read_model(t, path, c, names);
    return plumb_fail(PLUMB_EIO,
                      "\"%s\" holds no tokenizer: neither tokenizer.json nor vocab.json with "
                      "merges.txt nor tokenizer.model",
                      dir);
}

int plumb_tok_read(struct plumb_tok *t, const char *path, struct plumb_tok_names *names)
{
    int rc = PLUMB_OK;
    struct stat st;
    struct plumb_tok_configs c = { 0 };
    char dir[PATH_BYTES];
    const bool folder = !stat(path, &st) && S_ISDIR(st.st_mode);
    const char *slash = folder ? NULL : strrchr(path, '/');
    const int n = folder ? (int)strlen(path) : slash ? (int)(slash - path + 1) : 0;
    *names = (struct plumb_tok_names){ -1, -1, -1, -1 };
    if (snprintf(dir, sizeof dir, "%.*s", n, n ? path : "") >= (int)sizeof dir)
        return plumb_fail(PLUMB_EINVAL, "the path \"%.80s...\" is too long", path);
    if (!n) memcpy(dir, ".", 2);
    PLUMB_TRYG(load_if_there(dir, "tokenizer_config.json\0", &c.config));
    PLUMB_TRYG(load_if_there(dir, "special_tokens_map.json\0", &c.map));
    PLUMB_TRYG(folder ? read_folder(t, path, &c, names) : read_json(t, path, &c, names));
out:
    cJSON_Delete(c.config);
    cJSON_Delete(c.map);
    return rc;
}
