/* Weights between files and a device. */
#include "tools/model_files.h"

#include "runtime/transfer.h"

int plumb_model_read_files(const struct plumb_model *m, const struct plumb_hf_model *hf,
                           bool new_score)
{
    struct plumb_stage s = { 0 };
    const struct plumb_tensor w = plumb_model_exact(m);
    int rc = plumb_stage_open(&s, &m->dev, w, m->elements, false);
    if (!rc) rc = plumb_hf_model_read(hf, w.dtype, s.host.data, new_score);
    if (!rc) rc = plumb_stage_send(&s);
    plumb_stage_release(&s);
    return rc;
}

int plumb_model_write_files(const struct plumb_model *m, const struct plumb_hf_model *hf,
                            const char *dir)
{
    struct plumb_stage s = { 0 };
    const struct plumb_tensor w = plumb_model_exact(m);
    int rc = plumb_stage_open(&s, &m->dev, w, m->elements, true);
    if (!rc) rc = plumb_hf_model_write(hf, dir, w.dtype, s.host.data, w.dtype);
    plumb_stage_release(&s);
    return rc;
}
