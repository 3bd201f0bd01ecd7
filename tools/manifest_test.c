#include "tools/manifest.h"

#include <criterion/criterion.h>
#include <plumb/log.h>
#include <string.h>
#include <unistd.h>

#include "io/json.h"
#include "tools/train_options.h"

static char path[] = "/tmp/plumb_manifest_XXXXXX";
static char warnings[4096];

static void collect(void *ctx, enum plumb_log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    strncat(warnings, text, sizeof warnings - strlen(warnings) - 2);
    strcat(warnings, "\n");
}

static void parse(struct plumb_options *o, struct plumb_dpo_config *c, const char *rate,
                  const char *resume)
{
    char *argv[] = { "dpo",         "--model_name_or_path",
                     "M",           "--dataset_name",
                     "D",           "--learning_rate",
                     (char *)rate,  "--resume_from_checkpoint",
                     (char *)resume };
    cr_assert_eq(plumb_options_parse(o, &plumb_dpo_options, c, 9, argv), PLUMB_OK, "%s",
                 plumb_errmsg());
}

static void make_path(void)
{
    const int fd = mkstemp(path);
    cr_assert_neq(fd, -1);
    close(fd);
    plumb_log_receiver(collect, NULL);
}

static void remove_path(void) { remove(path); }

TestSuite(manifest, .init = make_path, .fini = remove_path);

Test(manifest, records_build_machine_options_and_hashes)
{
    struct plumb_options o;
    struct plumb_dpo_config c;
    cJSON *json;
    const char *text;
    parse(&o, &c, "3e-7", "None");
    const struct plumb_manifest m = { "dpo", &o, 0xabcdef0123456789u, 7, 0 };
    cr_assert_eq(plumb_manifest_write(&m, path), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_json_load(path, 0, &json), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_json_string(json, "model_hash", path, &text), PLUMB_OK);
    cr_expect_str_eq(text, "abcdef0123456789");
    cr_assert_eq(plumb_json_string(json, "dataset_hash", path, &text), PLUMB_OK);
    cr_expect_str_eq(text, "0000000000000007");
    cr_expect_null(plumb_json_get(json, "eval_dataset_hash"));
    const cJSON *machine = plumb_json_get(json, "machine");
    cr_assert_eq(plumb_json_string(machine, "build", path, &text), PLUMB_OK);
    cr_expect_eq(strlen(text), 40, "build id: %s", text);
    cr_assert_eq(plumb_json_string(machine, "matmul", path, &text), PLUMB_OK);
    cr_expect_eq(strncmp(text, "oneDNN ", 7), 0);
    const cJSON *rate = plumb_json_get(plumb_json_get(json, "options"), "learning_rate");
    cr_expect(cJSON_IsNumber(rate) && rate->valuedouble == 3e-7);
    cJSON_Delete(json);
    plumb_options_release(&o);
}

Test(manifest, a_run_continued_alike_is_silent_and_other_options_are_named)
{
    struct plumb_options o;
    struct plumb_dpo_config c;
    parse(&o, &c, "3e-7", "None");
    struct plumb_manifest m = { "dpo", &o, 5, 7, 0 };
    cr_assert_eq(plumb_manifest_write(&m, path), PLUMB_OK);
    plumb_options_release(&o);
    parse(&o, &c, "3e-7", "true");
    cr_expect_eq(plumb_manifest_compare(&m, path), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_str_eq(warnings, "");
    plumb_options_release(&o);
    parse(&o, &c, "4e-7", "true");
    m.model_hash = 6;
    cr_expect_eq(plumb_manifest_compare(&m, path), PLUMB_OK);
    cr_expect(strstr(warnings, "learning_rate was 3e-07 and is 4e-07 now"), "%s", warnings);
    cr_expect(strstr(warnings, "the starting model has other weights"), "%s", warnings);
    plumb_options_release(&o);
}

Test(manifest, other_data_or_another_command_is_refused)
{
    struct plumb_options o;
    struct plumb_dpo_config c;
    parse(&o, &c, "3e-7", "None");
    struct plumb_manifest m = { "dpo", &o, 5, 7, 0 };
    cr_assert_eq(plumb_manifest_write(&m, path), PLUMB_OK);
    m.dataset_hash = 8;
    cr_expect_eq(plumb_manifest_compare(&m, path), PLUMB_EINVAL);
    cr_expect(strstr(plumb_errmsg(), "training rows"), "%s", plumb_errmsg());
    m.dataset_hash = 7;
    m.command = "sft";
    cr_expect_eq(plumb_manifest_compare(&m, path), PLUMB_EINVAL);
    cr_expect_eq(plumb_manifest_compare(&m, "/no/such/manifest.json"), PLUMB_EIO);
    plumb_options_release(&o);
}

Test(manifest, the_hash_of_weights_sees_every_byte_name_and_shape)
{
    float data[5] = { 1, 2, 3, 4, 5 };
    struct plumb_weight t = { .name = "a",
                              .dtype = "F32",
                              .rank = 2,
                              .shape = { 1, 5 },
                              .count = 5,
                              .data = data,
                              .bytes = sizeof data };
    const struct plumb_weights w = { .tensor = &t, .count = 1 };
    const uint64_t h = plumb_manifest_hash_weights(&w);
    cr_expect_eq(plumb_manifest_hash_weights(&w), h);
    for (size_t i = 0; i < sizeof data; i++) {
        ((unsigned char *)data)[i] ^= 1;
        cr_expect_neq(plumb_manifest_hash_weights(&w), h, "byte %zu", i);
        ((unsigned char *)data)[i] ^= 1;
    }
    t.shape[0] = 5, t.shape[1] = 1;
    cr_expect_neq(plumb_manifest_hash_weights(&w), h);
    t.shape[0] = 1, t.shape[1] = 5;
    t.name = "b";
    cr_expect_neq(plumb_manifest_hash_weights(&w), h);
}
