/* Prints datasets for people. */
#include "io/dataset_show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/dataset_rows.h"

#define WIDTH 96
#define TEXT_SHOWN 400 /* bytes of decoded text */
#define TRAINED "\033[32m"
#define SPECIAL "\033[1m"
#define PLAIN "\033[0m"

static bool ends_with(const struct plumb_ids *ids, int32_t id, int64_t from_end)
{
    return id >= 0 && ids->n > from_end && ids->id[ids->n - 1 - from_end] == id;
}

/* Control characters and invalid bytes as \xNN; returns the columns used. */
static int put_escaped(FILE *f, const char *s, size_t n)
{
    int columns = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i], next = i + 1 < n ? (unsigned char)s[i + 1] : 0;
        if (c == '\n') {
            columns += fprintf(f, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            columns += fprintf(f, "\\x%02x", c);
        } else if (c == 0xC2 && next >= 0x80 && next < 0xA0) {
            columns += fprintf(f, "\\x%02x", next);
            i++;
        } else {
            fputc(c, f);
            columns += (c & 0xC0) != 0x80;
        }
    }
    return columns;
}

static int put_special_names(FILE *f, const struct plumb_text *text, int32_t id)
{
    const struct {
        const char *name;
        int32_t id;
    } special[] = { { "BOS", text->bos_id }, { "EOS", text->eos_id }, { "PAD", text->pad_id } };
    int columns = 0;
    for (int i = 0; i < 3; i++)
        if (special[i].id == id) columns += fprintf(f, "=%s", special[i].name);
    return columns;
}

/* "piece/id", as "[piece/id]" when trained on; returns the columns used. */
static int put_token(FILE *f, const struct plumb_text *text, int32_t id, bool trained, bool colour)
{
    const char *piece = text ? text->piece(text->self, id) : NULL;
    int columns = 0;
    if (trained && !colour) columns += fprintf(f, "[");
    if (trained && colour) fputs(TRAINED, f);
    if (colour && text && text->is_special(text->self, id)) fputs(SPECIAL, f);
    if (piece) {
        columns += put_escaped(f, piece, strlen(piece));
        columns += fprintf(f, "/");
    }
    columns += fprintf(f, "%" PRId32, id);
    if (text) columns += put_special_names(f, text, id);
    if (colour) fputs(PLAIN, f);
    if (trained && !colour) columns += fprintf(f, "]");
    return columns;
}

/* Tokens from `first_trained` on are trained on, but for those that the mask (NULL = none) leaves
 * out. */
static void put_tokens(FILE *f, const struct plumb_text *text, const struct plumb_ids *ids,
                       int64_t first_trained, const int32_t *mask, bool colour)
{
    int at = WIDTH;
    for (int64_t i = 0; i < ids->n; i++) {
        if (at >= WIDTH - 12) {
            fprintf(f, "%s  ", i ? "\n" : "");
            at = 2;
        }
        at += 1 + put_token(f, text, ids->id[i], i >= first_trained && (!mask || mask[i]),
                            colour);
        fputc(' ', f);
    }
    if (ids->n) fputc('\n', f);
}

static int put_text(FILE *f, const struct plumb_text *text, const struct plumb_ids *ids)
{
    char *decoded = NULL;
    size_t n = 0;
    if (!text || !ids->n) return PLUMB_OK;
    PLUMB_TRY(text->decode(text->self, ids->id, ids->n, false, &decoded, &n));
    size_t shown = n < TEXT_SHOWN ? n : TEXT_SHOWN;
    while (shown > 0 && shown < n && ((unsigned char)decoded[shown] & 0xC0) == 0x80)
        shown--;
    fputs("  \"", f);
    put_escaped(f, decoded, shown);
    fprintf(f, "\"%s\n", shown < n ? " ..." : "");
    free(decoded);
    return PLUMB_OK;
}

enum warning { NO_EOS, TWO_EOS, TWO_BOS, INNER_BOS, WARNINGS };

static const char *const warning_text[WARNINGS] = {
    [NO_EOS] = "no EOS at the end: the model does not learn to stop",
    [TWO_EOS] = "two EOS at the end",
    [TWO_BOS] = "two BOS at the start",
    [INNER_BOS] = "BOS between prompt and completion",
};

/* Whether a completion brings EOS: at its end, or in a conversation anywhere, as templates write a
 * line's end behind it. */
static bool stops(const struct plumb_ids *c, int32_t eos, bool talks)
{
    for (int64_t i = 0; talks && i < c->n; i++)
        if (c->id[i] == eos) return true;
    return ends_with(c, eos, 0);
}

