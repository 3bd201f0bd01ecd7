/* Prints what a dataset is like as a whole. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/dataset_faults.h"
#include "io/dataset_show.h"

enum { PROMPT, SIDE, TOTAL = SIDE + 3, LENGTHS }; /* kinds of lengths: SIDE, SIDE + 1, ... */
enum { BINS = 12, BAR = 50 };

/* Lengths of every example by kind; -1 where it has no such part. A list's completions count
 * together. */
struct lengths {
    int64_t *of[LENGTHS];
    int64_t n;
};

struct totals {
    int64_t tokens, trained, desirable, equal;
    int64_t with[PLUMB_FAULTS]; /* completions with each fault */
};

static bool same_ids(const struct plumb_ids *a, const struct plumb_ids *b)
{
    return a->n == b->n && (!a->n || !memcmp(a->id, b->id, (size_t)a->n * sizeof *a->id));
}

static void count_example(const struct plumb_dataset *set, const struct plumb_text *text, int64_t i,
                          const struct plumb_example *e, struct lengths *l, struct totals *t)
{
    const struct plumb_dataset_self *d = set->self;
    const int64_t sides = plumb_example_sides(e);
    int64_t longest = 0;
    for (int k = SIDE; k < TOTAL; k++)
        l->of[k][i] = -1;
    t->tokens += l->of[PROMPT][i] = e->prompt.n;
    t->desirable += e->label;
    t->equal += set->type == PLUMB_DATA_PREFERENCE &&
                same_ids(&e->completion[0], &e->completion[1]);
    for (int64_t side = 0; side < sides; side++) {
        const int64_t n = plumb_example_side(e, side).n;
        int64_t *length = &l->of[SIDE + (e->candidates ? 0 : side)][i];
        *length = (*length < 0 ? 0 : *length) + n;
        longest = n > longest ? n : longest;
        t->tokens += n;
        t->trained += plumb_count_trained(d, e, side);
        const unsigned w = text ? plumb_faults_of(d, text, e, plumb_dataset_row(d, i), side) : 0;
        for (int k = 0; k < PLUMB_FAULTS; k++)
            t->with[k] += w >> k & 1;
    }
    l->of[TOTAL][i] = e->prompt.n + longest;
}

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int count_all(const struct plumb_dataset *set, const struct plumb_text *text,
                     struct lengths *l, struct totals *t)
{
    struct plumb_example e;
    *t = (struct totals){ 0 };
    *l = (struct lengths){ .n = set->count };
    int64_t *all = calloc((size_t)set->count * LENGTHS, sizeof *all);
    if (!all) return plumb_fail(PLUMB_EMEM, "could not allocate %" PRId64 " lengths", set->count);
    for (int k = 0; k < LENGTHS; k++)
        l->of[k] = all + k * set->count;
    int rc = PLUMB_OK;
    for (int64_t i = 0; !rc && i < set->count; i++) {
        rc = set->get(set->self, i, &e);
        if (!rc) count_example(set, text, i, &e, l, t);
    }
    for (int k = 0; k < LENGTHS; k++)
        qsort(l->of[k], (size_t)l->n, sizeof **l->of, by_size);
    return rc;
}

static void release(struct lengths *l) { free(l->of[0]); }

static const char *kind_name(enum plumb_dataset_type t, int kind)
{
    if (kind == PROMPT) return "prompt";
    if (kind == TOTAL) return "total";
    return t == PLUMB_DATA_RANKED ? "completions" : plumb_example_side_name(t, kind - SIDE);
}

/* A row of the table of lengths; parts that the set has not are passed over. */
static void show_lengths(FILE *f, const char *name, const int64_t *sorted, int64_t n)
{
    if (sorted[n - 1] <= 0) return;
    fprintf(f, "  %-11s %6" PRId64 " %8" PRId64 " %8" PRId64 " %8" PRId64 "\n", name, sorted[0],
            sorted[(n * 50 + 99) / 100 - 1], sorted[(n * 95 + 99) / 100 - 1], sorted[n - 1]);
}

