/* oneDNN's matmul behind one function: the only file that knows the library. Primitives are kept
 * in a table of our own, because making one costs 0.4 ms and even finding it in the library's
 * cache costs more than a small product. */
#include "kernels/matmul/matmul_library.h"

#include <dnnl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if DNNL_VERSION_MAJOR != 2
#error "written for oneDNN 2: version 3 makes primitives by another interface"
#endif

enum { SETS = 64, WAYS = 8 }; /* 512 primitives, the least recently used of a set gives way */
enum { A, B, C, BIAS, SCRATCH, MEMS }; /* arguments of a primitive */

/* All that a primitive is specialised for; compared as bytes. */
struct key {
    int64_t M, N, K, lda, ldb, ldc;
    int32_t in, out, bias; /* dtypes; bias -1 = none */
    int32_t flags;         /* trans_a, trans_b, accumulate */
};
_Static_assert(sizeof(struct key) == 6 * sizeof(int64_t) + 4 * sizeof(int32_t),
               "a key has no padding");

/* A primitive with its own stream and memory objects, so one thread at a time may run it; two
 * threads with equal keys use two entries. */
struct entry {
    struct key key;
    dnnl_primitive_t primitive; /* NULL = empty */
    dnnl_stream_t stream;
    dnnl_memory_t mem[MEMS];
    size_t scratch_bytes;
    uint64_t used; /* time of last use */
    bool busy;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry table[SETS][WAYS];
static uint64_t now;
static dnnl_engine_t engine;

static int check(dnnl_status_t s, const char *what)
{
    static const char *const text[] = { "success",         "out of memory", "invalid arguments",
                                        "not implemented", "iterator ends", "runtime error",
                                        "not required" };
    if (s == dnnl_success) return PLUMB_OK;
    const int code = s == dnnl_out_of_memory ? PLUMB_EMEM : PLUMB_EIO;
    return plumb_fail(code, "matmul: oneDNN could not %s: %s", what,
                      (unsigned)s < 7 ? text[s] : "unknown status");
}

/* Makes the engine once. PLUMB_ISA lowers the library's instruction set too, or two runs with it
 * would differ. */
static int open_engine(void)
{
    int rc = PLUMB_OK;
    pthread_mutex_lock(&lock);
    if (!engine) {
        if (getenv("PLUMB_ISA") && plumb_cpu_isa() == PLUMB_ISA_AVX2)
            dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
        if (getenv("PLUMB_ISA") && plumb_cpu_isa() == PLUMB_ISA_BASE)
            dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
        rc = check(dnnl_engine_create(&engine, dnnl_cpu, 0), "make an engine");
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

static struct key key_of(const struct plumb_matmul *a)
{
    return (struct key){ a->M,
                         a->N,
                         a->K,
                         a->lda,
                         a->ldb,
                         a->ldc,
                         (int32_t)a->a.dtype,
                         (int32_t)a->c.dtype,
                         a->bias.data ? (int32_t)a->bias.dtype : -1,
                         a->trans_a | a->trans_b << 1 | a->accumulate << 2 };
}

static unsigned set_of(const struct key *k)
{
    const unsigned char *p = (const unsigned char *)k;
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < sizeof *k; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return (unsigned)(h >> 32) % SETS;
}

/* Empties e but for its key, time and mark. */
static void entry_release(struct entry *e)
{
    for (int i = 0; i < MEMS; i++) {
        dnnl_memory_destroy(e->mem[i]);
        e->mem[i] = NULL;
    }
    if (e->primitive) dnnl_primitive_destroy(e->primitive);
    if (e->stream) dnnl_stream_destroy(e->stream);
    e->primitive = NULL;
    e->stream = NULL;
}

static dnnl_data_type_t type_of(int32_t dtype)
{
    return dtype == PLUMB_BF16 ? dnnl_bf16 : dnnl_f32;
}

static int describe(const struct key *k, dnnl_memory_desc_t md[MEMS])
{
    const bool ta = k->flags & 1, tb = k->flags & 2;
    const dnnl_dims_t da = { k->M, k->K }, sa = { ta ? 1 : k->lda, ta ? k->lda : 1 };
    const dnnl_dims_t db = { k->K, k->N }, sb = { tb ? 1 : k->ldb, tb ? k->ldb : 1 };
    const dnnl_dims_t dc = { k->M, k->N }, sc = { k->ldc, 1 };
    const dnnl_dims_t dbias = { 1, k->N }, sbias = { k->N, 1 };
    PLUMB_TRY(
        check(dnnl_memory_desc_init_by_strides(&md[A], 2, da, type_of(k->in), sa), "describe a"));
    PLUMB_TRY(
        check(dnnl_memory_desc_init_by_strides(&md[B], 2, db, type_of(k->in), sb), "describe b"));
    PLUMB_TRY(
        check(dnnl_memory_desc_init_by_strides(&md[C], 2, dc, type_of(k->out), sc), "describe c"));
    return check(dnnl_memory_desc_init_by_strides(&md[BIAS], 2, dbias, type_of(k->bias), sbias),
                 "describe bias");
}

/* Attributes: C += as a post-operation, scratch given by us (the library's own would tie a
 * primitive to its thread). */
static int attributes(const struct key *k, dnnl_primitive_attr_t *attr)
{
    int rc = PLUMB_OK;
    dnnl_post_ops_t ops = NULL;
    PLUMB_TRYG(check(dnnl_primitive_attr_create(attr), "make attributes"));
    PLUMB_TRYG(check(dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user),
                     "take scratch"));
    if (k->flags & 4) {
        PLUMB_TRYG(check(dnnl_post_ops_create(&ops), "make post-operations"));
        PLUMB_TRYG(check(dnnl_post_ops_append_sum(ops, 1), "accumulate"));
        PLUMB_TRYG(check(dnnl_primitive_attr_set_post_ops(*attr, ops), "accumulate"));
    }
out:
    if (ops) dnnl_post_ops_destroy(ops);
    return rc;
}

/* Fills e for its key; on failure it is left empty. */
static int entry_init(struct entry *e)
{
    int rc = PLUMB_OK;
    dnnl_memory_desc_t md[MEMS];
    dnnl_matmul_desc_t d;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    PLUMB_TRYG(describe(&e->key, md));
    PLUMB_TRYG(attributes(&e->key, &attr));
    PLUMB_TRYG(check(
        dnnl_matmul_desc_init(&d, &md[A], &md[B], e->key.bias >= 0 ? &md[BIAS] : NULL, &md[C]),
        "describe the product"));
    PLUMB_TRYG(check(dnnl_primitive_desc_create(&pd, &d, attr, engine, NULL), "plan the product"));
    PLUMB_TRYG(check(dnnl_primitive_create(&e->primitive, pd), "make a primitive"));
    PLUMB_TRYG(
        check(dnnl_stream_create(&e->stream, engine, dnnl_stream_default_flags), "make a stream"));
    md[SCRATCH] = *dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    e->scratch_bytes = dnnl_memory_desc_get_size(&md[SCRATCH]);
    for (int i = 0; i < MEMS; i++)
        PLUMB_TRYG(check(dnnl_memory_create(&e->mem[i], &md[i], engine, DNNL_MEMORY_NONE),
                         "make a memory object"));
out:
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (rc) entry_release(e);
    return rc;
}

/* An entry for `key`, marked busy: a made one, or the least recently used of its set emptied;
 * NULL if all are busy. */
static struct entry *take(const struct key *key)
{
    struct entry *set = table[set_of(key)], *old = NULL, *hit = NULL;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < WAYS && !hit; i++) {
        if (set[i].busy) continue;
        if (set[i].primitive && !memcmp(&set[i].key, key, sizeof *key)) hit = &set[i];
        if (!old || set[i].used < old->used) old = &set[i];
    }
    struct entry *e = hit ? hit : old;
    if (e) e->busy = true, e->used = ++now;
    pthread_mutex_unlock(&lock);
    if (e && !hit) {
        entry_release(e); /* ours by now: nobody else looks into a busy entry */
        e->key = *key;
    }
    return e;
}

static int execute(const struct entry *e, const struct plumb_matmul *a, void *scratch)
{
    static const int names[MEMS] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS,
                                     DNNL_ARG_SCRATCHPAD };
    void *const data[MEMS] = { a->a.data, a->b.data, a->c.data, a->bias.data, scratch };
    dnnl_exec_arg_t args[MEMS];
    int n = 0;
    for (int i = 0; i < MEMS; i++) {
        if (!data[i]) continue;
        PLUMB_TRY(check(dnnl_memory_set_data_handle_v2(e->mem[i], data[i], e->stream),
                        "take an argument"));
        args[n++] = (dnnl_exec_arg_t){ names[i], e->mem[i] };
    }
    PLUMB_TRY(check(dnnl_primitive_execute(e->primitive, e->stream, n, args), "multiply"));
    return check(dnnl_stream_wait(e->stream), "finish the product");
}

