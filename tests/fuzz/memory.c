/* The most memory that each loader takes, as a multiple of its file's bytes, for files made to take
 * much: nesting, tiny parts, huge counts, long strings, gzip of nothing. Fails over the multiple
 * that the loader's header states. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "io/chat.h"
#include "io/checkpoint.h"
#include "io/dataset.h"
#include "io/fake_text.h"
#include "io/gguf_model.h"
#include "io/hf_model.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/tokenizer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/heap.h"
#include "tools/train_options.h"

enum { SIZE = 1 << 20, FREE = 8 << 20 }; /* of a file about; bytes that any loader may take */

struct content {
    char at[2 * SIZE];
    size_t n;
};
static struct content file;
static bool packed; /* then the file counts as what plumb_file_read lets gzip make of it */
static int failures;

static void put(const void *data, size_t n)
{
    if (file.n + n > sizeof file.at) return;
    memcpy(file.at + file.n, data, n);
    file.n += n;
}
static void put_text(const char *s) { put(s, strlen(s)); }
static void put_number(int64_t n)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)n);
    put_text(text);
}
static void put_le(uint64_t v, size_t n) { put(&v, n); }
/* head, then `part` until the file is large, then tail; '#' in a part is a number that grows. */
static void fill(const char *head, const char *part, const char *tail)
{
    packed = false;
    file.n = 0;
    put_text(head);
    for (int64_t i = 0; file.n < SIZE; i++)
        for (const char *p = part; *p; p++)
            if (*p == '#')
                put_number(i);
            else
                put(p, 1);
    put_text(tail);
}

static void pack(void)
{
    static unsigned char out[SIZE];
    z_stream z = { .next_in = (unsigned char *)file.at,
                   .avail_in = (unsigned)file.n,
                   .next_out = out,
                   .avail_out = sizeof out };
    PLUMB_ASSERT(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) == Z_OK);
    PLUMB_ASSERT(deflate(&z, Z_FINISH) == Z_STREAM_END);
    file.n = 0;
    put(out, z.total_out);
    packed = true;
    deflateEnd(&z);
}

typedef int loader(const char *path);

/* One row of the table. */
static void measure(const char *what, const char *name, loader *load, int64_t most)
{
    const char *path = fuzz_file(name, (struct fuzz_part){ file.at, file.n });
    heap_peak();
    plumb_errclear();
    const int rc = load(path);
    const int64_t peak = heap_peak();
    const size_t bytes = packed ? SIZE + 100 * file.n : file.n;
    const double times = (double)(peak > FREE ? peak - FREE : 0) / (double)bytes;
    const bool good = times <= (double)most;
    failures += !good;
    printf("%-44s %8zu bytes, peak %10lld: %5.1f times, at most %lld%s%s%.60s\n", what, file.n,
           (long long)peak, times, (long long)most, good ? "" : "  TOO MUCH", rc ? "; " : "",
           rc ? plumb_errmsg() : "");
}

static int load_json(const char *path)
{
    cJSON *json;
    const int rc = plumb_json_load(path, 0, &json);
    cJSON_Delete(json);
    return rc;
}

static int load_safetensors(const char *path)
{
    struct plumb_weights w;
    const int rc = plumb_safetensors_open(&w, path);
    plumb_weights_release(&w);
    return rc;
}

static int load_gguf(const char *path)
{
    struct plumb_hf_model m;
    const int rc = plumb_hf_model_open(&m, path, 0);
    if (!rc) plumb_hf_model_release(&m);
    return rc;
}

static int load_tokenizer(const char *path)
{
    struct plumb_text t;
    const int rc = plumb_tokenizer_open(&t, path);
    if (!rc) plumb_tokenizer_release(&t);
    return rc;
}

static int load_folder_tokenizer(const char *path)
{
    (void)path;
    return load_tokenizer(fuzz_folder());
}

static int load_config(const char *path)
{
    struct plumb_hf_config c;
    struct plumb_hf_model m;
    (void)path;
    PLUMB_TRY(plumb_hf_config_read(&c, fuzz_folder()));
    PLUMB_TRY(plumb_hf_model_plan(&m, &c));
    plumb_hf_model_release(&m);
    return PLUMB_OK;
}

static int load_yaml(const char *path)
{
    char option[160];
    char *argv[] = { "x", option, NULL };
    struct plumb_dpo_config c;
    struct plumb_options o;
    snprintf(option, sizeof option, "--config=%s", path);
    const int rc = plumb_options_parse(&o, &plumb_dpo_options, &c, 2, argv);
    if (!rc) plumb_options_release(&o);
    return rc;
}

static int load_template(const char *path)
{
    struct plumb_jinja *t;
    (void)path;
    const int rc = plumb_jinja_open(file.at, file.n, "template", &t);
    plumb_jinja_release(t);
    return rc;
}

