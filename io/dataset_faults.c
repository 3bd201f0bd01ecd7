/* Faults of tokenised examples. */
#include "io/dataset_faults.h"

#include <ctype.h>
#include <string.h>

const char *const plumb_fault_text[PLUMB_FAULTS] = {
    [PLUMB_FAULT_NO_EOS] = "no EOS at the end: the model does not learn to stop",
    [PLUMB_FAULT_TWO_EOS] = "two EOS at the end",
    [PLUMB_FAULT_TWO_BOS] = "two BOS at the start",
    [PLUMB_FAULT_INNER_BOS] = "BOS between prompt and completion",
    [PLUMB_FAULT_EMPTY] = "nothing but special tokens and white space",
};

int64_t plumb_example_sides(const struct plumb_example *e)
{
    int64_t n = 0;
    if (e->candidates) return e->candidates;
    while (n < 3 && e->completion[n].n)
        n++;
    return n;
}

struct plumb_ids plumb_example_side(const struct plumb_example *e, int64_t side)
{
    return e->candidates ? e->candidate[side] : e->completion[side];
}

const char *plumb_example_side_name(enum plumb_dataset_type t, int64_t side)
{
    static const char *const sides[] = { "chosen", "rejected", "reference" };
    if (t == PLUMB_DATA_PREFERENCE) return sides[side];
    return t == PLUMB_DATA_LANGUAGE_MODELING ? "text" : "completion";
}

int64_t plumb_first_trained(const struct plumb_dataset_self *d, const struct plumb_example *e,
                            int64_t side)
{
    if (d->o.use == PLUMB_USE_REWARD) return plumb_example_side(e, side).n - 1;
    return e->prompt.n > 0 ? 0 : 1;
}

int64_t plumb_count_trained(const struct plumb_dataset_self *d, const struct plumb_example *e,
                            int64_t side)
{
    const int64_t from = plumb_first_trained(d, e, side), n = plumb_example_side(e, side).n;
    int64_t count = n - from;
    for (int64_t i = from; side == 0 && e->trained && i < n; i++)
        count -= !e->trained[i];
    return count;
}

int64_t plumb_side_cut(const struct plumb_row *row, const struct plumb_example *e, int64_t side)
{
    return row->cut[e->candidates ? 0 : side];
}

static bool ends_with(const struct plumb_ids *ids, int32_t id, int64_t from_end)
{
    return id >= 0 && ids->n > from_end && ids->id[ids->n - 1 - from_end] == id;
}

/* Whether a completion brings EOS: at its end, or in a conversation anywhere, as templates write a
 * line's end behind it. */
static bool stops(const struct plumb_ids *c, int32_t eos, bool talks)
{
    for (int64_t i = 0; talks && i < c->n; i++)
        if (c->id[i] == eos) return true;
    return ends_with(c, eos, 0);
}

/* Whether a piece is white space, in any of the ways that vocabularies write it: as it is, as
 * U+2581, U+0120 or U+010A. */
static bool is_blank(const char *piece)
{
    static const char *const blanks[] = { "\xE2\x96\x81", "\xC4\xA0", "\xC4\x8A", "<0x0A>" };
    while (*piece) {
        size_t n = isspace((unsigned char)*piece) ? 1 : 0;
        for (size_t i = 0; !n && i < sizeof blanks / sizeof *blanks; i++)
            if (!strncmp(piece, blanks[i], strlen(blanks[i]))) n = strlen(blanks[i]);
        if (!n) return false;
        piece += n;
    }
    return true;
}

static bool is_empty(const struct plumb_text *text, const struct plumb_ids *c)
{
    for (int64_t i = 0; i < c->n; i++) {
        const char *piece = text->piece(text->self, c->id[i]);
        if (!text->is_special(text->self, c->id[i]) && piece && !is_blank(piece)) return false;
    }
    return true;
}

unsigned plumb_faults_of(const struct plumb_dataset_self *d, const struct plumb_text *text,
                         const struct plumb_example *e, const struct plumb_row *row, int64_t side)
{
    const struct plumb_ids *p = &e->prompt, c = plumb_example_side(e, side);
    const int32_t bos = text->bos_id, eos = text->eos_id;
    unsigned w = 0;
    if (!c.n) return 0;
    if (!plumb_side_cut(row, e, side) && !stops(&c, eos, d->talks)) w |= 1u << PLUMB_FAULT_NO_EOS;
    if (ends_with(&c, eos, 0) && ends_with(&c, eos, 1)) w |= 1u << PLUMB_FAULT_TWO_EOS;
    if (is_empty(text, &c)) w |= 1u << PLUMB_FAULT_EMPTY;
    if (bos < 0 || bos == eos) return w;
    const int32_t second = p->n > 1 ? p->id[1] : p->n == 0 && c.n > 1 ? c.id[1] : -1;
    if ((p->n ? p->id[0] : c.id[0]) == bos && second == bos) w |= 1u << PLUMB_FAULT_TWO_BOS;
    if (p->n && c.id[0] == bos) w |= 1u << PLUMB_FAULT_INNER_BOS;
    return w;
}
