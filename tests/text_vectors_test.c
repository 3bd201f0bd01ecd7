/* Tokenizers against the vectors of four other projects: llama.cpp, transformers.js,
 * swift-transformers, ggml. What they hold for vocabularies that are not there is counted. */
#include <criterion/criterion.h>

#include <unistd.h>

#include "io/gguf_model.h"
#include "tests/text_rows.h"

/* The shared folder below `data`, or false after saying that the test is skipped. */
static bool data_path(char *out, size_t n, const char *below)
{
    char path[1000];
    snprintf(path, sizeof path, "data/%s", below);
    if (text_shared(out, n, path)) return true;
    const char *required = getenv("PLUMB_REQUIRE_SHARED");
    printf("skipped: \"%s\" is not there\n", out);
    cr_assert(!required || strcmp(required, "1"), "\"%s\" is required", out);
    return false;
}

static bool open_shared(struct plumb_text *t, const char *below)
{
    char path[2000];
    if (!data_path(path, sizeof path, below)) return false;
    cr_assert_eq(plumb_tokenizer_open(t, path), PLUMB_OK, "%s", plumb_errmsg());
    return true;
}

static void report(const char *tokenizer, const char *vectors, const struct text_tally *tally)
{
    printf("%s: %s: %lld rows, %lld checks, %lld wrong\n", tokenizer, vectors,
           (long long)tally->rows, (long long)tally->checks, (long long)tally->wrong);
    cr_expect_gt(tally->rows, 0, "%s: %s: nothing ran", tokenizer, vectors);
    cr_expect_eq(tally->wrong, 0, "%s: %s: %lld of %lld disagree", tokenizer, vectors,
                 (long long)tally->wrong, (long long)tally->checks);
}

/* Ids of decimal numbers parted by anything else. */
static int32_t *parse_ids(const char *s, const char *end, int64_t *count)
{
    int32_t *id = malloc(((size_t)(end - s) + 1) * sizeof *id);
    cr_assert_not_null(id);
    *count = 0;
    while (s < end) {
        char *after;
        const long v = strtol(s, &after, 10);
        if (after == s) {
            s++;
            continue;
        }
        id[(*count)++] = (int32_t)v;
        s = after + (after < end);
    }
    return id;
}

/* llama.cpp: texts parted by a marker line, ids one line a text; no special tokens. */
static void replay_llama_cpp(struct plumb_text *t, const char *tokenizer, const char *vectors)
{
    static const char marker[] = "\n__ggml_vocab_test__\n";
    char path[2000], name[200], *texts, *lines;
    size_t n, lines_n;
    struct text_tally tally = { 0 };
    snprintf(name, sizeof name, "tokenizers/llama.cpp-vocab/ggml-vocab-%s.gguf.inp", vectors);
    cr_assert(data_path(path, sizeof path, name));
    cr_assert_eq(plumb_file_read(path, 0, &texts, &n), PLUMB_OK, "%s", plumb_errmsg());
    memcpy(path + strlen(path) - 3, "out", 3);
    cr_assert_eq(plumb_file_read(path, 0, &lines, &lines_n), PLUMB_OK, "%s", plumb_errmsg());
    const char *line = lines;
    for (const char *s = texts; s; tally.rows++) {
        const char *end = strstr(s, marker), *line_end = strchrnul(line, '\n');
        int64_t count;
        int32_t *id = parse_ids(line, line_end, &count);
        char row[40];
        snprintf(row, sizeof row, "text %lld", (long long)tally.rows);
        text_check_ids(t, &tally, vectors, row, "ids", s, end ? (size_t)(end - s) : strlen(s),
                       false, id, count);
        free(id);
        s = end ? end + strlen(marker) : NULL;
        line = line_end + (*line_end == '\n');
    }
    cr_expect_eq(*line, 0, "%s: more lines of ids than texts", vectors);
    free(texts);
    free(lines);
    report(tokenizer, vectors, &tally);
}

