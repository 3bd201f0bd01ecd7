/* Model folders copied without training between: equal to the bit, in other dtypes, in shards. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "io/hf_model.h"
#include "tests/made_model.h"
#include "tests/shared.h"

static char root[] = "/tmp/plumb_hf_copy_XXXXXX";

static void setup(void) { cr_assert_not_null(mkdtemp(root)); }

static const char *in_root(const char *name)
{
    static char path[8][300];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static void teardown(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", root);
    cr_expect_eq(system(command), 0);
}

TestSuite(hf_model_copy, .init = setup, .fini = teardown);

static void same_file(const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    cr_assert_eq(plumb_file_read(a, 0, &x, &n), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_file_read(b, 0, &y, &m), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(n == m && !memcmp(x, y, n), "%s and %s differ", a, b);
    free(x);
    free(y);
}

/* The same tensors: names, shapes, dtypes, bytes. */
static void same_weights(const char *a, const char *b)
{
    struct plumb_weights x, y;
    cr_assert_eq(plumb_safetensors_open(&x, a), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_safetensors_open(&y, b), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(x.count, y.count);
    for (int64_t i = 0; i < x.count; i++) {
        const struct plumb_weight *p = &x.tensor[i], *q = &y.tensor[i];
        cr_expect(!strcmp(p->name, q->name) && !strcmp(p->dtype, q->dtype) && p->rank == q->rank);
        cr_expect_eq(memcmp(p->shape, q->shape, sizeof p->shape), 0);
        cr_expect(p->bytes == q->bytes && !memcmp(p->data, q->data, p->bytes), "%s", p->name);
    }
    plumb_weights_release(&x);
    plumb_weights_release(&y);
}

static void copy(const char *from, const char *to, enum plumb_dtype stored, int64_t shard_bytes)
{
    struct plumb_hf_model m;
    cr_assert_eq(plumb_hf_model_open(&m, from, 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_hf_model_copy(&m, to, stored, shard_bytes), PLUMB_OK, "%s", plumb_errmsg());
    plumb_hf_model_release(&m);
}

Test(hf_model_copy, every_family_is_equal_to_the_bit_whole_and_in_shards)
{
    for (int f = 0; f < MADE_FAMILIES; f++) {
        struct made made = { 0 };
        made_init(&made, made_configs[f]);
        made_write(&made, in_root("a"));
        copy(in_root("a"), in_root("b"), PLUMB_DTYPES, 0);
        same_weights(in_root("a"), in_root("b"));
        same_file(in_root("a/config.json"), in_root("b/config.json"));
        copy(in_root("b"), in_root("c"), PLUMB_DTYPES, 600);
        cr_expect(plumb_file_exists(in_root("c/model.safetensors.index.json")));
        same_weights(in_root("a"), in_root("c"));
        plumb_hf_config_release(&made.config);
    }
}

Test(hf_model_copy, another_dtype_is_said_in_the_config_and_rounds_once)
{
    struct made made = { 0 };
    struct plumb_hf_model m;
    made_init(&made, made_configs[MADE_GPT2]);
    made_write(&made, in_root("a"));
    copy(in_root("a"), in_root("b"), PLUMB_BF16, 0);
    cr_assert_eq(plumb_hf_model_open(&m, in_root("b"), 0), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(m.config.dtype, PLUMB_BF16);
    for (int64_t k = 0; k < m.weights.count; k++) {
        const struct plumb_weight *t = &m.weights.tensor[k];
        double x[192];
        cr_expect_str_eq(t->dtype, "BF16");
        cr_assert_leq(t->count, 256);
        const int64_t n = t->count < 192 ? t->count : 192;
        cr_assert_eq(m.weights.read(&m.weights, k, 0, n, x), PLUMB_OK);
        for (int64_t i = 0; i < n; i++)
            cr_assert_eq(x[i],
                         plumb_dtype_round(PLUMB_BF16, made_value(made_find(&made, t->name), i)));
    }
    plumb_hf_model_release(&m);
    plumb_hf_config_release(&made.config);
}

Test(hf_model_copy, real_folders_keep_every_file)
{
    static const char *const folders[] = { "data/models/stories260K/hf",
                                           "data/models/babyllama105/hf" };
    static const char *const files[] = { "config.json", "tokenizer.json", "tokenizer_config.json",
                                         "generation_config.json", "special_tokens_map.json" };
    for (int i = 0; i < 2; i++) {
        char path[2000], file[2100];
        if (!shared_path(path, sizeof path, folders[i])) return;
        copy(path, in_root("b"), PLUMB_DTYPES, 0);
        same_weights(path, in_root("b"));
        for (int k = 0; k < 5; k++) {
            char there[32] = "b/";
            snprintf(there, sizeof there, "b/%s", files[k]);
            snprintf(file, sizeof file, "%s/%s", path, files[k]);
            same_file(file, in_root(there));
        }
    }
}

Test(hf_model_copy, weights_that_another_tensor_scales_are_refused)
{
    static const char *const names[] = { "model.layers.1.mlp.up_proj.weight_scale_inv",
                                         "lm_head.weight.absmax" };
    for (int i = 0; i < 2; i++) {
        struct made made = { 0 };
        struct plumb_hf_model m;
        made_init(&made, made_configs[MADE_LLAMA]);
        snprintf(made.names[made.count], sizeof made.names[0], "%s", names[i]);
        made.tensors[made.count] = (struct plumb_weight){ .name = made.names[made.count],
                                                          .rank = 1,
                                                          .shape = { 2 },
                                                          .count = 2 };
        made.count++;
        made_write(&made, in_root("a"));
        cr_expect_eq(plumb_hf_model_open(&m, in_root("a"), 0), PLUMB_ENOTSUP);
        cr_expect(strstr(plumb_errmsg(), names[i]), "%s", plumb_errmsg());
        plumb_hf_config_release(&made.config);
    }
}
