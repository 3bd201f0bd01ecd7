#include "io/safetensors.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/file.h"
#include "io/pickle.h"

static char dir[] = "/tmp/plumb_safetensors_XXXXXX";

static void setup(void) { cr_assert_not_null(mkdtemp(dir)); }

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int next;
    char *p = path[next++ % 4];
    cr_assert_eq(plumb_path_join(p, sizeof path[0], dir, name), PLUMB_OK);
    return p;
}

static void teardown(void)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') remove(in_dir(e->d_name));
    if (d) closedir(d);
    rmdir(dir);
}

TestSuite(safetensors, .init = setup, .fini = teardown);

/* A file of a header text and data bytes 0, 1, 2, ...; `claimed` replaces the header's length
 * unless 0. */
static void put(const char *name, const char *header, uint64_t claimed, size_t data)
{
    FILE *f = fopen(in_dir(name), "wb");
    cr_assert_not_null(f);
    const uint64_t n = claimed ? claimed : strlen(header);
    fwrite(&n, 1, 8, f);
    fwrite(header, 1, strlen(header), f);
    for (size_t i = 0; i < data; i++)
        fputc((int)(i & 0x3F), f);
    fclose(f);
}

static void refuse(const char *name, const char *what)
{
    struct plumb_weights w;
    cr_expect_eq(plumb_safetensors_open(&w, in_dir(name)), PLUMB_EFORMAT, "%s was taken", what);
    cr_expect(strstr(plumb_errmsg(), what) && strstr(plumb_errmsg(), dir), "wanted \"%s\", got: %s",
              what, plumb_errmsg());
    cr_expect_null(w.self);
    plumb_weights_release(&w);
}

/* A table with one four-byte tensor whose fields are given, over `data` bytes. */
static void refuse_entry(const char *entry, size_t data, const char *what)
{
    char header[1024];
    snprintf(header, sizeof header, "{\"t\": %s}", entry);
    put("m.safetensors", header, 0, data);
    refuse("m.safetensors", what);
}

#define GOOD "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"

Test(safetensors, a_small_file_reads)
{
    const char *header =
        "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"BF16\",\"shape\":[2],"
        "\"data_offsets\":[8,12]},\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],"
        "\"data_offsets\":[0,8]},\"e\":{\"dtype\":\"I64\",\"shape\":[0],"
        "\"data_offsets\":[12,12]},\"s\":{\"dtype\":\"BOOL\",\"shape\":[],"
        "\"data_offsets\":[12,13]}}  ";
    put("m.safetensors", header, 0, 13);
    struct plumb_weights w;
    cr_assert_eq(plumb_safetensors_open(&w, dir), PLUMB_EIO, "the name is not model.safetensors");
    cr_assert_eq(plumb_safetensors_open(&w, in_dir("m.safetensors")), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_assert_eq(w.count, 4);
    const int64_t a = plumb_weights_find(&w, "a"), b = plumb_weights_find(&w, "b");
    cr_assert(a == 0 && b == 1 && plumb_weights_find(&w, "c") == -1);
    cr_expect(w.tensor[a].rank == 2 && w.tensor[a].shape[0] == 2 && w.tensor[a].count == 2);
    cr_expect(w.tensor[plumb_weights_find(&w, "s")].rank == 0 && w.tensor[3].count == 1);
    double x;
    const uint32_t bits = 0x07060504; /* bytes 4 to 7 */
    float want;
    memcpy(&want, &bits, 4);
    cr_assert_eq(w.read(&w, a, 1, 1, &x), PLUMB_OK);
    cr_expect_eq(x, (double)want);
    cr_expect_eq(w.read(&w, plumb_weights_find(&w, "s"), 0, 1, &x), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "\"s\" of dtype BOOL"), "%s", plumb_errmsg());
    plumb_weights_release(&w);
}

/* One tensor of so many bytes. */
static void put_numbers(const char *dtype, const void *data, size_t bytes, size_t each)
{
    char header[256];
    snprintf(header, sizeof header,
             "{\"t\":{\"dtype\":\"%s\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}", dtype,
             bytes / each, bytes);
    put("m.safetensors", header, 0, 0);
    FILE *f = fopen(in_dir("m.safetensors"), "ab");
    cr_assert(f && fwrite(data, 1, bytes, f) == bytes && fclose(f) == 0);
}

