/* cuBLASLt's product behind one function: the only file that knows the library. Algorithms are
 * chosen once per shape and kept, so that a call repeated gives the same bits; partial sums over k
 * are only ever added in f32. The library counts columns first: our row-major C = A B is its
 * C^T = B^T A^T, with the operands the other way round. */
#include <cublasLt.h>
#include <pthread.h>
#include <string.h>

#include "kernels/gpu.h"
#include "kernels/matmul/matmul_gpu.h"

/* 512 algorithms a device; the least recently used of a set gives way, to be found again. */
enum { DEVICES = 16, SETS = 64, WAYS = 8 };
/* Device scratch of the library, and of a bias that has to change its type. */
enum { WORK_BYTES = 32 << 20, BIAS_BYTES = 4 << 20, BLOCK = 256 };

/* All that a choice depends on; compared as bytes. */
struct lt_key {
    int64_t M, N, K, lda, ldb, ldc;
    int32_t in, out, flags, align; /* dtypes; transposes, accumulate, bias, fixed; bytes */
};
static_assert(sizeof(struct lt_key) == 6 * sizeof(int64_t) + 4 * sizeof(int32_t), "no padding");

struct lt_choice {
    struct lt_key key;
    cublasLtMatmulAlgo_t algorithm;
    uint64_t used; /* time of last use; 0 = empty */
    bool none;     /* the library has no algorithm */
};

struct lt_library {
    cublasLtHandle_t handle; /* NULL = this slot is free */
    char *scratch;
    pthread_mutex_t lock;
    uint64_t now;
    struct lt_choice choice[SETS][WAYS];
};
static pthread_mutex_t slots = PTHREAD_MUTEX_INITIALIZER;
static struct lt_library libraries[DEVICES];

/* The library's view of a product: first factor, second factor, result. */
struct lt_product {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t of[3];
};

static int check(cublasStatus_t s, const char *what)
{
    if (s == CUBLAS_STATUS_SUCCESS) return PLUMB_OK;
    return plumb_fail(s == CUBLAS_STATUS_ALLOC_FAILED ? PLUMB_EMEM : PLUMB_EIO,
                      "matmul: cuBLASLt could not %s: %s", what, cublasLtGetStatusString(s));
}

static struct lt_library *library_of(const struct plumb_device *dev)
{
    return (struct lt_library *)plumb_gpu_state(dev)->products;
}

int plumb_gpu_matmul_open(struct plumb_device *dev)
{
    struct lt_library *l = NULL;
    int rc = PLUMB_OK;
    pthread_mutex_lock(&slots);
    for (int i = 0; i < DEVICES && !l; i++)
        if (!libraries[i].handle) l = &libraries[i];
    if (!l)
        rc = plumb_fail(PLUMB_EMEM, "more than %d devices are open", DEVICES);
    else
        rc = check(cublasLtCreate(&l->handle), "start");
    pthread_mutex_unlock(&slots);
    PLUMB_TRY(rc);
    memset(l->choice, 0, sizeof l->choice);
    pthread_mutex_init(&l->lock, NULL);
    plumb_gpu_state(dev)->products = l;
    rc = plumb_gpu_status(cudaMalloc((void **)&l->scratch, WORK_BYTES + BIAS_BYTES),
                          "scratch for products");
    if (rc) plumb_gpu_matmul_close(dev);
    return rc;
}

void plumb_gpu_matmul_close(struct plumb_device *dev)
{
    struct lt_library *l = library_of(dev);
    if (!l) return;
    if (l->scratch) cudaFree(l->scratch);
    l->scratch = NULL;
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_lock(&slots);
    cublasLtDestroy(l->handle);
    l->handle = NULL;
    pthread_mutex_unlock(&slots);
    plumb_gpu_state(dev)->products = NULL;
}

static cudaDataType_t type_of(enum plumb_dtype t)
{
    return t == PLUMB_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* A matrix stored as (rows, cols) row by row is one of (cols, rows) to the library. */
static int layout(cublasLtMatrixLayout_t *out, enum plumb_dtype t, int64_t rows, int64_t cols,
                  int64_t stride)
{
    return check(
        cublasLtMatrixLayoutCreate(out, type_of(t), (uint64_t)cols, (uint64_t)rows, stride),
        "describe a matrix");
}

static int attribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t which, const void *v,
                     size_t bytes)
{
    return check(cublasLtMatmulDescSetAttribute(d, which, v, bytes), "describe the product");
}

