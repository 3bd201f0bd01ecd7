/* A dataset's row becomes token ids: TRL 1.16's rules of EOS, token boundary and truncation. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/dataset_rows.h"
#include "io/json.h"

struct piece {
    const char *text;
    size_t n;
};

/* Prompt and completions of one example, in the scratch buffers. */
struct parts {
    struct plumb_ids prompt, completion[3];
    const int32_t *mask; /* of completion[0]; NULL = all is trained on */
    int sides;
    int64_t boundary;
};

static const struct piece nothing = { "", 0 };

static struct piece text_of(const struct plumb_row_source *s, enum plumb_column c)
{
    const char *text = s->column[c]->valuestring;
    return (struct piece){ text, strlen(text) };
}

static int push_all(struct plumb_idbuf *b, const int32_t *id, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        PLUMB_TRY(plumb_idbuf_push(b, id[i]));
    return PLUMB_OK;
}

/* *out = head + tail, in d->joined unless one of them is empty. */
static int join(struct plumb_dataset_self *d, struct piece head, struct piece tail,
                struct piece *out)
{
    *out = head.n ? head : tail;
    if (!head.n || !tail.n) return PLUMB_OK;
    const size_t n = head.n + tail.n;
    if (n > d->joined_capacity) {
        char *larger = realloc(d->joined, 2 * n);
        if (!larger) return plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes of text", 2 * n);
        d->joined = larger;
        d->joined_capacity = 2 * n;
    }
    memcpy(d->joined, head.text, head.n);
    memcpy(d->joined + head.n, tail.text, tail.n);
    *out = (struct piece){ d->joined, n };
    return PLUMB_OK;
}

int plumb_row_check_ids(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                        enum plumb_column c, const struct plumb_idbuf *ids)
{
    for (int64_t i = 0; i < ids->n; i++)
        if (ids->id[i] < 0 || ids->id[i] >= d->id_limit)
            return plumb_column_fault(d, s, c,
                                      "has token id %" PRId32 ", outside the model's vocabulary "
                                      "[0, %" PRId64 ")",
                                      ids->id[i], d->id_limit);
    return PLUMB_OK;
}

int plumb_row_encode(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                     enum plumb_column c, const char *text, size_t n, bool special,
                     struct plumb_idbuf *out)
{
    const struct plumb_text *t = d->o.text;
    out->n = 0;
    const int rc = t->encode(t->self, text, n, special, out);
    if (rc == PLUMB_EMEM) return rc;
    if (rc) return plumb_column_fault(d, s, c, "cannot be tokenised: %s", plumb_errmsg());
    return plumb_row_check_ids(d, s, c, out);
}

/* A prompt goes on, so the post-processor's EOS does not belong to it. */
static int encode_prompt(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                         struct piece text, struct plumb_idbuf *out)
{
    const struct plumb_text *t = d->o.text;
    PLUMB_TRY(plumb_row_encode(d, s, PLUMB_COL_PROMPT, text.text, text.n, true, out));
    if (t->add_eos && out->n > 0 && out->id[out->n - 1] == t->eos_id) out->n--;
    return PLUMB_OK;
}

/* prompt + completion, closed by one EOS. */
static int encode_whole(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                        enum plumb_column c, struct piece prompt, struct piece completion,
                        struct plumb_idbuf *out)
{
    const int32_t eos = d->o.text->eos_id;
    struct piece whole;
    if (!completion.n) return plumb_column_fault(d, s, c, "is empty");
    PLUMB_TRY(join(d, prompt, completion, &whole));
    PLUMB_TRY(plumb_row_encode(d, s, c, whole.text, whole.n, true, out));
    if (eos < 0 || (out->n > 0 && out->id[out->n - 1] == eos)) return PLUMB_OK;
    return plumb_idbuf_push(out, eos);
}

