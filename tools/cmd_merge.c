/* `plumb merge`: a model with an adapter folder's weights added to its own, or taken off again. */
#include <plumb/log.h>
#include <stdlib.h>

#include "io/file.h"
#include "io/peft.h"
#include "tools/command.h"
#include "tools/option_rows.h"

enum stored { STORED_AUTO, STORED_F32, STORED_BF16, STORED_F16 };

struct merge {
    bool subtract, quiet;
    enum stored dtype;
};

#define C merge
static const struct plumb_option rows[] = {
    R_BOOL(C, subtract, "false", "take the adapters off a model that they were added to"),
    R_CHOICE(C, "dtype", dtype, "auto", "of the written weights; auto = the base model's",
             R_LIST("auto", "float32", "bfloat16", "float16")),
    R_BOOL(C, quiet, "false", "only warnings"),
    R_END,
};
static const struct plumb_option_group groups[] = { { "Merging", rows, 0 }, { NULL } };
static const struct plumb_option_set options = { groups, NULL, 3 };

static int open_merged(struct plumb_hf_model *hf, const char *base, const char *adapter,
                       double sign)
{
    char named[4096];
    int64_t labels;
    if (!plumb_peft_is(adapter))
        return plumb_fail(PLUMB_EUSAGE, "\"%s\" is no folder of adapters: it holds no %s", adapter,
                          PLUMB_PEFT_CONFIG);
    if (base)
        PLUMB_TRY(plumb_peft_labels(adapter, &labels));
    else
        PLUMB_TRY(plumb_peft_base(adapter, named, sizeof named, &labels));
    PLUMB_TRY(plumb_hf_model_open(hf, base ? base : named, labels));
    return plumb_peft_merge(hf, adapter, sign);
}

static enum plumb_dtype stored_as(const struct merge *c, const struct plumb_hf_model *hf)
{
    static const enum plumb_dtype types
        [] = { [STORED_F32] = PLUMB_F32, [STORED_BF16] = PLUMB_BF16, [STORED_F16] = PLUMB_F16 };
    return c->dtype == STORED_AUTO ? hf->config.dtype : types[c->dtype];
}

static int merge(const struct merge *c, const char *base, const char *adapter, const char *out)
{
    struct plumb_hf_model hf = { 0 };
    char file[4096];
    void *flat = NULL;
    int rc = PLUMB_OK;
    if (plumb_file_same(base ? base : adapter, out) || plumb_file_same(adapter, out))
        return plumb_fail(PLUMB_EUSAGE, "\"%s\" is read from: give another folder to write", out);
    PLUMB_TRYG(open_merged(&hf, base, adapter, c->subtract ? -1 : 1));
    if (plumb_file_same(hf.dir, out))
        PLUMB_TRYG(plumb_fail(PLUMB_EUSAGE, "\"%s\" is the base model: give another folder", out));
    const enum plumb_dtype t = stored_as(c, &hf);
    flat = malloc((size_t)hf.elements * plumb_dtype_bytes(t));
    if (!flat) PLUMB_TRYG(plumb_fail(PLUMB_EMEM, "no memory for the weights of \"%s\"", hf.dir));
    PLUMB_TRYG(plumb_hf_model_read(&hf, t, flat, false));
    PLUMB_TRYG(plumb_path_join(file, sizeof file, adapter, "tokenizer.json"));
    if (plumb_file_exists(file)) hf.tokenizer_dir = adapter;
    PLUMB_TRYG(plumb_hf_model_write(&hf, out, t, flat, t));
    plumb_log(PLUMB_LOG_INFO, "wrote the model to \"%s\" in %s", out, plumb_dtype_name(t));
out:
    free(flat);
    plumb_hf_model_release(&hf);
    return rc;
}

static int run(int argc, char **argv)
{
    struct plumb_options o;
    struct merge c;
    PLUMB_TRY(plumb_options_parse(&o, &options, &c, argc, argv));
    const char *const *a = o.positional;
    const int n = o.positional_count;
    if (c.quiet) plumb_log_threshold(PLUMB_LOG_WARN);
    const int rc = n == 3   ? merge(&c, a[0], a[1], a[2])
                   : n == 2 ? merge(&c, NULL, a[0], a[1])
                            : plumb_fail(PLUMB_EUSAGE, "want [MODEL] ADAPTERS OUTPUT: %d names", n);
    plumb_options_release(&o);
    return rc;
}

extern const struct plumb_cmd plumb_cmd_merge;
const struct plumb_cmd plumb_cmd_merge = { "merge", "[MODEL] ADAPTERS OUTPUT",
                                           "add adapters to their base model's weights", run,
                                           &options };
