/* A hash of what a tokenizer is opened from. */
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "io/hash.h"
#include "io/tokenizer.h"

/* The files that can change a token: those that io/tok_files.c looks for. */
static const char names[] =
    "tokenizer.json\0tokenizer.json.gz\0vocab.json\0encoder.json\0merges.txt\0vocab.bpe\0"
    "tokenizer.model\0spiece.model\0tokenizer_config.json\0special_tokens_map.json\0";

int plumb_tokenizer_hash(const char *path, uint64_t *h)
{
    char file[4096];
    struct stat st;
    *h = PLUMB_HASH_START;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        PLUMB_TRY(plumb_hash_file(h, path));
        const char *slash = strrchr(path, '/');
        const int n = slash ? (int)(slash - path) : 1;
        char dir[4096]; /* its configuration lies beside it */
        if (snprintf(dir, sizeof dir, "%.*s", n, slash ? path : ".") >= (int)sizeof dir)
            return plumb_fail(PLUMB_EINVAL, "the path \"%.80s...\" is too long", path);
        PLUMB_TRY(plumb_path_join(file, sizeof file, dir, "tokenizer_config.json"));
        if (plumb_file_exists(file)) PLUMB_TRY(plumb_hash_file(h, file));
        PLUMB_TRY(plumb_path_join(file, sizeof file, dir, "special_tokens_map.json"));
        return plumb_file_exists(file) ? plumb_hash_file(h, file) : PLUMB_OK;
    }
    for (const char *name = names; *name; name += strlen(name) + 1) {
        PLUMB_TRY(plumb_path_join(file, sizeof file, path, name));
        if (!plumb_file_exists(file)) continue;
        *h = plumb_hash(*h, name, strlen(name));
        PLUMB_TRY(plumb_hash_file(h, file));
    }
    return PLUMB_OK;
}