static int describe(struct lt_product *p, const struct plumb_matmul *a, const void *bias)
{
    const cublasOperation_t of_b = a->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t of_a = a->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t end = CUBLASLT_EPILOGUE_BIAS;
    const int64_t br = a->trans_b ? a->N : a->K, bc = a->trans_b ? a->K : a->N;
    const int64_t ar = a->trans_a ? a->K : a->M, ac = a->trans_a ? a->M : a->K;
    PLUMB_TRY(check(cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                    "describe the product"));
    PLUMB_TRY(attribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &of_b, sizeof of_b));
    PLUMB_TRY(attribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &of_a, sizeof of_a));
    if (bias) {
        PLUMB_TRY(attribute(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &end, sizeof end));
        PLUMB_TRY(attribute(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    }
    PLUMB_TRY(layout(&p->of[0], a->b.dtype, br, bc, a->ldb));
    PLUMB_TRY(layout(&p->of[1], a->a.dtype, ar, ac, a->lda));
    return layout(&p->of[2], a->c.dtype, a->M, a->N, a->ldc);
}

static void forget(struct lt_product *p)
{
    if (p->desc) cublasLtMatmulDescDestroy(p->desc);
    for (int i = 0; i < 3; i++)
        if (p->of[i]) cublasLtMatrixLayoutDestroy(p->of[i]);
}

/* The power of two, at most 256, that divides the address of every row. */
static uint32_t alignment(const struct plumb_tensor *t, int64_t stride)
{
    const uint64_t bytes = (uint64_t)stride * plumb_gpu_bytes(t->dtype);
    const uint64_t bits = (uint64_t)(uintptr_t)t->data | bytes | 256;
    return (uint32_t)(bits & (~bits + 1));
}

struct lt_wish {
    const struct plumb_matmul *a, *like;
    const void *bias; /* in C's type, or NULL */
    uint32_t align[3];
    bool fixed; /* chosen for other sizes: then nothing may depend on them */
};

static struct lt_key key_of(const struct lt_wish *w)
{
    const struct plumb_matmul *a = w->a, *s = w->like;
    struct lt_key k;
    memset(&k, 0, sizeof k);
    k.M = s->M, k.N = s->N, k.K = s->K;
    k.lda = s->lda, k.ldb = s->ldb, k.ldc = s->ldc;
    k.in = a->a.dtype, k.out = a->c.dtype;
    k.flags = a->trans_a | a->trans_b << 1 | a->accumulate << 2 | (w->bias != NULL) << 3 |
              w->fixed << 4;
    k.align = (int32_t)(w->align[0] << 18 | w->align[1] << 9 | w->align[2]);
    return k;
}

static unsigned set_of(const struct lt_key *k)
{
    const unsigned char *p = (const unsigned char *)k;
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < sizeof *k; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return (unsigned)(h >> 32) % SETS;
}

static int prefer(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t which,
                  const void *v, size_t bytes)
{
    return check(cublasLtMatmulPreferenceSetAttribute(p, which, v, bytes), "take a preference");
}

/* Sums cut along k are added in f32, or not cut at all where the algorithm is used for other sizes:
 * the cut could follow them. */
static int preferences(cublasLtMatmulPreference_t p, const struct lt_wish *w)
{
    const size_t bytes = WORK_BYTES;
    const uint32_t sums = w->fixed ? CUBLASLT_REDUCTION_SCHEME_NONE
                                   : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    static const cublasLtMatmulPreferenceAttributes_t least[4] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES
    };
    PLUMB_TRY(prefer(p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes));
    PLUMB_TRY(prefer(p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums, sizeof sums));
    for (int i = 0; i < 4; i++) {
        const uint32_t *align = &w->align[i < 2 ? i : 2];
        PLUMB_TRY(prefer(p, least[i], align, sizeof *align));
    }
    return PLUMB_OK;
}

/* Asks the library for the algorithm of `like`'s sizes. */
static int ask(const struct lt_library *l, const struct lt_wish *w, struct lt_choice *c)
{
    struct plumb_matmul sizes = *w->a;
    struct lt_product p = {};
    cublasLtMatmulPreference_t wanted = NULL;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0, rc;
    sizes.M = w->like->M, sizes.N = w->like->N, sizes.K = w->like->K;
    sizes.lda = w->like->lda, sizes.ldb = w->like->ldb, sizes.ldc = w->like->ldc;
    memset((void *)&found, 0, sizeof found);
    PLUMB_TRYG(describe(&p, &sizes, w->bias));
    PLUMB_TRYG(check(cublasLtMatmulPreferenceCreate(&wanted), "take a preference"));
    PLUMB_TRYG(preferences(wanted, w));
    {
        const cublasStatus_t s = cublasLtMatmulAlgoGetHeuristic(
            l->handle, p.desc, p.of[0], p.of[1], p.of[2], p.of[2], wanted, 1, &found, &count);
        c->none = s == CUBLAS_STATUS_NOT_SUPPORTED || (s == CUBLAS_STATUS_SUCCESS && count == 0);
        if (!c->none) rc = check(s, "choose an algorithm");
        c->algorithm = found.algo;
    }
out:
    if (wanted) cublasLtMatmulPreferenceDestroy(wanted);
    forget(&p);
    return rc;
}

