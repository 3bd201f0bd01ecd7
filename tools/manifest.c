/* manifest.json of a run. */
#include "tools/manifest.h"

#include <elf.h>
#include <inttypes.h>
#include <link.h>
#include <omp.h>
#include <plumb/log.h>
#include <plumb/matmul.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/file.h"
#include "io/json.h"

/* The linker's hash of the program itself: names a build without asking a version control
 * system. */
static int find_build_id(struct dl_phdr_info *info, size_t bytes, void *out)
{
    (void)bytes;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_NOTE) continue;
        const char *at = (const char *)(info->dlpi_addr + h->p_vaddr), *end = at + h->p_memsz;
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *note = (const void *)at;
            const char *name = at + sizeof *note;
            const char *id = name + (note->n_namesz + 3) / 4 * 4;
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && !memcmp(name, "GNU", 4))
                for (unsigned k = 0; k < note->n_descsz && k < 20; k++)
                    snprintf((char *)out + (size_t)2 * k, 3, "%02x", (unsigned char)id[k]);
            at = id + (note->n_descsz + 3) / 4 * 4;
        }
    }
    return 1; /* the program comes first; libraries are not looked at */
}

void plumb_manifest_build(char out[44])
{
    out[0] = 0;
    dl_iterate_phdr(find_build_id, out);
}

/* "model name" of /proc/cpuinfo, "" where it is not to be had. */
static void find_processor(char *out, size_t n)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "r");
    out[0] = 0;
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10) != 0) continue;
        snprintf(out, n, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f) fclose(f);
}

static void put_text(cJSON *o, const char *key, const char *text)
{
    cJSON_AddItemToObject(o, key, cJSON_CreateString(text));
}

static void put_hash(cJSON *o, const char *key, uint64_t hash)
{
    char text[24];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    if (hash) put_text(o, key, text);
}

/* What decides the numbers of a run, besides its options. */
static cJSON *machine_json(void)
{
    char id[44], processor[256], library[64];
    cJSON *o = cJSON_CreateObject();
    plumb_manifest_build(id);
    find_processor(processor, sizeof processor);
    plumb_matmul_version(library, sizeof library);
    put_text(o, "plumb", PLUMB_VERSION);
    put_text(o, "build", id);
    put_text(o, "compiler", __VERSION__);
    put_text(o, "matmul", library);
    put_text(o, "instruction_set", plumb_isa_name(plumb_cpu_isa()));
    cJSON_AddBoolToObject(o, "bf16_instructions", plumb_cpu_has_bf16());
    cJSON_AddNumberToObject(o, "threads", omp_get_max_threads());
    put_text(o, "processor", processor);
    return o;
}

static int to_json(const struct plumb_manifest *m, cJSON **out)
{
    char now[32];
    const time_t t = time(NULL);
    struct tm utc;
    cJSON *options = NULL, *o = cJSON_CreateObject();
    PLUMB_TRY(plumb_options_json(m->options, &options));
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &utc));
    put_text(o, "command", m->command);
    put_text(o, "started", now);
    cJSON_AddItemToObject(o, "machine", machine_json());
    put_hash(o, "model_hash", m->model_hash);
    put_hash(o, "dataset_hash", m->dataset_hash);
    put_hash(o, "eval_dataset_hash", m->eval_dataset_hash);
    cJSON_AddItemToObject(o, "options", options);
    *out = o;
    return o ? PLUMB_OK : plumb_fail(PLUMB_EMEM, "manifest: out of memory");
}

int plumb_manifest_write(const struct plumb_manifest *m, const char *path)
{
    cJSON *json;
    PLUMB_TRY(to_json(m, &json));
    char *text = cJSON_Print(json);
    cJSON_Delete(json);
    if (!text) return plumb_fail(PLUMB_EMEM, "manifest: out of memory");
    const int rc = plumb_file_write(path, text, strlen(text));
    cJSON_free(text);
    return rc;
}