/* What the definitions say: sign, exponent with its bias, mantissa; subnormals at exponent 0. E4M3
 * (bias 7) has no infinity and NaN where all seven bits are set; E5M2 (bias 15) is IEEE's; E8M0 is
 * 2^(b - 127), NaN at 255. */
static double f8_by_definition(int exponent_bits, int b)
{
    if (exponent_bits == 8) return b == 255 ? (double)NAN : ldexp(1, b - 127);
    const int mantissa_bits = 7 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    const int e = (b & 127) >> mantissa_bits, m = b & ((1 << mantissa_bits) - 1);
    const double sign = b & 128 ? -1 : 1, one = 1 << mantissa_bits;
    if (exponent_bits == 5 && e == 31) return m ? (double)NAN : sign * (double)INFINITY;
    if (exponent_bits == 4 && (b & 127) == 127) return (double)NAN;
    return sign * (e ? ldexp(1 + m / one, e - bias) : ldexp(m / one, 1 - bias));
}

Test(safetensors, all_256_codes_of_each_8_bit_float)
{
    static const struct {
        const char *dtype;
        int exponent_bits;
        double greatest, least;
    } rows[] = { { "F8_E4M3", 4, 448, 0x1p-9 },
                 { "F8_E5M2", 5, 57344, 0x1p-16 },
                 { "F8_E8M0", 8, 0x1p127, 0x1p-127 } };
    unsigned char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    for (int k = 0; k < 3; k++) {
        struct plumb_weights w;
        double x[256], greatest = 0, least = INFINITY;
        put_numbers(rows[k].dtype, all, 256, 1);
        cr_assert_eq(plumb_safetensors_open(&w, in_dir("m.safetensors")), PLUMB_OK);
        cr_assert_eq(w.read(&w, 0, 0, 256, x), PLUMB_OK, "%s", plumb_errmsg());
        for (int i = 0; i < 256; i++) {
            const double want = f8_by_definition(rows[k].exponent_bits, i);
            cr_expect(isnan(want) ? isnan(x[i]) : x[i] == want && signbit(x[i]) == signbit(want),
                      "%s 0x%02x is %g, not %g", rows[k].dtype, i, x[i], want);
            if (isfinite(x[i])) greatest = fmax(greatest, x[i]);
            if (x[i] > 0) least = fmin(least, x[i]);
        }
        cr_expect(greatest == rows[k].greatest && least == rows[k].least);
        plumb_weights_release(&w);
    }
}

Test(safetensors, whole_numbers_are_exact_or_refused)
{
    static const struct {
        const char *dtype;
        uint64_t bits;
        size_t bytes;
        double want; /* NaN = refused */
    } rows[] = { { "I8", 0x80, 1, -128 },
                 { "U8", 0x80, 1, 128 },
                 { "I16", 0xFFFE, 2, -2 },
                 { "U16", 0xFFFE, 2, 65534 },
                 { "I32", 0x80000000, 4, -2147483648.0 },
                 { "U32", 0x80000000, 4, 2147483648.0 },
                 { "I64", UINT64_MAX, 8, -1 },
                 { "I64", UINT64_C(1) << 53, 8, 0x1p53 },
                 { "I64", (UINT64_C(1) << 53) + 1, 8, NAN },
                 { "I64", UINT64_C(1) << 63, 8, NAN },
                 { "U64", UINT64_MAX, 8, NAN },
                 { "U64", 5, 8, 5 } };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct plumb_weights w;
        double x;
        put_numbers(rows[k].dtype, &rows[k].bits, rows[k].bytes, rows[k].bytes);
        cr_assert_eq(plumb_safetensors_open(&w, in_dir("m.safetensors")), PLUMB_OK);
        const int rc = w.read(&w, 0, 0, 1, &x);
        cr_expect_eq(rc, isnan(rows[k].want) ? PLUMB_ENUM : PLUMB_OK, "%s: %s", rows[k].dtype,
                     plumb_errmsg());
        cr_expect(rc ? strstr(plumb_errmsg(), "over 2^53") != NULL : x == rows[k].want,
                  "%s is %.17g", rows[k].dtype, x);
        plumb_weights_release(&w);
    }
}