static void show_warnings(FILE *f, const struct plumb_dataset_self *d,
                          const struct plumb_text *text, const struct totals *t)
{
    const struct plumb_dataset_report *r = &d->report;
    if (r->boundary)
        fprintf(f, "warning: %" PRId64 " prompts end inside a token of their completion\n",
                r->boundary);
    if (r->straddled)
        fprintf(f, "warning: %" PRId64 " rows have a token that is only in part the assistant's\n",
                r->straddled);
    for (int k = 0; k < PLUMB_FAULTS; k++)
        if (t->with[k])
            fprintf(f, "warning: %" PRId64 " sequences: %s\n", t->with[k], plumb_fault_text[k]);
    if (t->equal) fprintf(f, "warning: %" PRId64 " pairs have two equal sides\n", t->equal);
    if (text && text->pad_id >= 0 && text->pad_id == text->eos_id)
        fprintf(f,
                "warning: padding and EOS are one id (%" PRId32 "): trainers that mask padding "
                "never train on it (Plumb does not pad)\n",
                text->pad_id);
}

static void show_totals(FILE *f, const struct plumb_dataset *set, const struct totals *t)
{
    const struct plumb_dataset_self *d = set->self;
    const struct plumb_dataset_report *r = &d->report;
    for (int i = 0; i < d->path_count; i++)
        fprintf(f, "%s%s", i ? ", " : "", d->paths[i]);
    fprintf(f, "\ntype: %s, columns %s%s%s\n", plumb_dataset_type_name(set->type), d->used_names,
            *d->ignored_names ? "; not used: " : "", d->ignored_names);
    fprintf(f,
            "examples: %" PRId64 " from %" PRId64 " rows; %" PRId64 " bad rows skipped, %" PRId64
            " too long, %" PRId64 " without a token to predict\n",
            set->count, r->rows, r->skipped, r->dropped_long, r->dropped_empty);
    if (set->type == PLUMB_DATA_UNPAIRED)
        fprintf(f, "labels: %" PRId64 " desirable, %" PRId64 " undesirable\n", t->desirable,
                set->count - t->desirable);
    fprintf(f, "tokens: %" PRId64 ", %s %" PRId64 " (%.1f %%)\n", t->tokens,
            d->o.use == PLUMB_USE_REWARD ? "scored" : "trained on", t->trained,
            t->tokens ? 100.0 * (double)t->trained / (double)t->tokens : 0.0);
}

int plumb_dataset_show(FILE *f, const struct plumb_dataset *set, const struct plumb_text *text)
{
    const struct plumb_dataset_self *d = set->self;
    struct totals t;
    struct lengths l;
    const int rc = count_all(set, text, &l, &t);
    if (!rc) {
        show_totals(f, set, &t);
        fprintf(f, "  %-11s %6s %8s %8s %8s\n", "length", "least", "median", "95 %", "most");
        for (int k = 0; k < LENGTHS; k++)
            show_lengths(f, kind_name(set->type, k), l.of[k], l.n);
        if (d->report.truncated)
            fprintf(f, "cut to max_length %" PRId64 ": %" PRId64 " examples\n", d->o.max_length,
                    d->report.truncated);
        show_warnings(f, d, text, &t);
    }
    release(&l);
    return rc;
}

/* The width of a bin that is 1, 2 or 5 times a power of ten and lets BINS bins hold `most`. */
static int64_t bin_width(int64_t most)
{
    for (int64_t ten = 1;; ten *= 10)
        for (int64_t k = 1; k <= 5; k += k == 1 ? 1 : 3)
            if (most / (k * ten) < BINS) return k * ten;
}

static void show_histogram(FILE *f, const char *name, const int64_t *sorted, int64_t n)
{
    int64_t count[BINS] = { 0 }, highest = 1;
    if (sorted[n - 1] <= 0) return;
    const int64_t width = bin_width(sorted[n - 1]), last = sorted[n - 1] / width;
    for (int64_t i = 0; i < n; i++)
        if (sorted[i] >= 0) count[sorted[i] / width]++;
    for (int64_t b = 0; b <= last; b++)
        highest = count[b] > highest ? count[b] : highest;
    fprintf(f, "%s, tokens\n", name);
    for (int64_t b = 0; b <= last; b++) {
        fprintf(f, "  %6" PRId64 " - %-6" PRId64 " %7" PRId64 " ", b * width, (b + 1) * width - 1,
                count[b]);
        for (int64_t k = (count[b] * BAR + highest - 1) / highest; k > 0; k--)
            fputc('#', f);
        fputc('\n', f);
    }
}