static int64_t common_prefix(const struct plumb_idbuf *a, const struct plumb_idbuf *b)
{
    int64_t n = 0;
    while (n < a->n && n < b->n && a->id[n] == b->id[n])
        n++;
    return n;
}

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static struct plumb_ids span_of(const struct plumb_idbuf *b, int64_t from, int64_t to)
{
    return (struct plumb_ids){ from ? b->id + from : b->id, to - from };
}

/* The prompt that two texts share, TRL's extract_prompt: up to the first character that differs, or
 * the space before it; of two texts where one begins the other, all but the shorter one's last
 * character, so that no completion is empty. */
static size_t shared_text(struct piece a, struct piece b)
{
    const size_t shorter = a.n < b.n ? a.n : b.n;
    size_t n = 0;
    if (shorter == 0) return 0;
    while (n < shorter && a.text[n] == b.text[n])
        n++;
    const bool differ = n < shorter;
    if (!differ) n--;
    while (n > 0 && ((unsigned char)a.text[n] & 0xC0) == 0x80)
        n--;
    return differ && n > 0 && a.text[n - 1] == ' ' ? n - 1 : n;
}

int plumb_row_read_id(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                      enum plumb_column c, const cJSON *v, int64_t at, double least, int32_t *out)
{
    if (!cJSON_IsNumber(v))
        return plumb_column_fault(d, s, c, "wants token ids, element %" PRId64 " is %s", at,
                                  plumb_json_type(v));
    const double x = v->valuedouble;
    if (x != trunc(x) || x < least || x >= (double)d->id_limit)
        return plumb_column_fault(d, s, c,
                                  "has %.15g as element %" PRId64 ", which is no token id in "
                                  "[0, %" PRId64 ")",
                                  x, at, d->id_limit);
    *out = (int32_t)x;
    return PLUMB_OK;
}

/* Appends a column of ids. */
static int read_ids(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                    enum plumb_column c, bool may_be_empty, struct plumb_idbuf *out)
{
    int64_t at = 0;
    int32_t id = 0;
    const cJSON *first = s->column[c]->child;
    if (!first && !may_be_empty) return plumb_column_fault(d, s, c, "is empty");
    for (const cJSON *v = first; v; v = v->next, at++) {
        PLUMB_TRY(plumb_row_read_id(d, s, c, v, at, 0, &id));
        PLUMB_TRY(plumb_idbuf_push(out, id));
    }
    return PLUMB_OK;
}

/* Counts what the example loses to max_length, from its row's front or end; *keep = false drops
 * it. */
static void cut(struct plumb_dataset_self *d, struct parts *p, struct plumb_row *row, bool *keep)
{
    const int64_t most = d->o.max_length;
    bool fits = true;
    if (most <= 0 || d->type == PLUMB_DATA_PROMPT_ONLY) return;
    if (d->o.use == PLUMB_USE_REWARD) {
        for (int i = 0; i < p->sides; i++)
            *keep = *keep && p->completion[i].n <= most;
    } else if (!d->o.keep_end) {
        *keep = p->prompt.n < most;
        for (int i = 0; *keep && i < p->sides; i++) {
            const int64_t left = min64(p->completion[i].n, most - p->prompt.n);
            row->cut[i] = p->completion[i].n - left;
            p->completion[i].n = left;
        }
    } else if (p->prompt.n + p->completion[0].n > most) {
        row->cut[0] = p->prompt.n + p->completion[0].n - most;
        const int64_t of_prompt = min64(row->cut[0], p->prompt.n);
        const int64_t rest = row->cut[0] - of_prompt;
        p->prompt = (struct plumb_ids){ p->prompt.id + of_prompt, p->prompt.n - of_prompt };
        p->completion[0].id += rest;
        p->completion[0].n -= rest;
        if (p->mask) p->mask += rest;
    }
    fits = row->cut[0] == 0 && row->cut[1] == 0 && row->cut[2] == 0;
    d->report.dropped_long += !*keep;
    d->report.truncated += *keep && !fits;
}

