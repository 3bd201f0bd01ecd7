/* Rows of scored candidates become token ids. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "io/dataset_rows.h"
#include "io/json.h"

static enum plumb_column list_column(const struct plumb_dataset_self *d)
{
    return d->layout->tokenised ? PLUMB_COL_COMPLETIONS_IDS : PLUMB_COL_COMPLETIONS;
}

static int check_scores(const struct plumb_dataset_self *d, const struct plumb_row_source *s)
{
    const cJSON *scores = s->column[PLUMB_COL_SCORES];
    const int n = cJSON_GetArraySize(s->column[list_column(d)]), got = cJSON_GetArraySize(scores);
    int64_t at = 0;
    if (n == 0) return plumb_column_fault(d, s, list_column(d), "is empty");
    if (got != n)
        return plumb_column_fault(d, s, PLUMB_COL_SCORES, "has %d elements for %d candidates", got,
                                  n);
    for (const cJSON *v = scores->child; v; v = v->next, at++)
        if (!cJSON_IsNumber(v) || !isfinite(v->valuedouble))
            return plumb_column_fault(d, s, PLUMB_COL_SCORES,
                                      "wants finite numbers, element %" PRId64 " is %s", at,
                                      cJSON_IsNumber(v) ? "none" : plumb_json_type(v));
    return PLUMB_OK;
}

static int check_candidates(const struct plumb_dataset_self *d, const struct plumb_row_source *s)
{
    const bool ids = d->layout->tokenised;
    int64_t at = 0;
    for (const cJSON *v = s->column[list_column(d)]->child; v; v = v->next, at++) {
        const char *fault = NULL;
        if (d->talks)
            fault = plumb_talk_fault(v);
        else if (ids ? !cJSON_IsArray(v) : !cJSON_IsString(v))
            fault = ids ? "wants arrays of ids" : "wants texts";
        if (fault)
            return plumb_column_fault(d, s, list_column(d), "%s, element %" PRId64 " is %s", fault,
                                      at, plumb_json_type(v));
    }
    return PLUMB_OK;
}

int plumb_row_add_candidate(struct plumb_dataset_self *d)
{
    const struct plumb_idbuf *whole = &d->scratch[1];
    for (int64_t i = 0; i < whole->n; i++)
        PLUMB_TRY(plumb_idbuf_push(&d->scratch[2], whole->id[i]));
    return plumb_idbuf_push(&d->scratch[3], (int32_t)d->scratch[2].n);
}

/* Reads prompt + candidate of all candidates into scratch 2, one behind the other, their ends into
 * scratch 3. */
static int read_all(struct plumb_dataset_self *d, const struct plumb_row_source *s)
{
    struct plumb_idbuf *prompt = &d->scratch[0], *whole = &d->scratch[1];
    const enum plumb_column c = list_column(d);
    if (d->talks) return plumb_row_talk_candidates(d, s);
    if (!d->layout->tokenised)
        PLUMB_TRY(plumb_row_prompt(d, s, prompt));
    else if (s->column[PLUMB_COL_PROMPT_IDS])
        PLUMB_TRY(
            plumb_row_ids(d, s, PLUMB_COL_PROMPT_IDS, s->column[PLUMB_COL_PROMPT_IDS], prompt));
    for (const cJSON *v = s->column[c]->child; v; v = v->next) {
        whole->n = 0;
        if (d->layout->tokenised) {
            for (int64_t i = 0; i < prompt->n; i++)
                PLUMB_TRY(plumb_idbuf_push(whole, prompt->id[i]));
            PLUMB_TRY(plumb_row_ids(d, s, c, v, whole));
        } else {
            PLUMB_TRY(plumb_row_whole(d, s, c, v->valuestring, whole));
        }
        PLUMB_TRY(plumb_row_add_candidate(d));
    }
    return PLUMB_OK;
}

/* Ids of the prompt that all candidates begin with. */
static int64_t shared_ids(const struct plumb_dataset_self *d)
{
    const struct plumb_idbuf *prompt = &d->scratch[0], *all = &d->scratch[2], *end = &d->scratch[3];
    int64_t n = prompt->n, begin = 0;
    for (int64_t k = 0; k < end->n; begin = end->id[k++])
        for (int64_t i = 0; i < n; i++)
            if (begin + i == end->id[k] || all->id[begin + i] != prompt->id[i]) n = i;
    return n;
}

static bool has_empty(const struct plumb_idbuf *end, int64_t n)
{
    const int64_t least = n > 0 ? 1 : 2; /* the first token of a sequence has no prediction */
    for (int64_t k = 0; k < end->n; k++)
        if (end->id[k] - (k > 0 ? end->id[k - 1] : 0) - n < least) return true;
    return false;
}

/* Keeps the candidates without the prompt's n ids, cut to what max_length leaves. */
static int keep_all(struct plumb_dataset_self *d, const cJSON *score, int64_t n,
                    struct plumb_row *out)
{
    const struct plumb_idbuf *all = &d->scratch[2], *end = &d->scratch[3];
    int64_t begin = 0;
    out->first_candidate = d->spans.n;
    out->candidates = end->n;
    for (int64_t k = 0; k < end->n; begin = end->id[k++], score = score->next) {
        const int64_t whole = end->id[k] - begin - n, left = d->o.max_length - n;
        const int64_t tokens = d->o.max_length > 0 && whole > left ? left : whole;
        struct plumb_span span;
        out->cut[0] += whole - tokens;
        PLUMB_TRY(plumb_row_keep(d, all->id + begin + n, tokens, &span));
        PLUMB_TRY(plumb_store_push(&d->spans, &span, 1));
        PLUMB_TRY(plumb_store_push(&d->scores, &score->valuedouble, 1));
    }
    d->report.truncated += out->cut[0] > 0;
    return PLUMB_OK;
}

int plumb_row_rank(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                   struct plumb_row *out, bool *kept)
{
    PLUMB_TRY(check_scores(d, s));
    PLUMB_TRY(check_candidates(d, s));
    PLUMB_TRY(read_all(d, s));
    const int64_t shared = shared_ids(d);
    const bool fits = d->o.max_length <= 0 || shared < d->o.max_length;
    *kept = fits && !has_empty(&d->scratch[3], shared);
    d->report.dropped_long += !fits;
    d->report.dropped_empty += fits && !*kept;
    if (!*kept) return PLUMB_OK;
    out->boundary = d->scratch[0].n - shared;
    d->report.boundary += out->boundary > 0;
    PLUMB_TRY(plumb_row_keep(d, d->scratch[0].id, shared, &out->prompt));
    return keep_all(d, s->column[PLUMB_COL_SCORES]->child, shared, out);
}
