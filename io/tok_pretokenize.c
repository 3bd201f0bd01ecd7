/* Pre-tokenizers: text to words. Each hands its pieces straight to the next, so nothing is listed.
 * Source: Hugging Face tokenizers 0.23, src/pre_tokenizers and src/tokenizer/normalizer.rs (split).
 */
#include <string.h>

#include "io/json.h"
#include "io/tok.h"

enum behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };
static const char *const behaviors[] = { "Removed", "Isolated", "MergedWithPrevious",
                                         "MergedWithNext", "Contiguous" };

/* The pattern of GPT-2, which ByteLevel splits with. */
static const char byte_level_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* Joins matches and what lies between them as the behaviour says, one piece behind. */
struct joiner {
    struct plumb_tok_work *w;
    int step;
    const char *s;
    bool first;
    enum behavior behavior;
    size_t start, end; /* of the piece held back */
    bool holds, held_match;
};

/* Passes [start, end) on to the next step, as characters for bytes when this step is a ByteLevel
 * that others follow. */
static int emit(const struct joiner *j, size_t start, size_t end)
{
    const char *s = j->s + start;
    const bool first = j->first && start == 0;
    if (start == end) return PLUMB_OK;
    const struct plumb_tok *t = j->w->tok;
    if (!t->pretokenizers.step[j->step].maps || j->step + 1 == t->pretokenizers.n)
        return plumb_tok_split(j->w, j->step + 1, s, end - start, first);
    struct plumb_tok_work *w = j->w;
    struct plumb_tok_bytes *to = &w->mapped[j->step];
    to->n = 0;
    for (size_t i = start; i < end; i++)
        PLUMB_TRY(plumb_tok_map_byte(w, to, j->s + i));
    const bool valid = w->valid;
    const struct plumb_tok_place before = plumb_tok_enter(w, to);
    w->valid = true;
    const int rc = plumb_tok_split(w, j->step + 1, to->data, to->n, first);
    w->valid = valid;
    w->place = before;
    return rc;
}

static bool joins(const struct joiner *j, bool match)
{
    switch (j->behavior) {
    case MERGED_WITH_PREVIOUS: return match && !j->held_match;
    case MERGED_WITH_NEXT: return j->held_match && !match;
    case CONTIGUOUS: return match == j->held_match;
    case REMOVED:
    case ISOLATED: break;
    }
    return false;
}

static int segment(struct joiner *j, size_t start, size_t end, bool match)
{
    if (j->behavior == REMOVED) return match ? PLUMB_OK : emit(j, start, end);
    if (j->behavior == ISOLATED) return emit(j, start, end);
    if (j->holds && joins(j, match)) {
        j->end = end;
    } else {
        if (j->holds) PLUMB_TRY(emit(j, j->start, j->end));
        j->start = start;
        j->end = end;
    }
    j->holds = true;
    j->held_match = match;
    return PLUMB_OK;
}

static int split_by(struct plumb_tok_work *w, int at, const char *s, size_t n, bool first,
                    enum behavior behavior)
{
    const struct plumb_tok_step *step = &w->tok->pretokenizers.step[at];
    struct joiner j = { w, at, s, first, behavior };
    struct plumb_tok_walk walk = plumb_tok_walk(w, step, s, n);
    size_t done = 0, start, end;
    for (;;) {
        bool found;
        PLUMB_TRY(plumb_tok_walk_next(&walk, &start, &end, &found));
        if (!found) break;
        if (done != start) PLUMB_TRY(segment(&j, done, start, step->invert));
        PLUMB_TRY(segment(&j, start, end, !step->invert));
        done = end;
    }
    if (done != n) PLUMB_TRY(segment(&j, done, n, step->invert));
    return j.holds ? emit(&j, j.start, j.end) : PLUMB_OK;
}

static int split_pattern(struct plumb_tok_work *w, int at, const char *s, size_t n, bool first)
{
    return split_by(w, at, s, n, first, (enum behavior)w->tok->pretokenizers.step[at].choice);
}

static int choose_behavior(struct plumb_tok_step *step, const char *behavior, const char *where)
{
    for (int i = 0; i <= CONTIGUOUS; i++) {
        if (strcmp(behavior, behaviors[i])) continue;
        step->choice = i;
        return PLUMB_OK;
    }
    return plumb_fail(PLUMB_ENOTSUP, "%s: the behavior \"%.80s\" is not supported", where,
                      behavior);
}

static int load_split(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    const char *behavior;
    PLUMB_TRY(plumb_tok_load_pattern(step, obj, where));
    PLUMB_TRY(plumb_json_string(obj, "behavior", where, &behavior));
    PLUMB_TRY(plumb_json_bool_or(obj, "invert", where, false, &step->invert));
    return choose_behavior(step, behavior, where);
}

static int load_digits(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    bool one_by_one;
    PLUMB_TRY(plumb_json_bool_or(obj, "individual_digits", where, false, &one_by_one));
    step->choice = ISOLATED;
    return plumb_regex_compile(&step->regex, one_by_one ? "\\p{N}" : "\\p{N}+", where);
}

static int load_byte_level(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    bool use_regex;
    PLUMB_TRY(plumb_json_bool_or(obj, "add_prefix_space", where, true, &step->prefix_space));
    PLUMB_TRY(plumb_json_bool_or(obj, "use_regex", where, true, &use_regex));
    step->maps = true;
    return use_regex ? plumb_regex_compile(&step->regex, byte_level_pattern, where) : PLUMB_OK;
}

