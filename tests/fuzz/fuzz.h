/* What the fuzz targets share: the input cut into parts, files in memory, and a record of what a
 * target saw. */
#pragma once
#include <cJSON.h>
#include <plumb/base.h>

/* A target's one function: takes an input, returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct fuzz_part {
    const char *at;
    size_t n;
};
/* Takes what stands before the next byte 0xFF, which no UTF-8 has, off the front of *rest. */
struct fuzz_part fuzz_cut(struct fuzz_part *rest);

/* The folder of this process, in memory where the system has such; removed at exit. */
const char *fuzz_folder(void);
/* Puts a file into it; the path is valid until the fourth call from now. */
const char *fuzz_file(const char *name, struct fuzz_part content);

/* Whether a call went well. A fault must have a text. */
bool fuzz_good(int rc);
/* Records what a target read; NULL is nothing. */
void fuzz_note(const void *data, size_t n);
void fuzz_note_text(const char *text);
void fuzz_note_json(const cJSON *json); /* printing it may fail */

/* Records from here on. With `again`, compares instead: where a run first differs from the one
 * recorded, it must be in a fault. */
void fuzz_record(bool again);
/* What is wrong with the run, NULL = nothing. */
const char *fuzz_verdict(void);