Test(safetensors, damaged_headers_are_refused)
{
    put("m.safetensors", "", UINT64_C(1) << 60, 0);
    refuse("m.safetensors", "header of 1152921504606846976 bytes");
    put("m.safetensors", "{}", 1000, 0);
    refuse("m.safetensors", "truncated inside its header");
    put("m.safetensors", "{\"t\": ", 0, 0);
    refuse("m.safetensors", "1:7: the text ends");
    put("m.safetensors", "[]", 0, 0);
    refuse("m.safetensors", "not an object");
    put("m.safetensors", "{\"t\":" GOOD ",\"t\":" GOOD "}", 0, 4);
    refuse("m.safetensors", "twice");
    put("m.safetensors", "{\"__metadata__\":{\"a\":1}}", 0, 0);
    refuse("m.safetensors", "__metadata__");
    FILE *f = fopen(in_dir("m.safetensors"), "wb");
    fwrite("abcd", 1, 4, f);
    fclose(f);
    refuse("m.safetensors", "4 bytes");
    f = fopen(in_dir("m.safetensors"), "wb");
    fclose(f);
    refuse("m.safetensors", "0 bytes");
}

Test(safetensors, every_truncation_is_refused)
{
    const char *header = "{\"t\":" GOOD "}";
    put("whole.safetensors", header, 0, 4);
    char *text;
    size_t n;
    cr_assert_eq(plumb_file_read(in_dir("whole.safetensors"), 0, &text, &n), PLUMB_OK);
    for (size_t cut = 0; cut < n; cut++) {
        FILE *f = fopen(in_dir("m.safetensors"), "wb");
        fwrite(text, 1, cut, f);
        fclose(f);
        struct plumb_weights w;
        cr_expect_eq(plumb_safetensors_open(&w, in_dir("m.safetensors")), PLUMB_EFORMAT,
                     "cut at %zu was taken", cut);
    }
    free(text);
}

Test(safetensors, bad_tensors_are_named)
{
    refuse_entry("3", 4, "tensor \"t\" is a number");
    refuse_entry("{\"shape\":[1],\"data_offsets\":[0,4]}", 4, "\"dtype\" is missing");
    refuse_entry("{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}", 4,
                 "unknown dtype \"F33\"");
    refuse_entry("{\"dtype\":\"F32\",\"data_offsets\":[0,4]}", 4, "shape of tensor \"t\"");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}", 4,
                 "shape of tensor \"t\"");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}", 4, "shape of");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}", 4,
                 "at most 8 sizes");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[1]}", 4, "no valid data_offsets");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}", 4,
                 "no valid data_offsets");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}", 4,
                 "no valid data_offsets");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}", 4,
                 "no valid data_off");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}", 4,
                 "no valid data_off");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}", 4,
                 "\"t\" [2] of F32 does not fill 4 bytes");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,1e15]}", 4, "truncated");
    refuse_entry("{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}", 4,
                 "overflows");
    refuse_entry("{\"dtype\":\"F64\",\"shape\":[4294967296,1073741824],\"data_offsets\":[0,4]}", 4,
                 "does not fill");
}

Test(safetensors, overlaps_gaps_and_tails_are_refused)
{
    const char *two = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                      "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%d,%d]}}";
    char header[512];
    snprintf(header, sizeof header, two, 4, 8);
    put("m.safetensors", header, 0, 8);
    refuse("m.safetensors", "\"a\" and \"b\" overlap");
    snprintf(header, sizeof header, two, 12, 16);
    put("m.safetensors", header, 0, 16);
    refuse("m.safetensors", "4 bytes before tensor \"b\" are unused");
    snprintf(header, sizeof header, two, 8, 12);
    put("m.safetensors", header, 0, 13);
    refuse("m.safetensors", "1 bytes follow the last tensor");
    put("m.safetensors", header, 0, 12);
    struct plumb_weights w;
    cr_expect_eq(plumb_safetensors_open(&w, in_dir("m.safetensors")), PLUMB_OK, "%s",
                 plumb_errmsg());
    plumb_weights_release(&w);
}

