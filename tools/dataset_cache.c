/* Where the rows of a dataset may be kept. */
#include "tools/dataset_cache.h"

#include "io/file.h"
#include "tools/manifest.h"

int plumb_dataset_cache_find(struct plumb_dataset_cache *c, const char *cache, const char *output,
                             int64_t limit, const char *tokenizer, struct plumb_dataset_options *o)
{
    if (!cache && !output) return PLUMB_OK;
    if (!cache) PLUMB_TRY(plumb_path_join(c->folder, sizeof c->folder, output, "dataset_cache"));
    o->cache = cache ? cache : c->folder;
    o->memory_limit = cache ? 0 : limit << 20;
    plumb_manifest_build(c->build);
    o->program = c->build;
    o->text_path = tokenizer;
    return PLUMB_OK;
}