static int choose(struct lt_library *l, const struct lt_wish *w, struct lt_choice **out)
{
    const struct lt_key key = key_of(w);
    struct lt_choice *set = l->choice[set_of(&key)], *old = set;
    l->now++;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].used && !memcmp(&set[i].key, &key, sizeof key)) {
            set[i].used = l->now;
            *out = &set[i];
            return PLUMB_OK;
        }
        if (set[i].used < old->used) old = &set[i];
    }
    old->used = 0;
    PLUMB_TRY(ask(l, w, old));
    old->key = key;
    old->used = l->now;
    *out = old;
    return PLUMB_OK;
}

static __global__ void matmul_bias_as_f32(float *to, const __nv_bfloat16 *from, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) to[i] = plumb_wide(from[i]);
}

static __global__ void matmul_bias_as_bf16(__nv_bfloat16 *to, const float *from, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i < n) plumb_narrow(&to[i], from[i]);
}

/* The library adds a bias of C's own type: any other is converted first. */
static int bias_as_c(const struct plumb_device *dev, const struct plumb_matmul *a,
                     const void **bias)
{
    void *to = library_of(dev)->scratch + WORK_BYTES;
    const unsigned blocks = (unsigned)plumb_ceil_div(a->N, BLOCK);
    cudaStream_t stream = plumb_gpu_stream(dev);
    *bias = a->bias.data;
    if (!*bias || a->bias.dtype == a->c.dtype) return PLUMB_OK;
    *bias = to;
    const cudaError_t e = a->c.dtype == PLUMB_F32
                              ? PLUMB_LAUNCH(matmul_bias_as_f32, blocks, BLOCK, 0, stream,
                                             (float *)to, (const __nv_bfloat16 *)a->bias.data, a->N)
                              : PLUMB_LAUNCH(matmul_bias_as_bf16, blocks, BLOCK, 0, stream,
                                             (__nv_bfloat16 *)to, (const float *)a->bias.data,
                                             a->N);
    return plumb_gpu_status(e, "matmul");
}

/* Whether the bias can go along: it starts where the library can read it, or fits into scratch. */
static bool takes_bias(const struct plumb_matmul *a)
{
    if (!a->bias.data) return true;
    if (a->bias.dtype == a->c.dtype) return (uintptr_t)a->bias.data % 16 == 0;
    return a->N * (int64_t)plumb_gpu_bytes(a->c.dtype) <= BIAS_BYTES;
}

static int run(const struct plumb_device *dev, const struct lt_wish *w, bool *refused)
{
    struct lt_library *l = library_of(dev);
    const struct plumb_matmul *a = w->a;
    const float one = 1.0f, beta = a->accumulate ? 1.0f : 0.0f;
    struct lt_product p = {};
    struct lt_choice *c;
    int rc;
    PLUMB_TRYG(choose(l, w, &c));
    *refused = c->none;
    if (*refused) goto out;
    PLUMB_TRYG(describe(&p, a, w->bias));
    {
        const cublasStatus_t s = cublasLtMatmul(l->handle, p.desc, &one, a->b.data, p.of[0],
                                                a->a.data, p.of[1], &beta, a->c.data, p.of[2],
                                                a->c.data, p.of[2], &c->algorithm, l->scratch,
                                                WORK_BYTES, plumb_gpu_stream(dev));
        *refused = s == CUBLAS_STATUS_NOT_SUPPORTED ||
                   (w->fixed && s == CUBLAS_STATUS_INVALID_VALUE);
        if (!*refused) rc = check(s, "multiply");
    }
out:
    forget(&p);
    return rc;
}

int plumb_gpu_matmul_library(const struct plumb_device *dev, const struct plumb_matmul *a,
                             const struct plumb_matmul *like, bool *refused)
{
    struct lt_library *l = library_of(dev);
    struct lt_wish w = { a, like ? like : a, NULL, {}, like != NULL };
    *refused = !takes_bias(a);
    if (*refused) return PLUMB_OK;
    w.align[0] = alignment(&a->b, a->ldb);
    w.align[1] = alignment(&a->a, a->lda);
    w.align[2] = alignment(&a->c, a->ldc);
    /* Two threads' products must not meet in the scratch between bias and product. */
    pthread_mutex_lock(&l->lock);
    int rc = bias_as_c(dev, a, &w.bias);
    if (!rc) rc = run(dev, &w, refused);
    pthread_mutex_unlock(&l->lock);
    return rc;
}
