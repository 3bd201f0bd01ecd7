/* Runs the cases of every op in the checking build: kernels whose accesses are all seen. Looks for
 * races, uninitialised reads and accesses out of bounds in the cases of the tests; with
 * PLUMB_SIM_COUNT=1 counts the traffic of the cases of the benchmark instead, and compares it to
 * the least that the op's table gives, and each kernel's to what it cannot do without.
 *   gpu_check [OP[:CASE]...]   names as in the tables; a case by its beginning; without: all
 * Exit status 1: an op failed or its traffic is over the limit; 3: a fault in a kernel. */
#include <plumb/backend.h>
#include <plumb/device.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostcuda/sim_count.h"
#include "tests/hostcuda/traffic.h"
#include "tools/op_case.h"

struct tally {
    int ops, cases, failed, missed;
};

/* Counting takes a thousand times as long as the kernel: cases from 1 MB to 40 MB, and no large
 * matrix products. */
static bool is_counted(const struct plumb_op *op, const struct plumb_case *c)
{
    if (!c->bench || !op->bytes) return false;
    const double bytes = op->bytes(c, 4, false);
    const double flops = op->flops ? op->flops(c, false) : 0;
    return bytes > 1e6 && bytes < 4e7 && flops < 1e9;
}

/* Whether `word` is OP or OP:CASE of this case. */
static bool names(const char *word, const struct plumb_op *op, const struct plumb_case *c)
{
    const size_t n = strlen(op->name);
    if (strncmp(word, op->name, n)) return false;
    return !word[n] || (word[n] == ':' && !strncmp(word + n + 1, c->name, strlen(word + n + 1)));
}

static bool wanted(const struct plumb_op *op, const struct plumb_case *c, int argc, char **argv)
{
    bool named = argc == 1;
    for (int i = 1; i < argc; i++)
        if (names(argv[i], op, c)) named = true;
    return named && (plumb_sim_counting() ? is_counted(op, c) : !c->bench);
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

/* The figures of one line behind its name; whether they keep to the limits of `name`. */
static bool judge(const struct plumb_sim_counts *c, double least, const char *name)
{
    const double moved = 32.0 * (double)(c->load_sectors + c->store_sectors);
    const double rows = ratio(32.0 * (double)c->row_sectors, least);
    const double used = 100 * ratio((double)(c->load_bytes + c->store_bytes), moved);
    const double shared = ratio((double)c->shared_waves, (double)c->shared_ideal);
    const struct traffic_limit *limit = traffic_limit_of(name);
    const bool good = rows <= limit->rows && used >= limit->used && shared <= limit->shared;
    printf(" %7.1f %5llu %7.2f %7.2f %7.2f %6.1f %6.2f", least / 1e6,
           (unsigned long long)c->launches, ratio(moved, least),
           ratio(32.0 * (double)c->block_sectors, least), rows, used, shared);
    if (c->launches == 0) {
        puts("  by a library");
        return true;
    }
    printf("%s%s\n", good && !limit->why ? "" : "  ",
           !good        ? "OVER THE LIMIT"
           : limit->why ? limit->why
                        : "");
    return good;
}

static const char *const heads = "     MB  runs   moved   block    rows  used% shared";

static bool judge_op(const struct plumb_case_mem *m, bool backward)
{
    char name[64];
    const struct plumb_sim_counts c = plumb_sim_count_sum();
    snprintf(name, sizeof name, "%s%s", m->op->name, backward ? "_bwd" : "");
    printf("%-14s %-34.34s %-8s", name, m->c->name, plumb_dtype_name(m->act));
    return judge(&c, m->op->bytes(m->c, plumb_dtype_bytes(m->act), backward), name);
}

/* The name without template arguments. */
static const char *plain_name(const char *kernel, char *out, size_t n)
{
    snprintf(out, n, "%.*s", (int)strcspn(kernel, "<"), kernel);
    return out;
}

static int judge_kernels(void)
{
    int missed = 0;
    char plain[64];
    struct plumb_sim_counts c;
    printf("%-58s%s\n", "kernel (over 1 MB)", heads);
    const char *name;
    for (int i = 0; (name = plumb_sim_count_kernel(i, &c)); i++) {
        const double least = 32.0 * (double)c.grid_sectors;
        if (least < 1e6) continue;
        printf("%-58.58s", name);
        missed += !judge(&c, least, plain_name(name, plain, sizeof plain));
    }
    plumb_sim_count_sites();
    plumb_sim_count(0); /* no second table at the end */
    return missed;
}

static int run_way(struct plumb_case_mem *m, bool backward, struct tally *t)
{
    plumb_sim_count_begin();
    PLUMB_TRY(backward ? plumb_case_bwd(m, m->act) : plumb_case_fwd(m, m->act));
    PLUMB_TRY(plumb_device_sync(&m->dev));
    if (plumb_sim_counting() && (!backward || m->op->bwd)) t->missed += !judge_op(m, backward);
    return PLUMB_OK;
}

static void run_case(const struct plumb_device *dev, const struct plumb_op *op,
                     const struct plumb_case *c, enum plumb_dtype act, struct tally *t)
{
    struct plumb_case_mem m;
    const int faults = plumb_sim_faults();
    plumb_case_begin(&m, op, c, dev, act);
    int rc = run_way(&m, false, t);
    if (rc == PLUMB_OK) rc = run_way(&m, true, t);
    if (rc == PLUMB_OK) rc = plumb_case_fetch(&m);
    plumb_case_end(&m);
    t->cases++;
    if (rc != PLUMB_OK || plumb_sim_faults() != faults) {
        fprintf(stderr, "%s, case \"%s\", %s: %s\n", op->name, c->name, plumb_dtype_name(act),
                rc ? plumb_errmsg() : "faults, see above");
        t->failed++;
    }
}

static int run_all(const struct plumb_device *dev, int argc, char **argv)
{
    struct tally t = { 0 };
    if (plumb_sim_counting()) printf("%-14s %-34s %-8s%s\n", "op", "case", "dtype", heads);
    const struct plumb_op *op;
    for (int i = 0; (op = plumb_op_at(i)); i++) {
        const int before = t.cases;
        for (int k = 0; k < op->case_count; k++) {
            if (!wanted(op, &op->cases[k], argc, argv)) continue;
            run_case(dev, op, &op->cases[k], PLUMB_F32, &t);
            if (!op->f32_only) run_case(dev, op, &op->cases[k], PLUMB_BF16, &t);
        }
        t.ops += t.cases > before;
    }
    if (plumb_sim_counting()) t.missed += judge_kernels();
    printf("gpu_check: %d ops, %d cases, %d failed, %d over their limit of traffic\n", t.ops,
           t.cases, t.failed, t.missed);
    return t.cases == 0 || t.failed || t.missed;
}

int main(int argc, char **argv)
{
    struct plumb_device dev;
    if (plumb_backend_link(plumb_backend_v1) || plumb_device_open("cuda-sim", &dev)) {
        fprintf(stderr, "gpu_check: %s\n", plumb_errmsg());
        return 2;
    }
    const int rc = run_all(&dev, argc, argv);
    plumb_device_close(&dev);
    return rc;
}
