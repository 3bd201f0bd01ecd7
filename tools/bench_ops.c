/* The ops' own cases, timed: the share of what the slower of memory and arithmetic allows. */
#include <string.h>
#include <time.h>

#include "tools/bench.h"
#include "tools/op_case.h"

static int forward(void *ctx) { return plumb_case_fwd(ctx, PLUMB_F64); }

static int backward(void *ctx) { return plumb_case_bwd(ctx, PLUMB_F64); }

/* One row in the columns of Liger-Kernel's benchmark data, so that its tools read ours. */
static void csv_row(const struct plumb_bench *b, const struct plumb_op *op,
                    const struct plumb_case *c, const char *mode, const char *dtype,
                    const struct plumb_bench_times *t)
{
    char stamp[32];
    const time_t now = time(NULL);
    strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", gmtime(&now));
    fprintf(b->csv, "%s,plumb-%s,%s,speed,ms,case,\"%s\",%.6f,%.6f,%.6f,\"{}\",%s,%s,%s\n",
            op->name, dtype, mode, c->name, 1e3 * t->median, 1e3 * t->p20, 1e3 * t->p80, b->where,
            stamp, PLUMB_VERSION);
}

static void json_row(struct plumb_bench *b, const struct plumb_case_mem *m, bool back,
                     const struct plumb_bench_times *t, double bytes, double flops, double share)
{
    fprintf(b->json,
            "%s\n  {\"op\": \"%s\", \"case\": \"%s\", \"dtype\": \"%s\", \"mode\": \"%s\", "
            "\"median_seconds\": %.6g, \"p20\": %.6g, \"p80\": %.6g, \"bytes\": %.6g, "
            "\"flops\": %.6g, \"share_of_ceiling\": %.4f}",
            b->json_rows++ ? "," : "", m->op->name, m->c->name, plumb_dtype_name(m->act),
            back ? "bwd" : "fwd", t->median, t->p20, t->p80, bytes, flops, share);
}

static void report(struct plumb_bench *b, const struct plumb_case_mem *m, bool back,
                   const struct plumb_bench_times *t)
{
    const struct plumb_ceilings *ceiling = &b->ceiling;
    const struct plumb_op *op = m->op;
    const double bytes = op->bytes ? op->bytes(m->c, plumb_dtype_bytes(m->act), back) : 0;
    const double flops = op->flops ? op->flops(m->c, back) : 0;
    const double peak = m->act == PLUMB_BF16 ? ceiling->gemm_bf16 : ceiling->gemm_f32;
    const double least = bytes / ceiling->copy > flops / peak ? bytes / ceiling->copy
                                                              : flops / peak;
    printf("%-12s %-9s %-4s %10.3f %10.3f %8.1f %9.1f %6.0f%%  %s\n", op->name,
           plumb_dtype_name(m->act), back ? "bwd" : "fwd", 1e3 * t->median, 1e3 * t->best,
           bytes / t->median / 1e9, flops / t->median / 1e9, 100 * least / t->median, m->c->name);
    if (b->csv) csv_row(b, op, m->c, back ? "backward" : "forward", plumb_dtype_name(m->act), t);
    if (b->json) json_row(b, m, back, t, bytes, flops, least / t->median);
}

static int time_case(struct plumb_bench *b, const struct plumb_op *op, const struct plumb_case *c,
                     enum plumb_dtype act)
{
    int rc = PLUMB_OK;
    struct plumb_case_mem m;
    struct plumb_bench_times t;
    plumb_case_begin(&m, op, c, &b->dev, act);
    PLUMB_TRYG(plumb_bench_time(b, forward, &m, b->o.repeats, &t));
    report(b, &m, false, &t);
    if (op->bwd) {
        PLUMB_TRYG(plumb_bench_time(b, backward, &m, b->o.repeats, &t));
        report(b, &m, true, &t);
    }
out:
    plumb_case_end(&m);
    return rc;
}

int plumb_bench_ops(struct plumb_bench *b)
{
    const struct plumb_op *op;
    printf("%-12s %-9s %-4s %10s %10s %8s %9s %7s  %s\n", "op", "dtype", "", "median ms", "best ms",
           "GB/s", "GFLOP/s", "share", "case");
    for (int i = 0; (op = plumb_op_at(i)); i++) {
        if (b->o.op && !strstr(op->name, b->o.op)) continue;
        for (int k = 0; k < op->case_count; k++) {
            if (!op->cases[k].bench) continue;
            PLUMB_TRY(time_case(b, op, &op->cases[k], PLUMB_F32));
            if (!op->f32_only) PLUMB_TRY(time_case(b, op, &op->cases[k], PLUMB_BF16));
        }
    }
    return PLUMB_OK;
}
