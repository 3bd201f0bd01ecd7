/* Runs of TRL 1.16 with PEFT 0.21's LoRA, replayed: tests/data/lora.json, which
 * tests/lora_golden.py makes. In float64 every number agrees to 1e-6 of it; in float32 within four
 * times TRL's own distance between the two, or 1e-5. */
#include "io/safetensors.h"
#include "tests/runs.h"
#include "tests/shared.h"

static struct program p;
static struct tiny t;

static void init(void) { tiny_init(&t); }
static void release(void) { tiny_release(&t); }
TestSuite(lora_golden, .init = init, .fini = release, .timeout = 280);

static const char *text_of(const cJSON *o, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(o, key)->valuestring;
}

static void write_rows(const cJSON *run)
{
    FILE *f = fopen(tiny_path(&t, "golden.jsonl"), "w");
    const cJSON *row;
    cr_assert(f);
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(run, "rows"))
    {
        char *line = cJSON_PrintUnformatted(row);
        fprintf(f, "%s\n", line);
        cJSON_free(line);
    }
    cr_assert_eq(fclose(f), 0);
}

static void train(const cJSON *run, const char *model, bool ref)
{
    static char numbers[40][40];
    struct arguments a = { .n = 0 };
    const cJSON *o;
    int n = 0;
    ADD(&a, "plumb", text_of(run, "trainer"), "--model_name_or_path", model, "--dataset_name",
        tiny_kept(&t, "golden.jsonl"), "--output_dir", tiny_kept(&t, "out"),
        "--overwrite_output_dir", "--quiet", "--use_peft", "--disable_dropout", "true", "--bf16",
        "false", "--logging_steps", "1", "--train_sampling_strategy", "sequential", "--device",
        ref ? "ref" : "cpu");
    cJSON_ArrayForEach(o, cJSON_GetObjectItem(run, "options"))
    {
        if (cJSON_IsString(o)) {
            ADD(&a, o->valuestring);
            continue;
        }
        snprintf(numbers[n], sizeof numbers[n], "%.17g", o->valuedouble);
        ADD(&a, numbers[n++]);
    }
    run_to_end(&p, &a);
}

/* The largest distance of a quantity between TRL's two runs, relative where it is above 1. */
static double distance(const cJSON *run, const char *key)
{
    const cJSON *f32 = cJSON_GetObjectItem(cJSON_GetObjectItem(run, "f32"), "steps"), *a;
    const cJSON *b = cJSON_GetObjectItem(cJSON_GetObjectItem(run, "f64"), "steps")->child;
    double most = 0;
    cJSON_ArrayForEach(a, f32)
    {
        const cJSON *x = cJSON_GetObjectItem(a, key), *y = cJSON_GetObjectItem(b, key);
        if (x)
            most = fmax(most,
                        fabs(x->valuedouble - y->valuedouble) / fmax(1, fabs(y->valuedouble)));
        b = b->next;
    }
    return most;
}

static int compare(const cJSON *run, const char *key, double x, const cJSON *y, double bound)
{
    const double apart = fabs(x - y->valuedouble) / fmax(1, fabs(y->valuedouble));
    cr_expect(apart <= bound, "%s: %s is %.12g, TRL has %.12g, bound %.2g", text_of(run, "name"),
              key, x, y->valuedouble, bound);
    return 1;
}

static int compare_steps(const cJSON *run, bool ref)
{
    const cJSON *step, *v;
    cJSON *lines = metrics_of(&t, "out");
    int compared = 0, at = 0;
    cJSON_ArrayForEach(step, cJSON_GetObjectItem(cJSON_GetObjectItem(run, "f64"), "steps"))
    {
        at++;
        cJSON_ArrayForEach(v, step)
        {
            const double bound = ref ? 1e-6 : fmax(4 * distance(run, v->string), 1e-5);
            compared += compare(run, v->string, metric_at(lines, at, v->string), v, bound);
        }
    }
    cJSON_Delete(lines);
    return compared;
}

static int compare_weights(const cJSON *run, bool ref)
{
    const cJSON *end = cJSON_GetObjectItem(run, "f64"), *v, *e;
    struct plumb_weights w;
    int compared = 0;
    cr_assert_eq(plumb_safetensors_open(&w, tiny_path(&t, "out/adapter_model.safetensors")),
                 PLUMB_OK, "%s", plumb_errmsg());
    cJSON_ArrayForEach(v, cJSON_GetObjectItem(end, "final_l2"))
    {
        const int64_t i = plumb_weights_find(&w, v->string);
        cr_assert_geq(i, 0, "no tensor %s", v->string);
        double *x = malloc((size_t)w.tensor[i].count * sizeof *x), sum = 0;
        cr_assert_eq(w.read(&w, i, 0, w.tensor[i].count, x), PLUMB_OK);
        for (int64_t k = 0; k < w.tensor[i].count; k++)
            sum += x[k] * x[k];
        compared += compare(run, v->string, sqrt(sum), v, ref ? 1e-6 : 1e-5);
        int64_t k = 0;
        cJSON_ArrayForEach(
            e, cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItem(end, "final_first"), v->string))
            compared += compare(run, v->string, x[k++], e, ref ? 1e-6 : 1e-5);
        free(x);
    }
    plumb_weights_release(&w);
    return compared;
}

Test(lora_golden, runs_of_trl_with_peft_are_repeated)
{
    char path[1024], model[1024];
    const char *source = getenv("PLUMB_SOURCE");
    cJSON *json;
    const cJSON *run;
    int compared = 0;
    snprintf(path, sizeof path, "%s/tests/data/lora.json", source ? source : ".");
    cr_assert_eq(plumb_json_load(path, 0, &json), PLUMB_OK, "%s", plumb_errmsg());
    cJSON_ArrayForEach(run, cJSON_GetObjectItem(json, "runs"))
    {
        const bool tiny = !strcmp(text_of(run, "model"), "tiny");
        if (!tiny && !shared_path(model, sizeof model, "data/models/stories260K/hf")) continue;
        write_rows(run);
        for (int ref = 0; ref < 2; ref++) {
            train(run, tiny ? tiny_path(&t, "model") : model, ref);
            compared += compare_steps(run, ref) + compare_weights(run, ref);
        }
    }
    printf("lora: %d numbers of TRL and PEFT compared\n", compared);
    cr_assert_gt(compared, 0);
    cJSON_Delete(json);
}
