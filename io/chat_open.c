/* The chat templates of a tokenizer and the special tokens that they read: found in its files. */
#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "io/chat.h"
#include "io/file.h"
#include "io/gguf.h"
#include "io/gguf_model.h"
#include "io/json.h"

enum { PATH_BYTES = 4096, TEMPLATE_LIMIT = 16 << 20 };

/* Takes over `text`; a template that is there already stays. */
static int keep(struct plumb_chat_template *t, const char *name, char *text, size_t n)
{
    if (!text || t->text) {
        free(text);
        return PLUMB_OK;
    }
    t->text = text;
    t->n = n;
    t->name = strdup(name);
    return t->name ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "could not allocate the name of a template");
}

static int keep_copy(struct plumb_chat_template *t, const char *name, const cJSON *text)
{
    if (!cJSON_IsString(text))
        return plumb_fail(PLUMB_EFORMAT, "%s: a chat template wants text, got %s", name,
                          plumb_json_type(text));
    char *copy = strdup(text->valuestring);
    if (!copy) return plumb_fail(PLUMB_EMEM, "could not allocate the chat template of %s", name);
    return keep(t, name, copy, strlen(copy));
}

static int read_template(struct plumb_chat_template *t, const char *path)
{
    char *text;
    size_t n;
    PLUMB_TRY(plumb_file_read(path, TEMPLATE_LIMIT, &text, &n));
    return keep(t, path, text, n);
}

static int read_if_there(struct plumb_chat_template *t, const char *dir, const char *name)
{
    char path[PATH_BYTES];
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, name));
    return plumb_file_exists(path) ? read_template(t, path) : PLUMB_OK;
}

static int load_if_there(const char *dir, const char *name, cJSON **out)
{
    char path[PATH_BYTES];
    PLUMB_TRY(plumb_path_join(path, sizeof path, dir, name));
    return plumb_file_exists(path) ? plumb_json_load(path, 0, out) : PLUMB_OK;
}

/* chat_template of tokenizer_config.json: a text, or a list of named ones. */
static int read_config(struct plumb_chat *c, const cJSON *config, const char *dir)
{
    const cJSON *v = plumb_json_get(config, "chat_template");
    char name[PATH_BYTES];
    PLUMB_TRY(plumb_path_join(name, sizeof name, dir, "tokenizer_config.json"));
    if (!v || cJSON_IsNull(v)) return PLUMB_OK;
    if (!cJSON_IsArray(v)) return keep_copy(&c->plain, name, v);
    for (const cJSON *one = v->child; one; one = one->next) {
        const cJSON *kind = plumb_json_get(one, "name"), *text = plumb_json_get(one, "template");
        if (!cJSON_IsString(kind)) continue;
        if (!strcmp(kind->valuestring, "default")) PLUMB_TRY(keep_copy(&c->plain, name, text));
        if (!strcmp(kind->valuestring, "tool_use"))
            PLUMB_TRY(keep_copy(&c->with_tools, name, text));
    }
    return PLUMB_OK;
}

/* The text of a special token that the tokenizer's files name, written as a string or an object. */
static const char *named_token(const cJSON *const file[2], const char *key)
{
    for (int i = 0; i < 2; i++) {
        const cJSON *v = plumb_json_get(file[i], key);
        if (cJSON_IsObject(v)) v = plumb_json_get(v, "content");
        if (cJSON_IsString(v)) return v->valuestring;
    }
    return NULL;
}

/* Special tokens as variables: those that the files name, else those of the tokenizer itself. */
static int read_tokens(struct plumb_chat *c, const cJSON *const file[2],
                       const struct plumb_text *text)
{
    const struct {
        const char *name;
        int32_t id;
    } token[] = {
        { "bos_token", text->bos_id }, { "eos_token", text->eos_id }, { "unk_token", text->unk_id },
        { "pad_token", text->pad_id }, { "sep_token", -1 },           { "cls_token", -1 },
        { "mask_token", -1 },
    };
    cJSON *o = cJSON_CreateObject();
    bool done = o != NULL;
    for (size_t i = 0; done && i < sizeof token / sizeof *token; i++) {
        const char *piece = named_token(file, token[i].name);
        if (!piece && token[i].id >= 0) piece = text->piece(text->self, token[i].id);
        if (piece) done = cJSON_AddStringToObject(o, token[i].name, piece) != NULL;
    }
    char *json = done ? cJSON_PrintUnformatted(o) : NULL;
    c->tokens = json ? strdup(json) : NULL;
    cJSON_free(json);
    cJSON_Delete(o);
    return c->tokens ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "could not allocate the special tokens");
}

