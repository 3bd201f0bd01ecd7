/* Timing for `plumb bench`: medians of repeats, ceilings of the same run. */
#pragma once
#include <plumb/base.h>
#include <stdio.h>

struct plumb_bench_times {
    double best, median, p20, p80; /* seconds */
    int repeats;
};

struct plumb_ceilings {
    double copy;                /* bytes read and written per second by a memory copy */
    double gemm_f32, gemm_bf16; /* flop/s of a large matrix product */
};

struct plumb_bench_options {
    const char *op;  /* only ops whose name holds this; NULL = all */
    const char *csv; /* file to append rows to; NULL = none */
    int64_t repeats;
    bool ops, step; /* the parts to run */
};

/* Runs `run` once to warm up, then `repeats` times. */
int plumb_bench_time(int (*run)(void *ctx), void *ctx, int64_t repeats,
                     struct plumb_bench_times *out);
double plumb_bench_now(void); /* seconds of a monotonic clock */
int plumb_bench_ceilings(int64_t repeats, struct plumb_ceilings *out);
/* The parts. Each prints a table. */
int plumb_bench_ops(const struct plumb_bench_options *o, const struct plumb_ceilings *c);
int plumb_bench_step(const struct plumb_bench_options *o);