/* Options that change no number of a run that continues. */
static bool is_harmless(const char *option)
{
    static const char *const names[] = { "resume_from_checkpoint", "overwrite_output_dir",
                                         "quiet",                  "save_total_limit",
                                         "output_dir",             "dataset_cache",
                                         "dataset_memory_limit",   NULL };
    for (const char *const *n = names; *n; n++)
        if (strcmp(*n, option) == 0) return true;
    return false;
}

/* Warns of every member of `now` that `then` has otherwise. */
static void warn_of_differences(const char *path, const cJSON *then, const cJSON *now)
{
    const cJSON *a;
    cJSON_ArrayForEach(a, now)
    {
        /* As text: a value just made and the same one read back differ in type at times. */
        const cJSON *b = plumb_json_get(then, a->string);
        char *was = b ? cJSON_PrintUnformatted(b) : NULL, *is = cJSON_PrintUnformatted(a);
        if (is && !is_harmless(a->string) && (!was || strcmp(was, is) != 0))
            plumb_log(PLUMB_LOG_WARN, "%s: %s was %s and is %s now: numbers may differ", path,
                      a->string, was ? was : "not given", is);
        cJSON_free(was);
        cJSON_free(is);
    }
}

/* Absent in both is the same. */
static bool same(const cJSON *then, const cJSON *now, const char *key)
{
    const cJSON *a = plumb_json_get(then, key), *b = plumb_json_get(now, key);
    return (!a && !b) || cJSON_Compare(a, b, true);
}

int plumb_manifest_compare(const struct plumb_manifest *m, const char *path)
{
    int rc = PLUMB_OK;
    cJSON *then = NULL, *now = NULL;
    PLUMB_TRYG(plumb_json_load(path, 0, &then));
    PLUMB_TRYG(to_json(m, &now));
    if (!same(then, now, "command"))
        PLUMB_TRYG(plumb_fail(PLUMB_EINVAL, "%s: not of a run of `plumb %s`", path, m->command));
    if (!same(then, now, "dataset_hash"))
        PLUMB_TRYG(plumb_fail(
            PLUMB_EINVAL, "%s: the training rows or their tokens are not those of that run", path));
    if (!same(then, now, "eval_dataset_hash") && m->keeps_eval)
        PLUMB_TRYG(plumb_fail(PLUMB_EINVAL,
                              "%s: the evaluation rows or their tokens are not those of that run",
                              path));
    if (!same(then, now, "eval_dataset_hash"))
        plumb_log(PLUMB_LOG_WARN, "%s: the evaluation rows are not those of that run", path);
    if (!same(then, now, "model_hash"))
        plumb_log(PLUMB_LOG_WARN, "%s: the starting model has other weights than in that run",
                  path);
    warn_of_differences(path, plumb_json_get(then, "machine"), plumb_json_get(now, "machine"));
    warn_of_differences(path, plumb_json_get(then, "options"), plumb_json_get(now, "options"));
out:
    cJSON_Delete(then);
    cJSON_Delete(now);
    return rc;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 32);
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
    const char *p = data;
    uint64_t v;
    for (; n >= sizeof v; p += sizeof v, n -= sizeof v) {
        memcpy(&v, p, sizeof v);
        h = mix(h, v);
    }
    v = 0;
    memcpy(&v, p, n);
    return mix(h, v ^ (uint64_t)n << 56);
}

uint64_t plumb_manifest_hash_weights(const struct plumb_weights *w)
{
    uint64_t h = (uint64_t)w->count;
    for (int64_t i = 0; i < w->count; i++) {
        const struct plumb_weight *t = &w->tensor[i];
        h = hash_bytes(h, t->name, strlen(t->name));
        h = hash_bytes(h, t->dtype, strlen(t->dtype));
        h = hash_bytes(h, t->shape, (size_t)t->rank * sizeof *t->shape);
        if (t->data) h = hash_bytes(h, t->data, t->bytes);
    }
    return h ? h : 1;
}