/* ggml: lines "text => id,id,...". */
static void replay_ggml(struct plumb_text *t, const char *tokenizer, const char *vectors)
{
    char path[2000], name[200], *lines;
    size_t n;
    struct text_tally tally = { 0 };
    snprintf(name, sizeof name, "tokenizers/vectors/ggml-prompts/%s.txt", vectors);
    cr_assert(data_path(path, sizeof path, name));
    cr_assert_eq(plumb_file_read(path, 0, &lines, &n), PLUMB_OK, "%s", plumb_errmsg());
    for (char *s = lines, *end; *s; s = end + (*end == '\n')) {
        end = strchr(s, '\n');
        if (!end) end = s + strlen(s);
        const char *arrow = memmem(s, (size_t)(end - s), " => ", 4);
        cr_assert_not_null(arrow, "a line without an arrow");
        int64_t count;
        int32_t *id = parse_ids(arrow + 4, end, &count);
        text_check_ids(t, &tally, vectors, "line", "ids", s, (size_t)(arrow - s), false, id, count);
        tally.rows++;
        free(id);
    }
    free(lines);
    report(tokenizer, vectors, &tally);
}

/* How transformers up to 4 tidied decoded text by default; 5 leaves BPE alone, as we do. */
static char *tidy(const char *s)
{
    static const char *const pairs[][2] = { { " .", "." },    { " ?", "?" },   { " !", "!" },
                                            { " ,", "," },    { " ' ", "'" },  { " n't", "n't" },
                                            { " 'm", "'m" },  { " 's", "'s" }, { " 've", "'ve" },
                                            { " 're", "'re" } };
    char *text = strdup(s);
    cr_assert_not_null(text);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (char *at = text; (at = strstr(at, pairs[i][0])); at += strlen(pairs[i][1])) {
            const size_t from = strlen(pairs[i][0]), to = strlen(pairs[i][1]);
            memcpy(at, pairs[i][1], to);
            memmove(at + to, at + from, strlen(at + from) + 1);
        }
    return text;
}

struct replay {
    struct plumb_text *t;
    const char *label;
    bool adds_bos; /* the vectors start with <s>, which the file at hand does not add */
    bool tidies;
};

static void check_text(const struct replay *r, const cJSON *text, const cJSON *ids,
                       struct text_tally *tally)
{
    size_t n;
    int64_t count;
    char *s = text_of(text, &n);
    int32_t *id = text_ids_of(ids, &count);
    if (r->adds_bos) cr_assert(count > 0 && id[0] == 1);
    text_check_ids(r->t, tally, r->label, s, "ids", s, n, true, id + r->adds_bos,
                   count - r->adds_bos);
    tally->rows++;
    free(s);
    free(id);
}

static void check_decoded(const struct replay *r, const cJSON *ids, const cJSON *wanted, bool skip,
                          struct text_tally *tally)
{
    int64_t count;
    size_t n, wanted_n;
    char *decoded;
    if (!cJSON_IsString(wanted)) return;
    int32_t *id = text_ids_of(ids, &count);
    char *w = text_of(wanted, &wanted_n);
    if (r->tidies) {
        cr_assert_eq(r->t->decode(r->t->self, id, count, skip, &decoded, &n), PLUMB_OK);
        char *clean = tidy(decoded);
        tally->checks++;
        if (strcmp(clean, w)) text_complain(tally, r->label, w, "decoded", clean, w);
        free(clean);
        free(decoded);
    } else {
        text_check_decoded(r->t, tally, r->label, w, "decoded", id, count, skip, w, wanted_n);
    }
    free(w);
    free(id);
}

static cJSON *load_vectors(const char *below)
{
    char path[2000];
    cJSON *root;
    cr_assert(data_path(path, sizeof path, below));
    cr_assert_eq(text_rows_load(path, &root), PLUMB_OK, "%s", plumb_errmsg());
    return root;
}

static void replay_transformers_js(const struct replay *r, const char *tokenizer,
                                   const char *family)
{
    cJSON *root = load_vectors("tokenizers/vectors/transformers.js/vectors.json");
    const cJSON *rows = plumb_json_get(plumb_json_get(root, family), r->label);
    struct text_tally tally = { 0 };
    for (const cJSON *row = rows ? rows->child : NULL; row; row = row->next) {
        const cJSON *ids = plumb_json_get(row, "ids");
        check_text(r, plumb_json_get(row, "text"), ids, &tally);
        check_decoded(r, ids, plumb_json_get(row, "decoded"), false, &tally);
    }
    cJSON_Delete(root);
    report(tokenizer, r->label, &tally);
}