/* A source of three tensors for the writer: element i of tensor t is (t + 1) * (i - 2) / 4. */
static int made(const struct plumb_weights *w, int64_t index, int64_t first, int64_t n, double *out)
{
    (void)w;
    for (int64_t i = 0; i < n; i++)
        out[i] = (double)((index + 1) * (first + i - 2)) / 4;
    return PLUMB_OK;
}

static const struct plumb_weight made_tensors[] = {
    { "model.a", "F64", 2, { 3, 5 }, 15, NULL, 0 },
    { "model.\"b\"\n\xC3\xA4", "F64", 1, { 20000 }, 20000, NULL, 0 },
    { "score", "F64", 0, { 0 }, 1, NULL, 0 },
};
static const struct plumb_weights source = { "made", made_tensors, 3, made, NULL, NULL };

/* Expects the tensors of `source`, rounded to `dtype`, at `path`. */
static void expect_source(const char *path, enum plumb_dtype dtype)
{
    struct plumb_weights w;
    cr_assert_eq(plumb_safetensors_open(&w, path), PLUMB_OK, "%s", plumb_errmsg());
    cr_assert_eq(w.count, 3);
    for (int64_t t = 0; t < 3; t++) {
        const int64_t i = plumb_weights_find(&w, made_tensors[t].name);
        cr_assert_geq(i, 0);
        cr_expect_eq(w.tensor[i].rank, made_tensors[t].rank);
        cr_expect_eq(memcmp(w.tensor[i].shape, made_tensors[t].shape, sizeof w.tensor[i].shape), 0);
        for (int64_t e = 0; e < w.tensor[i].count; e++) {
            double x, want;
            cr_assert_eq(w.read(&w, i, e, 1, &x), PLUMB_OK);
            made(NULL, t, e, 1, &want);
            cr_assert_eq(x, plumb_dtype_round(dtype, want));
        }
    }
    plumb_weights_release(&w);
}

Test(safetensors, what_is_written_reads_back)
{
    const enum plumb_dtype dtypes[] = { PLUMB_F64, PLUMB_F32, PLUMB_BF16, PLUMB_F16 };
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(plumb_safetensors_write(in_dir("m.safetensors"), &source, dtypes[i]), PLUMB_OK,
                     "%s", plumb_errmsg());
        expect_source(in_dir("m.safetensors"), dtypes[i]);
    }
}

Test(safetensors, shards_replace_a_single_file_and_back)
{
    cr_assert_eq(plumb_safetensors_write_folder(dir, &source, PLUMB_F32, 0), PLUMB_OK);
    expect_source(dir, PLUMB_F32);
    cr_expect(plumb_file_exists(in_dir("model.safetensors")));
    cr_assert_eq(plumb_safetensors_write_folder(dir, &source, PLUMB_BF16, 1000), PLUMB_OK, "%s",
                 plumb_errmsg());
    cr_expect(!plumb_file_exists(in_dir("model.safetensors")));
    cr_expect(plumb_file_exists(in_dir("model-00003-of-00003.safetensors")));
    expect_source(dir, PLUMB_BF16);
    cr_assert_eq(plumb_safetensors_write_folder(dir, &source, PLUMB_F32, 0), PLUMB_OK);
    cr_expect(!plumb_file_exists(in_dir("model.safetensors.index.json")));
    expect_source(dir, PLUMB_F32);
}

static void put_index(const char *text)
{
    cr_assert_eq(plumb_file_write(in_dir("model.safetensors.index.json"), text, strlen(text)),
                 PLUMB_OK);
}

