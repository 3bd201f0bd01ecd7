/* Opens datasets: reads every row, checks and tokenises it, and answers `get`. */
#include "io/dataset.h"

#include <inttypes.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/dataset_format.h"
#include "io/dataset_rows.h"
#include "io/json.h"
#include "io/rowfile.h"

/* TRL takes pairs apart in the batches of datasets.map: 1000 chosen, then their rejected. */
#define UNPAIR_ROWS 1000

const char *plumb_dataset_type_name(enum plumb_dataset_type t)
{
    switch (t) {
    case PLUMB_DATA_LANGUAGE_MODELING: return "language modeling";
    case PLUMB_DATA_PROMPT_ONLY: return "prompt-only";
    case PLUMB_DATA_PROMPT_COMPLETION: return "prompt-completion";
    case PLUMB_DATA_PREFERENCE: return "preference";
    case PLUMB_DATA_UNPAIRED: return "unpaired preference";
    case PLUMB_DATA_RANKED: return "ranked";
    }
    return "unknown";
}

static int push_row(struct plumb_rows *rows, const struct plumb_row *row)
{
    if (rows->n == rows->capacity) {
        const int64_t capacity = rows->capacity ? 2 * rows->capacity : 64;
        struct plumb_row *larger = realloc(rows->row, (size_t)capacity * sizeof *larger);
        if (!larger)
            return plumb_fail(PLUMB_EMEM, "could not allocate %" PRId64 " dataset rows", capacity);
        rows->row = larger;
        rows->capacity = capacity;
    }
    rows->row[rows->n++] = *row;
    return PLUMB_OK;
}

static int flush_pending(struct plumb_dataset_self *d)
{
    for (int64_t i = 0; i < d->pending.n; i++)
        PLUMB_TRY(push_row(&d->rows, &d->pending.row[i]));
    d->pending.n = 0;
    d->pairs = 0;
    return PLUMB_OK;
}

static int add_examples(struct plumb_dataset_self *d, const struct plumb_row row[2],
                        const bool kept[2])
{
    if (kept[0]) PLUMB_TRY(push_row(&d->rows, &row[0]));
    if (kept[1]) PLUMB_TRY(push_row(&d->pending, &row[1]));
    return ++d->pairs == UNPAIR_ROWS ? flush_pending(d) : PLUMB_OK;
}

/* A row in TRL's columns becomes examples. */
static int take_columns(struct plumb_dataset_self *d, struct plumb_row_source *s, const cJSON *json,
                        struct plumb_row row[2])
{
    bool kept[2];
    if (!d->layout) PLUMB_TRY(plumb_columns_choose(d, s, json));
    PLUMB_TRY(plumb_columns_collect(d, json, s));
    PLUMB_TRY(plumb_row_tokenise(d, s, row, kept));
    return add_examples(d, row, kept);
}

static int take_mapped(struct plumb_dataset_self *d, struct plumb_row_source *s, const cJSON *json,
                       struct plumb_row row[2])
{
    cJSON *mapped = NULL;
    PLUMB_TRY(plumb_format_map(d, s, json));
    s->text = d->mapped;
    s->n = d->mapped_bytes;
    int rc = plumb_json_parse_at(s->text, s->n, s->path, s->line, &mapped);
    if (!rc) rc = take_columns(d, s, mapped, row);
    cJSON_Delete(mapped);
    return rc;
}

static int take_json(struct plumb_dataset_self *d, int file, const struct plumb_jsonl_row *text,
                     const cJSON *json)
{
    struct plumb_row_source s = { .path = d->paths[file],
                                  .line = text->line,
                                  .text = text->text,
                                  .n = text->n };
    struct plumb_row row[2] = { { .file_row = text->index, .line = text->line, .file = file } };
    if (!cJSON_IsObject(json))
        return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ": a row wants an object, got %s", s.path,
                          s.line, plumb_json_type(json));
    if (d->format == PLUMB_FORMAT_AUTO) PLUMB_TRY(plumb_format_choose(d, &s, json));
    return d->format == PLUMB_FORMAT_TRL ? take_columns(d, &s, json, row)
                                         : take_mapped(d, &s, json, row);
}

