/* Which tokens of a row are trained on: by a column that says so, or as the assistant's part of a
 * conversation, told by where they stand in its text. */
#include <inttypes.h>

#include "io/dataset_rows.h"

int plumb_row_read_mask(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                        enum plumb_column c, const struct plumb_idbuf *ids)
{
    int64_t at = 0;
    int32_t x = 0;
    d->mask.n = 0;
    for (const cJSON *v = s->column[c]->child; v; v = v->next, at++) {
        const bool is_label = c == PLUMB_COL_LABELS;
        if (at >= ids->n) break;
        PLUMB_TRY(plumb_row_read_id(d, s, c, v, at, -100, &x));
        const bool skip = x == (is_label ? -100 : 0);
        if (!skip && x != (is_label ? ids->id[at] : 1))
            return plumb_column_fault(d, s, c,
                                      "has %" PRId32 " as element %" PRId64 ": it wants %s", x, at,
                                      is_label ? "-100 or the element of input_ids" : "0 or 1");
        PLUMB_TRY(plumb_idbuf_push(&d->mask, !skip));
    }
    const int got = cJSON_GetArraySize(s->column[c]);
    if (got != ids->n)
        return plumb_column_fault(d, s, c, "has %d elements, input_ids %" PRId64, got, ids->n);
    return PLUMB_OK;
}

/* Whether a token stands for something of a span; a token of no text belongs where it stands. */
static bool within(const struct plumb_textspan *token, const int64_t *span)
{
    if (token->from == token->to) return token->from >= span[0] && token->from < span[1];
    return token->to > span[0] && token->from < span[1];
}

static int encode(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                  enum plumb_column c, const struct plumb_jinja_text *text, struct plumb_idbuf *out,
                  struct plumb_textspans *spans)
{
    const struct plumb_text *t = d->o.text;
    out->n = 0;
    const int rc = t->encode_spans(t->self, text->text, text->n, false, out, spans);
    if (rc == PLUMB_EMEM) return rc;
    if (rc) return plumb_column_fault(d, s, c, "cannot be tokenised: %s", plumb_errmsg());
    return plumb_row_check_ids(d, s, c, out);
}

int plumb_row_mark(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                   enum plumb_column c, const struct plumb_jinja_text *text,
                   struct plumb_idbuf *out)
{
    struct plumb_textspans spans = { 0 };
    int64_t at = 0, marked = 0;
    int rc = encode(d, s, c, text, out, &spans);
    d->mask.n = 0;
    for (int64_t i = 0; !rc && i < out->n; i++) {
        const struct plumb_textspan *token = &spans.at[i];
        while (at < text->spans && text->span[2 * at + 1] <= token->from)
            at++;
        const bool ours = at < text->spans && within(token, text->span + 2 * at);
        const bool in_part = ours && (token->from < text->span[2 * at] ||
                                      token->to > text->span[2 * at + 1]);
        marked += ours;
        d->straddled += in_part;
        rc = plumb_idbuf_push(&d->mask, ours);
    }
    plumb_textspans_release(&spans);
    if (!rc && !marked)
        rc = plumb_column_fault(d, s, c,
                                "has no assistant tokens, which assistant_only_loss trains on");
    return rc;
}
