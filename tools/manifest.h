/* manifest.json of a run: what made it. Two runs with equal manifests (time and paths aside)
 * give equal bits. */
#pragma once
#include "io/weights.h"
#include "tools/options.h"

struct plumb_manifest {
    const char *command;                                  /* "dpo" */
    const struct plumb_options *options;                  /* as parsed */
    uint64_t model_hash, dataset_hash, eval_dataset_hash; /* 0 = there is none */
    bool keeps_eval; /* checkpoints hold results for the evaluation rows */
};

/* Names this build of the program: of one length, or "". */
void plumb_manifest_build(char out[44]);
/* A hash of the tensors' names, dtypes, shapes and bytes. Reads all of them: memory speed. */
uint64_t plumb_manifest_hash_weights(const struct plumb_weights *w);
/* Writes the manifest, whole or not at all: versions of this program, its build, compiler and
 * libraries, processor and instruction set, threads, time, options, hashes. */
int plumb_manifest_write(const struct plumb_manifest *m, const char *path);
/* Holds the manifest of a run that is to be continued against `m`. Fails with PLUMB_EINVAL when
 * the training data differ (the place in the data would mean other rows), or the evaluation data
 * where checkpoints hold results for them; everything else that may change numbers is a warning
 * naming both values. */
int plumb_manifest_compare(const struct plumb_manifest *m, const char *path);
