/* Opens datasets: reads every row, checks and tokenises it, and answers `get`. */
#include "io/dataset.h"

#include <inttypes.h>
#include <plumb/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/dataset_format.h"
#include "io/dataset_index.h"
#include "io/json.h"
#include "io/rowfile.h"

/* TRL takes pairs apart in the batches of datasets.map: 1000 chosen, then their rejected. */
#define UNPAIR_ROWS 1000

#define PROGRESS_SECONDS 15
#define FLUSH_BYTES ((size_t)1 << 20)     /* of rows that wait to be written to an index */
#define RESIDENT_BYTES ((size_t)48 << 20) /* of an index that stay mapped in memory, at most */
#define AROUND_BYTES ((size_t)2 << 20)    /* that a fault may bring in: Linux maps whole folios */

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

static int flush_pending(struct plumb_dataset_self *d)
{
    PLUMB_TRY(plumb_store_push(&d->rows, d->pending.data, d->pending.n));
    plumb_store_cut(&d->pending, 0);
    d->pairs = 0;
    return PLUMB_OK;
}

static int add_examples(struct plumb_dataset_self *d, const struct plumb_row row[2],
                        const bool kept[2])
{
    if (kept[0]) PLUMB_TRY(plumb_store_push(&d->rows, &row[0], 1));
    if (kept[1]) PLUMB_TRY(plumb_store_push(&d->pending, &row[1], 1));
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
    struct plumb_row row[2] = {
        { .file_row = text->index, .line = text->line, .byte = text->byte, .file = file }
    };
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
    const int64_t ids = d->ids.n, spans = d->spans.n, scores = d->scores.n,
                  masks = d->masks.n;
    if (!rc) rc = take_json(d, file, text, json);
    if (rc) {
        d->report = before;
        plumb_store_cut(&d->ids, ids);
        plumb_store_cut(&d->masks, masks);
        plumb_store_cut(&d->spans, spans);
        plumb_store_cut(&d->scores, scores);
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

/* Between two rows: what is in memory may have to leave it. */
static int make_room(struct plumb_dataset_self *d)
{
    struct plumb_store *const all[] = { &d->ids, &d->masks, &d->rows, &d->spans, &d->scores };
    size_t bytes = 0;
    bool files = true, unused;
    for (int i = 0; i < 5; i++)
        bytes += plumb_store_bytes(all[i]);
    if (!d->o.cache || bytes < FLUSH_BYTES) return PLUMB_OK;
    if (!d->index.building) {
        if (bytes <= (uint64_t)d->o.memory_limit) return PLUMB_OK;
        PLUMB_TRY(plumb_index_key(d, &files));
        if (!files) d->o.cache = NULL; /* a pipe's rows stay in memory */
        if (files) PLUMB_TRY(plumb_index_begin(d, &unused));
    }
    for (int i = 0; i < 5; i++)
        PLUMB_TRY(plumb_store_flush(all[i]));
    return PLUMB_OK;
}

/* A line now and then: tokenising takes minutes for large files. */
static void tell_progress(struct plumb_dataset_self *d, const struct plumb_rowfile *r)
{
    struct timespec t;
    if (r->rows % 256) return;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (d->told == 0) d->told = t.tv_sec;
    if (t.tv_sec - d->told < PROGRESS_SECONDS) return;
    d->told = t.tv_sec;
    plumb_log(PLUMB_LOG_INFO, "\"%s\": %" PRId64 " rows so far", r->path, r->rows);
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
            PLUMB_TRYG(make_room(d));
            tell_progress(d, &r);
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
    const int32_t *ids = (const int32_t *)(const void *)d->ids.data;
    return (struct plumb_ids){ s.n ? ids + s.at : NULL, s.n };
}

const struct plumb_row *plumb_dataset_row(const struct plumb_dataset_self *d, int64_t i)
{
    return (const struct plumb_row *)(const void *)d->rows.data + i;
}

/* Keeps few pages of a mapped index in memory; what examples point to comes back when it is used.
 * A look at a place far from the last one brings in those around it, in each file. */
static void count_touched(struct plumb_dataset_self *d, int64_t index, const struct plumb_row *r)
{
    int64_t ids = r->prompt.n + r->kl.n;
    for (int i = 0; i < 3; i++)
        ids += r->completion[i].n;
    for (int64_t k = 0; k < r->candidates; k++)
        ids += d->candidates[r->first_candidate + k].n;
    d->touched += (size_t)ids * sizeof(int32_t) + sizeof *r;
    if (r->mask) d->touched += (size_t)r->completion[0].n * sizeof(int32_t);
    if (index != d->last + 1) d->touched += (r->mask ? 3 : 2) * AROUND_BYTES;
    d->last = index;
    if (d->touched < RESIDENT_BYTES) return;
    plumb_store_forget(&d->ids);
    plumb_store_forget(&d->masks);
    plumb_store_forget(&d->rows);
    d->touched = 0;
}

static int get(void *self, int64_t index, struct plumb_example *out)
{
    struct plumb_dataset_self *d = self;
    if (index < 0 || index >= d->rows.n)
        return plumb_fail(PLUMB_EINVAL, "example %" PRId64 " of a dataset of %" PRId64, index,
                          d->rows.n);
    const struct plumb_row *r = plumb_dataset_row(d, index);
    if (d->rows.map.data) count_touched(d, index, r);
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
    if (r->mask) out->trained = (const int32_t *)(const void *)d->masks.data + r->mask - 1;
    if (r->candidates == 0) return PLUMB_OK;
    out->candidate = d->candidates + r->first_candidate;
    out->score = (const double *)(const void *)d->scores.data + r->first_candidate;
    out->candidates = r->candidates;
    return PLUMB_OK;
}

/* The candidates' ids, which stay where they are from now on. */
static int finish_lists(struct plumb_dataset_self *d)
{
    const struct plumb_span *span = (const struct plumb_span *)(const void *)d->spans.data;
    const int64_t n = d->spans.n;
    if (n == 0) return PLUMB_OK;
    d->candidates = calloc((size_t)n, sizeof *d->candidates);
    if (!d->candidates)
        return plumb_fail(PLUMB_EMEM, "could not allocate %" PRId64 " candidates", n);
    for (int64_t i = 0; i < n; i++)
        d->candidates[i] = ids_of(d, span[i]);
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

static int no_examples(const struct plumb_dataset_self *d)
{
    const struct plumb_dataset_report *r = &d->report;
    return plumb_fail(PLUMB_EINVAL,
                      "\"%s\" leaves no example of %" PRId64 " rows: %" PRId64 " bad%s%s, "
                      "%" PRId64 " too long, %" PRId64 " without a token to predict",
                      d->paths[0], r->rows, r->skipped, r->messages[0] ? ", first " : "",
                      r->messages[0] ? r->messages[0] : "", r->dropped_long, r->dropped_empty);
}

/* Everything but the index's name: from here on examples can be had. */
static int seal(struct plumb_dataset_self *d)
{
    struct plumb_store *const all[] = { &d->ids, &d->masks, &d->rows, &d->spans, &d->scores };
    if (d->rows.n == 0) return no_examples(d);
    for (int i = 0; i < 5; i++)
        PLUMB_TRY(plumb_store_seal(all[i]));
    return finish_lists(d);
}

static int fill(struct plumb_dataset_self *d)
{
    bool found = false;
    PLUMB_TRY(copy_paths(d));
    d->ids.bytes = d->masks.bytes = sizeof(int32_t);
    d->rows.bytes = d->pending.bytes = sizeof(struct plumb_row);
    d->spans.bytes = sizeof(struct plumb_span);
    d->scores.bytes = sizeof(double);
    d->id_limit = d->o.vocab_size > 0 ? d->o.vocab_size
                  : d->o.text         ? d->o.text->vocab_size
                                      : (int64_t)INT32_MAX + 1;
    if (d->o.cache) PLUMB_TRY(plumb_index_find(d, &found));
    if (d->o.cache && !found && d->o.memory_limit == 0) PLUMB_TRY(plumb_index_begin(d, &found));
    if (found) return finish_lists(d);
    for (int i = 0; i < d->path_count; i++)
        PLUMB_TRY(read_file(d, i));
    PLUMB_TRY(flush_pending(d));
    PLUMB_TRY(seal(d));
    d->index.content_hash = hash_set(d);
    return plumb_index_commit(d);
}

int plumb_dataset_open(const struct plumb_dataset_options *o, struct plumb_dataset *out)
{
    *out = (struct plumb_dataset){ 0 };
    struct plumb_dataset_self *d = calloc(1, sizeof *d);
    if (!d) return plumb_fail(PLUMB_EMEM, "could not allocate a dataset");
    d->o = *o;
    out->self = d;
    const int rc = fill(d);
    if (rc) {
        plumb_dataset_release(out);
        return rc;
    }
    *out = (struct plumb_dataset){ .type = d->type,
                                   .count = d->rows.n,
                                   .get = get,
                                   .self = d,
                                   .content_hash = d->index.content_hash };
    log_report(d);
    plumb_index_release(d);
    d->o.text = NULL;
    d->o.chat = NULL;
    d->o.paths = NULL;
    d->o.text_field = NULL;
    d->o.cache = NULL;
    d->o.program = d->o.text_path = NULL;
    return PLUMB_OK;
}

const struct plumb_dataset_report *plumb_dataset_report(const struct plumb_dataset *set)
{
    return &((const struct plumb_dataset_self *)set->self)->report;
}

void plumb_dataset_where(const struct plumb_dataset *set, int64_t index, char *out, size_t n)
{
    const struct plumb_dataset_self *d = set->self;
    const bool inside = index >= 0 && index < d->rows.n;
    const struct plumb_row *r = inside ? plumb_dataset_row(d, index) : NULL;
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
    plumb_store_release(&d->ids);
    plumb_store_release(&d->masks);
    plumb_store_release(&d->rows);
    plumb_store_release(&d->spans);
    plumb_store_release(&d->scores);
    plumb_store_release(&d->pending);
    plumb_index_release(d);
    free(d->paths);
    free(d->used_names);
    free(d->ignored_names);
    free(d->joined);
    free(d->mapped);
    free(d->candidates);
    free(d);
}
