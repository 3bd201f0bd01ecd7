/* A run on rows from an index has the bits of a run on rows in memory, in every trainer. */
#include "tests/runs.h"

static struct program p;
static struct tiny t;

static void init(void) { tiny_init(&t); }
static void release(void) { tiny_release(&t); }
TestSuite(index_run, .init = init, .fini = release, .timeout = 280);

Test(index_run, rows_from_an_index_change_no_bit)
{
    static const char *const courses[][2] = {
        { "sft", "texts.jsonl" },      { "dpo", "pairs.jsonl" }, { "reward", "pairs.jsonl" },
        { "kto", "rated.jsonl" },      { "bco", "rated.jsonl" }, { "tpo", "triples.jsonl" },
        { "listwise", "ranked.jsonl" }
    };
    for (size_t i = 0; i < sizeof courses / sizeof *courses; i++)
        for (int again = 0; again < 2; again++) { /* the index is written, then found */
            struct arguments a = tiny_arguments(&t, courses[i][0], courses[i][1], "a");
            ADD(&a, "--overwrite_output_dir", "--learning_rate", "0.01", "--logging_steps", "1",
                "--max_steps", "9", "--test_split_size", "0.3", "--eval_strategy", "steps",
                "--eval_steps", "4", "--save_strategy", "no");
            struct arguments b = a;
            b.v[7] = tiny_kept(&t, "b");
            ADD(&b, "--dataset_cache", tiny_kept(&t, "cache"));
            run_to_end(&p, &a);
            run_to_end(&p, &b);
            same_bytes(&t, "a", "b", "model.safetensors");
            char *x = plain_metrics(&t, "a/metrics.jsonl"),
                 *y = plain_metrics(&t, "b/metrics.jsonl");
            cr_expect_str_eq(x, y, "%s", courses[i][0]);
            free(x);
            free(y);
        }
}

static char *stderr_of(struct arguments *a)
{
    run_to_end(&p, a);
    return p.err;
}

Test(index_run, large_sets_go_to_the_output_folder_and_are_found_there)
{
    struct arguments a = tiny_arguments(&t, "sft", "texts.jsonl", "a");
    a.v[a.n - 1] = "--overwrite_output_dir"; /* for --quiet */
    ADD(&a, "--dataset_memory_limit", "0", "--max_steps", "1");
    cr_expect(strstr(stderr_of(&a), "writing the index"), "%s", p.err);
    cr_expect(tiny_exists(&t, "a/dataset_cache"));
    cr_expect(strstr(stderr_of(&a), "rows come from the index"), "%s", p.err);
    FILE *f = fopen(tiny_path(&t, "texts.jsonl"), "a");
    cr_assert(f && fputs("{\"input_ids\": [1, 2]}\n", f) > 0 && fclose(f) == 0);
    cr_expect(strstr(stderr_of(&a), "writing the index"), "%s", p.err);
}