static void replay_swift(const struct replay *r, const char *tokenizer, const char *encoded_file)
{
    cJSON *root = load_vectors("tokenizers/vectors/swift-transformers/tokenizer_tests.json");
    const cJSON *rows = plumb_json_get(root, r->label);
    struct text_tally tally = { 0 };
    for (const cJSON *row = rows ? rows->child : NULL; row; row = row->next) {
        const cJSON *ids = plumb_json_get(plumb_json_get(row, "encoded"), "input_ids");
        check_text(r, plumb_json_get(row, "input"), ids, &tally);
        check_decoded(r, ids, plumb_json_get(row, "decoded_with_special"), false, &tally);
        check_decoded(r, ids, plumb_json_get(row, "decoded_without_special"), true, &tally);
    }
    cJSON_Delete(root);
    root = load_vectors(encoded_file);
    const cJSON *ids = plumb_json_get(root, "token_ids");
    check_text(r, plumb_json_get(root, "text"), ids, &tally);
    check_decoded(r, ids, plumb_json_get(root, "decoded_text"), false, &tally);
    cJSON_Delete(root);
    report(tokenizer, r->label, &tally);
}

Test(text_vectors, gpt2_vocabulary_and_merges_give_the_ids_of_four_projects)
{
    struct plumb_text t;
    if (!open_shared(&t, "tokenizers/gpt2")) return;
    cr_expect_eq(t.vocab_size, 50257);
    cr_expect(t.eos_id == 50256 && t.is_special(t.self, 50256) && !t.add_bos);
    replay_llama_cpp(&t, "gpt2", "gpt-2");
    replay_ggml(&t, "gpt2", "gpt-2");
    replay_ggml(&t, "gpt2", "gpt-j");
    struct replay r = { &t, "Xenova/gpt2", .tidies = true };
    replay_transformers_js(&r, "gpt2", "gpt2");
    r.label = "openai-community/gpt2";
    replay_transformers_js(&r, "gpt2", "gpt2");
    r.label = "distilgpt2";
    replay_swift(&r, "gpt2", "tokenizers/vectors/swift-transformers/gpt2_encoded_tokens.json");
    plumb_tokenizer_release(&t);
}

static void replay_others(struct plumb_text *t, const char *name)
{
    if (!strcmp(name, "gpt-2")) {
        const struct replay r = { t, "distilgpt2", .tidies = true };
        replay_ggml(t, name, "gpt-2");
        replay_swift(&r, name, "tokenizers/vectors/swift-transformers/gpt2_encoded_tokens.json");
        return;
    }
    const struct replay llama_2 = { t, "coreml-projects/Llama-2-7b-chat-coreml" };
    const struct replay llama = { t, "Xenova/llama-tokenizer" };
    replay_swift(&llama_2, name, "tokenizers/vectors/swift-transformers/llama_encoded.json");
    replay_transformers_js(&llama, name, "llama");
}

/* A GGUF file read as it is, and through the tokenizer.json written from it. */
static void replay_gguf(const char *name, int64_t pieces, int32_t bos, int32_t eos, bool adds_bos)
{
    char below[200], path[2000], dir[] = "/tmp/plumb-text-XXXXXX";
    struct plumb_text t;
    snprintf(below, sizeof below, "tokenizers/llama.cpp-vocab/ggml-vocab-%s.gguf", name);
    if (!data_path(path, sizeof path, below)) return;
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(plumb_gguf_write_tokenizer(path, dir), PLUMB_OK, "%s", plumb_errmsg());
    for (int written = 0; written < 2; written++) {
        const int rc = plumb_tokenizer_open(&t, written ? dir : path);
        cr_assert_eq(rc, PLUMB_OK, "%s", plumb_errmsg());
        cr_expect(t.vocab_size == pieces && t.bos_id == bos && t.eos_id == eos);
        cr_expect_eq(t.add_bos, adds_bos);
        replay_llama_cpp(&t, written ? "tokenizer.json of GGUF" : "GGUF", name);
        replay_others(&t, name);
        plumb_tokenizer_release(&t);
    }
    static const char *const files[] = { "tokenizer.json", "tokenizer_config.json" };
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(dir);
}

