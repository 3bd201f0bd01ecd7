/* Files of llama2.c: the shared models against their Hugging Face folders, a made one broken in
 * every way. */
#include "io/llama2c.h"

#include <math.h>

#include "io/checkpoint.h"
#include "io/hf_model.h"
#include "io/tokenizer.h"
#include "tests/made_model.h"
#include "tests/shared.h"

static double *read_flat(const struct plumb_hf_model *m)
{
    double *flat = calloc((size_t)m->elements, sizeof *flat);
    cr_assert_eq(plumb_hf_model_read(m, PLUMB_F64, flat, false), PLUMB_OK, "%s", plumb_errmsg());
    return flat;
}

static int open_bin(struct plumb_hf_model *m, const char *path)
{
    struct plumb_hf_config config;
    struct plumb_weights weights;
    PLUMB_TRY(plumb_llama2c_model(path, &config, &weights));
    return plumb_hf_model_from(m, &config, &weights, 0);
}

Test(llama2c, models_equal_the_folders_made_of_them)
{
    static const char *const pairs[][2] = {
        { "data/models/stories260K/stories260K.bin", "data/models/stories260K/hf" },
        { "data/models/babyllama105/model5000.bin", "data/models/babyllama105/hf" }
    };
    for (int i = 0; i < 2; i++) {
        char bin[2000], folder[2000];
        struct plumb_hf_model a, b;
        if (!shared_path(bin, sizeof bin, pairs[i][0]) ||
            !shared_path(folder, sizeof folder, pairs[i][1]))
            return;
        cr_assert_eq(open_bin(&a, bin), PLUMB_OK, "%s", plumb_errmsg());
        cr_assert_eq(plumb_hf_model_open(&b, folder, 0), PLUMB_OK, "%s", plumb_errmsg());
        double *x = read_flat(&a), *y = read_flat(&b);
        cr_expect_eq(memcmp(&a.config.model, &b.config.model, sizeof a.config.model), 0);
        cr_expect(a.elements == b.elements && !memcmp(x, y, (size_t)a.elements * sizeof *x));
        free(x);
        free(y);
        plumb_hf_model_release(&a);
        plumb_hf_model_release(&b);
    }
}

Test(llama2c, the_tokenizer_gives_the_ids_of_the_folders)
{
    char bin[2000], folder[2000], text[2000], dir[] = "/tmp/plumb_llama2c_XXXXXX", *stories;
    struct plumb_text a, b;
    struct plumb_idbuf x = { 0 }, y = { 0 };
    size_t n;
    if (!shared_path(bin, sizeof bin, "data/models/stories260K/tok512.bin") ||
        !shared_path(folder, sizeof folder, "data/models/stories260K/hf") ||
        !shared_path(text, sizeof text, "data/text/tinystories/tiny_stories.txt.gz"))
        return;
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(plumb_llama2c_write_tokenizer(bin, 512, dir), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_tokenizer_open(&a, dir), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_tokenizer_open(&b, folder), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(plumb_file_read(text, 0, &stories, &n), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(a.encode(a.self, stories, n, true, &x), PLUMB_OK);
    cr_assert_eq(b.encode(b.self, stories, n, true, &y), PLUMB_OK);
    cr_expect(x.n == y.n && !memcmp(x.id, y.id, (size_t)x.n * sizeof *x.id));
    cr_expect(a.bos_id == 1 && a.eos_id == 2 && a.add_bos);
    free(stories);
    plumb_idbuf_release(&x);
    plumb_idbuf_release(&y);
    plumb_tokenizer_release(&a);
    plumb_tokenizer_release(&b);
    cr_expect_eq(plumb_llama2c_write_tokenizer(bin, 513, dir), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "piece 512"), "%s", plumb_errmsg());
    plumb_folder_remove(dir);
}

/* Width 4, ffn 3, one layer, two heads, one of keys, vocabulary 5 with its own head, 6 positions;
 * number i of the file is i. */
enum { NUMBERS = 20 + 4 + 16 + 8 + 8 + 16 + 4 + 12 + 12 + 12 + 4 + 12 + 20 };

static size_t build(char *out)
{
    static const int32_t header[7] = { 4, 3, 1, 2, 1, -5, 6 };
    memcpy(out, header, sizeof header);
    for (int i = 0; i < NUMBERS; i++)
        memcpy(out + sizeof header + 4 * i, &(float){ (float)i }, 4);
    return sizeof header + 4 * (size_t)NUMBERS;
}

Test(llama2c, a_made_file_reads_and_broken_ones_are_refused)
{
    char data[4 * NUMBERS + 100], path[] = "/tmp/plumb_llama2c_XXXXXX";
    struct plumb_hf_model m;
    double x[20];
    const size_t n = build(data);
    close(mkstemp(path));
    cr_assert_eq(plumb_file_write(path, data, n), PLUMB_OK);
    cr_assert_eq(open_bin(&m, path), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect(!m.config.model.tied && m.weights.count == 12);
    const int64_t head = plumb_weights_find(&m.weights, "lm_head.weight");
    const int64_t q = plumb_weights_find(&m.weights, "model.layers.0.self_attn.q_proj.weight");
    cr_assert_eq(m.weights.read(&m.weights, head, 0, 20, x), PLUMB_OK);
    cr_expect_eq(x[0], NUMBERS - 20);
    cr_assert_eq(m.weights.read(&m.weights, q, 0, 16, x), PLUMB_OK);
    cr_expect(x[0] == 24 && x[4] == 28 && x[8] == 32, "heads of two rows keep their order");
    plumb_hf_model_release(&m);
    for (size_t cut = 0; cut < n; cut += cut < 40 ? 1 : 37) {
        cr_assert_eq(plumb_file_write(path, data, cut), PLUMB_OK);
        cr_expect_eq(open_bin(&m, path), PLUMB_EFORMAT, "cut at %zu", cut);
    }
    for (size_t at = 0; at < 28; at++)
        for (int change = 1; change < 256; change = change * 2 + 1) {
            data[at] = (char)(data[at] ^ change);
            cr_assert_eq(plumb_file_write(path, data, n), PLUMB_OK);
            if (open_bin(&m, path) == PLUMB_OK) plumb_hf_model_release(&m);
            data[at] = (char)(data[at] ^ change);
        }
    cr_assert_eq(plumb_file_write(path, data, n), PLUMB_OK);
    FILE *f = fopen(path, "ab");
    cr_assert(f && fputc(0, f) == 0 && fclose(f) == 0);
    cr_expect_eq(open_bin(&m, path), PLUMB_EFORMAT);
    cr_expect(strstr(plumb_errmsg(), "1 bytes follow"), "%s", plumb_errmsg());
    unlink(path);
}
