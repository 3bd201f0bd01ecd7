/* `plumb bench`: every op's large cases and whole training steps. */
#include "tools/bench.h"
#include "tools/command.h"

#define ROW(key, type_, flags_, lo_, hi_, fallback_, unit_, help_)                                 \
    {                                                                                              \
#key, type_, flags_, offsetof(struct plumb_bench_options, key), lo_, hi_, fallback_,       \
            unit_, help_, NULL                                                                     \
    }
static const struct plumb_option rows[] = {
    ROW(ops, PLUMB_OPT_BOOL, 0, 0, 0, "true", "", "time the ops' own cases"),
    ROW(step, PLUMB_OPT_BOOL, 0, 0, 0, "true", "",
        "time whole DPO steps with prompt sharing on and off"),
    ROW(op, PLUMB_OPT_STRING, PLUMB_OPT_NONE, 0, 0, NULL, "", "only ops whose name holds this"),
    ROW(csv, PLUMB_OPT_STRING, PLUMB_OPT_NONE, 0, 0, NULL, "",
        "file to append rows to, in Liger-Kernel's columns"),
    ROW(repeats, PLUMB_OPT_INT, 0, 1, 64, "7", "", "timed runs of each case, after one to warm up"),
    { 0 },
};
static const struct plumb_option_group groups[] = { { "Benchmark", rows, 0 }, { 0 } };
static const struct plumb_option_set options = { groups, NULL, 0 };

static int run_parts(const struct plumb_bench_options *o)
{
    struct plumb_ceilings c;
    PLUMB_TRY(plumb_bench_ceilings(o->repeats, &c));
    printf("instruction set %s; ceilings of this run: memory copy %.1f GB/s, matrix product %.0f "
           "GFLOP/s in float32, "
           "%.0f in bfloat16\n\n",
           plumb_isa_name(plumb_cpu_isa()), c.copy / 1e9, c.gemm_f32 / 1e9, c.gemm_bf16 / 1e9);
    if (o->ops) PLUMB_TRY(plumb_bench_ops(o, &c));
    if (o->step) PLUMB_TRY(plumb_bench_step(o));
    return PLUMB_OK;
}

static int run(int argc, char **argv)
{
    struct plumb_options parsed;
    struct plumb_bench_options o;
    PLUMB_TRY(plumb_options_parse(&parsed, &options, &o, argc, argv));
    const int rc = run_parts(&o);
    plumb_options_release(&parsed);
    return rc;
}

extern const struct plumb_cmd plumb_cmd_bench;
const struct plumb_cmd plumb_cmd_bench = { "bench", "[options]",
                                           "time the kernels and a training step", run, &options };