Test(safetensors, a_wrong_index_is_named)
{
    put("x.safetensors", "{\"t\":" GOOD "}", 0, 4);
    put("y.safetensors", "{\"u\":" GOOD "}", 0, 4);
    put("z.safetensors", "{\"t\":" GOOD "}", 0, 4);
    struct plumb_weights w;
    put_index("{\"weight_map\":{\"t\":\"x.safetensors\",\"u\":\"y.safetensors\"}}");
    cr_assert_eq(plumb_safetensors_open(&w, dir), PLUMB_OK, "%s", plumb_errmsg());
    cr_expect_eq(w.count, 2);
    plumb_weights_release(&w);
    put_index("{\"weight_map\":{\"t\":\"x.safetensors\",\"u\":\"x.safetensors\"}}");
    refuse("", "\"u\" is not in its shard \"x.safetensors\"");
    put_index("{\"weight_map\":{\"u\":\"y.safetensors\",\"t\":\"y.safetensors\",\"v\":\"x."
              "safetensors\"}}");
    refuse("", "\"t\" is not in its shard");
    put_index("{\"weight_map\":{\"t\":\"x.safetensors\",\"u\":\"z.safetensors\"}}");
    refuse("", "\"t\" stands in two shards");
    put_index("{\"weight_map\":{\"t\":\"../x.safetensors\"}}");
    refuse("", "not a plain file name");
    put_index("{\"weight_map\":{\"t\":3}}");
    refuse("", "\"t\" is a number");
    put_index("{}");
    refuse("", "\"weight_map\" is nothing");
    put_index("{\"weight_map\":{\"t\":\"gone.safetensors\"}}");
    cr_expect_eq(plumb_safetensors_open(&w, dir), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "gone.safetensors"), "%s", plumb_errmsg());
}

Test(safetensors, folders_without_weights_say_what_was_sought)
{
    struct plumb_weights w;
    cr_expect_eq(plumb_safetensors_open(&w, dir), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "no model.safetensors"), "%s", plumb_errmsg());
    cr_assert_eq(plumb_file_write(in_dir("pytorch_model.bin"), "", 0), PLUMB_OK);
    cr_expect_eq(plumb_safetensors_open(&w, dir), PLUMB_ENOTSUP);
    cr_expect(strstr(plumb_errmsg(), "/'pytorch_model.bin") &&
                  strstr(plumb_errmsg(), "python3 -c 'import sys, torch"),
              "%s", plumb_errmsg());
    cr_assert_eq(plumb_file_write(in_dir("model.safetensors"), "", 0), PLUMB_OK);
    cr_expect_eq(plumb_pickle_check(dir), PLUMB_OK, "both: the safetensors count");
}

/* What torch.save writes now and wrote before 1.6; another archive is something else. */
Test(safetensors, pickles_are_told_by_their_first_bytes)
{
    static const struct {
        char bytes[64];
        size_t n;
        int rc;
    } rows[] = {
        { "PK\3\4................................pytorch_model/data.pkl", 60, PLUMB_ENOTSUP },
        { "\x80\2\x8a\nl\xfc", 6, PLUMB_ENOTSUP },
        { "PK\3\4................................another archive....", 60, PLUMB_EFORMAT }
    };
    for (int i = 0; i < 3; i++) {
        struct plumb_weights w;
        cr_assert_eq(plumb_file_write(in_dir("it's.pt"), rows[i].bytes, rows[i].n), PLUMB_OK);
        cr_expect_eq(plumb_safetensors_open(&w, in_dir("it's.pt")), rows[i].rc, "%s",
                     plumb_errmsg());
        cr_expect(rows[i].rc != PLUMB_ENOTSUP || strstr(plumb_errmsg(), "it'\\''s.safetensors' '"),
                  "%s", plumb_errmsg());
    }
}

Test(safetensors, a_full_disk_leaves_the_old_file)
{
    cr_assert_eq(plumb_safetensors_write(in_dir("m.safetensors"), &source, PLUMB_BF16), PLUMB_OK);
    cr_expect_eq(plumb_safetensors_write("/dev/full", &source, PLUMB_F32), PLUMB_EIO);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = { 4096, RLIM_INFINITY }, none = { RLIM_INFINITY, RLIM_INFINITY };
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_expect_eq(plumb_safetensors_write(in_dir("m.safetensors"), &source, PLUMB_F32), PLUMB_EIO);
    cr_expect(strstr(plumb_errmsg(), "m.safetensors"), "%s", plumb_errmsg());
    setrlimit(RLIMIT_FSIZE, &none);
    expect_source(in_dir("m.safetensors"), PLUMB_BF16);
    cr_expect(!plumb_file_exists(in_dir("m.safetensors.tmp")));
}