Test(text_vectors, gguf_files_give_the_ids_of_llama_cpp)
{
    replay_gguf("gpt-2", 50257, 50256, 50256, false);
    replay_gguf("phi-3", 32064, 1, 32000, true);
}

Test(text_vectors, qwen3_tokenizer_gives_the_ids_of_two_projects)
{
    struct plumb_text t;
    if (!open_shared(&t, "tokenizers/qwen3")) return;
    cr_expect_eq(t.vocab_size, 151669);
    cr_expect(t.eos_id == 151645 && t.pad_id == 151643 && t.bos_id == -1);
    replay_llama_cpp(&t, "qwen3", "qwen2");
    replay_llama_cpp(&t, "qwen3", "deepseek-r1-qwen");
    const struct replay r = { &t, "Xenova/Qwen1.5-0.5B-Chat" };
    replay_transformers_js(&r, "qwen3", "qwen2");
    plumb_tokenizer_release(&t);
}

Test(text_vectors, phi3_tokenizer_gives_the_ids_of_llama_2_and_phi_3)
{
    struct plumb_text t;
    if (!open_shared(&t, "tokenizers/phi3")) return;
    cr_expect_eq(t.vocab_size, 32011);
    cr_expect(t.bos_id == 1 && t.eos_id == 32000 && t.unk_id == 0 && !t.add_bos);
    replay_llama_cpp(&t, "phi3", "phi-3");
    replay_llama_cpp(&t, "phi3", "llama-spm");
    struct replay r = { &t, "Xenova/llama-tokenizer", .adds_bos = true };
    replay_transformers_js(&r, "phi3", "llama");
    r.label = "coreml-projects/Llama-2-7b-chat-coreml";
    replay_swift(&r, "phi3", "tokenizers/vectors/swift-transformers/llama_encoded.json");
    plumb_tokenizer_release(&t);
}

static void replay_model(const char *model)
{
    char below[200];
    struct plumb_text t;
    struct text_tally tally = { 0 };
    snprintf(below, sizeof below, "models/%s/hf", model);
    if (!open_shared(&t, below)) return;
    cr_expect(t.bos_id == 1 && t.eos_id == 2 && t.unk_id == 0 && t.add_bos && !t.add_eos);
    snprintf(below, sizeof below, "models/%s/golden.json", model);
    cJSON *root = load_vectors(below);
    const cJSON *rows = plumb_json_get(root, "tokenize");
    for (const cJSON *row = rows ? rows->child : NULL; row; row = row->next)
        text_check_row(&t, row, model, &tally);
    cJSON_Delete(root);
    plumb_tokenizer_release(&t);
    report(model, "golden.json", &tally);
}

Test(text_vectors, small_llama_models_tokenize_as_their_goldens_say)
{
    replay_model("stories260K");
    replay_model("babyllama105");
}

Test(text_vectors, vectors_without_their_vocabulary_are_named)
{
    char path[2000];
    if (!data_path(path, sizeof path, "tokenizers/vectors/transformers.js/vectors.json")) return;
    static const char *const known[] = { "Xenova/gpt2", "openai-community/gpt2",
                                         "Xenova/llama-tokenizer", "Xenova/Qwen1.5-0.5B-Chat" };
    cJSON *root = load_vectors("tokenizers/vectors/transformers.js/vectors.json");
    int64_t seen = 0;
    for (const cJSON *family = root->child; family; family = family->next)
        for (const cJSON *rows = family->child; rows; rows = rows->next) {
            bool have = false;
            for (int i = 0; i < 4; i++)
                have |= !strcmp(known[i], rows->string);
            seen += have;
            if (!have)
                printf("left out, no vocabulary here: %s: %d rows\n", rows->string,
                       cJSON_GetArraySize(rows));
        }
    cr_expect_eq(seen, 4);
    cJSON_Delete(root);
}
