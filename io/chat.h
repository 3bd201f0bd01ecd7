/* Conversations and their chat templates, as transformers' apply_chat_template does it. */
#pragma once
#include <plumb/text.h>

#include "io/jinja.h"
#include "io/jinja_value.h"

/* `json` is an object: messages, add_generation_prompt, and whatever else the template reads; tools
 * and documents are None when absent. A message's reasoning (reasoning_content, thinking,
 * reasoning) stands under the first two names. With `continue_final_message` the text ends with the
 * last message's content, and a template that drops or changes it is an error. Otherwise as
 * plumb_jinja_render. */
int plumb_chat_render(const struct plumb_jinja *t, const char *json, size_t n,
                      bool continue_final_message, int64_t now, struct plumb_jinja_text *out);
/* The same for an object of `pool`, which it changes. */
int plumb_chat_render_value(const struct plumb_jinja *t, struct plumb_jinja_pool *pool,
                            struct plumb_jinja_value data, bool continue_final_message, int64_t now,
                            struct plumb_jinja_text *out);

struct plumb_chat_template {
    char *name, *text; /* name for messages; text NULL = there is none */
    size_t n;
    struct plumb_jinja *parsed; /* NULL before its first use */
};
/* What a tokenizer knows of conversations. */
struct plumb_chat {
    struct plumb_chat_template plain, with_tools; /* the second, where there is one, for rows with
                                                   * tools */
    char *tokens; /* JSON object: bos_token, eos_token, ... as templates read them */
    char *path;   /* of the tokenizer */
    int64_t now;  /* when it was opened: what strftime_now tells */
};
/* Finds the templates of a tokenizer: `path` as plumb_tokenizer_open takes it, `text` what that
 * made. In a folder chat_template.jinja (and additional_chat_templates/tool_use.jinja) goes before
 * chat_template in tokenizer_config.json, a text or a list of {name, template} with "default" and
 * "tool_use". A file `given` stands for them all; NULL = none. No template is no failure, and none
 * is parsed here: what is wrong in one costs only those who use it. */
int plumb_chat_open(struct plumb_chat *c, const char *path, const char *given,
                    const struct plumb_text *text);
/* The template for rows with or without tools, parsed. Fails with PLUMB_EINVAL, naming what is
 * missing or wrong. */
int plumb_chat_template(struct plumb_chat *c, bool tools, const struct plumb_jinja **out);
/* Whether that template marks the assistant's text with {% generation %}. */
bool plumb_chat_marks(const struct plumb_chat *c, bool tools);
void plumb_chat_release(struct plumb_chat *c); /* takes a zeroed one; leaves it zeroed */