static int keep_span(struct plumb_dataset_self *d, struct plumb_ids from, struct plumb_span *out)
{
    *out = (struct plumb_span){ d->ids.n, from.n };
    return plumb_store_push(&d->ids, from.id, from.n);
}

/* Whether the loss sees a token of this completion. The first of a sequence has no prediction. */
static bool has_target(const struct plumb_dataset_self *d, const struct parts *p, int side)
{
    const bool predicted = p->prompt.n > 0 || d->o.use == PLUMB_USE_REWARD;
    if (!p->mask || side) return p->completion[side].n >= (predicted ? 1 : 2);
    for (int64_t i = predicted ? 0 : 1; i < p->completion[0].n; i++)
        if (p->mask[i]) return true;
    return false;
}

static int keep_mask(struct plumb_dataset_self *d, const struct parts *p, struct plumb_row *row)
{
    const int64_t n = p->completion[0].n;
    bool all = true;
    for (int64_t i = 0; p->mask && i < n; i++)
        all = all && p->mask[i];
    if (all) return PLUMB_OK;
    row->mask = d->masks.n + 1;
    return plumb_store_push(&d->masks, p->mask, n);
}

/* Cuts an example to max_length and appends its ids; *kept = false when it is dropped. */
static int keep_example(struct plumb_dataset_self *d, struct parts *p, struct plumb_row *row,
                        bool *kept)
{
    *kept = true;
    cut(d, p, row, kept);
    if (!*kept) return PLUMB_OK;
    for (int i = 0; i < p->sides; i++)
        *kept = *kept && has_target(d, p, i);
    d->report.dropped_empty += !*kept;
    if (!*kept) return PLUMB_OK;
    row->boundary = p->boundary;
    d->report.boundary += p->boundary > 0;
    row->straddled = d->straddled;
    d->report.straddled += d->straddled > 0;
    PLUMB_TRY(keep_mask(d, p, row));
    PLUMB_TRY(keep_span(d, p->prompt, &row->prompt));
    for (int i = 0; i < p->sides; i++)
        PLUMB_TRY(keep_span(d, p->completion[i], &row->completion[i]));
    return PLUMB_OK;
}

/* The completion starts where the ids of the prompt and of the whole diverge. */
static struct parts split_whole(const struct plumb_idbuf *prompt, const struct plumb_idbuf *whole,
                                int sides)
{
    int64_t n = prompt->n;
    for (int i = 0; i < sides; i++)
        n = min64(n, common_prefix(prompt, &whole[i]));
    struct parts p = { .prompt = span_of(prompt, 0, n), .sides = sides, .boundary = prompt->n - n };
    for (int i = 0; i < sides; i++)
        p.completion[i] = span_of(&whole[i], n, whole[i].n);
    return p;
}

/* What stands before the first trained token is the prompt; d->mask tells, where it is filled. */
static struct parts split_mask(const struct plumb_dataset_self *d, const struct plumb_idbuf *whole)
{
    const bool masked = d->mask.n > 0;
    int64_t n = 0;
    while (masked && n < d->mask.n && !d->mask.id[n])
        n++;
    struct parts p = { .prompt = span_of(whole, 0, n), .sides = 1 };
    p.completion[0] = span_of(whole, n, whole->n);
    p.mask = masked ? d->mask.id + n : NULL;
    return p;
}

static int language_modeling(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                             struct parts *p)
{
    struct plumb_idbuf *whole = &d->scratch[1];
    if (d->talks) {
        PLUMB_TRY(plumb_row_talk(d, s));
    } else if (!d->layout->tokenised) {
        PLUMB_TRY(encode_whole(d, s, PLUMB_COL_TEXT, nothing, text_of(s, PLUMB_COL_TEXT), whole));
    } else {
        PLUMB_TRY(read_ids(d, s, PLUMB_COL_INPUT_IDS, false, whole));
        if (s->column[PLUMB_COL_LABELS])
            PLUMB_TRY(plumb_row_read_mask(d, s, PLUMB_COL_LABELS, whole));
        if (s->column[PLUMB_COL_COMPLETION_MASK])
            PLUMB_TRY(plumb_row_read_mask(d, s, PLUMB_COL_COMPLETION_MASK, whole));
    }
    *p = split_mask(d, whole);
    return PLUMB_OK;
}

