/* The ops' own cases, timed: the share of what the slower of memory and arithmetic allows. */
#include <string.h>
#include <time.h>

#include "tools/bench.h"
#include "tools/op_case.h"

static int forward(void *ctx) { return plumb_case_fwd(ctx, PLUMB_F64); }

static int backward(void *ctx) { return plumb_case_bwd(ctx, PLUMB_F64); }

/* One row in the columns of Liger-Kernel's benchmark data, so that its tools read ours. */
static void csv_row(FILE *f, const struct plumb_op *op, const struct plumb_case *c,
                    const char *mode, const char *dtype, const struct plumb_bench_times *t)
{
    char stamp[32];
    const time_t now = time(NULL);
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", gmtime(&now));
    fprintf(f, "%s,plumb-%s,%s,speed,ms,case,\"%s\",%.6f,%.6f,%.6f,\"{}\",%s,%s,%s\n", op->name,
            dtype, mode, c->name, 1e3 * t->median, 1e3 * t->p20, 1e3 * t->p80,
            plumb_isa_name(plumb_cpu_isa()), stamp, PLUMB_VERSION);
}

static void report(FILE *csv, const struct plumb_case_mem *m, bool back,
                   const struct plumb_bench_times *t, const struct plumb_ceilings *ceiling)
{
    const struct plumb_op *op = m->op;
    const double bytes = op->bytes ? op->bytes(m->c, plumb_dtype_bytes(m->act), back) : 0;
    const double flops = op->flops ? op->flops(m->c, back) : 0;
    const double peak = m->act == PLUMB_BF16 ? ceiling->gemm_bf16 : ceiling->gemm_f32;
    const double least = bytes / ceiling->copy > flops / peak ? bytes / ceiling->copy
                                                              : flops / peak;
    printf("%-12s %-9s %-4s %10.3f %10.3f %8.1f %9.1f %6.0f%%  %s\n", op->name,
           plumb_dtype_name(m->act), back ? "bwd" : "fwd", 1e3 * t->median, 1e3 * t->best,
           bytes / t->median / 1e9, flops / t->median / 1e9, 100 * least / t->median, m->c->name);
    if (csv) csv_row(csv, op, m->c, back ? "backward" : "forward", plumb_dtype_name(m->act), t);
}

static int time_case(FILE *csv, const struct plumb_op *op, const struct plumb_case *c,
                     enum plumb_dtype act, const struct plumb_bench_options *o,
                     const struct plumb_ceilings *ceiling)
{
    int rc = PLUMB_OK;
    struct plumb_case_mem m;
    struct plumb_bench_times t;
    plumb_case_begin(&m, op, c, &plumb_cpu, act);
    PLUMB_TRYG(plumb_bench_time(forward, &m, o->repeats, &t));
    report(csv, &m, false, &t, ceiling);
    if (op->bwd) {
        PLUMB_TRYG(plumb_bench_time(backward, &m, o->repeats, &t));
        report(csv, &m, true, &t, ceiling);
    }
out:
    plumb_case_end(&m);
    return rc;
}

static int time_all(FILE *csv, const struct plumb_bench_options *o,
                    const struct plumb_ceilings *ceiling)
{
    const struct plumb_op *op;
    for (int i = 0; (op = plumb_op_at(i)); i++) {
        if (o->op && !strstr(op->name, o->op)) continue;
        for (int k = 0; k < op->case_count; k++) {
            if (!op->cases[k].bench) continue;
            PLUMB_TRY(time_case(csv, op, &op->cases[k], PLUMB_F32, o, ceiling));
            if (!op->f32_only) PLUMB_TRY(time_case(csv, op, &op->cases[k], PLUMB_BF16, o, ceiling));
        }
    }
    return PLUMB_OK;
}

int plumb_bench_ops(const struct plumb_bench_options *o, const struct plumb_ceilings *ceiling)
{
    FILE *csv = NULL;
    if (o->csv) {
        csv = fopen(o->csv, "a");
        if (!csv) return plumb_fail(PLUMB_EIO, "could not open \"%s\" for appending", o->csv);
        if (ftell(csv) == 0)
            fputs("kernel_name,kernel_provider,kernel_operation_mode,metric_name,metric_unit,x_"
                  "name,x_value,"
                  "y_value_50,y_value_20,y_value_80,extra_benchmark_config_str,gpu_name,timestamp,"
                  "liger_version\n",
                  csv);
    }
    printf("%-12s %-9s %-4s %10s %10s %8s %9s %7s  %s\n", "op", "dtype", "", "median ms", "best ms",
           "GB/s", "GFLOP/s", "share", "case");
    int rc = time_all(csv, o, ceiling);
    if (csv && fclose(csv)) rc = plumb_fail(PLUMB_EIO, "could not write \"%s\"", o->csv);
    return rc;
}
