/* golden_losses [DIR] - replays a folder of loss goldens (DIR/<family>/<member>.json; by
 * default the shared one) on ref in f64 and on $PLUMB_TEST_DEVICE (cpu) in f32. A line a member:
 * its name, cases, largest error (relative to values above 1). A member that is unknown counts as
 * failed; exit code 1 when anything failed or nothing ran. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden_run.h"

#define PLUMB_GOLDEN(op) extern const struct golden_member golden_##op[];
#include "gen/goldens.def"

static const struct golden_member *const adapters[] = {
#define PLUMB_GOLDEN(op) golden_##op,
#include "gen/goldens.def"
};

static const struct golden_member *find(const char *member)
{
    for (size_t i = 0; i < sizeof adapters / sizeof *adapters; i++)
        for (const struct golden_member *m = adapters[i]; m->name; m++)
            if (!strcmp(m->name, member)) return m;
    return NULL;
}

struct tally {
    const struct plumb_device *dev; /* under test, beside ref */
    int passed, failed;
};

static struct golden_run one_case(struct plumb_golden *g, const struct golden_member *m, int i,
                                  const struct plumb_device *dev)
{
    struct golden_run r = { .file = g, .at = plumb_golden_case(g, i), .dev = dev };
    r.t = dev->kind == PLUMB_DEV_REF ? PLUMB_F64 : PLUMB_F32;
    m->run(&r, m->how);
    golden_finish(&r);
    return r;
}

static void replay(const char *root, const char *member, struct tally *all)
{
    struct plumb_golden g;
    const struct golden_member *m = find(member);
    if (!m) {
        printf("%s FAILED: no objective of this name\n", member);
        all->failed++;
        return;
    }
    if (!plumb_golden_load(&g, root, member)) {
        all->failed++;
        return;
    }
    struct golden_run sum = { 0 };
    for (int i = 0; i < g.count; i++) {
        const struct golden_run on[] = { one_case(&g, m, i, &plumb_ref),
                                         one_case(&g, m, i, all->dev) };
        for (int k = 0; k < 2; k++) {
            sum.worst = on[k].worst > sum.worst ? on[k].worst : sum.worst;
            sum.compared += on[k].compared, sum.wrong += on[k].wrong;
        }
    }
    const bool good = !sum.wrong && sum.compared;
    printf("%s %d %.1e%s\n", member, g.count, sum.worst, good ? "" : " FAILED");
    all->passed += good, all->failed += !good;
    plumb_golden_release(&g);
}

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

static void replay_family(const char *root, const char *family, struct tally *all)
{
    char path[4096], member[512];
    struct dirent **list;
    snprintf(path, sizeof path, "%s/%s", root, family);
    const int n = scandir(path, &list, visible, alphasort);
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name, *end = strstr(name, ".json");
        if (end && !end[5]) {
            snprintf(member, sizeof member, "%s/%.*s", family, (int)(end - name), name);
            replay(root, member, all);
        }
        free(list[i]);
    }
    if (n >= 0) free(list);
}

/* What a folder of this schema is known by when no argument names it. */
static bool shared_folder(char *out, size_t n, const char *argument)
{
    const char *folder = getenv("PLUMB_SHARED"), *source = getenv("PLUMB_SOURCE");
    if (argument)
        snprintf(out, n, "%s", argument);
    else if (folder)
        snprintf(out, n, "%s/golden/losses", folder);
    else
        snprintf(out, n, "%s/../shared/golden/losses", source ? source : ".");
    return access(out, R_OK) == 0;
}

int main(int argc, char **argv)
{
    char root[2048];
    struct plumb_device dev;
    struct dirent **list;
    const char *name = getenv("PLUMB_TEST_DEVICE"), *required = getenv("PLUMB_REQUIRE_SHARED");
    const char *argument = argv[1];
    if (argc > 2) {
        fprintf(stderr, "usage: golden_losses [DIR]\n");
        return 2;
    }
    if (!shared_folder(root, sizeof root, argument)) {
        fprintf(stderr, "%s: %s is missing\n", argument ? "error" : "skipped", root);
        return argument || (required && required[0] == '1');
    }
    if (plumb_device_open(name ? name : "cpu", &dev)) {
        fprintf(stderr, "error: %s\n", plumb_errmsg());
        return 1;
    }
    struct tally all = { .dev = &dev };
    const int n = scandir(root, &list, visible, alphasort);
    for (int i = 0; i < n; i++) {
        replay_family(root, list[i]->d_name, &all);
        free(list[i]);
    }
    if (n >= 0) free(list);
    plumb_device_close(&dev);
    printf("%d passed, %d failed\n", all.passed, all.failed);
    return all.failed || !all.passed;
}