static int load_rows(const char *path)
{
    struct fake_text fake = { .bos = true };
    const struct plumb_text text = fake_text(&fake);
    const struct plumb_dataset_options o = { .paths = &path,
                                             .path_count = 1,
                                             .text = &text,
                                             .skip_bad_rows = true };
    struct plumb_dataset set;
    const int rc = plumb_dataset_open(&o, &set);
    plumb_dataset_release(&set);
    return rc;
}

static int load_checkpoint(const char *path)
{
    struct plumb_checkpoint c;
    (void)path;
    const int rc = plumb_checkpoint_open(&c, fuzz_folder());
    plumb_checkpoint_release(&c);
    return rc;
}

static void json(void)
{
    enum { MOST = 48 };
    fill("[0", ",0", "]");
    measure("json: numbers", "a.json", load_json, MOST);
    fill("[{}", ",{}", "]");
    measure("json: empty objects", "a.json", load_json, MOST);
    fill("{\"\":0", ",\"#\":\"\"", "}");
    measure("json: names", "a.json", load_json, MOST);
    fill("[", "[", "");
    measure("json: nesting", "a.json", load_json, MOST);
    fill("\"", "long ", "\"");
    measure("json: a long string", "a.json", load_json, MOST);
    fill("[0", ",0", "]");
    pack();
    measure("json: packed numbers", "a.json", load_json, MOST);
}

static void safetensors_of(const char *head, const char *part, const char *tail)
{
    fill(head, part, tail);
    const uint64_t n = file.n;
    memmove(file.at + 8, file.at, file.n);
    memcpy(file.at, &n, 8);
    file.n += 8;
}

static void safetensors(void)
{
    enum { MOST = 48 };
    safetensors_of("{\"#\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                   ",\"#\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", "}");
    measure("safetensors: empty tensors", "a.safetensors", load_safetensors, MOST);
    safetensors_of("{\"a\":[0", ",0", "]}");
    measure("safetensors: numbers", "a.safetensors", load_safetensors, MOST);
    safetensors_of("{\"__metadata__\":{\"\":\"\"", ",\"#\":\"\"", "}}");
    measure("safetensors: metadata", "a.safetensors", load_safetensors, MOST);
    fill("{\"weight_map\":{\"\":\"x\"", ",\"#\":\"\"", "}}");
    measure("safetensors: an index", "a.safetensors.index.json", load_safetensors, MOST);
}

static void gguf_head(uint64_t tensors, uint64_t keys)
{
    file.n = 0;
    put("GGUF\3\0\0\0", 8);
    put_le(tensors, 8);
    put_le(keys, 8);
}
static void gguf_string(const char *s)
{
    put_le(strlen(s), 8);
    put_text(s);
}
static void gguf_key(const char *key, uint32_t type)
{
    gguf_string(key);
    put_le(type, 4);
}

static void gguf(void)
{
    enum { MOST = 32, TOKENS = 100, COUNT = 40000 };
    char name[32];
    packed = false;
    gguf_head(COUNT / 2, 0);
    for (int i = 0; i < COUNT / 2; i++) {
        snprintf(name, sizeof name, "%x", (unsigned)i);
        gguf_string(name);
        put_le(1, 4), put_le(1, 8), put_le(0, 4), put_le(0, 8);
    }
    measure("gguf: tensors", "a.gguf", load_gguf, MOST);
    gguf_head(0, COUNT);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "%x", (unsigned)i);
        gguf_key(name, 0);
        put("", 1);
    }
    measure("gguf: keys", "a.gguf", load_gguf, MOST);
    gguf_head(UINT64_MAX, UINT64_MAX);
    measure("gguf: huge counts", "a.gguf", load_gguf, MOST);
    gguf_head(0, 3);
    gguf_key("tokenizer.ggml.model", 8);
    gguf_string("llama");
    gguf_key("tokenizer.ggml.tokens", 9);
    put_le(8, 4), put_le(1000, 8);
    static char piece[1001];
    for (int i = 0; i < 1000; i++) { /* a, aa, aaa, ...: every cut of each is a merge */
        piece[i] = 'a';
        gguf_string(piece);
    }
    gguf_key("tokenizer.ggml.scores", 9);
    put_le(6, 4), put_le(1000, 8);
    for (int i = 0; i < 1000; i++)
        put_le(0, 4);
    measure("gguf: pieces of pieces", "a.gguf", load_tokenizer, TOKENS);
}