static int prompt_completion(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                             struct parts *p)
{
    struct plumb_idbuf *prompt = &d->scratch[0], *whole = &d->scratch[1];
    if (d->talks) {
        PLUMB_TRY(plumb_row_talk(d, s));
        *p = split_whole(prompt, whole, 1);
    } else if (!d->layout->tokenised) {
        const struct piece head = text_of(s, PLUMB_COL_PROMPT);
        PLUMB_TRY(encode_prompt(d, s, head, prompt));
        PLUMB_TRY(encode_whole(d, s, PLUMB_COL_COMPLETION, head, text_of(s, PLUMB_COL_COMPLETION),
                               whole));
        *p = split_whole(prompt, whole, 1);
    } else {
        if (s->column[PLUMB_COL_PROMPT_IDS])
            PLUMB_TRY(read_ids(d, s, PLUMB_COL_PROMPT_IDS, true, whole));
        const int64_t n = whole->n;
        PLUMB_TRY(read_ids(d, s, PLUMB_COL_COMPLETION_IDS, false, whole));
        *p = (struct parts){ .prompt = span_of(whole, 0, n), .sides = 1 };
        p->completion[0] = span_of(whole, n, whole->n);
    }
    if (d->mask.n > 0) {
        const int64_t boundary = p->boundary;
        for (int64_t i = 0; !d->o.train_on_prompt && i < p->prompt.n; i++)
            d->mask.id[i] = 0;
        *p = split_mask(d, whole);
        p->boundary = boundary;
    } else if (d->o.train_on_prompt) {
        *p = (struct parts){ .completion = { span_of(whole, 0, whole->n) }, .sides = 1 };
    }
    return PLUMB_OK;
}

static int prompt_only(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                       struct parts *p)
{
    struct plumb_idbuf *prompt = &d->scratch[0];
    if (d->talks)
        PLUMB_TRY(plumb_row_talk(d, s));
    else if (d->layout->tokenised)
        PLUMB_TRY(read_ids(d, s, PLUMB_COL_PROMPT_IDS, false, prompt));
    else
        PLUMB_TRY(encode_prompt(d, s, text_of(s, PLUMB_COL_PROMPT), prompt));
    if (prompt->n == 0) return plumb_column_fault(d, s, PLUMB_COL_PROMPT, "has no tokens");
    *p = (struct parts){ .prompt = span_of(prompt, 0, prompt->n) };
    return PLUMB_OK;
}

/* The third answer of a triple, behind the prompt of its pair. Without a prompt column it begins
 * with `shared`, as chosen and rejected do. */
static int read_reference_text(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                               struct piece shared)
{
    struct piece reference = text_of(s, PLUMB_COL_REFERENCE);
    if (!s->column[PLUMB_COL_PROMPT]) {
        if (reference.n < shared.n || memcmp(reference.text, shared.text, shared.n) != 0)
            return plumb_column_fault(d, s, PLUMB_COL_REFERENCE,
                                      "does not begin with the prompt that chosen and rejected "
                                      "share: give a column \"prompt\"");
        reference = (struct piece){ reference.text + shared.n, reference.n - shared.n };
    }
    return encode_whole(d, s, PLUMB_COL_REFERENCE, shared, reference, &d->scratch[3]);
}

/* Fills the scratch: the prompt's ids, and those of prompt + chosen, prompt + rejected, and in a
 * triple prompt + reference. */
