/* `plumb inspect`: what a model folder, a weights file or a dataset holds. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "io/gguf_model.h"
#include "io/hf_config.h"
#include "io/json.h"
#include "io/peft.h"
#include "io/safetensors.h"
#include "tools/command.h"
#include "tools/inspect_dataset.h"

/* Names come from files: what could steer a terminal is replaced. */
static void print_name(const char *name, int width)
{
    for (; *name; name++, width--)
        putchar(*name >= ' ' && *name < 127 ? *name : '?');
    printf("%*s", width > 0 ? width : 0, "");
}

/* 1234567 as "1,234,567". */
static const char *grouped(int64_t n, char out[32])
{
    char digits[24], *to = out;
    const int length = snprintf(digits, sizeof digits, "%" PRId64, n);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return out;
}

static void print_positions(const struct plumb_model_config *m)
{
    static const char *const scaling[] = { "", ", linear scaling", ", llama3 scaling" };
    if (m->rope != PLUMB_ROPE_NONE)
        printf("  positions         rotary, %" PRId64 " of %" PRId64 " of a head, theta %g%s%s\n",
               m->rope_dims, m->head_size, m->rope_theta,
               m->rope == PLUMB_ROPE_INTERLEAVED ? ", interleaved" : "", scaling[m->rope_scaling]);
    if (m->learned_positions) puts("  positions         a learned table");
    if (m->window)
        printf("  sliding window    %" PRId64 " tokens in %" PRId64 " layers\n", m->window,
               m->window_layers);
}

static void print_block(const struct plumb_model_config *m)
{
    static const char *const acts[] = { "SwiGLU", "GeGLU (tanh)", "GeGLU (erf)", "GELU (tanh)",
                                        "GELU (erf)" };
    printf("  width             %" PRId64 "\n", m->width);
    printf("  layers            %" PRId64 "\n", m->layers);
    printf("  heads             %" PRId64 " of %" PRId64 ", %" PRId64 " of keys and values%s\n",
           m->heads, m->head_size, m->kv_heads, m->qk_norm ? ", q and k normed" : "");
    printf("  MLP               %" PRId64 ", %s\n", m->ffn, acts[m->act]);
    printf("  norm              %s, eps %g\n", m->norm == PLUMB_NORM_RMS ? "RMSNorm" : "LayerNorm",
           m->norm_eps);
    printf("  biases           %s%s%s%s%s\n", m->qkv_bias ? " qkv" : "", m->o_bias ? " o" : "",
           m->mlp_bias ? " mlp" : "", m->lm_head_bias ? " head" : "",
           m->qkv_bias || m->o_bias || m->mlp_bias || m->lm_head_bias ? "" : " none");
    if (m->parallel_residual) puts("  residual          attention and MLP in parallel");
}

static void print_config(const struct plumb_hf_config *c)
{
    const struct plumb_model_config *m = &c->model;
    printf("config\n  family            %s\n", m->family);
    print_block(m);
    print_positions(m);
    printf("  vocabulary        %" PRId64 "\n", m->vocab);
    printf("  longest path      %" PRId64 " tokens\n", m->max_positions);
    if (m->num_labels)
        printf("  head              %" PRId64 " scores\n", m->num_labels);
    else
        printf("  head              %s\n", m->tied ? "the embedding (tied)" : "its own matrix");
    printf("  stored as         %s\n", plumb_dtype_name(c->dtype));
    printf("  bos, pad          %d, %d\n", (int)m->bos_id, (int)m->pad_id);
    printf("  eos              ");
    for (int i = 0; i < c->eos_count; i++)
        printf(" %d", (int)c->eos[i]);
    puts(c->eos_count ? "" : " none");
    if (c->dropout_key)
        printf("  dropout           %g (%s): training wants --disable_dropout\n", c->dropout,
               c->dropout_key);
}