static int split_mapped(struct plumb_tok_work *w, int at, const char *s, size_t n, bool first)
{
    if (w->tok->pretokenizers.step[at].regex) return split_by(w, at, s, n, first, ISOLATED);
    const struct joiner whole = { w, at, s, first, ISOLATED };
    return emit(&whole, 0, n);
}

static int split_byte_level(struct plumb_tok_work *w, int at, const char *s, size_t n, bool first)
{
    if (!w->tok->pretokenizers.step[at].prefix_space || s[0] == ' ')
        return split_mapped(w, at, s, n, first);
    struct plumb_tok_bytes *to = &w->prefixed[at];
    to->n = 0;
    PLUMB_TRY(plumb_tok_put_for(w, to, " ", 1, s, 1));
    PLUMB_TRY(plumb_tok_put(w, to, s, n));
    const struct plumb_tok_place before = plumb_tok_enter(w, to);
    const int rc = split_mapped(w, at, to->data, to->n, first);
    w->place = before;
    return rc;
}

int plumb_tok_load_metaspace(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    static const char *const schemes[] = { "always", "first", "never" };
    const char *text;
    PLUMB_TRY(plumb_tok_load_character(step, obj, "replacement", where));
    bool prefix;
    PLUMB_TRY(plumb_json_bool_or(obj, "add_prefix_space", where, true, &prefix));
    PLUMB_TRY(plumb_json_bool_or(obj, "split", where, true, &step->split));
    step->choice = prefix ? PLUMB_TOK_ALWAYS : PLUMB_TOK_NEVER;
    if (!plumb_json_get(obj, "prepend_scheme")) return PLUMB_OK;
    PLUMB_TRY(plumb_json_string(obj, "prepend_scheme", where, &text));
    for (int i = 0; i <= PLUMB_TOK_NEVER; i++) {
        if (strcmp(text, schemes[i])) continue;
        step->choice = i;
        return PLUMB_OK;
    }
    return plumb_fail(PLUMB_ENOTSUP, "%s: the prepend_scheme \"%.80s\" is not supported", where,
                      text);
}

static int split_metaspace(struct plumb_tok_work *w, int at, const char *s, size_t n, bool first)
{
    const struct plumb_tok_step *step = &w->tok->pretokenizers.step[at];
    struct plumb_tok_bytes *to = &w->prefixed[at];
    to->n = 0;
    const bool wanted = step->choice == PLUMB_TOK_ALWAYS ||
                        (step->choice == PLUMB_TOK_FIRST && first);
    const bool there = s[0] == ' ' ||
                       (n >= step->text_bytes && !memcmp(s, step->text, step->text_bytes));
    if (wanted && !there) PLUMB_TRY(plumb_tok_put_for(w, to, step->text, step->text_bytes, s, 1));
    for (size_t i = 0; i < n;) {
        const char *space = memchr(s + i, ' ', n - i);
        const size_t end = space ? (size_t)(space - s) : n;
        PLUMB_TRY(plumb_tok_put(w, to, s + i, end - i));
        if (space) PLUMB_TRY(plumb_tok_put_for(w, to, step->text, step->text_bytes, space, 1));
        i = end + 1;
    }
    const struct plumb_tok_place before = plumb_tok_enter(w, to);
    const int rc = step->split ? split_by(w, at, to->data, to->n, first, MERGED_WITH_NEXT)
                               : plumb_tok_split(w, at + 1, to->data, to->n, first);
    w->place = before;
    return rc;
}

/* Pre-tokenizers that are one expression each; `choice` is what happens to its matches. */
static const char spaces[] = "\\s+", words[] = "\\w+|[^\\w\\s]+",
                  punctuation[] = "[!-/:-@\\[-`{-~\\p{P}]";

static int load_white_space(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    (void)obj;
    return plumb_regex_compile(&step->regex, spaces, where);
}

static int load_words(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    (void)obj;
    step->invert = true;
    return plumb_regex_compile(&step->regex, words, where);
}

static int load_punctuation(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    const char *behavior = "Isolated";
    if (plumb_json_get(obj, "behavior"))
        PLUMB_TRY(plumb_json_string(obj, "behavior", where, &behavior));
    PLUMB_TRY(plumb_regex_compile(&step->regex, punctuation, where));
    return choose_behavior(step, behavior, where);
}

/* BERT's: words between white space and single marks of punctuation. One expression finds both. */
static int load_bert(struct plumb_tok_step *step, const cJSON *obj, const char *where)
{
    (void)obj;
    step->invert = true;
    return plumb_regex_compile(&step->regex, "[!-/:-@\\[-`{-~\\p{P}]|[^\\s!-/:-@\\[-`{-~\\p{P}]+",
                               where);
}

const struct plumb_tok_kind plumb_tok_pretokenizers[] = {
    { "BertPreTokenizer", .load = load_bert, .choice = REMOVED, .split = split_pattern },
    { "ByteLevel", .load = load_byte_level, .split = split_byte_level },
    { "Digits", .load = load_digits, .split = split_pattern },
    { "Metaspace", .load = plumb_tok_load_metaspace, .split = split_metaspace },
    { "Punctuation", .load = load_punctuation, .split = split_pattern },
    { "Split", .load = load_split, .split = split_pattern },
    { "Whitespace", .load = load_words, .choice = REMOVED, .split = split_pattern },
    { "WhitespaceSplit", .load = load_white_space, .choice = REMOVED, .split = split_pattern },
    { NULL },
};

int plumb_tok_split(struct plumb_tok_work *w, int step, const char *s, size_t n, bool first)
{
    const struct plumb_tok *t = w->tok;
    if (step == t->pretokenizers.n) return t->model->word(w, s, n);
    return t->pretokenizers.step[step].kind->split(w, step, s, n, first);
}