static int read_pair_text(struct plumb_dataset_self *d, const struct plumb_row_source *s)
{
    struct piece chosen = text_of(s, PLUMB_COL_CHOSEN), rejected = text_of(s, PLUMB_COL_REJECTED);
    struct piece prompt = nothing;
    if (s->column[PLUMB_COL_PROMPT]) {
        prompt = text_of(s, PLUMB_COL_PROMPT);
    } else if (d->o.use != PLUMB_USE_REWARD) {
        prompt = (struct piece){ chosen.text, shared_text(chosen, rejected) };
        chosen = (struct piece){ chosen.text + prompt.n, chosen.n - prompt.n };
        rejected = (struct piece){ rejected.text + prompt.n, rejected.n - prompt.n };
    }
    if (d->o.use != PLUMB_USE_REWARD) PLUMB_TRY(encode_prompt(d, s, prompt, &d->scratch[0]));
    PLUMB_TRY(encode_whole(d, s, PLUMB_COL_CHOSEN, prompt, chosen, &d->scratch[1]));
    PLUMB_TRY(encode_whole(d, s, PLUMB_COL_REJECTED, prompt, rejected, &d->scratch[2]));
    return s->column[PLUMB_COL_REFERENCE] ? read_reference_text(d, s, prompt) : PLUMB_OK;
}

/* The same from columns of ids; without prompt_ids the prompt is what both sequences begin with,
 * one id short of the shorter. */
static int read_pair_ids(struct plumb_dataset_self *d, const struct plumb_row_source *s)
{
    static const enum plumb_column sides[] = { PLUMB_COL_CHOSEN_IDS, PLUMB_COL_REJECTED_IDS,
                                               PLUMB_COL_REFERENCE_IDS };
    struct plumb_idbuf *prompt = &d->scratch[0], *whole = &d->scratch[1];
    if (s->column[PLUMB_COL_PROMPT_IDS])
        PLUMB_TRY(read_ids(d, s, PLUMB_COL_PROMPT_IDS, true, prompt));
    for (int i = 0; i < 3; i++) {
        if (!s->column[sides[i]]) continue;
        PLUMB_TRY(push_all(&whole[i], prompt->id, prompt->n));
        PLUMB_TRY(read_ids(d, s, sides[i], false, &whole[i]));
    }
    if (s->column[PLUMB_COL_PROMPT_IDS]) return PLUMB_OK;
    const int64_t most = min64(whole[0].n, whole[1].n) - 1;
    PLUMB_TRY(push_all(prompt, whole[0].id, min64(common_prefix(&whole[0], &whole[1]), most)));
    if (s->column[PLUMB_COL_REFERENCE_IDS] && common_prefix(prompt, &whole[2]) < prompt->n)
        return plumb_column_fault(d, s, PLUMB_COL_REFERENCE_IDS,
                                  "does not begin with the prompt that chosen_ids and rejected_ids "
                                  "share: give a column \"prompt_ids\"");
    return PLUMB_OK;
}

static int pair(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                struct plumb_row out[2], bool kept[2])
{
    struct plumb_idbuf *prompt = &d->scratch[0], *whole = &d->scratch[1];
    PLUMB_TRY(d->talks               ? plumb_row_talk(d, s)
              : d->layout->tokenised ? read_pair_ids(d, s)
                                     : read_pair_text(d, s));
    if (d->type == PLUMB_DATA_PREFERENCE) {
        if (d->o.use == PLUMB_USE_REWARD) prompt->n = 0;
        struct parts p = split_whole(prompt, whole, d->o.use == PLUMB_USE_TRIPLES ? 3 : 2);
        return keep_example(d, &p, &out[0], &kept[0]);
    }
    const double ref[2] = { out[0].ref[0], out[0].ref[1] };
    for (int i = 0; i < 2; i++) {
        struct parts p = split_whole(prompt, &whole[i], 1);
        out[i].label = i == 0;
        out[i].ref[0] = ref[i];
        out[i].ref[1] = 0;
        PLUMB_TRY(keep_example(d, &p, &out[i], &kept[i]));
    }
    return PLUMB_OK;
}

