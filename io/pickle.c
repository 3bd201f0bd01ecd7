/* Pickled weights are refused with the command that converts them. */
#include "io/pickle.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"

/* torch.save writes a zip archive that holds "<name>/data.pkl" first, or, before PyTorch 1.6, a
 * pickle of protocol 2. */
static bool is_pickle(const char *path)
{
    unsigned char head[512];
    FILE *f = fopen(path, "rbe");
    const size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f) fclose(f);
    if (n > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5) return true;
    return n > 30 && !memcmp(head, "PK\3\4", 4) && memmem(head, n, "/data.pkl", 9);
}

static int refuse(const char *path, const char *to, const char *from, const char *files)
{
    return plumb_fail(
        PLUMB_ENOTSUP,
        "\"%s\" holds pickled weights, a program that reading would run: they are not read. With "
        "PyTorch this makes safetensors of them: python3 -c 'import sys, torch; from "
        "safetensors.torch import save_file; save_file({k: v.clone() for f in sys.argv[2:] for k, "
        "v "
        "in torch.load(f, map_location=\"cpu\", weights_only=True).items()}, sys.argv[1], "
        "{\"format\": \"pt\"})' %s %s%s",
        path, to, from, files);
}

int plumb_pickle_check(const char *path)
{
    char first[4096], to[600], from[600];
    struct stat st;
    if (stat(path, &st) != 0) return PLUMB_OK;
    const bool folder = S_ISDIR(st.st_mode);
    if (!folder) {
        const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
        const size_t stem = dot && (!slash || dot > slash) ? (size_t)(dot - path) : strlen(path);
        if (!S_ISREG(st.st_mode) || !is_pickle(path)) return PLUMB_OK;
        plumb_shell_quote(to, sizeof to, path, stem, ".safetensors");
        plumb_shell_quote(from, sizeof from, path, strlen(path), "");
        return refuse(path, to, from, "");
    }
    static const char *const names[] = { "model.safetensors", "model.safetensors.index.json",
                                         "pytorch_model.bin", "pytorch_model.bin.index.json" };
    for (int i = 0; i < 4; i++) {
        PLUMB_TRY(plumb_path_join(first, sizeof first, path, names[i]));
        if (!plumb_file_exists(first)) continue;
        if (i < 2) return PLUMB_OK; /* the same weights lie beside them */
        plumb_shell_quote(to, sizeof to, path, strlen(path), "/model.safetensors");
        plumb_shell_quote(from, sizeof from, path, strlen(path), "/");
        return refuse(path, to, from, i > 2 ? "pytorch_model-*.bin" : "pytorch_model.bin");
    }
    return PLUMB_OK;
}