static void print_tensors(const struct plumb_weights *w)
{
    char shape[256], number[32];
    int64_t elements = 0, bytes = 0;
    int widest = 4;
    for (int64_t i = 0; i < w->count; i++)
        if ((int)strlen(w->tensor[i].name) > widest) widest = (int)strlen(w->tensor[i].name);
    puts("tensors");
    for (int64_t i = 0; i < w->count; i++) {
        const struct plumb_weight *t = &w->tensor[i];
        fputs("  ", stdout);
        print_name(t->name, widest < 72 ? widest : 72);
        printf("  %-5s %-16s %15s bytes\n", t->dtype,
               plumb_shape_text(t->shape, t->rank, shape, sizeof shape),
               grouped((int64_t)t->bytes, number));
        elements += t->count;
        bytes += (int64_t)t->bytes;
    }
    printf("  %" PRId64 " tensors, %s numbers", w->count, grouped(elements, number));
    printf(", %s bytes\n", grouped(bytes, number));
}

static int inspect_weights(const char *path)
{
    struct plumb_weights w;
    PLUMB_TRY(plumb_safetensors_open(&w, path));
    print_tensors(&w);
    plumb_weights_release(&w);
    return PLUMB_OK;
}

/* Adapters: what they are to be added to, how much, and their own tensors. */
static int inspect_adapters(const char *path)
{
    struct plumb_peft p = { 0 };
    char file[4096];
    int rc = plumb_peft_config_read(&p, path);
    const cJSON *base = rc ? NULL : plumb_json_get(p.config, "base_model_name_or_path");
    if (!rc) {
        puts("adapters");
        fputs("  base model        ", stdout);
        print_name(cJSON_IsString(base) ? base->valuestring : "not given", 0);
        printf("\n  rank              %" PRId64 "\n", p.r);
        printf("  added             %g times (lora_alpha %g%s)\n", p.lora.scale, p.lora_alpha,
               p.use_rslora ? ", rsLoRA" : "");
        printf("  dropout           %g\n", p.lora.dropout);
        rc = plumb_path_join(file, sizeof file, path, "adapter_model.safetensors");
    }
    plumb_peft_release(&p);
    return rc ? rc : inspect_weights(file);
}

/* The tensors are shown even where the config is refused. */
static int inspect_folder(const char *path)
{
    struct plumb_hf_config c;
    if (plumb_peft_is(path)) return inspect_adapters(path);
    const int rc = plumb_hf_config_read(&c, path);
    if (rc) {
        printf("config\n  refused: %s\n", plumb_errmsg());
    } else {
        print_config(&c);
        plumb_hf_config_release(&c);
    }
    PLUMB_TRY(inspect_weights(path));
    return rc;
}

/* The tensors of a GGUF file under Hugging Face's names, as training would see them. */
static int inspect_gguf(const char *path)
{
    struct plumb_hf_config c;
    struct plumb_weights w;
    PLUMB_TRY(plumb_gguf_model(path, &c, &w));
    print_config(&c);
    print_tensors(&w);
    plumb_weights_release(&w);
    plumb_hf_config_release(&c);
    return PLUMB_OK;
}

static int inspect(const char *path)
{
    struct stat st;
    if (plumb_gguf_is(path)) return inspect_gguf(path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return inspect_folder(path);
    return inspect_weights(path);
}

struct config {
    struct plumb_inspect_dataset dataset;
};

static const struct plumb_option_group groups[] = {
    { "Dataset", plumb_inspect_dataset_rows, offsetof(struct config, dataset) },
    { NULL },
};
static const struct plumb_option_set options = { groups, NULL, 1 };

static int run(int argc, char **argv)
{
    struct plumb_options o;
    struct config c;
    PLUMB_TRY(plumb_options_parse(&o, &options, &c, argc, argv));
    const char *model = o.positional_count ? o.positional[0] : NULL;
    const int rc = plumb_inspect_dataset_name(&c.dataset) ? plumb_inspect_dataset(model, &c.dataset)
                   : model           ? inspect(model)
                           : plumb_fail(PLUMB_EUSAGE, "want a model folder or file, or --dataset");
    plumb_options_release(&o);
    return rc;
}

extern const struct plumb_cmd plumb_cmd_inspect;
const struct plumb_cmd plumb_cmd_inspect = {
    "inspect", "[MODEL_FOLDER|FILE.safetensors|FILE.gguf] [--dataset FILE]",
    "print a model's config and tensors, or a dataset's tokens", run, &options
};