static int read_folder(struct plumb_chat *c, const char *dir, const struct plumb_text *text)
{
    int rc = PLUMB_OK;
    cJSON *config = NULL, *map = NULL;
    PLUMB_TRYG(load_if_there(dir, "tokenizer_config.json", &config));
    PLUMB_TRYG(load_if_there(dir, "special_tokens_map.json", &map));
    PLUMB_TRYG(read_tokens(c, (const cJSON *const[]){ config, map }, text));
    if (c->plain.text) goto out; /* given by the caller */
    PLUMB_TRYG(read_if_there(&c->plain, dir, "chat_template.jinja"));
    PLUMB_TRYG(read_if_there(&c->with_tools, dir, "additional_chat_templates/tool_use.jinja"));
    if (!c->plain.text) PLUMB_TRYG(read_config(c, config, dir));
out:
    cJSON_Delete(config);
    cJSON_Delete(map);
    return rc;
}

static int read_gguf(struct plumb_chat *c, const char *path, const struct plumb_text *text)
{
    int rc = PLUMB_OK;
    struct plumb_gguf g;
    char *plain = NULL, *tools = NULL;
    PLUMB_TRY(read_tokens(c, (const cJSON *const[]){ NULL, NULL }, text));
    if (c->plain.text) return PLUMB_OK;
    PLUMB_TRY(plumb_gguf_open(&g, path));
    PLUMB_TRYG(plumb_gguf_copy_string(&g, "tokenizer.chat_template", &plain));
    PLUMB_TRYG(keep(&c->plain, path, plain, plain ? strlen(plain) : 0));
    PLUMB_TRYG(plumb_gguf_copy_string(&g, "tokenizer.chat_template.tool_use", &tools));
    PLUMB_TRYG(keep(&c->with_tools, path, tools, tools ? strlen(tools) : 0));
out:
    plumb_gguf_release(&g);
    return rc;
}

static int read_given(struct plumb_chat *c, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return plumb_fail(PLUMB_ENOTSUP,
                          "chat_template_path \"%s\" is a folder: taking over another tokenizer's "
                          "tokens is not built; name its chat_template.jinja",
                          path);
    return read_template(&c->plain, path);
}

static int open_chat(struct plumb_chat *c, const char *path, const char *given,
                     const struct plumb_text *text)
{
    struct stat st;
    char dir[PATH_BYTES];
    c->path = strdup(path);
    if (!c->path) return plumb_fail(PLUMB_EMEM, "could not allocate a path");
    if (given) PLUMB_TRY(read_given(c, given));
    if (plumb_gguf_is(path)) return read_gguf(c, path, text);
    const bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    const char *slash = folder ? NULL : strrchr(path, '/');
    const int n = folder ? (int)strlen(path) : slash ? (int)(slash - path + 1) : 0;
    if (snprintf(dir, sizeof dir, "%.*s", n ? n : 1, n ? path : ".") >= (int)sizeof dir)
        return plumb_fail(PLUMB_EINVAL, "the path \"%.80s...\" is too long", path);
    return read_folder(c, dir, text);
}

int plumb_chat_open(struct plumb_chat *c, const char *path, const char *given,
                    const struct plumb_text *text)
{
    const time_t now = time(NULL);
    struct tm local = { 0 };
    localtime_r(&now, &local);
    *c = (struct plumb_chat){ .now = (int64_t)timegm(&local) };
    const int rc = open_chat(c, path, given, text);
    if (rc) plumb_chat_release(c);
    return rc;
}

int plumb_chat_template(struct plumb_chat *c, bool tools, const struct plumb_jinja **out)
{
    struct plumb_chat_template *t = tools && c->with_tools.text ? &c->with_tools : &c->plain;
    if (!t->text)
        return plumb_fail(PLUMB_EINVAL,
                          "the tokenizer \"%s\" has no chat template: give one with "
                          "--chat_template_path FILE, or put chat_template.jinja beside it",
                          c->path);
    if (!t->parsed) {
        const int rc = plumb_jinja_open(t->text, t->n, t->name, &t->parsed);
        if (rc == PLUMB_EFORMAT)
            return plumb_fail(PLUMB_EINVAL, "the chat template: %s", plumb_errmsg());
        if (rc) return rc;
    }
    *out = t->parsed;
    return PLUMB_OK;
}

bool plumb_chat_marks(const struct plumb_chat *c, bool tools)
{
    const struct plumb_chat_template *t = tools && c->with_tools.text ? &c->with_tools : &c->plain;
    const char *p = t->text;
    while (p && (p = strstr(p, "{%"))) {
        p += 2;
        p += strspn(p, "+-");
        p += strspn(p, " \t\r\n");
        if (strncmp(p, "generation", 10)) continue;
        p += 10;
        p += strspn(p, " \t\r\n");
        p += strspn(p, "+-");
        if (!strncmp(p, "%}", 2)) return true;
    }
    return false;
}

static void release_template(struct plumb_chat_template *t)
{
    plumb_jinja_release(t->parsed);
    free(t->name);
    free(t->text);
}

void plumb_chat_release(struct plumb_chat *c)
{
    release_template(&c->plain);
    release_template(&c->with_tools);
    free(c->tokens);
    free(c->path);
    *c = (struct plumb_chat){ 0 };
}