/* Bits of enum warning for one completion. */
static unsigned warnings_of(const struct plumb_dataset_self *d, const struct plumb_text *text,
                            const struct plumb_example *e, int side, bool was_cut)
{
    const struct plumb_ids *p = &e->prompt, *c = &e->completion[side];
    const int32_t bos = text->bos_id, eos = text->eos_id;
    unsigned w = 0;
    if (!c->n) return 0;
    if (!was_cut && !stops(c, eos, d->talks)) w |= 1u << NO_EOS;
    if (ends_with(c, eos, 0) && ends_with(c, eos, 1)) w |= 1u << TWO_EOS;
    if (bos < 0 || bos == eos) return w;
    const int32_t second = p->n > 1 ? p->id[1] : p->n == 0 && c->n > 1 ? c->id[1] : -1;
    if ((p->n ? p->id[0] : c->id[0]) == bos && second == bos) w |= 1u << TWO_BOS;
    if (p->n && c->id[0] == bos) w |= 1u << INNER_BOS;
    return w;
}

/* The first token of a completion that the loss sees. */
static int64_t first_trained(const struct plumb_dataset_self *d, const struct plumb_example *e,
                             int side)
{
    if (d->o.use == PLUMB_USE_REWARD) return e->completion[side].n - 1;
    return e->prompt.n > 0 ? 0 : 1;
}

static int64_t count_trained(const struct plumb_dataset_self *d, const struct plumb_example *e,
                             int side)
{
    const int64_t from = first_trained(d, e, side);
    int64_t n = e->completion[side].n - from;
    for (int64_t i = from; side == 0 && e->trained && i < e->completion[0].n; i++)
        n -= !e->trained[i];
    return n;
}

static const char *completion_name(enum plumb_dataset_type t, int side)
{
    static const char *const sides[] = { "chosen", "rejected", "reference" };
    if (t == PLUMB_DATA_PREFERENCE) return sides[side];
    if (t == PLUMB_DATA_RANKED) return "completions"; /* all of an example */
    return t == PLUMB_DATA_LANGUAGE_MODELING ? "text" : "completion";
}

static int show_completion(FILE *f, const struct plumb_dataset *set, const struct plumb_text *text,
                           const struct plumb_example *e, const struct plumb_row *row, int side,
                           bool colour)
{
    const struct plumb_dataset_self *d = set->self;
    const struct plumb_ids *c = &e->completion[side];
    const int64_t from = first_trained(d, e, side);
    fprintf(f, "%s: %" PRId64 " tokens, %" PRId64 " %s", completion_name(set->type, side), c->n,
            count_trained(d, e, side), d->o.use == PLUMB_USE_REWARD ? "scored" : "trained on");
    if (row->cut[side])
        fprintf(f, ", %" PRId64 " cut from the %s", row->cut[side],
                d->o.keep_end ? "start" : "end");
    fputc('\n', f);
    put_tokens(f, text, c, from, side == 0 ? e->trained : NULL, colour);
    PLUMB_TRY(put_text(f, text, c));
    const unsigned w = text ? warnings_of(d, text, e, side, row->cut[side] > 0) : 0;
    for (int i = 0; i < WARNINGS; i++)
        if (w >> i & 1) fprintf(f, "  warning: %s\n", warning_text[i]);
    return PLUMB_OK;
}

static int show_candidates(FILE *f, const struct plumb_text *text, const struct plumb_example *e,
                           const struct plumb_row *row, bool colour)
{
    const int64_t from = e->prompt.n > 0 ? 0 : 1;
    for (int64_t k = 0; k < e->candidates; k++) {
        const struct plumb_ids *c = &e->candidate[k];
        fprintf(f, "completion %" PRId64 ", score %g: %" PRId64 " tokens, %" PRId64 " trained on\n",
                k, e->score[k], c->n, c->n - from);
        put_tokens(f, text, c, from, NULL, colour);
        PLUMB_TRY(put_text(f, text, c));
    }
    if (row->cut[0])
        fprintf(f, "%" PRId64 " tokens cut from the ends of completions\n", row->cut[0]);
    return PLUMB_OK;
}

static void show_numbers(FILE *f, const struct plumb_dataset *set, const struct plumb_example *e)
{
    if (set->type == PLUMB_DATA_UNPAIRED)
        fprintf(f, "label: %s\n", e->label ? "desirable" : "undesirable");
    if (e->margin != 0) fprintf(f, "margin: %g\n", e->margin);
    if (e->has_ref_logps) {
        fprintf(f, "reference log-probs: %g", e->ref_logps[0]);
        if (set->type == PLUMB_DATA_PREFERENCE) fprintf(f, ", %g", e->ref_logps[1]);
        fputc('\n', f);
    }
}

