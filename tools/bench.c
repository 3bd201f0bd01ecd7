/* Timing and ceilings. */
#include "tools/bench.h"

#include <plumb/matmul.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH = 256 << 20 }; /* bytes: five times the largest cache of today's GPUs */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int plumb_bench_time(const struct plumb_bench *b, int (*run)(void *ctx), void *ctx, int64_t repeats,
                     struct plumb_bench_times *out)
{
    double t[64];
    const int n = (int)(repeats < 64 ? repeats : 64);
    PLUMB_TRY(run(ctx));
    for (int i = 0; i < n; i++) {
        if (b->flush) PLUMB_TRY(plumb_device_zero(&b->dev, b->flush, FLUSH));
        PLUMB_TRY(plumb_device_time(&b->dev, run, ctx, &t[i]));
    }
    qsort(t, (size_t)n, sizeof *t, ascending);
    *out = (struct plumb_bench_times){ t[0], t[n / 2], t[n / 5], t[n - 1 - n / 5], n };
    return PLUMB_OK;
}

struct copy {
    const struct plumb_bench *b;
    char *from, *to;
    int64_t bytes;
};

static int copy(void *ctx)
{
    const struct copy *c = ctx;
    const int64_t block = 1 << 20;
    if (!plumb_device_is_host(&c->b->dev))
        return plumb_device_copy(&c->b->dev, c->to, c->from, (size_t)c->bytes);
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < c->bytes; at += block)
        memcpy(c->to + at, c->from + at, (size_t)block);
    return PLUMB_OK;
}

struct product {
    const struct plumb_bench *b;
    struct plumb_matmul a;
};

static int product(void *ctx)
{
    const struct product *p = ctx;
    return plumb_matmul(&p->b->dev, &p->a);
}

/* C = A B^T. On the CPU a projection of a small model, leading sizes that are no powers of two; on
 * a GPU a product that fills it. */
static int gemm_ceiling(const struct plumb_bench *b, enum plumb_dtype t, char *memory, double *out)
{
    const bool host = plumb_device_is_host(&b->dev);
    const int64_t M = host ? 512 : 4096, N = host ? 1536 : 4096, K = host ? 576 : 4096;
    struct product p = { .b = b,
                         .a = { .struct_bytes = sizeof p.a,
                                .M = M,
                                .N = N,
                                .K = K,
                                .trans_b = true,
                                .a = { memory, t },
                                .b = { memory + 4 * M * K, t },
                                .c = { memory + 4 * (M * K + N * K), PLUMB_F32 } } };
    struct plumb_bench_times times;
    PLUMB_TRY(plumb_bench_time(b, product, &p, 2 * b->o.repeats, &times));
    *out = 2.0 * (double)(M * N * K) / times.best;
    return PLUMB_OK;
}

static int take(const struct plumb_bench *b, size_t bytes, void **out)
{
    if (!plumb_device_is_host(&b->dev)) return plumb_device_alloc(&b->dev, bytes, out);
    *out = malloc(bytes);
    if (!*out) return plumb_fail(PLUMB_EMEM, "could not allocate the benchmark's buffers");
    memset(*out, 1, bytes); /* small normal numbers in every float type */
    return PLUMB_OK;
}

static int measure_ceilings(struct plumb_bench *b)
{
    int rc = PLUMB_OK;
    struct plumb_bench_times times;
    struct copy c = { .b = b, .bytes = 128 << 20 };
    void *memory;
    PLUMB_TRY(take(b, 2 * (size_t)c.bytes, &memory));
    c.from = memory;
    c.to = c.from + c.bytes;
    if (!plumb_device_is_host(&b->dev))
        PLUMB_TRYG(plumb_device_zero(&b->dev, memory, 2 * (size_t)c.bytes));
    PLUMB_TRYG(plumb_bench_time(b, copy, &c, b->o.repeats, &times));
    b->ceiling.copy = 2 * (double)c.bytes / times.best;
    PLUMB_TRYG(gemm_ceiling(b, PLUMB_F32, memory, &b->ceiling.gemm_f32));
    PLUMB_TRYG(gemm_ceiling(b, PLUMB_BF16, memory, &b->ceiling.gemm_bf16));
out:
    if (plumb_device_is_host(&b->dev))
        free(memory);
    else
        plumb_device_free(&b->dev, memory);
    return rc;
}

static int open_files(struct plumb_bench *b)
{
    const struct plumb_bench_options *o = &b->o;
    if (o->csv && !(b->csv = fopen(o->csv, "a")))
        return plumb_fail(PLUMB_EIO, "could not open \"%s\" for appending", o->csv);
    if (b->csv && ftell(b->csv) == 0)
        fputs("kernel_name,kernel_provider,kernel_operation_mode,metric_name,metric_unit,x_name,"
              "x_value,y_value_50,y_value_20,y_value_80,extra_benchmark_config_str,gpu_name,"
              "timestamp,liger_version\n",
              b->csv);
    if (o->json && !(b->json = fopen(o->json, "w")))
        return plumb_fail(PLUMB_EIO, "could not open \"%s\" for writing", o->json);
    if (b->json)
        fprintf(b->json,
                "{\"device\": \"%s\", \"version\": \"%s\",\n \"copy_bytes_per_second\": %.4g,"
                " \"gemm_f32_flops\": %.4g, \"gemm_bf16_flops\": %.4g,\n \"cases\": [",
                b->where, PLUMB_VERSION, b->ceiling.copy, b->ceiling.gemm_f32,
                b->ceiling.gemm_bf16);
    return PLUMB_OK;
}

int plumb_bench_open(struct plumb_bench *b, const struct plumb_bench_options *o)
{
    *b = (struct plumb_bench){ .o = *o };
    PLUMB_TRY(plumb_device_open(o->device, &b->dev));
    plumb_device_describe(&b->dev, b->where, sizeof b->where);
    if (!plumb_device_is_host(&b->dev)) PLUMB_TRY(plumb_device_alloc(&b->dev, FLUSH, &b->flush));
    PLUMB_TRY(measure_ceilings(b));
    printf("%s; ceilings of this run: memory copy %.1f GB/s, matrix product %.0f GFLOP/s in "
           "float32, %.0f in bfloat16\n\n",
           b->where, b->ceiling.copy / 1e9, b->ceiling.gemm_f32 / 1e9, b->ceiling.gemm_bf16 / 1e9);
    return open_files(b);
}

int plumb_bench_close(struct plumb_bench *b)
{
    int rc = PLUMB_OK;
    if (b->csv && fclose(b->csv)) rc = plumb_fail(PLUMB_EIO, "could not write \"%s\"", b->o.csv);
    if (b->json) fputs("]}\n", b->json);
    if (b->json && fclose(b->json))
        rc = plumb_fail(PLUMB_EIO, "could not write \"%s\"", b->o.json);
    if (b->flush) plumb_device_free(&b->dev, b->flush);
    plumb_device_close(&b->dev);
    *b = (struct plumb_bench){ 0 };
    return rc;
}