static void tokenizers(void)
{
    enum { MOST = 160 };
    fill("{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{\"a\":999999", ",\"#\":#", "}}}");
    measure("tokenizer.json: pieces", "t.json", load_tokenizer, MOST);
    fill("{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{\"a\":16777215", " ", "}}}");
    measure("tokenizer.json: a high id", "t.json", load_tokenizer, MOST);
    fill("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\",0]", ",[\"#xyzuvw#\",0]",
         "]}}");
    measure("tokenizer.json: unigram", "t.json", load_tokenizer, MOST);
    fill("{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{}},\"added_tokens\":["
         "{\"id\":0,\"content\":\"a\"}",
         ",{\"id\":1,\"content\":\"#long#\"}", "]}");
    measure("tokenizer.json: added tokens", "t.json", load_tokenizer, MOST);
    fill("{\"model\":{\"type\":\"BPE\",\"merges\":[\"a a\"", ",\"a a\"",
         "],\"vocab\":{\"a\":0,\"aa\":1}}}");
    measure("tokenizer.json: merges", "t.json", load_tokenizer, MOST);
    fill("{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{\"a\":0}},\"post_processor\":{"
         "\"type\":\"TemplateProcessing\",\"special_tokens\":{\"a\":{\"ids\":[0]}},\"single\":["
         "{\"Sequence\":{\"id\":\"A\"}}",
         ",{\"SpecialToken\":{\"id\":\"a\"}}", "]}}");
    measure("tokenizer.json: a long template", "t.json", load_tokenizer, MOST);
    fill("{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{\"a\":0", ",\"#\":#", "}}}");
    pack();
    measure("tokenizer.json: packed", "tokenizer.json.gz", load_folder_tokenizer, MOST);
    plumb_folder_remove(fuzz_folder());
    plumb_dir_make(fuzz_folder());
    packed = false;
    file.n = 0;
    for (int i = 0; file.n < SIZE; i++) { /* field 1 of 12 bytes: a piece of 5, a score */
        char one[16];
        snprintf(one, sizeof one, "%05x", (unsigned)i);
        put("\x0a\x0c\x0a\x05", 4);
        put(one, 5);
        put("\x15\0\0\0\0", 5);
    }
    measure("tokenizer.model: pieces", "tokenizer.model", load_folder_tokenizer, MOST);
}

static void others(void)
{
    fill("{\"model_type\":\"llama\",\"a\":[0", ",0", "]}");
    measure("config.json: numbers", "config.json", load_config, 48);
    file.n = 0;
    put_text("{\"model_type\":\"llama\",\"vocab_size\":2147483647,\"hidden_size\":8,\"intermediate_"
             "size\":8,\"num_hidden_layers\":9007199254740992,\"num_attention_heads\":2,"
             "\"max_position_embeddings\":16}");
    measure("config.json: endless layers", "config.json", load_config, 48);
    fill("report_to: [a", ",a", "]");
    file.n = file.n > SIZE ? SIZE : file.n;
    measure("config.yaml: a list", "a.yaml", load_yaml, 256);
    fill("x: ", "[", "");
    file.n = SIZE;
    measure("config.yaml: nesting", "a.yaml", load_yaml, 256);
    fill("", "{{a}}", "");
    measure("template: names", "a.jinja", load_template, 256);
    fill("{{ 1", "+1", "}}");
    measure("template: a sum", "a.jinja", load_template, 256);
    fill("{{ ", "(", "");
    measure("template: brackets", "a.jinja", load_template, 256);
    fill("{\"format\":\"plumb-checkpoint/1\",\"step\":1,\"files\":[0", ",0", "]}");
    measure("checkpoint: files", PLUMB_CHECKPOINT_INDEX, load_checkpoint, 48);
}

static void datasets(void)
{
    enum { MOST = 80 };
    fill("", "{\"text\":\"a\"}\n", "");
    measure("rows: short texts", "a.jsonl", load_rows, MOST);
    fill("{\"text\":\"", "long ", "\"}\n");
    measure("rows: a long text", "a.jsonl", load_rows, MOST);
    fill("{\"text\":\"a\"}\n", "{}\n", "");
    measure("rows: bad ones", "a.jsonl", load_rows, MOST);
    fill("{\"input_ids\":[1", ",1", "]}\n");
    measure("rows: ids", "a.jsonl", load_rows, MOST);
    fill("{\"text\":\"a\",\"b\":[0", ",0", "]}\n");
    measure("rows: a column that nobody reads", "a.jsonl", load_rows, MOST);
    fill("[{\"text\":\"a\"}", ",{\"text\":\"a\"}", "]");
    measure("rows: an array", "a.json", load_rows, MOST);
    fill("text\n", "a\n", "");
    measure("rows: CSV", "a.csv", load_rows, 2 * MOST); /* a row of two bytes is a struct, too */
    fill("text", ",a#", "\n");
    measure("rows: CSV with a wide header", "a.csv", load_rows, MOST);
    fill("{\"text\":\"a\"}\n", "{}\n", "");
    pack();
    measure("rows: packed", "a.jsonl.gz", load_rows, MOST);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (heap_peak() < 0) {
        printf("memory is not counted in this build\n");
        return 0;
    }
    fuzz_folder();
    json();
    safetensors();
    gguf();
    tokenizers();
    others();
    datasets();
    printf("%d over their multiple\n", failures);
    return failures != 0;
}
