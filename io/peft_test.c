#include "io/peft.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "tests/made_model.h"

static char root[] = "/tmp/plumb_peft_XXXXXX";
static struct made made;

static void setup(void) { cr_assert_not_null(mkdtemp(root)); }
static void teardown(void)
{
    plumb_folder_remove(root);
    plumb_hf_config_release(&made.config);
}
TestSuite(peft, .init = setup, .fini = teardown);

static const char *in_root(const char *name)
{
    static char path[8][512];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static void open_base(struct plumb_hf_model *hf, int family, int64_t labels)
{
    made_init(&made, made_configs[family]);
    made_write(&made, in_root("base"));
    cr_assert_eq(plumb_hf_model_open(hf, in_root("base"), labels), PLUMB_OK, "%s", plumb_errmsg());
}

static const char *const all[] = { "all-linear" };

static void plan(struct plumb_peft *p, const struct plumb_hf_model *hf, const char *const *targets,
                 int64_t count)
{
    const struct plumb_peft_wish wish = { .r = 2,
                                          .lora_alpha = 8,
                                          .targets = targets,
                                          .target_count = count };
    cr_assert_eq(plumb_peft_plan(p, hf, &wish), PLUMB_OK, "%s", plumb_errmsg());
}

/* Numbers that tell their places. */
static float *numbers(const struct plumb_peft *p)
{
    float *flat = calloc((size_t)p->elements, sizeof *flat);
    for (int64_t k = 0; k < p->param_count; k++)
        for (int64_t i = 0; i < p->params[k].rows * p->params[k].cols; i++)
            flat[p->params[k].offset + i] = (float)((k + 1) * 1000 + i) / 512;
    return flat;
}

static void write_folder(const struct plumb_peft *p, const struct plumb_hf_model *hf)
{
    float *flat = numbers(p);
    cr_assert_eq(
        plumb_peft_write(p, hf, in_root("lora"), in_root("base"), PLUMB_F32, flat, PLUMB_F32),
        PLUMB_OK, "%s", plumb_errmsg());
    free(flat);
}

Test(peft, every_family_comes_back_as_it_was_written)
{
    for (int family = 0; family < MADE_FAMILIES; family++) {
        struct plumb_hf_model hf;
        struct plumb_peft p, q;
        open_base(&hf, family, 0);
        plan(&p, &hf, all, 1);
        cr_expect_gt(p.lora.count, 0);
        write_folder(&p, &hf);
        cr_assert_eq(plumb_peft_open(&q, in_root("lora"), &hf), PLUMB_OK, "%s", plumb_errmsg());
        cr_expect(q.lora.count == p.lora.count && q.elements == p.elements && q.lora.given);
        cr_expect(q.lora.rank == 2 && q.lora.scale == 4);
        float *was = numbers(&p), *is = malloc((size_t)q.elements * sizeof *is);
        cr_assert_eq(plumb_peft_read(&q, &hf, PLUMB_F32, is), PLUMB_OK, "%s", plumb_errmsg());
        cr_expect(!memcmp(was, is, (size_t)p.elements * sizeof *is), "%s",
                  hf.config.family->model_type);
        free(was);
        free(is);
        plumb_peft_release(&p);
        plumb_peft_release(&q);
        plumb_hf_model_release(&hf);
    }
}

static int64_t tensor(const struct plumb_weights *w, const char *name, int64_t rows, int64_t cols)
{
    const int64_t i = plumb_weights_find(w, name);
    cr_assert_geq(i, 0, "no tensor %s", name);
    cr_expect(w->tensor[i].rank == 2 && w->tensor[i].shape[0] == rows &&
                  w->tensor[i].shape[1] == cols,
              "%s", name);
    return i;
}

/* The names and shapes of PEFT 0.21. */
Test(peft, tensors_have_the_names_that_peft_gives_them)
{
    struct plumb_hf_model hf;
    struct plumb_peft p;
    struct plumb_weights w;
    open_base(&hf, MADE_LLAMA, 0);
    const struct plumb_model_config c = hf.config.model;
    plan(&p, &hf, NULL, 0);
    cr_expect_eq(p.lora.count, 2 * c.layers, "q_proj and v_proj where nothing is asked for");
    write_folder(&p, &hf);
    cr_assert_eq(plumb_safetensors_open(&w, in_root("lora/adapter_model.safetensors")), PLUMB_OK);
    cr_expect_eq(w.count, 4 * c.layers);
    tensor(&w, "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight", 2, c.width);
    tensor(&w, "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight",
           c.kv_heads * c.head_size, 2);
    plumb_weights_release(&w);
    plumb_peft_release(&p);
    plumb_hf_model_release(&hf);
}

/* By the definition, element by element of the file's matrix. */
static void check_merged(const struct plumb_hf_model *base, const struct plumb_hf_model *with,
                         const struct plumb_weights *w, const struct plumb_hf_tensor *t)
{
    char module[128], name[200];
    cr_assert(plumb_peft_module(t->name, module, sizeof module));
    snprintf(name, sizeof name, "base_model.model.%s.lora_A.weight", module);
    const int64_t ia = plumb_weights_find(w, name), k = t - base->tensors;
    if (ia < 0) return;
    snprintf(name, sizeof name, "base_model.model.%s.lora_B.weight", module);
    const int64_t ib = plumb_weights_find(w, name), n = t->rows * t->unit;
    double *a = malloc((size_t)n * sizeof *a), *b = malloc((size_t)n * sizeof *b);
    double *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
    w->read(w, ia, 0, 2 * t->unit, a);
    w->read(w, ib, 0, 2 * t->rows, b);
    base->weights.read(&base->weights, base->source[k], 0, n, x);
    with->weights.read(&with->weights, with->source[k], 0, n, y);
    for (int64_t i = 0; i < n; i++) {
        const int64_t r = i / t->shape[1], c = i % t->shape[1];
        const int64_t out = t->transposed ? c : r, in = t->transposed ? r : c;
        const double want = x[i] + 4 * (b[out * 2] * a[in] + b[out * 2 + 1] * a[t->unit + in]);
        cr_expect_float_eq(y[i], want, 1e-9 * fabs(want), "%s: %g and %g", t->name, y[i], want);
    }
    free(a), free(b), free(x), free(y);
}

Test(peft, merged_weights_are_the_base_and_the_products)
{
    for (int family = 0; family < MADE_FAMILIES; family++) {
        struct plumb_hf_model hf, merged;
        struct plumb_peft p;
        struct plumb_weights w;
        open_base(&hf, family, 0);
        plan(&p, &hf, all, 1);
        write_folder(&p, &hf);
        cr_assert_eq(plumb_hf_model_open(&merged, in_root("lora"), 0), PLUMB_OK, "%s",
                     plumb_errmsg());
        cr_assert_eq(plumb_safetensors_open(&w, in_root("lora/adapter_model.safetensors")), 0);
        for (int64_t k = 0; k < hf.tensor_count; k++)
            if (hf.tensors[k].rank == 2) check_merged(&hf, &merged, &w, &hf.tensors[k]);
        plumb_weights_release(&w);
        plumb_peft_release(&p);
        plumb_hf_model_release(&hf);
        plumb_hf_model_release(&merged);
    }
}

Test(peft, a_score_head_comes_with_the_adapters)
{
    struct plumb_hf_model hf, merged;
    struct plumb_peft p;
    open_base(&hf, MADE_LLAMA, 1);
    plan(&p, &hf, NULL, 0);
    cr_expect_eq(p.lora.whole_count, 1);
    write_folder(&p, &hf);
    cr_assert_eq(plumb_hf_model_open(&merged, in_root("lora"), 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(merged.config.model.num_labels == 1 && !merged.score_missing);
    float *flat = malloc((size_t)merged.elements * sizeof *flat);
    cr_assert_eq(plumb_hf_model_read(&merged, PLUMB_F32, flat, false), PLUMB_OK, "%s",
                 plumb_errmsg());
    const struct plumb_param *score = &merged.params[merged.param_count - 1];
    cr_expect_eq(flat[score->offset + 1], (float)(p.param_count * 1000 + 1) / 512);
    free(flat);
    plumb_peft_release(&p);
    plumb_hf_model_release(&hf);
    plumb_hf_model_release(&merged);
}

static void refuse_config(const char *from, const char *to, const char *want)
{
    struct plumb_hf_model merged;
    char *text = NULL, other[4096];
    size_t n;
    const char *path = in_root("lora/adapter_config.json");
    cr_assert_eq(plumb_file_read(path, 0, &text, &n), PLUMB_OK);
    const char *at = strstr(text, from);
    cr_assert(at, "%s in %s", from, text);
    snprintf(other, sizeof other, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    cr_assert_eq(plumb_file_write(path, other, strlen(other)), PLUMB_OK);
    cr_expect_neq(plumb_hf_model_open(&merged, in_root("lora"), 0), PLUMB_OK, "%s", to);
    cr_expect(strstr(plumb_errmsg(), want), "wanted \"%s\", got: %s", want, plumb_errmsg());
    plumb_file_write(path, text, n);
    free(text);
}

Test(peft, what_another_computation_needs_is_refused_by_name)
{
    struct plumb_hf_model hf;
    struct plumb_peft p;
    open_base(&hf, MADE_LLAMA, 0);
    plan(&p, &hf, NULL, 0);
    write_folder(&p, &hf);
    refuse_config("\"LORA\"", "\"IA3\"", "peft_type is \"IA3\"");
    refuse_config("\"use_dora\":\tfalse", "\"use_dora\":\ttrue", "use_dora");
    refuse_config("\"bias\":\t\"none\"", "\"bias\":\t\"all\"", "bias is \"all\"");
    refuse_config("\"alpha_pattern\":\t{", "\"alpha_pattern\":\t{\"q_proj\": 3", "alpha_pattern");
    refuse_config("\"init_lora_weights\":\ttrue", "\"init_lora_weights\":\t\"pissa\"", "pissa");
    refuse_config("\"r\":\t2", "\"r\":\t3", "has shape [2, ");
    refuse_config("\"r\":\t2", "\"r\":\t0", "r is 0");
    refuse_config("\"r\":\t2", "\"r\":\t\"2\"", "r");
    refuse_config("\"lora_dropout\":\t0", "\"lora_dropout\":\t1.5", "lora_dropout is 1.5");
    refuse_config("/base\"", "/elsewhere\"", "is no folder or file here");
    refuse_config("/base\"", "/lora\"", "is an adapter itself");
    refuse_config("{", "[", "adapter_config.json:");
    plumb_peft_release(&p);
    plumb_hf_model_release(&hf);
}

struct one_less {
    struct plumb_weights from;
    int64_t left_out;
};

static int read_less(const struct plumb_weights *w, int64_t i, int64_t first, int64_t n,
                     double *out)
{
    const struct one_less *o = w->self;
    return o->from.read(&o->from, i + (i >= o->left_out), first, n, out);
}

Test(peft, tensors_without_partner_or_module_are_named)
{
    struct plumb_hf_model hf;
    struct plumb_peft p, q;
    struct one_less o;
    struct plumb_weight list[64];
    open_base(&hf, MADE_LLAMA, 0);
    plan(&p, &hf, NULL, 0);
    write_folder(&p, &hf);
    const char *path = in_root("lora/adapter_model.safetensors");
    cr_assert_eq(plumb_safetensors_open(&o.from, path), PLUMB_OK);
    o.left_out = plumb_weights_find(
        &o.from, "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight");
    int64_t n = 0;
    for (int64_t i = 0; i < o.from.count; i++)
        if (i != o.left_out) list[n++] = o.from.tensor[i];
    const struct plumb_weights less = { .tensor = list, .count = n, .read = read_less, .self = &o };
    cr_assert_eq(plumb_safetensors_write(in_root("less"), &less, PLUMB_F32), PLUMB_OK);
    list[0].name = "base_model.model.model.layers.0.mlp.experts.lora_A.weight";
    cr_assert_eq(plumb_safetensors_write(in_root("other"), &less, PLUMB_F32), PLUMB_OK);
    plumb_weights_release(&o.from);
    cr_assert_eq(plumb_file_copy(in_root("less"), path), PLUMB_OK);
    cr_expect_eq(plumb_peft_open(&q, in_root("lora"), &hf), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "q_proj.lora_B.weight\" is missing"), "%s", plumb_errmsg());
    cr_assert_eq(plumb_file_copy(in_root("other"), path), PLUMB_OK);
    cr_expect_eq(plumb_peft_open(&q, in_root("lora"), &hf), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "belongs to no module") ||
                  strstr(plumb_errmsg(), "is missing"),
              "%s", plumb_errmsg());
    plumb_peft_release(&p);
    plumb_hf_model_release(&hf);
}