int plumb_matmul_library(const struct plumb_matmul *a)
{
    int rc = PLUMB_OK;
    struct plumb_arena scratch = { 0 };
    PLUMB_TRY(open_engine());
    const struct key key = key_of(a);
    struct entry transient = { .key = key }, *e = take(&key);
    const bool kept = e != NULL;
    if (!kept) e = &transient;
    if (!e->primitive) PLUMB_TRYG(entry_init(e));
    if (e->scratch_bytes) PLUMB_TRYG(plumb_matmul_lease(e->scratch_bytes, &scratch));
    PLUMB_TRYG(execute(e, a, scratch.base));
out:
    plumb_matmul_give_back(&scratch);
    if (!kept) entry_release(e);
    pthread_mutex_lock(&lock);
    if (kept) e->busy = false;
    pthread_mutex_unlock(&lock);
    return rc;
}

bool plumb_matmul_library_takes_bf16(void)
{
    static int known = -1; /* every thread computes the same value */
    int takes = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (takes >= 0) return takes;
    struct entry probe = { .key = { .M = 8,
                                    .N = 8,
                                    .K = 8,
                                    .lda = 8,
                                    .ldb = 8,
                                    .ldc = 8,
                                    .in = PLUMB_BF16,
                                    .out = PLUMB_F32,
                                    .bias = -1 } };
    takes = open_engine() == PLUMB_OK && entry_init(&probe) == PLUMB_OK;
    entry_release(&probe);
    plumb_errclear();
    __atomic_store_n(&known, takes, __ATOMIC_RELAXED);
    return takes;
}

void plumb_matmul_version(char *out, size_t n)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(out, n, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}