static int take_row(struct plumb_dataset_self *d, int file, const struct plumb_jsonl_row *text)
{
    cJSON *json = NULL;
    int rc = plumb_json_parse_at(text->text, text->n, d->paths[file], text->line, &json);
    if (rc && text->column > 1)
        rc = plumb_fail_while(rc, "reading the row at byte %" PRId64, text->byte);
    const struct plumb_dataset_report before = d->report;
    const int64_t ids = d->ids.n, masks = d->masks.n, candidates = d->lists.n;
    if (!rc) rc = take_json(d, file, text, json);
    if (rc) {
        d->report = before;
        d->ids.n = ids;
        d->masks.n = masks;
        d->lists.n = candidates;
    }
    cJSON_Delete(json);
    return rc;
}

/* Counts a fault that may be passed over; others go on up. */
static int pass_over(struct plumb_dataset_self *d, int rc, bool goes_on)
{
    if (rc != PLUMB_EFORMAT || !d->o.skip_bad_rows || !goes_on) return rc;
    if (d->report.skipped < PLUMB_DATASET_MESSAGES) {
        char *copy = strdup(plumb_errmsg());
        if (!copy) return plumb_fail(PLUMB_EMEM, "could not allocate a message");
        d->report.messages[d->report.skipped] = copy;
    }
    d->report.skipped++;
    plumb_errclear();
    return PLUMB_OK;
}

