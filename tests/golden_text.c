/* golden_text [DIR] - replays the text goldens of a folder (default: the shared one):
 * DIR/tokenizers holds one folder a tokenizer, with tokenizer.json(.gz) and vectors.json(.gz) in
 * the form of the shared README. Prints what ran, what disagreed and what was left out and why;
 * exit code 1 when anything disagreed or nothing ran. */
#include <dirent.h>

#include "tests/text_rows.h"
#include "tests/text_templates.h"

/* Replays one folder; a tokenizer with parts that are not built is named and passed over. */
static int replay(const char *part, const char *dir, const char *name, struct text_tally *all,
                  int64_t *left_out)
{
    char path[4200];
    struct plumb_text t;
    cJSON *families = NULL;
    const int rc = plumb_tokenizer_open(&t, dir);
    if (rc == PLUMB_ENOTSUP) {
        printf("%s/%s: left out: %s\n", part, name, plumb_errmsg());
        ++*left_out;
        return PLUMB_OK;
    }
    if (rc) return rc;
    struct text_tally tally = { 0 };
    snprintf(path, sizeof path, "%s/vectors.json.gz", dir);
    if (!plumb_file_exists(path)) path[strlen(path) - 3] = 0;
    const int loaded = text_rows_load(path, &families);
    for (const cJSON *f = families ? families->child : NULL; f; f = f->next)
        for (const cJSON *rows = f->child; rows; rows = rows->next)
            for (const cJSON *row = rows->child; row; row = row->next)
                text_check_row(&t, row, name, &tally);
    cJSON_Delete(families);
    plumb_tokenizer_release(&t);
    if (loaded) return loaded;
    printf("%s/%s: %lld rows, %lld checks, %lld wrong\n", part, name, (long long)tally.rows,
           (long long)tally.checks, (long long)tally.wrong);
    all->rows += tally.rows;
    all->checks += tally.checks;
    all->wrong += tally.wrong;
    return PLUMB_OK;
}

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

/* Every folder of a part. */
static void replay_folders(const char *root, const char *part, struct text_tally *all,
                           int64_t *left_out)
{
    char dir[4000];
    struct dirent **entry = NULL;
    snprintf(dir, sizeof dir, "%s/%s", root, part);
    const int n = scandir(dir, &entry, visible, alphasort);
    for (int i = 0; i < n; i++) {
        snprintf(dir, sizeof dir, "%s/%s/%s", root, part, entry[i]->d_name);
        if (replay(part, dir, entry[i]->d_name, all, left_out)) {
            printf("%s/%s: %s\n", part, entry[i]->d_name, plumb_errmsg());
            all->wrong++;
        }
        free(entry[i]);
    }
    free(entry);
}

static void say(const char *part, const struct templates_tally *t, int rc, struct text_tally *all)
{
    if (rc) printf("%s: %s\n", part, plumb_errmsg());
    printf("%s: %lld rows, %lld wrong\n", part, (long long)t->rows, (long long)t->wrong);
    all->rows += t->rows;
    all->checks += t->rows;
    all->wrong += t->wrong + (rc != PLUMB_OK);
}

/* The parts of templates, each where it is there. Those of chat templates lie beside the shared
 * folder's, with its data. */
static void replay_templates(const char *root, struct text_tally *all)
{
    static const char *const language[] = { "jinja/edge.json", "jinja/hostile.json",
                                            "../../data/chat-templates/hf-jinja-tests/"
                                            "jinja_unit.json" };
    static const char *const chat[] = { "chat-templates", "../../data/chat-templates" };
    char path[4000];
    for (int i = 0; i < 3; i++) {
        struct templates_tally t = { 0 };
        snprintf(path, sizeof path, "%s/%s", root, language[i]);
        if (!plumb_file_exists(path)) continue;
        const int rc = templates_language(path, 1721995200, &t);
        say(language[i], &t, rc, all);
    }
    for (int i = 0; i < 2; i++) {
        struct templates_tally t = { 0 };
        snprintf(path, sizeof path, "%s/%s/golden/renderings.json", root, chat[i]);
        if (!plumb_file_exists(path)) continue;
        snprintf(path, sizeof path, "%s/%s", root, chat[i]);
        const int rc = templates_chat(path, &t);
        say(chat[i], &t, rc, all);
    }
}

int main(int argc, char **argv)
{
    char root[2048];
    if (argc > 2) {
        fprintf(stderr, "usage: golden_text [DIR]\n");
        return 2;
    }
    if (argc == 2) {
        snprintf(root, sizeof root, "%s", argv[1]);
    } else if (!text_shared(root, sizeof root, "golden/text")) {
        printf("golden_text: skipped, \"%s\" is not there\n", root);
        const char *required = getenv("PLUMB_REQUIRE_SHARED");
        return required && !strcmp(required, "1");
    }
    struct text_tally all = { 0 };
    int64_t left_out = 0;
    replay_folders(root, "tokenizers", &all, &left_out);
    replay_folders(root, "sentencepiece", &all, &left_out);
    replay_templates(root, &all);
    printf("%lld rows; %lld tokenizers left out\n", (long long)all.rows, (long long)left_out);
    printf("%lld passed, %lld failed\n", (long long)(all.checks - all.wrong), (long long)all.wrong);
    return all.wrong || (!all.rows && !left_out);
}
