/* Which form a dataset's rows have, and their way into TRL's columns. */
#include "io/dataset_format.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/json.h"

static const struct {
    const char *name, *owner, *wants;
    enum plumb_format_shape (*shape)(enum plumb_dataset_use use, const cJSON *row);
    int (*map)(const struct plumb_format_row *r);
} formats[] = {
    [PLUMB_FORMAT_AUTO] = { .name = "auto" },
    [PLUMB_FORMAT_TRL] = { .name = "trl", .owner = "TRL's" },
    [PLUMB_FORMAT_OPENAI] = { "openai", "OpenAI's",
                              "messages, or input, preferred_output and non_preferred_output",
                              plumb_openai_shape, plumb_openai_map },
    [PLUMB_FORMAT_SHAREGPT] = { "sharegpt", "ShareGPT's",
                                "conversations (for pairs also chosen and rejected, for kto "
                                "kto_tag "
                                "or label)",
                                plumb_sharegpt_shape, plumb_sharegpt_map },
    [PLUMB_FORMAT_ALPACA] = { "alpaca", "Alpaca's",
                              "instruction and output (for pairs chosen and rejected, for kto also "
                              "kto_tag or label)",
                              plumb_alpaca_shape, plumb_alpaca_map },
};
enum { FORMATS = sizeof formats / sizeof *formats };

const char *plumb_dataset_format_name(enum plumb_dataset_format f) { return formats[f].name; }

int plumb_format_fault(const struct plumb_format_row *r, const char *name, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ": column \"%s\" (read as %s) %s", r->s->path,
                      r->s->line, name, formats[r->d->format].name, text);
}

int plumb_format_put_piece(const struct plumb_format_row *r, struct plumb_json_piece piece)
{
    struct plumb_dataset_self *d = r->d;
    if (d->mapped_bytes + piece.n > d->mapped_room) {
        const size_t room = 2 * (d->mapped_bytes + piece.n) + 1024;
        char *grown = realloc(d->mapped, room);
        if (!grown) return plumb_fail(PLUMB_EMEM, "could not allocate %zu bytes of a row", room);
        d->mapped = grown;
        d->mapped_room = room;
    }
    if (piece.n > 0) memcpy(d->mapped + d->mapped_bytes, piece.at, piece.n);
    d->mapped_bytes += piece.n;
    return PLUMB_OK;
}

int plumb_format_put(const struct plumb_format_row *r, const char *text)
{
    return plumb_format_put_piece(r, (struct plumb_json_piece){ text, strlen(text) });
}

int plumb_format_put_message(const struct plumb_format_row *r, const char *role,
                             struct plumb_json_piece content)
{
    PLUMB_TRY(plumb_format_put(r, "{\"role\":\""));
    PLUMB_TRY(plumb_format_put(r, role));
    PLUMB_TRY(plumb_format_put(r, "\",\"content\":"));
    PLUMB_TRY(plumb_format_put_piece(r, content));
    return plumb_format_put(r, "}");
}

bool plumb_format_has_text(const cJSON *row, const char *name)
{
    const cJSON *v = plumb_json_get(row, name);
    return cJSON_IsString(v) && v->valuestring[0];
}

const cJSON *plumb_format_text(const struct plumb_format_row *r, const char *name,
                               struct plumb_json_piece *piece)
{
    const cJSON *v = plumb_json_piece_of(r->json, r->text, name, piece);
    if (cJSON_IsString(v)) return v;
    plumb_format_fault(r, name, "wants text, got %s", plumb_json_type(v));
    return NULL;
}

int plumb_format_put_label(const struct plumb_format_row *r)
{
    struct plumb_json_piece a, b;
    const cJSON *label = plumb_json_piece_of(r->json, r->text, "label", &a);
    const cJSON *tag = plumb_json_piece_of(r->json, r->text, "kto_tag", &b);
    if (!label == !tag)
        return plumb_format_fault(r, "label",
                                  "wants one of label and kto_tag, which is true or "
                                  "false");
    PLUMB_TRY(plumb_format_put(r, ",\"label\":"));
    return plumb_format_put_piece(r, label ? a : b);
}

