/* A conversation through a chat template, as transformers' apply_chat_template does it. */
#pragma once
#include "io/jinja.h"

/* `json` is an object: messages, add_generation_prompt, and whatever else the template reads; tools
 * and documents are None when absent. A message's reasoning (reasoning_content, thinking,
 * reasoning) stands under the first two names. With `continue_final_message` the text ends with the
 * last message's content, and a template that drops or changes it is an error. Otherwise as
 * plumb_jinja_render. */
int plumb_chat_render(const struct plumb_jinja *t, const char *json, size_t n,
                      bool continue_final_message, int64_t now, struct plumb_jinja_text *out);
