/* `plumb convert`: a model from one form of files into another. */
#include <ctype.h>
#include <plumb/log.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/gguf_export.h"
#include "io/gguf_model.h"
#include "io/llama2c.h"
#include "io/pickle.h"
#include "io/safetensors.h"
#include "tools/command.h"
#include "tools/option_rows.h"

enum keep_or { KEEP, FLOAT32, BFLOAT16, FLOAT16 };
enum outtype { AUTO, F32, F16, BF16, Q8_0 };

struct plumb_convert {
    enum keep_or dtype;
    enum outtype outtype;
    const char *max_shard_size, *tokenizer;
    bool overwrite, quiet;
};

#define C plumb_convert
static const struct plumb_option folder_rows[] = {
    R_CHOICE(C, "dtype", dtype, "auto",
             "of the weights; auto keeps each as it is, and makes float32 of what is quantised",
             R_LIST("auto", "float32", "bfloat16", "float16")),
    R_TEXT(C, max_shard_size, 0, "5GB",
           "most bytes of one file, as transformers spells them: 500MB, 2GiB; a larger tensor has "
           "its own"),
    R_END,
};
static const struct plumb_option file_rows[] = {
    R_CHOICE(C, "outtype", outtype, "auto",
             "of the matrices, llama.cpp's words: auto is f16 for float16 weights, else bf16",
             R_LIST("auto", "f32", "f16", "bf16", "q8_0")),
    R_END,
};
static const struct plumb_option bin_rows[] = {
    R_TEXT(C, tokenizer, PLUMB_OPT_NONE, NULL,
           "its tokenizer.bin; without one the folder gets none"),
    R_END,
};
static const struct plumb_option both_rows[] = {
    R_BOOL(C, overwrite, "false", "replace a model that stands there"),
    R_BOOL(C, quiet, "false", "only warnings"),
    R_END,
};
#undef C
static const struct plumb_option_group groups[] = {
    { "Into a folder", folder_rows, 0 },
    { "Into a GGUF file", file_rows, 0 },
    { "From a model.bin of llama2.c, into a folder", bin_rows, 0 },
    { "All", both_rows, 0 },
    { NULL },
};
static const struct plumb_option_set options = { groups, NULL, 2 };

/* "5GB" to bytes: powers of 1000, of 1024 with an i. */
static int parse_size(const char *text, int64_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    const double number = strtod(text, &end);
    double bytes = number;
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        end++;
        const double step = *end == 'i' ? 1024 : 1000;
        end += *end == 'i';
        for (const char *u = units; u <= unit; u++)
            bytes *= step;
    }
    end += *end == 'B' || *end == 'b';
    if (end == text || *end || !(bytes >= 1 && bytes <= 0x1p62))
        return plumb_fail(PLUMB_EUSAGE,
                          "max_shard_size \"%.40s\": want a size as 5GB, 500MB or 2GiB", text);
    *out = (int64_t)bytes;
    return PLUMB_OK;
}

static bool given(const struct plumb_options *o, const char *name)
{
    const struct plumb_setting *s = plumb_options_find(o, name);
    return s && s->origin != PLUMB_FROM_DEFAULT;
}

/* An option that the output has no use for is a misunderstanding. */
static int check(const struct plumb_options *o, const struct plumb_convert *c, const char *in,
                 const char *out)
{
    const bool file = plumb_gguf_is(out);
    char config[4096];
    if (file && (given(o, "dtype") || given(o, "max_shard_size")))
        return plumb_fail(PLUMB_EUSAGE, "--%s is for folders; a GGUF file takes --outtype",
                          given(o, "dtype") ? "dtype" : "max_shard_size");
    if (!file && given(o, "outtype"))
        return plumb_fail(
            PLUMB_EUSAGE,
            "--outtype is for GGUF files (OUT ends in .gguf); a folder takes --dtype");
    if (plumb_llama2c_is(in) && file)
        return plumb_fail(PLUMB_EUSAGE,
                          "a .bin goes into a folder first, and from there into \"%s\"", out);
    if (c->tokenizer && !plumb_llama2c_is(in))
        return plumb_fail(PLUMB_EUSAGE, "--tokenizer is for a model.bin of llama2.c");
    if (plumb_file_same(in, out))
        return plumb_fail(PLUMB_EUSAGE, "\"%s\" is the model itself", out);
    PLUMB_TRY(plumb_path_join(config, sizeof config, out, "config.json"));
    if (!c->overwrite && plumb_file_exists(file ? out : config))
        return plumb_fail(PLUMB_EUSAGE, "\"%s\" holds a model already: --overwrite replaces it",
                          out);
    return PLUMB_OK;
}