/* An example's place and a hash of what is compared. */
struct key {
    uint64_t hash;
    int64_t index;
};

static uint64_t hash_ids(uint64_t h, const struct plumb_ids *ids)
{
    for (int64_t i = 0; i < ids->n; i++)
        h = (h ^ (uint32_t)ids->id[i]) * 1099511628211u;
    return (h ^ (uint64_t)ids->n) * 1099511628211u;
}

static int by_hash(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static bool same_rows(const struct plumb_example *a, const struct plumb_example *b, bool prompts)
{
    const int64_t sides = plumb_example_sides(a);
    if (!same_ids(&a->prompt, &b->prompt)) return false;
    if (prompts) return true;
    if (sides != plumb_example_sides(b) || a->label != b->label) return false;
    for (int64_t k = 0; k < sides; k++) {
        const struct plumb_ids x = plumb_example_side(a, k), y = plumb_example_side(b, k);
        if (!same_ids(&x, &y)) return false;
    }
    return true;
}

/* *out = examples that are like one before them, in all tokens or in those of the prompt. */
static int count_repeated(const struct plumb_dataset *set, struct key *key, bool prompts,
                          int64_t *out)
{
    struct plumb_example a, b;
    *out = 0;
    for (int64_t i = 0; i < set->count; i++) {
        PLUMB_TRY(set->get(set->self, i, &a));
        uint64_t h = hash_ids(14695981039346656037u, &a.prompt);
        for (int64_t k = 0; !prompts && k < plumb_example_sides(&a); k++) {
            const struct plumb_ids side = plumb_example_side(&a, k);
            h = hash_ids(h, &side);
        }
        key[i] = (struct key){ h, i };
    }
    qsort(key, (size_t)set->count, sizeof *key, by_hash);
    for (int64_t i = 1; i < set->count; i++) {
        if (key[i].hash != key[i - 1].hash) continue;
        PLUMB_TRY(set->get(set->self, key[i - 1].index, &a));
        PLUMB_TRY(set->get(set->self, key[i].index, &b));
        *out += same_rows(&a, &b, prompts);
    }
    return PLUMB_OK;
}

static int show_repeated(FILE *f, const struct plumb_dataset *set, bool prompted)
{
    int64_t rows, prompts = 0;
    struct key *key = malloc((size_t)set->count * sizeof *key);
    if (!key) return plumb_fail(PLUMB_EMEM, "could not allocate %" PRId64 " keys", set->count);
    int rc = count_repeated(set, key, false, &rows);
    if (!rc && prompted) rc = count_repeated(set, key, true, &prompts);
    free(key);
    if (rc) return rc;
    fprintf(f, "repeated rows: %" PRId64 "\n", rows);
    if (prompted) fprintf(f, "rows with a prompt met before: %" PRId64 "\n", prompts);
    return PLUMB_OK;
}

int plumb_dataset_show_stats(FILE *f, const struct plumb_dataset *set,
                             const struct plumb_text *text)
{
    const struct plumb_dataset_self *d = set->self;
    const struct plumb_dataset_report *r = &d->report;
    struct totals t;
    struct lengths l;
    int rc = count_all(set, text, &l, &t);
    if (!rc) {
        const bool prompted = l.of[PROMPT][l.n - 1] > 0;
        for (int k = 0; k < LENGTHS; k++)
            if (k != TOTAL || prompted) show_histogram(f, kind_name(set->type, k), l.of[k], l.n);
        rc = show_repeated(f, set, prompted);
    }
    release(&l);
    if (rc) return rc;
    if (set->type == PLUMB_DATA_PREFERENCE)
        fprintf(f, "pairs of equal sides: %" PRId64 "\n", t.equal);
    if (text) fprintf(f, "empty completions: %" PRId64 "\n", t.with[PLUMB_FAULT_EMPTY]);
    if (d->o.max_length > 0)
        fprintf(f,
                "rows over max_length %" PRId64 ": %" PRId64 " (%" PRId64 " cut, %" PRId64
                " dropped)\n",
                d->o.max_length, r->truncated + r->dropped_long, r->truncated, r->dropped_long);
    return PLUMB_OK;
}
