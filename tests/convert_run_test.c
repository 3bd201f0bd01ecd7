/* `plumb convert` as a user runs it. */
#include "tests/shared.h"
#include "tests/tiny_run.h"

static struct program p;

static void convert(const struct tiny *t, const char *in, const char *out, const char *option,
                    const char *value)
{
    char from[512], to[512];
    snprintf(from, sizeof from, "%s", in[0] == '/' ? in : tiny_path(t, in));
    snprintf(to, sizeof to, "%s", tiny_path(t, out));
    if (option)
        PROGRAM_RUN(&p, "convert", from, to, option, value);
    else
        PROGRAM_RUN(&p, "convert", from, to);
}

static void converts(const struct tiny *t, const char *in, const char *out, const char *option,
                     const char *value)
{
    convert(t, in, out, option, value);
    cr_assert_eq(p.code, 0, "%s", p.err);
}

static void refuses(const struct tiny *t, int code, const char *in, const char *out,
                    const char *option, const char *value, const char *why)
{
    convert(t, in, out, option, value);
    cr_expect_eq(p.code, code, "%s", p.err);
    cr_expect(strstr(p.err, why), "wanted \"%s\", got: %s", why, p.err);
}

static void same_tensors(const char *a, const char *b)
{
    struct plumb_weights x, y;
    cr_assert_eq(plumb_safetensors_open(&x, a), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_safetensors_open(&y, b), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(x.count, y.count);
    for (int64_t i = 0; i < x.count; i++)
        cr_expect(!strcmp(x.tensor[i].name, y.tensor[i].name) &&
                      x.tensor[i].bytes == y.tensor[i].bytes &&
                      !memcmp(x.tensor[i].data, y.tensor[i].data, x.tensor[i].bytes),
                  "%s", x.tensor[i].name);
    plumb_weights_release(&x);
    plumb_weights_release(&y);
}

Test(convert_run, folders_and_files_come_back_to_the_bit)
{
    struct tiny t;
    char model[512], back[512];
    tiny_init(&t);
    snprintf(model, sizeof model, "%s", tiny_path(&t, "model"));
    converts(&t, "model", "m.gguf", "--outtype", "f32");
    converts(&t, "m.gguf", "back", NULL, NULL);
    snprintf(back, sizeof back, "%s", tiny_path(&t, "back"));
    same_tensors(model, back);
    converts(&t, "model", "half", "--dtype", "bfloat16");
    converts(&t, "half", "half.gguf", NULL, NULL); /* auto: bf16 */
    converts(&t, "half.gguf", "half2", NULL, NULL);
    snprintf(model, sizeof model, "%s", tiny_path(&t, "half"));
    snprintf(back, sizeof back, "%s", tiny_path(&t, "half2"));
    same_tensors(model, back);
    converts(&t, "half", "shards", "--max_shard_size", "0.5KB");
    cr_expect(plumb_file_exists(tiny_path(&t, "shards/model.safetensors.index.json")));
    cr_expect(plumb_file_exists(tiny_path(&t, "shards/model-00001-of-00005.safetensors")), "%s",
              p.err);
    snprintf(back, sizeof back, "%s", tiny_path(&t, "shards"));
    same_tensors(model, back);
    tiny_release(&t);
}

Test(convert_run, says_what_does_not_go_together)
{
    struct tiny t;
    tiny_init(&t);
    refuses(&t, 2, "model", "model", NULL, NULL, "is the model itself");
    refuses(&t, 2, "model", "x.gguf", "--dtype", "float16", "a GGUF file takes --outtype");
    refuses(&t, 2, "model", "x", "--outtype", "f16", "a folder takes --dtype");
    refuses(&t, 2, "model", "x.gguf", "--outtype", "q4_0", "q8_0");
    refuses(&t, 2, "model", "x", "--max_shard_size", "5 apples", "want a size as 5GB");
    converts(&t, "model", "x", NULL, NULL);
    refuses(&t, 2, "model", "x", NULL, NULL, "--overwrite replaces it");
    converts(&t, "model", "x", "--overwrite", "true");
    refuses(&t, 1, "gone", "y", NULL, NULL, "gone");
    cr_assert_eq(plumb_file_write(tiny_path(&t, "m.pt"), "\x80\x02}q\0.", 6), PLUMB_OK);
    refuses(&t, 1, "m.pt", "y", NULL, NULL, "torch.load");
    cr_assert_eq(plumb_file_write(tiny_path(&t, "junk.gguf"), "GGUF", 4), PLUMB_OK);
    refuses(&t, 1, "junk.gguf", "y", NULL, NULL, "is not GGUF");
    cr_expect(!plumb_file_exists(tiny_path(&t, "y")));
    tiny_release(&t);
}

/* What a trained model says after the way through a GGUF file, tokenizer included. */
Test(convert_run, a_real_model_says_the_same_from_each_form)
{
    static const char *const forms[] = { "f32.gguf", "f16.gguf", "back" };
    struct tiny t;
    static char text[sizeof p.out];
    char folder[1500];
    if (!shared_path(folder, sizeof folder, "data/models/stories260K/hf")) return;
    tiny_init(&t);
    converts(&t, folder, "f32.gguf", "--outtype", "f32");
    converts(&t, folder, "f16.gguf", "--outtype", "f16");
    converts(&t, "f32.gguf", "back", NULL, NULL);
    PROGRAM_RUN(&p, "generate", "--model_name_or_path", folder, "--prompt", "Once upon a time",
                "--max_new_tokens", "60", "--bf16", "false");
    cr_assert_eq(p.code, 0, "%s", p.err);
    memcpy(text, p.out, sizeof text);
    cr_expect(strstr(text, "Lily"), "%s", text);
    for (int i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s", tiny_path(&t, forms[i]));
        PROGRAM_RUN(&p, "generate", "--model_name_or_path", path, "--prompt", "Once upon a time",
                    "--max_new_tokens", "60", "--bf16", "false");
        cr_expect(p.code == 0 && !strcmp(p.out, text), "%s: %s%s", forms[i], p.out, p.err);
    }
    tiny_release(&t);
}