static enum plumb_gguf_store store_of(const struct plumb_hf_model *m, enum outtype t)
{
    switch (t) {
    case F32: return PLUMB_STORE_F32;
    case F16: return PLUMB_STORE_F16;
    case BF16: return PLUMB_STORE_BF16;
    case Q8_0: return PLUMB_STORE_Q8_0;
    case AUTO: break;
    }
    const char *first = m->weights.tensor[m->source[0]].dtype; /* the embedding's */
    return strcmp(first, "F16") == 0 ? PLUMB_STORE_F16 : PLUMB_STORE_BF16;
}

static enum plumb_dtype dtype_of(const struct plumb_hf_model *m, enum keep_or t)
{
    switch (t) {
    case FLOAT32: return PLUMB_F32;
    case BFLOAT16: return PLUMB_BF16;
    case FLOAT16: return PLUMB_F16;
    case KEEP: break;
    }
    /* A GGUF file's vectors are F32 whatever the matrices are: the model has one dtype. */
    return m->dir && plumb_gguf_is(m->dir) ? m->config.dtype : PLUMB_DTYPES;
}

static int open_model(struct plumb_hf_model *m, const char *in)
{
    struct plumb_hf_config config;
    struct plumb_weights weights;
    PLUMB_TRY(plumb_pickle_check(in));
    if (!plumb_llama2c_is(in)) return plumb_hf_model_open(m, in, 0);
    PLUMB_TRY(plumb_llama2c_model(in, &config, &weights));
    return plumb_hf_model_from(m, &config, &weights, 0);
}

static int convert(const struct plumb_convert *c, const char *in, const char *out)
{
    struct plumb_hf_model m = { 0 };
    int64_t shard = 0;
    int rc = PLUMB_OK;
    PLUMB_TRY(parse_size(c->max_shard_size, &shard));
    PLUMB_TRY(open_model(&m, in));
    if (plumb_gguf_is(out))
        PLUMB_TRYG(plumb_gguf_export(&m, store_of(&m, c->outtype), out));
    else
        PLUMB_TRYG(plumb_hf_model_copy(&m, out, dtype_of(&m, c->dtype), shard));
    if (c->tokenizer)
        PLUMB_TRYG(plumb_llama2c_write_tokenizer(c->tokenizer, m.config.model.vocab, out));
    plumb_log(PLUMB_LOG_INFO, "wrote the %lld tensors of \"%s\" to \"%s\"",
              (long long)m.tensor_count, in, out);
out:
    plumb_hf_model_release(&m);
    return rc;
}

static int run(int argc, char **argv)
{
    struct plumb_options o;
    struct plumb_convert c = { 0 };
    PLUMB_TRY(plumb_options_parse(&o, &options, &c, argc, argv));
    int rc = o.positional_count == 2 ? check(&o, &c, o.positional[0], o.positional[1])
                                     : plumb_fail(PLUMB_EUSAGE, "want a model and where to put it");
    if (c.quiet) plumb_log_threshold(PLUMB_LOG_WARN);
    if (!rc) rc = convert(&c, o.positional[0], o.positional[1]);
    plumb_options_release(&o);
    return rc;
}

extern const struct plumb_cmd plumb_cmd_convert;
const struct plumb_cmd plumb_cmd_convert = {
    "convert", "FOLDER|FILE.gguf|FILE.bin OUTPUT_FOLDER|OUTPUT.gguf [options]",
    "write a model as a folder of Hugging Face or as a GGUF file", run, &options
};
