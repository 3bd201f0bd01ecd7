/* Checkpoints of a run: folders <output>/checkpoint-<step> with named arrays and a state text,
 * which appear whole or not at all. plumb_checkpoint.json lists the files with sizes and CRC-32; a
 * folder without it is no checkpoint. Other files (a model folder for transformers) may lie
 * beside. */
#pragma once
#include <cJSON.h>
#include <plumb/base.h>

struct plumb_checkpoint_writer {
    char *dir;    /* checkpoint-<step>.tmp, to write further files into */
    char *path;   /* what it will be called */
    int64_t step;
    cJSON *files; /* list so far */
};

/* Makes <output>/checkpoint-<step>.tmp (removing one left by a killed run). Exactly one of commit
 * and abort must follow; both leave a zeroed writer. After any failure the earlier checkpoints
 * stand as they were. */
int plumb_checkpoint_begin(struct plumb_checkpoint_writer *w, const char *output, int64_t step);
/* `count` elements of data as file <name>.bin; the name of letters, digits, '_', '-', '.'. */
int plumb_checkpoint_put(struct plumb_checkpoint_writer *w, const char *name,
                         enum plumb_dtype dtype, int64_t count, const void *data);
/* Lists a file that the caller wrote into w->dir, so that damage to it is found. Cost: reads it. */
int plumb_checkpoint_add(struct plumb_checkpoint_writer *w, const char *file);
/* Lists every file in w->dir that is not listed yet. */
int plumb_checkpoint_add_rest(struct plumb_checkpoint_writer *w);
/* Writes `state` as state.json, flushes to disk, renames; an older checkpoint of the same step is
 * replaced. */
int plumb_checkpoint_commit(struct plumb_checkpoint_writer *w, const char *state);
void plumb_checkpoint_abort(struct plumb_checkpoint_writer *w); /* takes a zeroed one */

struct plumb_checkpoint {
    char *path;
    int64_t step;
    cJSON *index;
};
/* Opens a checkpoint folder: every listed file must be there with its size. Memory: at most 48
 * times the index, plus 8 MiB. */
int plumb_checkpoint_open(struct plumb_checkpoint *c, const char *path);
void plumb_checkpoint_release(struct plumb_checkpoint *c); /* takes a zeroed one */
bool plumb_checkpoint_has(const struct plumb_checkpoint *c, const char *name);
/* out (count) of `dtype`, which must be what was put. A damaged file is an error that names it, and
 * `out` undefined. */
int plumb_checkpoint_get(const struct plumb_checkpoint *c, const char *name, enum plumb_dtype dtype,
                         int64_t count, void *out);
/* *text = the malloc'ed state. */
int plumb_checkpoint_state(const struct plumb_checkpoint *c, char **text);
/* Checks the contents of a file listed by plumb_checkpoint_add, or of all files but the arrays,
 * which plumb_checkpoint_get checks. */
int plumb_checkpoint_verify(const struct plumb_checkpoint *c, const char *file);
int plumb_checkpoint_verify_rest(const struct plumb_checkpoint *c);

/* The checkpoint of the highest step in `output` into path, "" without one. Unfinished folders are
 * passed over. */
int plumb_checkpoint_last(const char *output, char *path, size_t n);
/* Removes the oldest checkpoints until `keep` are left (0 = no limit), but never the last one or
 * the folder `except` (NULL = none), and what killed runs left unfinished. */
int plumb_checkpoint_prune(const char *output, int64_t keep, const char *except);
/* Removes the checkpoints of steps beyond `step` (-1 = all): a run that goes on from an earlier
 * one, or anew, has left their course. Unfinished ones go too. */
int plumb_checkpoint_forget(const char *output, int64_t step);
/* Removes a folder and all below it, links themselves and not their targets; no folder is fine. */
int plumb_folder_remove(const char *path);

#define PLUMB_CHECKPOINT_INDEX "plumb_checkpoint.json"