int plumb_dataset_show_example(FILE *f, const struct plumb_dataset *set,
                               const struct plumb_text *text, int64_t index, bool colour)
{
    const struct plumb_dataset_self *d = set->self;
    struct plumb_example e;
    char where[512];
    PLUMB_TRY(set->get(set->self, index, &e));
    const struct plumb_row *row = &d->rows.row[index];
    plumb_dataset_where(set, index, where, sizeof where);
    fprintf(f, "example %" PRId64 " (%s), %s\n", index, where, plumb_dataset_type_name(set->type));
    if (set->type != PLUMB_DATA_LANGUAGE_MODELING && d->o.use != PLUMB_USE_REWARD) {
        fprintf(f, "prompt: %" PRId64 " tokens, not trained on", e.prompt.n);
        if (row->boundary)
            fprintf(f, ", %" PRId64 " more merged with the completion", row->boundary);
        fputc('\n', f);
        put_tokens(f, text, &e.prompt, e.prompt.n, NULL, colour);
        PLUMB_TRY(put_text(f, text, &e.prompt));
    }
    for (int side = 0; side < 3; side++)
        if (e.completion[side].n) PLUMB_TRY(show_completion(f, set, text, &e, row, side, colour));
    if (e.candidates) PLUMB_TRY(show_candidates(f, text, &e, row, colour));
    if (e.kl_completion.n) {
        fprintf(f, "kl completion: %" PRId64 " tokens, not trained on\n", e.kl_completion.n);
        put_tokens(f, text, &e.kl_completion, e.kl_completion.n, NULL, colour);
    }
    show_numbers(f, set, &e);
    return PLUMB_OK;
}

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void show_lengths(FILE *f, const char *name, int64_t *length, int64_t n)
{
    qsort(length, (size_t)n, sizeof *length, by_size);
    if (length[n - 1] == 0) return;
    fprintf(f, "  %-11s %6" PRId64 " %8" PRId64 " %8" PRId64 " %8" PRId64 "\n", name, length[0],
            length[(n * 50 + 99) / 100 - 1], length[(n * 95 + 99) / 100 - 1], length[n - 1]);
}

struct totals {
    int64_t tokens, trained, desirable;
    int64_t with[WARNINGS]; /* completions with each warning */
};

/* Fills length[0..3] (prompt, completions) for every example. */
static int count_all(const struct plumb_dataset *set, const struct plumb_text *text,
                     int64_t *length[4], struct totals *t)
{
    const struct plumb_dataset_self *d = set->self;
    struct plumb_example e;
    for (int64_t i = 0; i < set->count; i++) {
        PLUMB_TRY(set->get(set->self, i, &e));
        t->tokens += length[0][i] = e.prompt.n;
        t->desirable += e.label;
        for (int64_t k = 0; k < e.candidates; k++)
            length[1][i] += e.candidate[k].n;
        t->tokens += length[1][i];
        t->trained += length[1][i] - (e.prompt.n > 0 ? 0 : e.candidates);
        for (int side = 0; side < (e.candidates ? 0 : 3); side++) {
            const int64_t n = length[1 + side][i] = e.completion[side].n;
            t->tokens += n;
            if (n) t->trained += count_trained(d, &e, side);
            const unsigned w = text ? warnings_of(d, text, &e, side, d->rows.row[i].cut[side] > 0)
                                    : 0;
            for (int k = 0; k < WARNINGS; k++)
                t->with[k] += w >> k & 1;
        }
    }
    return PLUMB_OK;
}

static void show_totals(FILE *f, const struct plumb_dataset *set, const struct plumb_text *text,
                        int64_t *length[4], const struct totals *t)
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
    fprintf(f, "  %-11s %6s %8s %8s %8s\n", "length", "least", "median", "95 %", "most");
    show_lengths(f, "prompt", length[0], set->count);
    for (int side = 0; side < 3; side++)
        show_lengths(f, completion_name(set->type, side), length[1 + side], set->count);
    if (r->truncated)
        fprintf(f, "cut to max_length %" PRId64 ": %" PRId64 " examples\n", d->o.max_length,
                r->truncated);
    if (r->boundary)
        fprintf(f, "warning: %" PRId64 " prompts end inside a token of their completion\n",
                r->boundary);
    for (int k = 0; k < WARNINGS; k++)
        if (t->with[k])
            fprintf(f, "warning: %" PRId64 " sequences: %s\n", t->with[k], warning_text[k]);
    if (text && text->pad_id >= 0 && text->pad_id == text->eos_id)
        fprintf(f,
                "warning: padding and EOS are one id (%" PRId32 "): trainers that mask padding "
                "never train on it (Plumb does not pad)\n",
                text->pad_id);
}

int plumb_dataset_show(FILE *f, const struct plumb_dataset *set, const struct plumb_text *text)
{
    struct totals t = { 0 };
    int64_t *all = calloc((size_t)set->count * 4, sizeof *all);
    if (!all) return plumb_fail(PLUMB_EMEM, "could not allocate %" PRId64 " lengths", set->count);
    int64_t *length[4];
    for (int i = 0; i < 4; i++)
        length[i] = all + i * set->count;
    const int rc = count_all(set, text, length, &t);
    if (!rc) show_totals(f, set, text, length, &t);
    free(all);
    return rc;
}
