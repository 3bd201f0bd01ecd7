/* Patterns of steps: a literal or a regular expression, found one after the other or replaced. */
#include "io/tok.h"

#include <string.h>

#include "io/json.h"

int plumb_tok_load_pattern(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    const cJSON *pattern = plumb_json_get(obj, "pattern");
    const char *text;
    if (plumb_json_get(pattern, "Regex")) {
        PLUMB_TRY(plumb_json_string(pattern, "Regex", where, &text));
        return plumb_regex_compile(&step->regex, text, where);
    }
    if (!plumb_json_get(pattern, "String"))
        return plumb_fail(PLUMB_EFORMAT, "%s: \"pattern\" wants a \"String\" or a \"Regex\"",
                          where);
    PLUMB_TRY(plumb_json_string(pattern, "String", where, &text));
    if (!*text) return plumb_fail(PLUMB_EFORMAT, "%s: the pattern is empty", where);
    return plumb_tok_copy(&step->text, &step->text_bytes, text);
}

int plumb_tok_load_replace(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    const char *content;
    PLUMB_TRY(plumb_tok_load_pattern(step, obj, where));
    PLUMB_TRY(plumb_json_string(obj, "content", where, &content));
    return plumb_tok_copy(&step->content, &step->content_bytes, content);
}

struct plumb_tok_walk plumb_tok_walk(struct plumb_tok_work *w, const struct plumb_tok_step *step,
                                     const char *s, size_t n)
{
    return (struct plumb_tok_walk){ w, step, { .s = s, .n = n, .valid = w->valid } };
}

int plumb_tok_walk_next(struct plumb_tok_walk *walk, size_t *start, size_t *end, bool *found)
{
    const struct plumb_tok_step *step = walk->step;
    if (step->regex)
        return plumb_regex_next(step->regex, &walk->work->regex, &walk->regex, start, end, found);
    const char *s = walk->regex.s + walk->regex.from;
    const char *at = walk->regex.from < walk->regex.n
                         ? memmem(s, walk->regex.n - walk->regex.from, step->text, step->text_bytes)
                         : NULL;
    *found = at != NULL;
    if (at) {
        *start = (size_t)(at - walk->regex.s);
        *end = walk->regex.from = *start + step->text_bytes;
    }
    return PLUMB_OK;
}

int plumb_tok_check_size(const struct plumb_tok_work *w, size_t n)
{
    if (n <= w->limit) return PLUMB_OK;
    return plumb_fail(PLUMB_EINVAL, "the tokenizer makes a text grow beyond %zu bytes or ids",
                      w->limit);
}

int plumb_tok_replace(struct plumb_tok_work *w, const struct plumb_tok_step *step, const char *s,
                      size_t n, struct plumb_tok_bytes *out)
{
    struct plumb_tok_walk walk = plumb_tok_walk(w, step, s, n);
    size_t done = 0, start, end;
    for (bool found;;) {
        PLUMB_TRY(plumb_tok_walk_next(&walk, &start, &end, &found));
        if (!found) return plumb_tok_put(w, out, s + done, n - done);
        PLUMB_TRY(plumb_tok_put(w, out, s + done, start - done));
        /* the byte that the content shares its place with */
        const char *last = end ? s + end - 1 : NULL;
        PLUMB_TRY(plumb_tok_put_for(w, out, step->content, step->content_bytes, last, end > 0));
        if (!out->n) w->headless = true;
        PLUMB_TRY(plumb_tok_check_size(w, out->n));
        done = end;
    }
}
