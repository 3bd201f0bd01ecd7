/* safetensors (https://huggingface.co/docs/safetensors): an 8-byte header length, a JSON table of
 * tensors, their bytes. */
#pragma once
#include "io/weights.h"

/* Opens a file, a model.safetensors.index.json with its shards, or a model folder holding either;
 * memory-mapped, so opening costs the table only. Everything in the table is checked: the tensors
 * cover the data without overlap or gap, sizes match shapes, dtypes are known. `read` serves F64,
 * F32, F16, BF16, the three kinds of F8, and whole numbers up to 2^53, exactly. Pickled weights are
 * refused (pickle.h). Memory: at most 48 times the table, plus 8 MiB. A zeroed *w after a failure.
 */
int plumb_safetensors_open(struct plumb_weights *w, const char *path);

/* Writes all tensors of `from` as `dtype` (F32, BF16, F16 or F64; PLUMB_DTYPES = each as its own
 * `dtype` says) to one file, whole or not at all. */
int plumb_safetensors_write(const char *path, const struct plumb_weights *from,
                            enum plumb_dtype dtype);
/* The same into folder `dir`: model.safetensors, or numbered shards of at most `shard_bytes` (0 =
 * 5 GB; a larger tensor has its own) with an index. An index or single file of an earlier save is
 * removed. */
int plumb_safetensors_write_folder(const char *dir, const struct plumb_weights *from,
                                   enum plumb_dtype dtype, int64_t shard_bytes);
/* What a tensor whose dtype has this name is kept as: the four that are written, F32 for others. */
enum plumb_dtype plumb_safetensors_keeps(const char *name);
