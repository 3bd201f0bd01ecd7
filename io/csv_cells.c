/* Cells of a CSV record as values of JSON, by the names of their columns. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/csv.h"
#include "io/json.h"
#include "io/json_scan.h"
#include "io/utf8.h"

/* Names as docs/data.md lists them; each list is closed by an empty one. */
static const char json_names[] =
    "messages\0conversations\0tools\0chat_template_kwargs\0completions\0scores\0history\0"
    "preferred_output\0non_preferred_output\0input_ids\0labels\0completion_mask\0prompt_ids\0"
    "completion_ids\0completions_ids\0chosen_ids\0rejected_ids\0reference_ids\0"
    "kl_completion_ids\0KL_completion_ids\0";
static const char number_names[] = "margin\0ref_chosen_logps\0ref_rejected_logps\0ref_logps\0";
static const char label_names[] = "label\0kto_tag\0";
static const char talk_names[] = "text\0prompt\0completion\0chosen\0rejected\0reference\0input\0";

static bool is_among(const char *names, const char *name)
{
    for (; *names; names += strlen(names) + 1)
        if (strcmp(names, name) == 0) return true;
    return false;
}

void plumb_csv_name_kinds(struct plumb_csv *r)
{
    for (int k = 0; k < r->columns; k++) {
        const char *name = r->column[k].name;
        r->column[k].kind = !*name                         ? PLUMB_CSV_NONE
                            : is_among(json_names, name)   ? PLUMB_CSV_JSON
                            : is_among(number_names, name) ? PLUMB_CSV_NUMBER
                            : is_among(label_names, name)  ? PLUMB_CSV_LABEL
                            : is_among(talk_names, name)   ? PLUMB_CSV_TALK
                                                           : PLUMB_CSV_TEXT;
    }
}

static int fault(const struct plumb_csv *r, int k, const char *what)
{
    return plumb_fail(PLUMB_EFORMAT, "%s:%" PRId64 ":%" PRId64 ": column \"%s\" %s", r->path,
                      r->cell[k].line, r->cell[k].column, r->column[k].name, what);
}

/* Messages, a message (ShareGPT's chosen), or what holds messages (OpenAI's input): as JSON. */
static bool holds_talk(const char *text, size_t n)
{
    static const char *const marks[] = { "role", "from", "messages" };
    cJSON *json = NULL;
    bool found = false;
    if (n == 0 || (text[0] != '[' && text[0] != '{')) return false;
    if (plumb_json_parse(text, n, "a cell", &json) == PLUMB_OK) {
        const cJSON *v = cJSON_IsArray(json) ? json->child : json;
        for (int i = 0; i < 3; i++)
            found = found || plumb_json_get(v, marks[i]);
    }
    cJSON_Delete(json);
    plumb_errclear();
    return found;
}

static int put(struct plumb_csv *r, const char *bytes, size_t n)
{
    PLUMB_TRY(plumb_csv_room(r, &r->json, &r->json_room, r->json_bytes, n));
    memcpy(r->json + r->json_bytes, bytes, n);
    r->json_bytes += n;
    return PLUMB_OK;
}

static int put_string(struct plumb_csv *r, const char *text, size_t n)
{
    char escape[8];
    PLUMB_TRY(put(r, "\"", 1));
    for (size_t i = 0, plain = 0; i <= n; i++) {
        const unsigned char c = i < n ? (unsigned char)text[i] : 0;
        if (i < n && c >= 0x20 && c != '"' && c != '\\') continue;
        PLUMB_TRY(put(r, text + plain, i - plain));
        plain = i + 1;
        if (i == n) break;
        const int e = c < 0x20 ? snprintf(escape, sizeof escape, "\\u%04x", c)
                               : snprintf(escape, sizeof escape, "\\%c", c);
        PLUMB_TRY(put(r, escape, (size_t)e));
    }
    return put(r, "\"", 1);
}

static int put_label(struct plumb_csv *r, int k, const char *text, size_t n)
{
    static const char yes[] = "true\0True\0TRUE\0001\0", no[] = "false\0False\0FALSE\0000\0";
    char word[8] = "";
    if (n < sizeof word) memcpy(word, text, n);
    if (!is_among(yes, word) && !is_among(no, word))
        return fault(r, k, "wants true or false, or 1 or 0");
    return is_among(yes, word) ? put(r, "true", 4) : put(r, "false", 5);
}

static int put_number(struct plumb_csv *r, int k, const char *text, size_t n)
{
    const bool starts = text[0] == '-' || (text[0] >= '0' && text[0] <= '9');
    const bool ends = text[n - 1] >= '0' && text[n - 1] <= '9'; /* no space behind it */
    if (!starts || !ends || plumb_json_scan(text, n, "a cell", 1) != PLUMB_OK)
        return fault(r, k, "wants a number");
    return put(r, text, n);
}

static int put_json(struct plumb_csv *r, int k, const char *text, size_t n)
{
    const int rc = plumb_json_scan(text, n, "its JSON", 1);
    if (rc == PLUMB_EMEM) return rc;
    if (!rc) return put(r, text, n);
    char why[256];
    snprintf(why, sizeof why, "wants JSON, as its name says: %s", plumb_errmsg());
    return fault(r, k, why);
}

static int put_cell(struct plumb_csv *r, int k)
{
    const struct plumb_csv_cell *cell = &r->cell[k];
    const char *text = r->cells + cell->at;
    const enum plumb_csv_kind kind = r->column[k].kind;
    if (cell->n > 0 && memchr(text, 0, cell->n)) return fault(r, k, "has a NUL byte");
    if (plumb_utf8_valid(text, cell->n) != cell->n) return fault(r, k, "has invalid UTF-8");
    if (kind == PLUMB_CSV_TEXT || kind == PLUMB_CSV_TALK) return put_string(r, text, cell->n);
    if (cell->n == 0) return put(r, "null", 4);
    if (kind == PLUMB_CSV_LABEL) return put_label(r, k, text, cell->n);
    if (kind == PLUMB_CSV_NUMBER) return put_number(r, k, text, cell->n);
    return put_json(r, k, text, cell->n);
}

/* Columns that may hold either are what the first record has in them. */
static void settle_kinds(struct plumb_csv *r)
{
    for (int k = 0; k < r->columns; k++)
        if (r->column[k].kind == PLUMB_CSV_TALK)
            r->column[k].kind = holds_talk(r->cells + r->cell[k].at, r->cell[k].n) ? PLUMB_CSV_JSON
                                                                                   : PLUMB_CSV_TEXT;
    r->typed = true;
}

int plumb_csv_write_row(struct plumb_csv *r)
{
    bool first = true;
    r->json_bytes = 0;
    if (!r->typed) settle_kinds(r);
    PLUMB_TRY(put(r, "{", 1));
    for (int k = 0; k < r->columns; k++) {
        if (r->column[k].kind == PLUMB_CSV_NONE) continue;
        if (!first) PLUMB_TRY(put(r, ",", 1));
        first = false;
        PLUMB_TRY(put_string(r, r->column[k].name, strlen(r->column[k].name)));
        PLUMB_TRY(put(r, ":", 1));
        PLUMB_TRY(put_cell(r, k));
    }
    return put(r, "}", 1);
}
