/* Weights between files and a device: staged through host memory where the device has its own. */
#pragma once
#include "io/hf_model.h"
#include "runtime/model.h"

/* The most exact weights of `m` = those of the files; they are not yet in the compute dtype
 * (plumb_model_refresh). With
 * `new_score` a missing score head is left undefined. */
int plumb_model_read_files(const struct plumb_model *m, const struct plumb_hf_model *hf,
                           bool new_score);
int plumb_model_write_files(const struct plumb_model *m, const struct plumb_hf_model *hf,
                            const char *dir);
