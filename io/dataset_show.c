/* Prints examples of datasets for people. */
#include "io/dataset_show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/dataset_faults.h"

#define WIDTH 96
#define MARGIN "  | "
#define TRAINED "\033[32m"
#define SPECIAL "\033[1m"
#define PLAIN "\033[0m"

/* Where and how an example is printed. */
struct show {
    FILE *f;
    const struct plumb_dataset *set;
    const struct plumb_dataset_self *d;
    const struct plumb_text *text; /* NULL = none */
    const struct plumb_row *row;
    bool colour;
};

/* A part of it: ids, and which are trained on: those from `first` that the mask (NULL = all) has.
 */
struct part {
    struct plumb_ids ids;
    int64_t first;
    const int32_t *mask;
};

static bool trains(const struct part *p, int64_t i)
{
    return i >= p->first && (!p->mask || p->mask[i]);
}

/* Control characters and invalid bytes as \xNN; returns the columns used. With `margin` lines end
 * where the text's do, else \n stands for it. */
static int put_escaped(FILE *f, const char *s, size_t n, const char *margin)
{
    int columns = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i], next = i + 1 < n ? (unsigned char)s[i + 1] : 0;
        if (c == '\n') {
            columns += margin ? fprintf(f, "\n%s", margin) : fprintf(f, "\\n");
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

/* Which of BOS, EOS and PAD a token is, each behind `before`; returns the columns used. */
static int put_special_names(FILE *f, const struct plumb_text *text, int32_t id, const char *before,
                             const char *after)
{
    const struct {
        const char *name;
        int32_t id;
    } special[] = { { "BOS", text->bos_id }, { "EOS", text->eos_id }, { "PAD", text->pad_id } };
    int columns = 0;
    for (int i = 0; i < 3; i++)
        if (special[i].id == id) columns += fprintf(f, "%s%s%s", before, special[i].name, after);
    return columns;
}

/* "piece/id", as "[piece/id]" when trained on; returns the columns used. */
static int put_token(const struct show *o, int32_t id, bool trained)
{
    const struct plumb_text *text = o->text;
    const char *piece = text ? text->piece(text->self, id) : NULL;
    const bool colour = o->colour;
    FILE *f = o->f;
    int columns = 0;
    if (trained && !colour) columns += fprintf(f, "[");
    if (trained && colour) fputs(TRAINED, f);
    if (colour && text && text->is_special(text->self, id)) fputs(SPECIAL, f);
    if (piece) {
        columns += put_escaped(f, piece, strlen(piece), NULL);
        columns += fprintf(f, "/");
    }
    columns += fprintf(f, "%" PRId32, id);
    if (text) columns += put_special_names(f, text, id, "=", "");
    if (colour) fputs(PLAIN, f);
    if (trained && !colour) columns += fprintf(f, "]");
    return columns;
}

static void put_tokens(const struct show *o, const struct part *p)
{
    int at = WIDTH;
    for (int64_t i = 0; i < p->ids.n; i++) {
        if (at >= WIDTH - 12) {
            fprintf(o->f, "%s  ", i ? "\n" : "");
            at = 2;
        }
        at += 1 + put_token(o, p->ids.id[i], trains(p, i));
        fputc(' ', o->f);
    }
    if (p->ids.n) fputc('\n', o->f);
}

/* The text of ids [from, to): what they add to the token before them, as decoders write a first
 * token differently. malloc'ed; *skip bytes of it are that token's. */
static int text_of(const struct show *o, const struct plumb_ids *ids, int64_t from, int64_t to,
                   char **out, size_t *n, size_t *skip)
{
    const struct plumb_text *t = o->text;
    char *before = NULL;
    *skip = 0;
    if (from > 0) {
        PLUMB_TRY(t->decode(t->self, ids->id + from - 1, 1, false, &before, skip));
        int rc = t->decode(t->self, ids->id + from - 1, to - from + 1, false, out, n);
        const bool goes_on = !rc && *skip <= *n && !memcmp(before, *out, *skip);
        free(before);
        if (rc || goes_on) return rc;
        free(*out);
        *skip = 0;
    }
    return t->decode(t->self, ids->id + from, to - from, false, out, n);
}

/* A run of tokens that are shown alike: specials stand alone. */
static int put_run(const struct show *o, const struct part *p, int64_t from, int64_t to,
                   bool special)
{
    char *s = NULL;
    size_t n, skip;
    PLUMB_TRY(text_of(o, &p->ids, from, to, &s, &n, &skip));
    if (o->colour && trains(p, from)) fputs(TRAINED, o->f);
    if (o->colour && special) fputs(SPECIAL, o->f);
    put_escaped(o->f, s + skip, n - skip, MARGIN);
    if (special) put_special_names(o->f, o->text, p->ids.id[from], "{", "}");
    if (o->colour) fputs(PLAIN, o->f);
    free(s);
    return PLUMB_OK;
}

static int put_text(const struct show *o, const struct part *p)
{
    const struct plumb_ids *ids = &p->ids;
    const struct plumb_text *t = o->text;
    if (!t || !ids->n) return PLUMB_OK;
    fputs(MARGIN, o->f);
    for (int64_t i = 0, end; i < ids->n; i = end) {
        const bool special = t->is_special(t->self, ids->id[i]), trained = trains(p, i);
        for (end = i + 1; end < ids->n && !special; end++)
            if (trains(p, end) != trained || t->is_special(t->self, ids->id[end])) break;
        const bool opens = trained && (i == 0 || !trains(p, i - 1));
        const bool closes = trained && (end == ids->n || !trains(p, end));
        if (opens && !o->colour) fputs("[[", o->f);
        PLUMB_TRY(put_run(o, p, i, end, special));
        if (closes && !o->colour) fputs("]]", o->f);
    }
    fputc('\n', o->f);
    return PLUMB_OK;
}

static int put_part(const struct show *o, const struct part *p)
{
    PLUMB_TRY(put_text(o, p));
    put_tokens(o, p);
    return PLUMB_OK;
}

static int show_side(const struct show *o, const struct plumb_example *e, int64_t side)
{
    const struct plumb_dataset_self *d = o->d;
    const struct part p = { .ids = plumb_example_side(e, side),
                            .first = plumb_first_trained(d, e, side),
                            .mask = side == 0 ? e->trained : NULL };
    fputs(plumb_example_side_name(o->set->type, side), o->f);
    if (e->candidates) fprintf(o->f, " %" PRId64 ", score %g", side, e->score[side]);
    fprintf(o->f, ": %" PRId64 " tokens, %" PRId64 " %s", p.ids.n, plumb_count_trained(d, e, side),
            d->o.use == PLUMB_USE_REWARD ? "scored" : "trained on");
    if (!e->candidates && o->row->cut[side])
        fprintf(o->f, ", %" PRId64 " cut from the %s", o->row->cut[side],
                d->o.keep_end ? "start" : "end");
    fputc('\n', o->f);
    PLUMB_TRY(put_part(o, &p));
    const unsigned w = o->text ? plumb_faults_of(d, o->text, e, o->row, side) : 0;
    for (int i = 0; i < PLUMB_FAULTS; i++)
        if (w >> i & 1) fprintf(o->f, "  warning: %s\n", plumb_fault_text[i]);
    return PLUMB_OK;
}

static int show_prompt(const struct show *o, const struct plumb_example *e)
{
    const struct part p = { .ids = e->prompt, .first = e->prompt.n };
    fprintf(o->f, "prompt: %" PRId64 " tokens, not trained on", e->prompt.n);
    if (o->row->boundary)
        fprintf(o->f, ", %" PRId64 " more merged with the completion", o->row->boundary);
    fputc('\n', o->f);
    return put_part(o, &p);
}

static void show_numbers(const struct show *o, const struct plumb_example *e)
{
    FILE *f = o->f;
    if (e->candidates && o->row->cut[0])
        fprintf(f, "%" PRId64 " tokens cut from the ends of completions\n", o->row->cut[0]);
    if (o->row->straddled)
        fprintf(f, "%" PRId64 " tokens are only in part the assistant's\n", o->row->straddled);
    if (o->set->type == PLUMB_DATA_UNPAIRED)
        fprintf(f, "label: %s\n", e->label ? "desirable" : "undesirable");
    if (e->margin != 0) fprintf(f, "margin: %g\n", e->margin);
    if (e->has_ref_logps) {
        fprintf(f, "reference log-probs: %g", e->ref_logps[0]);
        if (o->set->type == PLUMB_DATA_PREFERENCE) fprintf(f, ", %g", e->ref_logps[1]);
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
    const struct show o = { f, set, d, text, plumb_dataset_row(d, index), colour };
    plumb_dataset_where(set, index, where, sizeof where);
    fprintf(f, "example %" PRId64 " (%s), %s\n", index, where, plumb_dataset_type_name(set->type));
    if (set->type != PLUMB_DATA_LANGUAGE_MODELING && d->o.use != PLUMB_USE_REWARD)
        PLUMB_TRY(show_prompt(&o, &e));
    for (int64_t side = 0; side < plumb_example_sides(&e); side++)
        PLUMB_TRY(show_side(&o, &e, side));
    if (e.kl_completion.n) {
        const struct part p = { .ids = e.kl_completion, .first = e.kl_completion.n };
        fprintf(f, "kl completion: %" PRId64 " tokens, not trained on\n", e.kl_completion.n);
        PLUMB_TRY(put_part(&o, &p));
    }
    show_numbers(&o, &e);
    return PLUMB_OK;
}