static int read_file(struct plumb_dataset_self *d, int file)
{
    struct plumb_rowfile r;
    struct plumb_jsonl_row row;
    bool found = true;
    int rc = PLUMB_OK;
    PLUMB_TRYG(plumb_rowfile_open(&r, d->paths[file], 0));
    while (found) {
        rc = plumb_rowfile_next(&r, &row, &found);
        if (rc) {
            found = true;
            PLUMB_TRYG(pass_over(d, rc, !r.finished));
        } else if (found) {
            rc = take_row(d, file, &row);
            if (rc) PLUMB_TRYG(pass_over(d, rc, true));
        }
    }
    if (r.rows == 0)
        rc = plumb_fail(PLUMB_EFORMAT, "\"%s\" is empty: it holds no rows", d->paths[file]);
    d->report.rows += r.rows;
out:
    plumb_rowfile_release(&r);
    return rc;
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static uint64_t hash_ids(uint64_t h, const struct plumb_ids *ids)
{
    h = hash_bytes(h, &ids->n, sizeof ids->n);
    return hash_bytes(h, ids->id, (size_t)ids->n * sizeof *ids->id);
}

static struct plumb_ids ids_of(const struct plumb_dataset_self *d, struct plumb_span s)
{
    return (struct plumb_ids){ s.n ? d->ids.id + s.at : NULL, s.n };
}

static int get(void *self, int64_t index, struct plumb_example *out)
{
    const struct plumb_dataset_self *d = self;
    if (index < 0 || index >= d->rows.n)
        return plumb_fail(PLUMB_EINVAL, "example %" PRId64 " of a dataset of %" PRId64, index,
                          d->rows.n);
    const struct plumb_row *r = &d->rows.row[index];
    *out = (struct plumb_example){
        .row = r->file_row,
        .prompt = ids_of(d, r->prompt),
        .completion = { ids_of(d, r->completion[0]), ids_of(d, r->completion[1]),
                        ids_of(d, r->completion[2]) },
        .label = r->label,
        .margin = r->margin,
        .has_ref_logps = r->has_ref,
        .ref_logps = { r->ref[0], r->ref[1] },
        .kl_completion = ids_of(d, r->kl),
    };
    if (r->mask) out->trained = d->masks.id + r->mask - 1;
    if (r->candidates == 0) return PLUMB_OK;
    out->candidate = d->lists.ids + r->first_candidate;
    out->score = d->lists.score + r->first_candidate;
    out->candidates = r->candidates;
    return PLUMB_OK;
}

/* The candidates' ids, which stay where they are from now on. */
static int finish_lists(struct plumb_dataset_self *d)
{
    struct plumb_lists *l = &d->lists;
    if (l->n == 0) return PLUMB_OK;
    l->ids = calloc((size_t)l->n, sizeof *l->ids);
    if (!l->ids) return plumb_fail(PLUMB_EMEM, "could not allocate %" PRId64 " candidates", l->n);
    for (int64_t i = 0; i < l->n; i++)
        l->ids[i] = ids_of(d, l->span[i]);
    return PLUMB_OK;
}

/* FNV-1a over type, count and every field of every example. */
static uint64_t hash_set(struct plumb_dataset_self *d)
{
    uint64_t h = 14695981039346656037u;
    struct plumb_example e;
    const int64_t head[2] = { d->type, d->rows.n };
    h = hash_bytes(h, head, sizeof head);
    for (int64_t i = 0; i < d->rows.n && get(d, i, &e) == PLUMB_OK; i++) {
        const int64_t whole[3] = { e.row, e.label, e.has_ref_logps };
        const double real[3] = { e.margin, e.ref_logps[0], e.ref_logps[1] };
        h = hash_bytes(hash_bytes(h, whole, sizeof whole), real, sizeof real);
        h = hash_ids(hash_ids(h, &e.prompt), &e.kl_completion);
        h = hash_ids(hash_ids(h, &e.completion[0]), &e.completion[1]);
        if (e.trained) h = hash_bytes(h, e.trained, (size_t)e.completion[0].n * sizeof *e.trained);
        if (d->o.use == PLUMB_USE_TRIPLES) h = hash_ids(h, &e.completion[2]);
        for (int64_t k = 0; k < e.candidates; k++)
            h = hash_bytes(hash_ids(h, &e.candidate[k]), &e.score[k], sizeof e.score[k]);
    }
    return h;
}

static void log_report(const struct plumb_dataset_self *d)
{
    const struct plumb_dataset_report *r = &d->report;
    const char *name = d->paths[0];
    plumb_log(PLUMB_LOG_INFO,
              "\"%s\": %" PRId64 " %s examples from %" PRId64 " rows (%s%scolumns %s%s%s)", name,
              d->rows.n, plumb_dataset_type_name(d->type), r->rows,
              d->format == PLUMB_FORMAT_TRL ? "" : plumb_dataset_format_name(d->format),
              d->format == PLUMB_FORMAT_TRL ? "" : " read as ", d->used_names,
              d->ignored_names[0] ? "; not used: " : "", d->ignored_names);
    if (r->skipped)
        plumb_log(PLUMB_LOG_WARN, "\"%s\": %" PRId64 " bad rows skipped", name, r->skipped);
    for (int i = 0; i < PLUMB_DATASET_MESSAGES && r->messages[i]; i++)
        plumb_log(PLUMB_LOG_WARN, "skipped: %s", r->messages[i]);
    if (r->truncated)
        plumb_log(PLUMB_LOG_INFO, "\"%s\": %" PRId64 " examples cut to max_length %" PRId64, name,
                  r->truncated, d->o.max_length);
    if (r->dropped_long)
        plumb_log(PLUMB_LOG_WARN, "\"%s\": %" PRId64 " examples dropped: %s max_length %" PRId64,
                  name, r->dropped_long,
                  d->o.use == PLUMB_USE_REWARD ? "a sequence is longer than"
                                               : "the prompt alone fills",
                  d->o.max_length);
    if (r->dropped_empty)
        plumb_log(PLUMB_LOG_WARN, "\"%s\": %" PRId64 " examples dropped: no token to predict", name,
                  r->dropped_empty);
    if (r->boundary)
        plumb_log(PLUMB_LOG_WARN,
                  "\"%s\": in %" PRId64
                  " examples the end of the prompt merges with the completion "
                  "into other tokens; the completion starts where they part. End prompts on a "
                  "token boundary to avoid it",
                  name, r->boundary);
    if (r->straddled)
        plumb_log(PLUMB_LOG_WARN,
                  "\"%s\": in %" PRId64
                  " examples a token reaches across the start or the end of the assistant's text; "
                  "it is trained on",
                  name, r->straddled);
}

static int copy_paths(struct plumb_dataset_self *d)
{
    const struct plumb_dataset_options *o = &d->o;
    if (o->path_count < 1) return plumb_fail(PLUMB_EINVAL, "a dataset wants at least one file");
    d->paths = calloc((size_t)o->path_count, sizeof *d->paths);
    if (!d->paths) return plumb_fail(PLUMB_EMEM, "could not allocate %d paths", o->path_count);
    for (; d->path_count < o->path_count; d->path_count++) {
        d->paths[d->path_count] = strdup(o->paths[d->path_count]);
        if (!d->paths[d->path_count])
            return plumb_fail(PLUMB_EMEM, "could not allocate a path of the dataset");
    }
    return PLUMB_OK;
}

static int fill(struct plumb_dataset_self *d)
{
    PLUMB_TRY(copy_paths(d));
    d->id_limit = d->o.vocab_size > 0 ? d->o.vocab_size
                  : d->o.text         ? d->o.text->vocab_size
                                      : (int64_t)INT32_MAX + 1;
    for (int i = 0; i < d->path_count; i++)
        PLUMB_TRY(read_file(d, i));
    PLUMB_TRY(flush_pending(d));
    const struct plumb_dataset_report *r = &d->report;
    if (d->rows.n == 0)
        return plumb_fail(PLUMB_EINVAL,
                          "\"%s\" leaves no example of %" PRId64 " rows: %" PRId64 " bad%s%s, "
                          "%" PRId64 " too long, %" PRId64 " without a token to predict",
                          d->paths[0], r->rows, r->skipped, r->messages[0] ? ", first " : "",
                          r->messages[0] ? r->messages[0] : "", r->dropped_long, r->dropped_empty);
    return PLUMB_OK;
}

int plumb_dataset_open(const struct plumb_dataset_options *o, struct plumb_dataset *out)
{
    *out = (struct plumb_dataset){ 0 };
    struct plumb_dataset_self *d = calloc(1, sizeof *d);
    if (!d) return plumb_fail(PLUMB_EMEM, "could not allocate a dataset");
    d->o = *o;
    out->self = d;
    int rc = fill(d);
    if (!rc) rc = finish_lists(d);
    if (rc) {
        plumb_dataset_release(out);
        return rc;
    }
    *out = (struct plumb_dataset){ .type = d->type,
                                   .count = d->rows.n,
                                   .get = get,
                                   .self = d,
                                   .content_hash = hash_set(d) };
    log_report(d);
    d->o.text = NULL;
    d->o.chat = NULL;
    d->o.paths = NULL;
    d->o.text_field = NULL;
    return PLUMB_OK;
}

const struct plumb_dataset_report *plumb_dataset_report(const struct plumb_dataset *set)
{
    return &((const struct plumb_dataset_self *)set->self)->report;
}

void plumb_dataset_where(const struct plumb_dataset *set, int64_t index, char *out, size_t n)
{
    const struct plumb_dataset_self *d = set->self;
    const struct plumb_row *r = index >= 0 && index < d->rows.n ? &d->rows.row[index] : NULL;
    snprintf(out, n, "%s:%" PRId64, d->paths[r ? r->file : 0], r ? r->line : 0);
}

void plumb_dataset_release(struct plumb_dataset *set)
{
    struct plumb_dataset_self *d = set->self;
    *set = (struct plumb_dataset){ 0 };
    if (!d) return;
    for (int i = 0; i < d->path_count; i++)
        free(d->paths[i]);
    for (int i = 0; i < PLUMB_DATASET_MESSAGES; i++)
        free(d->report.messages[i]);
    for (int i = 0; i < 4; i++)
        plumb_idbuf_release(&d->scratch[i]);
    plumb_idbuf_release(&d->mask);
    plumb_idbuf_release(&d->masks);
    plumb_idbuf_release(&d->ids);
    free(d->paths);
    free(d->used_names);
    free(d->ignored_names);
    free(d->joined);
    free(d->mapped);
    free(d->lists.span);
    free(d->lists.score);
    free(d->lists.ids);
    free(d->rows.row);
    free(d->pending.row);
    free(d);
}