static void read_numbers(const struct plumb_row_source *s, struct plumb_row *row)
{
    const cJSON *const *c = s->column;
    const cJSON *label = c[PLUMB_COL_LABEL];
    if (label) row->label = cJSON_IsTrue(label) || (cJSON_IsNumber(label) && label->valuedouble);
    if (c[PLUMB_COL_MARGIN]) row->margin = c[PLUMB_COL_MARGIN]->valuedouble;
    row->has_ref = c[PLUMB_COL_REF_CHOSEN] || c[PLUMB_COL_REF];
    if (c[PLUMB_COL_REF_CHOSEN]) {
        row->ref[0] = c[PLUMB_COL_REF_CHOSEN]->valuedouble;
        row->ref[1] = c[PLUMB_COL_REF_REJECTED]->valuedouble;
    }
    if (c[PLUMB_COL_REF]) row->ref[0] = c[PLUMB_COL_REF]->valuedouble;
}

/* The mismatched completion stands behind the same prompt, so it is cut alike. */
static int read_kl(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                   struct plumb_row *row)
{
    struct plumb_idbuf *ids = &d->scratch[2];
    PLUMB_TRY(read_ids(d, s, PLUMB_COL_KL_IDS, false, ids));
    int64_t n = ids->n;
    if (d->o.max_length > 0) n = min64(n, d->o.max_length - row->prompt.n);
    return keep_span(d, span_of(ids, 0, n), &row->kl);
}

int plumb_row_tokenise(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                       struct plumb_row out[2], bool kept[2])
{
    struct parts p = { .sides = 0 };
    for (int i = 0; i < 4; i++)
        d->scratch[i].n = 0;
    d->mask.n = d->straddled = 0;
    read_numbers(s, &out[0]);
    out[1] = out[0];
    kept[0] = kept[1] = false;
    switch (d->layout->type) {
    case PLUMB_DATA_RANKED: return plumb_row_rank(d, s, &out[0], &kept[0]);
    case PLUMB_DATA_PREFERENCE: return pair(d, s, out, kept);
    case PLUMB_DATA_LANGUAGE_MODELING: PLUMB_TRY(language_modeling(d, s, &p)); break;
    case PLUMB_DATA_PROMPT_ONLY: PLUMB_TRY(prompt_only(d, s, &p)); break;
    case PLUMB_DATA_PROMPT_COMPLETION:
    case PLUMB_DATA_UNPAIRED: PLUMB_TRY(prompt_completion(d, s, &p)); break;
    }
    PLUMB_TRY(keep_example(d, &p, &out[0], &kept[0]));
    return kept[0] && s->column[PLUMB_COL_KL_IDS] ? read_kl(d, s, &out[0]) : PLUMB_OK;
}

int plumb_row_prompt(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                     struct plumb_idbuf *out)
{
    return encode_prompt(d, s, text_of(s, PLUMB_COL_PROMPT), out);
}

int plumb_row_whole(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                    enum plumb_column c, const char *text, struct plumb_idbuf *out)
{
    return encode_whole(d, s, c, text_of(s, PLUMB_COL_PROMPT), (struct piece){ text, strlen(text) },
                        out);
}

int plumb_row_ids(const struct plumb_dataset_self *d, const struct plumb_row_source *s,
                  enum plumb_column c, const cJSON *array, struct plumb_idbuf *out)
{
    struct plumb_row_source one = *s;
    one.column[c] = array;
    return read_ids(d, &one, c, c == PLUMB_COL_PROMPT_IDS, out);
}

int plumb_row_keep(struct plumb_dataset_self *d, const int32_t *id, int64_t n,
                   struct plumb_span *out)
{
    return keep_span(d, (struct plumb_ids){ id, n }, out);
}
