/* Walks the rows of dataset files beside the examples made of them. */
#include "tools/row_walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io/json.h"

/* The next row of the files; *found = false behind the last. A bad row, which the set passed over,
 * is a row. */
static int next_row(struct plumb_row_walk *w, struct plumb_jsonl_row *row, bool *found)
{
    for (;;) {
        if (!w->open) {
            *found = false;
            if (w->next_file == w->files->count) return PLUMB_OK;
            PLUMB_TRY(plumb_rowfile_open(&w->file, w->files->path[w->next_file++], 0));
            w->open = true;
        }
        const int rc = plumb_rowfile_next(&w->file, row, found);
        if (rc && w->file.finished) return rc;
        if (!rc && *found) return PLUMB_OK;
        if (rc) continue;
        plumb_rowfile_release(&w->file);
        w->open = false;
    }
}

int plumb_row_walk_to(struct plumb_row_walk *w, const struct plumb_dataset *set, int64_t index,
                      cJSON **row)
{
    char wanted[4352], here[4352];
    struct plumb_example e;
    struct plumb_jsonl_row text;
    bool found = true;
    *row = NULL;
    PLUMB_TRY(set->get(set->self, index, &e));
    plumb_dataset_where(set, index, wanted, sizeof wanted);
    for (;;) {
        PLUMB_TRY(next_row(w, &text, &found));
        if (!found) return plumb_fail(PLUMB_EIO, "%s: the row is gone", wanted);
        snprintf(here, sizeof here, "%s:%" PRId64, w->file.path, text.line);
        if (text.index == e.row && strcmp(here, wanted) == 0) break;
    }
    PLUMB_TRY(plumb_json_parse_at(text.text, text.n, w->file.path, text.line, row));
    return cJSON_IsObject(*row) ? PLUMB_OK : plumb_fail(PLUMB_EIO, "%s: the row changed", wanted);
}

void plumb_row_walk_release(struct plumb_row_walk *w)
{
    if (w->open) plumb_rowfile_release(&w->file);
    *w = (struct plumb_row_walk){ 0 };
}
