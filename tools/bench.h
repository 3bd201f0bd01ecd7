/* Timing for `plumb bench`: medians of repeats, ceilings of the same run. */
#pragma once
#include <plumb/backend.h>
#include <plumb/device.h>
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
    const char *device; /* as plumb_device_open has it */
    const char *op;     /* only ops whose name holds this; NULL = all */
    const char *csv;    /* file to append rows to; NULL = none */
    const char *json;   /* file to write; NULL = none */
    int64_t repeats;
    bool ops, step; /* the parts to run */
};

struct plumb_bench {
    struct plumb_bench_options o;
    struct plumb_device dev;
    char where[256]; /* the device, in words */
    struct plumb_ceilings ceiling;
    void *flush; /* on cuda: memory that is written between repeats, larger than its cache */
    FILE *csv, *json;
    int json_rows;
};

/* Opens the device and the files and measures the ceilings. Close also after failure. */
int plumb_bench_open(struct plumb_bench *b, const struct plumb_bench_options *o);
int plumb_bench_close(struct plumb_bench *b);
/* Runs `run` once to warm up, then `repeats` times; on cuda with a cold cache. */
int plumb_bench_time(const struct plumb_bench *b, int (*run)(void *ctx), void *ctx, int64_t repeats,
                     struct plumb_bench_times *out);
/* The parts. Each prints a table. */
int plumb_bench_ops(struct plumb_bench *b);
int plumb_bench_step(const struct plumb_bench *b);