enum plumb_format_shape plumb_format_shape_of(enum plumb_dataset_use use, const cJSON *row,
                                              bool pair, bool whole)
{
    const bool labelled = plumb_json_get(row, "label") || plumb_json_get(row, "kto_tag");
    const enum plumb_format_shape pairs = pair ? PLUMB_SHAPE_PAIR : PLUMB_SHAPE_NONE;
    const enum plumb_format_shape unpaired = labelled && whole ? PLUMB_SHAPE_UNPAIRED : pairs;
    switch (use) {
    case PLUMB_USE_ANY:
        return unpaired != PLUMB_SHAPE_NONE ? unpaired
               : whole                      ? PLUMB_SHAPE_TALK
                                            : PLUMB_SHAPE_NONE;
    case PLUMB_USE_SFT: return whole ? PLUMB_SHAPE_TALK : PLUMB_SHAPE_NONE;
    case PLUMB_USE_PREFERENCE:
    case PLUMB_USE_REWARD: return pairs;
    case PLUMB_USE_TRIPLES:
        return pair && plumb_json_get(row, "reference") ? PLUMB_SHAPE_TRIPLE : PLUMB_SHAPE_NONE;
    case PLUMB_USE_UNPAIRED: return unpaired;
    case PLUMB_USE_PROMPTS: return PLUMB_SHAPE_PROMPT;
    case PLUMB_USE_LISTS: return PLUMB_SHAPE_NONE;
    }
    return PLUMB_SHAPE_NONE;
}

/* The row's columns as "a, b", cut to n bytes. */
static void name_columns(const cJSON *row, char *out, size_t n)
{
    size_t at = 0;
    out[0] = 0;
    for (const cJSON *v = row->child; v && at < n; v = v->next)
        at += (size_t)snprintf(out + at, n - at, "%s%s", at ? ", " : "", v->string);
}

static int two_readings(const struct plumb_row_source *s, const cJSON *row,
                        const bool fits[FORMATS])
{
    char columns[256], owners[96] = "", names[96] = "";
    name_columns(row, columns, sizeof columns);
    for (int f = PLUMB_FORMAT_TRL; f < FORMATS; f++) {
        if (!fits[f]) continue;
        const char * or = owners[0] ? " or " : "";
        snprintf(owners + strlen(owners), sizeof owners - strlen(owners), "%s%s", or,
                 formats[f].owner);
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", or, formats[f].name);
    }
    return plumb_fail(PLUMB_EINVAL,
                      "%s:%" PRId64 ": columns \"%s\" can be read as %s: say which with "
                      "--dataset_format %s",
                      s->path, s->line, columns, owners, names);
}

static int check_asked(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                       const cJSON *row)
{
    char columns[256];
    d->format = d->o.format;
    if (d->format == PLUMB_FORMAT_TRL) return PLUMB_OK;
    d->shape = formats[d->format].shape(d->o.use, row);
    if (d->shape != PLUMB_SHAPE_NONE) return PLUMB_OK;
    name_columns(row, columns, sizeof columns);
    return plumb_fail(PLUMB_EINVAL,
                      "%s:%" PRId64 ": columns \"%s\" do not fit --dataset_format %s: wanted %s",
                      s->path, s->line, columns, formats[d->format].name, formats[d->format].wants);
}

int plumb_format_choose(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                        const cJSON *row)
{
    bool fits[FORMATS] = { false };
    int count = 0;
    if (d->o.format != PLUMB_FORMAT_AUTO) return check_asked(d, s, row);
    d->format = PLUMB_FORMAT_TRL;
    fits[PLUMB_FORMAT_TRL] = plumb_columns_fit(d, row);
    count = fits[PLUMB_FORMAT_TRL];
    for (int f = PLUMB_FORMAT_OPENAI; f < FORMATS; f++) {
        const enum plumb_format_shape shape = formats[f].shape(d->o.use, row);
        /* OpenAI's messages are TRL's. */
        fits[f] = shape != PLUMB_SHAPE_NONE &&
                  !(f == PLUMB_FORMAT_OPENAI && plumb_json_get(row, "messages"));
        if (!fits[f]) continue;
        count++;
        d->format = f;
        d->shape = shape;
    }
    return count > 1 ? two_readings(s, row, fits) : PLUMB_OK;
}

/* Columns that mean the same in every form. */
static int put_common(const struct plumb_format_row *r)
{
    static const char *const names[] = {
        "margin", "ref_chosen_logps",    "ref_rejected_logps", "ref_logps",
        "tools",  "chat_template_kwargs"
    };
    struct plumb_json_piece piece;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!plumb_json_piece_of(r->json, r->text, names[i], &piece)) continue;
        PLUMB_TRY(plumb_format_put(r, ",\""));
        PLUMB_TRY(plumb_format_put(r, names[i]));
        PLUMB_TRY(plumb_format_put(r, "\":"));
        PLUMB_TRY(plumb_format_put_piece(r, piece));
    }
    return PLUMB_OK;
}

int plumb_format_map(struct plumb_dataset_self *d, const struct plumb_row_source *s,
                     const cJSON *row)
{
    const size_t mark = s->n >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    const struct plumb_format_row r = { d, s, row, { s->text + mark, s->n - mark } };
    d->mapped_bytes = 0;
    PLUMB_TRY(plumb_format_put(&r, "{"));
    PLUMB_TRY(formats[d->format].map(&r));
    PLUMB_TRY(put_common(&r));
    return plumb_format_put(&r, "}");
}
